"""Compiled shortest paths that move excess holders to where they are missing.

The nodes are the experts and the null expert; an arc weighs the least loss of
any client that could make the swap, less the difference of the prices. Prices
keep every arc non-negative, as in Dijkstra's algorithm with potentials (Edmonds,
Karp 1972, doi:10.1145/321694.321699). A path that needs more than the heaps are
complete for ends the work with `WIDEN`, so that no answer depends on how much
was listed.

Where groups share slots, paths have as few arcs as possible: on such a path a client that makes
several swaps can make all of them (K Murota, Discrete Convex Analysis, 2003,
doi:10.1137/1.9780898718508, theorem 9.22 and section 10.4).
"""

from __future__ import annotations

import numpy as np

from alignsolve.backends.exchange.heaps import FRESH, PATHS, SEARCHES, SWAPS, new_room
from alignsolve.backends.exchange.row_kernels import TIE
from alignsolve.backends.exchange.swaps import swap, swap_in_groups
from alignsolve.kernels import kernel
from alignsolve.kernels.values import holds_any

DONE, WIDEN, INFEASIBLE, POOL_FULL, MORE = range(5)
# Kinds of arcs: a client's swap, slack of a load bound, a swap of unlisted clients.
SWAP_ARC, LOAD_ARC, UNLISTED_ARC = range(3)


@kernel(called=False)
def penalty_step(j, t, up, penalty, goal):
    """Return the change of expert j's penalty when its load t grows (up) or shrinks by one."""
    if penalty[j] == 0.0:
        return 0.0
    d = t - goal[j]
    return penalty[j] * (2.0 * d + 1.0) if up else penalty[j] * (1.0 - 2.0 * d)


@kernel(called=False)
def load_arc(h, u, m, load, load_min, load_max, penalty, goal):
    """Return the weight of letting expert h take one more (u null) or u lose one (h null)."""
    if u == m and h < m and load[h] < load_max[h]:
        return penalty_step(h, load[h], True, penalty, goal)
    if h == m and u < m and load[u] > load_min[u]:
        return penalty_step(u, load[u], False, penalty, goal)
    return np.inf


@kernel(called=False)
def clip(c, w, p, q):
    """Return a reduced weight without its rounding: zero where it is not clearly positive."""
    return c if c > TIE * (abs(w) + abs(p) + abs(q)) else 0.0


@kernel
def _search(m, price, lists, load, bounds, excess, fewest, paths):
    """Run Dijkstra from all nodes in excess; return (settled nodes, deficits among them, reach).

    Distances up to ``reach`` are right. It ends at the first node that only
    unlisted clients could reach, or when all deficits are reached. Of paths as
    short those of the fewest arcs are found where that is asked for.
    """
    _, loss_top, arc = lists[:3]
    load_min, load_max, penalty, goal = bounds
    dist, hops, parent, kind, done, order = paths
    sinks = 0
    for j in range(m + 1):
        dist[j] = 0.0 if excess[j] > 0 else np.inf
        hops[j] = 0
        parent[j] = -1
        kind[j] = SWAP_ARC
        done[j] = False
        if excess[j] < 0:
            sinks += 1
    settled, found, reach = 0, 0, 0.0
    while True:
        h = -1
        near = np.inf
        for j in range(m + 1):
            if not done[j] and dist[j] < near:
                near = dist[j]
                h = j
        if fewest and h >= 0:
            for j in range(m + 1):
                if not done[j] and dist[j] == near and hops[j] < hops[h]:
                    h = j
        if h < 0:
            return settled, found, reach, False
        if kind[h] == UNLISTED_ARC:
            return settled, found, near, True
        done[h] = True
        order[settled] = h
        settled += 1
        if excess[h] < 0:
            found += 1
            reach = near
            if found == sinks:
                return settled, found, reach, False
        p, arcs = price[h], hops[h] + fewest
        for u in range(m + 1):
            w = arc[h, u]
            c = w - p + price[u]
            if near + c < dist[u]:
                d = near + clip(c, w, p, price[u])
                if d < dist[u] and not done[u]:
                    dist[u], hops[u], parent[u] = d, arcs, h
                    kind[u] = SWAP_ARC if loss_top[h, u] <= w else UNLISTED_ARC
        if fewest:
            for u in range(m + 1):
                w = arc[h, u]
                d = near + clip(w - p + price[u], w, p, price[u])
                if d == dist[u] and arcs < hops[u] and not done[u]:
                    hops[u], parent[u] = arcs, h
                    kind[u] = SWAP_ARC if loss_top[h, u] <= w else UNLISTED_ARC
        # Load bounds have slack between an expert and the null expert only, whose price is 0.
        for u in range(m if h < m else 0, m + 1 if h < m else m):
            w = load_arc(h, u, m, load, load_min, load_max, penalty, goal)
            if w < np.inf and not done[u]:
                d = near + clip(w - p + price[u], w, p, price[u])
                # What is listed is better than what is not.
                late = hops[u] + (kind[u] == UNLISTED_ARC)
                if d < dist[u] or (d == dist[u] and arcs < late):
                    dist[u], hops[u], parent[u], kind[u] = d, arcs, h, LOAD_ARC


@kernel(called=False)
def is_free(h, u, by_load, m, price, lists, load, bounds):
    """Say whether an arc can be used now at no loss."""
    _, loss_top, arc = lists[:3]
    load_min, load_max, penalty, goal = bounds
    if by_load:
        w = load_arc(h, u, m, load, load_min, load_max, penalty, goal)
    else:
        w = loss_top[h, u]
        if w > arc[h, u]:
            return False
    if w == np.inf:
        return False
    return clip(w - price[h] + price[u], w, price[h], price[u]) == 0.0


@kernel
def _free_path(sink, excess, parent, kind, m, price, lists, load, bounds):
    """Return how many arcs lead from excess to a sink, or -1 if not all can be used at no loss."""
    x, length = sink, 0
    while parent[x] >= 0:
        if not is_free(parent[x], x, kind[x] == LOAD_ARC, m, price, lists, load, bounds):
            return -1
        x = parent[x]
        length += 1
    return length if excess[x] > 0 else -1


@kernel
def _lower_prices(price, dist, done, reach):
    """Move prices by the distances found, relative to the null expert's."""
    m = price.size - 1
    shift = min(dist[m], reach) if done[m] else reach
    for j in range(m):
        if price[j] < np.inf:
            price[j] += shift - (min(dist[j], reach) if done[j] else reach)


@kernel
def augment(matrix, limits, price, load, bounds, excess, answer, slack, lists, per_swap, phases,
            frontier):  # fmt: skip
    """Move excess to deficits along shortest paths, keeping every response a best one.

    Parameters
    ----------
    price : float64 array, shape (m + 1,)
        Prices at which all held responses are best. Updated.
    load : int64 array, shape (m + 1,)
        The load each expert wants at its price. Updated.
    bounds : tuple of int64, int64, float64 and float64 arrays, shape (m,)
        Least and most load, and ``penalty`` and ``goal``: ``penalty * (load - goal)**2`` is paid,
        in units of fitness.
    excess : int64 array, shape (m + 1,)
        Holders beyond `load`; they sum to 0 with the null expert's. Updated.
    per_swap : int
        Most entries that a swap makes, in rows of m + 2.
    phases : int
        Most searches of this call.
    frontier : bool array, shape (m + 1, m + 1)
        Written with `WIDEN`: the pairs that have to be listed further.

    Returns
    -------
    int
        `DONE`, `WIDEN`, `INFEASIBLE` (the last search reached no deficit),
        `POOL_FULL` or `MORE`.
    """
    m, n_groups = price.size - 1, limits[5].shape[1]
    grouped = n_groups > 0
    pool, meta = lists[4:]
    value, is_held = np.empty(m + 1, np.float64), np.zeros(m + 1, np.bool_)
    room, before = new_room(m, n_groups), new_room(m, n_groups)
    dist, hops = np.empty(m + 1, np.float64), np.empty(m + 1, np.int64)
    parent, kind = np.empty(m + 1, np.int64), np.empty(m + 1, np.int64)
    done, order = np.empty(m + 1, np.bool_), np.empty(m + 1, np.int64)
    paths = dist, hops, parent, kind, done, order
    for _ in range(phases):
        if not holds_any(excess):  # they sum to 0: nobody is in excess
            return DONE
        settled, found, reach, cut = _search(m, price, lists, load, bounds, excess, grouped, paths)
        meta[SEARCHES] += 1
        if found == 0 and not cut:
            return INFEASIBLE
        if reach > 0.0:
            _lower_prices(price, dist, done, reach)
        if found == 0:
            for j in range(m + 1):
                if not done[j] and parent[j] >= 0 and kind[j] == UNLISTED_ARC:
                    frontier[parent[j], j] = True
            return WIDEN
        moved = False
        for s in range(settled):
            sink = order[s]
            while excess[sink] < 0:
                length = _free_path(sink, excess, parent, kind, m, price, lists, load, bounds)
                if length < 0:
                    break
                if meta[FRESH] + length * per_swap * (m + 2) > pool.size:
                    return POOL_FULL
                x = sink
                while parent[x] >= 0:
                    h = parent[x]
                    # Within groups a client's other swaps on a path that is not the first may not
                    # apply any more: what was moved up to here stays moved.
                    if grouped and x != sink and not is_free(h, x, kind[x] == LOAD_ARC, m, price,
                                                             lists, load, bounds):  # fmt: skip
                        break
                    excess[h] -= 1
                    excess[x] += 1
                    if kind[x] == LOAD_ARC:
                        if x == m:
                            load[h] += 1
                        else:
                            load[x] -= 1
                    elif not grouped:
                        swap(h, x, matrix, limits, price, answer, slack, value, is_held, lists)
                    else:
                        swap_in_groups(h, x, matrix, limits, price, answer, slack, value, room,
                                       before, lists)  # fmt: skip
                    meta[SWAPS] += np.int64(kind[x] != LOAD_ARC)
                    x = h
                moved = moved or parent[x] < 0
                meta[PATHS] += 1
        if not moved:
            return WIDEN
    return MORE
