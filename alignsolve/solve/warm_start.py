"""What of an earlier answer fits a problem: matched by the ids of clients and experts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import Float64Array, IntArray, numeric, refuse
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
) -> tuple[tuple[IntArray, IntArray], dict[str, Float64Array], dict[str, Any]]:
    """Return what of an earlier answer fits a problem.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem to solve.
    earlier : Result, or as `EarlierAnswer`
        An answer with pairs. Clients, and experts, are matched by their ids where both sides
        have some, else by position. Prices of other answers than a result, which do not tell
        the sense of their problem, are taken to be of that of `problem`.

    Returns
    -------
    pairs : (rows, cols)
        Without pairs of which the client or the expert is gone, that are forbidden or twice
        there, and beyond the client's slots, of which those of largest value stay. Loads,
        budgets and groups may be broken: backends repair them.
    prices : dict of str to float64 array, shape (n_experts,)
        Prices of the earlier answer in the sense of `problem`, 0 for new experts: of holders
        ("") and, where a result of the mip class has some, of named loads.
    stats : dict
        For `Result.stats`: ``warm_start_pairs`` of the earlier answer, ``warm_start_used``, how
        many of them fit, and ``warm_start_by``, "ids" or "positions".

    Raises
    ------
    ProblemError
        If pairs, prices or ids of the earlier answer do not fit each other.

    Notes
    -----
    O(n_pairs + n_clients + n_experts) time, and a sort where slots are exceeded.
    """
    source = earlier.problem if isinstance(earlier, Result) else earlier
    axes = ((_ids("client_ids", source.client_ids), problem.client_ids),
            (_ids("expert_ids", source.expert_ids), problem.expert_ids))
    given_rows = _indices("row_ind", earlier.row_ind, axes[0][0])
    given_cols = _indices("col_ind", earlier.col_ind, axes[1][0])
    if given_rows.size != given_cols.size:
        raise ProblemError(f"warm_start has {given_rows.size} row_ind and {given_cols.size} "
                           "col_ind; give one of each for every pair")
    rows = _moved(given_rows, *axes[0], problem.n_clients)
    cols = _moved(given_cols, *axes[1], problem.n_experts)
    pairs = _fitting(problem, rows, cols)
    stated = {} if earlier.prices is None else {"": earlier.prices}
    sign, prices = 1.0, {}
    if isinstance(earlier, Result):
        stated |= earlier.load_prices
        sign = earlier.problem.sign * problem.sign
    for name, value in stated.items():
        given = sign * _prices(value, axes[1][0])
        place = _moved(np.arange(given.size), *axes[1], problem.n_experts)
        known = place >= 0
        if known.any():
            prices[name] = np.zeros(problem.n_experts)
            prices[name][place[known]] = given[known]
    by_ids = any(old is not None and new is not None for old, new in axes)
    return pairs, prices, {
        "warm_start_pairs": int(given_rows.size), "warm_start_used": int(pairs[0].size),
        "warm_start_by": "ids" if by_ids else "positions",
    }  # fmt: skip


def _ids(name: str, value: Any) -> Sequence[str] | None:
    """Return the ids of an earlier answer, or None."""
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ProblemError(f"warm_start {name} is {value!r}; give a sequence of ids, or None")
    ids = tuple(value)
    for at, one in enumerate(ids):
        if not isinstance(one, str):
            raise ProblemError(f"warm_start {name}[{at}] is {one!r}; give ids as str")
    return ids


def _indices(name: str, value: object, ids: Sequence[str] | None) -> IntArray:
    """Return the clients (or experts) of an earlier answer's pairs."""
    name, array = f"warm_start {name}", numeric(f"warm_start {name}", value)
    if array.ndim != 1:
        raise ProblemError(f"{name} has shape {array.shape}; give one index for every pair")
    most = 2**53 if ids is None else len(ids)
    right = (array >= 0) & (array < most) & (np.floor(array) == array)
    refuse(name, array, ~right, f"give whole numbers >= 0, below {most}")
    return array.astype(np.int64)


def _prices(value: object, ids: Sequence[str] | None) -> Float64Array:
    """Return the prices of an earlier answer."""
    array = numeric("warm_start prices", value).astype(np.float64)
    if array.ndim != 1 or (ids is not None and array.size != len(ids)):
        wanted = "one for every expert" if ids is None else f"shape ({len(ids)},), as expert_ids"
        raise ProblemError(f"warm_start prices has shape {array.shape}; give {wanted}")
    refuse("warm_start prices", array, ~np.isfinite(array), "give finite prices")
    return array


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
