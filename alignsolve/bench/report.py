"""The closing table, and everything that a bench leaves in its folder."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alignsolve.bench.contents import Findings
from alignsolve.bench.layout import closing_text
from alignsolve.bench.page import bench_page
from alignsolve.bench.profile import draw_profiles, profile_figures
from alignsolve.bench.records import Instance, Row, Settings, finite
from alignsolve.bench.score import SHIFT, ClassScore, Judgement, judge, score_class
from alignsolve.bench.store import write_csv, write_whole
from alignsolve.report import render

#: Name and version of what `BenchReport.to_json` returns.
SCHEMA = "alignsolve-bench/1"

CLASSES = ("flow", "mip")

#: What is left out without a library, and how to have it.
OPTIONAL = {
    "matplotlib": "profile.svg, profile.png, quality.svg, quality.png: drawn by matplotlib: "
                  "pip install 'alignsolve[plot]'",
    "jinja2": "report.html: made by jinja2: pip install 'alignsolve[report]'",
}


class BenchReport(Findings):
    """What a bench found, written and shown."""

    @classmethod
    def write(
        cls, folder: Path, settings: Settings, backends: Sequence[str],
        instances: Sequence[Instance], rows: Sequence[Row], starts: Mapping[str, float],
        notices: Sequence[str], interrupted: bool,
    ) -> BenchReport:
        """Score the rows, write the files, and return the report."""
        instances = sorted(instances, key=lambda one: one.name)
        order = {backend: rank for rank, backend in enumerate(backends)}
        rows = sorted(rows, key=lambda row: (row.instance, order[row.backend]))
        judgements = judge(instances, rows, settings)
        scores = [
            score_class(one, instances, judgements, backends, settings)
            for one in CLASSES
            if any(instance.problem_class == one for instance in instances)
        ]
        files = {
            "jsonl": folder / "results.jsonl",
            "csv": folder / "results.csv",
            "json": folder / "report.json",
            "text": folder / "report.txt",
        }
        missing = [name for name in OPTIONAL if importlib.util.find_spec(name) is None]
        notices = [*notices, *(OPTIONAL[name] for name in missing)]
        figures = {} if "matplotlib" in missing else profile_figures(scores)
        files |= draw_profiles(folder, figures)
        if "jinja2" not in missing:
            files["html"] = folder / "report.html"
        report = cls(
            settings=settings,
            backends=tuple(backends),
            instances=tuple(instances),
            judgements=tuple(judgements),
            scores=tuple(scores),
            starts=dict(starts),
            notices=tuple(notices),
            interrupted=interrupted,
            files=files,
        )
        write_csv(files["csv"], judgements)
        write_whole(files["json"], (json.dumps(report.to_json(), indent=1) + "\n").encode())
        write_whole(files["text"], report.table().encode())
        if "html" in files:
            write_whole(files["html"], render(bench_page(report, figures)).encode())
        return report

    def table(self, width: int = 100, color: bool = False) -> str:
        """Return the closing text, at most `width` columns wide.

        Parameters
        ----------
        width : int, default 100
            Columns, at least 80.
        color : bool, default False
            Whether to mark wrong answers and headings with ANSI codes.
        """
        return closing_text(self, width, color)

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object; what is unknown or infinite is null."""
        return {
            "schema": SCHEMA,
            "settings": asdict(self.settings),
            "shift_seconds": SHIFT,
            "backends": list(self.backends),
            "interrupted": self.interrupted,
            "start_seconds": dict(self.starts),
            "classes": {score.problem_class: _class_json(score) for score in self.scores},
            "wrong": list(self.wrong),
            "notices": list(self.notices),
            "instances": [instance.to_json() for instance in self.instances],
            "rows": [_row_json(one) for one in self.judgements],
            "files": {kind: path.name for kind, path in self.files.items()},
        }


def _class_json(score: ClassScore) -> dict[str, Any]:
    """Return the figures of a class as a JSON object."""
    return {
        "instances": score.instances,
        "common": list(score.common),
        "backends": {
            one.backend: {
                name: finite(value) if isinstance(value, float) else value
                for name, value in (vars(one) | one.quality.figures()).items()
                if name not in ("backend", "quality")
            }
            for one in score.summaries
        },
    }


def _row_json(judgement: Judgement) -> dict[str, Any]:
    """Return a row with its verdict as a JSON object."""
    row = {name: value for name, value in vars(judgement.row).items() if name != "incumbents"}
    return row | {
        "solved": judgement.solved,
        "at_best": judgement.at_best,
        "late": judgement.late,
        "gap_to_best": finite(judgement.gap),
        "wrong": judgement.wrong,
        **{name: finite(value) for name, value in judgement.quality.figures().items()},
    }
