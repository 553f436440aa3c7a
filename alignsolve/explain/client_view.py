"""What is said of a client."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from alignsolve.explain.owner import NAMED, ROUNDING, bare, capital, experts, places, rounded
from alignsolve.explain.wording import SHOWN, Bounds, Table, Told, amount, known, mark, spelled
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.text import counted, listing


@dataclass(frozen=True)
class HeldExpert:
    """An expert that a client holds.

    Attributes
    ----------
    expert : int
        The expert.
    name : str
        How messages call it.
    value : float
        Fitness (or cost) of the pair, switching cost included, in the problem's
        own sense.
    price : float
        Price of what the client adds to the expert's loads: a holder, and units of named loads.
    margin : float
        The pair's fitness may fall (its cost rise) by less than this before
        another answer without the pair is better; infinite where none exists.
    runner_up : int or None
        What the client would hold in its place then; None for nothing.
    text : str
        The same in a sentence.
    exact : bool
        Whether `margin` is exact; else it is an estimate at the prices, or a lower bound.
    bounds : tuple of float, or None
        Proved bounds of `margin` where it is not exact and they are known.
    """

    expert: int
    name: str
    value: float
    price: float
    margin: float
    runner_up: int | None
    text: str = ""
    exact: bool = True
    bounds: Bounds = None


@dataclass(frozen=True)
class Alternative:
    """An expert that a client does not hold.

    Attributes
    ----------
    expert : int
        The expert.
    name : str
        How messages call it.
    value, price : float
        As in `HeldExpert`.
    missing : float
        The pair's fitness must rise (its cost fall) by more than this for the
        client to get the expert; infinite where no rise is enough.
    in_place_of : int or None
        What the client would then give up; None for nothing.
    price_cut : float or None
        The expert's price would have to be lower by this, all other prices as
        they are, for the client to want it; 0 where it is indifferent. None where no price
        suffices, or prices prove nothing.
    slot_suffices : bool or None
        Whether the client gets the expert in a best answer where the expert's
        upper load bound is one higher.
    text : str
        The same in a sentence.
    exact, slot_exact : bool
        Whether `missing`, and `slot_suffices`, are exact; else they are estimates at the prices.
    bounds : tuple of float, or None
        Proved bounds of `missing` where it is not exact and they are known.
    gain : float
        What the client itself would gain by the expert in place of `in_place_of`; where no
        answer has the pair, in place of what it values least, or 0 where that is not known.
    holders, places : int
        Holders of the expert, and its upper load bound; at most the number of clients.
    displaces : bool
        Whether the client could take the place of each holder, which then held nothing more, or
        what the client gives up; each gains at least `missing` more than the client then.
    """

    expert: int
    name: str
    value: float
    price: float
    missing: float
    in_place_of: int | None
    price_cut: float | None
    slot_suffices: bool
    text: str = ""
    exact: bool = True
    bounds: Bounds = None
    slot_exact: bool = True
    gain: float = 0.0
    holders: int = 0
    places: int = 0
    displaces: bool = False


class Wording:
    """Says what holds of the pairs of a problem.

    Parameters
    ----------
    problem : AlignmentProblem
        The problem.
    """

    def __init__(self, problem: AlignmentProblem) -> None:
        self.problem = problem
        maximises = problem.sense == "max"
        self.word = "fitness" if maximises else "cost"
        self.worse, self.better = ("lower", "higher") if maximises else ("higher", "lower")

    def held(self, part: HeldExpert) -> HeldExpert:
        """Return a held expert with its sentence."""
        text = self._pair(part)
        if math.isinf(part.margin):
            text += "; no answer without this pair exists"
        else:
            then = "nothing" if part.runner_up is None else self._name(part.runner_up)
            by = known(part.margin, part.exact, part.bounds)
            text += f"; {self.worse} by more than {by}, {then} takes its place"
        return replace(part, text=text)

    def alternative(self, part: Alternative) -> Alternative:
        """Return an expert that is not held with its sentence."""
        text = f"not {self._pair(part)}"
        if math.isinf(part.missing):
            text += "; no answer with this pair exists"
            link, is_so = ", but one", "does"
        else:
            given = part.in_place_of
            over = "" if given is None else f" in place of {self._name(given)}"
            by = known(part.missing, part.exact, part.bounds)
            text += f"; {self.better} by more than {by}, it is given{over}"
            link, is_so = "; so it", "is"
        if part.slot_suffices:
            likely = "" if part.slot_exact else "likely "
            text += f"{link} {likely}{is_so} with one more slot for the expert"
        return replace(part, text=text)

    def _pair(self, part: HeldExpert | Alternative) -> str:
        return f"{part.name}: {self.word} {amount(part.value)}, price {amount(part.price)}"

    def _name(self, expert: int) -> str:
        return self.problem.expert_name(expert)


@dataclass(frozen=True)
class Evidence:
    """Whose scores the fitness of a pair rests on; the rest is its prior.

    Attributes
    ----------
    expert : int
        The expert.
    name : str
        How messages call it.
    own : float
        Weight of the client's own scores.
    others : tuple of (str, float)
        Clients alike and the weights of their scores, the largest first. A weight is negative
        where a score above what was expected speaks against the pair.
    """

    expert: int
    name: str
    own: float
    others: tuple[tuple[str, float], ...]

    @property
    def text(self) -> str:
        """The same in a sentence."""
        shown = [f"{name} {weight:.0%}" for name, weight in self.others[:SHOWN]]
        rest = self.others[SHOWN:]
        if rest:
            total = sum(weight for _, weight in rest)
            shown.append(f"{counted(len(rest), 'more client')} {total:.0%}")
        return f"{self.name}: own scores count {self.own:.0%}" + (
            f"; of clients alike, {listing(shown)}" if shown else "")


@dataclass(frozen=True)
class ClientExplanation(Told):
    """Why a client holds what it holds.

    Attributes
    ----------
    client : int
        The client.
    name : str
        How messages call it.
    held : tuple of HeldExpert
        What it holds, by expert.
    alternatives : tuple of Alternative
        Allowed experts that it does not hold, the nearest first.
    forbidden : int
        Experts that it may not hold.
    value : float
        What it has, switching costs included, in the problem's own sense.
    alone : float
        What it could have if loads did not matter: its best set within its
        slots, groups, budgets and floor.
    regret : float
        What it forgoes for the others, the difference of both, >= 0.
    slot_worth : float
        What one more slot for this client would add to the optimum.
    minimum_worth : float
        What a ``min_experts`` lower by one would add.
    exact : bool
        Whether all margins and worths are exact.
    notes : tuple of str
        What is to be known of these numbers.
    budget_worth : mapping of str to float
        What the client's budget of each resource costs: what it would add to have none.
    estimates : tuple of str
        Which of these worths are estimates, as ``"slot_worth"`` or ``"budget_worth.seconds"``.
    sense : {"max", "min"}
        Whether values are fitness or cost.
    evidence : tuple of Evidence
        Of what it holds: whose scores counted. Empty where fitness was not learnt from
        clients' features, as for any `explain` but an aligner's.

    Examples
    --------
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1, load_max=1)
    >>> view = al.explain(problem, al.solve(problem), client=1)
    >>> view.value, view.regret, [part.expert for part in view.held]
    (2.5, 0.0, [1])
    """

    client: int
    name: str
    held: tuple[HeldExpert, ...]
    alternatives: tuple[Alternative, ...]
    forbidden: int
    value: float
    alone: float
    regret: float
    slot_worth: float
    minimum_worth: float
    exact: bool
    notes: tuple[str, ...] = ()
    budget_worth: Mapping[str, float] = field(default_factory=dict)
    estimates: tuple[str, ...] = ()
    sense: Literal["max", "min"] = "max"
    evidence: tuple[Evidence, ...] = ()

    def summary(self) -> str:
        """Return what is said of the client, without its experts, one sentence a line."""
        names = [part.name for part in self.held]
        lines = [f"{self.name} holds {listing(names) if names else 'nothing'}, "
                 f"worth {amount(self.value)}",
                 f"alone it could have {amount(self.alone)}; it forgoes {amount(self.regret)} "
                 f"for the others"]
        lines.append(f"one more slot would be worth {self._known('slot_worth', self.slot_worth)}")
        if self.minimum_worth:
            less = self._known("minimum_worth", self.minimum_worth)
            lines.append(f"a minimum lower by one would be worth {less}")
        lines += [
            f"no budget of {name} would be worth {self._known(f'budget_worth.{name}', worth)}"
            for name, worth in self.budget_worth.items() if worth > 0
        ]
        if self.forbidden:
            lines.append(f"{counted(self.forbidden, 'expert')} forbidden to it")
        return "\n".join(lines)

    def table(self) -> Table:
        """Return what the client holds and does not hold, as heads and rows of text."""
        names = {part.expert: part.name for part in self.held}
        names |= {part.expert: part.name for part in self.alternatives}

        def other(expert: int | None, margin: float) -> str:
            return "" if math.isinf(margin) else "nothing" if expert is None else names[expert]

        rows = [(part.name, "held", amount(part.value), amount(part.price),
                 spelled(part.margin, part.exact, part.bounds),
                 other(part.runner_up, part.margin), "")
                for part in self.held]
        rows += [(part.name, "", amount(part.value), amount(part.price),
                  spelled(part.missing, part.exact, part.bounds),
                  other(part.in_place_of, part.missing),
                  mark(part.slot_exact) + ("yes" if part.slot_suffices else "no"))
                 for part in self.alternatives]
        heads = ("expert", "", "value", "price", "changes beyond", "exchanged for",
                 "with one slot")
        return heads, rows

    def _details(self) -> list[str]:
        lines = [part.text for part in self.held]
        lines += [part.text for part in self.alternatives[:SHOWN]]
        more = len(self.alternatives) - SHOWN
        if more > 0:
            lines.append(f"and {counted(more, 'expert')} farther away")
        return lines + [part.text for part in self.evidence]

    def _for_owner(self) -> list[str]:
        held = [part.name for part in self.held]
        lines = [f"{capital(bare(self.name))} trains {experts(held) if held else 'no expert'}."]
        least = ROUNDING * max((abs(part.value) for part in self.alternatives), default=0.0)
        better = sorted((part for part in self.alternatives if part.gain > least),
                        key=lambda part: -part.gain)
        unit = "fitness" if self.sense == "max" else "cost"
        lines += [_passed_over(part, unit) for part in better[:NAMED]]
        if not better:
            lines.append(_none_better(self, unit, least))
        without = {f"budget_worth.{name}": (f"Without its limit on {name}", worth)
                   for name, worth in self.budget_worth.items()}
        without["slot_worth"] = "With room for one expert more,", self.slot_worth
        lines += [f"{what} all together would gain {self._about(name)}{rounded(worth)} in {unit}."
                  for name, (what, worth) in without.items() if worth > least]
        if self.forbidden:
            lines.append(f"It may not train {counted(self.forbidden, 'expert')}.")
        return lines


def _none_better(found: ClientExplanation, unit: str, least: float) -> str:
    """Return what is said where no plan with another expert gives a client more."""
    if found.regret <= least:
        return "No other expert would suit it better."
    line = f"Other experts would suit it better by {rounded(found.regret)} in {unit}, but no "
    if all(math.isinf(part.missing) for part in found.alternatives):
        return f"{line}plan within all limits gives it those."
    return f"{line}best plan with one of them gives it more."


def _passed_over(part: Alternative, unit: str) -> str:
    """Return why a client does not get an expert that would suit it better."""
    name = capital(bare(part.name))
    line = f"{name} would suit it better by {rounded(part.gain)} in {unit}, but "
    low = part.missing if part.exact or part.bounds is None else part.bounds[0]
    more = rounded(low, down=True)
    about = "" if part.exact or part.bounds is not None else "about "
    if math.isinf(part.missing):
        return f"{line}no plan within all limits gives it that one."
    if part.holders < part.places:
        return f"{line}that would cost the others at least {about}{more} more than it gains."
    if part.displaces and part.exact:
        much = "as much" if more == "0" else f"at least {more} more"
        return f"{line}its {places(part.places)} went to clients who gain {much}."
    taken = "is taken; giving it away" if part.places == 1 else "are taken; giving one away"
    much = "gain all together nothing" if more == "0" else (
        f"cost all together {about or 'at least '}{more}")
    return f"{line}its {places(part.places)} {taken} would {much}."
