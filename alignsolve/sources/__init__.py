"""Fitness that does not fit in memory: matrices read in blocks of rows.

`AlignmentProblem` takes a source wherever it takes an array of fitness.
"""

from alignsolve.sources.arrays import ArraySource, MappedSource
from alignsolve.sources.base import FitnessSource
from alignsolve.sources.factors import FactorSource
from alignsolve.sources.functions import FunctionSource
from alignsolve.sources.sparse import SparseSource
from alignsolve.sources.tables import TableSource

__all__ = [
    "ArraySource",
    "FactorSource",
    "FitnessSource",
    "FunctionSource",
    "MappedSource",
    "SparseSource",
    "TableSource",
]
