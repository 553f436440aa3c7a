"""What importing costs and needs, and which paths keep working."""

import importlib
import re
import subprocess
import sys
import tomllib

import pytest

import fedloop.cli as fedloop_cli
from tests.files import ROOT

main_module = sys.modules["alignsolve.cli.main"]

HEAVY = ("numba", "ortools", "scipy", "matplotlib", "torch", "networkx", "pyarrow", "ray",
         "pandas", "polars", "narwhals")

#: What takes a hundredth or more of the time of the import, and few processes use.
LATE = ("difflib", "hashlib", "html", "secrets", "shutil", "socket", "zipfile")

CODE = f"""
import sys
for name in {HEAVY + LATE}:
    sys.modules[name] = None  # importing it raises ImportError
import alignsolve as al
report = al.ClientReport(3, 1, 100, 2.5, experts={{0: al.ExpertReport(100, accuracy=0.5)}})
print(report.experts[0].accuracy, len(al.__all__))
"""


def test_reporting_needs_neither_solvers_nor_what_is_imported_late():
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=False, cwd=ROOT,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "0.5"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("alignsolve.binding", "binding_bounds"), ("alignsolve.problem", "tolerance"),
        ("alignsolve.problem", "AlignmentProblem"), ("alignsolve.generators", "generate"),
        ("alignsolve.io", "read_instance"), ("alignsolve.io", "write_solution"),
        ("alignsolve.aligner", "Aligner"), ("alignsolve.bench", "run_bench"),
        ("alignsolve.progress", "Progress"), ("alignsolve.errors", "ProblemError"),
        ("alignsolve.backends", "available_backends"), ("alignsolve.certificate", "certify"),
        ("alignsolve.elastic", "Elastic"), ("alignsolve.solve", "solve"),
        ("alignsolve.explain", "explain"), ("alignsolve.cli", "main"),
        ("fedloop.privacy", "noise_for"), ("fedloop.train", "train"), ("fedloop.cli", "main"),
    ],
)  # fmt: skip
def test_documented_paths_of_0_1_keep_working(module, name):
    assert hasattr(importlib.import_module(module), name)


def test_messages_offer_only_extras_and_commands_that_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    commands = {program: {command.__name__.replace("_", "-") for command, *_ in module.COMMANDS}
                for program, module in (("alignsolve", main_module), ("fedloop", fedloop_cli))}
    for path in [*(ROOT / "alignsolve").rglob("*.py"), *(ROOT / "fedloop").rglob("*.py")]:
        text = path.read_text()
        for extras in re.findall(r"pip install '\.?(?:alignsolve)?\[([\w,-]+)\]'", text):
            assert set(extras.split(",")) <= set(project["optional-dependencies"]), path
        for program, command in re.findall(r"`(alignsolve|fedloop) ([a-z-]+)", text):
            assert command in commands[program], f"{path}: {program} {command}"


def test_entry_points_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for target in project["scripts"].values():
        module, _, name = target.partition(":")
        assert callable(getattr(importlib.import_module(module), name))
