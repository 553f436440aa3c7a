"""Best known values: the file ``OPTIMA.csv`` beside instances, or above them.

Its columns are ``file`` (relative to its own folder), ``problem`` (from 1),
``sense``, ``best_known``, ``best_bound`` and ``proved`` (yes or no).
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from alignsolve.errors import ProblemError
from alignsolve.io.files import fail, read_text
from alignsolve.model.text import one_line

NAME = "OPTIMA.csv"

#: How many folders above an instance are searched for the file, its own included.
_LEVELS = 3


@dataclass(frozen=True)
class Optimum:
    """What is known of one problem.

    Attributes
    ----------
    sense : {"max", "min"}
        The problem's sense.
    best_known, best_bound : float
        Value of the best known answer, and the best known bound; NaN where
        the file does not say.
    proved : bool
        Whether the best known answer is proved optimal.
    """

    sense: str
    best_known: float
    best_bound: float
    proved: bool


def find_optima(path: str | Path) -> dict[int, Optimum]:
    """Return what is known of the problems of an instance file, by number from 1.

    Parameters
    ----------
    path : path
        The instance file.

    Raises
    ------
    ProblemError
        If an ``OPTIMA.csv`` that lists the file is malformed.
    """
    target = Path(path).absolute()
    for folder in list(target.parents)[:_LEVELS]:
        table = folder / NAME
        if table.is_file():
            found = read_optima(table).get(target.relative_to(folder).as_posix())
            if found:
                return found
    return {}


def read_optima(path: str | Path) -> dict[str, dict[int, Optimum]]:
    """Return a whole ``OPTIMA.csv``: by file, then by problem number.

    Raises
    ------
    ProblemError
        Naming the line that is malformed.
    """
    reader = csv.DictReader(read_text(path).splitlines())
    found: dict[str, dict[int, Optimum]] = {}
    try:
        for row in reader:
            if row["sense"] not in ("max", "min"):
                fail(path, f"sense is {one_line(row['sense'])}; give max or min", reader.line_num)
            known, bound = (float(row[key] or "nan") for key in ("best_known", "best_bound"))
            if math.isinf(known):
                fail(path, "best_known is infinite; leave it empty", reader.line_num)
            found.setdefault(row["file"], {})[int(row["problem"])] = Optimum(
                row["sense"], known, bound, row["proved"] == "yes"
            )
    except ProblemError:
        raise
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        fail(path, f"not a table of optima: {one_line(error)[1:-1]}", reader.line_num)
    return found
