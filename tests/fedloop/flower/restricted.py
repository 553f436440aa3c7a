"""A client that trains and reports, run where only PyTorch and Flower are installed."""

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

import alignsolve as al
from fedloop import ExpertMap
from fedloop.flower.client import Update, client_app
from fedloop.privacy import protect_reports

TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1
model = torch.nn.ModuleDict({
    "gate": torch.nn.Linear(4, 3),
    "experts": torch.nn.ModuleList([torch.nn.Linear(4, 2) for _ in range(3)])})
experts = ExpertMap.of(model)


def train(task):
    part = experts.sub_model(model, task.experts)
    part.load_state_dict(task.state)
    with torch.no_grad():
        for value in part.parameters():
            value += 1
    seen = {expert: al.ExpertReport(samples=7, loss=0.5) for expert in task.experts}
    return Update(part.state_dict(), 7, protect_reports(seen, 3.0, 1.0, np.random.default_rng(0)))


pieces = {name: value.numpy() for name, value in experts.split(model.state_dict()).items()
          if experts.owner(name) in (None, 1)}
message = Message(RecordDict({
    "arrays": ArrayRecord({name: Array(value)
                           for name, value in pieces.items()}),
    "config": ConfigRecord({"experts": [1], "server-round": 1})}), 5, "train")
node = {"partition-id": 0, "num-partitions": 1}
answer = client_app(train, experts)(message, Context(1, 5, node, RecordDict(), {}))
for name, value in pieces.items():
    np.testing.assert_allclose(answer.content["arrays"][name].numpy(), value + 1)
assert list(answer.content["metrics"]["experts"]) == [1]
print("trained and reported")
