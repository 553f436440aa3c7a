"""Save and restore a run: one safetensors file, tensors beside JSON, never a pickle."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

import alignsolve as al
from alignsolve.io.files import atomic_write, previous
from alignsolve.io.seal import BLANK, is_sealed, refusal, seal
from alignsolve.model.whole_files import only_writer
from fedloop.errors import CheckpointError

#: A run's checkpoint in its folder.
NAME = "checkpoint.safetensors"

#: Version of the layout; that of fedloop 0.1 was 1, without a checksum, and 2 had the
#: parameters of a classifier that was no module.
FORMAT = 3

#: Key of the JSON text in the file's metadata.
_KEY = "fedloop"

#: What stands before the checksum: JSON in the file's JSON.
_SEAL = rb'\"sha256\": \"'

#: Key that stands in the JSON for an array of the file.
_ARRAY = "$array"

#: What is told where a checkpoint cannot be used.
ANEW = "remove it to start the run anew"


@contextmanager
def writing(folder: Path, what: str = "") -> Iterator[None]:
    """Make a folder, and keep other runs out of it meanwhile, or from one file in it.

    Raises
    ------
    CheckpointError
        If another run has it, or it cannot be written. The lock ends with its
        process, however that ends.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(only_writer(folder / (f".{what}.lock" if what else ".lock")))
        except BlockingIOError:
            raise CheckpointError(f"another fedloop is writing {folder / what}; wait for it or "
                                  f"give another {'file' if what else 'folder'}") from None
        except OSError as error:
            raise CheckpointError(f"{folder}: cannot be written: {error.strerror}") from None
        yield


def forget(folder: Path) -> None:
    """Remove a run's checkpoints, so that it starts anew.

    Raises
    ------
    CheckpointError
        If another run is writing the folder.
    """
    if folder.exists():
        with writing(folder):
            for path in (folder / NAME, previous(folder / NAME)):
                path.unlink(missing_ok=True)


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write nested mappings, lists, numbers, texts and arrays; all or nothing.

    Parameters
    ----------
    path : Path
        The file; it is replaced in one step, and kept (`alignsolve.io.files.previous`).
    state : mapping
        Keys are texts.

    Notes
    -----
    The file holds the SHA-256 of all its bytes, taken with zeros in its own place.
    """
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps({"format": FORMAT, "sha256": BLANK, "version": al.__version__,
                       "state": _without_arrays(state, arrays)})
    data = save(arrays, {_KEY: text})
    with atomic_write(path, keep=True) as stream:
        stream.write(data)
        seal(stream, data.index(_SEAL) + len(_SEAL))


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


def load_checkpoint(path: Path, *names: str) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote, with at least the entries named; tuples become lists.

    Raises
    ------
    CheckpointError
        If the file is damaged, of another version, or of something else.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    at = data.find(_SEAL)
    if at >= 0 and not is_sealed(io.BytesIO(data), at + len(_SEAL)):
        raise _refusal(path, "damaged: its checksum does not fit", names)
    try:
        length = int.from_bytes(data[:8], "little")
        found = json.loads(json.loads(data[8:8 + length])["__metadata__"][_KEY])
        layout, version = found["format"], found.get("version", "another version")
        state = _with_arrays(found["state"], load(data)) if layout == FORMAT else {}
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        raise _refusal(path, "damaged", names) from None
    if layout == 1:
        raise CheckpointError(f"{path}: written by fedloop 0.1 (layout 1), and this one reads "
                              f"layout {FORMAT}; go on with 0.1, or {ANEW}")
    if at < 0:
        raise _refusal(path, "damaged: it has no checksum", names)
    if layout != FORMAT:
        raise CheckpointError(f"{path}: written by fedloop {version} (layout {layout}, not "
                              f"{FORMAT}); go on with that, or {ANEW}")
    if not isinstance(state, dict):
        raise _refusal(path, "damaged: its state is not a mapping", names)
    missing = [name for name in names if name not in state]
    if missing:
        raise CheckpointError(f"{path}: is no checkpoint of this kind: it has no {missing[0]!r}; "
                              "choose another folder, or remove it")
    return state


def _refusal(path: Path, fault: str, names: tuple[str, ...]) -> CheckpointError:
    return refusal(path, fault, ANEW, lambda before: load_checkpoint(before, *names))


def _with_arrays(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Put the arrays back."""
    if isinstance(value, dict):
        if set(value) == {_ARRAY}:
            return arrays[value[_ARRAY]]
        return {key: _with_arrays(part, arrays) for key, part in value.items()}
    if isinstance(value, list):
        return [_with_arrays(part, arrays) for part in value]
    return value
