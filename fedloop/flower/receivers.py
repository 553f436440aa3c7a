"""What every client has of the model, so that it is sent differences to that."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from torch import Tensor

from fedloop.flower.messages import ARRAYS, CONFIG, Parameters, as_array, read_arrays
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
        self._asked: dict[int, dict[str, Array]] = {}
        self._native: dict[str, tuple[Tensor, Array]] = {}

    def task(
        self, client: int, pieces: Mapping[str, Tensor], config: Mapping[str, Any],
        experts: Sequence[int], number: int,
    ) -> RecordDict:
        """Return the content of a message that asks a client to train or to be judged.

        Parameters
        ----------
        client, number : int
            The client and the round.
        pieces : mapping of str to Tensor
            The parameters that the client needs.
        config : mapping
            Settings of the user's own.
        experts : sequence of int
            The client's experts.
        """
        arrays, how = self._pack(client, pieces)
        self._asked[client] = arrays
        settings = {**config, **how, "server-round": number, "experts": list(map(int, experts))}
        return RecordDict({ARRAYS: ArrayRecord(dict(arrays)), CONFIG: ConfigRecord(settings)})

    def _pack(
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

    def trained(self, client: int, reply: Message, model: Parameters) -> Parameters:
        """Return what a client has trained: what it replies, or the model plus the change in it.

        Raises
        ------
        MalformedReplyError
            If its arrays are not those that it was sent.
        """
        arrays = read_arrays(reply, self._asked.get(client, {}))
        return arrays if self._encoding == "native" else changed(model, arrays)

    def settle(self, answered: Container[int]) -> None:
        """End a round; clients that did not answer, or not as they should, have nothing."""
        for client in self._asked:
            if client not in answered:
                self._has.pop(client, None)
        self._asked = {}
