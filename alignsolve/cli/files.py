"""The commands ``generate``, ``convert`` and ``info``."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Annotated, Any

import click
import numpy as np
import typer

from alignsolve.backends.registry import available_backends
from alignsolve.cli import common, options
from alignsolve.cli.live import live_line
from alignsolve.cli.options import optional
from alignsolve.cli.streams import STANDARD, local_copy, read_from, written_to
from alignsolve.errors import ProblemError
from alignsolve.io import instance_format, write_instance
from alignsolve.io.formats import for_writing
from alignsolve.io.native_json import plain
from alignsolve.io.optima import find_optima
from alignsolve.model.describe import describe
from alignsolve.model.digest import problem_digest
from alignsolve.model.problem import AlignmentProblem, Feature
from alignsolve.model.text import counted
from alignsolve.warm_up import estimate as expected_seconds
from alignsolve.warm_up import warm_up as compile_kernels


def generate(
    family: Annotated[str | None, typer.Argument(metavar="FAMILY", show_default=False)] = None,
    parameters: Annotated[
        list[str] | None, typer.Argument(metavar="NAME=VALUE", show_default=False)
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Seed; the same on every machine.")
    ] = 0,
    out: Annotated[
        str | None,
        optional("Where to write: .npz, .json, ...; .toml for a spec of a few lines.", "FILE"),
    ] = None,
    streamed: Annotated[
        bool, typer.Option("--streamed", help="Into a .toml: make fitness block by block whenever "
                                              "it is read, for problems too large to store.")
    ] = False,
    json: options.Json = False,
) -> int:
    """Make a problem of a family, or list the families.

    FAMILY is a family of problems and NAME=VALUE one of its parameters. Without
    FAMILY all are listed, and without --out and parameters the one is.
    """
    from alignsolve.generators import FAMILIES, find_family

    if family is None or (out is None and not parameters):
        chosen = FAMILIES if family is None else {family: find_family(family)}
        _list_families(chosen, json)
        return common.DONE
    if out is None:
        raise ProblemError("generate needs --out FILE, such as --out problem.npz")
    form = "NAME=VALUE, such as clients=100"
    texts = common.each_once("parameter", parameters, form)
    values = {name: _number(text) for name, text in texts.items()}
    spec_wanted = Path(out).suffix.lower() == ".toml"
    if streamed and not spec_wanted:
        raise ProblemError(f"--streamed writes a spec; give --out FILE.toml, not {out}")
    if spec_wanted:
        from alignsolve.io.specs import new_spec, write_spec

        with live_line(f"generating {family}", json):
            spec = new_spec(Path(out).stem, family, seed=seed, parameters=values,
                            streamed=streamed)
        write_spec(spec, out)
        problem = spec.build(verify=False)
    else:
        _check_target(out, json)
        with written_to(out) as place, live_line(f"generating {family}", json):
            problem = find_family(family).generate(seed, values)
            write_instance(problem, place)
    _report_written(problem, out, json)
    return common.DONE


def _number(text: str) -> int | float | str:
    """Return the number that a text spells, or the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _list_families(families: Any, json: bool) -> None:
    """Print families with their parameters."""
    document, lines = {}, []
    for name, family in families.items():
        document[name] = {"description": family.description, "parameters": {
            parameter.name: {"default": parameter.default, "meaning": parameter.meaning}
            for parameter in family.parameters
        }}
        lines += [name, f"  {family.description}"]
        lines += [f"    {f'{parameter.name}={parameter.default}':<26} {parameter.meaning}"
                  for parameter in family.parameters]
    common.report(json, document, "\n".join(lines))


def convert(
    source: Annotated[str, typer.Argument(metavar="IN", show_default=False)],
    target: Annotated[str, typer.Argument(metavar="OUT", show_default=False)],
    index: options.Index = None,
    sense: options.Sense = None,
    settings: options.Settings = None,
    columns: options.Columns = None,
    json: options.Json = False,
) -> int:
    """Write a problem in another format.

    IN is an instance file, IN#3 its third problem, - standard input; the suffix of OUT
    says what to write, and - prints JSON.

    .json and .npz keep everything; .csv, .tsv and .parquet make a table of
    pairs and two tables beside it; .min (DIMACS), .mps and .lp are for other
    solvers. What a format cannot hold is refused, and says so.
    """
    _check_target(target, json)
    with written_to(target) as place, common.noting_warnings(), live_line("converting", json):
        chosen = common.open_problems(source, index, sense, settings, columns)
        problem, _ = common.only_one(source, chosen)
        write_instance(problem, place)
    _report_written(problem, target, json)
    return common.DONE


def _check_target(path: str, json: bool) -> None:
    """Refuse a file that cannot be written, before anything is read."""
    if path != STANDARD:
        for_writing(path)
    elif json:
        raise ProblemError("- and --json both take standard output; give one of them")


def _report_written(problem: AlignmentProblem, path: str, json: bool) -> None:
    if path == STANDARD:
        return
    if json:
        digest = problem_digest(problem)
        common.print_json({"file": path, "digest": digest, **plain(describe(problem))})
    else:
        common.print_text(f"wrote {path}: {problem!r}")


def info(
    file: Annotated[str | None, typer.Argument(metavar="FILE", show_default=False)] = None,
    index: options.Index = None,
    sense: options.Sense = None,
    settings: options.Settings = None,
    columns: options.Columns = None,
    json: options.Json = False,
) -> int:
    """Describe an instance file, or this installation.

    FILE is an instance file; FILE#3 is its third problem. Without FILE, version
    and backends are printed.
    """
    if file is None:
        _describe_installation(json)
        return common.DONE
    with live_line("reading", json):
        chosen = common.open_problems(file, index, sense, settings, columns)
        path, total = chosen[0].path, chosen[0].total
        optima = find_optima(local_copy(path))
    found = [{"index": part.number, **plain(describe(part.problem)),
              "digest": problem_digest(part.problem), "known": plain(optima.get(part.number))}
             for part in chosen]
    form = read_from(path, lambda place: instance_format(place, common.columns_of(columns)))
    heading = f"{path}: {form}, {counted(total, 'problem')}"
    common.report(json, {"file": path, "format": form, "problems": found},
                  "\n".join([heading, *map(_described, found)]))
    return common.DONE


def _described(facts: dict[str, Any]) -> str:
    """Return the facts about one problem in a few lines."""
    known = facts["known"]
    lines = [
        f"#{facts['index']:<8} {facts['n_clients']:,} clients x {facts['n_experts']:,} experts, "
        f"{facts['sense']}, {facts['dtype']}, {_percent(facts['allowed'])} of the pairs allowed",
        f"class     {facts['problem_class']}: {facts['class_reason']}",
        f"slots     {facts['slots'][0]:,} to {facts['slots'][1]:,} by the clients, "
        f"{facts['holders'][0]:,} to {facts['holders'][1]:,} by the experts",
        *(f"infeasible: {contradiction}" for contradiction in facts["contradictions"]),
        f"digest    {facts['digest']}",
    ]
    if known is not None:
        proved = "proved optimal" if known["proved"] else f"bound {known['best_bound']}"
        lines.append(f"best      {known['best_known']} ({proved})")
    return "\n".join(lines)


def _percent(share: float) -> str:
    """Spell a share; only the whole is 100%."""
    return f"{100.0 if share == 1.0 else min(99.9, 100.0 * share):.3g}%"


def _describe_installation(json: bool) -> None:
    """Print versions, and every backend or the line that installs it."""
    from alignsolve import __version__  # of this code, whatever was installed

    backends = available_backends()
    versions = {"alignsolve": __version__, "python": platform.python_version(),
                "numpy": np.__version__}
    lines = [", ".join(f"{name} {number}" for name, number in versions.items())]
    facts: dict[str, dict[str, Any]] = {}
    for name, found in backends.items():
        if isinstance(found, str):
            facts[name] = {"available": False, "reason": found}
            lines.append(f"  {name:<14} missing: {found}")
            continue
        facts[name] = {"available": True, "exact": found.exact,
                       "interruptible": found.interruptible, "callback": found.callback,
                       "features": sorted(feature.value for feature in found.features)}
        words = ["flow and mip" if Feature.RESOURCES in found.features else "flow",
                 "exact" if found.exact else "heuristic",
                 "stops at time limits" if found.interruptible else "cannot be interrupted"]
        lines.append(f"  {name:<14} {', '.join(words)}")
    common.report(json, {"versions": versions, "backends": facts}, "\n".join(lines))


OnlyOption = Annotated[
    str | None, typer.Option("--only", click_type=click.Choice(("flow", "mip")),
                             help="Class of problems to prepare for.")
]


def warm_up(only: OnlyOption = None, json: options.Json = False) -> int:
    """Compile the package's own solvers, once per machine, and say how long that will take.

    Small problems need nothing compiled; large ones compile first, or go to other solvers.
    """
    seconds: dict[str, float] = {}
    if not json:
        common.print_text(f"{expected_seconds(only):6.0f} s  of processor time expected; what each "
                          f"part takes by the clock:")

    def report(name: str, took: float) -> None:
        seconds[name] = round(took, 2)
        if not json:
            common.print_text(f"{took:6.1f} s  {name}")

    compile_kernels(report, only=only)
    if json:
        common.print_json({"seconds": seconds})
    return common.DONE
