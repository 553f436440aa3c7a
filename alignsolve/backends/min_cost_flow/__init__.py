"""Solvers of minimum-cost flow networks: OR-Tools and NetworkX."""
