"""The report of a bench as one page of HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignsolve.bench.contents import Findings, class_sections, further_sections
from alignsolve.model.text import counted
from alignsolve.plot.style import figure_bytes
from alignsolve.report import Page, Section, inline_svg

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
    wrong = [Section(f"{len(report.wrong)} wrong answers", report.wrong)] if report.wrong else []
    pictures = [
        Section(title, svg=inline_svg(figure_bytes(figures[name], "svg")), caption=caption)
        for name, (title, caption) in _PROFILES.items() if name in figures
    ]
    ended = "; interrupted, the same command goes on" if report.interrupted else ""
    return Page(
        "alignsolve bench",
        f"{counted(len(report.backends), 'backend')} on "
        f"{counted(len(report.instances), 'instance')}, {report.settings.time_limit:g} s a run, "
        f"seed {report.settings.seed}{ended}.",
        [*wrong, *class_sections(report), *pictures, *further_sections(report)],
    )
