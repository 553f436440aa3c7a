"""SIGKILL, SIGINT and SIGTERM in the middle of loops, and what is left after them."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import alignsolve as al
from alignsolve.generators import generate
from fedloop.checkpoint import NAME, load_checkpoint
from tests.files import ROOT
from tests.soak.child import End, Run
from tests.soak.programs import EVERY, same_state
from tests.soak.tally import Tally

KINDS = {"SIGKILL": signal.SIGKILL, "SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM}

#: Exit codes of command lines, and of programs without a handler of their own.
CODES = {"SIGKILL": -9, "SIGINT": 130, "SIGTERM": 143}

#: What an unfinished file is called.
LITTER = re.compile(r"\.alignsolve-.*\.tmp|\.lock")


@dataclass(frozen=True)
class Loop:
    """A program that goes on where it was when it is started again in its folder.

    Attributes
    ----------
    name : str
    start : callable
        Starts it, given its folder and after how many calls to tell.
    after : callable
        Looks at what one process left: tally, row, kind of signal, folder, its end.
    same : callable
        Tells what differs between the folders of two runs that went to their ends.
    codes : dict of str to int
        With which exit code it ends.
    jitter : float
        Seconds, at most, from a call to the signal.
    """

    name: str
    start: Callable[[Path, int], Run]
    after: Callable[[Tally, str, str, Path, End], None]
    same: Callable[[Path, Path], str]
    codes: dict[str, int] = field(default_factory=lambda: CODES)
    jitter: float = 0.002


def looping(
    tally: Tally, loop: Loop, kinds: list[str], folder: Path, rng: np.random.Generator,
    legs: int,
) -> None:
    """Send signals to a loop, started again after each, until all kinds have been sent.

    Where it comes to its end it must be as one that was left alone, and a new one begins.
    """
    folder.mkdir()
    whole = folder / "whole"
    reference = loop.start(whole, 0).wait()
    assert reference.code == 0, reference
    left, number = list(kinds), 0
    while left:
        number += 1
        place, fresh = folder / f"{number}", True
        while True:
            at = int(rng.integers(1, max(2, 2 * reference.calls // legs))) if left else 0
            run = loop.start(place, at)
            kind = left[-1] if left else ""
            if left:
                run.harm(KINDS[kind], rng.uniform(0, loop.jitter))
            end = run.wait()
            row = f"{loop.name}: {kind or 'to the end'}"
            if kind and end.hit:
                left.pop()
                tally.did(row)
                _look(tally, row, loop.codes[kind], end)
                loop.after(tally, row, kind, place, end)
            if end.code == 0 or (fresh and not kind):
                break
            fresh = False
        row = f"{loop.name}: ends"
        tally.did(row)
        if end.code:
            tally.fault(row, "other", f"exit code {end.code}: {end.err[-500:]}")
        elif differs := loop.same(place, whole):
            tally.fault(row, "wrong", f"{place}: {differs}")
        for path in litter(place):
            tally.fault(row, "leftover", str(path))


def _look(tally: Tally, row: str, code: int, end: End) -> None:
    """Look at how a process ended that got a signal in its loop."""
    if end.traceback:
        tally.fault(row, "traceback", end.err[-1500:])
    for left in end.left:
        tally.fault(row, "leftover", f"process {left}")
    if end.code == 0 or end.code == -999:
        went_on = f"went on: {end.err[-3000:]}"
        tally.fault(row, "swallowed", went_on if end.code else "ended as if nothing had been")
    elif end.code != code:
        tally.fault(row, "other", f"exit code {end.code}: {end.err[-500:]}")


def litter(folder: Path) -> Iterator[Path]:
    """Yield what no process should leave in a folder for good."""
    return (path for path in folder.rglob("*") if LITTER.fullmatch(path.name))


def _lines(path: Path) -> list[Any]:
    """Return the whole lines of a file of JSON lines, none where it is not there."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().split("\n")[:-1] if line]


# -- fedloop -------------------------------------------------------------------------------


def federated(rounds: int) -> Loop:
    """Return `fedloop run`."""

    def after(tally: Tally, row: str, kind: str, folder: Path, end: End) -> None:
        saved = 0
        if (folder / NAME).exists():
            saved = len(load_checkpoint(folder / NAME, "records")["records"])
        lost = len(_lines(folder / "rounds.jsonl")) - saved
        _lost(tally, row, "SIGKILL" if end.cut_short else kind, lost)
        if kind != "SIGKILL" and "goes on with: fedloop run" not in end.err:
            tally.fault(row, "other", f"did not say how to go on: {end.err} {end.seconds}")

    def same(mine: Path, theirs: Path) -> str:
        names = (NAME, "rounds.jsonl", "config.json", "partition.json")
        return ", ".join(name for name in names
                         if (mine / name).read_bytes() != (theirs / name).read_bytes())

    return Loop("fedloop", lambda folder, at: Run("federated", folder, rounds, at=at), after, same)


def _lost(tally: Tally, row: str, kind: str, lost: int) -> None:
    """Count rounds that have to be played again: after SIGKILL those since the checkpoint."""
    tally.saw(row, "rounds played again", lost)
    if not 0 <= lost <= (EVERY if kind == "SIGKILL" else 0):
        tally.fault(row, "lost", f"{lost} rounds")


# -- aligner -------------------------------------------------------------------------------


def aligner(rounds: int) -> Loop:
    """Return a service around an `Aligner`, which has no handler of SIGTERM."""

    def after(tally: Tally, row: str, kind: str, folder: Path, end: End) -> None:
        path = folder / "state.npz"
        saved = al.Aligner.load(path).round if path.exists() else 0
        told = _lines(folder / "log.jsonl")
        closed = max((line["round"] for line in told if line["event"] == "observe"
                      and line["start"] == told[-1]["start"]), default=0)
        _lost(tally, row, "SIGINT" if kind == "SIGINT" else "SIGKILL", max(0, closed - saved))
        if "another state" in end.out:
            tally.fault(row, "wrong", end.out)
        events = [(line["start"], line["number"]) for line in told]
        if len(events) != len(set(events)):
            tally.fault(row, "wrong", "two events of the log are alike")

    def same(mine: Path, theirs: Path) -> str:
        one, other = (al.Aligner.load(place / "state.npz").state_dict()
                      for place in (mine, theirs))
        plans = {json.dumps(line) for line in _lines(theirs / "plans.jsonl")}
        # An open round that was planned again has one client less.
        odd = [line[0] for line in _lines(mine / "plans.jsonl")
               if len(line[1]) == 9 and json.dumps(line) not in plans]
        return "" if same_state(one, other) and not odd else f"state, or plans of rounds {odd}"

    return Loop("Aligner", lambda folder, at: Run("aligner", folder, rounds, at=at), after, same,
                codes=CODES | {"SIGTERM": -signal.SIGTERM})


# -- bench ---------------------------------------------------------------------------------


def bench(names: tuple[str, ...], backends: str) -> Loop:
    """Return `alignsolve bench`."""
    paths = [ROOT / "instances" / "small" / f"{name}.toml" for name in names]
    stored: dict[Path, int] = {}

    def runs(folder: Path) -> list[dict[str, Any]]:
        return [line for line in _lines(folder / "results.jsonl") if line.get("kind") == "run"]

    def after(tally: Tally, row: str, kind: str, folder: Path, end: End) -> None:
        now = len(runs(folder))
        tally.saw(row, "runs kept", now)
        if now < stored.get(folder, 0):
            tally.fault(row, "lost", f"{stored[folder] - now} runs")
        stored[folder] = now
        if kind == "SIGKILL":
            return
        try:
            told = json.loads(end.out)
            report = json.loads((folder / "report.json").read_text())
        except (OSError, ValueError) as error:
            if end.cut_short:
                tally.saw(row, "no time for a report")
            else:
                tally.fault(row, "other", f"no report: {error}")
            return
        if not told["interrupted"] or len(told["rows"]) != len(report["rows"]) != now:
            tally.fault(row, "wrong", f"the report has {len(told['rows'])} runs of {now}")

    def same(mine: Path, theirs: Path) -> str:
        keys = [line["key"] for line in runs(mine)]
        twice = len(keys) - len(set(keys))
        return f"{twice} runs were run twice" if twice else str(
            {*_answers(mine)} ^ {*_answers(theirs)} or "")

    def _answers(folder: Path) -> list[tuple[object, ...]]:
        report = json.loads((folder / "report.json").read_text())
        return [tuple(row[name] for name in ("instance", "backend", "outcome",
                                             "objective")) for row in report["rows"]]

    return Loop("bench", lambda folder, at: Run("bench", folder, paths, backends, at=at),
                after, same, jitter=0.3)


# -- solve ---------------------------------------------------------------------------------


def hard(folder: Path) -> Path:
    """Return an instance that no backend is done with for a long time."""
    path = folder / "hard.json"
    al.write_instance(generate("gap-d", seed=3, agents=20, jobs=100), path)
    return path


def solve_killed(
    tally: Tally, names: tuple[str, ...], times: int, folder: Path, rng: np.random.Generator
) -> None:
    """Kill `alignsolve solve`, and let it run to its end in the same place."""
    row = "solve: SIGKILL"
    paths = [ROOT / "instances" / "small" / f"{name}.toml" for name in names]
    whole = []
    for number, path in enumerate(paths):
        place = folder / f"whole-{number}"
        end = Run("solve", place, path, "auto", "a.json").wait()
        assert end.code == 0, end
        whole.append((end.calls, (place / "a.json").read_bytes()))
    number = 0
    while times:
        which = number % len(paths)
        path, (calls, expected) = paths[which], whole[which]
        place, number = folder / f"killed-{number}", number + 1
        run = Run("solve", place, path, "auto", "a.json", at=int(rng.integers(1, calls)))
        run.harm(signal.SIGKILL, rng.uniform(0, 0.01))
        end = run.wait()
        if not end.hit:
            continue
        times -= 1
        tally.did(row)
        _look(tally, row, CODES["SIGKILL"], end)
        if (place / "a.json").exists() and (place / "a.json").read_bytes() != expected:
            tally.fault(row, "wrong", "an answer before the end")
        again = Run("solve", place, path, "auto", "a.json").wait()
        if again.code or (place / "a.json").read_bytes() != expected:
            tally.fault(row, "wrong", f"{path}: {again.err}")
        for left in litter(place):
            tally.fault(row, "leftover", str(left))


def solve_ended(
    tally: Tally, kind: str, backend: str, path: Path, place: Path, rng: np.random.Generator
) -> None:
    """End `alignsolve solve` before it is done, which keeps its best answer."""
    row, answered_first = f"solve: {kind}", bool(rng.random() < 0.7)
    run = Run("solve", place, path, backend, "a.json", answered_first,
              at=int(np.exp(rng.uniform(1, 7))))
    in_time = run.harm(KINDS[kind], rng.uniform(0, 0.05), patience=20)
    end = run.wait()
    tally.did(row)
    answered = kind == "SIGINT" and end.code == 0
    if not answered:
        _look(tally, row, CODES[kind], end)
    elif end.traceback or end.left:
        tally.fault(row, "traceback" if end.traceback else "leftover", f"{end.err} {end.left}")
    for left in litter(place):
        tally.fault(row, "leftover", str(left))
    try:
        told = json.loads(end.out)
    except ValueError:
        if answered or end.out:
            tally.fault(row, "other", f"{backend}: no document: {end.out[:200]!r} {end.err}")
        tally.saw(row, "ended without a word")
        told = {}
    if told.get("objective") is None:
        tally.saw(row, "without an answer")
        if answered_first and in_time and not end.cut_short:
            tally.fault(row, "lost", f"{backend}: an answer that was there")
        return
    problem = al.read_instance(path)
    answer = al.read_solution(place / "a.json", problem)
    tally.saw(row, "with an answer")
    proof = al.certify(problem, answer.row_ind, answer.col_ind)
    if not proof.feasible or abs(proof.objective_value - told["objective"]) > 1e-6:
        tally.fault(row, "wrong", f"{backend}: {proof.summary()}")
    if told["termination"] != "interrupted":
        tally.fault(row, "swallowed", f"{backend}: {told['termination']}")


def solving_ended(
    tally: Tally, backend: str, path: Path, place: Path, rng: np.random.Generator
) -> None:
    """End ``while True: al.solve(problem)``: the first Ctrl-C answers, the second raises."""
    row = "while True: al.solve: SIGINT"
    run = Run("solving", place, path, backend, at=int(np.exp(rng.uniform(3, 9))))
    run.harm(signal.SIGINT, rng.uniform(0, 0.05), patience=5)
    # The second is sent when the first has been answered.
    sent = 1
    while sent < 10 and run.alive(0.02):
        if run.out.read_text().count("interrupted") >= sent:
            run.send(signal.SIGINT)
            sent += 1
    end = run.wait()
    tally.did(row, sent)
    tally.saw(row, "loops ended")
    if end.traceback or end.left:
        tally.fault(row, "traceback" if end.traceback else "leftover", f"{end.err} {end.left}")
    if end.code != 130 or sent > 2:
        tally.fault(row, "swallowed", f"{backend}: exit code {end.code} after {sent}: {end.out}")
