"""Which kernels a problem of the mip class needs, and compiling some of them ahead."""

from __future__ import annotations

import numpy as np

from alignsolve.backends.lagrangian import (
    annealing_kernels,
    best_response_kernels,
    knapsack,
    tree_kernels,
    tree_state,
)
from alignsolve.backends.lagrangian.tree import AssignmentTree
from alignsolve.kernels import Kernel


def kernels_for(is_assignment: bool) -> tuple[Kernel, ...]:
    """Return the kernels that most problems need, or generalized assignment."""
    if is_assignment:
        return (knapsack.best_knapsacks, tree_kernels.search, tree_kernels.process,
                tree_state.keep_only, annealing_kernels.anneal)  # fmt: skip
    responses = best_response_kernels
    return responses.respond, responses.respond_in_turn, responses.clearing_prices


def compile_searches() -> None:
    """Compile the searches, if need be: in threads, a time limit would leave that behind."""
    ones = np.ones((2, 2))
    sizes = np.ones((2, 2), dtype=np.int64)
    tree = AssignmentTree(ones, sizes, sizes[0], ones > 0, np.zeros(2), 0.0)
    tree.run(0)
    tree_state.keep_only(tree.state, 0, 0)
    tree_kernels.process(tree.state, tree.work, tree.least)
    jobs = np.zeros((2, 1), dtype=np.int64)
    annealing_kernels.anneal(
        ones, ones, sizes, sizes[0], *ones, jobs, 1.0, 0.0, 0, 0, jobs[:, 0], 0.0, jobs[:, 0]
    )
