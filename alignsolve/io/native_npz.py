"""Problems as npz: for large instances; plain numpy arrays, no pickle.

The archive has one array for every leaf of the document of
`alignsolve.io.schema`, and one more, `header`: the document as UTF-8 JSON in
bytes, with each leaf replaced by ``{"array": name}``. Arrays are stored
uncompressed, because real fitness hardly compresses; compressed ones are read.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from alignsolve.errors import ProblemError
from alignsolve.io.files import atomic_write, fail, located, parse_json, read_bytes
from alignsolve.io.native_json import ids_from_json
from alignsolve.io.schema import from_document, json_kind, to_document
from alignsolve.io.seal import BLANK, is_sealed, seal
from alignsolve.model.limits import LIMITS
from alignsolve.model.problem import AlignmentProblem
from alignsolve.model.text import one_line

if TYPE_CHECKING:
    import zipfile

#: Largest header, and largest list of ids, in bytes.
_MAX_HEADER_BYTES = 2**20
_MAX_IDS_BYTES = 2**30

#: What stands before the SHA-256 of a sealed archive, at its end.
_SEAL = b"sha256:"


def write(problem: AlignmentProblem, path: str | Path) -> None:
    """Write a problem as npz, lossless, float32 as float32.

    Notes
    -----
    The fitness of a maximisation is written without a copy in memory.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}

    def refer(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            # Names of loads and resources can be anything: their arrays are numbered.
            named = name in ("loads", "resources")
            return {
                key: refer(f"{name}.{at if named else key}".lstrip("."), part)
                for at, (key, part) in enumerate(value.items())
            }
        if isinstance(value, list):
            value = np.frombuffer(json.dumps(value).encode(), dtype=np.uint8)
        if not isinstance(value, (np.ndarray, np.generic)):
            return value
        arrays[name] = np.asarray(value)
        return {"array": name}

    write_archive(refer("", to_document(problem)), arrays, path)


def write_archive(
    header: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], path: str | Path,
    sealed: bool = False,
) -> None:
    """Write a JSON header and arrays as npz, in one piece or not at all.

    Where it is to be `sealed`, the archive ends in a comment with the SHA-256 of the
    file, and the file that is replaced is kept.
    """
    import zipfile  # it loads what packs files

    text = np.frombuffer(json.dumps(header, allow_nan=False).encode(), dtype=np.uint8)
    with atomic_write(path, keep=sealed) as stream:
        with zipfile.ZipFile(stream, "w", allowZip64=True) as archive:
            for name, array in {"header": text, **arrays}.items():
                # A fixed date, so that the same problem gives the same file.
                member = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
                with archive.open(member, "w", force_zip64=True) as target:
                    np.lib.format.write_array(target, array, allow_pickle=False)
            if sealed:
                archive.comment = _SEAL + BLANK.encode()
        if sealed:
            seal(stream, stream.tell() - len(BLANK))


def archive_is_sealed(path: str | Path) -> bool | None:
    """Tell whether the SHA-256 at a file's end is that of the rest; None where there is none."""
    read_bytes(path, first=1)  # the errors of missing files, folders and permissions
    with open(path, "rb") as stream:
        at = max(0, stream.seek(0, os.SEEK_END) - len(_SEAL) - len(BLANK))
        stream.seek(at)
        return is_sealed(stream, at + len(_SEAL)) if stream.read(len(_SEAL)) == _SEAL else None


def read_archive(path: str | Path) -> tuple[Any, dict[str, npt.NDArray[Any]]]:
    """Return the JSON header and all other arrays of an npz file.

    Raises
    ------
    ProblemError
        If the archive is damaged, unpacks to far more than its size, or holds
        anything but plain arrays.
    """
    with _opened(path) as archive:
        names = [member.filename.removesuffix(".npy") for member in archive.infolist()]
        arrays = {name: _read_member(path, archive, name) for name in names}
    header = arrays.pop("header", None)
    if header is None:
        fail(path, "has no header; it is not complete")
    return parse_json(f"{path}: header", _text(path, "header", header)), arrays


def read(path: str | Path) -> AlignmentProblem:
    """Read a problem from an npz file, which may unpack to as much as `LIMITS` allow.

    Raises
    ------
    ProblemError
        If the archive is damaged, unpacks to far more than its size, or holds
        anything but the plain arrays of a problem.
    """
    with _opened(path) as archive:
        header = _read_member(path, archive, "header", _MAX_HEADER_BYTES)
        document = parse_json(f"{path}: header", _text(path, "header", header))

        def decode(name: str, leaf: Any) -> npt.NDArray[Any]:
            array = _read_member(path, archive, _reference(name, leaf))
            if array.dtype.kind not in "iuf":
                raise ProblemError(f"{name} has dtype {array.dtype}; give floats or integers")
            return array

        def decode_ids(name: str, leaf: Any) -> list[str]:
            data = _read_member(path, archive, _reference(name, leaf), _MAX_IDS_BYTES)
            return ids_from_json(name, parse_json(f"{path}: {name}", _text(path, name, data)))

        return from_document(path, document, decode, decode_ids)


def _opened(path: str | Path) -> zipfile.ZipFile:
    """Open an archive that does not unpack to far more than its size."""
    import zipfile  # it loads what packs files

    read_bytes(path, first=4)  # the errors of missing files, folders and permissions
    with _damage(path):
        archive = zipfile.ZipFile(path)
    names = [member.filename for member in archive.infolist()]
    if names and not any(name.endswith(".npy") for name in names):
        archive.close()
        fail(path, f"is a zip archive that holds {one_line(names[0])} and no arrays; unpack it, "
                   f"and give the file inside")
    packed = Path(path).stat().st_size
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > max(LIMITS.free_bytes, LIMITS.unpacked_ratio * packed):
        fail(path, f"has {packed:,} bytes and would unpack to {unpacked:,}; at most "
                   f"{LIMITS.unpacked_ratio} times the size is unpacked")
    return archive


@contextmanager
def _damage(path: str | Path) -> Iterator[None]:
    """Turn whatever zipfile, zlib and numpy raise on damaged bytes into one line."""
    try:
        yield
    except (ProblemError, MemoryError):
        raise
    except Exception as error:
        reason = one_line(error)[1:-1]
        fail(path, f"is not a complete npz archive: {reason[:1].lower()}{reason[1:]}")


def _read_member(
    path: str | Path, archive: zipfile.ZipFile, name: str, limit: int | None = None
) -> npt.NDArray[Any]:
    """Return one array, after checking that its header declares what the member holds."""
    try:
        member = archive.getinfo(f"{name}.npy")
    except KeyError:
        fail(path, f"has no array {one_line(name)}; it is no alignsolve problem, or incomplete")
    if limit is not None and member.file_size > limit:
        fail(path, f"array {name} has {member.file_size:,} bytes; at most {limit:,} are read")
    with _damage(path), archive.open(member) as stream:
        read_header = (np.lib.format.read_array_header_1_0
                       if np.lib.format.read_magic(stream) == (1, 0)
                       else np.lib.format.read_array_header_2_0)
        shape, _, dtype = read_header(stream)
        held = member.file_size - stream.tell()
    if dtype.hasobject:
        fail(path, f"array {one_line(name)} holds pickled objects, which are never read")
    if dtype.kind not in "iufb" or math.prod(shape) * dtype.itemsize != held:
        fail(path, f"array {one_line(name)} declares {dtype} of shape {shape}, but holds "
                   f"{held:,} bytes")
    with located(path), _damage(path), archive.open(member) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
        if stream.read(1):  # reaching the end also checks the checksum
            fail(path, f"array {one_line(name)} goes on after its end")
    return np.asarray(array)


def _reference(name: str, leaf: Any) -> str:
    """Return the name of the array that a leaf of the header refers to."""
    if not isinstance(leaf, dict) or set(leaf) != {"array"} or not isinstance(leaf["array"], str):
        raise ProblemError(f'{name} is {json_kind(leaf)}; give {{"array": name}}')
    return str(leaf["array"])


def _text(path: str | Path, name: str, data: npt.NDArray[Any]) -> str:
    try:
        return data.tobytes().decode()
    except UnicodeDecodeError:
        fail(path, f"array {one_line(name)} is not UTF-8 text")
