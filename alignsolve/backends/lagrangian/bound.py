"""The Lagrangian bound: loads at prices, and every client's own knapsack exactly.

For any prices p the optimum is at most

    sum_i max over sets S that client i may hold of sum_{j in S} (value_ij - sum_k w_ki p_kj)
    + sum_kj max over low <= l <= high of ( p_kj l - penalty_kj(l) ),

and at the best prices this is at most the linear relaxation's bound, less where
the knapsacks are not whole by themselves (A. M. Geoffrion, Lagrangean relaxation
for integer programming, 1974, doi:10.1007/BFb0120690; M. L. Fisher, R. Jaikumar
and L. N. Van Wassenhove, A multiplier adjustment method for the generalized
assignment problem, 1986, doi:10.1287/mnsc.32.9.1095).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alignsolve.backends.lagrangian.client_rows import Clients
from alignsolve.backends.row_units import row_units
from alignsolve.kernels import cores
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem, Feature
from alignsolve.standard_form import ROUNDING, CouplingConstraints, Margin, best_load

#: Float64 entries of the sizes of a block of clients: a few MB.
BLOCK_ENTRIES = 1 << 18
#: Largest capacity in units, and entries of the tables, of dynamic programming.
LARGEST_CAPACITY = 1 << 16
LARGEST_TABLE = 1 << 26
#: Nodes of a client's search while prices are sought.
NODES = 20_000
#: Gap of a client's search that may stay open, in typical differences of values.
CLIENT_GAP = 1e-3
#: Least typical difference of values.
LEAST_SPREAD = 1e-150
#: Clients from which that is estimated.
SOME = 2000


@dataclass(frozen=True, eq=False)
class Priced:
    """Prices, and what they bound by.

    Attributes
    ----------
    prices : float64 array
        The prices: of clients' responses, shape (n_loads, n_experts), of a unit of each load.
    bound : float
        Valid upper bound (max sense) of the problem, or of the sample's share of it.
    gradient : float64 array, shape of `prices`
        What is demanded at the prices less what is supplied.
    infeasible : bool
        Whether some client has no set at all.
    """

    prices: Float64Array
    bound: float
    gradient: Float64Array
    infeasible: bool


@dataclass(frozen=True, eq=False)
class Responses(Priced):
    """What the clients respond to prices.

    Attributes
    ----------
    held : bool array, shape (k, n_experts)
        Each client's best set that was found.
    demand : float64 array, shape (n_loads, n_experts)
        Loads of the responses.
    """

    held: BoolArray
    demand: Float64Array


class Relaxation:
    """The priced problem.

    Parameters
    ----------
    problem : AlignmentProblem
        At least one client and one expert.
    threads : int or None
        Threads; None for all cores.

    Notes
    -----
    Two kernels: dynamic programming where a client has one budget in whole units
    and nothing else (generalized assignment), depth-first search otherwise. The
    search stops at `NODES` nodes with the bound of what is open, so the result is
    valid, if not always sharp.
    """

    def __init__(self, problem: AlignmentProblem, threads: int | None = None) -> None:
        self.problem = problem
        self.spread = typical_difference(problem)
        self.loads = CouplingConstraints.of(problem, Margin.OUTWARD).reachable()
        self.clients = Clients.of(problem, Margin.OUTWARD)
        self.threads = min(threads or 64, cores())
        typical = np.sqrt((self.loads.weight**2).mean(axis=1))
        #: A typical weight of each load, shape (n_loads,).
        self.typical_weight = np.where(typical > 0, typical, 1.0)
        #: Bases of the clients' linear relaxations, kept from one pass to the next.
        self.known = np.full((problem.n_clients, self.clients.n_rows), -1, dtype=np.int16)
        self.kind = self.clients.kind
        self.whole = whole_budgets(self.clients)
        self.passes = 0
        self.everyone = np.arange(problem.n_clients)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of prices: (n_loads, n_experts)."""
        return self.loads.low.shape[0], self.problem.n_experts

    @property
    def is_generalized_assignment(self) -> bool:
        """Whether every expert is held exactly once, and one budget in units is all that binds."""
        loads = self.loads
        return (
            self.whole is not None
            and loads.names == ("",)
            and bool((loads.low == 1).all() and (loads.high == 1).all())
            and Feature.LOAD_PENALTY not in self.problem.features
        )

    def nodes(self, few: int) -> int:
        """Return the nodes of a client's search that is to be short, if few find a set at all."""
        from alignsolve.backends.lagrangian.multidimensional_knapsack import MIXED

        return NODES if self.kind == MIXED else few

    def reduced(self, rows: slice | IntArray, prices: Float64Array) -> Float64Array:
        """Return values less prices of some clients, (k, n_experts)."""
        block = self.problem.values(rows)
        if len(prices):
            block -= self.loads.weight[:, rows].T @ prices
        return block

    def blocks(self, clients: IntArray) -> Iterator[slice]:
        """Yield slices of `clients` that fit a cache."""
        step = max(1, BLOCK_ENTRIES // (self.problem.n_experts * (1 + self.clients.n_rows)))
        for start in range(0, clients.size, step):
            yield slice(start, min(clients.size, start + step))

    def responses(
        self,
        prices: Float64Array,
        sample: IntArray | None = None,
        nodes: int = NODES,
    ) -> Responses:
        """Return the clients' responses to prices, and the bound.

        Parameters
        ----------
        prices : float64 array, shape (n_loads, n_experts)
            Price of a unit of each load.
        sample : int64 array, optional
            Only these clients count, and the loads' bounds shrink with them.
        nodes : int
            Nodes of a client's search.

        Notes
        -----
        One pass over values and sizes, in threads.
        """
        self.passes += 1
        loads = self.loads
        clients = self.everyone if sample is None else sample
        held = np.zeros((clients.size, self.problem.n_experts), dtype=np.bool_)
        upper = np.zeros(clients.size)
        blocks = list(self.blocks(clients))

        def work(block: slice) -> Float64Array:
            rows = clients[block]
            at = slice(int(rows[0]), int(rows[-1]) + 1) if sample is None else rows
            self._respond(at, prices, nodes, held[block], upper[block])
            return self.loads.weight[:, at] @ held[block]

        total = sum(self._each(work, blocks), np.zeros(self.shape))
        bounds = loads.shared(clients.size / self.problem.n_clients)
        load, worth = best_loads(prices, *bounds, loads.is_count if sample is None else None)
        parts = float(upper.sum()), float(worth.sum())
        rounding = ROUNDING * (float(np.abs(upper).sum()) + float(np.abs(worth).sum()))
        infeasible = bool((upper == -np.inf).any())
        return Responses(prices, sum(parts) + rounding, total - load, infeasible, held, total)

    def _each(
        self, work: Callable[[slice], Float64Array], blocks: list[slice]
    ) -> Iterator[Float64Array]:
        """Yield what `work` makes of each block, in order, in threads where it pays."""
        if self.threads == 1 or len(blocks) == 1:
            yield from map(work, blocks)
            return
        with ThreadPoolExecutor(min(self.threads, len(blocks))) as pool:
            yield from pool.map(work, blocks)

    def _respond(
        self, rows: slice | IntArray, prices: Float64Array, nodes: int, held: BoolArray,
        upper: Float64Array,
    ) -> None:  # fmt: skip
        """Write the best sets of some clients, and bounds on their values."""
        from alignsolve.backends.lagrangian import knapsack

        reduced = self.reduced(rows, prices)
        if self.whole is not None:
            size, cap = self.whole
            items = knapsack.new_items(held.shape[1], cap[rows].max(), tabulated=False)
            knapsack.best_knapsacks(reduced, size[rows], cap[rows], items, held, upper)
            return
        parts, known = self.clients, self.known[rows]
        best_sets(
            reduced, parts.sizes(rows), parts.capacity[rows], parts.room[rows], known,
            self.kind, nodes, CLIENT_GAP * self.spread, held, upper,
        )  # fmt: skip
        self.known[rows] = known


def best_sets(
    reduced: Float64Array, sizes: Float64Array, capacity: Float64Array, room: Float64Array,
    known: npt.NDArray[np.int16], kind: int, nodes: int, gap: float, held: BoolArray,
    upper: Float64Array,
) -> None:  # fmt: skip
    """Find the best sets of some clients, whose loads are free.

    Parameters
    ----------
    reduced : float64 array, shape (k, n_experts)
        Values less prices; -inf forbids.
    sizes, capacity, room, known, kind, nodes, gap, held, upper
        As for `alignsolve.backends.lagrangian.best_response_kernels.respond_in_turn`.
    """
    from alignsolve.backends.lagrangian.best_response_kernels import respond_in_turn

    k, m = reduced.shape
    weight, none, step = np.empty((0, k)), np.empty((0, m)), np.empty(0)
    respond_in_turn(
        np.arange(k), reduced, sizes, capacity, room, known, kind, nodes, gap, weight, none, none,
        none, none, step, none, none, held, upper,
    )  # fmt: skip


def typical_difference(problem: AlignmentProblem) -> float:
    """Return by how much values of pairs typically differ, from some clients; > 0."""
    values = problem.values(slice(0, min(problem.n_clients, SOME)))
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 1.0
    spread, size = float(finite.std()), float(np.abs(finite).max())
    # Where all are the same, prices are of the order of the values.
    found = spread if spread > 1e-3 * size else 0.3 * size or 1.0
    # Far below that, floors or penalties set the scale, and inverses stay finite.
    return max(found, LEAST_SPREAD)


def sum_of_largest(values: Float64Array) -> float:
    """Return how far the bound without prices may be off: the experts' largest values."""
    finite = np.where(values > -np.inf, np.abs(values), 0.0)
    return float(finite.max(axis=0, initial=0.0).sum())


def whole_budgets(clients: Clients) -> tuple[IntArray, IntArray] | None:
    """Return sizes and capacities in whole units, where one budget is all that binds.

    Returns
    -------
    size : int64 array, shape (n_clients, n_experts)
    cap : int64 array, shape (n_clients,)
        None where clients have other bounds too, sizes have no common unit, or
        tables by capacity would be too large.
    """
    problem = clients.problem
    n, m = problem.n_clients, problem.n_experts
    from alignsolve.backends.lagrangian.multidimensional_knapsack import PLAIN

    if clients.n_rows != 1 or len(clients.sums) != 1 or clients.kind != PLAIN:
        return None
    # Small sets of few experts are found faster by search.
    if m < 8 or n > m:
        return None
    budget = clients.capacity[:, 0]
    if not np.isfinite(budget).all():
        return None
    sizes = clients.sizes(slice(0, n))[:, 0]
    size, per_unit = row_units(sizes.ravel(), np.arange(0, n * m + 1, m))
    cap = np.floor(budget * np.where(per_unit > 0, per_unit, np.inf))
    # A client without sizes has room for everything.
    cap = np.where(np.isfinite(cap), np.minimum(cap, sizes.sum(axis=1) * per_unit), np.inf)
    if not (cap <= min(LARGEST_CAPACITY, LARGEST_TABLE // m)).all():
        return None
    return size.reshape(n, m), cap.astype(np.int64)


def best_loads(
    prices: Float64Array, low: Float64Array, high: Float64Array, slope: Float64Array,
    target: Float64Array, is_count: BoolArray | None = None,
) -> tuple[Float64Array, Float64Array]:  # fmt: skip
    """Return every expert's best load at the prices, and what it is worth.

    Parameters
    ----------
    prices, low, high, slope, target : float64 array, shape (n_loads, n_experts)
        See `alignsolve.standard_form.CouplingConstraints`.
    is_count : bool array, shape (n_loads,), optional
        Loads that must be whole; none by default.

    Returns
    -------
    load, worth : float64 array, shape (n_loads, n_experts)
        Maximiser and maximum of ``price * load - slope * (load - target)**2``.
    """
    load = best_load(prices, slope, target, low, high)

    def worth(at: Float64Array) -> Float64Array:
        return prices * at - slope * (at - target) ** 2

    if is_count is not None:
        below, above = np.floor(load), np.ceil(load)
        whole = np.where(worth(below) >= worth(above), below, above)
        load = np.where(is_count[:, None], whole, load)
    return load, worth(load)
