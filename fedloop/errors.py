"""Errors raised by fedloop; every message says what would be right."""

from __future__ import annotations

from alignsolve.errors import AlignSolveError
from alignsolve.errors import CheckpointError as CheckpointError


class ConfigError(AlignSolveError, ValueError):
    """A setting is unknown, malformed or contradicts another."""


class DataError(AlignSolveError, ValueError):
    """A data file is missing, damaged or not what it should be."""


class EngineError(AlignSolveError, RuntimeError):
    """An engine that trains clients elsewhere is missing, or its nodes are."""
