"""Solve on Ray: where the cluster is, what each worker gets, what comes back."""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alignsolve.errors import BackendNotFoundError, ProblemError
from alignsolve.model.arrays import IntArray
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.sources import ArraySource, FitnessSource

if TYPE_CHECKING:
    from alignsolve.certificate.certificate import Certificate
    from alignsolve.status import Limits, Outcome

#: Bytes of shared memory of a cluster that is started here.
OBJECT_STORE = 2**29

#: Seconds within which a cluster's address has to answer; Ray itself would try for minutes.
REACHED_WITHIN = 5.0


@dataclass(frozen=True)
class RayEngine:
    """Where and how to solve on Ray.

    Parameters
    ----------
    address : str, optional
        An existing cluster, such as ``ray://head:10001`` or ``auto``. None for
        the one this process is connected to, else one started here for the solve.
    workers : int, optional
        Workers, one core and one shard each; default one per core of the cluster.
    output : path, optional
        A folder to which each worker writes its pairs as a Parquet file of the
        columns ``client`` and ``expert``. The result then holds no pairs. It
        must not hold such files already.

    Notes
    -----
    Workers read a source over files under the same paths as this process; arrays
    in memory are sent, each worker its own rows.
    """

    address: str | None = None
    workers: int | None = None
    output: str | Path | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and not (isinstance(self.workers, int) and self.workers > 0):
            raise ProblemError(f"workers is {self.workers!r}; give a whole number >= 1, or None")


@dataclass(frozen=True, eq=False)
class RayAnswer:
    """What the workers found and proved.

    Attributes
    ----------
    answer : Outcome
        Without pairs where the workers wrote them.
    certificate : Certificate or None
        Added up from the workers' parts; None without an answer.
    load : int64 array, shape (n_experts,)
        Holders of each expert.
    """

    answer: Outcome
    certificate: Certificate | None
    load: IntArray


def solve_on_ray(problem: AlignmentProblem, limits: Limits, engine: RayEngine) -> RayAnswer:
    """Solve a problem of the flow class without groups on Ray, and prove the answer there.

    Parameters
    ----------
    problem : AlignmentProblem
        A problem that the backend ``exchange`` takes.
    limits : Limits
        Limits and hints; a worker uses one thread.
    engine : RayEngine
        Where and how.

    Raises
    ------
    BackendNotFoundError
        If Ray is missing, or no cluster is at the address.
    BackendError
        If a worker died and did not come back, or an answer breaks a bound.
    """
    from alignsolve.backends.exchange import inputs, streaming
    from alignsolve.backends.exchange.backend import answer_of, penalty_of, switch_of
    from alignsolve.backends.exchange.subproblem import Blocks
    from alignsolve.distributed.proof import add_proofs
    from alignsolve.distributed.shards import RayShards

    source = source_of(problem)
    n, m = source.shape
    slots = inputs.slots_of(n, m, *problem.slot_bounds())
    switch = inputs.switch_of(switch_of(problem))
    _check_output(engine)
    rows, cols = limits.warm_start or (None, None)
    with connected(engine) as ray:
        wanted = engine.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        starts, parts = _parts(source, slots, switch, wanted)
        shards = RayShards(ray, parts, starts)
        try:
            setup = shards.sent
            found = streaming.solve_shards(
                shards, m, source.dtype, slots, *problem.holder_bounds(),
                largest=problem.largest, dearest=float(switch[0].max(initial=0.0)),
                blocks=Blocks(None), penalty=penalty_of(problem),
                warm_prices=limits.warm_prices, warm_rows=rows, warm_cols=cols,
                seed=limits.seed, deadline=limits.deadline, collect=engine.output is None,
            )  # fmt: skip
            certificate, load = None, np.zeros(m, np.int64)
            if found.feasible and found.prices is not None:
                before = sum(shards.all("read_so_far"))
                proofs = shards.all("prove", found.prices)
                found.stats["proof_passes"] = (sum(shards.all("read_so_far")) - before) / n
                certificate, load = add_proofs(problem, found.prices, proofs)
                if engine.output is not None:
                    _write(shards, Path(engine.output))
            found.stats.update(
                workers=len(parts), bytes_setup=setup, bytes_sent=shards.sent - setup,
                bytes_received=shards.received, calls=shards.calls, restarts=shards.restarts,
            )  # fmt: skip
        finally:
            shards.close()
    return RayAnswer(answer_of(found, limits), certificate, load)


def source_of(problem: AlignmentProblem) -> FitnessSource:
    """Return a problem's fitness as a source, in max sense."""
    if isinstance(problem.fitness, FitnessSource):
        return problem.fitness
    if problem.source is not None and problem.sense == "max":
        return problem.source
    return ArraySource(problem.fitness)


def _parts(
    source: FitnessSource, slots: tuple[IntArray, IntArray], switch: tuple[Any, ...], wanted: int
) -> tuple[IntArray, list[tuple[Any, ...]]]:
    """Return the first client of each shard, and what its worker builds it from."""
    from alignsolve.backends.exchange.streaming import stride_of
    from alignsolve.distributed.shards import cut_blocks

    blocks = cut_blocks(source.edges, wanted)
    edges = source.edges[blocks]
    cost, cost_row, cost_col, held_ptr, held_ind = switch
    parts = []
    for first, last, a, b in zip(blocks, blocks[1:], edges, edges[1:], strict=False):
        mine = switch
        if cost.size:
            ends = held_ptr[a : b + 1]
            own = cost[a * cost_row : b * cost_row] if cost_row else cost
            mine = own, cost_row, cost_col, ends - ends[0], held_ind[ends[0] : ends[-1]]
        part = source.part(int(first), int(last))
        bounds = tuple(_short(slot[a:b]) for slot in slots)
        parts.append((part, int(a), stride_of(source.shape[0]), bounds, mine))
    return edges[:-1], parts


def _short(array: IntArray) -> IntArray | int:
    """Return an array, or its one value."""
    return int(array[0]) if array.size and (array == array[0]).all() else array


def _check_output(engine: RayEngine) -> None:
    """Refuse a folder in which an earlier answer would be mixed with this one."""
    old = sorted(Path(engine.output).glob("part-*.parquet")) if engine.output is not None else []
    if old:
        raise ProblemError(f"{engine.output}: holds {old[0].name} of an earlier answer; give "
                           f"another folder, or remove its part files")


def _write(shards: Any, folder: Path) -> None:
    """Let every worker write its pairs."""
    folder = folder.absolute()
    shards.each("write", [(str(folder / f"part-{k:05d}.parquet"),)
                          for k in range(shards.starts.size)])  # fmt: skip


@contextmanager
def connected(engine: RayEngine) -> Iterator[Any]:
    """Connect to a cluster, or start one for as long as it is needed; give Ray."""
    if importlib.util.find_spec("ray") is None:
        raise BackendNotFoundError("engine 'ray' needs Ray: pip install 'alignsolve[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What Ray warns of otherwise: it leaves variables of accelerators alone.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():
        yield ray
        return
    try:
        if engine.address is not None:
            _reach(engine.address)
            ray.init(address=engine.address, log_to_driver=False, logging_level="error")
        else:
            ray.init(num_cpus=engine.workers, include_dashboard=False, log_to_driver=False,
                     logging_level="error", object_store_memory=OBJECT_STORE)  # fmt: skip
    except (OSError, ValueError, RuntimeError) as error:
        raise BackendNotFoundError(f"no Ray cluster at {engine.address!r}: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Raise `OSError` where nobody listens at ``host:port`` or ``ray://host:port``."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), REACHED_WITHIN).close()
