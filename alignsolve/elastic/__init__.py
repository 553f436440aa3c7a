"""Bounds that give way where they cannot hold together: least priced violation, then fitness."""

from alignsolve.elastic.violation_weights import Elastic
from alignsolve.relaxation import Relaxation

__all__ = ["Elastic", "Relaxation"]
