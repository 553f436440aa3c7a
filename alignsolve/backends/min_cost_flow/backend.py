"""What the backends that solve the flow network have in common."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

from alignsolve.backends.base import Backend, library_version
from alignsolve.backends.min_cost_flow.network import FlowNetwork, build_network
from alignsolve.certificate.polish import polish
from alignsolve.interruptible import ended_by_key
from alignsolve.model.arrays import IntArray
from alignsolve.model.problem import AlignmentProblem
from alignsolve.status import Limits, Outcome, Termination


class NetworkBackend(Backend):
    """A solver of minimum-cost flows with integer costs.

    Attributes
    ----------
    most_bits : int or None
        Costs stay below this power of two; None for as large as solvers allow, see
        `alignsolve.backends.min_cost_flow.scaling.cost_bits`.
    """

    most_bits: ClassVar[int | None] = None

    @abstractmethod
    def least_cost_flow(self, network: FlowNetwork) -> IntArray | None:
        """Return the flow of each pair arc in a cheapest flow.

        Returns
        -------
        flow : int64 array, shape (n_pair_arcs,), or None
            None where no flow meets all supplies.

        Raises
        ------
        BackendError
            If the library fails.
        """

    def solve(self, problem: AlignmentProblem, limits: Limits) -> Outcome:
        """Return a best answer; see `Backend.solve`.

        Notes
        -----
        Where the costs had to be rounded, exchanges on the original values win
        back what that lost.
        """
        started = time.perf_counter()
        network = build_network(problem, self.most_bits)
        built = time.perf_counter()
        flow = None
        if not network.contradiction:
            flow = ended_by_key(
                self.least_cost_flow, network, seconds=self.estimated_seconds(problem),
                poll=limits.poll,
            )
        source = library_version(self.capabilities.libraries[0])
        stats = {
            "build_seconds": built - started, "nodes": network.n_nodes, "arcs": network.n_arcs,
            "cost_exponent": network.scaling.exponent,
            "rounding_error_bound": network.scaling.error_bound,
        }
        if flow is None:
            stats["solve_seconds"] = time.perf_counter() - built
            return Outcome.proved_infeasible(source=source, stats=stats)
        rows, cols = network.pairs(flow)
        answer = Outcome(Termination.PROVED, rows, cols)
        if not network.scaling.exact:
            unit = math.ldexp(1.0, -network.scaling.exponent)
            answer = polish(problem, rows, cols, unit, limits.deadline)
        stats["solve_seconds"] = time.perf_counter() - built
        return replace(answer, source=source, stats=stats | dict(answer.stats))
