"""How a model is run for clients with parameters of their own: many at once, or one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedloop.models.expert_model import Allowed, ExpertModel
from fedloop.models.layout import Params


@dataclass(frozen=True)
class Runner:
    """Runs a model for N clients, each with its own parameters and examples, by `torch.vmap`."""

    model: ExpertModel

    def run(
        self, params: Mapping[str, Tensor], batch: Tensor, allowed: Allowed
    ) -> tuple[Tensor, Sequence[Tensor], Tensor]:
        """Return outputs (N, B, ...), weights of rows (N, S) by layer, and balance losses (N,)."""
        return torch.vmap(self.model.run, (self._axes(params), 0, None if allowed is None else 0))(
            params, batch, allowed)

    def each(self, params: Mapping[str, Tensor], batch: Tensor, masks: Sequence[Tensor]) -> Tensor:
        """Return outputs (N, K, B, ...) under each of K masks.

        A layer's mask is (N, K, S), or (N, S) where it is the same in all. What does not
        depend on masks that differ is computed once.
        """
        axes = [0 if rows.ndim == 3 else None for rows in masks]

        def one(params: Params, batch: Tensor, masks: list[Tensor]) -> Tensor:
            return torch.vmap(lambda rows: self.model.run(params, batch, rows, observed=False)[0],
                              (axes,))(masks)

        return torch.vmap(one, (self._axes(params), 0, 0))(dict(params), batch, list(masks))

    def _axes(self, params: Mapping[str, Tensor]) -> dict[str, int | None]:
        return {name: None if value.ndim == self.model.ndim[name] else 0
                for name, value in params.items()}


class Alone(Runner):
    """Runs a model for one client, N is 1, as it is: the reference, and for any module.

    Overrides `run` and `each`, both without `torch.vmap`.
    """

    def run(
        self, params: Mapping[str, Tensor], batch: Tensor, allowed: Allowed
    ) -> tuple[Tensor, Sequence[Tensor], Tensor]:
        """Do what `Runner.run` does."""
        rows = None if allowed is None else [one[0] for one in allowed]
        output, usage, balance = self.model.run(self.model.own_rows(params, 0), batch[0], rows)
        return output[None], [shares[None] for shares in usage], balance[None]

    def each(self, params: Mapping[str, Tensor], batch: Tensor, masks: Sequence[Tensor]) -> Tensor:
        """Do what `Runner.each` does, mask after mask."""
        own = self.model.own_rows(params, 0)
        number = max(rows.shape[1] for rows in masks if rows.ndim == 3)
        return torch.stack([
            self.model.run(own, batch[0], [rows[0, k] if rows.ndim == 3 else rows[0]
                                           for rows in masks], observed=False)[0]
            for k in range(number)])[None]
