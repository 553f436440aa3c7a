"""What a unit of violation costs when bounds have to be relaxed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import Float64Array, IntArray, fitted
from alignsolve.model.bounds import EXPERT_KINDS
from alignsolve.model.labels import by_label
from alignsolve.model.problem import AlignmentProblem

#: Weights of the flow class are whole multiples of this share of the largest one, or of up to
#: twice as much.
RESOLUTION = 2.0**-30


@dataclass(frozen=True, eq=False)
class Elastic:
    """Weights of violation, for bounds that cannot hold together.

    Only the ratios of weights matter: violation as a whole comes before fitness.

    Parameters
    ----------
    load : array_like, shape (n_experts,), default 1
        Weight of a holder too few or too many for an expert; fractional bounds
        are rounded inward first.
    named_loads : mapping of str to array_like, shape (n_experts,), optional
        Weight per unit of a named load below or above its bounds. A load that
        is not named weighs `load` per mean positive weight: what a typical client
        brings counts as one holder.
    min_experts : array_like, shape (n_clients,), default 10
        Weight of an expert too few for a client. Heavier than loads by default:
        a client below its minimum may be unable to run the model at all.
    group : array_like, shape (n_groups,) or (n_clients, n_groups), default 10
        Weight of an expert too few in a group.
    fitness_floor : array_like, shape (n_clients,), optional
        Weight per unit of fitness below a fairness floor (or of cost above a
        ceiling); None stands for ``1 / problem.largest``.

    Raises
    ------
    ProblemError
        When used with a problem that the weights do not fit. Weights are finite
        and > 0.

    Notes
    -----
    For the flow class weights are rounded to multiples of ``2**-30`` of the
    largest one (the smallest of them at least), and everything after that is
    exact.

    Examples
    --------
    Two clients cannot be two holders of each expert; a holder too few of expert 1 weighs more:

    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1, load_min=2)
    >>> result = al.solve(problem, elastic=al.Elastic(load=[1.0, 5.0]))
    >>> for relaxation in result.relaxations:
    ...     print(relaxation.text)
    expert 0 has 0 holders, 2 less than the bound 2 asks for
    """

    load: npt.ArrayLike = 1.0
    named_loads: Mapping[str, npt.ArrayLike] | None = None
    min_experts: npt.ArrayLike = 10.0
    group: npt.ArrayLike = 10.0
    fitness_floor: npt.ArrayLike | None = None


@dataclass(frozen=True, eq=False)
class ViolationWeights:
    """The weights of `Elastic` for one problem, checked and broadcast.

    Attributes
    ----------
    load : float64 array, shape (n_experts,)
        Per holder.
    named_loads : dict of str to float64 array, shape (n_experts,)
        Per unit of the load.
    min_experts : float64 array, shape (n_clients,)
        Per expert.
    group : float64 array, shape (n_clients, n_groups)
        Per expert.
    fitness_floor : float64 array, shape (n_clients,)
        Per unit of fitness.
    """

    load: Float64Array
    named_loads: dict[str, Float64Array]
    min_experts: Float64Array
    group: Float64Array
    fitness_floor: Float64Array

    def of(self, kind: str, name: str | None = None, group: int | None = None) -> Float64Array:
        """Return the weights of a kind of bound, by expert or client; as in `Bound`."""
        if kind in EXPERT_KINDS:
            return self.load if name is None else self.named_loads[name]
        if kind == "group_min":
            return self.group[:, group]
        return self.min_experts if kind == "min_experts" else self.fitness_floor


def checked_weights(problem: AlignmentProblem, elastic: object) -> ViolationWeights | None:
    """Return the weights for a problem; None where bounds may not be relaxed.

    Raises
    ------
    ProblemError
        If `elastic` is neither bool nor `Elastic`, or its weights do not fit.
    """
    given = elastic
    if isinstance(elastic, (bool, np.bool_)):
        if not elastic:
            return None
        given = Elastic()
    if not isinstance(given, Elastic):
        raise ProblemError(f"elastic is {elastic!r}; give True, False or al.Elastic(...)")
    ordered = by_label(**vars(given), client_ids=problem.client_ids, expert_ids=problem.expert_ids)
    given = Elastic(**{name: ordered[name] for name in vars(given)})
    n, m = problem.n_clients, problem.n_experts
    load = _weight("load", given.load, (m,), "one per expert")
    floor = given.fitness_floor
    if floor is None:
        floor = 1.0 / problem.largest if problem.largest >= 1e-300 else 1.0
    return ViolationWeights(
        load,
        _named(problem, given.named_loads, load),
        _weight("min_experts", given.min_experts, (n,), "one per client"),
        _weight("group", given.group, (n, problem.n_groups), "clients x groups"),
        _weight("fitness_floor", floor, (n,), "one per client"),
    )


def _weight(name: str, value: npt.ArrayLike, shape: tuple[int, ...], meaning: str) -> Float64Array:
    return fitted(
        f"elastic.{name}", value, shape, meaning,
        valid=lambda a: np.isfinite(a) & (a > 0),
        would_be_right="give a finite weight > 0",
    )


def _named(
    problem: AlignmentProblem, given: Any, load: Float64Array
) -> dict[str, Float64Array]:
    """Return the weight of every named load."""
    if given is not None and not isinstance(given, Mapping):
        raise ProblemError(
            f"elastic.named_loads is {type(given).__name__}; give a mapping of names to weights"
        )
    weights = dict(given or {})
    for name in weights:
        if name not in problem.loads:
            known = ", ".join(map(repr, problem.loads)) or "none"
            raise ProblemError(
                f"elastic.named_loads weighs {name!r}; the named loads of the problem: {known}"
            )
    found = {}
    for name, part in problem.loads.items():
        weight = np.asarray(part.weight)
        typical = float(weight[weight > 0].mean()) if (weight > 0).any() else 1.0
        own = weights.get(name, np.clip(load / max(typical, 1e-300), 1e-300, 1e300))
        found[name] = _weight(f"named_loads[{name!r}]", own, (problem.n_experts,),
                             "one per expert")
    return found


@dataclass(frozen=True, eq=False)
class WholeWeights:
    """Weights of the flow class as whole numbers, without a common factor.

    Attributes
    ----------
    load : int64 array, shape (n_experts,)
    min_experts : int64 array, shape (n_clients,)
    group : int64 array, shape (n_clients, max(1, n_groups))
    """

    load: IntArray
    min_experts: IntArray
    group: IntArray

    @property
    def largest(self) -> int:
        """The largest weight."""
        return max(int(part.max()) for part in (self.load, self.min_experts, self.group))

    @classmethod
    def of(cls, problem: AlignmentProblem, weights: ViolationWeights) -> WholeWeights:
        """Round weights to whole multiples of their resolution."""
        parts = (weights.load, weights.min_experts, weights.group)
        largest = max(float(part.max(initial=0.0)) for part in parts)
        # A power of two: weights with few digits stay what they are.
        exponent = math.frexp(largest)[1] + round(math.log2(RESOLUTION))
        whole = [
            np.maximum(1, np.rint(np.ldexp(part, -exponent))).astype(np.int64) for part in parts
        ]
        common = np.gcd.reduce(np.concatenate([part.ravel() for part in whole]))
        load, minimum, group = (part // common for part in whole)
        if not problem.n_groups:
            group = np.ones((problem.n_clients, 1), dtype=np.int64)
        return cls(load, minimum, group)
