"""Families that differ in what clients want: the fitness matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from alignsolve.generators.draws import Draws, zipf_weights
from alignsolve.generators.family import Family, Parameter, load_cap, standard
from alignsolve.model.arrays import FloatArray, IntArray
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.sources.base import FitnessSource

#: Labels drawn to describe what an expert knows, in `label_skew`.
EXPERT_LABELS = 32

#: Parameters of the topic mixtures, shared by `latent` and the sticky rounds.
TOPIC_PARAMETERS = (
    Parameter("topics", 8, "number of topics", 1, 64),
    Parameter("focus", 3, "topics that a client or an expert knows", 1, 64),
    Parameter("levels", 9, "largest weight of a topic", 1, 100),
)


def uniform_rows(
    draws: Draws, start: int, stop: int, *, experts: int, dtype: str = "float32", **_: Any
) -> FloatArray:
    """Return the fitness of some clients: uniform in [0, 1)."""
    words = 1 if dtype == "float32" else 2
    fitness = draws.stream("fitness").skip(words * start * experts)
    return fitness.fractions((stop - start, experts), dtype)


def capped(
    draws: Draws, fitness: FloatArray | FitnessSource, *, clients: int, experts: int, slots: int,
    balance: float, penalty: float = 0.0, **_: Any,
) -> AlignmentProblem:  # fmt: skip
    """Build a problem with a cap on every load, and a penalty where one is given."""
    cap = load_cap(clients, experts, slots, balance)
    return AlignmentProblem(fitness, slots, load_max=cap, load_penalty=penalty)


def skewed_rows(
    draws: Draws, start: int, stop: int, *, experts: int, exponent: float, interests: int, **_: Any
) -> FloatArray:
    """Return the fitness of some clients: their wishes, plus a uniform number in [0, 1).

    A few experts are wanted by most: each client draws its interests by Zipf's
    law, with repetition, and an expert is wished for as often as it was drawn.
    """
    rows = stop - start
    fitness = draws.stream("noise").skip(start * experts).fractions((rows, experts), np.float32)
    # Popular experts are anywhere, so that an order by index is no hint.
    names = draws.stream("names").order(experts)
    ranks = draws.stream("interests").skip(start * interests).weighted(
        zipf_weights(experts, exponent), (rows, interests)
    )
    np.add.at(fitness, (np.arange(rows)[:, None], names[ranks]), np.float32(1))
    return fitness


def topic_weights(
    draws: Draws, rows: int, topics: int, focus: int, levels: int, first: int = 0
) -> IntArray:
    """Return weights 1 to `levels` of `focus` random topics, int64 (rows, topics).

    Row 0 is number `first`, an even number, of a longer table.
    """
    passed = first * topics
    weights = draws.stream("levels").skip(passed).whole(1, levels, (rows, topics))
    # The order's first `focus` places mark the topics that count.
    return np.where(draws.stream("focus").skip(passed).orders(rows, topics) < focus, weights, 0)


def matched(left: IntArray, right: IntArray) -> FloatArray:
    """Return ``left @ right.T`` as float32.

    The callers keep the products below 2**24, so that every partial sum is a
    float32 and the order of a BLAS, or fused arithmetic, changes nothing.
    """
    return left.astype(np.float32) @ right.astype(np.float32).T


def latent_rows(
    draws: Draws, start: int, stop: int, *, experts: int, topics: int, focus: int, levels: int,
    noise: int, **_: Any,
) -> FloatArray:
    """Return the fitness of some clients: how their topics match the experts', plus noise."""
    theirs = topic_weights(draws.stream("clients"), stop - start, topics, focus, levels, start)
    wanted = topic_weights(draws.stream("experts"), experts, topics, focus, levels)
    fitness = matched(theirs, wanted)
    added = draws.stream("noise").skip(start * experts)
    fitness += added.whole(0, noise, fitness.shape, np.float32)
    return fitness


def label_skew(
    draws: Draws, *, clients: int, experts: int, labels: int, alpha: float, expert_alpha: float,
    samples: int, **capacity: Any,
) -> AlignmentProblem:
    """Build a problem from label counts: fitness is how much data and expert agree.

    A client's labels, and the labels that an expert knows, are
    Dirichlet-multinomial counts; fitness is their inner product.
    """
    theirs = draws.stream("clients").urn(clients, labels, alpha, samples)
    known = draws.stream("experts").urn(experts, labels, expert_alpha, EXPERT_LABELS)
    return capped(draws, matched(theirs, known), clients=clients, experts=experts, **capacity)


def ties(
    draws: Draws, *, clients: int, experts: int, levels: int, kinds: int, **capacity: Any
) -> AlignmentProblem:
    """Build a problem of plateaus: few values, and clients that are copies of each other.

    A value is the smaller of two draws: the best values are rare and wanted by all of a kind.
    """
    values = draws.stream("fitness").whole(0, levels - 1, (2, kinds, experts), np.float32)
    fitness = values.min(axis=0)[draws.stream("kinds").whole(0, kinds - 1, clients)]
    return capped(draws, fitness, clients=clients, experts=experts, **capacity)


FAMILIES = (
    Family(
        "uniform",
        "Fitness uniform in [0, 1): the neutral case.",
        (
            *standard(clients=200, experts=16, slots=2, balance=1.2),
            Parameter("dtype", "float32", "type of the fitness", choices=("float32", "float64")),
        ),
        capped,
        rows=uniform_rows,
    ),
    Family(
        "skewed",
        "Popular experts: clients draw their favourites by Zipf's law.",
        (
            *standard(clients=200, experts=16, slots=2, balance=1.2),
            Parameter("exponent", 1.0, "exponent of Zipf's law", 0, 4, step=0.5),
            Parameter("interests", 2, "favourites that a client draws, with repetition", 1, 100),
            Parameter("penalty", 0.0, "penalty of an expert's squared distance from the mean load",
                      0, 1e6),
        ),
        capped,
        tables=(("clients", "experts"), ("clients", "interests")),
        rows=skewed_rows,
    ),
    Family(
        "latent",
        "Clients and experts are mixtures of topics; fitness is their match, a whole number.",
        (
            *standard(clients=200, experts=16, slots=2, balance=1.2), *TOPIC_PARAMETERS,
            Parameter("noise", 20, "largest whole number added at random", 0, 1_000_000),
        ),
        capped,
        tables=(("clients", "experts"), ("clients", "topics")),
        rows=latent_rows,
    ),
    Family(
        "label-skew",
        "Clients with Dirichlet-distributed labels, experts that know a mixture of labels.",
        (
            *standard(clients=200, experts=16, slots=2, balance=1.2),
            Parameter("labels", 10, "number of labels", 1, 1000),
            Parameter("alpha", 0.3, "concentration of a client's labels; small is skewed",
                      0.01, 100, step=0.01),
            Parameter("expert_alpha", 0.3, "concentration of an expert's labels",
                      0.01, 100, step=0.01),
            Parameter("samples", 64, "labelled samples of each client", 1, 1000),
        ),
        label_skew,
        tables=(("clients", "experts"), ("clients", "labels"), ("experts", "labels")),
    ),
    Family(
        "ties",
        "Few distinct values and repeated clients: plateaus of equally good answers.",
        (
            *standard(clients=200, experts=16, slots=2, balance=1.0),
            Parameter("levels", 3, "number of distinct values", 1, 1000),
            Parameter("kinds", 10, "number of distinct clients", 1, 10_000_000),
        ),
        ties,
        tables=(("clients", "experts"), ("kinds", "experts")),
    ),
)
