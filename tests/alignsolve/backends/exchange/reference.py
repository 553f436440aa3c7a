"""Slow, obvious versions of what the kernels compute, and an independent certificate."""

import numpy as np


def best_set(reduced, least, most):
    """Return the best response to reduced values, -inf forbids, as a set of experts."""
    order = sorted(range(len(reduced)), key=lambda j: -reduced[j])
    chosen = []
    for j in order:
        if reduced[j] == -np.inf or len(chosen) == most:
            break
        if len(chosen) < least or reduced[j] > 0:
            chosen.append(j)
    return set(chosen)


def swap_losses(reduced, held, least, most):
    """Return the loss of every swap of one held place for one not held; m is nothing."""
    m = len(reduced)
    value = [*reduced, 0.0]
    gives = [*held, *([m] if len(held) < most else [])]
    takes = [*set(range(m)) - set(held), *([m] if len(held) > least else [])]
    return {
        (h, u): value[h] - value[u]
        for h in gives
        for u in takes
        if h != u and value[u] > -np.inf
    }


def values_of(fitness, switch=None):
    """Return fitness less switching costs, float64."""
    values = fitness.astype(np.float64)
    if switch is not None:
        cost, indptr, indices = switch
        held = np.zeros(values.shape, bool)
        for i in range(len(values)):
            held[i, indices[indptr[i] : indptr[i + 1]]] = True
        values = np.where(held, values, values - cost)
    return values


def residual(answer, fitness, slots, loads, penalty=None, switch=None):
    """Check every bound of an answer; return its distance from the dual bound.

    `slots` and `loads` are pairs (least, most) of arrays.
    """
    values = values_of(fitness, switch)
    n, m = values.shape
    x = np.zeros((n, m), int)
    np.add.at(x, (answer.row_ind, answer.col_ind), 1)
    assert x.max(initial=0) <= 1
    assert np.isfinite(values[x > 0]).all()
    least, most = (np.broadcast_to(s, n) for s in slots)
    low, high = (np.broadcast_to(v, m) for v in loads)
    held, load = x.sum(axis=1), x.sum(axis=0)
    assert (held >= least).all()
    assert (held <= most).all()
    assert (load >= low).all()
    assert (load <= high).all()
    assert np.isfinite(answer.prices).all()
    keys = answer.row_ind * m + answer.col_ind
    assert (np.diff(keys) > 0).all()
    reduced = values - answer.prices
    gap = 0.0
    for i in range(n):
        best = best_set(reduced[i], least[i], min(m, most[i]))
        mine = set(np.flatnonzero(x[i]))
        gap += reduced[i, list(best - mine)].sum() - reduced[i, list(mine - best)].sum()
    weight, goal = (0.0, 0.0) if penalty is None else penalty
    weight, goal = np.broadcast_to(weight, m), np.broadcast_to(goal, m)
    for j in range(m):
        t = np.arange(max(0, low[j]), min(n, high[j]) + 1)
        worth = answer.prices[j] * t - weight[j] * (t - goal[j]) ** 2
        here = answer.prices[j] * load[j] - weight[j] * (load[j] - goal[j]) ** 2
        gap += worth.max() - here
    return gap


def least_cost_flow(fitness, slots, loads):
    """Return the optimum of a problem with whole values by OR-Tools, or None."""
    from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

    n, m = fitness.shape
    least, most = (np.broadcast_to(s, n).astype(np.int64) for s in slots)
    low, high = (np.broadcast_to(v, m).astype(np.int64) for v in loads)
    if (least > most).any() or (low > high).any():
        return None
    rows, cols = np.nonzero(np.isfinite(fitness))
    client, expert, sink = np.arange(n), n + np.arange(m), n + m
    flow = SimpleMinCostFlow()

    def arcs(tail, head, capacity, cost):
        shape = np.broadcast_shapes(np.shape(tail), np.shape(head))
        flow.add_arcs_with_capacity_and_unit_cost(
            *(np.broadcast_to(v, shape).astype(np.int64) for v in (tail, head, capacity, cost))
        )

    # Lower bounds are moved into the supplies; node n + m is source and sink in one.
    arcs(rows, n + cols, np.ones(rows.size), -fitness[rows, cols])
    arcs(sink, client, most - least, np.zeros(n))
    arcs(expert, sink, np.minimum(high, n) - low, np.zeros(m))
    supply = np.concatenate([least, -low, [low.sum() - least.sum()]])
    flow.set_nodes_supplies(np.arange(n + m + 1), supply)
    if (np.minimum(high, n) < low).any() or flow.solve() != flow.OPTIMAL:
        return None
    return -flow.optimal_cost()


def wanted_load(price, load, least, most, weight, goal):
    """Return the load in bounds of best price times load less penalty, nearest to `load`."""
    loads = np.arange(least, most + 1)
    worth = price * loads - weight * (loads - goal) ** 2
    best = loads[worth >= worth.max() - 1e-9]
    return best[np.argmin(np.abs(best - load))]


def swap_rates(chosen, slack, runner_up, holdings, nodes, limit, crowd):
    """Return clients per unit of price at each pair's boundary, from the clients' slack."""
    slacks = {}
    for k in chosen:
        u, h = runner_up[k], nodes - 1
        if u < 0:
            u = -1 - u
        elif u < nodes and len(holdings[k]):
            h = holdings[k][-1]
        else:
            continue
        slacks.setdefault(frozenset((int(h), int(u))), []).append(slack[k])
    rate = np.zeros((nodes, nodes))
    for pair, known in slacks.items():
        if len(pair) == 2:
            h, u = pair
            mean = np.clip(np.mean(known), 1e-6 * limit, 0.5 * limit)
            density = 0.5 / mean if len(known) >= crowd else 1 / limit
            rate[h, u] = rate[u, h] = 0.5 * len(known) * density
    return rate
