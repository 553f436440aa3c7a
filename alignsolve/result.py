"""What `alignsolve.solve` returns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from alignsolve.certificate.certificate import Certificate
from alignsolve.infeasibility import Conflict
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.html import facts
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.text import counted
from alignsolve.relaxation import Relaxation
from alignsolve.status import Fallback, Status, Termination

if TYPE_CHECKING:
    import scipy.sparse as sp


#: Most relaxed bounds in a summary.
SHOWN_RELAXATIONS = 10


@dataclass(frozen=True, eq=False)
class Result:
    """An answer with what is proved about it.

    Attributes
    ----------
    problem : AlignmentProblem
        What was solved.
    status : Status
        OPTIMAL only with a certificate.
    termination : Termination
        What ended the solve.
    row_ind, col_ind : int64 array, shape (n_pairs,)
        Clients and experts of the held pairs, sorted by (row, col); empty
        where there is no answer.
    objective_value, dual_bound : float
        Value and bound in the problem's own sense; the value is NaN without an
        answer, the bound infinite where there is none, and infinitely bad where
        the problem is infeasible.
    gap_abs, gap : float
        Proved distance from the optimum, and the same over
        ``max(1, |objective_value|)``; infinite without a bound.
    loads : int64 array, shape (n_experts,)
        Holders of each expert.
    prices : float64 array, shape (n_experts,), or None
        Shadow price of a holder of each expert, in the problem's own sense.
    backend : str
        Who answered; "none" where there is no client or no expert.
    fallbacks : tuple of Fallback
        Who did not, and why.
    certificate : Certificate or None
        The proof behind `status`; None without an answer.
    conflict : Conflict or None
        Bounds that cannot hold together, where the problem is infeasible.
    stats : mapping of str to number or str
        Seconds (``build_seconds``, ``solve_seconds``, ``certify_seconds``,
        ``total_seconds``) and counts of the backend.
    relaxations : tuple of Relaxation
        Relaxed bounds, where `solve` was asked for an elastic answer and
        the bounds cannot hold together; else empty.
    relaxed_problem : AlignmentProblem or None
        The problem with these bounds loosened, of which `status`, `certificate`,
        `dual_bound` and `prices` speak; None where none was relaxed.
    """

    problem: AlignmentProblem = field(repr=False)
    status: Status
    termination: Termination
    row_ind: IntArray = field(repr=False)
    col_ind: IntArray = field(repr=False)
    objective_value: float
    dual_bound: float
    gap_abs: float
    gap: float
    loads: IntArray = field(repr=False)
    prices: Float64Array | None = field(repr=False)
    backend: str
    fallbacks: tuple[Fallback, ...] = ()
    certificate: Certificate | None = field(default=None, repr=False)
    conflict: Conflict | None = None
    stats: Mapping[str, Any] = field(default_factory=dict, repr=False)
    relaxations: tuple[Relaxation, ...] = ()
    relaxed_problem: AlignmentProblem | None = field(default=None, repr=False)

    @classmethod
    def proved(
        cls, problem: AlignmentProblem, row_ind: IntArray, col_ind: IntArray,
        proof: Certificate, termination: Termination, **details: Any,
    ) -> Result:  # fmt: skip
        """Return a feasible answer with what is proved about it.

        Parameters
        ----------
        problem, row_ind, col_ind, termination :
            As in `Result`; what ended the solve matters where the proof is not of an optimum.
        proof : Certificate
            Of a feasible answer.
        **details
            Further attributes; ``loads`` are counted where not given.
        """
        if proof.optimal:
            termination = Termination.PROVED
        elif termination is Termination.PROVED:
            # The backend's own proof, in numbers rounded its way, did not hold here.
            termination = Termination.HEURISTIC_DONE
        if "loads" not in details:
            details["loads"] = np.bincount(col_ind, minlength=problem.n_experts)
        return cls(
            problem, Status.OPTIMAL if proof.optimal else Status.FEASIBLE, termination, row_ind,
            col_ind, proof.objective_value, proof.dual_bound, proof.gap_abs, proof.gap,
            prices=proof.prices, certificate=proof, **details,
        )  # fmt: skip

    @classmethod
    def unanswered(
        cls, problem: AlignmentProblem, status: Status, termination: Termination, bound: float,
        **details: Any,
    ) -> Result:  # fmt: skip
        """Return that there is no answer, or that none was found; `bound` is in max sense."""
        nothing, load = np.empty(0, dtype=np.int64), np.zeros(problem.n_experts, dtype=np.int64)
        # No answer is the worst there is: the bound of an infeasible problem.
        bound = problem.sign * (-math.inf if status is Status.INFEASIBLE else bound)
        return cls(problem, status, termination, nothing, nothing, math.nan, bound, math.inf,
                   math.inf, load, None, certificate=None, **details)  # fmt: skip

    @property
    def has_answer(self) -> bool:
        """Whether there is an assignment, if only an empty one."""
        return self.status in (Status.OPTIMAL, Status.FEASIBLE)

    def matrix(self) -> sp.csr_array:
        """Return the assignment as a sparse bool matrix (n_clients, n_experts)."""
        import scipy.sparse as sp  # costs a tenth of a second, which `import alignsolve` saves

        shape = (self.problem.n_clients, self.problem.n_experts)
        data = np.ones(self.row_ind.size, dtype=np.bool_)
        return sp.csr_array((data, (self.row_ind, self.col_ind)), shape=shape)

    def _repr_html_(self) -> str:
        # The summary has a name of 13 columns on each line, and goes on in those without.
        rows = ((line[:13].strip(), line[13:] if line[:1] != " " else line)
                for line in self.summary().splitlines())
        return facts("Result", rows)

    def summary(self) -> str:
        """Return the outcome in a few lines for people."""
        lines = [f"status       {self.status.value} ({self.termination.value})"]
        lines.append(f"backend      {self.backend}")
        lines += [f"  not {step.backend}: {step.reason}" for step in self.fallbacks]
        if self.has_answer:
            word = "fitness" if self.problem.sense == "max" else "cost"
            lines.append(f"objective    {self.objective_value:.12g} ({word})")
            bound = f"{self.dual_bound:.12g} (gap {self.gap:.3g})"
            lines.append(f"bound        {'no bound' if math.isinf(self.gap) else bound}")
            if self.loads.size:
                lines.append(
                    f"holders      {self.loads.min()} to {self.loads.max()} per expert, "
                    f"{int(self.loads.sum())} pairs"
                )
        elif self.status is Status.NO_SOLUTION_FOUND and math.isfinite(self.dual_bound):
            lines.append(f"bound        {self.dual_bound:.12g}")
        if self.certificate is not None:
            lines.append(f"certificate  {self.certificate.summary()}")
        if self.conflict is not None:
            lines.append(f"conflict     {self.conflict.text}")
        if self.relaxations:
            violation = self.stats.get("violation", math.nan)
            lines.append(f"relaxed      {counted(len(self.relaxations), 'bound')}, priced "
                         f"violation {violation:.12g}")
            lines += [f"  {part.text}" for part in self.relaxations[:SHOWN_RELAXATIONS]]
            more = len(self.relaxations) - SHOWN_RELAXATIONS
            if more > 0:
                lines.append(f"  and {more:,} more")
        seconds = self.stats.get("total_seconds")
        if seconds is not None:
            lines.append(f"time         {seconds:.3g} s")
        return "\n".join(lines)
