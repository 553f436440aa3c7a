"""Federated training of mixture-of-experts models, to see what alignment is worth.

`run_training` plays the rounds, with a model and data of your own if you like;
`fedloop.config.Config` has every setting. `fedloop.train.train` is the same by its old
name.
"""

from __future__ import annotations

from typing import Any

__all__ = ["run_training"]

#: Where a name comes from; torch is imported only when one is used.
_PLACES = {"run_training": "fedloop.experiment"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'fedloop' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_PLACES[name]), name)
