"""The bench from start to end: find, read, start up, run, report."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignsolve.backends.registry import available_backends, get_backend
from alignsolve.bench.environment import environment
from alignsolve.bench.instances import Source, file_digest, find_sources, instances_of
from alignsolve.bench.live import Live
from alignsolve.bench.pool import READ_LIMIT, Pool, Worker
from alignsolve.bench.records import (
    WARM_UP_LIMIT,
    Instance,
    Row,
    Settings,
    file_key,
    run_key,
    start_key,
)
from alignsolve.bench.report import BenchReport
from alignsolve.bench.store import Store
from alignsolve.errors import ProblemError
from alignsolve.interrupts import Call
from alignsolve.kernels import cores

if TYPE_CHECKING:
    from rich.console import Console

#: Seconds beyond a run's own limits after which its worker counts as lost.
WORKER_GRACE = 30.0


def run_bench(
    paths: Sequence[str | Path],
    *,
    backends: Sequence[str] | None = None,
    time_limit: float = 10.0,
    memory_limit: float = 4096.0,
    jobs: int = 1,
    seed: int = 0,
    out: str | Path = "bench-out",
    progress: Console | None = None,
    plugins: Sequence[str] = (),
) -> BenchReport:
    """Run backends on instances, each run in a process of its own.

    Parameters
    ----------
    paths : sequence of str or Path
        Folders, searched recursively, and files of instances.
    backends : sequence of str, optional
        Names, "auto" included; None for "auto" and all that are installed.
    time_limit : float, default 10
        Seconds per run. A run is killed at 110% of it and 1 s.
    memory_limit : float, default 4096
        Resident memory per run, MiB.
    jobs : int, default 1
        Runs at the same time; each gets an equal share of the cores.
    seed : int, default 0
        Seed given to `alignsolve.solve`.
    out : str or Path, default "bench-out"
        Folder of the results. What it already holds for the same instance,
        backend, settings, versions and machine is not run again.
    progress : rich.console.Console, optional
        Draws a progress bar if it is a terminal.
    plugins : sequence of str
        Modules that every worker imports first, to register further backends.

    Returns
    -------
    BenchReport
        What is done; after Ctrl-C, what was done, with `interrupted` set.

    Raises
    ------
    ProblemError
        If an argument is malformed, a path does not exist, or another bench
        is writing to `out`.
    BackendNotFoundError
        If a named backend does not exist or its library is missing.

    Notes
    -----
    Needs an operating system that forks processes: Linux, where all is
    measured, or macOS, which does not tell the memory of a run. How runs are
    kept apart stands in `alignsolve.bench.worker`, what is measured in
    `alignsolve.bench.measure`, and what counts as solved in
    `alignsolve.bench.score`.
    """
    threads = max(1, cores() // max(1, jobs))
    settings = Settings(
        float(time_limit), float(memory_limit), jobs, threads, seed, environment(), tuple(plugins)
    )
    names, notices = _backends(backends)
    folder = Path(out)
    sources = find_sources([Path(path) for path in paths], folder)
    with Store(folder) as store, Live(progress) as live:
        bench = _Bench(settings, names, notices, store, live)
        interrupted = bench.work(sources)
    with Call("finish"):
        return BenchReport.write(
            folder, settings, names, bench.instances, bench.rows, bench.starts, bench.notices,
            interrupted,
        )


def _backends(names: Sequence[str] | None) -> tuple[tuple[str, ...], list[str]]:
    """Return the backends to run, in the registry's order, and who is missing."""
    if names is not None:
        if not names:
            raise ProblemError("no backend is named; give at least one, or leave the choice open")
        for name in names:
            if name != "auto":
                get_backend(name)
        return tuple(dict.fromkeys(names)), []
    known = available_backends()
    missing = {name: reason for name, reason in known.items() if isinstance(reason, str)}
    return ("auto", *(name for name in known if name not in missing)), list(missing.values())


class _Bench:
    """One call of `run_bench`: what is known so far, and what is left to do."""

    def __init__(
        self, settings: Settings, backends: tuple[str, ...], notices: list[str], store: Store,
        live: Live,
    ) -> None:
        self.settings, self.backends, self.notices = settings, backends, notices
        self.store, self.live = store, live
        self.instances: list[Instance] = []
        self.rows: list[Row] = []
        self.starts: dict[str, float] = {}
        self._modules: set[str] = set()
        self._pool = Pool(settings.jobs, self._prepare)

    def work(self, sources: list[Source]) -> bool:
        """Do everything that `store` does not hold; return whether Ctrl-C came first."""
        try:
            self._describe(sources)
            pending = self._pending()
            self._start_up(pending)
            self._run(pending)
        except KeyboardInterrupt:
            return True
        finally:
            with Call("finish"):
                self._pool.stop()
        return False

    def _prepare(self, worker: Worker) -> None:
        """Let a worker load the libraries of the backends, as far as they are known."""
        modules = [*self.settings.plugins, *sorted(self._modules)]
        worker.ask("preload", WARM_UP_LIMIT, modules=modules)

    # -- read -----------------------------------------------------------------

    def _describe(self, sources: list[Source]) -> None:
        """Fill `instances` from the files; a file that cannot be read becomes a notice."""
        self.live.phase("reading", len(sources))
        described: dict[str, list[Instance]] = {}
        for source, digest, reply in self._pool.each(self._read, sources):
            self.live.step()
            if "error" in reply:
                # Readers name the place, as in path:line: the name here is short enough.
                reason = reply["error"].removeprefix(str(source.path))
                colon = "" if reason.startswith(":") else ": "
                self.notices.append(f"{source.name}{colon}{reason}")
                continue
            key = file_key(digest, self.settings)
            if self.store.get("file", key) is None:
                self.store.put("file", key, {"reply": reply})
            described[source.name] = instances_of(source, digest, reply)
        self.notices.sort()
        by_digest: dict[str, str] = {}
        for instance in [one for name in sorted(described) for one in described[name]]:
            twin = by_digest.setdefault(instance.digest, instance.name)
            if twin == instance.name:
                self.instances.append(instance)
            else:
                self.notices.append(f"{instance.name}: not run: the same as {twin}")

    def _read(self, source: Source) -> tuple[Source, str, dict[str, Any]]:
        """Return the digest and the description of a file, from the store or from a worker."""
        try:
            digest = file_digest(source.path)
            known = self.store.get("file", file_key(digest, self.settings))
            if known is not None:
                return source, digest, known["reply"]
            self.live.doing(source.name)
            return source, digest, self._open(source.path)
        except (OSError, ProblemError) as error:
            return source, "", {"error": str(error)}

    def _open(self, path: Path) -> dict[str, Any]:
        """Let a worker read a file, unless it is the one that it read last."""
        return self._pool.ask("open", READ_LIMIT, self.settings.memory_limit, path=str(path))

    # -- start up ---------------------------------------------------------------

    def _start_up(self, pending: list[tuple[Instance, str]]) -> None:
        """Use every backend once in a fresh process: what it costs, and what it imports."""
        wanted = {backend for _, backend in pending}
        queue = [name for name in self.backends if name in wanted]
        self.live.phase("starting up", len(queue))
        modules: set[str] = set()
        for backend, reply in self._pool.each(self._first_use, queue):
            self.live.step()
            modules.update(reply.pop("modules", ()))
            key = start_key(backend, self.settings)
            # The first time counts: later processes find kernels compiled on disk.
            if self.store.get("start", key) is None:
                self.store.put("start", key, {"backend": backend, **reply})
        # Not before all are done: a fresh process has none of them.
        self._modules = modules
        for backend in self.backends:
            start = self.store.get("start", start_key(backend, self.settings)) or {}
            if "seconds" in start:
                self.starts[backend] = start["seconds"]
            if "error" in start:
                self.notices.append(f"{backend}: start-up failed: {start['error']}")
        # The workers that read the files lack the libraries.
        self._pool.renew_all()

    def _first_use(self, backend: str) -> tuple[str, dict[str, Any]]:
        # What has read files, or used another backend, is not fresh.
        self._pool.renew()
        return backend, self._pool.ask("first_use", WARM_UP_LIMIT, backend=backend)

    # -- run --------------------------------------------------------------------

    def _pending(self) -> list[tuple[Instance, str]]:
        """Fill `rows` with what the store holds; return the rest, small instances first."""
        pending = []
        by_size = sorted(self.instances, key=lambda one: (one.n_clients * one.n_experts, one.name))
        for instance, backend in itertools.product(by_size, self.backends):
            record = self.store.get("run", run_key(instance.digest, backend, self.settings))
            if record is None:
                pending.append((instance, backend))
            else:
                fields = {name: value for name, value in record.items() if name != "kind"}
                self.rows.append(Row(**fields | {"instance": instance.name}))
        return pending

    def _run(self, pending: list[tuple[Instance, str]]) -> None:
        """Run what is pending."""
        done = len(self.rows)
        self.live.phase("running", len(pending) + done, done)
        for row in self._pool.each(self._one, pending):
            fields = dataclasses.asdict(row)
            self.store.put("run", fields.pop("key"), fields)
            self.rows.append(row)
            self.live.step()

    def _one(self, task: tuple[Instance, str]) -> Row:
        """Run a backend on an instance."""
        instance, backend = task
        self.live.doing(f"{backend} on {instance.name}")
        settings = self.settings
        options = {
            "time_limit": settings.time_limit, "seed": settings.seed, "threads": settings.threads
        }
        reply = self._open(instance.path)
        if "error" not in reply:
            # Warm-up, compilation, two attempts and the check of a conflict.
            reply = self._pool.ask(
                "run", 2 * WARM_UP_LIMIT + 3 * settings.kill_after() + WORKER_GRACE,
                index=instance.index, backend=backend, options=options,
                kill_after=settings.kill_after(), memory_limit=settings.memory_limit,
            )
        if "error" in reply:
            outcome = "crash" if reply.get("lost") else "error"
            reply = {"outcome": outcome, "message": reply["error"]}
        key = run_key(instance.digest, backend, settings)
        return Row(key=key, instance=instance.name, backend=backend, **reply)
