"""Give every client its images: which, how many, and seen from which hidden domain."""

from __future__ import annotations

import hashlib

import numpy as np

from fedloop.config import PartitionSettings
from fedloop.errors import ConfigError, DataError
from fedloop.tasks.base import Examples, Partition
from fedloop.tasks.readers import Dataset


def deal(
    data: Dataset, train: np.ndarray, test: np.ndarray, spec: PartitionSettings, seed: int
) -> Partition:
    """Deal out a data set.

    Parameters
    ----------
    data : Dataset
        All images.
    train, test : ndarray
        int64 positions of training and held-out images.
    spec : PartitionSettings
        How.
    seed : int
        Seed.

    Raises
    ------
    DataError
        If there are too few images for the clients.
    """
    n, least = spec.clients, spec.min_images
    if len(train) < n * least:
        raise DataError(f"{len(train)} training images do not give {n} clients {least} each; "
                        "take fewer clients or set partition.min_images lower")
    rng = np.random.default_rng((seed, 1))
    label = data.label[train]
    owned = [train[part] for part in _with_at_least(least, _parts(label, spec, rng), rng)]
    domain = np.arange(n) % spec.domains if spec.has_domains else np.zeros(n, np.int64)
    names = _names_of_classes(data.n_classes, spec, np.random.default_rng((seed, 2)))
    judged = [_like(data.label, test, data.label[part], spec.test_images,
                    np.random.default_rng((seed, 3, client)))
              for client, part in enumerate(owned)]
    counts = np.stack([np.bincount(names[d][data.label[part]], minlength=data.n_classes)
                       for d, part in zip(domain, owned, strict=True)])
    return Partition(
        _seen(data, owned, domain, names, spec), _seen(data, judged, domain, names, spec),
        domain, counts, data.n_classes,
        {"data": data.name, "sha256": data.sha256, "kind": spec.kind, "seed": seed,
         "clients": [
             {"domain": int(d), "train": len(part), "test": len(held), "labels": row.tolist(),
              "sha256": hashlib.sha256(part.tobytes() + held.tobytes()).hexdigest()}
             for d, part, held, row in zip(domain, owned, judged, counts, strict=True)
         ]},
    )


def _parts(
    label: np.ndarray, spec: PartitionSettings, rng: np.random.Generator
) -> list[np.ndarray]:
    """Return for every client positions in `label`, each in at most one part."""
    n = spec.clients
    order = rng.permutation(len(label))
    if spec.kind == "dirichlet":
        shares = rng.dirichlet(np.full(n, spec.alpha), size=int(label.max()) + 1)
        return _by_class(label, order, shares)
    if spec.kind == "classes":
        return _by_class(label, order, _class_shares(int(label.max()) + 1, spec, rng))
    if spec.kind == "quantity":
        cuts = np.cumsum(rng.dirichlet(np.full(n, spec.alpha)))[:-1]
        return list(np.split(order, np.round(cuts * len(order)).astype(int)))
    return np.array_split(order, n)


def _by_class(label: np.ndarray, order: np.ndarray, shares: np.ndarray) -> list[np.ndarray]:
    """Cut the images of every class into shares (classes, clients)."""
    parts: list[list[np.ndarray]] = [[] for _ in range(shares.shape[1])]
    for number, share in enumerate(shares):
        members = order[label[order] == number]
        if share.sum() == 0:
            continue
        cuts = np.round(np.cumsum(share / share.sum())[:-1] * len(members)).astype(int)
        for part, piece in zip(parts, np.split(members, cuts), strict=True):
            part.append(piece)
    return [np.concatenate(part) for part in parts]


def _class_shares(
    n_classes: int, spec: PartitionSettings, rng: np.random.Generator
) -> np.ndarray:
    """Return equal shares (classes, clients) of the classes that every client draws."""
    k = spec.classes_per_client
    if k > n_classes:
        raise ConfigError(f"partition.classes_per_client is {k}; the data has {n_classes} classes")
    # Every class is handed out before any is handed out again, so none is left over.
    deck = np.concatenate([rng.permutation(n_classes)
                           for _ in range(-(-spec.clients * k // n_classes) + 1)])
    shares = np.zeros((n_classes, spec.clients))
    at = 0
    for client in range(spec.clients):
        drawn: list[int] = []
        while len(drawn) < k:  # a class met twice at the seam of two decks is passed over
            if deck[at % len(deck)] not in drawn:
                drawn.append(deck[at % len(deck)])
            at += 1
        shares[drawn, client] = 1
    return shares


def _with_at_least(
    least: int, parts: list[np.ndarray], rng: np.random.Generator
) -> list[np.ndarray]:
    """Move images from the clients with most to those with fewer than `least`."""
    dealt = sum(len(part) for part in parts)
    if dealt < len(parts) * least:  # images of classes that no client drew are not dealt out
        raise DataError(f"{dealt} training images of the clients' classes do not give "
                        f"{len(parts)} clients {least} each; take more classes per client or set "
                        "partition.min_images lower")
    parts = [rng.permutation(part) for part in parts]
    for poor in np.argsort([len(part) for part in parts], kind="stable"):
        while len(parts[poor]) < least:
            rich = int(np.argmax([len(part) for part in parts]))
            wanted = min(least - len(parts[poor]), len(parts[rich]) - least)
            parts[poor] = np.concatenate([parts[poor], parts[rich][:wanted]])
            parts[rich] = parts[rich][wanted:]
    return parts


def _like(
    label: np.ndarray, pool: np.ndarray, example: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw `size` positions of the pool, without replacement, with the labels of an example."""
    share = np.bincount(example, minlength=int(label.max()) + 1) / len(example)
    weight = share[label[pool]]
    able = np.flatnonzero(weight)
    if len(able) == 0:
        raise DataError("no held-out image has a label that a client trains on; hold out more")
    # Per label equally many as in the example, on average: divide by how often the pool has it.
    weight = weight[able] / np.bincount(label[pool], minlength=len(share))[label[pool[able]]]
    chosen = rng.choice(able, min(size, len(able)), replace=False, p=weight / weight.sum())
    drawn: np.ndarray = pool[np.sort(chosen)]
    return drawn


def _names_of_classes(
    n_classes: int, spec: PartitionSettings, rng: np.random.Generator
) -> np.ndarray:
    """Return the domains' names of classes (domains, classes); domain 0 keeps the true ones."""
    names = np.tile(np.arange(n_classes), (spec.domains, 1))
    if spec.kind == "permuted-labels":
        for domain in range(1, spec.domains):
            names[domain] = rng.permutation(n_classes)
    return names


def turned(image: np.ndarray, degrees: float) -> np.ndarray:
    """Return images (n, c, h, w) turned counter-clockwise; what comes in from outside is 0."""
    if degrees % 90 == 0 and (image.shape[2] == image.shape[3] or degrees % 180 == 0):
        return np.rot90(image, int(degrees // 90), axes=(2, 3))
    from scipy.ndimage import rotate

    # Numpy turns from rows to columns, which in pictures is counter-clockwise as well.
    found: np.ndarray = rotate(image, degrees, axes=(3, 2), reshape=False, order=1).clip(0, 1)
    return found


def _seen(
    data: Dataset, owned: list[np.ndarray], domain: np.ndarray, names: np.ndarray,
    spec: PartitionSettings,
) -> Examples:
    """Return all clients' images as their domains see them."""
    of_client = list(zip(domain, owned, strict=True))
    images = (turned(data.image[part], d * 360 / spec.domains) if spec.kind == "rotation"
              else data.image[part] for d, part in of_client)
    labels = [names[d][data.label[part]].astype(np.int64) for d, part in of_client]
    return Examples.of((image.astype(np.float32, copy=False) for image in images), labels)
