"""The command line ``fedloop``: parsing and printing, nothing else.

Exit codes: 0 done; 2 bad input or usage; 3 not enough memory; 130 interrupted; 143 ended by
SIGTERM.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import click

from alignsolve.cli import typer
from alignsolve.cli.common import DONE, note, print_json, print_text, run_app, version_option
from alignsolve.cli.options import Json, optional
from alignsolve.cli.terminating import run_command
from alignsolve.errors import ReportError
from fedloop.errors import ConfigError

app = typer.Typer(
    name="fedloop",
    help="Federated training of mixture-of-experts models, with alignment of clients and experts.",
    epilog="Exit codes: 0 done; 2 bad input or usage; 3 not enough memory; 130 interrupted; "
           "143 ended by SIGTERM.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigArgument = Annotated[
    Path | None, typer.Argument(metavar="[CONFIG.toml]", show_default=False)
]
SetOption = Annotated[
    list[str] | None, optional("Replace a setting, such as local.steps=10. May be given several "
                               "times.", "KEY=VALUE", "--set")
]
DataDirOption = Annotated[Path | None, optional("Where the images are.", None, "--data-dir")]
DeviceOption = Annotated[
    str | None, optional("Device of torch, cpu by default; short for --set device=cuda.", None,
                         "--device")
]
TensorboardOption = Annotated[
    bool, typer.Option("--tensorboard", help="Also write events for TensorBoard.")
]


#: Who decides which client trains what; `fedloop.config.Strategy` has the same.
STRATEGIES = ("optimal", "greedy", "random", "round-robin", "flex-moe", "oracle", "everything",
              "fedamole")


def run(
    config: ConfigArgument = None,
    set_: SetOption = None,
    data_dir: DataDirOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of the run; one that was "
                                                    "interrupted goes on.")] = Path("fedloop-run"),
    again: Annotated[bool, typer.Option("--again", help="Forget the run in that folder.")] = False,
    strategy: Annotated[str | None,
                        typer.Option("--strategy", click_type=click.Choice(STRATEGIES),
                                     show_default=False,
                                     help="Who decides which client trains what; short for --set "
                                          "strategy=greedy.")] = None,
    device: DeviceOption = None,
    tensorboard: TensorboardOption = False,
    engine: Annotated[str, typer.Option("--engine", click_type=click.Choice(
        ("inprocess", "flower")), help="Train clients in this process, or each as a node of "
                                       "Flower's simulation.")] = "inprocess",
    json: Json = False,
) -> int:
    """Train, and draw what happened.

    Without CONFIG.toml: 20 clients, 8 experts, handwritten digits that four
    hidden domains see turned by quarters.
    """
    from fedloop.checkpoint import forget
    from fedloop.events import open_events
    from fedloop.metrics import summary
    from fedloop.plot import run_figure
    from fedloop.printing import progress_of_rounds, told
    from fedloop.privacy import stated_loss
    from fedloop.report import run_page
    from fedloop.train import train

    chosen = _settings(config, set_, data_dir, device, strategy)
    if again:
        forget(out)
    with progress_of_rounds(chosen.rounds, json) as advance, (
            open_events(out) if tensorboard else nullcontext()) as add_event:

        def tell(record: dict[str, Any]) -> None:
            advance(chosen.strategy, record)
            if add_event is not None:
                add_event(record)

        if engine == "flower":
            from fedloop.flower.simulation import train_simulated

            world, state, _ = train_simulated(chosen, out, on_round=tell)
        else:
            world, state = train(chosen, out, on_round=tell)
    figure = run_figure(world, state.records)
    found = summary(state.records, chosen.targets)
    if chosen.privacy.noise_multiplier:
        found["privacy"] = stated_loss(chosen.privacy, len(state.records))
    _finish(out / "run.png", figure, run_page(chosen, found, figure), json, found,
            lambda: print_text(told(found)))
    return DONE


def compare(
    config: ConfigArgument = None,
    set_: SetOption = None,
    data_dir: DataDirOption = None,
    strategies: Annotated[str, typer.Option(help="Strategies to compare, the first with all "
                                                 "others.")] = "optimal,greedy,random",
    seeds: Annotated[str, typer.Option(help="Seeds: 0,1,5 or 0-4.")] = "0-4",
    out: Annotated[Path, typer.Option("--out", help="Folder of the runs; those interrupted go "
                                                    "on.")] = Path("fedloop-compare"),
    again: Annotated[bool, typer.Option("--again", help="Forget the runs in that folder.")] = False,
    device: DeviceOption = None,
    json: Json = False,
) -> int:
    """Train with several strategies on the same seeds, draw them, and print a table.

    The table has means over seeds with 95% intervals, and changes against the
    first strategy paired seed by seed. Runs that never reach a target count as
    the last round, and are marked.
    """
    from fedloop.checkpoint import forget, writing
    from fedloop.compare import compare as play
    from fedloop.compare import domains, figures
    from fedloop.plot import comparison_figure, described
    from fedloop.printing import print_table, progress_of_rounds
    from fedloop.report import comparison_page

    chosen = _settings(config, set_, data_dir, device)
    names = _distinct(strategies.split(","))
    numbers = _numbers(seeds)
    total = chosen.rounds * len(names) * len(numbers)
    with writing(out), progress_of_rounds(total, json) as advance:
        if again:
            for name in names:
                for seed in numbers:
                    forget(out / name / f"seed-{seed}")
        runs = play(chosen, names, numbers, out,
                    lambda name, seed, record: advance(f"{name}, seed {seed}", record))
    rows = figures(runs, chosen.targets, names[0])
    figure = comparison_figure(runs, domains(chosen, numbers),
                               chosen.model.experts * chosen.model.layers, described(chosen))
    page = comparison_page(chosen, rows, names[0], numbers, figure)
    _finish(out / "compare.png", figure, page, json, {"rows": rows},
            lambda: print_table(rows, chosen.targets, names[0]))
    return DONE


def download(
    name: Annotated[str, typer.Argument(click_type=click.Choice(
        ("mnist", "fashion-mnist", "cifar10")), show_default=False)],
    to: Annotated[Path | None, optional("Folder; by default data/NAME.", None, "--to")] = None,
) -> int:
    """Fetch a published data set, and check its hashes. Needs a network."""
    from fedloop.printing import progress_of_bytes
    from fedloop.tasks.download import download as fetch

    with progress_of_bytes() as advance:
        paths = fetch(name, to or Path("data") / name, advance)
    for path in paths:
        print_text(str(path))
    return DONE


def init(path: Annotated[Path, typer.Argument(metavar="FILE.toml", show_default=False)]) -> int:
    """Write a file with every setting, its default and what it means, to start from."""
    from fedloop.template import template

    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(template())
    except FileExistsError:
        raise ConfigError(f"{path}: is there already; give another name") from None
    print_text(f"wrote {path}; train with: fedloop run {shlex.quote(str(path))}")
    return DONE


@app.callback()
def options(version: version_option("fedloop") = False) -> None:  # type: ignore[valid-type]
    """Take what comes before a command."""


COMMANDS: tuple[tuple[Callable[..., int], tuple[str, ...]], ...] = (
    (run, ("fedloop run", "fedloop run --strategy greedy --out greedy-run",
           "fedloop run my.toml --set rounds=200 --set local.learning_rate=0.3",
           "fedloop run --set data.name=mnist --data-dir data/mnist --set data.pool=2")),
    (compare, ("fedloop compare",
               "fedloop compare my.toml --strategies optimal,greedy --seeds 10-14 --out study")),
    (init, ("fedloop init my.toml",)),
    (download, ("fedloop download mnist", "fedloop download cifar10 --to images")),
)
for command, examples in COMMANDS:
    app.command(epilog="\n\n".join(["Examples:", *examples]))(command)


def _finish(
    picture: Path, figure: Any, page: Any, json: bool, document: dict[str, Any],
    tell: Callable[[], None],
) -> None:
    """Write the picture and the page of runs, and tell their figures and these files."""
    from fedloop.plot import save
    from fedloop.report import write_page

    save(figure, picture)
    files = {"picture": str(picture)}
    try:
        write_page(page, report := picture.with_name("report.html"))
        files["report"] = str(report)
    except ReportError as error:
        note(f"note: no report.html: {error}")
    if json:
        print_json({**document, **files})
    else:
        tell()
        for kind, path in files.items():
            print_text(f"{kind}: {path}")


# -- parsing ---------------------------------------------------------------------------


def _settings(
    path: Path | None, changes: list[str] | None, data_dir: Path | None, device: str | None,
    strategy: str | None = None,
) -> Any:
    """Return the settings that the arguments choose."""
    from fedloop.config import build_config, read_config

    settings = read_config(path, changes or []).model_dump()
    if data_dir is not None:
        settings["data"]["dir"] = data_dir
    given = {"device": device, "strategy": strategy}
    settings |= {name: value for name, value in given.items() if value is not None}
    return build_config(settings)


def _distinct(names: Sequence[str]) -> list[str]:
    """Return names without blanks and repetitions, in order."""
    found = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    if not found:
        raise ConfigError("--strategies names none")
    return found


def _numbers(text: str) -> list[int]:
    """Return the seeds of ``0,1,5`` or ``0-4``."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part)
        if match is None or not 0 <= int(match[2] or match[1]) - int(match[1]) <= 1000:
            raise ConfigError(f"--seeds {text!r} is not like 0,1,5 or 0-4")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return list(dict.fromkeys(found))


# -- running ---------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the program's name; None takes those of the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # What --again forgot must not be forgotten twice.
    same = shlex.join(["fedloop", *(word for word in words if word != "--again")])
    return run_command(lambda: run_app(app, words, "fedloop", "alignsolve[fed]"),
                       f"interrupted; what was begun is kept, and goes on with: {same}")


if __name__ == "__main__":
    sys.exit(main())
