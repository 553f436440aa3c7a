"""What a tensor of a state dict holds of which experts, and how to cut it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import torch
from torch import Tensor

from fedloop.expert_map.drawing import Layout


@dataclass(frozen=True)
class Layer:
    """An MoE layer: expert j of it is column ``first + j`` of an alignment problem.

    Attributes
    ----------
    name : str
        What the tensors' names call it, often its number.
    n_experts : int
        E.
    first : int
        Column of its expert 0.
    """

    name: str
    n_experts: int
    first: int

    @property
    def columns(self) -> range:
        """Return the columns of its experts."""
        return range(self.first, self.first + self.n_experts)


@dataclass(frozen=True)
class Entry:
    """How the experts of a layer lie in one tensor.

    Attributes
    ----------
    name : str
        In the state dict.
    shape : tuple of int
    itemsize : int
        Bytes of a number.
    layout : {"each", "stacked", "blocks", "interleaved", "shared"}
        See `fedloop.expert_map.drawing`. "each" is a tensor of one expert alone.
    axis : int
        Axis that counts experts; 0 where there is none.
    layer : int or None
        Position in `ExpertMap.layers`; None where all share the tensor.
    router : bool
        Whether it holds rows of the router.
    expert : int or None
        The expert's number in its layer, layout "each".
    span : tuple of int
        Where in the name this number stands.
    """

    name: str
    shape: tuple[int, ...]
    itemsize: int
    layout: Layout = "shared"
    axis: int = 0
    layer: int | None = None
    router: bool = False
    expert: int | None = None
    span: tuple[int, int] = (0, 0)

    @property
    def nbytes(self) -> int:
        """Return the bytes of the whole tensor."""
        return prod(self.shape) * self.itemsize

    @property
    def sliced(self) -> bool:
        """Return whether experts have slices of it; otherwise one expert has all, or everybody."""
        return self.layer is not None and self.expert is None

    def renamed(self, number: int | str) -> str:
        """Return the name with another number, or mark, in place of the expert's."""
        start, end = self.span
        return f"{self.name[:start]}{number}{self.name[end:]}"


@dataclass(frozen=True)
class Cut:
    """The part of a tensor that some experts have.

    Attributes
    ----------
    entry : Entry
        The tensor.
    name : str
        Its name in the part: that of a tensor of one expert is renumbered.
    positions : Tensor or None
        int64, along the entry's axis; None for the whole tensor.
    """

    entry: Entry
    name: str
    positions: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the part."""
        shape, axis = self.entry.shape, self.entry.axis
        if self.positions is None:
            return shape
        return (*shape[:axis], len(self.positions), *shape[axis + 1:])

    def of(self, whole: Tensor) -> Tensor:
        """Cut the part out of the tensor; a whole one is not copied."""
        if self.positions is None:
            return whole
        return whole.index_select(self.entry.axis, self.positions.to(whole.device))


@lru_cache(maxsize=1024)
def _owners(layout: Layout, length: int, n_experts: int) -> Tensor:
    numbers, share = torch.arange(n_experts), length // n_experts
    return numbers.repeat(share) if layout == "interleaved" else numbers.repeat_interleave(share)


@lru_cache(maxsize=4096)
def positions_of(layout: Layout, length: int, n_experts: int, held: tuple[int, ...]) -> Tensor:
    """Return where some of the experts lie along an axis of a length, int64, ascending.

    Ascending positions keep the layout: a cut tensor is laid out as the whole one
    is, for as many experts as are held.
    """
    wanted = torch.tensor(held, dtype=torch.int64)
    return torch.isin(_owners(layout, length, n_experts), wanted).nonzero()[:, 0]
