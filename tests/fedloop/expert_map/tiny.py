"""Tiny random models of transformers, with LoRA on experts for some."""

import os
import tempfile
from pathlib import Path

import torch

os.environ["HF_HUB_OFFLINE"] = "1"

#: Layers, experts of each, and experts for a token.
LAYERS, EXPERTS, CHOSEN = 2, 4, 2

COMMON = {
    "vocab_size": 32, "hidden_size": 16, "num_hidden_layers": LAYERS, "num_attention_heads": 2,
    "num_key_value_heads": 2, "max_position_embeddings": 32, "num_experts_per_tok": CHOSEN,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}

#: Configuration class, model class, and sizes, by model_type. No two sizes are equal.
FAMILIES = {
    "olmoe": ("OlmoeConfig", "OlmoeForCausalLM",
              {"intermediate_size": 12, "num_experts": EXPERTS}),
    "qwen2_moe": ("Qwen2MoeConfig", "Qwen2MoeForCausalLM",
                  {"intermediate_size": 20, "moe_intermediate_size": 12, "num_experts": EXPERTS,
                   "shared_expert_intermediate_size": 10}),
    "qwen3_moe": ("Qwen3MoeConfig", "Qwen3MoeForCausalLM",
                  {"intermediate_size": 20, "moe_intermediate_size": 12, "num_experts": EXPERTS,
                   "head_dim": 8}),
    "mixtral": ("MixtralConfig", "MixtralForCausalLM",
                {"intermediate_size": 12, "num_local_experts": EXPERTS}),
    "deepseek_v3": ("DeepseekV3Config", "DeepseekV3ForCausalLM",
                    {"intermediate_size": 20, "moe_intermediate_size": 12,
                     "n_routed_experts": EXPERTS, "n_shared_experts": 1, "n_group": 1,
                     "topk_group": 1, "first_k_dense_replace": 1, "num_hidden_layers": LAYERS + 1,
                     "q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4,
                     "v_head_dim": 8, "qk_nope_head_dim": 4}),
    "gpt_oss": ("GptOssConfig", "GptOssForCausalLM",
                {"intermediate_size": 12, "num_local_experts": EXPERTS, "head_dim": 8}),
}

#: Families with LoRA, and what it adapts.
ADAPTED = {
    "olmoe": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
    "mixtral": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj", "mlp.gate.weight"],
    "gpt_oss": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
}


def build(family, seed=0, **changes):
    """Return a random model, its biases and buffers as well."""
    import transformers

    config, model, sizes = FAMILIES[family]
    torch.manual_seed(seed)
    built = getattr(transformers, model)(
        getattr(transformers, config)(**{**COMMON, **sizes, **changes}))
    with torch.no_grad():  # no two experts, rows of routers or biases are alike
        for name, tensor in built.state_dict().items():
            if "norm" not in name:
                tensor.copy_(0.3 * torch.randn_like(tensor))
    return built.train()


def adapt(model, targets, rank=7, seed=1):
    """Return the model with random LoRA on some of its parameters and on attention."""
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(model, LoraConfig(
        r=rank, lora_dropout=0.0, target_modules=["o_proj"], target_parameters=targets,
        init_lora_weights=False))
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, tensor in adapted.named_parameters():
            if "lora_" in name:
                tensor.copy_(0.3 * torch.randn_like(tensor))
    return adapted


def disk_state(model, folder=None):
    """Return what the model is on disk: names there may differ from those in memory."""
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as own:
        model.save_pretrained(folder or own)
        files = sorted(Path(folder or own).glob("*.safetensors"))
        return {name: tensor for file in files for name, tensor in load_file(file).items()}
