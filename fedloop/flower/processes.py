"""Start processes and stop them again with all their children, by the ids they started with."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

#: Seconds that processes have to end by themselves.
GRACE = 5.0


class Family:
    """A process and its descendants.

    Parameters
    ----------
    words : sequence of str
        Command.
    env : mapping of str to str
        Its environment.
    log : Path
        Takes what it prints.

    Notes
    -----
    The process gets a session of its own, so that Ctrl-C reaches only who started it,
    and that one can stop all in order. Descendants are remembered while their parents
    live (`look`): some leave their parent's session, and may outlive it.
    """

    def __init__(self, words: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                list(words), env=dict(env), stdin=subprocess.DEVNULL, stdout=stream,
                stderr=subprocess.STDOUT, start_new_session=True)
        self._root = psutil.Process(self._process.pid)
        self._known = {self._root}

    def look(self) -> None:
        """Remember who has been started since."""
        for member in list(self._known):
            try:
                self._known.update(member.children(recursive=True))
            except psutil.NoSuchProcess:
                continue

    def exit_code(self) -> int | None:
        """Return the exit code of the process; None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """End the process and its descendants at once, as a power cut would."""
        self.look()
        for member in (self._root, *self._known):
            _send(member, "kill")
        self._process.wait()


def stop(families: Sequence[Family]) -> None:
    """Ask processes and their descendants to end; kill those that do not."""
    for family in families:
        family.look()
    everybody = {member for family in families for member in family._known}
    for family in families:
        _send(family._root, "terminate")
    psutil.wait_procs([family._root for family in families], timeout=GRACE)
    for member in everybody:
        _send(member, "terminate")
    for member in psutil.wait_procs(everybody, timeout=GRACE)[1]:
        _send(member, "kill")
    for family in families:
        family.kill()


def _send(process: psutil.Process, how: str) -> None:
    """Send a signal; psutil does not mistake a later process of the same id for it."""
    with suppress(psutil.NoSuchProcess):
        getattr(process, how)()
