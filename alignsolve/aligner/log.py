"""One line of JSON for everything that an aligner did, written at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alignsolve.errors import ProblemError


class RoundLog:
    """Appends lines of JSON to a file.

    Notes
    -----
    The file is opened for every line, so that a crash loses none that was
    written, and other programs may rotate it.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = None if path is None else Path(path)

    def write(self, event: str, **figures: Any) -> None:
        """Append an event with its figures.

        Raises
        ------
        ProblemError
            If the file cannot be written.
        """
        if self.path is None:
            return
        line = json.dumps({"event": event} | figures, allow_nan=False)
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError as error:
            raise ProblemError(f"log {self.path} cannot be written: {error.strerror}") from None
