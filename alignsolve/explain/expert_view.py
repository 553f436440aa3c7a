"""What is said of an expert."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from alignsolve.explain.owner import bare, capital, rounded
from alignsolve.explain.wording import SHOWN, Bounds, Table, Told, amount, known, spelled
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
class ExpertExplanation(Told):
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

    def summary(self) -> str:
        """Return what is said of the expert, without clients, one sentence a line."""
        lines = [f"{self.name} has {counted(self.load, 'holder')}, {self.load_min} to "
                 f"{self.load_max} allowed; {self.wanted:,} would hold it if loads did not matter"]
        lines.append(f"price of a holder: {amount(self.price)}")
        lines += [f"price of a unit of {name}: {amount(price)}"
                  for name, price in self.load_prices.items()]
        to = "" if self.next_holder is None else f", and go to {self.next_holder.name}"
        more = self._known("slot_worth", self.slot_worth)
        lines.append(f"one more slot would be worth {more}{to}")
        if self.slot_loss:
            loss = ("leave no answer" if math.isinf(self.slot_loss)
                    else f"cost {self._known('slot_loss', self.slot_loss)}")
            lines.append(f"one slot fewer would {loss}")
        if self.minimum_worth:
            less = self._known("minimum_worth", self.minimum_worth)
            lines.append(f"a minimum lower by one would be worth {less}")
        return "\n".join(lines)

    def table(self) -> Table:
        """Return the clients that hold the expert, or nearly do, as heads and rows of text."""
        rows = [
            (part.name, word, amount(part.value), spelled(part.margin, part.exact, part.bounds))
            for word, parts in (("holds it", self.weakest), ("does not", self.nearest))
            for part in parts
        ]
        return ("client", "", "value", "changes beyond"), rows

    def _details(self) -> list[str]:
        return [
            f"{state} by {part.name} ({amount(part.value)}), {_by(part)} from {change} it"
            for parts, state, change in (
                (self.weakest, "held", "losing"), (self.nearest, "not held", "getting")
            ) for part in parts[:SHOWN]
        ]  # fmt: skip

    def _for_owner(self) -> list[str]:
        name = capital(bare(self.name))
        limit = f"at most {self.load_max:,} may"
        if self.load_min > 0:
            limit = f"no fewer than {self.load_min:,} and no more than {self.load_max:,} may"
        lines = [f"{name} is trained by {counted(self.load, 'client')}; {limit}.",
                 f"{counted(self.wanted, 'client')} would choose it if places did not matter."]
        if self.slot_worth > 0:
            to = f", and go to {bare(self.next_holder.name)}" if self.next_holder else ""
            worth = f"{self._about('slot_worth')}{rounded(self.slot_worth)}"
            lines.append(f"One more place would be worth {worth}{to}.")
        return lines


def _by(part: Contender) -> str:
    if math.isinf(part.margin):
        return "infinitely far"
    return known(part.margin, part.exact, part.bounds)
