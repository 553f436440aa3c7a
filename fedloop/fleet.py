"""Simulated devices: how many experts they hold, how long they take, and what goes wrong.

The tiers are assumptions, stated here and not measured: a phone on a mobile
network, a laptop on a home network, an edge box on a wired one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedloop.config import FleetSettings
from fedloop.errors import ConfigError

#: Bits in a byte, and bytes in a megabyte as networks count them.
BITS, MEGA = 8, 1e6

#: Speeds are kept within exp of this, so that simulated seconds stay finite.
LARGEST_LOGARITHM = 300.0


@dataclass(frozen=True)
class Device:
    """What a client's device can do.

    Attributes
    ----------
    slots : int
        Most experts held at a time.
    memory_mb : float
        Megabytes for training experts.
    down_mbps, up_mbps : float
        Megabits per second.
    seconds_per_sample : float
        Seconds that one expert takes to train on one image.
    """

    slots: int
    memory_mb: float
    down_mbps: float
    up_mbps: float
    seconds_per_sample: float


#: Devices by tier. Times are for the small models of this package.
TIERS = {
    "phone": Device(1, 64.0, 20.0, 5.0, 2e-3),
    "laptop": Device(2, 256.0, 50.0, 10.0, 8e-4),
    "edge": Device(3, 1024.0, 200.0, 100.0, 3e-4),
    "hospital": Device(4, 4096.0, 1000.0, 1000.0, 1e-4),
}


@dataclass(frozen=True)
class Luck:
    """What happens to a client in a round, whatever it is asked to do.

    Attributes
    ----------
    speed : float
        Factor on its seconds per image, above 0.
    fails : bool
        Whether it stops in mid-round; it has downloaded, and sends nothing.
    corrupts : bool
        Whether a number of its update arrives as NaN.
    """

    speed: float
    fails: bool
    corrupts: bool


def draw_fleet(n_clients: int, settings: FleetSettings, seed: int) -> list[Device]:
    """Draw every client's device, all tiers equally likely.

    Raises
    ------
    ConfigError
        If there is no such tier.
    """
    for tier in settings.tiers:
        if tier not in TIERS:
            raise ConfigError(f"fleet.tiers: there is no tier {tier!r}; choose "
                              f"{', '.join(TIERS)}")
    drawn = np.random.default_rng((seed, 4)).integers(len(settings.tiers), size=n_clients)
    return [TIERS[settings.tiers[number]] for number in drawn]


def draw_luck(seed: int, round_: int, n_clients: int, settings: FleetSettings) -> list[Luck]:
    """Draw what happens to every client in a round, asked or not; the same for every strategy."""
    rng = np.random.default_rng((seed, round_, 0, 5))
    logarithm = settings.speed_spread * rng.standard_normal(n_clients)
    speed = np.exp(logarithm.clip(-LARGEST_LOGARITHM, LARGEST_LOGARITHM))
    rates = settings.failure_rate, settings.corruption_rate
    fails, corrupts = (rng.random((n_clients, 2)) < rates).T
    return [Luck(*row) for row in zip(speed.tolist(), fails.tolist(), corrupts.tolist(),
                                      strict=True)]


@dataclass(frozen=True)
class Times:
    """Simulated seconds of a client's round, and the bytes that it moves."""

    down_bytes: int
    up_bytes: int
    down: float
    train: float
    up: float

    @property
    def total(self) -> float:
        """Return the seconds from the server's word to the end of the upload."""
        return self.down + self.train + self.up


def round_times(device: Device, luck: Luck, down_bytes: int, up_bytes: int, images: int) -> Times:
    """Return how long a client takes.

    Parameters
    ----------
    device, luck : Device, Luck
        What it can do, and its luck this round.
    down_bytes, up_bytes : int
        Bytes moved.
    images : int
        Images trained on, summed over the experts held.
    """
    return Times(
        down_bytes, up_bytes,
        down_bytes * BITS / (device.down_mbps * MEGA),
        images * device.seconds_per_sample * luck.speed,
        up_bytes * BITS / (device.up_mbps * MEGA),
    )
