"""Libraries of linear models in floats, which cannot be told to stop: HiGHS and SCIP."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

from alignsolve.backends.milp.float_scaling import FloatModel, scaled_model
from alignsolve.backends.milp.linear_model import LinearModel
from alignsolve.backends.milp.linear_solve import LinearSolver, ModelOutcome, Task
from alignsolve.interruptible import Calls, Tell
from alignsolve.model.arrays import BoolArray, Float64Array
from alignsolve.status import Limits

#: Whole columns up to which a search is expected to end within `alignsolve.interruptible.LONG`
#: seconds: `ortools-mip` proved generated fleets of 120 in less than one, and none of 320 in 15.
FEW_COLUMNS = 200


@dataclass(frozen=True, eq=False)
class FloatTask:
    """What a library is asked, here or in another process.

    Parameters
    ----------
    model : FloatModel
        What to maximise.
    is_integer : bool array, shape (n_columns,)
        Whether a column must be whole.
    limits : Limits
        As in `Task`, without what belongs to the caller's process. The deadline is good
        in others: ``time.perf_counter()`` is one clock for all.
    hint : float64 array, shape (n_columns,), or None
        A point to start from, in the library's units.
    max_nodes : int or None
        As in `Task`.
    """

    model: FloatModel
    is_integer: BoolArray
    limits: Limits
    hint: Float64Array | None
    max_nodes: int | None


class FloatLibrary(ABC):
    """A library, as `pickle` takes it.

    Attributes
    ----------
    source : str
        Its name and version.
    loose_sums : bool
        See `alignsolve.backends.milp.float_scaling.scaled_model`.
    """

    source: str
    loose_sums = False

    @abstractmethod
    def solve(self, tell: Tell | None, task: FloatTask) -> ModelOutcome:
        """Solve a model; tell outcomes on the way, where somebody listens."""


class FloatSolver(LinearSolver[FloatModel]):
    """A library as a solver of linear models: long searches are killed where they must end.

    Parameters
    ----------
    library : FloatLibrary
        What solves.
    gently : bool
        Whether a signal makes it return the best answer; it is killed after that.
    """

    def __init__(self, library: FloatLibrary, gently: bool = False) -> None:
        self.library, self.source = library, library.source
        self._calls = Calls(gently)

    def _rescaled(self, model: LinearModel) -> FloatModel:
        return scaled_model(model, loose_sums=self.library.loose_sums)

    def _solved(self, task: Task, scaled: FloatModel) -> ModelOutcome | None:
        limits = replace(task.limits, report=None, warm_start=None, warm_prices=None)
        hint = None if task.hint is None else scaled.scaled(task.hint)
        asked = FloatTask(scaled, task.model.is_integer, limits, hint, task.max_nodes)
        seconds = min(expected_seconds(task.model), limits.remaining())
        return self._calls(seconds, self.library.solve, asked)

    def stop(self, interrupted: bool) -> bool:
        """End the search, where it has a process of its own."""
        return self._calls.stop()

    def so_far(self, task: Task) -> ModelOutcome:
        """Return what the search told last."""
        told: ModelOutcome | None = self._calls.told
        return told or ModelOutcome()


def expected_seconds(model: LinearModel) -> float:
    """Return how long a search may take: nothing where columns are few, or without end."""
    return 0.0 if model.is_integer.sum() <= FEW_COLUMNS else math.inf
