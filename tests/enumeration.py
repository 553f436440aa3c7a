"""All answers to a small problem, which bounds each keeps, and what each is worth exactly.

Bounds are looked at in code of its own, in floats, with the package's tolerance. Values
are whole numbers of a common unit: nothing is rounded.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache, cached_property

import numpy as np

from alignsolve.model.bounds import Key, bound_values
from alignsolve.model.problem import tolerance

#: Most pairs that are enumerated: 2**12 answers.
MAX_PAIRS = 12


@cache
def _all_answers(n, m):
    """Return all 0/1 matrices, bool of shape (2**(n*m), n, m)."""
    codes = np.arange(1 << (n * m))[:, None]
    return ((codes >> np.arange(n * m)) & 1).astype(np.bool_).reshape(-1, n, m)


class Enumeration:
    """All answers without forbidden pairs.

    Parameters
    ----------
    problem : AlignmentProblem
        At most `MAX_PAIRS` pairs.
    given : nested list of numbers, optional
        Fitness as it was given, in max sense; None for that of the problem.
    """

    def __init__(self, problem, given=None):
        n, m = problem.n_clients, problem.n_experts
        assert n * m <= MAX_PAIRS, "too large to enumerate"
        self.problem = problem
        fitness = np.asarray(problem.fitness[0:n], np.float64)
        self.allowed = fitness > -np.inf
        self.fitness = np.where(self.allowed, fitness, 0.0)
        self.given = problem.fitness[0:n].tolist() if given is None else given
        self._amounts = {}
        answers = _all_answers(n, m)
        self.answers = answers[~(answers & ~self.allowed).any(axis=(1, 2))]

    def kinds(self):
        """Return every kind of bound that the problem may have."""
        problem = self.problem
        found = [(kind, None, None) for kind in
                 ("min_experts", "max_experts", "load_min", "load_max", "client_fitness_min")]
        if problem.expert_group is not None:
            found += [(kind, None, g) for g in range(problem.n_groups)
                      for kind in ("group_min", "group_max")]
        found += [(kind, name, None) for name in problem.loads for kind in ("load_min", "load_max")]
        return found + [("resource", name, None) for name in problem.resources]

    def amounts(self, key: Key):
        """Return what each client or expert has of what a kind of bound is on, (answers, k)."""
        kind, name, group = key
        what = (kind.removesuffix("_min").removesuffix("_max"), name, group)
        if what not in self._amounts:
            self._amounts[what] = self._counted(*what)
        return self._amounts[what]

    def _counted(self, kind, name, group):
        answers, problem = self.answers, self.problem
        if kind in ("min_experts", "max_experts"):
            return answers.sum(axis=2)
        if kind == "group":
            return answers[:, :, problem.expert_group == group].sum(axis=2)
        if kind == "resource":
            return (answers * np.asarray(problem.resources[name].size)).sum(axis=2)
        if kind == "client_fitness":
            return (answers * self.fitness).sum(axis=2)
        if name is None:
            return answers.sum(axis=1)
        return np.einsum("bnm,n->bm", answers, problem.loads[name].weight)

    def _bound(self, key: Key):
        """Return a kind of bound by client or expert, in max sense, whole on whole numbers."""
        kind, name, group = key
        problem = self.problem
        if kind == "client_fitness_min":
            return problem.client_fitness_min
        if kind in ("load_min", "load_max"):
            bound = bound_values(problem, kind, name)
            if name is None:
                low = kind == "load_min"
                bound = np.ceil(bound - tolerance(bound)) if low else np.floor(
                    bound + tolerance(bound))
            return bound
        return np.asarray(bound_values(problem, kind, name, group), dtype=np.float64)

    def lacking(self, key: Key):
        """Return by how much answers miss a kind of bound, by client or expert: (answers, k)."""
        bound, amount = self._bound(key), self.amounts(key)
        finite = np.where(np.isfinite(bound), bound, 0.0)
        at_least = key[0].endswith("_min") or key[0] == "min_experts"
        missed = (finite - amount if at_least else amount - finite) * np.isfinite(bound)
        return np.where(missed > tolerance(bound), missed, 0.0)

    def keeps(self, key: Key):
        """Tell which answers keep a kind of bound, by client or expert: (answers, k)."""
        bound = self._bound(key)
        never = bound == (np.inf if key[0].endswith("_min") else -np.inf)
        return (self.lacking(key) == 0) & ~never

    @cached_property
    def kept(self):
        """Which answers keep every bound, bool of shape (answers,)."""
        kept = np.ones(len(self.answers), dtype=np.bool_)
        for key in self.kinds():
            kept &= self.keeps(key).all(axis=1)
        return kept

    def penalties(self, at=slice(None)):
        """Return the penalties of some answers in floats."""
        problem = self.problem
        steps = problem.load_penalty * (self.amounts(("load_max", None, None))[at]
                                        - problem.load_target) ** 2
        total = steps.sum(axis=1)
        for name, load in problem.loads.items():
            amount = self.amounts(("load_max", name, None))[at]
            total = total + (load.penalty * (amount - load.target) ** 2).sum(axis=1)
        return total

    @cached_property
    def gains(self):
        """What each answer is worth, in max sense, in floats."""
        return self._floats.sum(axis=1) - self.penalties()

    @cached_property
    def _floats(self):
        n = self.problem.n_clients
        values = np.where(self.allowed, self.problem.values(slice(0, n)), 0.0)
        return (self.answers * values).reshape(len(self.answers), -1)

    @cached_property
    def _whole(self):
        """Given values less switching costs as whole numbers, flat, and their common unit."""
        problem = self.problem
        n, m = problem.n_clients, problem.n_experts
        held = problem.held.mask(slice(0, n)) if problem.held is not None else np.zeros((n, m))
        exact = [
            Fraction(self.given[i][j]) - (0 if held[i, j] else Fraction(problem.switch_cost[i, j]))
            if self.allowed[i, j] else Fraction(0) for i in range(n) for j in range(m)
        ]  # fmt: skip
        unit = math.lcm(*(value.denominator for value in exact))
        whole = [value.numerator * (unit // value.denominator) for value in exact]
        fits = sum(map(abs, whole)) < 2**62
        return np.array(whole, dtype=np.int64 if fits else object), unit

    def exact_gains(self, answers):
        """Return what answers, bool (k, n_clients, n_experts), are worth, as fractions."""
        whole, unit = self._whole
        sums = (answers.reshape(len(answers), -1) @ whole).tolist()
        if not self._is_penalised:
            return [Fraction(total, unit) for total in sums]
        return [Fraction(total, unit) - self.exact_penalty(answer)
                for total, answer in zip(sums, answers, strict=True)]

    @cached_property
    def rounded(self):
        """What taking switching costs off the values has lost in floats, summed over all pairs."""
        problem = self.problem
        if not problem.switch_cost.any():
            return Fraction(0)
        whole, unit = self._whole
        values = np.where(self.allowed, problem.values(slice(0, problem.n_clients)), 0.0)
        offset = np.zeros(len(values)) if problem.integers is None else problem.integers.offset
        exact = [Fraction(value, unit) - int(offset[k // values.shape[1]])
                 if self.allowed.flat[k] else Fraction(0) for k, value in enumerate(whole.tolist())]
        return sum(abs(Fraction(value) - right)
                   for value, right in zip(values.ravel().tolist(), exact, strict=True))

    @property
    def _is_penalised(self):
        loads = self.problem.loads.values()
        return self.problem.load_penalty.any() or any(np.any(load.penalty) for load in loads)

    @cached_property
    def is_whole(self):
        """Whether all values and penalty steps are whole numbers, and so no proof has a gap."""
        problem = self.problem
        slope, target = problem.load_penalty, problem.load_target
        steps = np.concatenate([slope, 2 * slope * target])
        named = any(np.any(load.penalty) for load in problem.loads.values())
        return self._whole[1] == 1 and not named and bool((np.floor(steps) == steps).all())

    def exact_penalty(self, answer):
        """Return the load penalties of an answer."""
        problem, total = self.problem, Fraction(0)
        for j in np.flatnonzero(problem.load_penalty).tolist():
            apart = int(answer[:, j].sum()) - Fraction(problem.load_target[j])
            total += Fraction(problem.load_penalty[j]) * apart**2
        for load in problem.loads.values():
            for j in np.flatnonzero(load.penalty).tolist():
                amount = sum(map(Fraction, np.asarray(load.weight)[answer[:, j]].tolist()))
                total += Fraction(load.penalty[j]) * (amount - Fraction(load.target[j])) ** 2
        return total

    def best(self):
        """Return the exact gain of a best answer that keeps every bound, and that answer.

        None and None where there is none. What floats show to be worse is not looked at.
        """
        at = np.flatnonzero(self.kept)
        if not at.size:
            return None, None
        gains = self.gains[at]
        size = np.abs(self._floats[at]).sum(axis=1) + self.penalties(at)
        doubt = 1e-12 * float(size.max())
        if self.problem.integers is not None:
            doubt = np.inf
        near = at[gains >= gains.max() - doubt]
        found = self.exact_gains(self.answers[near])
        k = max(range(len(found)), key=found.__getitem__)
        return found[k], self.answers[near[k]]
