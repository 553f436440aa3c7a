"""Prove or refute any answer, whatever it came from, without calling a solver."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from alignsolve.certificate.best_responses import Multipliers
from alignsolve.certificate.duality_gap import DualGap, dual_gap, proof_gap
from alignsolve.certificate.exchange_graph import ImprovingCycle
from alignsolve.certificate.judgement import judge
from alignsolve.certificate.numbers import has_close_values, is_small
from alignsolve.certificate.row_pass import prove_all, refuse_changed
from alignsolve.certificate.subgradient import improved_prices
from alignsolve.errors import ProblemError
from alignsolve.interrupts import Call
from alignsolve.model.arrays import Float64Array, IntArray, numeric, row_blocks
from alignsolve.model.feasibility import Assignment, Violation, keeps_loads, violations
from alignsolve.model.html import facts
from alignsolve.model.labels import by_label
from alignsolve.model.offsets import has_large_offsets
from alignsolve.model.pairs import Pairs
from alignsolve.model.problem import AlignmentProblem, Feature

if TYPE_CHECKING:
    from alignsolve.status import Outcome


@dataclass(frozen=True, eq=False)
class Certificate:
    """What is proved about an answer.

    Attributes
    ----------
    kind : {"prices", "solver", "none"}
        Where `dual_bound` comes from: prices, recomputed here; the named
        solver; or nowhere.
    feasible : bool
        Whether every bound is kept.
    violations : tuple of Violation
        The bounds that are not, at most 100.
    objective_value : float
        Objective of the answer in the problem's own sense.
    dual_bound : float
        No feasible answer is better than this, in the problem's own sense.
    gap_abs : float
        Proved distance from the optimum, >= 0, in units of fitness.
    gap : float
        ``gap_abs / max(1, |objective_value|)``, for display.
    optimal : bool
        Whether `gap_abs` is within the package's tolerance.
    prices : float64 array, shape (n_experts,), or None
        Shadow price of a holder of each expert, in the problem's own sense.
    improving_cycle : ImprovingCycle or None
        Exchanges that improve a refuted answer.
    source : str
        Solver and version behind a bound of kind "solver".

    Examples
    --------
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1, load_max=1)
    >>> print(al.certify(problem, [0, 1], [0, 1]).summary())
    optimal, certified by prices: objective 5.5, bound 5.5, gap_abs 0
    >>> al.certify(problem, [0, 1], [1, 0]).optimal
    False
    """

    kind: Literal["prices", "solver", "none"]
    feasible: bool
    violations: tuple[Violation, ...]
    objective_value: float
    dual_bound: float
    gap_abs: float
    gap: float
    optimal: bool
    prices: Float64Array | None
    improving_cycle: ImprovingCycle | None
    source: str = ""

    def _repr_html_(self) -> str:
        by = f"{self.kind} ({self.source})" if self.source else self.kind
        return facts("Certificate", [
            ("verdict", self.summary()), ("objective", f"{self.objective_value:.12g}"),
            ("bound", f"{self.dual_bound:.12g}"), ("gap", f"{self.gap:.3g}"), ("bound by", by),
            ("broken bounds", len(self.violations) or ""),
        ])

    def summary(self) -> str:
        """Return the verdict in words, one or a few lines."""
        if not self.feasible:
            listed = [violation.message for violation in self.violations[:5]]
            more = len(self.violations) - len(listed)
            return "infeasible: " + "; ".join(listed) + (f"; and {more} more" if more else "")
        objective = f"objective {0 + self.objective_value:.12g}"
        value = f"{objective}, bound {0 + self.dual_bound:.12g}"
        by = f"solver ({self.source})" if self.kind == "solver" else self.kind
        if self.optimal:
            return f"optimal, certified by {by}: {value}, gap_abs {self.gap_abs:.3g}"
        known = f"{objective}, no bound" if math.isinf(self.gap) else f"{value}, gap {self.gap:.3%}"
        lines = f"feasible, not proved optimal: {known}"
        if self.improving_cycle is not None:
            lines += f"\nimproving exchange: {self.improving_cycle.text}"
        return lines


def certify(
    problem: AlignmentProblem, row_ind: npt.ArrayLike, col_ind: npt.ArrayLike,
    prices: npt.ArrayLike | Multipliers | None = None,
) -> Certificate:
    """Prove or refute that an assignment is optimal, without a solver.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    row_ind, col_ind : int array, shape (n_pairs,)
        The assignment from any source, in any order.
    prices : float array, shape (n_experts,), or Multipliers, optional
        Prices in the problem's own sense (`Multipliers`: max sense). They are
        tried first, and give the bound of a refuted answer.

    Returns
    -------
    Certificate
        For the flow class a proof or, with `improving_cycle`, a refutation.
        For the mip class feasibility, and the bound at `prices`.

    Raises
    ------
    ProblemError
        If an index is no client or expert, or prices are malformed.

    Notes
    -----
    Flow class: prices are recovered as ``d_0 - d_j`` from shortest distances d
    in the answer's exchange graph, in float64. An answer is optimal exactly if
    that graph has no negative cycle. A refuted answer gets the bound at
    `prices`, else after `alignsolve.certificate.subgradient.PRICE_UPDATES` subgradient steps. Time
    O(n_pairs n_experts + n_experts**3).

    Mip class: the bound uses prices alone (no knapsack), so that it is at best
    that of the linear relaxation; without any, it is that of free experts.

    Examples
    --------
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1, load_max=1)
    >>> al.certify(problem, [0, 1], [1, 0]).improving_cycle.gain
    2.5
    """
    with Call():
        held = Assignment.of(problem, row_ind, col_ind)
        return _certify(problem, held, _given_multipliers(problem, prices), math.inf)


def certify_answer(
    problem: AlignmentProblem, held: Assignment, answer: Outcome, deadline: float
) -> Certificate:
    """Certify what a backend returned, with its prices or bound as help.

    Parameters
    ----------
    held : Assignment
        The pairs of the answer.
    answer : Outcome
        Its claimed prices serve the flow class, its bound the mip class.
    deadline : float
        Value of ``time.perf_counter()`` after which a refuted answer's bound is
        not sharpened any more.
    """
    given = None if answer.prices is None else Multipliers(answer.prices)
    if problem.problem_class == "mip" and np.isfinite(answer.bound):
        return _certify_by_solver(problem, held.rows, held.cols, answer.bound, answer.source)
    return _certify(problem, held, given, deadline)


def _certify(
    problem: AlignmentProblem, held: Assignment, given: Multipliers | None, deadline: float
) -> Certificate:
    """Certify an assignment; see `certify`."""
    if is_small(problem) or problem.problem_class == "mip":
        refuse_changed(problem)
    doubtful = problem.problem_class == "flow" and is_small(problem) and has_close_values(problem)
    if given is not None and problem.problem_class == "flow" and not doubtful:
        proved = _certify_at_prices(problem, held, given.experts)
        if proved is not None and (proved.gap_abs == 0 or not is_small(problem)):
            return proved
    rows, cols = held.rows, held.cols
    values = problem.pair_values(rows, cols)
    broken = tuple(violations(problem, rows, cols, values=values))
    if broken:
        return unproved(problem, rows, cols, broken)
    objective = problem.objective(rows, cols, values)
    if problem.problem_class == "mip":
        # Any prices give a bound: without better ones, that of free experts.
        given = given or Multipliers(np.zeros(problem.n_experts))
        gap = dual_gap(problem, rows, cols, given)
        return certificate_by_prices(problem, objective, given.experts, gap)
    if given is not None and not is_small(problem):
        at_given = dual_gap(problem, rows, cols, given)
        if is_within_tolerance(problem, at_given):
            return certificate_by_prices(problem, objective, given.experts, at_given)
    found = judge(problem, rows, cols)
    # A cycle within the tolerance is rounding: the distances prove the answer all the same.
    if not found.refuted or is_within_tolerance(problem, found.gap):
        return certificate_by_prices(problem, objective, found.prices, found.gap)
    if given is not None:
        prices, gap = given.experts, dual_gap(problem, rows, cols, given)
    else:
        prices, gap = improved_prices(problem, rows, cols, found.prices, deadline=deadline)
    # Refuted at one price it is refuted at all, however little it lacks.
    lacks = max(found.gain, found.improving.gain if found.improving is not None else 0.0)
    gap = DualGap(max(gap.gap_abs, lacks, math.ulp(0.0)), 0.0)
    return certificate_by_prices(problem, objective, prices, gap, found.improving)


def _certify_at_prices(
    problem: AlignmentProblem, held: Assignment, prices: Float64Array
) -> Certificate | None:
    """Return the certificate of an answer that given prices prove in one pass; None if not.

    That pass sees slots, groups and forbidden pairs, too. Whether a gap counts as zero takes
    another one over a matrix in memory.
    """
    if not (held.distinct and keeps_loads(problem, held.load)):
        return None
    proof = prove_all(problem, held.indptr, held.cols, prices)
    value = float(proof.held.sum()) - problem.holder_penalty(held.load)
    if not (proof.residual < np.inf and value > -np.inf):
        return None
    gap = proof_gap(problem, held, Multipliers(prices), proof)
    if not gap.gap_abs < np.inf:
        return None
    found = certificate_by_prices(problem, problem.stated(value, held.rows), prices, gap)
    return found if found.optimal else None


def _certify_by_solver(
    problem: AlignmentProblem, row_ind: IntArray, col_ind: IntArray, bound: float, source: str
) -> Certificate:
    """Return the certificate of a mip answer whose bound a named solver vouches for.

    Parameters
    ----------
    bound : float
        Upper bound in max sense; +inf for none.
    source : str
        Solver and version.

    Notes
    -----
    Solvers compute in floating point. Where all values are whole numbers,
    objectives differ by whole numbers, and the bound counts rounded down.
    Elsewhere it proves the answer within 1e-6 of what the clients' answers could
    have lost, plus 1e-8 of the penalties, of what one holder alone would be
    penalised, and of the sum of the clients' largest values unless they have large offsets.
    """
    refuse_changed(problem)
    values = problem.pair_values(row_ind, col_ind)
    broken = tuple(violations(problem, row_ind, col_ind, values=values))
    if broken:
        return unproved(problem, row_ind, col_ind, broken)
    objective = problem.objective(row_ind, col_ind, values)
    value = float(values.sum()) - problem.penalty(row_ind, col_ind)
    if is_integral(problem) and not any(np.any(load.penalty) for load in problem.loads.values()):
        # All objectives differ by whole numbers, even where a penalty's constant is none.
        # Bounds have their solver's tolerance already, but for rounding of large sums.
        size = max(1.0, abs(bound), abs(value))
        rounding = max(min(1e-9 * size, 1e-3), 8 * np.finfo(np.float64).eps * size)
        bound = value + math.floor(bound - value + rounding)
        tolerance = 0.0
    else:
        regret, largest = _client_regrets(problem, row_ind, col_ind)
        penalty = problem.penalty(row_ind, col_ind) + _unit_penalty(problem)
        # A common offset of the values would hide any error.
        stake = 0.0 if has_large_offsets(problem) else largest
        tolerance = 1e-6 * regret + 1e-8 * (penalty + stake)
    gap_abs = max(0.0, bound - value)
    return _certificate("solver", problem, objective, gap_abs, gap_abs <= tolerance, source=source)


def is_within_tolerance(problem: AlignmentProblem, gap: DualGap) -> bool:
    """Tell whether a gap counts as zero: exactly 0, or within rounding of floats."""
    if gap.gap_abs == 0:
        return True
    if not gap.gap_abs <= gap.tolerance:
        return False
    if gap.whole is None:
        return not is_integral(problem)
    return not (gap.whole and has_integral_penalties(problem))


def has_integral_penalties(problem: AlignmentProblem) -> bool:
    """Tell whether all penalty steps are whole numbers."""
    if Feature.LOAD_PENALTY not in problem.features:
        return True
    slope, target = problem.load_penalty, problem.load_target
    steps = np.concatenate([slope, 2 * slope * target])
    return bool((np.floor(steps) == steps).all())


def is_integral(problem: AlignmentProblem) -> bool:
    """Tell whether all values and penalty steps are whole numbers."""
    if not has_integral_penalties(problem):
        return False
    # A few rows tell at once where values are fractions, as they mostly are.
    blocks = (slice(0, 16), *row_blocks(problem.n_clients, problem.n_experts))
    return all(bool((np.floor(v) == v).all()) for v in map(problem.values, blocks))


def _client_regrets(
    problem: AlignmentProblem, row_ind: IntArray, col_ind: IntArray
) -> tuple[float, float]:
    """Return the sum of clients' largest less least held value, and of their largest, absolute."""
    held = Pairs.from_indices("answer", row_ind, col_ind, problem.n_clients, problem.n_experts)
    regret = stake = 0.0
    for rows in row_blocks(problem.n_clients, problem.n_experts):
        values, mask = problem.values(rows), held.mask(rows)
        high = values.max(axis=1, initial=-np.inf)
        least = np.where(mask, values, np.inf).min(axis=1, initial=np.inf)
        holds = mask.any(axis=1)
        regret += float((high[holds] - least[holds]).sum())
        stake += float(np.abs(high[high > -np.inf]).sum())
    return regret, stake


def _unit_penalty(problem: AlignmentProblem) -> float:
    """Return what one holder would add to a penalised load of zero, over all loads."""
    unit = float(np.sum(problem.load_penalty))
    for load in problem.loads.values():
        unit += float(np.sum(load.penalty)) * float(np.max(load.weight, initial=0.0)) ** 2
    return unit


def _given_multipliers(
    problem: AlignmentProblem, prices: npt.ArrayLike | Multipliers | None
) -> Multipliers | None:
    """Check prices given by the caller and turn them to max sense."""
    if prices is None:
        return None
    if isinstance(prices, Multipliers):
        prices.check(problem)
        return prices
    ordered = by_label(prices=prices, expert_ids=problem.expert_ids)["prices"]
    array = numeric("prices", ordered).astype(np.float64)
    if array.shape != (problem.n_experts,):
        raise ProblemError(
            f"prices has shape {array.shape}; give shape ({problem.n_experts},), one per expert"
        )
    if not np.isfinite(array).all():
        raise ProblemError(
            f"prices[{int(np.argmin(np.isfinite(array)))}] is not finite; give finite prices"
        )
    return Multipliers(problem.sign * array)


def certificate_by_prices(
    problem: AlignmentProblem, objective: float, prices: Float64Array, gap: DualGap,
    improving: ImprovingCycle | None = None,
) -> Certificate:
    """Return the certificate of a feasible answer.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    objective : float
        Value of the answer, in the problem's own sense.
    prices : float64 array, shape (n_experts,)
        Prices, max sense.
    gap : DualGap
        What the answer lacks to best responses at these prices.
    improving : ImprovingCycle, optional
        An exchange that improves the answer.
    """
    optimal = is_within_tolerance(problem, gap)
    # 0 + x and not x: a price of -0 reads badly.
    signed = 0 + problem.sign * prices
    return _certificate("prices", problem, objective, gap.gap_abs, optimal, signed, improving)


def _certificate(
    kind: Literal["prices", "solver"], problem: AlignmentProblem, objective: float, gap_abs: float,
    optimal: bool, prices: Float64Array | None = None, improving: ImprovingCycle | None = None,
    source: str = "",
) -> Certificate:
    """Return the certificate of a feasible answer with a bound."""
    bound, gap = objective + problem.sign * gap_abs, gap_abs / max(1.0, abs(objective))
    return Certificate(
        kind, True, (), objective, bound, gap_abs, gap, optimal, prices, improving, source
    )


def unproved(
    problem: AlignmentProblem, rows: IntArray, cols: IntArray,
    broken: tuple[Violation, ...] | None = None,
) -> Certificate:
    """Return the certificate of an answer whose bounds alone were checked."""
    if broken is None:
        broken = tuple(violations(problem, rows, cols))
    allowed = all(violation.kind != "forbidden" for violation in broken)
    worst = -problem.sign * np.inf
    objective = problem.objective(rows, cols) if allowed else worst
    return Certificate(
        "none", not broken, broken, objective, -worst, np.inf, np.inf, False, None, None
    )
