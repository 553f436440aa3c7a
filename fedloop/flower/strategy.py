"""A Flower strategy that gives every client its own experts.

It works with any model that a `fedloop.ExpertMap` explains, or whose parameters tell by
their names which expert they belong to. Flower's own strategies average what all clients
return; here clients return different parameters, so each expert is averaged over its holders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from logging import INFO, WARNING
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord
from flwr.common import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy
from torch import Tensor

import alignsolve as al
from fedloop.checkpoint import load_checkpoint, save_checkpoint, writing
from fedloop.config import ServerSettings
from fedloop.errors import CheckpointError, EngineError
from fedloop.expert_map import ExpertMap
from fedloop.expert_map.merge import Mean
from fedloop.flower import messages
from fedloop.flower.messages import MalformedReplyError, Parameters
from fedloop.flower.nodes import Nodes
from fedloop.flower.receivers import Receivers
from fedloop.flower.rules import NamingRule, Weight, weight_by
from fedloop.payload import Encoding, packed_bytes
from fedloop.saving import arrays_of, tensors_of
from fedloop.server.optimisers import server_step


class AlignedStrategy(Strategy):
    """Plan with an `alignsolve.Aligner`, send each client its experts, average each apart.

    Parameters
    ----------
    aligner : al.Aligner
        Decides who trains what. Clients are called by their ``partition-id``.
    expert_of : ExpertMap or callable
        What of the parameters belongs to which expert: a map of the model's state, or a rule
        that tells the expert of a parameter by its name; see `numbered`.
    nodes : Nodes, optional
        Finds the clients' nodes.
    deadline_s : float, optional
        Seconds that clients should take; the aligner plans with it. How long the
        server waits is the `timeout` of `start`.
    checkpoint : path, optional
        File to which model, aligner and round are written after every round; from `resume`
        or `start` to its end no other strategy may.
    evaluate_clients : bool
        Whether clients also judge the new model after every round.
    encoding : {"native", "int8"}
        How parameters travel; see `fedloop.payload`. ``int8`` needs clients of
        `fedloop.flower.client`.
    server : ServerSettings, optional
        How clients count in an expert, and what is done with the average.
    weight : callable, optional
        Returns the weight of a client's report in an expert, or for None in what all
        share; in place of that of `server`.

    Notes
    -----
    A reply counts only as a whole: one with an error, with other parameters than
    were sent, or with a number that is not finite is refused, whatever its bytes
    are, and its client counts as dropped out, as do those that did not answer in
    time. `refused` has the reasons, and they are logged. Parameters
    that all share are averaged by the clients' examples; an expert's, and its rows of a
    router in a map, over its holders, by the samples that went through it times the gate's
    share where that is reported. Whole numbers, such as counters of batches, stay the server's.

    Parameters of a map travel in pieces of one expert each (`ExpertMap.split`). Memory and
    time of a round grow with the parameters sent; as they are each is serialised once,
    however many clients it goes to, rounded ones once for each client.

    Examples
    --------
    >>> import alignsolve as al
    >>> from fedloop.flower import AlignedStrategy
    >>> def expert_of(name):
    ...     return int(name.split(".")[1]) if name.startswith("experts.") else None
    >>> strategy = AlignedStrategy(al.Aligner(n_experts=4), expert_of)
    >>> strategy.refused
    {}
    """

    def __init__(
        self, aligner: al.Aligner, expert_of: ExpertMap | NamingRule, *, nodes: Nodes | None = None,
        deadline_s: float | None = None, checkpoint: str | Path | None = None,
        evaluate_clients: bool = True, encoding: Encoding = "native",
        server: ServerSettings | None = None, weight: Weight | None = None,
    ) -> None:
        self.aligner = aligner
        self.map = expert_of if isinstance(expert_of, ExpertMap) else None
        #: The expert of a piece, by its name.
        self.expert_of: NamingRule = (
            expert_of.owner if isinstance(expert_of, ExpertMap) else expert_of)
        if self.map is not None and len(self.map.layers) > 1 and aligner.settings.groups is None:
            log(WARNING, "the map has %s layers, and the aligner no groups: a client may get no "
                "expert of a layer, and no model runs so; give al.Aligner(..., **map.groups())",
                len(self.map.layers))
        self.nodes = nodes or Nodes()
        self.deadline_s = deadline_s
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.evaluate_clients = evaluate_clients
        self.server = server or ServerSettings()
        self.weight: Weight = weight or weight_by(self.server.weighting)
        #: Experts that every client can hold, declared when it first connects, also after
        #: `resume`; None leaves what the aligner knows.
        self.max_experts: int | None = None
        self._declared: set[int] = set()
        #: Rounds played before this start.
        self.rounds_before = 0
        self._model: Parameters = {}
        self._running: tuple[Parameters, Parameters] = {}, {}
        self._plan: al.Plan | None = None
        self._client_of: dict[int, int] = {}
        self._receivers = Receivers(encoding)
        self._claim = ExitStack()
        self._claimed = False
        #: Why replies did not count when replies were last aggregated, by client.
        self.refused: dict[object, str] = {}
        #: Bytes of parameters that the last round sent, that came back, and that whole models
        #: would have been.
        self.sent_bytes = self.received_bytes = self.whole_bytes = 0

    def start(self, *arguments: Any, **more: Any) -> Result:
        """Run rounds, as Flower's strategies do.

        Raises
        ------
        CheckpointError
            If another strategy is writing the checkpoint, or it cannot be written.
        """
        self._keep_others_out()
        with self._claim:
            try:
                return super().start(*arguments, **more)
            finally:
                self._claimed = False

    def _keep_others_out(self) -> None:
        """Be the only one to write the checkpoint, until `start` ends, or this process."""
        if self.checkpoint is not None and not self._claimed:
            self._claim.enter_context(writing(self.checkpoint.parent, self.checkpoint.name))
            self._claimed = True

    # -- training ------------------------------------------------------------------

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Plan a round; return a message for every client that got experts."""
        node_of = self.nodes.find(grid)
        if not node_of:
            raise EngineError("no node is connected that says which client it is")
        self._model = self._pieces(messages.state_of(arrays))
        self._check_names()
        self._client_of = {node: client for client, node in node_of.items()}
        if self.max_experts is not None:
            for client in sorted(node_of.keys() - self._declared):
                self.aligner.declare(client, max_experts=self.max_experts)
                self._declared.add(client)
        self._plan = self.aligner.plan(sorted(node_of), deadline_s=self.deadline_s)
        asked = self._messages(self._plan, node_of, config, MessageType.TRAIN)
        if not asked:
            log(WARNING, "round %s: nothing is trained: none of %s clients got an expert; see "
                "their max_experts and memory, and the aligner's groups and deadline",
                self.aligner.round, len(node_of))
        self.sent_bytes = sum(messages.payload(message.content) for message in asked)
        self.whole_bytes = len(asked) * sum(map(packed_bytes, self._model.values()))
        return asked

    def _pieces(self, state: Mapping[str, Tensor]) -> Parameters:
        return dict(state) if self.map is None else self.map.split(state)

    def _check_names(self) -> None:
        """Check that the naming rule finds experts, and none that the aligner lacks."""
        if self.map is not None and self.map.n_experts != self.aligner.n_experts:
            raise EngineError(f"the map has {self.map.n_experts} experts, and the aligner "
                              f"{self.aligner.n_experts}")
        experts = {expert for name in self._model if (expert := self.expert_of(name)) is not None}
        if not experts or max(experts) >= self.aligner.n_experts:
            raise EngineError(
                f"the naming rule finds {len(experts)} experts, numbered up to "
                f"{max(experts, default=-1)}, in the parameters, and the aligner has "
                f"{self.aligner.n_experts}")

    def _messages(
        self, plan: al.Plan, node_of: Mapping[int, int], config: Mapping[str, Any], kind: str
    ) -> list[Message]:
        """Return a message for every client of a plan that is connected and holds experts."""
        asked = []
        for client in map(int, plan.clients):
            experts = plan.experts_of(client).tolist()
            if experts and client in node_of:
                content = self._receivers.task(
                    client, self._part(experts), config, experts, plan.round)
                asked.append(Message(content, node_of[client], kind))
        return asked

    def _part(self, experts: Iterable[int]) -> Parameters:
        """Return what a client with these experts needs."""
        wanted = {None, *experts}
        return {name: value for name, value in self._model.items()
                if self.expert_of(name) in wanted}

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Average what came back, expert by expert, and tell the aligner."""
        plan = self._plan
        assert plan is not None
        self.refused = {}
        reports, updates = self._sound(replies, plan)
        for refusal in self.aligner.observe(plan, reports.values()).refused:
            self._refuse(refusal.client, refusal.reason)
        updates = {client: update for client, update in updates.items()
                   if client not in self.refused}
        self._receivers.settle(updates)
        mean = Mean(self._model)
        for client in sorted(updates):
            mean.add(updates[client], lambda name, client=client: self.weight(  # type: ignore[misc]
                reports[client], self.expert_of(name)))
        self._step(mean.result())
        arrays = messages.record_of(self._whole())
        if self.checkpoint is not None:
            self._save(self.rounds_before + server_round)
        figures = self.aligner.metrics()
        return arrays, MetricRecord({
            "accepted": len(updates), "dropped": len(plan.clients) - len(updates),
            "sent-bytes": self.sent_bytes, "received-bytes": self.received_bytes,
            "whole-model-bytes": self.whole_bytes,
            "load-cv": float(figures["holders"]["cv"]),
        })

    def _step(self, mean: Parameters) -> None:
        """Make a step of the server's optimiser; an expert moves as one, or not at all."""
        experts = {name: 0 for name in self._model if self.expert_of(name) is not None}
        self._model, *running = server_step(
            self._model, mean, *self._running, self.server, experts)
        self._running = running[0], running[1]

    def _whole(self) -> Parameters:
        """Return the model as it was given."""
        return self._model if self.map is None else self.map.join(self._model)

    def _sound(
        self, replies: Iterable[Message], plan: al.Plan
    ) -> tuple[dict[int, al.ClientReport], dict[int, Parameters]]:
        """Return reports and parameters of the replies that are what was asked for."""
        reports, updates = {}, {}
        self.received_bytes = 0
        for message in replies:
            client = self._client_of.get(message.metadata.src_node_id)
            if client is None or client in reports or client in self.refused:
                continue
            with self._refusing(client):
                messages.check_error(message)
                update = self._receivers.trained(client, message, self._model)
                messages.check_finite(update)
                reports[client] = messages.read_report(
                    message, client, plan.round, self.aligner.n_experts)
                updates[client] = update
                self.received_bytes += messages.payload(message.content)
        return dict(sorted(reports.items())), updates

    @contextmanager
    def _refusing(self, client: object) -> Iterator[None]:
        """Refuse a client whose reply is not what it should be."""
        try:
            with messages.refusing():
                yield
        except MalformedReplyError as error:
            self._refuse(client, str(error))

    def _refuse(self, client: object, reason: str) -> None:
        """Remember and log why a client's reply does not count."""
        self.refused[client] = reason
        log(WARNING, "round %s: client %s: %s", self.aligner.round, client, reason)

    # -- evaluation ----------------------------------------------------------------

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return a message for every client of the last plan, with the experts it trained."""
        if not self.evaluate_clients:
            return []
        assert self._plan is not None
        node_of = self.nodes.find(grid)
        self._client_of |= {node: client for client, node in node_of.items()}
        return self._messages(self._plan, node_of, config, MessageType.EVALUATE)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Average every number that at least half of the clients report, by their examples.

        Who reports a list under such a name, or more than 1e12, is refused.
        """
        if not self.evaluate_clients:
            return None  # what was refused of the training stays
        self.refused = {}
        records: list[tuple[int, MetricRecord]] = []
        for message in replies:
            node = message.metadata.src_node_id
            client = self._client_of.get(node, node)
            with self._refusing(client):
                messages.check_error(message)
                records.append((client, messages.read_evaluation(message)))
        self._receivers.settle({client for client, _ in records})
        counts = Counter(name for _, record in records for name, value in record.items()
                         if isinstance(value, float))
        names = sorted(name for name, count in counts.items() if 2 * count >= len(records))
        sound = []
        for client, record in records:
            with self._refusing(client):
                messages.check_figures(record, names)
                sound.append(record)
        return _averages(sound, names)

    # -- going on ------------------------------------------------------------------

    def resume(self, arrays: ArrayRecord) -> ArrayRecord:
        """Return the checkpoint's model, and take over its aligner and round; else `arrays`.

        Start with ``num_rounds`` less `rounds_before`.

        Raises
        ------
        CheckpointError
            If the checkpoint is damaged, or of another model, map or naming rule, or another
            strategy is writing it.
        """
        self._keep_others_out()
        if self.checkpoint is None or not self.checkpoint.exists():
            return arrays
        saved = load_checkpoint(self.checkpoint, "model", "aligner", "round")
        like = messages.state_of(arrays)
        if {name: value.shape for name, value in saved["model"].items()} != {
                name: tuple(value.shape) for name, value in like.items()}:
            raise CheckpointError(f"{self.checkpoint}: of another model; remove it to start anew")
        self.aligner.load_state_dict(saved["aligner"])
        self.rounds_before = saved["round"]
        model = tensors_of(saved["model"], like)
        pieces = self._pieces(model)
        if unknown := {*saved.get("velocity", {}), *saved.get("square", {})} - pieces.keys():
            raise CheckpointError(f"{self.checkpoint}: has running numbers of {min(unknown)}, "
                                  "which is no piece here: written with another map or naming rule")
        self._running = (tensors_of(saved.get("velocity", {}), pieces),
                         tensors_of(saved.get("square", {}), pieces))
        return messages.record_of(model)

    def _save(self, number: int) -> None:
        assert self.checkpoint is not None
        save_checkpoint(self.checkpoint, {
            "round": number, "aligner": self.aligner.state_dict(),
            "model": arrays_of(self._whole()),
            "velocity": arrays_of(self._running[0]), "square": arrays_of(self._running[1]),
        })

    def summary(self) -> None:
        """Log what is planned with."""
        log(INFO, "\t├──> %s experts, strategy %s, after %s rounds", self.aligner.n_experts,
            self.aligner.strategy, self.rounds_before)


def _averages(records: list[MetricRecord], names: Iterable[str]) -> MetricRecord | None:
    """Return the means over the records that have them, by examples; None without records."""
    if not records:
        return None
    means = {}
    for name in names:
        having = [record for record in records if name in record]
        if having:
            means[name] = float(np.average(
                [record[name] for record in having],
                weights=[record["num-examples"] for record in having]))
    return MetricRecord(means)
