"""Why a problem has no answer: a small set of bounds that cannot hold together."""

from alignsolve.conflict.bounds import Bound, Conflict, ConflictCheck
from alignsolve.conflict.find import check_conflict, find_conflict

__all__ = ["Bound", "Conflict", "ConflictCheck", "check_conflict", "find_conflict"]
