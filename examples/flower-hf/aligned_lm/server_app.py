"""The server: plans, averages, and judges the whole model on held-out text."""

import math

import torch
from flwr.serverapp import ServerApp

import alignsolve as al
from aligned_lm import model
from fedloop.flower import AlignedStrategy, serve, trainable
from fedloop.strategies import fit_score

app = ServerApp()


@app.main()
def main(grid, context):
    config = context.run_config
    whole, experts = model.of(config)
    # Configurations of transformers have one number of experts for all layers.
    each = config["max-experts"] // len(experts.layers)
    if each < 1:
        raise ValueError(f"max-experts is {config['max-experts']}, and the model has "
                         f"{len(experts.layers)} layers: a client needs an expert in each")
    aligner = al.Aligner(
        experts.n_experts, expert_mb=experts.expert_mb,
        **experts.groups() | {"group_min": each, "group_max": each},
        fitness=al.FitnessSettings(score=fit_score(1.0), smoothing=0.8, exploration=0.3),
        policy=al.PolicySettings(min_experts=each * len(experts.layers)))
    strategy = AlignedStrategy(aligner, experts, encoding=config["encoding"],
                               evaluate_clients=False)
    held_out = torch.cat([domain[:8] for domain in model.windows(config["model"])])

    @torch.no_grad()
    def judge(state):
        whole.load_state_dict(state, strict=False)
        return {"bits_per_token": whole(held_out, labels=held_out).loss.item() / math.log(2)}

    serve(grid, config, strategy, trainable(whole), judge)
