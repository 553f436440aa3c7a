"""The Lagrangian bound at a node of the tree search, and what each pair would cost it."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _client_items(values, size, allowed, left, owner, start, member, prices, i,
                  items, reduced):  # fmt: skip
    """List a client's free items of positive reduced value; return how many, and what is fixed."""
    count, fixed = 0, 0.0
    for q in range(start[i], start[i + 1]):
        j = member[q]
        if allowed[i, j] == 0:
            continue
        r = values[i, j] - prices[j]
        if owner[j] == i:
            fixed += r
        elif r > 0.0 and size[i, j] <= left[i]:
            items[count] = j
            reduced[count] = r
            count += 1
    return count, fixed


@njit(cache=True, nogil=True)
def _knapsack(size, i, items, reduced, count, cap, chosen, taken, table):
    """Return the best value of some items within a capacity; mark it in `chosen`."""
    ratio = np.empty(count)
    for t in range(count):
        s = size[i, items[t]]
        ratio[t] = -np.inf if s == 0 else -reduced[t] / s
    order = np.argsort(ratio)
    # The relaxation, and the greedy set beside it.
    left, bound, greedy, greedy_left, u = cap, 0.0, 0.0, cap, 0.0
    broken = count
    for at in range(count):
        t = order[at]
        s = size[i, items[t]]
        chosen[t] = False
        if broken == count:
            if s <= left:
                left -= s
                bound += reduced[t]
            else:
                broken = at
                u = reduced[t] / s
                bound += u * left
        if s <= greedy_left:
            greedy_left -= s
            greedy += reduced[t]
    # Undecided items go to the front of `order`.
    left, value, n_core = cap, 0.0, 0
    for at in range(count):
        t = order[at]
        s = size[i, items[t]]
        loss = reduced[t] - u * s if at < broken else u * s - reduced[t]
        if bound - loss >= greedy - 1e-12 * bound:
            order[n_core] = t
            n_core += 1
        elif at < broken:
            chosen[t] = True
            left -= s
            value += reduced[t]
    table[: left + 1] = 0.0
    for q in range(n_core):
        t = order[q]
        s, r = size[i, items[t]], reduced[t]
        taken[q, : min(s, left + 1)] = False
        for c in range(left, s - 1, -1):
            better = table[c - s] + r > table[c]
            taken[q, c] = better
            if better:
                table[c] = table[c - s] + r
    c = left
    for q in range(n_core - 1, -1, -1):
        if taken[q, c]:
            t = order[q]
            chosen[t] = True
            value += reduced[t]
            c -= size[i, items[t]]
    return value


@njit(cache=True, nogil=True)
def evaluate(values, size, allowed, left, owner, start, member, prices, holders, worth,
              items, reduced, chosen, taken, table):  # fmt: skip
    """Return the bound at prices; write holders, and each client's value."""
    m = prices.size
    total = 0.0
    for j in range(m):
        total += prices[j]
        holders[j] = 1 if owner[j] >= 0 else 0
    for i in range(left.size):
        count, fixed = _client_items(
            values, size, allowed, left, owner, start, member, prices, i, items, reduced
        )
        worth[i] = _knapsack(size, i, items, reduced, count, left[i], chosen, taken, table)
        total += fixed + worth[i]
        for t in range(count):
            if chosen[t]:
                holders[items[t]] += 1
    return total


@njit(cache=True, nogil=True)
def write_losses(values, size, allowed, left, owner, start, member, prices, worth, items, reduced,
            without, with_it, before, after):  # fmt: skip
    """Write what each free pair's ban, and its fixing, costs its client."""
    for i in range(left.size):
        count, _ = _client_items(
            values, size, allowed, left, owner, start, member, prices, i, items, reduced
        )
        c = left[i]
        before[0, : c + 1] = 0.0
        after[count, : c + 1] = 0.0
        for t in range(count):
            _add_item(before[t], before[t + 1], size[i, items[t]], reduced[t], c)
        for t in range(count - 1, -1, -1):
            _add_item(after[t + 1], after[t], size[i, items[t]], reduced[t], c)
        for q in range(start[i], start[i + 1]):
            j = member[q]
            if allowed[i, j] and owner[j] < 0:
                s = size[i, j]
                without[i, j] = 0.0
                with_it[i, j] = np.inf
                if s <= c:
                    rest = before[count][c - s]
                    with_it[i, j] = max(0.0, worth[i] - (rest + values[i, j] - prices[j]))
        for t in range(count):
            j = items[t]
            s = size[i, j]
            best_without, best_with = 0.0, 0.0
            for split in range(c + 1):
                best_without = max(best_without, before[t, split] + after[t + 1, c - split])
            for split in range(c - s + 1):
                best_with = max(best_with, before[t, split] + after[t + 1, c - s - split])
            without[i, j] = max(0.0, worth[i] - best_without)
            with_it[i, j] = max(0.0, worth[i] - (best_with + reduced[t]))


@njit(cache=True, nogil=True)
def _add_item(table, result, size, value, cap):
    """Write the table of best values by capacity with one item more."""
    for c in range(min(size, cap + 1)):
        result[c] = table[c]
    for c in range(size, cap + 1):
        result[c] = max(table[c], table[c - size] + value)


@njit(cache=True, nogil=True)
def table_shape(size, left, owner, start):
    """Return rows and columns that the tables of any client need."""
    most, width = 1, 1
    for i in range(left.size):
        most = max(most, start[i + 1] - start[i])
        total = left[i]
        for j in range(owner.size):
            if owner[j] == i:
                total += size[i, j]
        width = max(width, total)
    return most + 1, width + 1


@njit(cache=True, nogil=True)
def write_answer(values, size, allowed, left, owner, start, member, prices, taken, width, answer):
    """Write who holds each expert in the responses to prices."""
    m = prices.size
    items, reduced = np.empty(m, np.int64), np.empty(m)
    chosen, table = np.empty(m, np.bool_), np.empty(width)
    answer[:] = owner
    for i in range(left.size):
        count, _ = _client_items(
            values, size, allowed, left, owner, start, member, prices, i, items, reduced
        )
        _knapsack(size, i, items, reduced, count, left[i], chosen, taken, table)
        for t in range(count):
            if chosen[t]:
                answer[items[t]] = i
