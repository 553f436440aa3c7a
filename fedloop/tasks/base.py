"""What a task is: examples of clients, what a model's answer costs, and how it is judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fedloop.config import Config


@dataclass(frozen=True)
class Examples:
    """Examples of all clients, one client's after the other's.

    Attributes
    ----------
    input : Tensor
        Shape (n, ...): images as float32 (n, channels, height, width), or bytes as int64
        (n, T).
    target : Tensor
        int64, shape (n,): labels; or the bytes that follow, (n, T).
    first : ndarray
        int64, shape (clients + 1,): client i owns ``first[i]`` to ``first[i + 1] - 1``.
    """

    input: Tensor
    target: Tensor
    first: np.ndarray

    @staticmethod
    def of(inputs: Iterable[np.ndarray], targets: Sequence[np.ndarray]) -> Examples:
        """Put arrays of inputs and of targets, int64, of every client one after the other."""
        data, answers = (torch.from_numpy(np.ascontiguousarray(np.concatenate(list(parts))))
                         for parts in (inputs, targets))
        return Examples(data, answers, np.cumsum([0, *map(len, targets)], dtype=np.int64))

    def size(self, client: int) -> int:
        """Return the number of a client's examples."""
        return int(self.first[client + 1] - self.first[client])

    def to(self, device: torch.device) -> Examples:
        """Return the same on a device."""
        return Examples(self.input.to(device), self.target.to(device), self.first)

    def pick(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and targets by their positions, an int64 tensor of any shape."""
        flat = chosen.flatten()
        return tuple(  # type: ignore[return-value]
            values.index_select(0, flat).view(*chosen.shape, *values.shape[1:])
            for values in (self.input, self.target))


@dataclass(frozen=True)
class Partition:
    """What every client has.

    Attributes
    ----------
    train, test : Examples
        As the client's domain sees them.
    domain : ndarray
        int64, shape (clients,); 0 throughout where there are no domains.
    label_counts : ndarray
        int64, shape (clients, classes): training examples of every label; of text, bytes of
        every kind (`fedloop.tasks.text.KINDS`).
    n_classes : int
        Classes, or symbols.
    manifest : dict
        What was dealt out, with hashes; for JSON.
    """

    train: Examples
    test: Examples
    domain: np.ndarray
    label_counts: np.ndarray
    n_classes: int
    manifest: dict[str, object]

    def to(self, device: torch.device) -> Partition:
        """Return the same with its examples on a device."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))


class Task(Protocol):
    """What is learned."""

    def load(self, config: Config) -> Any:
        """Return the data that settings name."""

    def deal(self, data: Any, config: Config) -> Partition:
        """Give every client its examples."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return every example's loss, (n,), differentiable, of outputs (n, ...)."""

    def accuracy(self, output: Tensor, target: Tensor) -> Tensor:
        """Return every example's share of right answers, (n,)."""

    def metrics(self, loss: np.ndarray, loss_all: np.ndarray) -> Mapping[str, float]:
        """Return what a record has beside accuracies.

        Parameters
        ----------
        loss, loss_all : ndarray
            float64, shape (clients,): mean loss on held-out examples as clients are served,
            and with all.
        """
