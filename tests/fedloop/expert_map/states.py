"""States of known models, read from `states.json`, without transformers."""

import json
from pathlib import Path

import torch

SHAPES = json.loads(Path(__file__).with_name("states.json").read_text(encoding="utf-8"))

ADAPTERS = [model for model in SHAPES if model.startswith("lora")]

#: Model and place. On disk an adapter is alone, and does not tell the number of experts.
STATES = [(model, place) for model in SHAPES for place in ("memory", "disk")
          if model not in ADAPTERS or place == "memory"]


def state(model, place="memory", seed=0):
    """Return a random state with the names and shapes of a model."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(shape, generator=generator)
            for name, shape in SHAPES[model][place].items()}
