"""fedloop on Flower: rounds whose clients are Flower nodes.

`AlignedStrategy` brings expert alignment to a user's own model, `client` is for its nodes;
`fedloop run --engine flower` plays fedloop's own experiment on Flower's simulation, and
`examples/flower/` deploys both on real nodes.

Importing this package turns off, unless the environment says otherwise, all by which
Flower and Ray report to their makers: Flower's telemetry and update check, and Ray's
usage statistics.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fedloop.flower.quiet import check_versions, turn_reporting_off

turn_reporting_off()
check_versions()

from fedloop.flower.messages import record_of, state_of, trainable  # noqa: E402
from fedloop.flower.nodes import Nodes, exchange  # noqa: E402
from fedloop.flower.rules import numbered  # noqa: E402

if TYPE_CHECKING:
    from fedloop.flower.serving import serve as serve
    from fedloop.flower.strategy import AlignedStrategy as AlignedStrategy

__all__ = ["AlignedStrategy", "Nodes", "exchange", "numbered", "record_of", "serve",
           "state_of", "trainable"]


#: What only the server needs, imported when it is used: clients may lack its packages.
_SERVERS = {"AlignedStrategy": "fedloop.flower.strategy", "serve": "fedloop.flower.serving"}


def __getattr__(name: str) -> Any:
    """Import what only the server needs when it is used."""
    if name in _SERVERS:
        return getattr(import_module(_SERVERS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
