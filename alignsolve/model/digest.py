"""A digest of a problem's content: equal problems, equal digest, on any machine.

The SHA-256 is over a byte layout of its own (`LAYOUT`), not over a file, so
that a problem keeps its digest through every file format.

What counts: the sense, the fitness with its dtype, every bound, load and
resource, the groups, the pairs held, the switching costs and the ids. What does
not: whether an array was given as a scalar, a row, or in full; C or Fortran
order; the sign of a zero; in which form and order `held` came; the order in
which loads and resources are named; and the targets of loads without penalty,
which change nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from alignsolve.model.arrays import Float64Array, row_blocks
from alignsolve.model.problem import AlignmentProblem

#: First bytes of the layout. A change of layout changes them, and every digest.
LAYOUT = b"alignsolve problem digest, layout 1\n"


def problem_digest(problem: AlignmentProblem) -> str:
    """Return the digest of a problem's content.

    Parameters
    ----------
    problem : AlignmentProblem
        Read in blocks of rows; nothing large is copied.

    Returns
    -------
    digest : str
        ``"sha256:"`` and 64 hexadecimal digits.

    Notes
    -----
    O(n m) time: about 1 s for 1,024,000 x 64 in float32. Problems that differ
    in content differ in digest, but for the chance of a collision of SHA-256.
    Problems that differ in content may still have the same answers: a bound
    that cannot bind counts.

    Examples
    --------
    >>> import alignsolve as al
    >>> one = al.AlignmentProblem([[3, 1], [2, 2.5]], 1, load_max=1)
    >>> two = al.AlignmentProblem([[3, 1], [2, 2.5]], [1, 1], load_max=[1.0, 1.0])
    >>> problem_digest(one) == problem_digest(two)
    True
    """
    layout = _Layout()
    layout.text("sense", problem.sense)
    layout.matrix("fitness", problem.fitness)
    if problem.integers is not None:
        layout.texts("offset", map(str, problem.integers.offset))
    for name in ("max_experts", "min_experts", "load_min", "load_max", "load_penalty"):
        layout.compact(name, getattr(problem, name))
    layout.target("load_target", problem.load_target, problem.load_penalty)
    for name, load in sorted(problem.loads.items()):
        layout.text("load", name)
        for field in ("weight", "min", "max", "penalty"):
            layout.compact(field, np.asarray(getattr(load, field)))
        layout.target("target", np.asarray(load.target), np.asarray(load.penalty))
    for name, resource in sorted(problem.resources.items()):
        layout.text("resource", name)
        layout.compact("size", np.asarray(resource.size))
        layout.compact("budget", np.asarray(resource.budget))
    if problem.expert_group is not None:
        for name in ("expert_group", "group_min", "group_max"):
            layout.compact(name, getattr(problem, name))
    layout.compact("client_fitness_min", problem.client_fitness_min)
    if problem.held is not None and len(problem.held):
        layout.compact("held rows", problem.held.indptr)
        layout.compact("held columns", problem.held.indices)
    layout.compact("switch_cost", problem.switch_cost)
    for name, ids in (("client_ids", problem.client_ids), ("expert_ids", problem.expert_ids)):
        if ids is not None:
            layout.texts(name, ids)
    return f"sha256:{layout.hash.hexdigest()}"


class _Layout:
    """Writes fields into a hash: each with its name, type and size before its data."""

    def __init__(self) -> None:
        import hashlib  # loads OpenSSL, which importing the package needs for nothing else

        self.hash = hashlib.sha256(LAYOUT)

    def _bytes(self, data: bytes) -> None:
        self.hash.update(struct.pack("<q", len(data)) + data)

    def text(self, name: str, value: str) -> None:
        """Write a string."""
        self.texts(name, (value,))

    def texts(self, name: str, values: Iterable[str]) -> None:
        """Write strings."""
        parts = tuple(values)
        self._bytes(name.encode())
        self.hash.update(b"text" + struct.pack("<q", len(parts)))
        for part in parts:
            # Python's strings may hold lone surrogates, which UTF-8 alone refuses.
            self._bytes(part.encode("utf-8", "surrogatepass"))

    def matrix(self, name: str, array: npt.NDArray[np.generic]) -> None:
        """Write an array in full."""
        self._array(name, array, array.shape)

    def compact(self, name: str, array: npt.NDArray[np.generic]) -> None:
        """Write an array without the repetition along its axes."""
        short = array
        for axis in range(array.ndim):
            short = _collapsed(short, axis)
        self._array(name, short, array.shape)

    def _array(
        self, name: str, array: npt.NDArray[np.generic], shape: tuple[int, ...]
    ) -> None:
        """Write the entries in row order, little-endian, with -0.0 as 0.0."""
        little = array.dtype.newbyteorder("<")
        self._bytes(name.encode())
        self._bytes(little.str.encode())
        for size in (len(shape), *shape, len(array.shape), *array.shape):
            self.hash.update(struct.pack("<q", size))
        for block in _blocks(array):
            # Adding 0 turns -0.0 into 0.0 and changes nothing else.
            self.hash.update(np.ascontiguousarray(array[block] + 0, dtype=little).data)

    def target(self, name: str, target: Float64Array, penalty: Float64Array) -> None:
        """Write the targets of a load where there is a penalty on missing them."""
        self.compact(name, np.where(penalty > 0, target, 0.0))


def _collapsed(array: npt.NDArray[np.generic], axis: int) -> npt.NDArray[np.generic]:
    """Return `array` with length 1 along an axis on which it is constant, else itself."""
    if array.shape[axis] < 2:
        return array
    first = array[(slice(None),) * axis + (slice(0, 1),)]
    if array.strides[axis] == 0:
        return first
    same = ((array[block] == (first if axis == 0 else first[block])).all()
            for block in _blocks(array))
    return first if all(same) else array


def _blocks(array: npt.NDArray[np.generic]) -> Iterator[slice]:
    """Yield the rows of an array, or the entries of a vector, in blocks."""
    n = array.shape[0]
    return row_blocks(n, array.size // max(1, n))
