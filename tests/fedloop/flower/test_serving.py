"""The server of an app of one's own, with nodes in this process."""

import json
from types import SimpleNamespace

import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install 'alignsolve[flower]'")

import fedloop.flower.serving
from fedloop.errors import CheckpointError, ConfigError
from fedloop.flower import AlignedStrategy, Nodes, serve
from fedloop.flower.client import client_app
from tests.fedloop.flower.replies import identity  # noqa: F401
from tests.fedloop.flower.test_client import Playing, aligner, mapped, stacked, trained
from tests.files import ROOT

NEEDED = {"min-nodes": 3, "timeout": 1.0, "max-experts": 2}


class Sending(Playing):
    """Answers as Flower's grid does."""

    def send_and_receive(self, messages, timeout=None):
        return [self.ask(message) for message in messages]


class Late(Sending):
    """Client 2 is there from the second round on."""

    rounds = 0

    def get_node_ids(self):
        return [node for node, client in self.nodes.items() if client < 2 or self.rounds]

    def send_and_receive(self, messages, timeout=None):
        self.rounds += 1
        return super().send_and_receive(messages, timeout)


@pytest.fixture
def play():
    def played(rounds, path=None, grid=Sending, nodes=None, /, **config):
        state = stacked()
        experts = mapped(state)
        strategy = AlignedStrategy(aligner(), experts, evaluate_clients=False,
                                   checkpoint=path, nodes=nodes)
        serve(grid(client_app(trained, experts)),
              {**NEEDED, "num-server-rounds": rounds, **config}, strategy, state,
              lambda found: {"size": float(found["body"].abs().sum())})
        return strategy

    return played


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_resumed_run_goes_on_with_a_history_that_was_cut_off(play, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(fedloop.flower.serving, "draw_history",
                        lambda lines, path: drawn.append([line["round"] for line in lines]))
    files = {name: str(tmp_path / name) for name in ("checkpoint", "history", "picture")}
    history = tmp_path / "history"
    play(2, **files)
    first = lines_of(history)
    with history.open("a") as stream:
        stream.write('{"round": 3, "si')
    play(4, **files, resume=True)
    lines = lines_of(history)
    assert [line["round"] for line in lines] == [0, 1, 2, 3, 4] == drawn[-1]
    assert lines[:3] == first and first[2]["sent_bytes"] > 0
    play(1, **files)
    assert [line["round"] for line in lines_of(history)] == [0, 1]


def test_a_checkpoint_of_the_strategy_stays_and_optional_settings_may_be_missing(play, tmp_path):
    path = tmp_path / "strategy.safetensors"
    for config in ({}, {"checkpoint": "", "resume": False}):
        assert play(1, path, **config).checkpoint == path and path.exists()
        path.unlink()


def test_max_experts_of_this_start_count_also_for_who_comes_later(play, tmp_path):
    path = tmp_path / "strategy.safetensors"
    for config, expected in (({"num": 2}, 2), ({"num": 4, "resume": True}, 1)):
        strategy = play(config.pop("num"), path, Late, **config,
                        **{"min-nodes": 2, "max-experts": expected})
        assert strategy.aligner.tables.capacity.max_experts[:3].tolist() == [expected] * 3


@pytest.mark.parametrize(("given", "expected"), [(None, 2.0), (0.5, 0.5), (5.0, 5.0)])
def test_nodes_have_a_rounds_time_to_say_who_they_are_or_what_is_given(play, given, expected):
    seen = []

    class Asked(Sending):
        def push_messages(self, messages):
            seen.extend(message.metadata.ttl for message in messages)
            return super().push_messages(messages)

    play(1, None, Asked, Nodes(timeout=given), timeout=2.0)
    assert seen == [expected] * 3


def test_nothing_is_resumed_from_nothing(play, tmp_path):
    with pytest.raises(CheckpointError, match=r"c\.safetensors: nothing to resume"):
        play(1, tmp_path / "c.safetensors", resume=True)
    with pytest.raises(CheckpointError, match="no checkpoint is named"):
        play(1, resume=True)


def test_settings_that_an_app_lacks_are_named():
    with pytest.raises(ConfigError, match=r"no setting min-nodes, timeout: write it into .*toml"):
        serve(None, {"num-server-rounds": 1, "max-experts": 2}, None, {}, None)


def test_a_history_keeps_its_sound_lines(tmp_path):
    path = tmp_path / "h"
    path.write_text('{"round": 1, "a": 1}\n[1]\n{"a": 2}\n{"rou\n{"round": 1, "a": 3}\n'
                    '{"round": 0}\n{"round": 2}\n')
    assert fedloop.flower.serving.played(path, 1) == {0: {"round": 0}, 1: {"round": 1, "a": 3}}
    assert list(fedloop.flower.serving.played(path, 1)) == [0, 1]
    assert fedloop.flower.serving.played(tmp_path / "none", 1) == {}


def test_the_example_of_many_layers_wants_an_expert_in_each(monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "flower-hf"))
    from aligned_lm import server_app

    layers = SimpleNamespace(layers=range(5), n_experts=40)
    monkeypatch.setattr(server_app.model, "of", lambda config: (None, layers))
    with pytest.raises(ValueError, match="max-experts is 4, and the model has 5 layers"):
        server_app.app(None, SimpleNamespace(run_config={"max-experts": 4}))
