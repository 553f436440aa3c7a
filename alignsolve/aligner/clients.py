"""The clients that an aligner knows, and the row of each in its tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from alignsolve.aligner.reports import ClientId, client_id
from alignsolve.aligner.rows import Rows
from alignsolve.errors import ProblemError
from alignsolve.model.arrays import IntArray
from alignsolve.model.ids import id_fault, look


class Clients:
    """Ids of clients in the order in which they appeared."""

    def __init__(self, ids: Iterable[ClientId] = ()) -> None:
        self.ids: list[ClientId] = []
        self.row: dict[ClientId, int] = {}
        #: The text of every id by what it looks like.
        self._looks: dict[str, str] = {}
        for client in ids:
            self.add(client)

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, value: object) -> int:
        """Return the row of a client, a new one where it is not known.

        Raises
        ------
        ProblemError
            If it is no id, or looks like another client's.
        """
        client = value if type(value) is str else client_id(value)
        row = self.row.get(client)
        if row is None:
            # Problems, files and logs call clients by their text.
            text = str(client)
            shape = look(text)
            other = self._looks.get(shape)
            if other == text:
                raise ProblemError(
                    f"client {client!r} reads like another's id; give ids that differ as text"
                )
            if fault := id_fault(text, other):
                raise ProblemError(f"client {fault}")
            row = self.row[client] = len(self.ids)
            self.ids.append(client)
            self._looks[shape] = text
        return row

    def keep(self, number: int) -> None:
        """Forget all but the first clients, also where adding one was cut off."""
        first = self.ids[:number]
        self.row = {client: at for at, client in enumerate(first)}
        self.ids, self._looks = first, {look(str(client)): str(client) for client in first}

    def named(self, rows: IntArray) -> tuple[ClientId, ...]:
        """Return the ids of some rows."""
        return tuple(map(self.ids.__getitem__, rows.tolist()))

    def rows(self, values: Iterable[object]) -> IntArray:
        """Return the rows of distinct clients, int64, adding the unknown ones.

        Raises
        ------
        ProblemError
            If a client is given twice, or is no id.
        """
        wanted = list(values)
        rows = np.array([self.add(value) for value in wanted], dtype=np.int64)
        first, count = np.unique(rows, return_counts=True)
        if (count > 1).any():
            twice = self.ids[int(first[np.argmax(count > 1)])]
            raise ProblemError(f"client {twice!r} is given twice; give every participant once")
        return rows

    def known(self, values: Iterable[object]) -> IntArray:
        """Return the rows of those clients that are known, int64.

        Raises
        ------
        ProblemError
            If one is no id.
        """
        found = (self.row.get(client_id(value)) for value in values)
        return np.array([row for row in found if row is not None], dtype=np.int64)


class LastSeen(Rows):
    """The round in which each client was last asked, or the last before it declared anything."""

    ROWS: ClassVar[dict[str, float]] = {"round": 0}

    def __init__(self) -> None:
        self.round: IntArray = np.zeros(0, dtype=np.int64)

    def before(self, round_: int) -> IntArray:
        """Return the rows of clients last seen in a round or before, int64."""
        return np.flatnonzero(self.round[: self.n_clients] <= round_)
