"""Copy a model with some of its experts only."""

from __future__ import annotations

import copy
from collections.abc import Iterable

from torch import nn

from fedloop.errors import ExpertMapError
from fedloop.expert_map.index import ExpertIndex
from fedloop.expert_map.mask import held_in_every_layer, refuse_groups, routers, submodule

#: Attributes of modules and configurations that count a layer's experts, or those an input uses.
_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "n_experts")
_CHOSEN = ("top_k", "num_experts_per_tok", "experts_per_token")

#: Groups of experts among which a router chooses; a sub-model has one.
_GROUPS = ("num_group", "topk_group", "n_group")


def sub_model(index: ExpertIndex, model: nn.Module, experts: Iterable[int]) -> nn.Module:
    """Copy a model with some of its experts only; the whole one is not copied on the way.

    Parameters
    ----------
    index : ExpertIndex
        With the names of the model's own state.
    model : nn.Module
        The whole model.
    experts : iterable of int
        The client's experts; at least one of every layer.

    Returns
    -------
    nn.Module
        It loads what `ExpertMap.take` cuts out, and computes what the model does under
        `ExpertMap.mask`.

    Raises
    ------
    ExpertMapError
        If a layer is left without experts, or tensors of one expert are no modules.

    Notes
    -----
    Attributes that count experts are set where they have usual names, in modules and in
    the configuration of transformers; the latter has one number for all layers, so that
    only a model with equally many in every layer can be saved and loaded, and have a
    load-balancing loss.
    """
    held = held_in_every_layer(index, experts)
    _refuse_what_cannot_run(index, model, held)
    memo: dict[int, object] = {}
    _cut_tensors(index, model, held, memo)
    containers = _leave_out_modules(index, model, held, memo)
    copied = copy.deepcopy(model, memo)
    for name, kept in containers.items():
        children = copied.get_submodule(name)._modules
        own = {new: children[old] for new, old in kept.items()}
        children.clear()
        children.update(own)
    _count_anew(index, copied, held)
    return copied


def _refuse_what_cannot_run(index: ExpertIndex, model: nn.Module, held: list[list[int]]) -> None:
    """Name the layers that a router or PEFT cannot run with one expert, or a part of them."""
    for name, layer in routers(index).items():
        router = submodule(model, name)
        refuse_groups(router, name)
        if hasattr(router, "num_group") and len(held[layer]) == 1:
            raise ExpertMapError(f"{name!r} scores groups by their two best experts, and the "
                                 "client holds one; give it two, or use the mask")
    for entry in index.entries.values():
        if entry.layout == "interleaved" and entry.layer is not None:
            name = entry.name.partition(".lora_")[0]
            base = getattr(submodule(model, name), "get_base_layer", lambda: None)()
            # PEFT 0.21 takes one expert for a plain matrix, which it adds transposed.
            if getattr(base, "is_transposed", False) and len(held[entry.layer]) == 1:
                raise ExpertMapError(f"PEFT cannot run {name!r} with the one expert that the "
                                     "client holds; give it two, or use the mask")


def _cut_tensors(
    index: ExpertIndex, model: nn.Module, held: list[list[int]], memo: dict[int, object]
) -> None:
    """Have slices stand for tensors in the copy."""
    tensors = {**dict(model.named_buffers(remove_duplicate=False)),
               **dict(model.named_parameters(remove_duplicate=False))}
    for cut in index.cuts(tensors.keys() & index.entries.keys(), held):
        if cut.positions is not None:
            tensor = tensors[cut.entry.name]
            part = cut.of(tensor.detach())
            memo[id(tensor)] = nn.Parameter(part, tensor.requires_grad) if isinstance(
                tensor, nn.Parameter) else part


def _leave_out_modules(
    index: ExpertIndex, model: nn.Module, held: list[list[int]], memo: dict[int, object]
) -> dict[str, dict[str, str]]:
    """Have nothing stand for experts that are not held; return old names by new, by container."""
    containers: dict[str, dict[str, str]] = {}
    for entry in index.entries.values():
        if entry.expert is None or entry.layer is None:
            continue
        (start, end), own = entry.span, held[entry.layer]
        begin, stop = entry.name.rfind(".", 0, start) + 1, entry.name.find(".", end)
        if stop < 0:
            raise ExpertMapError(f"{entry.name} is in no module of its expert; build a sub-model "
                                 "of your own, which loads what ExpertMap.take cuts out")
        kept = containers.setdefault(entry.name[:max(begin - 1, 0)], {})
        if entry.expert in own:
            number = own.index(entry.expert)
            new = f"{entry.name[begin:start]}{number}{entry.name[end:stop]}"
            kept[new] = entry.name[begin:stop]
        else:
            memo[id(submodule(model, entry.name[:stop]))] = nn.Identity()
    return containers


def _count_anew(index: ExpertIndex, model: nn.Module, held: list[list[int]]) -> None:
    """Set what counts experts in modules whose layers all hold equally many."""
    below: dict[str, set[int]] = {}
    for entry in index.entries.values():
        if entry.layer is not None:
            parts = entry.name.split(".")
            for length in range(len(parts)):
                below.setdefault(".".join(parts[:length]), set()).add(entry.layer)
    for name, module in model.named_modules():
        layers = below.get(name, set())
        sizes = {(index.layers[layer].n_experts, len(held[layer])) for layer in layers}
        if len(sizes) == 1:
            before, after = sizes.pop()
            for counted in (module, getattr(module, "config", None)):
                _set_counts(counted, before, after)
        if layers and isinstance(module, nn.Linear):
            module.out_features, module.in_features = module.weight.shape


def _set_counts(counted: object, before: int, after: int) -> None:
    # Not by getattr: wrappers of PEFT hand on the attributes of what they wrap.
    for name in {*_COUNTS, *_CHOSEN, *_GROUPS}.intersection(getattr(counted, "__dict__", ())):
        value = getattr(counted, name)
        if isinstance(value, int) and (name not in _COUNTS or value == before):
            new = after if name in _COUNTS else min(value, after) if name in _CHOSEN else 1
            setattr(counted, name, new)
