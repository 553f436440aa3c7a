"""Least priced violation, then best objective, by brute force over all assignments."""

from __future__ import annotations

import itertools

import numpy as np

from alignsolve.model.problem import tolerance


def lacking(has, low, high=np.inf):
    """Return by how much numbers miss their bounds; rounding is no violation."""
    has, low, high = np.broadcast_arrays(np.asarray(has, float), low, high)
    under = np.where(np.isfinite(low), low - has, -np.inf)
    over = np.where(np.isfinite(high), has - high, -np.inf)
    return (np.where(under > tolerance(low), under, 0), np.where(over > tolerance(high), over, 0))


def whole(problem):
    """Return the bounds on holders, rounded inward."""
    low = np.array([np.ceil(max(b, 0) - 1e-9 * max(1, abs(b))) for b in problem.load_min])
    high = np.array([np.floor(b + 1e-9 * max(1, abs(b))) if np.isfinite(b) else b
                     for b in problem.load_max])
    return low, high


def violation(problem, held, elastic):
    """Return the priced violation of one assignment (bool matrix), or None if it is not allowed."""
    n, m = held.shape
    if (held & (problem.fitness == -np.inf)).any() or (held.sum(1) > problem.max_experts).any():
        return None
    for resource in problem.resources.values():
        use, budget = (held * resource.size).sum(1), np.asarray(resource.budget)
        if (use > budget + tolerance(budget)).any():
            return None
    low, high = whole(problem)
    load_price = np.broadcast_to(elastic.load, m)
    total = sum((load_price * part).sum() for part in lacking(held.sum(0), low, high))
    for name, load in problem.loads.items():
        weight = np.asarray(load.weight)
        price = (elastic.named_loads or {}).get(name)
        if price is None:
            price = load_price / (weight[weight > 0].mean() if (weight > 0).any() else 1)
        amount = (held * weight[:, None]).sum(0)
        total += sum((price * part).sum() for part in lacking(amount, load.min, load.max))
    total += (elastic.min_experts * lacking(held.sum(1), problem.min_experts)[0]).sum()
    if problem.expert_group is not None:
        price = np.broadcast_to(elastic.group, (n, problem.n_groups))
        for g in range(problem.n_groups):
            count = held[:, problem.expert_group == g].sum(1)
            if (count > problem.group_max[:, g]).any():
                return None
            total += (price[:, g] * lacking(count, problem.group_min[:, g])[0]).sum()
    floor = problem.client_fitness_min
    price = elastic.fitness_floor
    if price is None:
        price = 1 / problem.largest if problem.largest >= 1e-300 else 1.0
    fitness = np.where(held, problem.fitness, 0).astype(np.float64).sum(1)
    return total + (price * lacking(fitness, floor)[0]).sum()


def best_elastic(problem, elastic):
    """Return the least violation, and the best objective (own sense) among those that have it."""
    n, m = problem.n_clients, problem.n_experts
    least, best = np.inf, -np.inf
    for bits in itertools.product((False, True), repeat=n * m):
        held = np.array(bits, dtype=np.bool_).reshape(n, m)
        missed = violation(problem, held, elastic)
        if missed is None:
            continue
        value = problem.sign * problem.objective(*np.nonzero(held))
        slack = 1e-7 * max(1.0, abs(missed))
        if missed < least - slack:
            least, best = missed, value
        elif missed <= least + slack:
            least, best = min(least, missed), max(best, value)
    return least, problem.sign * best
