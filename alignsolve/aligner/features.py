"""What clients say of themselves in a few numbers, and which clients are alike by them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
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
    All have one length, which most clients of the first round with features have; of
    others they are ignored.
    """

    ROWS: ClassVar[dict[str, float]] = {"vector": 0, "known": False}

    def __init__(self) -> None:
        self.vector: npt.NDArray[np.float32] = np.zeros((0, 0), dtype=np.float32)
        self.known: npt.NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)

    def update(self, found: Mapping[int, Any]) -> tuple[int, ...]:
        """Take in features by row; return the rows of which they have another length."""
        vectors = {row: np.asarray(numeric("features", found[row]), np.float32)
                   for row in sorted(found)}
        if vectors and not self.vector.shape[1]:
            lengths = Counter(vector.size for vector in vectors.values())
            most = max(lengths, key=lambda size: (lengths[size], -size))
            self.vector = np.zeros((self.vector.shape[0], most), dtype=np.float32)
        length = self.vector.shape[1]
        for row, vector in vectors.items():
            if vector.size == length:
                self.vector[row], self.known[row] = vector, True
        return tuple(row for row, vector in vectors.items() if vector.size != length)

    def load_arrays(
        self, arrays: dict[str, npt.NDArray[Any]], prefix: str, n_clients: int
    ) -> None:
        """Take over arrays that `arrays` returned; states before features have none."""
        if f"{prefix}vector" not in arrays:
            fresh = ClientFeatures()
            fresh.grow(n_clients)
            arrays = arrays | fresh.arrays(prefix)
        found = arrays[f"{prefix}vector"]
        # Of any length.
        self.vector = np.zeros((0, found.shape[1] if found.ndim == 2 else 0), dtype=np.float32)
        super().load_arrays(arrays, prefix, n_clients)

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
        Median distance from the centre: the unit of `width`.
    width : float
        Distance over which likeness fades.
    landmarks : float32 array, shape (r, d)
        Scaled features of some clients.
    root : float32 array, shape (r, r)
        With ``K`` the kernel of the landmarks, ``root @ root.T = K**-1``.

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
    landmarks: FloatArray
    root: FloatArray

    @classmethod
    def of(cls, features: FloatArray, width: float) -> Kernel:
        """Return the kernel of some clients' features, float32 (n, d), n >= 1."""
        sample = features[:: -(-len(features) // SAMPLE)]
        centre = np.median(sample, axis=0)
        scale = float(np.median(np.linalg.norm(sample - centre, axis=1))) or 1.0
        none = np.zeros((0, 0), dtype=np.float32)
        bare = cls(centre, scale, width, none, none)
        scaled = bare._scaled(sample)
        pivots = bare._pivots(scaled)
        landmarks = scaled[pivots]
        inner = bare._likeness(landmarks, landmarks).astype(np.float64)
        lower = np.linalg.cholesky(inner + 1e-6 * np.eye(len(pivots)))
        root = np.linalg.inv(lower).T.astype(np.float32)
        return cls(centre, scale, width, landmarks, root)

    def embed(self, features: FloatArray) -> FloatArray:
        """Return float32 (n, r) of features (n, d); rows have at most about unit length."""
        return self._likeness(self._scaled(features), self.landmarks) @ self.root

    def _scaled(self, features: FloatArray) -> FloatArray:
        # In double precision nothing overflows.
        away = (features.astype(np.float64) - self.centre) / self.scale
        length = np.linalg.norm(away, axis=1, keepdims=True)
        scaled: FloatArray = away * np.minimum(1.0, FARTHEST / np.maximum(length, 1e-30))
        return scaled.astype(np.float32)

    def _likeness(self, a: FloatArray, b: FloatArray) -> FloatArray:
        """Return k of all pairs of scaled features, float32."""
        away = 2.0 * (a @ b.T) - (a * a).sum(axis=1)[:, None] - (b * b).sum(axis=1)
        likeness: FloatArray = np.exp(np.minimum(away, 0.0) * np.float32(0.5 / self.width**2))
        return likeness

    def _pivots(self, scaled: FloatArray) -> list[int]:
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
