"""The process that holds an instance and forks one child per run.

Why so, and not a fresh interpreter or one long-lived process per backend:

* A fresh interpreter spends 1 to 2 s importing SciPy, OR-Tools and numba, and
  would read the instance once per backend. A fork of a process that holds both
  costs about 10 ms, and its memory is shared until it is written.
* A run must be killable on its own, and its memory must be its own. A process
  that has solved before keeps freed memory, caches and threads; a fork of one
  that never solves starts every run from the same state.
* This process never solves, so numba's and the solvers' thread pools, which do
  not survive a fork, do not exist in it. The price: every child loads numba's
  compiled kernels from the disk cache, outside the measured time. (Measured:
  0.48 s per child, 0.09 s once this process has compiled something without
  threads, which is why `Server.preload` does.)

Memory is limited by watching the child's resident memory, not by RLIMIT_AS:
numba, OpenBLAS and thread stacks reserve address space that they never use,
and a limit on it fails runs that need little. A child that grows between two
looks overshoots by a few hundred MiB at most; should the machine itself run
out, the kernel is told to end the child first.

The process ends when its connection to the bench does, and kills its child
then: a bench that is killed leaves nothing running.

Protocol: dicts over a `multiprocessing` connection, whose descriptor is the
only argument; a request, a reply. Requests: ``preload``, ``open``, ``run``,
``first_use``.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any

from alignsolve.bench import measure
from alignsolve.bench.processes import Family, how_ended, last_words, one_line
from alignsolve.bench.records import WARM_UP_LIMIT
from alignsolve.errors import AlignSolveError
from alignsolve.io import read_instances
from alignsolve.machine.memory import lack_of_memory, tells_of_memory
from alignsolve.model.problem import AlignmentProblem
from alignsolve.solve.conflicts import check_conflict

#: What a child does, given how to tell something to the parent.
Work = Callable[[measure.Tell], None]

#: What `open` tells of a problem, beside its features: fields of `Instance`.
DESCRIBED = ("n_clients", "n_experts", "problem_class", "sense")

#: Seconds between two looks at a child's memory.
WATCH_INTERVAL = 0.02


class Server:
    """Answers requests; holds the problems of the file opened last."""

    def __init__(self, bench: Connection[Any, Any]) -> None:
        self._bench = bench
        self._opened: str | None = None
        self._problems: list[AlignmentProblem] = []

    def preload(self, modules: list[str]) -> dict[str, Any]:
        """Import modules, so that children do not have to."""
        import numba

        for name in modules:
            # A library may list modules that only it can import.
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        # Fills numba's tables of types and functions, which every child needs.
        numba.njit(lambda number: number)(1)
        return {}

    def open(self, path: str) -> dict[str, Any]:
        """Read a file, unless it is the one open, and describe its problems."""
        if self._opened != path:
            self._problems, self._opened = [], None
            self._problems = read_instances(path)
            self._opened = path
        return {
            "problems": [
                {name: getattr(problem, name) for name in DESCRIBED}
                | {"features": sorted(feature.value for feature in problem.features)}
                for problem in self._problems
            ],
        }

    #: Sensible in a process that did nothing else.
    first_use = staticmethod(measure.first_use)

    def run(
        self, index: int, backend: str, options: dict[str, Any], kill_after: float,
        memory_limit: float,
    ) -> dict[str, Any]:
        """Run a backend on a problem of the open file, in a child of its own."""
        problem = self._problems[index]
        with tempfile.TemporaryFile() as errors:
            child = Child(
                lambda tell: _solve(tell, backend, problem, options), errors, self._bench
            )
            fields = self._watch(child, kill_after, memory_limit)
            if fields["outcome"] == "crash":
                words = last_words(errors)
                fields["message"] += words
                if tells_of_memory(words):
                    fields["outcome"] = "memory"
        fields["message"] = one_line(fields.get("message", ""))
        return fields

    def _watch(self, child: Child, kill_after: float, memory_limit: float) -> dict[str, Any]:
        """Wait for a child within its limits and return the fields of its row."""
        fields: dict[str, Any] | None = None
        resident, peak, began, family = 0.0, 0.0, None, Family(child.pid)
        deadline = time.perf_counter() + WARM_UP_LIMIT
        verdict = ""
        while not verdict:
            ready = wait([child.connection, self._bench], WATCH_INTERVAL)
            peak = max(peak, family.resident_mib())
            if self._bench in ready:
                # Nobody asks anything during a run: the bench is gone.
                child.kill()
                os._exit(1)
            for message in child.messages():
                if "began" in message:
                    resident = peak = message["began"]
                    began = time.perf_counter()
                    deadline = began + kill_after
                elif "compiling" in message:
                    deadline = time.perf_counter() + WARM_UP_LIMIT
                elif "fields" in message:
                    fields = message["fields"]
                    deadline = time.perf_counter() + kill_after
                elif fields is not None:
                    fields["proof"] = "conflict"
            if child.ended:
                verdict = "crash"
            elif time.perf_counter() > deadline:
                verdict = "timeout"
            elif peak > memory_limit:
                verdict = "memory"
        spent = None if began is None else time.perf_counter() - began
        how = child.kill()
        if fields is not None:
            return fields
        reasons = {
            "crash": f"process {how}",
            "timeout": "killed" if began is not None else "killed in the warm-up",
            "memory": f"killed at {peak:.0f} MiB",
        }
        return {
            "outcome": verdict,
            "message": reasons[verdict],
            "total_seconds": spent,
            "peak_mib": peak or None,
            "rise_mib": peak - resident if resident else None,
        }


class Child:
    """A forked process that sends messages.

    Parameters
    ----------
    work : callable
        Called in the child with a function that sends an object.
    errors : file
        Where the child's standard error goes.
    closed : Connection
        What the child must not hold open.
    """

    def __init__(self, work: Work, errors: IO[bytes], closed: Connection[Any, Any]) -> None:
        self.ended = False
        self.connection, theirs = Pipe(duplex=False)
        self.pid = os.fork()
        if self.pid == 0:
            closed.close()
            _be_child(lambda: work(theirs.send), errors)
        theirs.close()

    def messages(self) -> list[dict[str, Any]]:
        """Return what arrived, and note whether it was the last."""
        found = []
        try:
            while self.connection.poll():
                found.append(self.connection.recv())
        except (EOFError, OSError):
            self.ended = True
        return found

    def kill(self) -> str:
        """End the child if it runs, and return how it ended."""
        if not self.ended:
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        self.connection.close()
        return how_ended(os.waitstatus_to_exitcode(status))


def _be_child(work: Callable[[], None], errors: IO[bytes]) -> None:
    """Do the work of a child; never return."""
    code = 1
    try:
        os.dup2(errors.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # Should the machine run out of memory, the kernel takes this process first.
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _solve(
    tell: measure.Tell, backend: str, problem: AlignmentProblem, options: dict[str, Any]
) -> None:
    """Run a backend and tell what came out; check the conflict afterwards, unmeasured."""
    fields, conflict = measure.run(backend, problem, options, tell)
    tell({"fields": fields})
    # What the run itself did not prove in time is not proved for it afterwards. An error here
    # ends the process, and leaves the fields as they are.
    if conflict and conflict.proved and check_conflict(problem, conflict).contradictory:
        tell({"conflict_checked": True})


def main() -> None:
    """Answer requests until there are no more."""
    bench: Connection[Any, Any] = Connection(int(sys.argv[1]))
    # Python warns of a fork beside OpenBLAS's threads, which survive it.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    server = Server(bench)
    while True:
        try:
            request = bench.recv()
        except (EOFError, ConnectionError):
            return
        try:
            reply = getattr(server, request.pop("do"))(**request)
        except AlignSolveError as error:
            reply = {"error": one_line(str(error))}
        except Exception as error:
            lack = lack_of_memory(error)
            text = f"{type(error).__name__}: {error}" if lack is None else f"lack of memory: {lack}"
            reply = {"error": one_line(text)}
        bench.send(reply)


if __name__ == "__main__":
    main()
