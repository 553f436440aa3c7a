"""Answers as data frames: who holds what, at which price, by which margin; loads and bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import alignsolve as al
from alignsolve.model import frames
from tests.strategies import any_problems

nw = pytest.importorskip("narwhals")
LIBRARIES = ("pandas", "polars", "pyarrow")

#: With one holder an expert the best answer has 3 + 2.5, the other one 1 + 2.
TWO = {"client": ["a", "a", "b", "b"], "expert": ["x", "y", "x", "y"],
       "fitness": [3.0, 1.0, 2.0, 2.5]}  # fmt: skip


def rows(frame):
    """Return a frame as a dict of lists."""
    return nw.from_native(frame, eager_only=True).to_dict(as_series=False)


@pytest.mark.parametrize("library", LIBRARIES)
class TestInTheCallersLibrary:
    @pytest.fixture
    def result(self, library):
        pytest.importorskip(library)
        columns = {name: column if isinstance(column[0], str) else np.array(column)
                   for name, column in TWO.items()}
        frame = frames.to_frame(columns, library)
        problem = al.AlignmentProblem.from_frame(frame, min_experts=1, load_max=1)
        return al.solve(problem)

    def test_pairs(self, result, library):
        found = result.to_frame()
        assert type(found).__module__.startswith(library)
        found = rows(found)
        assert list(found) == ["client", "expert", "fitness", "price", "margin"]
        assert (found["client"], found["expert"]) == (["a", "b"], ["x", "y"])
        assert found["fitness"] == [3, 2.5]
        # The other answer is worse by 2.5, and has neither pair.
        assert found["margin"] == [2.5, 2.5]
        assert found["price"] == result.prices.tolist()
        assert np.isnan(rows(result.to_frame(margins=False))["margin"]).all()

    def test_loads(self, result, library):
        found = rows(result.loads_frame())
        assert found == {"expert": ["x", "y"], "load": [1, 1], "load_min": [0, 0],
                         "load_max": [1, 1], "price": result.prices.tolist(),
                         "binding": [True, True]}  # fmt: skip

    @pytest.mark.parametrize("other", LIBRARIES)
    def test_another_library(self, result, library, other):
        pytest.importorskip(other)
        assert type(result.to_frame(other)).__module__.startswith(other)
        assert rows(result.to_frame(library=other)) == rows(result.to_frame())

    def test_ids_come_back_as_they_were(self, library):
        pytest.importorskip(library)
        for clients in ([5, 7], [0, 1], ["0", "1"], ["5", "7"], ["a", "b"]):
            column = clients if isinstance(clients[0], str) else np.array(clients)
            frame = frames.to_frame(
                {"client": column, "expert": ["x", "x"], "fitness": np.ones(2)}, library)
            result = al.solve(al.AlignmentProblem.from_frame(frame))
            assert rows(result.to_frame())["client"] == clients


@settings(max_examples=25)
@given(problem=any_problems())
def test_any_answer(problem):
    result = al.solve(problem, time_limit=5)
    found = rows(result.to_frame("pyarrow"))
    word = "fitness" if problem.sense == "max" else "cost"
    assert len(found["client"]) == result.row_ind.size
    if problem.client_ids is None:
        assert found["client"] == result.row_ind.tolist()
    assert found[word] == problem.arguments()[word][result.row_ind, result.col_ind].tolist()
    if result.prices is not None:
        assert found["price"] == result.prices[result.col_ind].tolist()
    exact = problem.problem_class == "flow" and result.status is al.Status.OPTIMAL
    if exact and result.has_answer:
        explainer = al.Explainer(problem, result)
        margins = [held.margin for client in range(problem.n_clients)
                   for held in explainer.client(client).held]
        assert found["margin"] == margins
    else:
        assert np.isnan(found["margin"]).all()
    loads = rows(result.loads_frame("pyarrow"))
    assert loads["load"] == result.loads.tolist()
    low, high = problem.holder_bounds()
    for load, least, most, binding in zip(loads["load"], low, high, loads["binding"], strict=True):
        assert binding == (load == most < problem.n_clients or load == least > 0)
    for name in problem.loads:
        amounts = problem.load_amounts(name, result.row_ind, result.col_ind)
        assert loads[f"load:{name}"] == amounts.tolist()


def test_relaxed_bounds_are_those_of_the_answer():
    problem = al.AlignmentProblem([[3.0, 1.0], [2.0, 2.5]], 1, min_experts=1, load_max=[2, 0],
                                  load_min=[0, 1])
    result = al.solve(problem, elastic=True)
    found = rows(result.loads_frame("pyarrow"))
    assert result.relaxations
    assert all(least <= load <= most for load, least, most in
               zip(found["load"], found["load_min"], found["load_max"], strict=True))


def test_large_whole_numbers_are_exact():
    problem = al.AlignmentProblem([[2**60 + 1, 2**60]], 1, min_experts=1)
    assert rows(al.solve(problem).to_frame("pyarrow"))["fitness"] == [2**60 + 1]


@pytest.mark.parametrize(("clients", "shown"), [(["p", 7], ["p", "7"]), ([9, 7], [9, 7])])
def test_plans(clients, shown):
    aligner = al.Aligner(2)
    for client in clients:
        aligner.declare(client, max_experts=1)
    plan = aligner.plan(clients, fitness=np.array([[3.0, 1.0], [2.0, 2.5]]))
    found = rows(plan.to_frame("pyarrow"))
    assert found["client"] == [shown[row] for row in plan.row_ind.tolist()]
    assert found["expert"] == plan.col_ind.tolist()
    assert found["fitness"] == [3.0, 2.5]
    assert found["download"] == plan.download.tolist()
    assert found["expert_mb"] == plan.expert_mb[plan.col_ind].tolist()
    assert found["finish"] == plan.finish[plan.row_ind].tolist()
    aligner = al.Aligner(2, strategy="random")
    for client in clients:
        aligner.declare(client, max_experts=1)
    by_lot = aligner.plan(clients)
    assert list(rows(by_lot.to_frame("pyarrow"))) == [
        "client", "expert", "expert_mb", "download", "moved", "finish"]
