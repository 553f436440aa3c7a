"""The fast exact solver of the flow class: sampled prices, then exact exchanges.

`solve_exchange` works on arrays and knows nothing of the rest of alignsolve.
Importing this package imports neither numba nor the kernels; solving does.
"""

from alignsolve.backends.exchange.api import solve_exchange
from alignsolve.backends.exchange.outcome import ExchangeAnswer

__all__ = ["ExchangeAnswer", "solve_exchange"]
