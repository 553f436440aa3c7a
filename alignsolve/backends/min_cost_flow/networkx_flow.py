"""Minimum-cost flow by NetworkX: the slow reference."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from alignsolve.backends.base import Capabilities
from alignsolve.backends.min_cost_flow.backend import NetworkBackend
from alignsolve.backends.min_cost_flow.network import FlowNetwork, count_arcs
from alignsolve.interrupts import cuttable
from alignsolve.model.arrays import IntArray
from alignsolve.model.problem import FLOW_FEATURES, AlignmentProblem

#: Seconds per arc and square root of nodes: measured from 0.3 to 1.2 of this, on problems of 400
#: to 19,000 pairs, by a 2-core x86-64 machine.
SECONDS = 8e-6


class NetworkxBackend(NetworkBackend):
    """The flow class by network simplex in pure Python (NetworkX).

    Notes
    -----
    Integers are Python's own and cannot overflow. Slow: meant to check others
    on problems of up to some ten thousand pairs.
    """

    name: ClassVar[str] = "networkx"
    bytes_per_pair: ClassVar[float] = 1100.0
    capabilities: ClassVar[Capabilities] = Capabilities(
        features=FLOW_FEATURES,
        exact=True,
        proves_infeasibility=True,
        # Ctrl-C cuts it off, but a time limit does not.
        interruptible=False,
        libraries=("networkx",),
    )

    def estimated_seconds(self, problem: AlignmentProblem) -> float:
        """Return the seconds that a measured cost model expects."""
        nodes, arcs = count_arcs(problem)
        return SECONDS * arcs * math.sqrt(nodes)

    def least_cost_flow(self, network: FlowNetwork) -> IntArray | None:
        """Return a cheapest flow; see `NetworkBackend.least_cost_flow`."""
        import networkx as nx

        graph = nx.MultiDiGraph()
        graph.add_nodes_from(
            (node, {"demand": -supply}) for node, supply in enumerate(network.supply.tolist())
        )
        arcs = (network.tail, network.head, network.capacity, network.cost)
        for arc, (tail, head, capacity, cost) in enumerate(
            zip(*(array.tolist() for array in arcs), strict=True)
        ):
            graph.add_edge(tail, head, key=arc, capacity=capacity, weight=cost)
        try:
            with cuttable():
                _, flows = nx.network_simplex(graph)
        except nx.NetworkXUnfeasible:
            return None
        used = np.zeros(network.n_arcs, dtype=np.int64)
        for tail, head, arc in graph.edges(keys=True):
            used[arc] = flows[tail][head][arc]
        return used[: network.n_pair_arcs]
