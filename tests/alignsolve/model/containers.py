"""Matrices of small numbers in everything that they may come in."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st


def _found(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError:
        return None


torch, pd, pa = _found("torch"), _found("pandas"), _found("pyarrow")


def matrices() -> st.SearchStrategy[np.ndarray]:
    """Return whole numbers that even bfloat16 holds, as float64, up to 3 x 3."""
    sizes = st.tuples(st.integers(1, 3), st.integers(1, 3))
    numbers = st.integers(-128, 127)
    return sizes.flatmap(lambda size: st.lists(
        numbers, min_size=size[0] * size[1], max_size=size[0] * size[1],
    ).map(lambda flat: np.reshape(flat, size).astype(np.float64)))  # fmt: skip


def _objects(kind: Callable[[float], Any]) -> Callable[[np.ndarray], Any]:
    return lambda a: [[kind(v) for v in row] for row in a.tolist()]


def _tensor(dtype: str, **more: Any) -> Callable[[np.ndarray], Any]:
    return lambda a: torch.tensor(a, dtype=getattr(torch, dtype), **more)


def _frame(dtype: Any) -> Callable[[np.ndarray], Any]:
    return lambda a: pd.DataFrame(a).astype(dtype)


def _table(type_: str) -> Callable[[np.ndarray], Any]:
    return lambda a: pa.table({str(j): pa.array(a[:, j].tolist()).cast(getattr(pa, type_)())
                               for j in range(a.shape[1])})  # fmt: skip


CONTAINERS: dict[str, Callable[[np.ndarray], Any]] = {
    "lists": np.ndarray.tolist,
    "decimals": _objects(Decimal),
    "fractions": _objects(Fraction),
    "whole objects": lambda a: np.array(_objects(int)(a), dtype=object),
    "mixed objects": lambda a: np.array([[v if v > 0 else int(v) for v in r] for r in a.tolist()],
                                        dtype=object),
    "rows": list,
    **{dtype: (lambda a, dtype=dtype: a.astype(dtype))
       for dtype in ("i2", "f2", ">f4", ">f8", ">i4", "g")},
    "Fortran": np.asfortranarray,
}
if torch is not None:
    CONTAINERS |= {f"torch {dtype}": _tensor(dtype)
                   for dtype in ("bfloat16", "float16", "float32", "float64", "int16", "int64")}
    CONTAINERS |= {
        "torch grad": _tensor("float32", requires_grad=True),
        "torch rows": lambda a: [_tensor("bfloat16")(row) for row in a],
        "torch numbers": _objects(lambda v: torch.tensor(v, requires_grad=True)),
        "torch view": lambda a: _tensor("float64")(a.T).t(),
    }
if pd is not None:
    CONTAINERS |= {f"pandas {dtype}": _frame(dtype)
                   for dtype in ("float64", "Float64", "Float32", "Int64", "Int16", "object")}
    CONTAINERS["pandas mixed"] = lambda a: pd.DataFrame(a).astype({0: "Int64"})
if pd is not None and pa is not None:
    CONTAINERS |= {f"pandas {dtype}": _frame(dtype)
                   for dtype in ("float64[pyarrow]", "int64[pyarrow]")}
if pa is not None:
    CONTAINERS |= {f"arrow {type_}": _table(type_) for type_ in ("float32", "float64", "int64")}
