"""The alignment problem: which client holds which expert this round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from alignsolve.errors import ProblemError
from alignsolve.model.arguments import (
    FLOOR,
    MATRIX,
    Load,
    Resource,
    bound_array,
    checked_arguments,
    checked_cost,
    in_sense,
    known_fitness,
    opposite,
)
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.features import FLOW_FEATURES, Feature, features_in_use
from alignsolve.model.frames import FrameKind, with_labels
from alignsolve.model.html import problem_facts
from alignsolve.model.labels import by_label
from alignsolve.model.large_integers import OffsetMatrix
from alignsolve.model.sources.base import FitnessSource
from alignsolve.model.valuation import Valued
from alignsolve.model.whole_bounds import tolerance

__all__ = ["FLOW_FEATURES", "AlignmentProblem", "Feature", "Load", "Resource", "tolerance"]


class AlignmentProblem(Valued):
    """Capacity-constrained, load-balanced client-expert assignment.

    Maximise total fitness, less load penalties and switching costs, over
    binary ``x[i, j]`` (client i holds expert j), within the bounds below.

    Parameters
    ----------
    fitness : array_like or FitnessSource, shape (n_clients, n_experts)
        Gain of client i training expert j, in any unit. ``-inf`` forbids the
        pair, and so does a mask. A float32 or float64 array is used in place and never
        modified. A source of `alignsolve.model.sources` is read in blocks of rows, once here.
    max_experts : array_like of int, shape (n_clients,)
        Slots of each client.
    min_experts : array_like of int, shape (n_clients,), default 0
        Fewest experts of each client.
    load_min, load_max : array_like, shape (n_experts,), optional
        Bounds on the number of holders of each expert. Fractions round
        inward.
    load_target : array_like, shape (n_experts,), optional
        Number of holders without penalty; None stands for the mean load if
        every client fills its slots, ``sum_i min(max_experts_i, n_experts) /
        n_experts``.
    load_penalty : array_like, shape (n_experts,), default 0
        Convex penalty ``load_penalty * (load - load_target)**2``, >= 0, in
        units of fitness.
    loads : mapping of str to Load, optional
        Further named loads, such as samples or expected finishers.
    resources : mapping of str to Resource, optional
        Named budgets of each client, such as ``memory_mb``.
    expert_group : array_like of int, shape (n_experts,), optional
        Group (MoE layer) of each expert, numbered from 0.
    group_min, group_max : array_like of int, shape (n_groups,) or (n_clients, n_groups), optional
        Fewest and most experts of a group that a client may hold.
    client_fitness_min : array_like, shape (n_clients,), optional
        Fairness floor on ``sum_j fitness[i, j] x[i, j]``; ``-inf`` for none.
    held : sparse matrix, bool array of shape (n_clients, n_experts), or (rows, cols), optional
        Pairs of the previous round.
    switch_cost : array_like, broadcasts to (n_clients, n_experts), default 0
        Cost, finite and >= 0, of a pair that was not held before.
    client_ids, expert_ids : sequence of str, optional
        Distinct names used in errors, files and explanations.

    Raises
    ------
    ProblemError
        If an argument is malformed. Contradictory bounds are no error: such a
        problem is infeasible, which `solve` reports.

    Notes
    -----
    Matrices (fitness, sizes and costs per pair) are used in place, not copied: do
    not modify them while the problem lives. Everything smaller is copied.

    ``largest`` is the largest finite absolute fitness. ``sense`` is "max" here and
    "min" for `from_cost`; `fitness` is then the negated cost. `values` is the
    matrix that solvers see: fitness less the switching cost of pairs not held
    before, in float64.

    Examples
    --------
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1, load_max=1)
    >>> problem.problem_class
    'flow'
    >>> float(al.solve(problem).objective_value)
    5.5
    """

    #: The source that was given as fitness, or None. A source over an array, in memory
    #: or mapped, stands beside that array; any other is `fitness` itself.
    source: FitnessSource | None
    max_experts: IntArray
    min_experts: IntArray
    load_min: Float64Array
    load_max: Float64Array
    resources: Mapping[str, Resource]
    expert_group: IntArray | None
    group_min: IntArray | None
    group_max: IntArray | None
    client_fitness_min: Float64Array
    client_ids: tuple[str, ...] | None
    expert_ids: tuple[str, ...] | None
    largest: float
    #: The kind of data frame that the matrix came in, or None.
    frame_kind: FrameKind | None
    _holder_bounds: tuple[IntArray, IntArray]
    _slot_bounds: tuple[IntArray, IntArray]

    def __init__(
        self, fitness: npt.ArrayLike | FitnessSource | OffsetMatrix, max_experts: npt.ArrayLike, *,
        min_experts: npt.ArrayLike = 0, load_min: npt.ArrayLike | None = 0,
        load_max: npt.ArrayLike | None = None, load_target: npt.ArrayLike | None = None,
        load_penalty: npt.ArrayLike = 0.0, loads: Mapping[str, Load] | None = None,
        resources: Mapping[str, Resource] | None = None, expert_group: npt.ArrayLike | None = None,
        group_min: npt.ArrayLike | None = None, group_max: npt.ArrayLike | None = None,
        client_fitness_min: npt.ArrayLike | None = None, held: Any = None,
        switch_cost: npt.ArrayLike = 0.0, client_ids: Sequence[object] | None = None,
        expert_ids: Sequence[object] | None = None,
    ) -> None:
        # First of all: any name set before would be taken for an argument.
        arguments = {name: value for name, value in locals().items() if name != "self"}
        named, frame_kind = with_labels("fitness", arguments)
        given = by_label(**named)
        matrix, forbids, largest, integers = known_fitness(given.pop("fitness"))
        n, m = matrix.shape
        checked = checked_arguments(n, m, given)
        if integers is not None:
            fewest, most = checked["_slot_bounds"]
            integers.refuse_free(fewest, most, checked["client_fitness_min"])
        # Not by assignment, which `__setattr__` refuses.
        vars(self).update(
            checked, sense="max", fitness=matrix, largest=largest,
            source=fitness if isinstance(fitness, FitnessSource) else None,
            features=features_in_use(checked, forbids), integers=integers, frame_kind=frame_kind,
        )

    @classmethod
    def from_frame(
        cls, frame: Any, client: str = "client", expert: str = "expert", fitness: str = "fitness",
        clients: Any = None, experts: Any = None, *, cost: str | None = None, **arguments: Any,
    ) -> AlignmentProblem:
        """Build a problem from a data frame with a row for every pair that is not forbidden.

        Parameters
        ----------
        frame : data frame of pandas, polars, pyarrow or another library that narwhals knows
            Ids of client and expert (texts or whole numbers), the value of the pair, and any of
            the columns ``held`` (0 or 1), ``switch_cost`` and ``size:NAME``. Others are refused.
        client, expert, fitness : str
            Names of columns, also in the other frames. A column ``cost`` in place of fitness is
            minimised.
        clients, experts : data frame, optional
            A row per client, or expert, in the problem's order. Their columns are the arguments
            per client and per expert, as in the tables of ``docs/formats.md``: ``max_experts``,
            ``budget:NAME``, ``weight:NAME``; ``load_max``, ``size:NAME``, ``max:NAME``, ...
        cost : str, optional
            Name of the column with costs, to be minimised, in place of `fitness`.
        **arguments
            As for `AlignmentProblem`, or `from_cost`, where columns do not give them;
            ``max_experts`` is 1 by default.

        Raises
        ------
        ProblemError
            Naming frame, row (from 0) and column of what is missing, repeated or wrong; or
            with the line that installs what is missing.

        Notes
        -----
        Without `clients`, or `experts`, ids come in the order of their numbers where all are
        whole numbers, else of first appearance. Needs the extra ``frames`` (narwhals).
        """
        from alignsolve.model.long_frames import long_arguments  # with what reads tables

        if cost is not None and fitness != "fitness":
            raise ProblemError(f"from_frame got fitness={fitness!r} and cost={cost!r}; give one")
        values = {"fitness": fitness} if cost is None else {"cost": cost}
        sense, found, kind = long_arguments(
            {"frame": frame, "clients": clients, "experts": experts},
            {"client": client, "expert": expert} | values, arguments,
        )
        return problem_of(sense, found, kind)

    @classmethod
    def from_cost(
        cls, cost: npt.ArrayLike | FitnessSource, max_experts: npt.ArrayLike, *,
        client_cost_max: npt.ArrayLike | None = None, **arguments: Any,
    ) -> AlignmentProblem:
        """Build a problem that minimises cost; ``+inf`` forbids a pair.

        Parameters
        ----------
        cost : array_like or FitnessSource, shape (n_clients, n_experts)
            Cost of each pair. Values, bounds and prices of the results are in
            this sense: the bound is a lower bound, and a price is the change
            of the least cost per further slot (hence usually <= 0).
        max_experts : array_like of int, shape (n_clients,)
            Slots of each client.
        client_cost_max : array_like, shape (n_clients,), optional
            Fairness ceiling on a client's total cost.
        **arguments
            As for `AlignmentProblem`, except ``client_fitness_min``.

        Raises
        ------
        ProblemError
            If an argument is malformed.
        """
        if "client_fitness_min" in arguments:
            raise ProblemError("from_cost takes client_cost_max in place of client_fitness_min")
        named, kind = with_labels("cost", {"cost": cost, **arguments})
        arguments = by_label(client_cost_max=client_cost_max, **named)
        costs, ceiling = checked_cost(arguments.pop("cost")), arguments.pop("client_cost_max")
        fitness, n = opposite("cost", costs), costs.shape[0] if costs.shape else 0
        ceiling = bound_array("client_cost_max", ceiling, n, np.inf, "one per client")
        problem = cls(fitness, max_experts, client_fitness_min=0 - ceiling, **arguments)
        vars(problem).update(sense="min", frame_kind=kind)
        return problem

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(
            f"AlignmentProblem is immutable; use problem.replace({name}=...) for a changed copy"
        )

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("AlignmentProblem is immutable")

    def __reduce__(self) -> tuple[Any, ...]:
        return problem_of, (self.sense, self.arguments(), self.frame_kind)

    def __repr__(self) -> str:
        return (
            f"AlignmentProblem({self.n_clients} clients x {self.n_experts} experts, "
            f"{self.sense}, {self.fitness.dtype}, class {self.problem_class}: {self.class_reason})"
        )

    def _repr_html_(self) -> str:
        return problem_facts(self)

    # -- size and class ---------------------------------------------------

    @property
    def n_clients(self) -> int:
        """Number of clients."""
        return int(self.fitness.shape[0])

    @property
    def streamed(self) -> bool:
        """Whether fitness is read in blocks of rows, and never there as a whole."""
        return isinstance(self.fitness, FitnessSource)

    @property
    def n_groups(self) -> int:
        """Number of expert groups; 0 without groups."""
        return 0 if self.group_max is None else int(self.group_max.shape[1])

    @property
    def problem_class(self) -> Literal["flow", "mip"]:
        """"flow" (exact in polynomial time) or "mip" (NP-hard)."""
        return "flow" if self.features <= FLOW_FEATURES else "mip"

    @property
    def class_reason(self) -> str:
        """Why the problem is in its class, in one phrase."""
        beyond = ", ".join(sorted(part.value for part in self.features - FLOW_FEATURES))
        if beyond:
            return f"not a flow because of {beyond}"
        used = ", ".join(sorted(part.value for part in self.features))
        return f"a flow of client slots{' with ' if used else ''}{used}"

    # -- the integer bounds that solvers use --------------------------------

    def holder_bounds(self) -> tuple[IntArray, IntArray]:
        """Return the whole bounds on holders, each int64 of shape (n_experts,).

        Fractions round inward, with the package's tolerance so that
        ``0.1 * 30`` holders are 3. A pair with ``low > high`` is infeasible. Read-only.
        """
        return self._holder_bounds

    def slot_bounds(self) -> tuple[IntArray, IntArray]:
        """Return fewest and most experts of each client, int64, at most n_experts (+1).

        Read-only.
        """
        return self._slot_bounds

    # -- names --------------------------------------------------------------

    def client_name(self, client: int) -> str:
        """Return how messages call a client."""
        return f"client {client if self.client_ids is None else repr(self.client_ids[client])}"

    def expert_name(self, expert: int) -> str:
        """Return how messages call an expert."""
        return f"expert {expert if self.expert_ids is None else repr(self.expert_ids[expert])}"

    # -- copies -------------------------------------------------------------

    def arguments(self) -> dict[str, Any]:
        """Return constructor arguments that rebuild this problem, in its own sense.

        Returns
        -------
        arguments : dict
            For `AlignmentProblem`, or, where `sense` is "min", for
            `from_cost` (keys ``cost`` and ``client_cost_max``). Arrays are
            the problem's own, not copies, except the negated ones.
        """
        names = (
            "max_experts min_experts load_min load_max load_target load_penalty loads resources "
            "expert_group group_min group_max held switch_cost client_ids expert_ids"
        )
        arguments = {name: getattr(self, name) for name in names.split()}
        arguments["loads"] = dict(self.loads)
        arguments["resources"] = dict(self.resources)
        values: Any = self.fitness if self.source is None else self.source
        floor = self.client_fitness_min if self.sense == "max" else 0 - self.client_fitness_min
        if self.integers is not None:
            values = self.integers.given()
        elif self.sense == "min":
            values = opposite("fitness", values)
        return arguments | {MATRIX[self.sense]: values, FLOOR[self.sense]: floor}

    def replace(self, **changes: Any) -> AlignmentProblem:
        """Return a problem with some constructor arguments changed, same sense.

        Values and floors may be given in either sense, ``fitness`` or ``cost``,
        ``client_fitness_min`` or ``client_cost_max``; they are turned to the problem's own.

        Raises
        ------
        ProblemError
            If both of such two are given, or the arguments do not fit each other.
        """
        ids = {"client_ids": self.client_ids, "expert_ids": self.expert_ids}
        kind = None if self.frame_kind is None else self.frame_kind.with_new_ids(changes)
        changes = in_sense(self.sense, by_label(**(ids | changes)))
        return problem_of(self.sense, self.arguments() | changes, kind)


def problem_of(
    sense: str, arguments: dict[str, Any], frame_kind: FrameKind | None = None
) -> AlignmentProblem:
    """Return the problem of constructor arguments, named for a sense, "max" or "min".

    `frame_kind` is that of the frames they come from, where they are in frames no more.
    """
    build = AlignmentProblem.from_cost if sense == "min" else AlignmentProblem
    problem = build(**arguments)
    if frame_kind is not None:
        vars(problem)["frame_kind"] = frame_kind
    return problem
