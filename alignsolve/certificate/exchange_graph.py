"""The exchange graph of an answer: what it costs to move one holder's place.

Nodes are the experts and a node 0, stored last. Arc j -> k weighs the least
value lost when some client holding j, and not k, swaps them. Node 0 stands for
an unused slot and for slack in the load bounds. A cycle of negative weight is
an exchange that improves the answer; without one, shortest distances are
prices that prove it optimal (K Murota, Discrete Convex Analysis, 2003,
doi:10.1137/1.9780898718508, chapter 9).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.certificate.duality_gap import penalty_steps
from alignsolve.certificate.numbers import Numbers
from alignsolve.model.arrays import BoolArray, IntArray, row_blocks
from alignsolve.model.feasibility import group_counts, is_feasible
from alignsolve.model.pairs import Pairs
from alignsolve.model.problem import AlignmentProblem

#: Witness of an arc that no client makes: slack of an expert's bounds.
NO_CLIENT = -1

#: Rounds of `bellman_ford` after which it looks for a cycle among the paths found so far.
ROUNDS_PER_LOOK = 32


@dataclass(frozen=True, eq=False)
class ExchangeGraph:
    """Least weight and witness of every arc.

    Attributes
    ----------
    weight : float64 or object array, shape (n_experts + 1, n_experts + 1)
        ``weight[u, v]``, in units of fitness, or of `Numbers.unit` where these are given;
        +inf, or what stands for it there, where there is no arc.
    client : int64 array, shape (n_experts + 1, n_experts + 1)
        The client that makes the exchange, or -1.
    """

    weight: npt.NDArray[Any]
    client: IntArray


@dataclass(frozen=True)
class Step:
    """One exchange of a cycle.

    Attributes
    ----------
    client : int
        Who exchanges.
    drop, add : int or None
        Expert given up and expert taken, as far as there is one.
    """

    client: int
    drop: int | None
    add: int | None


@dataclass(frozen=True)
class ImprovingCycle:
    """An exchange that improves an answer.

    Attributes
    ----------
    steps : tuple of Step
        The clients' exchanges, to be made together.
    gain : float
        Improvement of the objective, > 0, in units of fitness.
    text : str
        The exchange in words.
    """

    steps: tuple[Step, ...]
    gain: float
    text: str


def exchange_graph(
    problem: AlignmentProblem, row_ind: IntArray, col_ind: IntArray, numbers: Numbers | None = None
) -> ExchangeGraph:
    """Build the exchange graph of a feasible answer of the flow class.

    Parameters
    ----------
    problem : AlignmentProblem
        A problem of the flow class.
    row_ind, col_ind : int64 array, shape (n_pairs,)
        A feasible answer.
    numbers : Numbers, optional
        The values as whole numbers, where the graph shall be exact; default float64.

    Notes
    -----
    Each held pair reads its client's row once: O(n_pairs * n_experts) time,
    O(n_experts**2) memory besides a block.
    """
    m = problem.n_experts
    exact = numbers is not None
    infinite = numbers.infinite if numbers else np.inf
    graph = ExchangeGraph(
        np.full((m + 1, m + 1), infinite, dtype=object if exact else np.float64),
        np.full((m + 1, m + 1), NO_CLIENT, dtype=np.int64),
    )
    read = numbers.values.__getitem__ if numbers else problem.values
    moves = SingleMoves(problem, row_ind, col_ind)
    by_expert = np.argsort(col_ind, kind="stable")
    starts = np.searchsorted(col_ind[by_expert], np.arange(m + 1))
    for j in range(m):
        holders = row_ind[by_expert[starts[j] : starts[j + 1]]]
        for block in row_blocks(holders.size, m):
            clients = holders[block]
            _swap_arcs(graph, moves, read(clients), j, clients, infinite)
    free = np.flatnonzero(moves.may_add)
    for block in row_blocks(free.size, m):
        _add_arcs(graph, moves, read(free[block]), free[block], infinite)
    holders = np.bincount(col_ind, minlength=m)
    steps = numbers.penalty_steps if numbers else partial(penalty_steps, problem)
    _slack_arcs(graph, problem, holders, *steps(holders))
    return graph


class SingleMoves:
    """What each client may add, drop and swap within its slots and groups.

    Parameters
    ----------
    problem : AlignmentProblem
        A problem of the flow class.
    row_ind, col_ind : int64 array, shape (n_pairs,)
        A feasible answer.

    Attributes
    ----------
    held : Pairs
        The answer.
    may_add, may_drop : bool array, shape (n_clients,)
        Whether each client's slots let it hold one expert more, and fewer.
    """

    def __init__(self, problem: AlignmentProblem, row_ind: IntArray, col_ind: IntArray) -> None:
        self.problem = problem
        self.held = Pairs.from_indices(
            "answer", row_ind, col_ind, problem.n_clients, problem.n_experts
        )
        counts = np.bincount(row_ind, minlength=problem.n_clients)
        fewest, most = problem.slot_bounds()
        self.may_add, self.may_drop = counts < most, counts > fewest
        self._in_group: tuple[BoolArray, BoolArray] | None = None
        if problem.expert_group is not None:
            assert problem.group_min is not None and problem.group_max is not None
            count = group_counts(problem, row_ind, col_ind)
            self._in_group = count < problem.group_max, count > problem.group_min

    def room(self, clients: IntArray) -> tuple[BoolArray, BoolArray]:
        """Return whether each expert's group lets a client add, and drop, it; (k, n_experts)."""
        if self._in_group is None:
            anything = np.ones((clients.size, self.problem.n_experts), dtype=np.bool_)
            return anything, anything
        add, drop = (part[clients][:, self.problem.expert_group] for part in self._in_group)
        return add, drop

    def swaps(self, given: int | IntArray, add: BoolArray, drop: BoolArray) -> BoolArray:
        """Return for which experts groups let clients of some `room` give up one of their own."""
        group = self.problem.expert_group
        if group is None:
            return add
        across = add & drop[np.arange(len(drop)), given][:, None]
        return np.asarray((group == group[given][..., None]) | across)


def _swap_arcs(
    graph: ExchangeGraph, moves: SingleMoves, values: npt.NDArray[Any], j: int, clients: IntArray,
    infinite: float,
) -> None:
    """Enter the swaps and the drops of some holders of expert j."""
    own, m = values[:, j], values.shape[1]
    add, drop = moves.room(clients)
    allowed = ~moves.held.mask(clients) & moves.swaps(j, add, drop)
    _enter(graph, j, slice(0, m), np.where(allowed, own[:, None] - values, infinite), clients)
    may_drop = moves.may_drop[clients] & drop[:, j]
    _enter(graph, j, slice(m, None), np.where(may_drop, own, infinite)[:, None], clients)


def _add_arcs(
    graph: ExchangeGraph, moves: SingleMoves, values: npt.NDArray[Any], clients: IntArray,
    infinite: float,
) -> None:
    """Enter the additions of some clients that have a free slot."""
    allowed, m = ~moves.held.mask(clients) & moves.room(clients)[0], values.shape[1]
    _enter(graph, m, slice(0, m), np.where(allowed, -values, infinite), clients)


def _enter(
    graph: ExchangeGraph, source: int, targets: slice, loss: npt.NDArray[Any], clients: IntArray
) -> None:
    """Keep the least loss over clients, and who has it, on the arcs from one node."""
    best = loss.argmin(axis=0)
    least = loss[best, np.arange(loss.shape[1])]
    better = least < graph.weight[source, targets]
    graph.weight[source, targets] = np.where(better, least, graph.weight[source, targets])
    graph.client[source, targets] = np.where(better, clients[best], graph.client[source, targets])


def _slack_arcs(
    graph: ExchangeGraph, problem: AlignmentProblem, holders: IntArray, up: npt.NDArray[Any],
    down: npt.NDArray[Any],
) -> None:
    """Enter the slack of the experts' load bounds, at the cost of their penalty."""
    m = problem.n_experts
    low, high = problem.holder_bounds()
    for source, target, step, possible in (
        (slice(0, m), m, up, holders < high), (m, slice(0, m), down, holders > low),
    ):
        better = possible & (step < graph.weight[source, target])
        graph.weight[source, target][better] = step[better]
        graph.client[source, target][better] = NO_CLIENT


def bellman_ford(weight: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], list[int] | None]:
    """Return shortest distances from a virtual source, and a negative cycle if there is one.

    Parameters
    ----------
    weight : float64 or object array, shape (k, k)
        Arc weights; +inf, or a number larger than all paths, for no arc. Objects are whole
        numbers.

    Returns
    -------
    distance : array of the same kind, shape (k,)
        Valid potentials where there is no cycle.
    cycle : list of int or None
        Nodes of a cycle of negative weight, in order.

    Notes
    -----
    O(k**3) at worst; a negative cycle is most often found after a few rounds, each O(k**2).
    The distances are then on their way only. Rounding of floats can make a cycle of weight
    zero look negative by some ulps; such a cycle is not reported, and the residuals at the
    potentials then show what the rounding is worth.
    """
    k = weight.shape[0]
    distance = np.zeros(k, dtype=weight.dtype)
    parent, through = np.full(k, -1), np.empty_like(weight)
    for number in range(1, k + 2):
        np.add(distance[:, None], weight, out=through)
        best = through.argmin(axis=0)
        shorter = through[best, np.arange(k)]
        improved = shorter < distance
        if not improved.any():
            return distance, None
        distance = np.where(improved, shorter, distance)
        parent = np.where(improved, best, parent)
        if number % ROUNDS_PER_LOOK == 0:
            cycle = _negative_cycle(weight, parent)
            if cycle is not None:
                return distance, cycle
    return distance, _negative_cycle(weight, parent)


def _negative_cycle(weight: npt.NDArray[Any], parent: IntArray) -> list[int] | None:
    """Return a cycle of the parent pointers, unless it is negative by rounding alone."""
    cycle = _cycle_of_parents(parent)
    if cycle is None or weight.dtype == object:
        return cycle
    arcs = [weight[u, v] for u, v in zip(cycle, cycle[1:] + cycle[:1], strict=True)]
    noise = 8 * np.finfo(float).eps * max(abs(arc) for arc in arcs)
    return cycle if math.fsum(arcs) < -noise else None


def _cycle_of_parents(parent: IntArray) -> list[int] | None:
    """Return a cycle of the parent pointers, in arc order."""
    state = np.zeros(parent.size, dtype=np.int64)
    for start in range(parent.size):
        node, path = start, []
        while node >= 0 and state[node] == 0:
            state[node] = 1 + start
            path.append(int(node))
            node = int(parent[node])
        if node >= 0 and state[node] == 1 + start:
            return path[path.index(node) :][::-1]
    return None


def improving_exchange(
    problem: AlignmentProblem, row_ind: IntArray, col_ind: IntArray, graph: ExchangeGraph,
    cycle: list[int],
) -> ImprovingCycle | None:
    """Turn a negative cycle into exchanges that were checked to improve the answer.

    A client met twice splits the cycle in two, one of which is negative again.
    Returns None where no part could be carried out.
    """
    m = problem.n_experts
    arcs = [
        (u, v, int(graph.client[u, v])) for u, v in zip(cycle, cycle[1:] + cycle[:1], strict=True)
    ]
    candidates = [arcs]
    while candidates:
        candidate = candidates.pop()
        repeated = _repeated_client(candidate)
        if repeated is not None:
            candidates += _split(candidate, *repeated)
            continue
        steps = tuple(
            Step(client, None if u == m else u, None if v == m else v)
            for u, v, client in candidate
            if client != NO_CLIENT
        )
        gain = _gain(problem, row_ind, col_ind, steps)
        if gain > 0:
            return ImprovingCycle(steps, gain, _describe(problem, steps, gain))
    return None


def _repeated_client(arcs: list[tuple[int, int, int]]) -> tuple[int, int] | None:
    """Return the positions of the first client that makes two exchanges."""
    seen: dict[int, int] = {}
    for position, (_, _, client) in enumerate(arcs):
        if client != NO_CLIENT and client in seen:
            return seen[client], position
        seen[client] = position
    return None


def _split(
    arcs: list[tuple[int, int, int]], first: int, second: int
) -> list[list[tuple[int, int, int]]]:
    """Cut a cycle in two by exchanging the heads of two arcs of one client."""
    u1, v1, client = arcs[first]
    u2, v2, _ = arcs[second]
    inner = [*arcs[first + 1 : second], (u2, v1, client)]
    outer = [*arcs[:first], (u1, v2, client), *arcs[second + 1 :]]
    return [inner, outer]


def apply_steps(
    row_ind: IntArray, col_ind: IntArray, steps: tuple[Step, ...], n_experts: int
) -> tuple[IntArray, IntArray]:
    """Return the answer after some exchanges, sorted by (row, col)."""
    keys = set((row_ind * n_experts + col_ind).tolist())
    for step in steps:
        if step.drop is not None:
            keys.discard(step.client * n_experts + step.drop)
        if step.add is not None:
            keys.add(step.client * n_experts + step.add)
    ordered = np.array(sorted(keys), dtype=np.int64)
    return ordered // max(1, n_experts), ordered % max(1, n_experts)


def _gain(
    problem: AlignmentProblem, row_ind: IntArray, col_ind: IntArray, steps: tuple[Step, ...]
) -> float:
    """Return the improvement by some exchanges; 0 where they cannot be made."""
    rows, cols = apply_steps(row_ind, col_ind, steps, problem.n_experts)
    if not steps or not is_feasible(problem, rows, cols):
        return 0.0
    terms: list[float] = []
    for step in steps:
        for sign, expert in ((1, step.add), (-1, step.drop)):
            if expert is not None:
                value = problem.pair_values(np.array([step.client]), np.array([expert]))
                terms += (sign * value).tolist()
    before = np.bincount(col_ind, minlength=problem.n_experts)
    after = np.bincount(cols, minlength=problem.n_experts)
    change = (after - before) * problem.load_penalty * (before + after - 2 * problem.load_target)
    return math.fsum(terms + (-change).tolist())


def _describe(problem: AlignmentProblem, steps: tuple[Step, ...], gain: float) -> str:
    """Spell exchanges in words."""
    parts = []
    for step in steps:
        who = problem.client_name(step.client)
        if step.drop is None:
            assert step.add is not None
            parts.append(f"{who} adds {problem.expert_name(step.add)}")
        elif step.add is None:
            parts.append(f"{who} drops {problem.expert_name(step.drop)}")
        else:
            parts.append(f"{who} swaps {problem.expert_name(step.drop)} for "
                         f"{problem.expert_name(step.add)}")
    word = "fitness" if problem.sense == "max" else "cost saved"
    return "; ".join(parts) + f": {gain:g} more {word}"
