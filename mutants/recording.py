"""A plugin of pytest that records which lines each test runs, and how long the test takes."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path

import coverage
import pytest


class Recording:
    """Coverage with one context a test, and the seconds of each, added to what is there."""

    def __init__(self, folder: Path) -> None:
        self.coverage = coverage.Coverage(
            folder / "coverage", source=["alignsolve", "fedloop"], config_file=False
        )
        self.coverage.load()
        self.file = folder / "seconds.json"
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        self.coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Give the lines of a test its name."""
        self.coverage.switch_context(item.nodeid)
        result = yield
        self.coverage.switch_context("")
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up the parts of a test; one that fails or is skipped tells nothing of mutations."""
        if not report.passed:
            self.failed.add(report.nodeid)
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self) -> None:
        """Write what was recorded."""
        self.coverage.stop()
        self.coverage.save()
        before = json.loads(self.file.read_text()) if self.file.exists() else {}
        passed = {test: s for test, s in self.seconds.items() if test not in self.failed}
        self.file.write_text(json.dumps(before | passed))


def pytest_configure(config: pytest.Config) -> None:
    """Begin to record."""
    config.pluginmanager.register(Recording(Path(os.environ["MUTANTS_RECORD"])))
