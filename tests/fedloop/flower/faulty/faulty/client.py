"""fedloop's client, with the faults that its node's configuration asks for: ``round-2="nan"``."""

import time
from pathlib import Path

import numpy as np
from flwr.app import Array
from flwr.clientapp import ClientApp

from fedloop.flower.client_app import app as sound

app = ClientApp()
app.query()(sound)


@app.train()
def train(message, context):
    fault = context.node_config.get(f"round-{message.content['config']['server-round']}")
    if fault == "sleep":
        time.sleep(float(context.node_config["seconds"]))
    if fault == "hang":  # until the node is killed
        Path(context.node_config["marker"]).touch()
        time.sleep(600)
    answer = sound(message, context)
    if fault == "nan":
        record = answer.content["arrays"]
        name = next(name for name in record if name.startswith("trunk."))
        record[name] = Array(np.full(record[name].shape, np.nan, np.float32))
    return answer
