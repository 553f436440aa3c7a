"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated, Any

import click
import typer


def optional(text: str, metavar: str | None = None, *names: str) -> Any:
    """Return an option without a default, its help, the word for its value, and its names."""
    return typer.Option(*names, metavar=metavar, show_default=False, help=text)


# Arguments are explained in the commands' docstrings: typer 0.20 drops their help under click 8.5.
File = Annotated[str, typer.Argument(metavar="FILE", show_default=False)]
Index = Annotated[
    int | None, optional("Which problem of a file with several, from 1.", "K", "--index")
]
Sense = Annotated[
    str | None, typer.Option("--sense", show_default=False, click_type=click.Choice(("max", "min")),
                             help="For files that do not say: maximise or minimise.")
]
Settings = Annotated[
    list[str] | None, optional("Replace an argument of the problem by a number, such as "
                               "max_experts=2. May be given several times.",
                               "NAME=VALUE", "--set")
]
Columns = Annotated[
    list[str] | None, optional("What tables call a column, such as fitness=score. May be given "
                               "several times.", "NAME=COLUMN", "--column")
]
TimeLimit = Annotated[
    float | None, optional("Stop solving after this many seconds.", "SECONDS")
]
Elastic = Annotated[
    bool, typer.Option("--elastic", help="Relax load bounds, minima and floors where they cannot "
                                         "hold together, and say which did.")
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document and nothing else on standard "
                                      "output.")
]
