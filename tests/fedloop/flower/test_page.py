"""The app of the page about Flower, as it stands there."""

import importlib
import itertools
import json
import re
import sys
import tomllib
from types import SimpleNamespace

import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install 'alignsolve[flower]'")
pytest.importorskip("transformers")

from tests.fedloop.flower.replies import identity  # noqa: F401
from tests.fedloop.flower.test_serving import Sending
from tests.files import ROOT

pytestmark = pytest.mark.engines


@pytest.fixture
def forget():
    """Forget the app's modules, so that what is imported next has a model of its own."""
    def forget():
        for name in [name for name in sys.modules if name.partition(".")[0] == "my_moe"]:
            del sys.modules[name]

    yield forget
    forget()


def test_the_app_of_the_page_plays_its_rounds(tmp_path, monkeypatch, forget):
    page = (ROOT / "docs" / "flower.md").read_text()
    files = dict(re.findall(r"```(?:python|toml)\n# ([\w./]+)[^\n]*\n(.*?)```", page, re.DOTALL))
    package = tmp_path / "my_moe"
    package.mkdir()
    for name, code in files.items():
        (tmp_path / name).write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    app = tomllib.loads(files["pyproject.toml"])["tool"]["flwr"]["app"]
    apps = []
    for side in ("serverapp", "clientapp"):
        module, name = app["components"][side].split(":")
        apps.append(getattr(importlib.import_module(module), name))
        assert importlib.import_module("my_moe.model").windows(9).max() < 256
        forget()
    server, client = apps
    history = tmp_path / "history.jsonl"
    server(Sending(client), SimpleNamespace(run_config={**app["config"], "history": str(history)}))
    losses = [json.loads(line)["loss"] for line in history.read_text().splitlines()]
    assert len(losses) == 1 + app["config"]["num-server-rounds"]
    # With momentum, nodes that go on from the server's model gain more in every round; those that
    # start from their own lose what the last rounds gained.
    gains = [before - after for before, after in itertools.pairwise(losses)]
    assert 0 < gains[0] < min(gains[1:])
