"""Every threshold of the solver on both sides: the optimum and its proof stay what they are."""

import numpy as np
import pytest

from alignsolve.backends.exchange import graph, solve_exchange
from alignsolve.backends.exchange.params import ExchangeParams
from tests.alignsolve.backends.exchange.reference import residual, values_of

#: What makes each phase work on problems of a few hundred entries.
BUSY = {"small": 0, "newton_clients": 1, "newton_sample": 1, "first_entries": 200, "growth": 2}

CHANGES = {
    "as it is": {}, "busy": BUSY,
    "small samples": BUSY | {"smallest_sample": 1, "first_entries": 1, "exact_sample": 0},
    "exact samples": BUSY | {"smallest_sample": 1, "first_entries": 1, "exact_sample": 1000},
    "any excess": BUSY | {"exact_sample": 0, "exact_excess": 0},
    "guessed prices": BUSY | {"guess": 0, "first_entries": 10**9},
    "few listed": BUSY | {"list_excess": 0, "list_node": 1, "least_cap": 1, "slack_sample": 8},
    "a small share": BUSY | {"list_share": 0.01}, "short lists": BUSY | {"long_lists": 0},
    "slowly wider": BUSY | {"wider": 1.01, "list_node": 0, "list_excess": 0, "probe": 1},
    "capped": BUSY | {"least_cap": 1, "cap_growth": 2, "list_share": 1.0},
    "short searches": BUSY | {"search_work": 0.0}, "small blocks": BUSY | {"block_rows": 3},
    "one batch": BUSY | {"block_rows": 3, "batches": 1}, "no Newton": {"newton_clients": 10**9},
}


def problems():
    """Yield problems of whole numbers: one slot each, several, penalties and switching costs."""
    rng = np.random.default_rng(3)
    n, m = 150, 4
    fitness = rng.integers(0, 30, (n, m)).astype(np.float64)
    fitness[rng.random((n, m)) < 0.1] = -np.inf
    fitness[:, 0] = np.maximum(fitness[:, 0], 0) + 10  # whom all want
    most = rng.integers(1, 4, n)
    held = rng.random((n, m)) < 0.3
    switch = (2.0, np.concatenate([[0], np.cumsum(held.sum(axis=1))]), np.nonzero(held)[1])
    yield fitness, (1, 1), (20, 45), {}
    yield fitness, (0, 1), (10, 30), {}
    yield fitness, (1, most), (50, 90), {}
    yield fitness, (0, most), (0, np.array([60, 80, 100, 90])), {"switch": switch}
    yield fitness, (0, most), (0, 90), {"penalty": (np.full(m, 0.5), np.full(m, 60.5))}
    yield fitness.astype(np.float32), (0, most), (40, 70), {}


@pytest.fixture(scope="module")
def solved():
    found = []
    for fitness, slots, loads, more in problems():
        answer = solve_exchange(fitness, *slots, *loads, **more)
        assert answer.status == "optimal"
        assert residual(answer, fitness, slots, loads, *more_of(more)) == 0
        found.append((fitness, slots, loads, more, objective(answer, fitness, more)))
    return found


def more_of(more):
    return more.get("penalty"), more.get("switch")


def objective(answer, fitness, more):
    penalty, switch = more_of(more)
    value = values_of(fitness, switch)[answer.row_ind, answer.col_ind].sum()
    if penalty is not None:
        load = np.bincount(answer.col_ind, minlength=fitness.shape[1])
        value -= (penalty[0] * (load - penalty[1]) ** 2).sum()
    return value


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("room", ["as it is", "tiny"])
def test_no_threshold_changes_the_optimum_or_the_whole_prices(change, room, solved, monkeypatch):
    if room == "tiny":
        made = graph.Lists.__init__
        monkeypatch.setattr(graph.Lists, "__init__",
                            lambda self, nodes, room: made(self, nodes, 4 * nodes))
    for fitness, slots, loads, more, best in solved:
        answer = solve_exchange(fitness, *slots, *loads, params=ExchangeParams(**CHANGES[change]),
                                threads=2, **more)
        assert answer.status == "optimal"
        assert residual(answer, fitness, slots, loads, *more_of(more)) == 0
        assert objective(answer, fitness, more) == best
        if "penalty" not in more:
            assert (answer.prices == np.rint(answer.prices)).all()
