"""Play fedloop's experiment on Flower's simulation: every client a node, in Ray's processes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from fedloop.config import Config
from fedloop.flower.client_app import app as client_app
from fedloop.flower.engine import FlowerClients, check_settings, train_on
from fedloop.world import Record, State, World

FLOWER_LOGGER = logging.getLogger("flwr")

#: Ray stays on loopback, starts for itself, and shows no dashboard.
RAY = {"include_dashboard": False, "_node_ip_address": "127.0.0.1", "address": "local",
       "log_to_driver": False}


def train_simulated(
    config: Config, folder: Path | None = None, *, timeout: float = 600.0,
    on_round: Callable[[Record], None] | None = None, workers: int | None = None,
) -> tuple[World, State, FlowerClients]:
    """Run, or resume, a training in Flower's simulation.

    Parameters
    ----------
    config, folder, on_round
        As for `fedloop.train.train`.
    timeout : float
        Seconds to wait for the clients of a round.
    workers : int, optional
        Processes that play clients, one at a time each; by default one per core.

    Notes
    -----
    Plans and curves are those of `fedloop.train.train` with ``local.batched`` off;
    batched or not, sums differ within rounding.
    """
    check_settings(config)
    found: list[tuple[World, State, FlowerClients]] = []
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        found.append(train_on(grid, config, folder, timeout=timeout, on_round=on_round))

    level = FLOWER_LOGGER.level
    FLOWER_LOGGER.setLevel(logging.WARNING)
    try:
        run_simulation(
            server, client_app, config.partition.clients,
            backend_config={
                "init_args": {**RAY, "num_cpus": workers or os.cpu_count() or 1},
                "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            },
        )
    finally:
        FLOWER_LOGGER.setLevel(level)
    return found[0]
