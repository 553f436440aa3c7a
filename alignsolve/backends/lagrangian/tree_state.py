"""The state of the tree search for generalized assignment: what may still be held, and a trail.

`allowed` (n, m) marks pairs that may be held, `domain` (m,) counts an expert's, `owner`
(m,) names the client of a fixed expert, else -1, and `left` (n,) is the capacity beside
what is fixed. `trail` lists what was done, `control` its length among others.
"""

from __future__ import annotations

from numba import njit

#: Entries of `control`.
DEPTH, TRAIL, NODES = 0, 1, 2


@njit(cache=True, nogil=True)
def remove(allowed, size, domain, left, owner, trail, control, i, j):
    """Ban a pair, fixing the expert's last one; return whether the node can live."""
    m = domain.size
    if allowed[i, j] == 0:
        return True
    if owner[j] >= 0:
        return False
    allowed[i, j] = 0
    domain[j] -= 1
    trail[control[TRAIL]] = i * m + j
    control[TRAIL] += 1
    if domain[j] == 0:
        return False
    if domain[j] == 1:
        last = 0
        while allowed[last, j] == 0:
            last += 1
        owner[j] = last
        left[last] -= size[last, j]
        trail[control[TRAIL]] = -(j + 1)
        control[TRAIL] += 1
        return left[last] >= 0
    return True


@njit(cache=True, nogil=True)
def keep_only(allowed, size, domain, left, owner, trail, control, i, j):
    """Give an expert to a client; return whether the node can live."""
    for other in range(allowed.shape[0]):
        if (
            other != i
            and allowed[other, j]
            and not remove(allowed, size, domain, left, owner, trail, control, other, j)
        ):
            return False
    return allowed[i, j] == 1


@njit(cache=True, nogil=True)
def take_back(allowed, size, domain, left, owner, trail, control, mark):
    """Take back what was done since the trail had a length."""
    m = domain.size
    while control[TRAIL] > mark:
        control[TRAIL] -= 1
        code = trail[control[TRAIL]]
        if code < 0:
            j = -code - 1
            left[owner[j]] += size[owner[j], j]
            owner[j] = -1
        else:
            allowed[code // m, code % m] = 1
            domain[code % m] += 1
