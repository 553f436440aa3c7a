"""Which budgets and load bounds an answer leaves no room under."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alignsolve.model.arrays import BoolArray, row_blocks
from alignsolve.model.feasibility import sorted_pairs
from alignsolve.model.problem import AlignmentProblem, Load, tolerance


@dataclass(frozen=True, eq=False)
class Binding:
    """The bounds of a problem that bind at an answer; see `binding_bounds`.

    Attributes
    ----------
    budgets : dict of str to bool array, shape (n_clients,)
        By resource, whether each client's budget binds.
    load_min, load_max : dict of str to bool array, shape (n_experts,)
        By load ("holders" is the number of holders), whether each bound binds.
    n_load_bounds : int
        Load bounds that could bind at all.
    """

    budgets: dict[str, BoolArray]
    load_min: dict[str, BoolArray]
    load_max: dict[str, BoolArray]
    n_load_bounds: int

    @property
    def budget_share(self) -> float:
        """Share of all budgets, of clients times resources, that bind; NaN without any."""
        return float(np.mean(list(self.budgets.values()))) if self.budgets else float("nan")

    @property
    def load_share(self) -> float:
        """Share of the load bounds that could bind that do; NaN without any."""
        binding = sum(int(part.sum()) for part in (*self.load_min.values(),
                                                   *self.load_max.values()))
        return binding / self.n_load_bounds if self.n_load_bounds else float("nan")


def binding_bounds(
    problem: AlignmentProblem, row_ind: npt.ArrayLike, col_ind: npt.ArrayLike
) -> Binding:
    """Tell which budgets and load bounds bind at an answer.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    row_ind, col_ind : int array, shape (n_pairs,)
        A feasible answer, in any order.

    Returns
    -------
    Binding

    Raises
    ------
    ProblemError
        If an index is no client or expert.

    Notes
    -----
    A client's *budget* binds where none of the allowed experts that it does not
    hold fits into what is left of that resource, whatever slots and other
    budgets say. A client that holds every expert it may has no binding budget.

    An expert's *load bound* binds where the mean weight of a client more (upper
    bound) or less (lower bound) would break it. Bounds that no assignment can
    break, at most 0 below or at least the sum of all weights above, are not
    counted.

    O(n_clients * n_experts * n_resources) time, in blocks of clients.
    """
    rows, cols = sorted_pairs(problem, row_ind, col_ind)
    n, m = problem.n_clients, problem.n_experts
    budgets = {name: np.zeros(n, dtype=np.bool_) for name in problem.resources}
    for block in row_blocks(n, m) if budgets else ():
        inside = slice(*np.searchsorted(rows, (block.start, block.stop)))
        at = rows[inside] - block.start, cols[inside]
        allowed = problem.values(block) > -np.inf
        held = np.zeros(allowed.shape, dtype=np.bool_)
        held[at] = True
        for name, resource in problem.resources.items():
            size, budget = np.asarray(resource.size)[block], np.asarray(resource.budget)[block]
            left = budget + tolerance(budget) - np.where(held, size, 0).sum(axis=1)
            least = np.where(allowed & ~held, size, np.inf).min(axis=1)
            budgets[name][block] = (least > left) & np.isfinite(least)
    low: dict[str, BoolArray] = {}
    high: dict[str, BoolArray] = {}
    counted = 0
    holders = Load(np.ones(n), problem.load_min, problem.load_max)
    for name, load in {"holders": holders, **problem.loads}.items():
        weight, least, most = (np.asarray(part) for part in (load.weight, load.min, load.max))
        amount, mean = load.amounts(rows, cols, m), float(weight.mean())
        can_bind = least > 0, most < weight.sum()
        low[name] = can_bind[0] & (amount - mean < least - tolerance(least))
        high[name] = can_bind[1] & (amount + mean > most + tolerance(most))
        counted += int(can_bind[0].sum() + can_bind[1].sum())
    return Binding(budgets, low, high, counted)
