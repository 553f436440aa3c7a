"""DIMACS minimum-cost flow files that are assignment or transportation problems.

A line is ``p min NODES ARCS``, ``n NODE SUPPLY``, ``a FROM TO LOWER CAPACITY
COST`` or a comment ``c`` (D S Johnson and C C McGeoch, editors, Network flows
and matching: first DIMACS implementation challenge, 1993,
doi:10.1090/dimacs/012). Nodes with a supply become clients with exactly that
many experts, nodes with a demand become experts with exactly that many holders.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alignsolve.errors import UnsupportedProblemError
from alignsolve.io.files import fail, located, read_text, write_text
from alignsolve.model.limits import MAX_SIDE, check_size
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.text import one_line

if TYPE_CHECKING:
    from alignsolve.backends.min_cost_flow.network import FlowNetwork

#: Costs and supplies beyond this are not whole numbers in float64.
_EXACT = 2**53

#: By the letter of a line: its name, how it is written, and what its numbers are.
_FORMS = {
    "p": ("the problem line", "p min NODES ARCS", ("number of nodes", "number of arcs")),
    "n": ("a node line", "n NODE SUPPLY", ("node", "supply")),
    "a": ("an arc line", "a FROM TO LOWER CAPACITY COST",
          ("tail", "head", "lower bound", "capacity", "cost")),
}

#: The supply of each node that has one, and of each arc the tail, head, lower bound, capacity,
#: cost and line.
_Network = tuple[dict[int, int], list[tuple[int, ...]]]


def read(path: str | Path) -> AlignmentProblem:
    """Read a DIMACS minimum-cost flow file that is an assignment or transportation problem.

    Raises
    ------
    ProblemError
        If the file is malformed, or its network is no assignment: a node with
        arcs in and out, an arc with a lower bound, or one that may carry two
        units.
    """
    supply, arcs = _parse(path, read_text(path))
    both = {arc[0] for arc in arcs} & {arc[1] for arc in arcs}
    if both:
        fail(path, f"node {min(both)} has arcs in and out: a transshipment problem, not an "
                   f"assignment")
    clients = [node for node, units in sorted(supply.items()) if units > 0]
    experts = [node for node, units in sorted(supply.items()) if units < 0]
    if not clients or not experts:
        fail(path, "no node has a supply, or none a demand; give lines `n NODE SUPPLY` of both")
    pairs = _pairs(path, supply, arcs)
    check_size(path, len(clients), len(experts), listed=len(pairs))
    row = {node: at for at, node in enumerate(clients)}
    column = {node: at for at, node in enumerate(experts)}
    cost = np.full((len(clients), len(experts)), np.inf)
    for (tail, head), value in pairs.items():
        cost[row[tail], column[head]] = value
    slots = [supply[node] for node in clients]
    demand = [-supply[node] for node in experts]
    with located(path):
        return AlignmentProblem.from_cost(
            cost, slots, min_experts=slots, load_min=demand, load_max=demand,
            client_ids=clients, expert_ids=experts,
        )


def _parse(path: str | Path, text: str) -> _Network:
    """Read all lines of a file."""
    nodes, declared, supply, arcs = 0, -1, dict[int, int](), list[tuple[int, ...]]()
    for number, line in enumerate(text.split("\n"), 1):
        letter, *words = line.split() or ["c"]
        if letter == "c":
            continue
        if letter not in _FORMS:
            fail(path, f"a line starts with {one_line(letter)}; give c, p, n or a", number, 1)
        if letter == "p" and declared >= 0:
            fail(path, "a second problem line; a file holds one problem", number)
        if letter != "p" and declared < 0:
            fail(path, "the first line that is no comment is not `p min NODES ARCS`", number)
        what, form, names = _FORMS[letter]
        if letter == "p":
            if len(words) != 3 or words[0] != "min":
                fail(path, f"{one_line(' '.join(line.split()))} is not `{form}`: only minimum-cost "
                           f"flow problems are read", number)
            del words[0]
        if len(words) != len(names):
            fail(path, f"{what} has {1 + len(words)} words; give `{form}`", number)
        values = [_whole(path, number, name, word, nodes)
                  for name, word in zip(names, words, strict=True)]
        if letter == "a":
            arcs.append((*values, number))
        elif letter == "p":
            nodes, declared = values
            if nodes > 2 * MAX_SIDE:
                fail(path, f"declares {nodes:,} nodes; at most {2 * MAX_SIDE:,} are read", number)
        elif values[0] in supply:
            fail(path, f"node {values[0]} is given a supply twice", number)
        else:
            supply[values[0]] = values[1]
    if declared < 0:
        fail(path, "has no line `p min NODES ARCS`")
    if len(arcs) != declared:
        fail(path, f"declares {declared:,} arcs and has {len(arcs):,}; the file is truncated, or "
                   f"the problem line wrong")
    return supply, arcs


def _whole(path: str | Path, number: int, name: str, word: str, nodes: int) -> int:
    """Return a word as a whole number that float64 holds exactly, and that its name allows."""
    digits = word.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        fail(path, f"{name} is {one_line(word, 20)}; give a whole number", number)
    if len(digits) > 16 or abs(int(word)) > _EXACT:
        fail(path, f"{name} is {one_line(word, 20)[1:-1]}; give a whole number up to 2**53", number)
    value = int(word)
    if name in ("node", "tail", "head") and not 1 <= value <= nodes:
        fail(path, f"{name} is {value}; give a node from 1 to {nodes}", number)
    if name not in ("node", "tail", "head", "supply", "cost") and value < 0:
        fail(path, f"{name} is {word}; give a whole number >= 0", number)
    return value


def _pairs(
    path: str | Path, supplies: dict[int, int], arcs: list[tuple[int, ...]]
) -> dict[tuple[int, int], int]:
    """Return the cost of every pair that may be used."""
    pairs: dict[tuple[int, int], int] = {}
    for tail, head, low, capacity, cost, line in arcs:
        if low > capacity:
            fail(path, f"an arc has lower bound {low} above its capacity {capacity}", line)
        if low:
            fail(path, f"an arc has lower bound {low}: no pair of an assignment is forced; give 0",
                 line)
        supply, demand = supplies.get(tail, 0), -supplies.get(head, 0)
        # Without supply or demand at its ends, an arc out of or into a leaf carries nothing.
        if capacity == 0 or supply <= 0 or demand <= 0:
            continue
        units = min(capacity, supply, demand)
        if (tail, head) in pairs:
            if min(supply, demand) > 1:
                fail(path, f"a second arc from {tail} to {head}: a client holds an expert once",
                     line)
            cost = min(cost, pairs[tail, head])
        if units > 1:
            fail(path, f"an arc may carry {units} units: a client holds an expert once; give "
                       f"capacity 1", line)
        pairs[tail, head] = cost
    return pairs


def write(problem: AlignmentProblem, path: str | Path) -> None:
    """Write the network of a problem of the flow class.

    Parameters
    ----------
    problem : AlignmentProblem
        At least one client and one expert.
    path : path
        The file; its comments say which nodes are what, and how the objective
        follows from the cost of a flow.

    Raises
    ------
    ProblemError
        If the problem is not of the flow class.

    Warns
    -----
    UserWarning
        Where fitness needs more digits than whole costs have, and is rounded.
    """
    from alignsolve.backends.min_cost_flow.network import build_network

    if not (problem.n_clients and problem.n_experts):
        fail(path, "a network without a client or without an expert is not written")
    if problem.problem_class != "flow":
        fail(path, f"DIMACS holds minimum-cost flows, but the problem is {problem.class_reason}; "
                   f"write .mps or .lp")
    try:
        network = build_network(problem)
    except UnsupportedProblemError as error:
        fail(path, str(error))
    if not network.scaling.exact:
        warnings.warn(
            f"{path}: costs are rounded to whole multiples of 2**{-network.scaling.exponent}; a "
            f"best answer to the file is worse than the best by at most "
            f"{network.scaling.error_bound:.3g}",
            stacklevel=3,
        )
    lines = [f"c {line}" for line in _explanation(problem, network)]
    lines.append(f"p min {network.n_nodes} {network.n_arcs}")
    lines += [f"n {node} {supply}" for node, supply in enumerate(network.supply.tolist(), 1)
              if supply]
    arcs = np.stack([network.tail + 1, network.head + 1, network.capacity, network.cost], axis=1)
    lines += [f"a {tail} {head} 0 {capacity} {cost}"
              for tail, head, capacity, cost in arcs.tolist()]
    write_text(path, (f"{line}\n" for line in lines))


def _explanation(problem: AlignmentProblem, network: FlowNetwork) -> list[str]:
    """Return what the nodes and costs mean, one line each."""
    if network.contradiction is not None:
        return [f"infeasible: {ascii(network.contradiction)[1:-1]}"]
    n, m, scaling = problem.n_clients, problem.n_experts, network.scaling
    slots = problem.slot_bounds()[1].tolist()
    low = problem.holder_bounds()[0]
    # Python's integers: the products may not fit into int64.
    constant = sum(slot * offset for slot, offset in
                   zip(slots, scaling.client_offset.tolist(), strict=True))
    constant -= scaling.common_offset * sum(slots)
    base = float((problem.load_penalty * (low - problem.load_target) ** 2).sum())
    # What the costs leave of the fitness, and what the network leaves out.
    scaled = f"({constant} + {scaling.common_offset} * pairs - cost) / 2**{scaling.exponent}"
    if problem.sense == "min":
        scaled = f"(cost - {constant} - {scaling.common_offset} * pairs) / 2**{scaling.exponent}"
    return [
        f"nodes 1 to {n}: clients; {n + 1} to {n + m}: experts; {n + m + 1}: unused slots and "
        f"loads above the minimum" + ("; then groups" if network.n_nodes > n + m + 1 else ""),
        f"an arc into a node {n + 1} to {n + m} is a pair of a client and an expert",
        f"{problem.sense} objective = {scaled} {'-' if problem.sense == 'max' else '+'} {base!r}",
    ]
