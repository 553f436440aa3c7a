"""Text to be predicted byte by byte: which domains there are, and who gets which windows."""

from __future__ import annotations

import hashlib
import math
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from fedloop.config import Config
from fedloop.errors import ConfigError, DataError
from fedloop.tasks.base import Examples, Partition

#: Symbols: all bytes.
SYMBOLS = 256

#: Most bytes of a domain where the settings name no limit, and fewest of a default one.
MOST, FEWEST = 500_000, 20_000

#: Kinds of bytes that are counted for every client.
KINDS = ("letters", "digits", "blanks", "other ASCII", "beyond ASCII")


@dataclass(frozen=True)
class Text:
    """Bytes of several domains.

    Attributes
    ----------
    domains : dict of str to bytes
        Name of a domain -> its text.
    name : str
        What all of it is called.
    """

    domains: dict[str, bytes]
    name: str = "text"


class LanguageModelling:
    """Cross entropy, accuracy of the next byte, and bits per byte; see `fedloop.tasks.base.Task`.

    Windows of ``data.window`` bytes follow each other without overlap; the last share of
    every domain is held out. Client i is of domain ``i % partition.domains``, or with
    ``partition.kind = "iid"`` gets windows of all.
    """

    def load(self, config: Config) -> Text:
        """Return the text that the settings name."""
        most = config.data.limit or MOST
        if config.data.name == "text":
            return installed_text(most, config.partition.domains)
        if config.data.dir is None:
            raise DataError("text-folder needs a folder with one of text files for each domain; "
                            "say where with --data-dir")
        return read_text_folder(config.data.dir, most)

    def deal(self, data: Text, config: Config) -> Partition:
        """Give every client windows of training, and held-out ones of the same domain."""
        spec, window = config.partition, config.data.window
        if spec.kind not in ("domains", "iid"):
            raise ConfigError(f"partition.kind is {spec.kind}; text is dealt out by domains or iid")
        names = list(data.domains)[:spec.domains]
        if len(names) < spec.domains:
            raise DataError(f"{data.name} has {len(names)} domains, {', '.join(names)}; set "
                            f"partition.domains = {len(names)}")
        cut = [_windows(data.domains[name], name, window, config.data.test_fraction)
               for name in names]
        pools, domain = cut, np.arange(spec.clients) % len(names)
        if spec.kind == "iid":
            train_all, test_all = map(np.concatenate, zip(*cut, strict=True))
            pools = [(train_all, test_all)]
            domain = np.zeros(spec.clients, np.int64)
        owned: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for number, (train, test) in enumerate(pools):
            clients = np.flatnonzero(domain == number).tolist()
            order = np.random.default_rng((config.seed, 1, number)).permutation(len(train))
            if len(train) < len(clients) * spec.min_images:
                raise DataError(f"{len(train)} windows do not give {len(clients)} clients "
                                f"{spec.min_images} each; take fewer clients, or more text")
            for client, part in zip(clients, np.array_split(order, max(1, len(clients))),
                                    strict=False):
                rng = np.random.default_rng((config.seed, 3, client))
                chosen = rng.choice(len(test), min(spec.test_images, len(test)), replace=False)
                owned[client] = train[part], test[np.sort(chosen)]
        train_parts, test_parts = map(list, zip(*(owned[client] for client in sorted(owned)),
                                                strict=True))
        return Partition(
            _examples(train_parts), _examples(test_parts), domain,
            np.stack([_kinds(part) for part in train_parts]), SYMBOLS,
            {"data": data.name, "kind": spec.kind, "seed": config.seed,
             "sha256": {name: hashlib.sha256(data.domains[name]).hexdigest() for name in names},
             "bytes": {name: len(data.domains[name]) for name in names},
             "clients": [
                 {"domain": int(d), "train": len(part), "test": len(held),
                  "sha256": hashlib.sha256(part.tobytes() + held.tobytes()).hexdigest()}
                 for d, part, held in zip(domain, train_parts, test_parts, strict=True)]})

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return every window's mean cross entropy in nats per byte."""
        loss = F.cross_entropy(output.flatten(0, 1).float(), target.flatten(), reduction="none")
        return loss.view(target.shape).mean(dim=1)

    def accuracy(self, output: Tensor, target: Tensor) -> Tensor:
        """Return every window's share of bytes that were thought likeliest."""
        return (output.argmax(dim=-1) == target).float().mean(dim=1)

    def metrics(self, loss: np.ndarray, loss_all: np.ndarray) -> Mapping[str, float]:
        """Return bits per byte as clients are served, and with all."""
        return {"bits_per_byte": float(loss.mean()) / math.log(2),
                "bits_per_byte_all": float(loss_all.mean()) / math.log(2)}


def _windows(text: bytes, name: str, window: int, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Return windows of training and held-out ones, (n, window + 1); the last byte is a target."""
    n = (len(text) - 1) // window
    held_out = round(fraction * n)
    if not 0 < held_out < n:
        raise DataError(f"{name}: {len(text)} bytes are too few for windows of {window}")
    flat = np.frombuffer(text, np.uint8)
    cut = flat[np.arange(n)[:, None] * window + np.arange(window + 1)]
    return cut[:n - held_out], cut[n - held_out:]


def _examples(parts: list[np.ndarray]) -> Examples:
    return Examples.of((part[:, :-1].astype(np.int64) for part in parts),
                       [part[:, 1:].astype(np.int64) for part in parts])


def _kinds(part: np.ndarray) -> np.ndarray:
    """Return how many bytes are of each of `KINDS`."""
    count = np.bincount(part.ravel(), minlength=SYMBOLS)
    places = [bytes(range(128)).translate(None, delete=bytes(
        value for value in range(128) if not of(chr(value)))) for of in (
            str.isalpha, str.isdigit, str.isspace)]
    known = [int(count[list(place)].sum()) for place in places]
    beyond = int(count[128:].sum())
    return np.array([*known, int(count.sum()) - sum(known) - beyond, beyond])


# -- where text comes from ----------------------------------------------------------------


def installed_text(most: int, wanted: int) -> Text:
    """Return up to `most` bytes of each of the first domains that are installed anyway.

    Parameters
    ----------
    most : int
        Most bytes of a domain.
    wanted : int
        Domains. Where one is missing, another takes its place; the texts differ between
        versions of what is installed, so a run's manifest has their hashes.
    """
    found: dict[str, bytes] = {}
    for name, read in SOURCES.items():
        if len(found) < wanted and len(text := read(most)) >= min(FEWEST, most):
            found[name] = text
    return Text(found)


def _english(most: int) -> bytes:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        return b""
    return "\n".join(topics[name] for name in sorted(topics)).encode()[:most]


def _files(folder: Path | None, patterns: Iterable[str], most: int) -> bytes:
    """Return up to `most` bytes of the files of a folder, in the order of their names."""
    parts: list[bytes] = []
    if folder is not None:
        for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
            if sum(map(len, parts)) >= most:
                break
            if not path.is_file():
                continue
            try:
                parts.append(path.read_bytes())
            except OSError:  # another user's, or a broken link
                continue
    return b"".join(parts)[:most]


def _package(name: str) -> Path | None:
    spec = find_spec(name)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _of_package(name: str, *patterns: str) -> Callable[[int], bytes]:
    return lambda most: _files(_package(name), patterns, most)


def _of_python(place: str, *patterns: str) -> Callable[[int], bytes]:
    return lambda most: _files(Path(sysconfig.get_path(place)), patterns, most)


#: Domain -> what reads up to so many bytes of it. The first four are the usual ones.
SOURCES: dict[str, Callable[[int], bytes]] = {
    "python": _of_python("stdlib", "*.py"),
    "english": _english,
    "c++": _of_package("torch", "include/ATen/*.h"),
    "cython": _of_package("sklearn", "**/*.pyx"),
    "character tables": _of_python("stdlib", "encodings/*.py"),
    "c": _of_python("include", "*.h"),
    "tests": _of_package("numpy", "**/tests/*.py"),
    "stubs": _of_package("numpy", "**/*.pyi"),
}


def read_text_folder(folder: Path, most: int) -> Text:
    """Return the text of a folder that has a folder of text files for each domain.

    Raises
    ------
    DataError
        If there is no such folder, or no text in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    domains = {place.name: text for place in sorted(folder.iterdir()) if place.is_dir()
               and (text := _files(place, ["**/*"], most))}
    if not domains:
        raise DataError(f"{folder}: holds no folders of text files, one for each domain")
    return Text(domains, folder.name)
