"""The round loop: determinism, resuming, devices and their failures, exact bytes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from alignsolve import kernels
from alignsolve.aligner import optimal
from fedloop.checkpoint import NAME, load_checkpoint, save_checkpoint
from fedloop.config import build_config
from fedloop.errors import CheckpointError, ConfigError
from fedloop.saving import contents
from fedloop.train import play_round, start, train, train_here

ROOT = Path(__file__).resolve().parents[2]

SMALL = {
    "rounds": 6, "checkpoint_every": 2,
    "partition": {"clients": 6, "test_images": 10},
    "model": {"experts": 4, "width": 8, "expert_width": 6},
    "local": {"steps": 2, "batch_size": 8, "probe_images": 8},
}


def settings(**groups):
    merged = {name: dict(value) if isinstance(value, dict) else value
              for name, value in SMALL.items()}
    for name, value in groups.items():
        merged[name] = {**merged.get(name, {}), **value} if isinstance(value, dict) else value
    return build_config(merged)


HARD = {
    "participants": 5, "server": {"momentum": 0.5}, "alignment": {"switch_cost": 0.01},
    "fleet": {"failure_rate": 0.2, "corruption_rate": 0.1, "deadline_s": 0.1},
}


@pytest.mark.parametrize("groups", [
    {}, HARD, {**HARD, "model": {"layers": 2, "gate": "personal"}},
    {"strategy": "random"}, {"strategy": "greedy"}, {"strategy": "round-robin"},
], ids=["plain", "hard", "hard, two layers", "random", "greedy", "round-robin"])
def test_a_resumed_run_is_the_same_to_the_last_bit(tmp_path, groups):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    _, expected = train(settings(**groups), whole)
    train(settings(**groups), parts, stop_after=3)
    # What was written after the checkpoint, when the run was killed.
    with (parts / "rounds.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"round": 4}\n{"rou')
    _, found = train(settings(**groups), parts, stop_after=4)
    _, found = train(settings(**groups), parts)
    assert all(torch.equal(found.model[name], expected.model[name]) for name in expected.model)
    assert found.records == expected.records
    for file in ("rounds.jsonl", "config.json", "partition.json", "checkpoint.safetensors"):
        assert (parts / file).read_bytes() == (whole / file).read_bytes(), file
    lines = (parts / "rounds.jsonl").read_text().splitlines()
    assert [json.loads(line)["round"] for line in lines] == list(range(1, 7))


RESUME = """
import json, sys
from pathlib import Path
from fedloop.config import build_config
from fedloop.train import train
train(build_config(json.loads(sys.argv[1])), Path(sys.argv[2]))
print("numba" in sys.modules)
"""


def test_a_run_that_is_resumed_where_nothing_is_compiled_is_the_same(tmp_path):
    whole, parts, site = tmp_path / "whole", tmp_path / "parts", tmp_path / "site"
    config = {**SMALL, **HARD}
    with kernels.compiled():
        train(build_config(config), whole)
        train(build_config(config), parts, stop_after=3)
    for package in ("alignsolve", "fedloop"):
        shutil.copytree(ROOT / package, site / package,
                        ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", RESUME, json.dumps(config), str(parts)], capture_output=True,
        text=True, check=False, cwd=tmp_path, env={
            **os.environ, "PYTHONPATH": str(site), "NUMBA_CACHE_DIR": str(tmp_path / "empty")})
    assert done.stdout.split()[-1:] == ["False"], done.stderr
    for file in ("rounds.jsonl", "config.json", "partition.json", "checkpoint.safetensors"):
        assert (parts / file).read_bytes() == (whole / file).read_bytes(), file


def press(*_):
    signal.raise_signal(signal.SIGINT)


def pressing_in_round(number):
    """Return a trainer during whose round of a number Ctrl-C is pressed."""

    def trainer(world, state, clients, held, round_):
        if round_ == number:
            press()
        return train_here(world, state, clients, held, round_)

    return trainer


@pytest.mark.parametrize("moment", ["training", "planning", "telling"])
def test_ctrl_c_loses_no_whole_round_and_no_bit(tmp_path, moment, monkeypatch):
    config = settings(**HARD, checkpoint_every=100)
    _, expected = train(config)
    more = {"training": {"trainer": pressing_in_round(4)},
            "telling": {"on_round": lambda record: record["round"] == 3 and press()}}
    with monkeypatch.context() as patch:
        if moment == "planning":
            calls, solved = [], optimal.solve
            patch.setattr(optimal, "solve", lambda *a, **k: (
                calls.append(1), len(calls) == 4 and press(), solved(*a, **k))[-1])
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path, **more.get(moment, {}))
    rounds = load_checkpoint(tmp_path / "checkpoint.safetensors")["records"]
    assert [record["round"] for record in rounds] == [1, 2, 3]
    _, found = train(config, tmp_path)
    assert all(torch.equal(found.model[name], expected.model[name]) for name in expected.model)
    assert found.records == expected.records


def test_every_round_is_saved_where_no_signal_is_heard(tmp_path):
    seen = []

    def look(_):
        seen.append(len(load_checkpoint(tmp_path / "checkpoint.safetensors")["records"]))

    config = settings(rounds=3, checkpoint_every=100)
    thread = threading.Thread(target=lambda: train(config, tmp_path, on_round=look))
    thread.start()
    thread.join()
    assert seen == [1, 2, 3]


def test_a_folder_of_another_run_is_refused(tmp_path):
    train(settings(), tmp_path, stop_after=2)
    with pytest.raises(CheckpointError, match="another seed"):
        train(settings(seed=1), tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    data = path.read_bytes()
    for damaged in (b"", data[:100], data[:-5], b"x" * 50):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged"):
            train(settings(), tmp_path)


def test_batched_and_plain_rounds_agree():
    runs = [train(settings(rounds=3, local={"batched": batched}))[1] for batched in (True, False)]
    for name, value in runs[0].model.items():
        torch.testing.assert_close(value, runs[1].model[name], rtol=1e-3, atol=1e-4)
    assert [r["held"] for r in runs[0].records] == [r["held"] for r in runs[1].records]


def test_learning_learns():
    config = settings(rounds=40, local={"steps": 5, "batch_size": 16, "learning_rate": 0.5},
                      partition={"kind": "iid"}, model={"width": 32})
    _, state = train(config)
    assert state.records[-1]["accuracy"] > 0.7 > state.records[0]["accuracy"]


def test_bytes_are_exact():
    world, state = train(settings(rounds=3))
    params = world.spec.initial()
    trunk = sum(4 * value.numel() for name, value in params.items() if name.startswith("trunk."))
    expert = sum(4 * value[0].numel() for name, value in params.items()
                 if not name.startswith("trunk."))
    assert (world.trunk_bytes, world.expert_bytes) == (trunk, [expert] * 4)
    total = 0
    for record in state.records:
        pairs = sum(len(experts) for experts in record["held"].values())
        total += pairs
        # All took part and finished, so everything is new to everybody.
        assert record["up_bytes"] == record["down_bytes"] == 6 * trunk + pairs * expert
        assert record["finished"] == 6 and sum(record["holders"]) == total


def test_personal_gates_do_not_travel():
    shared, personal = (train(settings(rounds=1, model={"gate": gate}))[0]
                        for gate in ("shared", "personal"))
    assert shared.expert_bytes[0] - personal.expert_bytes[0] == 4 * 8


def test_a_round_in_which_all_fail_changes_nothing():
    world, state = train(settings(fleet={"failure_rate": 1.0}, rounds=2))
    for record in state.records:
        assert record["down_bytes"] > 0 == record["up_bytes"] == record["finished"]
        assert record["failed"] == list(range(6)) and record["loss"] is None
    assert all(torch.equal(state.model[name], value)
               for name, value in world.spec.initial().items())


def test_damaged_updates_are_refused():
    _, state = train(settings(fleet={"corruption_rate": 1.0}, rounds=2))
    assert [record["refused"] for record in state.records] == [list(range(6))] * 2
    assert all(value.isfinite().all() for value in state.model.values())


def test_stragglers_are_dropped():
    _, state = train(settings(fleet={"deadline_s": 0.05, "speed_spread": 1.0}, rounds=4))
    late = [client for record in state.records for client in record["late"]]
    assert late
    for record in state.records:
        assert record["seconds"] <= 0.05
        assert record["finished"] == 6 - len(record["late"]) - len(record["idle"])


def test_all_strategies_meet_the_same_clients_and_luck():
    fleet = {"failure_rate": 0.3}
    runs = [train(settings(strategy=strategy, participants=4, fleet=fleet))[1].records
            for strategy in ("optimal", "random", "greedy")]
    for look in (lambda record: record["failed"], lambda record: sorted(record["held"])):
        first, *others = ([look(record) for record in records] for records in runs)
        assert all(other == first for other in others)


def test_optimal_balances_and_greedy_does_not():
    optimal, greedy = (train(settings(strategy=strategy, rounds=10))[1].records[-1]["load_cv"]
                       for strategy in ("optimal", "greedy"))
    assert optimal < 0.03 < greedy


def test_deficits_keep_holders_even_over_all_rounds():
    kept, forgotten = (
        np.ptp(train(settings(alignment={"deficits": deficits}, rounds=8))[1].holders)
        for deficits in (True, False)
    )
    assert kept <= 1 < forgotten


def spoiled(change):
    """Return a trainer in which client 2 is changed after training."""
    def trainer(world, state, clients, held, number):
        training = train_here(world, state, clients, held, number)
        change(training, training.clients.index(2), training.pairs[0].client.tolist().index(
            training.clients.index(2)))
        return training
    return trainer


@pytest.mark.parametrize("change", [
    lambda training, client, pair: training.seen[0][pair, 2:].fill_(torch.inf),
    lambda training, client, pair: training.seen[0][pair, 1].fill_(1e30),
    lambda training, client, pair: training.seen[0][pair, 0].fill_(2.0),
    lambda training, client, pair: training.seen[0][pair, 0].fill_(-0.1),
    lambda training, client, pair: training.seen[0][pair, 0].fill_(torch.nan),
    lambda training, client, pair: training.loss[client].fill_(torch.inf),
], ids=["loss after", "loss before", "usage above 1", "usage below 0", "usage NaN", "loss"])
def test_who_is_refused_is_refused_by_aligner_and_average_alike(change, tmp_path):
    world, state = train(settings(rounds=1), tmp_path, trainer=spoiled(change))
    without = start(world)
    record = play_round(world, without, spoiled(
        lambda training, client, pair: training.params["trunk.linear.bias"][client].fill_(
            torch.nan)))
    assert record["refused"] == [2] and record["finished"] == 5
    assert state.records == [record]
    assert all(torch.equal(value, without.model[name]) for name, value in state.model.items())
    assert state.aligner.metrics()["samples"] == without.aligner.metrics()["samples"]
    line = (tmp_path / "rounds.jsonl").read_text()
    assert json.loads(line, parse_constant=pytest.fail) == record and np.isfinite(record["loss"])


def test_records_are_json_where_nobody_counts_and_speeds_are_absurd(tmp_path):
    absurd = settings(rounds=2, fleet={"speed_spread": 1e4})
    train(absurd, tmp_path / "slow")
    train(settings(rounds=2), tmp_path / "none", trainer=lambda *given: _lost(train_here(*given)))
    for run in ("slow", "none"):
        for line in (tmp_path / run / "rounds.jsonl").read_text().splitlines():
            record = json.loads(line, parse_constant=pytest.fail)
    assert record["loss"] is None and record["refused"] == list(range(6))


def _lost(training):
    training.loss.fill_(torch.nan)
    return training


def test_no_round_is_played_after_round_0(tmp_path):
    _, state = train(settings(), tmp_path, stop_after=0)
    assert state.records == [] and (tmp_path / "rounds.jsonl").read_text() == ""
    assert len(train(settings(), tmp_path, stop_after=2)[1].records) == 2
    assert len(train(settings(), tmp_path, stop_after=0)[1].records) == 2
    for wrong in (-1, 1.5, True):
        with pytest.raises(ConfigError, match=r"stop_after is .* number from 0 to .*, or None"):
            train(settings(), stop_after=wrong)


def test_infinite_losses_of_older_checkpoints_are_null(tmp_path):
    world, state = train(settings(), tmp_path, stop_after=2)
    state.records[0]["loss"] = float("inf")
    save_checkpoint(tmp_path / NAME, contents(world, state))
    assert train(settings(), tmp_path, stop_after=2)[1].records[0]["loss"] is None
    assert '"loss": null' in (tmp_path / "rounds.jsonl").read_text().splitlines()[0]


def test_bytes_of_clients_sum_to_those_of_the_round():
    _, state = train(settings(fleet={"failure_rate": 0.5}, rounds=3))
    assert any(record["failed"] for record in state.records)
    for record in state.records:
        down, up = np.sum(list(record["client_bytes"].values()), axis=0)
        assert (down, up) == (record["down_bytes"], record["up_bytes"])
        for client in record["failed"]:
            assert record["client_bytes"][str(client)][1] == 0
