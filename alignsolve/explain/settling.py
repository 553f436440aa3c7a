"""Explanations with their estimates settled, the nearest first, as far as time goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from alignsolve.explain.client_view import Alternative, ClientExplanation, HeldExpert, Wording
from alignsolve.explain.expert_view import Contender, ExpertExplanation
from alignsolve.explain.overall_view import Explanation
from alignsolve.explain.resolving import Known, Resolver, moved
from alignsolve.explain.wording import SHOWN

Explained = TypeVar("Explained", ClientExplanation, ExpertExplanation, Explanation)
Part = TypeVar("Part", HeldExpert, Alternative, Contender)


def settle(found: Explained, resolver: Resolver) -> Explained:
    """Return an explanation after solving again, as often as that helps and time allows."""
    by: dict[type, Callable[..., Any]] = {
        ClientExplanation: _client, ExpertExplanation: _expert, Explanation: _overall,
    }  # fmt: skip
    settled: Explained = by[type(found)](found, resolver)
    return settled


def _client(found: ClientExplanation, resolver: Resolver) -> ClientExplanation:
    """Return a client's explanation after solving again without what it holds, and with others.

    Notes
    -----
    A question for each held expert, alternative and worth, in order of nearness; each has an
    equal share of the time that is left, but no less than `resolving.ENOUGH_SECONDS` while there
    are any. Whether a further slot suffices takes others.
    """
    i, problem = found.client, resolver.problem
    wording = Wording(problem)
    worths = {"slot_worth": {"max_experts": moved(problem.max_experts, i, 1)}}
    if problem.min_experts[i] > 0:
        worths["minimum_worth"] = {"min_experts": moved(problem.min_experts, i, -1)}
    for name in found.budget_worth:
        budget = np.array(problem.resources[name].budget, dtype=np.float64)
        budget[i] = np.inf
        free = replace(problem.resources[name], budget=budget)
        worths[f"budget_worth.{name}"] = {"resources": {**problem.resources, name: free}}
    resolver.left = len(worths) + len(found.alternatives)
    resolver.left += sum(not part.exact for part in found.held)
    resolver.left += sum(not part.exact for part in found.alternatives)
    now = {f"budget_worth.{name}": worth for name, worth in found.budget_worth.items()}
    now |= {"slot_worth": found.slot_worth, "minimum_worth": found.minimum_worth}
    settled, estimates = _worths(resolver, worths, now)
    held = [wording.held(_without(part, i, resolver)) for part in found.held]
    others = [wording.alternative(_with(part, i, resolver)) for part in found.alternatives]
    others.sort(key=lambda part: part.missing)
    return replace(
        found, held=tuple(held), alternatives=tuple(others), estimates=estimates,
        budget_worth={name: settled.pop(f"budget_worth.{name}") for name in found.budget_worth},
        exact=not estimates and all(part.exact for part in held)
        and all(part.exact and part.slot_exact for part in others), **settled,
    )  # fmt: skip


def _expert(found: ExpertExplanation, resolver: Resolver) -> ExpertExplanation:
    """Return an expert's explanation after solving again with other bounds, and other holders.

    Notes
    -----
    Of the contenders the first `SHOWN` on either side are asked about; others stay estimates.
    """
    j = found.expert
    worths = _load_changes(resolver, j)
    first = (*found.weakest[:SHOWN], *found.nearest[:SHOWN])
    resolver.left = len(worths) + sum(not part.exact for part in first)
    now = {name: float(getattr(found, name))
           for name in ("slot_worth", "slot_loss", "minimum_worth")}
    settled, estimates = _worths(resolver, worths, now)

    def asked(
        parts: tuple[Contender, ...], ask: Callable[[int, int], Known | None]
    ) -> tuple[Contender, ...]:
        some = [_margin(part, "margin", resolver, None if part.exact else ask(part.client, j))
                for part in parts[:SHOWN]]
        return (*sorted(some, key=lambda part: part.margin), *parts[SHOWN:])

    weakest = asked(found.weakest, resolver.without)
    nearest = asked(found.nearest, resolver.with_pair)
    following = found.next_holder
    if following is not None:
        following = next((part for part in nearest if part.client == following.client), following)

    return replace(
        found, weakest=weakest, nearest=nearest, next_holder=following, estimates=estimates,
        exact=not estimates and all(part.exact for part in (*weakest, *nearest)), **settled,
    )  # fmt: skip


def _overall(found: Explanation, resolver: Resolver) -> Explanation:
    """Return an answer's explanation after solving again with other bounds of experts and slots.

    Notes
    -----
    A kind of worth is replaced only where all of it is settled.
    """
    problem = resolver.problem
    experts = [_load_changes(resolver, j) for j in range(problem.n_experts)]
    asked = {name: {j: part[name] for j, part in enumerate(experts) if name in part}
             for name in ("slot_worth", "minimum_worth")}
    asked["client_slot_worth"] = {i: {"max_experts": moved(problem.max_experts, i, 1)}
                                  for i in range(problem.n_clients)}
    resolver.left = sum(map(len, asked.values()))
    arrays, estimates = dict[str, Any](), []
    for name, changes in asked.items():
        values = np.zeros(getattr(found, name).size)
        for at, change in changes.items():
            worth = _worth(resolver, name, change)
            if worth is None or not worth.exact:
                estimates.append(name)
                break
            values[at] = worth.low
        else:
            arrays[name] = values
    return replace(found, **arrays, estimates=tuple(estimates), exact=not estimates)


def _load_changes(resolver: Resolver, j: int) -> dict[str, dict[str, Any]]:
    """Return the changes of an expert's bounds on holders that can matter, by what they tell.

    A bound that the answer does not reach may still cost something in the mip class: another
    answer may be better without it.
    """
    problem = resolver.problem
    low, high = problem.holder_bounds()
    found = {}
    if high[j] < problem.n_clients:
        found["slot_worth"] = {"load_max": moved(problem.load_max, j, 1)}
    if resolver.result.loads[j] == high[j]:
        # Where there is no bound, that of all clients is lowered.
        least = np.minimum(problem.load_max, high)
        found["slot_loss"] = {"load_max": moved(least, j, -1)}
    if low[j] > 0:
        found["minimum_worth"] = {"load_min": moved(problem.load_min, j, -1)}
    return found


def _worth(resolver: Resolver, name: str, change: dict[str, Any]) -> Known | None:
    """Return what a change of bounds gains, or, of a slot less, loses; None where not asked."""
    optimum = resolver.changed(**change)
    if optimum is None:
        return None
    if name == "slot_loss":
        return resolver.optimum.less(optimum)
    return optimum.less(resolver.optimum)


def _worths(
    resolver: Resolver, asked: dict[str, dict[str, Any]], now: dict[str, float]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return worths, 0 where nothing is asked, and the names of those that are not settled."""
    settled, estimates = {name: now[name] if name in asked else 0.0 for name in now}, []
    for name, change in asked.items():
        worth = _worth(resolver, name, change)
        if worth is not None and worth.exact:
            settled[name] = worth.low
        else:
            estimates.append(name)
    return settled, tuple(estimates)


def _margin(part: Part, name: str, resolver: Resolver, optimum: Known | None) -> Part:
    """Return a part with what the answer is worth more than an optimum, exact or bounded."""
    if optimum is None:
        return part
    lost = resolver.value.less(optimum)
    changes: dict[str, Any] = {"exact": lost.exact}
    if lost.exact:
        changes |= {name: lost.low, "bounds": None}
    else:
        estimate = min(max(getattr(part, name), lost.low), lost.high)
        changes |= {name: estimate, "bounds": (lost.low, lost.high)}
    return replace(part, **changes)


def _without(part: HeldExpert, client: int, resolver: Resolver) -> HeldExpert:
    """Settle what an answer without a held expert loses, and what its client then holds."""
    if part.exact:
        return part
    optimum = resolver.without(client, part.expert)
    new = _margin(part, "margin", resolver, optimum)
    if optimum is None or optimum.answer is None:
        return new
    taken = resolver.held(client, optimum.answer) - resolver.held(client)
    return replace(new, runner_up=resolver.best_of(client, taken))


def _with(part: Alternative, client: int, resolver: Resolver) -> Alternative:
    """Settle what an answer with another expert loses, and what its client gives up for it."""
    if part.exact:
        return _with_slot(part, client, resolver)
    optimum = resolver.with_pair(client, part.expert)
    new = _with_slot(_margin(part, "missing", resolver, optimum), client, resolver)
    if optimum is None or optimum.answer is None:
        return new
    then = resolver.held(client, optimum.answer) | {part.expert}
    before = resolver.held(client)
    gain = resolver.worth(client, then) - resolver.worth(client, before)
    return replace(new, in_place_of=resolver.best_of(client, before - then), gain=gain)


def _with_slot(part: Alternative, client: int, resolver: Resolver) -> Alternative:
    """Settle whether one more place of an expert gives it to the client in a best answer."""
    changes = _load_changes(resolver, part.expert).get("slot_worth")
    if changes is None:
        return replace(part, slot_suffices=False, slot_exact=True)
    more, now = resolver.changed(**changes), resolver.optimum
    if more is None or not (more.exact and now.exact):
        return part
    if not more.low > now.low + resolver.rounding:
        return replace(part, slot_suffices=False, slot_exact=True)
    given = resolver.with_pair(client, part.expert, **changes)
    if given is None or not given.exact:
        return part
    suffices = given.low >= more.low - resolver.rounding
    return replace(part, slot_suffices=suffices, slot_exact=True)
