"""Each client's own problem at given prices: its best set within everything that binds it alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from alignsolve.backends.lagrangian.client_rows import Clients
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem
from alignsolve.result import Result
from alignsolve.standard_form import CouplingConstraints, Margin

#: Nodes of the search for one client's best set.
NODES = 1_000_000
#: Float64 entries of the sizes of a block of clients: a few MB.
BLOCK_ENTRIES = 1 << 18
#: Most passes over the clients while prices are sought, few clients or many, and how many are few.
PASSES, PASSES_OF_MANY, FEW = 150, 40, 4000
#: A bound meets an answer's value up to this share of a typical difference of values.
FINEST = 1e-6
#: First distance of the target of subgradient steps, relative to the bound.
FIRST_DISTANCE = 0.05


@dataclass(frozen=True, eq=False)
class LoadPrices:
    """Prices of the loads that couple the clients, max sense.

    Attributes
    ----------
    loads : CouplingConstraints
        The loads.
    prices : float64 array, shape (n_loads, n_experts)
        Price of a unit of each.
    """

    loads: CouplingConstraints
    prices: Float64Array

    @classmethod
    def of_result(cls, problem: AlignmentProblem, result: Result) -> LoadPrices:
        """Return the prices of an answer, or compute some where it has none that fit.

        Notes
        -----
        Those of the flow class are its certificate's. In the mip class no prices prove an
        answer; the Lagrangian dual's are computed, in at most `PASSES` passes over the clients,
        or `PASSES_OF_MANY` over many: by quasi-Newton steps there, unless prices are very many,
        else by subgradient steps.
        """
        loads = CouplingConstraints.of(problem, Margin.OUTWARD).reachable()
        if not loads.names or problem.n_clients * problem.n_experts == 0:
            return cls(loads, np.zeros((len(loads.names), problem.n_experts)))
        if problem.problem_class == "flow" and result.prices is not None:
            return cls(loads, problem.sign * np.asarray(result.prices)[None])
        return cls(loads, _dual_prices(problem, problem.sign * result.objective_value))

    def holder(self) -> Float64Array:
        """Return the price of a holder of each expert, (n_experts,); 0 where loads are free."""
        at = [row for row, name in enumerate(self.loads.names) if not name]
        return self.prices[at[0]] if at else np.zeros(self.prices.shape[1])

    def named(self) -> dict[str, Float64Array]:
        """Return the prices of the named loads, (n_experts,) each."""
        return {name: self.prices[row] for row, name in enumerate(self.loads.names) if name}

    def paid(self, clients: IntArray) -> Float64Array:
        """Return what each client pays for each expert, (len(clients), n_experts)."""
        return np.asarray(self.loads.weight[:, clients].T @ self.prices)


def _dual_prices(problem: AlignmentProblem, value: float) -> Float64Array:
    """Return good prices of the Lagrangian dual; see `alignsolve.backends.lagrangian.bound`.

    No bound is below the value of the answer, so that the search ends where one meets it.
    """
    from alignsolve.backends.lagrangian import proximal_newton
    from alignsolve.backends.lagrangian.bound import Relaxation, Responses
    from alignsolve.backends.lagrangian.subgradient import subgradient_ascent

    relaxation = Relaxation(problem)
    enough = value + FINEST * relaxation.spread

    def seen(priced: Responses) -> bool:
        return priced.bound <= enough

    start = relaxation.responses(np.zeros(relaxation.shape))
    many_prices = math.prod(relaxation.shape) > proximal_newton.MOST_PRICES
    if problem.n_clients <= FEW or many_prices:
        distance = FIRST_DISTANCE * max(abs(start.bound), relaxation.spread)
        return subgradient_ascent(
            relaxation, start, distance=distance, deadline=math.inf, seen=seen,
            max_passes=PASSES if problem.n_clients <= FEW else PASSES_OF_MANY,
        ).prices  # fmt: skip
    curvature = proximal_newton.Curvature.guess(relaxation)
    return proximal_newton.clear(
        relaxation, start.prices, curvature, deadline=math.inf, max_passes=PASSES_OF_MANY,
        seen=seen,
    ).prices


class OwnProblems:
    """The clients' own problems: slots, groups, budgets and floors, loads at prices.

    Parameters
    ----------
    problem : AlignmentProblem
        Source of values and bounds.
    prices : LoadPrices, optional
        Prices of the loads; None for free ones.

    Notes
    -----
    A best set is found by depth-first search, in float64, with the bounds moved outward by
    the package's tolerance; `NODES` nodes at most.
    """

    def __init__(self, problem: AlignmentProblem, prices: LoadPrices | None = None) -> None:
        self.problem, self.prices = problem, prices
        self.parts = Clients.of(problem, Margin.OUTWARD)

    def reduced(self, clients: IntArray) -> Float64Array:
        """Return values less prices of some clients, (len(clients), n_experts)."""
        values = self.problem.values(clients)
        return values if self.prices is None else values - self.prices.paid(clients)

    def best(
        self, clients: IntArray, *, forced: IntArray | None = None,
        forbidden: IntArray | None = None,
    ) -> tuple[Float64Array, BoolArray]:  # fmt: skip
        """Return value and members of best sets.

        Parameters
        ----------
        clients : int64 array, shape (k,)
            Whose; a client may be there several times.
        forced, forbidden : int64 array, shape (k,), optional
            An expert that each set must have, or must not have.

        Returns
        -------
        value : float64 array, shape (k,)
            Value less prices; -inf where there is no such set.
        held : bool array, shape (k, n_experts)
            The sets.
        """
        value = np.empty(clients.size)
        held = np.zeros((clients.size, self.problem.n_experts), dtype=np.bool_)
        step = max(1, BLOCK_ENTRIES // (self.problem.n_experts * (1 + self.parts.n_rows) or 1))
        for start in range(0, clients.size, step):
            at = slice(start, start + step)
            value[at] = self._block(
                clients[at], None if forced is None else forced[at],
                None if forbidden is None else forbidden[at], held[at],
            )  # fmt: skip
        return value, held

    def _block(
        self, clients: IntArray, forced: IntArray | None, forbidden: IntArray | None,
        held: BoolArray,
    ) -> Float64Array:  # fmt: skip
        """Write the best sets of some clients; return their values."""
        from alignsolve.backends.lagrangian.bound import best_sets

        parts, every = self.parts, np.arange(clients.size)
        reduced, sizes = self.reduced(clients), parts.sizes(clients)
        capacity, room = parts.capacity[clients], parts.room[clients]
        upper, fixed = np.empty(clients.size), np.zeros(clients.size)
        if forced is not None:
            # What the forced expert takes is gone, and so is its own place.
            fixed = reduced[every, forced]
            capacity = capacity - sizes[every, :, forced]
            reduced[every, forced] = -np.inf
        if forbidden is not None:
            reduced[every, forbidden] = -np.inf
        known = np.full((clients.size, parts.n_rows), -1, dtype=np.int16)
        best_sets(reduced, sizes, capacity, room, known, parts.kind, NODES, 0.0, held, upper)
        # A set of none is one where nothing is needed; else the nodes ended before one was found,
        # and the bound is what is known.
        found = held.any(axis=1) | ((capacity >= 0) & (capacity <= room)).all(axis=1)
        value = np.where(found, np.where(held, reduced, 0.0).sum(axis=1), upper) + fixed
        held[value == -np.inf] = False
        if forced is not None:
            held[every, forced] = value > -np.inf
        return np.asarray(value)
