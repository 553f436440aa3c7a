"""Make every spec, stored instance and best known value in this folder anew.

    python instances/refresh.py [FOLDER | FOLDER/NAME ...] [--time-limit SECONDS] [--again]
    python instances/refresh.py --take large/gap-c SOLUTION

Best known values come from `alignsolve.solve`, or from a solution file by whatever
method, and only ever get better: a value is kept while its problem has the same
digest. Problems that are proved are not solved again unless asked for.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import alignsolve as al
from alignsolve.generators import Value
from alignsolve.io import read_instance, read_solution, write_instance
from alignsolve.io.files import atomic_write
from alignsolve.io.specs import Spec, new_spec, read_spec, write_spec

HERE = Path(__file__).resolve().parent

#: Backends asked in turn until one proves the answer, by problem class.
BACKENDS = {
    "flow": ("auto",),
    "mip": ("lagrangian", "ortools-cpsat", "ortools-mip", "ortools-scip", "scipy-milp", "greedy"),
}

SEED = 1

#: Folder -> name -> family and parameters; the defaults hold where nothing is said.
SPECS: dict[str, dict[str, tuple[str, dict[str, Value]]]] = {
    "small": {
        "uniform": ("uniform", {"clients": 20, "experts": 8}),
        "skewed": ("skewed", {"clients": 20, "experts": 8}),
        "skewed-penalty": ("skewed", {"clients": 20, "experts": 8, "balance": 3, "penalty": 0.25}),
        "latent": ("latent", {"clients": 20, "experts": 8}),
        "label-skew": ("label-skew", {"clients": 20, "experts": 8}),
        "tiers": ("tiers", {"clients": 16, "experts": 6}),
        "scarce": ("scarce", {"clients": 16, "experts": 6, "slots": 4}),
        "multi-layer": ("multi-layer", {"clients": 16, "layers": 2, "experts": 4}),
        "deep": ("deep", {"clients": 12, "layers": 3, "experts": 3, "spare": 2}),
        "sticky": ("sticky", {"clients": 20, "experts": 8}),
        "ties": ("ties", {"clients": 20, "experts": 8}),
        "forbidden": ("forbidden", {"clients": 20, "experts": 8, "share": 0.6}),
        "tight": ("tight", {"clients": 20, "experts": 8}),
        "infeasible-hall": ("infeasible", {"clients": 20, "experts": 8}),
        "infeasible-budget": ("infeasible", {"clients": 20, "experts": 8, "cause": "budget"}),
        **{f"gap-{t}": (f"gap-{t}", {"agents": 4, "jobs": 16}) for t in "abcde"},
    },
    "medium": {
        "uniform": ("uniform", {"clients": 1000, "experts": 64}),
        "skewed": ("skewed", {"clients": 500, "experts": 32, "balance": 3, "penalty": 0.005}),
        "latent": ("latent", {"clients": 1000, "experts": 64}),
        "label-skew": ("label-skew", {"clients": 500, "experts": 32}),
        "tiers": ("tiers", {"clients": 200, "experts": 16, "fairness": 0.5}),
        "scarce": ("scarce", {"clients": 200, "experts": 16}),
        "multi-layer": ("multi-layer", {"clients": 300, "layers": 4, "experts": 8}),
        "deep": ("deep", {}),
        "sticky": ("sticky", {"clients": 500, "experts": 32}),
        "ties": ("ties", {"clients": 500, "experts": 32}),
        "forbidden": ("forbidden", {"clients": 500, "experts": 32}),
        "tight": ("tight", {"clients": 500, "experts": 32}),
        "infeasible-hall": ("infeasible", {"clients": 300, "experts": 32}),
        **{f"gap-{t}": (f"gap-{t}", {"agents": 10, "jobs": 100}) for t in "abcde"},
    },
    "large": {
        "uniform": ("uniform", {"clients": 100_000, "experts": 64}),
        "skewed": ("skewed", {"clients": 100_000, "experts": 64, "balance": 3, "penalty": 1e-4}),
        "latent": ("latent", {"clients": 100_000, "experts": 64}),
        "label-skew": ("label-skew", {"clients": 100_000, "experts": 64}),
        "tiers": ("tiers", {"clients": 10_000, "experts": 64}),
        "scarce": ("scarce", {"clients": 10_000, "experts": 64}),
        "multi-layer": ("multi-layer", {"clients": 20_000, "layers": 4, "experts": 16}),
        "deep": ("deep", {"clients": 1000, "experts": 32}),
        "sticky": ("sticky", {"clients": 50_000, "experts": 64}),
        "ties": ("ties", {"clients": 50_000, "experts": 64}),
        "forbidden": ("forbidden", {"clients": 50_000, "experts": 64}),
        "tight": ("tight", {"clients": 50_000, "experts": 64}),
        "infeasible-hall": ("infeasible", {"clients": 50_000, "experts": 64}),
        **{f"gap-{t}": (f"gap-{t}", {"agents": 80, "jobs": 1600}) for t in "abcde"},
    },
    "huge": {  # streamed: never in memory, nor on disk
        "uniform": ("uniform", {"clients": 10_000_000, "experts": 64, "slots": 1, "balance": 1.0}),
    },
    "infeasible": {
        cause: ("infeasible", {"clients": 12, "experts": 6, "cause": cause})
        for cause in ("hall", "slots", "loads", "minima", "groups", "budget", "samples", "fairness")
    },
    "rounds": {
        f"round-{number}": ("sticky", {"clients": 300, "experts": 16, "round": number})
        for number in range(4)
    },
}

#: Files in `stored`, and the specs that make them.
STORED = {
    "uniform.json": "small/uniform",
    "tiers.json": "small/tiers",
    "multi-layer.json": "small/multi-layer",
    "sticky.npz": "medium/sticky",
    "gap-c.json": "small/gap-c",
    "infeasible-groups.json": "infeasible/groups",
}


def main() -> None:
    """Refresh the folders named, and then the lists that cover all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chosen", nargs="*", metavar="FOLDER", help=f"of {', '.join(SPECS)}; or "
                        "one instance, such as large/gap-c")
    parser.add_argument("--time-limit", type=float, default=60, help="seconds for each backend")
    parser.add_argument("--again", action="store_true", help="solve what is proved, too")
    parser.add_argument("--take", nargs=2, metavar=("NAME", "SOLUTION"),
                        help="take a better answer from a file, and do nothing else")
    options = parser.parse_args()
    if options.take:
        take(HERE / f"{options.take[0]}.toml", options.take[1])
        write_optima()
        return
    table = {f"{f}/{name}": made for f, specs in SPECS.items() for name, made in specs.items()}
    for word in options.chosen:
        if word not in SPECS and word not in table:
            parser.error(f"no folder or instance {word!r}; choose from {', '.join(table)}")
    for name, (family, parameters) in table.items():
        if not options.chosen or name in options.chosen or name.split("/")[0] in options.chosen:
            path = HERE / f"{name}.toml"
            path.parent.mkdir(exist_ok=True)
            made = new_spec(name, family, seed=SEED, parameters=parameters,
                            streamed=name.startswith("huge/"))
            spec = _with_known(made, path)
            if options.again or not spec.proved:
                spec = improved(spec, options.time_limit)
            write_spec(spec, path)
    for file, source in STORED.items():
        (HERE / "stored").mkdir(exist_ok=True)
        write_instance(read_spec(HERE / f"{source}.toml").build(), HERE / "stored" / file)
    write_optima()


def _with_known(spec: Spec, path: Path) -> Spec:
    """Return the spec with what the file knows of the same problem."""
    old = read_spec(path) if path.exists() else spec
    if old.digest != spec.digest:
        return spec
    return dataclasses.replace(
        spec, best_known=old.best_known, best_bound=old.best_bound, proved=old.proved,
        note=old.note,
    )


def take(path: Path, solution_path: str) -> None:
    """Put the value of an answer in a file into a spec, if it keeps every bound and is better."""
    spec = read_spec(path)
    problem = spec.build()
    solution = read_solution(solution_path, problem)
    proof = al.certify(problem, solution.row_ind, solution.col_ind)
    if not proof.feasible:
        raise SystemExit(f"{solution_path}: {proof.summary()}")
    sign = 1 if spec.sense == "max" else -1
    if spec.best_known is None or sign * proof.objective_value > sign * spec.best_known:
        write_spec(dataclasses.replace(spec, best_known=proof.objective_value), path)


def improved(spec: Spec, time_limit: float) -> Spec:
    """Return the spec with the best value and bound that any backend reaches."""
    problem = spec.build()
    for backend in BACKENDS[problem.problem_class]:
        result = al.solve(problem, backend, time_limit=time_limit)
        print(f"{spec.name:24} {backend:14} {result.status.value:20} "
              f"{result.objective_value:.12g} {result.dual_bound:.12g}", flush=True)
        spec = _better(spec, result)
        if spec.proved:
            break
    return spec


def _better(spec: Spec, result: al.Result) -> Spec:
    """Return the spec with what a result adds to it."""
    if result.status is al.Status.INFEASIBLE:
        if spec.best_known is not None:
            raise SystemExit(f"{spec.name}: {result.backend} says infeasible; an answer is known")
        return dataclasses.replace(spec, proved=True, note="no answer exists")
    sign = 1 if spec.sense == "max" else -1
    best, bound = spec.best_known, spec.best_bound
    if result.has_answer and (best is None or sign * result.objective_value > sign * best):
        best = result.objective_value
    if math.isfinite(result.dual_bound) and (
        bound is None or sign * result.dual_bound < sign * bound
    ):
        bound = result.dual_bound
    proved = spec.proved or result.status is al.Status.OPTIMAL
    if proved:
        bound = best  # and not a last digit off it, by the rounding of the bound's sum
    return dataclasses.replace(spec, best_known=best, best_bound=bound, proved=proved)


def _rows() -> Iterator[tuple[str, int, str, str, str, str]]:
    """Yield the rows of OPTIMA.csv."""
    files = [(f"{folder}/{name}.toml",) * 2 for folder in SPECS for name in SPECS[folder]]
    files += [(f"stored/{file}", f"{source}.toml") for file, source in STORED.items()]
    for file, source in files:
        if (HERE / source).exists():
            spec = read_spec(HERE / source)
            known, bound = (
                "" if value is None else repr(value) for value in (spec.best_known, spec.best_bound)
            )
            yield file, 1, spec.sense, known, bound, "yes" if spec.proved else "no"
    for path in sorted((HERE / "captured").glob("*.json")):
        result = al.solve(read_instance(path))
        if result.status is not al.Status.OPTIMAL:
            raise SystemExit(f"{path}: {result.status.value}; captured problems are to be proved")
        value = repr(result.objective_value)
        yield f"captured/{path.name}", 1, "max", value, value, "yes"


def write_optima() -> None:
    """Write OPTIMA.csv from the specs."""
    lines = [",".join(map(str, row)) for row in _rows()]
    header = "file,problem,sense,best_known,best_bound,proved"
    with atomic_write(HERE / "OPTIMA.csv") as stream:
        stream.write("\n".join([header, *lines, ""]).encode())


if __name__ == "__main__":
    main()
