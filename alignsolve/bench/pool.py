"""Worker processes as seen from the bench: started, asked, replaced, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing import Pipe
from typing import Any, TypeVar

from alignsolve.bench.processes import how_ended, last_words, one_line, resident_mib

Task = TypeVar("Task")
Done = TypeVar("Done")

#: Seconds granted to reading one file.
READ_LIMIT = 300.0


class WorkerLostError(Exception):
    """A worker process ended, or was stopped at a limit, before it replied."""


class Worker:
    """One process of `alignsolve.bench.worker`, in a session of its own.

    Its own session keeps Ctrl-C on the terminal from it, and lets `stop` end
    it together with its child. Any thread may call `stop`.
    """

    def __init__(self) -> None:
        #: Held while files are in use: `stop` closes them only then.
        self._asking = threading.Lock()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "alignsolve.bench.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=self._errors, start_new_session=True,
            )

    def ask(
        self, do: str, seconds: float, grow_to: float = float("inf"), **fields: Any
    ) -> dict[str, Any]:
        """Send a request and return the reply.

        Raises
        ------
        WorkerLostError
            If there is none within `seconds`, or the worker itself grows to
            more than `grow_to` MiB.
        """
        with self._asking:
            deadline = time.monotonic() + seconds
            try:
                self._connection.send({"do": do, **fields})
                while not self._connection.poll(0.1):
                    if time.monotonic() > deadline:
                        raise WorkerLostError(f"took longer than {seconds:.0f} s")
                    if resident_mib(self._process.pid) > grow_to:
                        raise WorkerLostError(f"takes more than the memory limit of {grow_to:.0f} "
                                              f"MiB")
                reply: dict[str, Any] = self._connection.recv()
            except (EOFError, OSError):
                # How it ended, with the end of what it said.
                how = how_ended(self._process.wait())
                raise WorkerLostError(
                    one_line(f"the reading process {how}{last_words(self._errors)}")
                ) from None
            return reply

    def stop(self) -> None:
        """Kill the worker and its child."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        # Who asks is told by the end of the process.
        with self._asking:
            self._connection.close()
            self._errors.close()


class _Own(threading.local):
    """What a thread has for itself."""

    worker: Worker | None = None


class Pool:
    """Works through tasks in threads, each of which has a worker of its own.

    Parameters
    ----------
    jobs : int
        Tasks at a time.
    prepare : callable
        Called with a worker that was started, before its first request.
    """

    def __init__(self, jobs: int, prepare: Callable[[Worker], None]) -> None:
        self._prepare = prepare
        self._threads = ThreadPoolExecutor(jobs)
        self._own = _Own()
        self._workers: set[Worker] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def each(self, work: Callable[[Task], Done], tasks: Iterable[Task]) -> Iterator[Done]:
        """Yield what `work` makes of each task, in the order in which they end."""
        for done in as_completed([self._threads.submit(work, task) for task in tasks]):
            yield done.result()

    def ask(
        self, do: str, seconds: float, grow_to: float = float("inf"), **fields: Any
    ) -> dict[str, Any]:
        """Send a request to the worker of this thread, started where there is none.

        Returns
        -------
        reply : dict
            Where the worker was lost, an ``error``, and ``lost`` is true.
        """
        try:
            return self._worker().ask(do, seconds, grow_to, **fields)
        except WorkerLostError as error:
            self.renew()
            return {"error": str(error), "lost": True}

    def _worker(self) -> Worker:
        worker = self._own.worker
        if worker is None or worker not in self._workers:
            worker = self._own.worker = Worker()
            with self._lock:
                self._workers.add(worker)
            if self._stopped:
                raise WorkerLostError("stopped")
            self._prepare(worker)
        return worker

    def renew(self) -> None:
        """Stop the worker of this thread; its next request gets another."""
        self._end({self._own.worker})

    def renew_all(self) -> None:
        """Stop the workers of all threads; their next requests get others."""
        self._end(set(self._workers))

    def _end(self, workers: Set[Worker | None]) -> None:
        with self._lock:
            ended = self._workers & workers
            self._workers -= ended
        for worker in ended:
            worker.stop()

    def stop(self) -> None:
        """Kill every worker, which ends what the threads are at."""
        self._stopped = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.renew_all()
