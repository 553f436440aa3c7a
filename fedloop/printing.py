"""What the command line shows while it works, and in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich import progress
from rich.console import Console
from rich.table import Table

from alignsolve.cli.common import print_text

#: Columns of characters that tables have at least.
TABLE_WIDTH = 100


@contextmanager
def progress_of_rounds(
    total: int, quiet: bool
) -> Iterator[Callable[[str, dict[str, Any]], None]]:
    """Show rounds, accuracy and load CV on a terminal while runs go on."""
    columns = progress.BarColumn(), progress.MofNCompleteColumn(), progress.TimeRemainingColumn()
    with _bar(*columns, quiet=quiet) as bar:
        task = bar.add_task("loading", total=total)
        yield lambda name, record: bar.update(
            task, advance=1, description=f"{name}: accuracy {record['accuracy']:.3f}, "
                                         f"load CV {record['load_cv']:.4f}")


@contextmanager
def progress_of_bytes() -> Iterator[Callable[[str, int, int | None], None]]:
    """Show a file's bytes on a terminal while they arrive."""
    with _bar(progress.DownloadColumn(), progress.TransferSpeedColumn()) as bar:
        task = bar.add_task("connecting")
        yield lambda file, done, size: bar.update(
            task, description=file, completed=done, total=size)


def _bar(*columns: progress.ProgressColumn, quiet: bool = False) -> progress.Progress:
    console = Console(stderr=True)
    return progress.Progress(progress.TextColumn("{task.description}"), *columns,
                             console=console, disable=quiet or not console.is_terminal)


def told(found: dict[str, Any]) -> str:
    """Return the figures of a run in words."""
    lines = [
        f"rounds {found['rounds']}, moved {found['bytes'] / 1e6:.1f} MB, simulated time "
        f"{found['seconds']:.1f} s, load CV {found['load_cv']:.4f}",
        f"accuracy {found['accuracy']:.3f} as served (worst tenth of the clients "
        f"{found['worst_decile']:.3f}), {found['accuracy_all']:.3f} with all experts",
    ]
    if "bits_per_byte" in found:
        lines.append(f"{found['bits_per_byte']:.3f} bits per byte as served, "
                     f"{found['bits_per_byte_all']:.3f} with all experts")
    for target, rounds in found["rounds_to"].items():
        lines.append(f"{target}% not reached" if rounds is None else
                     f"{target}% after {rounds} rounds, "
                     f"{found['bytes_to'][target] / 1e6:.1f} MB, "
                     f"{found['seconds_to'][target]:.1f} simulated s")
    if "privacy" in found:
        lines.append("reported statistics: " + (
            "not private, since privacy.seeded tells the server the noise"
            if found["privacy"]["epsilon"] is None else
            "epsilon {epsilon:.3g} at delta {delta:g} for a client in every round".format(
                **found["privacy"])))
    return "\n".join(lines)


#: What the cells of `comparison_tables` say.
LEGEND = ("mean ± half of the 95% interval over seeds; >: k of n runs did not get there and count "
          "as the last round (k/n)")


def comparison_tables(
    rows: list[dict[str, Any]], targets: Sequence[float], ours: str
) -> list[tuple[list[str], list[list[str]]]]:
    """Return means and intervals of every strategy as two tables: heads, and a row for each.

    Parameters
    ----------
    rows : list of dict
        From `fedloop.compare.figures`.
    targets : sequence of float
        Accuracies, as shares.
    ours : str
        The strategy that others are compared with.
    """
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
    return [
        (["strategy", *(title for _, title, *_ in columns)],
         [[row["strategy"], *(_interval(row[key], factor, digits, unit) if key in row else ""
                              for key, _, factor, digits, unit in columns)]
          for row in rows])
        for columns in (to_targets, at_end) if columns
    ]


def print_table(rows: list[dict[str, Any]], targets: Sequence[float], ours: str) -> None:
    """Print means and intervals of every strategy, in tables that fit a terminal."""
    console = Console(width=max(TABLE_WIDTH, Console().width))
    for heads, cells in comparison_tables(rows, targets, ours):
        table = Table(*heads)
        for row in cells:
            table.add_row(*row)
        console.print(table)
    print_text(LEGEND)


def _interval(value: Any, factor: float, digits: int, unit: str = "") -> str:
    """Spell an estimate; mark one with censored values."""
    if value.censored == value.n:
        return "unknown" if unit else f"never ({value.n}/{value.n})"
    text = f"{factor * value.mean:.{digits}f}"
    if value.n > 1:
        text += f" ± {factor * value.half_width:.{digits}f}"
    mark = f"> {text}{unit} ({value.censored}/{value.n})"
    return mark if value.censored else f"{text}{unit}"
