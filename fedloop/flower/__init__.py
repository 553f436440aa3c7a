"""fedloop on Flower: rounds whose clients are Flower nodes.

`AlignedStrategy` brings expert alignment to a user's own model; `fedloop run --engine
flower` plays fedloop's own experiment on Flower's simulation, and
`examples/flower/` deploys both on real nodes.

Importing this package turns off, unless the environment says otherwise, all by which
Flower and Ray report to their makers: Flower's telemetry and update check, and Ray's
usage statistics.
"""

from __future__ import annotations

from fedloop.flower.quiet import check_versions, turn_reporting_off

turn_reporting_off()
check_versions()

from fedloop.flower.nodes import Nodes, exchange  # noqa: E402
from fedloop.flower.strategy import AlignedStrategy, numbered  # noqa: E402

__all__ = ["AlignedStrategy", "Nodes", "exchange", "numbered"]
