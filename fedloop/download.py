"""Fetch published data sets, for users with a network; every file's hash is checked."""

from __future__ import annotations

import hashlib
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlparse

from alignsolve.io.files import atomic_write
from fedloop.errors import DataError

#: Seconds without an answer after which a source is given up.
TIMEOUT = 60

#: Data set -> address and files with the MD5 that their publishers or mirrors state. The
#: check is against damage and mix-ups; readers treat every file as untrusted.
SOURCES: dict[str, tuple[str, dict[str, str]]] = {
    "mnist": ("https://ossci-datasets.s3.amazonaws.com/mnist/", {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    }),
    "fashion-mnist": ("https://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }),
    "cifar10": ("https://www.cs.toronto.edu/~kriz/", {
        "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
    }),
}


def download(name: str, folder: Path) -> list[Path]:
    """Fetch a data set's files, but for those that are there already.

    Parameters
    ----------
    name : str
        A key of `SOURCES`.
    folder : Path
        Where they go; made where missing.

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
            _fetch(address + file, md5, path)
        if file.endswith(".tar.gz"):
            _unpack(path, folder)
    return [folder / file for file in files]


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _fetch(address: str, md5: str, path: Path) -> None:
    """Write what an address holds to a file, if its hash is right."""
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:
            data = answer.read()
    except (urllib.error.URLError, OSError) as error:
        raise DataError(f"{urlparse(address).hostname} cannot be reached: {error}; fetch "
                        f"{path.name} by other means and give its folder as --data-dir") from None
    if _md5(data) != md5:
        raise DataError(f"{address}: the file's MD5 is {_md5(data)}, not {md5}; it is damaged or "
                        "was replaced")
    with atomic_write(path) as stream:
        stream.write(data)


def _unpack(path: Path, folder: Path) -> None:
    """Unpack an archive's plain files within a folder."""
    try:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{path}: cannot be unpacked: {error}") from None
