"""Write `states.json`: names and shapes of the tiny models' states, in memory and on disk.

With the extra `hf`, from the repository's root::

    python -m tests.fedloop.expert_map.write_states
"""

import json
from pathlib import Path

from tests.fedloop.expert_map.tiny import ADAPTED, FAMILIES, adapt, build, disk_state

FILE = Path(__file__).with_name("states.json")


def shapes(state):
    return {name: list(tensor.shape) for name, tensor in state.items()}


def states():
    """Return shapes by name, by place (memory or disk), by model."""
    found = {}
    for family in FAMILIES:
        model = build(family)
        found[family] = {"memory": shapes(model.state_dict()), "disk": shapes(disk_state(model))}
    for family, targets in ADAPTED.items():
        model = adapt(build(family), targets)
        found[f"lora_{family}"] = {
            "memory": shapes(model.state_dict()), "disk": shapes(disk_state(model))}
    return found


def text(found):
    """Return JSON with a tensor a line."""
    lines = json.dumps(found, indent=1).replace("\n    ", " ").replace("\n   ]", "]")
    return lines + "\n"


if __name__ == "__main__":
    FILE.write_text(text(states()), encoding="utf-8")
