"""When ``auto`` lets others solve what kernels would, were they compiled: the ski-rental rule.

Others are asked until that has cost as much as it costs to compile; then kernels are compiled. So
no sequence of solves takes more than about twice as long as it would with foresight (A. R. Karlin
et al., Competitive snoopy caching, 1988, doi:10.1007/BF01762111).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(eq=False)
class Rent:
    """What a process has paid so far.

    Attributes
    ----------
    clock : callable
        Tells the time, in seconds.
    paid : dict of str to float
        Seconds for which others solved in place of each backend.
    """

    clock: Callable[[], float] = time.perf_counter
    paid: dict[str, float] = field(default_factory=dict)

    def left(self, name: str, price: float) -> float:
        """Return the seconds that others may still take until compiling, for a price, pays."""
        return max(0.0, price - self.paid.get(name, 0.0))

    def pay(self, name: str, seconds: float) -> None:
        """Note for how long another solved in place of a backend."""
        self.paid[name] = self.paid.get(name, 0.0) + seconds


def allowance(left: float, price: float, remaining: float) -> float:
    """Return the seconds that another solver may take in place of one that has to compile.

    Parameters
    ----------
    left : float
        What `Rent.left` returned.
    price : float
        Seconds to compile.
    remaining : float
        Seconds until the solve has to end: what cannot be compiled in them is not.
    """
    return left if price <= remaining else math.inf


#: What this process has paid.
RENT = Rent()
