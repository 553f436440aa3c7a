"""The state of the tree search for generalized assignment: what may still be held, and a trail."""

from __future__ import annotations

from collections import namedtuple

from alignsolve.kernels import kernel

#: Entries of `State.control`.
DEPTH, TRAIL, NODES = 0, 1, 2

#: A search for an answer, of n clients and m experts. What is given: `values` and `size` (n, m),
#: and the experts that each client may hold at the root, `member[start[i] : start[i + 1]]`.
#: The node: `allowed` (n, m) marks pairs that may be held, `domain` (m,) counts an expert's,
#: `owner` (m,) is the client of a fixed expert, else -1, `left` (n,) the capacity beside what
#: is fixed, and `prices` (m,) are the experts'. The nodes above: `path` (depth, 5) lists client,
#: expert, side (1: give, 0: ban), whether it is the second side, and the trail's length;
#: `path_prices` (depth, m) their prices. `trail` (n_pairs + m,) is what was done, to be taken
#: back; `control` (3,) has depth, length of the trail, nodes so far. `answer` (m,) gets the
#: client of each expert, where an answer is found.
State = namedtuple(
    "State",
    "values size start member allowed domain owner left prices path path_prices trail control "
    "answer",
)


@kernel(called=False)
def remove(state, i, j):
    """Ban a pair, fixing the expert's last one; return whether the node can live."""
    allowed, domain, left, trail = state.allowed, state.domain, state.left, state.trail
    m = domain.size
    if allowed[i, j] == 0:
        return True
    if state.owner[j] >= 0:
        return False
    allowed[i, j] = 0
    domain[j] -= 1
    trail[state.control[TRAIL]] = i * m + j
    state.control[TRAIL] += 1
    if domain[j] == 0:
        return False
    if domain[j] == 1:
        last = 0
        while allowed[last, j] == 0:
            last += 1
        state.owner[j] = last
        left[last] -= state.size[last, j]
        trail[state.control[TRAIL]] = -(j + 1)
        state.control[TRAIL] += 1
        return left[last] >= 0
    return True


@kernel(exact=False)
def keep_only(state, i, j):
    """Give an expert to a client; return whether the node can live."""
    for other in range(state.left.size):
        if other != i and state.allowed[other, j] and not remove(state, other, j):
            return False
    return state.allowed[i, j] == 1


@kernel(called=False)
def take_back(state, mark):
    """Take back what was done since the trail had a length."""
    m = state.domain.size
    while state.control[TRAIL] > mark:
        state.control[TRAIL] -= 1
        code = state.trail[state.control[TRAIL]]
        if code < 0:
            j = -code - 1
            state.left[state.owner[j]] += state.size[state.owner[j], j]
            state.owner[j] = -1
        else:
            state.allowed[code // m, code % m] = 1
            state.domain[code % m] += 1
