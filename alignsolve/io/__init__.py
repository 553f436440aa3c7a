"""Read and write problems and solutions; every format has its own file here.

Limits: text files up to 2 GiB (JSON 256 MiB), at most ten million clients or
experts, and at most 1,000 cells of the matrix for each pair that a file lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from alignsolve.errors import ProblemError
from alignsolve.io.files import fail, located
from alignsolve.io.formats import FORMATS, detect, for_writing
from alignsolve.io.solution import Solution, read_solution, write_solution
from alignsolve.model.problem import AlignmentProblem

__all__ = [
    "FORMATS",
    "Solution",
    "instance_format",
    "read_instance",
    "read_instances",
    "read_solution",
    "write_instance",
    "write_solution",
]


def read_instances(
    path: str | Path, sense: str | None = None, columns: Mapping[str, str] | None = None
) -> list[AlignmentProblem]:
    r"""Read the problems of a file, whatever its format.

    Parameters
    ----------
    path : path
        JSON, npz, CSV, Parquet, TOML (a generator's spec), DIMACS, an
        OR-Library assignment file, or a matrix of fitness in ``.npy`` or Arrow.
        The suffix decides, else the content. Texts may be compressed with gzip.
    sense : {"max", "min"}, optional
        For files that do not say, as generalized assignment files: whether
        their values are to be maximised or minimised.
    columns : mapping of str to str, optional
        For tables, what they call a column where it is not its name here, as in
        ``{"fitness": "score", "client": "phone"}``.

    Returns
    -------
    problems : list of AlignmentProblem
        One or more.

    Raises
    ------
    ProblemError
        Naming file, place and what is wrong, in one line.

    Examples
    --------
    A table whose columns have other names:

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import alignsolve as al
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "scores.csv")
    ...     size = path.write_text("phone,expert,score\na,0,3\na,1,1\n")
    ...     problems = al.read_instances(path, columns={"client": "phone", "fitness": "score"})
    >>> problems[0].client_ids, problems[0].fitness.tolist()
    (('a',), [[3.0, 1.0]])
    """
    if sense not in (None, "max", "min"):
        raise ProblemError(f"sense is {sense!r}; give 'max', 'min' or None")
    found = detect(path, columns or {})
    if not found.reads:
        fail(path, f"has format {found.name.upper()}, which is written for other solvers but not "
                   f"read")
    read = found.function("read")
    if columns and not found.takes_columns:
        fail(path, f"has format {found.name}, which has no columns to name; give tables (CSV, TSV "
                   f"or Parquet)")
    more = {"columns": columns} if columns else {}
    with located(path):
        problems = read(path, sense, **more) if found.asks_sense else read(path)
    problems = problems if isinstance(problems, list) else [problems]
    if sense is not None and problems[0].sense != sense:
        fail(path, f"says itself that its sense is {problems[0].sense!r}; drop sense {sense!r}")
    return problems


def read_instance(
    path: str | Path, sense: str | None = None, columns: Mapping[str, str] | None = None
) -> AlignmentProblem:
    """Read the one problem of a file.

    Parameters
    ----------
    path, sense, columns
        See `read_instances`.

    Returns
    -------
    problem : AlignmentProblem
        The problem.

    Raises
    ------
    ProblemError
        Also if the file holds several problems.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1, load_max=1)
    >>> with TemporaryDirectory() as folder:
    ...     al.write_instance(problem, f"{folder}/fleet.npz")
    ...     again = al.read_instance(f"{folder}/fleet.npz")
    >>> again.fitness.tolist(), again.load_max.tolist()
    ([[3.0, 1.0], [2.0, 2.5]], [1.0, 1.0])
    """
    problems = read_instances(path, sense, columns)
    if len(problems) > 1:
        fail(path, f"holds {len(problems)} problems; use read_instances and choose one")
    return problems[0]


def write_instance(problem: AlignmentProblem, path: str | Path) -> None:
    """Write a problem in the format of the suffix.

    Parameters
    ----------
    problem : AlignmentProblem
        What to write.
    path : path
        ``.json`` and ``.npz`` keep everything; ``.csv``, ``.tsv`` and
        ``.parquet`` write a table of pairs and two tables beside it; ``.min``
        (DIMACS), ``.mps`` and ``.lp`` are for other solvers.

    Raises
    ------
    ProblemError
        If the file cannot be written, or its format cannot hold the problem.

    Notes
    -----
    The file appears under its name only when it is complete.

    Examples
    --------
    For another solver, here as a linear model:

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1, load_max=1)
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "fleet.lp")
    ...     al.write_instance(problem, path)
    ...     print(path.read_text().splitlines()[3])
     objective: + 3.0 x_0_0 + 1.0 x_0_1 + 2.0 x_1_0 + 2.5 x_1_1
    """
    if not isinstance(problem, AlignmentProblem):
        raise ProblemError(f"problem is {type(problem).__name__}; give an AlignmentProblem")
    if problem.streamed:
        fail(path, f"a problem over a source ({problem.fitness!r}) is not written: its fitness is "
                   f"never there as a whole; keep the spec or the files that it is read from")
    for_writing(path).function("write")(problem, path)


def instance_format(path: str | Path, columns: Mapping[str, str] | None = None) -> str:
    """Return the name of a file's format, as in `FORMATS`; `columns` as in `read_instances`.

    Raises
    ------
    ProblemError
        If the file cannot be read, or is in no known format.
    """
    return detect(path, columns or {}).name
