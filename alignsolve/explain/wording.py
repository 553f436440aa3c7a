"""What explanations say of numbers and pairs, in words."""

from __future__ import annotations

import math
from typing import Literal

from alignsolve.model.text import number

#: Entries of a list that texts show.
SHOWN = 5

#: For whom a text is: who knows the model, or who owns a client.
Audience = Literal["engineer", "owner"]

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


def with_notes(lines: list[str], notes: tuple[str, ...]) -> str:
    """Return lines and notes as text."""
    return "\n".join([*lines, *(f"note: {note}" for note in notes)])
