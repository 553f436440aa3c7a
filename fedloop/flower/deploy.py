"""Deploy on this machine: one SuperLink, SuperNodes, and an app that runs on them.

    python -m fedloop.flower.deploy --nodes 3 --set rounds=5
    python -m fedloop.flower.deploy --nodes 3 --app examples/flower --run-config num-server-rounds=5

See `deploy`.
"""

from __future__ import annotations

import json
import math
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from alignsolve.cli import typer
from alignsolve.cli.common import DONE, note, print_text, report, run_app
from alignsolve.cli.options import Json
from alignsolve.cli.terminating import run_command
from alignsolve.io.files import write_text
from fedloop.checkpoint import NAME, forget, writing
from fedloop.cli import ConfigArgument, SetOption
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
    with Deployment([{}] * config.partition.clients, folder / "logs") as deployment:
        return play(deployment, config, folder, timeout=timeout, on_round=on_round)


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
    """Run a training on a deployment; see `train_deployed` and `Deployment.wait`.

    `app` is fedloop's own, or another with the same server.
    """
    settings = folder / "settings.json"
    with writing(folder):
        write_text(settings, [config_json(config)])
        (folder / "rounds.jsonl").unlink(missing_ok=True)  # the server writes it anew

    def tell(line: str) -> None:
        if on_round is not None:
            on_round(json.loads(line))

    return follow(deployment, app, {"settings": str(settings.resolve()),
                                    "folder": str(folder.resolve()), "timeout": timeout},
                  lambda run: folder / "rounds.jsonl", tell, on_tick)


def follow(
    deployment: Deployment, app: Path, config: Mapping[str, Any], file: Callable[[str], Path],
    tell: Callable[[str], None], on_tick: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Run an app, tell the lines of the file that its run writes, and return what Flower says."""
    run = deployment.submit(app, config)
    lines = Lines(file(run), tell)

    def tick() -> None:
        lines()
        if on_tick is not None:
            on_tick()

    found = deployment.wait(run, tick)
    lines()
    return found


def deploy(
    config: ConfigArgument = None,
    set_: SetOption = None,
    nodes: Annotated[int, typer.Option(min=1, help="SuperNodes, one for each client.")] = 3,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("flower-run"),
    timeout: Annotated[float | None, typer.Option(
        help="Seconds to wait for the clients of a round; 60 where none are given.")] = None,
    resume: Annotated[bool, typer.Option(
        "--resume", help="Go on from the folder's checkpoint; Flower itself does not.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Forget the run in that folder.")] = False,
    app: Annotated[Path | None, typer.Option(help="Folder of another Flower app.")] = None,
    run_config: Annotated[list[str] | None, typer.Option(
        metavar="KEY=VALUE", help="Replace a setting of that app.")] = None,
    as_json: Json = False,
) -> int:
    """Deploy on this machine: one SuperLink, SuperNodes, and an app that runs on them.

    Without --app, fedloop's own experiment: the records are those of fedloop run. Everything that
    was started is stopped at the end, also after Ctrl-C or a failure.
    """
    if timeout is not None and not 0 < timeout < math.inf:
        raise ConfigError(f"--timeout is {timeout:g}; give seconds above 0")
    if resume and again:
        raise ConfigError("--resume goes on, and --again forgets: give one of them")
    if app is not None:
        if resume:
            raise ConfigError("--resume is for fedloop's own app; another goes on by a setting of "
                              "its own, such as --run-config resume=true")
        ours = {"CONFIG": config, "--set": set_, "--timeout": timeout}
        if given := [name for name, value in ours.items() if value]:
            raise ConfigError(f"{given[0]} is for fedloop's own app; give the settings of another "
                              "by --run-config")
        found = _run_app(app, run_config or [], nodes, out, note if as_json else print_text)
    else:
        if run_config:
            raise ConfigError("--run-config is for the app that --app names; give the settings of "
                              "fedloop's own by --set")
        settings = _settings(config, set_ or [], nodes)
        if again:
            forget(out)
        found = train_deployed(settings, out, timeout=timeout or 60.0, resume=resume,
                               on_round=None if as_json else _print_round)
    report(as_json, found, _told(found))
    return DONE


def main(arguments: Sequence[str] | None = None) -> int:
    """Deploy, print the curve, stop everything; return the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    program = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    program.command()(deploy)
    return run_command(
        lambda: run_app(program, words, "python -m fedloop.flower.deploy"),
        "interrupted; all processes are stopped. With --resume it goes on from the last checkpoint",
        seconds=None)


def _settings(path: Path | None, changes: list[str], nodes: int) -> Config:
    """Return the settings that the arguments choose: one client for each SuperNode."""
    asked = read_config(path, changes).partition
    if "clients" in asked.model_fields_set and asked.clients != nodes:
        raise ConfigError(f"partition.clients is {asked.clients} and --nodes {nodes}; every "
                          f"SuperNode is one client: give --nodes {asked.clients}, or leave the "
                          "setting out")
    return read_config(path, [*changes, f"partition.clients={nodes}", "local.batched=false"])


def _run_app(
    app: Path, changes: list[str], nodes: int, out: Path, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Run somebody's own app, and tell the lines of its server's log."""
    if not (app / "pyproject.toml").is_file():
        raise ConfigError(f"--app {app}: there is no pyproject.toml; name the folder of a Flower "
                          "app")
    config: dict[str, Any] = {}
    for change in changes:
        try:
            config |= tomllib.loads(change)
        except tomllib.TOMLDecodeError:
            raise ConfigError(f"--run-config {change!r} is not key=value, with text in "
                              "quotes") from None
    with writing(out), Deployment([{}] * nodes, out / "logs") as deployment:
        return follow(deployment, app, config, lambda run: out / "logs" / f"run-{run}.log", tell)


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
