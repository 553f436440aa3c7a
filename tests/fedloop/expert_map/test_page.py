"""Code of the pages about models of transformers runs as it stands."""

import re
from typing import Any

import pytest
import torch

from fedloop import ExpertMap
from fedloop.models import olmoe
from tests.files import ROOT

pytestmark = pytest.mark.engines
pytest.importorskip("transformers")
pytest.importorskip("peft")


def test_code_of_the_page_prints_what_it_says(capsys):
    page = (ROOT / "docs" / "howto" / "lora.md").read_text()
    blocks = re.findall(r"```(\w*)\n(.*?)```", page, re.DOTALL)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    scope: dict[str, object] = {}
    try:
        for language, code in blocks:
            if language == "python":
                exec(code, scope)
    finally:
        torch.set_num_threads(threads)
    assert capsys.readouterr().out == "".join(text for kind, text in blocks if kind == "text")


class Layer(torch.nn.Module):
    """An MoE layer of three stacked experts, as the page describes it."""

    def __init__(self):
        super().__init__()
        self.up = torch.nn.Parameter(torch.ones(3, 8, 4))
        self.down = torch.nn.Parameter(torch.ones(3, 4, 8))
        self.gate = torch.nn.Linear(4, 3)


def test_code_about_maps_runs():
    page = (ROOT / "docs" / "expert_map.md").read_text()
    known, own = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    model = olmoe.build(window=8)
    other = ExpertMap.of(model).take(model.state_dict(), [1, 9])
    scope: dict[str, Any] = {
        "model": model, "other": {name: value + 2.0 for name, value in other.items()}}
    exec(known, scope)
    # Expert 9, held by both, moves by 2 * 80 / 200; expert 8 of that layer not at all.
    [router] = [name for name in scope["state"] if name.endswith("layers.1.mlp.gate.weight")]
    moved = (scope["state"][router] - model.state_dict()[router])[:2].mean(dim=1)
    assert moved.tolist() == pytest.approx([0.0, 0.8], abs=1e-6)
    scope = {"model": torch.nn.ModuleDict({"moe": torch.nn.ModuleList([Layer(), Layer()])})}
    exec(own, scope)
    assert scope["part"]["moe.0.up"].shape == (2, 8, 4)
    assert scope["part"]["moe.1.down"].shape == (1, 4, 8)
    assert scope["aligner"].n_experts == 6
