"""The fuzz run finds nothing in a few problems, tells what it asked, and sees false claims."""

from __future__ import annotations

import dataclasses
import json

from typer.testing import CliRunner

import alignsolve as al
from tests.enumeration import Enumeration
from tests.fuzz.__main__ import Run, app
from tests.fuzz.claims import false_claims
from tests.fuzz.drawing import draw


def test_a_few_problems_and_a_run_that_goes_on(tmp_path) -> None:
    path = tmp_path / "fuzz.json"
    for count in (20, 40):
        done = CliRunner().invoke(app, ["--count", str(count), "--json", str(path)])
        assert done.exit_code == 0, done.output
    state = json.loads(path.read_text())
    assert state["next"] == sum(state["problems"].values()) == 40
    assert state["false"] == []
    once = Run(0)
    for number in range(40):
        once.ask(number)
    assert once.state()["features"] == state["features"]


def test_false_claims_are_seen() -> None:
    seen = set()
    for number in range(60):
        case = draw(0, number)
        if case.problem.integers is not None:
            continue
        found = Enumeration(case.problem, case.given)
        result = al.solve(case.problem)
        assert list(false_claims(found, result)) == []
        if result.status is al.Status.INFEASIBLE:
            bounds = result.conflict.bounds
            if len(bounds) > 1:
                less = dataclasses.replace(result.conflict, bounds=bounds[1:])
                lie = dataclasses.replace(result, conflict=less)
                assert list(false_claims(found, lie))
                seen.add("conflict")
            continue
        worst = found.answers[found.kept][int(found.gains[found.kept].argmin())]
        if found.exact_gains(worst[None])[0] < found.best()[0] - 1:
            rows, cols = worst.nonzero()
            lie = dataclasses.replace(result, row_ind=rows, col_ind=cols)
            assert list(false_claims(found, lie))
            seen.add("answer")
    assert seen == {"conflict", "answer"}
