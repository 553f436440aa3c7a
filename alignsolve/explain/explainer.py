"""One answer, and what its explanations have in common."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from alignsolve.certificate.answer import Changes
from alignsolve.certificate.best_responses import best_responses
from alignsolve.errors import ProblemError
from alignsolve.explain.client_view import Alternative, ClientExplanation, HeldExpert, Wording
from alignsolve.explain.expert_view import Contender, ExpertExplanation
from alignsolve.explain.overall_view import Explanation
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.digest import problem_digest
from alignsolve.model.ids import alike, escaped
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.text import counted
from alignsolve.result import Result
from alignsolve.status import Status

if TYPE_CHECKING:
    from alignsolve.explain.estimates import Estimates
    from alignsolve.explain.exact import Exact
    from alignsolve.explain.own_problem import OwnProblems
    from alignsolve.explain.settling import Explained

#: Contenders that an explanation of an expert lists on either side.
CONTENDERS = 20

#: Seconds for which numbers of one explanation are settled by solving again.
EXACT_SECONDS = 10.0

ONE_OF_BOTH = "explain takes a client or an expert, not both"


class Explainer:
    """Explains one answer; keeps what its explanations have in common.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    result : Result
        An answer to it. Where bounds were relaxed, explanations are about the
        relaxed problem.
    exact : bool, default False
        Whether estimates are settled by solving again; see `explain`.
    time_limit : float, default 10
        Seconds for that, for each explanation.

    Raises
    ------
    ProblemError
        If the result has no answer, or is one of another problem, or the limit is no time.

    Examples
    --------
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 1]], max_experts=1, load_max=1)
    >>> explainer = al.Explainer(problem, al.solve(problem))
    >>> [explainer.client(client).regret for client in (0, 1)]
    [0.0, 1.0]
    """

    def __init__(
        self, problem: AlignmentProblem, result: Result, exact: bool = False,
        time_limit: float = EXACT_SECONDS,
    ) -> None:  # fmt: skip
        if not result.has_answer:
            why = "" if result.conflict is None else f": {result.conflict.text}"
            raise ProblemError(f"there is no answer to explain, but status "
                               f"{result.status.value!r}{why}")
        if result.problem.fitness.shape != problem.fitness.shape:
            raise ProblemError(
                f"the result is for {result.problem.n_clients} clients x "
                f"{result.problem.n_experts} experts, the problem has {problem.n_clients} x "
                f"{problem.n_experts}"
            )
        if (problem not in (result.problem, result.relaxed_problem)
                and problem_digest(problem) != problem_digest(result.problem)):
            raise ProblemError("the result is for a problem of other content; give that problem, "
                               "result.problem")
        self.result = result
        self.problem = problem if result.relaxed_problem is None else result.relaxed_problem
        is_flow = self.problem.problem_class == "flow"
        self.exact = is_flow and result.status is Status.OPTIMAL
        self.wording = Wording(self.problem)
        self._settle(exact, time_limit)

    def _settle(self, exact: bool, time_limit: float) -> None:
        """Say whether estimates are settled, and in what time."""
        if not (isinstance(time_limit, (int, float)) and time_limit >= 0):
            raise ProblemError(f"time_limit is {time_limit!r}; give seconds >= 0")
        self.settles, self.time_limit = exact and not self.exact, time_limit
        self.notes = tuple(self._notes())

    def settling(self, exact: bool, time_limit: float = EXACT_SECONDS) -> Explainer:
        """Return an explainer of the same answer that settles estimates, or does not.

        It shares what is computed already. The parameters are those of the class.
        """
        other = copy.copy(self)
        other._settle(exact, time_limit)
        return other

    def _notes(self) -> list[str]:
        """Say what is to be known of the numbers."""
        notes = []
        if not self.exact:
            why = (f"the problem is {self.problem.class_reason}"
                   if self.problem.problem_class == "mip" else "the answer is not proved optimal")
            how = ("what was not settled in time is an estimate" if self.settles
                   else "margins and worths are estimates")
            notes.append(f"{why}: {how}, from each client's own problem at prices of the loads")
        if self.settles and not self._can_settle:
            notes.append("whole numbers beyond 2**53 and fitness read in blocks are not solved "
                         "again: all stay estimates")
        if self.result.relaxations:
            relaxed = counted(len(self.result.relaxations), "bound")
            notes.append(f"{relaxed} relaxed; all this is about the problem with them moved to "
                         f"what the answer has")
        return notes

    @property
    def _can_settle(self) -> bool:
        return self.problem.integers is None and not self.problem.streamed

    def _settled(self, explained: Explained) -> Explained:
        """Settle an explanation's estimates, where that is asked for."""
        if not (self.settles and self._can_settle):
            return explained
        # Imported here, so that commands that explain nothing wait less.
        from alignsolve.explain import resolving, settling

        resolver = resolving.Resolver(self.problem, self.result, self.time_limit)
        settled = settling.settle(explained, resolver)
        # The first note says that there are estimates.
        return replace(settled, notes=self.notes[1:]) if settled.exact else settled

    @cached_property
    def found(self) -> Exact | Estimates:
        """What says what changes cost: exactly where prices prove the answer, else estimates."""
        from alignsolve.explain.estimates import Estimates
        from alignsolve.explain.exact import Exact

        return (Exact if self.exact else Estimates)(self.problem, self.result)

    # -- what clients would hold alone ---------------------------------------------

    @cached_property
    def _free(self) -> OwnProblems:
        from alignsolve.explain.own_problem import OwnProblems

        return OwnProblems(self.problem)

    def _best_alone(self, clients: IntArray) -> tuple[Float64Array, BoolArray]:
        """Return value and members of neighbouring clients' best sets where loads do not matter."""
        if self.problem.problem_class == "mip":
            return self._free.best(clients)
        values = self.problem.values(clients)
        rows = slice(int(clients[0]), int(clients[-1]) + 1)
        # Every client has a best set: what it holds keeps its slots and groups.
        chosen, _ = best_responses(self.problem, rows, values)
        return np.where(chosen, values, 0.0).sum(axis=1), chosen

    @cached_property
    def _alone(self) -> tuple[Float64Array, IntArray]:
        """Value of each client's best set alone, and how many clients would hold each expert."""
        value = np.empty(self.problem.n_clients)
        wanted = np.zeros(self.problem.n_experts, dtype=np.int64)
        for clients in self.found.all_clients():
            value[clients], chosen = self._best_alone(clients)
            wanted += chosen.sum(axis=0)
        return value, wanted

    def of(
        self, client: int | str | None, expert: int | str | None
    ) -> ClientExplanation | ExpertExplanation | Explanation:
        """Explain the answer to a client, to an expert, or as a whole; see `explain`."""
        if client is not None and expert is not None:
            raise ProblemError(ONE_OF_BOTH)
        if client is not None:
            return self.client(client)
        return self.overall() if expert is None else self.expert(expert)

    # -- a client -------------------------------------------------------------------

    def client(self, client: int | str) -> ClientExplanation:
        """Explain what a client holds; see `explain`."""
        i = _index("client", client, self.problem.n_clients, self.problem.client_ids)
        problem, at, found = self.problem, np.array([i]), self.found
        (values,), (held,) = found.block(at)
        changes, paid = found.changes(at), found.prices.paid(at)[0]
        cuts = found.price_cuts(i, changes.loss[0])

        def pair(j: int) -> dict[str, Any]:
            return {"expert": j, "name": problem.expert_name(j),
                    "value": problem.sign * float(values[j]), "price": self._stated(float(paid[j]))}

        value, alone = float(found.own_value(at)[0]), float(self._best_alone(at)[0][0])
        others = np.flatnonzero(~held & (values > -np.inf))
        others = others[np.argsort(changes.loss[0][others], kind="stable")]
        budgets = {name: float(found.gain_without_budget(name, at)[0])
                   for name, part in problem.resources.items()
                   if np.isfinite(np.asarray(part.budget)[i])}
        explained = ClientExplanation(
            client=i,
            name=problem.client_name(i),
            held=tuple(self._held(pair(j), changes) for j in np.flatnonzero(held).tolist()),
            alternatives=tuple(self._alternative(i, pair(j), changes, float(cuts[j]))
                               for j in others.tolist()),
            forbidden=int((values == -np.inf).sum()),
            value=problem.sign * value,
            alone=problem.sign * alone,
            regret=max(0.0, alone - value),
            slot_worth=float(found.gain_of_slot(at)[0]),
            minimum_worth=float(found.gain_of_minimum(at)[0]),
            exact=self.exact,
            notes=self.notes,
            budget_worth=budgets,
            estimates=self._estimates("slot_worth", "minimum_worth",
                                      *(f"budget_worth.{name}" for name in budgets)),
            sense=problem.sense,
        )
        return self._settled(explained)

    def _estimates(self, *names: str) -> tuple[str, ...]:
        return () if self.exact else names

    def _stated(self, price: Any) -> Any:
        """Return a price in the problem's own sense."""
        return 0 + self.problem.sign * price

    def _held(self, pair: dict[str, Any], changes: Changes) -> HeldExpert:
        """Return what is to be said of a held expert."""
        j = pair["expert"]
        margin = float(changes.margin[0, j])
        return self.wording.held(HeldExpert(
            **pair,
            margin=margin,
            runner_up=_expert_or_none(changes.taken[0, j]),
            exact=self.exact or math.isinf(margin),
        ))

    def _alternative(
        self, client: int, pair: dict[str, Any], changes: Changes, cut: float
    ) -> Alternative:
        """Return what is to be said of an expert that a client may hold and does not."""
        j, found = pair["expert"], self.found
        missing, given = float(changes.loss[0, j]), _expert_or_none(changes.given[0, j])
        return self.wording.alternative(Alternative(
            **pair,
            missing=missing,
            in_place_of=given,
            price_cut=None if math.isnan(cut) else cut,
            slot_suffices=found.slot_suffices(client, j, missing),
            exact=self.exact or math.isinf(missing),
            slot_exact=self.exact,
            gain=float(changes.gain[0, j]),
            holders=int(found.loads[j]),
            places=int(found.high[j]),
            displaces=found.displaces(j, given),
        ))

    # -- an expert ------------------------------------------------------------------

    def expert(self, expert: int | str) -> ExpertExplanation:
        """Explain an expert's holders; see `explain`."""
        j = _index("expert", expert, self.problem.n_experts, self.problem.expert_ids)
        found = self.found
        weakest, nearest, holder = self._contenders(j)
        explained = ExpertExplanation(
            expert=j,
            name=self.problem.expert_name(j),
            load=int(found.loads[j]),
            load_min=int(found.low[j]),
            load_max=int(found.high[j]),
            price=self._stated(float(found.prices.holder()[j])),
            wanted=int(self._alone[1][j]),
            slot_worth=float(found.slot_worth[j]),
            slot_loss=float(found.slot_loss[j]),
            minimum_worth=float(found.need_worth[j]),
            next_holder=holder,
            weakest=weakest,
            nearest=nearest,
            exact=self.exact,
            notes=self.notes,
            load_prices={name: self._stated(float(price[j]))
                         for name, price in found.prices.named().items()},
            estimates=self._estimates("slot_worth", "slot_loss", "minimum_worth"),
        )
        return self._settled(explained)

    def _contenders(
        self, j: int
    ) -> tuple[tuple[Contender, ...], tuple[Contender, ...], Contender | None]:
        """Return the holders nearest to losing an expert, the others nearest to it, and the next.

        The last is who would take a further slot.
        """
        problem, found = self.problem, self.found
        clients = np.arange(problem.n_clients)
        is_held = np.zeros(clients.size, dtype=np.bool_)
        is_held[found.rows[found.cols == j]] = True
        value = problem.pair_values(clients, np.full(clients.size, j))
        margin = found.of_all_clients(lambda some: found.of_expert(some, j))

        def contender(i: int) -> Contender:
            return Contender(i, problem.client_name(i), problem.sign * float(value[i]),
                             float(margin[i]), self.exact or math.isinf(margin[i]))

        def listed(index: IntArray) -> tuple[Contender, ...]:
            order = index[np.argsort(margin[index], kind="stable")][:CONTENDERS]
            return tuple(contender(i) for i in order.tolist())

        following = found.next_holder(j, np.where(is_held, np.inf, margin))
        return (
            listed(np.flatnonzero(is_held)), listed(np.flatnonzero(~is_held & (value > -np.inf))),
            None if following is None else contender(following),
        )  # fmt: skip

    # -- the whole ------------------------------------------------------------------

    def overall(self) -> Explanation:
        """Explain the answer as a whole; see `explain`."""
        problem, found = self.problem, self.found
        alone, _ = self._alone
        has = found.of_all_clients(found.own_value)
        regret = np.maximum(0.0, alone - has)
        explained = Explanation(
            objective_value=self.result.objective_value,
            total=problem.sign * float(has.sum()),
            free=problem.sign * float(alone.sum()),
            balance=float(regret.sum()),
            prices=self._stated(found.prices.holder()),
            slot_worth=found.slot_worth,
            minimum_worth=found.need_worth,
            client_slot_worth=found.of_all_clients(found.gain_of_slot),
            regret=regret,
            expert_names=tuple(problem.expert_name(j) for j in range(problem.n_experts)),
            exact=self.exact,
            notes=self.notes,
            load_prices={name: self._stated(price)
                         for name, price in found.prices.named().items()},
            estimates=self._estimates("slot_worth", "minimum_worth", "client_slot_worth"),
            loads=found.loads,
            load_min=found.low,
            load_max=found.high,
        )
        return self._settled(explained)


def _expert_or_none(index: int) -> int | None:
    """Return an index of `Changes`, where -1 stands for nothing."""
    return None if index < 0 else int(index)


def _index(what: Literal["client", "expert"], given: object, size: int,
           ids: tuple[str, ...] | None) -> int:
    """Return the index of a client or expert named by its index or id."""
    if isinstance(given, str):
        if ids is not None and given in ids:
            return ids.index(given)
        none = "" if ids is not None else ", of which it has none, or an index"
        raise ProblemError(f"{what} is {escaped(given)}; give one of the problem's ids{none}"
                           f"{alike(given, ids or ())}")
    if isinstance(given, (bool, np.bool_)) or not isinstance(given, (int, np.integer)):
        raise ProblemError(f"{what} is {given!r}; give an index, or an id as a string")
    if not 0 <= given < size:
        raise ProblemError(f"{what} is {given}; give 0 to {size - 1}")
    return int(given)
