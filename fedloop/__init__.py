"""Federated training of mixture-of-experts models, to see what alignment is worth.

`fedloop.train.train` plays the rounds; `fedloop.config.Config` has every setting.
`ExpertMap` says which slices of a model's tensors belong to which expert.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedloop.expert_map import ExpertMap as ExpertMap

__all__ = ["ExpertMap"]


def __getattr__(name: str) -> Any:
    """Import what is exported when it is used: PyTorch takes seconds."""
    if name == "ExpertMap":
        from fedloop.expert_map import ExpertMap

        return ExpertMap
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
