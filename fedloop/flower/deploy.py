"""Deploy on this machine: one SuperLink, SuperNodes, and an app that runs on them.

    python -m fedloop.flower.deploy --nodes 3 --set rounds=5
    python -m fedloop.flower.deploy --nodes 3 --app examples/flower --run-config num-server-rounds=5

Without ``--app``, fedloop's own experiment: the records are those of ``fedloop run``.
Everything that was started is stopped at the end, also after Ctrl-C or a failure.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alignsolve.cli.common import BAD_INPUT, DONE, INTERRUPTED, note, print_json, print_text
from alignsolve.cli.terminating import run_command
from alignsolve.errors import AlignSolveError
from alignsolve.io.files import write_text
from fedloop.checkpoint import NAME, forget, writing
from fedloop.config import Config, config_json, read_config
from fedloop.errors import CheckpointError, ConfigError
from fedloop.flower.deployment import Deployment
from fedloop.flower.engine import check_settings
from fedloop.world import Record

#: fedloop's experiment as a Flower app.
OWN_APP = Path(__file__).parent / "fab"


class Lines:
    """Hands on the lines of a file as they are completed."""

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        self._path, self._tell, self._at = path, tell, 0

    def __call__(self) -> None:
        """Hand on the lines that are new."""
        if not self._path.exists():
            return
        with self._path.open("rb") as stream:
            stream.seek(self._at)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                self._at += len(line)
                self._tell(line.decode("utf-8", errors="replace").rstrip("\n"))


def train_deployed(
    config: Config, folder: Path, *, timeout: float = 60.0, resume: bool = False,
    on_round: Callable[[Record], None] | None = None,
    node_configs: Sequence[Mapping[str, Any]] | None = None, app: Path = OWN_APP,
) -> dict[str, Any]:
    """Run, or resume, a training on SuperNodes of this machine, one for each client.

    Parameters
    ----------
    config : Config
        Settings.
    folder : Path
        Where records and checkpoints go, and the processes' logs.
    timeout : float
        Seconds to wait for the clients of a round.
    resume : bool
        Whether to go on from the folder's checkpoint.
    on_round : callable, optional
        Called with the record of every round.
    node_configs : sequence of mapping, optional
        Further configuration of each SuperNode.
    app : Path, optional
        Another app with the same server.

    Returns
    -------
    dict
        What Flower says of the run: status, times, bytes.

    Raises
    ------
    CheckpointError
        If there is nothing to resume, or a run that would be overwritten.
    EngineError
        If the run fails.
    """
    check_settings(config)
    check_folder(folder, resume)
    with Deployment(node_configs or [{}] * config.partition.clients, folder / "logs") as deployment:
        return play(deployment, config, folder, timeout=timeout, on_round=on_round, app=app)


def check_folder(folder: Path, resume: bool) -> None:
    """Check that a folder has a checkpoint if a run is to be resumed, and none if not."""
    found = (folder / NAME).exists()
    if resume and not found:
        raise CheckpointError(f"{folder}: no checkpoint to resume; start without --resume")
    if found and not resume:
        raise CheckpointError(f"{folder}: holds a run; go on with --resume, or choose another "
                              "--out")


def play(
    deployment: Deployment, config: Config, folder: Path, *, timeout: float = 60.0,
    on_round: Callable[[Record], None] | None = None, app: Path = OWN_APP,
    on_tick: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Run a training on a deployment; see `train_deployed` and `Deployment.wait`."""
    settings = folder / "settings.json"
    with writing(folder):
        write_text(settings, [config_json(config)])
        (folder / "rounds.jsonl").unlink(missing_ok=True)  # the server writes it anew

    def tell(line: str) -> None:
        if on_round is not None:
            on_round(json.loads(line))

    run = deployment.submit(app, {"settings": str(settings.resolve()),
                                  "folder": str(folder.resolve()), "timeout": timeout})
    lines = Lines(folder / "rounds.jsonl", tell)

    def tick() -> None:
        lines()
        if on_tick is not None:
            on_tick()

    found = deployment.wait(run, tick)
    lines()
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Deploy, print the curve, stop everything; return the exit code."""
    options = _parser().parse_args(arguments)
    return run_command(lambda: _deploy(options), seconds=None)


def _deploy(options: argparse.Namespace) -> int:
    try:
        _check_options(options)
        if options.app is not None:
            return _run_app(options)
        config = _settings(options)
        if options.again:
            forget(options.out)
        found = train_deployed(config, options.out, timeout=options.timeout, resume=options.resume,
                               on_round=None if options.json else _print_round)
    except AlignSolveError as error:
        note(f"error: {error}")
        return BAD_INPUT
    except KeyboardInterrupt:
        note("interrupted; all processes are stopped. With --resume it goes on from the last "
             "checkpoint")
        return INTERRUPTED
    if options.json:
        print_json(found)
    else:
        print_text(_told(found))
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fedloop.flower.deploy", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", type=Path, help="settings, as for fedloop run")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="replace a setting")
    parser.add_argument("--nodes", type=int, default=3, help="SuperNodes, one for each client")
    parser.add_argument("--out", type=Path, default=Path("flower-run"), help="folder of the run")
    parser.add_argument("--timeout", type=float, default=60.0,
                        help="seconds to wait for the clients of a round")
    going_on = parser.add_mutually_exclusive_group()
    going_on.add_argument("--resume", action="store_true", help="go on from the folder's "
                          "checkpoint; Flower itself does not resume")
    going_on.add_argument("--again", action="store_true", help="forget the run in that folder")
    parser.add_argument("--app", type=Path, help="folder of another Flower app")
    parser.add_argument("--run-config", action="append", default=[], metavar="KEY=VALUE",
                        help="replace a setting of that app")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _check_options(options: argparse.Namespace) -> None:
    """Raise `ConfigError` for numbers that Flower would only stumble over later."""
    if options.nodes < 1:
        raise ConfigError(f"--nodes is {options.nodes}; give at least 1")
    if not 0 < options.timeout < math.inf:
        raise ConfigError(f"--timeout is {options.timeout:g}; give seconds above 0")


def _settings(options: argparse.Namespace) -> Config:
    """Return the settings that the arguments choose: one client for each SuperNode."""
    asked = read_config(options.config, options.set).partition
    if "clients" in asked.model_fields_set and asked.clients != options.nodes:
        raise ConfigError(f"partition.clients is {asked.clients} and --nodes {options.nodes}; "
                          f"every SuperNode is one client: give --nodes {asked.clients}, or leave "
                          "the setting out")
    changes = [*options.set, f"partition.clients={options.nodes}", "local.batched=false"]
    return read_config(options.config, changes)


def _run_app(options: argparse.Namespace) -> int:
    """Run somebody's own app, and print its server's log."""
    if options.resume:
        raise ConfigError("--resume is for fedloop's own app; another goes on by a setting of its "
                          "own, such as --run-config resume=true")
    if not (options.app / "pyproject.toml").is_file():
        raise ConfigError(f"--app {options.app}: there is no pyproject.toml; name the folder of a "
                          "Flower app")
    config: dict[str, Any] = {}
    for change in options.run_config:
        try:
            config |= tomllib.loads(change)
        except tomllib.TOMLDecodeError:
            raise ConfigError(f"--run-config {change!r} is not key=value, with text in "
                              "quotes") from None
    logs = options.out / "logs"
    with writing(options.out), Deployment([{}] * options.nodes, logs) as deployment:
        run = deployment.submit(options.app, config)
        lines = Lines(logs / f"run-{run}.log", note if options.json else print_text)
        found = deployment.wait(run, lines)
        lines()
    if options.json:
        print_json(found)
    else:
        print_text(_told(found))
    return DONE


def _print_round(record: Record) -> None:
    loss = "none" if record["loss"] is None else f"{record['loss']:.3f}"
    print_text(f"round {record['round']}: accuracy {record['accuracy']:.3f}, with all experts "
               f"{record['accuracy_all']:.3f}, loss {loss}, {record['finished']} finished")


def _told(found: Mapping[str, Any]) -> str:
    traffic = found["network-traffic"]
    return (f"{found['status']} in {found['elapsed']:.0f} s; the SuperLink received "
            f"{traffic['inbound-bytes'] / 1e6:.2f} MB from the nodes and sent them "
            f"{traffic['outbound-bytes'] / 1e6:.2f} MB")


if __name__ == "__main__":
    sys.exit(main())
