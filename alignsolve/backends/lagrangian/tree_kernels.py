"""Compiled tree search for generalized assignment: every expert held once, one budget a client.

A node is the set of pairs still allowed. At every node a few price steps sharpen
the Lagrangian bound, and pairs whose assignment, or whose ban, would push it
below the value sought are banned, or fixed (M. Posta, J. A. Ferland and P.
Michelon, An exact method with variable fixing for solving the generalized
assignment problem, 2012, doi:10.1007/s10589-011-9432-0, do this with bundles).

The search stops after a number of nodes and goes on where it was when called again.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from alignsolve.backends.lagrangian.tree_bound import evaluate, write_answer, write_losses
from alignsolve.backends.lagrangian.tree_state import (
    DEPTH,
    NODES,
    TRAIL,
    keep_only,
    remove,
    take_back,
)
from alignsolve.kernels import kernel
from alignsolve.kernels.values import copy_entries

#: What a call or a node ends with.
OPEN, FOUND, EXHAUSTED = 0, 1, 2
#: Price steps at a node, and rounds of them while many pairs are banned.
STEPS, ROUNDS = 24, 12
#: Share of the direction before that a step keeps.
MEMORY = 0.6

#: Scratch space of one node after the other: `items`, a client's; `without` and `with_it` (n, m),
#: what each pair's ban and its fixing cost its client; `cost` (n,), what giving an expert to
#: each client costs all; `pair` (3,), client, expert and side to branch on; `stop` (1,), which
#: another thread sets to end a call.
Work = namedtuple("Work", "items without with_it cost pair stop")


@kernel
def _write_costs(state, work, j):
    """Write what giving a free expert to each client costs; return the least two, and where.

    An expert must have exactly one holder, so that giving it to a client costs the
    client's own loss and what all others lose that hold it now.
    """
    n = state.left.size
    total = 0.0
    for i in range(n):
        if state.allowed[i, j]:
            total += work.without[i, j]
    least, second, at = np.inf, np.inf, -1
    for i in range(n):
        if state.allowed[i, j]:
            cost = work.with_it[i, j] + total - work.without[i, j]
            work.cost[i] = cost
            if cost < least:
                least, second, at = cost, least, i
            elif cost < second:
                second = cost
    return least, second, at


@kernel
def _fix(state, work, room):
    """Ban and fix pairs; return whether the node lives, and how many went.

    Writes to `work.pair` the client, the expert and the side (1: give, 0: ban) to
    begin with.
    """
    cost, pair = work.cost, work.pair
    pair[0] = -1
    banned = 0
    best_score = -1.0
    for j in range(state.owner.size):
        if state.owner[j] >= 0:
            continue
        least, second, at = _write_costs(state, work, j)
        if least > room:
            return False, banned
        for i in range(cost.size):
            if not state.allowed[i, j]:
                continue
            if cost[i] > room:
                banned += 1
                if not remove(state, i, j):
                    return False, banned
            else:
                other = second if i == at else least
                score = (min(cost[i], room) + 1e-3 * room) * (min(other, room) + 1e-3 * room)
                if state.owner[j] < 0 and score > best_score:
                    best_score = score
                    pair[0], pair[1] = i, j
                    pair[2] = 1 if cost[i] <= other else 0
    return True, banned


@kernel(exact=False)
def process(state, work, least):
    """Sharpen a node's bound, ban and fix pairs; say how it ends.

    It is `OPEN` as well where `work.stop` is set meanwhile.
    """
    n, m = state.allowed.shape
    owner, prices, pair = state.owner, state.prices, work.pair
    holders = np.empty(m, np.int64)
    best_prices, direction = prices.copy(), np.zeros(m)
    for _ in range(ROUNDS):
        best = np.inf
        direction[:] = 0.0
        copy_entries(best_prices, prices)
        for _ in range(STEPS):
            if work.stop[0]:
                return OPEN
            total = evaluate(state, work.items, holders)
            if total < least:
                return EXHAUSTED
            if total < best:
                best = total
                copy_entries(prices, best_prices)
            length, exact = 0.0, True
            for j in range(m):
                if holders[j] != 1:
                    exact = False
                if owner[j] < 0:
                    direction[j] = holders[j] - 1 + MEMORY * direction[j]
                    length += direction[j] * direction[j]
            if exact:
                write_answer(state, work.items)
                return FOUND
            if length == 0.0:
                break
            step = 1.2 * (total - least) / length
            for j in range(m):
                if owner[j] < 0:
                    prices[j] += step * direction[j]
        copy_entries(best_prices, prices)
        for i in range(n):
            write_losses(state, i, work.items, work.without, work.with_it)
        free = 0
        for j in range(m):
            if owner[j] < 0:
                free += state.domain[j]
        alive, banned = _fix(state, work, best - least)
        if not alive:
            return EXHAUSTED
        if banned * 20 < free and pair[0] >= 0 and owner[pair[1]] < 0:
            return OPEN
    # Many rounds of bans: branch on any free pair of the last one.
    for j in range(m):
        if owner[j] < 0:
            for i in range(n):
                if state.allowed[i, j]:
                    pair[0], pair[1], pair[2] = i, j, 1
                    return OPEN
    return OPEN


@kernel(exact=False)
def search(state, work, least, max_nodes):
    """Search for an answer of value at least `least`, depth first.

    Parameters
    ----------
    state : State
        The search so far; it goes on from there.
    work : Work
        Scratch space.
    least : float
        Value sought.
    max_nodes : int
        Nodes of this call.

    Returns
    -------
    status : int
        `FOUND`, `EXHAUSTED` (there is none) or `OPEN`.
    """
    control, path = state.control, state.path
    for _ in range(max_nodes):
        control[NODES] += 1
        status = process(state, work, least)
        if status == FOUND:
            return FOUND
        if work.stop[0]:
            return OPEN
        depth = control[DEPTH]
        alive = False
        if status == OPEN:
            if depth == path.shape[0]:
                return OPEN
            copy_entries(work.pair, path[depth])
            path[depth, 3], path[depth, 4] = 0, control[TRAIL]
            copy_entries(state.prices, state.path_prices[depth])
            control[DEPTH] = depth + 1
            alive = _branch(state, work.pair[0], work.pair[1], work.pair[2])
        while not alive:
            depth = control[DEPTH] - 1
            if depth < 0:
                return EXHAUSTED
            take_back(state, path[depth, 4])
            if path[depth, 3] == 1:
                control[DEPTH] = depth
                continue
            path[depth, 3] = 1
            copy_entries(state.path_prices[depth], state.prices)
            alive = _branch(state, path[depth, 0], path[depth, 1], 1 - path[depth, 2])
    return OPEN


@kernel
def _branch(state, i, j, side):
    """Give an expert to a client (1), or ban that (0); return whether the node can live."""
    return keep_only(state, i, j) if side == 1 else remove(state, i, j)
