"""Why a problem has no answer: a small set of bounds that cannot hold together."""

from alignsolve.infeasibility.conflict import Conflict, ConflictCheck
from alignsolve.infeasibility.find import check_conflict, find_conflict
from alignsolve.model.bounds import Bound

__all__ = ["Bound", "Conflict", "ConflictCheck", "check_conflict", "find_conflict"]
