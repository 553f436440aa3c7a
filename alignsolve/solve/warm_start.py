"""What of an earlier answer fits a problem: matched by the ids of clients and experts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.problem import AlignmentProblem
from alignsolve.result import Result


class EarlierAnswer(Protocol):
    """An answer to another problem, as a plan and a solution file are.

    Attributes
    ----------
    row_ind, col_ind : int64 array, shape (n_pairs,)
        Clients and experts of the held pairs.
    prices : float64 array, shape (n_experts,), or None
        Shadow prices, in the sense of its problem.
    client_ids, expert_ids : sequence of str, or None
        Ids of its clients and experts; None where there are none.
    """

    @property
    def row_ind(self) -> IntArray:
        """Clients of the held pairs."""

    @property
    def col_ind(self) -> IntArray:
        """Experts of the held pairs."""

    @property
    def prices(self) -> Float64Array | None:
        """Shadow prices, or None."""

    @property
    def client_ids(self) -> Sequence[str] | None:
        """Ids of the clients, or None."""

    @property
    def expert_ids(self) -> Sequence[str] | None:
        """Ids of the experts, or None."""


def is_earlier_answer(value: object) -> bool:
    """Tell whether a value has what `matched` needs."""
    names = ("row_ind", "col_ind", "prices", "client_ids", "expert_ids")
    return isinstance(value, Result) or all(hasattr(value, name) for name in names)


def matched(
    problem: AlignmentProblem, earlier: Result | EarlierAnswer
) -> tuple[tuple[IntArray, IntArray], Float64Array | None, dict[str, Any]]:
    """Return what of an earlier answer fits a problem.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem to solve.
    earlier : Result, or as `EarlierAnswer`
        An answer with pairs. Clients, and experts, are matched by their ids where both sides
        have some, else by position.

    Returns
    -------
    pairs : (rows, cols)
        Without pairs of which the client or the expert is gone, that are forbidden or twice
        there, and beyond the client's slots, of which those of largest value stay. Loads,
        budgets and groups may be broken: backends repair them.
    prices : float64 array, shape (n_experts,), or None
        Prices of the earlier answer, 0 for new experts.
    stats : dict
        For `Result.stats`: ``warm_start_pairs`` of the earlier answer, ``warm_start_used`` of
        them, and ``warm_start_by``, "ids" or "positions".

    Notes
    -----
    O(n_pairs + n_clients + n_experts) time, and a sort where slots are exceeded.
    """
    source = earlier.problem if isinstance(earlier, Result) else earlier
    axes = (source.client_ids, problem.client_ids), (source.expert_ids, problem.expert_ids)
    given_rows, given_cols = (np.asarray(index, np.int64)
                              for index in (earlier.row_ind, earlier.col_ind))
    rows = _moved(given_rows, *axes[0], problem.n_clients)
    cols = _moved(given_cols, *axes[1], problem.n_experts)
    pairs = _fitting(problem, rows, cols)
    prices = None
    if earlier.prices is not None:
        place = _moved(np.arange(len(earlier.prices)), *axes[1], problem.n_experts)
        known = place >= 0
        if known.any():
            prices = np.zeros(problem.n_experts)
            prices[place[known]] = np.asarray(earlier.prices)[known]
    by_ids = any(old is not None and new is not None for old, new in axes)
    return pairs, prices, {
        "warm_start_pairs": int(given_rows.size), "warm_start_used": int(pairs[0].size),
        "warm_start_by": "ids" if by_ids else "positions",
    }  # fmt: skip


def _moved(
    index: IntArray, old: Sequence[str] | None, new: Sequence[str] | None, size: int
) -> IntArray:
    """Return where some clients (or experts) stand in a problem; -1 where they are gone."""
    if old is None or new is None:
        return np.where(index < size, index, -1)
    if old == new:
        return index
    place = {name: at for at, name in enumerate(new)}
    return np.array([place.get(name, -1) for name in old], dtype=np.int64)[index]


def _fitting(
    problem: AlignmentProblem, rows: IntArray, cols: IntArray
) -> tuple[IntArray, IntArray]:
    """Return the pairs that the problem has, allows, and has slots for; sorted and distinct."""
    there = (rows >= 0) & (cols >= 0)
    keys = rows[there] * problem.n_experts + cols[there]
    if (np.diff(keys) <= 0).any():
        keys = np.unique(keys)
    rows, cols = np.divmod(keys, max(1, problem.n_experts))
    values = problem.pair_values(rows, cols)
    allowed = values > -np.inf
    if not allowed.all():
        rows, cols, values = rows[allowed], cols[allowed], values[allowed]
    _, slots = problem.slot_bounds()
    counts = np.bincount(rows, minlength=problem.n_clients)
    if (counts > slots).any():
        order = np.lexsort((-values, rows))
        rank = np.arange(rows.size) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = np.sort(order[rank < slots[rows]])
        rows, cols = rows[kept], cols[kept]
    return rows, cols
