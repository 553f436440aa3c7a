"""Solve the components of a problem on the workers, one after the other."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from alignsolve.backends.exchange import streaming
from alignsolve.backends.exchange.inputs import Groups, Switch, part_of, slots_of
from alignsolve.backends.exchange.outcome import ExchangeAnswer
from alignsolve.backends.exchange.task import Task
from alignsolve.distributed.proof import PartialProof
from alignsolve.distributed.shards import RayShards
from alignsolve.model.arrays import IntArray
from alignsolve.model.sources import FitnessSource


class OnRay:
    """Solves components on workers, and has them prove what they found.

    Parameters
    ----------
    shards : RayShards
        The workers; each is sent the rows of its clients, once.
    source : FitnessSource
        All rows.
    spread : float
        By how much two values may differ at most.
    collect : bool
        Whether to return the pairs; else they stay in the workers.

    Attributes
    ----------
    experts : list of int64 array
        Experts of each component, in the order in which they are solved.
    proofs : list of PartialProof
        What the workers proved of the components that have an answer.

    Notes
    -----
    A component is proved, by a pass over its columns, before the next one begins: a worker then
    has the clients of one component at a time.
    """

    def __init__(
        self, shards: RayShards, source: FitnessSource, spread: float, collect: bool
    ) -> None:
        self.shards, self.spread, self.collect = shards, spread, collect
        self.experts = [np.arange(source.shape[1])]
        self.proofs: list[PartialProof] = []
        self.solved = 0
        self.proof_passes = 0.0
        shards.each("open", [(source.part(*some), int(start)) for some, start in zip(
            pairwise(shards.blocks.tolist()), shards.starts, strict=True)])  # fmt: skip
        self.setup = shards.sent

    def solve(
        self, source: FitnessSource, slot_min: Any, slot_max: Any, load_min: Any, load_max: Any, *,
        switch: tuple[Any, IntArray, IntArray] | None, groups: Groups | None = None,
        threads: int | None = None, **options: Any,
    ) -> ExchangeAnswer:  # fmt: skip
        """Do as `streaming.solve_source` on the workers, which use a thread each."""
        n, m = source.shape
        slots, costs = slots_of(n, m, slot_min, slot_max), Switch.of(switch)
        task = Task.of(n, m, load_min, load_max, **options)
        stride, before = streaming.stride_of(n, task.params), self.shards.sent
        self.shards.each("build", [
            (self.experts[self.solved], stride, tuple(_short(slot[a:b]) for slot in slots),
             costs.part(a, b), part_of(groups, slice(a, b)))
            for a, b in pairwise([*self.shards.starts.tolist(), n])
        ])  # fmt: skip
        self.setup += self.shards.sent - before
        self.solved += 1
        spread = self.spread + costs.dearest
        found = streaming.solve_shards(self.shards, slots, task, spread, self.collect)
        if found.feasible and found.prices is not None:
            before = sum(self.shards.all("read_so_far"))
            self.proofs += self.shards.all("prove", found.prices)
            self.proof_passes += (sum(self.shards.all("read_so_far")) - before) / max(n, 1)
            if not self.collect:
                self.shards.all("keep")
        return found

    def stats(self) -> dict[str, Any]:
        """Return what was sent, received and read for the proofs."""
        shards = self.shards
        return {
            "workers": shards.starts.size, "bytes_setup": self.setup,
            "bytes_sent": shards.sent - self.setup, "bytes_received": shards.received,
            "calls": shards.calls, "restarts": shards.restarts,
            # A pass over the columns of a component is a part of one over the matrix.
            "proof_passes": self.proof_passes / max(self.solved, 1),
        }  # fmt: skip


def _short(array: IntArray) -> IntArray | int:
    """Return an array, or its one value."""
    return int(array[0]) if array.size and (array == array[0]).all() else array
