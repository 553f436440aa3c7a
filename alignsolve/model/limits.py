"""How much is read: sizes of files, and what they and frames may stand for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alignsolve.errors import ProblemError

#: Largest text file that is read, in bytes (JSON has a smaller limit).
MAX_TEXT_BYTES = 2**31

#: Largest JSON file that is read, in bytes; npz is the format for more.
MAX_JSON_BYTES = 2**28

#: Most clients, and most experts, that any file may declare.
MAX_SIDE = 10_000_000


@dataclass(frozen=True)
class ReadLimits:
    """How much more than its size a file may stand for, so that a small one fills no memory.

    Attributes
    ----------
    free_cells : int
        Cells of a matrix, or rows of a Parquet table, that any file may stand for.
    cells_per_pair : int
        Cells of the matrix for each pair that a file lists, beyond `free_cells`.
    rows_per_byte : int
        Rows of a Parquet table for each byte of the file, beyond `free_cells`:
        repeated values take no room.
    free_bytes : int
        Bytes that any npz archive may unpack to.
    unpacked_ratio : int
        Unpacked bytes for each byte of an archive, beyond `free_bytes`.
    """

    free_cells: int = 2**24
    cells_per_pair: int = 1000
    rows_per_byte: int = 100
    free_bytes: int = 2**28
    unpacked_ratio: int = 100


#: What is read where nothing else is asked for.
LIMITS = ReadLimits()


def check_size(path: str | Path, n_clients: int, n_experts: int, listed: int | None = None) -> None:
    """Refuse a declared size that is beyond the limits, before memory is taken for it.

    Parameters
    ----------
    path : path
        The file or frame, for errors; empty where another adds it.
    n_clients, n_experts : int
        Declared size.
    listed : int, optional
        Number of pairs that the file lists, for formats where the others are
        forbidden: the matrix may have `LIMITS.free_cells` cells, or
        `LIMITS.cells_per_pair` times as many as are listed.
    """
    place = f"{path}: " if str(path) else ""
    if max(n_clients, n_experts) > MAX_SIDE:
        raise ProblemError(f"{place}declares {n_clients:,} clients x {n_experts:,} experts; at "
                           f"most {MAX_SIDE:,} of each are read")
    cells = n_clients * n_experts
    if listed is not None and cells > max(LIMITS.free_cells, LIMITS.cells_per_pair * listed):
        raise ProblemError(f"{place}declares {n_clients:,} x {n_experts:,} pairs and lists "
                           f"{listed:,}; at most {LIMITS.cells_per_pair} cells are made for each "
                           f"listed pair")
