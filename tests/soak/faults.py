"""Full disks, folders that cannot be written, and little memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

import alignsolve as al
from tests.files import ROOT
from tests.soak.child import PATIENCE, End, Run
from tests.soak.programs import two_sets
from tests.soak.signals import litter
from tests.soak.tally import Tally

SMALL = ROOT / "instances" / "small"


def cases(source: Path) -> list[tuple[str, tuple[Any, ...]]]:
    """Return programs that write to a folder, with their words but for that."""
    return [
        ("solve", (SMALL / "uniform.toml", "auto", "a.json")),
        ("logging", (6, source.with_name("service"))), ("aligner", (6,)),
        ("command", ("convert", source)), ("command", ("generate", "uniform", "--out")),
        ("solve", (SMALL / "uniform.toml", "greedy", "a.csv")), ("federated", (4,)),
        ("bench", ([SMALL / "gap-a.toml"], "greedy,scipy-lsa")), ("federated", (2, "compare")),
    ]


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[bool]:
    """Mount a small file system in memory there, and tell whether that is allowed."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)],
                          capture_output=True, check=False).returncode == 0 \
        if os.geteuid() == 0 else False
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def _start(program: str, words: tuple[Any, ...], place: Path, **more: Any) -> End:
    """Run a program on a place; commands get a file in it as their last word."""
    if program == "command":
        words = (*words, place / ("x.csv" if words[0] == "convert" else "x.npz"))
    return Run(program, place, *words, **more).wait()


def _look(tally: Tally, row: str, program: str, words: tuple[Any, ...], end: End) -> bool:
    """Look at how a program ended that could not write, and tell whether it did its work."""
    tally.did(row)
    lines = [line for line in end.err.splitlines() if line.startswith("error: ")]
    if end.traceback:
        tally.fault(row, "traceback", f"{program} {words}: {end.err[-1500:]}")
    elif end.code != 0 and (end.code != 2 or len(lines) != 1 or program == "logging"):
        tally.fault(row, "other", f"{program} {words}: exit code {end.code}: {end.err[-500:]}")
    for left in end.left:
        tally.fault(row, "leftover", f"process {left}")
    tally.saw(row, "refused in one line" if end.code else "had room")
    return end.code == 0


def disks(tally: Tally, times: int, folder: Path, rng: np.random.Generator) -> None:
    """Fill the disk so far that a program finds it full at some write, then make room."""
    source = folder / "source.json"
    al.write_instance(two_sets()[0], source)
    every = cases(source)
    for number in range(times):
        program, words = every[number % len(every)]
        room = int(np.exp(rng.uniform(np.log(256), np.log(200_000))))
        place = folder / f"disk-{number}"
        with mounted(place, "4m") as is_mounted:
            row = "full disk (tmpfs)" if is_mounted else "full disk (limit on the size of files)"
            inner = place / "run"
            inner.mkdir()
            more: dict[str, Any] = {}
            if is_mounted:
                _fill(place / "ballast", room)
            else:
                more["limits"] = {"RLIMIT_FSIZE": max(room, 8192)}
            inside = _start(program, words, inner, **more)
            _look(tally, row, program, words, inside)
            (place / "ballast").unlink(missing_ok=True)
            again = _start(program, words, inner)
            if again.code:
                tally.fault(row, "wrong", f"{program} {words}, with room: {again.err[-500:]}")
            for left in litter(inner):
                tally.fault(row, "leftover", f"{program} {words}: {left}")


def _fill(ballast: Path, room: int) -> None:
    """Fill a disk but for some bytes, to a block."""
    with ballast.open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(bytes(1 << 12))
    os.truncate(ballast, max(0, ballast.stat().st_size - room))


def read_only(tally: Tally, times: int, folder: Path) -> None:
    """Let programs write to folders that take nothing: new ones, and such as hold a run."""
    source = folder / "source.json"
    al.write_instance(two_sets()[0], source)
    every = cases(source)
    for number in range(times):
        program, words = every[number % len(every)]
        row, place = "read-only folder", folder / f"read-only-{number}"
        with mounted(place, "4m") as is_mounted:
            inner = place / "run"
            inner.mkdir()
            if number % 2:
                _start(program, words, inner)
            if is_mounted:
                subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
            elif os.geteuid() == 0:
                return  # nothing is read-only for root
            else:
                inner.chmod(0o555)
            before = {path: path.read_bytes() for path in inner.rglob("*") if path.is_file()}
            if _look(tally, row, program, words, _start(program, words, inner)) \
                    and program != "logging":
                tally.fault(row, "other", f"{program} {words} ended with exit code 0")
            if before != {path: path.read_bytes() for path in inner.rglob("*") if path.is_file()}:
                tally.fault(row, "wrong", f"{program} {words} changed files")
            if not is_mounted:
                inner.chmod(0o755)


def memory(tally: Tally, cases: list[tuple[str, str, int]], folder: Path) -> None:
    """Start command lines with limits on memory, in MiB, that are there from their beginning."""
    for number, (program, kind, size) in enumerate(cases):
        row = f"{program} with {kind} of {size} MiB"
        words = {"solve": ["alignsolve", "solve", str(SMALL / "gap-d.toml")],
                 "fedloop": ["fedloop", "run", "--set", "rounds=2", "--out",
                             str(folder / f"{number}")]}[program]

        def limit(kind: str = kind, size: int = size) -> None:
            resource.setrlimit(getattr(resource, kind), (size << 20, size << 20))

        tally.did(row)
        try:
            done = subprocess.run(
                [sys.executable, "-m", f"{words[0]}.cli", *words[1:]], preexec_fn=limit,
                capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            tally.fault(row, "swallowed", "it hangs")
            continue
        tally.saw(row, f"exit code {done.returncode}")
        if "Traceback" in done.stderr:
            tally.fault(row, "traceback", done.stderr[-1500:])
        elif done.returncode not in (0, 3) or done.stderr.count("\n") > 1:
            tally.fault(row, "other", f"exit code {done.returncode}: {done.stderr[-500:]}")
