"""Arrays of other libraries, masks and objects, as numbers of numpy: exactly or not at all.

The libraries are told by the look of their objects, and none of them is imported.
"""

from __future__ import annotations

import numbers
from decimal import Decimal
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from alignsolve.errors import ProblemError

#: What a masked entry stands for; a mask on anything else is refused.
FORBIDDEN = {"fitness": -np.inf, "cost": np.inf}

#: Types of which numpy makes the same numbers without help.
PLAIN = frozenset({int, float, bool, complex, str, bytes, type(None), Decimal, Fraction,
                   np.ndarray, *np.sctypeDict.values()})  # fmt: skip


def plain(name: str, value: Any) -> Any:
    """Return what numpy makes the right array of, or raise `ProblemError`.

    Parameters
    ----------
    name : str
        Name of the argument. Masked entries of fitness and cost are forbidden pairs.
    value : object
        Anything; returned as it is where no library but numpy has to be asked.
    """
    if type(value) in PLAIN:
        return value
    if isinstance(value, (list, tuple)):
        # The types first: they are found at the speed of C.
        return value if PLAIN.issuperset(map(type, value)) else [plain(name, v) for v in value]
    if isinstance(value, np.ma.MaskedArray):
        return _without_mask(name, value)
    if hasattr(value, "tocsr"):
        _refuse_sparse(name, "a SciPy sparse matrix", f"({name})", ".toarray()")
    libraries = libraries_of(value)
    if "torch" in libraries and hasattr(value, "detach"):
        return _of_tensor(name, value)
    if "pandas" in libraries:
        return _of_pandas(name, value)
    if "pyarrow" in libraries:
        return _of_arrow(name, value)
    return value


def libraries_of(value: object) -> set[str]:
    """Return the packages that define a value's type and its bases."""
    return {kind.__module__.partition(".")[0] for kind in type(value).__mro__}


def number(value: Any) -> Any:
    """Return the number in an array or tensor without dimensions; anything else as it is."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        return value
    if getattr(value, "ndim", None) == 0 and not isinstance(value, np.generic):
        try:
            return value.item()
        except Exception:  # a tensor without data has its own errors
            return value
    return value


def refuse_mask(name: str, value: object) -> None:
    """Raise `ProblemError` where any entry of a masked array is masked."""
    if isinstance(value, np.ma.MaskedArray) and value.dtype.names is None:
        mask = np.ma.getmaskarray(value)
        if mask.any():
            _refuse_at(name, mask, "is masked", "give every entry, with array.filled(...): only "
                       "fitness and cost may be masked, where it forbids the pair")  # fmt: skip


def exact_numbers(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array of objects as int64, uint64 or float64, or raise `ProblemError`.

    Whole numbers, fractions and decimals are taken where that type holds them exactly.
    """
    found = [_real(name, array.shape, k, item) for k, item in enumerate(array.ravel().tolist())]
    if all(isinstance(item, int) for item in found):
        whole = as_integers(found)
        if whole is not None:
            return whole.reshape(array.shape)
    out = np.empty(array.size)
    for k, item in enumerate(found):
        try:
            held = float(item)
            exact, out[k] = bool(held == item or item != item), held
        except (OverflowError, ValueError, ArithmeticError):
            exact = False
        if not exact:
            whole = as_integers(found)
            if whole is not None:
                return whole.reshape(array.shape)
            raise ProblemError(
                f"{_at(name, array.shape, k)} is {_shown(item)}, which float64 does not hold "
                f"exactly; to round it, give np.asarray(values, dtype=float)"
            )
    return out.reshape(array.shape)


def as_integers(found: list[Any]) -> npt.NDArray[Any] | None:
    """Return whole numbers as int64 or uint64; None where one is none, or too large."""
    low, high = -(2**63), 2**64 - 1
    if not all(low <= item <= high and item == int(item) for item in found):
        return None
    kind = np.int64 if max(found, default=0) < 2**63 else np.uint64
    if kind is np.uint64 and min(found) < 0:
        return None
    return np.array([int(item) for item in found], dtype=kind)


def _real(name: str, shape: tuple[int, ...], k: int, item: Any) -> Any:
    """Return an object as an int, a float or an exact fraction."""
    item = number(item)
    if isinstance(item, (bool, np.bool_, numbers.Integral)):
        return int(item)
    if isinstance(item, (Decimal, numbers.Real)):
        return item
    shown = repr(item) if item is None else f"of type {type(item).__name__}"
    raise ProblemError(f"{_at(name, shape, k)} is {shown}; give real numbers (float64, float32 or "
                       f"integers)")  # fmt: skip


def _without_mask(name: str, value: np.ma.MaskedArray[Any, Any]) -> npt.NDArray[Any]:
    """Return the numbers of a masked array, with forbidden pairs where it is masked."""
    data = np.asarray(value.data)
    if value.dtype.names is not None or not np.ma.getmaskarray(value).any():
        return data
    if name not in FORBIDDEN:
        refuse_mask(name, value)
    mask = np.ma.getmaskarray(value)
    if data.dtype == object:
        data = exact_numbers(name, np.where(mask, 0, data))
    if data.dtype.kind in "iub":
        large = ~mask & ((data > 2**53) | (data < -(2**53)))
        if large.any():
            _refuse_at(name, large, "is beyond 2**53 in a masked array", "give float64, or "
                       "differences from a common value")  # fmt: skip
        data = data.astype(np.float64)
    if data.dtype.kind != "f":
        return data
    return np.where(mask, data.dtype.type(FORBIDDEN[name]), data)


def _of_tensor(name: str, value: Any) -> npt.NDArray[Any]:
    """Return the numbers of a PyTorch tensor, detached and on the CPU."""
    if value.is_sparse or str(value.layout) != "torch.strided":
        _refuse_sparse(name, "a sparse tensor", "(...) of a SciPy matrix", ".to_dense()")
    for what, is_so, instead in (
        ("a tensor on the device meta, which has no values", value.device.type == "meta",
         "a tensor on the CPU"),
        ("a quantized tensor", value.is_quantized, "tensor.dequantize()"),
        ("a nested tensor", value.is_nested, "tensor.to_padded_tensor(...)"),
    ):  # fmt: skip
        if is_so:
            raise ProblemError(f"{name} is {what}; give {instead}")
    try:
        tensor = value.detach().cpu().resolve_conj().resolve_neg()
        # What numpy lacks, such as bfloat16, is a part of float32.
        known = str(tensor.dtype).removeprefix("torch.") in np.sctypeDict
        return np.asarray((tensor if known else tensor.float()).numpy())
    except (RuntimeError, TypeError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ProblemError(f"{name} is a tensor without numbers to read: {reason}; give an array "
                           f"of numpy") from None


def _of_pandas(name: str, value: Any) -> Any:
    """Return the numbers of a data frame, series or array of pandas."""
    if hasattr(value, "dtypes") and hasattr(value, "columns"):
        if all(isinstance(dtype, np.dtype) for dtype in value.dtypes):
            return value.to_numpy()
        return _beside([_of_pandas(f"{name} column {label!r}", value.iloc[:, j])
                        for j, label in enumerate(value.columns)])  # fmt: skip
    dtype = getattr(value, "dtype", None)
    if dtype is None or isinstance(dtype, np.dtype) or not hasattr(value, "to_numpy"):
        return value
    missing = np.asarray(value.isna())
    if missing.any():
        _refuse_at(name, missing, "is missing", "give a number, or -inf for a forbidden pair")
    as_numpy = getattr(dtype, "numpy_dtype", None)
    if as_numpy is not None and as_numpy.kind in "fiub":
        return value.to_numpy(dtype=as_numpy)
    return value.to_numpy(dtype=object)


def _of_arrow(name: str, value: Any) -> Any:
    """Return the numbers of an array, a table or a scalar of Arrow."""
    if hasattr(value, "column_names"):
        return _beside([_of_arrow(f"{name} column {label!r}", column)
                        for label, column in zip(value.column_names, value.columns, strict=True)
                        ])  # fmt: skip
    if hasattr(value, "as_py"):
        return value.as_py()
    if getattr(value, "null_count", 0):
        _refuse_at(name, np.asarray(value.is_null()), "is missing",
                   "give a number, or -inf for a forbidden pair")  # fmt: skip
    if hasattr(value, "chunks"):
        return value.to_numpy()
    return value.to_numpy(zero_copy_only=False) if hasattr(value, "to_numpy") else value


def _beside(columns: list[Any]) -> Any:
    """Return columns as a matrix; where any holds objects, all do, and stay exact."""
    arrays = [np.asarray(column) for column in columns]
    if any(array.dtype == object for array in arrays):
        arrays = [array.astype(object) for array in arrays]
    return np.column_stack(arrays) if arrays else np.empty((0, 0))


def _refuse_sparse(name: str, what: str, given: str, dense: str) -> NoReturn:
    right = f"the dense array, {name}{dense}"
    if name in FORBIDDEN:
        right = (f"al.SparseSource{given}, where pairs that are not stored are forbidden, or "
                 f"{name}{dense}, where they are 0")  # fmt: skip
    raise ProblemError(f"{name} is {what}; give {right}")


def _refuse_at(name: str, bad: npt.NDArray[Any], what: str, right: str) -> NoReturn:
    raise ProblemError(f"{_at(name, bad.shape, int(np.argmax(bad)))} {what}; {right}")


def _at(name: str, shape: tuple[int, ...], k: int) -> str:
    """Return what errors call entry k of an array."""
    index = [int(position) for position in np.unravel_index(k, shape)] if shape else ""
    return f"{name}{index}"


def _shown(item: Any) -> str:
    if isinstance(item, int) and item.bit_length() > 128:
        return f"a whole number of {item.bit_length()} bits"
    return repr(item)[:60]
