"""What a client does in a round, defined once: train what it holds, and measure it.

The definition is written for N clients at a time, whose parameters lie along an axis in
front; nothing is summed along it, so each client's numbers are its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedloop.config import LocalSettings
from fedloop.local.optimisers import Optimiser
from fedloop.local.pairs import Pairs
from fedloop.local.runners import Runner
from fedloop.models.expert_model import Allowed
from fedloop.models.layout import Params
from fedloop.tasks.base import Examples, Task

#: Columns of `Training.seen`, as `alignsolve.ExpertReport` calls them.
SEEN = ("gate_usage", "loss_before", "loss", "accuracy")


@dataclass(frozen=True)
class Clients:
    """Some clients of a round, and what they were sent.

    Attributes
    ----------
    numbers : tuple of int
        The clients.
    pairs : list of Pairs
        For every layer who of them holds what.
    params : dict of str to Tensor
        Shared ones with an axis N in front, rows of experts with axes N, S; trained in
        place.
    sent : dict of str to Tensor
        The same numbers; what is the same for all clients may lack the axis N.
    valid : list of Tensor
        For every layer bool, shape (N, S): which rows a client holds; others are there to
        fill the stack.
    steps, probes : Tensor
        int64, shapes (N, steps, B) and (N, probe_images): positions of examples.
    """

    numbers: tuple[int, ...]
    pairs: list[Pairs]
    params: Params
    sent: Params
    valid: list[Tensor]
    steps: Tensor
    probes: Tensor

    @property
    def allowed(self) -> Allowed:
        """Return which rows may be used; None where it is all of them."""
        return None if all(bool(rows.all()) for rows in self.valid) else self.valid


@dataclass(frozen=True)
class Training:
    """What the participants of a round have after training, and what they saw.

    Attributes
    ----------
    clients : tuple of int
        The N participants.
    pairs : list of Pairs
        For every layer who holds what; clients are numbered as in `clients`.
    params : dict of str to Tensor
        Trained: shared ones along an axis N, rows of experts along an axis P.
    loss : Tensor
        float32, shape (N,): mean loss over the training steps.
    seen : list of Tensor
        For every layer float32, shape (P, 4), columns `SEEN`: share of the client's training
        examples that its router sent to the expert, which sums to 1 over a client's pairs;
        and on the probe examples, with this expert as the layer's only one, the mean loss
        before training, and mean loss and accuracy after it.
    """

    clients: tuple[int, ...]
    pairs: list[Pairs]
    params: Params
    loss: Tensor
    seen: list[Tensor]


def train_clients(
    runner: Runner, task: Task, data: Examples, clients: Clients, settings: LocalSettings,
    rate: float,
) -> Training:
    """Train some clients in place.

    Parameters
    ----------
    runner : Runner
        Runs the model.
    task : Task
        Its loss is what is descended on.
    data : Examples
        Training examples.
    clients : Clients
        Who, and with what.
    settings : LocalSettings
        How.
    rate : float
        Size of the steps.
    """
    before = _judge(runner, task, data, clients, clients.sent)
    leaves = [value.requires_grad_() for value in clients.params.values()]
    optimiser = Optimiser(settings, rate, leaves)
    total: Tensor | None = None
    usage: list[Tensor] = []
    allowed = clients.allowed
    for chosen in clients.steps.unbind(dim=1):
        batch, target = data.pick(chosen)
        output, shares, balance_N = runner.run(clients.params, batch, allowed)
        loss_N = task.loss(output.flatten(0, 1), target.flatten(0, 1)).view(
            target.shape[:2]).mean(dim=1)
        optimiser.step(torch.autograd.grad((loss_N + balance_N).sum(), leaves,
                                           materialize_grads=True))
        total = loss_N.detach() if total is None else total + loss_N.detach()
        usage = [a + b for a, b in zip(usage, shares, strict=True)] if usage else list(shares)
    for value in leaves:
        value.requires_grad_(False)
    assert total is not None
    steps = clients.steps.shape[1]
    after = _judge(runner, task, data, clients, clients.params)
    seen = [torch.column_stack([shares[rows].float() / steps, old[:, 0], new])
            for shares, rows, old, new in zip(usage, clients.valid, before, after, strict=True)]
    layer_of = runner.model.layout.layer_of
    params = {name: value if (layer := layer_of.get(name)) is None
              else value[clients.valid[layer]] for name, value in clients.params.items()}
    return Training(clients.numbers, clients.pairs, params, total.float() / steps, seen)


@torch.no_grad()
def _judge(
    runner: Runner, task: Task, data: Examples, clients: Clients, params: Mapping[str, Tensor]
) -> list[Tensor]:
    """Return for every layer loss and accuracy (P, 2) with one expert as the layer's only one."""
    batch, target = data.pick(clients.probes)
    judged = []
    for layer, rows in enumerate(clients.valid):
        held = rows.any(dim=0)  # by some client
        only = torch.eye(len(held), dtype=torch.bool, device=held.device)[held]
        masks = [*clients.valid]
        masks[layer] = only.expand(len(rows), *only.shape)
        output = runner.each(params, batch, masks)[rows[:, held]]
        owner = torch.nonzero(rows)[:, 0]
        flat = output.flatten(0, 1), target[owner].flatten(0, 1)
        judged.append(torch.stack([
            of(*flat).float().view(output.shape[:2]).mean(dim=1)
            for of in (task.loss, task.accuracy)], dim=1))
    return judged


def join(parts: Sequence[Training], pairs: list[Pairs]) -> Training:
    """Put participants together whose turns come one after the other; `pairs` numbers them."""
    first = parts[0]
    params = {name: torch.cat([part.params[name] for part in parts]) for name in first.params}
    seen = [torch.cat(rows) for rows in zip(*(part.seen for part in parts), strict=True)]
    return Training(tuple(client for part in parts for client in part.clients), pairs, params,
                    torch.cat([part.loss for part in parts]), seen)
