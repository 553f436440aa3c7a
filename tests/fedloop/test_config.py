"""Settings: defaults, files, changes and mistakes."""

import json
import re

import pytest

from fedloop.config import build_config, config_json, read_config
from fedloop.errors import ConfigError
from fedloop.experiment import run_training
from tests.files import ROOT


def test_defaults_survive_json():
    config = read_config(None)
    assert config.threads == 1  # the fastest for small models
    assert build_config(json.loads(config_json(config))) == config


def test_files_and_changes(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("rounds = 7\n[local]\nsteps = 3\n", encoding="utf-8")
    config = read_config(path, ["local.steps=4", "strategy=greedy", "fleet.tiers=['phone']",
                                "fleet.deadline_s = 2.5"])
    assert (config.rounds, config.local.steps, config.strategy) == (7, 4, "greedy")
    assert (config.fleet.tiers, config.fleet.deadline_s) == (("phone",), 2.5)


@pytest.mark.parametrize(("change", "text"), [
    ("rounds=0", "rounds"),
    ("rounds=many", r"rounds: .*\(it is 'many'\)"),
    ("locl.steps=3", "no setting locl; there are seed, rounds"),
    ("local.step=3", "no setting local.step; there are steps"),
    ("strategy=best", "strategy"),
    ("participants=21", "only 20 clients"),
    ("local.learning_rate=nan", "learning_rate"),
    ("server.momentum=1", "less than 1"),
    ("rounds", "not key=value"),
    ("rounds.x=1", "rounds"),
    ("=3", "not key=value"),
])
def test_mistakes_are_named(change, text):
    with pytest.raises(ConfigError, match=text):
        read_config(None, [change])


def test_a_byte_order_mark_does_no_harm(tmp_path):
    path = tmp_path / "c.toml"
    path.write_bytes("\ufeffrounds = 7\n".encode())
    assert read_config(path).rounds == 7


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "none.toml")
    path = tmp_path / "c.toml"
    path.write_text("rounds = ", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"c.toml: not TOML"):
        read_config(path)
    path.write_text("rounds = 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="is no group"):
        read_config(path, ["rounds.x=1"])


def test_the_settings_for_upgrading_train_as_0_1_did():
    page = (ROOT / "docs" / "upgrading.md").read_text()
    command = re.search(r"^fedloop run (--set .*?)^```", page, re.MULTILINE | re.DOTALL)
    changes = re.findall(r"--set (\S+)", command.group(1))
    records = run_training(read_config(None, ["rounds=5", *changes]))[1].records
    # What 4266549, the last commit before its loop was replaced, prints for these rounds.
    assert [record["accuracy"] for record in records] == pytest.approx(
        [0.106, 0.144, 0.157, 0.209, 0.259], abs=0.004)
