"""Average what clients trained of a model of which each has a part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from torch import Tensor

from fedloop.errors import ExpertMapError
from fedloop.expert_map.index import ExpertIndex
from fedloop.expert_map.pieces import join, owner, split

#: A client's experts, and its tensors as `ExpertMap.take` returns them.
Update = tuple[Iterable[int], Mapping[str, Tensor]]


def merge(
    index: ExpertIndex, state: Mapping[str, Tensor], updates: Sequence[Update],
    weights: Sequence[float] | None, expert_weights: Sequence[Mapping[int, float]] | None,
) -> dict[str, Tensor]:
    """Do what `ExpertMap.merge` says."""
    weights = [1.0] * len(updates) if weights is None else weights
    expert_weights = [{}] * len(updates) if expert_weights is None else expert_weights
    if not len(updates) == len(weights) == len(expert_weights):
        raise ExpertMapError(f"{len(updates)} updates have {len(weights)} weights and "
                             f"{len(expert_weights)} of their experts; give one each")
    everything = range(index.n_experts)
    mean = Mean(split(index, state, everything))
    for number, (experts, part) in enumerate(updates):
        held = set(experts)
        try:
            pieces = split(index, part, held)
        except ExpertMapError as error:
            raise ExpertMapError(f"update {number}: {error}") from None
        weight, own = float(weights[number]), expert_weights[number]
        by_expert = {expert: float(own.get(expert, weight)) for expert in held}
        mean.add(pieces, {
            piece: by_expert.get(expert, weight) if (expert := owner(index, piece)) is not None
            else weight for piece in pieces}.__getitem__)
    return join(index, mean.result(), everything)


class Mean:
    """Weighted means of tensors, of which every client adds some.

    Parameters
    ----------
    model : mapping of str to Tensor
        The server's; what nobody adds stays, and so do whole numbers.

    Notes
    -----
    Differences to the model are averaged, in double precision, since means of many clients
    would lose digits in half precision, and as running means, since sums could overflow.
    """

    def __init__(self, model: Mapping[str, Tensor]) -> None:
        self._model = model
        self._mean: dict[str, Tensor] = {}
        self._weight: dict[str, float] = {}

    def add(self, update: Mapping[str, Tensor], weight_of: Callable[[str], float]) -> None:
        """Add a client's tensors, each with its weight."""
        for name, value in update.items():
            weight = weight_of(name)
            if weight > 0 and value.is_floating_point():
                total = self._weight[name] = self._weight.get(name, 0.0) + weight
                step = value.double().to(self._model[name].device) - self._model[name]
                if weight < total:
                    step = self._mean[name] * (1 - weight / total) + step * (weight / total)
                self._mean[name] = step

    def result(self) -> dict[str, Tensor]:
        """Return the model with what was added averaged."""
        return {name: value if name not in self._mean else
                (value + self._mean[name]).to(value.dtype) for name, value in self._model.items()}
