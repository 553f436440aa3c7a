"""Compiled tree search for generalized assignment: every expert held once, one budget a client.

A node is the set of pairs still allowed. At every node a few price steps sharpen
the Lagrangian bound, and pairs whose assignment, or whose ban, would push it
below the value sought are banned, or fixed (M. Posta, J. A. Ferland and P.
Michelon, An exact method with variable fixing for solving the generalized
assignment problem, 2012, doi:10.1007/s10589-011-9432-0, do this with bundles).

The search stops after a number of nodes and goes on where it was when called again.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from alignsolve.backends.lagrangian.tree_bound import (
    evaluate,
    table_shape,
    write_answer,
    write_losses,
)
from alignsolve.backends.lagrangian.tree_state import (
    DEPTH,
    NODES,
    TRAIL,
    keep_only,
    remove,
    take_back,
)

#: What a call or a node ends with.
OPEN, FOUND, EXHAUSTED = 0, 1, 2
#: Price steps at a node, and rounds of them while many pairs are banned.
STEPS, ROUNDS = 24, 12
#: Share of the direction before that a step keeps.
MEMORY = 0.6


@njit(cache=True, nogil=True)
def _fix(values, size, allowed, domain, left, owner, trail, control, without, with_it, room,
         pair):  # fmt: skip
    """Ban and fix pairs; return whether the node lives, how many went, and where to branch.

    An expert must have exactly one holder, so that giving it to a client costs the
    client's own loss and what all others lose that hold it now. Writes to `pair`
    the client, the expert and the side (1: give, 0: ban) to begin with.
    """
    n, m = allowed.shape
    banned = 0
    best_score = -1.0
    cost = np.empty(n)
    for j in range(m):
        if owner[j] >= 0:
            continue
        total = 0.0
        for i in range(n):
            if allowed[i, j]:
                total += without[i, j]
        least, second, at = np.inf, np.inf, -1
        for i in range(n):
            if allowed[i, j]:
                cost[i] = with_it[i, j] + total - without[i, j]
                if cost[i] < least:
                    least, second, at = cost[i], least, i
                elif cost[i] < second:
                    second = cost[i]
        if least > room:
            return False, banned
        for i in range(n):
            if not allowed[i, j]:
                continue
            if cost[i] > room:
                banned += 1
                if not remove(allowed, size, domain, left, owner, trail, control, i, j):
                    return False, banned
            else:
                other = second if i == at else least
                score = (min(cost[i], room) + 1e-3 * room) * (min(other, room) + 1e-3 * room)
                if owner[j] < 0 and score > best_score:
                    best_score = score
                    pair[0], pair[1] = i, j
                    pair[2] = 1 if cost[i] <= other else 0
    return True, banned


@njit(cache=True, nogil=True)
def _process(values, size, allowed, domain, left, owner, start, member, trail, control, prices,
             least, pair, without, with_it, before, after, taken):  # fmt: skip
    """Sharpen a node's bound, ban and fix pairs; say how it ends."""
    n, m = allowed.shape
    holders, worth = np.empty(m, np.int64), np.empty(n)
    best_worth = np.empty(n)
    items, reduced = np.empty(m, np.int64), np.empty(m)
    chosen, table = np.empty(m, np.bool_), np.empty(before.shape[1])
    best_prices, direction = prices.copy(), np.zeros(m)
    for _ in range(ROUNDS):
        best = np.inf
        direction[:] = 0.0
        prices[:] = best_prices
        for _ in range(STEPS):
            total = evaluate(values, size, allowed, left, owner, start, member, prices, holders,
                              worth, items, reduced, chosen, taken, table)  # fmt: skip
            if total < least:
                return EXHAUSTED
            if total < best:
                best = total
                best_prices[:] = prices
                best_worth[:] = worth
            length, exact = 0.0, True
            for j in range(m):
                if holders[j] != 1:
                    exact = False
                if owner[j] < 0:
                    direction[j] = holders[j] - 1 + MEMORY * direction[j]
                    length += direction[j] ** 2
            if exact:
                return FOUND
            if length == 0.0:
                break
            step = 1.2 * (total - least) / length
            for j in range(m):
                if owner[j] < 0:
                    prices[j] += step * direction[j]
        prices[:] = best_prices
        write_losses(values, size, allowed, left, owner, start, member, prices, best_worth, items,
                reduced, without, with_it, before, after)  # fmt: skip
        free = 0
        for j in range(m):
            if owner[j] < 0:
                free += domain[j]
        pair[0] = -1
        alive, banned = _fix(values, size, allowed, domain, left, owner, trail, control, without,
                             with_it, best - least, pair)  # fmt: skip
        if not alive:
            return EXHAUSTED
        if banned * 20 < free and pair[0] >= 0 and owner[pair[1]] < 0:
            return OPEN
    # Many rounds of bans: branch on any free pair of the last one.
    for j in range(m):
        if owner[j] < 0:
            for i in range(n):
                if allowed[i, j]:
                    pair[0], pair[1], pair[2] = i, j, 1
                    return OPEN
    return OPEN


@njit(cache=True, nogil=True)
def search(values, size, allowed, domain, left, owner, start, member, trail, control, prices,
           path, path_prices, least, max_nodes, answer):  # fmt: skip
    """Search for an answer of value at least `least`, depth first.

    Parameters
    ----------
    values : float64 array, shape (n, m)
    size : int64 array, shape (n, m)
    allowed : uint8 array, shape (n, m)
        Pairs that may be held; the state of the search, as are the next ones.
    domain : int64 array, shape (m,)
        Number of allowed pairs of each expert.
    left : int64 array, shape (n,)
        Capacity beside what is fixed.
    owner : int64 array, shape (m,)
        Client of each fixed expert, else -1.
    start, member : int64 array, shape (n + 1,) and (n_pairs,)
        Experts that each client may hold at the root.
    trail : int64 array, shape (n_pairs + m,)
        What was done, to be taken back.
    control : int64 array, shape (3,)
        Depth, length of the trail, nodes so far.
    prices : float64 array, shape (m,)
        Prices at the node.
    path : int64 array, shape (m * n, 5)
        Client, expert, side, whether it is the second side, and the trail's length.
    path_prices : float64 array, shape (depth, m)
        Prices of the nodes above.
    least : float
        Value sought.
    max_nodes : int
        Nodes of this call.
    answer : int64 array, shape (m,)
        Client of each expert, where an answer was found.

    Returns
    -------
    status : int
        `FOUND`, `EXHAUSTED` (there is none) or `OPEN`.
    """
    n, m = allowed.shape
    without, with_it = np.empty((n, m)), np.empty((n, m))
    most, width = table_shape(size, left, owner, start)
    before, after = np.empty((most, width)), np.empty((most, width))
    taken = np.empty((most, width), np.bool_)
    pair = np.empty(3, np.int64)
    for _ in range(max_nodes):
        control[NODES] += 1
        status = EXHAUSTED
        if control[DEPTH] >= 0:
            status = _process(values, size, allowed, domain, left, owner, start, member, trail,
                              control, prices, least, pair, without, with_it, before, after,
                              taken)  # fmt: skip
        if status == FOUND:
            write_answer(values, size, allowed, left, owner, start, member, prices, taken, width,
                         answer)  # fmt: skip
            return FOUND
        depth = control[DEPTH]
        alive = False
        if status == OPEN:
            if depth == path_prices.shape[0]:
                return OPEN
            i, j, side = pair[0], pair[1], pair[2]
            path[depth, 0], path[depth, 1], path[depth, 2] = i, j, side
            path[depth, 3], path[depth, 4] = 0, control[TRAIL]
            path_prices[depth] = prices
            control[DEPTH] = depth + 1
            if side == 1:
                alive = keep_only(allowed, size, domain, left, owner, trail, control, i, j)
            else:
                alive = remove(allowed, size, domain, left, owner, trail, control, i, j)
        while not alive:
            depth = control[DEPTH] - 1
            if depth < 0:
                return EXHAUSTED
            take_back(allowed, size, domain, left, owner, trail, control, path[depth, 4])
            if path[depth, 3] == 1:
                control[DEPTH] = depth
                continue
            path[depth, 3] = 1
            prices[:] = path_prices[depth]
            i, j = path[depth, 0], path[depth, 1]
            if path[depth, 2] == 1:
                alive = remove(allowed, size, domain, left, owner, trail, control, i, j)
            else:
                alive = keep_only(allowed, size, domain, left, owner, trail, control, i, j)
    return OPEN


@njit(cache=True, nogil=True)
def dive(values, size, allowed, domain, left, owner, start, member, trail, control, prices,
         least, share, stop, noise, seed, answer):  # fmt: skip
    """Fix the experts that would lose most elsewhere, a share of them at a time.

    Parameters
    ----------
    values, size, allowed, domain, left, owner, start, member, trail, control, prices, least
        See `search`.
    share : float
        Share of the free experts that is fixed between two updates of prices.
    stop : int
        Number of free experts at which to stop.
    noise : float
        Regrets are multiplied by up to one plus this, at random.
    seed : int
        Seed of the noise.
    answer : int64 array, shape (m,)
        As for `search`.

    Returns
    -------
    status : int
        `FOUND`, `EXHAUSTED` (a dead end) or `OPEN` (few experts are left free).
    """
    n, m = allowed.shape
    # Numba compiles numpy's old generator only.
    np.random.seed(seed)  # noqa: NPY002
    without, with_it = np.empty((n, m)), np.empty((n, m))
    most, width = table_shape(size, left, owner, start)
    before, after = np.empty((most, width)), np.empty((most, width))
    taken = np.empty((most, width), np.bool_)
    pair = np.empty(3, np.int64)
    regret, to = np.empty(m), np.empty(m, np.int64)
    while True:
        control[NODES] += 1
        status = _process(values, size, allowed, domain, left, owner, start, member, trail,
                          control, prices, least, pair, without, with_it, before, after,
                          taken)  # fmt: skip
        if status == FOUND:
            write_answer(values, size, allowed, left, owner, start, member, prices, taken, width,
                         answer)  # fmt: skip
        if status != OPEN:
            return status
        free = 0
        for j in range(m):
            regret[j] = -1.0
            if owner[j] >= 0:
                continue
            free += 1
            total = 0.0
            for i in range(n):
                if allowed[i, j]:
                    total += without[i, j]
            first, second = np.inf, np.inf
            for i in range(n):
                if allowed[i, j]:
                    cost = with_it[i, j] + total - without[i, j]
                    if cost < first:
                        first, second, to[j] = cost, first, i
                    elif cost < second:
                        second = cost
            luck = 1.0 + noise * np.random.random()  # noqa: NPY002
            regret[j] = max(0.0, second - first) * luck
        if free <= stop:
            return OPEN
        fixed = max(1, int(share * free))
        for j in np.argsort(-regret)[:fixed]:
            i = to[j]
            if owner[j] >= 0 or not allowed[i, j] or size[i, j] > left[i]:
                continue
            if not keep_only(allowed, size, domain, left, owner, trail, control, i, j):
                return EXHAUSTED
