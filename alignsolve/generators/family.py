"""What a family of problems is: a name, checked parameters, and a function that builds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from alignsolve.errors import ProblemError
from alignsolve.generators.draws import Draws, exact
from alignsolve.machine.memory import shortage
from alignsolve.model.arrays import FloatArray
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.sources.base import BLOCK_ENTRIES
from alignsolve.model.sources.functions import FunctionSource
from alignsolve.model.text import nearest, number

#: A parameter's value, as it stands in a spec.
Value = int | float | str

#: Most entries of a table that is made for a problem: 4 GiB of float32.
MAX_PAIRS = 2**30

#: Bytes for each pair that making a problem in memory takes, at least.
BYTES_PER_PAIR = 4


@dataclass(frozen=True)
class Parameter:
    """A parameter of a family.

    Attributes
    ----------
    name : str
        Name, as in specs and on the command line.
    default : int, float or str
        Its value where none is given; its type is the parameter's type.
    meaning : str
        What it is, in one phrase, with its unit.
    low, high : float
        Smallest and largest value.
    step : float
        Where not 0, values must be multiples of it.
    choices : tuple of str
        Allowed words of a parameter of type str.
    """

    name: str
    default: Value
    meaning: str
    low: float = 0
    high: float = 1e9
    step: float = 0
    choices: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """What would be right, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        kind = "a whole number" if isinstance(self.default, int) else "a number"
        multiple = f", a multiple of {self.step:g}" if self.step else ""
        return f"{kind} from {number(self.low)} to {number(self.high)}{multiple}"

    def checked(self, value: Any) -> Value:
        """Return `value` in the parameter's type, or raise `ProblemError`."""
        if isinstance(value, str) and value in self.choices:
            return value
        real = isinstance(self.default, float) and isinstance(value, (float, np.floating))
        if (not self.choices and (real or _is_whole(value)) and self.low <= value <= self.high
                and (not self.step or exact(float(value)) % exact(self.step) == 0)):
            return float(value) if isinstance(self.default, float) else int(value)
        raise ProblemError(f"{self.name} is {_shown(value)}; give {self.allowed}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _shown(value: object) -> str:
    """Spell an untrusted value on one short line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True)
class Family:
    """A family of problems.

    Attributes
    ----------
    name : str
        Name, as in specs and on the command line.
    description : str
        What its problems are, in a sentence.
    parameters : tuple of Parameter
        What can be chosen, beside the seed.
    build : callable
        Maps `Draws` and all parameters, checked, to a problem; with `rows`, it
        takes the fitness, an array or a source, after the draws.
    feasible : bool or None
        True where every problem has an answer by construction, False where
        none has, None where neither is promised.
    tables : tuple of tuple of str
        Sides of each table that is made, the fitness matrix first.
    rows : callable or None
        ``rows(draws, start, stop, **parameters)`` makes the fitness of clients
        `start` to `stop - 1`, where `start` is even: it skips the words that
        the clients before take. Families that have it can be streamed.
    """

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    build: Callable[..., AlignmentProblem]
    feasible: bool | None = True
    tables: tuple[tuple[str, ...], ...] = (("clients", "experts"),)
    rows: Callable[..., FloatArray] | None = None

    @property
    def defaults(self) -> dict[str, Value]:
        """Default of each parameter, by name."""
        return {parameter.name: parameter.default for parameter in self.parameters}

    def checked(self, parameters: Mapping[str, object], streamed: bool = False) -> dict[str, Value]:
        """Return all parameters, checked, with defaults where none is given.

        Raises
        ------
        ProblemError
            If a parameter is unknown or out of range, or there would be more
            than `MAX_PAIRS` pairs in memory, or the family cannot be streamed.
        """
        if streamed and self.rows is None:
            raise ProblemError(f"family {self.name!r} cannot be streamed: its clients are not made "
                               f"one by one; leave streamed out")
        by_name = {parameter.name: parameter for parameter in self.parameters}
        for name in parameters:
            if name not in by_name:
                hint = nearest(str(name), by_name)
                raise ProblemError(
                    f"family {self.name!r} has no parameter {_shown(str(name))}; {hint}"
                )
        try:
            values = {
                name: parameter.checked(parameters.get(name, parameter.default))
                for name, parameter in by_name.items()
            }
        except ProblemError as error:
            raise ProblemError(f"family {self.name!r}: {error}") from None
        for sides in () if streamed else self.tables:
            if math.prod(int(values[side]) for side in sides) > MAX_PAIRS:
                product = " x ".join(f"{values[side]:,} {side}" for side in sides)
                raise ProblemError(
                    f"family {self.name!r}: {product} are too many; give a product of at most "
                    f"{MAX_PAIRS:,}" + ("" if self.rows is None else ", or stream it")
                )
        return values

    def generate(
        self, seed: int, parameters: Mapping[str, object], streamed: bool = False,
        block_entries: int = BLOCK_ENTRIES,
    ) -> AlignmentProblem:
        """Return the family's problem of a seed and parameters; see `generate`.

        A streamed one is made in blocks of about `block_entries` values.
        """
        if not _is_whole(seed) or not 0 <= seed < 2**63:
            raise ProblemError(f"seed is {_shown(seed)}; give a whole number from 0 to 2**63 - 1")
        values = self.checked(parameters, streamed)
        draws = Draws(int(seed), (self.name,))
        pairs = 0 if streamed else math.prod(int(values[side]) for side in self.tables[0])
        if reason := shortage(BYTES_PER_PAIR * pairs):
            raise MemoryError(f"family {self.name!r}: {pairs:,} pairs: {reason}")
        try:
            if self.rows is None:
                return self.build(draws, **values)
            n, m = int(values["clients"]), int(values["experts"])
            rows = partial(self.rows, draws, **values)
            if not streamed:
                return self.build(draws, rows(0, n), **values)
            # Blocks start at even clients: a word is half of what the generator draws.
            block = 2 * max(1, block_entries // m // 2)
            source = FunctionSource(rows, (n, m), rows(0, 0).dtype, block)
            return self.build(draws, source, **values)
        except ProblemError as error:
            raise ProblemError(f"family {self.name!r}: {error}") from None


#: Parameters that many families have: meaning, smallest and largest value.
_STANDARD: dict[str, tuple[str, float, float]] = {
    "clients": ("number of clients", 1, 10_000_000),
    "experts": ("number of experts", 1, 65_536),
    "slots": ("most experts that a client may hold", 1, 1000),
    "balance": ("most holders of an expert, over the mean if all slots are filled", 0.01, 1000),
}


def standard(**defaults: Value) -> tuple[Parameter, ...]:
    """Return parameters that many families have, by name, with the family's defaults."""
    return tuple(Parameter(name, default, *_STANDARD[name]) for name, default in defaults.items())


def load_cap(clients: int, experts: int, slots: int, balance: float) -> int:
    """Return `balance` times the mean load if all fill their slots, rounded up."""
    return math.ceil(exact(balance) * Fraction(clients * min(slots, experts), experts))
