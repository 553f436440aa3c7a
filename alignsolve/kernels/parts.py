"""How numba compiles a kernel that only other kernels call: for them to link in, not to run.

Machine code of its own would never run, and is a tenth of what compiling takes.
"""

from __future__ import annotations

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


class _NoMachineCode:
    """What stands for the compiler of a part where an environment is to be put into its code."""

    def set_env(self, name: str, environment: Any) -> None:
        """Do nothing: who links the part in has its own."""


class Part(JITCodeLibrary):  # type: ignore[misc]
    """Optimised code of a part, in LLVM's form, without machine code."""

    codegen = _NoMachineCode()

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Return 0: no function can be called."""
        return 0

    def serialize_using_object_code(self) -> Any:
        """Return what is kept on disk: LLVM's form alone."""
        return self.serialize_using_bitcode()


class PartCompiler(Compiler):  # type: ignore[misc]
    """Compiles a function to a `Part`."""

    def compile_extra(self, func: Any) -> Any:
        """Compile a function."""
        self.state.library = Part(self.state.targetctx.codegen(), func.__qualname__)
        return super().compile_extra(func)
