"""The registry of backends: names, capabilities, and what is missing."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping

from alignsolve.backends.base import Backend, Capabilities, guarded_solve
from alignsolve.errors import BackendNotFoundError
from alignsolve.model.problem import AlignmentProblem
from alignsolve.status import Limits, Outcome

#: Every backend, by name: where its class lives.
_CLASSES: Mapping[str, str] = {
    "exchange": "alignsolve.backends.exchange.backend:ExchangeBackend",
    "ortools-mcf": "alignsolve.backends.min_cost_flow.ortools_mcf:MinCostFlowBackend",
    "lagrangian": "alignsolve.backends.lagrangian.backend:LagrangianBackend",
    "ortools-cpsat": "alignsolve.backends.milp.ortools_cpsat:CpSatBackend",
    "ortools-mip": "alignsolve.backends.milp.ortools_mip:MathOptBackend",
    "ortools-scip": "alignsolve.backends.milp.ortools_mip:ScipBackend",
    "scipy-milp": "alignsolve.backends.milp.scipy_milp:ScipyMilpBackend",
    "scipy-lsa": "alignsolve.backends.scipy_lsa:LinearSumAssignmentBackend",
    "networkx": "alignsolve.backends.min_cost_flow.networkx_flow:NetworkxBackend",
    "greedy": "alignsolve.backends.greedy.backend:GreedyBackend",
}

BACKEND_NAMES = tuple(_CLASSES)


@functools.cache
def _backend_class(name: str) -> type[Backend]:
    """Return the class behind a name, or raise `BackendNotFoundError`."""
    if name not in _CLASSES:
        raise BackendNotFoundError(
            f"there is no backend {name!r}; choose one of auto, {', '.join(_CLASSES)}"
        )
    module, _, attribute = _CLASSES[name].partition(":")
    found: type[Backend] = getattr(importlib.import_module(module), attribute)
    return found


def get_backend(name: str) -> Backend:
    """Return a backend that is ready to use.

    Parameters
    ----------
    name : str
        One of `BACKEND_NAMES`; with some of its `Backend.all_parts`, such as
        "lagrangian:search+tree", where the others shall not be used.

    Raises
    ------
    BackendNotFoundError
        If there is no such backend or part, or its library is not installed.
    """
    name, colon, words = name.partition(":")
    backend = _backend_class(name)
    parts = tuple(words.split("+")) if colon else None
    unknown = set(parts or ()) - set(backend.all_parts)
    if unknown:
        some = "+".join(backend.all_parts[:2])
        hint = f"choose some of {', '.join(backend.all_parts)}, such as {name}:{some}"
        raise BackendNotFoundError(
            f"backend {name!r} has no part {min(unknown)!r}; "
            f"{hint if some else f'it has none: give {name!r}'}"
        )
    missing = backend.missing_libraries()
    if missing:
        raise BackendNotFoundError(
            f"backend {name!r} needs {', '.join(missing)}: pip install {' '.join(missing)}"
        )
    return backend(parts, solve_by)


def solve_by(name: str, problem: AlignmentProblem, limits: Limits) -> Outcome:
    """Solve by the backend of a name; see `alignsolve.status.Subsolver`."""
    return guarded_solve(get_backend(name), problem, limits)


def takes_warm_start(name: str) -> bool:
    """Tell whether a backend, named with parts or without, declares `Capabilities.warm_start`."""
    name = name.partition(":")[0]
    return name in _CLASSES and _backend_class(name).capabilities.warm_start


def available_backends() -> dict[str, Capabilities | str]:
    """Return every backend's capabilities, or the reason why it is missing.

    Returns
    -------
    dict of str to Capabilities or str
        By the name that `alignsolve.solve` takes.

    Examples
    --------
    >>> import alignsolve as al
    >>> al.available_backends()["greedy"].exact
    False
    """
    found: dict[str, Capabilities | str] = {}
    for name in BACKEND_NAMES:
        try:
            found[name] = get_backend(name).capabilities
        except BackendNotFoundError as error:
            found[name] = str(error)
    return found
