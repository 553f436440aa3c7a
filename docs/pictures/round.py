"""Draw one round of aligned training: ``python docs/pictures/round.py`` writes round.svg."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

#: Text, centre and colour of every box.
BOXES = {
    "fitness": ("Fitness\nhow much each client\nimproves each expert", (1.6, 4.6), "#cfe3f5"),
    "load": ("Global load\nhow often each expert\nwas trained", (1.6, 2.8), "#cfe3f5"),
    "capacity": ("Capacity\nslots, memory, network\nof each client", (1.6, 1.0), "#cfe3f5"),
    "assignment": ("Assignment\nalignsolve decides who\ntrains what, with a proof",
                   (5.6, 2.8), "#fbe3b5"),
    "training": ("Training\nclients train their experts;\nthe server averages",
                 (9.6, 2.8), "#d5ecd4"),
}
#: Arrows: from, to, how much they bend.
ARROWS = [("fitness", "assignment", 0.0), ("load", "assignment", 0.0),
          ("capacity", "assignment", 0.0), ("assignment", "training", 0.0)]  # fmt: skip
WIDTH, HEIGHT = 2.9, 1.35


def draw() -> Figure:
    """Return the figure."""
    figure = Figure(figsize=(8.6, 4.6))
    axes: Axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 11.3), ylim=(0.1, 6.1))
    axes.axis("off")
    for text, (x, y), colour in BOXES.values():
        axes.add_patch(FancyBboxPatch(
            (x - WIDTH / 2, y - HEIGHT / 2), WIDTH, HEIGHT, boxstyle="round,pad=0.05",
            facecolor=colour, edgecolor="#44505c"))  # fmt: skip
        title, rest = text.split("\n", 1)
        axes.text(x, y + 0.37, title, ha="center", va="center", fontsize=12, weight="bold",
                  color="#1b2733")
        axes.text(x, y - 0.2, rest, ha="center", va="center", fontsize=9.5, color="#1b2733")
    half, style = WIDTH / 2 + 0.12, {"arrowstyle": "-|>", "color": "#44505c", "linewidth": 1.6}
    for start, end, bend in ARROWS:
        (x0, y0), (x1, y1) = BOXES[start][1], BOXES[end][1]
        target = y1 + 0.32 * (y0 > y1) - 0.32 * (y0 < y1)
        axes.annotate("", (x1 - half, target), (x0 + half, y0),
                      arrowprops=style | {"connectionstyle": f"arc3,rad={bend}"})
    x, top = BOXES["training"][1][0], 5.65
    line = {"color": "#44505c", "linewidth": 1.6}
    axes.plot([x, x], [2.8 + HEIGHT / 2 + 0.08, top], **line)
    axes.plot([x, 1.6], [top, top], **line)
    axes.annotate("", (1.6, 4.6 + HEIGHT / 2 + 0.05), (1.6, top), arrowprops=style)
    axes.text(5.6, top + 0.06, "reports: samples, losses, seconds; next round", ha="center",
              va="bottom", fontsize=10, color="#1b2733")
    return figure


if __name__ == "__main__":
    with mpl.rc_context({"svg.hashsalt": "round", "svg.fonttype": "none",
                         "font.family": "sans-serif"}):  # fmt: skip
        draw().savefig(Path(__file__).with_name("round.svg"), metadata={"Date": None},
                       facecolor="white")
