"""Hypothesis profiles: no deadline anywhere, the same examples on every run of `make test`."""

import os
import signal

import pytest
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


@pytest.fixture(autouse=True)
def no_ctrl_c_yet(monkeypatch):
    """Let the Ctrl-C of one test not make that of the next one the second."""
    monkeypatch.setattr("alignsolve.interrupts._answered", -float("inf"))


@pytest.fixture(scope="session", params=["generated", "published"])
def published(request, tmp_path_factory):
    """Return a folder of instances in the published formats: small ones, and the real ones."""
    from tests.files import SHARED, write_published

    if request.param == "generated":
        folder = tmp_path_factory.mktemp("published")
        write_published(folder)
        return folder
    if not SHARED.is_dir():
        pytest.skip(f"no published instances at {SHARED}")
    return SHARED
