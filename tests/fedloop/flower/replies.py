"""Flower nodes that answer at once, a small model, and its clients' replies."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict

import alignsolve as al
from fedloop.flower import AlignedStrategy, numbered
from fedloop.flower.messages import ARRAYS, CONFIG, reply

#: Flower's numbers of the nodes of clients 0, 1 and 2.
NODES = {907: 0, 12: 1, 455: 2}


@pytest.fixture(autouse=True)
def identity():
    """Flower lets only a process that belongs to a run make messages."""
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1


def read_task(message):
    """Return the parameters, the experts and the round that a message holds."""
    config = message.content[CONFIG]
    arrays = {name: array.numpy() for name, array in message.content[ARRAYS].items()}
    return arrays, list(config["experts"]), int(config["server-round"])


class Grid:
    """Nodes that answer queries at once."""

    def __init__(self, nodes):
        self.nodes, self.answers, self.queries = nodes, [], 0

    def get_node_ids(self):
        return list(self.nodes)

    def push_messages(self, messages):
        for number, message in enumerate(messages):
            message.metadata.__dict__["_message_id"] = f"{self.queries}-{number}"
            record = MetricRecord({"partition-id": self.nodes[message.metadata.dst_node_id]})
            self.answers.append(Message(RecordDict({"metrics": record}), reply_to=message))
        self.queries += 1
        return [message.metadata.message_id for message in messages]

    def pull_messages(self, ids):
        answers, self.answers = self.answers, []
        return answers


def model():
    names = ["body.weight"] + [f"experts.{expert}.weight" for expert in range(4)]
    return ArrayRecord({name: Array(np.full(3, float(at), np.float32))
                        for at, name in enumerate(names)})


def strategy(chosen_by="optimal", **settings):
    aligner = al.Aligner(4, strategy=chosen_by)
    return AlignedStrategy(aligner, numbered(r"experts\.(\d+)\."), **settings)


def answer(message, change=lambda name, value: value + 1, samples=10):
    arrays, experts, _ = read_task(message)
    return reply(message, {name: change(name, value) for name, value in arrays.items()}, samples,
                 0.1, {expert: al.ExpertReport(samples=samples, loss=0.5) for expert in experts})
