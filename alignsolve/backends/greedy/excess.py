"""By how many units amounts are outside their bounds, and what a change does to that."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.model.arrays import IntArray

#: Units that any broken bound counts at least: no gain of a single move is worth it.
LEAST_EXCESS = 0.1


def excess(
    now: npt.NDArray[Any],
    low: float | npt.NDArray[Any],
    high: npt.NDArray[Any],
    unit: float | npt.NDArray[Any],
) -> npt.NDArray[Any]:
    """Return by how many units amounts are outside their bounds; a part counts as one."""
    outside = np.maximum(low - now, now - high)
    units: npt.NDArray[Any] = np.where(outside > 0, np.maximum(outside / unit, LEAST_EXCESS), 0.0)
    return units


def excess_change(
    unit: float,
    net: int | float | npt.NDArray[Any],
    now: npt.NDArray[Any],
    low: float | npt.NDArray[Any],
    high: npt.NDArray[Any],
) -> npt.NDArray[Any]:
    """Return by how many units more amounts are outside their bounds after a change."""
    return np.asarray(excess(now + net, low, high, unit) - excess(now, low, high, unit))


def count_change(step: int, now: IntArray, low: IntArray, high: IntArray) -> IntArray:
    """Return the same for counts and a step of +1 or -1, which is quicker."""
    if step > 0:
        return (now >= high).astype(np.int64) - (now < low)
    return (now <= low).astype(np.int64) - (now > high)
