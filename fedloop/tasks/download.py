"""Fetch published data sets, for users with a network; every file's hash is checked."""

from __future__ import annotations

import hashlib
import http.client
import tarfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlparse

from alignsolve.io.files import atomic_write
from fedloop.errors import DataError

#: Seconds without an answer after which a source is given up.
TIMEOUT = 60

#: Bytes read at a time, and most bytes that a file may have.
PIECE, MOST = 2**18, 2**30

#: Data set -> address and files with the MD5 that their publishers or mirrors state. The
#: check is against damage and mix-ups; readers treat every file as untrusted.
SOURCES: dict[str, tuple[str, dict[str, str]]] = {
    "mnist": ("https://ossci-datasets.s3.amazonaws.com/mnist/", {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    }),
    "fashion-mnist": ("https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/", {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }),
    "cifar10": ("https://www.cs.toronto.edu/~kriz/", {
        "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
    }),
}


def download(
    name: str, folder: Path, on_bytes: Callable[[str, int, int | None], None] | None = None
) -> list[Path]:
    """Fetch a data set's files, but for those that are there already.

    Parameters
    ----------
    name : str
        A key of `SOURCES`.
    folder : Path
        Where they go; made where missing.
    on_bytes : callable, optional
        Called while a file arrives: its name, bytes so far, and its size if known.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    DataError
        If there is no such data set, no network, or a file's hash differs.
    """
    if name not in SOURCES:
        raise DataError(f"no data set {name!r} to download; choose {', '.join(SOURCES)}")
    address, files = SOURCES[name]
    folder.mkdir(parents=True, exist_ok=True)
    for file, md5 in files.items():
        path = folder / file
        if not (path.exists() and _md5(path.read_bytes()) == md5):
            _fetch(address + file, md5, path, on_bytes)
        if file.endswith(".tar.gz"):
            _unpack(path, folder)
    return [folder / file for file in files]


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _fetch(
    address: str, md5: str, path: Path, on_bytes: Callable[[str, int, int | None], None] | None
) -> None:
    """Write what an address holds to a file, if its hash is right; else leave no file."""
    digest, total = hashlib.md5(usedforsecurity=False), 0
    with atomic_write(path) as stream:
        for piece, length in _pieces(address, path):
            digest.update(piece)
            total += len(piece)
            if total > MOST:
                raise DataError(f"{address}: more than {MOST:,} bytes; it was replaced")
            stream.write(piece)
            if on_bytes is not None:
                on_bytes(path.name, total, length)
        if digest.hexdigest() != md5:
            raise DataError(f"{address}: the MD5 of its {total:,} bytes is {digest.hexdigest()}, "
                            f"not {md5}; it is damaged, cut short, or was replaced")


def _pieces(address: str, path: Path) -> Iterator[tuple[bytes, int | None]]:
    """Yield what an address holds, piece by piece, and its length if known.

    Errors of the network become ours here: those of the disk are the writer's.
    """
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:
            length = answer.headers.get("Content-Length")
            while piece := answer.read(PIECE):
                yield piece, int(length) if length else None
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"{urlparse(address).hostname} cannot be reached: {error}; fetch "
                        f"{path.name} by other means and give its folder as --data-dir") from None


def _unpack(path: Path, folder: Path) -> None:
    """Unpack an archive's plain files within a folder."""
    try:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{path}: cannot be unpacked: {error}") from None
