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
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
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


def in_turn(tasks: Iterable[Task]) -> Callable[[int], Task | None]:
    """Return a function that gives the next of some tasks, whoever takes it."""
    left = iter(tasks)
    return lambda slot: next(left, None)


class Pool:
    """Works through tasks in threads, with as many workers.

    Parameters
    ----------
    jobs : int
        Tasks at a time.
    prepare : callable
        Called with a worker that was started, before its first task.
    """

    def __init__(self, jobs: int, prepare: Callable[[Worker], None]) -> None:
        self._prepare = prepare
        self._threads = ThreadPoolExecutor(jobs)
        self._workers: list[Worker | None] = [None] * jobs
        self._lock = threading.Lock()
        self._stopped = False

    def each(
        self, take: Callable[[int], Task | None], work: Callable[[int, Task], Done]
    ) -> Iterator[Done]:
        """Yield what `work` makes of each task, in the order in which they end.

        Parameters
        ----------
        take : callable
            Given a number from 0 to ``jobs - 1``, of which each has one task at a time,
            returns its next task, or None. Called in the caller's thread.
        work : callable
            Given that number and a task, does it, in a thread.
        """
        running: dict[Future[Done], int] = {}

        def begin(slot: int) -> None:
            task = take(slot)
            if task is not None:
                running[self._threads.submit(work, slot, task)] = slot

        for slot in range(len(self._workers)):
            begin(slot)
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                begin(running.pop(future))
            for future in done:
                yield future.result()

    def ask(
        self, slot: int, do: str, seconds: float, grow_to: float = float("inf"), **fields: Any
    ) -> dict[str, Any]:
        """Send a request to the worker of a number, started where there is none.

        Returns
        -------
        reply : dict
            Where the worker was lost, an ``error``, and ``lost`` is true.
        """
        try:
            return self._worker(slot).ask(do, seconds, grow_to, **fields)
        except WorkerLostError as error:
            self.discard(slot)
            return {"error": str(error), "lost": True}

    def _worker(self, slot: int) -> Worker:
        worker = self._workers[slot]
        if worker is None:
            made = Worker()
            with self._lock:
                self._workers[slot] = worker = made
            if self._stopped:
                raise WorkerLostError("stopped")
            self._prepare(worker)
        return worker

    def discard(self, slot: int) -> None:
        """Stop the worker of a number; the next task gets a new one."""
        with self._lock:
            worker, self._workers[slot] = self._workers[slot], None
        if worker is not None:
            worker.stop()

    def stop(self) -> None:
        """Kill every worker, which ends what the threads are at."""
        self._stopped = True
        for slot in range(len(self._workers)):
            self.discard(slot)
        self._threads.shutdown(wait=False)
