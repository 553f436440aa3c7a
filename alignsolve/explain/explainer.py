"""One answer, and what its explanations have in common."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Literal

import numpy as np

from alignsolve.certificate.best_responses import best_responses
from alignsolve.certificate.exchanges import Changes, Exchanges
from alignsolve.errors import ProblemError
from alignsolve.explain.views import (
    Alternative,
    ClientExplanation,
    Contender,
    ExpertExplanation,
    Explanation,
    HeldExpert,
    amount,
)
from alignsolve.model.arrays import BoolArray, Float64Array, IntArray
from alignsolve.model.ids import alike, escaped
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.text import counted
from alignsolve.result import Result
from alignsolve.status import Status

#: Contenders that an explanation of an expert lists on either side.
CONTENDERS = 20

#: A slot counts as enough where the best answer loses at most this, relative to its values.
ROUNDING = 1e-9


class Explainer:
    """Explains one answer; keeps what its explanations have in common.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    result : Result
        An answer to it. Where bounds were relaxed, explanations are about the
        relaxed problem.

    Raises
    ------
    ProblemError
        If the result has no answer, or is one of another problem.
    """

    def __init__(self, problem: AlignmentProblem, result: Result) -> None:
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
        self.result = result
        self.problem = problem if result.relaxed_problem is None else result.relaxed_problem
        self.exchanges = Exchanges(self.problem, result.row_ind, result.col_ind)
        self.notes = tuple(self._notes())
        is_flow = self.problem.problem_class == "flow"
        self.exact = is_flow and result.status is Status.OPTIMAL
        prices = result.prices
        self.prices = None if prices is None else self.problem.sign * prices
        words = ("fitness", "lower", "higher")
        if self.problem.sense == "min":
            words = ("cost", "higher", "lower")
        self._word, self._worse, self._better = words

    def _notes(self) -> list[str]:
        """Say what cannot be said."""
        notes = []
        if self.problem.problem_class == "mip":
            notes.append(
                f"the problem is {self.problem.class_reason}: no prices explain such an answer, so "
                f"margins, worths of slots and what would have to change are not known; what a "
                f"client could have alone leaves budgets and floors out"
            )
        elif self.result.status is not Status.OPTIMAL:
            notes.append("the answer is not proved optimal: margins and worths of slots are not "
                         "known")
        if self.result.relaxations:
            relaxed = counted(len(self.result.relaxations), "bound")
            notes.append(f"{relaxed} relaxed; all this is about the problem with them moved to "
                         f"what the answer has")
        return notes

    # -- what clients would hold alone ---------------------------------------------

    def _best_alone(self, clients: IntArray) -> tuple[Float64Array, BoolArray]:
        """Return value and members of neighbouring clients' best sets where loads do not matter."""
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
        for clients in self.exchanges.all_clients():
            value[clients], chosen = self._best_alone(clients)
            wanted += chosen.sum(axis=0)
        return value, wanted

    def _own_value(self, clients: IntArray) -> Float64Array:
        """Return what some clients have, max sense."""
        values, held = self.exchanges.block(clients)
        return np.asarray(np.where(held, values, 0.0).sum(axis=1))

    # -- a client -------------------------------------------------------------------

    def client(self, client: int | str) -> ClientExplanation:
        """Explain what a client holds; see `explain`."""
        i = _index("client", client, self.problem.n_clients, self.problem.client_ids)
        problem, at = self.problem, np.array([i])
        (values,), (held,) = self.exchanges.block(at)
        changes = self.exchanges.changes(at) if self.exact else None
        value, alone = float(self._own_value(at)[0]), float(self._best_alone(at)[0][0])
        others = np.flatnonzero(~held & (values > -np.inf))
        farness = -values if changes is None else changes.loss[0]
        others = others[np.argsort(farness[others], kind="stable")]
        slot = minimum = None
        if self.exact:
            slot = float(self.exchanges.gain_of_slot(at)[0])
            minimum = float(self.exchanges.gain_of_minimum(at)[0])
        return ClientExplanation(
            client=i,
            name=problem.client_name(i),
            held=tuple(self._held(j, values, changes) for j in np.flatnonzero(held).tolist()),
            alternatives=tuple(self._alternative(i, j, values, held, changes)
                               for j in others.tolist()),
            forbidden=int((values == -np.inf).sum()),
            value=problem.sign * value,
            alone=problem.sign * alone,
            regret=max(0.0, alone - value),
            slot_worth=slot,
            minimum_worth=minimum,
            exact=self.exact,
            notes=self.notes,
        )

    def _price(self, j: int) -> float | None:
        return None if self.prices is None else 0 + self.problem.sign * float(self.prices[j])

    def _pair(self, j: int, values: Float64Array) -> tuple[str, float, float | None, str]:
        """Return an expert's name, a client's value of it, its price, and all these in words."""
        name, price = self.problem.expert_name(j), self._price(j)
        value = self.problem.sign * float(values[j])
        at_price = "" if price is None else f", price {amount(price)}"
        return name, value, price, f"{name}: {self._word} {amount(value)}{at_price}"

    def _held(self, j: int, values: Float64Array, changes: Changes | None) -> HeldExpert:
        """Return what is to be said of a held expert."""
        name, value, price, text = self._pair(j, values)
        if changes is None:
            return HeldExpert(j, name, value, price, None, None, text)
        margin, taken = float(changes.margin[0, j]), _expert_or_none(changes.taken[0, j])
        if math.isinf(margin):
            text += "; no answer without this pair exists"
        else:
            then = "nothing" if taken is None else self.problem.expert_name(taken)
            text += f"; {self._worse} by more than {amount(margin)}, {then} takes its place"
        return HeldExpert(j, name, value, price, margin, taken, text)

    def _alternative(
        self, i: int, j: int, values: Float64Array, held: BoolArray, changes: Changes | None
    ) -> Alternative:
        """Return what is to be said of an expert that a client may hold and does not."""
        name, value, price, text = self._pair(j, values)
        text = f"not {text}"
        if changes is None:
            return Alternative(j, name, value, price, None, None, None, None, text)
        missing, given = float(changes.loss[0, j]), _expert_or_none(changes.given[0, j])
        suffices = self._slot_suffices(i, j)
        if math.isinf(missing):
            text += "; no answer with this pair exists"
        else:
            over = "" if given is None else f" in place of {self.problem.expert_name(given)}"
            text += f"; {self._better} by more than {amount(missing)}, it is given{over}"
        if suffices:
            text += "; so it is with one more slot for the expert"
        cut = self._price_cut(i, j, values, held)
        return Alternative(j, name, value, price, missing, given, cut, suffices, text)

    def _slot_suffices(self, i: int, j: int) -> bool:
        """Tell whether a further slot of an expert gives it to a client in a best answer."""
        worth = float(self.exchanges.slot_worth[j])
        if not worth > 0:
            return False
        loss = float(self.exchanges.changes(np.array([i]), slot_of=j).loss[0, j])
        return loss <= -worth + ROUNDING * max(1.0, self.problem.largest)

    def _price_cut(
        self, i: int, j: int, values: Float64Array, held: BoolArray
    ) -> float | None:
        """Return by how much an expert is too dear for a client at the prices of the others."""
        if self.prices is None or self.problem.expert_group is not None:
            return None
        net = values - self.prices
        bar = 0.0 if self.exchanges.moves.may_add[i] else float(net[held].min(initial=math.inf))
        return None if math.isinf(bar) else max(0.0, bar - float(net[j]))

    # -- an expert ------------------------------------------------------------------

    def expert(self, expert: int | str) -> ExpertExplanation:
        """Explain an expert's holders; see `explain`."""
        j = _index("expert", expert, self.problem.n_experts, self.problem.expert_ids)
        found = self.exchanges
        slot = loss = minimum = holder = None
        if self.exact:
            slot, loss, minimum = (
                float(part[j]) for part in (found.slot_worth, found.slot_loss, found.need_worth)
            )
            holder = self._next_holder(j)
        weakest, nearest = self._contenders(j)
        return ExpertExplanation(
            expert=j,
            name=self.problem.expert_name(j),
            load=int(found.loads[j]),
            load_min=int(found.low[j]),
            load_max=int(found.high[j]),
            price=self._price(j),
            wanted=int(self._alone[1][j]),
            slot_worth=slot,
            slot_loss=loss,
            minimum_worth=minimum,
            next_holder=holder,
            weakest=weakest,
            nearest=nearest,
            exact=self.exact,
            notes=self.notes,
        )

    def _next_holder(self, j: int) -> Contender | None:
        """Return who would take an expert's further slot."""
        i = self.exchanges.next_holder(j)
        if i is None:
            return None
        at = np.array([i])
        (value,) = self.problem.pair_values(at, np.array([j]))
        margin = float(self.exchanges.changes(at).loss[0, j])
        return Contender(i, self.problem.client_name(i), self.problem.sign * float(value), margin)

    def _contenders(self, j: int) -> tuple[tuple[Contender, ...], tuple[Contender, ...]]:
        """Return the holders nearest to losing an expert, and the others nearest to getting it."""
        n, problem = self.problem.n_clients, self.problem
        value, margin, is_held = np.empty(n), np.full(n, np.nan), np.zeros(n, dtype=np.bool_)
        for clients in self.exchanges.all_clients():
            values, held = self.exchanges.block(clients)
            value[clients], is_held[clients] = values[:, j], held[:, j]
            if self.exact:
                changes = self.exchanges.changes(clients)
                margin[clients] = np.where(held[:, j], changes.margin[:, j], changes.loss[:, j])

        def listed(index: IntArray, key: Float64Array) -> tuple[Contender, ...]:
            order = index[np.argsort(key[index], kind="stable")][:CONTENDERS]
            return tuple(
                Contender(i, problem.client_name(i), problem.sign * float(value[i]),
                          float(margin[i]) if self.exact else None)
                for i in order.tolist()
            )

        others = np.flatnonzero(~is_held & (value > -np.inf))
        # Without margins, those of least fitness hold it, and of most do not, most nearly.
        keys = (margin, margin) if self.exact else (value, -value)
        return listed(np.flatnonzero(is_held), keys[0]), listed(others, keys[1])

    # -- the whole ------------------------------------------------------------------

    def overall(self) -> Explanation:
        """Explain the answer as a whole; see `explain`."""
        problem, found = self.problem, self.exchanges
        alone, _ = self._alone
        has = found.of_all_clients(self._own_value)
        regret = np.maximum(0.0, alone - has)
        return Explanation(
            objective_value=self.result.objective_value,
            total=problem.sign * float(has.sum()),
            free=problem.sign * float(alone.sum()),
            balance=float(regret.sum()),
            prices=self.result.prices,
            slot_worth=found.slot_worth if self.exact else None,
            minimum_worth=found.need_worth if self.exact else None,
            client_slot_worth=found.of_all_clients(found.gain_of_slot) if self.exact else None,
            regret=regret,
            expert_names=tuple(problem.expert_name(j) for j in range(problem.n_experts)),
            exact=self.exact,
            notes=self.notes,
        )


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
