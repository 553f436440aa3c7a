"""How much faster the clients of a round train together than one by one.

    python benchmarks/fedloop_speed.py --threads 1

`fedloop.local.executors.train_participants`, batched or not, does the same work, five steps
of 32 images and the judgement of every held expert, on the same number of torch
threads. Their calls alternate, so that what else the machine does meets both;
medians are reported, of wall and of processor time, and the least, which is what
a busy machine changes least. The whole round (planning,
averaging and judging clients on held-out images included) is measured as well.
Results go to ``benchmarks/results/fedloop_speed.json``, one record per number of
threads.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _results import clocked, machine_record

from fedloop.config import LocalSettings, ModelSettings, build_config
from fedloop.experiment import play_round
from fedloop.local.executors import train_participants
from fedloop.models.build import build_model
from fedloop.tasks.base import Examples
from fedloop.tasks.images import ImageClassification
from fedloop.world import build_world, start

RESULTS = Path(__file__).parent / "results" / "fedloop_speed.json"
PER_CLIENT = 50


def alternating(
    calls: Mapping[str, Callable[[], object]], repeats: int
) -> dict[str, dict[str, float]]:
    """Return median wall and processor seconds of each call, taken in turns."""
    wall: dict[str, list[float]] = {name: [] for name in calls}
    busy: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(repeats + 1):
        for name, call in calls.items():
            _, seconds, spent = clocked(call)
            if number:  # the first turn warms up
                wall[name].append(seconds)
                busy[name].append(spent)
    return {name: {"wall_s": statistics.median(wall[name]), "cpu_s": statistics.median(busy[name]),
                   "least_cpu_s": min(busy[name])} for name in calls}


def local_training(n_clients: int, pixels: int, repeats: int) -> dict[str, dict[str, float]]:
    """Measure the training of a round's clients, with 1 to 3 experts each."""
    rng = np.random.default_rng(0)
    model = build_model(ModelSettings(), (1, pixels, pixels), 10, seed=0)
    n_images = n_clients * PER_CLIENT
    data = Examples(torch.rand(n_images, 1, pixels, pixels), torch.randint(10, (n_images,)),
                    np.arange(n_clients + 1) * PER_CLIENT)
    held = [rng.choice(8, rng.integers(1, 4), replace=False).tolist() for _ in range(n_clients)]
    train = partial(train_participants, model, ImageClassification(), model.initial(), data,
                    range(n_clients), held, LocalSettings(), 0, 1)
    return alternating({"plain": lambda: train(batched=False),
                        "batched": lambda: train(batched=True)}, repeats)


def whole_rounds(n_clients: int, repeats: int) -> dict[str, dict[str, float]]:
    """Measure whole rounds on scikit-learn's digits."""
    calls: dict[str, Callable[[], object]] = {}
    for name, batched in (("plain", False), ("batched", True)):
        world = build_world(build_config({
            "partition": {"clients": n_clients, "min_images": 2, "test_images": 20},
            "local": {"batched": batched},
        }))
        state = start(world)
        calls[name] = partial(play_round, world, state)
    return alternating(calls, repeats)


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--clients", type=int, nargs="+", default=[40, 400])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for n_clients in options.clients:
        cases = {f"local training, {pixels} x {pixels} pixels":
                 local_training(n_clients, pixels, options.repeats) for pixels in (8, 14)}
        cases["whole rounds, 8 x 8 pixels"] = whole_rounds(n_clients, options.repeats)
        for case, seconds in cases.items():
            times = {kind: seconds["plain"][kind] / seconds["batched"][kind]
                     for kind in ("wall_s", "cpu_s", "least_cpu_s")}
            rows.append({"case": case, "clients": n_clients, **seconds, "times_faster": times})
            print(f"{case}, {n_clients} clients, {options.threads} threads: plain "
                  f"{1 / seconds['plain']['wall_s']:.2f} rounds/s, batched "
                  f"{1 / seconds['batched']['wall_s']:.2f} rounds/s, {times['wall_s']:.1f} times "
                  f"faster (processor time {times['cpu_s']:.1f} times, least "
                  f"{times['least_cpu_s']:.1f})", flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    kept = [row for row in found.get(f"{options.threads} threads", {}).get("rows", [])
            if row["clients"] not in options.clients]
    found[f"{options.threads} threads"] = {"machine": machine_record(), "rows": kept + rows}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
