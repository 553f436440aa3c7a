"""The report of a bench as one page of HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignsolve.bench import layout
from alignsolve.bench.layout import Findings
from alignsolve.bench.score import ClassScore
from alignsolve.model.text import counted
from alignsolve.plot.style import figure_bytes
from alignsolve.report import Page, Section, Table, inline_svg

#: Title and caption of each picture, by the name of its file.
_PROFILES = {
    "profile": ("Performance profile",
                "Share of the common instances that each backend proves within a factor of the "
                "fastest one's time, by class of problems."),
    "quality": ("Profile of time to quality",
                "Share of the common instances that each backend answers within a share of the "
                "best bound, within a factor of the fastest one's time."),
}


def bench_page(report: Findings, figures: Mapping[str, Any]) -> Page:
    """Return the page of a bench.

    Parameters
    ----------
    report : Findings
        What it found.
    figures : mapping of str to matplotlib Figure
        Its performance profiles, by the names of their files.
    """
    settings = report.settings
    sections = [_class_section(score) for score in report.scores]
    if report.wrong:
        sections.insert(0, Section(f"{len(report.wrong)} wrong answers", report.wrong))
    for name, figure in figures.items():
        title, caption = _PROFILES[name]
        sections.append(Section(title, svg=inline_svg(figure_bytes(figure, "svg")),
                                caption=caption))
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
    heads = [" ".join(head.split()) for head in heads]
    title, _, what = layout.class_title(score).partition(" (")
    note = (f"gap, build, solve, proof: over the {counted(len(score.common), 'instance')} that all "
            f"compared backends support")
    quality = "Seconds to an answer within a share of the best bound, and the primal integral."
    return Section(title, [what.replace(")", "", 1)], [
        Table(heads, rows, note), Table(*layout.quality_table(score), quality)
    ])
