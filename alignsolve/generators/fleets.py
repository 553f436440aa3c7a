"""Families that differ in what clients are: devices, rounds."""

from __future__ import annotations

import math

import numpy as np

from alignsolve.generators.draws import Draws, exact, share_of, zipf_weights
from alignsolve.generators.family import Family, Parameter, load_cap, standard
from alignsolve.generators.fitness import TOPIC_PARAMETERS, matched, topic_weights
from alignsolve.model.arrays import BoolArray, FloatArray, IntArray
from alignsolve.model.problem import AlignmentProblem, Load, Resource

#: Four tiers of devices, by round assumptions: memory that training may use, in MB, an eighth
#: of what such a device is sold with (2, 4, 16 and 64 GB); what may be downloaded for a round,
#: in MB, 30 s at 8, 24, 64 and 256 Mbit/s; sustained speed of training, in 10**9 operations per
#: second, a few percent of the peak, as small batches give; most experts held at a time.
TIERS = (
    (256, 30, 5, 3),  # entry-level phone
    (512, 90, 10, 4),  # recent phone
    (2048, 240, 50, 8),  # laptop or edge box
    (8192, 960, 1000, 16),  # workstation
)

#: Fleets: how many clients in 100 are of each tier.
MIXES = {"phones": (60, 35, 5, 0), "mixed": (35, 40, 20, 5), "edge": (0, 10, 60, 30)}

#: Sizes of experts, in million parameters.
EXPERT_MILLIONS = (4, 6, 8, 12)

#: float32 weights, gradients and two moments of Adam: 16 bytes a parameter.
MEMORY_BYTES = 16

#: float32 weights: 4 bytes a parameter.
DOWN_BYTES = 4

#: Forward and backward pass: 6 operations for each parameter and token.
OPERATIONS = 6

#: Tokens in a training sample.
TOKENS = 128

#: Length of a round, in seconds.
ROUND_SECONDS = 600

# Figures of `scarce` alone; `deep` has the same activations.

#: Smallest and largest expert, in million parameters.
SCARCE_MILLIONS = (6, 20)
#: Memory for activations of an expert, in MB.
ACTIVATIONS_MB = (20, 60)
#: Operations of an expert's forward and backward pass, in 10**6 for each million parameters
#: and sample.
SCARCE_OPERATIONS = (550, 850)
#: A budget differs from what it was made for by at most this, in thousandths.
BUDGET_SPREAD = 150
#: What the most popular expert is worth beyond the others, in fitness, and Zipf's exponent.
POPULARITY, POPULARITY_EXPONENT = 600, 0.5


def tiers(
    draws: Draws, *, clients: int, experts: int, mix: str, balance: float, fill: float,
    fairness: float,
) -> AlignmentProblem:
    """Build a problem of unequal devices, unequal experts, and loads counted in samples.

    An assignment that fills devices at random within their budgets is made
    first; the lower bounds are shares of what it reaches, so it keeps them.
    """
    tier = draws.stream("tiers").weighted(MIXES[mix], clients)
    millions = np.array(EXPERT_MILLIONS)[
        draws.stream("sizes").whole(0, len(EXPERT_MILLIONS) - 1, experts)
    ]
    samples = draws.stream("samples").whole(20, 400, clients)
    memory, down, gflops, max_experts = np.array(TIERS)[tier].T
    needs = {
        "memory_mb": (MEMORY_BYTES * millions, memory), "down_mb": (DOWN_BYTES * millions, down),
    }
    # Whole numbers of millions, so the one division is all that rounds.
    work, speed = OPERATIONS * TOKENS * samples[:, None] * millions, 1000 * gflops
    planted = filled(
        draws.stream("plan").orders(clients, experts),
        [*needs.values(), (work, speed * ROUND_SECONDS)],
        max_experts,
    )
    fitness = draws.stream("fitness").whole(1, 1000, (clients, experts), np.float32)
    held_samples = samples @ planted
    cap = np.maximum(held_samples, math.floor(exact(balance) * int(held_samples.sum()) / experts))
    floor = np.where(planted, fitness, 0).astype(np.int64).sum(axis=1)
    return AlignmentProblem(
        fitness,
        max_experts,
        loads={"samples": Load(samples, share_of(held_samples, fill), cap)},
        resources={name: Resource(*need) for name, need in needs.items()}
        | {"seconds": Resource(work / speed[:, None], ROUND_SECONDS)},
        client_fitness_min=share_of(floor, fairness) if fairness else None,
    )


def filled(
    orders: IntArray, sizes: list[tuple[IntArray, IntArray]], max_experts: IntArray
) -> BoolArray:
    """Give every client the experts of its order, each that still fits, (n, m).

    Parameters
    ----------
    orders : int64 array, shape (n, m)
        Order in which a client tries the experts.
    sizes : list of (int64 array (n, m) or (m,), int64 array (n,))
        What an expert takes, and what a client has, of each resource.
    max_experts : int64 array, shape (n,)
        Slots.
    """
    rows = np.arange(orders.shape[0])
    held = np.zeros(orders.shape, dtype=np.bool_)
    slot = np.ones(1, dtype=np.int64)
    takes = [np.broadcast_to(size, orders.shape) for size in (*(size for size, _ in sizes), slot)]
    left = np.stack([*(budget for _, budget in sizes), max_experts])
    for tried in orders.T:
        taken = np.stack([size[rows, tried] for size in takes])
        fits = (taken <= left).all(axis=0)
        held[rows[fits], tried[fits]] = True
        left -= taken * fits
    return held


def sticky(
    draws: Draws, *, clients: int, experts: int, slots: int, balance: float, topics: int,
    focus: int, levels: int, drift: float, round: int, switch_cost: float,
) -> AlignmentProblem:
    """Build one round of a sequence in which tastes drift and moving costs.

    Weights of topics take a step of one up or down with probability `drift`
    in every round. From round 1 on, the pairs held are what `first_come`
    makes of the round before: plausible, and within the bounds, not optimal.
    In round 0 nothing is held, and nothing costs.
    """
    mixture = {"topics": topics, "focus": focus, "levels": levels}
    theirs = topic_weights(draws.stream("clients"), clients, **mixture)
    wanted = topic_weights(draws.stream("experts"), experts, **mixture)
    cap, before = load_cap(clients, experts, slots, balance), None
    for past in range(1, round + 1):
        before = matched(theirs, wanted) if past == round else None
        theirs = _drifted(draws.stream(f"clients {past}"), theirs, drift, levels)
        wanted = _drifted(draws.stream(f"experts {past}"), wanted, drift, levels)
    held = None if before is None else np.nonzero(first_come(before, slots, cap))
    return AlignmentProblem(
        matched(theirs, wanted),
        slots,
        load_max=cap,
        held=held,
        switch_cost=switch_cost if round else 0,
    )


def _drifted(draws: Draws, weights: IntArray, drift: float, levels: int) -> IntArray:
    """Return topic weights after one round."""
    moves = draws.stream("moves").chance(drift, weights.shape)
    steps = 2 * draws.stream("steps").whole(0, 1, weights.shape) - 1
    drifted: IntArray = np.clip(weights + moves * steps, 0, levels)
    return drifted


def first_come(fitness: FloatArray, slots: int, cap: int) -> BoolArray:
    """Return who holds what where clients are served by the rank of their wish.

    All clients ask for their first choice, then all with a free slot for their
    second, and so on; an expert serves them by client number while it has
    room.

    Parameters
    ----------
    fitness : float array, shape (n, m)
        Wishes; equal ones rank by expert number.
    slots, cap : int
        Most experts of a client, and most clients of an expert.

    Returns
    -------
    held : bool array, shape (n, m)
        The assignment.

    Notes
    -----
    O(n m log m) time.
    """
    n, m = fitness.shape
    held, room = np.zeros((n, m), dtype=np.bool_), np.full(m, cap)
    free = np.full(n, slots)
    for wish in np.argsort(-fitness, axis=1, kind="stable").T:
        asking = np.flatnonzero(free > 0)
        by_expert = asking[np.argsort(wish[asking], kind="stable")]
        expert = wish[by_expert]
        first = np.searchsorted(expert, expert)  # where each expert's queue starts
        served = np.arange(expert.size) - first < room[expert]
        held[by_expert[served], expert[served]] = True
        free[by_expert[served]] -= 1
        room -= np.bincount(expert[served], minlength=m)
    return held


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
    millions = draws.stream("millions").whole(*SCARCE_MILLIONS, experts)
    sizes = {
        "memory_mb": MEMORY_BYTES * millions
        + draws.stream("activations").whole(*ACTIVATIONS_MB, experts),
        "down_mb": DOWN_BYTES * millions,
        "seconds": millions * draws.stream("operations").whole(*SCARCE_OPERATIONS, experts),
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
    popularity = POPULARITY * zipf_weights(experts, POPULARITY_EXPONENT) // 2**16
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
        "tiers",
        "Devices of four tiers with memory, download and time budgets; loads in samples.",
        (
            *standard(clients=200, experts=16),
            Parameter("mix", "mixed", "make-up of the fleet", choices=tuple(MIXES)),
            *standard(balance=1.5),
            Parameter("fill", 0.5, "least samples of an expert, as a share of an assignment that "
                      "is known to fit", 0, 1, step=0.01),
            Parameter("fairness", 0.0, "least fitness of a client, as a share of what that "
                      "assignment gives it; 0 for no floor", 0, 1, step=0.01),
        ),
        tiers,
    ),
    Family(
        "sticky",
        "One round of a sequence: tastes drift, and an expert not held before costs.",
        (
            *standard(clients=200, experts=16, slots=2, balance=1.2), *TOPIC_PARAMETERS,
            Parameter("drift", 0.1, "probability that a topic's weight moves in a round", 0, 1),
            Parameter("round", 1, "number of the round; in round 0 nothing is held", 0, 1000),
            Parameter("switch_cost", 10.0, "cost of an expert not held before, in fitness",
                      0, 1e6),
        ),
        sticky,
        tables=(("clients", "experts"), ("clients", "topics")),
    ),
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
