"""Backend ``exchange``: the package's own exact solver of the flow class."""

from __future__ import annotations

import math
import sys
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from alignsolve.backends.base import Backend, Capabilities
from alignsolve.backends.exchange import ExchangeAnswer, solve_exchange
from alignsolve.backends.exchange.components import Components
from alignsolve.backends.exchange.params import DEFAULTS, ExchangeParams
from alignsolve.kernels import WARM_UP_HINT, compiling
from alignsolve.model.arrays import IntArray
from alignsolve.model.contradictions import group_ranges
from alignsolve.model.problem import FLOW_FEATURES, AlignmentProblem, Feature
from alignsolve.model.sources.base import FitnessSource
from alignsolve.standard_form import holders
from alignsolve.status import Limits, Outcome, Subsolver, Termination

#: Beyond, differences of values overflow the float32 in which slack is kept.
LARGEST_VALUE = 1e37

#: Pairs up to which "greedy" has an answer before numba is loaded.
FEW_PAIRS = 1 << 21

#: Where groups share slots: clients per expert below which paths over all pairs of experts take
#: longer than "ortools-mcf", and pairs up to which either takes no time.
CLIENTS_PER_SHARED, FEW_SHARED_PAIRS = 2, 1 << 17

#: The latest problem with groups, and its components.
_latest: tuple[weakref.ref[AlignmentProblem], Components] | None = None

_ENDED = {
    "optimal": Termination.PROVED,
    "stopped": Termination.TIME_LIMIT,
    "stalled": Termination.WORK_LIMIT,
}


class ExchangeBackend(Backend):
    """Sampled prices, then exact exchanges over the clients near a boundary.

    Notes
    -----
    Supports the flow class. A problem with layer groups is solved in components: the groups among
    which clients share slots together, all others on their own; see
    `alignsolve.backends.exchange.components`.

    Takes fitness from a source, block by block, too: see
    `alignsolve.backends.exchange.streaming`. Each component reads the source.

    Reads the matrix a handful of times and never copies it, but with groups: then there are
    copies of the columns of as many components as are solved at once, unless these stand side by
    side. Answers are exact
    in float64, and depend on the seed alone, not on the number of threads. Values
    and bounds are known at the end only, so that until then a callback hears of time
    alone.
    Where its method does not help, it gives up with `Termination.WORK_LIMIT`,
    so that ``auto`` goes on.
    """

    name: ClassVar[str] = "exchange"
    bytes_per_client: ClassVar[float] = 55.0
    speed_hint: ClassVar[str] = WARM_UP_HINT
    capabilities: ClassVar[Capabilities] = Capabilities(
        features=FLOW_FEATURES,
        exact=True,
        proves_infeasibility=True,
        interruptible=True,
        warm_start=True,
        sources=True,
        callback=True,
        libraries=("numba",),
    )

    def __init__(
        self, parts: tuple[str, ...] | None = None, ask: Subsolver | None = None,
        params: ExchangeParams = DEFAULTS,
    ) -> None:  # fmt: skip
        super().__init__(parts, ask)
        self.params = params

    def refusal(self, problem: AlignmentProblem) -> str | None:
        """Return why the backend cannot take a problem, or None if it can."""
        if problem.largest > LARGEST_VALUE:
            return f"takes values up to {LARGEST_VALUE:g}; the largest is {problem.largest:g}"
        if problem.expert_group is not None:
            shared = components_of(problem).most_shared
            few = problem.streamed or problem.fitness.size <= FEW_SHARED_PAIRS
            if not few and problem.n_clients < CLIENTS_PER_SHARED * shared:
                return (f"takes groups that share slots for {CLIENTS_PER_SHARED} clients an expert "
                        f"or more; {shared:,} experts share slots of {problem.n_clients:,} clients")
        return super().refusal(problem)

    def preparation(self, problem: AlignmentProblem) -> float:
        """Return the seconds that missing kernels compile for; small problems need none."""
        from alignsolve.backends.exchange import algorithm

        if problem.fitness.size <= self.params.small:
            return 0.0
        kind, most = problem.fitness.dtype.name, int(problem.slot_bounds()[1].max(initial=0))
        if problem.expert_group is None:
            return compiling(algorithm.kernels_for(most), kind)
        from alignsolve.backends.exchange.layers import kernels_for

        return compiling(kernels_for(components_of(problem)), kind)

    def answers_soon(self, problem: AlignmentProblem) -> bool:
        """Tell whether nothing has to compile, nor to load for a problem of few pairs.

        Where there are groups, "greedy" may take longer than that.
        """
        size, grouped = problem.fitness.size, problem.expert_group is not None
        if not grouped and self.params.small < size <= FEW_PAIRS and "numba" not in sys.modules:
            return False
        return self.preparation(problem) == 0.0

    def solve(self, problem: AlignmentProblem, limits: Limits) -> Outcome:
        """Return the best answer; see `Backend.solve`."""
        solve: Callable[..., ExchangeAnswer] = solve_exchange
        if isinstance(problem.fitness, FitnessSource):
            from alignsolve.backends.exchange.streaming import solve_source

            solve = partial(solve_source, largest=problem.largest)
        if problem.expert_group is not None:
            ready = self.preparation(problem) == 0.0 and not problem.streamed
            solve = partial(solve_in_groups, components_of(problem), solve, ready=ready)
        found = solve(
            problem.fitness, *problem.slot_bounds(), switch=switch_of(problem),
            threads=limits.threads, params=self.params, **task_of(problem, limits),
            should_stop=None if limits.report is None else
            partial(limits.report, -math.inf, math.inf),
        )  # fmt: skip
        return answer_of(found, limits)


def solve_in_groups(
    components: Components, solve: Callable[..., ExchangeAnswer],
    fitness: npt.NDArray[Any] | FitnessSource, *slots: Any, **options: Any,
) -> ExchangeAnswer:  # fmt: skip
    """Let `solve` do as `solve_exchange` for each component, whose slots are its own."""
    from alignsolve.backends.exchange.layers import solve_layers

    if components.conflict_client >= 0:
        return ExchangeAnswer("infeasible", conflict_client=components.conflict_client)
    return solve_layers(fitness, components, solve, **options)


def components_of(problem: AlignmentProblem) -> Components:
    """Return the components of a problem with groups; those of the latest one are kept."""
    global _latest
    # Read once: other threads may put another problem there at any time.
    latest = _latest
    if latest is not None and latest[0]() is problem:
        return latest[1]
    assert problem.expert_group is not None
    found = Components(problem.slot_bounds(), problem.expert_group, group_ranges(problem)[:2])
    _latest = weakref.ref(problem), found
    return found


def task_of(problem: AlignmentProblem, limits: Limits) -> dict[str, Any]:
    """Return what `Task.of` takes: the experts' bounds, and what the solve is asked for."""
    load_min, load_max, penalty, goal = holders(problem)
    rows, cols = limits.warm_start or (None, None)
    return {
        "load_min": load_min, "load_max": load_max, "penalty": (penalty, goal),
        "warm_prices": limits.warm_prices, "warm_rows": rows, "warm_cols": cols,
        "seed": limits.seed, "deadline": limits.deadline,
    }  # fmt: skip


def switch_of(problem: AlignmentProblem) -> tuple[object, IntArray, IntArray] | None:
    """Return switching costs and the pairs held before, or None for no costs."""
    if Feature.SWITCHING not in problem.features:
        return None
    if problem.held is None:
        none = np.zeros(problem.n_clients + 1, np.int64)
        return problem.switch_cost, none, none[:0]
    return problem.switch_cost, problem.held.indptr, problem.held.indices


def answer_of(found: ExchangeAnswer, limits: Limits) -> Outcome:
    """Return what the solver found as an answer of a backend."""
    phases = found.stats.pop("seconds", {})
    seconds = phases.get("total", 0.0)
    stats = {f"{name}_seconds": value for name, value in phases.items()}
    stats |= found.stats | {"build_seconds": 0.0, "solve_seconds": seconds}
    if found.status == "infeasible":
        return Outcome.proved_infeasible(conflict_experts=found.conflict_experts, stats=stats)
    ended = _ENDED[found.status]
    if found.status == "stalled":
        # What is there is feasible at best: another backend proves an optimum.
        return Outcome.nothing(ended, prices=found.prices, stats=stats)
    if found.status == "stopped" and time.perf_counter() < limits.deadline:
        ended = Termination.INTERRUPTED
    return Outcome(ended, found.row_ind, found.col_ind, prices=found.prices, stats=stats)
