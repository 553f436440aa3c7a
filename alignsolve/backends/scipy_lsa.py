"""Problems that reduce to one dense assignment, by SciPy's linear_sum_assignment.

Every expert becomes as many columns as it may have holders, the first ones of
which must be taken; every client that may stay without an expert gets a column
of its own, worth 0. Where some column must be taken, further rows fill the
others. So a perfect matching of the rows is an answer, and the other way round.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alignsolve.backends.base import Backend, Capabilities, index_arrays, library_version
from alignsolve.interruptible import ended_by_key
from alignsolve.model.arrays import (
    BoolArray,
    Float64Array,
    IntArray,
    concatenated_ranges,
    row_blocks,
)
from alignsolve.model.contradictions import contradictory_counts
from alignsolve.model.problem import AlignmentProblem, Feature
from alignsolve.status import Limits, Outcome, Termination

#: Most entries of the dense matrix: 256 MB of float64.
MAX_ENTRIES = 1 << 25

#: What a matching takes at most, in seconds, by entries of the matrix: from where on it is one
#: that Ctrl-C ends.
SECONDS_PER_ENTRY = 2e-7


@dataclass(frozen=True, eq=False)
class _Reduction:
    """Rows and columns of the assignment.

    Attributes
    ----------
    clients : int64 array, shape (n_used,)
        Clients with a slot; they are the first rows.
    optional : bool array, shape (n_used,)
        Those that may stay without an expert.
    expert, required : int64 array and bool array, shape (n_copies,)
        Expert of each of the first columns, and whether it must be taken.
    filling_rows : int
        Rows without a client; they take the columns that no client takes.
    """

    clients: IntArray
    optional: BoolArray
    expert: IntArray
    required: BoolArray
    filling_rows: int

    @classmethod
    def of(cls, problem: AlignmentProblem) -> _Reduction | None:
        """Return the reduction, or None where some bounds contradict each other."""
        slots_min, slots_max = problem.slot_bounds()
        low, high = problem.holder_bounds()
        clients = np.flatnonzero(slots_max > 0)
        high = np.minimum(high, clients.size)
        if any(True for _ in contradictory_counts((slots_min, slots_max), (low, high))):
            return None
        copy, expert = concatenated_ranges(np.zeros_like(high), high)
        optional = slots_min[clients] == 0
        required = copy < low[expert]
        n_columns = expert.size + int(optional.sum())
        filling_rows = n_columns - clients.size if required.any() else 0
        return cls(clients, optional, expert, required, filling_rows)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""
        return self.clients.size + self.filling_rows, self.expert.size + int(self.optional.sum())

    def cost(self, problem: AlignmentProblem) -> Float64Array:
        """Return the matrix of costs; +inf forbids."""
        n_clients, n_copies = self.clients.size, self.expert.size
        cost = np.full(self.shape, np.inf)
        for rows in row_blocks(n_clients, max(1, n_copies)):
            cost[rows, :n_copies] = 0 - problem.values(self.clients[rows])[:, self.expert]
        stays = np.flatnonzero(self.optional)
        cost[stays, n_copies + np.arange(stays.size)] = 0.0
        cost[n_clients:, n_copies:] = 0.0
        cost[n_clients:, :n_copies][:, ~self.required] = 0.0
        return cost


class LinearSumAssignmentBackend(Backend):
    """Clients with at most one slot each, by shortest augmenting paths (SciPy).

    Notes
    -----
    Exact up to float64 rounding of path lengths; the certificate decides. The
    library takes neither a time limit nor a signal; Ctrl-C ends large ones, which have a
    process of their own.
    """

    name: ClassVar[str] = "scipy-lsa"
    capabilities: ClassVar[Capabilities] = Capabilities(
        features=frozenset(
            {Feature.MIN_EXPERTS, Feature.LOAD_BOUNDS, Feature.FORBIDDEN, Feature.SWITCHING}
        ),
        exact=True,
        proves_infeasibility=True,
        interruptible=False,
        libraries=("scipy",),
    )

    def refusal(self, problem: AlignmentProblem) -> str | None:
        """Return why the problem does not reduce to one dense assignment, or None."""
        reason = super().refusal(problem)
        if reason is not None:
            return reason
        several = np.flatnonzero(problem.slot_bounds()[1] > 1)
        if several.size:
            client = int(several[0])
            return (f"needs clients with at most one slot; {problem.client_name(client)} has "
                    f"{problem.max_experts[client]}")
        reduction = _Reduction.of(problem)
        if reduction is not None and np.prod(reduction.shape, dtype=float) > MAX_ENTRIES:
            return (f"needs a dense matrix of {reduction.shape[0]} x {reduction.shape[1]} for "
                    f"this problem, above its limit of {MAX_ENTRIES} entries")
        return None

    def solve(self, problem: AlignmentProblem, limits: Limits) -> Outcome:
        """Return a best answer; see `Backend.solve`."""
        started = time.perf_counter()
        source = library_version("scipy")
        reduction = _Reduction.of(problem)
        if reduction is None:
            return Outcome.proved_infeasible(source=source)
        cost = reduction.cost(problem)
        built = time.perf_counter()
        stats = {"build_seconds": built - started, "rows": cost.shape[0], "columns": cost.shape[1]}
        matching = ended_by_key(_least_cost_matching, cost,
                                seconds=SECONDS_PER_ENTRY * cost.size, poll=limits.poll)
        stats["solve_seconds"] = time.perf_counter() - built
        if matching is None:
            return Outcome.proved_infeasible(source=source, stats=stats)
        row, column = matching
        pair = (row < reduction.clients.size) & (column < reduction.expert.size)
        return Outcome(
            Termination.PROVED, reduction.clients[row[pair]], reduction.expert[column[pair]],
            source=source, stats=stats,
        )


def _least_cost_matching(cost: Float64Array) -> tuple[IntArray, IntArray] | None:
    """Return rows and columns of a cheapest perfect matching of the rows, or None."""
    from scipy.optimize import linear_sum_assignment

    try:
        return index_arrays(*linear_sum_assignment(cost))
    except ValueError as error:
        if "infeasible" in str(error):
            return None
        raise
