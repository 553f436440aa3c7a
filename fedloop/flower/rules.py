"""What tells the expert of a parameter by its name, and how much a client counts in an expert."""

from __future__ import annotations

import re
from collections.abc import Callable

import alignsolve as al

#: The expert that a parameter belongs to, by its name; None where all clients share it.
NamingRule = Callable[[str], int | None]

#: How much a client counts in an expert, or for None in what all share.
Weight = Callable[[al.ClientReport, int | None], float]


def numbered(pattern: str, per_layer: int | None = None) -> NamingRule:
    r"""Return the rule that reads an expert's number out of a parameter's name.

    Parameters
    ----------
    pattern : str
        A regular expression, searched for in the name. Its last group is the
        expert's number; with two groups the first is its layer's.
    per_layer : int, optional
        Experts of a layer, needed with two groups: expert j of layer l is number
        ``l * per_layer + j``.

    Examples
    --------
    >>> rule = numbered(r"layers\.(\d+)\.experts\.(\d+)\.", per_layer=8)
    >>> rule("layers.1.experts.3.up.weight"), rule("layers.1.norm.weight")
    (11, None)
    """
    compiled = re.compile(pattern)
    if compiled.groups not in (1, 2) or (compiled.groups == 2) != (per_layer is not None):
        raise ValueError(f"{pattern!r} has {compiled.groups} groups; give one, or two and "
                         "per_layer")

    def rule(name: str) -> int | None:
        match = compiled.search(name)
        if match is None:
            return None
        numbers = [int(group) for group in match.groups()]
        return numbers[-1] if per_layer is None else numbers[0] * per_layer + numbers[1]

    return rule


def weight_by(weighting: str) -> Weight:
    """Return the weight that settings name."""
    def weight(report: al.ClientReport, expert: int | None) -> float:
        if expert is None:
            return float(report.samples)
        seen = report.experts.get(expert)
        if seen is None or weighting == "mean":
            return float(seen is not None)
        usage = seen.gate_usage if weighting == "usage" else None
        return float(seen.samples) * (1.0 if usage is None else usage)

    return weight
