"""Hypothesis profiles: no deadline anywhere, the same examples on every run in CI."""

import os

from hypothesis import HealthCheck, settings

# Importing it registers backends that crash and hang; only the bench's tests want them.
collect_ignore = ["alignsolve/bench_backends.py"]

settings.register_profile(
    "dev", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")
