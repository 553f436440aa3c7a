"""Fitness that does not fit in memory: matrices read in blocks of rows.

`AlignmentProblem` takes a source wherever it takes an array of fitness.
"""

from alignsolve.model.sources.arrays import ArraySource, MappedSource
from alignsolve.model.sources.base import FitnessSource
from alignsolve.model.sources.factors import FactorSource
from alignsolve.model.sources.functions import FunctionSource
from alignsolve.model.sources.sparse import SparseSource
from alignsolve.model.sources.tables import TableSource

__all__ = [
    "ArraySource",
    "FactorSource",
    "FitnessSource",
    "FunctionSource",
    "MappedSource",
    "SparseSource",
    "TableSource",
]
