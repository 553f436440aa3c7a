"""`make budgets` tells what failed, and what was not measured, from what kept its limit."""

from __future__ import annotations

import importlib
import signal
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.files import ROOT

IGNORES = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass"


@pytest.fixture
def budgets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """Return the module, with limits on two small cases in place of its own."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    module = importlib.import_module("budgets")
    monkeypatch.setattr(module, "copied", lambda commit, folder: tmp_path)
    monkeypatch.setattr(module, "CASES", {"works": "print('fine')", "fails": "1 / 0"})
    monkeypatch.setattr(module, "BUDGETS", {
        f"case: {name}": module.at_most(60.0, name) for name in module.CASES})
    return module


@pytest.mark.parametrize(("word", "code", "text"), [
    ("works", 0, "all kept"),
    ("fails", 1, "MISSED exit code 1: ZeroDivisionError"),
])
def test_a_case_that_fails_is_missed(budgets: ModuleType, word: str, code: int, text: str,
                                     monkeypatch: pytest.MonkeyPatch,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["budgets.py", word])
    assert budgets.main() == code
    assert text in capsys.readouterr().out


def test_a_word_in_no_name_is_refused(budgets: ModuleType, monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["budgets.py", "works", "imports"])
    with pytest.raises(SystemExit, match="2"):
        budgets.main()
    assert "no limit has 'imports' in its name" in capsys.readouterr().err


@pytest.mark.parametrize(("program", "code", "fault"), [
    ("while True: pass", -signal.SIGTERM, ""),
    ("while True: pass", 143, "exit code -15 in place of 143"),
    ("raise SystemExit(4)", 143, "ended before the signal, exit code 4"),
    (IGNORES, 143, "did not end"),
])
def test_a_command_is_judged_after_its_signal(budgets: ModuleType, program: str, code: int,
                                              fault: str) -> None:
    seen = budgets.after_signal([sys.executable, "-S", "-c", program], signal.SIGTERM, code,
                                busy=0.3,
                                patience=0.5 if program == IGNORES else 60.0)
    assert seen.fault == fault
