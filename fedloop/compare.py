"""Run strategies on the same seeds, and put their figures side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fedloop.config import Config, build_config
from fedloop.metrics import estimate, paired_change, summary
from fedloop.train import train
from fedloop.world import Record, load_data

#: Strategy -> seed -> the records of its rounds.
Runs = dict[str, dict[int, list[Record]]]


def compare(
    config: Config, strategies: Sequence[str], seeds: Sequence[int], folder: Path | None = None,
    on_round: Callable[[str, int, Record], None] | None = None,
) -> Runs:
    """Run every strategy with every seed.

    Parameters
    ----------
    config : Config
        Settings; strategy and seed are replaced.
    strategies, seeds : sequences
        What to run. All strategies of a seed have the same data, model, devices
        and luck.
    folder : Path, optional
        Every run has a folder in it, and is resumed from there.
    on_round : callable, optional
        Called with strategy, seed and the record of every round played.
    """
    data = load_data(config)
    runs: Runs = {strategy: {} for strategy in strategies}
    for seed in seeds:
        for strategy in strategies:
            chosen = build_config(config.model_dump() | {"seed": seed, "strategy": strategy})
            place = None if folder is None else folder / strategy / f"seed-{seed}"
            tell = None if on_round is None else partial(on_round, strategy, seed)
            _, state = train(chosen, place, data=data, on_round=tell)
            runs[strategy][seed] = state.records
    return runs


def domains(config: Config, seeds: Sequence[int]) -> dict[int, np.ndarray]:
    """Return the clients' domains for every seed."""
    spec = config.partition
    number = np.arange(spec.clients) % (spec.domains if spec.has_domains else 1)
    return dict.fromkeys(seeds, number)


def figures(runs: Runs, targets: Sequence[float], ours: str) -> list[dict[str, Any]]:
    """Return a row per strategy: means over seeds with 95% intervals.

    Parameters
    ----------
    runs : dict
        From `compare`.
    targets : sequence of float
        Accuracies, as shares.
    ours : str
        The strategy that others are compared with, seed by seed.

    Returns
    -------
    list of dict
        `Estimate` by name. ``rounds_to_80`` and its like count a run that never
        arrived as the last round, and as censored. ``fewer_rounds_to_80``: by
        which share `ours` needs fewer rounds than this strategy.
    """
    found = {strategy: [summary(records, targets) for records in seeds.values()]
             for strategy, seeds in runs.items()}
    rows = []
    for strategy, summaries in found.items():
        row: dict[str, Any] = {"strategy": strategy}
        for name in ("accuracy", "worst_decile", "accuracy_all", "load_cv"):
            row[name] = estimate([one[name] for one in summaries])
        for target in summaries[0]["rounds_to"]:
            for kind in ("rounds", "bytes", "seconds"):
                values = [one[f"{kind}_to"][target] for one in summaries]
                limit = float(np.mean([one[kind] for one in summaries]))
                row[f"{kind}_to_{target}"] = estimate(values, limit)
                if strategy != ours and ours in found:
                    own = [one[f"{kind}_to"][target] for one in found[ours]]
                    change = paired_change(own, values, limit)
                    row[f"fewer_{kind}_to_{target}"] = replace(change, mean=-change.mean)
        rows.append(row)
    return rows
