"""What is said of an expert."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from alignsolve.explain.owner import (
    about_unless,
    bare,
    capital,
    is_audience,
    rounded,
)
from alignsolve.explain.wording import (
    SHOWN,
    Audience,
    Bounds,
    Table,
    amount,
    known,
    remarks,
    spelled,
    with_notes,
)
from alignsolve.model import html
from alignsolve.model.text import counted


@dataclass(frozen=True)
class Contender:
    """A client that holds an expert, or nearly does.

    Attributes
    ----------
    client : int
        The client.
    name : str
        How messages call it.
    value : float
        Fitness (or cost) of the pair, in the problem's own sense.
    margin : float
        By how much its fitness may fall (cost rise) before it loses the expert;
        for one that does not hold it, must rise before it gets it.
    exact : bool
        Whether `margin` is exact; else it is an estimate at the prices.
    bounds : tuple of float, or None
        Proved bounds of `margin` where it is not exact and they are known.
    """

    client: int
    name: str
    value: float
    margin: float
    exact: bool = True
    bounds: Bounds = None


@dataclass(frozen=True)
class ExpertExplanation:
    """Why an expert has the holders it has.

    Attributes
    ----------
    expert : int
        The expert.
    name : str
        How messages call it.
    load : int
        Its holders.
    load_min, load_max : int
        Its bounds on holders, rounded inward; at most the number of clients.
    price : float
        Price of a holder, in the problem's own sense.
    wanted : int
        Clients that would hold it if loads did not matter.
    slot_worth : float
        What an upper load bound higher by one would add to the optimum.
    slot_loss : float
        What an upper load bound lower by one would cost; infinite where no
        answer were left.
    minimum_worth : float
        What a lower load bound lower by one would add.
    next_holder : Contender or None
        Who would take the further slot, in one best answer, or by an estimate is nearest
        to it; None where it is not known, or the slot is worth nothing.
    weakest : tuple of Contender
        Holders, those nearest to losing it first.
    nearest : tuple of Contender
        Others, those nearest to getting it first.
    exact : bool
        Whether all margins and worths are exact.
    notes : tuple of str
        What is to be known of these numbers.
    load_prices : mapping of str to float
        Price of a unit of each named load of the expert, in the problem's own sense.
    estimates : tuple of str
        Which worths are estimates, as ``"slot_worth"``.

    Examples
    --------
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 1]], max_experts=1, load_max=1)
    >>> view = al.explain(problem, al.solve(problem), expert=0)
    >>> view.load, view.wanted, view.slot_worth
    (1, 2, 1.0)
    """

    expert: int
    name: str
    load: int
    load_min: int
    load_max: int
    price: float
    wanted: int
    slot_worth: float
    slot_loss: float
    minimum_worth: float
    next_holder: Contender | None
    weakest: tuple[Contender, ...]
    nearest: tuple[Contender, ...]
    exact: bool
    notes: tuple[str, ...] = ()
    load_prices: Mapping[str, float] = field(default_factory=dict)
    estimates: tuple[str, ...] = ()

    def _worth(self, name: str) -> str:
        return known(getattr(self, name), name not in self.estimates)

    def summary(self) -> str:
        """Return what is said of the expert, without clients, one sentence a line."""
        lines = [f"{self.name} has {counted(self.load, 'holder')}, {self.load_min} to "
                 f"{self.load_max} allowed; {self.wanted:,} would hold it if loads did not matter"]
        lines.append(f"price of a holder: {amount(self.price)}")
        lines += [f"price of a unit of {name}: {amount(price)}"
                  for name, price in self.load_prices.items()]
        to = "" if self.next_holder is None else f", and go to {self.next_holder.name}"
        lines.append(f"one more slot would be worth {self._worth('slot_worth')}{to}")
        if self.slot_loss:
            loss = ("leave no answer" if math.isinf(self.slot_loss)
                    else f"cost {self._worth('slot_loss')}")
            lines.append(f"one slot fewer would {loss}")
        if self.minimum_worth:
            lines.append(f"a minimum lower by one would be worth {self._worth('minimum_worth')}")
        return "\n".join(lines)

    def table(self) -> Table:
        """Return the clients that hold the expert, or nearly do, as heads and rows of text."""
        rows = [
            (part.name, word, amount(part.value), spelled(part.margin, part.exact, part.bounds))
            for word, parts in (("holds it", self.weakest), ("does not", self.nearest))
            for part in parts
        ]
        return ("client", "", "value", "changes beyond"), rows

    def _repr_html_(self) -> str:
        table = self.table()
        return html.table(self.summary(), *table, remarks(table, self.notes))

    def text(self, audience: Audience = "engineer") -> str:
        """Return the explanation in sentences, one a line; see `ClientExplanation.text`."""
        if is_audience(audience):
            return _expert_text(self)
        lines = [self.summary()]
        for parts, state, change in (
            (self.weakest, "held", "losing"), (self.nearest, "not held", "getting")
        ):
            lines += [
                f"{state} by {part.name} ({amount(part.value)}), {_by(part)} from {change} it"
                for part in parts[:SHOWN]
            ]
        return with_notes(lines, self.notes)


def _by(part: Contender) -> str:
    if math.isinf(part.margin):
        return "infinitely far"
    return known(part.margin, part.exact, part.bounds)


def _expert_text(found: ExpertExplanation) -> str:
    """Return why an expert has its clients, one sentence or two a line."""
    name = capital(bare(found.name))
    limit = f"at most {found.load_max:,} may"
    if found.load_min > 0:
        limit = f"no fewer than {found.load_min:,} and no more than {found.load_max:,} may"
    lines = [f"{name} is trained by {counted(found.load, 'client')}; {limit}.",
             f"{counted(found.wanted, 'client')} would choose it if places did not matter."]
    if found.slot_worth > 0:
        to = f", and go to {bare(found.next_holder.name)}" if found.next_holder else ""
        about = about_unless("slot_worth" not in found.estimates)
        lines.append(f"One more place would be worth {about}{rounded(found.slot_worth)}{to}.")
    return "\n".join(lines)
