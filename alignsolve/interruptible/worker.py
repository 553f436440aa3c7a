"""What the process of a long call does: read one call, make it, tell what comes of it."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import threading
from pathlib import Path
from typing import IO, Any


def main() -> None:
    """Make the one call that standard input holds; never return."""
    # Ctrl-C is for who started this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Should the machine run out of memory, the kernel takes this process first.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    # Libraries print to descriptor 1, even when told to be silent.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    lock = threading.Lock()

    def send(kind: str, what: object) -> None:
        with lock:
            pickle.dump((kind, what), replies, protocol=5)
            replies.flush()

    try:
        send("began", None)
        request = os.fdopen(0, "rb", closefd=False)
        function, arguments = pickle.load(request)
        threading.Thread(target=_end_with, args=(request,), daemon=True).start()
        send("value", function(lambda what: send("told", what), *arguments))
    except BaseException as error:
        send("error", _sendable(error))
    os._exit(0)


def _end_with(caller: IO[bytes]) -> None:
    """End this process as soon as the other end of its standard input is closed."""
    caller.read(1)
    os._exit(1)


def _sendable(error: BaseException) -> Any:
    """Return an error that can be read elsewhere."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
