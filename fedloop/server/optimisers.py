"""What the server makes of the average: FedAvg, FedAvgM [1]_ or FedAdam [2]_.

Each takes the average's change for a step. What nobody trained in a round neither moves
nor changes its running numbers; an expert counts as one.

References
----------
.. [1] T.-M. H. Hsu, H. Qi, M. Brown, "Measuring the Effects of Non-Identical Data
   Distribution for Federated Visual Classification", 2019, arXiv:1909.06335.
.. [2] S. J. Reddi et al., "Adaptive Federated Optimization", ICLR 2021, arXiv:2003.00295,
   algorithm 2; without a correction of the first rounds' bias, as there.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fedloop.config import ServerSettings
from fedloop.models.layout import Params
from fedloop.server.aggregation import column

#: Weight of the running change where the settings name none.
MOMENTUM = {"fedavg": 0.0, "fedavgm": 0.9, "fedadam": 0.9}


def server_step(
    old: Mapping[str, Tensor], new: Mapping[str, Tensor], velocity: Mapping[str, Tensor],
    square: Mapping[str, Tensor], settings: ServerSettings, rows: Mapping[str, int],
    personal: frozenset[str] = frozenset(),
) -> tuple[Params, Params, Params]:
    """Return the model after a round, and the running numbers.

    Parameters
    ----------
    old, new : mapping of str to Tensor
        The model before the round, and as averaged.
    velocity, square : mapping of str to Tensor
        Running change of every parameter, and its running square; missing ones are 0.
    settings : ServerSettings
        Which optimiser, and its numbers.
    rows : mapping of str to int
        Of parameters of experts: 1 where there is a row for each, 0 where it is of one expert.
    personal : frozenset of str
        Clients' own parameters, which stay as they were averaged; so do whole numbers.

    Returns
    -------
    model, velocity, square : dict of str to Tensor
    """
    momentum = settings.momentum
    if momentum is None:
        momentum = MOMENTUM[settings.optimiser]
    adaptive = settings.optimiser == "fedadam"
    if not adaptive and momentum == 0 and settings.learning_rate == 1:
        return dict(new), dict(velocity), dict(square)
    model, runs, squares = dict(new), dict(velocity), dict(square)
    for name, value in new.items():
        if name in personal or not value.is_floating_point():
            continue
        change = value - old[name]
        moved = change != 0
        if name in rows:
            moved = column(moved.flatten(1).any(dim=1), value) if rows[name] else moved.any()
        run = velocity.get(name, torch.zeros_like(value))
        if adaptive:
            power = square.get(name, torch.zeros_like(value))
            runs[name] = torch.where(moved, run.lerp(change, 1 - momentum), run)
            squares[name] = torch.where(moved, power.lerp(change * change, 1 - settings.beta2),
                                        power)
            step = runs[name] / (squares[name].sqrt() + settings.tau)
        else:
            step = runs[name] = torch.where(moved, momentum * run + change, run)
        model[name] = torch.where(moved, old[name] + settings.learning_rate * step, value)
    return model, runs, squares
