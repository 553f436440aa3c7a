"""What others do, on the interface of the optimal strategy, so that anyone can compare."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alignsolve.aligner.policy import Round
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.problem import tolerance
from alignsolve.result import Result


@dataclass(frozen=True, eq=False)
class Choice:
    """Pairs that a strategy chose.

    Attributes
    ----------
    row_ind, col_ind : int64 array, shape (n_pairs,)
        The pairs, sorted by (row, col).
    result : Result or None
        What a solver said of them.
    """

    row_ind: IntArray
    col_ind: IntArray
    result: Result | None = None


def random_choice(round_: Round) -> Choice:
    """Fill the slots of every participant with experts drawn at random."""
    return in_order(round_, _drawn(round_))


def round_robin(round_: Round) -> Choice:
    """Assign the experts in turn, going on where the last round ended."""
    start = int(round_.planned.sum()) + np.cumsum(round_.slots) - round_.slots
    n_experts = round_.settings.n_experts
    turn = (np.arange(n_experts) - start[:, None]) % n_experts
    return in_order(round_, -turn.astype(np.float64))


def greedy(round_: Round) -> Choice:
    """Give every participant its experts of highest fitness, whatever the load.

    Notes
    -----
    Ties are broken at random: before any report all pairs are alike, and the
    order of the experts would send everybody to the first ones.
    """
    return in_order(round_, round_.fitness, _drawn(round_))


def _drawn(round_: Round) -> Float64Array:
    """Return a random number of every pair, float64 (n, n_experts)."""
    rng = np.random.default_rng((round_.settings.seed, round_.number))
    return rng.random(round_.fitness.shape)


def in_order(round_: Round, score: Float64Array, ties: Float64Array | None = None) -> Choice:
    """Fill every participant's slots by falling score, within budgets and layers.

    Parameters
    ----------
    score : float64 array, shape (n, n_experts)
        What is taken first; forbidden pairs and scores of ``-inf`` are passed over.
    ties : float64 array, shape (n, n_experts), optional
        Of equal scores the one with the lower number is first; None takes experts in order.

    Notes
    -----
    All participants at once, one rank after the other: O(n m log m).
    """
    n, m = round_.fitness.shape
    order = np.lexsort((np.zeros_like(score) if ties is None else ties, -score))
    open_ = round_.allowed & (score > -np.inf)
    clients = np.arange(n)
    held = np.zeros((n, m), dtype=np.bool_)
    free = round_.slots.copy()
    left = {
        name: np.asarray(part.budget) + tolerance(part.budget)
        for name, part in round_.resources.items()
    }
    sizes = {name: np.asarray(part.size) for name, part in round_.resources.items()}
    groups = round_.settings.groups
    layer = None if groups is None else np.tile(groups.max, (n, 1))
    for rank in range(m):
        expert = order[:, rank]
        take = (free > 0) & open_[clients, expert]
        for name, size in sizes.items():
            take &= size[clients, expert] <= left[name]
        if groups is not None and layer is not None:
            group = groups.of[expert]
            take &= layer[clients, group] > 0
            layer[clients, group] -= take
        for name, size in sizes.items():
            left[name] -= np.where(take, size[clients, expert], 0.0)
        held[clients, expert] |= take
        free -= take
    row_ind, col_ind = np.nonzero(held)
    return Choice(row_ind, col_ind)
