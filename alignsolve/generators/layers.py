"""Families of several MoE layers, of which every client holds some experts each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from alignsolve.generators.draws import Draws, exact, zipf_weights
from alignsolve.generators.family import Family, Parameter, load_cap, standard
from alignsolve.generators.fleets import ACTIVATIONS_MB, DOWN_BYTES, MEMORY_BYTES
from alignsolve.model.problem import AlignmentProblem, Resource

#: Sizes of the experts of a layer of `deep`, in million parameters.
DEEP_MILLIONS = (2, 8)

#: Tables that are sent with the weights of an expert of `deep`, in MB.
CODES_MB = (1, 12)


def multi_layer(
    draws: Draws, *, clients: int, layers: int, experts: int, spare: int, layer_max: int,
    balance: float, fill: float, exponent: float,
) -> AlignmentProblem:
    """Build a problem of several MoE layers; every client holds an expert of each.

    In each layer a client has one favourite, drawn by Zipf's law. Assigning one
    expert of each layer to the clients in turn keeps every bound.
    """
    n_columns, in_turn = layers * experts, clients // experts
    fitness = draws.stream("noise").whole(0, 999, (clients, n_columns), np.float32)
    favourite = draws.stream("favourites").weighted(
        zipf_weights(experts, exponent), (clients, layers)
    )
    fitness[np.arange(clients)[:, None], favourite + experts * np.arange(layers)] += 500
    return AlignmentProblem(
        fitness,
        layers + spare,
        load_min=math.floor(exact(fill) * in_turn),
        load_max=max(-(-clients // experts), load_cap(clients, n_columns, layers + spare, balance)),
        expert_group=np.arange(n_columns) // experts,
        group_min=1,
        group_max=layer_max,
    )


def deep(
    draws: Draws, *, spare: int, layer_max: int, **more: Any
) -> AlignmentProblem:
    """Build a problem as `multi_layer` whose experts share budgets of memory and download.

    Experts of a layer are about of one size, which differs between layers. Any one expert of each
    layer fits into every client's budgets, so that assigning them in turn keeps every bound. What
    is left is room for up to twice `spare` more experts of mean size, drawn for each client and
    budget.
    """
    layers = more["layers"]
    problem = multi_layer(draws, spare=spare, layer_max=layer_max, **more)
    n, m = problem.n_clients, problem.n_experts
    millions = np.repeat(draws.stream("millions").whole(*DEEP_MILLIONS, layers), m // layers)
    activations, codes = draws.stream("activations"), draws.stream("codes")
    sizes = {
        "memory_mb": MEMORY_BYTES * millions + activations.whole(*ACTIVATIONS_MB, m),
        "down_mb": DOWN_BYTES * millions + codes.whole(*CODES_MB, m),
    }
    resources = {}
    for name, size in sizes.items():
        one_of_each = int(size.reshape(layers, -1).max(axis=1).sum())
        room = draws.stream(f"{name} room").whole(0, 2000 * spare, n)
        resources[name] = Resource(size, one_of_each + room * int(size.sum()) // (1000 * m))
    return problem.replace(max_experts=layers * layer_max, resources=resources)


def _parameters(layers: int, spare: int, meaning_of_spare: str) -> tuple[Parameter, ...]:
    """Return the parameters of a family of layers; defaults and what is spare differ."""
    return (
        *standard(clients=200),
        Parameter("layers", layers, "number of MoE layers", 1, 1000),
        Parameter("experts", 8, "number of experts in a layer", 1, 65_536),
        Parameter("spare", spare, meaning_of_spare, 0, 1000),
        Parameter("layer_max", 2, "most experts of a layer that a client may hold", 1, 1000),
        *standard(balance=1.2),
        Parameter("fill", 0.5, "least holders of an expert, as a share of one client in as many "
                  "as a layer has experts", 0, 1, step=0.01),
        Parameter("exponent", 1.0, "exponent of Zipf's law in each layer", 0, 4, step=0.5),
    )


FAMILIES = (
    Family(
        "multi-layer",
        "Several MoE layers: every client holds at least one expert of each.",
        _parameters(4, 2, "slots of a client beyond one in each layer"),
        multi_layer,
        tables=(("clients", "layers", "experts"),),
    ),
    Family(
        "deep",
        "Many MoE layers whose experts share each client's budgets of memory and download.",
        _parameters(8, 4, "experts of mean size that budgets leave room for, on average, beyond "
                          "one in each layer"),
        deep,
        tables=(("clients", "layers", "experts"),),
    ),
)
