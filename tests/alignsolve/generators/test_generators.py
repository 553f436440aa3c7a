"""Generated problems: the same everywhere, and with the property their family promises."""

import json
import math
import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.errors import ProblemError
from alignsolve.generators import FAMILIES, fleets, gap, generate
from alignsolve.generators.draws import Draws, exact, zipf_weights
from alignsolve.model.active_bounds import binding_bounds
from alignsolve.model.digest import problem_digest
from alignsolve.model.feasibility import is_feasible, violations
from alignsolve.model.problem import Feature
from tests.files import SHARED

CAUSES = FAMILIES["infeasible"].parameters[-1].choices
CASES = [(name, {}) for name in FAMILIES] + [("infeasible", {"cause": c}) for c in CAUSES[1:]] + [
    ("uniform", {"dtype": "float64"}),
    ("sticky", {"round": 0}),
    ("sticky", {"round": 3}),
    ("tiers", {"mix": "phones", "fairness": 0.5}),
    ("skewed", {"exponent": 1.5, "penalty": 0.1}),
]


def case_key(case):
    name, parameters = case
    return name + "".join(f" {key}={value}" for key, value in parameters.items())


#: Digests of seed 1 on the machine where the families were first made.
DIGESTS = {
    "uniform":
        "sha256:8f0c5871dcff27c77992cd4c679a96933e2cc891f37902dc323ba1bd09e443ec",
    "skewed":
        "sha256:7fd9e445a710680760f123209042b34cf5c3c6944bd61c354960faf7a7054f3b",
    "latent":
        "sha256:2fe46e868bb804a76e7977897343971dccc74c49fb74e0fbb2023e75db152533",
    "label-skew":
        "sha256:8ac74b23b7ef71f6cd10e58aecf423ce87f1d7a5d5ac2d605b4089b2dd72b271",
    "ties":
        "sha256:10e69b54e88905abae1d80441bdeed6f1810898f05b80752e0f13bba27f49fe3",
    "tiers":
        "sha256:272bc3763b28087812c12f37ba404ca1f141d26668611c7b0cf1dd6b17c80c55",
    "scarce":
        "sha256:391aa90fcf6cf26685f4c5935719b0296e4dfed3cd60b74052f61f34ef0a97b3",
    "multi-layer":
        "sha256:4431894ec7a3dd92c7c4eade53e0989bc668f656424994cb56d0998a3a2b3995",
    "deep":
        "sha256:5c2a4ed4e53997553faf90c7f9f5963a34380f0cb12c83eb90c9a52469a49055",
    "sticky":
        "sha256:f7317ed6dcb6405d302da30cccab8c72ccf50b38624916c3283af125afee95c8",
    "forbidden":
        "sha256:5562b19562f8140bc448ffc56968e0d8db987097e548a4eb27ff498970433c75",
    "tight":
        "sha256:36bcbfeb67db36f5b0681392a7ae5672d60ca33f41765a46fb402a607f745e21",
    "infeasible":
        "sha256:136307905abb344e2897e19e93e6930045e19b8f8d5ffd79d6e91aae63f7a9ba",
    "gap-a":
        "sha256:151bbcd4003ee456cf764e9af209046e5e57cc21ffe792e29b6af76889bbd4db",
    "gap-b":
        "sha256:f8dc8b9dd1e1d1d7ccea89aa991bcda470144388762f8448753a00e0c68d5419",
    "gap-c":
        "sha256:d8538f04c6fd2baec50723f95f4e21832bc3044c17e052395a9a463884133ce4",
    "gap-d":
        "sha256:9fbbb5adf5e25e207d9a3c04e17aa1bf3418fcba2dfd5582b24f7259246c6769",
    "gap-e":
        "sha256:f168392912b5ae03c902012081741cbfc36e0c1c991d47caaeda8f1d53b15c32",
    "infeasible cause=slots":
        "sha256:da63c8d9933b3692291056a8c5b9c3bdcf12e877624b88ba73ad99d9158ebd6b",
    "infeasible cause=loads":
        "sha256:05679042bfe9d860341ddbf584327da1417c250b84df1ccba0bcabfbda114ca0",
    "infeasible cause=minima":
        "sha256:07f77c821c8c2aea52413c18b49872e4f6e106b88f72363677ef3d25eff38c99",
    "infeasible cause=groups":
        "sha256:ea7edb0757aab1b1b1b80f8bcfd321c4202c5d5a427b49f798e603a0684d1299",
    "infeasible cause=budget":
        "sha256:cb0bfae8cba3c0541a0bcb8e749b2e12d2fae8027c5313366d15c0190f05126b",
    "infeasible cause=samples":
        "sha256:9012e0f9b133ad757ab88ee83372980e0bf6335f991b9a3ead7f094805b273b9",
    "infeasible cause=fairness":
        "sha256:51468cd9a273b3005de2c8ce2013cb8dda0e765a795295ba5ee2bcfbf6cfe54e",
    "uniform dtype=float64":
        "sha256:af4e8aae1d6309df2d01c8dbba4b8b8aa38bb5b53add03f4affd819cafe986c4",
    "sticky round=0":
        "sha256:c29238ea6c91c1b9f7bc92ce7c0309c698a553288bef5940d307f94a09ad1f34",
    "sticky round=3":
        "sha256:0fda155250a400eedd6b3ba44133ce7f13692dea5653e1d27bf0a2af453c7762",
    "tiers mix=phones fairness=0.5":
        "sha256:3241c0e7d7a043f6badefc37f72d22fad16e376096e65102972eec4a3962147e",
    "skewed exponent=1.5 penalty=0.1":
        "sha256:3f858c6a5421fcbac176a89cbffdb864d1e420c4948b5efc4d1ac4ac93cff119",
}


@pytest.mark.parametrize("case", CASES, ids=case_key)
def test_digest_is_the_stored_one(case):
    name, parameters = case
    assert problem_digest(generate(name, seed=1, **parameters)) == DIGESTS[case_key(case)]


def test_same_digests_without_vector_units_and_with_one_thread():
    """Neither the SIMD width, the BLAS kernel, threads nor hash seed may matter."""
    found = np._core._multiarray_umath.__cpu_dispatch__
    environment = os.environ | {
        "NPY_DISABLE_CPU_FEATURES": " ".join(found),
        "OPENBLAS_CORETYPE": "Nehalem",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "7",
    }
    script = (
        "import json, sys\n"
        "from alignsolve.model.digest import problem_digest\n"
        "from alignsolve.generators import generate\n"
        "cases = json.load(sys.stdin)\n"
        "print(json.dumps([problem_digest(generate(n, seed=1, **p)) for n, p in cases]))\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], env=environment,
                          input=json.dumps(CASES), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [DIGESTS[case_key(case)] for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=case_key)
def test_seeds_differ(case):
    name, parameters = case
    digests = {problem_digest(generate(name, seed=seed, **parameters)) for seed in range(4)}
    assert len(digests) == 4


# -- the numbers underneath ---------------------------------------------------


def test_words_are_the_halves_of_raw_pcg64():
    raw = np.random.PCG64(np.random.SeedSequence(5, spawn_key=tuple(b"a/b"))).random_raw(3)
    words = Draws(5, ("a",)).stream("b").words(5)
    expected = [int(word) >> shift & 0xFFFFFFFF for word in raw for shift in (0, 32)]
    assert words.tolist() == expected[:5]


def test_pcg64_is_the_published_generator():
    """One step of the 128-bit congruence and the XSL-RR output, in whole numbers."""
    bits = np.random.PCG64(np.random.SeedSequence(5))
    state, increment = (bits.state["state"][key] for key in ("state", "inc"))
    for word in bits.random_raw(10).tolist():
        state = (state * 0x2360ED051FC65DA44385DF649FCCF645 + increment) % 2**128
        mixed, turn = (state >> 64 ^ state) % 2**64, state >> 122
        assert word == (mixed >> turn | mixed << (64 - turn)) % 2**64


@pytest.mark.parametrize(("low", "high"), [(0, 0), (0, 1), (-10, 10), (5, 25), (1, 2**32)])
def test_whole_numbers_cover_the_range(low, high):
    found = Draws(1).whole(low, high, 4000)
    assert found.dtype == np.int64
    assert low <= found.min() <= found.max() <= high
    if high - low < 100:
        counts = np.bincount(found - low, minlength=high - low + 1)
        assert counts.min() > 0.6 * 4000 / counts.size


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fractions_do_not_depend_on_blocks(dtype):
    whole = Draws(3).fractions((100, 7), dtype)
    assert (Draws(3, block=16).fractions((100, 7), dtype) == whole).all()
    assert whole.dtype == dtype
    assert 0 <= whole.min() < 0.02 < 0.98 < whole.max() < 1


def test_orders_are_permutations():
    orders = Draws(2).orders(50, 9)
    assert (np.sort(orders, axis=1) == np.arange(9)).all()
    assert np.unique(orders, axis=0).shape[0] > 45


def test_zipf_weights_are_close_to_the_law():
    for exponent in (0, 0.5, 1, 1.5, 4):
        weights = zipf_weights(8, exponent)
        assert weights == pytest.approx(2**16 / np.arange(1.0, 9) ** exponent, abs=1)
    assert zipf_weights(65536, 0).sum() == 2**32


@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
def test_urn_has_the_dirichlet_multinomial_moments(alpha):
    labels, balls = 5, 40
    counts = Draws(4).urn(20000, labels, alpha, balls)
    assert (counts.sum(axis=1) == balls).all()
    mean = balls / labels
    variance = mean * (1 - 1 / labels) * (balls + labels * alpha) / (1 + labels * alpha)
    assert counts.mean(axis=0) == pytest.approx(np.full(labels, mean), rel=0.05)
    assert counts.var(axis=0) == pytest.approx(np.full(labels, variance), rel=0.07)


def test_exponential_steps_agree_with_exp():
    steps = gap._exponential_steps()
    expected = [2**32 * math.exp(-k / 10) for k in range(steps.size, 0, -1)]
    assert steps == pytest.approx(expected, abs=1)
    assert steps[0] == 1
    assert steps[-1] == math.floor(Fraction("0.90483741803595957316424905944643662") * 2**32)


# -- parameters -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("unform",), "there is no family 'unform'; did you mean 'uniform'?"),
        (("",), "there is no family ''; known: uniform, skewed, latent"),
        (("uniform", {"client": 3}), "family 'uniform' has no parameter 'client'; did you mean"),
        (("uniform", {"zzz": 3}), "no parameter 'zzz'; known: clients, experts, slots, balance"),
        (("uniform", {"clients": 0}),
         "family 'uniform': clients is 0; give a whole number from 1 to 10,000,000"),
        (("uniform", {"clients": 2.0}), "clients is 2.0; give a whole number"),
        (("uniform", {"clients": True}), "clients is True; give a whole number"),
        (("uniform", {"clients": "9" * 100}), "clients is '999"),
        (("uniform", {"balance": math.nan}), "balance is nan; give a number from 0.01 to 1,000"),
        (("uniform", {"balance": "1"}), "balance is '1'; give a number"),
        (("uniform", {"dtype": "float16"}), "dtype is 'float16'; give one of float32, float64"),
        (("uniform", {"clients": 10**6, "experts": 2000}),
         "1,000,000 clients x 2,000 experts are too many; give a product of at most 1,073,741,824"),
        (("label-skew", {"clients": 10**7, "experts": 1, "labels": 1000}), "x 1,000 labels are"),
        (("skewed", {"exponent": 0.7}), "exponent is 0.7; give a number from 0 to 4, a multiple"),
        (("label-skew", {"alpha": 0.001}), "alpha is 0.001; give a number from 0.01 to 100"),
        (("label-skew", {"alpha": 0.123}), "a multiple of 0.01"),
        (("tight", {"slots": 5, "experts": 4}), "slots is 5; give at most experts, 4"),
        (("infeasible", {"cause": "luck"}), "cause is 'luck'; give one of hall, slots, loads"),
        (("infeasible", {"experts": 1}), "experts is 1; give a whole number from 2"),
        (("gap-d", {"agents": -1}), "agents is -1; give a whole number from 1 to 100,000"),
        (("tiers", {"fill": 1.5}), "fill is 1.5; give a number from 0 to 1"),
    ],
)
def test_bad_parameters_are_named(arguments, message):
    name, parameters = (*arguments, {})[:2]
    with pytest.raises(ProblemError) as caught:
        generate(name, **parameters)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, "1", True, None])
def test_bad_seeds_are_named(seed):
    with pytest.raises(ProblemError, match="give a whole number from 0 to 2"):
        generate("uniform", seed=seed)


def test_numpy_numbers_are_taken():
    one = generate("uniform", seed=np.int64(3), clients=np.int32(5), balance=np.float64(1.5))
    assert problem_digest(one) == problem_digest(generate("uniform", seed=3, clients=5,
                                                          balance=1.5))


def test_families_are_documented():
    for name, family in FAMILIES.items():
        assert family.name == name
        assert family.description.endswith(".")
        for parameter in family.parameters:
            assert parameter.checked(parameter.default) == parameter.default
            assert parameter.meaning
        assert set(family.defaults) == {p.name for p in family.parameters}
        assert all(side in family.defaults for sides in family.tables for side in sides)


# -- every valid parameter builds -------------------------------------------------


@st.composite
def drawn_parameters(draw, family, largest=12):
    """Draw valid parameters of a family; sizes stay small."""
    values = {}
    for parameter in FAMILIES[family].parameters:
        if parameter.choices:
            value = draw(st.sampled_from(parameter.choices))
        elif isinstance(parameter.default, int):
            value = draw(st.integers(int(parameter.low), min(int(parameter.high), largest)))
        elif parameter.step:
            steps = exact(parameter.step)
            value = float(draw(st.integers(math.ceil(exact(parameter.low) / steps),
                                           math.floor(exact(parameter.high) / steps))) * steps)
        else:
            value = draw(st.floats(parameter.low, min(parameter.high, 10)))
        values[parameter.name] = value
    return values


def planted(family, seed, values, problem):
    """Return the assignment that the family promises to be feasible."""
    n, m = problem.n_clients, problem.n_experts
    clients = np.arange(n)
    if family == "forbidden":
        return clients, Draws(seed, (family,)).stream("deal").order(n) % m
    if family in ("multi-layer", "deep"):
        layers, size = values["layers"], values["experts"]
        columns = clients[:, None] % size + size * np.arange(layers)
        return np.repeat(clients, layers), columns.ravel()
    if family == "tight":
        rows = np.repeat(clients, problem.max_experts)
        return rows, np.arange(rows.size) % m
    return np.array([], dtype=int), np.array([], dtype=int)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=25)
@given(data=st.data())
def test_valid_parameters_build_and_promised_answers_hold(family, data):
    values = data.draw(drawn_parameters(family))
    seed = data.draw(st.integers(0, 2**63 - 1))
    if family == "tight" and values["slots"] > values["experts"]:
        return
    kept, original = [], fleets.filled
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fleets, "filled", lambda *a: kept.append(original(*a)) or kept[-1])
        problem = generate(family, seed=seed, **values)
    assert problem_digest(problem).startswith("sha256:")
    rows, cols = np.nonzero(kept[0]) if kept else planted(family, seed, values, problem)
    if FAMILIES[family].feasible:
        assert violations(problem, rows, cols) == []
    if problem.held is not None:
        assert is_feasible(problem, problem.held.rows, problem.held.indices)


# -- properties of the families -----------------------------------------------------


def shares_of_first_choices(problem):
    first = problem.fitness.argmax(axis=1)
    return np.sort(np.bincount(first, minlength=problem.n_experts))[::-1] / problem.n_clients


def test_uniform_is_even_and_float64_fills_its_digits():
    assert shares_of_first_choices(generate("uniform", clients=20000))[0] < 0.08
    values = generate("uniform", dtype="float64").fitness
    assert values.dtype == np.float64
    assert (values.astype(np.float32) != values).mean() > 0.99


def test_skewed_follows_zipf():
    problem = generate("skewed", clients=20000, interests=1, exponent=1.0)
    law = 1 / np.arange(1, 17)
    assert shares_of_first_choices(problem) == pytest.approx(law / law.sum(), abs=0.02)
    even = shares_of_first_choices(generate("skewed", clients=20000, exponent=0))
    assert even[0] < 0.08
    assert generate("skewed", penalty=0.5).features >= {Feature.LOAD_PENALTY}


@pytest.mark.parametrize("family", ["latent", "label-skew", "ties", "sticky", "multi-layer"])
def test_whole_fitness_is_exact_in_float32(family):
    fitness = generate(family).fitness
    assert fitness.dtype == np.float32
    assert (fitness == np.floor(fitness)).all()
    assert fitness.max() < 2**24


def test_latent_has_low_rank_without_noise():
    fitness = generate("latent", topics=4, noise=0, clients=100).fitness.astype(float)
    assert np.linalg.matrix_rank(fitness) <= 4


def test_label_skew_grows_with_small_alpha():
    spreads = [
        np.std(generate("label-skew", alpha=alpha, clients=1000).fitness.astype(float), axis=1)
        for alpha in (0.1, 100.0)
    ]
    assert spreads[0].mean() > 1.5 * spreads[1].mean()


def test_ties_have_few_values_and_few_kinds_of_clients():
    problem = generate("ties", levels=3, kinds=10, clients=500)
    assert set(np.unique(problem.fitness)) <= {0, 1, 2}
    assert np.unique(problem.fitness, axis=0).shape[0] <= 10


def test_tiers_have_binding_budgets_and_unequal_experts():
    problem = generate("tiers", clients=2000)
    sizes = np.asarray(problem.resources["memory_mb"].size)[0]
    assert set(sizes) <= {16 * p for p in fleets.EXPERT_MILLIONS}
    assert np.unique(sizes).size > 1
    for name in ("memory_mb", "down_mb", "seconds"):
        size = np.asarray(problem.resources[name].size)
        budget = np.asarray(problem.resources[name].budget)
        largest = np.sort(size, axis=1)[:, ::-1].cumsum(axis=1)
        full = largest[np.arange(2000), np.minimum(problem.max_experts, 16) - 1]
        assert 0.3 < (full > budget).mean() < 0.99, name
    tiers = np.unique(np.asarray(problem.resources["memory_mb"].budget), return_counts=True)
    assert tiers[1] / 2000 == pytest.approx(np.array(fleets.MIXES["mixed"]) / 100, abs=0.04)
    assert problem.problem_class == "mip"
    assert Feature.NAMED_LOADS in problem.features
    assert Feature.FAIRNESS in generate("tiers", fairness=0.5).features


def test_scarce_fleets_leave_little_room():
    problem = generate("scarce", seed=1)
    weight = np.asarray(problem.loads["samples"].weight)
    assert (weight % 1 > 0).mean() > 0.5  # real-valued weights
    assert all(np.unique(problem.resources[name].size).size > 5 for name in problem.resources)
    loads = problem.loads["samples"]
    assert (np.isfinite(loads.max) ^ (np.asarray(loads.min) > 0)).all()
    result = al.solve(problem, "greedy")
    bound = binding_bounds(problem, result.row_ind, result.col_ind)
    assert bound.budget_share > 0.5
    assert bound.load_share >= 0.5
    assert bound.n_load_bounds == problem.n_experts


def test_multi_layer_groups():
    problem = generate("multi-layer", layers=3, experts=5)
    assert problem.expert_group.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert (problem.group_min == 1).all()
    assert problem.problem_class == "flow"


def test_deep_budgets_bind_over_all_layers():
    problem = generate("deep", layers=6, experts=6, clients=100, spare=2)
    assert problem.problem_class == "mip" and problem.n_groups == 6
    free = al.solve(problem.replace(resources={}))
    for resource in problem.resources.values():
        size, used = np.asarray(resource.size)[0], np.zeros(100)
        np.add.at(used, free.row_ind, size[free.col_ind])
        # Without budgets most clients would hold more than fits.
        assert (used > resource.budget).mean() > 0.5
        one_of_each = size.reshape(6, 6).max(axis=1).sum()
        assert (resource.budget >= one_of_each).all() and resource.budget.min() < 1.5 * one_of_each


def test_sticky_rounds_are_one_sequence():
    rounds = [generate("sticky", seed=5, round=t, drift=0.05) for t in range(4)]
    assert rounds[0].held is None
    assert Feature.SWITCHING not in rounds[0].features
    for t in (1, 2, 3):
        before, now = rounds[t - 1], rounds[t]
        # A round's wishes are near the last one's, and far from another seed's.
        other = generate("sticky", seed=6, round=t, drift=0.05)
        moved = np.abs(now.fitness - before.fitness).mean()
        assert 0 < moved < 0.3 * np.abs(now.fitness - other.fitness).mean()
        held = now.held
        expected = fleets.first_come(before.fitness, 2, int(before.load_max[0]))
        assert (held.mask(slice(0, 200)) == expected).all()
        kept = before.fitness[held.rows, held.indices].mean()
        assert kept > before.fitness.mean() + before.fitness.std()
    still = [generate("sticky", round=t, drift=0).fitness for t in (0, 3)]
    assert (still[0] == still[1]).all()


def test_first_come_by_hand():
    wishes = np.array([[3, 2, 1], [3, 1, 2], [3, 2, 1], [1, 2, 3]], dtype=np.float32)
    held = fleets.first_come(wishes, slots=1, cap=1)
    # Client 0 is first at expert 0, 3 alone at 2; then 2 finds 1 free; 1 finds nothing left.
    assert [row.nonzero()[0].tolist() for row in held] == [[0], [], [1], [2]]


def test_forbidden_share():
    problem = generate("forbidden", clients=2000, share=0.8)
    assert np.isneginf(problem.fitness).mean() == pytest.approx(0.8 * 15 / 16, abs=0.02)
    alone = generate("forbidden", share=1.0, slots=1)
    assert (np.isfinite(alone.fitness).sum(axis=1) == 1).all()


def test_tight_bounds_touch_the_mean():
    problem = generate("tight", clients=201)
    low, high = problem.holder_bounds()
    assert (problem.min_experts == problem.max_experts).all()
    assert set(high - low) <= {0, 1}
    assert low.sum() <= problem.min_experts.sum() <= high.sum()


@pytest.mark.parametrize("cause", CAUSES)
def test_infeasible_problems_are_proved_so(cause):
    result = al.solve(generate("infeasible", seed=3, clients=12, experts=4, cause=cause))
    assert result.status is al.Status.INFEASIBLE


@pytest.mark.parametrize("family", [f.name for f in FAMILIES.values() if f.feasible])
def test_feasible_problems_are_solved(family):
    sizes = {"layers": 2, "experts": 4} if family in ("multi-layer", "deep") else {"experts": 6}
    result = al.solve(generate(family, seed=2, clients=18, **sizes), time_limit=30)
    assert result.status is al.Status.OPTIMAL


# -- generalised assignment -----------------------------------------------------------


@pytest.mark.parametrize("letter", "abcde")
def test_gap_shape_and_sense(letter):
    problem = generate(f"gap-{letter}", agents=4, jobs=30)
    assert problem.sense == "min"
    assert problem.fitness.shape == (4, 30)
    low, high = problem.holder_bounds()
    assert (low == 1).all()
    assert (high == 1).all()
    size = np.asarray(problem.resources["capacity"].size)
    budget = np.asarray(problem.resources["capacity"].budget)
    if letter in "cde":
        assert (budget == [int(row) * 8 // 40 for row in size.sum(axis=1)]).all()
    else:
        cost = -problem.fitness
        use = [size[i, cost.argmin(axis=0) == i].sum() for i in range(4)]
        whole = Fraction(6, 10) * 15 * 30 / 4 + Fraction(4, 10) * int(max(use))
        assert (budget == math.floor(whole * (1 if letter == "a" else Fraction(7, 10)))).all()


@pytest.mark.parametrize(
    ("letter", "costs", "sizes"),
    [("a", (10, 50), (5, 25)), ("b", (10, 50), (5, 25)), ("c", (10, 50), (5, 25)),
     ("d", (2, 120), (1, 100))],
)
def test_gap_ranges(letter, costs, sizes):
    problem = generate(f"gap-{letter}", agents=20, jobs=500)
    cost, size = -problem.fitness, np.asarray(problem.resources["capacity"].size)
    assert (cost.min(), cost.max()) == costs or letter == "d"
    assert (size.min(), size.max()) == sizes
    if letter == "d":
        assert (cost + size - 111).min() == -10
        assert (cost + size - 111).max() == 10


def test_gap_e_follows_its_formulas():
    problem = generate("gap-e", agents=20, jobs=1000)
    cost, size = -problem.fitness, np.asarray(problem.resources["capacity"].size)
    assert (cost <= np.floor(1000 / size)).all()
    assert (cost >= np.floor(1000 / size - 10)).all()
    # floor(1 - 10 ln u) is 1 + k with probability exp(-k / 10) - exp(-(k + 1) / 10).
    for k in (0, 1, 5, 20):
        expected = math.exp(-k / 10) - math.exp(-(k + 1) / 10)
        assert (size == k + 1).mean() == pytest.approx(expected, abs=0.006)
    assert size.min() == 1


def published(path, leading_count):
    numbers = iter(map(int, path.read_text().split()))
    for _ in range(next(numbers) if leading_count else 1):
        agents, jobs = next(numbers), next(numbers)
        rows = [np.array([next(numbers) for _ in range(agents * jobs)]) for _ in range(2)]
        cost, size = (row.reshape(agents, jobs) for row in rows)
        yield cost, size, np.array([next(numbers) for _ in range(agents)])


def test_gap_budgets_are_those_of_the_published_files():
    """The budget rules, rounding included, reproduce the budgets of files in common use."""
    if not SHARED.is_dir():
        pytest.skip(f"no published instances at {SHARED}")
    folder = SHARED
    for cost, size, budget in published(folder / "orlib" / "gapa.txt", True):
        assert (budget == gap._type_a_budget(cost, size, 10)).all()
    for cost, size, budget in published(folder / "orlib" / "gapb.txt", True):
        assert (budget == gap._type_a_budget(cost, size, 7)).all()
    for path in sorted((folder / "yagiura").iterdir()):
        for cost, size, budget in published(path, False):
            assert (budget == gap._share_of_work(cost, size)).all(), path.name
