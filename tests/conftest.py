"""Hypothesis profiles: no deadline anywhere, the same examples on every run of `make test`."""

import os
import signal

from hypothesis import HealthCheck, settings

# Importing it registers backends that crash and hang; only the bench's tests want them.
collect_ignore = ["alignsolve/bench/bench_backends.py"]

# New examples on every run: what `make fuzz` is for.
settings.register_profile(
    "fuzz", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.register_profile("same", settings.get_profile("fuzz"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# Processes started in the background ignore Ctrl-C, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
