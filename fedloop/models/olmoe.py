"""OLMoE from transformers, as small as a client of an experiment needs it."""

from __future__ import annotations

from torch import nn

from fedloop.errors import ConfigError
from fedloop.models.language import SYMBOLS


def build(
    width: int = 64, layers: int = 2, experts: int = 8, expert_width: int = 48, top_k: int = 2,
    window: int = 128,
) -> nn.Module:
    """Return an OLMoE of bytes [1]_, drawn at random.

    Parameters
    ----------
    width, layers, experts, expert_width, top_k : int
        Sizes.
    window : int
        Most bytes of a window.

    Raises
    ------
    ConfigError
        If transformers is not installed.

    References
    ----------
    .. [1] N. Muennighoff et al., "OLMoE: Open Mixture-of-Experts Language Models", ICLR 2025,
       arXiv:2409.02060.
    """
    try:
        from transformers import OlmoeConfig, OlmoeForCausalLM
    except ImportError:
        raise ConfigError("model.name is OLMoE of transformers, which is not installed: "
                          "pip install 'alignsolve[hf]'") from None
    found: nn.Module = OlmoeForCausalLM(OlmoeConfig(
        vocab_size=SYMBOLS, hidden_size=width, num_hidden_layers=layers, num_experts=experts,
        intermediate_size=expert_width, num_experts_per_tok=top_k, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=window, pad_token_id=None,
        bos_token_id=None, eos_token_id=None, use_cache=False))
    return found
