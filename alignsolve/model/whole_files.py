"""Files that appear whole or not at all, also after a kill or a power cut, and their locks."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

#: What an unfinished file is called: the number of its process, and something unique.
_UNFINISHED = re.compile(r"\.alignsolve-\d+-[0-9a-f]{16}\.tmp")

#: Folders that this process has rid of what dead ones left.
_cleaned: set[Path] = set()


def hold(descriptor: int, otherwise: bool) -> bool:
    """Lock an open file, and tell whether nobody else has it locked.

    Parameters
    ----------
    descriptor : int
        The lock ends when it is closed, at the latest with the process, however that ends.
    otherwise : bool
        What to tell where the file system knows no locks.
    """
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return otherwise
    return True


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Hold a lock file, which is removed at the end, and of a dead process is taken over.

    Raises
    ------
    BlockingIOError
        If somebody else holds it.
    OSError
        If it cannot be made.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if not hold(descriptor, otherwise=True):
            os.close(descriptor)
            raise BlockingIOError(f"{path} is locked")
        if os.fstat(descriptor).st_nlink:
            break
        os.close(descriptor)  # whoever had it removed it just now
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def replacing(target: Path, before: Path | None = None) -> Iterator[IO[bytes]]:
    """Open a new file that takes the place of `target` at the end, and is on the disk then.

    Parameters
    ----------
    target : Path
        A regular file, or none yet; links resolved.
    before : Path, optional
        Where to keep the file that is replaced.

    Raises
    ------
    OSError
        If it cannot be written.

    Notes
    -----
    A kill or a power cut at any moment leaves the old or the new file. The unfinished
    file beside it stays locked while its process lives, so that others see when it is
    left over, and remove it (`remove_leftovers`): done once a folder and process here.
    """
    if target.parent not in _cleaned:
        remove_leftovers(target.parent)
    stream = _unfinished(target.parent)
    unfinished = Path(stream.name)
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            if target.exists():
                unfinished.chmod(stat.S_IMODE(target.stat().st_mode))
            if before is not None:
                _keep(target, before)
            os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
    _sync(target.parent)


def _unfinished(folder: Path) -> IO[bytes]:
    """Open a new file, locked."""
    while True:
        stream = _new_name(folder).open("x+b")
        if hold(stream.fileno(), otherwise=True) and os.fstat(stream.fileno()).st_nlink:
            return stream
        stream.close()  # taken for a leftover before it was locked


def _new_name(folder: Path) -> Path:
    return folder / f".alignsolve-{os.getpid()}-{os.urandom(8).hex()}.tmp"


def remove_leftovers(folder: Path) -> None:
    """Remove the unfinished files of dead processes from a folder, as far as it can be written."""
    _cleaned.add(folder)
    with suppress(OSError):
        for name in filter(_UNFINISHED.fullmatch, os.listdir(folder)):
            with suppress(OSError), (folder / name).open("r+b") as stream:
                if hold(stream.fileno(), otherwise=False):
                    (folder / name).unlink()


def _keep(target: Path, before: Path) -> None:
    """Let `before` be the file that `target` is, or none."""
    if not target.exists():
        before.unlink(missing_ok=True)
        return
    beside = _new_name(target.parent)
    try:
        os.link(target, beside)
    except OSError:  # not every file system has hard links
        import shutil  # loads what packs files

        shutil.copyfile(target, beside)
    with suppress(FileNotFoundError):  # taken for a leftover; an earlier file is kept
        os.replace(beside, before)
    beside.unlink(missing_ok=True)  # still there where both were one file already


def _sync(folder: Path) -> None:
    """Force a folder's entries to the disk, where the system does that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
