"""What a page consists of, and how it becomes HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alignsolve.errors import ReportError

#: The template, beside this module.
TEMPLATE = "page.html.j2"


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes
    ----------
    heads : sequence of str
        Heads of the columns; none for a table of names and values.
    rows : sequence of sequence of str
        Cells; the first of a row is its name.
    note : str
        What stands below.
    marked : sequence of int
        Rows that stand out, by their position.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    marked: Sequence[int] = ()


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes
    ----------
    title : str
        Its heading.
    text : sequence of str
        Paragraphs.
    tables : sequence of Table
        Its tables.
    svg : str
        A picture, as `inline_svg` returns it; "" for none.
    caption : str
        What the picture shows, in words: for those who do not see it, too.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    svg: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes
    ----------
    title : str
        Its title.
    summary : str
        What it is of, in one sentence.
    sections : sequence of Section
        Its parts.
    """

    title: str
    summary: str
    sections: Sequence[Section]


def inline_svg(svg: bytes) -> str:
    """Return matplotlib's SVG as an element of a page: no prolog, no metadata, size of the screen.

    Parameters
    ----------
    svg : bytes
        A file as `alignsolve.plot.style.figure_bytes` returns it.
    """
    text = svg.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    # The view box is kept, from which width and height follow.
    head, rest = text.split(">", 1)
    return re.sub(r'\s(width|height)="[^"]*"', "", head) + ' role="img">' + rest


def render(page: Page) -> str:
    """Return a page as HTML.

    Raises
    ------
    ReportError
        If jinja2 is missing.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError:
        raise ReportError("reports are made by jinja2: pip install 'alignsolve[report]'") from None
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(page=page)
