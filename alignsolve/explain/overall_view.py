"""What is said of an answer as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from alignsolve.explain.owner import NAMED, ROUNDING, bare, rounded
from alignsolve.explain.wording import SHOWN, Table, Told, amount, spelled
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.text import counted


@dataclass(frozen=True, eq=False)
class Explanation(Told):
    """What an answer as a whole gives up, and for which bounds.

    Attributes
    ----------
    objective_value : float
        Objective, in the problem's own sense.
    total : float
        Sum of the pairs' values, switching costs included and penalties not.
    free : float
        The same where loads do not matter: every client's best set within its
        slots, groups, budgets and floor.
    balance : float
        Price of balance: the fitness given up for the bounds and penalties of
        loads, the difference of both, >= 0.
    prices : float64 array, shape (n_experts,)
        Price of a holder of each expert, in the problem's own sense.
    slot_worth, minimum_worth : float64 array, shape (n_experts,)
        What one unit more of each upper load bound, and less of each lower
        one, would add to the optimum.
    client_slot_worth : float64 array, shape (n_clients,)
        What one more slot of each client would add.
    regret : float64 array, shape (n_clients,)
        What each client forgoes for the others, >= 0.
    expert_names : tuple of str
        How messages call the experts.
    exact : bool
        Whether all worths are exact.
    notes : tuple of str
        What is to be known of these numbers.
    load_prices : mapping of str to float64 array, shape (n_experts,)
        Price of a unit of each named load, in the problem's own sense.
    estimates : tuple of str
        Which worths are estimates, as ``"client_slot_worth"``.
    loads, load_min, load_max : int64 array, shape (n_experts,)
        Holders of each expert, and their whole bounds; at most the number of clients.

    Examples
    --------
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 1]], max_experts=1, load_max=1)
    >>> overall = al.explain(problem, al.solve(problem))
    >>> overall.free, overall.total, overall.balance
    (5.0, 4.0, 1.0)
    """

    objective_value: float
    total: float
    free: float
    balance: float
    prices: Float64Array = field(repr=False)
    slot_worth: Float64Array = field(repr=False)
    minimum_worth: Float64Array = field(repr=False)
    client_slot_worth: Float64Array = field(repr=False)
    regret: Float64Array = field(repr=False)
    expert_names: tuple[str, ...] = field(repr=False)
    exact: bool
    notes: tuple[str, ...] = ()
    load_prices: Mapping[str, Float64Array] = field(default_factory=dict, repr=False)
    estimates: tuple[str, ...] = ()
    loads: IntArray = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)
    load_min: IntArray = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)
    load_max: IntArray = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)

    def summary(self) -> str:
        """Return what balance costs, one sentence a line."""
        share = f", {self.balance / abs(self.free):.2%} of it" if self.free else ""
        lines = [
            f"objective {amount(self.objective_value)}; the pairs are worth {amount(self.total)}",
            f"without bounds and penalties of loads they could be worth {amount(self.free)}",
            f"price of balance: {amount(self.balance)}{share}",
        ]
        if self.client_slot_worth.size:
            gains = self.client_slot_worth
            least = f"{self._about('client_slot_worth')}{amount(gains.min())}"
            lines.append(f"one more slot for a client would be worth {least} "
                         f"to {amount(gains.max())}, on average {amount(gains.mean())}")
        return "\n".join(lines)

    def table(self) -> Table:
        """Return all experts, those whose slots are worth most first, as heads and rows of text."""
        exact = [name not in self.estimates for name in ("slot_worth", "minimum_worth")]
        rows = [
            (self.expert_names[j], f"{self.loads[j]:,}",
             f"{self.load_min[j]:,} to {self.load_max[j]:,}", amount(float(self.prices[j])),
             spelled(float(self.slot_worth[j]), exact[0]),
             spelled(float(self.minimum_worth[j]), exact[1]))
            for j in np.argsort(-self.slot_worth, kind="stable").tolist()
        ]
        return ("expert", "holders", "allowed", "price", "one slot more", "one needed less"), rows

    def _details(self) -> list[str]:
        return [
            f"{what} for {self.expert_names[j]} would be worth {self._known(name, worth[j])}"
            for name, what, worth in (
                ("slot_worth", "one more slot", self.slot_worth),
                ("minimum_worth", "a minimum lower by one", self.minimum_worth),
            ) for j in _dearest(worth, SHOWN)
        ]  # fmt: skip

    def _for_owner(self) -> list[str]:
        share = f", {self.balance / abs(self.free):.1%} of it all" if self.free else ""
        largest = float(self.regret.max(initial=0.0))
        content = int((self.regret <= ROUNDING * max(1.0, largest)).sum())
        return [
            f"To share the experts out, the clients give up {rounded(self.balance)}{share}.",
            f"{content:,} of {counted(self.regret.size, 'client')} "
            f"{'has' if content == 1 else 'have'} what suits them best; no client gives up more "
            f"than {rounded(largest)}.",
            *(f"One more place with {bare(self.expert_names[j])} would be worth "
              f"{self._about('slot_worth')}{rounded(self.slot_worth[j])}."
              for j in _dearest(self.slot_worth, NAMED)),
        ]


def _dearest(worth: Float64Array, most: int) -> list[int]:
    """Return the experts of the largest worths above 0, so many at most."""
    return [j for j in np.argsort(-worth, kind="stable")[:most].tolist() if worth[j] > 0]
