"""What a bench says: sections of text and tables, for its closing text and its page alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alignsolve.bench.quality import GAPS
from alignsolve.bench.records import Instance, Row, Settings
from alignsolve.bench.score import SHIFT, ClassScore, Judgement, Summary
from alignsolve.model.text import counted
from alignsolve.report import Section, Table

#: Names shown on a line of a list.
NAMED = 4

_TITLES = {
    "flow": "Flow class (slots, holder loads, penalties, groups, switching)",
    "mip": "MIP class (resources, further loads, fairness floors)",
}


@dataclass(frozen=True)
class Findings:
    """What a bench found.

    Attributes
    ----------
    settings : Settings
        Limits, versions, machine.
    backends : tuple of str
        Backends compared, in the order of the tables.
    instances : tuple of Instance
        Instances, by name.
    judgements : tuple of Judgement
        What each row is worth, by instance and backend.
    scores : tuple of ClassScore
        Figures per problem class; classes without instances are left out.
    starts : mapping of str to float
        Seconds of a backend's first use in a fresh process.
    notices : tuple of str
        Files that were not read and backends that are missing.
    interrupted : bool
        Whether the bench was stopped before its end.
    files : mapping of str to Path
        What was written: "jsonl", "csv", "json", "text", "svg", "png"; and "html"
        where jinja2 is installed.
    """

    settings: Settings
    backends: tuple[str, ...]
    instances: tuple[Instance, ...]
    judgements: tuple[Judgement, ...]
    scores: tuple[ClassScore, ...]
    starts: Mapping[str, float]
    notices: tuple[str, ...]
    interrupted: bool
    files: Mapping[str, Path]

    @property
    def rows(self) -> tuple[Row, ...]:
        """One per run done, by instance and backend."""
        return tuple(one.row for one in self.judgements)

    @property
    def wrong(self) -> tuple[str, ...]:
        """Wrong answers, in words."""
        return tuple(
            f"{one.row.backend} on {one.row.instance}: {one.wrong}"
            for one in self.judgements
            if one.wrong
        )


def class_sections(report: Findings, wide: bool = True) -> list[Section]:
    """Return a section for each class, with the figures of its backends.

    Where tables are not to be `wide`, what is least asked for is left out.
    """
    return [
        Section(f"{_TITLES[score.problem_class]}: {counted(score.instances, 'instance')}",
                tables=[table for table in (class_table(score, wide), quality_table(score))
                        if table.rows])
        for score in report.scores
    ]


def further_sections(report: Findings) -> list[Section]:
    """Return how it was measured, what the first use costs, and lists of what went wrong."""
    starts = [(name, f"{seconds:.2f}") for name, seconds in report.starts.items()]
    facts = list(report.settings.environment.items())
    found = [
        Section("How it was measured", [_legend(report.settings)], [Table((), facts)]),
        Section("First use in a fresh process", tables=[
            Table((), starts, "Seconds of imports and compilation; not in the times above.")
        ] if starts else []),
        *(Section(f"{title} ({len(lines)})", lines) for title, lines in
          (("Failures", failures(report)), ("Not run", _grouped(report.notices)))),
    ]
    return [section for section in found if section.text or section.tables]


def class_table(score: ClassScore, wide: bool = True) -> Table:
    """Return the figures of the backends on a class; the fastest to a proof is marked."""
    columns = {head: cell for head, cell in _COLUMNS.items() if wide or head not in _EXTRA}
    if any(one.wrong for one in score.summaries):
        columns[WRONG] = lambda one: str(one.wrong or "")
    fastest = min((one.proof_seconds for one in score.summaries if one.compared), default=math.nan)
    return Table(
        list(columns), [[cell(one) for cell in columns.values()] for one in score.summaries],
        f"gap, build, solve, proof: over the {counted(len(score.common), 'instance')} that all "
        f"compared backends support",
        [at for at, one in enumerate(score.summaries)
         if one.compared and one.proof_seconds == fastest],
    )


def quality_table(score: ClassScore) -> Table:
    """Return the time to quality of the compared backends."""
    return Table(
        ["quality, s", *(f"to {gap}" for gap in GAPS), "integral"],
        [[one.backend, *map(_seconds, one.quality.figures().values())]
         for one in score.summaries if one.compared],
        "Seconds to an answer within a share of the best bound, and the primal integral.",
    )


def _legend(settings: Settings) -> str:
    """Return how the figures are made."""
    limit = settings.time_limit
    return (
        f"Each run in a process of its own: {limit:g} s (killed at {settings.kill_after():g} s), "
        f"{settings.memory_limit:g} MiB, {counted(settings.threads, 'thread')}, "
        f"{counted(settings.jobs, 'run')} at a time, seed {settings.seed}. Solved: optimal or "
        f"infeasible with proof; proved here: prices or conflict recomputed without a solver. "
        f"At best: value equals the best known. Gap: mean distance from it, 100% without an "
        f"answer. Times: geometric means shifted by {SHIFT:g} s; proof is all time until solved, "
        f"or {limit:g} s where not. Quality: time until an answer is within {', '.join(GAPS)} of "
        f"the best bound, {limit:g} s where never; integral: of the gap to the best known value "
        f"over {limit:g} s. Memory: most that a run took beyond libraries and instance. "
        f"-: too few instances supported to compare."
    )


def failures(report: Findings) -> list[str]:
    """Return failures, those alike on one line; wrong answers have a list of their own."""
    failed: dict[tuple[str, str, str], list[str]] = {}
    for one in report.judgements:
        if one.failed and not one.wrong:
            outcome = "late" if one.late else one.row.outcome
            # How a killed run ended says nothing new; how others did, may.
            reason = "" if outcome in ("late", "timeout", "memory") else f": {one.row.message}"
            failed.setdefault((one.row.backend, outcome, reason), []).append(one.row.instance)
    alike: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (backend, outcome, reason), names in failed.items():
        alike.setdefault((outcome, reason, tuple(names)), []).append(backend)
    return [
        f"{', '.join(backends)}: {outcome} on {_names(names)}{reason}"
        for (outcome, reason, names), backends in alike.items()
    ]


def _names(names: Sequence[str]) -> str:
    """Return the first names of a list, and how many follow."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _grouped(notices: Iterable[str]) -> list[str]:
    """Return notices ``name: reason``, those with the same reason on one line."""
    names: dict[str, list[str]] = {}
    for notice in notices:
        name, _, reason = notice.partition(": ")
        names.setdefault(reason, []).append(name)
    return [f"{_names(same)}: {reason}" for reason, same in names.items()]


def _seconds(value: float) -> str:
    """Return seconds with the digits that matter."""
    if math.isnan(value):
        return "-"
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _percent(share: float) -> str:
    if math.isnan(share):
        return "-"
    percent = 100.0 * share
    if percent == 0:
        return "0"
    return f"{percent:.0f}%" if percent >= 10 else f"{percent:.2g}%" if percent >= 0.01 else "<.01%"


def _mean(text: Callable[[float], str], name: str) -> Callable[[Summary], str]:
    """Return a cell of a mean, which only compared backends have."""
    return lambda one: text(getattr(one, name)) if one.compared else "-"


def _tally(name: str) -> Callable[[Summary], str]:
    """Return a cell of a count, which only backends that support something have."""
    return lambda one: str(getattr(one, name)) if one.supported else "-"


#: Cells by heading. Counts of what should not happen are blank where it did not.
_COLUMNS: dict[str, Callable[[Summary], str]] = {
    "\nbackend": lambda one: one.backend,
    "\nsolved": lambda one: f"{one.solved}/{one.supported}" if one.supported else "-",
    "proved\nhere": _tally("proved_here"),
    "by\nsolver": _tally("proved_by_solver"),
    "at\nbest": _tally("at_best"),
    "\ngap": _mean(_percent, "gap"),
    "build\ns": _mean(_seconds, "build_seconds"),
    "solve\ns": _mean(_seconds, "solve_seconds"),
    "proof\ns": _mean(_seconds, "proof_seconds"),
    "memory\nMiB": lambda one: "-" if math.isnan(one.rise_mib) else f"{one.rise_mib:.0f}",
    "no\nanswer": lambda one: str(one.nothing or ""),
    "\nfailed": lambda one: str(one.failed or ""),
    "not\nsupp.": lambda one: str(one.unsupported or ""),
}

#: Wrong answers have a column where there are any.
WRONG = "\nWRONG"

#: Columns left out where the terminal is narrower than `WIDE`.
_EXTRA = ("build\ns", "solve\ns", "memory\nMiB")
