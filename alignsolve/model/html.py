"""Short tables of HTML for notebooks: escaped text, no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

#: Rows of a table that are shown; the rest is counted.
MOST_ROWS = 12

_LEFT = ' style="text-align:left"'


def facts(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """Return a table of names and values under a title; rows whose value is "" are left out.

    Parameters
    ----------
    title : str
        What the values are of.
    rows : iterable of (str, object)
        Name and value; a value is shown as text, line by line.
    """
    body = "".join(
        f"<tr><th{_LEFT}>{_escaped(name)}</th><td{_LEFT}>{_lines(value)}</td></tr>"
        for name, value in rows if str(value)
    )
    return f"<table><caption{_LEFT}>{_escaped(title)}</caption><tbody>{body}</tbody></table>"


def table(
    title: str, heads: Sequence[str], rows: Sequence[Sequence[object]], notes: Iterable[str] = ()
) -> str:
    """Return a table with a head, at most `MOST_ROWS` rows, and notes below.

    Parameters
    ----------
    title : str
        What stands above it, line by line.
    heads : sequence of str
        Heads of the columns; the first column is text, on the left.
    rows : sequence of sequences
        Cells, shown as text.
    notes : iterable of str
        A line each.
    """
    head = "".join(f"<th>{_escaped(name)}</th>" for name in heads)
    body = "".join(f"<tr>{_row(row)}</tr>" for row in rows[:MOST_ROWS])
    more = len(rows) - MOST_ROWS
    below = [*([f"and {more:,} more"] if more > 0 else []), *notes]
    return (f"<table><caption{_LEFT}>{_lines(title)}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>"
            + "".join(f"<div><small>{_escaped(line)}</small></div>" for line in below))


def _row(cells: Sequence[object]) -> str:
    return "".join(f"<td{_LEFT if at == 0 else ''}>{_escaped(str(cell))}</td>"
                   for at, cell in enumerate(cells))


def _lines(value: object) -> str:
    return "<br>".join(map(_escaped, str(value).splitlines()))


def _escaped(text: str) -> str:
    from html import escape  # its table of names is long, and few processes show HTML

    return escape(text)


def span(low: object, high: object) -> str:
    """Spell a range, or the one value that it is."""
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def problem_facts(problem: Any) -> str:
    """Return what can be said of an `AlignmentProblem` without reading its matrix."""
    fewest, most = problem.slot_bounds()
    low, high = problem.holder_bounds()
    unit = "fitness" if problem.sense == "max" else "cost"
    named = [("named loads", problem.loads), ("budgets", problem.resources)]
    return facts("AlignmentProblem", [
        ("size", f"{problem.n_clients:,} clients x {problem.n_experts:,} experts"),
        (unit, f"{problem.sense}, {problem.fitness.dtype}"
               f"{', read in blocks' if problem.streamed else ''}"),
        ("class", f"{problem.problem_class}: {problem.class_reason}"),
        ("experts of a client", _bounds(fewest, most)),
        ("holders of an expert", _bounds(low, high)),
        *((what, ", ".join(parts)) for what, parts in named),
    ])


def _bounds(low: Any, high: Any) -> str:
    """Spell the range of lower and of upper bounds."""
    if not len(low):
        return ""
    return (f"at least {span(int(low.min()), int(low.max()))}, "
            f"at most {span(int(high.min()), int(high.max()))}")
