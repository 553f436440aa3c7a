"""Text that is nothing but numbers, as the OR-Library's files are."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from alignsolve.io.files import fail, one_line, position
from alignsolve.model.arrays import Float64Array

_TOKEN = re.compile(r"\S+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, eq=False)
class NumberText:
    """The numbers of a file, with the way back to their places.

    Attributes
    ----------
    path : path
        The file, for errors.
    text : str
        Its content.
    values : float64 array, shape (n_numbers,)
        The numbers, finite.
    """

    path: str | Path
    text: str
    values: Float64Array

    @classmethod
    def parse(cls, path: str | Path, text: str) -> NumberText:
        """Parse the numbers of a text.

        Raises
        ------
        ProblemError
            Naming line and column of the first word that is no finite number.
        """
        words = text.split()
        values = None
        # float() also reads 1_000 and digits of other scripts.
        if text.isascii() and "_" not in text:
            try:
                values = np.array(words, dtype=np.float64)
            except ValueError:
                values = None
        if values is None or not np.isfinite(values).all():
            match = next(m for m in _TOKEN.finditer(text) if not _is_finite(m[0]))
            fail(path, f"{one_line(match[0])} is not a finite number",
                 *position(text, match.start()))
        return cls(path, text, values)

    def line_lengths(self, limit: int) -> list[int]:
        """Return how many numbers the first `limit` lines that hold any have."""
        filled = filter(str.strip, self.text.split("\n"))
        return [len(line.split()) for line in itertools.islice(filled, limit)]

    def place(self, at: int) -> tuple[int, int]:
        """Return line and column of a number, from 1; past the last one, the end."""
        for count, match in enumerate(_TOKEN.finditer(self.text)):
            if count == at:
                return position(self.text, match.start())
        return position(self.text, len(self.text.rstrip()))

    def fail(self, at: int, message: str) -> NoReturn:
        """Raise `ProblemError` with the place of a number."""
        fail(self.path, message, *self.place(at))

    def whole(self, at: int, meaning: str, least: int = 1) -> int:
        """Return a number that has to be whole and at least `least`."""
        if at >= self.values.size:
            self.fail(at, f"the file ends before {meaning}")
        value = float(self.values[at])
        if not value.is_integer() or value < least:
            self.fail(at, f"{meaning} is {value:g}; give a whole number >= {least}")
        return int(value)


def _is_finite(word: str) -> bool:
    """Tell whether a word is a plain decimal number within float64."""
    return _NUMBER.fullmatch(word) is not None and abs(float(word)) < np.inf
