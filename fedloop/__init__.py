"""Federated training of mixture-of-experts models, to see what alignment is worth.

`run_training` plays the rounds, with a model and data of your own if you like;
`fedloop.config.Config` has every setting. `ExpertMap` says which slices of a model's tensors
belong to which expert. `fedloop.train.train` is `run_training` by its old name.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedloop.experiment import run_training as run_training
    from fedloop.expert_map import ExpertMap as ExpertMap

__all__ = ["ExpertMap", "run_training"]


def __getattr__(name: str) -> Any:
    """Import what is exported when it is used: PyTorch takes seconds."""
    if name == "ExpertMap":
        from fedloop.expert_map import ExpertMap

        return ExpertMap
    if name == "run_training":
        from fedloop.experiment import run_training

        return run_training
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
