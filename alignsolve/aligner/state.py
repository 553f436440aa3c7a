"""Save an aligner to a file without pickle, and make it anew from one."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from alignsolve.aligner.capacity import CapacitySettings
from alignsolve.aligner.fitness import FitnessSettings
from alignsolve.aligner.load import LoadSettings
from alignsolve.aligner.plan import Plan
from alignsolve.aligner.settings import PolicySettings, Settings
from alignsolve.aligner.tables import Tables
from alignsolve.errors import ProblemError
from alignsolve.io.native_npz import archive_is_sealed, read_archive, write_archive
from alignsolve.io.seal import refusal

#: First entry of every state.
FORMAT = "alignsolve aligner state 1"

#: Version of the file; from 2 on, it ends in a checksum.
LAYOUT = 2

#: Settings of parts, by the name of their argument.
PARTS = {
    "fitness": FitnessSettings,
    "load": LoadSettings,
    "capacity": CapacitySettings,
    "policy": PolicySettings,
}

#: What is kept of an open plan: plain values, and arrays. Its result is not.
PLAN_VALUES = ("round", "clients", "strategy", "deadline_s")
PLAN_ARRAYS = ("row_ind", "col_ind", "download", "moved", "finish")


def state_of(tables: Tables, number: int, plan: Plan | None) -> dict[str, Any]:
    """Return everything that later plans depend on, but for the settings.

    Parameters
    ----------
    tables : Tables
        What was learnt.
    number : int
        Rounds planned.
    plan : Plan or None
        The plan that waits for reports.
    """
    header, arrays = None, tables.arrays()
    if plan is not None:
        header = {name: getattr(plan, name) for name in PLAN_VALUES}
        header["clients"] = list(plan.clients)
        arrays |= {f"open.{name}": np.array(getattr(plan, name)) for name in PLAN_ARRAYS}
    return {
        "format": FORMAT,
        "round": number,
        "clients": list(tables.clients.ids),
        "refused": dict(tables.refused),
        "totals": dict(tables.totals),
        "open": header,
        "arrays": arrays,
    }


def restored(settings: Settings, state: object) -> tuple[Tables, int, Plan | None]:
    """Return what `state_of` was given.

    Raises
    ------
    ProblemError
        If it is no state, or does not fit the settings.
    """
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ProblemError("state is no aligner's; give what state_dict() returned")
    try:
        tables, arrays, header = Tables(settings, state["clients"]), state["arrays"], state["open"]
        if "seen.round" not in arrays:  # of 0.1: nobody was forgotten
            seen = np.full(len(tables.clients), int(state["round"]), dtype=np.int64)
            arrays = arrays | {"seen.round": seen}
        tables.load_arrays(arrays)
        tables.refused = Counter({str(kind): int(n) for kind, n in state["refused"].items()})
        tables.totals = {name: float(state["totals"][name]) for name in tables.totals}
        plan = None
        if header is not None:
            parts = {name: arrays[f"open.{name}"] for name in PLAN_ARRAYS}
            parts["clients"] = tuple(header["clients"])
            plan = Plan(**(header | parts), expert_mb=settings.expert_mb)
        return tables, int(state["round"]), plan
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ProblemError):
            raise
        raise ProblemError(f"state is damaged: {type(error).__name__}: {error}") from None


def save(path: str | Path, settings: Settings, state: dict[str, Any]) -> None:
    """Write settings and state, in one piece or not at all."""
    arrays = state.pop("arrays")
    header = state | {"layout": LAYOUT, "configuration": _configuration(settings)}
    write_archive(header, arrays, path, sealed=True)


def _configuration(settings: Settings) -> dict[str, Any]:
    """Return the constructor's arguments as plain values for JSON.

    A score that is a function becomes None: files hold no code.
    """
    parts = {name: dataclasses.asdict(getattr(settings, name)) for name in PARTS}
    if callable(settings.fitness.score):
        parts["fitness"]["score"] = None
    if settings.load.share is not None:
        parts["load"]["share"] = [float(share) for share in settings.load.share]
    arrays = {"expert_mb": settings.expert_mb} | settings.group_arguments()
    return {
        "n_experts": settings.n_experts,
        "expert_ids": settings.expert_ids,
        **{name: None if array is None else array.tolist() for name, array in arrays.items()},
        "strategy": settings.strategy,
        "seed": settings.seed,
        "forget_after": settings.forget_after,
    } | parts


def load(
    path: str | Path, fitness: FitnessSettings | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the state and the constructor's arguments of a file, with `fitness` if given.

    Raises
    ------
    CheckpointError
        If the file is damaged.
    ProblemError
        If it is no aligner's state, or its score was a function and `fitness` is None.
    """
    header, arrays = _read(path)
    config = header.pop("configuration", None)
    if not isinstance(config, dict):
        raise ProblemError(f"{path}: has no configuration; give a file that save() wrote")
    try:
        config["capacity"]["finish_prior"] = tuple(config["capacity"]["finish_prior"])
        for name, kind in PARTS.items():
            if name == "fitness" and (fitness is not None or config[name]["score"] is None):
                config[name] = fitness
            else:
                config[name] = kind(**config[name])
    except (KeyError, TypeError, ValueError) as error:
        raise ProblemError(f"{path}: its configuration does not fit: {error}") from None
    if config["fitness"] is None:
        raise ProblemError(
            f"{path}: was saved with a score of your own; give fitness=FitnessSettings(...)"
        )
    return header | {"arrays": arrays}, config


def _read(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and arrays of a file, after its checksum; layout 1, of 0.1, has none."""
    sealed, fault = archive_is_sealed(path), "damaged: its SHA-256 is not the one at its end"
    if sealed is not False:
        try:
            header, arrays = read_archive(path)
        except ProblemError as error:
            fault = f"damaged: {str(error).removeprefix(f'{path}: ')}"
        else:
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise ProblemError(f"{path}: is no aligner's state; give a file that save() wrote")
            if header.pop("layout", 1) == (LAYOUT if sealed else 1):
                return header, arrays
            fault = "damaged, or of a newer alignsolve: its layout and its checksum do not fit"
    raise refusal(Path(path), fault, "take a copy, or start with a new aligner", _read)
