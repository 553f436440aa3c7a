"""What was done, and what was seen: a row for each kind of harm."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

#: What must not happen, with its column.
FAULTS = {
    "lost": "rounds lost beyond the checkpoint",
    "wrong": "wrong bits",
    "silent": "silent loads",
    "traceback": "tracebacks",
    "leftover": "leftovers",
    "swallowed": "interrupts swallowed",
    "other": "other faults",
}


@dataclass
class Tally:
    """Counts by row, and a line for every fault.

    Attributes
    ----------
    done : Counter
        How often each row's harm was done.
    seen : dict of str to Counter
        By row: faults, and remarks worth a figure, which are none.
    details : list of str
    """

    done: Counter[str] = field(default_factory=Counter)
    seen: dict[str, Counter[str]] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def did(self, row: str, times: int = 1) -> None:
        """Count a harm that was done."""
        with self._lock:
            self.done[row] += times

    def saw(self, row: str, what: str, times: int = 1) -> None:
        """Count a remark, such as rounds that were played again."""
        with self._lock:
            self.seen.setdefault(row, Counter())[what] += times

    def fault(self, row: str, kind: str, text: str) -> None:
        """Count a fault of `FAULTS`, and keep what is to be said of it."""
        assert kind in FAULTS
        self.saw(row, kind)
        with self._lock:
            self.details.append(f"{row}: {FAULTS[kind]}: {text}")

    @property
    def sound(self) -> bool:
        """Whether no fault was seen."""
        return not self.details

    def document(self) -> dict[str, object]:
        """Return all as a JSON document."""
        rows = {row: {"done": times} | dict(self.seen.get(row, {}))
                for row, times in self.done.items()}
        totals = {kind: sum(counts[kind] for counts in self.seen.values()) for kind in FAULTS}
        return {"rows": rows, "faults": totals, "details": self.details}

    def table(self) -> str:
        """Return all as text."""
        heads = ["", "done", *FAULTS, "seen besides"]
        rows = []
        for row, times in self.done.items():
            counts = self.seen.get(row, Counter())
            besides = ", ".join(f"{counts[what]} {what}" for what in counts if what not in FAULTS)
            rows.append([row, str(times), *(str(counts[kind]) for kind in FAULTS), besides])
        widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(len(heads))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
                 .rstrip() for row in [heads, *rows]]
        return "\n".join([*lines, *self.details])
