"""Judge every client on its own held-out examples, with the experts it may use."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from fedloop.local.runners import Alone, Runner
from fedloop.models.expert_model import ExpertModel
from fedloop.tasks.base import Examples, Task

#: Targets that are judged at a time: so many that their outputs fit in memory.
AT_ONCE = 2**15


@torch.no_grad()
def judge_clients(
    model: ExpertModel, task: Task, server: Mapping[str, Tensor], test: Examples,
    *held: np.ndarray | None, batched: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Return every client's accuracy and loss on its own held-out examples.

    Parameters
    ----------
    model, task : ExpertModel, Task
        What is judged, and how.
    server : mapping of str to Tensor
        The model's parameters. Personal routers have a leading axis of clients.
    test : Examples
        Held-out examples of all clients.
    *held : ndarray or None
        bool, shape (clients, experts of all layers): the experts that a client
        may use. None allows all. Several are judged on the same way through whatever
        does not depend on them.
    batched : bool
        Whether clients are judged many at once, or one by one.

    Returns
    -------
    accuracy, loss : ndarray
        float64, shape (len(held), clients).
    """
    sizes = np.diff(test.first)
    device = test.input.device
    masks = torch.stack([
        torch.ones(len(sizes), model.total_experts, dtype=torch.bool) if allowed is None
        else torch.from_numpy(allowed) for allowed in held], dim=1).to(device)
    layers = masks.view(*masks.shape[:2], model.n_layers, model.n_experts).unbind(2)
    runner = Runner(model) if batched else Alone(model)
    found = np.empty((2, len(held), len(sizes)))
    each = int(sizes.max()) * max(1, test.target[0].numel())
    step = max(1, AT_ONCE // each) if batched else 1
    for first in range(0, len(sizes), step):
        some = slice(first, min(first + step, len(sizes)))
        size = sizes[some]
        # Clients with fewer examples get their last one again, which does not count.
        place = np.minimum(np.arange(size.max()), size[:, None] - 1) + test.first[some, None]
        batch, target = test.pick(torch.from_numpy(place).to(device))
        output = runner.each(model.own_rows(server, some), batch, [rows[some] for rows in layers])
        targets = target[:, None].expand(-1, len(held), *target.shape[1:])
        for kind, of in enumerate((task.accuracy, task.loss)):
            values = of(output.flatten(0, 2), targets.flatten(0, 2)).double().view(
                output.shape[:3]).cpu().numpy()
            counts = np.arange(size.max()) < size[:, None]
            found[kind, :, some] = ((values * counts[:, None]).sum(axis=2) / size[:, None]).T
    return found[0], found[1]
