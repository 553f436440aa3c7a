"""Feasibility relaxation of bounds that cannot hold together: least priced violation first."""

from alignsolve.elastic.violation_weights import Elastic
from alignsolve.relaxation import Relaxation

__all__ = ["Elastic", "Relaxation"]
