"""Draw which hidden domain trains which expert, aligned and at random.

``python docs/pictures/specialisation.py`` trains two runs on digits (20 clients, four hidden
rotations, seed 0, 80 rounds, about 15 s) and writes specialisation.png.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import fedloop
from fedloop.config import Config

#: The last rounds, which are shown.
ROUNDS = 40
TITLES = {"optimal": "aligned (alignsolve)", "random": "random"}


def shares(folder: Path) -> np.ndarray:
    """Return each domain's share of each expert's training, shape (domains, experts)."""
    domains = [client["domain"] for client in json.loads(
        (folder / "partition.json").read_text())["clients"]]
    records = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    counts = np.zeros((max(domains) + 1, len(records[-1]["holders"])))
    for record in records[-ROUNDS:]:
        for client, experts in record["held"].items():
            counts[domains[int(client)], experts] += 1
    return counts / counts.sum(axis=0)


def main() -> None:
    """Train, and draw."""
    figure = Figure(figsize=(8.6, 2.9), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, (strategy, title) in zip(axes, TITLES.items(), strict=True):
        with tempfile.TemporaryDirectory() as room:
            fedloop.run_training(Config(strategy=strategy), folder=Path(room))
            share = shares(Path(room))
        share = share[:, np.argsort(share.argmax(axis=0), kind="stable")]
        image = ax.imshow(share, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        ax.set(title=title, xlabel="expert", xticks=range(share.shape[1]),
               yticks=range(len(share)), yticklabels=[f"{90 * d}°" for d in range(len(share))])
    axes[0].set_ylabel("rotation of the\nclient's images")
    figure.colorbar(image, ax=axes, label="share of the\nexpert's training")
    figure.savefig(Path(__file__).with_name("specialisation.png"), dpi=100)


if __name__ == "__main__":
    main()
