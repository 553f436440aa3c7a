"""Shards in Ray actors: calls by bytes, counted, and repeated where a worker died."""

from __future__ import annotations

import logging
import pickle
import time
from typing import Any

import numpy as np

from alignsolve.backends.exchange.streamed import Shards
from alignsolve.distributed.params import RayParams
from alignsolve.distributed.worker import CHANGES, Behind, Change, Worker, pack
from alignsolve.errors import BackendError
from alignsolve.model.arrays import IntArray

logger = logging.getLogger(__name__)


class RayShards(Shards):
    """Shards that together hold all clients, each in an actor of its own.

    Parameters
    ----------
    ray : module
        Ray, connected to a cluster.
    blocks : int64 array, shape (n_shards + 1,)
        First block of each shard, and the number of blocks; see `cut_blocks`.
    edges : int64 array, shape (n_blocks + 1,)
        First client of each block, and the number of clients.
    params : RayParams
        How often and how long to wait for workers.

    Attributes
    ----------
    sent, received : int
        Bytes of arguments and of results, without Ray's own envelopes.
    restarts : int
        Workers that were brought up to date after Ray had restarted them.

    Notes
    -----
    Every call that changes a shard is kept in a log until the next component is built, or to the
    end where workers keep pairs. It is small but for arrays that were sent to build the
    shard: prices, and answers of clients near a boundary. What a shard does depends on nothing
    else, so a restarted worker that repeats the log is where the dead one was.
    """

    def __init__(
        self, ray: Any, blocks: IntArray, edges: IntArray, params: RayParams
    ) -> None:
        super().__init__(edges[blocks[:-1]])
        self.ray, self.blocks = ray, blocks
        self.patience = params.patience
        options = {"num_cpus": 1, "max_restarts": params.max_restarts, "max_task_retries": 0}
        actor = ray.remote(**options)(Worker)
        self.workers = [actor.remote() for _ in self.starts]
        self.logs: list[list[Change]] = [[] for _ in self.starts]
        #: Changes that each worker made, whether they are still in the log or not.
        self.changes = [0] * len(self.workers)
        self.sent = self.received = self.restarts = self.calls = 0

    def call(self, method: str, arguments: dict[int, tuple[Any, ...]]) -> list[Any]:
        """Call a method of some shards at once, by number; return what they return."""
        packed = {shard: pack(some) for shard, some in arguments.items()}
        if method == "build":
            self._forget(list(packed))
        asked = [self._ask(shard, method, some) for shard, some in packed.items()]
        found = []
        for (shard, some), answer in zip(packed.items(), asked, strict=True):
            result = self._await(shard, method, some, [answer])
            if method in CHANGES:
                self.logs[shard].append(Change(self.changes[shard], method, some))
                self.changes[shard] += 1
            self.received += len(result)
            found.append(pickle.loads(result))
        return found

    def _forget(self, shards: list[int]) -> None:
        """Drop from the logs what a new component makes void: all but opening the source."""
        for shard in shards:
            if not any(change.method == "keep" for change in self.logs[shard]):
                del self.logs[shard][1:]

    def _ask(self, shard: int, method: str, packed: bytes) -> Any:
        self.sent += len(packed)
        self.calls += 1
        return self.workers[shard].call.remote(self.changes[shard], method, packed)

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
                if not lost or now - asked > self.patience:
                    lost = now
                if now - lost > self.patience:
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
        self.sent += sum(len(change.arguments) for change in log)
        # Calls to one actor run in order: the log first.
        repeated = self.workers[shard].repeat.remote(log, self.changes[shard])
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
