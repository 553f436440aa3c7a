"""Find a conflict, and check one."""

from __future__ import annotations

import numpy.typing as npt

from alignsolve.errors import ProblemError
from alignsolve.infeasibility.check import ListedFlow, check_bounds
from alignsolve.infeasibility.conflict import Conflict, ConflictCheck
from alignsolve.infeasibility.hall import find_flow_conflict
from alignsolve.infeasibility.text import flow_text
from alignsolve.model.bounds import BoundSet, all_bounds, require_bounds
from alignsolve.model.problem import AlignmentProblem
from alignsolve.status import Limits, Subsolver


def find_conflict(
    problem: AlignmentProblem, ask: Subsolver, limits: Limits,
    experts: npt.ArrayLike | None = None,
) -> Conflict:
    """Return a small set of bounds of an infeasible problem that cannot hold together.

    Parameters
    ----------
    problem : AlignmentProblem
        An infeasible problem.
    ask : Subsolver
        Solves parts of problems of the mip class by a backend.
    limits : Limits
        Deadline, at which the set found so far is returned, perhaps larger than it need
        be: see `Conflict.irreducible` and `Conflict.proved`. Seed and threads of `ask`.
    experts : array_like of int, optional
        Experts whose load bounds a backend found in conflict. It saves time
        where it is right, and does no harm where it is not.

    Returns
    -------
    Conflict
        Without any one of its entries the others can hold, except where time
        ran out. Other such sets may exist, and smaller ones.

    Raises
    ------
    ProblemError
        If the problem is feasible.

    Notes
    -----
    In the flow class a conflict lies within one client, within the bounds of
    one expert, or between the bounds of some experts and those of the clients
    around them; it is found by counting and by maximum flows, in a few passes
    over the matrix, one byte per pair and some 150 per client. In the mip class the
    flow part is tried first. Then bounds are left out as long as an exact backend proves the
    rest infeasible: each of perhaps hundreds of questions is NP-hard, so give a
    deadline.

    """
    try:
        found = find_flow_conflict(problem, limits.deadline, experts)
        if found is not None:
            return Conflict.of(
                problem, found.kept, flow_text(problem, found), found.irreducible,
                needed=found.needed, possible=found.possible,
            )
        if problem.problem_class == "mip":
            # SciPy is slow to import.
            from alignsolve.infeasibility.deletion_filter import find_mip_conflict

            mip = find_mip_conflict(problem, ask, limits)
            if mip is not None:
                return mip
    except TimeoutError:
        every = all_bounds(problem)
        return Conflict(
            bounds=every.bounds(problem, limit=0),
            text=f"time ran out before a conflict was found among the {every.size:,} bounds",
            irreducible=False, proved=False,
        )
    raise ProblemError("the problem is feasible: its bounds have no conflict")


def check_conflict(
    problem: AlignmentProblem, conflict: Conflict, ask: Subsolver, limits: Limits
) -> ConflictCheck:
    """Re-check a conflict from its bounds alone; see `alignsolve.check_conflict`."""
    bounds = conflict.bounds
    require_bounds(problem, bounds)
    listed = BoundSet.of(bounds)
    if all(bound.name is None and bound.kind != "client_fitness_min" for bound in bounds):
        return check_bounds(bounds, listed, ListedFlow(problem, listed).can_hold)
    # SciPy is slow to import.
    from alignsolve.infeasibility.deletion_filter import decide

    def can_hold(kept: BoundSet) -> bool | None:
        found = decide(problem, kept, ask, limits)
        return None if found is None else not isinstance(found, BoundSet)

    return check_bounds(bounds, listed, can_hold)
