"""`warm_up`: whatever is solved afterwards compiles nothing."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

import alignsolve as al
from alignsolve.cli import main
from alignsolve.kernels import Kernel, costs

#: Runs in a process of its own, so that nothing is loaded before.
SOLVE_AFTERWARDS = """
import gc, json
import numpy as np
from numba.core.registry import CPUDispatcher
import alignsolve as al
from alignsolve import kernels
from alignsolve.generators import generate

def loaded():
    # Signatures count whether they were compiled or read from disk.
    return {k.__module__ + "." + k.__name__: len(k.signatures)
            for k in gc.get_objects() if isinstance(k, CPUDispatcher)}

al.warm_up(lambda *_: None)
before = loaded()
rng = np.random.default_rng(0)
for dtype in ("float32", "float64"):
    fitness = rng.random((3000, 24)).astype(dtype)
    fitness[rng.random(fitness.shape) < 0.1] = -np.inf
    slots = rng.integers(1, 5, 3000)
    for more in ({}, {"load_penalty": 0.01, "load_target": 100},
                 {"switch_cost": 0.1, "held": (np.arange(3000), np.arange(3000) % 24)}):
        problem = al.AlignmentProblem(fitness, slots, load_min=100, load_max=600, **more)
        result = al.solve(problem)
        assert result.status is al.Status.OPTIMAL
        assert (result.backend, result.fallbacks) == ("exchange", ())
        al.solve(problem, warm_start=result)
        al.explain(problem, result)
        al.solve(problem.replace(fitness=np.asfortranarray(fitness)))
        al.certify(problem, result.row_ind, result.col_ind, result.prices)
    al.solve(problem.replace(load_max=10), elastic=True)
source = al.FactorSource(rng.random((3000, 8)), rng.random((24, 8)))
for more in ({}, {"switch_cost": 0.1, "held": (np.arange(3000), np.arange(3000) % 24)}):
    al.solve(al.AlignmentProblem(source, slots, load_min=100, load_max=600, **more))
    al.solve(al.AlignmentProblem(al.ArraySource(fitness), slots, load_max=600, **more))
for family in ("latent", "multi-layer", "tiers", "forbidden", "skewed", "ties", "sticky",
               "infeasible", "gap-a", "gap-e"):
    al.solve(generate(family), rel_gap=0.01)
fleet = generate("scarce", clients=20, experts=4)
al.solve(fleet)
al.solve(fleet.replace(load_min=60), elastic=True, time_limit=20)
after = loaded()
print(json.dumps(sorted(k for k in after if after[k] > before.get(k, 0))))
"""


def test_nothing_is_compiled_afterwards() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SOLVE_AFTERWARDS], check=True, capture_output=True, text=True
    )
    assert json.loads(done.stdout) == []


def test_the_command_names_parts_and_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warm-up", "--json"]) == 0
    seconds = json.loads(capsys.readouterr().out)["seconds"]
    assert "generalized assignment" in seconds
    assert all(took >= 0 for took in seconds.values())
    assert main(["warm-up", "--only", "flow"]) == 0
    told = capsys.readouterr().out
    assert "s  of processor time expected" in told
    assert "s  one slot, float32" in told
    assert "budgets" not in told


def test_python_tells_the_estimate_and_parts(capsys: pytest.CaptureFixture[str]) -> None:
    al.warm_up(only="mip")
    told = capsys.readouterr().err
    assert "alignsolve: compiling kernels, 0 s of processor time" in told
    assert "s  generalized assignment" in told
    with pytest.raises(al.ProblemError, match="only is 'lp'; give some of flow, mip"):
        al.warm_up(only="lp")


def test_the_table_of_costs_names_kernels() -> None:
    for stem in costs.SECONDS:
        module, _, name = stem.rpartition(".")
        assert isinstance(getattr(importlib.import_module(f"alignsolve.{module}"), name), Kernel)
