"""Save and restore a run: one safetensors file, tensors beside JSON, never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from alignsolve.io.files import atomic_write
from fedloop.errors import CheckpointError

#: Version of the layout.
FORMAT = 1

#: Key of the JSON text in the file's metadata.
_KEY = "fedloop"

#: Key that stands in the JSON for an array of the file.
_ARRAY = "$array"


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write nested mappings, lists, numbers, texts and arrays; all or nothing.

    Parameters
    ----------
    path : Path
        The file; it is replaced in one step.
    state : mapping
        Keys are texts.
    """
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps({"format": FORMAT, "state": _without_arrays(state, arrays)})
    data = save(arrays, {_KEY: text})
    with atomic_write(path) as stream:
        stream.write(data)


def _without_arrays(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Return a value for JSON, with its arrays moved to `arrays`."""
    if isinstance(value, np.ndarray):
        name = str(len(arrays))
        arrays[name] = np.array(value, order="C")  # keeps arrays without axes as they are
        return {_ARRAY: name}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): _without_arrays(part, arrays) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_arrays(part, arrays) for part in value]
    return value


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote; tuples come back as lists.

    Raises
    ------
    CheckpointError
        If the file is damaged or of another version.
    """
    try:
        data = path.read_bytes()
        arrays = load(data)
        length = int.from_bytes(data[:8], "little")
        found = json.loads(json.loads(data[8:8 + length])["__metadata__"][_KEY])
        if found["format"] != FORMAT:
            raise CheckpointError(f"{path}: written by another version (layout "
                                  f"{found['format']}, not {FORMAT}); start the run anew")
        state: dict[str, Any] = _with_arrays(found["state"], arrays)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: damaged; remove it to start the run anew") from None
    return state


def _with_arrays(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Put the arrays back."""
    if isinstance(value, dict):
        if set(value) == {_ARRAY}:
            return arrays[value[_ARRAY]]
        return {key: _with_arrays(part, arrays) for key, part in value.items()}
    if isinstance(value, list):
        return [_with_arrays(part, arrays) for part in value]
    return value
