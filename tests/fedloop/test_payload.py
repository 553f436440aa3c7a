"""What travels: bytes, types, rounding, and what is kept of it."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedloop import ExpertMap
from fedloop.payload import (
    INT8,
    RAW,
    PayloadError,
    dequantise,
    number_bytes,
    pack,
    pack_differences,
    packed_bytes,
    quantise,
    unpack,
)
from tests.fedloop.expert_map.states import SHAPES, state

SHAPES_OF_ONE = [(), (5,), (0, 3), (3, 4), (2, 3, 4)]


def drawn(shape, dtype):
    value = np.random.default_rng(0).standard_normal(shape)
    return torch.from_numpy(np.asarray(1000 * value)).to(dtype)


@pytest.mark.parametrize("shape", SHAPES_OF_ONE)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64,
                                   torch.int64, torch.bool])
def test_numbers_travel_as_they_are(shape, dtype):
    value = drawn(shape, dtype)
    packed = pack(value)
    found = unpack(packed, packed)
    assert found.dtype == dtype and torch.equal(found, value)
    assert packed_bytes(value) == len(packed.data)
    assert number_bytes(value[None], leading=1) == value.nbytes


def test_every_bfloat16_comes_back_bit_by_bit():
    bits = torch.arange(-2**15, 2**15, dtype=torch.int16)
    packed = pack(bits.view(torch.bfloat16))
    assert (packed.stype, packed.dtype, len(packed.data)) == (RAW, "bfloat16", 2**17)
    assert torch.equal(unpack(packed, packed).view(torch.int16), bits)


@pytest.mark.parametrize("shape", SHAPES_OF_ONE)
def test_differences_are_rounded_by_rows(shape):
    value = drawn(shape, torch.float32)
    packed = pack(value, "int8")
    found = unpack(packed, packed)
    step = quantise(value)[1] if shape else quantise(value)[1][0]
    assert ((found - value).abs() <= 0.5001 * step).all()
    assert torch.equal(found, dequantise(*quantise(value)))
    assert len(packed.data) == number_bytes(value, "int8") == number_bytes(value[None], "int8", 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_so(bad):
    packed = pack(torch.tensor([[1.0, bad], [1.0, 2.0]]), "int8")
    finite = unpack(packed, packed).isfinite()
    assert not finite[0].all() and finite[1].all()


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-30, 1.0, 1e30]))
def test_sums_of_a_hundred_rounds_differ_by_less_than_a_step(seed, size):
    draw, lost = np.random.default_rng(seed), {}
    meant, sent = torch.zeros(3, 5, dtype=torch.float64), torch.zeros(3, 5, dtype=torch.float64)
    for _ in range(100):
        change = torch.from_numpy(size * draw.standard_normal((3, 5)).astype(np.float32))
        packed = pack_differences({"w": change}, lost)["w"]
        meant += change.double()
        sent += unpack(packed, packed).double()
    _, step = quantise(change + lost["w"])
    assert ((meant - sent).abs() <= 1.5 * step.double()).all()
    assert ((meant - sent) - lost["w"].double()).abs().max() <= 1e-5 * size


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_update_that_is_not_finite_leaves_the_feedback_as_it_was(bad):
    lost = {}
    pack_differences({"x": torch.tensor([1.0, 0.3])}, lost)
    before = lost["x"].clone()
    assert before.any()
    packed = pack_differences({"x": torch.tensor([bad, 0.3])}, lost)["x"]
    assert not unpack(packed, packed).isfinite().all() and torch.equal(lost["x"], before)
    packed = pack_differences({"x": torch.tensor([1.0, 0.3])}, lost)["x"]
    assert unpack(packed, packed).isfinite().all()


@pytest.mark.parametrize("change", [
    {"dtype": "float32"}, {"shape": (4, 3)}, {"stype": INT8}, {"data": b""},
    {"data": bytes(2**20)}, {"stype": "torch.tensor"}, {"shape": (10**9, 10**9)},
])
@pytest.mark.parametrize("encoding", ["native", "int8"])
def test_foreign_bytes_are_refused_before_memory_is_taken(change, encoding):
    value = drawn((3, 4), torch.bfloat16)
    asked = pack(value, encoding)
    damaged = dataclasses.replace(asked, **change)
    if damaged == asked:
        damaged = dataclasses.replace(asked, data=asked.data[1:])
    with pytest.raises(PayloadError):
        unpack(damaged, asked)


@pytest.mark.parametrize("model", SHAPES)
def test_pieces_are_what_is_taken(model):
    tensors = state(model)
    experts = ExpertMap.of(tensors)
    pieces = experts.split(tensors)
    assert sum(piece.numel() for piece in pieces.values()) == sum(
        tensor.numel() for tensor in tensors.values())
    held = [column for layer in experts.layers for column in (layer.first, layer.columns[-1])]
    own = {name: piece for name, piece in pieces.items()
           if experts.owner(name) in {None, *held}}
    part, taken = experts.join(own, held), experts.take(tensors, held)
    assert part.keys() == taken.keys()
    assert all(torch.equal(part[name], taken[name]) for name in part)
    again = experts.split(taken, held)
    assert again.keys() == own.keys() and all(torch.equal(again[n], own[n]) for n in own)
    whole = experts.join(pieces)
    assert all(torch.equal(whole[name], tensors[name]) for name in tensors)


def test_what_clients_need_is_torch_and_numpy():
    """Where Flower is installed, `tests/fedloop/flower/test_client.py` trains a client so."""
    code = """
import sys
for absent in ("numba", "ortools", "scipy", "networkx", "matplotlib", "pydantic", "safetensors"):
    sys.modules[absent] = None  # importing it raises
import fedloop.expert_map, fedloop.payload, fedloop.privacy
"""
    subprocess.run([sys.executable, "-c", code], check=True)
