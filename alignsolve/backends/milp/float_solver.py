"""Libraries of linear models in floats, which cannot be told to stop: HiGHS and SCIP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

from alignsolve.backends.milp.float_scaling import FloatModel, scaled_model
from alignsolve.backends.milp.linear_model import LinearModel
from alignsolve.backends.milp.linear_solve import LinearSolver, ModelOutcome, Task
from alignsolve.interruptible import Calls, Tell

#: Whole columns up to which a search is expected to end within `alignsolve.interruptible.LONG`
#: seconds: `ortools-mip` proved generated fleets of 120 in less than one, and none of 320 in 15.
FEW_COLUMNS = 200


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
    def solve(self, tell: Tell | None, task: Task[FloatModel]) -> ModelOutcome:
        """Solve a model, here or in another process.

        Tell outcomes on the way, where somebody listens. The deadline is good in other
        processes: ``time.perf_counter()`` is one clock for all.
        """


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

    def _solved(self, task: Task[FloatModel]) -> ModelOutcome | None:
        # What belongs to the caller's process stays here.
        limits = replace(task.limits, report=None, warm_start=None, warm_prices=None)
        few = task.model.is_integer.sum() <= FEW_COLUMNS
        return self._calls(0.0 if few else limits.remaining(), self.library.solve,
                           replace(task, limits=limits))

    def stop(self, interrupted: bool) -> bool:
        """End the search, where it has a process of its own."""
        return self._calls.stop()

    def so_far(self, task: Task[LinearModel]) -> ModelOutcome:
        """Return what the search told last."""
        told: ModelOutcome | None = self._calls.told
        return told or ModelOutcome()
