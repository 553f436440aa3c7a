"""Files that appear whole, what dead processes leave, and locks that end with theirs."""

import os
import signal
import subprocess
import sys

import pytest

from alignsolve.io.files import atomic_write, previous
from alignsolve.model.whole_files import hold, only_writer, remove_leftovers

#: Stands in the middle of a write, with a lock, until it is killed.
WRITER = """
import sys, time
from pathlib import Path
from alignsolve.model.whole_files import only_writer, replacing
folder = Path(sys.argv[1])
with only_writer(folder / ".lock"), replacing(folder / "file") as stream:
    stream.write(b"half")
    print("writing", flush=True)
    time.sleep(600)
"""


def test_a_killed_writer_leaves_nothing_after_the_next_start(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)],
                          stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"writing\n"
        remove_leftovers(tmp_path)
        assert len(list(tmp_path.glob(".alignsolve-*.tmp"))) == 1, "taken from a living process"
        with pytest.raises(BlockingIOError), only_writer(tmp_path / ".lock"):
            pass
        process.send_signal(signal.SIGKILL)
    assert len(os.listdir(tmp_path)) == 3
    remove_leftovers(tmp_path)
    with only_writer(tmp_path / ".lock"), pytest.raises(BlockingIOError), \
            only_writer(tmp_path / ".lock"):
        pass
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_the_first_write_to_a_folder_cleans_it_and_leaves_other_files(tmp_path):
    stays = [".alignsolve-1-x.tmp", "0123456789abcdef.tmp", "file"]
    for name in [*stays, ".alignsolve-1-0123456789abcdef.tmp"]:
        (tmp_path / name).touch()
    locked = tmp_path / ".alignsolve-2-0123456789abcdef.tmp"
    with locked.open("xb") as stream:
        assert hold(stream.fileno(), otherwise=False)
        with atomic_write(tmp_path / "file"):
            pass
    assert sorted(os.listdir(tmp_path)) == sorted([*stays, locked.name])


def test_file_and_folder_are_forced_to_the_disk_around_the_replacement(tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace

    def synced(descriptor):
        calls.append("folder" if os.path.samestat(os.fstat(descriptor), tmp_path.stat())
                     else "file")
        fsync(descriptor)

    def replaced(*paths):
        calls.append("replace")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    with atomic_write(tmp_path / "file") as stream:
        stream.write(b"x")
    assert calls == ["file", "replace", "folder"]


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_what_is_replaced_is_kept_where_asked(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError))
    path = tmp_path / "a.b.npz"
    for number in range(3):
        with atomic_write(path, keep=True) as stream:
            stream.write(b"%d" % number)
    assert previous(path).name == "a.b.before.npz"
    assert (path.read_bytes(), previous(path).read_bytes()) == (b"2", b"1")
    previous(path).unlink()
    if links:
        os.link(path, previous(path))  # as a kill may leave it
    with atomic_write(path, keep=True) as stream:
        stream.write(b"3")
    assert (path.read_bytes(), previous(path).read_bytes()) == (b"3", b"2")
    assert len(os.listdir(tmp_path)) == 2
    path.unlink()  # to start anew: what is kept is no longer before the next one
    with atomic_write(path, keep=True) as stream:
        stream.write(b"new")
    assert os.listdir(tmp_path) == [path.name]
