"""Tensors on the way between server and clients: which bytes stand for them, and what is lost.

``native``
    Numbers as they are. What numpy knows travels as `numpy.save` writes it, which stock Flower
    reads; bfloat16, which numpy lacks, as raw bytes beside the name of its type.
``int8``
    A difference to what the receiver has, rounded: one float32 scale for every row along the
    last axis, then a byte for every number. Whole numbers travel as they are.

The sender keeps what rounding took, and adds it to the next difference (error feedback [1]_):
sums of what was sent and of what was meant never differ by more than half a step. The server
need not, since it measures its differences against what the receiver really has.

References
----------
.. [1] F. Seide, H. Fu, J. Droppo, G. Li, D. Yu, "1-Bit Stochastic Gradient Descent and its
   Application to Data-Parallel Distributed Training of Speech DNNs", Interspeech 2014,
   doi:10.21437/Interspeech.2014-274.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

#: How tensors travel.
Encoding = Literal["native", "int8"]

#: What the bytes are: of Flower's own arrays, of one tensor, or of scales and bytes.
NUMPY, RAW, INT8 = "numpy.ndarray", "alignsolve.raw", "alignsolve.int8"

#: Largest byte of a rounded difference.
LARGEST = 127

#: How an array begins that `numpy.save` wrote; two bytes of its header's length follow.
MAGIC = b"\x93NUMPY\x01\x00"

#: Most characters of a stranger's words in a message.
LONGEST = 200


class PayloadError(ValueError):
    """Bytes are not those of the tensor that was asked for."""


@dataclass(frozen=True)
class Packed:
    """A tensor's bytes, with the fields of Flower's arrays.

    Attributes
    ----------
    dtype : str
        Type of its numbers, such as "bfloat16".
    shape : tuple of int
    stype : str
        What `data` is: `NUMPY`, `RAW` or `INT8`.
    data : bytes
    """

    dtype: str
    shape: tuple[int, ...]
    stype: str
    data: bytes


def quantise(value: Tensor) -> tuple[Tensor, Tensor]:
    """Round to whole multiples of a scale for every row.

    Parameters
    ----------
    value : Tensor
        Floating point, any shape.

    Returns
    -------
    steps : Tensor
        int8, shape of `value`.
    scale : Tensor
        float32, with 1 for the length of rows; not finite where a row is not.
    """
    rows = value.float() if value.ndim else value.float()[None]
    scale = rows.abs().amax(dim=-1, keepdim=True) / LARGEST if rows.shape[-1] else rows.new_zeros(
        *rows.shape[:-1], 1)
    steps = (rows / scale.where(scale > 0, torch.ones_like(scale))).round()
    return steps.nan_to_num().to(torch.int8).view(value.shape), scale


def dequantise(steps: Tensor, scale: Tensor) -> Tensor:
    """Return what `quantise` leaves of a tensor, float32."""
    rows = steps.float() if steps.ndim == scale.ndim else steps.float()[..., None]
    return (rows * scale).view(steps.shape)


def pack_for(
    pieces: Mapping[str, Tensor], has: Mapping[str, Tensor]
) -> tuple[dict[str, Packed], dict[str, Tensor]]:
    """Return the bytes, ``int8``, of differences to what a receiver has, and what it then has.

    Of what it has nothing, the difference is to zero.
    """
    packed, new = {}, {}
    for name, value in pieces.items():
        base = has.get(name) if value.is_floating_point() else None
        packed[name] = pack(value if base is None else value.cpu().float() - base, "int8")
        got = unpack(packed[name], packed[name])
        new[name] = got if base is None else base + got
    return packed, new


def changes(trained: Mapping[str, Tensor], has: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return how what was trained differs from what a client was sent; whole numbers as they are.

    A model loads what it has rounded to its own type, such as bfloat16: that is the base.
    """
    return {name: value.cpu().float() - has[name].to(value.dtype).float()
            if value.is_floating_point() else value for name, value in trained.items()}


def changed(model: Mapping[str, Tensor], reply: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the model's tensors plus a client's changes, float32; see `changes`.

    Only what training changed counts: what rounding took of the client's version does not.
    """
    return {name: model[name].cpu().float() + value if value.is_floating_point() else value
            for name, value in reply.items()}


def pack_differences(meant: Mapping[str, Tensor], lost: dict[str, Tensor]) -> dict[str, Packed]:
    """Return the bytes of differences, ``int8``, with what was lost of earlier ones.

    Parameters
    ----------
    meant : mapping of str to Tensor
        Whole numbers are not rounded.
    lost : dict of str to Tensor
        The sender's memory, float32: what rounding took so far. It is changed, except for
        tensors whose numbers are not all finite.
    """
    found = {}
    for name, value in meant.items():
        if value.is_floating_point() and name in lost:
            value = value.float() + lost[name]
        found[name] = pack(value, "int8")
        if value.is_floating_point():
            left = value.float() - unpack(found[name], found[name])
            if left.isfinite().all():  # one update that is not finite costs no later ones
                lost[name] = left
    return found


def pack(value: Tensor, encoding: Encoding = "native") -> Packed:
    """Return the bytes of a tensor."""
    value = value.detach().cpu().contiguous()
    dtype, shape = str(value.dtype).removeprefix("torch."), tuple(value.shape)
    if encoding == "int8" and value.is_floating_point():
        steps, scale = quantise(value)
        return Packed("float32", shape, INT8, scale.numpy().tobytes() + steps.numpy().tobytes())
    if value.dtype == torch.bfloat16:
        return Packed(dtype, shape, RAW, value.view(torch.int16).numpy().tobytes())
    stream = io.BytesIO()
    np.save(stream, value.numpy(), allow_pickle=False)
    return Packed(dtype, shape, NUMPY, stream.getvalue())


def number_bytes(value: Tensor, encoding: Encoding = "native", leading: int = 0) -> int:
    """Return the bytes of numbers, and scales, of one of the tensors that `leading` axes count."""
    shape = value.shape[leading:]
    if encoding == "int8" and value.is_floating_point():
        return math.prod(shape) + 4 * math.prod(shape[:-1])
    return math.prod(shape) * value.element_size()


def packed_bytes(value: Tensor) -> int:
    """Return the length of the data of `pack`, as they are, without packing."""
    header = io.BytesIO()
    if value.dtype != torch.bfloat16:
        dtype = np.dtype(str(value.dtype).removeprefix("torch."))
        np.lib.format.write_array_header_1_0(header, {
            "descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False,
            "shape": tuple(value.shape)})
    return len(header.getvalue()) + number_bytes(value)


def unpack(array: Any, asked: Any) -> Tensor:
    """Return the tensor that bytes stand for, if it is like another.

    Parameters
    ----------
    array : Packed, or an array of Flower
        From a stranger.
    asked : Packed, or an array of Flower
        Has the right type, shape and kind of bytes.

    Raises
    ------
    PayloadError
        If it has others. No memory is taken before all lengths have been compared, so that
        a tensor never takes more than the one that was asked for.

    Notes
    -----
    `numpy.load` would evaluate the header, take the memory that it asks for, and open
    archives.
    """
    shape = tuple(asked.shape)
    if (array.dtype, tuple(array.shape), array.stype) != (asked.dtype, shape, asked.stype):
        raise PayloadError(f"is {words(array.dtype)} {words(array.shape[:9])} as "
                           f"{words(array.stype)}, not {asked.dtype} {shape} as {asked.stype}")
    size, dtype = math.prod(shape), getattr(torch, asked.dtype)
    if asked.stype == NUMPY:
        return torch.from_numpy(_from_numpy(array.data, np.dtype(asked.dtype), shape).copy())
    if asked.stype not in (RAW, INT8):
        raise PayloadError(f"was sent as {words(asked.stype)}, which is not read")
    n_rows = math.prod(shape[:-1]) if asked.stype == INT8 else 0
    _check_length(len(array.data), size + 4 * n_rows if asked.stype == INT8
                  else size * dtype.itemsize)
    if asked.stype == RAW:
        return torch.from_numpy(np.frombuffer(array.data, np.int16).copy()).view(dtype).view(shape)
    scale = torch.from_numpy(np.frombuffer(array.data, np.float32, n_rows).copy())
    steps = torch.from_numpy(np.frombuffer(array.data, np.int8, size, 4 * n_rows).copy())
    return dequantise(steps.view(shape), scale.view(*shape[:-1], 1))


def _check_length(found: int, right: int) -> None:
    if found != right:
        raise PayloadError(f"has {found:,} bytes of numbers, not {right:,}")


def _from_numpy(data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Return the array in the memory of `numpy.save`'s bytes, whose header must be as expected."""
    if not data.startswith(MAGIC):
        raise PayloadError("does not begin as numpy's arrays do")
    begin = len(MAGIC) + 2 + int.from_bytes(data[len(MAGIC):len(MAGIC) + 2], "little")
    text = "".join(data[len(MAGIC) + 2:begin].decode("latin1").split()).replace(",}", "}")
    descr = np.lib.format.dtype_to_descr(dtype)
    orders: dict[str, Literal["C", "F"]] = {
        "".join(str({"descr": descr, "fortran_order": order == "F", "shape": shape}).split()): order
        for order in ("C", "F")}
    if text not in orders:
        raise PayloadError(f"has the header {words(text)!r}, not {next(iter(orders))!r}")
    _check_length(len(data) - begin, math.prod(shape) * dtype.itemsize)
    return np.ndarray(shape, dtype, data, begin, order=orders[text])


def words(text: object) -> str:
    """Return foreign words in one line, not too many of them, and printable."""
    line = " ".join(str(text)[:LONGEST].split())
    return "".join(letter if letter.isprintable() else "?" for letter in line)
