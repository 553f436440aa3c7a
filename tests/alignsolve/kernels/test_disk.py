"""Caches never hurt: read wherever they were written, written where that is possible."""

import os
import shutil
import stat
import subprocess
import sys

import pytest

from alignsolve.backends.exchange import paths
from tests.alignsolve.kernels.processes import PACKAGE, run

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs users and their rights")

#: Compiles one kernel, if need be, and tells how often it did and where the code is kept.
USE = """
import os, tempfile
tempfile.tempdir = os.environ.get("TMPDIR")
import numpy as np
from alignsolve.backends.exchange.bookkeeping import chosen_load
from alignsolve.kernels import compiled, disk

ints = np.arange(3)
load = np.zeros(4, np.int64)
with compiled():
    chosen_load(ints, (np.arange(4), ints.astype(np.int32), np.ones(3, np.int32)), load)
assert load.tolist() == [1, 1, 1, 0]
misses = sum(chosen_load.dispatcher._cache_misses.values())
print(misses, disk.places.target)
"""


@pytest.fixture
def tree(tmp_path_factory):
    """A copy of the package without compiled code."""
    folder = tmp_path_factory.mktemp("site")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, folder / "alignsolve", ignore=ignored)
    yield folder
    lock(folder, writable=True)


def lock(folder, writable=False):
    """Make a tree read-only, or not, for everybody but root."""
    for path, _, files in os.walk(folder):
        for name in (path, *(os.path.join(path, name) for name in files)):
            mode = stat.S_IMODE(os.stat(name).st_mode)
            os.chmod(name, mode | 0o200 if writable else mode & ~0o222)


def use(tree, tmp_path, **environment):
    """Use a kernel with the rights that files give; return compilations and where they are kept."""
    (tmp_path / "nowhere").touch()
    nowhere = str(tmp_path / "nowhere")
    settings = {"PYTHONPATH": str(tree), "HOME": nowhere, "TMPDIR": nowhere} | environment
    misses, folder = run(USE, bound=True, **settings).split()
    return int(misses), folder


def test_without_any_folder_it_compiles_in_memory(tree, tmp_path):
    lock(tree)
    assert use(tree, tmp_path) == (1, "None")


@pytest.mark.parametrize("there", [False, True])
def test_a_cache_folder_that_cannot_be_written(tree, tmp_path, there):
    named = tmp_path / "named"
    if there:
        named.mkdir(mode=0o500)
    tmp_path.chmod(0o555)
    lock(tree)
    try:
        assert use(tree, tmp_path, NUMBA_CACHE_DIR=str(named)) == (1, "None")
    finally:
        tmp_path.chmod(0o755)


def test_the_first_place_that_takes_files_is_written(tree, tmp_path):
    beside = str(tree / "alignsolve" / "__pycache__" / "kernels")
    assert run(USE, PYTHONPATH=str(tree)).split() == ["1", beside]
    lock(tree)
    home = tmp_path / "home"
    home.mkdir()
    # A package that was warmed up is used wherever the home is.
    for more in ({"HOME": str(home)}, {"NUMBA_CACHE_DIR": str(home / "numba")}):
        assert use(tree, tmp_path, **more)[0] == 0
    lock(tree, writable=True)
    shutil.rmtree(beside)
    lock(tree)
    for first in ("1", "0"):
        misses, folder = use(tree, tmp_path, HOME=str(home))
        assert str(misses) == first
        assert folder.startswith(str(home / ".cache" / "alignsolve"))
    for first in ("1", "0"):
        misses, folder = use(tree, tmp_path, TMPDIR=str(tmp_path))
        assert str(misses) == first
        assert folder.startswith(f"{tmp_path}/alignsolve-")


def test_a_file_in_the_way_is_no_folder(tree, tmp_path):
    (tree / "alignsolve" / "__pycache__").touch()
    (tmp_path / "file").touch()
    assert use(tree, tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "file")) == (1, "None")


def test_a_damaged_or_old_file_is_compiled_anew(tree):
    run(USE, PYTHONPATH=str(tree))
    folder = tree / "alignsolve" / "__pycache__" / "kernels"
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert run(USE, PYTHONPATH=str(tree)).split()[0] == "1"
    assert run(USE, PYTHONPATH=str(tree)).split()[0] == "0"
    # A change of the source is noticed as well, and the old file removed.
    source = tree / "alignsolve" / "backends" / "exchange" / "bookkeeping.py"
    source.write_text(source.read_text() + "\n")
    assert run(USE, PYTHONPATH=str(tree)).split()[0] == "1"
    assert len(list(folder.iterdir())) == 1


def test_code_belongs_to_the_sources_of_all_kernels_in_it():
    found = {os.path.basename(file) for file in paths.augment.files._sources(set())}
    assert found >= {"paths.py", "heaps.py", "row_values.py"}


def test_processes_that_compile_at_once_do_not_hurt_each_other(tree):
    settings = {**os.environ, "PYTHONPATH": str(tree), "NUMBA_CACHE_DIR": ""}
    some = [
        subprocess.Popen([sys.executable, "-c", USE], env=settings, cwd=tree) for _ in range(2)
    ]
    assert [process.wait(200) for process in some] == [0, 0]
    assert run(USE, PYTHONPATH=str(tree)).split()[0] == "0"


SOLVE = """
import sys
import alignsolve as al
result = al.solve(al.AlignmentProblem([[3, 1], [2, 2.5], [0, 1]], 2, load_min=1, load_max=2), {!r})
print(result.status.value, "numba" in sys.modules)
"""


@pytest.mark.parametrize("backend", ["exchange", "lagrangian"])
def test_it_works_where_numba_may_not_compile(backend):
    assert run(SOLVE.format(backend), NUMBA_DISABLE_JIT="1").split()[0] == "optimal"
