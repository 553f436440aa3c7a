"""What must be settled before Flower is imported: its version, and that it reports to nobody."""

from __future__ import annotations

import os
import re
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

#: What Flower allows of the packages that others like newer: the first release too new.
CAPS = {"typer": (0, 21), "rich": (15,)}

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
    try:
        found = version("flwr")
    except PackageNotFoundError:
        raise EngineError(f"the engine flower needs Flower: {HINT}") from None
    conflicts = [text for name, cap in CAPS.items() if (text := _above(name, cap))]
    told = f"; {', '.join(conflicts)}" if conflicts else ""
    if not OLDEST <= _release(found) < TOO_NEW:
        raise EngineError(
            f"Flower {found} is installed, and {_spelled(OLDEST)} or newer, below "
            f"{_spelled(TOO_NEW)}, is needed{told}. pip takes an old Flower where another package "
            f"asks for a newer typer or rich than Flower allows ({_caps()}): {HINT} in an "
            "environment of its own, or lower that package")
    if conflicts:
        raise EngineError(f"Flower {found} allows only {_caps()}{told}: {HINT}, and lower or "
                          "leave out the package that asked for more")


def _above(name: str, cap: tuple[int, ...]) -> str:
    """Return what is said of a package that is at its cap or above; else nothing."""
    try:
        found = version(name)
    except PackageNotFoundError:
        return ""
    return f"{name} {found} is installed" if _release(found) >= cap else ""


def _release(text: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with, two at most.

    Examples
    --------
    >>> _release("1.41.0"), _release("15.0.0rc1")
    ((1, 41), (15, 0))
    """
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def _spelled(numbers: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in numbers)


def _caps() -> str:
    return ", ".join(f"{name} < {_spelled(cap)}" for name, cap in CAPS.items())
