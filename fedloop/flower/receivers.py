"""What every client has of the model, so that it is sent differences to that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flwr.app import Array
from torch import Tensor

from fedloop.flower.messages import Parameters, as_array
from fedloop.payload import Encoding, changed, pack_for

#: Settings of a message with differences: the receiver's version afterwards, and before; 0 for
#: none, where differences are to zero.
ENCODING, VERSION, BASED_ON = "payload-encoding", "payload-version", "payload-based-on"


class Receivers:
    """Packs what clients are sent, and keeps what they then have.

    Parameters
    ----------
    encoding : {"native", "int8"}
        How parameters travel; of ``native`` nothing is kept.

    Notes
    -----
    A client has what its last message brought, as it was rounded, if it answered. Memory is
    that of the last messages, in float32.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._has: dict[int, tuple[int, Parameters]] = {}
        self._sent = 0
        self._native: dict[str, tuple[Tensor, Array]] = {}

    def pack(
        self, client: int, pieces: Mapping[str, Tensor]
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Return pieces as they travel to a client, and settings that tell how to read them."""
        if self._encoding == "native":
            return {name: self._once(name, value) for name, value in pieces.items()}, {}
        before, old = self._has.get(client, (0, {}))
        self._sent += 1
        packed, new = pack_for(pieces, old)
        self._has[client] = self._sent, new
        return ({name: as_array(value) for name, value in packed.items()},
                {ENCODING: self._encoding, VERSION: self._sent, BASED_ON: before})

    def _once(self, name: str, value: Tensor) -> Array:
        """Return a tensor as it is; each is serialised once, however many clients it goes to."""
        if name not in self._native or self._native[name][0] is not value:
            self._native[name] = value, as_array(value)
        return self._native[name][1]

    def trained(self, reply: Parameters, model: Parameters) -> Parameters:
        """Return what a client has trained: its reply, or the model plus the change in it."""
        return reply if self._encoding == "native" else changed(model, reply)

    def forget(self, clients: Iterable[int]) -> None:
        """Take it that clients have nothing: they did not answer, or not as they should."""
        for client in clients:
            self._has.pop(client, None)
