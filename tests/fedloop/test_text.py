"""Text: windows, domains, sources, and a language model that learns."""

import hashlib
import math
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from fedloop.config import build_config
from fedloop.errors import ConfigError, DataError
from fedloop.experiment import run_training
from fedloop.tasks import text
from fedloop.tasks.choose import task_of
from fedloop.tasks.text import LanguageModelling, Text, installed_text, read_text_folder

DOMAINS = {"a": b"abcd" * 400, "b": b"dcba" * 400}


def settings(**groups):
    small = {"rounds": 8, "data": {"name": "text", "window": 16},
             "partition": {"kind": "domains", "clients": 4, "domains": 2, "test_images": 4,
                           "min_images": 2},
             "model": {"experts": 2, "layers": 2, "width": 16, "expert_width": 8},
             "local": {"steps": 3, "batch_size": 4, "probe_images": 4, "optimiser": "adamw",
                       "learning_rate": 0.02}}
    return build_config({name: {**small.get(name, {}), **value} if isinstance(value, dict) else
                         value for name, value in {**small, **groups}.items()})


@pytest.mark.parametrize("kind", ["domains", "iid"])
def test_windows_follow_each_other_and_are_dealt_out_once(kind):
    rng = np.random.default_rng(0)
    data = Text({name: rng.bytes(1601) for name in "ab"})
    part = LanguageModelling().deal(data, settings(partition={"kind": kind}))
    assert part.domain.tolist() == ([0, 1, 0, 1] if kind == "domains" else [0] * 4)
    assert torch.equal(part.train.input[:, 1:], part.train.target[:, :-1])
    windows = {bytes(row.tolist()) for row in part.train.input}
    assert len(windows) == len(part.train.input) == 160
    judged = {bytes(row.tolist()) for row in part.test.input}
    assert not windows & judged
    for client, domain in enumerate("abab"):
        for row in part.train.input[part.train.first[client]:part.train.first[client + 1]]:
            whole = data.domains[domain] if kind == "domains" else b"".join(data.domains.values())
            assert bytes(row.tolist()) in whole
    assert part.label_counts.sum() == 17 * 160
    digests = {name: hashlib.sha256(data.domains[name]).hexdigest() for name in "ab"}
    assert part.manifest["sha256"] == digests


def test_bytes_are_counted_by_kind():
    row = np.frombuffer(b"ab1 \n_" + bytes([0, 200]), np.uint8)[None]
    assert text._kinds(row).tolist() == [2, 1, 2, 2, 1]


def test_loss_is_nats_and_metrics_are_bits_per_byte():
    task = LanguageModelling()
    logit, target = torch.zeros(3, 5, 256), torch.randint(256, (3, 5))
    torch.testing.assert_close(task.loss(logit, target), torch.full((3,), math.log(256)))
    found = task.metrics(np.full(2, math.log(256)), np.full(2, math.log(2)))
    assert found == {"bits_per_byte": pytest.approx(8), "bits_per_byte_all": pytest.approx(1)}
    logit[0, :, :] = torch.nn.functional.one_hot(target[0], 256)
    assert task.accuracy(logit, target)[0] == 1


def test_both_executors_learn_the_same_and_experts_the_domains():
    runs = [run_training(settings(local={"batched": batched}), data=Text(DOMAINS))[1].records
            for batched in (True, False)]
    for one, other in zip(*runs, strict=True):
        assert one["bits_per_byte"] == pytest.approx(other["bits_per_byte"], abs=1e-2)
    assert runs[0][0]["bits_per_byte"] > 4 > 2 > runs[0][-1]["bits_per_byte"]
    assert set(runs[0][0]) >= {"accuracy", "accuracy_all", "bits_per_byte_all", "worst_decile"}


def test_what_is_installed_gives_four_domains():
    found = installed_text(30_000, 4).domains
    assert len(found) == 4 and all(len(part) == 30_000 for part in found.values())
    if find_spec("sklearn"):
        assert list(found) == ["python", "english", "c++", "cython"]
        assert b"cdef" in found["cython"] and b"#include" in found["c++"]


def test_another_domain_takes_the_place_of_a_missing_one(monkeypatch):
    monkeypatch.setitem(text.SOURCES, "english", lambda most: b"")
    assert list(installed_text(20_000, 3).domains) == ["python", "c++", "cython"]
    monkeypatch.setattr(text, "SOURCES", {"python": lambda most: b"x" * most})
    with pytest.raises(DataError, match=r"1 domains, python; set partition.domains = 1"):
        LanguageModelling().deal(LanguageModelling().load(settings()), settings())


def test_a_folder_of_text_files_for_each_domain(tmp_path):
    for name, words in DOMAINS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.txt").write_bytes(words[:800])
        (tmp_path / name / "two").write_bytes(words[800:])
    assert read_text_folder(tmp_path, 10**6).domains == DOMAINS
    assert read_text_folder(tmp_path, 100).domains["a"] == DOMAINS["a"][:100]
    config = settings(data={"name": "text-folder", "dir": tmp_path})
    assert isinstance(task_of(config, None), LanguageModelling)
    assert LanguageModelling().load(config).domains == DOMAINS
    with pytest.raises(DataError, match="holds no folders"):
        read_text_folder(tmp_path / "a", 10)


@pytest.mark.parametrize(("groups", "error", "match"), [
    ({"partition": {"kind": "rotation"}}, ConfigError, "by domains or iid"),
    ({"data": {"window": 1000}}, DataError, "too few for windows of 1000"),
    ({"partition": {"min_images": 500}}, DataError, "windows do not give 2 clients 500 each"),
    ({"data": {"name": "text-folder"}}, DataError, "say where with --data-dir"),
])
def test_mistakes_are_named(groups, error, match):
    task, config = LanguageModelling(), settings(**groups)
    with pytest.raises(error, match=match):
        task.deal(Text(DOMAINS) if config.data.name == "text" else task.load(config), config)
