"""Specs: a generated problem as a few lines of TOML, with the digest of what they make.

A spec holds no data and runs nothing: it names a family of
`alignsolve.generators`, a seed and parameters. With ``streamed = true`` the
problem's fitness is a source, made block by block whenever it is read: for
problems too large for memory, or to store. Its digest is that of the same
problem in memory. ::

    name = "uniform-small"
    family = "uniform"
    seed = 1
    sense = "max"
    digest = "sha256:..."
    best_known = 29.75
    best_bound = 29.75
    proved = true

    [parameters]
    clients = 20
    experts = 8
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignsolve.errors import ProblemError
from alignsolve.generators import Value, find_family
from alignsolve.io.files import fail, located, read_text, write_text
from alignsolve.io.schema import check_keys
from alignsolve.model.digest import problem_digest
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.text import one_line

#: Largest spec that is read, in bytes: it is a page of text.
MAX_SPEC_BYTES = 2**16

#: Keys that may be unknown.
_OPTIONAL = ("digest", "best_known", "best_bound")


@dataclass(frozen=True)
class Spec:
    """A generated problem, and what is known of it.

    Attributes
    ----------
    name : str
        What people call it.
    family : str
        A key of `alignsolve.generators.FAMILIES`.
    seed : int
        Seed, >= 0.
    parameters : mapping of str to int, float or str
        Parameters of the family; those missing have their defaults.
    digest : str or None
        `alignsolve.model.digest.problem_digest` of the problem.
    sense : {"max", "min"}
        The problem's sense.
    best_known, best_bound : float or None
        Objective of the best known answer, and the best proved bound.
    proved : bool
        Whether `best_known` is proved optimal or, where there is none, that
        the problem has no answer.
    note : str
        Anything else a reader should know.
    streamed : bool
        Whether the problem's fitness is a source, and never in memory as a whole.

    Raises
    ------
    ProblemError
        If a field is malformed. The family checks the parameters, in `build`.
    """

    name: str
    family: str
    seed: int
    parameters: Mapping[str, Value] = field(default_factory=dict)
    digest: str | None = None
    sense: str = "max"
    best_known: float | None = None
    best_bound: float | None = None
    proved: bool = False
    note: str = ""
    streamed: bool = False

    def __post_init__(self) -> None:
        for key, (valid, would_be_right) in _KEYS.items():
            value = getattr(self, key)
            if not (value is None and key in _OPTIONAL) and not valid(value):
                raise ProblemError(f"key {key!r} is {one_line(value)}; give {would_be_right}")

    @property
    def infeasible(self) -> bool:
        """Whether the problem is known to have no answer."""
        return self.proved and self.best_known is None

    def build(self, verify: bool = True) -> AlignmentProblem:
        """Return the problem.

        Parameters
        ----------
        verify : bool, default True
            Whether to compare its digest with the spec's, where there is one.

        Raises
        ------
        ProblemError
            If the family refuses the parameters, or the problem is not the
            one that the spec describes.
        """
        problem = find_family(self.family).generate(self.seed, self.parameters, self.streamed)
        if problem.sense != self.sense:
            raise ProblemError(f"spec {self.name!r} says sense {self.sense!r}, but family "
                               f"{self.family!r} makes problems of sense {problem.sense!r}")
        if verify and self.digest is not None:
            found = problem_digest(problem)
            if found != self.digest:
                raise ProblemError(
                    f"spec {self.name!r} says digest {self.digest}, but its family, seed and "
                    f"parameters make {found}; one of them was changed, or alignsolve was"
                )
        return problem


def new_spec(
    name: str, family: str, *, seed: int = 0, parameters: Mapping[str, Value] | None = None,
    note: str = "", streamed: bool = False,
) -> Spec:
    """Return the spec of a problem that is built once for its digest.

    Parameters
    ----------
    name, family, seed, parameters, note, streamed
        As in `Spec`. All parameters are written out, defaults included, so
        that a later change of a default does not change the problem.

    Raises
    ------
    ProblemError
        If the family refuses them.
    """
    complete = find_family(family).checked(parameters or {}, streamed)
    problem = find_family(family).generate(seed, complete, streamed)
    return Spec(name, family, seed, complete, problem_digest(problem), problem.sense, note=note,
                streamed=streamed)


def read(path: str | Path) -> AlignmentProblem:
    """Return the problem of a spec, which has the spec's digest."""
    return read_spec(path).build()


def read_spec(path: str | Path) -> Spec:
    """Read a spec; the problem is not built yet.

    Raises
    ------
    ProblemError
        Naming the file, and the key that is missing, unknown or wrong.
    """
    text = read_text(path, MAX_SPEC_BYTES)
    try:
        document = tomllib.loads(text)
    except ValueError as error:  # also numbers of too many digits
        fail(path, f"not TOML: {error}")
    except RecursionError:
        fail(path, "not a spec: nested too deeply")
    with located(path):
        check_keys("", document, _KEYS)
        for key in ("name", "family", "seed"):
            if key not in document:
                raise ProblemError(f"key {key!r} is missing; a spec has name, family, seed and "
                                   f"parameters")
        spec = Spec(**document)
        find_family(spec.family).checked(spec.parameters, spec.streamed)
    return spec


def write_spec(spec: Spec, path: str | Path) -> None:
    """Write a spec as TOML; the file appears under its name only when it is complete.

    Raises
    ------
    ProblemError
        If the file cannot be written.
    """
    write_text(path, [spec_text(spec)])


def spec_text(spec: Spec) -> str:
    """Return a spec as TOML."""
    lines = []
    for key in _KEYS:
        value = getattr(spec, key)
        left_out = value is None or value == "" or (key == "streamed" and not value)
        if key != "parameters" and not left_out:
            lines.append(f"{key} = {_toml(value)}")
    lines += ["", "[parameters]"]
    lines += [f"{_toml_key(key)} = {_toml(value)}" for key, value in spec.parameters.items()]
    return "\n".join(lines) + "\n"


def _toml(value: Value) -> str:
    """Return a value in TOML."""
    if isinstance(value, str):
        # JSON's escapes are TOML's, but that TOML wants DEL escaped too.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _toml_key(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else _toml(key)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not _is_bool(value) and abs(value) < 2**1023


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


#: Keys of a spec in the order in which they are written: a check, and what would be right.
_KEYS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_is_text, "a name of 1 to 200 printable characters"),
    "note": (
        lambda v: isinstance(v, str) and v.replace("\n", "").isprintable(),
        "a text of printable characters",
    ),
    "family": (_is_text, "the name of a family"),
    "seed": (
        lambda v: isinstance(v, int) and not _is_bool(v) and 0 <= v < 2**63,
        "a whole number from 0 to 2**63 - 1",
    ),
    "digest": (
        lambda v: isinstance(v, str) and re.fullmatch("sha256:[0-9a-f]{64}", v) is not None,
        '"sha256:" and 64 hexadecimal digits in lower case',
    ),
    "sense": (lambda v: v in ("max", "min"), '"max" or "min"'),
    "best_known": (_is_number, "a finite number, or leave the key out"),
    "best_bound": (_is_number, "a finite number, or leave the key out"),
    "proved": (_is_bool, "true or false"),
    "streamed": (_is_bool, "true or false"),
    "parameters": (lambda v: isinstance(v, dict), "a table of parameters"),
}
