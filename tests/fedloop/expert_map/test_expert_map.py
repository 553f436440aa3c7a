"""Taking parts of a state and merging them, with every layout."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import alignsolve as al
from fedloop import ExpertMap
from fedloop.errors import ExpertMapError
from tests.fedloop.expert_map.states import STATES, state

MAPS = {key: ExpertMap.of(state(*key)) for key in STATES}


def described(experts=3, entries=2):
    """A layer with every layout, and numbers that say their expert, and no map needed."""
    e, r = experts, entries
    whole = {f"one.experts.{k}.w": torch.full((2, 2), float(k)) for k in range(e)} | {
        "one.stack": torch.arange(e).float()[None, :, None].expand(2, e, 5).clone(),
        "one.blocks": torch.arange(e).float().repeat_interleave(r)[:, None].expand(-1, 4).clone(),
        "one.turns": torch.arange(e).float().repeat(r)[None].expand(7, -1).clone(),
        "one.gate": torch.arange(e).float()[:, None].expand(-1, 4).clone(),
        "norm": torch.full((9,), -1.0), "steps": torch.tensor(5),
    }
    found = ExpertMap.describe(
        whole, router={r"(one)\.gate": "E H"}, experts={
            r"(one)\.experts\.(\d+)\.": "...", r"(one)\.stack": "a E b",
            r"(one)\.blocks": "(E r) H", r"(one)\.turns": "O (r E)"})
    return whole, found


def test_every_layout_is_cut_where_the_experts_are():
    whole, found = described()
    assert {found.entries[name].layout for name in whole} == {
        "each", "stacked", "blocks", "interleaved", "shared"}
    part = found.take(whole, [2, 0])
    assert torch.equal(part["one.experts.0.w"], whole["one.experts.0.w"])
    assert torch.equal(part["one.experts.1.w"], whole["one.experts.2.w"])
    assert "one.experts.2.w" not in part
    assert part["one.stack"][0, :, 0].tolist() == [0, 2]
    assert part["one.blocks"][:, 0].tolist() == [0, 0, 2, 2]
    assert part["one.turns"][0].tolist() == [0, 2, 0, 2]
    assert part["one.gate"][:, 0].tolist() == [0, 2]
    assert part["norm"] is whole["norm"]
    assert found.take(whole, [2, 0], all_router_rows=True)["one.gate"] is whole["one.gate"]


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


#: One state of every kind, in memory and on disk: merging them all would take long.
PLAIN = [("deepseek_v3", "memory"), ("mixtral", "disk"), ("lora_gpt_oss", "memory")]
some = st.sets(st.integers(0, 7))


@given(st.sampled_from(PLAIN), st.integers(0, 5))
def test_all_experts_taken_and_merged_are_the_state(key, seed):
    whole = state(*key, seed)
    part = MAPS[key].take(whole, range(8))
    assert equal(part, whole)
    assert equal(MAPS[key].merge(whole, [(range(8), part)] * 3, [0.1, 0.2, 0.7]), whole)
    other = state(*key, seed + 1)
    assert equal(MAPS[key].merge(other, [(range(8), part)]), whole)


@given(st.sampled_from(PLAIN), some, some)
def test_bytes_add_up(key, one, other):
    found, whole = MAPS[key], state(*key)
    both = found.bytes_of(one | other) + found.bytes_of(one & other)
    assert both == found.bytes_of(one) + found.bytes_of(other)
    taken = sum(tensor.nbytes for tensor in found.take(whole, one).values())
    assert taken == found.bytes_of(one) + found.shared_bytes


@given(st.sampled_from(PLAIN), some, some, st.integers(1, 5))
def test_merges_of_disjoint_clients_commute(key, one, other, seed):
    found, whole, trained = MAPS[key], state(*key), state(*key, seed)
    own = {name: tensor for name, tensor in trained.items()
           if found.entries[name].layer is not None}
    updates = [(held, found.take(own, held)) for held in (one, other - one)]
    together = found.merge(whole, updates)
    assert equal(together, found.merge(found.merge(whole, updates[:1]), updates[1:]))
    assert equal(together, found.merge(found.merge(whole, updates[1:]), updates[:1]))
    assert equal(found.take(together, one), {**found.take(whole, one), **updates[0][1]})


def test_merge_weighs_experts_by_their_holders_and_the_rest_by_all():
    whole, found = described()
    whole = {name: tensor * 0 for name, tensor in whole.items()}
    parts = [{name: tensor + value for name, tensor in found.take(whole, held).items()}
             for held, value in (([0, 1], 1), ([1, 2], 4))]
    merged = found.merge(whole, [([0, 1], parts[0]), ([1, 2], parts[1])], [1, 2],
                         [{}, {1: 1, 2: 0}])
    assert merged["norm"][0] == 3.0  # (1 + 2 * 4) / 3
    assert merged["one.stack"][0, :, 0].tolist() == [1.0, 2.5, 0.0]
    assert merged["one.turns"][0].tolist() == [1.0, 2.5, 0.0] * 2
    assert [merged[f"one.experts.{k}.w"][0, 0].item() for k in range(3)] == [1.0, 2.5, 0.0]
    assert merged["steps"] == 0  # a whole number stays the server's


def test_a_whole_router_counts_in_all_its_rows():
    whole, found = described()
    part = {"one.gate": whole["one.gate"] + 1}
    merged = found.merge(whole, [([0], part), ([1], found.take(part, [1]))], [3, 1])
    moved = (merged["one.gate"] - whole["one.gate"])[:, 0]
    # The second client sent row 1 alone, two above the server's.
    assert torch.allclose(moved, torch.tensor([1.0, 1.0, 1.0]))
    assert merged["norm"] is whole["norm"]


def test_merge_keeps_bfloat16_and_frozen_tensors():
    whole, found = described()
    whole = {name: tensor.bfloat16() for name, tensor in whole.items() if name != "steps"}
    updates = [([0, 1], {**found.take(whole, [0, 1]), "one.stack": torch.ones(2, 2, 5).bfloat16()}),
               ([0], found.take(whole, [0]))]
    merged = found.merge(whole, updates, [0.1, 0.3])
    assert merged["one.stack"].dtype == torch.bfloat16
    assert all(torch.equal(merged[name], whole[name]) for name in whole if name != "one.stack")
    assert merged["one.stack"][0, :, 0].tolist() == [0.25, 1.0, 2.0]


@pytest.mark.parametrize(("change", "message"), [
    ({"one.stack": (2, 3, 5)}, r"update 0: one\.stack has shape \(2, 3, 5\), .* have \(2, 2, 5\)"),
    ({"one.experts.2.w": (2, 2)}, r"one\.experts\.2\.w has .* have no such tensor"),
    ({"lost": (1,)}, "lost has .* have no such tensor"),
])
def test_updates_of_other_names_and_shapes_are_refused(change, message):
    whole, found = described()
    part = found.take(whole, [0, 2]) | {name: torch.zeros(shape) for name, shape in change.items()}
    with pytest.raises(ExpertMapError, match=message):
        found.merge(whole, [([0, 2], part)])


def test_states_and_experts_beyond_the_map_are_refused():
    _, found = described()
    with pytest.raises(ExpertMapError, match="lost is not in this map"):
        found.take({"lost": torch.zeros(1)}, [0])
    with pytest.raises(ExpertMapError, match=r"norm has shape \(8,\), and \(9,\) in the map"):
        found.take({"norm": torch.zeros(8)}, [0])
    with pytest.raises(ExpertMapError, match="expert 3 is none of the 3"):
        found.bytes_of([3])
    with pytest.raises(ExpertMapError, match="layer 0 has no expert 3"):
        found.columns({0: [3]})


def test_an_aligner_plans_experts_of_several_layers():
    found = MAPS["deepseek_v3", "memory"]
    groups = found.groups()
    assert groups["expert_ids"][:5] == ["1/0", "1/1", "1/2", "1/3", "2/0"]
    assert found.columns({0: [3], 1: [0, 2]}) == [3, 4, 6]
    assert found.by_layer([6, 3, 4]) == [[3], [0, 2]]
    aligner = al.Aligner(found.n_experts, expert_mb=found.expert_mb, **groups)
    clients = ["a", "b", "c", "d"]
    for client in clients:
        aligner.declare(client, max_experts=3)
    plan = aligner.plan(clients)
    for client in clients:
        held = found.by_layer(plan.experts_of(client))
        assert min(map(len, held)) >= 1
        assert sum(map(len, held)) <= 3
    result = al.solve(al.AlignmentProblem(torch.rand(4, 8).numpy(), max_experts=3, **groups))
    assert result.status.name == "OPTIMAL"


@pytest.mark.parametrize(("drawing", "message"), [
    ("E,F", "is no shape"), ("E ... H", "is no shape"), ("E (E r)", "on two axes"),
])
def test_drawings_that_are_none_are_refused(drawing, message):
    with pytest.raises(ExpertMapError, match=message):
        ExpertMap.describe({"up": torch.zeros(2, 2)}, experts={"up": drawing}, router={})


def test_what_a_description_leaves_out_is_refused_and_can_be_shared():
    whole = {"moe.up": torch.zeros(3, 4, 5), "moe.gate": torch.zeros(3, 5),
             "moe.noise": torch.zeros(3), "moe.norm": torch.zeros(5), "head": torch.zeros(2, 5)}
    rules = {"experts": {r"moe\.up": "E F H"}, "router": {r"moe\.gate": "E H"}}
    with pytest.raises(ExpertMapError, match=r"not explained.*: moe\.noise, moe\.norm\.") as fault:
        ExpertMap.describe(whole, **rules)
    assert fault.value.unexplained == ("moe.noise", "moe.norm")
    found = ExpertMap.describe(whole, **rules, shared=["noise|norm"])
    assert found.take(whole, [1]).keys() == whole.keys()


@pytest.mark.parametrize(("experts", "router", "message"), [
    ({"moe": "F H"}, {}, "'moe' has 0 groups; .* and then one for the expert"),
    ({r"(\d)(\d)": "E"}, {}, "has 2 groups; give one for the layer, if there are several$"),
    ({r"(moe)\.(up)": "..."}, {}, "moe.up: 'up' is no expert's number"),
    ({"(": "E"}, {}, r"'\(' is no regular expression"),
    ({"up": "E F"}, {r"gate": "..."}, "router rows 'gate': draw the axis"),
    ({"up": "E F"}, {"gate": "E"}, "description: experts, but no router"),
    ({"down": "E F"}, {"up": "E F"}, "description: a router, but no expert"),
])
def test_descriptions_that_cannot_be_right_are_refused(experts, router, message):
    with pytest.raises(ExpertMapError, match=message):
        ExpertMap.describe({"moe.up": torch.zeros(3, 4)}, experts=experts, router=router)


def test_weights_that_are_not_one_each_are_refused():
    whole, found = described()
    with pytest.raises(ExpertMapError, match="1 updates have 2 weights and 1 of their experts"):
        found.merge(whole, [([0], {})], weights=[1, 2])


def test_importing_fedloop_imports_no_torch():
    script = "import sys, fedloop; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("piece", ["nonsense", "up@x", "up@", "up@999", "up@-1", "up", "body@1"])
def test_what_is_no_piece_has_no_owner(piece):
    shapes = {"up": (4, 3), "gate": (4, 3), "body": (2,)}
    experts = ExpertMap.describe({name: torch.ones(shape) for name, shape in shapes.items()},
                                 router={"^gate": "E H"}, experts={"^up": "E ..."})
    assert experts.owner("up@3") == 3 and experts.owner("body") is None
    with pytest.raises(ExpertMapError, match=f"{piece} is no piece"):
        experts.owner(piece)
