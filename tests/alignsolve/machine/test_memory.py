"""Lack of memory is told from other errors, foreseen, and ends commands with code 3 and a line."""

import errno
import math
import resource
import subprocess
import sys

import numpy as np
import pytest

import alignsolve as al
from alignsolve.backends.registry import get_backend
from alignsolve.cli.main import main
from alignsolve.generators import generate
from alignsolve.machine import memory
from tests.files import ROOT

MIP = al.AlignmentProblem([[3, 1], [2, 2.5]], 2, resources={"m": al.Resource([2, 1], [2, 3])})


def raised(error, cause=None):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(("error", "said"), [
    (MemoryError("8 GiB"), "8 GiB"),
    (MemoryError(), ""),
    (OSError(errno.ENOMEM, "no room"), "[Errno 12] no room"),
    (ImportError("a.so: failed to map segment from shared object"),
     "a.so: failed to map segment from shared object"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
     "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    (raised(al.BackendError("gave up"), MemoryError("8 GiB")), "8 GiB"),
    (OSError(errno.ENOSPC, "full"), None),
    (ImportError("no module"), None),
])
def test_lack_of_memory_is_told_from_other_errors(error, said):
    assert memory.lack_of_memory(error) == said


def test_a_shortage_says_what_is_needed(monkeypatch):
    assert 0 < memory.available() < math.inf
    monkeypatch.setattr(memory, "available", lambda: 2.0**30)
    assert memory.shortage(2.0**29) is None
    assert memory.shortage(3 * 2.0**30) == "needs about 3.0 GiB of memory, and 1.0 GiB are left"
    monkeypatch.setattr(memory, "available", lambda: 0.0)
    assert memory.shortage(memory.LARGE - 1) is None


def test_a_limit_on_the_process_counts():
    code = ("import resource, alignsolve.machine.memory as memory\n"
            "most = 2**40\n"
            "resource.setrlimit(resource.RLIMIT_AS, (most, most))\n"
            "print(memory._limits() == (most, float('inf')), memory.available() < most)")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                          check=True)
    assert done.stdout == "True True\n"


@pytest.fixture
def little(monkeypatch):
    """Let there be a thousand bytes, and problems of any size ask for them."""
    monkeypatch.setattr(memory, "LARGE", 1)
    monkeypatch.setattr(memory, "available", lambda: 1000.0)


def test_a_backend_that_needs_too_much_is_not_tried(little):
    with pytest.raises(al.BackendError, match=r"'scipy-milp' needs about .* of memory"):
        al.solve(MIP, "scipy-milp")
    # Forbidden pairs need nothing.
    sparse = al.AlignmentProblem([[1.0] + [-math.inf] * 7], 1)
    assert al.solve(sparse, "ortools-mcf").status is al.Status.OPTIMAL


def test_a_source_counts_by_its_clients(little):
    def asked(clients):
        source = al.FunctionSource(
            lambda first, last: np.ones((last - first, 3), np.float32), (clients, 3))
        return get_backend("exchange").shortage(al.AlignmentProblem(source, 1))

    assert asked(18) is None
    assert "needs about" in asked(19)


def test_auto_passes_over_what_needs_too_much(little, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 399.0)
    found = al.solve(MIP, time_limit=60.0)
    assert found.backend == "greedy" and found.has_answer
    reasons = {step.backend: step.reason for step in found.fallbacks}
    for name in ("lagrangian", "ortools-mip", "ortools-cpsat", "scipy-milp"):
        assert "of memory, and 0.0 GiB are left" in reasons[name]


def test_a_refusal_is_one_line_and_code_3(little, tmp_path, capsys):
    path = tmp_path / "p.json"
    al.write_instance(MIP, path)
    assert main(["solve", str(path), "--backend", "scipy-milp"]) == 3
    streams = capsys.readouterr()
    assert "needs about" in streams.err and streams.err.count("\n") == 1 and not streams.out


def test_a_problem_too_large_to_be_made_is_refused(little, tmp_path, capsys):
    with pytest.raises(MemoryError, match="family 'uniform': 10,000 pairs: needs about"):
        generate("uniform", clients=1000, experts=10)
    path = tmp_path / "p.toml"
    path.write_text('name = "p"\nfamily = "uniform"\nseed = 1\n')
    assert main(["info", str(path)]) == 3
    error = capsys.readouterr().err
    assert f"{path}: does not fit into memory: family 'uniform'" in error
    assert error.count("\n") == 1


def test_a_bench_without_memory_for_any_run_ends_with_code_3(tmp_path):
    al.write_instance(MIP, tmp_path / "p.json")
    words = ["bench", str(tmp_path / "p.json"), "--out", str(tmp_path / "out"), "--backends",
             "greedy", "--memory-limit", "1"]
    assert main(words) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="limits are those of Linux")
@pytest.mark.parametrize(("kind", "mib", "words"), [
    (resource.RLIMIT_AS, 150, ["alignsolve.cli", "solve", "p.json"]),
    (resource.RLIMIT_AS, 350, ["alignsolve.cli", "solve", "p.json"]),
    (resource.RLIMIT_DATA, 100, ["alignsolve.cli", "solve", "p.json", "--backend", "scipy-milp"]),
    (resource.RLIMIT_DATA, 100, ["alignsolve.cli", "bench", "p.json"]),
    (resource.RLIMIT_AS, 400, ["fedloop.cli", "run"]),
])
def test_under_a_limit_commands_end_with_one_line_and_code_3(kind, mib, words, tmp_path):
    if words[0] == "fedloop.cli":
        pytest.importorskip("torch")
    al.write_instance(MIP, tmp_path / "p.json")
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(kind, (mib * memory.MIB, mib * memory.MIB)),
        env={"PATH": "", "PYTHONPATH": str(ROOT)}, timeout=120,
    )
    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "memory" in done.stderr
