"""The model and its text; a checkpoint on disk is named by one setting."""

from functools import lru_cache

import torch

from fedloop import ExpertMap
from fedloop.models import olmoe
from fedloop.tasks.text import installed_text

WINDOW, DOMAINS, TEXT = 128, 4, 200_000


@lru_cache(maxsize=1)
def build(checkpoint, lora_rank, dtype):
    """Return the model, the same on every node, and its map of experts."""
    torch.manual_seed(0)
    model = olmoe.build(window=WINDOW)
    if checkpoint:
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(checkpoint)
    model = model.to(getattr(torch, dtype))
    if lora_rank:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(
            r=lora_rank, lora_dropout=0.0, target_modules=["q_proj", "v_proj"],
            target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]))
    return model, ExpertMap.of(model)


def of(config):
    return build(config["model"], config["lora-rank"], config["dtype"])


@lru_cache(maxsize=1)
def windows(checkpoint):
    """Return windows of tokens for every domain; without a checkpoint tokens are bytes."""
    tokens = list
    if checkpoint:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(checkpoint)

        def tokens(text):
            return tokenizer(text.decode(errors="replace"))["input_ids"]

    domains = installed_text(TEXT, DOMAINS).domains.values()
    found = [torch.tensor(tokens(text)) for text in domains]
    return [one[:len(one) // WINDOW * WINDOW].view(-1, WINDOW) for one in found]
