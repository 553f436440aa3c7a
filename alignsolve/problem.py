"""The path of 0.1 for `alignsolve.model.problem`."""

from alignsolve.model.problem import AlignmentProblem, Feature, Load, Resource, tolerance

__all__ = ["AlignmentProblem", "Feature", "Load", "Resource", "tolerance"]
