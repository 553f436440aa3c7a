"""The state of a greedy search: an assignment and, kept up to date, what it uses.

The bounds of the model fall on two sides. A client has its own: slots, groups,
budgets, a fairness floor. An expert has its loads: holders, each of weight 1,
and the named loads. A move changes one client, and an expert or two. Every
bound may be broken for a while; what that costs is its excess, in units of a
typical entry, times `State.strain` and the bound's weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from alignsolve.backends.greedy.excess import count_change, excess, excess_change
from alignsolve.backends.greedy.params import DEFAULTS, GreedyParams
from alignsolve.model.arrays import BoolArray, Float64Array, FloatArray, IntArray
from alignsolve.model.problem import AlignmentProblem, Feature
from alignsolve.standard_form import CouplingConstraints, Margin, client_sums

#: In place of an array of experts: all of them, one column each.
ALL: Final = slice(None)
Experts = IntArray | slice

#: Position of the slots among the kinds of a client's bounds.
SLOTS = 0


class State:
    """An assignment with its sums, its broken bounds, and the cost of a move.

    Parameters
    ----------
    problem : AlignmentProblem
        At least one client and one expert.
    params : GreedyParams
        How much is tried, for whoever changes the state.

    Attributes
    ----------
    held : bool array, shape (n_clients, n_experts)
        The assignment.
    values : float array, shape (n_clients, n_experts)
        Fitness less switching cost, max sense; ``-inf`` forbids.
    weight : float64 array, shape (n_loads, n_clients)
        Weight of a client in each load; load 0 counts holders.
    amount, low, high : float64 array, shape (n_loads, n_experts)
        Loads of every expert and their bounds, tolerance included.
    count, slot_low, slot_high : int64 array, shape (n_clients,)
        Experts of every client and their bounds.
    counted : list of tuple
        These and the same for groups, as the group of each expert, and counts and lower and
        upper bounds of shape (n_clients, n_groups); slots bound a single group of all experts.
    sums, sum_high : float64 array, shape (n_sums, n_clients)
        Sums that budgets bound from above, and the bounds, tolerance included; last, where
        there is a fairness floor, what a client holds and has to hold, both negated.
    n_budgets : int
        Number of the budgets.
    client_weight : float64 array, shape (n_kinds, n_clients)
        How much each broken bound of a client counts: its slots, its groups,
        its budgets and floor.
    expert_weight : float64 array, shape (n_loads, n_experts)
        How much each broken load bound counts.
    strain : float
        Cost of one unit of excess: more than any single move gains.
    largest : float
        Largest finite absolute value of a pair, or 1 where all are 0.
    """

    def __init__(self, problem: AlignmentProblem, params: GreedyParams = DEFAULTS) -> None:
        n, m = problem.n_clients, problem.n_experts
        self.problem, self.params = problem, params
        self.n_clients, self.n_experts = n, m
        self.held: BoolArray = np.zeros((n, m), dtype=np.bool_)
        switching = Feature.SWITCHING in problem.features
        self.values: FloatArray = problem.values(slice(0, n)) if switching else problem.fitness
        self._load_parts()
        self._client_parts()
        self.client_weight = np.ones((len(self.counted) + len(self.entries), n))
        self.expert_weight = np.ones_like(self.amount)
        least = float(self.values.min(initial=0, where=self.values > -np.inf))
        self.largest = max(float(self.values.max(initial=0)), -least) or 1.0
        steps = self.slope * (2 * np.maximum(np.abs(self.target), self.weight.sum(1)[:, None]) + 1)
        self.strain = 10.0 * self.largest + float(steps.max(initial=0.0))

    @property
    def noise(self) -> float:
        """Differences of costs below this are rounding: of values, and of weights that grew."""
        heaviest = max(self.client_weight.max(), self.expert_weight.max())
        return 1e-12 * self.largest + 1e-13 * self.strain * float(heaviest - 1.0)

    # -- parts of the model ---------------------------------------------------

    def _load_parts(self) -> None:
        """Set up the loads: holders first, then the named ones that matter."""
        loads = CouplingConstraints.of(self.problem, Margin.INWARD, all_holders=True)
        self.weight, self.low, self.high = loads.weight, loads.low, loads.high
        self.slope, self.target = loads.slope, loads.target
        self.load_unit = np.array([_typical(weight) for weight in self.weight])
        self.amount = np.zeros(self.low.shape)

    def _client_parts(self) -> None:
        """Set up slots, groups, and the sums that budgets and floors bound."""
        problem, n = self.problem, self.n_clients
        self.count = np.zeros(n, dtype=np.int64)
        self.slot_low, self.slot_high = problem.slot_bounds()
        everywhere = np.zeros(self.n_experts, dtype=np.int64)
        slots = (part[:, None] for part in (self.count, self.slot_low, self.slot_high))
        self.counted: list[tuple[IntArray, ...]] = [(everywhere, *slots)]
        if problem.expert_group is not None:
            none = np.zeros((n, problem.n_groups), dtype=np.int64)
            bounds = (none if b is None else b for b in (problem.group_min, problem.group_max))
            self.counted.append((problem.expert_group, none.copy(), *bounds))
        sums = client_sums(problem, Margin.INWARD)
        #: Matrices whose row sums are bounded, (n_clients, n_experts) each.
        self.entries: list[npt.NDArray[Any]] = []
        self.sum_high, self.sums = (np.zeros((len(sums), n), order="F") for _ in range(2))
        self.n_budgets = 0
        for k, part in enumerate(sums):
            is_budget = bool(np.isfinite(part.high).any())
            self.n_budgets += is_budget
            entries = part.entries(slice(None))
            self.entries.append(entries if is_budget else -entries)
            self.sum_high[k] = part.high if is_budget else -part.low
        self.sum_unit = np.array([_typical(entries) for entries in self.entries])

    # -- changes --------------------------------------------------------------

    def allows(
        self, clients: IntArray, drop: IntArray | None, add: Experts, most: Float64Array | None
    ) -> BoolArray:
        """Tell which moves break no bound (further), whatever pairs are held or forbidden.

        Parameters
        ----------
        clients, drop, add :
            As in `client_change`.
        most : float64 array, shape (n_loads, n_experts), or None
            Loads up to which experts take clients; None for no end.

        Returns
        -------
        allowed : bool array, shape (k,), or (k, n_experts) for `ALL`
        """
        spread = _spread_over(add)
        fits = np.ones(self._shape(clients, add), dtype=np.bool_)
        if drop is None:
            fits &= spread(self.count[clients] < self.slot_high[clients])
        for group, count, low, high in self.counted[SLOTS + 1 :]:
            taken, who = group[add], spread(clients)
            barred = count[who, taken] >= high[who, taken]
            if drop is not None:
                given = group[drop]
                barred |= spread(count[clients, given] <= low[clients, given])
                barred &= spread(given) != taken
            fits &= ~barred
        for room, entries in zip(self.room(clients), self.entries, strict=True):
            if drop is not None:
                room = room + entries[clients, drop]
            fits &= entries[clients, add] <= spread(room)
        if most is not None:
            fits &= self.has_room(clients, add, most)
        return fits

    def has_room(self, clients: IntArray, add: Experts, most: Float64Array) -> BoolArray:
        """Tell which experts' loads stay up to `most` with a client; shapes as of `allows`."""
        fits: Any = True
        for room, weight in zip(most - self.amount, self.weight[:, clients], strict=True):
            fits &= _spread_over(add)(weight) <= room[add]
        return np.asarray(fits)

    def _shape(self, clients: IntArray, add: Experts | int | None) -> tuple[int, ...]:
        return (clients.size, self.n_experts) if isinstance(add, slice) else clients.shape

    def room(self, clients: IntArray) -> Float64Array:
        """Return what the bounds on clients' sums leave, (n_sums, k); 0 where one is broken."""
        # What is known of a client lies together.
        left = self.sum_high.T[clients] - self.sums.T[clients]
        return np.maximum(left, 0.0).T

    def client_change(
        self, clients: IntArray, drop: IntArray | int | None, add: Experts | int | None
    ) -> Float64Array:
        """Return how much the clients' own broken bounds would cost more.

        Parameters
        ----------
        clients : int64 array, shape (k,)
            Who moves.
        drop, add : int64 array, shape (k,), int, or None
            Expert given up, and taken; `ALL` for every expert in turn.

        Returns
        -------
        change : float64 array, shape (k,), or (k, n_experts) for `ALL`
        """
        is_table, spread = isinstance(add, slice), _spread_over(add)
        total = np.zeros(self._shape(clients, add))
        cost = self.strain * self.client_weight[:, clients]
        for kind, (group, *counts) in enumerate(self.counted):
            if kind == SLOTS and drop is not None and add is not None:
                continue
            change: Any = 0
            if drop is not None:
                less = count_change(-1, *(part[clients, group[drop]] for part in counts))
                change = spread(less)
            if add is not None:
                who = clients if is_table else (clients, group[add])
                more = count_change(1, *(part[who] for part in counts))
                change = change + (more[:, group] if is_table else more)
            if drop is not None and add is not None:
                change = np.where(spread(group[drop]) == group[add], 0, change)
            total += change * spread(cost[kind])
        for k, entries in enumerate(self.entries):
            net: Any = 0.0 if add is None else entries[clients, add]
            if drop is not None:
                net = net - spread(entries[clients, drop])
            now, high = (spread(part[k][clients]) for part in (self.sums, self.sum_high))
            change = excess_change(self.sum_unit[k], net, now, -np.inf, high)
            total += change * spread(cost[len(self.counted) + k])
        return total

    def expert_change(
        self, experts: int | IntArray | slice, delta: Sequence[Any] | npt.NDArray[Any]
    ) -> Float64Array:
        """Return how much more experts would cost: penalties and broken load bounds.

        Parameters
        ----------
        experts : int, int array or slice
            Which; broadcasts against the entries of `delta`.
        delta : sequence of arrays, one per load
            Change of each load.
        """
        total: Any = 0.0
        for c, change in enumerate(delta):
            now, low, high = (part[c, experts] for part in (self.amount, self.low, self.high))
            broken = excess_change(self.load_unit[c], change, now, low, high)
            total = total + self.strain * self.expert_weight[c, experts] * broken
            # The difference of two squares, factored: integers stay exact.
            slope = self.slope[c, experts]
            total = total + slope * change * (change + 2 * (now - self.target[c, experts]))
        return np.asarray(total, dtype=np.float64)

    def load_prices(self) -> Float64Array:
        """Return what a unit more of each load costs its expert, (n_loads, n_experts).

        A load within its bounds costs its penalty alone.
        """
        broken = (self.amount > self.high).astype(np.float64) - (self.amount < self.low)
        broken *= self.strain * self.expert_weight / self.load_unit[:, None]
        return np.asarray(broken + 2 * self.slope * (self.amount - self.target))

    # -- moves ----------------------------------------------------------------

    def moves(self, drop: int | None, add: int | None) -> tuple[IntArray, Float64Array]:
        """Return who could give up an expert for another, and what each would lose.

        Parameters
        ----------
        drop, add : int or None
            Expert given up, and taken; None for an addition or a drop alone.

        Returns
        -------
        clients : int64 array, shape (k,)
        loss : float64 array, shape (k,)
            Value lost plus the change of the client's own broken bounds.
        """
        may = self.count < self.slot_high if drop is None else self.held[:, drop]
        if add is not None:
            may = may & ~self.held[:, add]
        clients = np.flatnonzero(may)
        if add is not None:
            clients = clients[self.values[clients, add] > -np.inf]
        loss = self.client_change(clients, drop, add)
        if drop is not None:
            loss += self.values[clients, drop]
        if add is not None:
            loss -= self.values[clients, add]
        return clients, loss

    def apply(
        self, clients: IntArray, drop: IntArray | None, add: IntArray | None
    ) -> None:
        """Make moves of distinct clients, one each.

        Parameters
        ----------
        clients : int64 array, shape (k,)
            Who moves, each once.
        drop, add : int64 array, shape (k,), or None
            Expert given up, and taken.
        """
        for experts, step in ((drop, -1), (add, 1)):
            if experts is None:
                continue
            self.held[clients, experts] = step > 0
            for group, count, _, _ in self.counted:
                count[clients, group[experts]] += step
            for now, entries in zip(self.sums, self.entries, strict=True):
                now[clients] += step * entries[clients, experts].astype(np.float64)
            for amount, weight in zip(self.amount, self.weight, strict=True):
                amount += step * np.bincount(experts, weight[clients], self.n_experts)

    def clear(self, clients: IntArray) -> None:
        """Empty an assignment in which only these clients hold anything."""
        self.held[clients] = False
        for _, count, _, _ in self.counted:
            count[clients] = 0
        self.sums[:, clients] = 0
        self.amount[:] = 0

    def hold(self, rows: IntArray, cols: IntArray) -> None:
        """Replace the assignment, all sums counted afresh; forbidden pairs are left out.

        The weights of broken bounds start afresh too.
        """
        self.weigh_alike()
        allowed = self.values[rows, cols] > -np.inf
        self.held[:] = False
        self.held[rows[allowed], cols[allowed]] = True
        rows, cols = self.pairs()
        for group, count, _, _ in self.counted:
            keys = rows * count.shape[1] + group[cols]
            count[:] = np.bincount(keys, minlength=count.size).reshape(count.shape)
        for now, entries in zip(self.sums, self.entries, strict=True):
            now[:] = np.bincount(rows, entries[rows, cols], self.n_clients)
        for amount, weight in zip(self.amount, self.weight, strict=True):
            amount[:] = np.bincount(cols, weight[rows], self.n_experts)

    def pairs(self) -> tuple[IntArray, IntArray]:
        """Return the assignment as sorted (rows, cols)."""
        rows, cols = np.nonzero(self.held)
        return rows, cols

    # -- what is broken -------------------------------------------------------

    def weigh_alike(self) -> None:
        """Let every broken bound count once, as in the beginning."""
        self.client_weight[:], self.expert_weight[:] = 1.0, 1.0

    def broken_clients(self) -> BoolArray:
        """Tell which of their own bounds clients break, bool of shape (n_kinds, n_clients)."""
        counts = [((now < low) | (now > high)).any(axis=1) for _, now, low, high in self.counted]
        return np.vstack([*counts, self.sums > self.sum_high])

    def broken_experts(self) -> BoolArray:
        """Tell which load bounds experts break, bool of shape (n_loads, n_experts)."""
        return np.asarray((self.amount < self.low) | (self.amount > self.high))

    def excess(self) -> float:
        """Return the excess over all bounds, in units, unweighted; 0 where all are kept."""
        total = excess(self.amount, self.low, self.high, self.load_unit[:, None]).sum()
        for _, count, fewest, most in self.counted:
            total += excess(count, fewest, most, 1.0).sum()
        total += excess(self.sums, -np.inf, self.sum_high, self.sum_unit[:, None]).sum()
        return float(total)


def _spread_over(experts: Experts | int | None) -> Callable[[npt.NDArray[Any]], npt.NDArray[Any]]:
    """Return what makes clients' numbers broadcast over the experts of a table, if it is one."""
    return (lambda part: part[:, None]) if isinstance(experts, slice) else (lambda part: part)


def _typical(entries: npt.ArrayLike) -> float:
    """Return the mean size of the finite non-zero entries of the first rows; 1 for none."""
    array = np.abs(np.asarray(entries)[:1024])
    array = array[np.isfinite(array) & (array > 0)]
    return float(array.mean()) if array.size else 1.0
