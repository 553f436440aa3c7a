"""Read back the MPS files that `alignsolve.io.mps` writes: the rows tell what each bound is."""

from __future__ import annotations

import ast
import math
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from alignsolve.io.files import fail, located, read_text
from alignsolve.io.linear_rows import HEADING
from alignsolve.model.arguments import FLOOR, MATRIX
from alignsolve.model.arrays import Float64Array
from alignsolve.model.limits import check_size
from alignsolve.model.problem import AlignmentProblem, Load, Resource, problem_of
from alignsolve.model.text import one_line

_SIZE = re.compile(r"AlignmentProblem\((\d{1,9}) clients x (\d{1,9}) experts, (max|min), ")
_COLUMN = re.compile(r"x_(\d{1,9})_(\d{1,9})|(load|penalty)_(\d{1,9})")
_ROW = re.compile(r"(slots|holders|group|fairness|load_sum|penalty|load\d{1,9}|resource\d{1,9})"
                  r"_(\d{1,9})(?:_(\d{1,9}))?(?:_min|_max)?")
_NAMED = re.compile(r"((?:load|resource)\d{1,9}): (?:load|resource) (.*)")

#: What a column stands for: "pair", client and expert; "load" or "penalty", and expert.
Column = tuple[Any, ...]

#: Kinds of rows of clients; others are of experts.
OF_CLIENTS = ("slots", "group", "fairness", "resource")

#: Kinds of rows that count pairs.
COUNTS = ("slots", "holders", "group", "load_sum")


@dataclass
class _Row:
    """A bounded sum: kind, key (client, expert, or client and group), and coefficients."""

    kind: str
    key: tuple[int, ...]
    low: float = -math.inf
    high: float = math.inf
    entries: dict[Column, float] = field(default_factory=dict)

    def set_side(self, value: float) -> None:
        """State the bounds that there are."""
        self.low = value if self.low > -math.inf else self.low
        self.high = value if self.high < math.inf else self.high

    def fits(self, column: Column, value: float, loss: int) -> bool:
        """Tell whether a coefficient belongs into the row; penalties are of a `loss` each."""
        match self.kind, column[0]:
            case "objective", kind:
                return kind == "pair" or value == (loss if kind == "penalty" else 0)
            case "penalty", kind:
                experts = {other[1] for other in self.entries} | {column[1]}
                return kind != "pair" and len(experts) == 1 and (kind == "load" or value == 1)
            case kind, "pair":
                at = column[1 if kind.startswith(OF_CLIENTS) else 2]
                return at == self.key[0] and (value == 1 or kind not in COUNTS)
        return (self.kind, column, value) == ("load_sum", ("load", self.key[0]), -1)


class _Model:
    """What a file says, read line by line.

    Attributes
    ----------
    n_clients, n_experts : int
    sense : {"max", "min"}
    names : dict of str to str
        Load or resource behind a kind of rows, such as "load2".
    rows : dict of str to _Row
        With the objective.
    bounds : dict of Column to list of float
        Lower and upper bound of the columns that are no pairs.
    """

    def __init__(self, path: str | Path, text: str) -> None:
        self.path, self.line = path, 0
        lines = text.splitlines()
        notes = [line[2:] for line in lines if line.startswith("* ")]
        size = _SIZE.match(notes[0]) if notes else None
        if size is None or HEADING not in notes:
            fail(path, "is an MPS file of another writer; alignsolve reads back those that it "
                       "wrote, which begin with what they are", 1)
        self.n_clients, self.n_experts, self.sense = int(size[1]), int(size[2]), size[3]
        check_size(path, self.n_clients, self.n_experts, listed=len(lines))
        named = filter(None, map(_NAMED.fullmatch, notes))
        self.names = {found[1]: self._name(found[2]) for found in named}
        self.rows = {"objective": _Row("objective", ())}
        self.bounds: dict[Column, list[float]] = defaultdict(lambda: [0.0, 1.0])
        self._read(lines)
        for row in self.of("penalty"):
            if not any(column[0] == "penalty" for column in row.entries):
                self._refuse(f"penalty_{row.key[0]} without a column penalty_")

    def of(self, *kinds: str) -> list[_Row]:
        """Return the rows of some kinds."""
        return [row for row in self.rows.values() if row.kind in kinds]

    def of_each(self, what: str) -> dict[str, list[_Row]]:
        """Return the rows of each "load" or "resource", by its name."""
        found: dict[str, list[_Row]] = defaultdict(list)
        for kind, name in self.names.items():
            if kind.startswith(what):
                found[name] += self.of(kind)
        return found

    def _name(self, text: str) -> str:
        """Return the name that a comment quotes."""
        try:
            name = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            name = None
        return name if isinstance(name, str) else self._refuse(text)

    def _refuse(self, what: str) -> NoReturn:
        fail(self.path, f"{one_line(what)} is nothing that alignsolve writes here; write the file "
                        f"anew", self.line)

    def _read(self, lines: list[str]) -> None:
        """Read line by line; a line that begins in the first column opens a section."""
        section = ""
        for self.line, line in enumerate(lines, start=1):
            words = line.split()
            if not words or line.startswith("*"):
                continue
            if line[0].isspace():
                self._read_line(section, words)
            else:
                section = words[0]
                if section not in ("NAME", "OBJSENSE", "ROWS", "COLUMNS", "RHS", "BOUNDS",
                                   "ENDATA"):
                    self._refuse(section)
        if section != "ENDATA":
            self.line += 1
            fail(self.path, "the file ends before ENDATA", self.line)

    def _read_line(self, section: str, words: list[str]) -> None:
        match section, words:
            case "COLUMNS", [name, row, value] if row in self.rows:
                coefficient, column = self._number(value), self._column(name)
                if not self.rows[row].fits(column, coefficient, -1 if self.sense == "max" else 1):
                    self._refuse(" ".join(words))
                self.rows[row].entries[column] = coefficient
            case ("ROWS", ["N", "objective"]) | ("COLUMNS", [_, "'MARKER'", *_]):
                return
            case "OBJSENSE", ["MAX"] if self.sense == "max":
                return
            case "ROWS", ["E" | "G" | "L" as kind, name] if (found := _ROW.fullmatch(name)):
                self._row(kind, found)
            case "RHS", [_, name, value] if (
                    name in self.rows and self.rows[name].kind not in ("load_sum", "objective")):
                self.rows[name].set_side(self._number(value))
            case "BOUNDS", ["BV", "bound", name] if self._column(name)[0] == "pair":
                return
            case "BOUNDS", ["PL", "bound", name] if (column := self._column(name))[0] != "pair":
                self.bounds[column][1] = math.inf
            case "BOUNDS", ["LO" | "UP" as side, "bound", name, value] if (
                    (column := self._column(name))[0] != "pair"):
                self.bounds[column][side == "UP"] = self._number(value)
            case _:
                self._refuse(" ".join(words))

    def _row(self, kind: str, found: re.Match[str]) -> None:
        """Add a row of a client or expert that there is; sides that are not stated later are 0."""
        what, *numbers = found.groups()
        key = tuple(int(part) for part in numbers if part is not None)
        most = self.n_clients if what.startswith(OF_CLIENTS) else self.n_experts
        outside = what != "penalty" and key[0] >= most
        unknown = what[-1].isdigit() and what not in self.names
        if outside or unknown or len(key) != 1 + (what == "group"):
            self._refuse(found[0])
        self.rows[found[0]] = _Row(what, key, -math.inf if kind == "L" else 0.0,
                                   math.inf if kind == "G" else 0.0)

    def _number(self, word: str) -> float:
        try:
            return float(word)
        except ValueError:
            self._refuse(word)

    def _column(self, name: str) -> Column:
        found = _COLUMN.fullmatch(name)
        if found is None:
            self._refuse(name)
        client, expert, kind, of = found.groups()
        column = (kind, int(of)) if kind else ("pair", int(client), int(expert))
        if column[-1] >= self.n_experts or (kind is None and column[1] >= self.n_clients):
            self._refuse(name)
        return column


def read(path: str | Path) -> AlignmentProblem:
    """Read an MPS file that alignsolve wrote.

    Returns
    -------
    problem : AlignmentProblem
        With the same answers and values. Not in the file, and so not in the problem: ids, bounds
        that cannot bind, pairs that no answer can hold, and which pairs were held; switching
        costs are part of the values, but beside fairness floors.

    Raises
    ------
    ProblemError
        If another program wrote the file, or a line is not as alignsolve writes it.
    """
    model = _Model(path, read_text(path))
    with located(path):
        return problem_of(model.sense, _arguments(model))


def _arguments(model: _Model) -> dict[str, Any]:
    """Return the arguments of the problem of a model."""
    n, m = model.n_clients, model.n_experts
    forbidden = -np.inf if model.sense == "max" else np.inf
    low, high = _bounds(model.of("slots"), (n,))
    load_min, load_max = _bounds(model.of("holders"), (m,))
    arguments: dict[str, Any] = {
        MATRIX[model.sense]: _matrix(model, model.of("objective"), forbidden),
        "min_experts": np.maximum(low, 0), "max_experts": np.minimum(high, m),
        "load_min": load_min, "load_max": load_max,
        "loads": {name: Load(_weights(rows, n), *_bounds(rows, (m,)))
                  for name, rows in model.of_each("load").items()},
        "resources": {name: Resource(_matrix(model, rows, 0.0), _bounds(rows, (n,))[1])
                      for name, rows in model.of_each("resource").items()},
    }  # fmt: skip
    _add_penalties(model, arguments)
    _add_groups(model, arguments)
    _add_floors(model, arguments)
    return arguments


def _matrix(model: _Model, rows: list[_Row], others: float) -> Float64Array:
    """Return the coefficients of pairs as a matrix."""
    matrix = np.full((model.n_clients, model.n_experts), others)
    for row in rows:
        for column, value in row.entries.items():
            if column[0] == "pair":
                matrix[column[1:]] = value
    return matrix


def _bounds(rows: list[_Row], shape: tuple[int, ...]) -> tuple[Float64Array, Float64Array]:
    """Return the bounds that rows state, by their keys."""
    low, high = np.full(shape, -np.inf), np.full(shape, np.inf)
    for row in rows:
        low[row.key] = max(low[row.key], row.low)
        high[row.key] = min(high[row.key], row.high)
    return low, high


def _weights(rows: list[_Row], n_clients: int) -> Float64Array:
    """Return the weights of a load; clients without a pair in any row weigh nothing."""
    weight = np.zeros(n_clients)
    for row in rows:
        for (_, client, _), value in row.entries.items():
            weight[client] = value
    return weight


def _add_penalties(model: _Model, arguments: dict[str, Any]) -> None:
    """Add the penalties on holders, and the bounds that the columns of their loads have.

    Piece k of an expert, ``penalty - gradient * load >= value at 0``, goes through the
    penalties of ``load_min + k`` and one more holders.
    """
    pieces: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for row in model.of("penalty"):
        (_, expert), *_ = row.entries
        # A gradient of 0 leaves no entry.
        pieces[expert].append((-row.entries.get(("load", expert), 0.0), row.low))
    penalty, target = np.zeros(model.n_experts), np.zeros(model.n_experts)
    for expert, found in pieces.items():
        low, high = model.bounds["load", expert]
        arguments["load_min"][expert], arguments["load_max"][expert] = low, high
        first, last = found[0][0], found[-1][0]
        if len(found) > 1:
            penalty[expert] = (last - first) / (2 * (len(found) - 1))
            target[expert] = low + 0.5 - first / (2 * penalty[expert])
        else:
            here, there = (max(0.0, found[0][1] + first * load) for load in (low, low + 1))
            root = math.sqrt(here) + math.sqrt(there)
            penalty[expert] = root * root
            target[expert] = low + (math.sqrt(here) / root if root else 0.0)
    arguments |= {"load_penalty": penalty, "load_target": target}


def _add_groups(model: _Model, arguments: dict[str, Any]) -> None:
    """Add the groups; experts in no row are in one that is not bounded."""
    rows = model.of("group")
    if not rows:
        return
    numbers = {group: at for at, group in enumerate(sorted({row.key[1] for row in rows}))}
    group = np.full(model.n_experts, len(numbers))
    for row in rows:
        row.key = row.key[0], numbers[row.key[1]]
        for _, _, expert in row.entries:
            group[expert] = row.key[1]
    # A row may have no pair left, and so its group no expert.
    used = np.unique(group)
    low, high = _bounds(rows, (model.n_clients, len(numbers) + 1))
    empty = np.setdiff1d(np.arange(len(numbers) + 1), used)
    arguments["min_experts"] += np.where((low[:, empty] > 0).any(axis=1), model.n_experts + 1, 0)
    arguments |= {"expert_group": np.searchsorted(used, group),
                  "group_min": np.maximum(low[:, used], 0),
                  "group_max": np.minimum(high[:, used], model.n_experts)}  # fmt: skip


def _add_floors(model: _Model, arguments: dict[str, Any]) -> None:
    """Add fairness floors; what their values exceed the objective's by are switching costs."""
    rows = model.of("fairness")
    if not rows:
        return
    sign = 1 if model.sense == "max" else -1
    values = arguments[MATRIX[model.sense]]
    cost, bare = np.zeros(values.shape), sign * _matrix(model, rows, 0.0)
    stated = np.zeros(values.shape, dtype=np.bool_)
    stated[[row.key[0] for row in rows]] = True
    stated &= np.isfinite(values)
    cost[stated] = np.maximum(0.0, sign * (bare - values)[stated])
    values[stated] = bare[stated]
    arguments["switch_cost"] = cost
    arguments[FLOOR[model.sense]] = sign * _bounds(rows, (model.n_clients,))[0]
