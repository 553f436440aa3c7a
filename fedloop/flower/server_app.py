"""fedloop's server on Flower: what `flwr run` starts where a SuperLink is.

The run's configuration names files on the server's machine: ``settings``, the settings
as JSON, and ``folder``, where records and checkpoints go. A folder that holds a
checkpoint goes on from there, which Flower itself does not do.
"""

from __future__ import annotations

import json
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedloop.config import build_config
from fedloop.flower.engine import train_on

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run, or resume, a training."""
    run = context.run_config
    settings = json.loads(Path(str(run["settings"])).read_text(encoding="utf-8"))
    train_on(grid, build_config(settings), Path(str(run["folder"])),
             timeout=float(run["timeout"]))
