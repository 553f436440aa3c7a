"""What noise on the clients' reports costs: accuracy and load against the privacy loss.

    python benchmarks/fedloop_privacy.py

scikit-learn's digits, 20 clients in four hidden rotations, 8 experts, 80 rounds, three
seeds (the defaults of `fedloop run`). Noise is seeded, so that runs can be repeated.
"random", which ignores all reports, shows what alignment is worth at all. Every run is
a line of ``benchmarks/results/fedloop_privacy.jsonl``; runs that are there are not
repeated, so the script may be stopped at any time. It ends with the table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import _results

from fedloop.config import build_config
from fedloop.metrics import estimate
from fedloop.privacy import epsilon_of
from fedloop.train import train

RESULTS = Path(__file__).parent / "results" / "fedloop_privacy.jsonl"
NOISE, SEEDS, ROUNDS = (0.0, 0.1, 0.3, 1.0, 3.0), (0, 1, 2), 80
CASES = [("optimal", noise) for noise in NOISE] + [("random", 0.0)]


def measure(strategy: str, noise: float, seed: int) -> dict[str, Any]:
    """Train once."""
    config = build_config({
        "strategy": strategy, "seed": seed, "rounds": ROUNDS,
        "privacy": {"noise_multiplier": noise, "seeded": True},
    })
    records = train(config)[1].records
    accuracy = [record["accuracy"] for record in records]
    return {"strategy": strategy, "noise_multiplier": noise, "seed": seed,
            "mean_accuracy": sum(accuracy) / ROUNDS, "final_accuracy": accuracy[-1],
            "load_cv": records[-1]["load_cv"], "machine": _results.machine_record()}


def stored() -> dict[tuple[str, float, int], dict[str, Any]]:
    """Return the runs that were made."""
    return {(row["strategy"], row["noise_multiplier"], row["seed"]): row
            for row in _results.stored(RESULTS)}


def main() -> None:
    """Make the runs that are missing; print means with half of the 95% interval."""
    for strategy, noise in CASES:
        for seed in SEEDS:
            if (strategy, noise, seed) not in stored():
                _results.append(RESULTS, measure(strategy, noise, seed))
    found = stored()
    for strategy, noise in CASES:
        runs = [found[strategy, noise, seed] for seed in SEEDS]
        loss = f"epsilon {epsilon_of(noise, 1e-5, ROUNDS):.3g}" if noise else "no noise"
        told = [f"{key} {value.mean:.3f} +- {value.half_width:.3f}" for key in
                ("mean_accuracy", "final_accuracy")
                for value in [estimate([run[key] for run in runs])]]
        load = max(run["load_cv"] for run in runs)
        print(f"{strategy}, z {noise:g}, {loss}: {', '.join(told)}, load CV at most {load:.4f}")


if __name__ == "__main__":
    main()
