"""Solve random small problems of every feature, and check every claim by enumeration.

Each problem has a number: the same seed and number make the same problem, and the same
questions. Ctrl-C ends the run with what it has found; a run with ``--json`` goes on where
that file ends. Exit code 1 where a claim was false, or a call raised what it should not. ::

    python -m tests.fuzz --count 200000 --json fuzz.json
    python -m tests.fuzz --seed 0 --only 1234
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import alignsolve as al
from alignsolve.backends import Capabilities, get_backend
from tests.enumeration import Enumeration
from tests.fuzz.claims import false_certificate, false_claims, false_relaxation
from tests.fuzz.drawing import Case, draw

#: How often a backend is asked beside `auto`, by class: slow ones seldom.
SHARES = {
    "flow": {"exchange": 0.35, "ortools-mcf": 0.35, "scipy-lsa": 0.2, "greedy": 0.02,
             "networkx": 0.03, "lagrangian": 0.01, "ortools-cpsat": 0.01, "ortools-mip": 0.01,
             "ortools-scip": 0.01, "scipy-milp": 0.01},
    "mip": {"lagrangian": 0.1, "greedy": 0.1, "ortools-cpsat": 0.2, "ortools-mip": 0.2,
            "ortools-scip": 0.2, "scipy-milp": 0.2},
}  # fmt: skip

#: Shares of problems for which a named backend is asked too, whose bounds may also be relaxed,
#: and of which some answer is certified.
NAMED, ELASTIC, CERTIFIED = {"flow": 0.6, "mip": 0.5}, 0.05, 0.2

#: Seconds between lines of progress, and between writes of the file.
EVERY = 15.0


class Run:
    """What a run has asked and found."""

    def __init__(self, seed: int) -> None:
        self.seed, self.next, self.seconds = seed, 0, 0.0
        self.counts: dict[str, Counter[str]] = {
            what: Counter() for what in ("problems", "features", "values", "container", "answers")
        }
        self.false: list[dict[str, Any]] = []
        self.available = {name for name, what in al.available_backends().items()
                          if isinstance(what, Capabilities)}

    def ask(self, number: int) -> None:
        """Draw a problem, ask for it in several ways, and check what is said."""
        case = draw(self.seed, number)
        rng = np.random.default_rng([self.seed, number, 1])
        for asked, claim in self._claims(case, rng):
            again = f"python -m tests.fuzz --seed {self.seed} --only {number}"
            print(f"{again}: {asked}: {claim}", file=sys.stderr)
            self.false.append({"asked": asked, "claim": claim, "reproduce": again})
        problem = case.problem
        self.counts["problems"][f"{problem.sense} {problem.problem_class}"] += 1
        self.counts["features"].update(feature.value for feature in problem.features)
        self.counts["values"][case.values] += 1
        self.counts["container"][case.container] += 1

    def _claims(self, case: Case, rng: np.random.Generator) -> Iterator[tuple[str, str]]:
        """Yield who was asked and what was false."""
        problem = case.problem
        found = Enumeration(problem, case.given)
        shares = SHARES[problem.problem_class]
        named = str(rng.choice(list(shares), p=list(shares.values())))
        for backend in ("auto", named)[: 1 + (rng.random() < NAMED[problem.problem_class])]:
            if backend != "auto" and (backend not in self.available
                                      or get_backend(backend).refusal(problem) is not None):
                self.counts["answers"][f"{backend} refused"] += 1
                continue
            result = yield from self._solved(problem, backend)
            if result is not None:
                yield from ((backend, claim) for claim in false_claims(found, result))
        if rng.random() < ELASTIC:
            result = yield from self._solved(problem, "auto", elastic=True)
            if result is not None:
                check = false_relaxation if result.relaxations else false_claims
                yield from (("elastic", claim) for claim in check(found, result))
        kept = np.flatnonzero(found.kept)
        if problem.problem_class == "flow" and kept.size and rng.random() < CERTIFIED:
            answer = found.answers[rng.choice(kept)]
            if rng.random() < 0.5:
                answer = found.best()[1]
            with warnings.catch_warnings(action="error"):
                certificate = al.certify(problem, *np.nonzero(answer))
            self.counts["answers"][f"certify {certificate.optimal}"] += 1
            claims = false_certificate(found, answer, certificate)
            yield from (("certify", claim) for claim in claims)

    def _solved(
        self, problem: al.AlignmentProblem, backend: str, **more: Any
    ) -> Iterator[Any]:  # a generator that returns a result
        """Solve; yield an error that should not be raised."""
        asked = f"{backend} elastic" if more else backend
        try:
            with warnings.catch_warnings(action="error"):
                result = al.solve(problem, backend, threads=1, on_interrupt="raise", **more)
        except Exception as error:
            # A named library may fail openly, and whole numbers beyond 2**53 are not relaxed.
            failed = isinstance(error, al.BackendError) and backend != "auto"
            refused = isinstance(error, al.UnsupportedProblemError) and problem.integers is not None
            ended = "failed" if failed else "refused" if refused and more else "raised"
            self.counts["answers"][f"{asked} {ended}"] += 1
            if ended == "raised":
                yield asked, f"raised {type(error).__name__}: {error}"
            return None
        self.counts["answers"][f"{asked} {result.status.value}"] += 1
        return result

    def state(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        counts = {what: dict(sorted(count.items())) for what, count in self.counts.items()}
        return {"seed": self.seed, "next": self.next, "seconds": round(self.seconds, 1),
                **counts, "false": self.false}  # fmt: skip

    @classmethod
    def read(cls, path: Path, seed: int) -> Run:
        """Return the run that a file tells of, or a new one where there is none."""
        run = cls(seed)
        if path.exists():
            state = json.loads(path.read_text())
            if state["seed"] != seed:
                raise typer.BadParameter(f"{path} is of seed {state['seed']}")
            run.next, run.seconds, run.false = state["next"], state["seconds"], state["false"]
            for what, count in run.counts.items():
                count.update(state[what])
        return run

    def go(self, count: int, path: Path | None) -> None:
        """Ask for problems until so many are done in all, and tell how it goes."""
        started = shown = time.perf_counter()
        before, first = self.seconds, self.next
        try:
            while self.next < count:
                self.ask(self.next)
                self.next += 1
                now = time.perf_counter()
                self.seconds = before + now - started
                if now - shown > EVERY or self.next == count:
                    shown = now
                    left = (count - self.next) * (now - started) / (self.next - first)
                    print(f"{self.next:,} of {count:,} problems, {len(self.false)} false claims, "
                          f"{self.seconds:.0f} s, {left:.0f} s left", file=sys.stderr)  # fmt: skip
                    self.write(path)
        finally:
            self.write(path)

    def write(self, path: Path | None) -> None:
        """Write the file anew."""
        if path is not None:
            beside = path.with_suffix(".new")
            beside.write_text(json.dumps(self.state(), indent=1))
            beside.replace(path)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    count: Annotated[int, typer.Option(help="Problems in all.")] = 200_000,
    seed: Annotated[int, typer.Option(help="Seed of all problems.")] = 0,
    only: Annotated[int | None, typer.Option(help="Ask for this problem alone.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File of counts.")] = None,
) -> None:
    """Check claims about random problems by enumeration."""
    if only is not None:
        run = Run(seed)
        case = draw(seed, only)
        print(case.values, case.container, case.problem, case.problem.arguments(), sep="\n")
        run.ask(only)
    else:
        run = Run(seed) if json_file is None else Run.read(json_file, seed)
        try:
            run.go(count, json_file)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
    for what, counts in run.counts.items():
        print(f"{what}: " + ", ".join(f"{name} {k:,}" for name, k in sorted(counts.items())))
    print(f"{run.next:,} problems, {len(run.false)} false claims, {run.seconds:.0f} s")
    raise typer.Exit(1 if run.false else 0)


if __name__ == "__main__":
    app()
