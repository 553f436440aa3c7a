"""What must be settled before Flower is imported: its version, and that it reports to nobody."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version

from packaging.specifiers import SpecifierSet

from fedloop.errors import EngineError

#: What turns reporting off, in Flower and in Ray.
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",     # events to telemetry.flower.ai
    "FLWR_DISABLE_UPDATE_CHECK": "1",  # asks api.flower.ai for newer versions
    "RAY_USAGE_STATS_ENABLED": "0",    # usage statistics of Ray
}

#: Releases that this is written for, and what Flower allows of packages that others like newer.
NEEDED = {"flwr": ">=1.41,<1.43", "typer": "<0.21", "rich": "<15"}

HINT = "pip install 'alignsolve[flower]'"


def turn_reporting_off() -> None:
    """Set the variables of `QUIET` that the environment does not set itself."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    telemetry = sys.modules.get("flwr.supercore.telemetry")
    if telemetry is not None:  # imported before this package, it has read its variable already
        name = "FLWR_TELEMETRY_ENABLED"
        setattr(telemetry, name, os.environ[name])


def check_versions() -> None:
    """Check that Flower is there, of a version that this works with, and among its likes.

    Raises
    ------
    EngineError
        If not. pip installs a Flower of years ago, without a word, where another
        package asks for a typer or a rich above Flower's caps.
    """
    wrong = []
    for name, needed in NEEDED.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            if name == "flwr":
                raise EngineError(f"the engine flower needs Flower: {HINT}") from None
        else:
            if not SpecifierSet(needed).contains(found, prereleases=True):
                wrong.append(f"{name} {found} is installed, and {needed} is needed")
    if wrong:
        caps = " and ".join(name + NEEDED[name] for name in ("typer", "rich"))
        raise EngineError(f"{'; '.join(wrong)}. pip takes an old Flower where another package asks "
                          f"for more than Flower allows, {caps}: {HINT} in an environment of its "
                          "own, or lower that package")
