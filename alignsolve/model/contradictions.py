"""Contradictions between bounds that show without a search.

Bounds of a client, of an expert, or of all of them that no assignment can keep, whatever the
other bounds are. To find none is no proof that a problem is feasible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.model.arrays import BoolArray, IntArray
from alignsolve.model.problem import AlignmentProblem, tolerance
from alignsolve.model.text import counted, number

#: Relative room for the rounding of a sum of floats.
_ROUNDING = 1e-12

#: Fewest and most of something, per client or expert.
Range = tuple[npt.NDArray[Any], npt.NDArray[Any]]


def contradictions(
    problem: AlignmentProblem, by_client: IntArray | None = None, by_expert: IntArray | None = None
) -> Iterator[str]:
    """Yield why a problem is infeasible, as far as its bounds alone show.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem; its fitness is not read, so budgets and floors are not looked at.
    by_client : int64 array, shape (n_clients,), optional
        Experts that each client may hold; without it, forbidden pairs count as allowed.
    by_expert : int64 array, shape (n_experts,), optional
        Clients that may hold each expert.

    Yields
    ------
    str
        One sentence per kind of bound, about the first client or expert.
    """
    slots, holders = problem.slot_bounds(), problem.holder_bounds()
    if by_client is not None:
        slots = slots[0], np.minimum(slots[1], by_client)
    if by_expert is not None:
        holders = holders[0], np.minimum(holders[1], by_expert)
    groups = None if problem.expert_group is None else group_ranges(problem)[:2]
    yield from contradictory_counts(
        slots, holders, groups, problem.client_name, problem.expert_name
    )
    for name, load in problem.loads.items():
        # No weight is negative, so that no load is.
        low, high = np.maximum(np.asarray(load.min), 0), np.asarray(load.max)
        total = np.sum(load.weight)
        reach = np.minimum(high + tolerance(high), total * (1 + _ROUNDING))
        yield from _sentence(problem.expert_name, f"of load {name!r}", low, np.minimum(high, total),
                             low - tolerance(low) > reach)


def contradictory_counts(
    slots: Range, holders: Range, groups: Range | None = None,
    client_name: Callable[[int], str] = "client {}".format,
    expert_name: Callable[[int], str] = "expert {}".format,
) -> Iterator[str]:
    """Yield the contradictions between numbers of experts and holders.

    Parameters
    ----------
    slots : pair of int64 array, shape (n_clients,)
        Fewest and most experts of each client.
    holders : pair of int64 array, shape (n_experts,)
        Fewest and most holders of each expert.
    groups : pair of int array, shape (n_clients, n_groups), optional
        Fewest and most experts of each group, the latter at most its size.
    client_name, expert_name : callable
        Return what to call a client or an expert.
    """
    for what, fewest, most in _ranges_of_clients(slots, groups):
        yield from _sentence(client_name, what, fewest, most, fewest > most, "expert")
    yield from _sentence(expert_name, "", *holders, holders[0] > holders[1], "holder")
    needed, most = holders[0].sum(), slots[1].sum()
    if needed > most:
        yield (f"the experts need {counted(needed, 'holder')} and the clients have "
               f"{counted(most, 'slot')} for them")
    needed, most = slots[0].sum(), holders[1].sum()
    if needed > most:
        yield (f"the clients need {counted(needed, 'expert')} and the experts take "
               f"{counted(most, 'holder')}")


def impossible_clients(slots: Range, groups: Range) -> BoolArray:
    """Tell which clients cannot keep their own bounds, bool of shape (n_clients,).

    Parameters
    ----------
    slots, groups : pair of int array
        As for `contradictory_counts`.
    """
    crossed = [fewest > most for _, fewest, most in _ranges_of_clients(slots, groups)]
    return np.asarray(np.any(crossed, axis=0))


def group_ranges(problem: AlignmentProblem) -> tuple[IntArray, IntArray, IntArray]:
    """Return fewest and most experts of each group, and its size, for a problem with groups.

    Beyond the size, and one more, nothing changes, and sums cannot overflow.
    """
    low, high, of_expert = problem.group_min, problem.group_max, problem.expert_group
    assert low is not None and high is not None and of_expert is not None
    size = np.bincount(of_expert, minlength=problem.n_groups)
    return np.minimum(low, size + 1), np.minimum(high, size), size


def _ranges_of_clients(
    slots: Range, groups: Range | None
) -> Iterator[tuple[str, npt.NDArray[Any], npt.NDArray[Any]]]:
    """Yield of which experts, and how many, each client needs and can have by its own bounds."""
    fewest, most = slots
    yield "", fewest, most
    if groups is not None:
        low, high = groups
        for group in range(low.shape[1]):
            yield f" of group {group}", low[:, group], high[:, group]
        yield " for its groups", low.sum(axis=1), most
        yield ", by the most of its groups,", fewest, high.sum(axis=1)


def _sentence(
    name: Callable[[int], str], what: str, fewest: npt.NDArray[Any], most: npt.NDArray[Any],
    crossed: BoolArray, noun: str = "",
) -> Iterator[str]:
    """Yield a sentence about the first crossed bounds, if any; `what` follows number or noun."""
    at = np.flatnonzero(crossed)
    if at.size:
        more = f" (and {number(at.size - 1)} more like it)" if at.size > 1 else ""
        least = counted(fewest[at[0]], noun) if noun else f"{number(fewest[at[0]])} "
        yield (f"{name(int(at[0]))} needs at least {least}{what} and can have at "
               f"most {number(most[at[0]])}{more}")
