"""What travels between server and nodes, and what is refused of it.

Down go the parameters that all clients share, those of the client's experts, the
experts' numbers and the round. Up come the same parameters, trained, and a
`MetricRecord`:

``num-examples``
    Images that the client trained on.
``seconds``
    Seconds that it took.
``experts``
    Its experts' numbers. Every list below has an entry for each.
``train-loss``
    Mean loss over the training steps; only where fedloop itself is the client.
``samples``
    Images that went through the expert.
``loss_before``, ``loss``, ``accuracy``, ``gate_usage``, ``gradient_norm``
    As in `alignsolve.ExpertReport`; only those that the client measures.

Nothing else leaves a client: no image, no label, no count of labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

import alignsolve as al

#: Names of the records in a message.
ARRAYS, CONFIG, METRICS = "arrays", "config", "metrics"

#: What a client may measure of an expert.
MEASURES = ("loss_before", "loss", "accuracy", "gate_usage", "gradient_norm")

#: Parameters by name.
Arrays = dict[str, np.ndarray]


class MalformedReplyError(ValueError):
    """A node's reply is not what it was asked for; the message says how."""


def task(
    arrays: Mapping[str, Array], config: Mapping[str, Any], experts: Sequence[int], number: int
) -> RecordDict:
    """Return the content of a message that asks a client to train or to be judged.

    Parameters
    ----------
    arrays : mapping of str to Array
        The parameters that the client needs.
    config : mapping
        Settings of the user's own.
    experts : sequence of int
        The client's experts.
    number : int
        The round.
    """
    settings = {**config, "server-round": number, "experts": [int(expert) for expert in experts]}
    return RecordDict({ARRAYS: ArrayRecord(dict(arrays)), CONFIG: ConfigRecord(settings)})


def read_task(message: Message) -> tuple[Arrays, list[int], int]:
    """Return the parameters, the experts and the round that a message holds."""
    config = message.content.config_records[CONFIG]
    arrays = {name: array.numpy() for name, array in
              message.content.array_records[ARRAYS].items()}
    return arrays, list(config["experts"]), int(config["server-round"])


def reply(
    message: Message, arrays: Mapping[str, np.ndarray], examples: int, seconds: float,
    experts: Mapping[int, al.ExpertReport], figures: Mapping[str, float] | None = None,
) -> Message:
    """Return a client's answer to a message.

    Parameters
    ----------
    message : Message
        What it was asked.
    arrays : mapping of str to ndarray
        The parameters that it was sent, trained; empty for an evaluation.
    examples : int
        Images that it trained on, or was judged on.
    seconds : float
        Seconds that it took.
    experts : mapping of int to ExpertReport
        What it saw of its experts. A measure must be given for all or none.
    figures : mapping of str to float, optional
        Further numbers, such as a loss.
    """
    metrics: dict[str, Any] = {
        **(figures or {}),
        "num-examples": examples, "seconds": float(seconds),
        "experts": list(experts),
        "samples": [float(seen.samples) for seen in experts.values()],
    }
    for name in MEASURES:
        values = [getattr(seen, name) for seen in experts.values()]
        if values and None not in values:
            metrics[name] = [float(value) for value in values]
    records: dict[str, Any] = {METRICS: MetricRecord(metrics)}
    if arrays:
        records[ARRAYS] = ArrayRecord({name: Array(np.ascontiguousarray(value))
                                       for name, value in arrays.items()})
    return Message(RecordDict(records), reply_to=message)


def read_report(message: Message, client: int, number: int) -> al.ClientReport:
    """Return what a client reports.

    Parameters
    ----------
    message : Message
        Its reply.
    client, number : int
        The client and the round.

    Raises
    ------
    MalformedReplyError
        If a part is missing or of another length. Whether its numbers make sense is
        for `alignsolve.Aligner.observe` to say.
    """
    metrics = message.content.metric_records.get(METRICS)
    if metrics is None:
        raise MalformedReplyError(f"there is no record {METRICS!r}")
    missing = {"num-examples", "seconds", "experts", "samples"} - set(metrics)
    if missing:
        raise MalformedReplyError(f"{METRICS} lack {', '.join(sorted(missing))}")
    experts = metrics["experts"]
    columns = {name: metrics[name] for name in ("samples", *MEASURES) if name in metrics}
    for name, column in {"experts": experts, **columns}.items():
        if not isinstance(column, list) or len(column) != len(experts):
            raise MalformedReplyError(f"{name} is not a list with an entry for each expert")
    if len(set(experts)) != len(experts):
        raise MalformedReplyError("an expert is reported twice")
    return al.ClientReport(
        client, number, samples=metrics["num-examples"], seconds=metrics["seconds"],
        experts={
            expert: al.ExpertReport(**{name: column[at] for name, column in columns.items()})
            for at, expert in enumerate(experts)
        },
    )


def read_arrays(message: Message, asked: Mapping[str, Array]) -> Arrays:
    """Return a client's parameters.

    Parameters
    ----------
    message : Message
        Its reply.
    asked : mapping of str to Array
        What it was sent; the reply must have the same names, shapes and types.

    Raises
    ------
    MalformedReplyError
        If it has others.
    """
    record = message.content.array_records.get(ARRAYS)
    if record is None:
        raise MalformedReplyError(f"there is no record {ARRAYS!r}")
    if set(record) != set(asked):
        name = min(set(record) ^ set(asked))
        raise MalformedReplyError(
            f"parameter {name!r} is {'missing' if name in asked else 'not its to train'}")
    found = {}
    for name, array in record.items():
        try:
            value = array.numpy()
        except (ValueError, TypeError, OSError, EOFError):
            raise MalformedReplyError(f"parameter {name!r} is damaged") from None
        if (str(value.dtype), value.shape) != (asked[name].dtype, tuple(asked[name].shape)):
            raise MalformedReplyError(
                f"parameter {name!r} is {value.dtype} {value.shape}, not "
                f"{asked[name].dtype} {tuple(asked[name].shape)}")
        found[name] = value
    return found


def check_finite(arrays: Arrays) -> None:
    """Raise `MalformedReplyError` if a number of parameters is not finite."""
    for name, value in arrays.items():
        if not np.isfinite(value).all():
            raise MalformedReplyError(f"parameter {name!r} has a number that is not finite")


def payload(arrays: Mapping[str, Array]) -> int:
    """Return the bytes of parameters as they travel, with their headers."""
    return sum(len(array.data) for array in arrays.values())
