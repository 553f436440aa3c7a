"""Send the model and take back what was trained, where both are rounded on the way.

Both directions are differences, as `fedloop.payload` packs them: down, to what the client has
of its last message; up, to what it was sent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from fedloop.local.client import Training
from fedloop.models.expert_model import ExpertModel
from fedloop.models.layout import Params, part_of
from fedloop.payload import changed, changes, pack_differences, pack_for, unpack

#: Pieces of the model (`fedloop.models.layout.Layout.pieces`), float32, by client.
OfClients = dict[int, Params]


def deliver(
    spec: ExpertModel, model: Params, received: OfClients, clients: Sequence[int],
    held: Mapping[int, Sequence[int]],
) -> Params:
    """Send some clients what they hold; return the model as each has it.

    Parameters
    ----------
    spec : ExpertModel
        Who owns which rows.
    model : dict of str to Tensor
        The server's.
    received : dict of int to dict of str to Tensor
        What clients have of their last messages; changed. Personal routers never travel.
    clients : sequence of int
        Who is sent something.
    held : mapping of int to sequence of int
        Their experts.

    Returns
    -------
    dict of str to Tensor
        With an axis of these clients in front, in their order; 0 where one has nothing.
    """
    travels = _travels(spec, model)
    pieces = spec.layout.pieces(travels)
    sent = model | {name: value.new_zeros(len(clients), *value.shape)
                    for name, value in travels.items()}
    for at, client in enumerate(clients):
        _, received[client] = pack_for(part_of(pieces, held[client]), received.get(client, {}))
        for name, value in spec.layout.joined(received[client], travels).items():
            sent[name][at] = value
    return sent


def collect(
    spec: ExpertModel, model: Params, received: OfClients, lost: OfClients, training: Training
) -> Training:
    """Return training as the server gets it; what rounding took by now is put into `lost`."""
    travels = _travels(spec, model)
    pieces = spec.layout.pieces(travels)
    params = training.params | {name: training.params[name].clone() for name in travels}
    for number, client in enumerate(training.clients):
        own = [pair.client == number for pair in training.pairs]
        place = {name: number if layer is None else own[layer] for name in travels
                 for layer in [spec.layout.layer_of.get(name)]}
        experts = [layer * spec.n_experts + expert for layer, pair in enumerate(training.pairs)
                   for expert in pair.expert[own[layer]].tolist()]
        trained = spec.layout.pieces({name: params[name][at] for name, at in place.items()},
                                     experts)
        packed = pack_differences(changes(trained, received[client]), lost.setdefault(client, {}))
        got = changed(pieces, {name: unpack(array, array) for name, array in packed.items()})
        for name, value in spec.layout.joined(got, travels, experts).items():
            params[name][place[name]] = value
    return dataclasses.replace(training, params=params)


def _travels(spec: ExpertModel, model: Params) -> Params:
    return {name: value for name, value in model.items() if value.ndim == spec.ndim[name]}
