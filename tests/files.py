"""Where files are, files like the published ones, and damage for files."""

from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

import alignsolve as al
from alignsolve.generators import generate

#: The repository, and published instances that may lie beside it.
ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "instances"


def error_of(call, *arguments):
    """Return the message of the `ProblemError` that a call raises, or None."""
    try:
        call(*arguments)
    except al.ProblemError as error:
        return str(error)
    return None


def assert_read_or_refused(start, call, *arguments):
    """Assert that a call works, or names the file on one short line; all else fails."""
    message = error_of(call, *arguments)
    if message is not None:
        assert message.startswith(str(start)), message
        assert "\n" not in message, message
        assert len(message) < 500 + len(str(start)), message


@st.composite
def damaged(draw, content, values=range(256)):
    """Draw file content with its end cut off, some bytes changed, or both."""
    content = bytearray(content)
    if draw(st.booleans()):
        del content[draw(st.integers(0, len(content) - 1)) :]
    for _ in range(draw(st.integers(0, 3))):
        if content:
            content[draw(st.integers(0, len(content) - 1))] = draw(st.sampled_from(list(values)))
    return bytes(content)


def gap_text(value, use, capacity):
    """Return a generalized assignment problem as the OR-Library writes it."""
    m, n = value.shape
    rows = [*value, *use, capacity]
    return f" {m} {n}\n" + "".join(" ".join(map(str, row)) + " \n" for row in rows)


def write_published(folder):
    """Write small files of the published formats, with optima that SciPy proves."""
    lines = ["file,problem,sense,best_known,best_bound,proved"]
    (folder / "orlib").mkdir()
    (folder / "yagiura").mkdir()
    for name, kind, sense in (
        ("orlib/gap1", "a", "max"), ("orlib/gap3", "b", "max"), ("orlib/gapa", "a", "min"),
        ("orlib/gapb", "b", "min"), ("yagiura/c10400", "c", "min"),
    ):  # fmt: skip
        texts = []
        for number in range(1, 2 if "yagiura" in name else 3):
            problem = generate(f"gap-{kind}", seed=number, agents=10, jobs=20)
            value = np.abs(problem.fitness).astype(int)
            if sense == "max":
                problem = al.AlignmentProblem(
                    value, problem.max_experts, load_min=1, load_max=1, resources=problem.resources
                )
            ((_, part),) = problem.resources.items()
            texts.append(gap_text(value, np.asarray(part.size).astype(int),
                                  np.asarray(part.budget).astype(int)))
            best = int(al.solve(problem, "scipy-milp").objective_value)
            lines.append(f"{name}.txt,{number},{sense},{best},{best},yes")
        head = "" if "yagiura" in name else f" {len(texts)}\n"
        (folder / f"{name}.txt").write_text(head + "".join(texts))
    cost = np.random.default_rng(0).integers(1, 100, (12, 12))
    sparse = np.where(np.random.default_rng(1).random(cost.shape) < 0.6, cost, 10**6)
    np.fill_diagonal(sparse, 99)
    pairs = np.argwhere(sparse < 10**6)
    listing = "".join(f"{i + 1} {j + 1} {sparse[i, j]}\n" for i, j in pairs)
    for name, matrix, text in (
        ("assign100", cost, "\n".join(" ".join(map(str, row)) for row in cost)),
        ("assignp800", sparse, listing),
    ):
        (folder / "orlib" / f"{name}.txt").write_text(f"12\n{text}\n")
        best = matrix[linear_sum_assignment(matrix)].sum()
        lines.append(f"orlib/{name}.txt,1,min,{best},{best},yes")
    (folder / "OPTIMA.csv").write_text("\n".join(lines) + "\n")
