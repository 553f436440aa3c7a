"""What explanations have in common: how they are told, and numbers in words."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

from alignsolve.errors import ProblemError
from alignsolve.model import html
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


class Told(ABC):
    """An explanation: a summary, a table, and a text for each audience.

    Attributes
    ----------
    notes : tuple of str
        What is to be known of its numbers.
    estimates : tuple of str
        Which of its worths are estimates.
    """

    notes: tuple[str, ...]
    estimates: tuple[str, ...]

    @abstractmethod
    def summary(self) -> str:
        """Return what is said first, one sentence a line."""

    @abstractmethod
    def table(self) -> Table:
        """Return the rest as heads and rows of text."""

    @abstractmethod
    def _details(self) -> list[str]:
        """Return what a text says after the summary, one sentence an entry."""

    @abstractmethod
    def _for_owner(self) -> list[str]:
        """Return what the owner of a client is told, one sentence or two an entry."""

    def text(self, audience: Audience = "engineer") -> str:
        """Return the explanation in sentences, one a line.

        Parameters
        ----------
        audience : {"engineer", "owner"}
            For the owner of a client it is shorter, in round numbers, without prices.

        Raises
        ------
        ProblemError
            If there is no such audience.
        """
        if audience not in ("engineer", "owner"):
            raise ProblemError(f"audience is {audience!r}; give 'engineer' or 'owner'")
        if audience == "owner":
            return "\n".join(self._for_owner())
        notes = (f"note: {note}" for note in self.notes)
        return "\n".join([self.summary(), *self._details(), *notes])

    def _repr_html_(self) -> str:
        table = self.table()
        return html.table(self.summary(), *table, remarks(table, self.notes))

    def _known(self, name: str, value: float) -> str:
        """Spell a worth."""
        return known(value, name not in self.estimates)

    def _about(self, name: str) -> str:
        """Return what stands before a worth in round numbers."""
        return "about " if name in self.estimates else ""
