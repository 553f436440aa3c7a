"""What the commands share: finding the problem, printing, and exit codes."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from alignsolve.errors import ProblemError
from alignsolve.io import read_instances
from alignsolve.io.native_json import array_to_json
from alignsolve.model.problem import AlignmentProblem

#: Exit codes.
DONE, FAILED, BAD_INPUT, NOTHING_FOUND, INTERRUPTED = 0, 1, 2, 3, 130


class Sense(enum.StrEnum):
    """Values of ``--sense``."""

    MAX = "max"
    MIN = "min"


# Arguments are explained in the commands' docstrings: typer 0.20 drops their help under click 8.5.
FileArgument = Annotated[str, typer.Argument(metavar="FILE", show_default=False)]
IndexOption = Annotated[
    int | None, typer.Option("--index", metavar="K", show_default=False,
                             help="Which problem of a file with several, from 1.")
]
SenseOption = Annotated[
    Sense | None, typer.Option("--sense", show_default=False,
                               help="For files that do not say: maximise or minimise.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", show_default=False,
                                   help="Replace an argument of the problem by a number, such as "
                                        "max_experts=2. May be given several times.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document and nothing else on standard "
                                      "output.")
]

#: Arguments that ``--set`` replaces: those for which one number can stand.
SETTABLE = ("max_experts", "min_experts", "load_min", "load_max", "load_target", "load_penalty",
            "switch_cost")


def split_index(file: str, index: int | None) -> tuple[str, int | None]:
    """Return the file and the problem's number of ``FILE#3``."""
    match = re.fullmatch(r"(.+)#(\d{1,9})", file, re.DOTALL)
    if match is None or Path(file).exists():
        return file, index
    if index is not None:
        raise ProblemError(f"{file} and --index {index} both choose a problem; give one")
    return match[1], int(match[2])


def open_problems(
    file: str, index: int | None, sense: Sense | None, settings: list[str] | None
) -> list[tuple[AlignmentProblem, str]]:
    """Return the problems that the arguments choose, and how to call each.

    Raises
    ------
    ProblemError
        If the file is malformed, the index is none of it, or a setting is wrong.
    """
    path, chosen, total = chosen_problems(file, index, sense, settings)
    return [(problem, f"{path}#{number}" if total > 1 else path) for number, problem in chosen]


def chosen_problems(
    file: str, index: int | None, sense: Sense | None, settings: list[str] | None
) -> tuple[str, Iterator[tuple[int, AlignmentProblem]], int]:
    """Return the path, the numbered problems that the arguments choose, and how many it holds.

    Settings are applied to a problem when the iterator comes to it.
    """
    path, index = split_index(file, index)
    problems = read_instances(path, None if sense is None else sense.value)
    if index is not None and not 1 <= index <= len(problems):
        raise ProblemError(f"{path}: there is no problem {index}; the file holds {len(problems)}")
    changes = dict(_setting(text) for text in settings or [])
    numbers = range(1, len(problems) + 1) if index is None else (index,)
    chosen = ((number, problems[number - 1].replace(**changes) if changes else problems[number - 1])
              for number in numbers)
    return path, chosen, len(problems)


def open_problem(
    file: str, index: int | None, sense: Sense | None, settings: list[str] | None
) -> tuple[AlignmentProblem, str]:
    """Return the one problem that the arguments choose, and how to call it.

    Raises
    ------
    ProblemError
        As `open_problems`, and where several problems are left to choose from.
    """
    return only_one(file, open_problems(file, index, sense, settings))


def only_one(file: str, chosen: list[tuple[AlignmentProblem, str]]) -> tuple[AlignmentProblem, str]:
    """Return the one problem chosen, or raise `ProblemError` where there are several."""
    if len(chosen) != 1:
        raise ProblemError(f"{file}: holds {len(chosen)} problems; choose one with --index 1 to "
                           f"{len(chosen)}, or {file}#1")
    return chosen[0]


def _setting(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    if not equals or name not in SETTABLE:
        raise ProblemError(f"--set {text!r} is not NAME=VALUE with one of {', '.join(SETTABLE)}")
    try:
        return name, float(value)
    except ValueError:
        raise ProblemError(f"--set {text!r} does not give a number") from None


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: NaN becomes null, infinities "inf" and "-inf"."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(part) for part in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, (float, np.ndarray, np.generic)):
        return array_to_json(value)
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def print_json(document: Mapping[str, Any]) -> None:
    """Print the one JSON document of a command."""
    print_text(json.dumps(plain(document), indent=1, allow_nan=False))


def print_text(text: str) -> None:
    """Print to standard output; what its encoding lacks is escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def note(text: str) -> None:
    """Print a remark to standard error."""
    print(ascii(text)[1:-1] if not text.isprintable() else text, file=sys.stderr)


@contextmanager
def working(text: str, quiet: bool) -> Iterator[None]:
    """Show a spinner on a terminal while something takes its time."""
    from rich.console import Console

    console = Console(stderr=True)
    with nullcontext() if quiet or not console.is_terminal else console.status(text):
        yield


@contextmanager
def noting_warnings() -> Iterator[None]:
    """Print warnings as remarks of one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        note(f"note: {warning.message}")


def shown(value: float) -> str:
    """Spell a number for people; "unknown" for NaN."""
    return "unknown" if math.isnan(value) else f"{value:.12g}"
