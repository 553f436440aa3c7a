"""Whatever bytes a client sends: its refusal with a reason, and the others' round goes on."""

import io
import random
import tracemalloc
import zipfile
from contextlib import suppress
from functools import cache

import numpy as np
import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install 'alignsolve[flower]'")

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

import alignsolve as al
from fedloop.config import build_config
from fedloop.flower import client_app
from fedloop.flower.engine import train_on
from fedloop.flower.messages import (
    MalformedReplyError,
    check_finite,
    read_arrays,
    read_report,
    refusing,
    reply,
)
from fedloop.train import train
from tests.fedloop.flower.replies import (  # noqa: F401
    Grid,
    answer,
    identity,
    model,
    read_task,
    strategy,
)

#: Clients of a round of the fuzz test, and those of them that are honest.
CLIENTS, HONEST = 52, (50, 51)

VALUES = (5, -1, 0, 10**30, 1.5, 1e308, -1e308, 5e-324, float("nan"), float("inf"), [], [5],
          [0.5], [1e308], [float("nan")] * 4, [1] * 1000, list(range(1000)))


# -- corruptions: what is left of a reply, by a random.Random ------------------------------


def with_data(content, draw, change):
    """Change the bytes of one parameter."""
    name = draw.choice(sorted(content["arrays"]))
    array = content["arrays"][name]
    content["arrays"][name] = Array(array.dtype, array.shape, array.stype,
                                    bytes(change(bytearray(array.data))))


def flip(content, draw):
    def change(data):
        for _ in range(draw.choice([1, 1, 8])):
            data[draw.randrange(draw.choice([11, len(data)]))] ^= 1 << draw.randrange(8)
        return data
    with_data(content, draw, change)


def cut(content, draw):
    with_data(content, draw, lambda data: data[:draw.randrange(len(data))])


def splice(content, draw):
    def change(data):
        a, b = sorted(draw.randrange(len(data) + 1) for _ in range(2))
        middle = draw.choice([draw.randbytes(draw.randrange(40)), data[b:] + data[:a], archive()])
        return data[:a] + middle + data[b:]
    with_data(content, draw, change)


def header(content, draw):
    text = draw.choice([
        "{'descr': '<f4', 'fortran_order': False, 'shape': (30000000000,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, -1), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '>f4', 'fortran_order': True, 'shape': (3,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3L,), }", "(" * 300, "-" * 9000, "(3",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': 3}", "'\\N{", "\0", "1e999",
    ]).encode()
    version = draw.choice([b"\1\0", b"\2\0", b"\3\0", b"\7\7"])
    size = draw.choice([len(text), 0, 60_000]).to_bytes(2 if version[0] == 1 else 4, "little")
    with_data(content, draw, lambda data: b"\x93NUMPY" + version + size + text + data[-12:])


def types(content, draw):
    """Change what a field or a record is."""
    metrics, name = content["metrics"], draw.choice(sorted(content["arrays"]))
    kind = draw.randrange(6)
    if kind < 3:
        metrics[draw.choice(sorted(metrics))] = draw.choice(VALUES)
    elif kind == 3:
        setattr(content["arrays"][name], *draw.choice([
            ("dtype", "int32"), ("dtype", "nonsense"), ("shape", (10**9, 10**9)), ("shape", ()),
            ("stype", "torch.tensor"), ("stype", ""), ("data", None), ("data", b"")]))
    elif kind == 4:
        record = draw.choice(["arrays", "metrics"])
        del content[record]
        if draw.random() < 0.8:
            content[record] = draw.choice([MetricRecord(), ArrayRecord(), ConfigRecord({"a": "b"})])
    else:
        record = content[draw.choice(["arrays", "metrics"])]
        key = draw.choice(sorted(record))
        record[draw.choice(["", "x" * 10_000, "experts.99.weight"])] = record[key]
        if draw.random() < 0.5:
            del record[key]


CORRUPTIONS = (flip, cut, splice, header, types)


def archive():
    """Return a small npz file that unpacks to a lot."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.npy", bytes(100_000))
    return stream.getvalue()


# -- tests -------------------------------------------------------------------------------


def test_2000_corruptions_of_trained_replies_refuse_nobody_else():
    draw, refusals = random.Random(7), []
    chosen, arrays = strategy("round-robin"), model()
    grid = Grid({1000 + client: client for client in range(CLIENTS)})
    for number in range(1, 41):
        messages = chosen.configure_train(number, arrays, ConfigRecord(), grid)
        replies = [answer(message) for message in messages]
        for at in range(CLIENTS - len(HONEST)):
            CORRUPTIONS[at % len(CORRUPTIONS)](replies[at].content, draw)
        arrays, figures = chosen.aggregate_train(number, replies)
        assert figures["accepted"] + len(chosen.refused) == CLIENTS
        assert not set(HONEST) & set(chosen.refused)
        assert all(np.isfinite(array.numpy()).all() for array in arrays.values())
        assert {name: array.shape for name, array in arrays.items()} == {
            name: array.shape for name, array in model().items()}
        refusals += chosen.refused.values()
    assert 1600 < len(refusals) < 2000 and all(refusals) and max(map(len, refusals)) < 400


def test_corruptions_of_evaluations_refuse_nobody_else():
    draw, refused = random.Random(8), 0
    chosen, grid = strategy(), Grid({1000 + client: client for client in range(CLIENTS)})
    chosen.configure_train(1, model(), ConfigRecord(), grid)
    messages = chosen.configure_evaluate(1, model(), ConfigRecord(), grid)

    def judged(message):
        figures = {"loss": 0.5, "accuracy": 0.25}
        return reply(message, {"a": np.ones(3)}, 10, 0.1, {}, figures)

    honest = [judged(message) for message in messages[25:]]
    for _ in range(20):
        damaged = [judged(message) for message in messages[:25]]
        for one in damaged:
            types(one.content, draw)
        found = chosen.aggregate_evaluate(1, damaged + honest)
        assert max(chosen.refused) < 25 and all(chosen.refused.values())
        assert set(found) == {"loss", "accuracy", "seconds"}
        assert all(np.isfinite(value) and abs(value) < 1e12 for value in found.values())
        refused += len(chosen.refused)
    assert 100 < refused < 500


@pytest.mark.parametrize(("change", "reason"), [
    ({"num-examples": [5]}, "num-examples is a list; give one number"),
    ({"num-examples": 0}, "num-examples is 0"),
    ({"num-examples": -3}, "num-examples is -3; give a number from 0 to"),
    ({"loss": 1e308}, "loss is 1e+308; give a number from -1e+12 to 1e+12"),
    ({"loss": [0.5]}, "loss is a list; give one number"),
    ({"loss": float("nan")}, "'loss' has a number that is not finite"),
    ({f"x{number}": 0.5 for number in range(10_001)}, "at most 10,000"),
])
def test_a_damaged_evaluation_is_left_out_of_the_means(change, reason):
    chosen, grid = strategy(), Grid({5: 0, 6: 1, 7: 2})
    chosen.configure_train(1, model(), ConfigRecord(), grid)
    messages = chosen.configure_evaluate(1, model(), ConfigRecord(), grid)
    replies = [reply(message, {}, 1 + at, 0.0, {}, {"loss": float(at)})
               for at, message in enumerate(messages)]
    replies[0].content["metrics"].update(change)
    assert chosen.aggregate_evaluate(1, replies)["loss"] == pytest.approx((2 + 2 * 3) / 5)
    assert list(chosen.refused) == [0] and reason in chosen.refused[0]


def read(message, asked, n_experts):
    with refusing():
        found = read_arrays(message, asked.content["arrays"])
        check_finite(found)
        return found, read_report(message, 0, 1, n_experts)


@cache
def planned():
    return strategy().configure_train(1, model(), ConfigRecord(), Grid({9: 0}))[0]


def one_reply():
    return planned(), answer(planned())


@pytest.mark.parametrize("reply_of", [
    lambda good: big(good, lambda data: data.replace(b"(3,)", b"(3" + b"0" * 10 + b",)")),
    lambda good: big(good, lambda data: b"\x93NUMPY\2\0" + b"\0\0\0\2" + b" " * 2**24),
    lambda good: big(good, lambda data: data + bytes(2**24)),
    lambda good: good.content["metrics"].update(experts=LONG, samples=LONG),
    lambda good: good.content["metrics"].update({"num-examples": LONG}),
    lambda good: setattr(good.content["arrays"]["body.weight"], "shape", tuple(LONG)),
    lambda good: setattr(good.content["arrays"]["body.weight"], "dtype", "x" * 10**6),
    lambda good: good.content["arrays"].update({"x" * 10**6: Array(np.ones(3))}),
], ids=["224 GiB", "header", "payload", "experts", "examples", "shape", "dtype", "name"])
def test_memory_is_bounded_by_the_model(reply_of):
    asked, good = one_reply()
    held = read_task(asked)[1]
    reply_of(good)
    tracemalloc.start()
    try:
        with pytest.raises(MalformedReplyError):
            read(good, asked, len(held))
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


LONG = list(range(10**6))


def big(message, change):
    array = message.content["arrays"]["body.weight"]
    message.content["arrays"]["body.weight"] = Array(array.dtype, array.shape, array.stype,
                                                     change(array.data))


@given(st.randoms(use_true_random=False), st.sampled_from(CORRUPTIONS))
def test_a_damaged_reply_is_refused_or_like_what_was_asked(draw, corruption):
    asked, damaged = one_reply()
    corruption(damaged.content, draw)
    with suppress(MalformedReplyError):
        found, report = read(damaged, asked, 4)
        assert {
            name: (str(value.numpy().dtype), value.shape) for name, value in found.items()} == {
            name: (array.dtype, array.shape) for name, array in asked.content["arrays"].items()}
        assert isinstance(report, al.ClientReport)


@pytest.mark.parametrize("value", [np.float32(2.5), np.int64(7), np.zeros((0, 3), np.float32),
                                   np.asfortranarray(np.arange(6.0).reshape(2, 3))])
def test_sound_arrays_of_every_form_are_read(value):
    value, (message, _) = np.asarray(value), one_reply()
    replies = [reply(message, {"a": value}, 1, 0.1, {}),
               Message(RecordDict({"arrays": ArrayRecord({"a": Array(value)})}), reply_to=message)]
    for sound in replies:
        found = read_arrays(sound, {"a": Array(value)})["a"]
        np.testing.assert_array_equal(found, value)
        assert (found.numpy().dtype, found.shape) == (value.dtype, value.shape)


def test_means_of_huge_numbers_do_not_overflow():
    chosen, huge = strategy(), 1.7e308
    start = ArrayRecord({name: Array(array.numpy().astype(np.float64))
                         for name, array in model().items()})
    messages = chosen.configure_train(1, start, ConfigRecord(), Grid({9: 0, 8: 1, 7: 2}))
    replies = [answer(message, lambda name, value, sign=sign: np.full(3, sign * huge))
               for message, sign in zip(messages, (1, 1, -1), strict=True)]
    arrays, _ = chosen.aggregate_train(1, replies)
    np.testing.assert_allclose(arrays["body.weight"].numpy(), huge / 3)


class Playing(Grid):
    """Nodes that are fedloop's own clients; the replies of client 1 are damaged."""

    def __init__(self, nodes, damage):
        super().__init__(nodes)
        self.damage, self.contexts = damage, {
            node: Context(1, node, {"partition-id": client, "num-partitions": len(nodes)},
                          RecordDict(), {})
            for node, client in nodes.items()}

    def push_messages(self, messages):
        for number, message in enumerate(messages):
            message.metadata.__dict__["_message_id"] = f"{self.queries}-{number}"
            node = message.metadata.dst_node_id
            self.answers.append(client_app.app(message, self.contexts[node]))
            if message.metadata.message_type == "train" and self.nodes[node] == 1:
                self.damage(self.answers[-1].content)
        self.queries += 1
        return [message.metadata.message_id for message in messages]


def without_arrays(content):
    del content["arrays"]


@pytest.mark.parametrize(("damage", "field"), [
    (without_arrays, "failed"),
    (lambda content: content["metrics"].update({"train-loss": 1e308}), "refused"),
    (lambda content: content["metrics"].update(loss=[10**400] * len(content["metrics"]["loss"])),
     "failed"),
    (lambda content: content["metrics"].update(gate_usage=[1e9] * len(content["metrics"]["loss"])),
     "refused"),
], ids=["no arrays", "infinite loss", "huge number", "usage"])
def test_fedloops_own_rounds_go_on_without_a_damaged_reply(damage, field):
    config = build_config({
        "rounds": 1, "partition": {"clients": 3, "test_images": 20}, "local": {"batched": False},
        "model": {"experts": 3, "width": 8, "expert_width": 6},
    })
    _, state, _ = train_on(Playing({7: 0, 5: 1, 6: 2}, damage), config, timeout=60.0)
    record = state.records[0]
    assert record[field] == [1] and record["finished"] == 2 and np.isfinite(record["loss"])
    assert all(value.isfinite().all() for value in state.model.values())


@pytest.mark.parametrize("payload", ["native", "int8"])
def test_nodes_play_the_rounds_of_the_process(payload):
    config = build_config({
        "rounds": 3, "payload": payload, "partition": {"clients": 3, "test_images": 20},
        "local": {"batched": False, "steps": 2}, "model": {"experts": 3, "width": 32},
    })
    _, here = train(config)
    _, state, clients = train_on(Playing({7: 0, 5: 1, 6: 2}, lambda content: None), config,
                                 timeout=60.0)
    for one, other in zip(here.records, state.records, strict=True):
        assert one["held"] == other["held"]
        assert (one["loss"], one["accuracy"]) == pytest.approx(
            (other["loss"], other["accuracy"]), abs=1e-4)
    counted = [record["down_bytes"] for record in state.records]
    assert all(of <= sent for of, sent in zip(counted, clients.sent_bytes, strict=True))
    if payload == "int8":  # no headers
        assert counted == clients.sent_bytes == clients.received_bytes
