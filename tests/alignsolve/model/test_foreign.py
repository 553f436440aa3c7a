"""Masks, tensors, frames and objects: the same numbers, forbidden pairs, or a clear word."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.elastic.violation_weights import checked_weights
from alignsolve.errors import ProblemError
from tests.alignsolve.model.containers import CONTAINERS, matrices, torch

MATRIX = np.array([[9.0, 1.0], [8.0, 1.0]])
MASK = np.array([[True, False], [False, False]])
MASKED = np.ma.array(MATRIX, mask=MASK)


def masked_forms(values: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    """Return one masked matrix in all the forms in which it may come."""
    masked = np.ma.array(values, mask=mask)
    return {
        "floats": masked,
        "single": masked.astype(np.float32),
        "integers": masked.astype(np.int64),
        "objects": masked.astype(object),
        "rows": [masked[i] for i in range(len(masked))],
        "entries": [[masked[i, j] for j in range(values.shape[1])] for i in range(len(masked))],
        "array source": al.ArraySource(masked),
        "function source": al.FunctionSource(lambda a, b: masked[a:b], masked.shape, np.float64),
    }


class TestMasks:
    @given(st.data())
    def test_a_masked_pair_is_forbidden_in_both_senses(self, data: st.DataObject) -> None:
        values = data.draw(matrices())
        drawn = data.draw(st.lists(st.booleans(), min_size=values.size, max_size=values.size))
        mask = np.reshape(drawn, values.shape)
        name = data.draw(st.sampled_from(sorted(masked_forms(values, mask))))
        for build, sign in ((al.AlignmentProblem, 1), (al.AlignmentProblem.from_cost, -1)):
            fitness = build(masked_forms(values, mask)[name], 1).fitness
            if isinstance(fitness, al.FitnessSource):
                fitness = fitness.in_memory()
            np.testing.assert_array_equal(fitness, np.where(mask, -np.inf, sign * values))

    def test_the_masked_pair_is_not_assigned(self) -> None:
        result = al.solve(al.AlignmentProblem(MASKED, 1, min_experts=1, load_max=1))
        assert result.status is al.Status.OPTIMAL
        assert result.col_ind.tolist() == [1, 0]
        plan = al.Aligner(2).plan(["a", "b"], fitness=MASKED)
        assert plan.col_ind.tolist() == [1, 0]

    @pytest.mark.parametrize(("name", "arguments"), [
        ("max_experts", {"max_experts": np.ma.array([1, 1], mask=[0, 1])}),
        ("load_min", {"load_min": np.ma.array([0, 1], mask=[0, 1])}),
        ("load_penalty", {"load_penalty": [0.0, np.ma.masked]}),
        ("switch_cost", {"switch_cost": MASKED}),
        ("held", {"held": np.ma.array(MASK, mask=MASK)}),
        ("held rows", {"held": (np.ma.array([0], mask=[1]), [1])}),
        ("resources['mb'].size", {"resources": {"mb": al.Resource(MASKED, 3)}}),
        ("loads['s'].weight", {"loads": {"s": al.Load(np.ma.array([1, 1], mask=[0, 1]))}}),
        ("client_ids", {"client_ids": np.ma.array(["a", "b"], mask=[0, 1])}),
        ("expert_group", {"expert_group": np.ma.array([0, 0], mask=[0, 1])}),
    ])  # fmt: skip
    def test_any_other_mask_is_refused(self, name: str, arguments: dict[str, Any]) -> None:
        with pytest.raises(ProblemError) as caught:
            al.AlignmentProblem(MATRIX, **{"max_experts": 1} | arguments)
        assert str(caught.value).startswith(name)
        assert "is masked; give every entry" in str(caught.value)

    def test_a_mask_on_answers_prices_and_features_is_refused(self) -> None:
        problem, index = al.AlignmentProblem(MATRIX, 1), np.ma.array([0, 1], mask=[0, 1])
        for call in (
            lambda: al.certify(problem, index, [0, 1]),
            lambda: al.certify(problem, [0, 1], [0, 1], prices=index),
            lambda: al.FactorSource(MASKED, MATRIX),
            lambda: al.FactorSource(MATRIX, MASKED),
        ):
            with pytest.raises(ProblemError, match="is masked"):
                call()

    def test_a_mask_of_nothing_is_no_mask(self) -> None:
        problem = al.AlignmentProblem(np.ma.array(MATRIX), np.ma.array([1, 1], mask=[0, 0]))
        np.testing.assert_array_equal(problem.fitness, MATRIX)

    def test_whole_numbers_that_float64_does_not_hold(self) -> None:
        large = np.ma.array([[2**60 + 1, 1]], mask=[[0, 1]])
        with pytest.raises(ProblemError, match=r"fitness\[0, 0\] is beyond 2\*\*53"):
            al.AlignmentProblem(large, 1)


class TestContainers:
    @given(st.data())
    def test_what_converts_exactly_is_taken(self, data: st.DataObject) -> None:
        values = data.draw(matrices())
        container = data.draw(st.sampled_from(sorted(CONTAINERS)))
        made = CONTAINERS[container](values)
        np.testing.assert_array_equal(al.AlignmentProblem(made, 1).fitness, values)
        np.testing.assert_array_equal(al.AlignmentProblem.from_cost(made, 1).fitness, 0 - values)
        size = np.abs(values)
        resources = {"mb": al.Resource(CONTAINERS[container](size), 1)}
        problem = al.AlignmentProblem(values, 1, resources=resources)
        np.testing.assert_array_equal(problem.resources["mb"].size, size)

    @given(matrices(), st.sampled_from([Decimal("0.1"), Fraction(1, 3), 2**70 + 1,
                                        Decimal("-1e400"), 2**2000]))  # fmt: skip
    def test_what_does_not_is_refused(self, values: np.ndarray, odd: Any) -> None:
        objects = values.astype(object)
        objects[-1, -1] = odd
        with pytest.raises(ProblemError, match="does not hold exactly; to round it, give "):
            al.AlignmentProblem(objects, 1)

    def test_whole_decimals_beyond_2_to_53_are_whole_numbers(self) -> None:
        values = [[Decimal(2**60 + 1), Decimal(2**60 + 3)], [Decimal("1E+18"), Fraction(7)]]
        problem = al.AlignmentProblem(values[:1], 1, min_experts=1)
        assert problem.arguments()["fitness"].tolist() == [[2**60 + 1, 2**60 + 3]]
        # What floats hold exactly stays as it is, however large.
        assert al.AlignmentProblem(values[1:], 1).integers is None

    @pytest.mark.parametrize(("value", "message"), [
        ([[None, 1]], "fitness[0, 0] is None; give real numbers"),
        ([[1, object()]], "fitness[0, 1] is of type object; give real numbers"),
        ([["x"]], "fitness holds text; give real numbers"),
        ([[1j, 2]], "fitness has dtype complex128; give real numbers"),
        (sp.csr_array(MATRIX), "fitness is a SciPy sparse matrix; give al.SparseSource(fitness), "),
    ])  # fmt: skip
    def test_words(self, value: Any, message: str) -> None:
        for call in (
            lambda: al.AlignmentProblem(value, 1),
            lambda: al.Aligner(len(np.shape(value))).plan(["a"], fitness=value),
        ):
            with pytest.raises(ProblemError) as caught:
                call()
            assert str(caught.value).startswith(message)

    def test_sparse_costs_and_sizes(self) -> None:
        matrix = sp.csr_array(MATRIX)
        with pytest.raises(ProblemError, match=r"cost is a SciPy sparse matrix; give al\.SparseS"):
            al.AlignmentProblem.from_cost(matrix, 1)
        with pytest.raises(ProblemError, match=r"size is a SciPy sparse matrix; give the dense "):
            al.AlignmentProblem(MATRIX, 1, resources={"mb": al.Resource(matrix, 1)})

    def test_a_library_that_gives_no_array(self) -> None:
        class OnDevice:
            def __array__(self, *_: Any, **__: Any) -> np.ndarray:
                raise RuntimeError("call .get() first")

        with pytest.raises(ProblemError, match=r"gives no array of numpy \(call \.get\(\) first"):
            al.AlignmentProblem(OnDevice(), 1)

    @pytest.mark.skipif(torch is None, reason="needs torch")
    def test_tensors_without_plain_numbers(self) -> None:
        for tensor, message in (
            (torch.ones(2, 2, device="meta"), "device meta, which has no values; give a tensor on"),
            (torch.eye(2).to_sparse(), r"a sparse tensor; give al\.SparseSource\(\.\.\.\)"),
            (torch.ones(2, 2, dtype=torch.complex64), "has dtype complex64; give real numbers"),
        ):
            with pytest.raises(ProblemError, match=message):
                al.AlignmentProblem(tensor, 1)

    def test_missing_values_are_named(self) -> None:
        pd = pytest.importorskip("pandas")
        frame = pd.DataFrame({"x": [1.0, 2.0], "y": pd.array([3, None], dtype="Int64")})
        with pytest.raises(ProblemError, match=r"fitness column 'y'\[1\] is missing; give a numb"):
            al.AlignmentProblem(frame, 1)


IDS: Any = {"client_ids": ["anna", "bert"], "expert_ids": ["x", "y"]}


class TestLabels:
    def test_series_and_frames_are_taken_by_label(self) -> None:
        pd = pytest.importorskip("pandas")
        clients, experts = ["bert", "anna"], ["y", "x"]
        given = {
            "max_experts": pd.Series([2, 1], index=clients),
            "load_max": pd.Series([5, 6], index=experts),
            "loads": {"s": al.Load(pd.Series([3, 4], index=clients))},
            "resources": {"mb": al.Resource(pd.Series([5, 6], index=experts),
                                            pd.Series([7, 8], index=clients))},
        }  # fmt: skip
        fitness = pd.DataFrame([[1, 2], [3, 4]], index=clients, columns=experts)
        problem = al.AlignmentProblem(fitness, **given, **IDS)
        assert problem.fitness.tolist() == [[4, 3], [2, 1]]
        assert problem.max_experts.tolist() == [1, 2]
        assert problem.load_max.tolist() == [6, 5]
        assert problem.loads["s"].weight.tolist() == [4, 3]
        assert problem.resources["mb"].size[0].tolist() == [6, 5]
        assert problem.resources["mb"].budget.tolist() == [8, 7]
        least = al.AlignmentProblem.from_cost(
            fitness, 1, client_cost_max=given["max_experts"], **IDS)
        assert least.fitness.tolist() == [[-4, -3], [-2, -1]]
        assert least.client_fitness_min.tolist() == [-1, -2]
        assert least.replace(max_experts=given["max_experts"]).max_experts.tolist() == [1, 2]
        aligner = al.Aligner(2, expert_ids=["x", "y"], expert_mb=pd.Series([1, 2], index=experts))
        assert aligner.settings.expert_mb.tolist() == [2, 1]
        prices = pd.Series([0.5, 0.25], index=experts)
        strange = pd.Series([1.0, 2.0], index=["x", "z"])
        for call in (
            lambda: al.certify(problem, [0, 1], [0, 0], prices=strange),
            lambda: al.solve(problem, warm_start=([0], [0], strange)),
        ):
            with pytest.raises(ProblemError, match="prices has no label 'y'"):
                call()
        weights = checked_weights(problem, al.Elastic(load=prices, named_loads={"s": prices}))
        assert weights.load.tolist() == weights.named_loads["s"].tolist() == [0.25, 0.5]
        best = pd.DataFrame([[9, 1], [1, 9]], index=clients, columns=experts)
        assert aligner.plan(["anna", "bert"], fitness=best).col_ind.tolist() == [0, 1]

    @pytest.mark.parametrize(("labels", "message"), [
        (["bert", "carl"], "max_experts has no label 'anna'; label it by client_ids"),
        (["bert", "anna", "carl"], "max_experts has the label 'carl', which is no client"),
        (["anna", "anna"], "max_experts has the label 'anna' twice"),
        ([7, 8], "max_experts has no label 'anna'"),
    ])  # fmt: skip
    def test_other_labels_are_refused(self, labels: list[Any], message: str) -> None:
        pd = pytest.importorskip("pandas")
        series = pd.Series(range(len(labels)), index=labels)
        with pytest.raises(ProblemError) as caught:
            al.AlignmentProblem(MATRIX, series, **IDS)
        assert str(caught.value).startswith(message)

    def test_default_labels_and_problems_without_ids_go_by_position(self) -> None:
        pd = pytest.importorskip("pandas")
        for ids in (IDS, {}):
            problem = al.AlignmentProblem(pd.DataFrame(MATRIX), pd.Series([2, 1]), **ids)
            assert problem.max_experts.tolist() == [2, 1]
        numbered = al.AlignmentProblem(MATRIX, pd.Series([2, 1]), client_ids=[1, 0])
        assert numbered.max_experts.tolist() == [1, 2]
        labelled = pd.Series([2, 1], index=["bert", "anna"])
        assert al.AlignmentProblem(MATRIX, labelled).max_experts.tolist() == [2, 1]


class TestArrow:
    """Arrays, chunks and scalars of Arrow, as well as its tables."""

    def test_every_form_gives_the_same_bounds(self) -> None:
        pa = pytest.importorskip("pyarrow")
        for slots in (pa.array([1, 2]), pa.chunked_array([[1], [2]])):
            assert al.AlignmentProblem(MATRIX, slots).max_experts.tolist() == [1, 2]
        assert al.AlignmentProblem(MATRIX, pa.scalar(2)).max_experts.tolist() == [2, 2]

    def test_what_is_missing_is_named(self) -> None:
        pa = pytest.importorskip("pyarrow")
        for slots in (pa.array([1, None]), pa.chunked_array([[1], [None]])):
            with pytest.raises(ProblemError, match=r"max_experts\[1\] is missing; give a number"):
                al.AlignmentProblem(MATRIX, slots)
        table = pa.table({"a": [1.0, None], "b": [2.0, 3.0]})
        with pytest.raises(ProblemError, match=r"fitness column 'a'\[1\] is missing"):
            al.AlignmentProblem(table, 1)
