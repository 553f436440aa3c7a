"""What shared evidence, serving, routing and balance are worth on real images of MNIST.

    python benchmarks/fedloop_mnist.py --data-dir ../shared/data/mnist-t10k --quick
    python benchmarks/fedloop_mnist.py --data-dir ../shared/data/mnist-t10k

40 clients with 1 to 3 slots, 8 experts, every client judged on held-out images of its own domain.
Every run is a line of ``benchmarks/results/fedloop_shared.jsonl``; runs that are there are not
repeated, so the script may be stopped at any time. A run is known by its settings: after a change
of what they do, its lines have to go. ``--quick`` plays rotations with seeds 0 to 2 and 60 rounds;
the whole takes 120 rounds: fifteen seeds on rotations and five on the other studies, 480 runs of 10
to 16 s of processor time each. At the end its tables take the place of those at the end of
``docs/shared_evidence.md``.

"as published": without shared evidence, judged with the experts trained last, routers averaged,
no exploration. "our tracker": all that ours has, but how pairs are chosen. All have the same
optimiser and the same learning rate, the default; nothing is tuned here.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import _results
import numpy as np

from alignsolve.plot.style import figure_bytes, line_styles, new_figure
from fedloop.config import build_config
from fedloop.experiment import run_training
from fedloop.metrics import estimate, paired_change, summary
from fedloop.world import Record, load_data

RESULTS = Path(__file__).parent / "results" / "fedloop_shared.jsonl"
PICTURE = RESULTS.with_suffix(".png")
DOCS = Path(__file__).parents[1] / "docs" / "shared_evidence.md"

#: The line of the docs after which the tables stand.
MARK = "<!-- what follows is written by benchmarks/fedloop_mnist.py -->\n"

TARGETS = (0.8, 0.9)
LAST = 10

BASE: dict[str, dict[str, Any]] = {
    "data": {"name": "mnist", "pool": 2}, "partition": {"clients": 40}, "model": {"experts": 8},
}
STUDIES: dict[str, dict[str, Any]] = {
    "rotations": {"partition": {"kind": "rotation"}},
    "rotations, a quarter takes part, a tenth fails": {
        "partition": {"kind": "rotation"}, "participants": 10, "fleet": {"failure_rate": 0.1}},
    "permuted labels": {"partition": {"kind": "permuted-labels"}, "model": {"gate": "personal"}},
    "Dirichlet(0.3)": {"partition": {"kind": "dirichlet", "alpha": 0.3}},
    "two classes a client": {"partition": {"kind": "classes"}},
}
PUBLISHED: dict[str, Any] = {
    "alignment": {"shared_evidence": False, "serve": "held", "exploration": 0.0},
    "server": {"router": "trained"},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "ours": {},
    "FLEX-MoE as published": {"strategy": "flex-moe", **PUBLISHED},
    "FedAMoLE as published": {"strategy": "fedamole", **PUBLISHED},
    "greedy as published": {"strategy": "greedy", **PUBLISHED},
    "greedy, our tracker": {"strategy": "greedy"},
    "random": {"strategy": "random", **PUBLISHED},
    "oracle": {"strategy": "oracle"},
    "ours without shared evidence": {"alignment": {"shared_evidence": False}},
    "ours, served as trained": {"alignment": {"serve": "held"}},
    "ours, averaged router": {"server": {"router": "trained"}},
    "FLEX-MoE, our tracker": {"strategy": "flex-moe"},
    "FedAMoLE, our tracker": {"strategy": "fedamole"},
    "round-robin": {"strategy": "round-robin", **PUBLISHED},
    "everybody holds everything": {"strategy": "everything"},
}


def merged(*parts: dict[str, Any]) -> dict[str, Any]:
    """Return nested settings, later ones first."""
    found: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            inner = isinstance(value, dict)
            found[name] = merged(found.get(name, {}), value) if inner else value
    return found


def figures(records: list[Record]) -> dict[str, Any]:
    """Return what a run is judged by."""
    last = records[-LAST:]
    return {
        **summary(records, TARGETS),
        "accuracy": float(np.mean([record["accuracy"] for record in last])),
        "accuracy_all": float(np.mean([record["accuracy_all"] for record in last])),
        "worst_least": min(record["worst_decile"] for record in last),
        "worst_range": float(np.ptp([record["worst_decile"] for record in last])),
        "worst_mean": float(np.mean([record["worst_decile"] for record in last])),
        "curve": [round(record["accuracy"], 4) for record in records],
        "curve_all": [round(record["accuracy_all"], 4) for record in records],
    }


class Store:
    """The results file, and the runs that it holds."""

    def __init__(self, path: Path, data_dir: Path) -> None:
        self.path, self.data_dir, self.data = path, data_dir, None
        self.found = {row["key"]: row for row in _results.stored(path)}

    def run(self, study: str, variant: str, seed: int, rounds: int) -> dict[str, Any]:
        """Return a run's row, from the file or by running it."""
        settings = merged(BASE, STUDIES[study], VARIANTS[variant])
        key = json.dumps([study, variant, seed, rounds, settings], sort_keys=True)
        if key not in self.found:
            config = build_config(merged(settings, {
                "data": {"dir": str(self.data_dir)}, "seed": seed, "rounds": rounds}))
            self.data = load_data(config) if self.data is None else self.data
            _, state = run_training(config, data=self.data)
            row = {"key": key, **figures(state.records), "machine": _results.machine_record()}
            _results.append(self.path, row)
            self.found[key] = row
            print(study, variant, seed, row["rounds_to"], f"{row['accuracy']:.3f}", flush=True)
        return self.found[key]

    def stored(self, study: str, variant: str, rounds: int) -> dict[int, dict[str, Any]]:
        """Return the rows that there are, by seed."""
        found = {}
        settings = merged(BASE, STUDIES[study], VARIANTS[variant])
        for key, row in self.found.items():
            one = json.loads(key)
            if one[0] == study and one[1] == variant and one[3:] == [rounds, settings]:
                found[one[2]] = row
        return found


def table(store: Store, study: str, rounds: int) -> str:
    """Return a table in Markdown of what is stored; paired with ours over common seeds."""
    lines = ["| | seeds | rounds to 80% | fewer with ours | MB to 80% | s to 80% | served % | "
             "all experts % | worst tenth % | its least % | its range % | load CV |",
             "|---" * 12 + "|"]
    ours = store.stored(study, "ours", rounds)
    for variant in VARIANTS:
        rows = store.stored(study, variant, rounds)
        if not rows:
            continue
        runs, common = list(rows.values()), sorted(set(rows) & set(ours))
        change = paired_change([ours[seed]["rounds_to"]["80"] for seed in common],
                               [rows[seed]["rounds_to"]["80"] for seed in common], rounds)
        cells = [variant, str(len(rows)),
                 spelled(estimate([run["rounds_to"]["80"] for run in runs], rounds), 1, 1),
                 "" if variant == "ours" else spelled(change, -100, 0)]
        cells += [spelled(estimate([run[kind]["80"] for run in runs], runs[0][total]), factor, 0)
                  for kind, total, factor in (("bytes_to", "bytes", 1e-6),
                                              ("seconds_to", "seconds", 1))]
        cells += [spelled(estimate([run.get(name, np.nan) for run in runs]), factor, digits)
                  for name, factor, digits in (
                      ("accuracy", 100, 1), ("accuracy_all", 100, 1), ("worst_mean", 100, 1),
                      ("worst_least", 100, 1), ("worst_range", 100, 1), ("load_cv", 1, 3))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(store: Store, study: str, rounds: int) -> None:
    """Draw mean accuracy over the rounds, as served and of all experts."""
    figure = new_figure(9, 3.6, dpi=110)
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    drawn = [name for name in VARIANTS if store.stored(study, name, rounds)]
    for axis, curve, title in zip(axes, ("curve", "curve_all"), ("as served", "all experts"),
                                  strict=True):
        for name, style in line_styles(drawn).items():
            runs = store.stored(study, name, rounds).values()
            mean = np.mean([run[curve] for run in runs], axis=0)
            axis.plot(np.arange(1, rounds + 1), 100 * mean, label=name, linewidth=1.2, **style)
        axis.set(title=title, xlabel="round", ylim=(20, 92))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy in %, mean over seeds")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4,
                  frameon=False, fontsize=7)
    PICTURE.write_bytes(figure_bytes(figure, "png"))


def spelled(value: Any, factor: float, digits: int) -> str:
    """Spell mean ± half of the 95% interval; say how many values are censored."""
    if np.isnan(value.mean):  # runs of earlier versions lack it
        return "–"
    text = f"{factor * value.mean:.{digits}f}"
    if np.isfinite(value.half_width):
        text += f" ± {abs(factor) * value.half_width:.{digits}f}"
    return f"{text} (censored {value.censored}/{value.n})" if value.censored else text


def main() -> None:
    """Play what is missing, print, and write the tables to the docs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, help="seeds of every study, in place of 15 and 5")
    parser.add_argument("--report", action="store_true", help="play nothing")
    options = parser.parse_args()
    store = Store(RESULTS, options.data_dir)
    rounds = 60 if options.quick else 120
    studies = list(STUDIES)[:1] if options.quick else list(STUDIES)
    if not options.report:
        for study in studies:
            seeds = options.seeds or (3 if options.quick else 15 if study == "rotations" else 5)
            for seed in range(seeds):
                for variant in VARIANTS:
                    # Label skew has no domains that an oracle could know.
                    kind = STUDIES[study]["partition"]["kind"]
                    if variant != "oracle" or kind in ("rotation", "permuted-labels"):
                        store.run(study, variant, seed, rounds)
    parts = []
    for length in (120, 60):
        for study in STUDIES:
            if store.stored(study, "ours", length):
                parts.append(f"### {study}, {length} rounds\n\n{table(store, study, length)}\n")
    text = "\n".join(parts)
    print(text)
    before = DOCS.read_text(encoding="utf-8").partition(MARK)[0]
    DOCS.write_text(f"{before}{MARK}\n{text}", encoding="utf-8")
    draw(store, "rotations", 120 if store.stored("rotations", "ours", 120) else 60)


if __name__ == "__main__":
    main()
