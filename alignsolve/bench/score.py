"""Who is right, and how good and fast: figures from rows, by rules stated here.

* A row counts as *solved* if it is optimal or infeasible with a proof, not
  wrong, and in time (the limit plus 10% or 0.5 s, what backends promise).
* Comparisons use the *common* instances of a class: those that every compared
  backend supports and has run. A backend that supports fewer than half of the
  instances of a class is not compared there, and does not shrink the set.
* Times are shifted geometric means. *Time to proof* charges every row that is
  not solved the time limit, and so does *time to quality* (`alignsolve.bench.quality`)
  every row that does not get there.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from alignsolve.bench.quality import GAPS, Quality, best_bound, quality_of
from alignsolve.bench.records import ANSWERED, FAILED, Instance, Row, Settings

#: Shift of the geometric means, in seconds: differences well below it do not count.
SHIFT = 1.0

#: Relative difference from which a value contradicts another: lists of optima are rounded.
VALUE_TOLERANCE = 1e-6


def shifted_geometric_mean(seconds: Iterable[float], shift: float = SHIFT) -> float:
    """Return ``exp(mean(log(t + shift))) - shift``; NaN of nothing."""
    shifted = [value + shift for value in seconds]
    return statistics.geometric_mean(shifted) - shift if shifted else math.nan


# -- who is right -----------------------------------------------------------------


def best_values(instances: Iterable[Instance], rows: Iterable[Row]) -> dict[str, float]:
    """Return the best value known of each instance: listed, or found by any backend."""
    by_name = {instance.name: instance for instance in instances}
    best = {
        name: one.reference.best_known
        for name, one in by_name.items()
        if one.reference.best_known is not None
    }
    for row in rows:
        one, value, known = by_name[row.instance], row.value, best.get(row.instance)
        if value is None or _beyond_bound(one, value):
            continue
        if known is None or one.sign * value > one.sign * known:
            best[row.instance] = value
    return best


def _slack(value: float) -> float:
    """Return the difference from which another value contradicts this one."""
    return VALUE_TOLERANCE * max(1.0, abs(value))


def _beyond_bound(instance: Instance, value: float) -> bool:
    """Return whether a value is better than the proved bound allows."""
    known = instance.reference
    if known.infeasible:
        return True
    bound = known.best_bound
    return bound is not None and instance.sign * (value - bound) > _slack(bound)


def contradiction(instance: Instance, row: Row, best: float | None) -> str:
    """Return what is wrong with a row, or "".

    Parameters
    ----------
    instance : Instance
        Its instance.
    row : Row
        The row; its assignment, if any, was checked against every bound.
    best : float or None
        Best value known, see `best_values`.
    """
    known, sign, value = instance.reference, instance.sign, row.value
    if row.outcome == "infeasible" and best is not None:
        return f"claims that there is no answer, but one of value {best:.12g} is known"
    if value is None:
        return ""
    if known.infeasible:
        return "gives an answer to an instance known to have none"
    if _beyond_bound(instance, value):
        return f"value {value:.12g} is beyond the proved bound {known.best_bound:.12g}"
    if best is None:
        return ""
    slack = _slack(best)
    if row.outcome == "optimal" and sign * (best - value) > slack:
        return f"claims that {value:.12g} is optimal, but {best:.12g} is known"
    if row.bound is not None and sign * (best - row.bound) > slack:
        return f"claims the bound {row.bound:.12g}, but {best:.12g} is known"
    return ""


@dataclass(frozen=True)
class Judgement:
    """What a row is worth.

    Attributes
    ----------
    row : Row
        The row.
    solved : bool
        Proved, right and in time.
    at_best : bool
        Whether its value is the best known, proved or not; for an infeasible
        instance, whether it is solved.
    late : bool
        Whether it came after the limit and its grace.
    failed : bool
        Whether it is a failure: killed, crashed, late or wrong.
    gap : float
        Relative distance from the best known value, 0 to 1; 1 without an
        answer; NaN where no value is known.
    wrong : str
        What contradicts it, or "".
    quality : Quality
        How soon its answers were good.
    """

    row: Row
    solved: bool
    at_best: bool
    late: bool
    failed: bool
    gap: float
    wrong: str
    quality: Quality


def judge(
    instances: Sequence[Instance], rows: Sequence[Row], settings: Settings
) -> list[Judgement]:
    """Judge every row of the given instances."""
    by_name = {instance.name: instance for instance in instances}
    best = best_values(instances, rows)
    wrong = [contradiction(by_name[row.instance], row, best.get(row.instance)) for row in rows]
    right: dict[str, list[Row]] = {instance.name: [] for instance in instances}
    for row, contradicted in zip(rows, wrong, strict=True):
        if not contradicted:
            right[row.instance].append(row)
    bounds = {name: best_bound(by_name[name], found) for name, found in right.items()}
    return [
        _judgement(by_name[row.instance], row, best.get(row.instance), bounds[row.instance],
                   contradicted, settings)
        for row, contradicted in zip(rows, wrong, strict=True)
    ]


def _judgement(
    instance: Instance, row: Row, best: float | None, bound: float | None, wrong: str,
    settings: Settings,
) -> Judgement:
    late = row.outcome in ANSWERED and (row.total_seconds or 0.0) > settings.late_after()
    proved = row.outcome in ("optimal", "infeasible") and row.proof != ""
    solved = proved and not wrong and not late
    at_best = solved and row.outcome == "infeasible"
    gap = math.nan if best is None else 1.0
    if best is not None and row.value is not None:
        gap = min(1.0, abs(row.value - best) / max(1.0, abs(best)))
        at_best = gap <= VALUE_TOLERANCE and not wrong and not late
    failed = row.outcome in FAILED or late or bool(wrong)
    quality = quality_of(instance, row, bound, best, settings.time_limit, failed)
    return Judgement(row, solved, at_best, late, failed, gap, wrong, quality)


# -- figures of a backend -----------------------------------------------------------


@dataclass(frozen=True)
class Summary:
    """A backend on the instances of one class.

    Attributes
    ----------
    backend : str
        Name.
    supported, unsupported : int
        Instances that it takes, and that it declares not to.
    solved, proved_here, proved_by_solver : int
        Proved; thereof recomputed here, and on a named solver's word.
    at_best : int
        Answers as good as the best known, proved or not, and infeasible
        instances solved.
    nothing, failed, wrong : int
        Clean ends without an answer; failures; thereof wrong answers.
    compared : bool
        Whether the means below, over the common instances, are given.
    gap : float
        Mean relative distance from the best known value; no answer counts 1.
    build_seconds, solve_seconds, proof_seconds : float
        Shifted geometric means; the last charges what is not solved the limit.
    rise_mib : float
        Largest memory that a run on any instance took beyond what its process
        held before.
    quality : Quality
        Shifted geometric means; where a gap was not reached, the limit counts.
    """

    backend: str
    supported: int
    unsupported: int
    solved: int
    proved_here: int
    proved_by_solver: int
    at_best: int
    nothing: int
    failed: int
    wrong: int
    compared: bool
    gap: float
    build_seconds: float
    solve_seconds: float
    proof_seconds: float
    rise_mib: float
    quality: Quality


@dataclass(frozen=True)
class ClassScore:
    """All backends on the instances of one class.

    Attributes
    ----------
    problem_class : str
        "flow" or "mip".
    instances : int
        How many there are.
    common : tuple of str
        Instances behind the means.
    summaries : tuple of Summary
        One per backend that has run, in the order given.
    profile : dict of str to sequence of float
        Time to proof on the common instances, +inf where not solved: input of
        `alignsolve.plot.performance.performance_profile`.
    quality_profiles : dict of str to dict of str to sequence of float
        Likewise the time to each of `alignsolve.bench.quality.GAPS`, on those common
        instances that have an answer and a bound that is known.
    """

    problem_class: str
    instances: int
    common: tuple[str, ...]
    summaries: tuple[Summary, ...]
    profile: dict[str, list[float]]
    quality_profiles: dict[str, dict[str, list[float]]]


def score_class(
    problem_class: str, instances: Sequence[Instance], judgements: Sequence[Judgement],
    backends: Sequence[str], settings: Settings,
) -> ClassScore:
    """Score backends on the instances of a class."""
    # A dict for its order.
    names = {one.name: None for one in instances if one.problem_class == problem_class}
    judged = [one for one in judgements if one.row.instance in names]
    table = {
        backend: {one.row.instance: one for one in judged if one.row.backend == backend}
        for backend in backends
    }
    taken = {
        backend: {name for name, one in found.items() if one.row.outcome != "unsupported"}
        for backend, found in table.items()
    }
    compared = [backend for backend in backends if 2 * len(taken[backend]) >= max(1, len(names))]
    common = tuple(name for name in names
                   if compared and all(name in taken[one] for one in compared))
    return ClassScore(
        problem_class=problem_class,
        instances=len(names),
        common=common,
        summaries=tuple(
            _summary(backend, table[backend], common if backend in compared else (), settings)
            for backend in backends
            if table[backend]
        ),
        profile={
            backend: [_proof_seconds(table[backend][name], math.inf) for name in common]
            for backend in compared
        },
        quality_profiles={
            gap: {
                backend: _known(table[backend][name].quality.seconds[gap] for name in common)
                for backend in compared
            }
            for gap in GAPS
        },
    )


def _summary(
    backend: str, found: Mapping[str, Judgement], common: Sequence[str], settings: Settings
) -> Summary:
    """Return the figures of one backend."""
    supported = [one for one in found.values() if one.row.outcome != "unsupported"]
    solved = [one for one in supported if one.solved]
    by_solver = sum(one.row.proof == "solver" for one in solved)
    shared = [found[name] for name in common]
    gaps = _known(one.gap for one in shared)
    limit = settings.time_limit
    return Summary(
        backend=backend, supported=len(supported), unsupported=len(found) - len(supported),
        solved=len(solved), proved_here=len(solved) - by_solver, proved_by_solver=by_solver,
        at_best=sum(one.at_best for one in supported),
        nothing=sum(one.row.outcome == "nothing" for one in supported),
        failed=sum(one.failed for one in supported),
        wrong=sum(bool(one.wrong) for one in supported), compared=bool(common),
        gap=statistics.fmean(gaps) if gaps else math.nan,
        build_seconds=shifted_geometric_mean(one.row.build_seconds or 0.0 for one in shared),
        solve_seconds=shifted_geometric_mean(_solve_seconds(one.row, limit) for one in shared),
        proof_seconds=shifted_geometric_mean(_proof_seconds(one, limit) for one in shared),
        rise_mib=max((one.row.rise_mib or 0.0 for one in supported), default=math.nan),
        quality=_mean_quality([one.quality for one in shared], limit),
    )


def _mean_quality(found: Sequence[Quality], limit: float) -> Quality:
    """Return the means of a backend over the common instances."""
    return Quality(
        {gap: shifted_geometric_mean(
            min(limit, seconds) for seconds in _known(one.seconds[gap] for one in found)
         ) for gap in GAPS},
        shifted_geometric_mean(_known(one.primal_integral for one in found)),
    )


def _known(figures: Iterable[float]) -> list[float]:
    return [figure for figure in figures if not math.isnan(figure)]


def _solve_seconds(row: Row, limit: float) -> float:
    """Return the seconds that a run solved, less building and certifying; at most the limit."""
    if row.outcome in FAILED:
        return limit
    if row.solve_seconds is not None:
        return min(limit, row.solve_seconds)
    rest = (row.total_seconds or 0.0) - (row.build_seconds or 0.0) - (row.certify_seconds or 0.0)
    return min(limit, max(0.0, rest))


def _proof_seconds(judgement: Judgement, otherwise: float) -> float:
    """Return the seconds to a proof, or `otherwise` where there is none."""
    if not judgement.solved or judgement.row.total_seconds is None:
        return otherwise
    return judgement.row.total_seconds
