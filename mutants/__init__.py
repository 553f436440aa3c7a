"""Mutations of the packages, and whether the tests notice them; see docs/mutants.md."""
