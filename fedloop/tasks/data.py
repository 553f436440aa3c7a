"""Find a data set, split it into training and held-out images, and shrink it where asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedloop.errors import DataError
from fedloop.tasks import readers
from fedloop.tasks.readers import Dataset

#: Names of data sets that come as IDX files.
IDX_NAMES = ("mnist", "fashion-mnist")

#: Starts of the names of the two halves that such data sets are published in.
IDX_HALVES = ("train", "t10k")


def load_dataset(name: str, data_dir: str | Path | None = None) -> Dataset:
    """Return a data set by its name.

    Parameters
    ----------
    name : str
        ``digits`` needs no files. ``mnist`` and ``fashion-mnist`` take every
        pair of IDX files in `data_dir`, ``cifar10`` its batches, ``folder`` one
        folder of images per class, ``npz`` the one npz file.
    data_dir : path, optional
        Where the files are; for ``npz`` the file itself will do.

    Raises
    ------
    DataError
        If the name is unknown or files are missing or damaged.
    """
    if name == "digits":
        return readers.read_digits()
    if name not in (*IDX_NAMES, "cifar10", "folder", "npz"):
        raise DataError(f"no data set {name!r}; choose digits, {', '.join(IDX_NAMES)}, cifar10, "
                        "folder or npz")
    if data_dir is None:
        from fedloop.tasks.download import SOURCES

        fetched = f", or fetch them with fedloop download {name}" if name in SOURCES else ""
        raise DataError(f"{name} needs files; say where with --data-dir{fetched}")
    path = Path(data_dir)
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder")
    if name == "npz":
        return readers.read_npz(_only_npz(path))
    if not path.is_dir():
        raise DataError(f"{path}: is a file; give the folder that holds the files")
    if name == "folder":
        return readers.read_folder(path)
    if name == "cifar10":
        return readers.read_cifar(_cifar_batches(path))
    return _read_idx_halves(path, name)


def _only_npz(path: Path) -> Path:
    """Return the npz file that a path names or holds."""
    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if len(files) != 1:
        raise DataError(f"{path}: holds {len(files)} npz files; name the one to read")
    return files[0]


def _cifar_batches(path: Path) -> list[Path]:
    """Return the batches in a folder, or in the folder that the archive unpacks to."""
    for folder in (path, path / "cifar-10-batches-py"):
        if files := [*sorted(folder.glob("data_batch_*")), *sorted(folder.glob("test_batch"))]:
            return files
    raise DataError(f"{path}: holds no data_batch_* or test_batch")


def _read_idx_halves(path: Path, name: str) -> Dataset:
    """Read every half that a folder holds, as one data set."""
    halves = []
    for half in IDX_HALVES:
        found = [
            next((file for suffix in ("", ".gz")
                  if (file := path / f"{half}-{kind}-ubyte{suffix}").exists()), None)
            for kind in ("images-idx3", "labels-idx1")
        ]
        if found[0] and found[1]:
            halves.append(readers.read_idx_pair(found[0], found[1], name))
        elif found[0] or found[1]:
            raise DataError(f"{path}: {half} has images or labels only; it needs both "
                            f"{half}-images-idx3-ubyte and {half}-labels-idx1-ubyte")
    if not halves:
        raise DataError(f"{path}: holds no t10k-images-idx3-ubyte or train-images-idx3-ubyte, "
                        "with or without .gz")
    hashes = {file: digest for half in halves for file, digest in half.sha256.items()}
    return Dataset(np.concatenate([half.image for half in halves]),
                   np.concatenate([half.label for half in halves]), name, hashes)


def split(
    n: int, test_fraction: float, rng: np.random.Generator, limit: int | None = None,
    where: str = "",
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions of training and of held-out images, drawn at random.

    Parameters
    ----------
    n : int
        Images.
    test_fraction : float
        Share of the images held out, above 0 and below 1.
    rng : Generator
        Draws them.
    limit : int, optional
        Most images used.
    where : str
        Beginning of the error's message, such as ``"partition 3: "``.

    Returns
    -------
    train, test : ndarray
        int64.

    Raises
    ------
    DataError
        If there are none to train or none to judge on.
    """
    order = rng.permutation(n)[:limit]
    held_out = round(test_fraction * len(order))
    if not 0 < held_out < len(order):
        raise DataError(f"{where}a share of {test_fraction} of {len(order)} images leaves none "
                        "to train or none to judge on")
    return order[held_out:], order[:held_out]


def pooled(image: np.ndarray, factor: int) -> np.ndarray:
    """Return images (n, c, h, w) averaged over squares of factor x factor pixels.

    Raises
    ------
    DataError
        If height or width is no multiple of `factor`.
    """
    n, c, h, w = image.shape
    if h % factor or w % factor:
        raise DataError(f"images of {h} x {w} pixels cannot be averaged over squares of {factor} "
                        f"x {factor}; choose a divisor of both")
    blocks = image.reshape(n, c, h // factor, factor, w // factor, factor)
    averages: np.ndarray = blocks.mean(axis=(3, 5), dtype=np.float32)
    return averages
