"""Bounds that give way where they cannot hold together: least priced violation, then fitness."""

from alignsolve.elastic.prices import Elastic
from alignsolve.elastic.relaxation import Relaxation

__all__ = ["Elastic", "Relaxation"]
