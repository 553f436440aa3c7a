"""`ExpertMap`: which slice of which tensor belongs to which expert of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Self

from torch import Tensor, nn

from fedloop.errors import ExpertMapError, NoExpertsError
from fedloop.expert_map.entries import Entry, Layer
from fedloop.expert_map.explain import explain
from fedloop.expert_map.families import FAMILIES, Family
from fedloop.expert_map.index import ExpertIndex
from fedloop.expert_map.mask import mask
from fedloop.expert_map.merge import Mean, Update
from fedloop.expert_map.sub_model import sub_model


class ExpertMap(ExpertIndex):
    """Which slice of which tensor of a state dict belongs to which expert.

    Made by `of` for models that are known and by `describe` for others.

    Attributes
    ----------
    family : str
        What the model was recognised as.
    layers : tuple of Layer
        MoE layers in natural order of their names. Expert j of layer l has the number
        ``layers[l].first + j``, its column in an alignment problem.
    entries : mapping of str to Entry
        Layout of every tensor, by its name.

    Notes
    -----
    Methods take experts by number, in any order. A sub-model's experts of a layer are those
    held, numbered from 0 in ascending order.

    Examples
    --------
    >>> from torch import nn
    >>> model = nn.ModuleDict({
    ...     "gate": nn.Linear(4, 3), "experts": nn.ModuleList([nn.Linear(4, 2) for _ in range(3)])})
    >>> map = ExpertMap.of(model)
    >>> {name: tuple(part.shape) for name, part in map.take(model.state_dict(), [0, 2]).items()}
    ... # doctest: +NORMALIZE_WHITESPACE
    {'gate.weight': (2, 4), 'gate.bias': (2,), 'experts.0.weight': (2, 4), 'experts.0.bias': (2,),
     'experts.1.weight': (2, 4), 'experts.1.bias': (2,)}
    """

    def __init__(self, family: str, entries: Mapping[str, Entry], layers: Sequence[Layer]) -> None:
        super().__init__(entries, layers)
        self.family = family

    @classmethod
    def of(
        cls, model: nn.Module | Mapping[str, Tensor], n_experts: int | None = None
    ) -> Self:
        """Recognise a model, or a state dict with names in memory or on disk.

        Parameters
        ----------
        model : nn.Module or mapping of str to Tensor
            The model or its state; tensors may be on the device "meta".
        n_experts : int, optional
            E of every layer, needed where no tensor tells it: an adapter on its own.

        Raises
        ------
        ExpertMapError
            If no family of `fedloop.expert_map.families` explains every tensor; the
            message is that of the nearest one.
        """
        state = _state(model)
        kind = getattr(getattr(model, "config", None), "model_type", None)
        families = [family for family in FAMILIES if family.name == kind] or FAMILIES
        faults: list[ExpertMapError] = []
        for family in families:
            try:
                return cls(family.name, *explain(state, family, n_experts))
            except ExpertMapError as fault:
                faults.append(fault)
        raise min(faults, key=lambda fault: (
            isinstance(fault, NoExpertsError), not fault.unexplained, len(fault.unexplained)))

    @classmethod
    def describe(
        cls, model: nn.Module | Mapping[str, Tensor], *, experts: Mapping[str, str],
        router: Mapping[str, str], shared: Sequence[str] = (), n_experts: int | None = None,
    ) -> Self:
        r"""Say which tensors hold experts.

        Parameters
        ----------
        model : nn.Module or mapping of str to Tensor
            The model or its state.
        experts, router : mapping of str to str
            A drawing of the shape (`fedloop.expert_map.drawing`) for every pattern, a
            regular expression searched for in names. Its groups are the layer, if there
            are several, and then, if the drawing has no ``E``, the expert's number.
        shared : sequence of str
            Patterns of tensors that lie among experts, or look so, and that all share.
        n_experts : int, optional
            E of every layer, where no tensor tells it.

        Raises
        ------
        ExpertMapError
            If shapes do not fit, or tensors stay unexplained.

        Examples
        --------
        >>> import torch
        >>> state = {"0.up": torch.zeros(3, 5, 4), "0.gate": torch.zeros(3, 4)}
        >>> ExpertMap.describe(
        ...     state, experts={r"(\d+)\.up": "E F H"}, router={r"(\d+)\.gate": "E H"}).n_experts
        3
        """
        family = Family("description", experts, router, shared, block=None)
        return cls(family.name, *explain(_state(model), family, n_experts))

    # -- states ----------------------------------------------------------------

    def take(
        self, state: Mapping[str, Tensor], experts: Iterable[int], all_router_rows: bool = False
    ) -> dict[str, Tensor]:
        """Cut out what a client with these experts needs: what a sub-model loads.

        Parameters
        ----------
        state : mapping of str to Tensor
            The whole state, or a part of it, such as the tensors that are trained.
        experts : iterable of int
            The client's experts.
        all_router_rows : bool
            Whether the router stays whole; otherwise only rows of the experts.

        Returns
        -------
        dict of str to Tensor
            Slices are new tensors, whole tensors are the state's own. Tensors of one
            expert are renumbered from 0 within their layer.

        Raises
        ------
        ExpertMapError
            If the state has a tensor that the map lacks, or one of another shape.
        """
        self._check(state)
        return {cut.name: cut.of(state[cut.entry.name])
                for cut in self.cuts(state, self.by_layer(experts), all_router_rows)}

    def merge(
        self, state: Mapping[str, Tensor], updates: Sequence[Update],
        weights: Sequence[float] | None = None,
        expert_weights: Sequence[Mapping[int, float]] | None = None,
    ) -> dict[str, Tensor]:
        """Average what clients trained: every expert over its holders, the rest over all.

        Parameters
        ----------
        state : mapping of str to Tensor
            The server's; it is not changed.
        updates : sequence of (experts, state)
            A client's experts and its tensors, named and cut as by `take`. What a client
            left out, such as tensors that it did not train, does not count.
        weights : sequence of float, default 1 each
            Weight of every client, >= 0, such as its number of samples.
        expert_weights : sequence of mapping of int to float, optional
            Weight of a client in each of its experts, in place of its own. Rows of
            experts that it does not hold, in a whole router, have the client's.

        Returns
        -------
        dict of str to Tensor
            Tensors that nobody changed are equal to the server's; whole numbers, and
            experts whose weights sum to 0, stay the server's.

        Raises
        ------
        ExpertMapError
            If an update has a tensor of another name or shape.

        Notes
        -----
        Differences to the server's tensors are averaged in double precision; memory is that
        of a few copies of the state.
        """
        self._check(state)
        weights = [1.0] * len(updates) if weights is None else weights
        expert_weights = [{}] * len(updates) if expert_weights is None else expert_weights
        if not len(updates) == len(weights) == len(expert_weights):
            raise ExpertMapError(f"{len(updates)} updates have {len(weights)} weights and "
                                 f"{len(expert_weights)} of their experts; give one each")
        mean = Mean(self.split(state))
        for number, (experts, part) in enumerate(updates):
            held = list(experts)
            try:
                pieces = self.split(part, held)
            except ExpertMapError as error:
                raise ExpertMapError(f"update {number}: {error}") from None
            weight = float(weights[number])
            of_expert: dict[int | None, float] = {
                expert: float(own) for expert, own in expert_weights[number].items()
                if expert in held}
            mean.add(pieces, {piece: of_expert.get(self.owner(piece), weight)
                              for piece in pieces}.__getitem__)
        return self.join(mean.result())

    def _check(self, state: Mapping[str, Tensor]) -> None:
        """Refuse tensors that the map does not know."""
        for name, tensor in state.items():
            if name not in self.entries:
                raise ExpertMapError(f"{name} is not in this map of {self.family}")
            if tuple(tensor.shape) != self.entries[name].shape:
                raise ExpertMapError(f"{name} has shape {tuple(tensor.shape)}, and "
                                     f"{self.entries[name].shape} in the map")

    # -- models ----------------------------------------------------------------

    def mask(self, model: nn.Module, experts: Iterable[int]) -> AbstractContextManager[None]:
        """Route to some experts only, while the context lasts; see `fedloop.expert_map.mask`."""
        return mask(self, model, experts)

    def sub_model(self, model: nn.Module, experts: Iterable[int]) -> nn.Module:
        """Return a copy with some experts only; see `fedloop.expert_map.sub_model`."""
        return sub_model(self, model, experts)


def _state(model: nn.Module | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return model.state_dict() if isinstance(model, nn.Module) else model
