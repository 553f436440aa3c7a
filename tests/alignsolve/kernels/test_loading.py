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


def test_ctrl_c_while_numba_loads_does_no_harm(monkeypatch):
    loaded = []

    def load():
        _thread.interrupt_main()
        time.sleep(0.2)
        loaded.append(True)

    monkeypatch.setattr(loading, "_prepared", False)
    monkeypatch.setattr(loading, "_load", load)
    with pytest.raises(KeyboardInterrupt):
        loading.prepare(Kernel)
    assert loaded
    assert loading._prepared


def test_a_handler_of_the_program_does_no_harm_while_numba_loads(monkeypatch):
    loaded = []

    def own(*_):
        raise KeyboardInterrupt

    def load():
        _thread.interrupt_main()
        time.sleep(0.2)
        loaded.append(True)

    monkeypatch.setattr(loading, "_prepared", False)
    monkeypatch.setattr(loading, "_load", load)
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
