"""What the commands share: finding the problem, printing, and exit codes."""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from alignsolve.cli.streams import STANDARD, read_from
from alignsolve.errors import AlignSolveError, BackendError, ProblemError
from alignsolve.io import Solution, read_instances, read_solution
from alignsolve.io.native_json import plain
from alignsolve.machine.memory import lack_of_memory
from alignsolve.model.arguments import SETTABLE
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.text import listing

#: Exit codes.
DONE, FAILED, BAD_INPUT, NOTHING_FOUND, INTERRUPTED = 0, 1, 2, 3, 130


def split_index(file: str, index: int | None) -> tuple[str, int | None]:
    """Return the file and the problem's number of ``FILE#3``."""
    match = re.fullmatch(r"(.+)#(\d{1,9})", file, re.DOTALL)
    if match is None or Path(file).exists():
        return file, index
    if index is not None:
        raise ProblemError(f"{file} and --index {index} both choose a problem; give one")
    return match[1], int(match[2])


@dataclass(frozen=True)
class Chosen:
    """A problem that the arguments choose.

    Attributes
    ----------
    problem : AlignmentProblem
    path : str
        The file, without a number.
    number, total : int
        Which of how many problems of the file, from 1.
    """

    problem: AlignmentProblem
    path: str
    number: int
    total: int

    @property
    def label(self) -> str:
        """How to call the problem."""
        return f"{self.path}#{self.number}" if self.total > 1 else self.path


def open_problems(
    file: str, index: int | None, sense: str | None, settings: list[str] | None,
    columns: list[str] | None,
) -> list[Chosen]:
    """Return the problems that the arguments choose.

    Raises
    ------
    ProblemError
        If the file is malformed or holds no problem, the index is none of it, or a setting or
        the name of a column is wrong.
    """
    path, index = split_index(file, index)
    names = columns_of(columns)
    problems = read_from(path, lambda place: read_instances(place, sense, names))
    if not problems:
        raise ProblemError(f"{path}: holds no problem; give a file that holds one")
    if index is not None and not 1 <= index <= len(problems):
        raise ProblemError(f"{path}: there is no problem {index}; the file holds {len(problems)}")
    changes = settings_of(settings)
    return [Chosen(problem.replace(**changes) if changes else problem, path, number, len(problems))
            for number, problem in enumerate(problems, 1) if index in (None, number)]


def only_one(file: str, chosen: list[Chosen]) -> tuple[AlignmentProblem, str]:
    """Return the one problem chosen and its label, or raise `ProblemError` if there are several."""
    if len(chosen) != 1:
        raise ProblemError(f"{file}: holds {len(chosen)} problems; choose one with --index 1 to "
                           f"{len(chosen)}, or {file}#1")
    return chosen[0].problem, chosen[0].label


def open_solution(
    path: str, file: str, problem: AlignmentProblem, settings: list[str] | None
) -> tuple[AlignmentProblem, Solution, list[str]]:
    """Return a solution, its problem, and remarks on what of the problem it says.

    The problem is that of `file`, which has the settings of ``--set``, with the solution's.

    Raises
    ------
    ProblemError
        If the solution cannot be read, is for another problem, or was found with another value
        of a setting than ``--set`` gives.
    """
    if path == file == STANDARD:
        raise ProblemError("standard input holds one file; give the problem or the solution a name")
    solution = read_from(path, lambda place: read_solution(place, problem))
    given = settings_of(settings)
    for name, value in solution.settings.items():
        if given.get(name, value) != value:
            raise ProblemError(f"{path}: was found with {name}={value:g}, and --set gives "
                               f"{name}={given[name]:g}; drop --set {name}, or solve again")
    further = [f"{name}={value:g}" for name, value in solution.settings.items()
               if name not in given]
    remarks = [f"with {listing(further)}, as the solution says"] if further else []
    return solution.problem_of(problem), solution, remarks


def columns_of(texts: list[str] | None) -> dict[str, str]:
    """Return what ``--column`` says that tables call their columns."""
    return each_once("--column", texts, "NAME=COLUMN, such as fitness=score")


def settings_of(texts: list[str] | None) -> dict[str, float]:
    """Return what ``--set`` replaces."""
    found = {}
    form = f"NAME=VALUE with one of {', '.join(SETTABLE)}"
    for name, value in each_once("--set", texts, form, SETTABLE).items():
        try:
            found[name] = float(value)
        except ValueError:
            raise ProblemError(f"--set {f'{name}={value}'!r} does not give a number") from None
    return found


def each_once(
    what: str, texts: list[str] | None, form: str, known: Collection[str] = ()
) -> dict[str, str]:
    """Return names and values of texts ``NAME=VALUE``, with each name once."""
    found: dict[str, str] = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not (name and equals and (known or value)) or (known and name not in known):
            raise ProblemError(f"{what} {text!r} is not {form}")
        if name in found:
            raise ProblemError(f"{what} {name}=... is given twice; give one")
        found[name] = value
    return found


def version_option(program: str) -> Any:
    """Return the annotation of an option that prints the version and ends the program."""

    def tell(wanted: bool) -> None:
        if wanted:
            from alignsolve import __version__  # of this code, whatever was installed

            print_text(f"{program} {__version__}")
            raise typer.Exit

    return Annotated[
        bool, typer.Option("--version", callback=tell, is_eager=True, help="Print the version.")
    ]


def print_json(document: Mapping[str, Any]) -> None:
    """Print the one JSON document of a command."""
    print_text(json.dumps(plain(document), indent=1, allow_nan=False))


def report(json: bool, document: Mapping[str, Any], text: str) -> None:
    """Print the one JSON document of a command, or in its place what people read."""
    if json:
        print_json(document)
    else:
        print_text(text)


def print_text(text: str) -> None:
    """Print to standard output; what its encoding lacks is escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def note(text: str) -> None:
    """Print a remark to standard error, if that takes any."""
    with suppress(OSError):
        print(ascii(text)[1:-1] if not text.isprintable() else text, file=sys.stderr)


def run_app(
    app: Callable[..., Any], words: Sequence[str], program: str, package: str = ""
) -> int:
    """Run a program's commands; turn errors into a line and an exit code.

    Parameters
    ----------
    app : typer.Typer
        Its commands.
    words : sequence of str
        What follows its name.
    program : str
        This name.
    package : str
        What to install where a module is missing; without it, such an error is raised.
    """
    try:
        code = app(list(words), prog_name=program, standalone_mode=False)
        return code if isinstance(code, int) else DONE
    except click.exceptions.NoArgsIsHelpError:
        return BAD_INPUT  # the help is printed already
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        usage = f"; see {context.command_path} --help" if context else ""
        # typer and click both add the same hint.
        text = re.sub(r"( Did you mean [^?]*\?)\1", r"\1", error.format_message()).rstrip(".")
        message, code = f"{text[:1].lower()}{text[1:]}{usage}", BAD_INPUT
    except click.Abort:  # some versions of typer make it of Ctrl-C
        return INTERRUPTED
    except Exception as error:
        if package and isinstance(error, ModuleNotFoundError):
            message, code = f"{error.name} is missing: pip install '{package}'", BAD_INPUT
        else:
            message, code = ending(error)
    line = " ".join(message.split())
    note(f"error: {line}")
    if "--json" in words:
        print_text(json.dumps({"error": line}))  # one line, for readers of logs
    return code


def ending(error: Exception) -> tuple[str, int]:
    """Return the message and the exit code with which an error ends a command.

    What is neither ours, nor a lack of memory, nor the operating system's is raised again.
    """
    lack = lack_of_memory(error)
    if lack is not None and not isinstance(error, AlignSolveError):
        return f"the memory does not suffice{f': {lack}' if lack else ''}", NOTHING_FOUND
    if isinstance(error, AlignSolveError):
        lacking = lack is not None or isinstance(error, BackendError)
        return str(error), NOTHING_FOUND if lacking else BAD_INPUT
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}", BAD_INPUT
    raise error


@contextmanager
def noting_warnings() -> Iterator[None]:
    """Print warnings as remarks of one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        note(f"note: {warning.message}")
