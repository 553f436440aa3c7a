"""The same training in process and on Flower: curve, rounds per second, bytes on the wire.

    python benchmarks/flower.py

Simulation
    10 and 50 clients on scikit-learn's digits, in process (clients one by one, and
    batched) and on Flower's simulation. The rounds are the same work; seconds of a
    round are medians, of which the first round, in which processes start, is no part.
    Processor time, of all processes together, stands beside wall time: other work on the
    machine hardly changes it; it is a mean.
Deployment
    One SuperLink and three SuperNodes, each a process, on loopback. All bytes between
    SuperNodes and SuperLink go through a proxy that counts them (HTTP bodies, headers,
    idle polling, heartbeats, and the app itself, which every node downloads once), and
    are compared with our own accounting of parameters, ``down_bytes`` and ``up_bytes``
    of the records. The SuperLink's own count stands beside them, and what the wire carries
    beyond what idle nodes exchanged in as many seconds before the run.
Payloads
    One round of ``examples/flower-hf`` on three SuperNodes, as float32, as bfloat16, rounded
    to int8, and LoRA adapters of rank 4 alone: parameters as counted, and the wire.

Every case is a line of ``benchmarks/results/flower.jsonl``; cases that are there are not
repeated unless ``--again`` is given, so the script may be stopped at any time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import _results
import psutil
from _wire import CountingProxy

from fedloop.config import Config, build_config
from fedloop.flower.deploy import play
from fedloop.flower.deployment import Deployment
from fedloop.flower.simulation import train_simulated
from fedloop.train import Record, World, train

RESULTS = Path(__file__).parent / "results" / "flower.jsonl"

#: An app with a model of transformers.
APP = Path(__file__).parents[1] / "examples" / "flower-hf"

#: Width of trunk and experts of the deployed models.
WIDTHS = {"small": (64, 32), "large": (512, 512), "largest": (1024, 1024)}

#: Seconds that nodes have to connect, and over which their idle traffic is counted.
SETTLING, IDLE = 20.0, 40.0


def settings(clients: int, rounds: int, **model: int) -> dict[str, Any]:
    """Return the settings of a run on digits."""
    return {"rounds": rounds, "checkpoint_every": rounds, "model": model,
            "partition": {"clients": clients, "test_images": 20, "min_images": 2}}


def unbatched(chosen: dict[str, Any]) -> Config:
    """Return settings whose clients are trained one by one."""
    return build_config({**chosen, "local": {"batched": False}})


class Clock:
    """Notes when rounds end, and the processor time until then; an ``on_round``."""

    def __init__(self) -> None:
        self.times, self.busy = [time.perf_counter()], [processor_seconds()]

    def __call__(self, record: Record) -> None:
        """Note the end of a round."""
        self.times.append(time.perf_counter())
        self.busy.append(processor_seconds())

    def figures(self) -> dict[str, float]:
        """Return seconds in all, until the first round was over, and of a later round."""
        rounds = [b - a for a, b in pairwise(self.times[1:])]
        return {"wall_s": self.times[-1] - self.times[0],
                "first_round_s": self.times[1] - self.times[0],
                "round_s": statistics.median(rounds),
                # The system counts it in hundredths of a second: a mean, not a median.
                "round_processor_s": (self.busy[-1] - self.busy[1]) / len(rounds)}


def processor_seconds() -> float:
    """Return the processor time of this process and of all that it started and that live."""
    own = psutil.Process()
    total = 0.0
    for process in (own, *own.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def difference(records: list[Record], expected: list[Record]) -> dict[str, Any]:
    """Return how far curves are apart, and whether plans are the same."""
    return {
        "rounds": len(records),
        "same_plans": [r["held"] for r in records] == [r["held"] for r in expected],
        "largest_difference": {
            key: max(abs(r[key] - e[key]) for r, e in zip(records, expected, strict=True))
            for key in ("accuracy", "accuracy_all", "loss")
        },
        "accuracy": [round(r["accuracy"], 4) for r in records],
    }


def saved(world: World, records: list[Record]) -> float:
    """Return the share of the payload saved against sending whole models down and up."""
    whole = world.trunk_bytes + sum(world.expert_bytes)
    moved: float = sum(r["down_bytes"] + r["up_bytes"] for r in records)
    return 1 - moved / (2 * whole * len(records) * world.config.partition.clients)


def simulation(clients: int, rounds: int) -> dict[str, Any]:
    """Measure a run in process, one by one and batched, and on Flower's simulation."""
    chosen = settings(clients, rounds)
    plain, batched, flower = Clock(), Clock(), Clock()
    world, state = train(unbatched(chosen), on_round=plain)
    train(build_config(chosen), on_round=batched)
    _, found, moved = train_simulated(unbatched(chosen), on_round=flower, workers=2)
    ours = sum(record["down_bytes"] for record in state.records)
    times = {"in process, one by one": plain.figures(), "in process, batched": batched.figures(),
             "flower simulation": flower.figures()}
    return {
        **difference(found.records, state.records), "seconds": times,
        "rounds_per_s": {name: 1 / one["round_s"] for name, one in times.items()},
        "times_in_process": {
            kind: times["flower simulation"][kind] / times["in process, one by one"][kind]
            for kind in ("round_s", "round_processor_s")},
        "payload_saved": saved(world, state.records),
        "arrays_bytes_over_ours": sum(moved.sent_bytes) / ours,
    }


class Counted(Deployment):
    """A deployment whose nodes reach the SuperLink through a `CountingProxy`."""

    proxy: CountingProxy

    def _start_link(self) -> None:
        super()._start_link()
        self.proxy = CountingProxy(self.ports[0])
        self.link_port = self.proxy.port


def idle_rates(proxy: CountingProxy) -> list[float]:
    """Return bytes a second to the server and to nodes that have nothing to do."""
    time.sleep(SETTLING)  # nodes connect
    before, begun = proxy.counts, time.perf_counter()
    time.sleep(IDLE)
    seconds = time.perf_counter() - begun
    return [(now - then) / seconds for now, then in zip(proxy.counts, before, strict=True)]


def deployment(size: str, rounds: int, payload: str = "native") -> dict[str, Any]:
    """Measure a run on three SuperNodes."""
    width, expert_width = WIDTHS[size]
    config = unbatched({**settings(3, rounds, width=width, expert_width=expert_width),
                        "payload": payload})
    world, state = train(config)
    clock = Clock()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        deployed = Counted([{}] * 3, folder / "logs")
        with deployed:
            idle = idle_rates(deployed.proxy)
            before, begun = deployed.proxy.counts, time.perf_counter()
            found = play(deployed, config, folder, timeout=300.0, on_round=clock)
            seconds = time.perf_counter() - begun
            requests = dict(deployed.proxy.requests)
            wire = [now - then for now, then in zip(deployed.proxy.counts, before, strict=True)]
        lines = (folder / "rounds.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    ours = {way: sum(r[f"{way}_bytes"] for r in records) for way in ("up", "down")}
    traffic = found["network-traffic"]
    return {
        **difference(records, state.records),
        # Processes of nodes end within a round: their processor time would be missed.
        "seconds": {name: value for name, value in clock.figures().items()
                    if name != "round_processor_s"},
        "parameters": sum(value.numel() for value in world.spec.initial().values()),
        "payload_saved": saved(world, state.records),
        "bytes": {
            "up": {"ours": ours["up"], "wire": wire[0], "superlink": traffic["inbound-bytes"]},
            "down": {"ours": ours["down"], "wire": wire[1],
                     "superlink": traffic["outbound-bytes"]},
        },
        "wire_over_ours": {"up": wire[0] / ours["up"], "down": wire[1] / ours["down"]},
        "requests_up": requests,
        "idle_bytes_per_s": {"up": idle[0], "down": idle[1]},
        "wire_less_idle_over_ours": {
            way: (sent - seconds * rate) / ours[way]
            for way, sent, rate in zip(("up", "down"), wire, idle, strict=True)},
    }


#: Settings of ``examples/flower-hf``.
PAYLOADS: dict[str, dict[str, Any]] = {
    "float32": {}, "bfloat16": {"dtype": "bfloat16"}, "int8": {"encoding": "int8"},
    "LoRA, rank 4": {"lora-rank": 4},
}


def payloads() -> dict[str, Any]:
    """Measure the bytes of one round, up and down, by how parameters travel."""
    found: dict[str, Any] = {}
    for name, config in PAYLOADS.items():
        with tempfile.TemporaryDirectory() as place:
            history = Path(place) / "history.jsonl"
            deployed = Counted([{}] * 3, Path(place) / "logs")
            with deployed:
                before = deployed.proxy.counts
                deployed.wait(deployed.submit(APP, {
                    **config, "num-server-rounds": 1, "history": str(history), "timeout": 300.0}))
                wire = [now - then for now, then in zip(deployed.proxy.counts, before,
                                                        strict=True)]
            last = json.loads(history.read_text(encoding="utf-8").splitlines()[-1])
        assert not last["refused"], last
        found[name] = {"counted": [last["received_bytes"], last["sent_bytes"]], "wire": wire}
    whole = sum(found["float32"]["counted"])
    return {"up and down": found, "share of float32": {
        name: sum(row["counted"]) / whole for name, row in found.items()}}


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "simulation, 10 clients": lambda: simulation(10, 20),
    "simulation, 50 clients": lambda: simulation(50, 15),
    "deployment, 3 nodes, small model": lambda: deployment("small", 5),
    "deployment, 3 nodes, large model": lambda: deployment("large", 5),
    "deployment, 3 nodes, largest model, int8": lambda: deployment("largest", 3, "int8"),
    "payloads, OLMoE": payloads,
}


def main() -> None:
    """Measure what is missing, store and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=list(CASES), help="; ".join(CASES))
    parser.add_argument("--again", action="store_true", help="measure what is stored again")
    options = parser.parse_args()
    for case in options.cases:
        if options.again or case not in stored():
            row = {"case": case, **CASES[case](), "machine": _results.machine_record()}
            found = {**stored(), case: row}
            _results.replace(RESULTS, (found[name] for name in CASES if name in found))
        shown = {key: value for key, value in stored()[case].items() if key != "machine"}
        print(json.dumps(shown, indent=1), flush=True)


def stored() -> dict[str, dict[str, Any]]:
    """Return what was measured, by case."""
    return {row["case"]: row for row in _results.stored(RESULTS)}


if __name__ == "__main__":
    main()
