"""Pictures of one run, and of several side by side: matplotlib Axes in, and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alignsolve.io.files import atomic_write
from alignsolve.plot.style import (
    COLOURS,
    axes_or_new,
    figure_bytes,
    heat_map,
    line_styles,
    new_figure,
)
from fedloop.compare import Runs
from fedloop.config import Config
from fedloop.world import Record, World

#: Last rounds over which a specialisation map is taken.
MAP_ROUNDS = 20

#: Strategies in the order of their colours, ours first.
STRATEGIES = ("optimal", "greedy", "random", "round-robin", "flex-moe", "fedamole")

#: Load CV below which the axis is linear, so that 0 has a place on it.
LINEAR_CV = 1e-4

#: What curves are drawn against: of a record how much it adds, and the axis's label.
ACROSS: dict[str, tuple[Callable[[Record], float], str]] = {
    "round": (lambda record: 1.0, "round"),
    "bytes": (lambda record: (record["down_bytes"] + record["up_bytes"]) / 1e6,
              "MB moved, down and up"),
    "seconds": (lambda record: record["seconds"], "simulated seconds"),
}


def specialisation(records: Sequence[Record], n_clients: int, n_experts: int) -> np.ndarray:
    """Return in which share of the last `MAP_ROUNDS` rounds a client held an expert.

    Returns
    -------
    ndarray
        float64, shape (n_clients, n_experts); 0 for a client that took no part.
    """
    times = np.zeros((n_clients, n_experts))
    asked = np.zeros(n_clients)
    for record in records[-MAP_ROUNDS:]:
        for client, experts in record["held"].items():
            times[int(client), experts] += 1
            asked[int(client)] += 1
    return times / np.maximum(asked, 1)[:, None]


def described(config: Config) -> str:
    """Return data, partition and sizes of a run, for titles."""
    model = config.model
    layers = f" in {model.layers} layers" if model.layers > 1 else ""
    return (f"{config.data.name}, {config.partition.kind}, {config.partition.clients} clients x "
            f"{model.experts} experts{layers}")


# -- one run -----------------------------------------------------------------------------


def accuracy(records: Sequence[Record], axes: Any = None) -> Any:
    """Draw a run's accuracies over its rounds.

    Parameters
    ----------
    records : sequence of dict
        As `fedloop.run_training` leaves them.
    axes : matplotlib Axes, optional
        Where to draw; by default a new figure.
    """
    axes = axes_or_new(axes)
    rounds = [record["round"] for record in records]
    for (name, text), style in zip(
        (("accuracy", "as served"), ("accuracy_all", "with all experts"),
         ("worst_decile", "worst tenth of the clients, as served")),
        line_styles(("a", "b", "c")).values(), strict=True,
    ):  # fmt: skip
        axes.plot(rounds, [record[name] for record in records], label=text, **style)
    axes.set(xlabel="round", ylabel="accuracy on held-out data", ylim=(0, 1), title="accuracy")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.legend(fontsize="small")
    return axes


def loads(records: Sequence[Record], axes: Any = None, title: str = "load") -> Any:
    """Draw finished holders of the experts so far, from the fewest to the most, and the mean.

    Parameters
    ----------
    records : sequence of dict
        As `fedloop.run_training` leaves them.
    axes : matplotlib Axes, optional
        Where to draw; by default a new figure.
    title : str
        What stands above it, before the last load CV.
    """
    axes = axes_or_new(axes)
    rounds = [record["round"] for record in records]
    holders = np.array([record["holders"] for record in records])
    axes.fill_between(rounds, holders.min(axis=1), holders.max(axis=1), color=COLOURS[0],
                      alpha=0.3, linewidth=1.2, label=f"fewest to most of {holders.shape[1]}")
    axes.plot(rounds, holders.mean(axis=1), color=COLOURS[0], linewidth=1.2, label="mean")
    axes.set(xlabel="round", ylabel="finished holders of an expert so far",
             ylim=(0, 1.05 * max(1, holders.max())),
             title=f"{title}, CV {records[-1]['load_cv']:.4f}")
    axes.locator_params(axis="x", integer=True)
    axes.legend(fontsize="small", loc="upper left")
    return axes


def holdings(
    records: Sequence[Record], domain: np.ndarray, n_experts: int, axes: Any = None,
    title: str = "who holds what",
) -> Any:  # fmt: skip
    """Draw in which share of the last rounds each client held each expert.

    Parameters
    ----------
    records : sequence of dict
        As `fedloop.run_training` leaves them.
    domain : ndarray, int64, shape (n_clients,)
        The clients' domains, which sort them; lines part them.
    n_experts : int
        Experts of all layers.
    axes : matplotlib Axes, optional
        Where to draw; by default a new figure.
    title : str
        What stands above it.
    """
    axes = axes_or_new(axes)
    held = specialisation(records, len(domain), n_experts)
    rounds = min(MAP_ROUNDS, len(records))
    _by_client(axes, held, domain, f"share of the last {rounds} rounds held", 1.0)
    axes.set(xlabel="expert", title=title)
    return axes


def _by_client(
    axes: Any, values: np.ndarray, domain: np.ndarray, label: str, most: float | None = None
) -> None:
    """Draw clients, sorted by domain, against experts or labels."""
    order = np.argsort(domain, kind="stable")
    heat_map(axes, values[order], label, most)
    for row in np.flatnonzero(np.diff(domain[order])) + 0.5:
        axes.axhline(row, color="white", linewidth=1)
    axes.locator_params(integer=True)
    axes.set_ylabel("client, sorted by domain")


def run_figure(world: World, records: Sequence[Record]) -> Any:
    """Return a figure of a run: accuracy, load, who holds what, and the labels of every client."""
    figure = new_figure(11, 8, dpi=100)
    axes = figure.subplots(2, 2)
    config, domain = world.config, world.partition.domain
    figure.suptitle(f"{described(config)}: {config.strategy}, seed {config.seed}")
    accuracy(records, axes[0, 0])
    loads(records, axes[0, 1])
    holdings(records, domain, world.spec.total_experts, axes[1, 0])
    _by_client(axes[1, 1], world.partition.label_counts, domain, "training samples")
    axes[1, 1].set(xlabel="label", title="what clients have")
    return figure


# -- several runs -----------------------------------------------------------------------


def curves(
    runs: Runs, axes: Any = None, *, value: str = "accuracy", across: str = "round"
) -> Any:
    """Draw each strategy's mean over seeds, and the range of its seeds as a band.

    Parameters
    ----------
    runs : dict
        From `fedloop.compare.compare`.
    axes : matplotlib Axes, optional
        Where to draw; by default a new figure.
    value : {"accuracy", "accuracy_all", "worst_decile", "load_cv"}
        What to draw; a load CV on an axis that is logarithmic above `LINEAR_CV`.
    across : {"round", "bytes", "seconds"}
        Against what.
    """
    axes = axes_or_new(axes)
    adds, label = ACROSS[across]
    styles = line_styles([*STRATEGIES, *(name for name in runs if name not in STRATEGIES)])
    for strategy, seeds in runs.items():
        length = min(len(records) for records in seeds.values())
        x = np.mean([np.cumsum([adds(record) for record in records[:length]])
                     for records in seeds.values()], axis=0)
        y = np.array([[record[value] for record in records[:length]]
                      for records in seeds.values()])
        axes.plot(x, y.mean(axis=0), label=strategy, **styles[strategy])
        axes.fill_between(x, y.min(axis=0), y.max(axis=0), color=styles[strategy]["color"],
                          alpha=0.15, linewidth=0)
    axes.set_xlabel(label)
    if value == "load_cv":
        axes.set_yscale("symlog", linthresh=LINEAR_CV)
        axes.set(ylabel="load CV so far", ylim=(0, None))
    else:
        axes.set(ylabel=f"mean {value.replace('_', ' ')} of the clients", ylim=(0, 1))
    axes.grid(alpha=0.25, linewidth=0.6)
    return axes


def comparison_figure(
    runs: Runs, domain: dict[int, np.ndarray], n_experts: int, title: str = ""
) -> Any:
    """Return a figure of accuracy against rounds, bytes and time, load, and who holds what.

    Curves are means over seeds, with the range of the seeds as a band; loads and holdings are
    those of the lowest seed, and share their scales.

    Parameters
    ----------
    runs : dict
        From `fedloop.compare.compare`.
    domain : dict of int to ndarray
        Seed -> int64 domains of the clients.
    n_experts : int
        Experts of all layers.
    title : str
        What stands above all, such as `described` returns.
    """
    figure = new_figure(3.6 * max(4, len(runs)), 11, dpi=100)
    seeds = sorted({seed for found in runs.values() for seed in found})
    named = f"seed {seeds[0]}"
    if len(seeds) > 1:
        named = f"{len(seeds)} seeds, {seeds[0]} to {seeds[-1]}"
    figure.suptitle(", ".join(part for part in (title, named) if part))
    parts: Any = figure.subfigures(3, 1)
    upper, middle, lower = parts
    axes = upper.subplots(1, 4)
    for axis, across in zip(axes, ACROSS, strict=False):
        curves(runs, axis, across=across)
    curves(runs, axes[3], value="load_cv")
    axes[0].legend(fontsize="small")
    bars = middle.subplots(1, len(runs), squeeze=False, sharey=True)[0]
    maps = lower.subplots(1, len(runs), squeeze=False)[0]
    for above, axis, (strategy, found) in zip(bars, maps, runs.items(), strict=True):
        seed = min(found)
        loads(found[seed], above, f"{strategy}, seed {seed}")
        holdings(found[seed], domain[seed], n_experts, axis, f"{strategy}, seed {seed}")
    bars[0].set_ylim(0, max(axis.dataLim.y1 for axis in bars) * 1.05)
    for row in (bars, maps):
        for axis in row[1:]:
            axis.set_ylabel("")
    return figure


# -- files -------------------------------------------------------------------------------


def draw_history(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw every figure that an app's last round has, one below the other.

    Where an earlier round lacks it, there is a gap.
    """
    names = [name for name, value in lines[-1].items()
             if name != "round" and isinstance(value, int | float)]
    figure = new_figure(7, 2.2 * len(names))
    for axes, name in zip(figure.subplots(len(names), 1, squeeze=False)[:, 0], names, strict=True):
        values = [line.get(name) for line in lines]
        axes.plot([line["round"] for line in lines],
                  [value if isinstance(value, int | float) else np.nan for value in values])
        axes.set(xlabel="round", ylabel=name)
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with atomic_write(path) as stream:
        stream.write(figure_bytes(figure, "png"))
