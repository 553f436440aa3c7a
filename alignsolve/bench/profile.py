"""Draw performance profiles, and write them as SVG and PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from alignsolve.bench.quality import GAPS
from alignsolve.bench.score import ClassScore
from alignsolve.bench.store import write_whole
from alignsolve.plot.performance import drawable, profile
from alignsolve.plot.style import REPEATABLE, figure_bytes, line_styles, new_figure

#: What a panel shows: a class, and the gap to which time is taken, or None for the proof.
Panel = tuple[ClassScore, str | None]


def profile_figures(scores: Sequence[ClassScore]) -> dict[str, Any]:
    """Return the figures that there is something to draw for, by the names of their files.

    Returns
    -------
    figures : dict of str to matplotlib Figure
        "profile" has the time to proof, one panel per class; "quality" the time to each of
        `alignsolve.bench.quality.GAPS`, one row of panels per class.
    """
    proof: list[Panel] = [(score, None) for score in scores if drawable(score.profile)]
    quality: list[Panel] = [(score, gap) for score in scores for gap in GAPS
                            if drawable(score.quality_profiles[gap])]
    grids = {"profile": (proof, len(proof)), "quality": (quality, len(GAPS))}
    return {name: _figure(panels, columns) for name, (panels, columns) in grids.items() if panels}


def _figure(panels: Sequence[Panel], columns: int) -> Any:
    """Return a figure of panels in rows, with one legend."""
    import matplotlib

    rows = len(panels) // columns
    with matplotlib.rc_context(REPEATABLE):
        figure = new_figure(4.6 * columns + 1.4, 4.3 * rows)
        names = list(dict.fromkeys(name for score, _ in panels for name in score.profile))
        styles = line_styles(names)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, (score, gap) in zip(grid.flat, panels, strict=True):
            profile(SimpleNamespace(scores=[score]), axes, styles=styles, gap=gap)
            axes.get_legend().remove()
        for axes in grid[:, 1:].flat:
            axes.set_ylabel("")
        lines = {line.get_label(): line for axes in grid.flat for line in axes.get_lines()}
        figure.legend([lines[name] for name in names], names, loc="outside right center",
                      frameon=False)
        return figure


def draw_profiles(folder: Path, figures: Mapping[str, Any]) -> dict[str, Path]:
    """Write each figure as SVG and PNG.

    Parameters
    ----------
    folder : Path
        Where to write.
    figures : mapping of str to matplotlib Figure
        What `profile_figures` returns.

    Returns
    -------
    files : dict of str to Path
        Keys "svg" and "png" for the time to proof, "quality_svg" and "quality_png" for the time
        to quality; none where there is nothing to draw.

    References
    ----------
    See `alignsolve.plot.performance.performance_profile`.
    """
    files = {}
    for name, figure in figures.items():
        for form in ("svg", "png"):
            path = folder / f"{name}.{form}"
            write_whole(path, figure_bytes(figure, form))
            files[form if name == "profile" else f"{name}_{form}"] = path
    return files
