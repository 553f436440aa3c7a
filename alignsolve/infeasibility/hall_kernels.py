"""The compiled count of what clients can hold of a set of experts.

Within its own bounds client i can hold at most ::

    min( sum_g min(a_g, high_g),  high - sum_g max(0, low_g - a_g) )

experts of a set S, where a_g counts the allowed experts of S in group g: either
the groups' upper bounds limit it, or its slots, less what the groups' lower
bounds claim outside S.
"""

# Compiled functions are typed by numba, from their arguments.
# mypy: disallow-untyped-decorators=False

from __future__ import annotations

from typing import Any

import numpy as np

from alignsolve.kernels import kernel


@kernel
def most_of_set(count: Any, client_high: Any, group_low: Any, group_high: Any) -> Any:
    """Return how many experts of a set each client can hold, int64 (n,), from int32 counts a_g."""
    most = np.empty(count.shape[0], np.int64)
    for i in range(count.shape[0]):
        inside, outside = 0, 0
        for g in range(count.shape[1]):
            inside += min(count[i, g], group_high[i, g])
            outside += max(0, group_low[i, g] - count[i, g])
        most[i] = min(inside, client_high[i] - outside)
    return most
