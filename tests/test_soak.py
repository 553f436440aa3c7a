"""The short form of `make soak`: a little of every harm."""

import pytest

from tests.soak.__main__ import SHORT, soak


@pytest.mark.timeout(1200)  # a slow machine is no fault
def test_nothing_is_lost_and_nothing_silently_wrong():
    pytest.importorskip("torch")
    pytest.importorskip("pyarrow")
    tally = soak(SHORT, seed=0, jobs=2)
    assert tally.sound, tally.table()
    assert sum(tally.done.values()) > 40
