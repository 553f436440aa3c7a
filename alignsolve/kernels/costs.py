"""What it costs to compile and to load kernels, in one place, and the word of it to the user."""

from __future__ import annotations

import logging
import os
import sys

logger = logging.getLogger("alignsolve")

#: Seconds of one processor that it takes to import numba, and to load a compiled kernel.
IMPORT, LOAD = 0.7, 0.03

#: Seconds of one processor that kernels compile for, by the beginning of their names
#: (`benchmarks/cold_start.py --kernels`); a kernel that is not here takes `OTHER`.
SECONDS: dict[str, dict[str, float]] = {}
OTHER = 0.5


#: Solvers of which it was said that they compile.
said: set[str] = set()

#: What is said where kernels would have to compile first.
WARM_UP_HINT = "; its kernels are not compiled yet, al.warm_up() compiles them"


def compiling(stem: str, kind: str) -> float:
    """Return the seconds that a kernel compiles for, where its first array is of a type."""
    kinds = SECONDS.get(stem, {})
    return kinds.get(kind) or max(kinds.values(), default=OTHER)


def loading() -> float:
    """Return the seconds that a compiled kernel takes to load."""
    return LOAD if "numba" in sys.modules else LOAD + IMPORT


def jit_is_disabled() -> bool:
    """Tell whether the environment says that nothing is to be compiled."""
    return os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")


def announce(stem: str) -> None:
    """Say once, of each solver, that its kernels are compiled: to standard error and the log."""
    family, _, _ = stem.removeprefix("backends.").partition(".")
    if family in said:
        return
    said.add(family)
    seconds = sum(max(kinds.values()) for name, kinds in SECONDS.items()
                  if name.startswith(f"backends.{family}."))
    message = (f"alignsolve: compiling the kernels of {family!r}, once: up to {seconds:.0f} s of "
               f"processor time; al.warm_up() does that ahead of time")
    logger.info(message)
    if stem.startswith("backends.") and sys.stderr is not None:
        print(message, file=sys.stderr)
