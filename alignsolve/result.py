"""What `alignsolve.solve` returns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from alignsolve.certificate.certificate import Certificate
from alignsolve.certificate.exchanges import Exchanges
from alignsolve.infeasibility import Conflict
from alignsolve.model.arguments import MATRIX
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.frames import FrameKind, to_frame
from alignsolve.model.html import facts
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.text import counted
from alignsolve.model.whole_bounds import tolerance
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
    load_prices : mapping of str to float64 array, shape (n_experts,)
        Of the mip class, where "lagrangian" answered: prices of a unit of each load that
        matters, "" for holders, in the problem's own sense, at which it bounded the values.
        A warm start by this result goes on from them. Empty elsewhere.
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

    Examples
    --------
    >>> import alignsolve as al
    >>> result = al.solve(al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1, load_max=1))
    >>> result.status.value, result.objective_value, result.loads.tolist()
    ('optimal', 5.5, [1, 1])
    >>> result.matrix().toarray().tolist()
    [[True, False], [False, True]]
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
    load_prices: Mapping[str, Float64Array] = field(default_factory=dict, repr=False)
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

    def to_frame(self, library: str | None = None, margins: bool = True) -> Any:
        """Return the held pairs as a data frame, a row for each.

        Parameters
        ----------
        library : str, optional
            "pandas", "polars", "pyarrow" or another library that narwhals knows; default that of
            the frame that the problem was made from, else pandas.
        margins : bool, default True
            Whether to compute margins, which takes O(n_pairs n_experts + n_experts**3) time.

        Returns
        -------
        frame : data frame
            ``client`` and ``expert`` (ids, or numbers from 0 where there are none); ``fitness``
            (or ``cost``) of the pair; ``price`` of its expert; and ``margin``, what the fitness
            may fall (the cost rise) by before another answer without the pair is better. NaN
            where prices or margins are not known: these are of proved optima of the flow class.

        Raises
        ------
        ProblemError
            If a library is missing, with the line that installs it.
        """
        return to_frame(self.pair_columns(margins), library, self.problem.frame_kind)

    def pair_columns(self, margins: bool = True) -> dict[str, Any]:
        """Return the columns of `to_frame`."""
        problem, rows, cols = self.problem, self.row_ind, self.col_ind
        kind = problem.frame_kind or FrameKind("")
        if problem.integers is None:
            values = problem.sign * problem.pair_fitness(rows, cols)
        else:
            values = problem.integers.given()[rows, cols]
        prices = np.full(problem.n_experts, np.nan) if self.prices is None else self.prices
        margin = np.full(rows.size, np.nan)
        solved = self.relaxed_problem or problem
        if (margins and self.status is Status.OPTIMAL and solved.problem_class == "flow"
                and not solved.streamed):
            margin = Exchanges(solved, rows, cols).held_margins()
        return {
            "client": kind.ids("client", problem.client_ids, rows),
            "expert": kind.ids("expert", problem.expert_ids, cols),
            MATRIX[problem.sense]: values,
            "price": prices[cols],
            "margin": margin,
        }

    def loads_frame(self, library: str | None = None) -> Any:
        """Return the loads of the experts as a data frame, a row for each expert.

        Parameters
        ----------
        library : str, optional
            As for `to_frame`.

        Returns
        -------
        frame : data frame
            ``expert``; ``load`` (holders) with its bounds ``load_min`` and ``load_max``;
            ``price`` of a holder, NaN where not known; and ``binding``, whether the load is at a
            bound that an answer could break. For every further load NAME the same without a price:
            ``load:NAME``, ``min:NAME``, ``max:NAME``, ``binding:NAME``. Bounds are those of
            `relaxed_problem` where there is one.

        Raises
        ------
        ProblemError
            If a library is missing, with the line that installs it.
        """
        problem, solved = self.problem, self.relaxed_problem or self.problem
        kind, every = problem.frame_kind or FrameKind(""), np.arange(problem.n_experts)
        prices = np.full(problem.n_experts, np.nan) if self.prices is None else self.prices
        low, high = solved.holder_bounds()
        columns: dict[str, Any] = {
            "expert": kind.ids("expert", problem.expert_ids, every),
            "load": self.loads, "load_min": solved.load_min, "load_max": solved.load_max,
            "price": prices,
            "binding": ((self.loads == high) & (high < problem.n_clients))
            | ((self.loads == low) & (low > 0)),
        }  # fmt: skip
        for name, load in solved.loads.items():
            amount = solved.load_amounts(name, self.row_ind, self.col_ind)
            least, most = np.asarray(load.min), np.asarray(load.max)
            binding = (amount >= most - tolerance(most)) | (
                (amount <= least + tolerance(least)) & (least > 0))
            columns |= {f"load:{name}": amount, f"min:{name}": least, f"max:{name}": most,
                        f"binding:{name}": binding}
        return to_frame(columns, library, problem.frame_kind)

    def summary(self) -> str:
        """Return the outcome in a few lines for people."""
        lines = [f"status       {self.status.value} ({self.termination.value})"]
        lines.append(f"backend      {self.backend}")
        lines += [f"  not {step.backend}: {step.reason}" for step in self.fallbacks]
        if self.has_answer:
            word = "fitness" if self.problem.sense == "max" else "cost"
            # Adding 0 turns -0.0 into 0.0.
            lines.append(f"objective    {0 + self.objective_value:.12g} ({word})")
            bound = f"{0 + self.dual_bound:.12g} (gap {self.gap:.3g})"
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
