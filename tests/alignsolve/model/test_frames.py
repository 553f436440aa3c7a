"""Data frames of pandas, polars and pyarrow as problems."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.io.table import from_problem
from alignsolve.model import frames
from alignsolve.model.digest import problem_digest
from tests.alignsolve.io.test_tables import comparable
from tests.strategies import any_problems

pytest.importorskip("narwhals")
LIBRARIES = ("pandas", "polars", "pyarrow")


def made(library, columns):
    """Return a data frame of some columns."""
    return frames.to_frame(
        {name: column if isinstance(column, list) and isinstance(column[0], str)
         else np.asarray(column) for name, column in columns.items()}, library)


@pytest.fixture(params=LIBRARIES)
def library(request):
    pytest.importorskip(request.param)
    return request.param


@pytest.fixture
def make(library):
    return lambda **columns: made(library, columns)


class TestLong:
    @pytest.mark.parametrize("library", LIBRARIES)
    @settings(max_examples=40)
    @given(problem=any_problems(), data=st.data())
    def test_a_table_in_a_frame_is_the_problem(self, problem, data, library):
        pytest.importorskip(library)
        tables = from_problem(problem, "table")
        pairs, clients, experts = (frames.to_frame(table, library) for table in tables)
        again = al.AlignmentProblem.from_frame(pairs, clients=clients, experts=experts)
        assert problem_digest(comparable(again)) == problem_digest(comparable(problem))

    def test_ids_values_and_arguments(self, make):
        frame = make(phone=["b", "a", "b"], skill=[7, 7, 30], score=[1.0, 2.0, 3.0])
        problem = al.AlignmentProblem.from_frame(
            frame, client="phone", expert="skill", fitness="score", max_experts=2, load_max=1)
        assert (problem.client_ids, problem.expert_ids) == (("b", "a"), ("7", "30"))
        assert problem.fitness.tolist() == [[1, 3], [2, -np.inf]]
        assert (problem.max_experts.tolist(), problem.load_max.tolist()) == ([2, 2], [1, 1])
        assert al.AlignmentProblem.from_frame(
            frame, "phone", "skill", "score").max_experts.tolist() == [1, 1]

    def test_ids_given_anew_are_texts(self, make):
        frame = make(client=[1, 2], expert=[5, 6], fitness=[1.0, 2.0])
        problem = al.AlignmentProblem.from_frame(frame).replace(client_ids=["x", "y"])
        columns = al.solve(problem).pair_columns()
        assert columns["client"] == ["x", "y"]
        assert list(columns["expert"]) == [5, 6]
        assert len(al.solve(problem).to_frame()) == 2

    def test_as_few_cells_as_of_files(self, make):
        ids = np.arange(20_000)
        frame = make(client=ids, expert=ids, fitness=np.ones(ids.size))
        with pytest.raises(al.ProblemError, match="frame: declares 20,000 x 20,000"):
            al.AlignmentProblem.from_frame(frame)

    def test_one_value_column(self, make):
        with pytest.raises(al.ProblemError, match=r"got fitness='a' and cost='a'; give one"):
            al.AlignmentProblem.from_frame(make(client=["a"], expert=["x"], a=[1.0]), fitness="a",
                                           cost="a")

    def test_costs(self, make):
        for frame, named in ((make(client=[0, 1], expert=[0, 0], cost=[1, 2]), {}),
                             (make(client=[0, 1], expert=[0, 0], dear=[1, 2]), {"cost": "dear"})):
            problem = al.AlignmentProblem.from_frame(frame, client_cost_max=5, **named)
            assert problem.sense == "min"
            assert problem.client_ids is None
            assert problem.arguments()["cost"].tolist() == [[1], [2]]
            assert problem.arguments()["client_cost_max"].tolist() == [5, 5]

    def test_companions_fix_the_order_and_hold_limits(self, make):
        problem = al.AlignmentProblem.from_frame(
            make(client=["b", "a"], expert=["x", "y"], fitness=[1.0, 2.0]),
            clients=make(client=["a", "b", "c"], **{"budget:mb": [8.0, np.inf, 1.0]}),
            experts=make(expert=["x", "y"], load_max=[1, 2], **{"size:mb": [4, 5]}),
            max_experts=[2, 1, 1])
        assert problem.client_ids == ("a", "b", "c")
        assert problem.resources["mb"].budget.tolist() == [8, np.inf, 1]
        assert problem.resources["mb"].size[0].tolist() == [4, 5]
        assert problem.load_max.tolist() == [1, 2]

    def test_float32_and_large_whole_numbers(self, library):
        single = made(library, {"client": ["a", "b"], "expert": ["x", "x"], "fitness": [1.0, 2.0]})
        nw = frames.narwhals()
        single = nw.from_native(single).with_columns(nw.col("fitness").cast(nw.Float32))
        assert al.AlignmentProblem.from_frame(single.to_native()).fitness.dtype == np.float32
        large = made(library, {"client": ["a", "a"], "expert": ["x", "y"],
                               "fitness": [2**60, 2**60 + 1]})
        problem = al.AlignmentProblem.from_frame(large, min_experts=1)
        assert problem.arguments()["fitness"].tolist() == [[2**60, 2**60 + 1]]

    @pytest.mark.parametrize(("columns", "message"), [
        ({"client": ["a"], "expert": ["x"]}, r"frame: column 'fitness' \(to be maximised\) or"),
        ({"client": ["a"], "fitness": [1.0]}, "frame: column 'expert' is missing"),
        ({"client": ["a"], "expert": ["x"], "fitnes": [1.0]}, "'fitnes'; did you mean 'fitness'"),
        ({"client": ["a", "a"], "expert": ["x", "x"], "fitness": [1.0, 2.0]},
         r"frame, row 1: client 'a' and expert 'x' appear twice; first in row 0"),
        ({"client": ["a", "b"], "expert": ["x", "x"], "fitness": [1.0, np.nan]},
         "frame, row 1: fitness is missing; give a value"),
        ({"client": [1.5], "expert": ["x"], "fitness": [1.0]},
         r"frame: column 'client' has type Float64; give strings or whole numbers"),
        ({"client": ["a"], "expert": ["x"], "fitness": ["much"]},
         r"frame: column 'fitness' has type String; give numbers"),
        ({"client": ["a", "a "], "expert": ["x", "x"], "fitness": [1.0, 2.0]},
         "frame, row 1: client 'a ' has white space at an end"),
        ({"client": ["a"], "expert": ["x"], "fitness": [1.0], "size:mb": [1.0]},
         "frame: resource 'mb' needs a column 'budget:mb'"),
    ])  # fmt: skip
    def test_what_is_wrong_is_said(self, columns, message, make):
        with pytest.raises(al.ProblemError, match=message):
            al.AlignmentProblem.from_frame(make(**columns))

    def test_what_is_wrong_beside_is_said(self, make):
        frame = make(client=["a"], expert=["x"], fitness=[1.0])
        clients = make(client=["b"], max_experts=[2])
        for arguments, message in (
            ({"clients": clients}, r"frame, row 0: client 'a' is not in clients"),
            ({"clients": make(client=["a", "a"])}, r"clients, row 1: client 'a' appears twice"),
            ({"clients": make(client=["a"], max_experts=[2]), "max_experts": 1},
             "max_experts as an argument and in columns; give one"),
            ({"clients": "clients.csv"}, "clients is str; give a data frame of pandas"),
            ({"client_ids": ["a"]}, "from_frame got client_ids; the frame has them"),
            ({"fitness": "score"}, "column 'score', which is to be fitness, is missing"),
        ):
            with pytest.raises(al.ProblemError, match=message):
                al.AlignmentProblem.from_frame(frame, **arguments)

    def test_other_types_of_ids(self):
        pd = pytest.importorskip("pandas")
        columns = {"expert": ["x", "y"], "fitness": [1, 2]}
        for ids in (pd.Categorical(["b", "a"]), pd.Series(["b", "a"], dtype=object),
                    pd.Series(["b", "a"], dtype="string")):
            problem = al.AlignmentProblem.from_frame(pd.DataFrame({"client": ids, **columns}))
            assert problem.client_ids == ("b", "a")
        frame = pd.DataFrame({"client": pd.Series([1, "1"], dtype=object), **columns})
        with pytest.raises(al.ProblemError, match="'client': id '1' is there as a number and as"):
            al.AlignmentProblem.from_frame(frame)
        frame["client"] = ["a", "b"]
        frame["fitness"] = pd.array([1, None], dtype="Int64")
        with pytest.raises(al.ProblemError, match="frame, row 1: fitness is missing"):
            al.AlignmentProblem.from_frame(frame)
        frame.columns = ["client", "client", "fitness"]
        with pytest.raises(al.ProblemError, match="frame has a column twice: "):
            al.AlignmentProblem.from_frame(frame)

    def test_a_lazy_frame_is_to_be_collected(self):
        pl = pytest.importorskip("polars")
        with pytest.raises(al.ProblemError, match=r"frame is LazyFrame; give its \.collect\(\)"):
            al.AlignmentProblem.from_frame(pl.LazyFrame({"client": []}))


class TestWide:
    def test_pandas_keeps_texts_and_names_and_no_more(self):
        pd = pytest.importorskip("pandas")
        values = [[1.0, 2.0], [3.0, 4.0]]
        for index, columns, clients, experts in (
            (["a", "b"], ["x", "y"], ("a", "b"), ("x", "y")),
            (None, ["x", "y"], None, ("x", "y")),
            (pd.Index([7, 5], name="phone"), None, ("7", "5"), None),
            (pd.RangeIndex(2, name="phone"), None, ("0", "1"), None),
            (pd.Index([7, 5]), pd.Index([1.5, 2.5]), None, None),
            (pd.MultiIndex.from_tuples([("a", 1), ("a", 2)]), None, None, None),
            (None, None, None, None),
        ):
            frame = pd.DataFrame(values, index=index, columns=columns)
            for problem in (al.AlignmentProblem(frame, 1), al.AlignmentProblem.from_cost(frame, 1)):
                assert (problem.client_ids, problem.expert_ids) == (clients, experts)
                assert np.abs(problem.fitness).tolist() == values
        plain = al.AlignmentProblem(np.array(values), 1)
        assert problem_digest(al.AlignmentProblem(frame, 1)) == problem_digest(plain)

    def test_a_column_of_texts_has_a_place_to_go(self):
        pd = pytest.importorskip("pandas")
        frame = pd.DataFrame({"client": ["a"], "x": [1.0]})
        for build in (al.AlignmentProblem, al.AlignmentProblem.from_cost):
            with pytest.raises(al.ProblemError, match=r"from_frame, .* \.set_index\('client'\)"):
                build(frame, 1)
        assert al.AlignmentProblem(frame.set_index("client"), 1).client_ids == ("a",)

    def test_what_pandas_labels_comes_in_the_order_of_the_frame(self):
        pd = pytest.importorskip("pandas")
        frame = pd.DataFrame([[1.0, 2.0], [3.0, 4.0]], index=["a", "b"], columns=["x", "y"])
        problem = al.AlignmentProblem(frame, pd.Series({"b": 2, "a": 1}),
                                      load_max=pd.Series({"y": 5, "x": 4}))
        assert problem.max_experts.tolist() == [1, 2]
        assert problem.load_max.tolist() == [4, 5]
        given = al.AlignmentProblem(frame, 1, client_ids=["b", "a"])
        assert given.client_ids == ("b", "a")
        assert given.expert_ids == ("x", "y")
        assert given.fitness.tolist() == [[3, 4], [1, 2]]
        changed = problem.replace(fitness=frame.iloc[::-1] + 1)
        assert changed.fitness.tolist() == [[2, 3], [4, 5]]

    @pytest.mark.parametrize("library", ["polars", "pyarrow"])
    def test_without_an_index(self, library):
        pytest.importorskip(library)
        for columns, clients, experts in (
            ({"x": [1.0, 3.0], "y": [2.0, 4.0]}, None, ("x", "y")),
            ({"phone": ["a", "b"], "x": [1.0, 3.0], "y": [2.0, 4.0]}, ("a", "b"), ("x", "y")),
            ({"column_0": [1.0, 3.0], "column_1": [2.0, 4.0]}, None, None),
        ):
            problem = al.AlignmentProblem(made(library, columns), 1)
            assert (problem.client_ids, problem.expert_ids) == (clients, experts)
            assert problem.fitness.tolist() == [[1, 2], [3, 4]]


def test_the_kind_of_frame_outlives_copies(make, library):
    frame = make(client=[5, 7], expert=["x", "y"], fitness=[1.0, 2.0])
    problem = al.AlignmentProblem.from_frame(frame)
    wide = al.AlignmentProblem(make(x=[1.0], y=[2.0]), 1)
    for one, whole, texts in ((problem, {"client"}, {"expert"}), (wide, set(), set())):
        for again in (one, one.replace(load_max=1), pickle.loads(pickle.dumps(one)),
                      copy.copy(one), copy.deepcopy(one)):  # fmt: skip
            assert again.frame_kind == frames.FrameKind(
                library, frozenset(whole), frozenset(texts))
    assert al.AlignmentProblem([[1]], 1).frame_kind is None


@pytest.mark.parametrize(("missing", "code", "message"), [
    ("narwhals", "al.AlignmentProblem.from_frame({})",
     "data frames need narwhals: pip install 'alignsolve[frames]'"),
    ("polars", "al.solve(al.AlignmentProblem([[1.0]], 1)).to_frame('polars')",
     "frames of polars need it: pip install 'alignsolve[polars]'"),
])  # fmt: skip
def test_what_is_missing_has_the_line_that_installs_it(missing, code, message):
    program = f"import sys; sys.modules[{missing!r}] = None\nimport alignsolve as al\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          check=False, timeout=120)  # fmt: skip
    assert done.stderr.strip().endswith(f"ProblemError: {message}")
