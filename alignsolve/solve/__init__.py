"""Solve a problem: one call that chooses a backend, checks and certifies."""

from alignsolve.solve.solve import solve

__all__ = ["solve"]
