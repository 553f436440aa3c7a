"""The problems that users have, made from a seed: the same bit for bit on every machine.

`FAMILIES` lists what there is; `generate` makes a problem. A family, a seed
and parameters are a spec; `alignsolve.io.specs` keeps specs in TOML files with
the digest of the problem, so that a difference would not go unnoticed. See
`alignsolve.generators.draws` for the arithmetic that this rests on.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from alignsolve.errors import ProblemError
from alignsolve.generators import bounds, fitness, fleets, gap, layers
from alignsolve.generators.family import MAX_PAIRS, Family, Parameter, Value
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.text import nearest

__all__ = ["FAMILIES", "MAX_PAIRS", "Family", "Parameter", "Value", "find_family", "generate"]

#: Every family, by name.
FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.name: family
        for module in (fitness, fleets, layers, bounds, gap)
        for family in module.FAMILIES
    }
)


def find_family(name: str) -> Family:
    """Return the family of a name.

    Raises
    ------
    ProblemError
        If there is none; the message names the nearest.
    """
    if not isinstance(name, str) or name not in FAMILIES:
        hint = nearest(str(name), FAMILIES)
        raise ProblemError(f"there is no family {str(name)[:60]!r}; {hint}")
    return FAMILIES[name]


def generate(
    family: str, *, seed: int = 0, streamed: bool = False, **parameters: Value
) -> AlignmentProblem:
    """Return the problem of a family, a seed and parameters.

    Parameters
    ----------
    family : str
        A key of `FAMILIES`.
    seed : int, default 0
        0 to 2**63 - 1.
    streamed : bool, default False
        Whether fitness is a source that makes its rows whenever they are read,
        in place of an array: for problems too large for memory, of the families
        whose ``rows`` are made one by one. It is the same problem, of the same
        digest.
    **parameters
        See ``FAMILIES[family].parameters``; those not given have their
        defaults.

    Returns
    -------
    AlignmentProblem
        The same on every machine, bit for bit. Its fitness is float32 unless
        a parameter says otherwise; types of the gap families are float64.

    Raises
    ------
    ProblemError
        If the family or a parameter is unknown, or a value is out of range.

    Notes
    -----
    O(n m) time and memory, up to sorting a client's experts; O(n + m) memory and
    a block of rows where it is streamed.

    Examples
    --------
    >>> from alignsolve.generators import generate
    >>> generate("skewed", seed=1, clients=1000, experts=64)
    AlignmentProblem(1000 clients x 64 experts, max, float32, class flow: a flow of client \
slots with load bounds)
    """
    return find_family(family).generate(seed, parameters, streamed)
