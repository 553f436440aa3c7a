"""Readers of image files: IDX, CIFAR pickles, folders of images, npz, scikit-learn's digits.

All return a `Dataset` of float32 pixels in [0, 1] and int64 labels. Files are
untrusted: sizes are checked before memory is taken, and the unpickler builds
nothing but arrays, numbers, strings and containers of these.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from alignsolve.errors import ProblemError
from alignsolve.io.files import read_bytes
from fedloop.errors import DataError

#: Most bytes that are unpacked from one file.
MAX_BYTES = 2**31

#: File endings that `read_folder` opens.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".webp")

#: Usual numbers of channels: grey, colour, and colour with opacity.
USUAL_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Dataset:
    """Labelled images.

    Attributes
    ----------
    image : ndarray
        float32 in [0, 1], shape (n, channels, height, width).
    label : ndarray
        int64, shape (n,), from 0.
    name : str
        What people call it.
    sha256 : mapping of str to str
        File name -> hash of every file read.
    """

    image: np.ndarray
    label: np.ndarray
    name: str
    sha256: dict[str, str]

    @property
    def n_classes(self) -> int:
        """Return one more than the largest label."""
        return int(self.label.max()) + 1

    def __post_init__(self) -> None:
        """Check shapes and labels."""
        if self.image.ndim != 4 or len(self.image) != len(self.label) or not len(self.label):
            raise DataError(
                f"{self.name}: {self.image.shape} images and {self.label.shape} labels; there "
                "must be at least one image, and a label for each"
            )
        if self.label.min() < 0 or self.label.max() > 65_535:
            raise DataError(f"{self.name}: labels must be from 0 to 65,535; they are from "
                            f"{self.label.min()} to {self.label.max()}")
        if not np.isfinite(self.image).all():
            raise DataError(f"{self.name}: an image has a pixel that is NaN or infinite")


def file_hash(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _open(path: Path) -> bytes:
    """Return a file's bytes, unpacked where it is gzip."""
    try:
        return read_bytes(path, MAX_BYTES)
    except ProblemError as error:
        raise DataError(str(error)) from None


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of unsigned bytes, as MNIST's, packed by gzip or not.

    Raises
    ------
    DataError
        If the header or the length is wrong.

    References
    ----------
    .. [1] Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", 1998.
    """
    data = _open(path)
    if len(data) < 4 or data[:3] != b"\0\0\x08" or not 1 <= data[3] <= 4:
        raise DataError(f"{path}: not an IDX file of unsigned bytes: it starts with "
                        f"{data[:4].hex(' ')}, not 00 00 08 and the number of axes")
    head = 4 + 4 * data[3]
    shape = tuple(int.from_bytes(data[at:at + 4], "big") for at in range(4, head, 4))
    if len(data) < head or len(data) - head != math.prod(shape):
        raise DataError(f"{path}: {len(data) - head:,} bytes follow the header; its shape "
                        f"{shape} needs {math.prod(shape):,}")
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)


def read_idx_pair(images: Path, labels: Path, name: str) -> Dataset:
    """Read a file of images and the file of their labels."""
    pixels, label = read_idx(images), read_idx(labels)
    if pixels.ndim != 3 or label.ndim != 1:
        raise DataError(f"{images}: {pixels.ndim} axes, and {label.ndim} in {labels.name}; "
                        "images have 3, labels 1")
    return Dataset(unit(pixels[:, None]), label.astype(np.int64), name,
                   {path.name: file_hash(path) for path in (images, labels)})


def unit(pixels: np.ndarray) -> np.ndarray:
    """Return pixels as float32; bytes become numbers in [0, 1]."""
    scaled = pixels / np.float32(255) if pixels.dtype == np.uint8 else pixels
    return scaled.astype(np.float32, copy=False)


class _ArraysOnly(pickle.Unpickler):
    """Builds arrays, and refuses every other class or function."""

    _ALLOWED: ClassVar[set[tuple[str, str]]] = {
        ("numpy", "ndarray"), ("numpy", "dtype"),
        ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed class."""
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"refuses to build {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read_cifar(paths: Iterable[Path], name: str = "cifar10") -> Dataset:
    """Read batches of CIFAR-10 or CIFAR-100 as its authors pickled them.

    Raises
    ------
    DataError
        If a file is damaged or asks for anything but arrays.

    References
    ----------
    .. [1] A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """
    pixels, labels, hashes = [], [], {}
    for path in paths:
        try:
            batch = _ArraysOnly(io.BytesIO(_open(path)), encoding="bytes").load()
            data = np.asarray(batch[b"data"], np.uint8)
            label = batch[b"labels"] if b"labels" in batch else batch[b"fine_labels"]
            pixels.append(data.reshape(len(data), 3, 32, 32))
            labels.append(np.asarray(label, np.int64))
        except DataError:
            raise
        except Exception as error:  # a damaged pickle can raise anything
            raise DataError(f"{path}: not a CIFAR batch: {error}") from None
        hashes[path.name] = file_hash(path)
    if not pixels:
        raise DataError("no CIFAR batch was named")
    return Dataset(unit(np.concatenate(pixels)), np.concatenate(labels), name, hashes)


def read_folder(path: Path) -> Dataset:
    """Read a folder with one folder of images per class, all images of one size.

    Raises
    ------
    DataError
        If there are no classes, no images, or images of different sizes.
    """
    import matplotlib.image

    classes = sorted(part for part in path.iterdir() if part.is_dir())
    files = [(number, file) for number, part in enumerate(classes)
             for file in sorted(part.iterdir()) if file.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        raise DataError(f"{path}: holds no folder per class with images "
                        f"({', '.join(IMAGE_SUFFIXES)})")
    pixels = []
    for _, file in files:
        try:
            image = np.asarray(matplotlib.image.imread(file))
        except (OSError, ValueError, SyntaxError) as error:
            raise DataError(f"{file}: not an image: {error}") from None
        image = image if image.ndim == 3 else image[:, :, None]
        image = image[:, :, :3] if image.shape[2] >= 3 else image[:, :, :1]  # without opacity
        pixels.append(unit(image).transpose(2, 0, 1))
        if pixels[-1].shape != pixels[0].shape:
            raise DataError(f"{file}: channels, height and width are {pixels[-1].shape}; those of "
                            f"{files[0][1].name} are {pixels[0].shape}, and all must be the same")
    digest = hashlib.sha256(np.stack(pixels).tobytes()).hexdigest()
    label = np.array([number for number, _ in files], np.int64)
    return Dataset(np.stack(pixels), label, path.name, {path.name: digest})


def read_npz(path: Path) -> Dataset:
    """Read arrays ``image`` or ``x`` and ``label`` or ``y`` from an npz file, without pickles.

    Pixels are bytes, or floats in [0, 1]; shape (n, height, width), (n, channels,
    height, width) or (n, height, width, channels); see `channels_last`.

    Raises
    ------
    DataError
        If an array is missing or has another shape or type, or its sizes do not tell
        which axis holds the channels.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
        if total > MAX_BYTES:
            raise DataError(f"{path}: unpacks to {total:,} bytes; at most {MAX_BYTES:,} are read")
        with np.load(path, allow_pickle=False) as archive:
            found = {key: archive[key] for key in archive.files}
    except DataError:
        raise
    except Exception as error:  # a damaged archive can raise anything
        raise DataError(f"{path}: not an npz file of plain arrays: {error}") from None
    image = found.get("image", found.get("x"))
    label = found.get("label", found.get("y"))
    if image is None or label is None:
        raise DataError(f"{path}: holds {', '.join(found) or 'nothing'}; needs arrays image and "
                        "label, or x and y")
    if image.ndim == 3:
        image = image[:, None]
    elif image.ndim == 4 and channels_last(image.shape, path):
        image = np.ascontiguousarray(np.moveaxis(image, 3, 1))
    if image.dtype.kind not in "uf" or label.dtype.kind not in "iu" or label.ndim != 1:
        raise DataError(f"{path}: pixels are {image.dtype}, labels {label.dtype} with {label.ndim} "
                        "axes; needs bytes or floats, and whole numbers with one axis")
    return Dataset(unit(image), label.astype(np.int64), path.stem, {path.name: file_hash(path)})


def channels_last(shape: tuple[int, ...], path: Path) -> bool:
    """Return whether the last axis of images holds their channels, and not the second.

    Parameters
    ----------
    shape : tuple of int
        Sizes of the array, four axes.
    path : Path
        The file, for the error.

    Raises
    ------
    DataError
        If the sizes do not tell.

    Notes
    -----
    A usual number of channels (1, 3, 4) and square images each speak for an order.
    Where nothing does, channels are fewer than rows and columns.
    """
    _, first, middle, last = shape
    for_first = (first in USUAL_CHANNELS) + (middle == last)
    for_last = (last in USUAL_CHANNELS) + (first == middle)
    if not for_first and not for_last:
        for_first, for_last = first < min(middle, last), last < min(first, middle)
    if for_first == for_last and (first, middle, last) != (1, 1, 1):
        raise DataError(
            f"{path}: images of shape {shape} may have their channels second or last, and the "
            "sizes do not tell; give 1, 3 or 4 channels, and other heights and widths than these")
    return for_last > for_first


def read_digits() -> Dataset:
    """Return scikit-learn's 1,797 digits of 8 x 8 pixels, which need no file.

    References
    ----------
    .. [1] E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998,
       DOI 10.24432/C50P49.
    """
    from sklearn.datasets import load_digits

    pixels, label = load_digits(return_X_y=True)
    image = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    digest = hashlib.sha256(image.tobytes() + label.tobytes()).hexdigest()
    return Dataset(image, label.astype(np.int64), "digits", {"digits": digest})
