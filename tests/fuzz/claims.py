"""Whether what the package says of a small problem is true, by enumeration."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

import alignsolve as al
from alignsolve.model.bounds import Bound
from alignsolve.model.offsets import has_large_offsets
from tests.enumeration import Enumeration

EPS = float(np.finfo(np.float64).eps)


def false_claims(found: Enumeration, result: al.Result) -> Iterator[str]:
    """Yield what a result says that is not so.

    Parameters
    ----------
    found : Enumeration
        All answers to the problem that the result is of.
    result : Result
        It may be of relaxed bounds; `found` is then of `Result.relaxed_problem`.
    """
    best, _ = found.best()
    if result.status is al.Status.INFEASIBLE:
        if best is not None:
            yield f"infeasible, and {float(best)} can be had"
        elif result.conflict is not None:
            yield from _false_conflict(found, result.conflict)
        return
    sign = found.problem.sign
    if not result.has_answer:
        bound = sign * result.dual_bound
        if best is not None and bound < best - Fraction(_rounding(found, None, result)):
            yield f"bound {result.dual_bound!r}, and {sign * float(best)} can be had"
        return
    answer = np.zeros(found.allowed.shape, dtype=np.bool_)
    answer[result.row_ind, result.col_ind] = True
    if answer.sum() != result.row_ind.size or not _is_kept(found, answer):
        yield f"feasible, and it breaks a bound: {answer.tolist()}"
        return
    assert best is not None
    assert result.certificate is not None
    yield from _false_numbers(found, answer, result.certificate, best)
    if result.status is not al.Status.OPTIMAL and result.termination is al.Termination.PROVED:
        yield "proved, and not optimal"


def false_certificate(
    found: Enumeration, answer: np.ndarray, certificate: al.Certificate
) -> Iterator[str]:
    """Yield what a certificate says of an answer of the flow class that is not so."""
    best, _ = found.best()
    assert best is not None
    yield from _false_numbers(found, answer, certificate, best)
    lacks = best - found.exact_gains(answer[None])[0]
    if lacks == 0 and not certificate.optimal:
        yield f"a best answer is called not optimal: gap_abs {certificate.gap_abs!r}"
    if certificate.improving_cycle is not None and lacks == 0:
        yield "an exchange is said to improve a best answer"


def _false_numbers(
    found: Enumeration, answer: np.ndarray, said: al.Certificate, best: Fraction
) -> Iterator[str]:
    """Yield what is wrong about value, bound, gap and proof of a feasible answer."""
    sign = found.problem.sign
    gain = found.exact_gains(answer[None])[0]
    slack = Fraction(_rounding(found, answer, said))
    if abs(sign * _fraction(said.objective_value) - gain) > slack:
        yield f"objective {said.objective_value!r}, and it is {sign * float(gain)!r}"
    allowed = Fraction(_tolerance(found, answer, said)) + found.rounded
    if said.gap_abs < np.inf:
        rounding = 16 * EPS * said.gap_abs
        bound = sign * _fraction(said.dual_bound) + slack + allowed
        if bound + Fraction(rounding + 16 * EPS * abs(said.dual_bound)) < best:
            yield f"bound {said.dual_bound!r}, and the best is {sign * float(best)!r}"
        if gain + _fraction(said.gap_abs) + allowed + Fraction(rounding) < best:
            yield f"gap {said.gap_abs!r}, and the best is better by {float(best - gain)!r}"
    if said.optimal and best - gain > allowed:
        yield f"optimal, and the best is better by {float(best - gain)!r}"


def _fraction(value: float) -> Fraction:
    return Fraction(value) if np.isfinite(value) else Fraction(np.sign(value)) * 10**400


def _is_kept(found: Enumeration, answer: np.ndarray) -> bool:
    """Tell whether an answer is among those that keep every bound."""
    same = (found.answers == answer).all(axis=(1, 2))
    return bool(found.kept[same].any())


def _rounding(found: Enumeration, answer: np.ndarray | None, said: object) -> float:
    """Return what summing in floats may change of an objective."""
    problem = found.problem
    if answer is None:
        answer = found.allowed
    held = np.where(answer, np.abs(found.fitness), 0.0).sum()
    if problem.integers is not None:
        held += float(np.abs(problem.integers.offset.astype(float)) @ answer.sum(axis=1))
    steps = float(problem.switch_cost.max(initial=0.0)) * int(answer.sum())
    penalty = float(found.exact_penalty(answer))
    return 16 * EPS * (float(held) + steps + penalty)


def _tolerance(found: Enumeration, answer: np.ndarray, said: al.Certificate) -> float:
    """Return by how much a proof may be wrong: see `certify` and the design of tolerances."""
    problem = found.problem
    if found.is_whole and (problem.problem_class == "mip" or found.problem.largest < 2**53):
        return 0.0
    values = np.where(found.allowed, problem.values(slice(0, problem.n_clients)), 0.0)
    top = np.where(found.allowed, values, -np.inf).max(axis=1)
    top = np.where(top > -np.inf, top, 0.0)
    if problem.problem_class == "flow":
        prices = np.zeros(problem.n_experts) if said.prices is None else said.prices
        reduced = np.abs(values - problem.sign * prices)
        paid = np.where(answer & found.allowed, reduced, 0.0).max(initial=0.0)
        # Some roundings of value - price, and of the penalties' steps.
        steps = np.abs(problem.load_penalty * (2 * np.abs(problem.load_target) + 24)).max(initial=0)
        offsets = has_large_offsets(problem)
        spread = float(np.where(answer, top[:, None] - values, 0.0).max(initial=0.0))
        return 64 * EPS * max(spread, float(steps), 0.0 if offsets else float(paid))
    holds = answer.any(axis=1)
    least = np.where(answer, values, np.inf).min(axis=1, initial=np.inf)
    regret = float((top - least)[holds].sum())
    unit = float(problem.load_penalty.sum()) + sum(
        float(np.sum(load.penalty)) * float(np.max(load.weight, initial=0.0)) ** 2
        for load in problem.loads.values())  # fmt: skip
    stake = 0.0 if has_large_offsets(problem) else float(np.abs(top).sum())
    return 1e-6 * regret + 1e-8 * (float(found.exact_penalty(answer)) + unit + stake)


def _false_conflict(found: Enumeration, conflict: al.Conflict) -> Iterator[str]:
    """Yield what is wrong about bounds that are said to contradict each other."""
    masks = [_keeps(found, bound) for bound in conflict.bounds]
    everything = np.ones(len(found.answers), dtype=np.bool_)
    if conflict.proved and np.logical_and.reduce([everything, *masks]).any():
        yield f"bounds in conflict can hold together: {conflict.bounds}"
        return
    if not conflict.irreducible:
        return
    for k, bound in enumerate(conflict.bounds):
        others = [*masks[:k], *masks[k + 1 :]]
        if not np.logical_and.reduce([everything, *others]).any():
            yield f"a conflict called irreducible does not need {bound}"
            return


def _keeps(found: Enumeration, bound: Bound) -> np.ndarray:
    """Tell which answers keep one bound, or family of bounds."""
    at = bound.clients
    if at is None:
        at = (bound.expert if bound.client is None else bound.client,)
    kept: np.ndarray = found.keeps(bound.key)[:, list(at)].all(axis=1)
    return kept


def false_relaxation(found: Enumeration, result: al.Result) -> Iterator[str]:
    """Yield what is wrong about an answer of relaxed bounds, with the default weights."""
    problem = found.problem
    if not result.has_answer or result.relaxed_problem is None:
        return
    least, best = _least_violation(found)
    slack = 1e-7 * max(1.0, least)
    said = result.stats["violation"]
    flow = problem.problem_class == "flow"
    if said < least - slack or (flow and said > least + slack):
        yield f"violation {said!r}, and the least is {least!r}"
    if result.stats.get("violation_bound", -np.inf) > least + slack:
        yield f"violation is at least {result.stats['violation_bound']!r}, and the least {least!r}"
    if flow and result.status is al.Status.OPTIMAL:
        value = problem.sign * result.objective_value
        if value < best - 1e-9 * max(1.0, abs(best)):
            yield f"optimal among answers of least violation, and {problem.sign * best!r} is better"
    given = [list(row) for row in found.given]
    yield from false_claims(Enumeration(result.relaxed_problem, given), result)


def _least_violation(found: Enumeration) -> tuple[float, float]:
    """Return the least violation, and the best value, max sense, among answers that have it."""
    problem, elastic = found.problem, al.Elastic()
    total = np.zeros(len(found.answers))
    hard = np.ones(len(found.answers), dtype=np.bool_)
    for key in found.kinds():
        kind, name, _ = key
        if kind in ("max_experts", "group_max", "resource"):
            hard &= found.keeps(key).all(axis=1)
            continue
        price = {"min_experts": elastic.min_experts, "group_min": elastic.group}.get(kind, 1.0)
        if kind == "client_fitness_min":
            price = 1 / problem.largest if problem.largest >= 1e-300 else 1.0
        elif name is not None:
            weight = np.asarray(problem.loads[name].weight)
            price = 1 / weight[weight > 0].mean() if (weight > 0).any() else 1.0
        total += price * found.lacking(key).sum(axis=1)
    least = float(total[hard].min())
    among = hard & (total <= least + 1e-7 * max(1.0, least))
    return least, float(found.gains[among].max())
