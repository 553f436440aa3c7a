"""The report of a bench as one page of HTML."""

from __future__ import annotations

from typing import Any

from alignsolve.bench import layout
from alignsolve.bench.layout import Findings
from alignsolve.bench.score import ClassScore
from alignsolve.model.text import counted
from alignsolve.plot.style import figure_bytes
from alignsolve.report import Page, Section, Table, inline_svg


def bench_page(report: Findings, figure: Any) -> Page:
    """Return the page of a bench.

    Parameters
    ----------
    report : Findings
        What it found.
    figure : matplotlib Figure or None
        Its performance profile.
    """
    settings = report.settings
    sections = [_class_section(score) for score in report.scores]
    if report.wrong:
        sections.insert(0, Section(f"{len(report.wrong)} wrong answers", report.wrong))
    if figure is not None:
        sections.append(Section(
            "Performance profile", svg=inline_svg(figure_bytes(figure, "svg")),
            caption="Share of the common instances that each backend proves within a factor of "
                    "the fastest one's time, by class of problems.",
        ))  # fmt: skip
    lists = (("Failures", layout.failures(report)), ("Not run", layout.grouped(report.notices)))
    sections += [Section(f"{title} ({len(lines)})", lines) for title, lines in lists if lines]
    starts = [(name, f"{seconds:.2f}") for name, seconds in report.starts.items()]
    if starts:
        sections.append(Section("First use in a fresh process", tables=[
            Table(("backend", "s"), starts, "Imports and compilation; not in the times above.")
        ]))
    facts = [(name, str(value)) for name, value in settings.environment.items()]
    sections.append(Section("How it was measured", [layout.legend(settings)],
                            [Table((), facts)]))
    ended = "; interrupted, the same command goes on" if report.interrupted else ""
    return Page(
        "alignsolve bench",
        f"{counted(len(report.backends), 'backend')} on "
        f"{counted(len(report.instances), 'instance')}, {settings.time_limit:g} s a run, seed "
        f"{settings.seed}{ended}.",
        sections,
    )


def _class_section(score: ClassScore) -> Section:
    """Return the table of a class, with all its backends."""
    heads, rows = layout.class_table(score)
    title, _, what = layout.class_title(score).partition(" (")
    note = (f"gap, build, solve, proof: over the {counted(len(score.common), 'instance')} that all "
            f"compared backends support")
    return Section(title, [what.replace(")", "", 1)], [Table(heads, rows, note)])
