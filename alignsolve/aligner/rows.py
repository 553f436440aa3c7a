"""Tables with a row per client that grow as clients are declared."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import IntArray


class Rows:
    """Arrays with one row per client, and plain arrays beside them.

    Subclasses name both kinds. All of them are saved, and nothing else: what a
    subclass computes must follow from them and from its settings.

    Notes
    -----
    Rows are allocated in doubling steps, so that declaring n clients one by one
    costs O(n) copies of rows in total.
    """

    #: Attribute -> what a new client's row is filled with.
    ROWS: ClassVar[dict[str, float]] = {}
    #: Attributes without a row per client.
    PLAIN: ClassVar[tuple[str, ...]] = ()

    n_clients: int = 0

    def grow(self, n_clients: int) -> None:
        """Make room for `n_clients` clients."""
        for name, fill in self.ROWS.items():
            array = getattr(self, name)
            if array.shape[0] < n_clients:
                length = max(n_clients, 2 * array.shape[0])
                longer = np.full((length, *array.shape[1:]), fill, dtype=array.dtype)
                longer[: array.shape[0]] = array
                setattr(self, name, longer)
        self.n_clients = n_clients

    def keep(self, rows: IntArray) -> None:
        """Drop all clients but those of some rows, which are numbered anew in their order."""
        for name in self.ROWS:
            setattr(self, name, getattr(self, name)[rows])
        self.n_clients = rows.size

    def arrays(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        """Return copies of all arrays, cut to the clients there are, by prefix and name."""
        rows = {prefix + name: getattr(self, name)[: self.n_clients].copy() for name in self.ROWS}
        return rows | {prefix + name: np.array(getattr(self, name)) for name in self.PLAIN}

    def load_arrays(
        self, arrays: dict[str, npt.NDArray[Any]], prefix: str, n_clients: int
    ) -> None:
        """Take over arrays that `arrays` returned.

        Raises
        ------
        ProblemError
            If one is missing, or differs in type or shape.
        """
        taken = {}
        for name in (*self.ROWS, *self.PLAIN):
            mine = np.asarray(getattr(self, name))
            shape = (n_clients, *mine.shape[1:]) if name in self.ROWS else mine.shape
            found = arrays.get(prefix + name)
            if found is None:
                raise ProblemError(f"the state lacks the array {name!r}; save it again")
            if found.dtype != mine.dtype or found.shape != shape:
                raise ProblemError(
                    f"the state's array {name!r} is {found.dtype} of shape {found.shape}; "
                    f"this aligner needs {mine.dtype} of shape {shape}"
                )
            taken[name] = np.array(found)
        for name, array in taken.items():
            setattr(self, name, array)
        self.n_clients = n_clients
