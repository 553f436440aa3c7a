"""Models that are known, by the names and shapes in `states.json`."""

import re

import pytest
import torch

from fedloop import ExpertMap
from fedloop.errors import ExpertMapError
from tests.fedloop.expert_map.states import ADAPTERS, STATES, state


@pytest.mark.parametrize(("model", "place"), STATES)
def test_layers_and_experts_of_every_family_are_found(model, place):
    whole = state(model, place)
    found = ExpertMap.of(whole)
    assert [layer.n_experts for layer in found.layers] == [4, 4]
    assert [layer.name for layer in found.layers] == (
        ["1", "2"] if model == "deepseek_v3" else ["0", "1"])
    owned = {name for name, entry in found.entries.items() if entry.layer is not None}
    assert owned == {name for name in whole if re.search(
        r"\.experts\.|(mlp|block_sparse_moe)\.(gate|router)\.(?!lora_A)", name)}
    routers = {name for name, entry in found.entries.items() if entry.router}
    assert routers == {name for name in owned if ".experts." not in name}
    assert found.bytes_of(range(8)) + found.shared_bytes == sum(
        tensor.nbytes for tensor in whole.values())


@pytest.mark.parametrize(("model", "name", "layout", "axis"), [
    ("mixtral", "model.layers.0.mlp.experts.gate_up_proj", "stacked", 0),
    ("deepseek_v3", "model.layers.1.mlp.gate.e_score_correction_bias", "stacked", 0),
    ("gpt_oss", "model.layers.0.mlp.experts.down_proj_bias", "stacked", 0),
    ("qwen2_moe", "model.layers.0.mlp.shared_expert_gate.weight", "shared", 0),
    ("lora_olmoe", "base_model.model.model.layers.0.mlp.experts.lora_A.default.weight",
     "blocks", 0),
    ("lora_olmoe", "base_model.model.model.layers.0.mlp.experts.base_layer.lora_B.default.weight",
     "interleaved", 1),
    ("lora_mixtral", "base_model.model.model.layers.0.mlp.gate.lora_B.default.weight",
     "stacked", 0),
    ("lora_mixtral", "base_model.model.model.layers.0.mlp.gate.lora_A.default.weight",
     "shared", 0),
])
def test_layouts(model, name, layout, axis):
    entry = ExpertMap.of(state(model)).entries[name]
    assert (entry.layout, entry.axis) == (layout, axis)


def test_names_on_disk_tell_the_same_experts():
    on_disk = ExpertMap.of(state("mixtral", "disk"))
    entry = on_disk.entries["model.layers.1.block_sparse_moe.experts.2.w1.weight"]
    assert (entry.layout, entry.layer, entry.expert) == ("each", 1, 2)
    in_memory = ExpertMap.of(state("mixtral"))
    assert on_disk.expert_bytes.tolist() == in_memory.expert_bytes.tolist()


@pytest.mark.parametrize("model", ADAPTERS)
def test_an_adapter_alone_needs_the_number_of_experts(model):
    adapter = state(model, "disk")
    if model == "lora_mixtral":  # it adapts the router as well, which tells
        assert ExpertMap.of(adapter).n_experts == 8
    else:
        with pytest.raises(ExpertMapError, match="no tensor tells the number of experts"):
            ExpertMap.of(adapter)
    part = ExpertMap.of(adapter, n_experts=4).take(adapter, [1, 2, 7])
    name = "base_model.model.model.layers.0.mlp.experts.lora_B.weight"
    columns = [at for at in range(adapter[name].shape[1]) if at % 4 in (1, 2)]
    assert torch.equal(part[name], adapter[name][:, columns])


@pytest.mark.parametrize(("changes", "message"), [
    ({"model.layers.0.mlp.experts.scale": (4, 2)}, r"not explained.*: model\.layers\.0\.mlp\.exp"),
    ({"model.layers.1.mlp.extra.weight": (3, 3)}, r"not explained.*: model\.layers\.1\.mlp\.extra"),
    ({"model.expert_bias": (7,)}, r"not explained.*: model\.expert_bias"),
    ({"model.layers.0.mlp.gate.weight": None}, "layer '0': experts, but no router"),
    ({"model.layers.0.mlp.gate.weight": (3, 16)},
     "layer '0': tensors speak of 3 experts \\(.*gate.weight\\) and 4"),
    ({"model.layers.0.mlp.experts.down_proj": (4, 12, 16)},
     r"down_proj has shape \(4, 12, 16\), not 'E H F' with E = 4, H = 16, F = 12"),
])
def test_what_does_not_fit_is_named(changes, message):
    whole = state("olmoe")
    for name, shape in changes.items():
        whole.pop(name, None)
        if shape is not None:
            whole[name] = torch.zeros(shape)
    with pytest.raises(ExpertMapError, match=message):
        ExpertMap.of(whole)


@pytest.mark.parametrize(("drop", "message"), [
    (r"layers\.0\.mlp\.experts\.2\.", r"\*\.\w+_proj\.weight are numbered \[0, 1, 3\]"),
    (r"\.0\.mlp\.experts\.3\.up", r"of 3 experts \(.*up_proj.weight\) and 4 .*gate\.weight\)"),
])
def test_missing_experts_are_named(drop, message):
    whole = {name: tensor for name, tensor in state("olmoe", "disk").items()
             if not re.search(drop, name)}
    whole["model.layers.0.mlp.gate.weight"] = torch.zeros(3 if "2" in drop else 4, 16)
    with pytest.raises(ExpertMapError, match=message):
        ExpertMap.of(whole)


def test_a_model_without_experts_is_refused():
    with pytest.raises(ExpertMapError, match="no tensor's name is that of an expert; names are up"):
        ExpertMap.of({"up.weight": torch.zeros(4, 4)})
