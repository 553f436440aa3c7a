"""Random problems of every feature mix, and brute force over all their answers.

`brute_force` evaluates bounds and objective by `tests.enumeration` and then asks
`alignsolve.model.feasibility` and `AlignmentProblem.objective` to agree.
"""

import numpy as np
from hypothesis import strategies as st

import alignsolve as al
from alignsolve.model.feasibility import is_feasible
from tests.enumeration import MAX_PAIRS, Enumeration

#: Kinds of fitness; each is a strategy of one value and the dtype of the matrix.
VALUES = {
    "integers": (st.integers(-4, 9), np.float64),
    "ties": (st.integers(0, 1), np.float64),
    "float32": (st.floats(-4, 9, width=32), np.float32),
    "float64": (st.floats(-4, 9), np.float64),
    "decimals": (st.integers(-40, 90).map(lambda v: v / 10), np.float64),
    "offset": (st.integers(-40, 90).map(lambda v: 1e6 + v / 10), np.float64),
}


def one_or_each(draw, value, count):
    """Draw a scalar, or an array of `count` values."""
    if draw(st.booleans()):
        return draw(value)
    return np.array(draw(st.lists(value, min_size=count, max_size=count)))


def matrix_of(draw, value, n, m, dtype=np.float64):
    """Draw an (n, m) matrix."""
    entries = draw(st.lists(value, min_size=n * m, max_size=n * m))
    return np.array(entries, dtype=dtype).reshape(n, m)


def flow_arguments(draw, max_pairs, kinds):
    """Draw constructor arguments of the flow class, with ``fitness``."""
    n = draw(st.integers(1, max_pairs))
    m = draw(st.integers(1, max(1, max_pairs // n)))
    if draw(st.booleans()):
        n, m = m, n
    value, dtype = VALUES[draw(st.sampled_from(sorted(kinds)))]
    fitness = matrix_of(draw, value, n, m, dtype)
    if draw(st.booleans()):
        fitness[matrix_of(draw, st.integers(0, 3), n, m) == 0] = -np.inf
    arguments = {"fitness": fitness, "max_experts": one_or_each(draw, st.integers(0, m + 1), n)}
    if draw(st.booleans()):
        arguments["min_experts"] = one_or_each(draw, st.sampled_from([0, 0, 1, 1, 2]), n)
    half = [v / 2 for v in range(2 * n + 1)]
    if draw(st.booleans()):
        arguments["load_max"] = one_or_each(draw, st.sampled_from([*half, np.inf]), m)
    if draw(st.booleans()):
        arguments["load_min"] = one_or_each(draw, st.sampled_from([-1, 0, 0, *half[:5]]), m)
    if draw(st.booleans()):
        arguments["load_penalty"] = one_or_each(draw, st.sampled_from([0, 0.1, 0.5, 1, 3]), m)
        if draw(st.booleans()):
            arguments["load_target"] = one_or_each(draw, st.sampled_from([-1, 0, 0.3, 1, 2.5]), m)
    if draw(st.booleans()):
        add_groups(draw, arguments, n, m)
    if draw(st.booleans()):
        cost = st.sampled_from([0, 0.1, 1, 2.5])
        if draw(st.booleans()):
            arguments["switch_cost"] = matrix_of(draw, cost, n, m)
        else:
            arguments["switch_cost"] = one_or_each(draw, cost, m)
        if draw(st.booleans()):
            arguments["held"] = matrix_of(draw, st.booleans(), n, m, np.bool_)
    return arguments


def add_groups(draw, arguments, n, m):
    """Draw expert groups and their bounds."""
    n_groups = draw(st.integers(1, m))
    others = draw(st.lists(st.integers(0, n_groups - 1), min_size=m - n_groups,
                           max_size=m - n_groups))
    order = draw(st.permutations([*range(n_groups), *others]))
    arguments["expert_group"] = np.array(order)
    for name, value in (("group_min", st.sampled_from([0, 0, 0, 1])),
                        ("group_max", st.sampled_from([0, 1, 1, 2, 2, 3]))):
        shape = draw(st.sampled_from(["none", "group", "pair"]))
        if shape == "group":
            arguments[name] = one_or_each(draw, value, n_groups)
        elif shape == "pair":
            arguments[name] = matrix_of(draw, value, n, n_groups)


def add_mip_features(draw, arguments):
    """Draw at least one of named loads, resources and fairness floors that matters."""
    n, m = arguments["fitness"].shape
    features = draw(st.sets(st.sampled_from(["loads", "resources", "fairness"]), min_size=1))
    amount = st.sampled_from([0, 0.5, 1, 1, 2, 3])
    if "loads" in features:
        load = {"weight": one_or_each(draw, amount, n)}
        if draw(st.booleans()):
            load["penalty"] = one_or_each(draw, st.sampled_from([0, 0.1, 1]), m)
            load["target"] = one_or_each(draw, st.sampled_from([0, 1, 2.5]), m)
        if draw(st.booleans()):
            load["min"] = one_or_each(draw, st.sampled_from([0, 0, 1, 1.5]), m)
        load["max"] = one_or_each(draw, st.sampled_from([1, 2.5, 4, 100, np.inf]), m)
        arguments["loads"] = {"samples": al.Load(**load)}
    if "resources" in features:
        size = (matrix_of(draw, amount, n, m) if draw(st.booleans())
                else one_or_each(draw, amount, m))
        budget = one_or_each(draw, st.sampled_from([0, 1, 2.5, 4, np.inf]), n)
        arguments["resources"] = {"memory_mb": al.Resource(size, budget)}
    if "fairness" in features:
        arguments["client_fitness_min"] = one_or_each(
            draw, st.sampled_from([-np.inf, -1, 0, 0.5, 2]), n
        )


def build(arguments, minimise):
    """Return the problem, or the same one stated as costs."""
    if not minimise:
        return al.AlignmentProblem(**arguments)
    arguments = dict(arguments)
    cost = np.subtract(0, arguments.pop("fitness"))
    if "client_fitness_min" in arguments:
        arguments["client_cost_max"] = 0 - arguments.pop("client_fitness_min")
    return al.AlignmentProblem.from_cost(cost, **arguments)


@st.composite
def flow_problems(draw, max_pairs=MAX_PAIRS, kinds=tuple(VALUES)):
    """Draw a problem of the flow class, of either sense, feasible or not.

    `kinds` chooses among `VALUES`; switching costs and penalties may be
    fractional even where the fitness is not.
    """
    return build(flow_arguments(draw, max_pairs, kinds), draw(st.booleans()))


@st.composite
def mip_problems(draw, max_pairs=MAX_PAIRS, kinds=tuple(VALUES)):
    """Draw a problem of the mip class, of either sense, feasible or not."""
    arguments = flow_arguments(draw, max_pairs, kinds)
    add_mip_features(draw, arguments)
    problem = build(arguments, draw(st.booleans()))
    if problem.problem_class == "mip":
        return problem
    # Every part was idle by chance: a budget that binds settles the class.
    return problem.replace(resources={"memory_mb": al.Resource(1.0, 1.0)})


@st.composite
def hard_problems(draw):
    """Draw a problem of the mip class that has every feature at once, mostly feasible.

    Layers with at least one expert of each, two or three resources with decimal sizes
    by expert or pair, real-valued load weights with bounds and a soft penalty, a soft
    penalty on holders, switching costs, and mostly a fairness floor. The bounds are
    drawn around an assignment, often exactly what it takes, summed in decimals: 0.1 +
    0.2 and 0.3. One problem in four has a bound that this assignment breaks.
    """
    n, m = draw(st.sampled_from([(3, 4), (2, 6), (2, 5), (4, 3), (2, 4), (1, 6), (3, 3)]))
    value, dtype = VALUES[draw(st.sampled_from(["integers", "decimals", "float32", "float64"]))]
    fitness = matrix_of(draw, value, n, m, dtype)
    group = np.arange(m) * 2 // m
    planted = matrix_of(draw, st.booleans(), n, m, np.bool_)
    for members in (np.flatnonzero(group == g) for g in (0, 1)):
        for i in range(n):
            planted[i, draw(st.sampled_from(members.tolist()))] = True
    fitness[~planted & (matrix_of(draw, st.integers(0, 5), n, m) == 0)] = -np.inf

    def more(count, *choices):
        """Draw what a bound leaves beyond the planted assignment."""
        return np.array(draw(st.lists(st.sampled_from(choices), min_size=count, max_size=count)))

    decimal = st.sampled_from([0.1, 0.2, 0.3, 0.7, 1.1, 1 / 3])
    resources = {}
    for name in ("memory_mb", "down_mb", "seconds")[: draw(st.integers(2, 3))]:
        size = (matrix_of(draw, decimal, n, m) if draw(st.booleans())
                else np.array(draw(st.lists(decimal, min_size=m, max_size=m))))
        use = np.round((planted * size).sum(axis=1), 12)
        resources[name] = al.Resource(size, use + more(n, 0, 0, 0.1, 0.5))
    weight = np.array(draw(st.lists(st.sampled_from([0.1, 0.35, 1 / 3, 1.7, 2.25]),
                                    min_size=n, max_size=n)))
    amount = np.round(weight @ planted, 12)
    samples = al.Load(
        weight,
        min=amount * more(m, 0, 0.5, 1),
        max=amount + more(m, 0, 0.3, 2, np.inf),
        target=one_or_each(draw, st.sampled_from([0.5, 1.7]), m),
        penalty=draw(st.sampled_from([0.1, 0.7])),
    )
    arguments = {
        "fitness": fitness,
        "max_experts": planted.sum(axis=1) + more(n, 0, 1),
        "load_max": planted.sum(axis=0) + more(m, 0, 1),
        "load_penalty": draw(st.sampled_from([0.1, 0.5])),
        "loads": {"samples": samples},
        "resources": resources,
        "expert_group": group,
        "group_min": 1,
        "held": matrix_of(draw, st.booleans(), n, m, np.bool_),
        "switch_cost": draw(st.sampled_from([0.1, 1, 2.5])),
    }
    if draw(st.integers(0, 3)):
        reached = np.where(planted, fitness, 0).astype(np.float64).sum(axis=1)
        arguments["client_fitness_min"] = reached - more(n, 0, 1, 5)
    if draw(st.integers(0, 3)) == 0:
        arguments["load_max"] = np.maximum(arguments["load_max"] - 1, 0)
    return build(arguments, draw(st.booleans()))


def any_problems(max_pairs=MAX_PAIRS, kinds=tuple(VALUES)):
    """Draw a problem of either class."""
    return st.one_of(flow_problems(max_pairs, kinds), mip_problems(max_pairs, kinds))


def brute_force(problem):
    """Return the best of all answers to a problem of at most `MAX_PAIRS` pairs.

    Returns
    -------
    objective, row_ind, col_ind
        The best objective in the problem's own sense, or None where no answer
        is feasible, and the answer, sorted by (row, col).
    """
    found = Enumeration(problem)
    if not found.kept.any():
        return None, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    answer = found.answers[np.argmax(np.where(found.kept, found.gains, -np.inf))]
    row_ind, col_ind = np.nonzero(answer)
    assert is_feasible(problem, row_ind, col_ind), "brute force and feasibility disagree"
    return problem.objective(row_ind, col_ind), row_ind, col_ind


#: What stands for time stamps and other values above a common base: base and step.
STAMPS = {
    "seconds in steps of a microsecond": (1.7e9, 2.0**-20),
    "decimal microseconds": (1.7e9, 1e-6),
    "milliseconds": (1.7e12, 1.0),
    "microseconds": (1_700_000_000_000_000, 1),
    "at 2**52": (2.0**52, 1.0),
    "last digits": (1.7e9, 2.0**-22),
    "negative": (-1.7e9, 2.0**-20),
}


@st.composite
def stamped_problems(draw, kinds=tuple(STAMPS), **more):
    """Draw a small flow problem of values above a common base, and the values as given.

    Returns
    -------
    problem, fitness
        `fitness` is a nested list in max sense, for `Enumeration`.
    """
    base, step = STAMPS[draw(st.sampled_from(kinds))]
    n, m = draw(st.sampled_from([(2, 2), (3, 2), (2, 3), (4, 2), (3, 3), (4, 3), (6, 2)]))
    fitness = base + matrix_of(draw, st.integers(0, 7), n, m, type(step)) * step
    if draw(st.booleans()):
        fitness = fitness - base * matrix_of(draw, st.integers(0, 1), n, 1, type(step))
    slots = np.array(draw(st.lists(st.integers(1, 2), min_size=n, max_size=n)))
    arguments = {"max_experts": slots} | more
    if draw(st.booleans()):
        arguments["min_experts"] = slots
    arguments["load_max"] = one_or_each(draw, st.integers(1, n), m)
    if draw(st.booleans()):
        arguments["load_min"] = one_or_each(draw, st.integers(0, 1), m)
    minimise = draw(st.booleans())
    problem = build({"fitness": fitness} | arguments, minimise)
    return problem, fitness.tolist()
