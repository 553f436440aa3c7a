"""The server: decides every round who trains which experts, and averages them."""

import torch.nn.functional as F
from flwr.serverapp import ServerApp

import alignsolve as al
from aligned_moe.data import held_out
from aligned_moe.model import EXPERTS, MODEL
from fedloop.flower import AlignedStrategy, serve
from fedloop.strategies import fit_score

app = ServerApp()


@app.main()
def main(grid, context):
    config, (image, label) = context.run_config, held_out()
    fitness = al.FitnessSettings(score=fit_score(1.0), smoothing=0.8, exploration=0.3)
    strategy = AlignedStrategy(al.Aligner(EXPERTS.n_experts, fitness=fitness), EXPERTS,
                               encoding=config["encoding"], evaluate_clients=False)

    def judge(state):
        MODEL.load_state_dict(state)
        logit = MODEL(image).detach()
        return {"accuracy": (logit.argmax(1) == label).float().mean().item(),
                "loss": F.cross_entropy(logit, label).item()}

    serve(grid, config, strategy, MODEL.state_dict(), judge)
