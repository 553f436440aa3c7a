"""Leave modules of optional engines out of the doctests where the engine is not installed."""

from importlib.util import find_spec

# Before pytest imports modules one by one, which would set `alignsolve.solve` to the package.
import alignsolve  # noqa: F401

collect_ignore_glob = [] if find_spec("flwr") else ["fedloop/flower/*"]
