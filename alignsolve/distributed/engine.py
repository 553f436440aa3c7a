"""Solve on Ray: where the cluster is, what each worker gets, what comes back."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from alignsolve.distributed.params import RayParams
from alignsolve.errors import BackendNotFoundError, ProblemError
from alignsolve.model.arrays import IntArray
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.sources import ArraySource, FitnessSource
from alignsolve.model.whole_files import replacing

if TYPE_CHECKING:
    from alignsolve.backends.exchange.outcome import ExchangeAnswer
    from alignsolve.certificate.certificate import Certificate
    from alignsolve.status import Limits, Outcome

#: The list of the files that the workers wrote; readers of folders of Parquet pass over it.
PARTS = "_parts.sha256"

#: Where `solve` may work.
EngineName = Literal["local", "ray"]


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
        must not hold such files already. ``_parts.sha256`` is written last, and lists
        them with their digests: without it, some are missing.
    params : RayParams
        Sizes and times that seldom matter.

    Notes
    -----
    Workers read a source over files under the same paths as this process; arrays
    in memory are sent, each worker its own rows.

    Examples
    --------
    For ``al.solve(problem, engine=engine)``, which then starts two workers on this machine and
    needs the extra ``ray``:

    >>> import alignsolve as al
    >>> engine = al.RayEngine(workers=2)
    >>> engine.workers
    2
    """

    address: str | None = None
    workers: int | None = None
    output: str | Path | None = None
    params: RayParams = field(default=RayParams(), repr=False)

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
    """Solve a problem of the flow class on Ray, and prove the answer there.

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

    Notes
    -----
    Components of layer groups are solved one after the other, by the same workers.
    """
    from alignsolve.backends.exchange.backend import (
        answer_of,
        components_of,
        solve_in_groups,
        switch_of,
        task_of,
    )
    from alignsolve.distributed.components import OnRay
    from alignsolve.distributed.proof import add_proofs
    from alignsolve.distributed.shards import RayShards, cut_blocks

    source = source_of(problem)
    _check_output(engine)
    with connected(engine) as ray:
        wanted = engine.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        shards = RayShards(ray, cut_blocks(source.edges, wanted), source.edges, engine.params)
        try:
            on_ray = OnRay(shards, source, 2.0 * problem.largest, engine.output is None)
            solve: Callable[..., ExchangeAnswer] = on_ray.solve
            if problem.expert_group is not None:
                components = components_of(problem)
                on_ray.experts = list(map(components.experts, range(len(components.members))))
                solve = partial(solve_in_groups, components, solve, ready=False)
            found = solve(source, *problem.slot_bounds(), switch=switch_of(problem), threads=1,
                          should_stop=None, params=engine.params.exchange,
                          **task_of(problem, limits))  # fmt: skip
            certificate, load = None, np.zeros(problem.n_experts, np.int64)
            if found.feasible and found.prices is not None:
                certificate, load = add_proofs(problem, found.prices, on_ray.proofs)
                if engine.output is not None:
                    _write(shards, Path(engine.output))
            found.stats.update(on_ray.stats())
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


def _check_output(engine: RayEngine) -> None:
    """Refuse a folder in which an earlier answer would be mixed with this one."""
    if engine.output is None:
        return
    folder = Path(engine.output)
    old = [*sorted(folder.glob("part-*.parquet")), *folder.glob(PARTS)]
    if old:
        raise ProblemError(f"{folder}: holds {old[0].name} of an earlier answer; give another "
                           f"folder, or remove its part files and {PARTS}")


def _write(shards: Any, folder: Path) -> None:
    """Let every worker write its pairs; last, write the list of the files and their digests."""
    folder = folder.absolute()
    names = [f"part-{k:05d}.parquet" for k in range(shards.starts.size)]
    digests = shards.each("write", [(str(folder / name),) for name in names])
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / PARTS) as stream:
        lines = (f"{digest}  {name}\n" for digest, name in zip(digests, names, strict=True))
        stream.write("".join(lines).encode())


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
            _reach(engine.address, engine.params.reached_within)
            where: dict[str, Any] = {"address": engine.address}
        else:
            where = {"num_cpus": engine.workers, "include_dashboard": False,
                     "object_store_memory": engine.params.object_store}
        ray.init(log_to_driver=False, logging_level="error", **where)
    except (OSError, ValueError, RuntimeError) as error:
        raise BackendNotFoundError(f"no Ray cluster at {engine.address!r}: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _reach(address: str, seconds: float) -> None:
    """Raise `OSError` where nobody listens at ``host:port`` or ``ray://host:port``."""
    import socket  # half a per cent of the time that importing the package takes

    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), seconds).close()
