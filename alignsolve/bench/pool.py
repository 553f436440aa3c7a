"""Worker processes as seen from the bench: started, asked, replaced, stopped."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import psutil

from alignsolve.bench.records import last_words, one_line

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
        self._partial = b""

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
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with contextlib.suppress(OSError):
            stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")
        deadline = time.monotonic() + seconds
        while b"\n" not in self._partial:
            ready, _, _ = select.select([stdout], [], [], 0.1)
            content = os.read(stdout.fileno(), 1 << 16) if ready else None
            if content == b"":
                raise WorkerLostError(self._last_words())
            self._partial += content or b""
            if time.monotonic() > deadline:
                raise WorkerLostError(f"took longer than {seconds:.0f} s")
            if self._resident_mib() > grow_to:
                raise WorkerLostError(f"takes more than the memory limit of {grow_to:.0f} MiB")
        line, _, self._partial = self._partial.partition(b"\n")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def stop(self) -> None:
        """Kill the worker and its child."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._errors.close()

    def _resident_mib(self) -> float:
        try:
            return float(psutil.Process(self._process.pid).memory_info().rss) / 2.0**20
        except psutil.Error:
            return 0.0

    def _last_words(self) -> str:
        """Return how the worker ended, with the end of what it said."""
        code = self._process.wait()
        how = f"ended by signal {-code}" if code < 0 else f"exited with code {code}"
        return one_line(f"the reading process {how}{last_words(self._errors)}")


class Pool(Generic[Task, Done]):
    """Threads that work through tasks, each with a worker of its own.

    Parameters
    ----------
    jobs : int
        Threads.
    make : callable
        Starts a worker.
    """

    def __init__(self, jobs: int, make: Callable[[], Worker]) -> None:
        self._jobs, self._make = jobs, make
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
        """Return a thread's worker, started where there is none."""
        worker = self._workers[slot]
        if worker is None:
            made = self._make()
            with self._lock:
                self._workers[slot] = worker = made
            if self._stopped:
                self.discard(slot)
                raise WorkerLostError("stopped")
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
