"""Rounds and bytes that alignment saves on real images of MNIST.

    python benchmarks/fedloop_mnist.py --data-dir ../shared/data/mnist-t10k

40 clients with 1 to 3 slots, 8 experts, full participation, every client judged on
held-out images of its own domain. Three partitions: rotations by quarter turns,
permuted labels (with personal gates: a shared one cannot know a client's names for
the classes), Dirichlet(0.3) label skew. All strategies, five seeds; and an
ablation of ours. First every strategy is tuned on other seeds, over the same grid,
by its mean accuracy over the rounds of the rotation study; strategies that do not
look at fitness have a smaller grid because the rest of it means nothing to them.

Every run is a line of ``benchmarks/results/fedloop_mnist.jsonl``; runs that are there
are not repeated, so the script may be stopped at any time. It ends with the tables.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _machine import machine_record

from fedloop.config import build_config
from fedloop.metrics import estimate, paired_change, summary
from fedloop.train import load_data, train

RESULTS = Path(__file__).parent / "results" / "fedloop_mnist.jsonl"
STRATEGIES = ("optimal", "greedy", "random", "round-robin", "flex-moe", "fedamole")
BLIND = ("random", "round-robin")
TUNING_SEEDS, SEEDS = (100, 101), (0, 1, 2, 3, 4)
ROUNDS, TUNING_ROUNDS = 120, 80
TARGETS = (0.8, 0.9)

#: Settings that every run has.
BASE: dict[str, Any] = {
    "data.name": "mnist", "data.pool": 2, "data.test_fraction": 0.2,
    "partition.clients": 40, "partition.test_images": 50, "model.experts": 8,
    "local.steps": 5, "local.batch_size": 32,
}
STUDIES: dict[str, dict[str, Any]] = {
    "rotation": {"partition.kind": "rotation"},
    "permuted-labels": {"partition.kind": "permuted-labels", "model.gate": "personal"},
    "dirichlet": {"partition.kind": "dirichlet", "partition.alpha": 0.3},
}
GRID: dict[str, tuple[float, ...]] = {
    "local.learning_rate": (0.5, 1.0),
    "alignment.exploration": (0.1, 0.3, 1.0),
}
ABLATION: dict[str, dict[str, Any]] = {
    "no exploration": {"alignment.exploration": 0.0},
    "no staleness": {"alignment.half_life": "inf"},
    "no deficits": {"alignment.deficits": False},
    "switching cost 0.02": {"alignment.switch_cost": 0.02},
    "plain mean": {"server.weighting": "mean"},
}


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Return ``{"a.b": c}`` as ``{"a": {"b": c}}``."""
    found: dict[str, Any] = {}
    for name, value in flat.items():
        *groups, key = name.split(".")
        part = found
        for group in groups:
            part = part.setdefault(group, {})
        part[key] = value
    return found


def grid(strategy: str) -> Iterator[dict[str, Any]]:
    """Return the settings that a strategy is tuned over."""
    names = [name for name in GRID if strategy not in BLIND or not name.startswith("alignment.")]
    for values in itertools.product(*(GRID[name] for name in names)):
        yield dict(zip(names, values, strict=True))


class Store:
    """The results file, and the runs that it holds."""

    def __init__(self, path: Path, data_dir: Path) -> None:
        self.path, self.data_dir, self.found = path, data_dir, {}
        self.data: Any = None
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                self.found[self._key(row)] = row

    @staticmethod
    def _key(row: dict[str, Any]) -> str:
        names = ("study", "strategy", "seed", "rounds", "settings")
        return json.dumps([row[name] for name in names], sort_keys=True)

    def run(
        self, study: str, strategy: str, seed: int, rounds: int, settings: dict[str, Any]
    ) -> dict[str, Any]:
        """Return a run's row, from the file or by running it."""
        row: dict[str, Any] = {"study": study, "strategy": strategy, "seed": seed,
                               "rounds": rounds, "settings": settings}
        if (key := self._key(row)) in self.found:
            return self.found[key]
        flat = {**BASE, **STUDIES[study], **settings, "data.dir": str(self.data_dir),
                "seed": seed, "rounds": rounds, "strategy": strategy, "targets": TARGETS}
        config = build_config(nested(flat))
        if self.data is None:
            self.data = load_data(config)
        _, state = train(config, data=self.data)
        row |= summary(state.records, TARGETS)
        row["curve"] = [round(record["accuracy"], 4) for record in state.records]
        row["machine"] = machine_record()
        self.path.parent.mkdir(exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        print(study, strategy, seed, settings, row["rounds_to"], f"{row['accuracy']:.3f}",
              f"CV {row['load_cv']:.4f}", flush=True)
        self.found[key] = row
        return row


def tuned(store: Store, strategy: str) -> dict[str, Any]:
    """Return the settings with the best mean accuracy over rounds and tuning seeds."""

    def score(settings: dict[str, Any]) -> float:
        return float(np.mean([
            np.mean(store.run("rotation", strategy, seed, TUNING_ROUNDS, settings)["curve"])
            for seed in TUNING_SEEDS
        ]))

    return max(grid(strategy), key=score)


def table(rows: dict[str, list[dict[str, Any]]], ours: str) -> str:
    """Return a table in Markdown: a row per strategy or variant, paired with ours."""
    lines = ["| | rounds to 80% | fewer with ours | to 90% | fewer with ours | MB to 80% | "
             "accuracy % | worst tenth % | all experts % | load CV |", "|---" * 10 + "|"]
    for name, runs in rows.items():
        cells = [name]
        for target in ("80", "90"):
            values = [run["rounds_to"][target] for run in runs]
            cells.append(spelled(estimate(values, ROUNDS), 1, 1))
            own = [run["rounds_to"][target] for run in rows[ours]]
            change = paired_change(own, values, ROUNDS)
            cells.append("" if name == ours else spelled(change, -100, 0, " %"))
        megabytes = estimate([run["bytes_to"]["80"] for run in runs], runs[0]["bytes"])
        cells.append(spelled(megabytes, 1e-6, 0))
        cells += [spelled(estimate([run[key] for run in runs]), 100, 1)
                  for key in ("accuracy", "worst_decile", "accuracy_all")]
        cells.append(spelled(estimate([run["load_cv"] for run in runs]), 1, 4))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spelled(value: Any, factor: float, digits: int, unit: str = "") -> str:
    """Spell mean ± half of the 95% interval; say how many values are censored."""
    if value.censored == value.n and not unit:
        return f"never ({value.n}/{value.n})"
    text = f"{factor * value.mean:.{digits}f} ± {abs(factor) * value.half_width:.{digits}f}{unit}"
    return f"{text} (censored {value.censored}/{value.n})" if value.censored else text


def main() -> None:
    """Tune, run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--studies", default="rotation,ablation,permuted-labels,dirichlet")
    options = parser.parse_args()
    store = Store(RESULTS, options.data_dir)
    best = {strategy: tuned(store, strategy) for strategy in STRATEGIES}
    for strategy, settings in best.items():
        print(f"{strategy}: {settings}")
    for study in options.studies.split(","):
        runs: dict[str, tuple[str, str, dict[str, Any]]]
        if study == "ablation":
            runs = {name: ("rotation", "optimal", best["optimal"] | change)
                    for name, change in {"ours": {}, **ABLATION}.items()}
        else:
            runs = {name: (study, name, best[name]) for name in STRATEGIES}
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in runs}
        for seed, (name, (kind, strategy, settings)) in itertools.product(SEEDS, runs.items()):
            rows[name].append(store.run(kind, strategy, seed, ROUNDS, settings))
        print(f"\n## {study}\n\n{table(rows, next(iter(rows)))}\n", flush=True)


if __name__ == "__main__":
    main()
