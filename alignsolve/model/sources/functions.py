"""A user's function as a source."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from alignsolve.errors import ProblemError
from alignsolve.model.arrays import FloatArray, numeric
from alignsolve.model.sources.base import FitnessSource


class FunctionSource(FitnessSource):
    """Rows from a function of the first and the last client of a block.

    Parameters
    ----------
    function : callable
        ``function(start, stop)`` returns the rows of clients ``start`` to
        ``stop - 1``, shape ``(stop - start, n_experts)``; masked pairs are
        forbidden. It must return the same bits when asked again, and is called
        from several threads at once. Other processes get it by pickle.
    shape : tuple of int
        Clients and experts.
    dtype : dtype, default float32
        What the function returns: float32 or float64.
    block_rows : int, optional
        Rows of a block; default about 2**19 entries.

    Raises
    ------
    ProblemError
        If the function cannot be called, or the sizes make no sense.

    Notes
    -----
    The function is only ever called for whole blocks: asking for one row
    computes its block.

    Examples
    --------
    >>> import numpy as np
    >>> import alignsolve as al
    >>> def rows(start, stop):
    ...     return np.float32([[client % 3 == expert for expert in range(3)]
    ...                        for client in range(start, stop)])
    >>> source = al.FunctionSource(rows, (6, 3))
    >>> al.solve(al.AlignmentProblem(source, max_experts=1, load_max=2)).col_ind.tolist()
    [0, 1, 2, 0, 1, 2]
    """

    leaves_out = True

    def __init__(
        self, function: Callable[[int, int], FloatArray], shape: tuple[int, int],
        dtype: npt.DTypeLike = np.float32, block_rows: int | None = None,
    ) -> None:
        if not callable(function):
            raise ProblemError(f"function is {type(function).__name__}; give a callable")
        super().__init__(shape, dtype, block_rows=block_rows)
        self.function = function

    def block(self, k: int) -> FloatArray:
        """Return what the function says of block k."""
        block = self.function(int(self.edges[k]), int(self.edges[k + 1]))
        return numeric("cost" if self.absent > 0 else "fitness", block)
