"""The package's one tolerance, and bounds rounded to whole numbers with it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alignsolve.model.arrays import Float64Array, IntArray, read_only

#: Relative slack within which a bound counts as kept, everywhere in the package.
FEASIBILITY_TOLERANCE = 1e-9


def tolerance(bound: npt.ArrayLike) -> Float64Array:
    """Return the absolute slack granted to `bound`: ``1e-9 * max(1, |bound|)``."""
    size = np.abs(np.asarray(bound, dtype=np.float64))
    # An infinite bound is never exceeded; zero keeps inf - inf out of the sums.
    return np.where(np.isfinite(size), FEASIBILITY_TOLERANCE * np.maximum(1.0, size), 0.0)


def whole_range(least: Float64Array, most: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return bounds on a count rounded inward; the tolerance makes ``0.1 * 30`` a 3."""
    return np.ceil(np.maximum(least, 0) - tolerance(least)), np.floor(most + tolerance(most))


def rounded_inward(
    least: Float64Array, most: Float64Array, count: int
) -> tuple[IntArray, IntArray]:
    """Return bounds on a number from 0 to `count` as read-only int64, rounded inward.

    Bounds that nothing can keep stay so.
    """
    low, high = whole_range(least, most)
    # Beyond count + 1 or below -1 nothing changes, and int64 cannot overflow.
    return (
        read_only(np.clip(low, 0, count + 1).astype(np.int64)),
        read_only(np.clip(high, -1, count).astype(np.int64)),
    )


def cut_at(array: IntArray, most: int) -> IntArray:
    """Return the array cut at `most`, itself where nothing is cut: it may be long."""
    return array if array.max(initial=0) <= most else read_only(np.minimum(array, most))
