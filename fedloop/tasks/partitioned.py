"""Images that somebody else has dealt out: partitions of flwr-datasets."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedloop.config import Config
from fedloop.errors import DataError
from fedloop.tasks.base import Examples, Partition
from fedloop.tasks.data import split
from fedloop.tasks.readers import unit

#: Names of columns, the first that is there.
IMAGES, LABELS = ("image", "img", "x"), ("label", "labels", "fine_label", "y")


def is_partitioned(data: Any) -> bool:
    """Return whether data are a partitioner, or a `FederatedDataset` with one for training."""
    return hasattr(data, "load_partition")


def deal_partitions(data: Any, config: Config) -> Partition:
    """Give client i partition i, of which it holds out a share.

    Parameters
    ----------
    data : FederatedDataset or Partitioner
        Of flwr-datasets, or anything with `load_partition(number)` that returns columns by
        name: images as arrays or pictures, and whole numbers as labels.
    config : Config
        Number of clients, and ``data.test_fraction``.

    Raises
    ------
    DataError
        If a partition has no images and labels, or images of different sizes.
    """
    rng = np.random.default_rng((config.seed, 1))
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    held: list[tuple[np.ndarray, np.ndarray]] = []
    for client in range(config.partition.clients):
        image, label = _columns(data.load_partition(client), client)
        train, test = split(len(label), config.data.test_fraction, rng,
                            where=f"partition {client}: ")
        held.append((image[test], label[test]))
        kept.append((image[train], label[train]))
    if len({image.shape[1:] for image, _ in kept}) > 1:
        raise DataError("the partitions have images of different sizes")
    n_classes = 1 + max(int(label.max()) for _, label in kept + held)
    counts = np.stack([np.bincount(label, minlength=n_classes) for _, label in kept])
    clients = [{"train": len(own[1]), "test": len(judged[1]), "labels": row.tolist()}
               for own, judged, row in zip(kept, held, counts, strict=True)]
    return Partition(
        Examples.of(*zip(*kept, strict=True)), Examples.of(*zip(*held, strict=True)),
        np.zeros(len(kept), np.int64), counts, n_classes,
        {"data": type(data).__name__, "kind": "given", "seed": config.seed, "clients": clients})


def _columns(part: Any, client: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (n, channels, height, width) from 0 to 1, and labels."""
    names = list(getattr(part, "column_names", None) or part)
    image = next((name for name in IMAGES if name in names), None)
    label = next((name for name in LABELS if name in names), None)
    if image is None or label is None:
        raise DataError(f"partition {client} has the columns {', '.join(map(str, names))}; give "
                        f"one of {', '.join(IMAGES)} and one of {', '.join(LABELS)}")
    pixels = np.stack([np.asarray(picture) for picture in part[image]])
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    return (np.ascontiguousarray(unit(pixels).transpose(0, 3, 1, 2)),
            np.asarray(part[label], np.int64))
