"""What must be settled before Flower is imported: its version, and that it reports to nobody."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version

from fedloop.errors import EngineError

#: What turns reporting off, in Flower and in Ray.
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",     # events to telemetry.flower.ai
    "FLWR_DISABLE_UPDATE_CHECK": "1",  # asks api.flower.ai for newer versions
    "RAY_USAGE_STATS_ENABLED": "0",    # usage statistics of Ray
}

#: First Flower release that this is written for, and the first that it is not.
OLDEST, TOO_NEW = (1, 41), (1, 43)


def turn_reporting_off() -> None:
    """Set the variables of `QUIET` that the environment does not set itself."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    telemetry = sys.modules.get("flwr.supercore.telemetry")
    if telemetry is not None:  # imported before this package, it has read its variable already
        name = "FLWR_TELEMETRY_ENABLED"
        setattr(telemetry, name, os.environ[name])


def check_versions() -> None:
    """Check that Flower is there, and of a version that this works with.

    Raises
    ------
    EngineError
        If not. pip installs a Flower of years ago, without a word, where another
        package asks for a typer or a rich above Flower's caps.
    """
    hint = "pip install 'alignsolve[flower]'"
    try:
        found = version("flwr")
    except PackageNotFoundError:
        raise EngineError(f"the engine flower needs Flower: {hint}") from None
    release = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if not OLDEST <= release < TOO_NEW:
        raise EngineError(
            f"Flower {found} is installed, and {OLDEST[0]}.{OLDEST[1]} or newer, below "
            f"{TOO_NEW[0]}.{TOO_NEW[1]}, is needed. If it is older, another package asks for a "
            f"typer or a rich above Flower's caps (typer < 0.21, rich < 15): {hint} in an "
            "environment of its own, or lower that package"
        )
