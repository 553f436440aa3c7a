"""Models of transformers and PEFT: a step of a sub-model is a step of the masked whole."""

import copy
import dataclasses
import json

import pytest
import torch

from fedloop import ExpertMap
from fedloop.config import build_config
from fedloop.errors import ConfigError, ExpertMapError
from fedloop.models.build import build_model
from tests.fedloop.expert_map import tiny
from tests.fedloop.expert_map.states import SHAPES, state

pytestmark = pytest.mark.engines
transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")

MODELS = [*tiny.FAMILIES, *(f"lora_{family}" for family in tiny.ADAPTED)]

#: Three experts of the first layer, and others of the second.
HELD = [0, 2, 3, 4, 5, 7]

#: Largest difference of parameters after a step, and of losses; steps move them by 0.2 to 2.
ROUNDING = 2e-6


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny matrices are slower in several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def model_of(name):
    family = name.removeprefix("lora_")
    model = tiny.build(family)
    return model if name == family else tiny.adapt(model, tiny.ADAPTED[family])


def batch(seed=3):
    return torch.randint(3, 32, (2, 10), generator=torch.Generator().manual_seed(seed))


def step(model, **arguments):
    """Train a step; return the output before it."""
    token = batch()
    output = model(input_ids=token, labels=token, **arguments)
    output.loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= 0.5 * parameter.grad
                parameter.grad = None
    return output


def copy_of(state):
    return {name: tensor.clone() for name, tensor in state.items()}


def distance(one, other):
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


def differ(found, model, held, **arguments):
    """Return by how much a step of the part, merged, differs from one under the mask."""
    state = copy_of(model.state_dict())
    sub = found.sub_model(model, held)
    sub.load_state_dict(found.take(state, held))
    part = step(sub, **arguments)
    with found.mask(model, held):
        whole = step(model, **arguments)  # forward and backward
    assert distance(state, model.state_dict()) > 0.1
    assert torch.allclose(part.loss, whole.loss, atol=ROUNDING)
    if arguments and "aux_loss" in whole:
        assert torch.allclose(part.aux_loss, whole.aux_loss, atol=ROUNDING)
    merged = found.merge(state, [(held, sub.state_dict())])
    return distance(merged, model.state_dict())


@pytest.mark.parametrize("name", MODELS)
def test_slice_train_merge_is_the_step_under_the_mask(name):
    model = model_of(name)
    assert differ(ExpertMap.of(model), model, HELD, output_router_logits=True) < ROUNDING


@pytest.mark.parametrize("name", MODELS)
def test_clients_may_hold_fewer_experts_than_a_token_is_sent_to(name):
    model = model_of(name)
    found = ExpertMap.of(model)
    refused = {"deepseek_v3": "'model.layers.1.mlp.gate' scores groups by their two best",
               "lora_gpt_oss": "PEFT cannot run .*layers.0.mlp.experts.* the one expert"}
    if name in refused:
        with pytest.raises(ExpertMapError, match=refused[name]):
            found.sub_model(model, [1, 6])
    else:
        assert differ(found, model, [1, 6], output_router_logits=True) < ROUNDING


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_lora_on_all_linear_adapts_routers_as_well(family):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=5, target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(tiny.build(family), config)
    assert differ(ExpertMap.of(model), model, HELD) < ROUNDING


def test_gradient_checkpointing_under_the_mask():
    model = tiny.build("olmoe")
    model.gradient_checkpointing_enable()
    assert differ(ExpertMap.of(model), model, HELD, output_router_logits=True) < ROUNDING


@pytest.mark.parametrize("name", ["olmoe", "deepseek_v3", "lora_gpt_oss"])
def test_layers_may_have_different_numbers_of_experts(name):
    model, held = model_of(name), [0, 2, 4, 6, 7]
    found = ExpertMap.of(model)
    assert differ(found, model, held) < ROUNDING
    with found.mask(model, held):
        assert step(model, output_router_logits=True).loss.isfinite()


@pytest.mark.parametrize("family", tiny.ADAPTED)
def test_contiguous_slices_of_lora_b_are_wrong(family):
    model = model_of(f"lora_{family}")
    found = ExpertMap.of(model)
    for name, entry in found.entries.items():
        if entry.layout == "interleaved":
            found.entries[name] = dataclasses.replace(entry, layout="blocks")
    token = batch()
    sub = found.sub_model(model, HELD)
    with found.mask(model, HELD), torch.no_grad():
        assert (model(token).logits - sub(token).logits).abs().max() > 0.5
    with pytest.raises(AssertionError):
        assert differ(found, model, HELD) < ROUNDING


@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_saved_loaded_and_sliced_again_is_bit_equal(name, tmp_path):
    model = model_of(name)
    found = ExpertMap.of(model)
    part = found.take(model.state_dict(), HELD)
    on_disk = tiny.disk_state(model, tmp_path / "whole")
    again = type(model).from_pretrained(tmp_path / "whole")
    loaded = found.take(again.state_dict(), HELD)
    assert all(torch.equal(loaded[key], part[key]) for key in part)

    # A sub-model on disk is what is sliced out of the whole one's file.
    sub = found.sub_model(model, HELD)
    sub_on_disk = tiny.disk_state(sub, tmp_path / "sub")
    sliced = ExpertMap.of(on_disk).take(on_disk, HELD)
    assert sliced.keys() == sub_on_disk.keys()
    assert all(torch.equal(sliced[key], sub_on_disk[key]) for key in sliced)
    small = type(model).from_pretrained(tmp_path / "sub")
    assert all(torch.equal(value, part[key]) for key, value in small.state_dict().items())
    with torch.no_grad():
        assert torch.equal(small.eval()(batch()).logits, sub.eval()(batch()).logits)


@pytest.mark.parametrize("name", [f"lora_{family}" for family in tiny.ADAPTED])
def test_an_adapter_on_disk_is_sliced_as_in_memory(name):
    model = model_of(name)
    adapter = tiny.disk_state(model)
    on_disk = ExpertMap.of(adapter, n_experts=4).take(adapter, HELD)
    in_memory = ExpertMap.of(model).take(model.state_dict(), HELD)
    trained = {key.replace(".default", ""): value for key, value in in_memory.items()
               if "lora_" in key}
    assert on_disk.keys() == trained.keys()
    assert all(torch.equal(on_disk[key], trained[key]) for key in on_disk)


def test_the_balancing_loss_is_not_inflated_by_experts_that_are_away():
    model = tiny.build("olmoe", num_experts=8)
    found, token = ExpertMap.of(model), batch()
    held = found.columns({0: [1, 4, 6], 1: [1, 4, 6]})
    with found.mask(model, held):
        output = model(input_ids=token, labels=token, output_router_logits=True)
    scores = torch.cat(output.router_logits)
    assert scores.shape[1] == 3
    full = torch.full((len(scores), 8), -torch.inf).index_copy(
        1, torch.tensor([1, 4, 6]), scores.detach())
    module = __import__(type(model).__module__, fromlist=["load_balancing_loss_func"])
    inflated = module.load_balancing_loss_func((full,), 8, tiny.CHOSEN)
    assert torch.allclose(output.aux_loss, inflated * 3 / 8)
    assert (model.num_experts, model.num_experts_per_tok) == (8, tiny.CHOSEN)


@pytest.mark.parametrize("held", [HELD, [1, 3, 5, 6], list(range(8))])
def test_the_loop_has_the_balancing_loss_of_the_sub_model(held):
    model = tiny.build("olmoe", router_aux_loss_coef=0.3)
    found, token = ExpertMap.of(model), batch()
    sub = found.sub_model(model, held)
    right = sub(input_ids=token, output_router_logits=True)
    run = build_model(build_config({}).model, (10,), 32, 0, model)
    allowed = [torch.tensor([at in own for at in range(4)]) for own in found.by_layer(held)]
    output, _, balance = run.run(run.initial(), token, allowed)
    assert torch.allclose(output, right.logits, atol=ROUNDING)
    assert torch.allclose(balance, 0.3 * right.aux_loss, atol=ROUNDING)


def test_the_loop_refuses_adapters_on_routers():
    model = model_of("lora_mixtral")
    run = build_model(build_config({}).model, (10,), 32, 0, model)
    with pytest.raises(ConfigError, match="without an adapter"):
        run.run(run.initial(), batch())


def test_the_loop_trains_and_sends_adapters_alone():
    model, token, held = model_of("lora_olmoe"), batch(), [1, 3, 5, 6]
    found = ExpertMap.of(model)
    run = build_model(build_config({}).model, (10,), 32, 0, model)
    params = {key: value.requires_grad_() for key, value in run.initial().items()}
    assert params and all("lora_" in key for key in params)
    before = {key: value.clone() for key, value in run.module.state_dict().items()}
    allowed = [torch.tensor([at in own for at in range(4)]) for own in found.by_layer(held)]
    output, *_ = run.run(params, token, allowed)
    assert torch.allclose(output, found.sub_model(model, held).eval()(token).logits, atol=ROUNDING)
    slopes = torch.autograd.grad(output.square().sum(), list(params.values()))
    assert all(slope.abs().max() > 0 for slope in slopes)
    for key, slope in zip(params, slopes, strict=True):
        if key in run.layout.layer_of:
            layer = run.layout.layer_of[key]
            assert not slope[~allowed[layer]].any()
    assert all(torch.equal(value, before[key]) for key, value in run.module.state_dict().items())


def test_a_correction_bias_cannot_bring_in_experts_that_are_away():
    model = tiny.build("deepseek_v3")
    found = ExpertMap.of(model)
    for block in model.model.layers[1:]:
        block.mlp.gate.e_score_correction_bias += torch.tensor([0.0, 9.0, 0.0, 9.0])
    assert differ(found, model, [0, 2, 4, 6]) < ROUNDING


def test_group_limited_routing_is_refused():
    model = tiny.build("deepseek_v3", n_group=2, topk_group=1)
    found = ExpertMap.of(model)
    with pytest.raises(ExpertMapError, match="chooses 1 of 2 groups"):
        found.sub_model(model, HELD)
    with pytest.raises(ExpertMapError, match="chooses 1 of 2 groups"), found.mask(model, HELD):
        pass


@pytest.mark.parametrize("implementation", ["eager", "batched_mm", "grouped_mm"])
def test_ways_to_run_experts(implementation):
    model = tiny.build("qwen3_moe")
    model.set_experts_implementation(implementation)
    assert differ(ExpertMap.of(model), model, HELD, output_router_logits=True) < ROUNDING


def test_a_model_that_recorded_before_can_be_masked_and_copied():
    model = tiny.build("mixtral")
    model(batch(), output_router_logits=True)  # installs recorders
    found = ExpertMap.of(model)
    assert differ(found, copy.deepcopy(model), HELD, output_router_logits=True) < ROUNDING
    assert differ(found, model, HELD, output_router_logits=True) < ROUNDING


def test_bfloat16():
    model = tiny.build("gpt_oss", intermediate_size=16).bfloat16()
    found, token = ExpertMap.of(model), batch()
    sub = found.sub_model(model, HELD)
    with found.mask(model, HELD), torch.no_grad():
        assert torch.allclose(model(token).logits, sub(token).logits, atol=0.05)
    assert found.merge(model.state_dict(), [(HELD, sub.state_dict())])[
        "lm_head.weight"].dtype == torch.bfloat16


def test_the_names_and_shapes_in_the_repository_are_those_of_this_version():
    from tests.fedloop.expert_map.write_states import states

    assert json.loads(json.dumps(states())) == SHAPES


def test_numbers_are_those_of_the_naming_rule():
    pytest.importorskip("flwr")
    from fedloop.flower import numbered

    rule = numbered(r"layers\.(\d+)\.block_sparse_moe\.experts\.(\d+)\.", per_layer=4)
    found = ExpertMap.of(state("mixtral", "disk"))
    assert {name: rule(name) for name in found.entries} == {
        name: None if entry.expert is None else found.layers[entry.layer].first + entry.expert
        for name, entry in found.entries.items()}
