"""Conflicts in words."""

from __future__ import annotations

import numpy as np

from alignsolve.infeasibility.hall import FlowConflict
from alignsolve.infeasibility.max_flow import expert_groups
from alignsolve.model.arrays import IntArray
from alignsolve.model.bounds import BoundSet, Key, bound_values
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.text import SHOWN, counted, listing, names, number
from alignsolve.relaxation import load_bounds


def flow_text(problem: AlignmentProblem, conflict: FlowConflict) -> str:
    """Say a conflict of the flow class in one sentence."""
    kept = conflict.kept
    if conflict.crowded is not None:
        return _shortage_text(problem, conflict)
    if kept.experts:
        return _range_text(problem, int(kept.experts["load_min", None, None][0]))
    return _client_text(problem, kept)


def _shortage_text(problem: AlignmentProblem, conflict: FlowConflict) -> str:
    """Say that experts need more, or must take more, than is possible."""
    ((kind, _, _), experts), = conflict.kept.experts.items()
    who, many = names("expert", problem.expert_name, experts), experts.size > 1
    low, high = load_bounds(problem, None)
    bound = float((low if kind == "load_min" else high)[experts].sum())
    them = "them" if many else "it"
    in_all = conflict.in_all or 0
    given = _given_text(problem, conflict)
    if conflict.crowded:
        most = f"{who} may have at most {counted(bound, 'holder')}"
        if not conflict.kept.clients:
            return f"{most}, which no number of holders keeps"
        times = "once" if in_all == 1 else f"{number(in_all)} times"
        return f"{most}; the clients must hold {them} at least {times}{given}"
    unit = "client slot" if conflict.kept.clients else "holder"
    if conflict.one_each:
        clients = "no client" if in_all == 0 else f"only {counted(in_all, 'client')}"
        most = f"{clients} may hold {them}"
    else:
        most = f"the clients have at most {number(in_all)} for {them}"
    return f"{who} need{'' if many else 's'} at least {counted(bound, unit)}; {most}{given}"


def _given_text(problem: AlignmentProblem, conflict: FlowConflict) -> str:
    """Name the bounds of clients behind a shortage if they are of few kinds, else count them."""
    kept = conflict.kept.clients
    if not kept:
        return ""
    what = listing([_key_text(problem, key, kept[key]) for key in kept])
    if len(kept) > SHOWN:
        what = f"{number(sum(index.size for index in kept.values()))} bounds of clients"
    listed = conflict.needed if conflict.crowded else conflict.possible
    if listed == conflict.in_all:
        return f", given {what}"
    return f" ({number(listed or 0)} given {what} alone)"


def _key_text(problem: AlignmentProblem, key: Key, clients: IntArray) -> str:
    """Name one kind of bounds of clients, as in "group_max of group 1 of client 2"."""
    kind, _, group = key
    of_group = "" if group is None else f" of group {group}"
    return f"{kind}{of_group} of {names('client', problem.client_name, clients)}"


def _range_text(problem: AlignmentProblem, expert: int) -> str:
    """Say that an expert's bounds on holders leave no number."""
    low, high = float(problem.load_min[expert]), float(problem.load_max[expert])
    if low <= high:
        return (
            f"{problem.expert_name(expert)} needs at least {number(low)} and at most "
            f"{number(high)} holders; no whole number lies between"
        )
    return (
        f"{problem.expert_name(expert)} needs at least {counted(low, 'holder')} but may have at "
        f"most {number(high)}"
    )


def _client_text(problem: AlignmentProblem, kept: BoundSet) -> str:
    """Say that a client's bounds on its experts contradict each other."""
    groups: dict[str, list[int]] = {}
    for kind, _, group in kept.clients:
        groups.setdefault(kind, []).extend([] if group is None else [group])
    client = int(next(iter(kept.clients.values()))[0])
    who, allowed = problem.client_name(client), _allowed_by_group(problem, client)
    low, high = groups.get("group_min", []), groups.get("group_max", [])
    if "min_experts" in groups:
        asked, among = counted(float(problem.min_experts[client]), "expert"), allowed.sum()
    else:
        asked, among = _of_groups(problem, "group_min", client, low), allowed[low].sum()
    asked = f"{who} must hold at least {asked}"
    if "max_experts" in groups:
        return f"{asked} but may hold at most {number(float(problem.max_experts[client]))} in all"
    if not high:
        return f"{asked}; {number(float(among)) if among else 'none'} of these are allowed to it"
    others = allowed.sum() - allowed[high].sum() if "min_experts" in groups else 0
    rest = f" and {counted(float(others), 'other')}" if others else ""
    return f"{asked} but at most {_of_groups(problem, 'group_max', client, high)}{rest}"


def _of_groups(problem: AlignmentProblem, kind: str, client: int, groups: list[int]) -> str:
    """Say how many experts of some groups a client's bounds add up to."""
    total = float(getattr(problem, kind)[client, groups].sum())
    return f"{counted(total, 'expert')} of {names('group', str, np.sort(groups))}"


def _allowed_by_group(problem: AlignmentProblem, client: int) -> IntArray:
    """Count the experts that a client may hold in each group."""
    allowed = problem.fitness[client] > -np.inf
    return np.bincount(expert_groups(problem)[allowed], minlength=max(1, problem.n_groups))


def bounds_text(problem: AlignmentProblem, kept: BoundSet) -> str:
    """Say that bounds of any kind cannot hold together."""
    clients = np.unique(np.concatenate([[-1], *kept.clients.values()]))[1:]
    parts = [_kind_text(problem, key, index) for key, index in kept.items()]
    if not kept.experts and clients.size == 1:
        together = " together" if len(parts) > 1 else ""
        return f"{problem.client_name(int(clients[0]))} cannot keep {listing(parts)}{together}"
    owners = [names("expert", problem.expert_name, index) for index in kept.experts.values()]
    owners += [names("client", problem.client_name, index) for index in kept.clients.values()]
    whole = listing([f"{part} of {owner}" for part, owner in zip(parts, owners, strict=True)])
    return f"{whole} {'cannot hold together' if kept.size > 1 else 'cannot be kept'}"


def _kind_text(problem: AlignmentProblem, key: Key, index: IntArray) -> str:
    """Name a kind of bound, with its value where all have one, as in "group_min 1 of group 0"."""
    kind, name, group = key
    what = {"resource": "budget", "client_fitness_min": "fitness floor"}.get(kind, kind)
    if kind == "client_fitness_min" and problem.sense == "min":
        what = "cost ceiling"
    values = bound_values(problem, *key)[index]
    if (values == values[0]).all():
        what += f" {number(float(values[0]))}"
    if name is not None:
        what += f" of {name!r}"
    return what if group is None else f"{what} of group {group}"
