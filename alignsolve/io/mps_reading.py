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
_PAIR = re.compile(r"x_(\d{1,9})_(\d{1,9})")
_COLUMN = re.compile(r"(load|penalty)_(\d{1,9})")
_ROW = re.compile(r"(slots|holders|group|fairness|load_sum|penalty|load\d{1,9}|resource\d{1,9})"
                  r"_(\d{1,9})(?:_(\d{1,9}))?(?:_min|_max)?")
_NAMED = re.compile(r"((?:load|resource)\d{1,9}): (?:load|resource) (.*)")

Pair = tuple[int, int]

#: Kinds of rows of clients; others are of experts.
OF_CLIENTS = ("slots", "group", "fairness", "resource")


@dataclass
class _Row:
    """A bounded sum: kind, key (client, expert, or client and group), and coefficients."""

    kind: str
    key: tuple[int, ...]
    low: float = -math.inf
    high: float = math.inf
    pairs: dict[Pair, float] = field(default_factory=dict)
    others: dict[str, float] = field(default_factory=dict)


@dataclass
class _Model:
    """What a file says.

    Attributes
    ----------
    n_clients, n_experts : int
    sense : {"max", "min"}
    names : dict of str to str
        Load or resource behind a kind of rows, such as "load2".
    objective : dict of pair to float
    rows : dict of str to _Row
    bounds : dict of str to list of float
        Lower and upper bound of the columns that are no pairs.
    """

    n_clients: int
    n_experts: int
    sense: str
    names: dict[str, str]
    objective: dict[Pair, float] = field(default_factory=dict)
    rows: dict[str, _Row] = field(default_factory=dict)
    bounds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0, 1]))

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


class _Parser:
    """Reads lines into a `_Model`."""

    def __init__(self, path: str | Path, text: str) -> None:
        self.path, self.line = path, 0
        lines = text.splitlines()
        notes = [line[2:] for line in lines if line.startswith("* ")]
        size = _SIZE.match(notes[0]) if notes else None
        if size is None or HEADING not in notes:
            fail(path, "is an MPS file of another writer; alignsolve reads back those that it "
                       "wrote, which begin with what they are", 1)
        n, m = int(size[1]), int(size[2])
        check_size(path, n, m, listed=len(lines))
        named = filter(None, map(_NAMED.fullmatch, notes))
        self.model = _Model(n, m, size[3], {found[1]: self._name(found[2]) for found in named})
        self._sections(lines)

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

    def _sections(self, lines: list[str]) -> None:
        """Read line by line; a line that begins in the first column opens a section."""
        section = ""
        reads = {"ROWS": self._row, "COLUMNS": self._entry, "RHS": self._side,
                 "BOUNDS": self._bound}  # fmt: skip
        for self.line, line in enumerate(lines, start=1):
            words = line.split()
            if not words or line.startswith("*"):
                continue
            if not line[0].isspace():
                section = words[0]
                if section not in (*reads, "NAME", "OBJSENSE", "ENDATA"):
                    self._refuse(section)
            elif section in reads:
                reads[section](words)
            elif section != "OBJSENSE" or (words[0], self.model.sense) != ("MAX", "max"):
                self._refuse(line.strip())
        if section != "ENDATA":
            self.line += 1
            fail(self.path, "the file ends before ENDATA", self.line)
        for row in self.model.of("penalty"):
            if not any(name.startswith("penalty_") for name in row.others):
                self._refuse(f"penalty_{row.key[0]} without a column penalty_")

    def _row(self, words: list[str]) -> None:
        match words:
            case ["N", "objective"]:
                return
            case ["E" | "G" | "L" as kind, name] if (found := _ROW.fullmatch(name)):
                key = tuple(int(part) for part in found.groups()[1:] if part is not None)
                row = _Row(found[1], key)
                # Sides that are not stated later are 0.
                if kind != "L":
                    row.low = 0.0
                if kind != "G":
                    row.high = 0.0
                self._check(row)
                self.model.rows[name] = row
            case _:
                self._refuse(" ".join(words))

    def _check(self, row: _Row) -> None:
        """Refuse a row of a client or expert that there is not."""
        of_client = row.kind.startswith(OF_CLIENTS)
        most = self.model.n_clients if of_client else self.model.n_experts
        named = row.kind in self.model.names or not row.kind[-1].isdigit()
        wrong = row.kind != "penalty" and row.key[0] >= most
        if wrong or not named or len(row.key) != 1 + (row.kind == "group"):
            self._refuse(f"{row.kind}_{'_'.join(map(str, row.key))}")

    def _number(self, word: str) -> float:
        try:
            return float(word)
        except ValueError:
            self._refuse(word)

    def _pair(self, name: str) -> Pair | None:
        """Return the pair that a column stands for; None for loads and penalties."""
        found = _PAIR.fullmatch(name)
        if found is None:
            self._further(name)
            return None
        pair = int(found[1]), int(found[2])
        inside = pair[0] < self.model.n_clients and pair[1] < self.model.n_experts
        return pair if inside else self._refuse(name)

    def _further(self, name: str) -> tuple[str, int]:
        """Return what a column that is no pair counts, "load" or "penalty", and of which expert."""
        found = _COLUMN.fullmatch(name)
        if found is None or int(found[2]) >= self.model.n_experts:
            self._refuse(name)
        return found[1], int(found[2])

    def _entry(self, words: list[str]) -> None:
        if len(words) != 3 or (words[1] != "objective" and words[1] not in self.model.rows):
            return None if words[1:2] == ["'MARKER'"] else self._refuse(" ".join(words))
        value, pair = self._number(words[2]), self._pair(words[0])
        if words[1] != "objective":
            row = self.model.rows[words[1]]
            fits = (self._further_fits(row, words[0], value) if pair is None
                    else _pair_fits(row, pair, value))
        elif pair is None:
            loss = -1 if self.model.sense == "max" else 1
            fits = value == (loss if words[0].startswith("penalty") else 0)
        else:
            self.model.objective[pair] = value
            return None
        return None if fits else self._refuse(" ".join(words))

    def _further_fits(self, row: _Row, name: str, value: float) -> bool:
        """Add an entry of a column that is no pair to a row; tell whether it belongs there."""
        kind, expert = self._further(name)
        row.others[name] = value
        if row.kind == "load_sum":
            return (kind, expert, value) == ("load", row.key[0], -1)
        alike = all(self._further(other)[1] == expert for other in row.others)
        return row.kind == "penalty" and alike and (kind == "load" or value == 1)

    def _side(self, words: list[str]) -> None:
        if (len(words) != 3 or words[1] not in self.model.rows
                or self.model.rows[words[1]].kind == "load_sum"):
            self._refuse(" ".join(words))
        row, value = self.model.rows[words[1]], self._number(words[2])
        row.low = value if row.low > -math.inf else row.low
        row.high = value if row.high < math.inf else row.high

    def _bound(self, words: list[str]) -> None:
        match words:
            case ["BV", "bound", name] if self._pair(name) is not None:
                return
            case ["PL", "bound", name]:
                self._further(name)
            case ["LO" | "UP" as side, "bound", name, value]:
                self._further(name)
                self.model.bounds[name][side == "UP"] = self._number(value)
            case _:
                self._refuse(" ".join(words))


def _pair_fits(row: _Row, pair: Pair, value: float) -> bool:
    """Add an entry of a pair to a row; tell whether it belongs there."""
    row.pairs[pair] = value
    counts = row.kind in ("slots", "holders", "group", "load_sum")
    side = 0 if row.kind.startswith(OF_CLIENTS) else 1
    return row.kind != "penalty" and row.key[0] == pair[side] and (value == 1 or not counts)


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
    model = _Parser(path, read_text(path)).model
    with located(path):
        return problem_of(model.sense, _arguments(model))


def _arguments(model: _Model) -> dict[str, Any]:
    """Return the arguments of the problem of a model."""
    n, m = model.n_clients, model.n_experts
    forbidden = -np.inf if model.sense == "max" else np.inf
    low, high = _bounds(model.of("slots"), n)
    load_min, load_max = _bounds(model.of("holders"), m)
    arguments: dict[str, Any] = {
        MATRIX[model.sense]: _matrix(model, model.objective, forbidden),
        "min_experts": np.maximum(low, 0), "max_experts": np.minimum(high, m),
        "load_min": load_min, "load_max": load_max,
        "loads": _loads(model), "resources": _resources(model),
    }  # fmt: skip
    _add_penalties(model, arguments)
    _add_groups(model, arguments)
    _add_floors(model, arguments)
    return arguments


def _matrix(model: _Model, values: dict[Pair, float], others: float) -> Float64Array:
    """Return values of pairs as a matrix."""
    matrix = np.full((model.n_clients, model.n_experts), others)
    if values:
        rows, cols = np.array(list(values), dtype=np.int64).T
        matrix[rows, cols] = list(values.values())
    return matrix


def _bounds(rows: list[_Row], length: int) -> tuple[Float64Array, Float64Array]:
    """Return the bounds that rows state by their first key."""
    low, high = np.full(length, -np.inf), np.full(length, np.inf)
    for row in rows:
        low[row.key[0]] = max(low[row.key[0]], row.low)
        high[row.key[0]] = min(high[row.key[0]], row.high)
    return low, high


def _loads(model: _Model) -> dict[str, Load]:
    """Return the named loads; clients without a pair in any row weigh nothing."""
    found = {}
    for name, rows in model.of_each("load").items():
        weight = np.zeros(model.n_clients)
        for row in rows:
            for (client, _), value in row.pairs.items():
                weight[client] = value
        found[name] = Load(weight, *_bounds(rows, model.n_experts))
    return found


def _resources(model: _Model) -> dict[str, Resource]:
    """Return the resources; what is in no row takes nothing."""
    found = {}
    for name, rows in model.of_each("resource").items():
        size: dict[Pair, float] = {}
        for row in rows:
            size |= row.pairs
        budget = _bounds(rows, model.n_clients)[1]
        found[name] = Resource(_matrix(model, size, 0.0), budget)
    return found


def _add_penalties(model: _Model, arguments: dict[str, Any]) -> None:
    """Add the penalties on holders, and the bounds that the columns of their loads have.

    Piece k of an expert, ``penalty - gradient * load >= value at 0``, goes through the
    penalties of ``load_min + k`` and one more holders.
    """
    pieces: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for row in model.of("penalty"):
        name, slope = next(((name, -value) for name, value in row.others.items()
                            if name.startswith("load_")), ("", 0.0))  # fmt: skip
        # A gradient of 0 leaves no entry: the penalty's column names the expert.
        name = name or next(iter(row.others))
        pieces[int(name.rpartition("_")[2])].append((slope, row.low))
    penalty, target = np.zeros(model.n_experts), np.zeros(model.n_experts)
    for expert, found in pieces.items():
        low, high = model.bounds[f"load_{expert}"]
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
        for _, expert in row.pairs:
            group[expert] = numbers[row.key[1]]
    # A row may have no pair left, and so its group no expert.
    used = np.unique(group)
    count = len(numbers) + 1
    low, high = np.zeros((model.n_clients, count)), np.full((model.n_clients, count), np.inf)
    for row in rows:
        at = row.key[0], numbers[row.key[1]]
        low[at], high[at] = max(low[at], row.low), min(high[at], row.high)
    empty = np.setdiff1d(np.arange(count), used)
    arguments["min_experts"] += np.where((low[:, empty] > 0).any(axis=1), model.n_experts + 1, 0)
    arguments |= {"expert_group": np.searchsorted(used, group), "group_min": low[:, used],
                  "group_max": np.minimum(high[:, used], model.n_experts)}  # fmt: skip


def _add_floors(model: _Model, arguments: dict[str, Any]) -> None:
    """Add fairness floors; what their values exceed the objective's by are switching costs."""
    rows = model.of("fairness")
    if not rows:
        return
    name, sign = MATRIX[model.sense], 1 if model.sense == "max" else -1
    values = arguments[name]
    cost = np.zeros(values.shape)
    for row in rows:
        for pair in (pair for pair in model.objective if pair[0] == row.key[0]):
            bare = sign * row.pairs.get(pair, 0.0)
            cost[pair], values[pair] = max(0.0, sign * (bare - values[pair])), bare
    floor, _ = _bounds(rows, model.n_clients)
    arguments["switch_cost"] = cost
    arguments[FLOOR[model.sense]] = sign * floor
