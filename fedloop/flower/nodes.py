"""Find Flower's nodes by the client that each of them is, and exchange messages with them.

Flower numbers nodes at random, anew in every run. What a node keeps is the
``partition-id`` of its configuration, so a query asks every new node for it, and
everything else is ordered by it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from logging import WARNING

from flwr.app import Message, MessageType, RecordDict
from flwr.common import log
from flwr.serverapp import Grid

from fedloop.errors import EngineError
from fedloop.flower.messages import MalformedReplyError, check_error

#: Seconds between looks for replies; Flower's own `send_and_receive` waits 3.
POLL_SECONDS = 0.05

#: Seconds that nodes have to answer the query where nothing else is said.
SECONDS = 30.0

#: Key of the client's number, in a node's configuration and in its answer.
CLIENT = "partition-id"


def tell(client: int, reason: str) -> None:
    """Log with what error a client answered."""
    log(WARNING, "client %s: %s", client, reason)


def exchange(
    grid: Grid, messages: Mapping[int, Message], timeout: float,
    on_error: Callable[[int, str], None] = tell,
) -> dict[int, Message]:
    """Send messages and wait for the replies.

    Parameters
    ----------
    grid : Grid
        Flower's connection to the nodes.
    messages : mapping of int to Message
        One per client.
    timeout : float
        Seconds to wait; above 0.
    on_error : callable, optional
        Called with a client and the words of the error that it answered; logs them.

    Returns
    -------
    dict of int to Message
        Replies by client, ascending. Clients that did not answer in time, could not be
        reached, or answered with an error are missing.
    """
    until = time.monotonic() + timeout
    clients = sorted(messages)
    sent = set(grid.push_messages([messages[client] for client in clients]))
    # Pushing gives messages their ids; that of one that could not be sent is not returned.
    waiting = {key: client for client in clients
               if (key := messages[client].metadata.message_id) in sent}
    found: dict[int, Message] = {}
    while waiting and time.monotonic() < until:
        for reply in grid.pull_messages(list(waiting)):
            client = waiting.pop(reply.metadata.reply_to_message_id, None)
            if client is None:
                continue
            try:
                check_error(reply)
                found[client] = reply
            except MalformedReplyError as error:
                on_error(client, str(error))
        if waiting:
            time.sleep(POLL_SECONDS)
    return dict(sorted(found.items()))


class Nodes:
    """Which node is which client.

    Parameters
    ----------
    timeout : float, optional
        Seconds that nodes have to answer the query; by name only. None is as long as a round
        of `serve`, and 30 elsewhere.

    Notes
    -----
    A node that comes back after a restart has another number and the same
    client, and takes the old one's place.

    Examples
    --------
    Nodes have ten seconds to say which client they are:

    >>> from fedloop.flower import Nodes
    >>> nodes = Nodes(timeout=10.0)
    """

    def __init__(self, *, timeout: float | None = None) -> None:
        self.timeout = timeout
        self._client_of: dict[int, int] = {}
        self._told: set[tuple[int, str]] = set()

    def find(self, grid: Grid) -> dict[int, int]:
        """Return the number of the node of every client that is connected, by client."""
        online = sorted(grid.get_node_ids())
        unknown = [node for node in online if node not in self._client_of]
        if unknown:
            # There is no client yet to call them by.
            timeout = SECONDS if self.timeout is None else self.timeout
            replies = exchange(grid, {
                node: Message(RecordDict(), node, MessageType.QUERY, ttl=timeout)
                for node in unknown}, timeout, self._tell)
            self._client_of |= {
                node: client for node, reply in replies.items()
                if (client := client_of(reply)) is not None
            }
        # Newly known nodes come last, and take the place of older ones of the same client.
        node_of = {client: node for node, client in self._client_of.items() if node in online}
        return dict(sorted(node_of.items()))

    def wait(self, grid: Grid, n_clients: int, patience: float) -> dict[int, int]:
        """Wait until clients 0 to n_clients - 1 are connected, or patience (seconds) ends.

        Raises
        ------
        EngineError
            If nobody is there by then.
        """
        until = time.monotonic() + patience
        while True:
            found = self.find(grid)
            if set(range(n_clients)) <= set(found):
                return found
            if time.monotonic() >= until:
                break
            time.sleep(10 * POLL_SECONDS)
        if not found:
            raise EngineError(f"no node answered within {patience:g} s; start SuperNodes with "
                              f"--node-config '{CLIENT}=0 num-partitions=N', 1, 2, ... of N")
        return found

    def _tell(self, node: int, reason: str) -> None:
        """Log once why a node does not say which client it is; it is asked again and again."""
        if (node, reason) not in self._told:
            self._told.add((node, reason))
            log(WARNING, "node %s does not say which client it is: %s", node, reason)


def client_of(reply: Message) -> int | None:
    """Return the client that a node says it is; None where its answer makes no sense."""
    metrics: Sequence[Mapping[str, object]] = list(reply.content.metric_records.values())
    value = metrics[0].get(CLIENT) if metrics else None
    return value if isinstance(value, int) and value >= 0 else None
