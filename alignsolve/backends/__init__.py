"""Solvers: a module or folder each, known by name to `registry`, tried in turn by `portfolio`."""

from alignsolve.backends.base import Backend, Capabilities
from alignsolve.backends.registry import BACKEND_NAMES, available_backends, get_backend
from alignsolve.status import Limits, Outcome

__all__ = [
    "BACKEND_NAMES",
    "Backend",
    "Capabilities",
    "Limits",
    "Outcome",
    "available_backends",
    "get_backend",
]
