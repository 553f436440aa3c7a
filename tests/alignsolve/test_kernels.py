"""Where compiled kernels are kept, and what the user is told."""

import _thread
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import alignsolve
from alignsolve import kernels


def run(code, **environment):
    """Run Python code in a fresh process; return what it printed."""
    path = str(Path(alignsolve.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=250,
        cwd=tempfile.gettempdir(),
        env={**os.environ, "PYTHONPATH": path} | environment,
    )  # fmt: skip
    return done.stdout


def test_importing_does_not_import_numba():
    code = "import sys, alignsolve.backends.exchange; print('numba' in sys.modules)"
    assert run(code).strip() == "False"


def test_kernels_load_where_nothing_beside_them_can_be_written(tmp_path):
    # A file in the way stops even root, whom a read-only folder does not.
    package = tmp_path / "site" / "alignsolve"
    shutil.copytree(
        Path(alignsolve.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    for folder in ("", "backends/exchange"):
        (package / folder / "__pycache__").touch()
    (tmp_path / "home").touch()
    code = (
        "from alignsolve import kernels; kernels.prepare();"
        "import numba, alignsolve.backends.exchange.paths as paths;"
        "print(paths.augment._cache.cache_path)"
    )
    where = run(
        code, PYTHONPATH=str(tmp_path / "site"), HOME=str(tmp_path / "home"),
        XDG_CACHE_HOME=str(tmp_path / "home"), TMPDIR=str(tmp_path), NUMBA_CACHE_DIR="",
    )  # fmt: skip
    assert where.startswith(str(tmp_path / "alignsolve-"))


def test_takes_the_first_place_that_can_be_written_to(monkeypatch, tmp_path):
    import numba

    places = []
    monkeypatch.setattr(kernels, "_prepared", False)
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(kernels, "_writable", lambda folder: places.append(folder) or False)
    monkeypatch.setattr(kernels.tempfile, "gettempdir", lambda: str(tmp_path))
    kernels.prepare()
    assert [place.name for place in places] == ["__pycache__", "numba"]
    assert Path(numba.config.CACHE_DIR).parent == tmp_path
    assert Path(numba.config.CACHE_DIR).is_dir()


def test_leaves_a_writable_place_alone(monkeypatch):
    import numba

    monkeypatch.setattr(kernels, "_prepared", False)
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(kernels, "_writable", lambda folder: True)
    kernels.prepare()
    assert numba.config.CACHE_DIR == ""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0,
                    reason="root may write anywhere")
def test_an_unwritable_folder_is_noticed(tmp_path):
    tmp_path.chmod(0o500)
    assert not kernels._writable(tmp_path)
    assert not kernels._writable(tmp_path / "below")


def test_a_file_in_the_way_is_noticed(tmp_path):
    (tmp_path / "file").touch()
    assert not kernels._writable(tmp_path / "file")


def test_says_once_that_it_compiles(monkeypatch, caplog):
    class Kernel:
        signatures = ()

    monkeypatch.setattr(kernels, "_told", False)
    monkeypatch.setattr(kernels, "_seen", set())
    with caplog.at_level("INFO", logger="alignsolve"):
        kernels.announce((Kernel(),), "float32")
        kernels.announce((Kernel(),), "float64")
    assert sum("compiling" in record.message for record in caplog.records) == 1


def test_says_nothing_when_compiled(monkeypatch, caplog):
    class Kernel:
        signatures = ("array(float32, 2d, C)",)

    monkeypatch.setattr(kernels, "_told", False)
    monkeypatch.setattr(kernels, "_seen", set())
    with caplog.at_level("INFO", logger="alignsolve"):
        kernels.announce((Kernel(),), "float32")
    assert not caplog.records


def test_a_kernel_that_cannot_be_kept_works_all_the_same(monkeypatch):
    kernels.prepare()
    import numba
    from numba.core.caching import Cache

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Cache, "_save_overload", full)
    assert numba.njit(cache=True)(lambda number: number + 1)(1) == 2


def test_ctrl_c_while_numba_loads_does_no_harm(monkeypatch):
    loaded = []

    def load():
        _thread.interrupt_main()
        time.sleep(0.2)
        loaded.append(True)

    monkeypatch.setattr(kernels, "_prepared", False)
    monkeypatch.setattr(kernels, "_load", load)
    with pytest.raises(KeyboardInterrupt):
        kernels.prepare()
    assert loaded
    assert kernels._prepared


def test_a_handler_of_the_program_does_no_harm_while_numba_loads(monkeypatch):
    loaded = []

    def own(*_):
        raise KeyboardInterrupt

    def load():
        _thread.interrupt_main()
        time.sleep(0.2)
        loaded.append(True)

    monkeypatch.setattr(kernels, "_prepared", False)
    monkeypatch.setattr(kernels, "_load", load)
    before = signal.signal(signal.SIGINT, own)
    try:
        with pytest.raises(KeyboardInterrupt):
            kernels.prepare()
    finally:
        signal.signal(signal.SIGINT, before)
    # It goes on loading.
    assert not kernels._prepared
    while not loaded:
        time.sleep(0.01)
