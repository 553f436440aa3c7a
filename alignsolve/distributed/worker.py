"""What runs in a worker: a shard, rebuilt from a log where an earlier worker died."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from alignsolve.distributed.proof import prove_shard
from alignsolve.model.arrays import IntArray
from alignsolve.model.sources import FitnessSource
from alignsolve.model.whole_files import replacing

#: Methods of `Shard` that change its state: after a restart they are repeated in order.
CHANGES = ("build", "respond", "refresh", "store", "hold", "fetch_within", "fetch_listed", "repair")


def pack(value: Any) -> bytes:
    """Return a value as bytes: what travels is counted by their number."""
    return pickle.dumps(value, protocol=5)


class Behind(Exception):  # noqa: N818  (a state, and no error of anybody)
    """The worker was restarted and has to be told what it did before."""


class Worker:
    """Shards behind a door through which only bytes go: calls go to the one built last.

    Of each component there is a shard; those of earlier ones keep their answers.
    """

    def __init__(self) -> None:
        self.shards: list[Any] = []
        self.experts: list[IntArray] = []
        self.changes = 0

    def call(self, changes: int, method: str, arguments: bytes) -> bytes:
        """Call a method of the shard, or `build`, `prove` or `write`.

        Parameters
        ----------
        changes : int
            Changes of its state that the caller knows of.
        method : str
            Name of the method.
        arguments : bytes
            Its packed arguments.

        Raises
        ------
        Behind
            If the state is not the one that the caller knows.
        """
        if changes != self.changes:
            raise Behind
        return pack(self._do(method, pickle.loads(arguments)))

    def repeat(self, log: list[tuple[str, bytes]]) -> None:
        """Bring a new shard to the state that an earlier worker's had."""
        for method, arguments in log[self.changes :]:
            self._do(method, pickle.loads(arguments))

    def process(self) -> int:
        """Return the number of the worker's process."""
        return os.getpid()

    def _do(self, method: str, arguments: tuple[Any, ...]) -> Any:
        if method == "prove":
            return prove_shard(self.shards[-1], self.experts[-1], *arguments)
        if method == "write":
            return write_pairs(*self._pairs(), *arguments)
        found = None
        if method == "build":
            *built, experts = arguments
            self.shards.append(build_shard(*built))
            self.experts.append(experts)
        else:
            found = getattr(self.shards[-1], method)(*arguments)
        self.changes += method in CHANGES
        return found

    def _pairs(self) -> tuple[IntArray, IntArray]:
        """Return the pairs of all components, sorted by client, then expert."""
        found = [shard.pairs() for shard in self.shards]
        rows = np.concatenate([rows for rows, _ in found])
        cols = np.concatenate([experts[cols] for experts, (_, cols)
                               in zip(self.experts, found, strict=True)])  # fmt: skip
        order = np.lexsort((cols, rows)) if len(found) > 1 else slice(None)
        return rows[order], cols[order]


def build_shard(
    source: FitnessSource, start: int, stride: int, slots: tuple[Any, Any], switch: Any, groups: Any
) -> Any:
    """Return a `Shard` that works on one core; slots of equal entries come as one number."""
    from alignsolve.backends.exchange.inputs import slots_of
    from alignsolve.backends.exchange.shard import Shard
    from alignsolve.backends.exchange.task import Blocks

    return Shard(source, start, stride, slots_of(*source.shape, *slots), switch, Blocks(), groups)


def write_pairs(row_ind: Any, col_ind: Any, path: str) -> str:
    """Write pairs as a Parquet file of clients and experts; return its SHA-256.

    The file appears under its name only when it is complete.
    """
    import pyarrow
    import pyarrow.parquet

    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table({"client": row_ind, "expert": col_ind.astype(np.int32)})
    with replacing(target) as stream:
        pyarrow.parquet.write_table(table, stream)
    with target.open("rb") as written:
        return hashlib.file_digest(written, "sha256").hexdigest()
