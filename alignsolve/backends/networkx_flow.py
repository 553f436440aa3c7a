"""Minimum-cost flow by NetworkX: the slow reference."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from alignsolve.arrays import IntArray
from alignsolve.backends.base import Capabilities
from alignsolve.backends.flow_network import FlowNetwork
from alignsolve.backends.network_backend import NetworkBackend
from alignsolve.problem import FLOW_FEATURES


class NetworkxBackend(NetworkBackend):
    """The flow class by network simplex in pure Python (NetworkX).

    Notes
    -----
    Integers are Python's own and cannot overflow. Slow: meant to check others
    on problems of up to some ten thousand pairs.
    """

    name: ClassVar[str] = "networkx"
    capabilities: ClassVar[Capabilities] = Capabilities(
        features=FLOW_FEATURES,
        exact=True,
        proves_infeasibility=True,
        # Ctrl-C ends it, but a time limit does not.
        interruptible=False,
        libraries=("networkx",),
    )

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
            _, flows = nx.network_simplex(graph)
        except nx.NetworkXUnfeasible:
            return None
        used = np.zeros(network.n_arcs, dtype=np.int64)
        for ends in flows.values():
            for amounts in ends.values():
                for arc, amount in amounts.items():
                    used[arc] = amount
        return used[: network.n_pair_arcs]
