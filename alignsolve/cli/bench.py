"""The command ``bench``."""

from __future__ import annotations

from typing import Annotated

import typer

from alignsolve.cli import common, options
from alignsolve.cli.options import optional
from alignsolve.errors import ProblemError


def bench(
    paths: Annotated[list[str], typer.Argument(metavar="DIR...", show_default=False)],
    backends: Annotated[
        str | None, optional("Backends to compare; default: auto and all available.", "A,B,...")
    ] = None,
    time_limit: Annotated[float, typer.Option(metavar="SECONDS", help="Limit of each run.")] = 10.0,
    memory_limit: Annotated[
        float, typer.Option(metavar="MIB", help="Most memory of each run, in MiB.")
    ] = 4096.0,
    jobs: Annotated[int, typer.Option(help="Runs at the same time.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of all runs.")] = 0,
    out: Annotated[
        str, typer.Option(metavar="DIR", help="Folder for results; what is there is not run again.")
    ] = "bench-out",
    json: options.Json = False,
) -> int:
    """Run backends on instances and compare them.

    DIR is a folder, searched to the bottom, or an instance file. Each run has a
    process of its own. A bench that was stopped goes on where it was when it is
    started again with the same --out. The exit code is 1 where a backend gave a
    wrong answer, and 3 where the memory sufficed for no run.
    """
    from rich.console import Console

    from alignsolve.bench import run_bench

    names = None
    if backends is not None:
        names = [name.strip() for name in backends.split(",")]
        if not all(names):
            raise ProblemError(f"--backends {backends!r} has an empty name; give names between "
                               f"commas")
    report = run_bench(
        paths,
        backends=names,
        time_limit=time_limit,
        memory_limit=memory_limit,
        jobs=jobs,
        seed=seed,
        out=out,
        progress=None if json else Console(stderr=True),
    )
    if json:
        common.print_json(report.to_json())
    else:
        console = Console()
        width = min(console.width, 100) if console.is_terminal else 100
        color = console.is_terminal and not console.no_color
        common.print_text(report.table(width=width, color=color))
    if report.interrupted:
        return common.INTERRUPTED
    if report.wrong:
        return common.FAILED
    outcomes = {one.row.outcome for one in report.judgements}
    unread = not outcomes and any("memory" in notice for notice in report.notices)
    return common.NOTHING_FOUND if unread or outcomes == {"memory"} else common.DONE
