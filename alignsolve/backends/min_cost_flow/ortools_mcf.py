"""Minimum-cost flow by OR-Tools' SimpleMinCostFlow."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from alignsolve.backends.base import Capabilities
from alignsolve.backends.min_cost_flow.backend import NetworkBackend
from alignsolve.backends.min_cost_flow.network import FlowNetwork, count_arcs
from alignsolve.errors import BackendError
from alignsolve.model.arrays import IntArray
from alignsolve.model.problem import FLOW_FEATURES, AlignmentProblem

#: Cost model of build and solve, ``SECONDS * arcs**EXPONENT``: twice the fit ``6.1e-8 *
#: arcs**1.18`` of `benchmarks/mcf_cost_model.py` (2 cores x86-64; 14 shapes from 10,000 x 4 to
#: 10,000 x 256 and five kinds took 0.6 to 2.1 times the fit), because the library, once begun,
#: cannot be stopped at a time limit.
SECONDS, EXPONENT = 1.2e-7, 1.18

#: OR-Tools numbers arcs, and their reverses, by int32.
MOST_ARCS = 1 << 30

#: Seconds that OR-Tools takes to import.
IMPORT = 0.3

#: Seconds up to which it is not worth while to ask another backend first.
SOON = 0.1


class MinCostFlowBackend(NetworkBackend):
    """The flow class by cost scaling (OR-Tools SimpleMinCostFlow).

    Notes
    -----
    The library takes neither a time limit nor a signal. Where it is expected to take long
    it works in a process of its own, see `alignsolve.interruptible`, which Ctrl-C and a
    callback end; a time limit, and for other problems both, take effect when it returns.
    It needs about 110 bytes an arc.
    """

    name: ClassVar[str] = "ortools-mcf"
    bytes_per_pair: ClassVar[float] = 110.0
    capabilities: ClassVar[Capabilities] = Capabilities(
        features=FLOW_FEATURES, exact=True, proves_infeasibility=True, interruptible=False,
        sources=True, libraries=("ortools",),
    )

    def refusal(self, problem: AlignmentProblem) -> str | None:
        """Return why the backend cannot take a problem, or None if it can."""
        arcs = count_arcs(problem)[1]
        reason = super().refusal(problem)
        if reason is None and arcs > MOST_ARCS:
            reason = f"numbers at most {MOST_ARCS} arcs; this problem has {arcs}"
        return reason

    def estimated_seconds(self, problem: AlignmentProblem) -> float:
        """Return the seconds that a measured cost model expects."""
        seconds: float = SECONDS * count_arcs(problem)[1] ** EXPONENT
        return seconds

    def substitute_seconds(self, problem: AlignmentProblem) -> float:
        """Return the seconds expected, of which half is a margin for limits, and the import's."""
        return self.estimated_seconds(problem) / 2 + IMPORT

    def answers_soon(self, problem: AlignmentProblem) -> bool:
        """Tell whether it takes but a moment."""
        return self.estimated_seconds(problem) <= SOON

    def least_cost_flow(self, network: FlowNetwork) -> IntArray | None:
        """Return a cheapest flow; see `NetworkBackend.least_cost_flow`."""
        from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

        solver = SimpleMinCostFlow()
        solver.add_arcs_with_capacity_and_unit_cost(
            network.tail, network.head, network.capacity, network.cost
        )
        nodes = np.arange(network.n_nodes, dtype=np.int32)
        solver.set_nodes_supplies(nodes, network.supply)
        status = solver.solve()
        # Only after OPTIMAL may flows be read: otherwise the process crashes.
        if status == SimpleMinCostFlow.Status.OPTIMAL:
            flow: IntArray = solver.flows(np.arange(network.n_pair_arcs, dtype=np.int32))
            return flow
        if status == SimpleMinCostFlow.Status.INFEASIBLE:
            return None
        raise BackendError(f"SimpleMinCostFlow ended with {status.name}")
