"""A SuperLink and SuperNodes on this machine: started, used and stopped together.

Everything listens on loopback, without TLS, and nothing is asked of the network:

- telemetry, update checks and Ray's usage statistics: by the variables of
  `fedloop.flower.quiet.QUIET`;
- installation of the app's dependencies: by ``--disable-runtime-dependency-installation``
  of the SuperLink; SuperNodes do not install any unless told to;
- proxies: none for loopback;
- Flower's settings and apps: in a folder of the deployment's own (``FLWR_HOME``), not in
  the user's home.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from fedloop.errors import EngineError
from fedloop.flower.nodes import CLIENT
from fedloop.flower.quiet import QUIET

#: Seconds that processes have to end by themselves.
GRACE = 5.0

HOST = "127.0.0.1"

#: Seconds that the SuperLink has to start.
PATIENCE = 60.0

#: Seconds between looks at processes.
TICK = 0.25

#: Flower looks for work in this rhythm (seconds), by default in one of 1.
RHYTHM = {"FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2"}

#: Name of the connection, in Flower's settings.
CONNECTION = "loopback"


class Deployment:
    """One SuperLink, and SuperNodes of which number k is client k.

    Parameters
    ----------
    node_configs : sequence of mapping
        For every SuperNode its configuration, beside its ``partition-id``.
    logs : Path
        Folder for what the processes print.

    Examples
    --------
    >>> with Deployment([{}, {}, {}], Path("logs")) as deployment:  # doctest: +SKIP
    ...     run = deployment.submit(Path("examples/flower"), {"num-server-rounds": 3})
    ...     deployment.wait(run)
    """

    def __init__(self, node_configs: Sequence[Mapping[str, Any]], logs: Path) -> None:
        self._configs = [dict(config) for config in node_configs]
        self._logs = logs
        self.ports = free_ports(1 + len(self._configs))
        #: Where SuperNodes look for the SuperLink.
        self.link_port = self.ports[0]
        self._home = tempfile.TemporaryDirectory(prefix="fedloop-flower-")
        self._env = {
            **os.environ, **QUIET, **RHYTHM, "FLWR_HOME": self._home.name,
            "NO_PROXY": HOST, "no_proxy": HOST, "PYTHONUNBUFFERED": "1",
            # The SuperLink finds Flower's other commands by their names.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        self._link: Family | None = None
        self._nodes: dict[int, Family] = {}

    def __enter__(self) -> Deployment:
        try:
            self._start_link()
            for number in range(len(self._configs)):
                self.start_node(number)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- processes -----------------------------------------------------------------

    def _start_link(self) -> None:
        """Start the SuperLink and wait until it answers."""
        self._logs.mkdir(parents=True, exist_ok=True)
        (Path(self._home.name) / "config.toml").write_text(
            f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\n'
            f'address = "{HOST}:{self.ports[0]}"\ninsecure = true\n', encoding="utf-8")
        self._link = self._start(
            "superlink", "flower-superlink", "--insecure", "--host", HOST,
            "--port", str(self.ports[0]), "--disable-runtime-dependency-installation")
        until = time.monotonic() + PATIENCE
        while not answers(f"http://{HOST}:{self.ports[0]}/health"):
            self._check(self._link)
            if time.monotonic() > until:
                raise EngineError(f"the SuperLink did not answer within {PATIENCE:g} s\n"
                                  f"{tail(self._link.log)}")
            time.sleep(TICK)

    def start_node(self, number: int, config: Mapping[str, Any] | None = None) -> None:
        """Start, or start again, a SuperNode; with another configuration if one is given."""
        if config is not None:
            self._configs[number] = dict(config)
        told = {CLIENT: number, "num-partitions": len(self._configs), **self._configs[number]}
        self._nodes[number] = self._start(
            f"supernode-{number}", "flower-supernode", "--insecure",
            "--superlink", f"{HOST}:{self.link_port}", "--port", str(self.ports[1 + number]),
            "--node-config", spelled(told))

    def kill_node(self, number: int) -> None:
        """Kill a SuperNode and all it started."""
        self._nodes[number].kill()

    def kill_link(self) -> None:
        """Kill the SuperLink, and with it the app's server."""
        if self._link is not None:
            self._link.kill()

    def _start(self, name: str, *words: str) -> Family:
        return Family(words, self._env, self._logs / f"{name}.log")

    def _check(self, family: Family) -> None:
        """Raise `EngineError` if a process has ended."""
        code = family.exit_code()
        if code is not None:
            raise EngineError(f"{family.log.stem} ended with code {code}\n{tail(family.log)}")

    def stop(self) -> None:
        """Stop everything that was started."""
        stop([*self._nodes.values(), *([self._link] if self._link else [])])
        self._nodes, self._link = {}, None
        self._home.cleanup()

    # -- runs ----------------------------------------------------------------------

    def submit(self, app: Path, config: Mapping[str, Any]) -> str:
        """Start an app and return the number of its run.

        Parameters
        ----------
        app : Path
            Folder with the app's ``pyproject.toml``.
        config : mapping
            Values that replace those of ``[tool.flwr.app.config]``.
        """
        found = self._ask("run", str(app.resolve()), CONNECTION, "--run-config", spelled(config))
        return str(found["run-id"])

    def wait(self, run: str, on_tick: Callable[[], None] | None = None) -> dict[str, Any]:
        """Wait until a run ends, and return what Flower says of it.

        Parameters
        ----------
        run : str
            From `submit`.
        on_tick : callable, optional
            Called several times a second meanwhile.

        Raises
        ------
        EngineError
            If the run failed, or the SuperLink ended.
        """
        assert self._link is not None
        log = self._start(f"run-{run}", "flwr", "log", run, CONNECTION)
        try:
            while log.exit_code() is None:
                self._check(self._link)
                for family in (self._link, *self._nodes.values()):
                    family.look()
                if on_tick is not None:
                    on_tick()
                time.sleep(TICK)
        finally:
            stop([log])
        self._check(self._link)
        found: dict[str, Any] = self._ask("list", CONNECTION, "--run-id", run)["runs"][0]
        if found["status"] != "finished:completed":
            raise EngineError(f"run {run} ended as {found['status']} "
                              f"({found['status-details']})\n{tail(log.log)}")
        return found

    def _ask(self, *words: str) -> dict[str, Any]:
        """Run one of Flower's commands and return its JSON."""
        try:
            done = subprocess.run(["flwr", *words, "--format", "json"], env=self._env, text=True,
                                  capture_output=True, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            raise EngineError(f"flwr {words[0]} did not end within {PATIENCE:g} s") from None
        try:
            found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{"):])
        except ValueError:
            found = {}
        if not found.get("success"):
            reason = found.get("error-message") or done.stderr.strip() or done.stdout.strip()
            raise EngineError(f"flwr {words[0]}: {reason}")
        return found


def free_ports(number: int) -> list[int]:
    """Return free ports of loopback, all different."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def answers(address: str) -> bool:
    """Return whether a server on loopback answers."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def spelled(config: Mapping[str, Any]) -> str:
    """Return a configuration as Flower's commands take it: ``key=value key=value``.

    Examples
    --------
    >>> spelled({"folder": "out", "timeout": 60.0, "resume": True})
    'folder="out" timeout=60.0 resume=true'
    """
    return " ".join(f"{key}={json.dumps(value)}" for key, value in config.items())


def tail(path: Path, lines: int = 15) -> str:
    """Return the end of a file."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    return "\n".join(text.splitlines()[-lines:])


# -- processes ---------------------------------------------------------------------------


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
