"""Lay out the closing text of a bench, so that it fits the terminal."""

from __future__ import annotations

import io

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from alignsolve.bench.contents import WRONG, Findings, class_sections, further_sections
from alignsolve.report import Section
from alignsolve.report import Table as Figures

#: Lines shown of a list; the rest is counted and stands in the CSV file.
LISTED = 12

#: Columns of text that a whole table takes.
WIDE = 98


def closing_text(report: Findings, width: int, color: bool) -> str:
    """Return everything that a bench says at its end."""
    text = io.StringIO()
    console = Console(
        file=text, width=width, force_terminal=color, color_system="standard" if color else None,
        highlight=False, markup=False, emoji=False, legacy_windows=False,
    )
    for section in [*class_sections(report, width >= WIDE), *further_sections(report)]:
        _print(console, section)
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


def _print(console: Console, section: Section) -> None:
    """Print a section; its text is cut where it has many lines."""
    console.print(Text(section.title, "bold"))
    for line in section.text[:LISTED]:
        console.print(Padding(Text(line), (0, 0, 0, 2)))
    if len(section.text) > LISTED:
        console.print(Text(f"  and {len(section.text) - LISTED} more"))
    for table in section.tables:
        if table.heads:
            console.print(_laid_out(table))
        else:
            facts = ", ".join(" ".join(row) for row in table.rows)
            console.print(Padding(Text(facts), (0, 0, 0, 2)))
        if table.note:
            console.print(Text(table.note))
        console.print()
    if not section.tables:
        console.print()


def _laid_out(figures: Figures) -> Table:
    """Return a table of backends and figures."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="")
    for at, head in enumerate(figures.heads):
        table.add_column(head, justify="right" if at else "left", no_wrap=True,
                         min_width=5 if at else 13, style="bold red" if head == WRONG else "")
    for at, row in enumerate(figures.rows):
        table.add_row(*row, style="bold" if at in figures.marked else "")
    return table
