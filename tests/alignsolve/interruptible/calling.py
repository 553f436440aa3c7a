"""Functions that processes of long calls make, and what starts some."""

import os
import signal
import threading
import time

from alignsolve.interruptible import call


def process_of(tell, *arguments):
    return os.getpid(), arguments


def tell_and_stay(tell, what):
    tell(what)
    time.sleep(60)


def be_noisy(tell):
    os.write(1, b"HiGHS says hello")
    print("and so does Python", flush=True)
    return "done"


def fail(tell, error):
    raise error


def die(tell, number):
    if number:
        os.kill(os.getpid(), number)
    os.write(2, b"Check failed: a != b\n")
    os._exit(3)


def wait_for_a_signal(tell):
    caught = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: caught.set())
    tell("ready")
    while not caught.is_set():
        time.sleep(0.01)
    return "gently"


def from_daemonic_worker(queue):
    waited = call(process_of, 1, seconds=100.0)
    queue.put((os.getpid(), waited.value))
