"""Explain an answer: to a client, to an expert, or as a whole."""

from __future__ import annotations

from typing import overload

from alignsolve.explain.client_view import ClientExplanation
from alignsolve.explain.expert_view import ExpertExplanation
from alignsolve.explain.explainer import EXACT_SECONDS, Explainer
from alignsolve.explain.overall_view import Explanation
from alignsolve.interrupts import Call
from alignsolve.model.problem import AlignmentProblem
from alignsolve.result import Result


@overload
def explain(
    problem: AlignmentProblem, result: Result, *, client: int | str, expert: None = None,
    exact: bool = False, time_limit: float = EXACT_SECONDS,
) -> ClientExplanation: ...
@overload
def explain(
    problem: AlignmentProblem, result: Result, *, client: None = None, expert: int | str,
    exact: bool = False, time_limit: float = EXACT_SECONDS,
) -> ExpertExplanation: ...
@overload
def explain(
    problem: AlignmentProblem, result: Result, *, client: None = None, expert: None = None,
    exact: bool = False, time_limit: float = EXACT_SECONDS,
) -> Explanation: ...
def explain(
    problem: AlignmentProblem, result: Result, *, client: int | str | None = None,
    expert: int | str | None = None, exact: bool = False, time_limit: float = EXACT_SECONDS,
) -> ClientExplanation | ExpertExplanation | Explanation:
    """Explain an answer: why a client or expert got what it got, and what balance costs.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    result : Result
        An answer to it.
    client, expert : int or str, optional
        Index or id of a client, or of an expert; without either the answer as
        a whole is explained.
    exact : bool, default False
        Whether estimates are settled by solving again with the change: a pair forbidden or
        forced, a bound moved. What is not proved in time keeps proved bounds, or stays an
        estimate, and says so.
    time_limit : float, default 10
        Seconds for that, all questions together.

    Returns
    -------
    ClientExplanation, ExpertExplanation or Explanation
        Each with a method ``text(audience="engineer")``; for ``"owner"`` it says in round
        numbers, without prices, what the owner of a client wants to know.

    Raises
    ------
    ProblemError
        If there is no answer, no such client or expert, or both are given.

    Notes
    -----
    For an optimal answer to a problem of the flow class everything is exact,
    up to rounding of floats: with a pair's fitness changed by more than its
    margin, and nothing else, every best answer differs in that pair; with less, the
    answer stays best. Worths of slots are differences of two optima, not
    derivatives. Prices are derivatives: for an expert at its upper load bound,
    what one slot more is worth and one fewer costs, each before the step of its
    load penalty, lie on either side of its price. Several changes at once are
    another problem. Where bounds were relaxed, all this is so for
    `Result.relaxed_problem`.

    For the mip class, and where optimality is not proved, margins and worths are estimates:
    each client's own problem (slots, groups, budgets, floor) is solved with the change, exactly,
    at prices of the loads, which are those of the Lagrangian dual where the answer has none.
    Every number says whether it is exact: `HeldExpert.exact`, `Alternative.exact`,
    `Contender.exact`, and the worths that ``estimates`` does not name. Fitness, loads, regrets,
    what a client could have alone, and the price of balance are always exact.

    Takes O(n_pairs n_experts + n_experts**3) time in the flow class; in the mip class some 150
    passes over the clients for the prices, once, and two searches for a client's set for each
    number. For several explanations of one answer, make an `Explainer` once.

    Examples
    --------
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1, load_max=1)
    >>> print(al.explain(problem, al.solve(problem), client=1).text())
    client 1 holds expert 1, worth 2.5
    alone it could have 2.5; it forgoes 0 for the others
    one more slot would be worth 0
    expert 1: fitness 2.5, price 0; lower by more than 2.5, nothing takes its place
    not expert 0: fitness 2, price 0; higher by more than 2.5, it is given in place of expert 1
    """
    with Call():
        return Explainer(problem, result, exact, time_limit).of(client, expert)
