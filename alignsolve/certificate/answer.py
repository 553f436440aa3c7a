"""An answer, its loads, and what its clients hold: what every way to explain it starts from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alignsolve.certificate.duality_gap import penalty_steps
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray, row_blocks
from alignsolve.model.pairs import Pairs
from alignsolve.model.problem import AlignmentProblem


@dataclass(frozen=True, eq=False)
class Changes:
    """What it costs at least to change what some clients hold.

    Attributes
    ----------
    loss : float64 array, shape (n_clients, n_experts)
        Of giving the client the expert; 0 where held, infinite where impossible.
    given : int64 array, shape (n_clients, n_experts)
        What the client gives up for it, -1 for nothing.
    margin : float64 array, shape (n_clients, n_experts)
        Of taking a held expert from the client; infinite elsewhere, and where
        that is impossible.
    taken : int64 array, shape (n_clients, n_experts)
        What the client gets in its place, -1 for nothing.
    gain : float64 array, shape (n_clients, n_experts)
        What the client itself would gain by an expert that it does not hold.
    """

    loss: Float64Array
    given: IntArray
    margin: Float64Array
    taken: IntArray
    gain: Float64Array


class Answer(ABC):
    """A feasible answer to a problem.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    rows, cols : int64 array, shape (n_pairs,)
        The answer, sorted.
    """

    def __init__(self, problem: AlignmentProblem, rows: IntArray, cols: IntArray) -> None:
        self.problem, self.rows, self.cols = problem, rows, cols
        self.held = Pairs.from_indices("answer", rows, cols, problem.n_clients, problem.n_experts)
        self.loads = np.bincount(cols, minlength=problem.n_experts)
        self.low, self.high = problem.holder_bounds()
        self.up, self.down = penalty_steps(problem, self.loads)

    def block(self, clients: IntArray) -> tuple[Float64Array, BoolArray]:
        """Return values and held pairs of some clients, (len(clients), n_experts)."""
        return self.problem.values(clients), self.held.mask(clients)

    def own_value(self, clients: IntArray) -> Float64Array:
        """Return what some clients have, max sense, (len(clients),)."""
        values, held = self.block(clients)
        return np.asarray(np.where(held, values, 0.0).sum(axis=1))

    def all_clients(self) -> list[IntArray]:
        """Return the clients in blocks whose matrices are small."""
        n, m = self.problem.n_clients, self.problem.n_experts
        return [np.arange(rows.start, rows.stop) for rows in row_blocks(n, m)]

    def of_all_clients(self, part: Callable[[IntArray], Float64Array]) -> Float64Array:
        """Return a quantity of all clients, float64 of shape (n_clients,), block by block."""
        return np.concatenate([np.empty(0), *map(part, self.all_clients())])

    @property
    @abstractmethod
    def one_more(self) -> Float64Array:
        """Loss of one more holder of each expert than now, < 0 for a gain, (n_experts,)."""

    @property
    @abstractmethod
    def one_fewer(self) -> Float64Array:
        """Loss of one holder fewer of each expert, < 0 for a gain, (n_experts,)."""

    @property
    def slot_worth(self) -> Float64Array:
        """Gain if each expert's upper load bound rose by one, >= 0, (n_experts,)."""
        return np.where(self.loads == self.high, np.maximum(0.0, 0.0 - self.one_more), 0.0)

    @property
    def slot_loss(self) -> Float64Array:
        """Loss if the upper load bound fell by one; infinite where impossible, (n_experts,)."""
        loss = np.where(self.low < self.high, np.maximum(0.0, self.one_fewer), np.inf)
        return np.where(self.loads == self.high, loss, 0.0)

    @property
    def need_worth(self) -> Float64Array:
        """Gain if each expert's lower load bound fell by one, >= 0, (n_experts,)."""
        binds = (self.loads == self.low) & (self.low > 0)
        return np.where(binds, np.maximum(0.0, 0.0 - self.one_fewer), 0.0)
