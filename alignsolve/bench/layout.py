"""Lay out the closing text of a bench: tables and lists that fit the terminal."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from alignsolve.bench.quality import GAPS
from alignsolve.bench.records import Instance, Row, Settings
from alignsolve.bench.score import SHIFT, ClassScore, Judgement, Summary
from alignsolve.model.text import counted

#: Lines shown of a list; the rest is counted and stands in the CSV file.
LISTED = 12

#: Names shown on such a line.
NAMED = 4

#: Columns of text that a whole table takes.
WIDE = 98

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


def closing_text(report: Findings, width: int, color: bool) -> str:
    """Return everything that a bench says at its end."""
    text = io.StringIO()
    console = Console(
        file=text, width=width, force_terminal=color, color_system="standard" if color else None,
        highlight=False, markup=False, emoji=False, legacy_windows=False,
    )
    for score in report.scores:
        _print_class(console, score)
    _print_legend(console, report)
    _print_starts(console, report)
    _print_list(console, "Failures", failures(report))
    _print_list(console, "Not run", grouped(report.notices))
    if report.wrong:
        console.print(Rule(Text(f" {len(report.wrong)} WRONG ANSWERS ", "bold red"), characters="!",
                           style="bold red"))
        for line in report.wrong:
            console.print(Text(line, "bold red"))
        console.print(Rule(characters="!", style="bold red"))
    if report.interrupted:
        console.print(Text("Interrupted: the same command goes on from here.", "bold yellow"))
    folder = report.files["jsonl"].parent
    names = ", ".join(path.name for path in report.files.values())
    console.print(Text(f"Written to {folder}: {names}"), soft_wrap=False)
    lines = (line.rstrip() for line in text.getvalue().splitlines())
    return "\n".join(lines) + "\n"


def class_title(score: ClassScore) -> str:
    """Return how a class is called, and how many instances it has."""
    title = _TITLES.get(score.problem_class, score.problem_class)
    return f"{title}: {counted(score.instances, 'instance')}"


def class_table(score: ClassScore, wide: bool = True) -> tuple[list[str], list[list[str]]]:
    """Return the table of a class: heads, and a row for each backend.

    Where it is not to be `wide`, what is least asked for is left out.
    """
    columns = {head: cell for head, cell in _COLUMNS.items() if wide or head not in _EXTRA}
    if any(one.wrong for one in score.summaries):
        columns[_WRONG] = lambda one: str(one.wrong or "")
    return list(columns), [[cell(one) for cell in columns.values()] for one in score.summaries]


def quality_table(score: ClassScore) -> tuple[list[str], list[list[str]]]:
    """Return the time to quality of the compared backends: heads, and a row for each."""
    heads = ["quality, s", *(f"to {gap}" for gap in GAPS), "integral"]
    return heads, [
        [one.backend, *map(_seconds, one.quality.figures().values())]
        for one in score.summaries if one.compared
    ]


def _print_class(console: Console, score: ClassScore) -> None:
    """Print the table of a class."""
    console.print(Text(class_title(score), "bold"))
    fastest = min((one.proof_seconds for one in score.summaries if one.compared), default=math.nan)
    heads, rows = class_table(score, console.width >= WIDE)
    table = _table(heads)
    for summary, row in zip(score.summaries, rows, strict=True):
        bold = summary.compared and summary.proof_seconds == fastest
        table.add_row(*row, style="bold" if bold else "")
    console.print(table)
    common = f"gap, build, solve, proof: over the {counted(len(score.common), 'instance')} "
    console.print(Padding(Text(common + "that all compared backends support"), (0, 0, 1, 0)))
    heads, rows = quality_table(score)
    if rows:
        table = _table(heads)
        for row in rows:
            table.add_row(*row)
        console.print(Padding(table, (0, 0, 1, 0)))


def _table(heads: Sequence[str]) -> Table:
    """Return an empty table, of backends and figures."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="")
    for at, head in enumerate(heads):
        table.add_column(head, justify="right" if at else "left", no_wrap=True,
                         min_width=5 if at else 13, style="bold red" if head == _WRONG else "")
    return table


def _print_legend(console: Console, report: Findings) -> None:
    """Say how the figures are made."""
    settings = report.settings
    console.print(Text(legend(settings)))
    versions = dict(settings.environment)
    machine = f"{versions.pop('processor', '?')}, {versions.pop('cores', '?')} cores"
    system = versions.pop("system", "?")
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    console.print(Text(f"{listed}; {system}, {machine}"))
    console.print()


def legend(settings: Settings) -> str:
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


def _print_starts(console: Console, report: Findings) -> None:
    """Print what the first use of each backend costs."""
    if report.starts:
        listed = ", ".join(f"{name} {seconds:.2f}" for name, seconds in report.starts.items())
        console.print(Text(
            f"First use in a fresh process, imports and compilation, in s (not in the times "
            f"above): {listed}"
        ))
        console.print()


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


def grouped(notices: Iterable[str]) -> list[str]:
    """Return notices ``name: reason``, those with the same reason on one line."""
    names: dict[str, list[str]] = {}
    for notice in notices:
        name, _, reason = notice.partition(": ")
        names.setdefault(reason, []).append(name)
    return [f"{_names(same)}: {reason}" for reason, same in names.items()]


def _print_list(console: Console, title: str, lines: Iterable[str]) -> None:
    """Print a list under a title, cut where it is long."""
    listed = list(lines)
    if not listed:
        return
    console.print(Text(f"{title} ({len(listed)})", "bold"))
    for line in listed[:LISTED]:
        console.print(Padding(Text(line), (0, 0, 0, 2)))
    if len(listed) > LISTED:
        console.print(Text(f"  and {len(listed) - LISTED} more"))
    console.print()


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
_WRONG = "\nWRONG"

#: Columns left out where the terminal is narrower than `WIDE`.
_EXTRA = ("build\ns", "solve\ns", "memory\nMiB")
