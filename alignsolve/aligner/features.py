"""What clients say of themselves in a few numbers, and which clients are alike by them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from alignsolve.aligner.rows import Rows
from alignsolve.errors import ProblemError
from alignsolve.model.arrays import Float64Array, FloatArray, IntArray, numeric

#: Most numbers of a client, and how large they may be.
LONGEST, LARGEST = 1024, 1e12

#: Clients from which centre, scale and landmarks are taken, and most landmarks.
SAMPLE, LANDMARKS = 1024, 48

#: Farthest that features lie from their centre, in units of the median distance; others are
#: drawn in to it.
FARTHEST = 3.0

#: Share of a landmark's variance that the others must leave open.
NEW = 1e-4

#: What is added to the variance of each landmark, so that the kernel can be inverted.
JITTER = 1e-6

#: Distance from the centre, as a share of the centre's length, that is rounding of float32.
ROUNDING = 1e-6


def features_fault(value: object) -> str:
    """Return what is wrong with a client's features, or "" if nothing is."""
    if value is None:
        return ""
    try:
        array = numeric("features", value)
    except ProblemError as error:
        return f"{error}, or None"
    if array.ndim != 1 or not 1 <= array.size <= LONGEST:
        return f"features has shape {array.shape}; give 1 to {LONGEST} numbers, or None"
    # False for NaN.
    if not (np.abs(array.astype(np.float64)) <= LARGEST).all():
        return f"features holds a number beyond {LARGEST:g} or none at all; give finite numbers"
    return ""


class ClientFeatures(Rows):
    """The last features of every client.

    Notes
    -----
    All have one length, which most clients with features have: vectors of others are ignored,
    and those known so far are dropped once more clients have features of another length.
    """

    ROWS: ClassVar[dict[str, float]] = {"vector": 0, "known": False}

    def __init__(self) -> None:
        self.vector: npt.NDArray[np.float32] = np.zeros((0, 0), dtype=np.float32)
        self.known: npt.NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)

    def update(self, found: Mapping[int, Any]) -> tuple[int, ...]:
        """Take in features by row; return the rows of which they have another length."""
        vectors = {row: np.asarray(numeric("features", found[row]), np.float32)
                   for row in sorted(found)}
        length = self._most_common(vectors)
        if length != self.vector.shape[1]:
            self.vector = np.zeros((self.vector.shape[0], length), dtype=np.float32)
            self.known[:] = False
        for row, vector in vectors.items():
            if vector.size == length:
                self.vector[row], self.known[row] = vector, True
        return tuple(row for row, vector in vectors.items() if vector.size != length)

    def _most_common(self, vectors: Mapping[int, FloatArray]) -> int:
        """Return the length that most clients have; today's among equals, then the shortest."""
        today = self.vector.shape[1]
        lengths = Counter(vector.size for vector in vectors.values())
        lengths[today] += int(self.known.sum() - self.known[list(vectors)].sum())
        return max(lengths, key=lambda size: (lengths[size], size == today, -size))

    def load_arrays(
        self, arrays: dict[str, npt.NDArray[Any]], prefix: str, n_clients: int
    ) -> None:
        """Take over arrays that `arrays` returned; states before features have none.

        Raises
        ------
        ProblemError
            If they are none that `update` leaves behind.
        """
        if f"{prefix}vector" not in arrays:
            fresh = ClientFeatures()
            fresh.grow(n_clients)
            arrays = arrays | fresh.arrays(prefix)
        found = arrays[f"{prefix}vector"]
        # Of any length.
        self.vector = np.zeros((0, found.shape[1] if found.ndim == 2 else 0), dtype=np.float32)
        super().load_arrays(arrays, prefix, n_clients)
        known = self.vector[self.known]
        # False for NaN.
        right = len(known) <= known.size <= LONGEST * len(known)
        if not (right and (np.abs(known) <= LARGEST).all()):
            raise ProblemError(f"the state's features are not 1 to {LONGEST} numbers up to "
                               f"{LARGEST:g} of a client; take a copy, or start with a new aligner")

    def all_known(self) -> IntArray:
        """Return the rows of clients whose features are known, int64."""
        return np.flatnonzero(self.known[: self.n_clients])


@dataclass(frozen=True, eq=False)
class Kernel:
    """How alike clients are: ``k(x, z) = exp(-|x - z|**2 / (2 width**2))``, by landmarks.

    Attributes
    ----------
    centre : float32 array, shape (d,)
        Median of each feature.
    scale : float
        Median distance from the centre: the unit of `width`. Where that is 0 but for rounding, as
        half of the clients send the same vector, the median of the other distances.
    width : float
        Distance over which likeness fades.
    landmarks : float64 array, shape (r, d)
        Scaled features of some clients.
    root : float64 array, shape (r, r)
        With ``K`` the kernel of the landmarks, ``root @ root.T = (K + JITTER I)**-1``.

    Notes
    -----
    `embed` maps features to r numbers whose inner products are the Nystroem approximation of
    the kernel [1]_. Landmarks are the pivots of a partial Cholesky factorisation of the
    sample's kernel, each the client of which the others tell least [2]_. Median centre and
    scale move little where less than half of the clients lie; so does a vector that is drawn
    in to `FARTHEST`. On vectors of unit length the kernel is ``exp((cos - 1) / width**2)``.

    References
    ----------
    .. [1] C. Williams, M. Seeger, "Using the Nystroem Method to Speed Up Kernel Machines",
       NIPS 2000.
    .. [2] S. Fine, K. Scheinberg, "Efficient SVM Training Using Low-Rank Kernel
       Representations", JMLR 2 (2001).
    """

    centre: FloatArray
    scale: float
    width: float
    landmarks: Float64Array
    root: Float64Array

    @classmethod
    def of(cls, features: FloatArray, width: float) -> Kernel:
        """Return the kernel of some clients' features, float32 (n, d), n >= 1."""
        sample = features[:: -(-len(features) // SAMPLE)]
        centre = np.median(sample, axis=0)
        none = np.zeros((0, 0))
        bare = cls(centre, _typical_distance(sample, centre), width, none, none)
        scaled = bare._scaled(sample)
        landmarks = scaled[bare._pivots(scaled)]
        inner = bare._likeness(landmarks, landmarks)
        np.fill_diagonal(inner, 1.0)
        # Rounding leaves eigenvalues a little below 0 where landmarks are nearly the same.
        value, vector = np.linalg.eigh(inner)
        root = vector / np.sqrt(np.maximum(value, 0.0) + JITTER)
        return replace(bare, landmarks=landmarks, root=root)

    def embed(self, features: FloatArray) -> FloatArray:
        """Return float32 (n, r) of features (n, d); rows have at most about unit length."""
        embedded = self._likeness(self._scaled(features), self.landmarks) @ self.root
        return embedded.astype(np.float32)

    def _scaled(self, features: FloatArray) -> Float64Array:
        # In double precision nothing overflows, and small widths tell neighbours apart.
        away = (features.astype(np.float64) - self.centre) / self.scale
        length = np.linalg.norm(away, axis=1, keepdims=True)
        scaled: Float64Array = away * np.minimum(1.0, FARTHEST / np.maximum(length, 1e-30))
        return scaled

    def _likeness(self, a: Float64Array, b: Float64Array) -> Float64Array:
        """Return k of all pairs of scaled features."""
        away = 2.0 * (a @ b.T) - (a * a).sum(axis=1)[:, None] - (b * b).sum(axis=1)
        likeness: Float64Array = np.exp(np.minimum(away, 0.0) * (0.5 / self.width**2))
        return likeness

    def _pivots(self, scaled: Float64Array) -> list[int]:
        """Return the rows of landmarks."""
        most = min(LANDMARKS, len(scaled))
        open_: Float64Array = np.ones(len(scaled))
        factor = np.zeros((most, len(scaled)))
        pivots: list[int] = []
        for rank in range(most):
            pivot = int(open_.argmax())
            if open_[pivot] < NEW:
                break
            alike = self._likeness(scaled, scaled[pivot : pivot + 1])[:, 0]
            column = alike - factor[:rank, pivot] @ factor[:rank]
            factor[rank] = column / np.sqrt(open_[pivot])
            open_ -= factor[rank] ** 2
            pivots.append(pivot)
            open_[pivots] = 0.0
        return pivots


def _typical_distance(sample: FloatArray, centre: FloatArray) -> float:
    """Return the median distance of a sample from its centre; see `Kernel.scale`."""
    away = np.linalg.norm(sample.astype(np.float64) - centre, axis=1)
    least = ROUNDING * float(np.linalg.norm(centre.astype(np.float64)))
    typical = float(np.median(away))
    if typical <= least:
        # A share of the largest distance in place of `least` would be set by a single client.
        beyond = away[away > least]
        typical = float(np.median(beyond)) if beyond.size else 1.0
    return typical
