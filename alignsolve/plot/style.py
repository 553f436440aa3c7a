"""How pictures look: colours for any colour vision, and figures that need no screen."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colours that people with any colour vision tell apart: M Okabe and K Ito, Color Universal
#: Design, 2008. Black is last.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

#: Dashes for when all colours are used up.
DASHES = ("-", "--", ":")

#: The colour map of heat maps, of which lightness rises evenly for any colour vision.
COLOUR_MAP = "cividis"

#: Settings of matplotlib for files that are the same for the same figures.
REPEATABLE: dict[str, Any] = {"svg.hashsalt": "alignsolve", "font.size": 9.0}


def line_styles(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return colour and dashes of each name's line; those of the first are distinct colours."""
    return {
        name: {"color": COLOURS[at % len(COLOURS)],
               "linestyle": DASHES[at // len(COLOURS) % len(DASHES)]}
        for at, name in enumerate(names)
    }


def need_matplotlib() -> None:
    """Raise `ImportError` with the line that installs matplotlib, unless it is there."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError("pictures are drawn by matplotlib: pip install 'alignsolve[plot]'")


def axes_or_new(axes: Axes | None) -> Axes:
    """Return the caller's Axes, or those of a new figure of pyplot's."""
    if axes is not None:
        return axes
    need_matplotlib()
    from matplotlib import pyplot

    made: Axes = pyplot.subplots(layout="constrained")[1]
    return made


def new_figure(width: float, height: float, dpi: int = 150) -> Any:
    """Return a figure, in inches, that pyplot does not keep and no screen is needed for."""
    need_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def figure_bytes(figure: Any, form: str) -> bytes:
    """Return a figure as the content of a file, "svg" or "png", without dates and versions."""
    import matplotlib

    content = io.BytesIO()
    # What is unknown or varies is left out: the same figures give the same bytes.
    metadata = {"svg": {"Date": None}, "png": {"Software": None}}[form]
    with matplotlib.rc_context(REPEATABLE):
        figure.savefig(content, format=form, metadata=metadata)
    return content.getvalue()


def heat_map(axes: Axes, values: Any, label: str, most: float | None = None) -> Any:
    """Draw a matrix in colours, from 0 to `most`, and say beside it what they are; the image."""
    image = axes.imshow(values, aspect="auto", interpolation="nearest", cmap=COLOUR_MAP, vmin=0.0,
                        vmax=most)
    axes.figure.colorbar(image, ax=axes, label=label)
    return image
