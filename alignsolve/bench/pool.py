"""Worker processes as seen from the bench: started, asked, replaced, stopped."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from alignsolve.bench.processes import (
    Lines,
    how_ended,
    last_words,
    one_line,
    resident_mib,
    send,
)

Task = TypeVar("Task")
Done = TypeVar("Done")

#: Seconds granted to reading one file.
READ_LIMIT = 300.0


class WorkerLostError(Exception):
    """A worker process ended, or was stopped at a limit, before it replied."""


class Worker:
    """One process of `alignsolve.bench.worker`, in a session of its own.

    Its own session keeps Ctrl-C on the terminal from it, and lets `stop` end
    it together with its child.
    """

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "alignsolve.bench.worker"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self._errors, bufsize=0, start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = self._process.stdin
        self._replies = Lines(self._process.stdout)

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
        with contextlib.suppress(OSError):
            send(self._requests.fileno(), {"do": do, **fields})
        deadline = time.monotonic() + seconds
        while True:
            ready, _, _ = select.select([self._replies.stream], [], [], 0.1)
            if ready and (arrived := self._replies.read()):
                return arrived[0]
            if self._replies.ended:
                raise WorkerLostError(self._last_words())
            if time.monotonic() > deadline:
                raise WorkerLostError(f"took longer than {seconds:.0f} s")
            if resident_mib(self._process.pid) > grow_to:
                raise WorkerLostError(f"takes more than the memory limit of {grow_to:.0f} MiB")

    def stop(self) -> None:
        """Kill the worker and its child."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for file in (self._requests, self._replies.stream, self._errors):
            file.close()

    def _last_words(self) -> str:
        """Return how the worker ended, with the end of what it said."""
        how = how_ended(self._process.wait())
        return one_line(f"the reading process {how}{last_words(self._errors)}")


def in_turn(tasks: Iterable[Task]) -> Callable[[int], Task | None]:
    """Return what gives each thread of a `Pool` the next of some tasks."""
    left = iter(tasks)
    return lambda slot: next(left, None)


class Pool:
    """Threads that work through tasks, each with a worker of its own.

    Parameters
    ----------
    jobs : int
        Threads.
    prepare : callable
        Called with a worker that was started, before its first task.
    """

    def __init__(self, jobs: int, prepare: Callable[[Worker], None]) -> None:
        self._jobs, self._prepare = jobs, prepare
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
            Given the number of a thread, returns its next task, or None.
            Called under a lock.
        work : callable
            Given the number of a thread and a task, does it.
        """
        done: queue.SimpleQueue[Done | BaseException | None] = queue.SimpleQueue()

        def loop(slot: int) -> None:
            try:
                while not self._stopped:
                    with self._lock:
                        task = take(slot)
                    if task is None:
                        break
                    done.put(work(slot, task))
                done.put(None)
            except BaseException as error:
                done.put(error)

        for slot in range(self._jobs):
            threading.Thread(target=loop, args=(slot,), daemon=True).start()
        running = self._jobs
        while running:
            item = done.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                running -= 1
            else:
                yield item

    def worker(self, slot: int) -> Worker:
        """Return a thread's worker, started where there is none.

        Raises
        ------
        WorkerLostError
            If it was lost while it was prepared; `discard` it then.
        """
        worker = self._workers[slot]
        if worker is None:
            made = Worker()
            with self._lock:
                self._workers[slot] = worker = made
            if self._stopped:
                self.discard(slot)
                raise WorkerLostError("stopped")
            self._prepare(worker)
        return worker

    def discard(self, slot: int) -> None:
        """Stop a thread's worker; the next task gets a new one."""
        with self._lock:
            worker, self._workers[slot] = self._workers[slot], None
        if worker is not None:
            worker.stop()

    def stop(self) -> None:
        """Kill every worker; threads end at their next step."""
        self._stopped = True
        for slot in range(self._jobs):
            self.discard(slot)
