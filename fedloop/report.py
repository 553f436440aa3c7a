"""Reports of a run, and of several side by side: one page of HTML each, `alignsolve.report`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import alignsolve as al
from alignsolve.io.files import atomic_write
from alignsolve.plot.style import figure_bytes
from alignsolve.report import Page, Section, Table, inline_svg, render
from fedloop.config import Config
from fedloop.plot import described
from fedloop.printing import LEGEND, comparison_tables, told
from fedloop.settings import Settings


def run_page(config: Config, found: dict[str, Any], figure: Any) -> Page:
    """Return the page of a run.

    Parameters
    ----------
    config : Config
        Its settings.
    found : dict
        From `fedloop.metrics.summary`.
    figure : matplotlib Figure
        From `fedloop.plot.run_figure`.
    """
    return Page(
        "fedloop run", f"{described(config)}: {config.strategy}, seed {config.seed}.",
        [Section("What came of it", told(found).splitlines()),
         Section("Pictures", svg=inline_svg(figure_bytes(figure, "svg")),
                 caption="Accuracy and finished holders of the experts over the rounds; in which "
                         "share of the last rounds each client held each expert; and which labels "
                         "its samples have."),
         _settings(config)],
    )  # fmt: skip


def comparison_page(
    config: Config, rows: list[dict[str, Any]], ours: str, seeds: Sequence[int], figure: Any
) -> Page:
    """Return the page of a comparison.

    Parameters
    ----------
    config : Config
        Settings that all runs share.
    rows : list of dict
        From `fedloop.compare.figures`.
    ours : str
        The strategy that others are compared with.
    seeds : sequence of int
        Seeds.
    figure : matplotlib Figure
        From `fedloop.plot.comparison_figure`.
    """
    tables = [Table(heads, cells) for heads, cells in comparison_tables(rows, config.targets, ours)]
    return Page(
        "fedloop compare",
        f"{described(config)}: {', '.join(row['strategy'] for row in rows)}, seeds "
        f"{', '.join(map(str, seeds))}.",
        [Section("Figures", [LEGEND], tables),
         Section("Pictures", svg=inline_svg(figure_bytes(figure, "svg")),
                 caption="Mean accuracy of the clients against rounds, bytes and simulated time, "
                         "and load CV, means over seeds with their range; of the lowest seed, "
                         "finished holders, and in which share of the last rounds each client held "
                         "each expert."),
         _settings(config)],
    )  # fmt: skip


def _settings(config: Config) -> Section:
    """Return all settings, group by group."""
    plain = config.model_dump(mode="json")
    own = {name: plain[name] for name, value in config if not isinstance(value, Settings)}
    groups = {"": own} | {name: plain[name] for name, value in config
                          if isinstance(value, Settings)}
    rows = [(f"{group}.{name}" if group else name, json.dumps(value))
            for group, values in groups.items() for name, value in values.items()]
    return Section("Settings", [f"alignsolve {al.__version__}"], [Table((), rows)])


def write_page(page: Page, path: Path) -> None:
    """Write a page, whole or not at all.

    Raises
    ------
    ReportError
        If jinja2 is missing.
    """
    content = render(page).encode()
    with atomic_write(path) as stream:
        stream.write(content)
