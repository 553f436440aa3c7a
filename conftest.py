"""Leave modules of optional engines out of the doctests where the engine is not installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("flwr") else ["fedloop/flower/*"]
