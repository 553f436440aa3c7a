"""Compiled depth-first search for a client's best set; see `multidimensional_knapsack`.

Experts come in segments: those of one row with a minimum, as a layer's, stand side by side. Of each
such segment a set needs one expert at least, so that what the segments to come take of a budget
is known before; and where a segment is passed over, its minimum ends the level at once.
"""

from __future__ import annotations

import numpy as np

from alignsolve.kernels import kernel


@kernel(called=False)
def find_segments(work, items, d):
    """Number the experts by the row with a minimum that they stand in; 0 for none.

    Rows that hold for all experts, have entries below 0 or share an expert with an earlier one
    tell no segments.
    """
    segment = work.segment
    segment[:items] = 0
    for i in range(d):
        if not work.cap[i] - work.room[i] > 0.0:
            continue
        inside, apart = 0, True
        for t in range(items):
            a = work.rows[i, t]
            inside += a > 0.0
            apart = apart and a >= 0.0 and (a == 0.0 or segment[t] == 0)
        if apart and inside < items:
            for t in range(items):
                if work.rows[i, t] > 0.0:
                    segment[t] = i + 1


@kernel(called=False)
def arrange(work, items, d, room):
    """Put experts within reach in order of segment and adjusted value; return how many.

    `room` is what the bound has above the value sought.
    """
    order, adjusted, segment = work.order, work.adjusted, work.segment
    count = 0
    for t in range(items):
        gain = adjusted[t]
        if gain <= -room:
            continue
        at = count
        while at > 0 and (segment[order[at - 1]] > segment[t] or (
            segment[order[at - 1]] == segment[t] and adjusted[order[at - 1]] < gain
        )):  # fmt: skip
            order[at] = order[at - 1]
            at -= 1
        order[at] = t
        count += 1
    work.rest[count] = 0.0
    for at in range(count - 1, -1, -1):
        t = order[at]
        same = at + 1 < count and segment[order[at + 1]] == segment[t]
        work.after[at] = work.after[at + 1] if same else at + 1
        work.worth[at], work.gain[at] = work.value[t], adjusted[t]
        work.rest[at] = work.rest[at + 1] + max(0.0, adjusted[t])
    for i in range(d):
        _bound_use(work, count, i)
    return count


@kernel
def _bound_use(work, count, i):
    """Write what experts take of a row at least and at most, from each place in the order on."""
    work.most[count, i] = 0.0
    # What segments to come take at least; of the present one the sum below 0, and the least.
    later, below, smallest = 0.0, 0.0, np.inf
    for at in range(count - 1, -1, -1):
        t = work.order[at]
        a = work.rows[i, t]
        work.size[at, i] = a
        work.most[at, i] = work.most[at + 1, i] + max(0.0, a)
        if work.after[at] == at + 1:
            below, smallest = 0.0, np.inf
        work.least[at, i] = later + below
        below += min(0.0, a)
        smallest = min(smallest, a)
        if at == 0 or work.segment[work.order[at - 1]] != work.segment[t]:
            later += smallest if work.segment[t] > 0 and smallest > 0.0 else below


@kernel
def _is_allowed(work, depth, d):
    """Tell whether the path's set keeps all rows."""
    for i in range(d):
        use = work.use[depth, i]
        if use > work.cap[i] or use < work.cap[i] - work.room[i]:
            return False
    return True


@kernel
def _reaches_minima(work, depth, t, d):
    """Tell whether the path's set can keep all minima with experts from place t on."""
    reaches = True
    for i in range(d):
        reaches = reaches and work.use[depth, i] + work.most[t, i] >= work.cap[i] - work.room[i]
    return reaches


@kernel
def _keep(work, depth, best):
    """Write the path's set."""
    best[:] = False
    for q in range(depth):
        best[work.item[work.order[work.path[q]]]] = True


@kernel(called=False)
def search(work, count, d, base, nodes, tie, plain, lean, best, least):
    """Search depth first for a set of more value than `least`.

    Returns the best value (-inf for none), a bound on all sets, and the nodes left. `base` is the
    bound less the gains of all that the prices take. A `lean` search, whose bound is none, takes
    no further expert of a segment that the prices would leave.
    """
    value, known, upper = -np.inf, least, -np.inf
    path, use, total, reach = work.path, work.use, work.total, work.reach
    depth, t = 0, 0
    total[0], reach[0] = 0.0, base
    for i in range(d):
        use[0, i] = 0.0
    if known < 0.0 and _is_allowed(work, 0, d):
        value = known = 0.0
        best[:] = False
    while True:
        # Later experts of a segment are worth less, so that a bound too low ends it.
        bound = reach[depth]
        while t < count:
            bound = reach[depth] + work.rest[t] + min(work.gain[t], 0.0)
            spare = lean and depth > 0 and work.gain[t] < 0.0 and t < work.after[path[depth - 1]]
            if bound > known + tie and not spare:
                break
            t = work.after[t]
        if t == count or nodes <= 0 or not (plain or _reaches_minima(work, depth, t, d)):
            if t < count and nodes <= 0:
                upper = max(upper, bound if work.after[t] == count else reach[depth] + work.rest[t])
            if depth == 0:
                break
            depth -= 1
            t = path[depth] + 1
            continue
        fits = True
        for i in range(d):
            use[depth + 1, i] = use[depth, i] + work.size[t, i]
            fits = fits and use[depth + 1, i] + work.least[t, i] <= work.cap[i]
        if fits:
            nodes -= 1
            path[depth] = t
            total[depth + 1] = total[depth] + work.worth[t]
            reach[depth + 1] = reach[depth] + work.gain[t]
            depth += 1
            if total[depth] > known and (plain or _is_allowed(work, depth, d)):
                value = known = total[depth]
                _keep(work, depth, best)
        t += 1
    return value, max(upper, known + tie), nodes
