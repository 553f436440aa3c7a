"""Write performance profiles as SVG and PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from alignsolve.bench.score import ClassScore
from alignsolve.bench.store import write_whole
from alignsolve.plot.performance import drawable, profile
from alignsolve.plot.style import REPEATABLE, figure_bytes, line_styles, new_figure


def profile_figure(scores: Sequence[ClassScore]) -> Any:
    """Return a figure with one panel per class, or None where there is nothing to draw."""
    drawn = [score for score in scores if drawable(score)]
    if not drawn:
        return None
    import matplotlib

    with matplotlib.rc_context(REPEATABLE):
        figure = new_figure(4.6 * len(drawn) + 1.4, 4.3)
        names = list(dict.fromkeys(name for score in drawn for name in score.profile))
        styles = line_styles(names)
        panels = figure.subplots(1, len(drawn), squeeze=False)[0]
        for axes, score in zip(panels, drawn, strict=True):
            profile(SimpleNamespace(scores=[score]), axes, styles=styles)
            axes.get_legend().remove()
        for axes in panels[1:]:
            axes.set_ylabel("")
        lines = {line.get_label(): line for axes in panels for line in axes.get_lines()}
        figure.legend([lines[name] for name in names], names, loc="outside right center",
                      frameon=False)
        return figure


def draw_profiles(folder: Path, figure: Any) -> dict[str, Path]:
    """Write ``profile.svg`` and ``profile.png``, one panel per class.

    Parameters
    ----------
    folder : Path
        Where to write.
    figure : matplotlib Figure or None
        What `profile_figure` returns.

    Returns
    -------
    files : dict of str to Path
        Keys "svg" and "png"; empty where there is nothing to draw.

    References
    ----------
    See `alignsolve.plot.performance.performance_profile`.
    """
    if figure is None:
        return {}
    files = {form: folder / f"profile.{form}" for form in ("svg", "png")}
    for form, path in files.items():
        write_whole(path, figure_bytes(figure, form))
    return files
