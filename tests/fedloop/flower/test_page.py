"""The app of the page about Flower, as it stands there."""

import importlib
import json
import re
import tomllib
from types import SimpleNamespace

import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install 'alignsolve[flower]'")
pytest.importorskip("transformers")

from tests.fedloop.flower.replies import identity  # noqa: F401
from tests.fedloop.flower.test_serving import Sending
from tests.files import ROOT

pytestmark = pytest.mark.engines


def test_the_app_of_the_page_plays_its_rounds(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "flower.md").read_text()
    files = dict(re.findall(r"```(?:python|toml)\n# ([\w./]+)[^\n]*\n(.*?)```", page, re.DOTALL))
    package = tmp_path / "my_moe"
    package.mkdir()
    for name, code in files.items():
        (tmp_path / name).write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    app = tomllib.loads(files["pyproject.toml"])["tool"]["flwr"]["app"]
    server, client = (getattr(importlib.import_module(module), name) for module, name in (
        app["components"][key].split(":") for key in ("serverapp", "clientapp")))
    history = tmp_path / "history.jsonl"
    server(Sending(client), SimpleNamespace(run_config={**app["config"], "history": str(history)}))
    losses = [json.loads(line)["loss"] for line in history.read_text().splitlines()]
    assert len(losses) == 1 + app["config"]["num-server-rounds"]
    assert losses[-1] < losses[0]
