"""The server of an app of one's own: wait for nodes, play or resume, judge, write down."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, MetricRecord
from flwr.serverapp import Grid
from torch import Tensor

from alignsolve.bench.store import read_lines
from alignsolve.io.files import write_text
from fedloop.errors import CheckpointError, ConfigError
from fedloop.flower.messages import Parameters, record_of, state_of
from fedloop.flower.strategy import AlignedStrategy
from fedloop.plot import draw_history

#: Settings that an app must have, and those of the server alone; clients are told all others.
NEEDED = ("num-server-rounds", "min-nodes", "timeout", "max-experts")
SERVERS = (*NEEDED, "checkpoint", "resume", "history", "picture")

#: Seconds that nodes have to connect at the beginning, or as long as a round if that is more.
PATIENCE = 120.0


def serve(
    grid: Grid, config: Mapping[str, Any], strategy: AlignedStrategy, state: Mapping[str, Tensor],
    judge: Callable[[Parameters], Mapping[str, float]],
) -> None:
    """Play the rounds of an app.

    Parameters
    ----------
    grid : Grid
        Flower's connection to the nodes.
    config : mapping
        The run's: ``num-server-rounds``; ``min-nodes`` to wait for; ``timeout`` of a round in
        seconds; ``max-experts`` that a client can hold; ``checkpoint``, a file, and
        ``resume``, whether to go on from it; ``history``, a file that gets a line of JSON for
        every round, and ``picture``, one for its curves. These four may be missing or empty. A
        run that does not resume writes the history anew. Clients are told what else it has.
    strategy : AlignedStrategy
        Plays them.
    state : mapping of str to Tensor
        The parameters that are trained, as at the beginning.
    judge : callable
        Returns figures of such parameters, before the first round and after each.

    Raises
    ------
    CheckpointError
        If the run resumes, and there is no checkpoint.
    ConfigError
        If the app lacks a setting that it needs.
    """
    if missing := [name for name in NEEDED if name not in config]:
        raise ConfigError(f"the app has no setting {', '.join(missing)}: write it into the part "
                          "[tool.flwr.app.config] of its pyproject.toml, as examples/flower does")
    if config.get("checkpoint"):
        strategy.checkpoint = Path(str(config["checkpoint"]))
    resumes = bool(config.get("resume"))
    if resumes and (strategy.checkpoint is None or not strategy.checkpoint.exists()):
        raise CheckpointError(f"{strategy.checkpoint or 'no checkpoint is named'}: nothing to "
                              "resume; start with resume=false")
    timeout = float(config["timeout"])
    if strategy.nodes.timeout is None:
        strategy.nodes.timeout = timeout  # a query takes a process as well
    strategy.max_experts = int(config["max-experts"])
    strategy.nodes.wait(grid, int(config["min-nodes"]), max(PATIENCE, timeout))
    arrays = record_of(state)
    if resumes:
        arrays = strategy.resume(arrays)
    history = Path(str(config["history"])) if config.get("history") else None
    lines = played(history, strategy.rounds_before) if history and resumes else {}
    if history is not None:
        write_text(history, (json.dumps(line) + "\n" for number, line in lines.items()
                             if number < strategy.rounds_before))

    def evaluate(number: int, arrays: ArrayRecord) -> MetricRecord:
        found = dict(judge(state_of(arrays)))
        number += strategy.rounds_before
        line = {"round": number, **found,
                "sent_bytes": strategy.sent_bytes, "received_bytes": strategy.received_bytes,
                "refused": {str(client): reason for client, reason in strategy.refused.items()}}
        if number in lines:  # a resumed run judges the model that it begins with once more
            line = {**lines[number], **found}
        lines[number] = line
        if history is not None:
            with history.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
            if config.get("picture"):
                draw_history(list(lines.values()), Path(str(config["picture"])))
        return MetricRecord(found)

    strategy.start(
        grid, arrays, num_rounds=int(config["num-server-rounds"]) - strategy.rounds_before,
        timeout=timeout, evaluate_fn=evaluate,
        train_config=ConfigRecord({key: value for key, value in config.items()
                                   if key not in SERVERS}))


def played(history: Path, last: int) -> dict[int, dict[str, Any]]:
    """Return a history's lines by round, ascending, up to a last one.

    What is no such line, as the one that was being written when a server was killed, is left
    out; of a round with several lines the last one counts.
    """
    lines = read_lines(history)[0] if history.exists() else []
    found = {line["round"]: line for line in lines
             if isinstance(line.get("round"), int) and line["round"] <= last}
    return dict(sorted(found.items()))
