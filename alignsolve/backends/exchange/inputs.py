"""Bring what a caller gives into the form the kernels take."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.backends.exchange.subproblem import Bounds, Matrix

Ints = npt.NDArray[np.int64]
#: Costs (flat), their strides in entries, and the pairs held before as CSR.
Switch = tuple[npt.NDArray[np.float64], int, int, Ints, Ints]


def plain(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the same memory, marked writeable: kernels are compiled once for both kinds.

    Kernels only read it.
    """
    if array.flags.writeable or array.size == 0:
        return array if array.flags.writeable else array.copy()
    return np.asarray(_Memory(array))


class _Memory:
    """Array interface to another array's memory."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self._array = array
        self.__array_interface__ = dict(array.__array_interface__)
        self.__array_interface__["data"] = (array.ctypes.data, False)


def whole_numbers(value: Any, size: int) -> Ints:
    """Return int64 of one entry per client or expert; a view where it is that already."""
    if np.shape(value) != (size,):
        value = np.broadcast_to(value, size)
    return plain(np.ascontiguousarray(value, dtype=np.int64))


def switch_of(switch: tuple[Any, Ints, Ints] | None) -> Switch:
    """Return switching costs, flat with their strides, and pairs held before, as `Matrix`."""
    if switch is None:
        return np.empty(0), 0, 0, np.zeros(1, np.int64), np.zeros(0, np.int64)
    raw = np.asarray(switch[0], dtype=np.float64)
    base = raw.reshape((1,) * (2 - raw.ndim) + raw.shape)
    # Repeated rows and columns of a broadcast array are not written out.
    base = base[:1] if base.strides[0] == 0 else base
    base = np.ascontiguousarray(base[:, :1] if base.strides[1] == 0 else base)
    return (
        plain(base.reshape(-1)),
        base.shape[1] if base.shape[0] > 1 else 0,
        1 if base.shape[1] > 1 else 0,
        plain(np.ascontiguousarray(switch[1], dtype=np.int64)),
        plain(np.ascontiguousarray(switch[2], dtype=np.int64)),
    )


def slots_of(n: int, m: int, slot_min: Any, slot_max: Any) -> tuple[Ints, Ints]:
    """Return fewest and most experts of each client, shape (n,) each, the latter at most m."""
    most = whole_numbers(slot_max, n)
    if n and int(most.max()) > m:
        most = np.minimum(most, m)
    return whole_numbers(slot_min, n), most


def matrix_of(
    fitness: npt.NDArray[Any], slot_min: Any, slot_max: Any, switch: tuple[Any, Ints, Ints] | None
) -> Matrix:
    """Bring the matrix and what belongs to its rows into the form the kernels take."""
    if fitness.dtype not in (np.float32, np.float64):
        raise TypeError(f"fitness has dtype {fitness.dtype}; give float32 or float64")
    n, m = fitness.shape
    least, most = slots_of(n, m, slot_min, slot_max)
    return Matrix(plain(np.ascontiguousarray(fitness)), *switch_of(switch), least, most)


def bounds_of(
    n: int, m: int, load_min: Any, load_max: Any, penalty: tuple[Any, Any] | None
) -> Bounds:
    """Bring the experts' bounds into the form the kernels take; they are small and copied."""
    low, high = np.empty(m, np.int64), np.empty(m, np.int64)
    weight, goal = np.zeros(m), np.zeros(m)
    low[:], high[:] = np.maximum(load_min, 0), np.minimum(load_max, n)
    if penalty is not None:
        weight[:], goal[:] = penalty
    return Bounds(low, high, weight, goal)
