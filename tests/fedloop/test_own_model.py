"""Models and data of users: recognised, run with some experts, and refused by name."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import fedloop
from fedloop import ExpertMap
from fedloop.config import build_config
from fedloop.errors import CheckpointError, ConfigError, DataError
from fedloop.models.build import build_model
from fedloop.models.classifier import GROUPS, ResidualBlock
from fedloop.models.layout import Layout
from fedloop.tasks.readers import Dataset
from tests.fedloop.expert_map.states import SHAPES, state
from tests.files import ROOT


@pytest.fixture(scope="module")
def examples():
    sys.path.insert(0, str(ROOT / "examples" / "own_model"))
    import separate
    import stacked

    yield separate, stacked
    sys.path.remove(str(ROOT / "examples" / "own_model"))


def test_separate_and_stacked_experts_have_the_same_curve(examples):
    one, other = (example.main(rounds=5) for example in examples)
    assert [record["accuracy"] for record in one] == [record["accuracy"] for record in other]
    assert [record["held"] for record in one] == [record["held"] for record in other]
    assert one[-1]["accuracy"] > 0.9 > one[0]["accuracy"]


def test_examples_are_short():
    for name in ("separate", "stacked"):
        lines = (ROOT / "examples" / "own_model" / f"{name}.py").read_text().splitlines()
        assert len(lines) <= 60


@pytest.mark.parametrize("batched", [True, False])
def test_a_mask_trains_what_a_model_of_the_rows_held_trains(examples, batched):
    """Experts that are not held neither count nor move, whatever they are."""
    separate, _ = examples
    config = build_config({"rounds": 2, "partition": {"clients": 4, "kind": "iid"},
                           "local": {"batched": batched, "steps": 2}})

    def spoil(world, state, clients, held, number):
        training = fedloop.experiment.train_here(world, state, clients, held, number)
        rows = {name: value.clone() for name, value in state.model.items()}
        for client in clients:
            local = experts_held(world, held[client])
            for name, layer in world.spec.layout.layer_of.items():
                if name not in world.spec.layout.scorers:
                    rows[name][~local[layer]] = 7.0
            alone = fedloop.experiment.train_here(
                world, SimpleNamespace(model=rows), [client], held, number)
            at = training.clients.index(client)
            for name in world.spec.layout.shared(rows):
                torch.testing.assert_close(alone.params[name][0], training.params[name][at],
                                           rtol=1e-4, atol=1e-5)
            rows = {name: value.clone() for name, value in state.model.items()}
        return training

    torch.manual_seed(0)
    fedloop.run_training(config, separate.Net(), separate.data(), trainer=spoil)


def experts_held(world, held):
    mask = torch.zeros(world.spec.total_experts, dtype=torch.bool)
    mask[held] = True
    return mask.view(world.spec.n_layers, world.spec.n_experts)


@pytest.mark.usefixtures("examples")
def test_a_model_is_named_by_its_import_path_and_resumed(tmp_path):
    config = build_config({"rounds": 3, "partition": {"clients": 4}, "checkpoint_every": 1,
                           "model": {"name": "separate:Net"}})
    with pytest.raises(DataError, match="data is str"):
        fedloop.run_training(config, data="digits")
    run = {"data": small_images(), "folder": tmp_path}
    fedloop.run_training(config, **run, stop_after=1)
    _, state = fedloop.run_training(config, **run)
    _, whole = fedloop.run_training(config, data=small_images())
    assert all(torch.equal(state.model[name], value) for name, value in whole.model.items())
    assert "first.experts.*.weight" in state.model
    with pytest.raises(CheckpointError, match="made with another model"):
        fedloop.run_training(config, MoE(3), small_images(), tmp_path)


def small_images():
    rng = np.random.default_rng(0)
    return Dataset(rng.random((200, 1, 8, 8), np.float32), rng.integers(4, size=200), "noise", {})


class MoE(nn.Module):
    """One layer; `change` makes it wrong."""

    def __init__(self, n_experts=4):
        super().__init__()
        self.gate = nn.Linear(64, n_experts)
        self.experts = nn.ParameterDict({"weight": torch.randn(n_experts, 64, 4) / 8})

    def forward(self, image):
        h = image.flatten(1)
        return torch.einsum("be,bh,eho->bo", self.gate(h).softmax(1), h, self.experts["weight"])


def test_a_router_with_a_bias_is_of_its_layer():
    layout = Layout.of(MoE())
    assert layout.layer_of == {"gate.weight": 0, "gate.bias": 0, "experts.weight": 0}


def test_pieces_are_joined_where_the_model_is_and_none_may_lack():
    module = MoE()
    layout, rows = Layout.of(module), {name: value.detach()
                                       for name, value in module.named_parameters()}
    pieces = layout.pieces({name: value[[2, 0]] for name, value in rows.items()}, [0, 2])
    elsewhere = {name: value.to("meta", torch.bfloat16) for name, value in rows.items()}
    for held, n_rows in ((None, 4), ([0, 2], 2)):
        for name, value in layout.joined(pieces, elsewhere, held).items():
            assert (value.device.type, value.dtype) == ("meta", torch.bfloat16)
            assert value.shape == (n_rows, *rows[name].shape[1:])
    for name, value in layout.joined(pieces, rows).items():
        assert torch.equal(value[[0, 2]], rows[name][[2, 0]]) and not value[[1, 3]].any()
    with pytest.raises(KeyError, match=r"gate\.weight@1"):
        layout.joined(pieces, rows, [0, 1])


def test_experts_of_a_layer_are_trained_together():
    found = Balanced()
    for value in found.experts[2].parameters():
        value.requires_grad_(False)
    with pytest.raises(ConfigError, match=r"experts\.2\.weight is not trained, .* or none"):
        build_model(build_config({}).model, (4,), 2, 0, found)
    for value in found.experts.parameters():
        value.requires_grad_(False)
    assert build_model(build_config({}).model, (4,), 2, 0, found).layout.layer_of == {
        "gate.weight": 0}


def unequal():
    return nn.ModuleList([MoE(4), MoE(3)])


def without_rows():
    found = MoE()
    found.experts["scale"] = nn.Parameter(torch.ones(5))
    return found


@pytest.mark.parametrize(("make", "match"), [
    (lambda: nn.Linear(3, 2), "no parameters of experts next to a router"),
    (unequal, r"layers have \[3, 4\] experts"),
    (without_rows, r"speak of 4 experts \(.*\) and 5 experts \(experts\.scale\)"),
])
def test_models_that_are_not_understood_are_refused(make, match):
    with pytest.raises(ConfigError, match=match):
        Layout.of(make())


@pytest.mark.parametrize(("name", "match"), [
    ("nowhere:build", "there is no module 'nowhere'"),
    ("fedloop.models.build:nothing", "has no attribute 'nothing'"),
    ("mlp", "give own, or package.module:function"),
    ("fedloop:", "give own, or package.module:function"),
    (":build", "give own, or package.module:function"),
    (".a:b", "give own, or package.module:function"),
    ("1x:build", "there is no module '1x'"),
    ("os:1x", "has no attribute '1x'"),
    ("fedloop.models.layout:UNEQUAL", "model.name: .*UNEQUAL is no function, but str"),
    ("fedloop.models.moe:route", "model.arguments: fedloop.models.moe:route: missing"),
    ("builtins:dict", "returns dict, not a torch.nn.Module"),
])
def test_wrong_names_are_named(name, match):
    with pytest.raises(ConfigError, match=match):
        build_model(build_config({"model": {"name": name}}).model, (1, 8, 8), 4, 0)


def test_a_file_may_have_any_name(tmp_path, monkeypatch):
    (tmp_path / "2024-moe.py").write_text("from tests.fedloop.test_own_model import MoE as build\n")
    monkeypatch.syspath_prepend(tmp_path)
    model = build_model(build_config({"model": {"name": "2024-moe:build"}}).model, (1, 8, 8), 4, 0)
    assert model.n_layers == 1


def test_an_error_in_a_users_module_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "faulty_model.py").write_text("int('four')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="invalid literal") as found:
        build_model(build_config({"model": {"name": "faulty_model:build"}}).model, (4,), 2, 0)
    assert not isinstance(found.value, ConfigError)


def test_a_model_that_cannot_be_trained_together_says_so():
    class Looping(MoE):
        def forward(self, image):
            return super().forward(image) if image.sum().item() else image

    config = build_config({"rounds": 1, "partition": {"clients": 2}})
    with pytest.raises(ConfigError, match=r"set local.batched = false"):
        fedloop.run_training(config, Looping(), small_images())


def test_olmoe_needs_transformers():
    pytest.importorskip("pydantic")
    settings = build_config({"model": {"name": "fedloop.models.olmoe:build"}}).model
    try:
        import transformers  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match=r"pip install 'alignsolve\[hf\]'"):
            build_model(settings, (128,), 256, 0)
    else:
        assert build_model(settings, (128,), 256, 0).total_experts == 16


class Balanced(nn.Module):
    """One layer of four experts, whose router's scores are its inputs."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(model_type="mine", router_aux_loss_coef=0.5)
        self.gate = nn.Linear(4, 4, bias=False)
        self.experts = nn.ModuleList([nn.Linear(4, 4) for _ in range(4)])
        self.scale = nn.Parameter(torch.ones(1))
        self.top_k = 1
        nn.init.eye_(self.gate.weight)

    def forward(self, x):
        x = x.flatten(1)[:, :4]
        weight = self.gate(x).softmax(-1)
        return self.scale * sum(
            weight[:, at, None] * expert(x) for at, expert in enumerate(self.experts))


@pytest.mark.parametrize("batched", [True, False])
def test_the_balancing_loss_counts_the_experts_held(batched):
    """Of experts 1 and 3 the first has odds of 3, 3 and 1/3: worked out by hand."""
    model = build_model(build_config({}).model, (4,), 2, 0, Balanced())
    x = torch.tensor([[9.0, np.log(3), 9, 0], [0, np.log(3), 0, 0], [0, 0, 0, np.log(3)]])
    held = [torch.tensor([False, True, False, True])]

    def balance(x):
        return model.run(model.initial(), x, held)[2]

    found = torch.vmap(balance)(x[None].float())[0] if batched else balance(x.float())
    assert found.item() == pytest.approx(0.5 * 2 * (2 / 3 * 7 / 12 + 1 / 3 * 5 / 12))


def test_the_balancing_loss_trains_routers_and_is_not_reported():
    config = build_config({"rounds": 1, "partition": {"clients": 2, "kind": "iid"},
                           "local": {"clip": 0.0, "steps": 1}})

    def trained(weight):
        torch.manual_seed(0)
        module = Balanced()
        module.config.router_aux_loss_coef = weight
        return fedloop.run_training(config, module, small_images())[1]

    without, with_it = trained(None), trained(3.0)
    assert without.records[0]["loss"] == with_it.records[0]["loss"]
    moved = (without.model["gate.weight"] - with_it.model["gate.weight"]).abs()
    assert moved.max() > 1e-3


class Partitions:
    """As flwr-datasets deals images out: columns of pictures and labels."""

    def __init__(self, **columns):
        self.columns = columns

    def load_partition(self, number):
        rng = np.random.default_rng(number)
        return {"img": list(rng.integers(256, size=(40, 8, 8, 3), dtype=np.uint8)),
                "label": rng.integers(3, size=40).tolist(), **self.columns}


def test_partitions_of_others_are_accepted():
    config = build_config({"rounds": 1, "partition": {"clients": 3}})
    world, _ = fedloop.run_training(config, data=Partitions())
    assert world.partition.train.input.shape == (96, 3, 8, 8) and world.partition.n_classes == 3
    assert world.partition.train.input.max() <= 1
    with pytest.raises(DataError, match="partition 0 has the columns picture"):
        fedloop.run_training(config, data=SimpleNamespace(load_partition=lambda n: {"picture": []}))
    with pytest.raises(DataError, match=r"^partition 0: a share of .* of 1 images leaves none to"):
        fedloop.run_training(config, data=Partitions(img=[np.zeros((8, 8, 3))], label=[0]))


@pytest.mark.parametrize("model", SHAPES)
def test_rows_of_known_models_are_those_of_their_map(model):
    tensors = state(model)
    experts = ExpertMap.of(tensors)
    if len({layer.n_experts for layer in experts.layers}) > 1:
        pytest.skip("layers of different sizes are refused")
    layout = Layout.from_map(experts, experts.entries)
    rows = layout.rows(tensors)
    back = layout.tensors(rows)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], value) for name, value in tensors.items())
    part = experts.take(tensors, [layer * layout.n_experts + 1 for layer in range(layout.n_layers)])
    second = {name: value[1:2] if name in layout.layer_of else value
              for name, value in rows.items() if name not in layout.members}
    for name, value in layout.tensors(second).items():
        assert torch.equal(part[name], value)


def test_a_residual_block_halves_the_image():
    block = ResidualBlock(3, 2 * GROUPS, torch.Generator().manual_seed(0))
    assert block(torch.zeros(2, 3, 8, 6)).shape == (2, 2 * GROUPS, 4, 3)
