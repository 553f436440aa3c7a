"""The decorator of kernels: compiled by numba, or the same source interpreted."""

from __future__ import annotations

import functools
import math
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from alignsolve.kernels import costs
from alignsolve.kernels.arguments import kind_of, largest
from alignsolve.kernels.disk import KernelFiles, exist
from alignsolve.kernels.loading import prepare

#: Most entries of an array up to which a kernel that is not compiled runs interpreted.
SMALL = 1 << 14

#: The time of day, for limits, and that of the thread's processor, for what is spent.
clock, processor = time.perf_counter, time.thread_time

_lock = threading.RLock()


class _OfThread(threading.local):
    """What a thread is at: a kernel that is interpreted; a warm-up; a call that ends at a time."""

    interprets = False
    compiles = False
    deadline = math.inf


_thread = _OfThread()


def _call_template(call_template: Callable[..., Any], args: Any, kws: Any) -> Any:
    """Return what other kernels call; not compiled anew for each constant that is handed over."""
    from numba import types

    return call_template(tuple(map(types.unliteral, args)), kws)


class _MissingError(Exception):
    """Nothing is compiled for the arguments, and nothing shall be."""


class Kernel:
    """A function that is compiled where that pays.

    A call runs compiled code where there is some in memory. Else small work runs the same source
    interpreted, until that has taken as long as it takes to load the compiled code, if it is on
    disk, or to compile: then that is done (the ski-rental rule). Other work loads or compiles at
    once. Both ways give the same bits.

    Parameters
    ----------
    source : callable
        The function, which takes arrays, numbers and named tuples of them by position.
    exact : bool
        Whether it gives the same bits interpreted; else it always compiles.
    options : dict
        Options of numba's.

    Attributes
    ----------
    spent : float
        Seconds of processor time for which it was interpreted in this process.
    """

    def __init__(self, source: Callable[..., Any], exact: bool, options: dict[str, Any]) -> None:
        functools.update_wrapper(self, source)
        self.py_func, self.exact, self.options = source, exact, options
        self.files = KernelFiles(source)
        self.spent = 0.0
        self._held: set[str] = set()
        self._run: Callable[..., Any] | None = None

    def __call__(self, *args: Any) -> Any:
        """Run, compiled or interpreted."""
        run = self._run or self._first(args)
        try:
            return run(*args)
        except _MissingError:
            return self._interpret(*args)

    def __reduce__(self) -> str:
        return self.py_func.__qualname__

    @functools.cached_property
    def dispatcher(self) -> Any:
        """What compiles it."""
        with _lock:
            made = vars(self).get("dispatcher")
            if made is None:
                made = prepare(Kernel).njit(**self.options)(self.py_func)
                made._cache = self.files
                made.get_call_template = functools.partial(_call_template, made.get_call_template)
                compile_for = made._compile_for_args
                made._compile_for_args = functools.partial(self._compile_for, compile_for)
            return made

    def has(self, kind: str) -> bool:
        """Tell whether it need not compile where its first array is of a type."""
        if kind in self._held:
            return True
        made = vars(self).get("dispatcher")
        if made is not None and any(kind_of(types) == kind for types in made.overloads):
            self._held.add(kind)
            return True
        return self.files.exist(kind)

    def _first(self, args: tuple[Any, ...]) -> Callable[..., Any]:
        """Return what to run as long as there is no compiled code in memory."""
        if _thread.interprets and self.exact:
            return self.py_func
        if self._stays_interpreted(args, self.files.exist(kind_of(args))):
            return self._interpret
        self._run = self.dispatcher
        return self._run

    def _compile_for(self, compile_for: Callable[..., Any], *args: Any) -> Any:
        """Compile for arguments, unless that is not worth it."""
        if _thread.interprets and self.exact:
            raise _MissingError
        made = self.dispatcher
        types = tuple(made.typeof_pyval(arg) for arg in args)
        stored = self.files.hold(types, made.targetctx)
        if self._stays_interpreted(args, stored):
            raise _MissingError
        if not stored:
            costs.announce(self.files.stem)
        return compile_for(*args)

    def _stays_interpreted(self, args: tuple[Any, ...], stored: bool) -> bool:
        """Decide how to run for arguments for which there is no compiled code in memory."""
        if costs.jit_is_disabled() or self.options["no_cpython_wrapper"]:
            return True
        if _thread.compiles or not self.exact or largest(args) > SMALL:
            return False
        if stored and "numba" not in sys.modules:
            # All kernels share the import.
            return costs.interpreted < costs.IMPORT or clock() + costs.IMPORT > _thread.deadline
        seconds = costs.LOAD if stored else costs.compiling(self.files.stem)
        return self.spent < seconds or clock() + seconds > _thread.deadline

    def _interpret(self, *args: Any) -> Any:
        if _thread.interprets:
            return self.py_func(*args)
        import numpy as np  # a limit on memory is looked at before it is imported

        _thread.interprets, started = True, processor()
        try:
            with np.errstate(all="ignore"):
                return self.py_func(*args)
        finally:
            _thread.interprets = False
            took = processor() - started
            self.spent += took
            costs.interpreted += took


def kernel(
    source: Callable[..., Any] | None = None, *, exact: bool = True, called: bool | None = None,
    **options: Any,
) -> Any:
    """Make a function a `Kernel`.

    Parameters
    ----------
    source : callable, optional
        The function; without it, return a decorator.
    exact : bool
        Whether it gives the same bits compiled and interpreted. One that does not, for the
        order of its sums or its random numbers, always compiles, and so does who calls it.
    called : bool
        Whether Python calls it, not only other kernels: those compile faster. By default those
        whose names begin with "_" are not; called from Python they run interpreted.
    **options
        Options of numba's, such as ``fastmath``.
    """
    if source is None:
        return functools.partial(kernel, exact=exact, called=called, **options)
    if called is None:
        called = not source.__name__.startswith("_")
    options = {"nogil": True, "no_cfunc_wrapper": True, "no_cpython_wrapper": not called, **options}
    return Kernel(source, exact, options)


def compiling(kernels: Iterable[Kernel], kind: str) -> float:
    """Return the seconds that some kernels compile for, as far as that is still to be done.

    Parameters
    ----------
    kernels : iterable of Kernel
        What will be called.
    kind : str
        Type of the values, and so of the first arrays of those that take them; others have
        types of their own, by the table of costs.
    """
    if costs.jit_is_disabled() or _thread.compiles:
        return 0.0
    return sum(
        costs.compiling(kernel.files.stem) for kernel in kernels
        if not kernel.has(costs.kind_among(kernel.files.stem, kind))
    )  # fmt: skip


@contextmanager
def compiled() -> Iterator[None]:
    """Let every kernel that this thread calls compile, however little there is to do."""
    before, _thread.compiles = _thread.compiles, True
    try:
        yield
    finally:
        _thread.compiles = before


def seconds_left(prefixes: tuple[str, ...] = ("",)) -> float:
    """Return the seconds that kernels compile for which are not compiled, by the table of costs.

    Parameters
    ----------
    prefixes : tuple of str
        How names of kernels begin, without the package's.
    """
    return sum(
        seconds for stem, kinds in costs.SECONDS.items() if stem.startswith(prefixes)
        for kind, seconds in kinds.items() if not exist(stem, kind)
    )  # fmt: skip


@contextmanager
def until(deadline: float) -> Iterator[None]:
    """Begin to compile nothing in this thread that takes longer than there is time, if it can.

    Parameters
    ----------
    deadline : float
        As `time.perf_counter` tells the time.
    """
    before = _thread.deadline
    _thread.deadline = min(before, deadline)
    try:
        yield
    finally:
        _thread.deadline = before
