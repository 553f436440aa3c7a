"""Conversion of user input to checked, read-only numpy arrays.

Every function names the argument and the offending entry in its error, and
copies only where the input has to change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.errors import AlignSolveError, ProblemError
from alignsolve.model.foreign import exact_numbers, plain

FloatArray = npt.NDArray[np.floating[Any]]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: Bytes of a row block in passes over the matrix: small enough for the L2 cache.
BLOCK_BYTES = 1 << 20


def row_blocks(n_rows: int, n_cols: int, block_bytes: int = BLOCK_BYTES) -> Iterator[slice]:
    """Yield slices that cover ``range(n_rows)`` in blocks of about `block_bytes` of float64."""
    step = max(1, block_bytes // (8 * max(1, n_cols)))
    for start in range(0, n_rows, step):
        yield slice(start, min(n_rows, start + step))


def concatenated_ranges(
    start: npt.NDArray[np.integer[Any]], stop: npt.NDArray[np.integer[Any]]
) -> tuple[IntArray, IntArray]:
    """Return the whole numbers of several ranges one after the other, and the range of each.

    Parameters
    ----------
    start, stop : int array, shape (k,)
        Ends of each range; it is empty where they cross.

    Returns
    -------
    number, which : int64 array
        ``start[which] <= number < stop[which]``.
    """
    length = np.maximum(stop - start, 0)
    first = starts_of(length)
    shift = np.repeat(start - first[:-1], length)
    return np.arange(first[-1]) + shift, np.repeat(np.arange(length.size), length)


def starts_of(sizes: npt.NDArray[np.integer[Any]]) -> IntArray:
    """Return where runs of these sizes start, and where the last one ends."""
    starts = np.zeros(sizes.size + 1, dtype=np.int64)
    np.cumsum(sizes, out=starts[1:])
    return starts


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view of `array` that cannot be written through."""
    view = array.view()
    view.flags.writeable = False
    return view


def numeric(name: str, value: object) -> npt.NDArray[Any]:
    """Return `value` as a real numeric array, or raise `ProblemError`; see `plain`."""
    try:
        array = np.asarray(plain(name, value))
    except AlignSolveError:
        raise
    except Exception as error:  # any library's own way of making an array
        if hasattr(value, "__array__"):
            raise ProblemError(f"{name} is {type(value).__name__}, which gives no array of numpy "
                               f"({error}); convert it first") from None
        raise ProblemError(
            f"{name} is not a rectangular array of numbers; give rows of one length"
        ) from None
    if array.dtype.kind not in "fiub":
        if array.size == 0:
            return array.astype(np.float64)
        if array.dtype.kind == "O" and value is not None:
            return exact_numbers(name, array)
        if array.dtype.kind == "V" and np.can_cast(array.dtype, np.float32):
            return array.astype(np.float32)  # bfloat16 and smaller, of ml_dtypes
        found = {"U": "holds text", "S": "holds bytes"}.get(
            array.dtype.kind, f"has dtype {array.dtype}"
        )
        raise ProblemError(
            f"{name} {'is None' if value is None else found}; give real numbers (float64, float32 "
            f"or integers)"
        )
    return array


def entries(matrix: Any, rows: IntArray, cols: IntArray) -> FloatArray:
    """Return single entries of a matrix, or of what reads like one."""
    flat = isinstance(matrix, np.ndarray) and matrix.flags.c_contiguous
    found: FloatArray
    if flat and cols.size and cols.min() >= 0 and cols.max() < matrix.shape[1]:
        # One index in place of two takes 0.7 of the time; a wrong column would be another row.
        found = matrix.reshape(-1).take(rows * matrix.shape[1] + cols)
    else:
        found = matrix[rows, cols]
    return found


def float_matrix(array: npt.NDArray[Any]) -> FloatArray:
    """Return fitness as float32 or float64, itself where it is one, or raise `ProblemError`."""
    if array.ndim != 2:
        raise ProblemError(
            f"fitness has {array.ndim} dimensions; give a matrix of clients x experts"
        )
    if array.dtype not in (np.float32, np.float64):
        # float16 and foreign byte orders are parts of what they become.
        is_single = array.dtype.kind == "f" and array.dtype.itemsize <= 4
        given, array = array, array.astype(np.float32 if is_single else np.float64)
        if given.dtype.kind in "iu" and given.dtype.itemsize == 8:
            rounded = np.abs(array) > 2**53
            refuse("fitness", given, rounded, "a source holds float64, exact up to 2**53; give the "
                   "array itself, or take a common amount off")  # fmt: skip
    return np.asarray(array)


def refuse(
    name: str, array: npt.NDArray[Any], bad: BoolArray,
    would_be_right: str | Callable[[Any], str], first_row: int = 0,
) -> None:
    """Raise `ProblemError` naming the first entry of `array` where `bad` holds.

    The array is the part from row `first_row` of what is called `name`. What would be right
    may depend on the entry.
    """
    if bad.any():
        first = np.unravel_index(int(np.argmax(bad)), bad.shape)
        index = [int(position) for position in first]
        if index:
            index[0] += first_row
        right = would_be_right if isinstance(would_be_right, str) else would_be_right(array[first])
        raise ProblemError(f"{name}{index or ''} is {array[first]}; {right}")


def fitted(
    name: str, value: object, shape: tuple[int, ...], meaning: str, *,
    valid: Callable[[npt.NDArray[Any]], BoolArray], would_be_right: str | Callable[[Any], str],
) -> Float64Array:
    """Return `value` as float64 broadcast (read-only) to `shape`.

    Parameters
    ----------
    name : str
        Name of the argument, for errors.
    value : array_like
        Scalar, or array that broadcasts to `shape`.
    shape : tuple of int
        Wanted shape.
    meaning : str
        What the axes are, for errors, such as ``"one per expert"``.
    valid : callable
        Maps the array to a mask of acceptable entries.
    would_be_right : str, or callable
        End of the error message, or what makes it of the entry.

    Raises
    ------
    ProblemError
        On a wrong type, shape or entry.
    """
    array = numeric(name, value)
    refuse(name, array, ~valid(array), would_be_right)
    # A matrix is used in place; anything smaller is copied, safe from later changes.
    array = array.astype(np.float64, copy=array.ndim < 2)
    # One value for many clients must be spelled as a scalar: shape (1,) is likelier a mistake.
    if len(shape) == 1 and array.ndim and array.shape != shape:
        raise _wrong_shape(name, array, shape, meaning)
    try:
        return read_only(np.broadcast_to(array, shape))
    except ValueError:
        raise _wrong_shape(name, array, shape, meaning) from None


def _wrong_shape(
    name: str, array: npt.NDArray[Any], shape: tuple[int, ...], meaning: str
) -> ProblemError:
    wanted = f"shape ({shape[0]},)" if len(shape) == 1 else f"an array that broadcasts to {shape}"
    return ProblemError(f"{name} has shape {array.shape}; give a scalar or {wanted} ({meaning})")


def whole(name: str, value: object, shape: tuple[int, ...], meaning: str) -> IntArray:
    """Return `value` as read-only int64 of a shape; whole and >= 0. See `fitted`."""
    array = fitted(
        name, value, shape, meaning,
        valid=lambda a: np.isfinite(a) & (a >= 0) & (np.floor(a) == a) & (a < 2**53),
        would_be_right=lambda a: "give a whole number >= 0" if not 2**53 <= a < np.inf else
        "give a whole number below 2**53, from where on float64 does not hold them all",
    )
    return read_only(array.astype(np.int64))


def non_negative(
    name: str, value: object, shape: tuple[int, ...], meaning: str, noun: str
) -> Float64Array:
    """Return `value`, which errors call a `noun`, finite and >= 0. See `fitted`."""
    return fitted(
        name, value, shape, meaning,
        valid=lambda a: np.isfinite(a) & (a >= 0), would_be_right=f"give a finite {noun} >= 0",
    )


def row_starts(rows: IntArray, n_rows: int) -> IntArray:
    """Return where each row starts among entries sorted by row, int64 of shape (n_rows + 1,)."""
    return starts_of(np.bincount(rows, minlength=n_rows))


def weighted_count(index: IntArray, weight: Float64Array, length: int) -> Float64Array:
    """Return the sum of weights at each index, float64 of shape (length,)."""
    # Without any index, bincount forgets that weights were given.
    return np.bincount(index, weights=weight, minlength=length).astype(np.float64, copy=False)
