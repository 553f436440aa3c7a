"""The Lagrangian bound at a node of the tree search, and what each pair would cost it."""

from __future__ import annotations

import numpy as np

from alignsolve.backends.lagrangian.knapsack import best_beside, best_knapsack, tabulate
from alignsolve.kernels import kernel
from alignsolve.kernels.values import copy_entries


@kernel
def _list_items(state, i, items):
    """List a client's free items that may be of use; return the value of what is fixed."""
    number, gain, need = items.number, items.value, items.size
    count, fixed = 0, 0.0
    for q in range(state.start[i], state.start[i + 1]):
        j = state.member[q]
        if state.allowed[i, j] == 0:
            continue
        reduced = state.values[i, j] - state.prices[j]
        if state.owner[j] == i:
            fixed += reduced
        elif reduced > 0.0 and state.size[i, j] <= state.left[i]:
            number[count], gain[count], need[count] = j, reduced, state.size[i, j]
            count += 1
    items.count[0] = count
    return fixed


@kernel(called=False)
def evaluate(state, items, holders):
    """Return the bound at the prices; write how many hold each expert."""
    total = 0.0
    for j in range(holders.size):
        total += state.prices[j]
        holders[j] = 1 if state.owner[j] >= 0 else 0
    for i in range(state.left.size):
        total += _list_items(state, i, items)
        total += best_knapsack(items, state.left[i])
        for t in range(items.count[0]):
            if items.chosen[t]:
                holders[items.number[t]] += 1
    return total


@kernel
def write_losses(state, i, items, without, with_it):
    """Write what each free pair's ban, and its fixing, costs a client."""
    _list_items(state, i, items)
    cap = state.left[i]
    table = tabulate(items, cap)
    for q in range(state.start[i], state.start[i + 1]):
        j = state.member[q]
        if state.allowed[i, j] and state.owner[j] < 0:
            without[i, j] = 0.0
            with_it[i, j] = np.inf
            size = state.size[i, j]
            if size <= cap:
                rest = table[cap - size] + state.values[i, j] - state.prices[j]
                with_it[i, j] = max(0.0, table[cap] - rest)
    for t in range(items.count[0]):
        j = items.number[t]
        without[i, j] = max(0.0, table[cap] - best_beside(items, t, cap))
        rest = best_beside(items, t, cap - items.size[t]) + items.value[t]
        with_it[i, j] = max(0.0, table[cap] - rest)


@kernel(called=False)
def write_answer(state, items):
    """Write who holds each expert in the responses to the prices."""
    copy_entries(state.owner, state.answer)
    for i in range(state.left.size):
        _list_items(state, i, items)
        best_knapsack(items, state.left[i])
        for t in range(items.count[0]):
            if items.chosen[t]:
                state.answer[items.number[t]] = i
