"""Save an aligner to a file without pickle, and make it anew from one."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from alignsolve.aligner.capacity import CapacitySettings
from alignsolve.aligner.clients import Clients
from alignsolve.aligner.fitness import FitnessSettings
from alignsolve.aligner.load import LoadSettings
from alignsolve.aligner.plan import Plan
from alignsolve.aligner.policy import PolicySettings
from alignsolve.aligner.tables import Tables
from alignsolve.errors import ProblemError
from alignsolve.io.native_npz import read_archive, write_archive


class Stateful(Protocol):
    """What of an `alignsolve.aligner.aligner.Aligner` is kept."""

    n_experts: int
    expert_ids: tuple[str, ...] | None
    strategy: str
    policy: PolicySettings
    seed: int
    round: int
    tables: Tables
    open_plan: Plan | None


#: First entry of every state.
FORMAT = "alignsolve aligner state 1"

#: Settings of an aligner, by the name of its argument.
SETTINGS = {
    "fitness": FitnessSettings,
    "load": LoadSettings,
    "capacity": CapacitySettings,
    "policy": PolicySettings,
}

#: Arrays of an open plan.
PLAN_ARRAYS = ("row_ind", "col_ind", "download", "moved", "finish")


def configuration(aligner: Stateful) -> dict[str, Any]:
    """Return the constructor's arguments as plain values for JSON.

    A score that is a function becomes None: files hold no code.
    """
    tables = aligner.tables
    groups = tables.groups
    plain = {
        "fitness": dataclasses.asdict(tables.fitness.settings),
        "load": dataclasses.asdict(tables.load.settings),
        "capacity": dataclasses.asdict(tables.capacity.settings),
        "policy": dataclasses.asdict(aligner.policy),
    }
    if callable(plain["fitness"]["score"]):
        plain["fitness"]["score"] = None
    if plain["load"]["share"] is not None:
        plain["load"]["share"] = [float(share) for share in plain["load"]["share"]]
    return {
        "n_experts": aligner.n_experts,
        "expert_ids": None if aligner.expert_ids is None else list(aligner.expert_ids),
        "expert_mb": tables.expert_mb.tolist(),
        "expert_group": None if groups is None else groups.of.tolist(),
        "group_min": None if groups is None else groups.min.tolist(),
        "group_max": None if groups is None else groups.max.tolist(),
        "strategy": aligner.strategy,
        "seed": aligner.seed,
    } | plain


def open_plan_state(plan: Plan | None) -> tuple[Any, dict[str, npt.NDArray[Any]]]:
    """Return an open plan as plain values and arrays."""
    if plan is None:
        return None, {}
    arrays = {f"open.{name}": np.array(getattr(plan, name)) for name in PLAN_ARRAYS}
    return {
        "round": plan.round, "clients": list(plan.clients), "strategy": plan.strategy,
        "deadline_s": plan.deadline_s,
    }, arrays  # fmt: skip


def load_open_plan(
    header: Any, arrays: dict[str, npt.NDArray[Any]], expert_mb: npt.NDArray[np.float64]
) -> Plan | None:
    """Return the open plan that `open_plan_state` described, without its result."""
    if header is None:
        return None
    parts = {name: arrays[f"open.{name}"] for name in PLAN_ARRAYS}
    return Plan(**(header | parts | {"clients": tuple(header["clients"])}), expert_mb=expert_mb)


def state_dict(aligner: Stateful) -> dict[str, Any]:
    """Return everything that later plans depend on, but for the settings."""
    header, arrays = open_plan_state(aligner.open_plan)
    tables = aligner.tables
    return {
        "format": FORMAT,
        "round": aligner.round,
        "clients": list(tables.clients.ids),
        "refused": dict(tables.refused),
        "totals": dict(tables.totals),
        "open": header,
        "arrays": tables.arrays() | arrays,
    }


def load_state_dict(aligner: Stateful, state: object) -> None:
    """Take over what `state_dict` returned, or raise and change nothing."""
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ProblemError("state is no aligner's; give what state_dict() returned")
    tables = aligner.tables
    fresh = Tables(
        tables.expert_mb, tables.groups, tables.fitness.settings, tables.load.settings,
        tables.capacity.settings,
    )  # fmt: skip
    try:
        fresh.clients = Clients(state["clients"])
        fresh.load_arrays(state["arrays"])
        fresh.refused = Counter({str(kind): int(n) for kind, n in state["refused"].items()})
        fresh.totals = {name: float(state["totals"][name]) for name in fresh.totals}
        plan = load_open_plan(state["open"], state["arrays"], tables.expert_mb)
        number = int(state["round"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ProblemError):
            raise
        raise ProblemError(f"state is damaged: {type(error).__name__}: {error}") from None
    aligner.tables, aligner.open_plan, aligner.round = fresh, plan, number


def save(aligner: Stateful, path: str | Path) -> None:
    """Write state and configuration, in one piece or not at all."""
    state = state_dict(aligner)
    arrays = state.pop("arrays")
    write_archive(state | {"configuration": configuration(aligner)}, arrays, path)


def load(
    path: str | Path, fitness: FitnessSettings | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the state and the constructor's arguments of a file, with `fitness` if given.

    Raises
    ------
    ProblemError
        If the file is damaged or no aligner's state, or its score was a function and
        `fitness` is None.
    """
    header, arrays = read_archive(path)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ProblemError(f"{path}: is no aligner's state; give a file that save() wrote")
    config = header.pop("configuration", None)
    if not isinstance(config, dict):
        raise ProblemError(f"{path}: has no configuration; give a file that save() wrote")
    try:
        for name, kind in SETTINGS.items():
            given = dict(config[name])
            if name == "fitness" and given["score"] is None:
                config[name] = None
                continue
            if name == "capacity":
                given["finish_prior"] = tuple(given["finish_prior"])
            config[name] = kind(**given)
    except (KeyError, TypeError, ValueError) as error:
        raise ProblemError(f"{path}: its configuration does not fit: {error}") from None
    if fitness is not None:
        config["fitness"] = fitness
    elif config["fitness"] is None:
        raise ProblemError(
            f"{path}: was saved with a score of your own; give fitness=FitnessSettings(...)"
        )
    return header | {"arrays": arrays}, config
