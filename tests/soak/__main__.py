"""Run the soak: signals, damage, full disks and limits, and print what was seen.

The exit code is 1 where anything was seen that must not be.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.soak import damage, faults, signals
from tests.soak.tally import Tally


@dataclass(frozen=True)
class Sizes:
    """How often everything is done.

    Attributes
    ----------
    fedloop, aligner, bench, solve : int
        Signals of each kind.
    flips, cuts, writers, disks, read_only : int
        See `tests.soak.damage` and `tests.soak.faults`.
    memory : tuple
        Programs, kinds of limits, and their sizes in MiB.
    rounds, legs : int
        Rounds of a training and of an aligner, and processes that it takes, about.
    """

    fedloop: int
    aligner: int
    bench: int
    solve: int
    flips: int
    cuts: int
    writers: int
    disks: int
    read_only: int
    memory: tuple[tuple[str, str, int], ...]
    rounds: int
    legs: int


WHOLE = Sizes(
    fedloop=30, aligner=30, bench=15, solve=25, flips=400, cuts=100, writers=30, disks=36,
    read_only=18, rounds=18, legs=6,
    memory=(
        *(("solve", kind, size) for kind in ("RLIMIT_AS", "RLIMIT_DATA")
          for size in range(150, 501, 50)),
        *(("fedloop", "RLIMIT_AS", size) for size in (300, 600, 900, 1200, 1600)),
        *(("fedloop", "RLIMIT_DATA", size) for size in (150, 300, 450, 600)),
    ),
)

SHORT = Sizes(
    fedloop=1, aligner=1, bench=0, solve=1, flips=24, cuts=8, writers=2, disks=2, read_only=2,
    rounds=4, legs=2, memory=(("solve", "RLIMIT_DATA", 150),),
)

BENCHED = ("gap-a", "gap-c", "uniform", "tiers", "skewed", "forbidden")

BACKENDS = ("auto", "lagrangian", "ortools-cpsat", "ortools-mip", "scipy-milp", "ortools-scip")


def parts(
    tally: Tally, sizes: Sizes, seed: int
) -> dict[str, Callable[[Path], None]]:
    """Return what there is to do, by name; the same for the same seed."""

    def drawn(name: str) -> np.random.Generator:
        return np.random.default_rng((seed, zlib.crc32(name.encode())))

    def kinds(times: int, rng: np.random.Generator) -> list[str]:
        return [str(kind) for kind in rng.permutation([*signals.KINDS] * times)]

    def loop(one: signals.Loop, times: int, folder: Path) -> None:
        rng = drawn(one.name)
        signals.looping(tally, one, kinds(times, rng), folder, rng, sizes.legs)

    def killed(folder: Path) -> None:
        names = ("uniform", "tiers", "gap-a", "skewed-penalty")[:sizes.solve]
        signals.solve_killed(tally, names, sizes.solve, folder, drawn("killed"))

    def ended(folder: Path) -> None:
        rng, path = drawn("ended"), signals.hard(folder)
        for number in range(2 * sizes.solve):
            signals.solve_ended(tally, ("SIGINT", "SIGTERM")[number % 2],
                                BACKENDS[number // 2 % len(BACKENDS)], path,
                                folder / f"{number}", rng)
        for number in range(sizes.solve // 2):
            signals.solving_ended(tally, ("auto", "lagrangian", "greedy")[number % 3], path,
                                  folder / f"solving-{number}", rng)

    found: dict[str, Callable[[Path], None]] = {
        "fedloop": lambda folder: loop(signals.federated(sizes.rounds), sizes.fedloop,
                                       folder / "runs"),
        "aligner": lambda folder: loop(signals.aligner(sizes.rounds), sizes.aligner,
                                       folder / "runs"),
        "bench": lambda folder: loop(signals.bench(BENCHED, "greedy,scipy-lsa,lagrangian"),
                                     sizes.bench, folder / "runs"),
        "killed": killed,
        "ended": ended,
        "damage": lambda folder: damage.damaged(tally, sizes.flips, sizes.cuts, folder,
                                                drawn("damage")),
        "writers": lambda folder: damage.writers_killed(tally, sizes.writers, folder,
                                                        drawn("writers")),
        "disks": lambda folder: faults.disks(tally, sizes.disks, folder, drawn("disks")),
        "read-only": lambda folder: faults.read_only(tally, sizes.read_only, folder),
        "memory": lambda folder: faults.memory(tally, list(sizes.memory), folder),
    }
    if not sizes.bench:
        del found["bench"]
    return found


def soak(
    sizes: Sizes, seed: int, jobs: int, only: list[str] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Tally:
    """Do everything, some things at a time, and return what was seen."""
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="soak-") as room, ThreadPoolExecutor(jobs) as pool:

        def do(name: str, work: Callable[[Path], None]) -> None:
            folder, started = Path(room) / name, time.monotonic()
            folder.mkdir()
            try:
                work(folder)
            except Exception as error:  # the rest shall still be done
                tally.fault(name, "other", f"ended with {type(error).__name__}: {error}")
            say(f"{name}: {time.monotonic() - started:.0f} s")

        chosen = {name: work for name, work in parts(tally, sizes, seed).items()
                  if only is None or name in only}
        list(pool.map(do, chosen, chosen.values()))
    return tally


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of all moments and places")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--short", action="store_true", help="a little of everything")
    parser.add_argument("--only", action="append", help="a part of it; may be given several times")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    started = time.monotonic()
    tally = soak(SHORT if chosen.short else WHOLE, chosen.seed, chosen.jobs, chosen.only,
                 lambda text: print(text, file=sys.stderr, flush=True))
    seconds = time.monotonic() - started
    if chosen.json:
        print(json.dumps(tally.document() | {"seed": chosen.seed, "seconds": seconds}, indent=1))
    else:
        print(f"{tally.table()}\nseed {chosen.seed}, {seconds / 60:.1f} min")
    return 0 if tally.sound else 1


if __name__ == "__main__":
    sys.exit(main())
