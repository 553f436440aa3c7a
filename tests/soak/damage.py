"""Files with a byte changed, or cut short, and sets whose writer was killed."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np

import alignsolve as al
from alignsolve.model.digest import problem_digest
from fedloop.checkpoint import NAME, load_checkpoint
from tests.soak.child import Run
from tests.soak.programs import two_sets
from tests.soak.signals import litter
from tests.soak.tally import Tally

#: Reads a file, or a set by its first file.
Reader = Callable[[Path], object]


def states(folder: Path) -> dict[str, tuple[Path, list[Path], Reader]]:
    """Make what is damaged: by name the file that is read, all that belong to it, and how."""
    for program, rounds in (("federated", 2), ("aligner", 6)):
        end = Run(program, folder / program, rounds).wait()
        assert end.code == 0, end
    checkpoint, state = folder / "federated" / NAME, folder / "aligner" / "state.npz"
    found: dict[str, tuple[Path, list[Path], Reader]] = {
        "checkpoint": (checkpoint, [checkpoint], load_checkpoint),
        "Aligner's state": (state, [state], al.Aligner.load),
    }
    for suffix in (".csv", ".parquet"):
        place = folder / suffix[1:]
        place.mkdir()
        al.write_instance(two_sets()[0], place / f"set{suffix}")
        found[f"set of {suffix[1:]}"] = (
            place / f"set{suffix}", sorted(place.iterdir()), al.read_instance)
    return found


def damaged(
    tally: Tally, flips: int, cuts: int, folder: Path, rng: np.random.Generator
) -> None:
    """Change single bytes, and cut off ends; flips and cuts are shared among kinds of files."""
    kinds = states(folder)
    for name, (first, files, read) in kinds.items():
        whole = [path.read_bytes() for path in files]
        # A byte of a small file as likely as one of a large one in the set.
        for what, times in (("flips", flips), ("truncations", cuts)):
            for _ in range(times // len(kinds)):
                which = int(rng.integers(len(files)))
                data, path = bytearray(whole[which]), files[which]
                at = int(rng.integers(len(data)))
                if what == "flips":
                    data[at] ^= int(rng.integers(1, 256))
                else:
                    del data[at:]
                path.write_bytes(data)
                _read(tally, f"{what}: {name}", first, path, read, at)
                path.write_bytes(whole[which])
        read(first)


def _read(tally: Tally, row: str, first: Path, path: Path, read: Reader, at: int) -> None:
    """Read what is damaged; it has to be refused in one line that names the file."""
    tally.did(row)
    try:
        read(first)
    except al.ProblemError as error:
        text = str(error)
        if not text.startswith(str(first)) or "\n" in text or ";" not in text:
            tally.fault(row, "other", text)
    except Exception as error:
        tally.fault(row, "traceback", f"{path} at {at}: {type(error).__name__}: {error}")
    else:
        tally.fault(row, "silent", f"{path} at {at}")


def writers_killed(
    tally: Tally, times: int, folder: Path, rng: np.random.Generator, writes: int = 6
) -> None:
    """Kill who writes a set over another one of the same size; read it; write it again."""
    digests = {problem_digest(problem) for problem in two_sets()}
    calls = {}
    for suffix in (".csv", ".parquet"):
        calls[suffix] = Run("writing", folder / f"whole{suffix}", suffix, writes).wait().calls
    number = 0
    while times:
        suffix = (".csv", ".parquet")[number % 2]
        place, number = folder / f"{number}", number + 1
        path = place / f"set{suffix}"
        run = Run("writing", place, suffix, writes, at=int(rng.integers(1, calls[suffix])))
        run.harm(signal.SIGKILL)
        if not run.wait().hit:
            continue
        times -= 1
        row = f"killed while writing a set of {suffix[1:]}"
        tally.did(row)
        try:
            if problem_digest(al.read_instance(path)) not in digests:
                tally.fault(row, "silent", str(place))
            tally.saw(row, "whole")
        except al.ProblemError as error:
            text = str(error)
            tally.saw(row, "missing" if "no such file" in text else "refused")
            if "no such file" not in text and f"remove {path}.sha256" not in text:
                tally.fault(row, "other", text)
        al.write_instance(two_sets()[0], path)
        al.read_instance(path)
        for left in litter(place):
            tally.fault(row, "leftover", str(left))
