"""fedloop's client, with the faults that its node's configuration asks for: ``round-2="nan"``."""

import time
from pathlib import Path

import numpy as np
from flwr.app import Array
from flwr.clientapp import ClientApp

from fedloop.flower import client_app
from fedloop.flower.messages import read_task

app = ClientApp()
app.query()(client_app.introduce)


@app.train()
def train(message, context):
    number = read_task(message)[2]
    fault = context.node_config.get(f"round-{number}")
    if fault == "sleep":
        time.sleep(float(context.node_config["seconds"]))
    if fault == "hang":  # until the node is killed
        Path(context.node_config["marker"]).touch()
        time.sleep(600)
    answer = client_app.train(message, context)
    if fault == "nan":
        record = answer.content["arrays"]
        name = next(name for name in record if name.startswith("trunk."))
        record[name] = Array(np.full(record[name].shape, np.nan, np.float32))
    return answer
