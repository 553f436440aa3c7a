"""Series and data frames of pandas, brought into the order of a problem's ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass, replace
from typing import Any

from alignsolve.errors import ProblemError
from alignsolve.model.foreign import libraries_of
from alignsolve.model.ids import alike

#: Whose labels a series has, and a frame's rows and columns; None where they name nothing.
Axes = tuple[str | None, str | None, str | None]

OF_CLIENTS: Axes = ("client", "client", None)
OF_EXPERTS: Axes = ("expert", "expert", None)
OF_PAIRS: Axes = ("expert", "client", "expert")
AXES: dict[str, Axes] = {
    **dict.fromkeys(("max_experts", "min_experts", "client_fitness_min", "client_cost_max",
                     "weight", "budget", "fitness_floor"), OF_CLIENTS),
    **dict.fromkeys(("load_min", "load_max", "load_target", "load_penalty", "expert_group", "min",
                     "max", "target", "penalty", "expert_mb", "load", "prices"), OF_EXPERTS),
    **dict.fromkeys(("fitness", "cost", "switch_cost", "held", "size"), OF_PAIRS),
    **dict.fromkeys(("group_min", "group_max", "group"), (None, "client", None)),
}  # fmt: skip


def by_label(**arguments: Any) -> dict[str, Any]:
    """Return arguments of a problem with what pandas labels in the order of the ids.

    Parameters
    ----------
    **arguments
        Some arguments of `AlignmentProblem` or `Elastic`, or prices; ``client_ids`` and
        ``expert_ids`` among them where there are any.

    Returns
    -------
    arguments : dict
        The same where pandas has no part in it.

    Raises
    ------
    ProblemError
        If labels are not the ids, each once. The default labels 0, 1, ... name nothing
        where the ids are others.
    """
    ids: dict[str, list[str]] = {}
    given = arguments
    for axis in ("client", "expert"):
        names = given.get(f"{axis}_ids")
        if isinstance(names, Iterable) and not isinstance(names, str):
            if not hasattr(names, "__len__"):
                names = given[f"{axis}_ids"] = tuple(names)
            ids[axis] = names  # type: ignore[assignment]
    if not ids:
        return given
    for name, value in given.items():
        if name in ("loads", "resources") and isinstance(value, Mapping):
            given[name] = {key: _part_in_order(f"{name}[{key!r}].", part, ids)
                           for key, part in value.items()}  # fmt: skip
        elif name == "named_loads" and isinstance(value, Mapping):
            given[name] = {key: _in_order(f"{name}[{key!r}]", prices, OF_EXPERTS, ids)
                           for key, prices in value.items()}  # fmt: skip
        elif name in AXES:
            given[name] = _in_order(name, value, AXES[name], ids)
    return given


def _part_in_order(prefix: str, part: Any, ids: Mapping[str, Iterable[object]]) -> Any:
    """Return a load or resource in order."""
    if not is_dataclass(part) or isinstance(part, type):
        return part  # which `checked_arguments` refuses
    return replace(part, **{name: _in_order(prefix + name, value, AXES[name], ids)
                            for name, value in vars(part).items() if name in AXES})


def _in_order(name: str, value: Any, axes: Axes, ids: Mapping[str, Iterable[object]]) -> Any:
    """Return a series or frame in the order of the ids, anything else as it is."""
    if not hasattr(value, "iloc") or "pandas" not in libraries_of(value):
        return value
    is_frame = hasattr(value, "columns")
    rows, columns = axes[1:] if is_frame else (axes[0], None)
    if rows in ids:
        value = value.iloc[_order(name, "row" if is_frame else "label", value.index, rows, ids)]
    if columns in ids:
        value = value.iloc[:, _order(name, "column", value.columns, columns, ids)]
    return value


def _order(
    name: str, what: str, index: Any, axis: str | None, ids: Mapping[str, Iterable[object]]
) -> Any:
    """Return where each id stands among the labels."""
    place = {str(label): k for k, label in enumerate(index)}
    wanted = [str(identifier) for identifier in ids[str(axis)]]
    is_default = type(index).__name__ == "RangeIndex" and index.start == 0 and index.step == 1
    if is_default and place.keys() != set(wanted):
        return slice(None)
    right = f"label it by {axis}_ids, each once, or give .to_numpy() to go by position"
    for k, label in enumerate(map(str, index)):
        if place[label] != k:
            raise ProblemError(f"{name} has the {what} {label!r} twice; {right}")
    if missing := [identifier for identifier in wanted if identifier not in place]:
        raise ProblemError(f"{name} has no {what} {missing[0]!r}; {right}"
                           f"{alike(missing[0], place)}")
    if len(place) != len(set(wanted)):
        extra = next(label for label in place if label not in set(wanted))
        raise ProblemError(f"{name} has the {what} {extra!r}, which is no {axis}; {right}")
    return [place[identifier] for identifier in wanted]
