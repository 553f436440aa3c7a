"""Errors raised by fedloop; every message says what would be right."""

from __future__ import annotations

from collections.abc import Sequence

from alignsolve.errors import AlignSolveError
from alignsolve.errors import CheckpointError as CheckpointError


class ConfigError(AlignSolveError, ValueError):
    """A setting is unknown, malformed or contradicts another."""


class DataError(AlignSolveError, ValueError):
    """A data file is missing, damaged or not what it should be."""


class EngineError(AlignSolveError, RuntimeError):
    """An engine that trains clients elsewhere is missing, or its nodes are."""


class ExpertMapError(AlignSolveError, ValueError):
    """A tensor is not explained by a map of experts, or does not fit it.

    Attributes
    ----------
    unexplained : tuple of str
        Tensors that could hold parts of experts, and that no rule explains.
    """

    def __init__(self, message: str, unexplained: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.unexplained = tuple(unexplained)


class NoExpertsError(ExpertMapError):
    """No tensor's name is that of an expert."""
