"""What explanations say of numbers and pairs, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from alignsolve.model.text import number

#: Entries of a list that texts show.
SHOWN = 5

#: For whom a text is: who knows the model, or who owns a client.
Audience = Literal["engineer", "owner"]

#: Heads of the columns, and the rows.
Table = tuple[Sequence[str], Sequence[Sequence[str]]]

#: What stands before an estimate in a table, and what that says.
ESTIMATE = "~"
ESTIMATED = f"{ESTIMATE}: an estimate; exact=True, or --exact, settles it where time allows"

#: Proved bounds of a number that is not known.
Bounds = tuple[float, float] | None


def amount(value: float) -> str:
    """Spell an amount of fitness in six digits."""
    return number(float(f"{value:.6g}"))


def known(value: float, exact: bool, bounds: Bounds = None) -> str:
    """Spell an amount that is exact, between proved bounds, or an estimate."""
    if exact:
        return amount(value)
    if bounds is None:
        return f"about {amount(value)}"
    low, high = bounds
    return f"at least {amount(low)}" if math.isinf(high) else f"{amount(low)} to {amount(high)}"


def mark(exact: bool) -> str:
    """Return what stands before an estimate in a table."""
    return "" if exact else ESTIMATE


def spelled(value: float, exact: bool = True, bounds: Bounds = None) -> str:
    """Spell an amount for a table; "never" where it is infinite."""
    if math.isinf(value):
        return "never"
    if not exact and bounds is not None:
        low, high = bounds
        return f"{amount(low)} or more" if math.isinf(high) else f"{amount(low)} - {amount(high)}"
    return mark(exact) + amount(value)


def remarks(table: Table, notes: tuple[str, ...]) -> list[str]:
    """Return what is to be said below a table."""
    marked = any(cell.startswith(ESTIMATE) for row in table[1] for cell in row)
    return [*([ESTIMATED] if marked else []), *(f"note: {note}" for note in notes)]


def with_notes(lines: list[str], notes: tuple[str, ...]) -> str:
    """Return lines and notes as text."""
    return "\n".join([*lines, *(f"note: {note}" for note in notes)])
