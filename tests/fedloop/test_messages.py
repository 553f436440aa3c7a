"""What is refused of a reply, where Flower is not installed as well."""

import importlib.util
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import fedloop


@pytest.fixture
def messages(monkeypatch):
    """Return `fedloop.flower.messages` over records that are plain mappings."""
    stand_in = SimpleNamespace(
        Array=None, ArrayRecord=dict, ConfigRecord=dict, Message=SimpleNamespace, MetricRecord=dict,
        RecordDict=dict)
    monkeypatch.setitem(sys.modules, "flwr", SimpleNamespace(app=stand_in))
    monkeypatch.setitem(sys.modules, "flwr.app", stand_in)
    path = Path(fedloop.__file__).parent / "flower" / "messages.py"
    spec = importlib.util.spec_from_file_location("messages_alone", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def message(arrays=None, **metrics):
    content = SimpleNamespace(metric_records={"metrics": metrics} if metrics else {},
                              array_records={} if arrays is None else {"arrays": arrays})
    return SimpleNamespace(content=content, has_error=lambda: False)


GOOD = {"experts": [2, 0], "samples": [5.0, 0.0], "loss": [0.5, 0.25], "num-examples": 7,
        "seconds": 1.5}


def test_a_report_is_read_by_name_and_expert(messages):
    report = messages.read_report(message(**GOOD), 4, 9, 3)
    assert (report.client, report.round, report.samples, report.seconds) == (4, 9, 7, 1.5)
    assert list(report.experts) == [2, 0]
    assert (report.experts[2].samples, report.experts[2].loss) == (5.0, 0.5)
    assert (report.experts[0].loss, report.experts[0].accuracy) == (0.25, None)


@pytest.mark.parametrize(("change", "reason"), [
    ({"experts": [2, 2]}, "an expert is reported twice"),
    ({"experts": [0, 1, 2, 3], "samples": [1.0] * 4, "loss": [1.0] * 4}, "4 experts are reported"),
    ({"experts": [2]}, "samples is not a list with an entry for each expert"),
    ({"loss": [0.5]}, "loss is not a list with an entry for each expert"),
    ({"loss": 0.5}, "loss is not a list with an entry for each expert"),
    ({"seconds": [1.5]}, "seconds is a list; give one number"),
    ({"num-examples": [7]}, "num-examples is a list; give one number"),
    ({"seconds": None}, "metrics lack seconds"), ({"samples": None}, "metrics lack samples"),
    ({"experts": None, "num-examples": None}, "metrics lack experts, num-examples"),
])
def test_a_malformed_report_is_refused(messages, change, reason):
    metrics = {name: value for name, value in (GOOD | change).items() if value is not None}
    with pytest.raises(messages.MalformedReplyError, match=reason):
        messages.read_report(message(**metrics), 4, 9, 3)


def test_all_experts_may_be_reported(messages):
    metrics = {**GOOD, "experts": [0, 1, 2], "samples": [1.0] * 3, "loss": [0.5] * 3}
    assert list(messages.read_report(message(**metrics), 4, 9, 3).experts) == [0, 1, 2]


@pytest.mark.parametrize(("metrics", "reason"), [
    ({}, "there is no record 'metrics'"),
    ({"loss": 0.5}, "metrics lack num-examples"),
    ({"num-examples": 0}, "num-examples is 0"), ({"num-examples": -1}, "num-examples is -1"),
    ({"num-examples": 3, "loss": math.nan}, "'loss' has a number that is not finite"),
    ({"num-examples": 3, "all": [1.0, math.inf]}, "'all' has a number that is not finite"),
    ({"num-examples": 3, **{f"x{at}": 1.0 for at in range(10_000)}}, "at most 10,000 are read"),
])
def test_a_malformed_evaluation_is_refused(messages, metrics, reason):
    with pytest.raises(messages.MalformedReplyError, match=reason):
        messages.read_evaluation(message(**metrics))


def test_the_most_figures_are_read(messages):
    metrics = {"num-examples": 3, **{f"x{at}": 1.0 for at in range(9_999)}}
    assert len(messages.read_evaluation(message(**metrics))) == 10_000


def array(value, **changes):
    parts = {"dtype": str(value.dtype), "shape": value.shape, "stype": "numpy.ndarray"}
    header = str({"descr": value.dtype.str, "fortran_order": bool(value.flags.fnc),
                  "shape": value.shape})
    data = (b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
            + value.tobytes("A"))
    return SimpleNamespace(**({**parts, "data": data} | changes))


@pytest.mark.parametrize("value", [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)), np.array(5, dtype=np.float32),
    np.zeros((0, 4)),
])
def test_arrays_come_back_in_either_order(messages, value):
    asked = {"w": array(value)}
    found = messages.read_arrays(message({"w": array(value)}), asked)["w"]
    assert found.numpy().dtype == value.dtype and np.array_equal(found, value)
    assert messages.payload(message(asked).content) == len(asked["w"].data)


FOUR = np.arange(4, dtype=np.float32)


@pytest.mark.parametrize(("arrays", "reason"), [
    (None, "there is no record 'arrays'"), ({}, "parameter 'w' is missing"),
    ({"w": array(FOUR), "v": array(FOUR)}, "parameter 'v' is not its to train"),
    ({"w": array(FOUR.astype(np.float64))}, "is float64"),
    ({"w": array(FOUR[:3])}, r"is float32 \(3,\)"),
    ({"w": array(FOUR, stype="torch")}, "as torch, not"),
    ({"w": array(FOUR, data=array(FOUR).data + b"\0")}, "has 17 bytes of numbers, not 16"),
    ({"w": array(FOUR, data=array(FOUR).data[:-1])}, "has 15 bytes of numbers, not 16"),
    ({"w": array(FOUR, data=b"PK" + array(FOUR).data)}, "does not begin as numpy's arrays do"),
    ({"w": array(FOUR, data=array(FOUR).data.replace(b"(4,)", b"(9,)"))}, "has the header"),
    ({"w": array(FOUR, data=None)}, "is damaged"),
])
def test_malformed_arrays_are_refused(messages, arrays, reason):
    with pytest.raises(messages.MalformedReplyError, match=reason):
        messages.read_arrays(message(arrays), {"w": array(FOUR)})


def test_numbers_that_are_not_finite_are_refused(messages):
    messages.check_finite({"a": torch.ones(3)})
    with pytest.raises(messages.MalformedReplyError, match="'b' has a number that is not finite"):
        messages.check_finite({"a": torch.ones(3), "b": torch.tensor([1.0, -torch.inf])})
    messages.check_figures({"loss": 1e12}, ["loss", "accuracy"])
    for wrong, reason in ((1.1e12, "loss is 1100000000000.0"), ([0.5], "loss is a list")):
        with pytest.raises(messages.MalformedReplyError, match=reason):
            messages.check_figures({"loss": wrong}, ["loss"])


def test_errors_are_refused_in_their_own_words(messages):
    def failed(reason):
        error = SimpleNamespace(reason=reason, code=7)
        return SimpleNamespace(has_error=lambda: True, error=error)

    messages.check_error(message(**GOOD))
    for reason, text in (("out\nof \x07 memory", r"^out of \? memory$"), ("", "^error 7$"),
                         ("x" * 900, "^x{200}$")):
        with pytest.raises(messages.MalformedReplyError, match=text):
            messages.check_error(failed(reason))
    with pytest.raises(messages.MalformedReplyError, match="damaged: KeyError: 'a'"), \
            messages.refusing():
        {}["a"]
    with pytest.raises(messages.MalformedReplyError, match=r"^as it is$"), messages.refusing():
        raise messages.MalformedReplyError("as it is")
