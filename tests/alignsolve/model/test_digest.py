"""The digest of a problem: the content counts, the way it was given does not."""

import hashlib
import struct
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.generators import generate
from alignsolve.model.digest import LAYOUT, problem_digest
from tests import strategies

FITNESS = np.array([[3.0, 0.0, -np.inf], [1.5, 2.0, 0.25]])


def digest(fitness=FITNESS, max_experts=1, **arguments):
    return problem_digest(al.AlignmentProblem(fitness, max_experts, **arguments))


def everything(**changes):
    """Return arguments that use every field."""
    arguments = {
        "fitness": FITNESS, "max_experts": [2, 1], "min_experts": [0, 1], "load_min": [0, 0, 1],
        "load_max": [2, 1.5, 2], "load_target": [1, 1, 0.5], "load_penalty": [0, 0.5, 0.25],
        "loads": {"samples": al.Load([5, 7], [0, 1, 0], [9, 9, 8], [1, 2, 3], [0, 0, 0.5]),
                  "finishers": al.Load(0.5, None, 4)},
        "resources": {"memory_mb": al.Resource([1, 2, 3], [4, np.inf]),
                      "seconds": al.Resource([[1, 2, 3], [2, 4, 6]], 9)},
        "expert_group": [0, 0, 1], "group_min": [0, 0], "group_max": [[2, 1], [1, 1]],
        "client_fitness_min": [-np.inf, 0.5], "held": ([0, 1], [1, 2]),
        "switch_cost": [[0.5, 1, 1], [0.5, 0, 1]], "client_ids": ["a", "b"],
        "expert_ids": ["x", "y", "z"],
    }
    return arguments | changes


def test_stored_digest():
    """A change here is a change of the layout: every stored spec would need a new digest."""
    assert problem_digest(al.AlignmentProblem(**everything())) == (
        "sha256:6b82956847bc6947f39ad44c3bcd26ab00d60360b85c983a825d6645ce6fe6c6"
    )


def test_layout_written_out_by_hand():
    """The bytes for a smallest problem, spelled without the module's own code."""
    def field(name, dtype, shape, stored_shape, data):
        sizes = (len(shape), *shape, len(stored_shape), *stored_shape)
        return (struct.pack("<q", len(name)) + name + struct.pack("<q", len(dtype)) + dtype
                + struct.pack(f"<{len(sizes)}q", *sizes) + data)

    def number(name, value, shape, kind="d"):
        dtype = b"<f8" if kind == "d" else b"<i8"
        return field(name, dtype, shape, (1,) * len(shape), struct.pack("<" + kind, value))

    expected = hashlib.sha256(
        LAYOUT
        + struct.pack("<q", 5) + b"sense" + b"text" + struct.pack("<qq", 1, 3) + b"max"
        + field(b"fitness", b"<f4", (2, 1), (2, 1), struct.pack("<ff", 1.5, 0.0))
        + number(b"max_experts", 1, (2,), "q") + number(b"min_experts", 0, (2,), "q")
        + number(b"load_min", 0, (1,)) + number(b"load_max", np.inf, (1,))
        + number(b"load_penalty", 0, (1,)) + number(b"load_target", 0, (1,))
        + number(b"client_fitness_min", -np.inf, (2,)) + number(b"switch_cost", 0, (2, 1))
    )
    assert digest(np.array([[1.5], [-0.0]], np.float32)) == "sha256:" + expected.hexdigest()


SAME = {
    "scalars": (
        {"max_experts": 1, "load_max": 2, "switch_cost": 0.5},
        {"max_experts": [1, 1], "load_max": [2.0, 2, 2], "switch_cost": np.full((2, 3), 0.5)},
    ),
    "rows of switching costs": (
        {"max_experts": 1, "switch_cost": [1, 2, 3]},
        {"max_experts": 1, "switch_cost": [[1, 2, 3], [1, 2, 3]]},
    ),
    "columns of switching costs": (
        {"max_experts": 1, "switch_cost": [[1], [2]]},
        {"max_experts": 1, "switch_cost": [[1, 1, 1], [2, 2, 2]]},
    ),
    "sizes per expert": (
        {"max_experts": 1, "resources": {"r": al.Resource([1, 2, 3], 4)}},
        {"max_experts": 1, "resources": {"r": al.Resource([[1, 2, 3]] * 2, [4, 4])}},
    ),
    "group bounds": (
        {"max_experts": 1, "expert_group": [0, 0, 1], "group_min": 0},
        {"max_experts": 1, "expert_group": [0, 0, 1], "group_min": [[0, 0], [0, 0]],
         "group_max": [2, 1]},
    ),
    "negative zeros": (
        {"max_experts": 1, "load_min": 0.0, "client_fitness_min": [0, 1]},
        {"max_experts": 1, "load_min": -0.0, "client_fitness_min": [-0.0, 1]},
    ),
    "idle targets": (
        {"max_experts": 1, "load_target": 7, "loads": {"s": al.Load([1, 2], target=3)}},
        {"max_experts": 1, "loads": {"s": al.Load([1, 2])}},
    ),
    "order of names": (
        {"max_experts": 1, "loads": {"a": al.Load(1), "b": al.Load(2)}},
        {"max_experts": 1, "loads": {"b": al.Load(2), "a": al.Load(1)}},
    ),
    "nothing held": (
        {"max_experts": 1, "held": np.zeros((2, 3), bool)},
        {"max_experts": 1},
    ),
}


@pytest.mark.parametrize("case", SAME)
def test_same_content_same_digest(case):
    one, other = SAME[case]
    assert digest(**one) == digest(**other)


def test_form_of_held_does_not_matter():
    mask = np.array([[False, True, False], [True, False, True]])
    forms = [mask, mask.astype(int), sp.csr_array(mask), sp.coo_matrix(mask),
             ([1, 0, 1, 1], [2, 1, 0, 2])]
    assert len({digest(held=held) for held in forms}) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_layout_does_not_matter(dtype):
    fitness = generate("uniform", seed=4, clients=300, dtype="float64").fitness.astype(dtype)
    wide = np.repeat(fitness, 2, axis=1)[:, ::2]
    swapped = fitness.astype(np.dtype(dtype).newbyteorder(">")).astype(dtype)
    forms = [fitness, np.asfortranarray(fitness), wide, fitness[::-1][::-1], swapped]
    assert len({digest(form) for form in forms}) == 1


def test_zero_has_no_sign_in_fitness():
    assert digest(np.array([[0.0, 1.0]])) == digest(np.array([[-0.0, 1.0]]))


CHANGES = {
    "fitness": np.array([[3.0, 0.0, -np.inf], [1.5, 2.0, 0.250001]]),
    "max_experts": [2, 2], "min_experts": 0, "load_min": [0, 0, 0.5], "load_max": [2, 1, 2],
    "load_target": [1, 1, 1], "load_penalty": [0, 0.5, 0.5],
    "loads": {"samples": al.Load([5, 7], [0, 1, 0], [9, 9, 8], [1, 2, 3], [0, 0, 0.5])},
    "resources": {"memory_mb": al.Resource([1, 2, 3], [4, np.inf]),
                  "seconds": al.Resource([[1, 2, 3], [2, 4, 6]], 8)},
    "expert_group": [0, 1, 1], "group_min": [0, 1], "group_max": [[2, 1], [2, 1]],
    "client_fitness_min": [-np.inf, 0.25], "held": ([0, 1], [1, 1]),
    "switch_cost": [[0.5, 1, 1], [0.5, 0, 2]], "client_ids": ["a", "c"],
    "expert_ids": None,
}


def test_every_field_counts():
    digests = {problem_digest(al.AlignmentProblem(**everything()))}
    for name, value in CHANGES.items():
        digests.add(problem_digest(al.AlignmentProblem(**everything(**{name: value}))))
    assert len(digests) == 1 + len(CHANGES)


def test_loads_count_field_by_field():
    base = {"weight": [5, 7], "min": [0, 1, 0], "max": [9, 9, 8], "target": [1, 2, 3],
            "penalty": [0, 0, 0.5]}
    changed = [base | {"weight": [7, 5]}, base | {"min": [0, 0, 1]}, base | {"max": 9},
               base | {"target": [1, 2, 4]}, base | {"penalty": [0, 0.5, 0]}]
    digests = {digest(loads={"s": al.Load(**load)}) for load in [base, *changed]}
    assert len(digests | {digest(loads={"t": al.Load(**base)})}) == 7


def test_dtype_and_sense_count():
    whole = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert digest(whole) != digest(whole.astype(np.float32))
    assert digest(-whole) != problem_digest(al.AlignmentProblem.from_cost(whole, 1))
    assert digest(whole) != digest(whole.reshape(4, 1))


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_empty_problems_have_digests(shape):
    assert digest(np.zeros(shape)) == digest(np.zeros(shape), load_max=np.full(shape[1], np.inf))


def test_odd_ids():
    assert digest(client_ids=["\ud800", "b"]) != digest(client_ids=["\ud801", "b"])
    assert digest(client_ids=["ab", "c"]) != digest(client_ids=["a", "bc"])


@given(problem=st.one_of(strategies.flow_problems(), strategies.mip_problems()))
def test_rebuilding_keeps_the_digest(problem):
    before = problem_digest(problem)
    assert problem_digest(problem.replace()) == before
    if np.isfinite(problem.fitness[0, 0]):
        fitness = problem.fitness.copy()
        fitness[0, 0] = np.nextafter(fitness[0, 0], np.inf, dtype=fitness.dtype)
        changed = {"fitness": fitness} if problem.sense == "max" else {"cost": 0 - fitness}
        assert problem_digest(problem.replace(**changed)) != before


def test_large_matrix_is_hashed_in_blocks():
    fitness = np.broadcast_to(np.float32(0.5), (200_000, 64))  # 51 MB if it were copied
    problem = al.AlignmentProblem(fitness, 1, load_max=4000)
    tracemalloc.start()
    problem_digest(problem)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6
