"""Draw performance profiles as SVG and PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignsolve.bench.score import ClassScore, performance_profile
from alignsolve.bench.store import write_whole
from alignsolve.model.text import counted

#: Colours that people with any colour vision tell apart (Okabe and Ito), then repeated dashed.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", ":")


def draw_profiles(folder: Path, scores: Sequence[ClassScore]) -> dict[str, Path]:
    """Write ``profile.svg`` and ``profile.png``, one panel per class.

    Parameters
    ----------
    folder : Path
        Where to write.
    scores : sequence of ClassScore
        Classes without a common instance are left out.

    Returns
    -------
    files : dict of str to Path
        Keys "svg" and "png"; empty where there is nothing to draw.

    References
    ----------
    See `alignsolve.bench.score.performance_profile`.
    """
    drawn = [score for score in scores if score.common and len(score.profile) > 1]
    if not drawn:
        return {}
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "alignsolve", "font.size": 9.0}):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(4.6 * len(drawn) + 1.4, 4.0), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        names = list(dict.fromkeys(name for score in drawn for name in score.profile))
        styles = {
            name: {
                "color": _COLOURS[index % len(_COLOURS)],
                "linestyle": _DASHES[index // len(_COLOURS) % len(_DASHES)],
            }
            for index, name in enumerate(names)
        }
        panels = figure.subplots(1, len(drawn), squeeze=False)[0]
        for axes, score in zip(panels, drawn, strict=True):
            _draw_panel(axes, score, styles)
        panels[0].set_ylabel("share of instances solved")
        lines = {line.get_label(): line for axes in panels for line in axes.get_lines()}
        figure.legend([lines[name] for name in names], names, loc="outside right center",
                      frameon=False)
        return {
            "svg": _save(figure, folder / "profile.svg", {"Date": None}),
            "png": _save(figure, folder / "profile.png", {"Software": None}),
        }


def _draw_panel(axes: Any, score: ClassScore, styles: dict[str, dict[str, str]]) -> None:
    """Draw the profile of one class."""
    profile = performance_profile(score.profile)
    right = 2.0 * max(float(ratios[-1]) for ratios, _ in profile.values())
    for name, (ratios, shares) in profile.items():
        axes.step([*ratios, right], [*shares, shares[-1]], where="post", label=name,
                  linewidth=1.6, **styles[name])
    axes.set_xscale("log")
    axes.set_xlim(1.0, right)
    axes.set_ylim(-0.02, 1.02)
    steps = (1, 2, 5) if right < 100 else (1,)
    decades = range(math.ceil(math.log10(right)) + 1)
    ticks = [step * 10**decade for decade in decades for step in steps]
    ticks = [tick for tick in ticks if tick <= right]
    axes.set_xticks(ticks, [f"{tick}×" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("time to proof over the fastest backend's")
    axes.set_title(
        f"{score.problem_class} class: {counted(len(score.common), 'common instance')}"
    )
    axes.grid(alpha=0.25, linewidth=0.6)


def _save(figure: Any, path: Path, metadata: dict[str, None]) -> Path:
    """Write a figure whole, and the same bytes for the same figures."""
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], metadata=metadata)
    write_whole(path, content.getvalue())
    return path
