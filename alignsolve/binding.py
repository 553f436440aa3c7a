"""The path of 0.1 for `alignsolve.model.active_bounds`."""

from alignsolve.model.active_bounds import binding_bounds

__all__ = ["binding_bounds"]
