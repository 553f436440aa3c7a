"""A fleet in which almost nothing is left over: most budgets and most load bounds bind."""

from __future__ import annotations

import numpy as np

from alignsolve.generators.draws import Draws, share_of, zipf_weights
from alignsolve.generators.family import Family, Parameter, standard
from alignsolve.generators.fleets import DOWN_BYTES, MEMORY_BYTES, ROUND_SECONDS, filled
from alignsolve.model.problem import AlignmentProblem, Load, Resource

#: Smallest and largest expert, in million parameters.
MILLIONS = (6, 20)
#: Memory for activations of an expert, in MB.
ACTIVATIONS_MB = (20, 60)
#: Operations of an expert's forward and backward pass, in 10**6 for each million parameters
#: and sample.
OPERATIONS = (550, 850)
#: A budget differs from what it was made for by at most this, in thousandths.
BUDGET_SPREAD = 150
#: What the most popular expert is worth beyond the others, in fitness, and Zipf's exponent.
POPULARITY, EXPONENT = 600, 0.5


def scarce(
    draws: Draws, *, clients: int, experts: int, slots: int, squeeze: float
) -> AlignmentProblem:
    """Build a problem in which three budgets a client, and an expert's bound on samples, bind.

    Two assignments are made within the budgets: one at random, and one in
    which every client takes what it likes best. An expert that the second one
    gives more samples than the first has an upper bound, any other one a lower
    bound, `squeeze` of the way from the second to the first, so that the first
    keeps all bounds and the second breaks almost every one.

    The weight of a client is its expected number of samples: samples times
    the probability that it finishes the round.
    """
    millions = draws.stream("millions").whole(*MILLIONS, experts)
    sizes = {
        "memory_mb": MEMORY_BYTES * millions
        + draws.stream("activations").whole(*ACTIVATIONS_MB, experts),
        "down_mb": DOWN_BYTES * millions,
        "seconds": millions * draws.stream("operations").whole(*OPERATIONS, experts),
    }
    made_for = draws.stream("room").whole(max(1, slots // 4), max(1, 3 * slots // 4), clients)
    budgets = {
        name: made_for
        * (1000 + draws.stream(f"{name} budget").whole(-BUDGET_SPREAD, BUDGET_SPREAD, clients))
        * int(size.sum()) // (1000 * experts)
        for name, size in sizes.items()
    }
    samples = draws.stream("samples").whole(20, 400, clients)
    finishing = draws.stream("finishing").whole(500, 1000, clients)  # thousandths
    popularity = POPULARITY * zipf_weights(experts, EXPONENT) // 2**16
    fitness = draws.stream("fitness").whole(1, 1000, (clients, experts), np.float32)
    fitness += popularity[draws.stream("ranks").order(experts)]
    table = [(sizes[name], budgets[name]) for name in sizes]
    limit = np.full(clients, slots)
    by_wish = np.argsort(-fitness, axis=1, kind="stable")
    expected = samples * finishing
    planted = expected @ filled(draws.stream("plan").orders(clients, experts), table, limit)
    wanted = expected @ filled(by_wish, table, limit)
    bound = (wanted + share_of(planted - wanted, squeeze)) / 1000
    # A device is as fast as its budget of operations in a round demands of it.
    per_second = np.maximum(1, budgets["seconds"]) * samples / ROUND_SECONDS
    return AlignmentProblem(
        fitness,
        slots,
        loads={"samples": Load(
            expected / 1000,
            np.where(wanted < planted, bound, 0),
            np.where(wanted < planted, np.inf, bound),
        )},
        resources={
            **{name: Resource(sizes[name], budgets[name]) for name in ("memory_mb", "down_mb")},
            "seconds": Resource(
                sizes["seconds"] * samples[:, None] / per_second[:, None], ROUND_SECONDS
            ),
        },
    )


FAMILIES = (
    Family(
        "scarce",
        "Most budgets and most bounds on samples bind: memory, download, time; unequal experts.",
        (
            *standard(clients=200, experts=16, slots=8),
            Parameter("squeeze", 0.7, "how far the bounds on samples push the loads from what "
                      "clients like best, 0, to an assignment at random, 1", 0, 1, step=0.01),
        ),
        scarce,
    ),
)
