"""What runs in a worker: a shard, rebuilt from a log where an earlier worker died."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from alignsolve.distributed.proof import prove_shard
from alignsolve.model.arrays import IntArray
from alignsolve.model.whole_files import replacing

#: Methods of `Shard` that change its state: after a restart they are repeated in order.
CHANGES = ("open", "build", "keep", "respond", "refresh", "store", "hold", "fetch_within",
           "fetch_listed", "repair")  # fmt: skip


def pack(value: Any) -> bytes:
    """Return a value as bytes: what travels is counted by their number."""
    return pickle.dumps(value, protocol=5)


class Behind(Exception):  # noqa: N818  (a state, and no error of anybody)
    """The worker was restarted and has to be told what it did before."""


class Change(NamedTuple):
    """A call that changed a worker's state: how many came before, its method and arguments."""

    number: int
    method: str
    arguments: bytes


class Worker:
    """A shard behind a door through which only bytes go; `open` and `build` come first.

    Of each component a shard is built, in place of the one before.
    """

    def __init__(self) -> None:
        self.source: Any = None
        self.start = 0
        self.shard: Any = None
        self.experts = np.empty(0, np.int64)
        #: Pairs of clients and experts of components that are done.
        self.kept: list[tuple[IntArray, IntArray]] = []
        self.changes = 0

    def call(self, changes: int, method: str, arguments: bytes) -> bytes:
        """Call a method of the shard, or `open`, `build`, `keep`, `prove` or `write`.

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

    def repeat(self, log: list[Change], changes: int) -> None:
        """Bring a worker to the state that it, or one before, had after so many changes.

        One that made a change of which nobody heard begins anew.
        """
        if self.changes > changes:
            self.__init__()  # type: ignore[misc]
        for change in log:
            if change.number >= self.changes:
                self._do(change.method, pickle.loads(change.arguments))
                self.changes = change.number + 1
        self.changes = changes

    def process(self) -> int:
        """Return the number of the worker's process."""
        return os.getpid()

    def _do(self, method: str, arguments: tuple[Any, ...]) -> Any:
        found: Any = None
        if method == "open":
            self.source, self.start = arguments
        elif method == "build":
            self._build(*arguments)
        elif method == "keep":
            rows, cols = self.shard.pairs()
            self.kept.append((rows, self.experts[cols]))
        elif method == "prove":
            found = prove_shard(self.shard, self.experts, *arguments)
        elif method == "write":
            found = write_pairs(self.kept, *arguments)
        else:
            found = getattr(self.shard, method)(*arguments)
        self.changes += method in CHANGES
        return found

    def _build(
        self, experts: IntArray, stride: int, slots: tuple[Any, Any], switch: Any, groups: Any
    ) -> None:
        """Make a `Shard` that works on one core; slots of equal entries come as one number."""
        from alignsolve.backends.exchange.inputs import slots_of
        from alignsolve.backends.exchange.shard import Shard
        from alignsolve.backends.exchange.task import Blocks

        source, self.experts = self.source, experts
        if not np.array_equal(experts, np.arange(source.shape[1])):
            source = source.of_experts(experts)
        n, m = source.shape
        self.shard = Shard(source, self.start, stride, slots_of(n, m, *slots), switch, Blocks(),
                           groups)  # fmt: skip


def write_pairs(kept: list[tuple[IntArray, IntArray]], path: str) -> str:
    """Write pairs of components as a Parquet file of clients and experts; return its SHA-256.

    They are sorted by client, then expert.
    The file appears under its name only when it is complete.
    """
    import pyarrow
    import pyarrow.parquet

    rows, cols = (np.concatenate(some) for some in zip(*kept, strict=True))
    if len(kept) > 1:
        order = np.lexsort((cols, rows))
        rows, cols = rows[order], cols[order]
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table({"client": rows, "expert": cols.astype(np.int32)})
    with replacing(target) as stream:
        pyarrow.parquet.write_table(table, stream)
    with target.open("rb") as written:
        return hashlib.file_digest(written, "sha256").hexdigest()
