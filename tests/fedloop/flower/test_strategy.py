"""AlignedStrategy without a network: what it sends, averages and refuses."""

import numpy as np
import pytest
import torch

pytest.importorskip("flwr", reason="Flower is not installed: pip install 'alignsolve[flower]'")

from flwr.app import Array, ConfigRecord, Error, Message, MessageType, RecordDict
from flwr.serverapp.strategy import Strategy

import alignsolve as al
from fedloop import ExpertMap
from fedloop.errors import CheckpointError, EngineError
from fedloop.flower import AlignedStrategy, Nodes, exchange, numbered
from fedloop.flower.messages import reply
from fedloop.flower.quiet import QUIET
from tests.fedloop.flower.replies import (  # noqa: F401
    NODES,
    Grid,
    answer,
    identity,
    model,
    read_task,
    strategy,
)


def test_nodes_get_their_own_experts_only():
    chosen, grid = strategy(), Grid(NODES)
    messages = chosen.configure_train(1, model(), ConfigRecord({"lr": 0.1}), grid)
    assert [NODES[message.metadata.dst_node_id] for message in messages] == [0, 1, 2]
    for message in messages:
        arrays, experts, number = read_task(message)
        assert number == 1 and message.content["config"]["lr"] == 0.1
        assert set(arrays) == {"body.weight"} | {f"experts.{e}.weight" for e in experts}
    assert chosen.sent_bytes < chosen.whole_bytes


def test_experts_are_averaged_over_their_holders():
    chosen, start = strategy(), model()
    messages = chosen.configure_train(1, start, ConfigRecord(), Grid(NODES))
    held = {e for message in messages for e in read_task(message)[1]}
    weights = dict(zip((0, 1, 2), (10, 20, 70), strict=True))
    replies = [answer(m, lambda name, value, c=NODES[m.metadata.dst_node_id]: value + c,
                      weights[NODES[m.metadata.dst_node_id]]) for m in messages]
    arrays, metrics = chosen.aggregate_train(1, reversed(replies))
    assert metrics["accepted"] == 3
    np.testing.assert_allclose(arrays["body.weight"].numpy(), 0 * .1 + 1 * .2 + 2 * .7, rtol=1e-6)
    for message in messages:
        client = NODES[message.metadata.dst_node_id]
        for expert in read_task(message)[1]:  # one holder each: three clients, four experts
            np.testing.assert_allclose(arrays[f"experts.{expert}.weight"].numpy(),
                                       expert + 1 + client)
    for expert in set(range(4)) - held:
        np.testing.assert_array_equal(arrays[f"experts.{expert}.weight"].numpy(), expert + 1)


def damaged(message, kind):
    if kind == "error":
        return Message(Error(1, "killed"), reply_to=message)
    if kind == "nan":
        return answer(message, lambda name, value: value * np.float32("nan"))
    if kind == "shape":
        return answer(message, lambda name, value: value[:1])
    if kind == "samples":
        return answer(message, samples=-5)
    whole = answer(message)
    if kind == "names":
        whole.content["arrays"]["experts.9.weight"] = Array(np.zeros(3, np.float32))
    if kind == "metrics":
        whole.content["metrics"]["loss"] = [0.1, 0.2, 0.3]
    if kind == "empty":
        return Message(RecordDict(), reply_to=message)
    return whole


@pytest.mark.parametrize("kind", ["error", "nan", "shape", "samples", "names", "metrics", "empty",
                                  "silent"])
def test_a_bad_reply_is_refused_and_the_round_goes_on(kind):
    chosen = strategy()
    first, *rest = chosen.configure_train(1, model(), ConfigRecord(), Grid(NODES))
    bad = [] if kind == "silent" else [damaged(first, kind)]
    arrays, metrics = chosen.aggregate_train(1, bad + [answer(message) for message in rest])
    assert (metrics["accepted"], metrics["dropped"]) == (2, 1)
    np.testing.assert_allclose(arrays["body.weight"].numpy(), 1)
    assert all(np.isfinite(value.numpy()).all() for value in arrays.values())
    assert chosen.aligner.open_plan is None
    for expert in read_task(first)[1]:
        np.testing.assert_array_equal(arrays[f"experts.{expert}.weight"].numpy(), expert + 1)


def test_a_resumed_strategy_goes_on_with_the_same_plans(tmp_path):
    def play(chosen, arrays, rounds):
        held = []
        for number in rounds:
            messages = chosen.configure_train(number, arrays, ConfigRecord(), Grid(NODES))
            held.append([read_task(message)[1] for message in messages])
            arrays, _ = chosen.aggregate_train(number, [answer(m) for m in messages])
        return held, arrays

    expected, arrays = play(strategy(), model(), range(1, 5))
    path = tmp_path / "strategy.safetensors"
    play(strategy(checkpoint=path), model(), range(1, 3))
    again = strategy(checkpoint=path)
    found, resumed = play(again, again.resume(model()), range(1, 3))
    assert again.rounds_before == 2 and found == expected[2:]
    for name in arrays:
        np.testing.assert_array_equal(resumed[name].numpy(), arrays[name].numpy())


def test_a_checkpoint_has_one_writer(tmp_path, monkeypatch):
    path, seen = tmp_path / "strategy.safetensors", []

    def rounds(chosen, *arguments, **more):
        seen.append(sorted(part.name for part in tmp_path.iterdir()))
        with pytest.raises(CheckpointError, match=f"another fedloop is writing {path}; .* file"):
            strategy(checkpoint=path).start(Grid(NODES), model())

    monkeypatch.setattr(Strategy, "start", rounds)
    first = strategy(checkpoint=path)
    first.resume(model())
    for _ in range(2):
        first.start(Grid(NODES), model())
    assert seen == [[".strategy.safetensors.lock"]] * 2
    assert not list(tmp_path.iterdir())


def test_evaluation_is_averaged_by_examples():
    chosen, grid = strategy(), Grid(NODES)
    trained = chosen.configure_train(1, model(), ConfigRecord(), grid)
    chosen.aggregate_train(1, [answer(message) for message in trained])
    messages = chosen.configure_evaluate(1, model(), ConfigRecord(), grid)
    assert all(message.metadata.message_type == MessageType.EVALUATE for message in messages)
    replies = [reply(m, {}, n, 0.0, {}, {"accuracy": value})
               for m, n, value in zip(messages, (1, 1, 2), (0.0, 1.0, 0.5), strict=True)]
    assert chosen.aggregate_evaluate(1, replies)["accuracy"] == pytest.approx(0.5)


def test_clients_judge_nothing_where_the_server_does():
    chosen, grid = strategy(evaluate_clients=False), Grid(NODES)
    chosen.configure_train(1, model(), ConfigRecord(), grid)
    assert chosen.configure_evaluate(1, model(), ConfigRecord(), grid) == []
    assert chosen.aggregate_evaluate(1, []) is None


def test_a_naming_rule_that_finds_nothing_is_named():
    chosen = AlignedStrategy(al.Aligner(4), numbered(r"blocks\.(\d+)"))
    with pytest.raises(EngineError, match="finds 0 experts"):
        chosen.configure_train(1, model(), ConfigRecord(), Grid(NODES))


@pytest.mark.parametrize("grouped", [False, True])
def test_layers_without_groups_are_told(monkeypatch, grouped):
    """Of a plan without groups a client may have no expert of a layer."""
    told = []
    monkeypatch.setattr("fedloop.flower.strategy.log", lambda level, *words: told.append(words[0]))
    found = ExpertMap.describe({f"{layer}.{name}": torch.zeros(2, 3) for layer in range(2)
                                for name in ("up", "gate")},
                               experts={r"(\d)\.up": "E F"}, router={r"(\d)\.gate": "E H"})
    AlignedStrategy(al.Aligner(4, **found.groups() if grouped else {}), found)
    assert ["no groups" in text for text in told] == [True] * (not grouped)


def test_a_round_in_which_nobody_trains_is_logged(monkeypatch):
    told = []
    monkeypatch.setattr("fedloop.flower.strategy.log", lambda *words: told.append(words))
    chosen = strategy()
    chosen.aligner.policy = al.PolicySettings(min_experts=0)
    for client in NODES.values():
        chosen.aligner.declare(client, max_experts=0)
    assert not chosen.configure_train(1, model(), ConfigRecord(), Grid(NODES))
    assert len(told) == 1 and "nothing is trained" in told[0][1] and told[0][2:] == (1, 3)


def test_a_restarted_node_takes_the_place_of_the_old_one():
    chosen, grid = strategy(), Grid(dict(NODES))
    assert chosen.nodes.find(grid) == {0: 907, 1: 12, 2: 455}
    grid.nodes[3] = 0
    assert chosen.nodes.find(grid) == {0: 3, 1: 12, 2: 455}
    del grid.nodes[12]
    assert chosen.nodes.find(grid) == {0: 3, 2: 455}


class Erring(Grid):
    """Nodes that answer with an error."""

    def push_messages(self, messages):
        sent = super().push_messages(messages)
        self.answers = [Message(Error(1, "no num-\npartitions"), reply_to=message)
                        for message in messages]
        return sent


def test_errors_of_nodes_are_logged_once_and_nobody_found(caplog):
    nobody = Nodes(timeout=60)
    for _ in range(2):
        assert nobody.find(Erring(NODES)) == {}
    assert sorted(caplog.messages) == sorted(
        f"node {node} does not say which client it is: no num- partitions" for node in NODES)
    query = Message(RecordDict(), 12, MessageType.QUERY)
    assert exchange(Erring(NODES), {5: query}, 60) == {}
    assert caplog.messages[-1] == "client 5: no num- partitions"
    with pytest.raises(EngineError, match="'partition-id=0 num-partitions=N'"):
        nobody.wait(Grid({}), 1, 0.01)


@pytest.mark.parametrize(("given", "named"), [(({"a": "1"},), {}), ((), {"settings": {"a": "1"}})])
def test_settings_for_nodes_are_refused(given, named):
    with pytest.raises(TypeError, match=r"__init__\(\) "):
        Nodes(*given, **named)


def test_reporting_is_off():
    from flwr.supercore.telemetry import FLWR_TELEMETRY_ENABLED

    assert FLWR_TELEMETRY_ENABLED == "0" and QUIET["FLWR_DISABLE_UPDATE_CHECK"] == "1"
