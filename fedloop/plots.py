"""Pictures of one run, and of several side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from alignsolve.io.files import atomic_write
from fedloop.compare import Runs
from fedloop.world import Record, World

#: Last rounds over which a specialisation map is taken.
MAP_ROUNDS = 20

#: One colour per strategy, ours first.
COLOURS = {"optimal": "C3", "greedy": "C0", "random": "C7", "round-robin": "C1", "flex-moe": "C2",
           "fedamole": "C4"}


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


def draw_history(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw every figure that an app's rounds have, one below the other."""
    names = [name for name, value in lines[-1].items()
             if name != "round" and isinstance(value, int | float)]
    figure = Figure(figsize=(7, 2.2 * len(names)), layout="constrained")
    for axes, name in zip(figure.subplots(len(names), 1, squeeze=False)[:, 0], names, strict=True):
        axes.plot([line["round"] for line in lines], [line[name] for line in lines])
        axes.set(xlabel="round", ylabel=name)
    _save(figure, path)


def draw_run(world: World, records: Sequence[Record], path: Path) -> None:
    """Draw accuracy, load, who holds what, and the labels of every client."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    axes = figure.subplots(2, 2)
    rounds = [record["round"] for record in records]
    for name, text in (("accuracy", "with the experts held"), ("accuracy_all", "with all experts"),
                       ("worst_decile", "worst tenth of the clients, experts held")):
        axes[0, 0].plot(rounds, [record[name] for record in records], label=text)
    axes[0, 0].set(xlabel="round", ylabel="accuracy on held-out images", ylim=(0, 1))
    axes[0, 0].legend()
    axes[0, 1].plot(rounds, [record["holders"] for record in records])
    axes[0, 1].set(xlabel="round", ylabel="finished holders of each expert so far")
    axes[0, 1].set_title(f"load CV {records[-1]['load_cv']:.4f}")
    domain = world.partition.domain
    order = np.argsort(domain, kind="stable")
    held = specialisation(records, len(domain), world.spec.total_experts)
    _heat_map(axes[1, 0], held[order], domain[order], "expert",
              f"share of the last {min(MAP_ROUNDS, len(records))} rounds held")
    _heat_map(axes[1, 1], world.partition.label_counts[order], domain[order], "label",
              "training images")
    _save(figure, path)


def _heat_map(
    axis: Any, values: np.ndarray, domain: np.ndarray, across: str, title: str
) -> None:
    """Draw clients, sorted by domain, against experts or labels."""
    picture = axis.imshow(values, aspect="auto", interpolation="nearest", cmap="viridis")
    axis.figure.colorbar(picture, ax=axis)
    for row in np.flatnonzero(np.diff(domain)) + 0.5:
        axis.axhline(row, color="white", linewidth=1)
    axis.locator_params(integer=True)
    axis.set(xlabel=across, ylabel="client, sorted by domain", title=title)


def draw_comparison(runs: Runs, domain: dict[int, np.ndarray], n_experts: int, path: Path) -> None:
    """Draw accuracy against rounds, bytes and time, load, and who holds what.

    Curves of accuracy and load CV are means over seeds, with the range of the seeds
    as a band; loads and holdings are those of the lowest seed.

    Parameters
    ----------
    runs : dict
        From `fedloop.compare.compare`.
    domain : dict of int to ndarray
        Seed -> int64 domains of the clients.
    n_experts : int
        Experts of all layers.
    path : Path
        The picture.
    """
    width = max(4, len(runs))
    figure = Figure(figsize=(3.6 * width, 11), layout="constrained")
    parts: Any = figure.subfigures(3, 1)
    upper, middle, lower = parts
    axes = upper.subplots(1, 4)
    rounds = _cumulative(lambda record: 1)
    moved = _cumulative(lambda record: (record["down_bytes"] + record["up_bytes"]) / 1e6)
    seconds = _cumulative(lambda record: record["seconds"])
    for axis, across, text in zip(axes, (rounds, moved, seconds),
                                  ("round", "MB moved, down and up", "simulated seconds"),
                                  strict=False):
        _draw_curves(axis, runs, across, "accuracy")
        axis.set(xlabel=text, ylabel="mean accuracy of the clients", ylim=(0, 1))
    _draw_curves(axes[3], runs, rounds, "load_cv")
    axes[3].set(xlabel="round", ylabel="load CV so far", yscale="log")
    axes[0].legend(fontsize="small")
    loads = middle.subplots(1, len(runs), squeeze=False, sharey=True)[0]
    maps = lower.subplots(1, len(runs), squeeze=False)[0]
    for above, axis, (strategy, seeds) in zip(loads, maps, runs.items(), strict=True):
        seed = min(seeds)
        above.plot([record["round"] for record in seeds[seed]],
                   [record["holders"] for record in seeds[seed]], linewidth=1)
        above.set(xlabel="round", ylabel="finished holders of each expert so far",
                  title=f"{strategy}, seed {seed}")
        order = np.argsort(domain[seed], kind="stable")
        held = specialisation(seeds[seed], len(order), n_experts)
        _heat_map(axis, held[order], domain[seed][order], "expert", f"{strategy}, seed {seed}")
    _save(figure, path)


def _cumulative(value: Callable[[Record], float]) -> Callable[[Sequence[Record]], np.ndarray]:
    return lambda records: np.cumsum([value(record) for record in records])


def _draw_curves(
    axis: Any, runs: Runs, across: Callable[[Sequence[Record]], np.ndarray], name: str
) -> None:
    """Draw a strategy's mean over seeds, and the range of its seeds as a band."""
    for strategy, seeds in runs.items():
        length = min(len(records) for records in seeds.values())
        x = np.mean([across(records[:length]) for records in seeds.values()], axis=0)
        y = np.array([[record[name] for record in records[:length]]
                      for records in seeds.values()])
        colour = COLOURS.get(strategy)
        axis.plot(x, y.mean(axis=0), label=strategy, color=colour)
        axis.fill_between(x, y.min(axis=0), y.max(axis=0), color=colour, alpha=0.15, linewidth=0)


def _save(figure: Figure, path: Path) -> None:
    with atomic_write(path) as stream:
        figure.savefig(stream, format="png", dpi=100)
