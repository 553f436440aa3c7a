"""Count the bytes that nodes and a server exchange, in both directions, on loopback."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress


class CountingProxy:
    """Passes connections on to a port of loopback, and counts what goes through.

    Everything is counted that TCP carries: bodies and headers of all requests and
    answers, also those that ask in vain for work, and heartbeats.

    Attributes
    ----------
    port : int
        Where to connect in place of the server.
    to_server, to_nodes : int
        Bytes so far.
    requests : dict of str to int
        Of those to the server, by the path of the request, with its headers.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self.to_server = self.to_nodes = 0
        self.requests: dict[str, int] = {}
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def counts(self) -> tuple[int, int]:
        """Return the bytes so far, to the server and to the nodes."""
        with self._lock:
            return self.to_server, self.to_nodes

    def _accept(self) -> None:
        while True:
            try:
                node, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:  # closed
                return
            for source, target, name in ((node, server, "to_server"), (server, node, "to_nodes")):
                threading.Thread(target=self._pass_on, args=(source, target, name),
                                 daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, name: str) -> None:
        requests = Requests()
        with suppress(OSError):
            while data := source.recv(1 << 16):
                with self._lock:
                    setattr(self, name, getattr(self, name) + len(data))
                    for path, size in requests.ended(data) if name == "to_server" else ():
                        self.requests[path] = self.requests.get(path, 0) + size
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()


class Requests:
    """Tells the requests of one connection apart, HTTP/1.1 with bodies of stated length."""

    def __init__(self) -> None:
        self._waiting = b""

    def ended(self, data: bytes) -> Iterator[tuple[str, int]]:
        """Yield path and bytes of every request that is whole now."""
        self._waiting += data
        while (end := self._waiting.find(b"\r\n\r\n") + 4) > 3:
            head = self._waiting[:end].decode("latin-1")
            stated = re.search(r"(?i)^content-length: *(\d+)", head, re.MULTILINE)
            size = end + (int(stated[1]) if stated else 0)
            if len(self._waiting) < size:
                return
            self._waiting = self._waiting[size:]
            yield head.split(" ", 2)[1], size
