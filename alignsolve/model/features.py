"""The parts of the model that a problem may use, and the class that they make it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import numpy as np


class Feature(enum.Enum):
    """A part of the model that a problem uses and a backend may support.

    Examples
    --------
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem(
    ...     [[3, 1]], max_experts=1, resources={"memory": al.Resource(size=1.0, budget=2.0)})
    >>> al.Feature.RESOURCES in problem.features
    True
    """

    MIN_EXPERTS = "client minima"
    LOAD_BOUNDS = "load bounds"
    LOAD_PENALTY = "load penalty"
    FORBIDDEN = "forbidden pairs"
    GROUPS = "expert groups"
    SWITCHING = "switching costs"
    NAMED_LOADS = "named loads"
    NAMED_LOAD_PENALTY = "named load penalties"
    RESOURCES = "resources"
    FAIRNESS = "fairness floors"


#: Features that keep the problem a flow problem with integer bounds.
FLOW_FEATURES = frozenset(
    {
        Feature.MIN_EXPERTS,
        Feature.LOAD_BOUNDS,
        Feature.LOAD_PENALTY,
        Feature.FORBIDDEN,
        Feature.GROUPS,
        Feature.SWITCHING,
    }
)


def features_in_use(checked: Mapping[str, Any], forbids: bool) -> frozenset[Feature]:
    """Return the features that can change the answer; idle ones do not count.

    Parameters
    ----------
    checked : mapping of str
        What `alignsolve.model.arguments.checked_arguments` returns.
    forbids : bool
        Whether any pair is forbidden.
    """
    loads, resources = checked["loads"].values(), checked["resources"].values()
    low, high = checked["_holder_bounds"]
    used = {
        Feature.MIN_EXPERTS: checked["min_experts"],
        Feature.LOAD_BOUNDS: (low > 0) | (high < checked["max_experts"].size),
        Feature.LOAD_PENALTY: checked["load_penalty"],
        Feature.FORBIDDEN: forbids,
        Feature.GROUPS: checked["expert_group"] is not None,
        Feature.SWITCHING: checked["switch_cost"],
        Feature.NAMED_LOADS: [(load.min > 0) | (load.max < np.inf) for load in loads],
        Feature.NAMED_LOAD_PENALTY: [load.penalty for load in loads],
        Feature.RESOURCES: [np.isfinite(resource.budget) for resource in resources],
        Feature.FAIRNESS: checked["client_fitness_min"] > -np.inf,
    }
    return frozenset(feature for feature, what in used.items() if np.any(what))
