"""The fast exact solver of the flow class: sampled prices, then exact exchanges.

`solve_exchange` works on arrays and knows nothing of the rest of alignsolve.
Importing this package imports neither numba nor the kernels; solving does.
"""

from alignsolve.exchange.answer import ExchangeAnswer
from alignsolve.exchange.api import solve_exchange

__all__ = ["ExchangeAnswer", "solve_exchange"]
