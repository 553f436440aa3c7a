"""Solution files: an answer, what is claimed of it, and the problem that it is for.

JSON holds everything; CSV, TSV and Parquet hold the pairs by their ids, for people and
spreadsheets. The digest of the problem tells a solution of another problem.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from alignsolve.certificate.best_responses import Multipliers
from alignsolve.elastic import Relaxation
from alignsolve.errors import ProblemError
from alignsolve.infeasibility import Conflict
from alignsolve.io.files import (
    fail,
    json_text,
    located,
    parse_json,
    read_text,
    write_text,
)
from alignsolve.io.native_json import array_from_json, ids_from_json, plain
from alignsolve.io.schema import (
    check_format,
    check_keys,
    declared_shape,
    expect,
    json_kind,
    stated,
)
from alignsolve.model.arguments import SETTABLE
from alignsolve.model.arrays import Float64Array, IntArray
from alignsolve.model.digest import problem_digest
from alignsolve.model.feasibility import sorted_pairs
from alignsolve.model.limits import MAX_JSON_BYTES
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.sources import FunctionSource
from alignsolve.model.text import one_line
from alignsolve.result import Result
from alignsolve.status import Status, Termination

FORMAT = "alignsolve-solution"

#: Suffixes of tables of pairs.
SUFFIXES = (".csv", ".tsv", ".parquet")

#: Version 2 has the key "relaxations", version 3 "settings" and ids. A file is written in the
#: lowest version that has its keys.
VERSION = 3

#: Where no argument of the problem was replaced.
NO_SETTINGS: Mapping[str, float] = types.MappingProxyType({})

#: Keys of a file, and what they hold of a solution, in the order in which they are written.
_ATTRIBUTES = {
    "status": "status", "termination": "termination", "objective": "objective_value",
    "bound": "dual_bound", "bound_kind": "bound_kind", "bound_source": "bound_source",
    "backend": "backend", "prices": "prices", "multipliers": "multipliers",
    "conflict": "conflict", "relaxations": "relaxations", "row_ind": "row_ind",
    "col_ind": "col_ind",
}
#: Attributes whose form is checked against the problem.
_CHECKED = ("prices", "row_ind", "col_ind")
_FURTHER = ("settings", "client_ids", "expert_ids")
_KEYS = ("format", "version", "problem", "n_clients", "n_experts", *_FURTHER, *_ATTRIBUTES)


@dataclass(frozen=True, eq=False)
class Solution:
    """What a solution file says; nothing of it is believed.

    Attributes
    ----------
    row_ind, col_ind : int64 array, shape (n_pairs,)
        The assignment, sorted by (row, col); empty without an answer.
    status : Status or None
        What is claimed; None where the file holds pairs alone.
    termination : Termination or None
        What ended the solve.
    objective_value, dual_bound : float
        Claimed value and bound, in the problem's own sense; NaN for none.
    bound_kind, bound_source : str
        "prices", "solver" or "none", and the solver with its version.
    backend : str
        Who answered.
    prices : float64 array, shape (n_experts,), or None
        Shadow prices, in the problem's own sense.
    multipliers : Multipliers or None
        Prices of further bounds, in max sense, for problems of the mip class.
    conflict : Conflict or None
        Bounds that are claimed to contradict each other.
    relaxations : tuple of Relaxation
        Relaxed bounds; value, bound and prices are then those of the
        problem that they loosen.
    settings : mapping of str to float
        Arguments of the problem that were replaced by a number before it was solved, as by
        ``--set``; see `problem_of`. Those of a file that are not in the problem that its digest
        names are passed over.
    client_ids, expert_ids : tuple of str, or None
        Ids of the problem's clients and experts. Of a table that was read without a problem,
        ids that the table has.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1, load_max=1)
    >>> with TemporaryDirectory() as folder:
    ...     al.write_solution(al.solve(problem), f"{folder}/answer.json")
    ...     solution = al.read_solution(f"{folder}/answer.json", problem)
    >>> solution.status.value, solution.col_ind.tolist()
    ('optimal', [0, 1])
    """

    row_ind: IntArray
    col_ind: IntArray
    status: Status | None = None
    termination: Termination | None = None
    objective_value: float = math.nan
    dual_bound: float = math.nan
    bound_kind: str = "none"
    bound_source: str = ""
    backend: str = ""
    prices: Float64Array | None = None
    multipliers: Multipliers | None = None
    conflict: Conflict | None = None
    relaxations: tuple[Relaxation, ...] = ()
    settings: Mapping[str, float] = field(default_factory=dict)
    client_ids: tuple[str, ...] | None = None
    expert_ids: tuple[str, ...] | None = None

    def problem_of(self, problem: AlignmentProblem) -> AlignmentProblem:
        """Return the problem that the answer is for: one with the `settings` made."""
        return problem.replace(**self.settings) if self.settings else problem

    @classmethod
    def from_result(cls, result: Result, settings: Mapping[str, float] = NO_SETTINGS) -> Solution:
        """Return what a result has to say in a file, and with which settings it was found."""
        certificate = result.certificate
        return cls(
            result.row_ind, result.col_ind, result.status, result.termination,
            result.objective_value, result.dual_bound,
            "none" if certificate is None else certificate.kind,
            "" if certificate is None else certificate.source,
            result.backend, result.prices, None, result.conflict, result.relaxations,
            dict(settings), result.problem.client_ids, result.problem.expert_ids,
        )


def solution_document(solution: Solution, problem: AlignmentProblem) -> dict[str, Any]:
    """Return the JSON document of a solution, as it is written."""
    further = {"settings": dict(solution.settings), "client_ids": problem.client_ids,
               "expert_ids": problem.expert_ids}
    further = {key: value for key, value in further.items() if value}
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": 3 if further else 2 if solution.relaxations else 1,
        "problem": problem_digest(problem),
        "n_clients": problem.n_clients,
        "n_experts": problem.n_experts,
        **plain(further),
    }
    for key, name in _ATTRIBUTES.items():
        value = getattr(solution, name)
        if key not in ("multipliers", "conflict", "relaxations") or value:
            document[key] = plain(value)
    return document


def write_solution(
    result: Result | Solution, path: str | Path, problem: AlignmentProblem | None = None,
    settings: Mapping[str, float] = NO_SETTINGS,
) -> None:
    """Write an answer as JSON, or its pairs as CSV, TSV or Parquet.

    Parameters
    ----------
    result : Result or Solution
        The answer; infeasibility is written with its conflict.
    path : path
        ``.json``, ``.csv``, ``.tsv`` or ``.parquet``.
    problem : AlignmentProblem, optional
        Needed for a `Solution`; a `Result` has its own.
    settings : mapping of str to float, optional
        Arguments of the problem that were replaced by numbers before a `Result` was found;
        JSON remembers them.

    Raises
    ------
    ProblemError
        If the suffix is another, or the file cannot be written.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1, load_max=1)
    >>> with TemporaryDirectory() as folder:
    ...     al.write_solution(al.solve(problem), Path(folder, "pairs.csv"))
    ...     print(Path(folder, "pairs.csv").read_text().splitlines())
    ['client,expert', '0,0', '1,1']
    """
    if isinstance(result, Result):
        solution, problem = Solution.from_result(result, settings), result.problem
    else:
        solution = result
        if settings:
            raise ProblemError("write_solution got settings beside a Solution, which has its own; "
                               "give dataclasses.replace(solution, settings=...)")
    if problem is None:
        raise ProblemError("write_solution needs the problem of a Solution")
    if check_solution_path(path) == ".json":
        write_text(path, [json_text(solution_document(solution, problem))])
    else:
        from alignsolve.io.solution_pairs import write_pairs  # with what reads tables

        write_pairs(problem, solution.row_ind, solution.col_ind, path)


def check_solution_path(path: str | Path) -> str:
    """Return the suffix of a solution file that can be written, before anything is solved.

    Raises
    ------
    ProblemError
        If the suffix is another, or there is no such folder.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".json", *SUFFIXES):
        fail(path, f"suffix {one_line(suffix)} is not that of a solution; give .json, or .csv for "
                   f"the pairs alone")
    if not Path(path).parent.is_dir():
        fail(path, "cannot be written: there is no such folder")
    return suffix


def read_solution(path: str | Path, problem: AlignmentProblem | None = None) -> Solution:
    r"""Read a solution file for a problem.

    Parameters
    ----------
    path : path
        JSON, or a table (CSV, TSV, Parquet) with the columns ``client`` and ``expert``; others
        are passed over.
    problem : AlignmentProblem, optional
        What the solution is for, with or without the `Solution.settings` made. Without it the
        file is read as an earlier answer, for ``solve(another, warm_start=...)``.

    Returns
    -------
    Solution
        What the file says; nothing of it is believed.

    Raises
    ------
    ProblemError
        If the file is malformed, is for another problem, or names a pair that
        the problem has not.

    Examples
    --------
    A table of pairs that another program wrote, which is proved here:

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import alignsolve as al
    >>> problem = al.AlignmentProblem([[3, 1], [2, 2.5]], max_experts=1, load_max=1)
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "pairs.csv")
    ...     size = path.write_text("client,expert\n0,0\n1,1\n")
    ...     solution = al.read_solution(path, problem)
    >>> al.certify(problem, solution.row_ind, solution.col_ind).optimal
    True
    """
    from alignsolve.io.solution_pairs import read_pairs  # with what reads tables

    with located(path):
        if Path(path).suffix.lower() != ".parquet":
            text = read_text(path, MAX_JSON_BYTES)
            if text.lstrip().startswith("{"):
                return _from_document(parse_json(path, text), problem)
        return Solution(**read_pairs(path, problem))


def _from_document(document: Any, problem: AlignmentProblem | None) -> Solution:
    """Check and convert a JSON document."""
    check_format(document, FORMAT, VERSION)
    check_keys("", document, _KEYS)
    settings = _settings(document.get("settings", {}))
    left_out = set(_CHECKED)
    if problem is None:
        problem = _unknown(document)
        left_out.add("multipliers")  # of no use beside another problem
    else:
        settings = _settings_for(document, problem, settings)
    index = [array_from_json(name, document.get(name)) for name in ("row_ind", "col_ind")]
    rows, cols = sorted_pairs(problem, *index)
    hints = get_type_hints(Solution)
    claims = {name: _field(key, document[key], hints[name], Solution)
              for key, name in _ATTRIBUTES.items() if key in document and name not in left_out}
    if claims.get("multipliers") is not None:
        claims["multipliers"].check(problem)
    return Solution(
        rows, cols, prices=_prices("prices", document.get("prices"), problem.n_experts),
        settings=settings, client_ids=problem.client_ids, expert_ids=problem.expert_ids, **claims,
    )


def _settings_for(
    document: dict[str, Any], problem: AlignmentProblem, settings: dict[str, float]
) -> dict[str, float]:
    """Return the settings with which a document is for a problem, or refuse another's document.

    A document whose digest is that of the problem as given changes nothing of it.
    """
    for key, size in (("n_clients", problem.n_clients), ("n_experts", problem.n_experts)):
        if document.get(key) != size:
            raise ProblemError(f"is for another problem: {stated(document, key)}, not {size}")
    digest, wanted, also = problem_digest(problem), document.get("problem"), ""
    if settings:
        changed = problem_digest(problem.replace(**settings))
        if wanted == changed:
            return settings
        listed = " ".join(f"{name}={value:g}" for name, value in settings.items())
        also = f", and {changed!r} with {listed}"
    if wanted != digest:
        raise ProblemError(f"is for another problem: {stated(document, 'problem')}, but the digest "
                           f"of this one is {digest!r}{also}")
    return {}


def _settings(value: Any) -> dict[str, float]:
    """Return the stored settings."""
    expect("settings", value, dict, "an object")
    check_keys("settings.", value, SETTABLE)
    return {name: _number(f"settings.{name}", number) for name, number in value.items()}


def _unknown(document: dict[str, Any]) -> AlignmentProblem:
    """Return a problem of the size and with the ids that a document states, and no more."""
    shape = declared_shape("", document)
    clients, experts = (ids_from_json(key, document[key]) if key in document else None
                        for key in ("client_ids", "expert_ids"))  # fmt: skip
    nothing = FunctionSource(lambda start, stop: np.zeros((stop - start, shape[1])), shape,
                             np.float64)
    nothing.facts = False, 0.0  # so that nothing is read
    return AlignmentProblem(nothing, 1, client_ids=clients, expert_ids=experts)


def _number(key: str, value: Any) -> float:
    if value is None:
        return math.nan
    array = array_from_json(key, value)
    if array.ndim:
        raise ProblemError(f"{key} is a list; give a number")
    return float(array)


def _prices(key: str, value: Any, length: int) -> Float64Array | None:
    """Return finite prices of the wanted length."""
    if value is None:
        return None
    array = array_from_json(key, value)
    if array.shape != (length,) or not np.isfinite(array).all():
        raise ProblemError(f"{key} has shape {array.shape}; give {length} finite numbers")
    return array.astype(np.float64)


def _fields(name: str, value: Any, kind: type[Any]) -> Any:
    """Return a stored dataclass; whether it is about the problem is not for here to say."""
    hints = get_type_hints(kind)
    expect(name, value, dict, "an object")
    # A default would be a claim that the file does not make; prices that are left out are none.
    check_keys(f"{name}.", value, hints, ["experts"] if kind is Multipliers else hints)
    return kind(**{key: _field(f"{name}.{key}", part, hints[key], kind)
                   for key, part in value.items()})


def _field(name: str, value: Any, hint: Any, owner: type[Any]) -> Any:
    """Return a stored value as the field of a dataclass that its type asks for."""
    if get_origin(hint) is types.UnionType:
        return None if value is None else _field(name, value, get_args(hint)[0], owner)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _fields(name, value, hint)
    if get_origin(hint) is np.ndarray:
        return array_from_json(name, value).astype(np.float64)
    if get_origin(hint) is Mapping:
        named = expect(name, value, dict, "an object of names")
        return {key: _field(f"{name}.{key}", part, get_args(hint)[1], owner)
                for key, part in named.items()}
    if get_origin(hint) is tuple:
        return tuple(_field(f"{name}[{at}]", part, get_args(hint)[0], owner)
                     for at, part in enumerate(expect(name, value, list, "a list")))
    if issubclass(hint, enum.Enum):
        known = [member.value for member in hint]
        if value not in known:
            raise ProblemError(f"{name} is {one_line(value)}; give one of {', '.join(known)}")
        return hint(value)
    if hint is float:
        return _number(name, value)
    if hint is str:
        return expect(name, value, str, "a string")
    if type(value) is not hint or (hint is int and not 0 <= value < 2**53):
        raise ProblemError(f"{name} is {json_kind(value)}, or holds what is no part of a "
                           f"{owner.__name__.lower()}")
    return value
