"""Compiled search for a client's best set: several budgets, groups with minima, a floor.

Notation: r values less prices, A rows of sizes, b capacities, u >= 0 multipliers
of the rows. A set's adjusted value ``sum (r - u A)`` plus ``u b`` is at least its
true one, and the best adjusted set is found group by group by sorting. With good
multipliers this bound is close, so that a depth-first search in order of adjusted
value ends after a few nodes (E. Balas and E. Zemel, An algorithm for large
zero-one knapsack problems, 1980, doi:10.1287/opre.28.5.1130, for one row; S.
Martello and P. Toth, An exact algorithm for the two-constraint 0-1 knapsack
problem, 2003, doi:10.1287/opre.51.5.826.12757, for two).
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: Steps that halve the range of one row's multiplier, when nothing is known and later.
COLD_STEPS, WARM_STEPS = 10, 4
#: Nodes of a first search, with the multipliers as they are.
FIRST_NODES = 200
#: Sets are told apart down to this share of the largest value.
TIE = 1e-12


@njit(cache=True, nogil=True)
def _largest(adjusted, order, begin, end, count, scratch):
    """Return the `count`-th largest adjusted value of a group."""
    size = end - begin
    for t in range(size):
        scratch[t] = adjusted[order[begin + t]]
    part = scratch[:size]
    part.sort()
    return part[size - count]


@njit(cache=True, nogil=True)
def _select(adjusted, order, start, low, high, chosen, scratch):
    """Mark the best adjusted set within the groups' bounds; return its value, or -inf."""
    total = 0.0
    for g in range(start.size - 1):
        begin, end = start[g], start[g + 1]
        positive = 0
        usable = 0
        value = 0.0
        for t in range(begin, end):
            j = order[t]
            a = adjusted[j]
            chosen[j] = a > 0.0
            if a > 0.0:
                positive += 1
                value += a
            if a > -np.inf:
                usable += 1
        if usable < low[g] or low[g] > high[g]:
            return -np.inf
        if positive < low[g] or positive > high[g]:
            count = low[g] if positive < low[g] else high[g]
            value = 0.0
            if count == 0:
                for t in range(begin, end):
                    chosen[order[t]] = False
            else:
                least = _largest(adjusted, order, begin, end, count, scratch)
                taken = 0
                for t in range(begin, end):
                    j = order[t]
                    chosen[j] = adjusted[j] > least
                    if chosen[j]:
                        taken += 1
                        value += adjusted[j]
                for t in range(begin, end):
                    j = order[t]
                    if adjusted[j] == least and taken < count:
                        chosen[j] = True
                        taken += 1
                        value += least
        total += value
    return total


@njit(cache=True, nogil=True)
def _use(sizes, row, chosen):
    """Return what the chosen experts take of a row."""
    total = 0.0
    for j in range(chosen.size):
        if chosen[j]:
            total += sizes[row, j]
    return total


@njit(cache=True, nogil=True)
def _adjust(reduced, sizes, u, adjusted):
    """Write values less the rows' prices."""
    for j in range(reduced.size):
        a = reduced[j]
        if a > -np.inf:
            for row in range(u.size):
                a -= u[row] * sizes[row, j]
        adjusted[j] = a


@njit(cache=True, nogil=True)
def _probe(base, size, price, order, start, low, high, adjusted, chosen, scratch):
    """Return what the best adjusted set at one row's price takes of that row."""
    if start.size == 2 and low[0] == 0:
        # The usual case in one pass: no groups, and slots that do not bind.
        used, count = 0.0, 0
        for j in range(base.size):
            if base[j] - price * size[j] > 0.0:
                used += size[j]
                count += 1
        if count <= high[0]:
            return used
    for j in range(base.size):
        adjusted[j] = base[j] - price * size[j] if base[j] > -np.inf else -np.inf
    _select(adjusted, order, start, low, high, chosen, scratch)
    used = 0.0
    for j in range(base.size):
        if chosen[j]:
            used += size[j]
    return used


@njit(cache=True, nogil=True)
def _price_rows(reduced, sizes, cap, u, order, start, low, high, adjusted, chosen, scratch, base):
    """Improve the multipliers, one row after the other: the least at which it is kept."""
    worth = 0.0
    for j in range(reduced.size):
        if chosen[j]:
            worth += abs(reduced[j])
    for row in range(u.size):
        if not np.isfinite(cap[row]):
            continue
        size, b, old = sizes[row], cap[row], u[row]
        u[row] = 0.0
        _adjust(reduced, sizes, u, base)
        used = _probe(base, size, old, order, start, low, high, adjusted, chosen, scratch)
        over = used > b
        u[row] = old
        if not over and old <= 0.0:
            continue
        step = 0.05 * old
        if old <= 0.0:
            step = 0.1 * (worth if worth > 0.0 else 1.0) / max(abs(b), abs(used))
        # Bracket the least price, outward from the old one, then halve.
        left, right = (old, old) if over else (0.0, old)
        for _ in range(60):
            price = right + step if over else max(0.0, right - step)
            step *= 2.0
            used = _probe(base, size, price, order, start, low, high, adjusted, chosen, scratch)
            if over:
                right = price
                if used <= b:
                    break
                left = price
            elif used > b:
                left = price
                break
            else:
                right = price
                if price <= 0.0:
                    break
        for _ in range(COLD_STEPS if old <= 0.0 else WARM_STEPS):
            if right <= left:
                break
            price = 0.5 * (left + right)
            used = _probe(base, size, price, order, start, low, high, adjusted, chosen, scratch)
            if used > b:
                left = price
            else:
                right = price
        u[row] = right


@njit(cache=True, nogil=True)
def _fits(sizes, use, cap, j):
    """Tell whether an expert fits into what is left of rows without negative entries."""
    fits = True
    for row in range(cap.size):
        fits = fits and use[row] + sizes[row, j] <= cap[row]
    return fits


@njit(cache=True, nogil=True)
def _greedy(reduced, adjusted, sizes, cap, chosen, best):
    """Take of the best adjusted set of a plain client what fits, best first; return its value."""
    use = np.zeros(cap.size)
    items, count = np.empty(chosen.size, np.int64), 0
    for j in range(chosen.size):
        best[j] = False
        if chosen[j] and reduced[j] > 0.0:
            at = count
            while at > 0 and adjusted[items[at - 1]] < adjusted[j]:
                items[at] = items[at - 1]
                at -= 1
            items[at] = j
            count += 1
    value = 0.0
    for t in range(count):
        j = items[t]
        if _fits(sizes, use, cap, j):
            best[j] = True
            value += reduced[j]
            for row in range(cap.size):
                use[row] += sizes[row, j]
    return value


@njit(cache=True, nogil=True)
def _sorted_items(adjusted, order, start, low, high, chosen, room, items, ends, scratch):
    """List experts whose inclusion may pay, by group and adjusted value; return how many.

    `room` is what the best adjusted set has above the best known one.
    """
    count = 0
    for g in range(start.size - 1):
        begin = start[g]
        size = start[g + 1] - begin
        held = 0
        least = np.inf
        for t in range(begin, begin + size):
            j = order[t]
            if chosen[j]:
                held += 1
                least = min(least, adjusted[j])
        # A further one takes the place of the least, where there must be no more,
        # or where the least is only there because of a minimum.
        swaps = held > 0 and (held == high[g] or least < 0.0)
        first = count
        for t in range(begin, begin + size):
            j = order[t]
            a = adjusted[j]
            if a == -np.inf:
                continue
            if not chosen[j] and (a - least if swaps else a) + room <= 0.0:
                continue
            items[count] = j
            scratch[count] = -a
            count += 1
        if count - first > 24:
            by = np.argsort(scratch[first:count])
            items[first:count] = items[first:count][by]
        else:
            for t in range(first + 1, count):
                key, j = scratch[t], items[t]
                at = t
                while at > first and scratch[at - 1] > key:
                    scratch[at], items[at] = scratch[at - 1], items[at - 1]
                    at -= 1
                scratch[at], items[at] = key, j
        ends[g] = count
    return count


@njit(cache=True, nogil=True)
def _search(reduced, adjusted, sizes, cap, base, items, ends, low, high, plain, nodes,
            best, best_value, tie):  # fmt: skip
    """Search depth first for a better set; return its value, and a bound on all sets.

    `best` is overwritten where a set better than `best_value` is found.
    """
    n_groups, n_items, n_rows = ends.size, ends[-1], cap.size
    prefix = np.empty(n_items + 1)
    prefix[0] = 0.0
    for t in range(n_items):
        prefix[t + 1] = prefix[t] + adjusted[items[t]]
    positive = np.empty(n_groups, np.int64)
    suffix = np.zeros(n_groups + 1)
    for g in range(n_groups - 1, -1, -1):
        begin = ends[g - 1] if g > 0 else 0
        positive[g] = begin
        while positive[g] < ends[g] and adjusted[items[positive[g]]] > 0.0:
            positive[g] += 1
        k = min(max(positive[g] - begin, low[g]), high[g])
        if k > ends[g] - begin:
            return best_value, best_value
        suffix[g] = suffix[g + 1] + prefix[begin + k] - prefix[begin]
    # The least that the items from t on can add to a row.
    least = np.zeros((n_rows, n_items + 1))
    for row in range(n_rows):
        for t in range(n_items - 1, -1, -1):
            least[row, t] = least[row, t + 1] + min(0.0, sizes[row, items[t]])
    stack, of_group = np.empty(n_items + 1, np.int64), np.empty(n_items + 1, np.int64)
    use, count = np.zeros(n_rows), np.zeros(n_groups, np.int64)
    depth, t, g = 0, 0, 0
    value = 0.0
    current = base
    upper = -np.inf
    while True:
        while g < n_groups and t == ends[g] and count[g] >= low[g]:
            g += 1
            if g < n_groups:
                count[g] = 0
        alive = True
        if g == n_groups:
            # A leaf, and every bound of the groups is kept.
            if value > best_value + tie:
                for row in range(n_rows):
                    alive = alive and use[row] <= cap[row]
                if alive:
                    best_value = value
                    best[:] = False
                    for d in range(depth):
                        best[items[stack[d]]] = True
            alive = False
        else:
            k = min(max(positive[g] - t, low[g] - count[g], 0), high[g] - count[g])
            if k > ends[g] - t:
                alive = False
            else:
                bound = current + prefix[t + k] - prefix[t] + suffix[g + 1]
                if bound <= best_value + tie:
                    alive = False
                elif nodes <= 0:
                    upper = max(upper, bound)
                    alive = False
        if alive:
            nodes -= 1
            j = items[t]
            fits = count[g] < high[g]
            for row in range(n_rows):
                fits = fits and use[row] + sizes[row, j] + least[row, t + 1] <= cap[row]
            if fits:
                stack[depth], of_group[depth] = t, g
                depth += 1
                count[g] += 1
                value += reduced[j]
                current += adjusted[j]
                for row in range(n_rows):
                    use[row] += sizes[row, j]
                if plain and value > best_value + tie:
                    best_value = value
                    best[:] = False
                    for d in range(depth):
                        best[items[stack[d]]] = True
            t += 1
            continue
        if depth == 0:
            break
        depth -= 1
        t, g = stack[depth], of_group[depth]
        j = items[t]
        count[g] -= 1
        value -= reduced[j]
        current -= adjusted[j]
        for row in range(n_rows):
            use[row] -= sizes[row, j]
        t += 1
    return best_value, max(upper, best_value)


@njit(cache=True, nogil=True)
def best_set(reduced, sizes, cap, u, order, start, low, high, plain, nodes, best, work):
    """Find a client's best set.

    Parameters
    ----------
    reduced : float64 array, shape (m,)
        Values less prices; -inf forbids.
    sizes : float64 array, shape (n_rows, m)
        Rows of sizes.
    cap : float64 array, shape (n_rows,)
        Their bounds.
    u : float64 array, shape (n_rows,)
        Multipliers to start from; improved in place.
    order, start, low, high
        Groups; see `alignsolve.lagrange.parts.Clients`.
    plain : bool
        Whether subsets of a set that is allowed are allowed.
    nodes : int
        Nodes after which the search stops.
    best : bool array, shape (m,)
        The set found.
    work : float64 array, shape (4, m + 1)
        Scratch space.

    Returns
    -------
    value, upper : float
        Value of the set (-inf for none found), and a bound on every set's.
    """
    m = reduced.size
    adjusted, scratch = work[0, :m], work[1]
    single = work[2, :m]
    top = 0.0
    for j in range(m):
        single[j] = reduced[j]
        for row in range(cap.size):
            if plain and sizes[row, j] > cap[row]:
                single[j] = -np.inf
        if single[j] > -np.inf:
            top = max(top, abs(single[j]))
    chosen = np.empty(m, np.bool_)
    known = False
    for row in range(cap.size):
        known = known or u[row] > 0.0
    # With multipliers from the pass before a short search mostly suffices.
    value, upper = _attempt(single, sizes, cap, u, order, start, low, high, plain,
                            FIRST_NODES if known else 0, best, adjusted, chosen, scratch,
                            TIE * top)  # fmt: skip
    if upper <= value + 2.0 * TIE * top or upper == -np.inf:
        return value, upper
    _price_rows(single, sizes, cap, u, order, start, low, high, adjusted, chosen, scratch,
                work[3, :m])  # fmt: skip
    return _attempt(single, sizes, cap, u, order, start, low, high, plain, nodes, best, adjusted,
                    chosen, scratch, TIE * top)  # fmt: skip


@njit(cache=True, nogil=True)
def _attempt(reduced, sizes, cap, u, order, start, low, high, plain, nodes, best, adjusted,
             chosen, scratch, tie):  # fmt: skip
    """Find the best set with given multipliers; return its value, and a bound on every set's."""
    m = reduced.size
    best[:] = False
    _adjust(reduced, sizes, u, adjusted)
    value = _select(adjusted, order, start, low, high, chosen, scratch)
    if value == -np.inf:
        return -np.inf, -np.inf
    base = 0.0
    exact = True
    for row in range(cap.size):
        if u[row] > 0.0:
            base += u[row] * cap[row]
        used = _use(sizes, row, chosen)
        exact = exact and used <= cap[row] and (u[row] <= 0.0 or used == cap[row])
    if exact:
        best[:] = chosen
        total = 0.0
        for j in range(m):
            if chosen[j]:
                total += reduced[j]
        return total, total
    if nodes == 0:
        return -np.inf, base + value
    best_value = -np.inf
    room = np.inf
    if plain:
        best_value = _greedy(reduced, adjusted, sizes, cap, chosen, best)
        room = base + value - best_value - tie
    items, ends = np.empty(m, np.int64), np.empty(start.size - 1, np.int64)
    n_items = _sorted_items(adjusted, order, start, low, high, chosen, room, items, ends, scratch)
    if n_items == 0:
        return max(best_value, 0.0), max(best_value, 0.0)
    found, upper = _search(reduced, adjusted, sizes, cap, base, items, ends, low, high, plain,
                           nodes, best, best_value, tie)  # fmt: skip
    if upper == -np.inf:
        return -np.inf, -np.inf
    return found, min(upper + tie, base + value)


@njit(cache=True, nogil=True)
def best_sets(reduced, sizes, cap, u, order, start, low, high, plain, nodes, best, value, upper):
    """Find the best set of every client of a block; see `best_set`."""
    k, m = reduced.shape
    work = np.empty((4, m + 1))
    for i in range(k):
        value[i], upper[i] = best_set(
            reduced[i], sizes[i], cap[i], u[i], order, start, low[i], high[i], plain, nodes,
            best[i], work,
        )  # fmt: skip


@njit(cache=True, nogil=True)
def add_amounts(best, weight, amounts):
    """Add what the sets of a block put on every load, (n_loads, n_experts)."""
    for i in range(best.shape[0]):
        for j in range(best.shape[1]):
            if best[i, j]:
                for k in range(weight.shape[0]):
                    amounts[k, j] += weight[k, i]


@njit(cache=True, nogil=True)
def _cost(load, price, low, high, slope, target, strain, pull):
    """Return what a load costs: its price, its penalty, and what it is out of bounds."""
    off = max(load - high, low - load, 0.0)
    return price * load + slope * (load - target) ** 2 + (strain + 0.5 * pull * off) * off


@njit(cache=True, nogil=True)
def respond(sequence, values, sizes, cap, u, order, start, low, high, plain, nodes, held, weight,
            amounts, price, load_low, load_high, slope, target, strain, pull):  # fmt: skip
    """Let clients change to their best sets one after the other; return how many did.

    Given all others, what a client adds to the loads costs each expert separately,
    so that its best set is a knapsack again. The total less the loads' costs never
    falls.

    Parameters
    ----------
    sequence : int64 array
        Rows of the block in the order of their turns.
    values : float64 array, shape (k, m)
        Values, -inf forbids.
    sizes, cap, u, order, start, low, high, plain, nodes
        See `best_set`.
    held : bool array, shape (k, m)
        Sets; changed in place.
    weight : float64 array, shape (n_loads, k)
        What each client adds to each load.
    amounts : float64 array, shape (n_loads, m)
        The loads; changed in place.
    price, load_low, load_high, slope, target : float64 array, shape (n_loads, m)
        Price of each load, its bounds, and its penalty.
    strain, pull : float64 array, shape (n_loads,)
        Cost of a unit out of bounds, and of half the square of it.
    """
    m = values.shape[1]
    work, reward, best = np.empty((4, m + 1)), np.empty(m), np.empty(m, np.bool_)
    changed = 0
    for i in sequence:
        present = 0.0
        for j in range(m):
            reward[j] = values[i, j]
            if reward[j] == -np.inf:
                continue
            for k in range(weight.shape[0]):
                w = weight[k, i]
                without = amounts[k, j] - (w if held[i, j] else 0.0)
                parts = (price[k, j], load_low[k, j], load_high[k, j], slope[k, j], target[k, j],
                         strain[k], pull[k])  # fmt: skip
                reward[j] -= _cost(without + w, *parts) - _cost(without, *parts)
            if held[i, j]:
                present += reward[j]
        value, _ = best_set(reward, sizes[i], cap[i], u[i], order, start, low[i], high[i], plain,
                            nodes, best, work)  # fmt: skip
        if value <= present + 1e-9 * abs(present):
            continue
        changed += 1
        for j in range(m):
            if best[j] != held[i, j]:
                for k in range(weight.shape[0]):
                    amounts[k, j] += weight[k, i] if best[j] else -weight[k, i]
                held[i, j] = best[j]
    return changed
