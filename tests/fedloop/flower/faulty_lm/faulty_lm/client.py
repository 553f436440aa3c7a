"""The client of examples/flower-hf, with the faults that its node's configuration asks for."""

import time
from pathlib import Path

from flwr.clientapp import ClientApp

from aligned_lm.client_app import app as sound

app = ClientApp()
app.query()(sound)


@app.train()
def train(message, context):
    fault = context.node_config.get(f"round-{message.content['config']['server-round']}")
    if fault == "wait":  # until the node is killed, or nobody waits for it any more
        Path(str(context.node_config["marker"])).touch()
        time.sleep(600)
    answer = sound(message, context)
    if fault == "damage":
        record = answer.content["arrays"]
        name = sorted(record)[0]
        record[name].data = record[name].data[:-1]
    return answer
