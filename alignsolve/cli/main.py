"""The command line: parsing and printing, nothing else.

Exit codes: 0 done; 1 infeasible, or a check failed; 2 bad input or usage;
3 nothing found within the limits, lack of memory among them; 130 interrupted;
143 ended by SIGTERM.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

import typer

from alignsolve.cli.bench import bench
from alignsolve.cli.common import run_app, version_option
from alignsolve.cli.explain import explain
from alignsolve.cli.files import convert, generate, info, warm_up
from alignsolve.cli.solve import check, solve
from alignsolve.cli.stdout import own_stdout
from alignsolve.cli.terminating import run_command
from alignsolve.interruptible import left_behind

app = typer.Typer(
    name="alignsolve",
    help="Exact, certified client-expert assignment for federated mixture-of-experts training.",
    epilog="Exit codes: 0 done; 1 infeasible, or a check failed; 2 bad input or usage; "
           "3 nothing found within the limits, or not enough memory; 130 interrupted; "
           "143 ended by SIGTERM.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

#: Commands, whether their bare name asks for help, and lines that show their use.
COMMANDS: tuple[tuple[Callable[..., int], bool, tuple[str, ...]], ...] = (
    (solve, True, (
        "alignsolve solve fleet.npz --out plan.json",
        "alignsolve solve gap1.txt#2 --sense max --time-limit 10",
        "alignsolve solve scores.csv --set max_experts=2 --out plan.csv",
        "alignsolve solve - --out -",
        "alignsolve solve fleet.npz --elastic --out plan.json",
        "alignsolve solve fitness.npy --set load_max=156250 --engine ray --parts pairs",
        "alignsolve solve big.toml --engine ray --address ray://head:10001 --json",
    )),
    (check, True, (
        "alignsolve check fleet.npz plan.json",
        "alignsolve check gap1.txt answer.json --index 2 --sense max --json",
    )),
    (explain, True, (
        "alignsolve explain fleet.npz",
        "alignsolve explain fleet.npz --client 17",
        "alignsolve explain fleet.npz --client 17 --for owner --exact",
        "alignsolve explain fleet.npz --expert 3 --solution plan.json --json",
    )),
    (generate, False, (
        "alignsolve generate",
        "alignsolve generate skewed",
        "alignsolve generate skewed clients=1000 experts=64 --seed 7 --out fleet.npz",
        "alignsolve generate skewed clients=1000000 --out large.toml",
        "alignsolve generate uniform clients=10000000 experts=64 --streamed --out huge.toml",
    )),
    (convert, True, (
        "alignsolve convert gap1.txt#2 gap1-2.json --sense max",
        "alignsolve convert fleet.npz fleet.mps",
    )),
    (info, False, (
        "alignsolve info",
        "alignsolve info fleet.npz",
        "alignsolve info gap1.txt --sense max --json",
    )),
    (bench, True, (
        "alignsolve bench instances",
        "alignsolve bench instances more --backends exchange,ortools-mcf --jobs 2",
        "alignsolve bench instances --time-limit 60 --out slow --json",
    )),
    (warm_up, False, ("alignsolve warm-up", "alignsolve warm-up --only flow")),
)


@app.callback()
def options(version: version_option("alignsolve") = False) -> None:  # type: ignore[valid-type]
    """Take what comes before a command."""


for command, needs_words, examples in COMMANDS:
    # Lines of an epilog are joined; paragraphs are not.
    app.command(no_args_is_help=needs_words, epilog="\n\n".join(["Examples:", *examples]))(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the program's name; None takes those of the process.

    Notes
    -----
    Errors are one line on standard error. With ``--json`` they are also the
    one document on standard output, ``{"error": message}``. SIGTERM ends a command as
    Ctrl-C does, within two seconds. As the process's own command line it ends the process
    where a solver that cannot be stopped works on.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    code = run_command(lambda: own_stdout()(run_app)(app, words, "alignsolve"), "interrupted")
    if arguments is None and left_behind():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
