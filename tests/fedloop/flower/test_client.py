"""Nodes of `fedloop.flower.client` against AlignedStrategy, without a network."""

import subprocess
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("flwr", reason="Flower is not installed: pip install 'alignsolve[flower]'")

from flwr.app import ConfigRecord, Context, RecordDict

import alignsolve as al
from fedloop import ExpertMap
from fedloop.config import ServerSettings
from fedloop.errors import CheckpointError, EngineError
from fedloop.flower import AlignedStrategy, numbered, record_of, state_of
from fedloop.flower.client import Update, client_app, losses_alone
from fedloop.flower.messages import ARRAYS
from tests.fedloop.flower.replies import Grid, identity  # noqa: F401

NODES = {907: 0, 12: 1, 455: 2}


def stacked(dtype=torch.float32):
    """Four experts in two tensors, a router, a shared matrix and a counter."""
    draw = torch.Generator().manual_seed(0)
    shapes = {"up": (4, 6, 32), "down": (32, 24), "gate": (4, 32), "body": (8, 32)}
    state = {name: torch.randn(shape, generator=draw).to(dtype) for name, shape in shapes.items()}
    return {**state, "seen": torch.tensor(3)}


def mapped(state):
    return ExpertMap.describe(state, experts={"^up": "E F H", "^down": "o (r E)"},
                              router={"^gate": "E H"})


def trained(task, step=0.125):
    """Add to every parameter its client's number plus one."""
    return Update(
        {name: value + step * (task.client + 1) if value.is_floating_point() else value + 1
         for name, value in task.state.items()}, 10 * (task.client + 1),
        {expert: al.ExpertReport(samples=10, loss=0.5) for expert in task.experts})


class Playing(Grid):
    """Nodes that run an app, each with a context of its own."""

    def __init__(self, app, nodes=NODES):
        super().__init__(nodes)
        self.app = app
        self.contexts = {node: self.context(node) for node in nodes}

    def context(self, node):
        config = {"partition-id": self.nodes[node], "num-partitions": 3}
        return Context(1, node, config, RecordDict(), {})

    def push_messages(self, messages):
        for number, message in enumerate(messages):
            message.metadata.__dict__["_message_id"] = f"{self.queries}-{number}"
            self.answers.append(self.ask(message))
        self.queries += 1
        return [message.metadata.message_id for message in messages]

    def ask(self, message):
        return self.app(message, self.contexts[message.metadata.dst_node_id])


def aligner():
    return al.Aligner(4, strategy="round-robin")


def play(strategy, grid, arrays, rounds):
    seen = []
    for number in range(1, rounds + 1):
        messages = strategy.configure_train(number, arrays, ConfigRecord({"a": 1}), grid)
        replies = [grid.ask(message) for message in messages]
        arrays, figures = strategy.aggregate_train(
            number, [reply for reply in replies if not reply.has_error()])
        seen.append((messages, replies, figures))
    return arrays, seen


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_slices_of_a_map_are_averaged_over_their_holders(dtype):
    state = stacked(dtype)
    found = mapped(state)
    strategy = AlignedStrategy(aligner(), found)
    grid = Playing(client_app(trained, found))
    arrays, [(messages, _, figures)] = play(strategy, grid, record_of(state), 1)
    held = {NODES[m.metadata.dst_node_id]: list(m.content["config"]["experts"]) for m in messages}
    new = state_of(arrays)
    weight = {client: 10 * (client + 1) for client in held}
    share = sum(0.125 * (c + 1) * weight[c] for c in held) / sum(weight.values())
    right = {"body": state["body"].double() + share}
    for name, axis, slices in (("up", 0, lambda e: [e]), ("gate", 0, lambda e: [e]),
                               ("down", 1, lambda e: list(range(e, 24, 4)))):
        right[name] = state[name].double()
        for expert in range(4):
            holders = [c for c in held if expert in held[c]]
            if holders:
                change = np.mean([0.125 * (c + 1) for c in holders])
                right[name].index_add_(
                    axis, torch.tensor(slices(expert)),
                    torch.full_like(right[name].index_select(
                        axis, torch.tensor(slices(expert))), change))
    close = {torch.float32: 1e-6, torch.float16: 4e-3, torch.bfloat16: 3e-2}[dtype]
    for name, value in right.items():
        torch.testing.assert_close(new[name].double(), value, atol=close, rtol=close)
        assert new[name].dtype == dtype
    assert new["seen"] == 3 and figures["accepted"] == 3
    assert figures["received-bytes"] == figures["sent-bytes"] < figures["whole-model-bytes"]


def test_a_bfloat16_model_is_sent_bit_by_bit_in_half_the_bytes():
    sizes = {}
    for dtype in (torch.float32, torch.bfloat16):
        state = stacked(dtype)
        found = mapped(state)
        strategy = AlignedStrategy(aligner(), found)
        seen = []

        def keep(task, seen=seen):
            seen.append(task)
            return Update(task.state, 5, {})

        _, [(_, _, figures)] = play(strategy, Playing(client_app(keep, found)), record_of(state), 1)
        for task in seen:
            cut = found.take(state, task.experts)
            assert all(torch.equal(value, cut[name]) for name, value in task.state.items())
            assert task.state.keys() == cut.keys() and task.state["up"].dtype == dtype
        sizes[dtype] = figures["sent-bytes"]
    assert sizes[torch.bfloat16] <= 0.52 * sizes[torch.float32]


@pytest.mark.parametrize("with_map", [True, False])
def test_rounded_differences_follow_what_is_meant(with_map):
    """Clients' steps are small beside the rounding of a whole parameter, and none is lost."""
    if with_map:
        state = stacked()
        found = rule = mapped(state)
    else:
        state = {"body": torch.randn(8, 32), **{
            f"experts.{e}.w": torch.randn(16, 32) for e in range(4)}}
        found, rule = None, numbered(r"experts\.(\d+)\.")

    def small(task):
        return trained(task, 1e-3)

    ends, bytes_ = {}, {}
    for encoding in ("native", "int8"):
        strategy = AlignedStrategy(aligner(), rule, encoding=encoding)
        arrays, seen = play(strategy, Playing(client_app(small, found)), record_of(state), 20)
        assert all(figures["accepted"] == 3 for *_, figures in seen)
        ends[encoding], bytes_[encoding] = state_of(arrays), seen[-1][2]
    for name, value in ends["native"].items():
        if value.is_floating_point():
            moved = (value - state[name]).abs().max()
            assert (value - ends["int8"][name]).abs().max() < 0.02 * moved
    for kind in ("sent-bytes", "received-bytes"):
        assert bytes_["int8"][kind] <= 0.3 * bytes_["native"][kind]  # of rows of 6 and 32


def test_a_client_that_trains_nothing_changes_no_rounded_bfloat16_model():
    state = stacked(torch.bfloat16)
    found = mapped(state)

    def keep(task):
        return Update({name: value.to(state[name].dtype) for name, value in task.state.items()},
                      5, {})

    strategy = AlignedStrategy(aligner(), found, encoding="int8")
    arrays, _ = play(strategy, Playing(client_app(keep, found)), record_of(state), 2)
    assert all(torch.equal(value, state[name]) for name, value in state_of(arrays).items())


@pytest.mark.parametrize("judged", [True, False])
def test_differences_are_to_what_a_node_has_also_from_its_evaluation(judged):
    state = stacked()
    found, seen = mapped(state), []

    def evaluate(task):
        seen.append(task.state["body"])
        return 5, {"loss": 0.5}

    strategy = AlignedStrategy(aligner(), found, encoding="int8", evaluate_clients=judged)
    grid, arrays = Playing(client_app(trained, found, evaluate)), record_of(state)
    for number in (1, 2):
        messages = strategy.configure_train(number, arrays, ConfigRecord(), grid)
        based = {message.content["config"]["payload-based-on"] for message in messages}
        assert (based == {0}) == (number == 1)
        replies = [grid.ask(message) for message in messages]
        if number == 2:
            replies[0].content[ARRAYS]["body"].data += b"x"
        arrays, figures = strategy.aggregate_train(number, replies)
        assert figures["accepted"] == 4 - number
        asked = strategy.configure_evaluate(number, arrays, ConfigRecord(), grid)
        found_figures = strategy.aggregate_evaluate(number, [grid.ask(one) for one in asked])
        assert (found_figures == {"loss": 0.5, "seconds": pytest.approx(0, abs=60)}) == judged
    assert len(seen) == 6 * judged
    assert bool(strategy.refused) != judged  # the reason stays where nobody is judged
    for body in seen[3:]:
        torch.testing.assert_close(body, state_of(arrays)["body"], atol=2e-2, rtol=0)


def test_who_lost_its_version_says_so_and_gets_everything_again():
    state = stacked()
    found = mapped(state)
    strategy = AlignedStrategy(aligner(), found, encoding="int8")
    grid = Playing(client_app(trained, found))
    arrays, _ = play(strategy, grid, record_of(state), 2)
    grid.contexts[12] = grid.context(12)  # a restarted node
    messages = strategy.configure_train(3, arrays, ConfigRecord(), grid)
    with pytest.raises(Exception, match="the node has version None of the parameters"):
        grid.ask(next(m for m in messages if m.metadata.dst_node_id == 12))
    others = [grid.ask(m) for m in messages if m.metadata.dst_node_id != 12]
    arrays, figures = strategy.aggregate_train(3, others)
    assert figures["accepted"] == 2
    _, [(_, _, figures)] = play(strategy, grid, arrays, 1)
    assert figures["accepted"] == 3


def test_a_node_must_say_which_client_it_is_and_may_say_of_how_many():
    state = stacked()
    found, seen = mapped(state), []
    strategy = AlignedStrategy(aligner(), found)
    grid = Playing(client_app(lambda task: seen.append(task) or trained(task), found))
    message, *_ = strategy.configure_train(1, record_of(state), ConfigRecord(), grid)
    context = grid.contexts[message.metadata.dst_node_id]
    del context.node_config["num-partitions"]
    assert not grid.app(message, context).has_error() and seen[0].n_clients == 0
    del context.node_config["partition-id"]
    with pytest.raises(EngineError, match="no whole number partition-id; start it with"):
        grid.app(message, context)


def test_rounding_a_lie_takes_no_more_memory_than_was_asked():
    state = stacked()
    found = mapped(state)
    strategy = AlignedStrategy(aligner(), found, encoding="int8")
    grid = Playing(client_app(trained, found))
    messages = strategy.configure_train(1, record_of(state), ConfigRecord(), grid)
    replies = [grid.ask(message) for message in messages]
    body = [reply.content[ARRAYS]["body"] for reply in replies]
    body[0].data += bytes(2**20)
    body[1].data = np.full(8, np.inf, np.float32).tobytes() + body[1].data[32:]
    _, figures = strategy.aggregate_train(1, replies)
    assert figures["accepted"] == 1
    first, second = (strategy.refused[NODES[r.metadata.src_node_id]] for r in replies[:2])
    assert "bytes of numbers, not 288" in first and "is not finite" in second


def test_the_average_is_the_users(tmp_path):
    state = stacked()
    found = mapped(state)
    path = tmp_path / "strategy.safetensors"

    def build():
        return AlignedStrategy(
            aligner(), found, weight=lambda report, expert: float(report.client == 2),
            server=ServerSettings(optimiser="fedavgm"), checkpoint=path)

    grid = Playing(client_app(trained, found))
    strategy = build()
    arrays, _ = play(strategy, grid, record_of(state), 1)
    torch.testing.assert_close(state_of(arrays)["body"], state["body"] + 0.375)
    again = build()
    resumed = again.resume(record_of(state))
    arrays, _ = play(again, grid, resumed, 1)  # 0.9 of the last step, and another one
    torch.testing.assert_close(state_of(arrays)["body"], state["body"] + 0.375 * 2.9)
    expected, _ = play(strategy, grid, resumed, 1)
    assert {name: array.data for name, array in expected.items()} == {
        name: array.data for name, array in arrays.items()}


def test_running_numbers_of_another_map_are_refused(tmp_path):
    state = {"gate": torch.ones(4, 2), "experts.w": torch.ones(4, 3)}
    path, server = tmp_path / "s.safetensors", ServerSettings(optimiser="fedavgm")
    ruled = AlignedStrategy(aligner(), lambda name: 3 if name == "experts.w" else None,
                            server=server, checkpoint=path)
    play(ruled, Playing(client_app(trained)), record_of(state), 1)
    found = ExpertMap.describe(state, router={"^gate": "E H"},
                               experts={"^experts": "E ..."})
    with pytest.raises(CheckpointError, match=r"running numbers of experts\.w, .* another map"):
        AlignedStrategy(aligner(), found, server=server, checkpoint=path).resume(record_of(state))


def test_losses_of_experts_alone_are_of_a_model_in_the_mode_of_evaluation():
    model = torch.nn.ModuleDict({
        "gate": torch.nn.Linear(4, 3),
        "experts": torch.nn.ModuleList([torch.nn.Linear(4, 2) for _ in range(3)])})
    model["gate"].eval()
    found, modes = ExpertMap.of(model), []

    def loss():
        modes.extend(part.training for part in model.modules())
        return float(len(modes))

    assert sorted(losses_alone(model, [4, 0, 7], loss, found)) == [0, 4, 7]
    assert not any(modes) and model.training and not model["gate"].training


def test_clients_need_only_torch_and_flower():
    """As with ``pip install --no-deps alignsolve`` beside torch and flwr."""
    code = """
import sys
for absent in ("numba", "llvmlite", "ortools", "scipy", "networkx", "matplotlib", "sklearn",
               "safetensors", "pandas", "transformers", "pydantic"):
    sys.modules[absent] = None  # importing it raises
from tests.fedloop.flower import restricted
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "trained and reported\n"
