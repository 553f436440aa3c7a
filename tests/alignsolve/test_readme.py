"""The README's Python runs, and its commands exist."""

from __future__ import annotations

import re

import pytest

from alignsolve.backends import BACKEND_NAMES
from tests.files import ROOT

README = ROOT / "README.md"


def test_python_runs_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    scope: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL):
        exec(block, scope)
    printed = capsys.readouterr().out
    assert "optimal, certified by prices" in printed
    assert "improving exchange" in printed


def test_every_backend_and_link_is_there() -> None:
    text = README.read_text()
    assert all(f"`{name}`" in text for name in BACKEND_NAMES)
    for target in re.findall(r"\]\(([^):]+)\)|`((?:docs|instances|benchmarks)/[\w./-]*)`", text):
        path = next(part for part in target if part)
        assert (README.parent / path).exists(), path
