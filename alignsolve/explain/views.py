"""What is said of a client, of an expert and of a whole answer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from alignsolve.model.arrays import Float64Array
from alignsolve.model.text import counted, listing, number

#: Entries of a list that texts show.
SHOWN = 5


def amount(value: float) -> str:
    """Spell an amount of fitness in six digits."""
    return number(float(f"{value:.6g}"))


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
    price : float or None
        Price of a holder of the expert; None where not known.
    margin : float or None
        The pair's fitness may fall (its cost rise) by less than this before
        another answer without the pair is better; infinite where none exists.
        None where that cannot be said.
    runner_up : int or None
        What the client would hold in its place then; None for nothing.
    text : str
        The same in a sentence.
    """

    expert: int
    name: str
    value: float
    price: float | None
    margin: float | None
    runner_up: int | None
    text: str


@dataclass(frozen=True)
class Alternative:
    """An expert that a client does not hold.

    Attributes
    ----------
    expert : int
        The expert.
    name : str
        How messages call it.
    value, price : float, float or None
        As in `HeldExpert`.
    missing : float or None
        The pair's fitness must rise (its cost fall) by more than this for the
        client to get the expert; infinite where no rise is enough.
    in_place_of : int or None
        What the client would then give up; None for nothing.
    price_cut : float or None
        The expert's price would have to be lower by this, all other prices as
        they are, for the client to want it; 0 where it is indifferent.
    slot_suffices : bool or None
        Whether the client gets the expert in a best answer where the expert's
        upper load bound is one higher.
    text : str
        The same in a sentence.
    """

    expert: int
    name: str
    value: float
    price: float | None
    missing: float | None
    in_place_of: int | None
    price_cut: float | None
    slot_suffices: bool | None
    text: str


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
class ClientExplanation:
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
        slots and groups. Budgets and floors are not looked at, so that for the
        mip class it may be out of reach.
    regret : float
        What it forgoes for the others, the difference of both, >= 0.
    slot_worth : float or None
        What one more slot for this client would add to the optimum.
    minimum_worth : float or None
        What a ``min_experts`` lower by one would add.
    exact : bool
        Whether margins and worths are exact.
    notes : tuple of str
        What cannot be said, and why.
    evidence : tuple of Evidence
        Of what it holds: whose scores counted. Empty where fitness was not learnt from
        clients' features, as for any `explain` but an aligner's.
    """

    client: int
    name: str
    held: tuple[HeldExpert, ...]
    alternatives: tuple[Alternative, ...]
    forbidden: int
    value: float
    alone: float
    regret: float
    slot_worth: float | None
    minimum_worth: float | None
    exact: bool
    notes: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()

    def summary(self) -> str:
        """Return what is said of the client, without its experts, one sentence a line."""
        names = [part.name for part in self.held]
        lines = [f"{self.name} holds {listing(names) if names else 'nothing'}, "
                 f"worth {amount(self.value)}",
                 f"alone it could have {amount(self.alone)}; it forgoes {amount(self.regret)} "
                 f"for the others"]
        if self.slot_worth is not None:
            lines.append(f"one more slot would be worth {amount(self.slot_worth)}")
        if self.minimum_worth:
            lines.append(f"a minimum lower by one would be worth {amount(self.minimum_worth)}")
        if self.forbidden:
            lines.append(f"{counted(self.forbidden, 'expert')} forbidden to it")
        return "\n".join(lines)

    def text(self) -> str:
        """Return the explanation in sentences, one a line."""
        lines = [self.summary(), *(part.text for part in self.held)]
        lines += [part.text for part in self.alternatives[:SHOWN]]
        more = len(self.alternatives) - SHOWN
        if more > 0:
            lines.append(f"and {counted(more, 'expert')} farther away")
        lines += [part.text for part in self.evidence]
        return _with_notes(lines, self.notes)


@dataclass(frozen=True)
class Contender:
    """A client that holds an expert, or nearly does.

    Attributes
    ----------
    client : int
        The client.
    name : str
        How messages call it.
    value : float
        Fitness (or cost) of the pair, in the problem's own sense.
    margin : float or None
        By how much its fitness may fall (cost rise) before it loses the expert;
        for one that does not hold it, must rise before it gets it.
    """

    client: int
    name: str
    value: float
    margin: float | None


@dataclass(frozen=True)
class ExpertExplanation:
    """Why an expert has the holders it has.

    Attributes
    ----------
    expert : int
        The expert.
    name : str
        How messages call it.
    load : int
        Its holders.
    load_min, load_max : int
        Its bounds on holders, rounded inward; at most the number of clients.
    price : float or None
        Price of a holder, in the problem's own sense.
    wanted : int
        Clients that would hold it if loads did not matter.
    slot_worth : float or None
        What an upper load bound higher by one would add to the optimum.
    slot_loss : float or None
        What an upper load bound lower by one would cost; infinite where no
        answer were left.
    minimum_worth : float or None
        What a lower load bound lower by one would add.
    next_holder : Contender or None
        Who would take the further slot, in one best answer; None where it is
        not known, or the slot is worth nothing.
    weakest : tuple of Contender
        Holders, those nearest to losing it first.
    nearest : tuple of Contender
        Others, those nearest to getting it first.
    exact : bool
        Whether margins and worths are exact.
    notes : tuple of str
        What cannot be said, and why.
    """

    expert: int
    name: str
    load: int
    load_min: int
    load_max: int
    price: float | None
    wanted: int
    slot_worth: float | None
    slot_loss: float | None
    minimum_worth: float | None
    next_holder: Contender | None
    weakest: tuple[Contender, ...]
    nearest: tuple[Contender, ...]
    exact: bool
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """Return what is said of the expert, without clients, one sentence a line."""
        lines = [f"{self.name} has {counted(self.load, 'holder')}, {self.load_min} to "
                 f"{self.load_max} allowed; {self.wanted:,} would hold it if loads did not matter"]
        if self.price is not None:
            lines.append(f"price of a holder: {amount(self.price)}")
        if self.slot_worth is not None:
            to = "" if self.next_holder is None else f", and go to {self.next_holder.name}"
            lines.append(f"one more slot would be worth {amount(self.slot_worth)}{to}")
        if self.slot_loss:
            loss = ("leave no answer" if math.isinf(self.slot_loss)
                    else f"cost {amount(self.slot_loss)}")
            lines.append(f"one slot fewer would {loss}")
        if self.minimum_worth:
            lines.append(f"a minimum lower by one would be worth {amount(self.minimum_worth)}")
        return "\n".join(lines)

    def text(self) -> str:
        """Return the explanation in sentences, one a line."""
        lines = [self.summary()]
        for parts, state, change in (
            (self.weakest, "held", "losing"), (self.nearest, "not held", "getting")
        ):
            lines += [
                f"{state} by {part.name} ({amount(part.value)}), {_by(part.margin)} from "
                f"{change} it"
                for part in parts[:SHOWN]
                if part.margin is not None
            ]
        return _with_notes(lines, self.notes)


def _with_notes(lines: list[str], notes: tuple[str, ...]) -> str:
    return "\n".join([*lines, *(f"note: {note}" for note in notes)])


def _by(margin: float) -> str:
    return "infinitely far" if math.isinf(margin) else amount(margin)


@dataclass(frozen=True, eq=False)
class Explanation:
    """What an answer as a whole gives up, and for which bounds.

    Attributes
    ----------
    objective_value : float
        Objective, in the problem's own sense.
    total : float
        Sum of the pairs' values, switching costs included and penalties not.
    free : float
        The same where loads do not matter: every client's best set within its
        slots and groups. For the mip class no answer may reach it, because
        budgets and floors are not looked at.
    balance : float
        Price of balance: the fitness given up for the bounds and penalties of
        loads, the difference of both, >= 0 (for the mip class: at most this).
    prices : float64 array, shape (n_experts,), or None
        Price of a holder of each expert, in the problem's own sense.
    slot_worth, minimum_worth : float64 array, shape (n_experts,), or None
        What one unit more of each upper load bound, and less of each lower
        one, would add to the optimum.
    client_slot_worth : float64 array, shape (n_clients,), or None
        What one more slot of each client would add.
    regret : float64 array, shape (n_clients,)
        What each client forgoes for the others, >= 0.
    expert_names : tuple of str
        How messages call the experts.
    exact : bool
        Whether the worths are exact.
    notes : tuple of str
        What cannot be said, and why.
    """

    objective_value: float
    total: float
    free: float
    balance: float
    prices: Float64Array | None = field(repr=False)
    slot_worth: Float64Array | None = field(repr=False)
    minimum_worth: Float64Array | None = field(repr=False)
    client_slot_worth: Float64Array | None = field(repr=False)
    regret: Float64Array = field(repr=False)
    expert_names: tuple[str, ...] = field(repr=False)
    exact: bool
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """Return what balance costs, one sentence a line."""
        share = f", {self.balance / abs(self.free):.2%} of it" if self.free else ""
        lines = [
            f"objective {amount(self.objective_value)}; the pairs are worth {amount(self.total)}",
            f"without bounds and penalties of loads they could be worth {amount(self.free)}",
            f"price of balance: {amount(self.balance)}{share}",
        ]
        if self.client_slot_worth is not None and self.client_slot_worth.size:
            gains = self.client_slot_worth
            lines.append(f"one more slot for a client would be worth {amount(gains.min())} to "
                         f"{amount(gains.max())}, on average {amount(gains.mean())}")
        return "\n".join(lines)

    def text(self) -> str:
        """Return the explanation in sentences, one a line."""
        lines = [self.summary()]
        for worth, what in (
            (self.slot_worth, "one more slot for {} would be worth {}"),
            (self.minimum_worth, "a minimum lower by one for {} would be worth {}"),
        ):
            if worth is not None:
                best = [j for j in (-worth).argsort(kind="stable")[:SHOWN] if worth[j] > 0]
                lines += [what.format(self.expert_names[j], amount(worth[j])) for j in best]
        return _with_notes(lines, self.notes)
