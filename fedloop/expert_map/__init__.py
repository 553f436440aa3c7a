"""Which slice of which tensor belongs to which expert of a model: `ExpertMap`."""

from fedloop.expert_map.entries import Entry, Layer
from fedloop.expert_map.expert_map import ExpertMap

__all__ = ["Entry", "ExpertMap", "Layer"]
