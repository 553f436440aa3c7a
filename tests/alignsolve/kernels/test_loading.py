"""numba is imported when something is compiled, and Ctrl-C does no harm to it."""

import _thread
import signal
import time

import pytest

from alignsolve.kernels import Kernel, loading
from tests.alignsolve.kernels.processes import run


def test_importing_does_not_import_numba():
    code = "import sys, alignsolve.backends.exchange.algorithm; print('numba' in sys.modules)"
    assert run(code).strip() == "False"


@pytest.fixture
def loaded(monkeypatch):
    """Load something in place of numba, with Ctrl-C in the middle; filled at the end of it."""
    done = []

    def load(failed):
        _thread.interrupt_main()
        time.sleep(0.2)
        done.append(True)

    monkeypatch.setattr(loading, "_prepared", False)
    monkeypatch.setattr(loading, "_load", load)
    return done


def test_ctrl_c_while_numba_loads_does_no_harm(loaded):
    with pytest.raises(KeyboardInterrupt):
        loading.prepare(Kernel)
    assert loaded
    assert loading._prepared


def test_a_handler_of_the_program_does_no_harm_while_numba_loads(loaded):
    def own(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, own)
    try:
        with pytest.raises(KeyboardInterrupt):
            loading.prepare(Kernel)
    finally:
        signal.signal(signal.SIGINT, before)
    # It goes on loading.
    assert not loading._prepared
    while not loaded:
        time.sleep(0.01)


def test_lack_of_memory_while_numba_loads_is_told(monkeypatch):
    def load_target(name):
        raise MemoryError(name)

    monkeypatch.setattr(loading, "_prepared", False)
    monkeypatch.setattr(loading.importlib, "import_module", load_target)
    with pytest.raises(MemoryError, match="numba"):
        loading.prepare(Kernel)
    assert not loading._prepared
