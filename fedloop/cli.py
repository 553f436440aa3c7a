"""The command line ``fedloop``: parsing and printing, nothing else.

Exit codes: 0 done; 2 bad input or usage; 130 interrupted.
"""

from __future__ import annotations

import enum
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from alignsolve.cli_common import BAD_INPUT, DONE, INTERRUPTED, note, print_json, print_text
from alignsolve.errors import AlignSolveError
from fedloop.errors import ConfigError

app = typer.Typer(
    name="fedloop",
    help="Federated training of mixture-of-experts models, with alignment of clients and experts.",
    epilog="Exit codes: 0 done; 2 bad input or usage; 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigArgument = Annotated[
    Path | None, typer.Argument(metavar="[CONFIG.toml]", show_default=False)
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", show_default=False,
                                   help="Replace a setting, such as local.steps=10. May be given "
                                        "several times.")
]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", show_default=False, help="Where the images are.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document and nothing else on standard "
                                      "output.")
]


#: Columns of characters that tables have at least.
TABLE_WIDTH = 100


class Names(enum.StrEnum):
    """Data sets that can be fetched."""

    MNIST = "mnist"
    FASHION_MNIST = "fashion-mnist"
    CIFAR10 = "cifar10"


class Engine(enum.StrEnum):
    """What trains the clients."""

    INPROCESS = "inprocess"
    FLOWER = "flower"


def run(
    config: ConfigArgument = None,
    set_: SetOption = None,
    data_dir: DataDirOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of the run; one that was "
                                                    "interrupted goes on.")] = Path("fedloop-run"),
    again: Annotated[bool, typer.Option("--again", help="Forget the run in that folder.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write events for "
                                                                    "TensorBoard.")] = False,
    engine: Annotated[Engine, typer.Option("--engine", help="Train clients in this process, or "
                                                            "each as a node of Flower's "
                                                            "simulation.")] = Engine.INPROCESS,
    json: JsonOption = False,
) -> int:
    """Train, and draw what happened.

    Without CONFIG.toml: 20 clients, 8 experts, handwritten digits that four
    hidden domains see turned by quarters.
    """
    from fedloop.metrics import summary
    from fedloop.plots import draw_run
    from fedloop.privacy import epsilon_of
    from fedloop.train import train

    chosen = _settings(config, set_, data_dir)
    if again:
        _forget(out)
    writer = _tensorboard(out) if tensorboard else None
    with _progress(chosen.rounds, json) as advance:

        def tell(record: dict[str, Any]) -> None:
            advance(chosen.strategy, record)
            if writer is not None:
                for name in ("accuracy", "accuracy_all", "worst_decile", "load_cv", "loss"):
                    writer.add_scalar(name, record[name], record["round"])

        if engine is Engine.FLOWER:
            from fedloop.flower.simulation import train_simulated

            world, state, _ = train_simulated(chosen, out, on_round=tell)
        else:
            world, state = train(chosen, out, on_round=tell)
    if writer is not None:
        writer.close()
    picture = out / "run.png"
    draw_run(world, state.records, picture)
    found = summary(state.records, chosen.targets)
    if chosen.privacy.noise_multiplier:
        found["privacy"] = {
            "epsilon": epsilon_of(chosen.privacy.noise_multiplier, chosen.privacy.delta,
                                  len(state.records)),
            "delta": chosen.privacy.delta,
        }
    if json:
        print_json({**found, "picture": str(picture)})
    else:
        print_text(_told(found))
        print_text(f"picture: {picture}")
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
    json: JsonOption = False,
) -> int:
    """Train with several strategies on the same seeds, draw them, and print a table.

    The table has means over seeds with 95% intervals, and changes against the
    first strategy paired seed by seed. Runs that never reach a target count as
    the last round, and are marked.
    """
    from fedloop.compare import compare as play
    from fedloop.compare import domains, figures
    from fedloop.plots import draw_comparison

    chosen, names = _settings(config, set_, data_dir), _distinct(strategies.split(","))
    numbers = _numbers(seeds)
    if again:
        for name in names:
            for seed in numbers:
                _forget(out / name / f"seed-{seed}")
    with _progress(chosen.rounds * len(names) * len(numbers), json) as advance:
        runs = play(chosen, names, numbers, out,
                    lambda name, seed, record: advance(f"{name}, seed {seed}", record))
    rows = figures(runs, chosen.targets, names[0])
    picture = out / "compare.png"
    draw_comparison(runs, domains(chosen, numbers), chosen.model.experts * chosen.model.layers,
                    picture)
    if json:
        print_json({"rows": rows, "picture": str(picture)})
    else:
        _print_table(rows, chosen.targets, names[0])
        print_text(f"picture: {picture}")
    return DONE


def download(
    name: Annotated[Names, typer.Argument(show_default=False)],
    to: Annotated[Path | None, typer.Option("--to", show_default=False,
                                            help="Folder; by default data/NAME.")] = None,
) -> int:
    """Fetch a published data set, and check its hashes. Needs a network."""
    from fedloop.download import download as fetch

    for path in fetch(name.value, to or Path("data") / name.value):
        print_text(str(path))
    return DONE


COMMANDS: tuple[tuple[Callable[..., int], tuple[str, ...]], ...] = (
    (run, ("fedloop run", "fedloop run my.toml --set rounds=200 --set local.learning_rate=0.3",
           "fedloop run --set data.name=mnist --data-dir data/mnist --set data.pool=2")),
    (compare, ("fedloop compare",
               "fedloop compare my.toml --strategies optimal,greedy --seeds 10-14 --out study")),
    (download, ("fedloop download mnist", "fedloop download cifar10 --to images")),
)
for command, examples in COMMANDS:
    app.command(epilog="\n\n".join(["Examples:", *examples]))(command)


# -- parsing ---------------------------------------------------------------------------


def _settings(path: Path | None, changes: list[str] | None, data_dir: Path | None) -> Any:
    """Return the settings that the arguments choose."""
    from fedloop.config import build_config, read_config

    chosen = read_config(path, changes or [])
    if data_dir is None:
        return chosen
    settings = chosen.model_dump()
    settings["data"]["dir"] = data_dir
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
        if match is None or int(match[2] or match[1]) - int(match[1]) > 1000:
            raise ConfigError(f"--seeds {text!r} is not like 0,1,5 or 0-4")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return list(dict.fromkeys(found))


def _forget(folder: Path) -> None:
    """Remove a run's checkpoint, so that it starts anew."""
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)


# -- printing --------------------------------------------------------------------------


class _progress:  # noqa: N801 - used like a function
    """Show rounds, accuracy and load CV on a terminal while runs go on."""

    def __init__(self, total: int, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(), console=console, disable=quiet or not console.is_terminal,
        )
        self._task = self._bar.add_task("loading", total=total)

    def __enter__(self) -> Callable[[str, dict[str, Any]], None]:
        self._bar.start()
        return self._advance

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _advance(self, name: str, record: dict[str, Any]) -> None:
        self._bar.update(
            self._task, advance=1,
            description=f"{name}: accuracy {record['accuracy']:.3f}, "
                        f"load CV {record['load_cv']:.4f}",
        )


def _tensorboard(folder: Path) -> Any:
    """Return a writer of events."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError("--tensorboard needs a package: pip install tensorboard") from None
    return SummaryWriter(str(folder / "tensorboard"))


def _told(found: dict[str, Any]) -> str:
    """Return the figures of a run in words."""
    lines = [
        f"rounds {found['rounds']}, moved {found['bytes'] / 1e6:.1f} MB, simulated time "
        f"{found['seconds']:.1f} s, load CV {found['load_cv']:.4f}",
        f"accuracy {found['accuracy']:.3f} with the experts held (worst tenth of the clients "
        f"{found['worst_decile']:.3f}), {found['accuracy_all']:.3f} with all experts",
    ]
    for target, rounds in found["rounds_to"].items():
        lines.append(f"{target}% not reached" if rounds is None else
                     f"{target}% after {rounds} rounds, "
                     f"{found['bytes_to'][target] / 1e6:.1f} MB, "
                     f"{found['seconds_to'][target]:.1f} simulated s")
    if "privacy" in found:
        lines.append("reported statistics: epsilon {epsilon:.3g} at delta {delta:g} for a client "
                     "in every round".format(**found["privacy"]))
    return "\n".join(lines)


def _print_table(rows: list[dict[str, Any]], targets: Sequence[float], ours: str) -> None:
    """Print means and intervals of every strategy, in two tables that fit a terminal."""
    from rich.console import Console
    from rich.table import Table

    names = [f"{100 * target:g}" for target in targets]
    to_targets = [
        column for name in names for column in (
            (f"rounds_to_{name}", f"rounds to {name}%", 1, 1, ""),
            (f"fewer_rounds_to_{name}", f"fewer with {ours}", 100, 0, "%"),
        )
    ]
    at_end = [(f"bytes_to_{name}", f"MB to {name}%", 1e-6, 1, "") for name in names[:1]] + [
        ("accuracy", "accuracy", 100, 1, "%"), ("worst_decile", "worst tenth", 100, 1, "%"),
        ("accuracy_all", "all experts", 100, 1, "%"), ("load_cv", "load CV", 1, 4, ""),
    ]
    console = Console(width=max(TABLE_WIDTH, Console().width))
    for columns in (to_targets, at_end):
        if columns:
            table = Table("strategy", *(title for _, title, *_ in columns))
            for row in rows:
                table.add_row(row["strategy"], *(
                    _interval(row[key], factor, digits, unit) if key in row else ""
                    for key, _, factor, digits, unit in columns
                ))
            console.print(table)
    print_text("mean ± half of the 95% interval over seeds; >: k of n runs did not get there and "
               "count as the last round (k/n)")


def _interval(value: Any, factor: float, digits: int, unit: str = "") -> str:
    """Spell an estimate; mark one with censored values."""
    if value.censored == value.n:
        return "unknown" if unit else f"never ({value.n}/{value.n})"
    text = f"{factor * value.mean:.{digits}f}"
    if value.n > 1:
        text += f" ± {factor * value.half_width:.{digits}f}"
    mark = f"> {text}{unit} ({value.censored}/{value.n})"
    return mark if value.censored else f"{text}{unit}"


# -- running ---------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the program's name; None takes those of the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(words, prog_name="fedloop", standalone_mode=False)
        return code if isinstance(code, int) else DONE
    except click.exceptions.NoArgsIsHelpError:
        return BAD_INPUT
    except click.ClickException as error:
        return _failed(error.format_message(), words)
    except AlignSolveError as error:
        return _failed(str(error), words)
    except ModuleNotFoundError as error:
        return _failed(f"{error.name} is missing: pip install 'alignsolve[fed]'", words)
    except (KeyboardInterrupt, click.Abort):
        note("interrupted; the same command goes on from the last checkpoint")
        return INTERRUPTED


def _failed(message: str, words: Sequence[str]) -> int:
    """Report an error in one line."""
    line = " ".join(message.split())
    note(f"error: {line}")
    if "--json" in words:
        print_json({"error": line})
    return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
