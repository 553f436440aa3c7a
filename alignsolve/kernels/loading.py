"""Import numba, and tell it what a kernel is."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable
from typing import Any

from alignsolve.interrupts import Call

_prepared = False


def _load() -> None:
    """Import numba, if it is there, with what it imports at the first call of a kernel."""
    with contextlib.suppress(ImportError, AttributeError):
        target = importlib.import_module("numba.core.registry").cpu_target
        target.typing_context.refresh()
        target.target_context.refresh()


def prepare(kind: type) -> Any:
    """Import numba, once, and return it; compiled kernels then call others of `kind`."""
    global _prepared
    if not _prepared:
        with Call("finish"):
            # In a thread, where no handler of the program's own can break it either: numba
            # that is imported halfway cannot be imported again.
            loading = threading.Thread(target=_load)
            loading.start()
            loading.join()
            _register(kind)
            _prepared = True
    import numba

    return numba


def _register(kind: type) -> None:
    """Let numba take a kernel, where compiled code names it, for its dispatcher."""
    from numba.core.typing.typeof import typeof_impl

    typeof_impl.register(kind)(lambda kernel, _: kernel.dispatcher._numba_type_)
    with contextlib.suppress(ImportError, AttributeError):
        _optimise_once()


class _Parts(threading.local):
    """How deep a thread is in compiling functions that are only parts of others."""

    depth = 0


_parts = _Parts()


def _optimise_once() -> None:
    """Leave out numba's optimisation of what is part of another function, and optimised there."""
    from numba.core.codegen import CPUCodeLibrary

    optimise = CPUCodeLibrary._optimize_final_module

    def unless_part(self: Any) -> None:
        if not _parts.depth:
            optimise(self)

    CPUCodeLibrary._optimize_final_module = unless_part


def as_part(compile_it: Callable[..., Any]) -> Callable[..., Any]:
    """Return a dispatcher's method that compiles a function which only other kernels call."""

    def compile_part(signature: Any) -> Any:
        _parts.depth += 1
        try:
            return compile_it(signature)
        finally:
            _parts.depth -= 1

    return compile_part
