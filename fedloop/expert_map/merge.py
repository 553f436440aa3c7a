"""Average what clients trained of a model of which each has a part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

#: A client's experts, and its tensors as `ExpertMap.take` returns them.
Update = tuple[Iterable[int], Mapping[str, Tensor]]


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
