"""Small problems whose dual bound is known as a fraction, and every way to prove an answer."""

from __future__ import annotations

import itertools
from fractions import Fraction
from functools import cache
from types import SimpleNamespace

import numpy as np

import alignsolve as al
from alignsolve.certificate import row_pass_kernels
from alignsolve.certificate.best_responses import Multipliers
from alignsolve.certificate.duality_gap import client_sums, dual_gap, total_gap
from alignsolve.distributed.proof import add_proofs, prove_shard
from alignsolve.model.arrays import row_blocks
from alignsolve.model.feasibility import Assignment


@cache
def flow_problem(seed, *, whole, groups=False, features=True):
    """Return a feasible problem of 4 clients and 3 experts, whole or in quarters; all features."""
    rng = np.random.default_rng(seed)
    n, m, unit = 4, 3, 1.0 if whole else 0.25
    fitness = rng.integers(-8, 20, (n, m)) * unit
    arguments = {"max_experts": rng.integers(1, 3, n), "min_experts": rng.integers(0, 2, n),
                 "load_max": rng.integers(2, 4, m), "load_min": rng.integers(0, 2, m)}
    if features:
        fitness[rng.random((n, m)) < 0.15] = -np.inf
        arguments |= {
            "load_penalty": rng.integers(0, 3, m) * unit, "load_target": rng.integers(0, 3, m) / 2,
            "switch_cost": rng.integers(0, 3, m) * unit, "held": rng.random((n, m)) < 0.4,
        }
    if groups:
        arguments |= {"expert_group": [0, 1, 1], "group_max": [1, 2]}
    if seed % 2:
        return al.AlignmentProblem.from_cost(-fitness, **arguments)
    return al.AlignmentProblem(fitness, **arguments)


@cache
def mip_problem(seed):
    """Return a problem in quarters with a penalised load, a resource and floors beside."""
    rng = np.random.default_rng((seed, 1))
    problem = flow_problem(seed, whole=False, groups=bool(seed % 3))
    floor = np.where(rng.random(4) < 0.5, -rng.integers(0, 40, 4) / 4, -np.inf)
    return problem.replace(
        loads={"samples": al.Load(
            rng.integers(0, 8, 4) / 4, min=rng.integers(0, 3, 3) / 8,
            max=[1.25, 3.5, np.inf], target=[0.5, 1.0, 2.0], penalty=[0.5, 0.0, 0.25])},
        resources={"mb": al.Resource(rng.integers(1, 8, (4, 3)) / 4, rng.integers(4, 16, 4) / 4)},
        **({"client_fitness_min": floor} if problem.sense == "max" else
           {"client_cost_max": -floor}),
    )  # fmt: skip


def exact_dual(problem, multipliers):
    """Return D(p), max sense, as a fraction, by enumeration of each client's sets and all loads."""
    n, m = problem.n_clients, problem.n_experts
    values, smin, smax = problem.values(slice(0, n)), *problem.slot_bounds()
    price = [Fraction(p) for p in np.asarray(multipliers.experts).tolist()]
    total = Fraction(0)
    for i in range(n):
        worth = {}
        for j in np.flatnonzero(values[i] > -np.inf).tolist():
            worth[j] = Fraction(values[i, j]) - price[j]
            for name, q in multipliers.loads.items():
                worth[j] -= Fraction(float(problem.loads[name].weight[i])) * Fraction(float(q[j]))
            for name, q in multipliers.budgets.items():
                size = np.broadcast_to(problem.resources[name].size, (n, m))[i, j]
                worth[j] -= Fraction(float(q[i])) * Fraction(float(size))
            if multipliers.fairness is not None:
                fitness = Fraction(float(problem.fitness[i, j]))
                worth[j] += Fraction(float(multipliers.fairness[i])) * fitness
        sets = [chosen for size in range(smin[i], smax[i] + 1)
                for chosen in itertools.combinations(worth, size)
                if problem.expert_group is None or all(
                    low <= sum(problem.expert_group[j] == g for j in chosen) <= high
                    for g, (low, high) in enumerate(
                        zip(problem.group_min[i], problem.group_max[i], strict=True)))]
        total += max(sum((worth[j] for j in chosen), Fraction(0)) for chosen in sets)
        for name, q in multipliers.budgets.items():
            total += Fraction(float(q[i])) * Fraction(float(problem.resources[name].budget[i]))
        if multipliers.fairness is not None and multipliers.fairness[i] > 0:
            floor = Fraction(float(problem.client_fitness_min[i]))
            total -= Fraction(float(multipliers.fairness[i])) * floor
    low, high = problem.holder_bounds()
    for j in range(m):
        slope, target = Fraction(problem.load_penalty[j]), Fraction(problem.load_target[j])
        total += max(price[j] * k - slope * (k - target) ** 2 for k in range(low[j], high[j] + 1))
        for name, load in problem.loads.items():
            q = Fraction(float(np.asarray(multipliers.loads.get(name, np.zeros(m)))[j]))
            a, t = (Fraction(float(np.broadcast_to(part, m)[j]))
                    for part in (load.penalty, load.target))
            least = max(Fraction(0), Fraction(float(np.broadcast_to(load.min, m)[j])))
            bound = float(np.broadcast_to(load.max, m)[j])
            every = sum(Fraction(w) for w in np.asarray(load.weight).tolist())
            most = every if bound == np.inf else min(every, Fraction(bound))
            best = (t + q / (2 * a)) if a else (most if q > 0 else least)
            best = min(max(best, least), most)
            total += q * best - a * (best - t) ** 2
    return total


# -- ways to an answer's gap at given prices (max sense), which must agree ------------------


def by_numpy(problem, rows, cols, prices, monkeypatch):
    multipliers = Multipliers(prices)
    sums, _ = client_sums(problem, rows, cols, multipliers)
    return total_gap(problem, rows, cols, multipliers, sums).gap_abs


def a_row_at_a_time(monkeypatch):
    """Lower the size of blocks of rows to one of three experts, everywhere."""
    monkeypatch.setattr(row_blocks, "__defaults__", (8 * 3,))


def in_blocks(problem, rows, cols, prices, monkeypatch):
    a_row_at_a_time(monkeypatch)
    return by_numpy(problem, rows, cols, prices, monkeypatch)


def by_kernel(problem, rows, cols, prices, monkeypatch):
    return dual_gap(problem, rows, cols, Multipliers(prices)).gap_abs


def in_threads(problem, rows, cols, prices, monkeypatch):
    monkeypatch.setattr(row_pass_kernels, "SERIAL_SIZE", 1)
    monkeypatch.setattr(row_pass_kernels, "N_CHUNKS", 3)
    return by_kernel(problem, rows, cols, prices, monkeypatch)


def by_columns(problem, rows, cols, prices, monkeypatch):
    a_row_at_a_time(monkeypatch)
    turned = np.asfortranarray(problem.fitness * problem.sign)
    name = "fitness" if problem.sense == "max" else "cost"
    return by_kernel(problem.replace(**{name: turned}), rows, cols, prices, monkeypatch)


def of_source(problem):
    """Return the same problem with its values in a source of blocks of two rows."""
    given = problem.fitness * problem.sign
    source = al.FunctionSource(lambda a, b: given[a:b], given.shape, given.dtype, 2)
    return problem.replace(**{"fitness" if problem.sense == "max" else "cost": source})


def by_source(problem, rows, cols, prices, monkeypatch):
    return by_kernel(of_source(problem), rows, cols, prices, monkeypatch)


def shard_of(problem, start, stop, rows, cols):
    """Return what `prove_shard` needs of some clients, in blocks of one row."""
    mine = (rows >= start) & (rows < stop)
    slot_min, slot_max = (bound[start:stop] for bound in problem.slot_bounds())
    return SimpleNamespace(
        pairs=lambda: (rows[mine] - start, cols[mine]),
        count=np.bincount(rows[mine] - start, minlength=stop - start),
        source=SimpleNamespace(n_blocks=stop - start), rows_of=lambda k: slice(k, k + 1),
        values=lambda k: problem.values(slice(start + k, start + k + 1)),
        slot_min=slot_min, slot_max=slot_max, m=problem.n_experts, start=start, groups=None,
    )  # fmt: skip


def proof_of_shards(problem, rows, cols, prices):
    held = Assignment.of(problem, rows, cols)
    experts = np.arange(problem.n_experts)
    parts = [prove_shard(shard_of(problem, a, b, held.rows, held.cols), experts, prices)
             for a, b in ((0, 3), (3, 4))]
    return add_proofs(problem, prices, parts)[0]


def by_shards(problem, rows, cols, prices, monkeypatch):
    return proof_of_shards(problem, rows, cols, prices).gap_abs


WAYS = [by_numpy, in_blocks, by_kernel, in_threads, by_columns, by_source, by_shards]
