"""Backend ``lagrangian``: the package's own pipeline for the mip class."""

from __future__ import annotations

from typing import ClassVar

from alignsolve.backends.base import Backend, Capabilities
from alignsolve.backends.lagrangian.params import DEFAULTS, GapSearchParams
from alignsolve.kernels import WARM_UP_HINT, compiling
from alignsolve.model.problem import AlignmentProblem, Feature
from alignsolve.status import Limits, Outcome, Subsolver

#: What generalized assignment may have.
GAP_FEATURES = {Feature.LOAD_BOUNDS, Feature.RESOURCES, Feature.FORBIDDEN, Feature.SWITCHING}


class LagrangianBackend(Backend):
    """A Lagrangian bound by a knapsack per client, and answers guided by its prices.

    Parameters
    ----------
    parts : tuple of str, optional
        Some of `all_parts`; all by default.
    ask : callable, optional
        Solves by another backend.
    params : GapSearchParams
        What steers the search for generalized assignment.

    Notes
    -----
    Generalized assignment (every expert held once, one budget in whole units a
    client) is solved exactly by a tree search. Other problems get a bound and an
    answer in seconds, however many clients there are; what is left open then goes to
    HiGHS, if OR-Tools or SciPy is there: up to half a million pairs with a time limit,
    up to 32,768 without one. Beyond that, answers are FEASIBLE with their gap unless
    bound and answer meet.

    The first solve compiles, which no time limit ends; "auto" therefore passes
    over this backend where the limit is short and nothing is compiled yet: see
    `alignsolve.warm_up`.

    The bound is always computed. "search" looks for answers guided by its prices,
    "tree" proves generalized assignment level by level, and "exact" is HiGHS on what is
    left open, of generalized assignment beside the tree. "lagrangian:search" is the
    search alone, "lagrangian:bound" the bound alone.

    The bound is computed in float64 and rounded outward. Without a time limit, and
    where the gap asked for is reached, answers of problems other than generalized
    assignment do not depend on timing or threads. Where answers have to be
    repeatable, generalized assignment is solved like all others.
    """

    name: ClassVar[str] = "lagrangian"
    bytes_per_pair: ClassVar[float] = 100.0
    capabilities: ClassVar[Capabilities] = Capabilities(
        features=frozenset(Feature),
        exact=True,
        proves_infeasibility=True,
        interruptible=True,
        warm_start=True,
        callback=True,
        rescaled=True,
        libraries=("numba",),
    )
    all_parts: ClassVar[tuple[str, ...]] = ("bound", "search", "tree", "exact")
    speed_hint: ClassVar[str] = WARM_UP_HINT

    def __init__(
        self, parts: tuple[str, ...] | None = None, ask: Subsolver | None = None,
        params: GapSearchParams = DEFAULTS,
    ) -> None:  # fmt: skip
        super().__init__(parts, ask)
        self.params = params

    def preparation(self, problem: AlignmentProblem) -> float:
        """Return the seconds that missing kernels compile for."""
        from alignsolve.backends.lagrangian import needed_kernels

        is_assignment = _looks_like_generalized_assignment(problem)
        return compiling(needed_kernels.kernels_for(is_assignment), "float64")

    def answers_soon(self, problem: AlignmentProblem) -> bool:
        """Tell whether answers begin with the prices, and greedy's first one takes longer."""
        from alignsolve.backends.lagrangian import pipeline

        few = problem.n_clients <= 2 * pipeline.SAMPLE
        many_pairs = problem.fitness.size > pipeline.EXACT_PAIRS_UNLIMITED
        return few and many_pairs and not _looks_like_generalized_assignment(problem)

    def solve(self, problem: AlignmentProblem, limits: Limits) -> Outcome:
        """Return the best answer, and the least bound; see `Backend.solve`."""
        from alignsolve.backends.lagrangian.pipeline import solve_lagrangian

        return solve_lagrangian(problem, limits, self.parts, self.ask, self.params)


def _looks_like_generalized_assignment(problem: AlignmentProblem) -> bool:
    """Tell whether a problem is likely generalized assignment, which has kernels of its own."""
    low, high = problem.holder_bounds()
    return (
        problem.n_clients <= problem.n_experts
        and problem.features <= GAP_FEATURES
        and bool((low == 1).all() and (high == 1).all())
    )
