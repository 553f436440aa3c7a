r"""The models that are known: which names of tensors have which shapes, as data.

A pattern is searched for in the name, with PEFT's ``base_layer.`` taken out. Its
groups are the layer and, where a tensor belongs to one expert, the expert. A state
may have the names in memory or, where they differ, those on disk: a pattern that
finds nothing is no fault, a shape that disagrees with its drawing is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """How the tensors of some models are named and shaped.

    Attributes
    ----------
    name : str
        ``model_type`` of the configuration in transformers.
    experts, router : mapping of str to str
        Drawing of the shape by pattern of the name; see `fedloop.expert_map.drawing`.
    shared : sequence of str
        Patterns of what all clients share, where a name could be mistaken.
    block : str, optional
        Pattern of an MoE layer: every tensor that it finds must be explained.
    """

    name: str
    experts: Mapping[str, str]
    router: Mapping[str, str]
    shared: Sequence[str] = ()
    block: str | None = r"layers\.(\d+)\.(?:mlp|block_sparse_moe)\."


_MLP = r"layers\.(\d+)\.mlp\."
_MOE = r"layers\.(\d+)\.(?:mlp|block_sparse_moe)\."

#: In memory since transformers 5: all experts of a layer in two tensors.
_STACKED = {
    rf"{_MLP}experts\.gate_up_proj$": "E 2F H",
    rf"{_MLP}experts\.down_proj$": "E H F",
}

#: The same on disk, and in memory before transformers 5.
_EACH = {
    rf"{_MLP}experts\.(\d+)\.(?:gate|up)_proj\.weight$": "F H",
    rf"{_MLP}experts\.(\d+)\.down_proj\.weight$": "H F",
}

_GATE = {rf"{_MLP}gate\.weight$": "E H"}

#: PEFT on stacked experts (`target_parameters`), and on the router.
_LORA_EXPERTS = {
    rf"{_MLP}experts\.lora_A\.(?:\w+\.)?weight$": "(E r) i",
    rf"{_MLP}experts\.lora_B\.(?:\w+\.)?weight$": "o (r E)",
}
_LORA_ROUTER = {rf"{_MLP}(?:gate|router)\.lora_B\.(?:\w+\.)?weight$": "E r"}
_LORA_SHARED = [rf"{_MLP}(?:gate|router)\.lora_A\.(?:\w+\.)?weight$"]

FAMILIES = (
    Family("olmoe", _STACKED | _EACH | _LORA_EXPERTS, _GATE | _LORA_ROUTER, _LORA_SHARED),
    Family("qwen3_moe", _STACKED | _EACH | _LORA_EXPERTS, _GATE | _LORA_ROUTER, _LORA_SHARED),
    Family(
        "qwen2_moe", _STACKED | _EACH | _LORA_EXPERTS, _GATE | _LORA_ROUTER,
        [*_LORA_SHARED, rf"{_MLP}shared_expert(?:_gate)?\."],
    ),
    Family(
        "mixtral",
        _STACKED | _LORA_EXPERTS | {
            rf"{_MOE}experts\.(\d+)\.w[13]\.weight$": "F H",
            rf"{_MOE}experts\.(\d+)\.w2\.weight$": "H F",
        },
        {rf"{_MOE}gate\.weight$": "E H"} | _LORA_ROUTER, _LORA_SHARED,
    ),
    Family(
        "deepseek_v3", _STACKED | _EACH | _LORA_EXPERTS,
        _GATE | _LORA_ROUTER | {rf"{_MLP}gate\.e_score_correction_bias$": "E"},
        [*_LORA_SHARED, rf"{_MLP}shared_experts\."],
    ),
    Family(
        "gpt_oss",
        _LORA_EXPERTS | {
            rf"{_MLP}experts\.gate_up_proj$": "E H 2F",
            rf"{_MLP}experts\.gate_up_proj_bias$": "E 2F",
            rf"{_MLP}experts\.down_proj$": "E F H",
            rf"{_MLP}experts\.down_proj_bias$": "E H",
        },
        _LORA_ROUTER | {rf"{_MLP}router\.weight$": "E H", rf"{_MLP}router\.bias$": "E"},
        _LORA_SHARED,
    ),
    # Any model with a module per expert: `layers.0.experts.3.up.weight`, `moe.gate.weight`.
    Family(
        "modules",
        {r"^(|.*\.)experts\.(?:expert_)?(\d+)\.": "..."},
        {r"^(|.*\.)(?:gate|router)\.(?:[a-z]+\.)?(?:weight|bias)$": "E ..."},
        [r"shared_experts?(?:_gate)?\."], block=None,
    ),
)
