"""Shards in Ray actors: calls by bytes, counted, and repeated where a worker died."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from alignsolve.distributed.worker import CHANGES, Behind, Worker, pack
from alignsolve.errors import BackendError
from alignsolve.model.arrays import IntArray

logger = logging.getLogger("alignsolve")

#: Times that Ray starts a worker anew, and seconds to wait for one that died.
MAX_RESTARTS = 8
PATIENCE = 300.0


class RayShards:
    """Shards that together hold all clients, each in an actor of its own.

    Parameters
    ----------
    ray : module
        Ray, connected to a cluster.
    parts : sequence of tuple
        What each worker builds its shard from; see `build_shard`.
    starts : int64 array, shape (n_shards,)
        First client of each shard.

    Attributes
    ----------
    sent, received : int
        Bytes of arguments and of results, without Ray's own envelopes.
    restarts : int
        Workers that were brought up to date after Ray had restarted them.

    Notes
    -----
    Every call that changes a shard is kept in a log, which is small but for arrays
    that were sent to build it: prices, and answers of clients near a boundary.
    What a shard does depends on nothing else, so a restarted worker that repeats
    the log is where the dead one was.
    """

    def __init__(self, ray: Any, parts: Sequence[tuple[Any, ...]], starts: IntArray) -> None:
        self.ray = ray
        self.starts = starts
        actor = ray.remote(num_cpus=1, max_restarts=MAX_RESTARTS, max_task_retries=0)(Worker)
        self.workers = [actor.remote() for _ in parts]
        self.logs: list[list[tuple[str, bytes]]] = [[] for _ in parts]
        self.sent = self.received = self.restarts = self.calls = 0
        self.each("build", parts)

    def all(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of all shards at once; return what they return."""
        return self._call(method, [pack(arguments)] * len(self.workers), range(len(self.workers)))

    def each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Do the same with arguments of its own for each shard."""
        return self._call(method, [pack(some) for some in arguments], range(len(self.workers)))

    def one(self, shard: int, method: str, *arguments: Any) -> Any:
        """Call a method of one shard."""
        return self._call(method, [pack(arguments)], [shard])[0]

    def _call(self, method: str, packed: list[bytes], shards: Sequence[int]) -> list[Any]:
        asked = [self._ask(shard, method, some) for shard, some in zip(shards, packed, strict=True)]
        found = []
        for shard, some, answer in zip(shards, packed, asked, strict=True):
            result = self._await(shard, method, some, [answer])
            if method in CHANGES:
                self.logs[shard].append((method, some))
            self.received += len(result)
            found.append(pickle.loads(result))
        return found

    def _ask(self, shard: int, method: str, packed: bytes) -> Any:
        self.sent += len(packed)
        self.calls += 1
        return self.workers[shard].call.remote(len(self.logs[shard]), method, packed)

    def _await(self, shard: int, method: str, packed: bytes, answers: list[Any]) -> bytes:
        """Wait for the last of some answers; where the worker died, for the next one's."""
        lost = 0.0
        while True:
            asked = time.perf_counter()
            try:
                return bytes(self.ray.get(answers)[-1])
            except self.ray.exceptions.RayTaskError as error:
                if not isinstance(error.cause, Behind):
                    raise BackendError(f"a worker failed: {error.cause}") from error
            except self.ray.exceptions.RayActorError as error:
                now = time.perf_counter()
                # A call may take longer than that: patience begins where it fails.
                if not lost or now - asked > PATIENCE:
                    lost = now
                if now - lost > PATIENCE:
                    raise BackendError(f"a worker died and did not come back: {error}") from error
                time.sleep(0.1)
            answers = self._again(shard, method, packed)

    def _again(self, shard: int, method: str, packed: bytes) -> list[Any]:
        """Let a restarted worker repeat what the dead one did, then ask it once more.

        Both answers are waited for, so that a worker that cannot repeat it says why.
        """
        logger.info("worker %d was restarted; repeating %d calls", shard, len(self.logs[shard]))
        self.restarts += 1
        log = self.logs[shard]
        self.sent += sum(len(arguments) for _, arguments in log)
        # Calls to one actor run in order: the log first.
        repeated = self.workers[shard].repeat.remote(log)
        return [repeated, self._ask(shard, method, packed)]

    def close(self) -> None:
        """End the workers."""
        for worker in self.workers:
            self.ray.kill(worker)


def cut_blocks(edges: IntArray, shards: int) -> IntArray:
    """Return the first block of each shard, and the number of blocks: shards of similar size.

    Parameters
    ----------
    edges : int64 array, shape (n_blocks + 1,)
        First row of each block, and the number of rows.
    shards : int
        Wanted shards; there are fewer where there are fewer blocks.
    """
    wanted = np.linspace(0, edges[-1], min(shards, edges.size - 1) + 1)
    return np.unique(np.searchsorted(edges, wanted, side="left"))
