"""Solvers of one linear model: CP-SAT, HiGHS and SCIP of OR-Tools, and HiGHS of SciPy."""
