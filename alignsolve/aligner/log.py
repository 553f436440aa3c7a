"""One line of JSON for everything that an aligner did, written at once."""

from __future__ import annotations

import json
import logging
import math
import os
from collections import Counter
from pathlib import Path
from typing import IO, Any

from alignsolve.aligner.plan import Plan
from alignsolve.aligner.policy import Round, round_problem
from alignsolve.aligner.reports import ClientReport, Observation
from alignsolve.backends.portfolio import TOO_SLOW
from alignsolve.io.files import TornWriteError, append_whole
from alignsolve.model.digest import problem_digest
from alignsolve.result import Result
from alignsolve.status import Termination

logger = logging.getLogger(__name__)

#: What fallbacks say that time ended.
TIME_LIMIT = Termination.TIME_LIMIT.value


class RoundLog:
    """Appends lines of JSON to a file.

    Parameters
    ----------
    path : path or None
        The file; a relative one is that of the working folder now. None for no log.

    Notes
    -----
    The file is opened for every line, so that a crash loses none that was
    written, and other programs may rotate it. A log that cannot be written stops
    nothing: lines are lost, the first with a warning, until it can be again.

    No two events are alike: ``start`` is drawn for each aligner that is made or loaded,
    and ``number`` counts its events from 1, lost ones too. An aligner that goes on from a
    state first writes ``load`` with that state's ``round``: what stands above it of later
    rounds was never saved, and is played again.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = None if path is None else Path(path).absolute()
        self.start = os.urandom(8).hex()
        self.number = 0
        self._warned = False
        #: Whether the last line lacks its end; None where the file was not looked at yet.
        self._torn: bool | None = None

    def write(self, event: str, **figures: Any) -> None:
        """Append an event with its figures; infinities and NaN become null."""
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
                if self._torn is None:
                    self._torn = _is_torn(stream)
                append_whole(stream.fileno(), b"\n" * self._torn + line)
            self._torn = False
        except OSError as error:
            if isinstance(error, TornWriteError):  # the next line must not join it
                self._torn = True
            if not self._warned:
                self._warned = True
                logger.warning("log %s cannot be written: %s; rounds go on without it",
                               self.path, error.strerror or error)

    def plan(self, event: str, plan: Plan, inputs: Round, **figures: Any) -> None:
        """Append a plan, with digests of its inputs and problem, which take time to compute.

        The inputs' digest is that of the optimal strategy's problem, whatever the strategy.
        """
        logger.info("round %d: %s of %d pairs for %d clients by %r in %.3f s", plan.round, event,
                    plan.row_ind.size, len(plan.clients), plan.strategy, plan.seconds)
        for part in plan.relaxations:
            logger.info("round %d: relaxed: %s", plan.round, part.text)
        if self.path is not None:
            optimal = plan.strategy == "optimal"
            digest = plan.digest if optimal else problem_digest(round_problem(inputs))
            self.write(event, **figures, inputs=digest, **plan_figures(plan))

    def observe(
        self, plan: Plan, seen: Observation, accepted: list[ClientReport], metrics: dict[str, Any]
    ) -> None:
        """Append what became of a round that was closed."""
        logger.info("round %d: %d reports taken, %d refused, %d clients dropped out", plan.round,
                    seen.accepted, len(seen.refused), len(seen.dropped))
        for refusal in seen.refused:
            logger.info("round %d: the report of %r is refused: %s", plan.round, refusal.client,
                        refusal.reason)
        kinds = Counter(refusal.kind for refusal in seen.refused)
        self.write(
            "observe", round=plan.round, accepted=seen.accepted, dropped=len(seen.dropped),
            refused=dict(sorted(kinds.items())),
            reported_down_mb=sum(float(report.down_mb or 0) for report in accepted),
            reported_up_mb=sum(float(report.up_mb or 0) for report in accepted),
            holders_cv=metrics["holders"]["cv"], samples_cv=metrics["samples"]["cv"],
        )


def _is_torn(stream: IO[bytes]) -> bool:
    """Tell whether a file's last line lacks its end, as a kill may leave it."""
    size = stream.seek(0, os.SEEK_END) if stream.seekable() else 0
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
