"""What colour images need: the trunk ``cnn`` as it was, and ``resnet``.

    python benchmarks/fedloop_colour.py

10,000 images of 32 x 32 x 3 that `tests/fedloop/colour.py` draws, 20 clients in four hidden
rotations, 60 rounds of five steps. Every run is a line of
``benchmarks/results/fedloop_colour.jsonl``; runs that are there are not repeated.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import _results

sys.path.insert(0, str(Path(__file__).parents[1]))

from fedloop.config import build_config
from fedloop.experiment import run_training
from tests.fedloop.colour import colour_images

RESULTS = Path(__file__).parent / "results" / "fedloop_colour.jsonl"
ROUNDS, IMAGES = 60, 10_000

#: The settings of 0.1, and those that colour images need.
CASES: dict[str, dict[str, Any]] = {
    "cnn": {"model": {"trunk": "cnn"}, "local": {"clip": 0.0, "learning_rate": 0.5}},
    "resnet": {"model": {"trunk": "resnet", "norm": "layer"},
               "local": {"optimiser": "adamw", "learning_rate": 0.003}},
}


def measure(settings: dict[str, Any]) -> dict[str, Any]:
    """Train once; return the curve."""
    config = build_config({"rounds": ROUNDS, **settings})
    data = colour_images(IMAGES)
    _, state = run_training(config, data=data)
    return {"settings": settings, "curve": [round(r["accuracy"], 4) for r in state.records]}


def main() -> None:
    """Run what is missing, and print every tenth round."""
    for name, settings in CASES.items():
        _results.record(RESULTS, name, False, partial(measure, settings))
    for row in _results.stored(RESULTS):
        print(row["key"], row["curve"][9::10])


if __name__ == "__main__":
    main()
