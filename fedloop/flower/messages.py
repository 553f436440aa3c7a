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

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from torch import Tensor, nn

import alignsolve as al
from alignsolve.aligner.checks import AMOUNT, SCORE
from fedloop.payload import Packed, PayloadError, pack, unpack, words

#: Names of the records in a message.
ARRAYS, CONFIG, METRICS = "arrays", "config", "metrics"

#: What a client may measure of an expert.
MEASURES = ("loss_before", "loss", "accuracy", "gate_usage", "gradient_norm")

#: Most figures in a client's evaluation.
MOST_FIGURES = 10_000

#: Parameters by name.
Parameters = dict[str, Tensor]


class MalformedReplyError(ValueError):
    """A node's reply is not what it was asked for; the message says how."""


def as_array(value: np.ndarray | Tensor | Packed) -> Array:
    """Return parameters as Flower sends them."""
    if isinstance(value, np.ndarray):
        return Array(np.asarray(value, order="C"))
    packed = pack(value) if isinstance(value, Tensor) else value
    return Array(packed.dtype, packed.shape, packed.stype, packed.data)


def trainable(model: nn.Module) -> Parameters:
    """Return the parameters that are trained, with their names in the state: what travels.

    Examples
    --------
    >>> import torch
    >>> from fedloop.flower import trainable
    >>> layer = torch.nn.Linear(2, 1)
    >>> layer.bias.requires_grad = False
    >>> list(trainable(layer))
    ['weight']
    """
    return {name: value.detach() for name, value in model.named_parameters()
            if value.requires_grad}


def record_of(state: Mapping[str, Tensor]) -> ArrayRecord:
    """Return tensors as Flower sends them; bfloat16 as raw bytes.

    Examples
    --------
    >>> import torch
    >>> from fedloop.flower import record_of, state_of
    >>> record = record_of({"weight": torch.ones(2, dtype=torch.bfloat16)})
    >>> state_of(record)["weight"].dtype
    torch.bfloat16
    """
    return ArrayRecord({name: as_array(value) for name, value in state.items()})


def state_of(record: ArrayRecord) -> Parameters:
    """Return the tensors of a record, one's own or a trusted one's.

    Examples
    --------
    >>> import torch
    >>> from fedloop.flower import record_of, state_of
    >>> state_of(record_of({"weight": torch.ones(2)}))["weight"].tolist()
    [1.0, 1.0]
    """
    return {name: unpack(array, array) for name, array in record.items()}


def reply(
    message: Message, arrays: Mapping[str, np.ndarray | Tensor | Packed], examples: int,
    seconds: float,
    experts: Mapping[int, al.ExpertReport], figures: Mapping[str, float] | None = None,
) -> Message:
    """Return a client's answer to a message.

    Parameters
    ----------
    message : Message
        What it was asked.
    arrays : mapping of str to ndarray, Tensor or Packed
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
        records[ARRAYS] = ArrayRecord({name: as_array(value) for name, value in arrays.items()})
    return Message(RecordDict(records), reply_to=message)


@contextmanager
def refusing() -> Iterator[None]:
    """Make a `MalformedReplyError` of whatever the bytes of a reply raise."""
    try:
        yield
    except MalformedReplyError:
        raise
    except Exception as error:  # damaged bytes can raise anything, also MemoryError
        raise MalformedReplyError(
            f"the reply is damaged: {type(error).__name__}: {words(error)}") from None


def check_error(message: Message) -> None:
    """Raise `MalformedReplyError` with the reason if a reply is an error."""
    if message.has_error():
        raise MalformedReplyError(words(message.error.reason or f"error {message.error.code}"))


def _metrics(message: Message) -> MetricRecord:
    """Return the metrics of a reply."""
    metrics = message.content.metric_records.get(METRICS)
    if metrics is None:
        raise MalformedReplyError(f"there is no record {METRICS!r}")
    return metrics


def _number(metrics: Mapping[str, Any], name: str) -> float:
    """Return a metric that must be one number."""
    value = metrics[name]
    if isinstance(value, list):
        raise MalformedReplyError(f"{name} is a list; give one number")
    return value  # type: ignore[no-any-return]


def read_report(message: Message, client: int, number: int, n_experts: int) -> al.ClientReport:
    """Return what a client reports.

    Parameters
    ----------
    message : Message
        Its reply.
    client, number : int
        The client and the round.
    n_experts : int
        Experts of the model: the most that are reported.

    Raises
    ------
    MalformedReplyError
        If a part is missing or of another length. Whether its numbers make sense is
        for `alignsolve.Aligner.observe` to say.
    """
    metrics = _metrics(message)
    missing = [name for name in ("experts", "num-examples", "samples", "seconds")
               if name not in metrics]
    if missing:
        raise MalformedReplyError(f"{METRICS} lack {', '.join(missing)}")
    experts = metrics["experts"]
    columns = {name: metrics[name] for name in ("samples", *MEASURES) if name in metrics}
    for name, column in {"experts": experts, **columns}.items():
        if not isinstance(column, list) or len(column) != len(experts):
            raise MalformedReplyError(f"{name} is not a list with an entry for each expert")
    if len(experts) > n_experts:
        raise MalformedReplyError(f"{len(experts)} experts are reported of {n_experts}")
    if len(set(experts)) != len(experts):
        raise MalformedReplyError("an expert is reported twice")
    return al.ClientReport(
        client, number, samples=_number(metrics, "num-examples"),
        seconds=_number(metrics, "seconds"),
        experts={
            expert: al.ExpertReport(**{name: column[at] for name, column in columns.items()})
            for at, expert in enumerate(experts)
        },
    )


def read_evaluation(message: Message) -> MetricRecord:
    """Return the metrics of an evaluation, finite and with examples to weigh them by.

    Raises
    ------
    MalformedReplyError
        If they are not.
    """
    metrics = _metrics(message)
    if len(metrics) > MOST_FIGURES:
        raise MalformedReplyError(f"{len(metrics)} figures; at most {MOST_FIGURES:,} are read")
    if "num-examples" not in metrics:
        raise MalformedReplyError(f"{METRICS} lack num-examples")
    examples = _number(metrics, "num-examples")
    if fault := AMOUNT.fault("num-examples", examples):
        raise MalformedReplyError(fault)
    if not examples:
        raise MalformedReplyError("num-examples is 0; there is nothing to average by")
    for name, value in metrics.items():
        if not all(map(math.isfinite, value if isinstance(value, list) else [value])):
            raise MalformedReplyError(f"{words(name)!r} has a number that is not finite")
    return metrics


def check_figures(metrics: MetricRecord, names: Iterable[str]) -> None:
    """Raise `MalformedReplyError` if a figure to be averaged is a list or beyond reason."""
    for name in names:
        if name in metrics and (fault := SCORE.fault(name, _number(metrics, name))):
            raise MalformedReplyError(fault)


def read_arrays(message: Message, asked: Mapping[str, Array]) -> Parameters:
    """Return a client's parameters, or differences.

    Parameters
    ----------
    message : Message
        Its reply.
    asked : mapping of str to Array
        What it was sent; the reply must have the same names, shapes, types and kinds of bytes.

    Raises
    ------
    MalformedReplyError
        If it has others.
    """
    record = message.content.array_records.get(ARRAYS)
    if record is None:
        raise MalformedReplyError(f"there is no record {ARRAYS!r}")
    for name in asked:
        if name not in record:
            raise MalformedReplyError(f"parameter {name!r} is missing")
    for name in record:
        if name not in asked:
            raise MalformedReplyError(f"parameter {words(name)!r} is not its to train")
    found = {}
    for name, array in record.items():
        try:
            found[name] = unpack(array, asked[name])
        except PayloadError as error:
            raise MalformedReplyError(f"parameter {name!r} {error}") from None
        except Exception as error:  # damaged bytes can raise anything
            raise MalformedReplyError(f"parameter {name!r} is damaged: {words(error)}") from None
    return found


def check_finite(arrays: Mapping[str, Tensor]) -> None:
    """Raise `MalformedReplyError` if a number of parameters is not finite."""
    for name, value in arrays.items():
        if not bool(value.isfinite().all()):
            raise MalformedReplyError(f"parameter {name!r} has a number that is not finite")


def payload(content: RecordDict) -> int:
    """Return the bytes of a message's parameters as they travel, with their headers."""
    return sum(len(array.data) for array in content.array_records.get(ARRAYS, {}).values())
