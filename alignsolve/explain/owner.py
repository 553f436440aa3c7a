"""Words for the owner of a client: bare names, and round numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from alignsolve.model.text import listing, number

#: Better experts, and wanted ones, that a text names.
NAMED = 3

#: Amounts below this share of the largest one are rounding, and not told.
ROUNDING = 1e-9


def bare(name: str) -> str:
    """Return how an owner calls a client or an expert: its id alone, or its kind and number."""
    found = re.fullmatch(r"(client|expert) (['\"])(.*)\2", name, re.DOTALL)
    return found[3] if found else name


def experts(names: Iterable[str]) -> str:
    """Return experts by their ids, or by their numbers after the word."""
    shown = [bare(name) for name in names]
    if all(re.fullmatch(r"expert \d+", name) for name in shown):
        word = "expert" if len(shown) == 1 else "experts"
        return f"{word} {listing([name.removeprefix('expert ') for name in shown])}"
    return listing(shown)


def capital(text: str) -> str:
    """Begin a sentence with a client or an expert; ids stay as they are."""
    return text.capitalize() if re.fullmatch(r"(client|expert) \d+", text) else text


def places(count: int) -> str:
    """Spell how many places an expert has."""
    return "only place" if count == 1 else f"{count:,} places"


def rounded(value: float, down: bool = False) -> str:
    """Spell an amount in two digits, rounded, or down where more would not be true."""
    if value == 0 or math.isinf(value):
        return number(value)
    digits = 1 - math.floor(math.log10(abs(value)))
    scaled = value * 10.0**digits
    whole = math.floor(scaled + 1e-9) if down else round(scaled)
    return number(float(f"{whole * 10.0**-digits:.2g}"))
