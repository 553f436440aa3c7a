"""Text with whole and with rounded payloads: rounds to a target, bytes, and bits per byte.

    python benchmarks/payload_text.py

Our own language model, small enough for a minute and a half of processor time: one layer of four
experts, four domains, eight clients, 30 rounds, seeds 0 to 4. Every run is a line of
``benchmarks/results/payload_text.jsonl``; runs that are there with the same settings are
not repeated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import _results
import numpy as np

from fedloop.config import build_config
from fedloop.experiment import run_training
from fedloop.metrics import estimate, first_reaching

RESULTS = Path(__file__).parent / "results" / "payload_text.jsonl"

SEEDS, PAYLOADS, TARGETS = range(5), ("native", "int8"), (0.2, 0.22, 0.24)

SETTINGS: dict[str, Any] = {
    "rounds": 30, "data": {"name": "text", "limit": 40_000, "window": 32},
    "partition": {"kind": "domains", "clients": 8, "test_images": 16},
    "model": {"experts": 4, "width": 32, "expert_width": 32}, "fleet": {"tiers": ["laptop"]},
    "local": {"steps": 5, "batch_size": 8, "optimiser": "adamw", "learning_rate": 3e-3,
              "probe_images": 4},
}


def main() -> None:
    """Run what is missing, and print."""
    found = {(row["seed"], row["payload"]): row for row in _results.stored(RESULTS)
             if row["settings"] == SETTINGS}
    for seed in SEEDS:
        for payload in PAYLOADS:
            if (seed, payload) not in found:
                _, state = run_training(build_config(
                    SETTINGS | {"seed": seed, "payload": payload}))
                row = {"seed": seed, "payload": payload, "settings": SETTINGS,
                       "accuracy": [record["accuracy"] for record in state.records],
                       "bits_per_byte": [record["bits_per_byte"] for record in state.records],
                       "bytes": sum(r["down_bytes"] + r["up_bytes"] for r in state.records)}
                _results.append(RESULTS, row)
                found[seed, payload] = row
    whole, rounded = ([found[seed, payload] for seed in SEEDS] for payload in PAYLOADS)
    for target in TARGETS:
        print(f"rounds to {target:.0%}:", *(
            [None if (at := first_reaching(row["accuracy"], target)) is None else at + 1
             for row in rows]
            for rows in (whole, rounded)))
    last = [b["bits_per_byte"][-1] - a["bits_per_byte"][-1]
            for a, b in zip(whole, rounded, strict=True)]
    print("bits per byte, int8 less native:", estimate(last))
    print("bytes:", *(np.mean([row["bytes"] for row in rows]) for rows in (whole, rounded)))


if __name__ == "__main__":
    main()
