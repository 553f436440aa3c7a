"""Import numba, and tell it what a kernel is."""

from __future__ import annotations

import contextlib
import importlib
import threading
from typing import Any

from alignsolve.interrupts import Call

_prepared = False


def _load(failed: list[BaseException]) -> None:
    """Import numba, if it is there, with what it imports at the first call of a kernel."""
    try:
        with contextlib.suppress(ImportError, AttributeError):
            target = importlib.import_module("numba.core.registry").cpu_target
            target.typing_context.refresh()
            target.target_context.refresh()
    except BaseException as error:  # such as MemoryError: the caller's
        failed.append(error)


def prepare(kind: type) -> Any:
    """Import numba, once, and return it; compiled kernels then call others of `kind`."""
    global _prepared
    if not _prepared:
        with Call("finish"):
            # In a thread, where no handler of the program's own can break it either: numba
            # that is imported halfway cannot be imported again.
            failed: list[BaseException] = []
            loading = threading.Thread(target=_load, args=(failed,))
            loading.start()
            loading.join()
            if failed:
                raise failed[0]
            _register(kind)
            _prepared = True
    import numba

    return numba


def _register(kind: type) -> None:
    """Let numba take a kernel, where compiled code names it, for its dispatcher."""
    from numba.core.typing.typeof import typeof_impl

    typeof_impl.register(kind)(lambda kernel, _: kernel.dispatcher._numba_type_)
