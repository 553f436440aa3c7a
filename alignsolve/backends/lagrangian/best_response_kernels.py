"""Compiled best responses: clients choose again, one after the other, given all others."""

from __future__ import annotations

import numpy as np

from alignsolve.backends.lagrangian.multidimensional_knapsack import best_set, new_work
from alignsolve.kernels import kernel


@kernel
def _cost(load, price, low, high, slope, target, fine, pull):
    """Return what a load costs: its price, its penalty, and what it is out of bounds."""
    off = max(load - high, low - load, 0.0)
    away = load - target
    cost = price * load + slope * (away * away)
    return cost + fine + 0.5 * pull * (off * off) if off > 0.0 else cost


@kernel
def respond(sequence, values, sizes, cap, room, known, kind, nodes, held, weight,
            amounts, price, load_low, load_high, slope, target, fine, pull):  # fmt: skip
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
    sizes, cap, room, known, kind, nodes
        See `best_set`.
    held : bool array, shape (k, m)
        Sets; changed in place.
    weight : float64 array, shape (n_loads, k)
        What each client adds to each load.
    amounts : float64 array, shape (n_loads, m)
        The loads; changed in place.
    price, load_low, load_high, slope, target : float64 array, shape (n_loads, m)
        Price of each load, its bounds, and its penalty.
    fine : float
        Cost of being out of bounds at all.
    pull : float64 array, shape (n_loads,)
        Cost of half the square of what is out of bounds.
    """
    m = values.shape[1]
    work = new_work(m, cap.shape[1])
    reward, best = np.empty(m), np.empty(m, np.bool_)
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
                         fine, pull[k])  # fmt: skip
                reward[j] -= _cost(without + w, *parts) - _cost(without, *parts)
            if held[i, j]:
                present += reward[j]
        least = present + 1e-9 * abs(present)
        value, _ = best_set(reward, sizes[i], cap[i], room[i], known[i], kind, nodes, 0.0, least,
                            best, work)  # fmt: skip
        if value <= least:
            continue
        changed += 1
        for j in range(m):
            if best[j] != held[i, j]:
                for k in range(weight.shape[0]):
                    amounts[k, j] += weight[k, i] if best[j] else -weight[k, i]
                held[i, j] = best[j]
    return changed


@kernel
def clearing_prices(matrix, demand, low, high, slope, target, price):
    """Move prices to where demand that falls linearly meets supply; return what clients lose.

    Parameters
    ----------
    matrix : float64 array, shape (k, k)
        How demand falls with prices, positive definite.
    demand, low, high, slope, target : float64 array, shape (k,)
        Demand at the present prices; bounds and penalties of supply.
    price : float64 array, shape (k,)
        The prices; changed in place.

    Notes
    -----
    One price after the other is brought to where its own market clears, until none
    moves by much: O(k**2) time a round.
    """
    k = price.size
    present, left, step = np.empty(k), np.empty(k), np.zeros(k)
    for c in range(k):
        present[c], left[c] = price[c], demand[c]
    for _ in range(200):
        moved, largest = 0.0, 0.0
        for c in range(k):
            fall = matrix[c, c]
            at_zero = left[c] + fall * price[c]
            new = 0.0
            if slope[c] > 0.0:
                new = (at_zero - target[c]) / (fall + 0.5 / slope[c])
                amount = target[c] + 0.5 * new / slope[c]
                if amount > high[c]:
                    new = (at_zero - high[c]) / fall
                elif amount < low[c]:
                    new = (at_zero - low[c]) / fall
            elif at_zero > high[c]:
                new = (at_zero - high[c]) / fall
            elif at_zero < low[c]:
                new = (at_zero - low[c]) / fall
            change = new - price[c]
            if change != 0.0:
                price[c] = new
                step[c] += change
                for other in range(k):
                    left[other] -= matrix[other, c] * change
            moved = max(moved, abs(change))
            largest = max(largest, abs(step[c]))
        if moved <= 1e-3 * largest:
            break
    for c in range(k):
        price[c] = present[c] + step[c]
    # The model falls by demand less half of what demand falls by, times the step.
    saved = 0.0
    for c in range(k):
        saved += 0.5 * (demand[c] + left[c]) * step[c]
    return saved


@kernel
def respond_in_turn(sequence, values, sizes, cap, room, known, kind, nodes, gap, weight, low, high,
            slope, target, step, price, mean, held, upper):  # fmt: skip
    """Let clients choose one after the other, each choice moving the prices a little.

    Parameters
    ----------
    sequence : int64 array
        Clients in the order of their turns.
    values, sizes, cap, room, known, kind, nodes, gap
        As for `best_set`, with a row per client.
    weight : float64 array, shape (n_loads, n)
        What each client adds to each load.
    low, high, slope, target : float64 array, shape (n_loads, m)
        A client's share of supply.
    step : float64 array, shape (n_loads,)
        What a unit of demand beyond supply adds to a price.
    price : float64 array, shape (n_loads, m)
        The prices; changed in place.
    mean : float64 array, shape (n_loads, m)
        Mean of the prices over the sequence, on return.
    held : bool array, shape (n, m)
        The sets chosen, on return.
    upper : float64 array, shape (n,)
        Bounds on the clients' values, on return; -inf where there is no set.
    """
    n_loads, m = price.shape
    work, reward = new_work(m, cap.shape[1]), np.empty(m)
    mean[:] = 0.0
    for i in sequence:
        for j in range(m):
            reward[j] = values[i, j]
            for k in range(n_loads):
                reward[j] -= weight[k, i] * price[k, j]
        _, upper[i] = best_set(reward, sizes[i], cap[i], room[i], known[i], kind, nodes, gap,
                               -np.inf, held[i], work)  # fmt: skip
        for k in range(n_loads):
            for j in range(m):
                raised = price[k, j] + (step[k] * weight[k, i] if held[i, j] else 0.0)
                price[k, j] = _less_supply(
                    raised, step[k], low[k, j], high[k, j], slope[k, j], target[k, j]
                )
                mean[k, j] += price[k, j]
    for k in range(n_loads):
        for j in range(m):
            mean[k, j] /= sequence.size


@kernel
def _less_supply(price, step, low, high, slope, target):
    """Return the price at which a step against supply, best there, leads from a price."""
    if slope > 0.0:
        new = (price - step * target) / (1.0 + 0.5 * step / slope)
        load = target + 0.5 * new / slope
        if low <= load <= high:
            return new
        return price - step * (high if load > high else low)
    # Supply jumps at 0, which holds a price that would cross it.
    if price > step * high:
        return price - step * high
    return min(0.0, price - step * low)
