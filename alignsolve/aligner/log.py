"""One line of JSON for everything that an aligner did, written at once."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections import Counter
from pathlib import Path
from typing import IO, Any

from alignsolve.aligner.plan import Plan
from alignsolve.aligner.policy import Round, round_problem
from alignsolve.aligner.reports import ClientReport, Observation
from alignsolve.backends.portfolio import TOO_SLOW
from alignsolve.errors import ProblemError
from alignsolve.model.digest import problem_digest
from alignsolve.result import Result
from alignsolve.status import Termination

#: What fallbacks say that time ended.
TIME_LIMIT = Termination.TIME_LIMIT.value


class RoundLog:
    """Appends lines of JSON to a file.

    Notes
    -----
    The file is opened for every line, so that a crash loses none that was
    written, and other programs may rotate it.

    No two events are alike: ``start`` is drawn for each aligner that is made or loaded,
    and ``number`` counts its events from 1. An aligner that goes on from a state first
    writes ``load`` with that state's ``round``: what stands above it of later rounds
    was never saved, and is played again.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = None if path is None else Path(path)
        self.start = secrets.token_hex(8)
        self.number = 0

    def write(self, event: str, **figures: Any) -> None:
        """Append an event with its figures; infinities and NaN become null.

        Raises
        ------
        ProblemError
            If the file cannot be written.
        """
        if self.path is None:
            return
        finite = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in figures.items()
        }
        self.number += 1
        unique = {"event": event, "start": self.start, "number": self.number}
        line = json.dumps(unique | finite, allow_nan=False).encode() + b"\n"
        try:
            with self.path.open("a+b", buffering=0) as stream:
                if self.number == 1 and _is_torn(stream):
                    line = b"\n" + line
                stream.write(line)
        except OSError as error:
            raise ProblemError(f"log {self.path} cannot be written: {error.strerror}") from None

    def plan(self, event: str, plan: Plan, inputs: Round, **figures: Any) -> None:
        """Append a plan, with digests of its inputs and problem, which take time to compute.

        The inputs' digest is that of the optimal strategy's problem, whatever the strategy.
        """
        if self.path is not None:
            optimal = plan.strategy == "optimal"
            digest = plan.digest if optimal else problem_digest(round_problem(inputs))
            self.write(event, **figures, inputs=digest, **plan_figures(plan))


def _is_torn(stream: IO[bytes]) -> bool:
    """Tell whether a file's last line lacks its end, as a kill may leave it."""
    size = stream.seek(0, os.SEEK_END)
    return size > 0 and os.pread(stream.fileno(), 1, size - 1) != b"\n"


def plan_figures(plan: Plan) -> dict[str, Any]:
    """Return what the log says of a plan.

    ``reproducible`` is false where a time limit, and not a limit on work, ended
    the search: the same inputs can then give another plan.
    """
    loads, result = plan.loads, plan.result
    figures: dict[str, Any] = {
        "round": plan.round,
        "strategy": plan.strategy,
        "problem": plan.digest or None,
        "clients": len(plan.clients),
        "pairs": int(plan.row_ind.size),
        "holders_min": int(loads.min()),
        "holders_max": int(loads.max()),
        "placements_changed": plan.placements_changed,
        "down_mb": plan.down_mb,
        "relaxations": [part.text for part in plan.relaxations],
        "seconds": plan.seconds,
        "reproducible": True,
    }
    if result is not None:
        figures |= {
            "class": result.problem.problem_class,
            "status": result.status.value,
            "ended_by": result.termination.value,
            "objective": result.objective_value,
            "gap": result.gap,
            "backend": result.backend,
            "fallbacks": [[step.backend, step.reason] for step in result.fallbacks],
            "solve_seconds": result.stats["total_seconds"],
            "reproducible": not _ended_by_clock(result),
        }
    return figures


def _ended_by_clock(result: Result) -> bool:
    """Tell whether a time limit or a user ended the search, or an earlier one of it."""
    return result.termination in (Termination.TIME_LIMIT, Termination.INTERRUPTED) or any(
        part in step.reason for step in result.fallbacks for part in (TIME_LIMIT, TOO_SLOW)
    )


def round_figures(
    plan: Plan, seen: Observation, accepted: list[ClientReport], metrics: dict[str, Any],
) -> dict[str, Any]:
    """Return what the log says of a round that was closed."""
    return {
        "round": plan.round,
        "accepted": seen.accepted,
        "dropped": len(seen.dropped),
        "refused": dict(sorted(Counter(refusal.kind for refusal in seen.refused).items())),
        "reported_down_mb": sum(float(report.down_mb or 0) for report in accepted),
        "reported_up_mb": sum(float(report.up_mb or 0) for report in accepted),
        "holders_cv": metrics["holders"]["cv"],
        "samples_cv": metrics["samples"]["cv"],
    }
