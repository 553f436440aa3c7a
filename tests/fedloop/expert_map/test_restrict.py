"""Masks and sub-models of modules of one's own: the same numbers both ways."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.func import functional_call

from fedloop import ExpertMap
from fedloop.errors import ExpertMapError

WIDTH, EXPERTS = 6, 4


class Separate(nn.Module):
    """A layer with a module per expert and a router that may have a bias."""

    def __init__(self, bias=True):
        super().__init__()
        self.gate = nn.Linear(WIDTH, EXPERTS, bias=bias)
        self.experts = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(EXPERTS)])
        # In no state and no map, as the angles of rotary embeddings are.
        self.register_buffer("sharpness", torch.tensor(1.5), persistent=False)

    def forward(self, x):
        share = (self.sharpness * self.gate(x)).softmax(-1)
        outputs = torch.stack([expert(x) for expert in self.experts], -1)
        return x + (outputs * share[..., None, :]).sum(-1)


class Stacked(nn.Module):
    """A layer whose tensors are its own parameters, the router's rows columns, top 3 of them."""

    def __init__(self):
        super().__init__()
        self.n_experts, self.top_k = EXPERTS, 3
        self.gate = nn.Parameter(torch.randn(WIDTH, EXPERTS))
        self.up = nn.Parameter(torch.randn(EXPERTS, WIDTH, WIDTH))

    def forward(self, x):
        value, chosen = (x @ self.gate).topk(self.top_k)
        outputs = torch.einsum("th,ehf->tef", x, self.up)
        outputs = outputs.gather(1, chosen[..., None].expand(-1, -1, WIDTH))
        return x + (outputs * value.softmax(-1)[..., None]).sum(1)


def separate():
    return nn.Sequential(Separate(), nn.LayerNorm(WIDTH), Separate(bias=False))


def stacked():
    return nn.Sequential(Stacked(), nn.LayerNorm(WIDTH), Stacked())


def map_of(model):
    if isinstance(model[0], Separate):
        return ExpertMap.of(model)
    return ExpertMap.describe(
        model, experts={r"(\d+)\.up": "E H F"}, router={r"(\d+)\.gate": "H E"})


@pytest.mark.parametrize("build", [separate, stacked])
@pytest.mark.parametrize("held", [[0, 2, 5, 7], [3, 4], [1, 4, 5, 6, 7], list(range(8))])
def test_a_step_of_the_sub_model_merged_is_the_step_under_the_mask(build, held):
    torch.manual_seed(0)
    model = build().double()
    found, x = map_of(model), torch.randn(11, WIDTH, dtype=torch.float64)
    state = copy.deepcopy(model.state_dict())
    sub = found.sub_model(model, held)
    part = found.take(state, held)
    assert {name: tensor.shape for name, tensor in sub.state_dict().items()} == {
        name: tensor.shape for name, tensor in part.items()}
    sub.load_state_dict(part)

    def step(of):
        loss = of(x).square().sum()
        loss.backward()
        with torch.no_grad():
            for parameter in of.parameters():
                if parameter.grad is not None:
                    parameter -= 0.01 * parameter.grad
        return loss

    with found.mask(model, held):
        loss = step(model)
    assert torch.allclose(step(sub), loss, rtol=1e-12)
    merged, full = found.merge(state, [(held, sub.state_dict())]), model.state_dict()
    assert merged.keys() == full.keys()
    assert all(torch.allclose(merged[name], full[name], atol=1e-12) for name in full)
    away = sorted(set(range(8)) - set(held))
    before, after = found.take(state, away), found.take(full, away)
    assert all(torch.equal(before[name], after[name]) for name in before if "1." not in name[:2])


def test_the_mask_ends_with_its_context_and_with_errors():
    torch.manual_seed(0)
    model, x = separate(), torch.randn(3, WIDTH)
    found, before = map_of(model), model(x)
    with pytest.raises(RuntimeError), found.mask(model, [0, 4]):  # noqa: PT012
        assert not torch.equal(model(x), before)
        model(torch.randn(3, WIDTH + 1))
    assert torch.equal(model(x), before)
    with found.mask(model, range(8)):
        assert torch.equal(model(x), before)


@pytest.mark.parametrize("build", [separate, stacked])
def test_functional_calls_in_batches_are_masked(build):
    torch.manual_seed(0)
    model, x = build(), torch.randn(2, 3, WIDTH)
    found = map_of(model)
    params = {name: torch.stack([value, value + 0.1]) for name, value in model.state_dict().items()}
    with found.mask(model, [0, 5, 6]):
        both = torch.vmap(lambda p, x: functional_call(model, p, (x,)))(params, x)
    for at in range(2):
        model.load_state_dict({name: value[at] for name, value in params.items()})
        assert torch.allclose(both[at], found.sub_model(model, [0, 5, 6])(x[at]), atol=1e-5)


def test_layers_without_experts_and_unmaskable_routers_are_named():
    model = separate()
    found = map_of(model)
    with pytest.raises(ExpertMapError, match=r"layer '2': the client holds none of its 4"):
        found.sub_model(model, [0, 1])
    with pytest.raises(ExpertMapError, match=r"no module '0\.gate'.*names in memory"), found.mask(
            nn.Linear(2, 2), [0, 4]):
        pass

    class Distances(nn.Linear):
        def forward(self, x):
            return -torch.cdist(x, self.weight)

    model[0].gate = Distances(WIDTH, EXPERTS)
    with pytest.raises(ExpertMapError, match=r"'0\.gate' computes no scores"), found.mask(
            model, [0, 4]):
        model(torch.randn(3, WIDTH))


def test_a_sub_model_copies_no_other_expert_and_shares_nothing():
    model = separate()
    found = map_of(model)
    sub = found.sub_model(model, [1, 4])
    assert len(sub[0].experts) == 1
    assert sub[0].gate.out_features == 1
    assert torch.equal(sub[0].experts[0].weight, model[0].experts[1].weight)
    own = {tensor.data_ptr() for tensor in sub.state_dict().values()}
    assert not own & {tensor.data_ptr() for tensor in model.state_dict().values()}
    assert stacked()[0].top_k == 3
    short = map_of(model := stacked()).sub_model(model, [1, 4, 5])
    assert (short[0].n_experts, short[0].top_k, short[2].n_experts, short[2].top_k) == (1, 1, 2, 2)


def test_the_lines_of_the_documentation_describe_a_model():
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.Parameter(torch.randn(3, 5, WIDTH))
            self.down = nn.Parameter(torch.randn(3, WIDTH, 5))
            self.gate = nn.Linear(WIDTH, 3)

    model = nn.ModuleDict({"moe": nn.ModuleList([Layer(), Layer()]), "head": nn.Linear(WIDTH, 2)})
    text = (Path(__file__).parents[3] / "docs" / "expert_map.md").read_text(encoding="utf-8")
    lines = text.partition("## Your own model")[2].split("```")[1].removeprefix("python")
    assert len(lines.strip().splitlines()) <= 11
    names = {"model": model}
    exec(lines, names)
    assert names["held"] == [1, 2, 3]
    assert names["part"]["moe.1.down"].shape == (1, WIDTH, 5)
    assert names["aligner"].n_experts == 6
