"""Prices of the loads for a greedy construction, learnt from a sample of the clients."""

from __future__ import annotations

import numpy as np

from alignsolve.backends.greedy.params import WorkBudget
from alignsolve.backends.greedy.state import State
from alignsolve.backends.greedy.take import Takers
from alignsolve.model.arrays import Float64Array
from alignsolve.standard_form import best_load

#: Share of a load that counts as none left.
DONE = 1e-9


def learn_prices(
    state: State, rng: np.random.Generator, start: Float64Array | None, budget: WorkBudget
) -> Float64Array:
    """Return prices of the loads at which clients ask for about what experts may take.

    Parameters
    ----------
    state : State
        Empty, and left so.
    rng : numpy.random.Generator
        Draws the samples of clients.
    start : float64 array, shape (n_experts,), optional
        Earlier prices of a holder.
    budget : WorkBudget
        Charged; ends the work early.

    Returns
    -------
    prices : float64 array, shape (n_loads, n_experts)
        Price of a unit of each load, max sense.

    Notes
    -----
    The price of a load rises while a sample of the clients asks for more than
    its share of the bound and falls while it asks for less, by steps that
    shrink. The prices only guide the construction; they prove nothing.
    """
    params, prices = state.params, np.zeros_like(state.amount)
    if start is not None:
        prices[0] = start
    if not _loads_matter(state):
        return prices
    entries_per_client = state.n_experts * max(1.0, float(np.median(state.slot_high)))
    size = min(state.n_clients, int(max(32, params.sample_entries / entries_per_client)))
    sample = np.sort(rng.choice(state.n_clients, size, replace=False))
    whole = state.weight.sum(axis=1)
    share = np.where(whole > 0, state.weight[:, sample].sum(axis=1) / np.maximum(whole, 1e-300), 1)
    usual = _usual_load(state)[:, None]
    reach = 2 * _usual_spread(state) / state.load_unit[:, None]
    step = reach / 8 * (1.0 if start is None else params.later_step)
    takers, endless = Takers(state, sample), np.full_like(prices, np.inf)
    for _ in range(params.load_rounds):
        takers.take(prices, endless, budget)
        demand = state.amount / np.where(share > 0, share, 1)[:, None]
        state.clear(sample)
        if budget.is_spent():
            # What a part of them asks for tells nothing.
            break
        excess = (demand - _supply(state, prices, demand)) / usual
        prices = _moved(state, prices, step * np.clip(excess, -1, 1))
        prices = prices + params.shift_part * _common_shift(state, prices, demand, reach)
        step = step * params.step_decay
    return prices


def _moved(state: State, prices: Float64Array, step: Float64Array) -> Float64Array:
    """Return prices after a step; where a bound only just binds, its price rests at zero."""
    moved = prices + step
    return np.where((state.slope == 0) & (prices * moved < 0), 0.0, moved)


def _common_shift(
    state: State, prices: Float64Array, demand: Float64Array, reach: Float64Array
) -> Float64Array:
    """Return by how much all prices of a load must move for supply to meet demand in total.

    Slots that are filled at any price make the total demand blind to a common
    shift, which the experts' own steps would find only slowly.
    """
    low, high = -reach, reach
    total = demand.sum(axis=1, keepdims=True)
    for _ in range(state.params.shift_halvings):
        middle = (low + high) / 2
        short = _supply(state, prices + middle, demand).sum(axis=1, keepdims=True) < total
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    reached = (low > -reach) & (high < reach)
    return np.where(reached, (low + high) / 2, 0.0)


def add_in_turn(
    state: State, prices: Float64Array, rng: np.random.Generator, budget: WorkBudget
) -> Float64Array:
    """Let clients add experts block after block, at prices that follow what is left.

    Parameters
    ----------
    state : State
        Empty; changed in place.
    prices : float64 array, shape (n_loads, n_experts)
        Prices of the loads to begin with.
    rng : numpy.random.Generator
        Draws the order of the clients.
    budget : WorkBudget
        Charged; ends the work early.

    Returns
    -------
    prices : float64 array, shape (n_loads, n_experts)
        Prices at the end.

    Notes
    -----
    After every block prices rise where the loads are on the way beyond the bounds, and
    fall where they stay below, so that what is still to come makes up for it. Blocks
    shrink, and so does what the last ones leave.
    """
    usual, step = _usual_load(state)[:, None], _usual_spread(state) / state.load_unit[:, None]
    whole, params = np.maximum(state.weight.sum(axis=1), 1e-300), state.params
    order = rng.permutation(state.n_clients)
    done, start = np.zeros(len(whole)), 0
    while start < order.size and not budget.is_spent():
        size = max(params.turn_clients, int((order.size - start) * params.turn_share))
        size = min(size, params.turn_entries // state.n_experts + 1)
        rows = np.sort(order[start : start + size])
        start += rows.size
        before = state.amount.copy()
        most = most_at(state, prices)
        takers = Takers(state, rows)
        takers.take(prices, most, budget)
        takers.swap(prices, most, budget)
        takers.take(prices, most, budget)
        part = state.weight[:, rows].sum(axis=1) / whole
        done += part
        left = (1 - done)[:, None]
        coming = (state.amount - before) / np.maximum(part, 1e-300)[:, None]
        final = state.amount + coming * left
        excess = (final - _supply(state, prices, final)) / usual / np.maximum(left, DONE)
        # Loads of which nothing is to come, but for rounding, keep their prices.
        change = np.where(left > DONE, params.turn_step * step * np.clip(excess, -1, 1), 0.0)
        prices = _moved(state, prices, change)
    return prices


def most_at(state: State, prices: Float64Array) -> Float64Array:
    """Return the loads up to which experts gain by clients at the given prices."""
    unit = state.load_unit[:, None]
    soft = np.ceil(_supply(state, prices, state.high) / unit) * unit
    return np.where(state.slope > 0, np.minimum(soft, state.high), state.high)


def _loads_matter(state: State) -> bool:
    """Tell whether any expert's bound or penalty can matter."""
    most = state.weight.sum(axis=1)[:, None]
    return bool((state.low > 0).any() or (state.high < most).any() or state.slope.any())


def _usual_load(state: State) -> Float64Array:
    """Return the mean load per expert if every client fills its slots, (n_loads,)."""
    slots: Float64Array = np.minimum(state.slot_high, state.n_experts).astype(np.float64)
    return np.asarray(np.maximum(state.weight @ slots / state.n_experts, state.load_unit / 8))


def _usual_spread(state: State) -> float:
    """Return the median of the clients' spreads of values, or a substitute where it is 0."""
    values = state.values[:512].astype(np.float64)
    spread = values.max(axis=1) - np.where(values > -np.inf, values, np.inf).min(axis=1)
    spread = spread[np.isfinite(spread) & (spread > 0)]
    return float(np.median(spread)) if spread.size else state.strain / 10


def _supply(state: State, prices: Float64Array, demand: Float64Array) -> Float64Array:
    """Return the loads that the experts would take at the given prices."""
    best = best_load(prices, state.slope, state.target, state.low, state.high)
    # Without a price and a penalty any load is as good as another.
    free = (state.slope == 0) & (prices == 0)
    return np.where(free, np.clip(demand, state.low, state.high), best)
