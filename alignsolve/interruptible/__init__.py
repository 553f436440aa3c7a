"""Calls into libraries that must not keep the caller waiting, nor work on once nobody waits.

A library call blocks Python's signal handling, and some libraries overrun their
time limit and cannot be told to stop. `wait_for` runs a call in a thread while the
caller waits, so that Ctrl-C and the deadline take effect at once. `Calls` runs what
is expected to take long in a process of its own, which a stop kills.
"""

from alignsolve.interruptible.calls import LONG, Calls, Tell, call, ended_by_key
from alignsolve.interruptible.waiting import Waited, left_behind, wait_for

__all__ = ["LONG", "Calls", "Tell", "Waited", "call", "ended_by_key", "left_behind", "wait_for"]
