"""The settings of a run: validated, read from TOML, changed by ``--set key=value``."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from alignsolve.aligner.settings import Strategy as AlignerStrategy
from fedloop.errors import ConfigError
from fedloop.settings import (
    AlignmentSettings,
    Count,
    DataSettings,
    FleetSettings,
    LocalSettings,
    ModelSettings,
    PartitionSettings,
    PrivacySettings,
    ServerSettings,
    Settings,
    Share,
)

__all__ = [
    "AlignmentSettings",
    "Config",
    "DataSettings",
    "FleetSettings",
    "LocalSettings",
    "ModelSettings",
    "PartitionSettings",
    "PrivacySettings",
    "ServerSettings",
    "Strategy",
    "build_config",
    "config_json",
    "read_config",
]

#: Strategies, as `alignsolve.Aligner` calls them, and two to compare with: "oracle" knows the
#: clients' domains, with "everything" all clients hold all experts, whatever their devices.
Strategy = Literal[AlignerStrategy, "oracle", "everything"]


class Config(Settings):
    """All settings of a run.

    Attributes
    ----------
    seed : int
        Seed of everything: data, model, devices, batches, plans.
    rounds : int
        Communication rounds.
    participants : int, optional
        Clients asked in every round, drawn at random; None asks all.
    strategy : str
        Who decides which client trains what.
    threads : int
        Threads of torch. Sums, and so runs, may differ in the last bit between
        numbers of threads; one is fastest for small models.
    device : str
        Device of torch, such as ``cpu`` or ``cuda``.
    checkpoint_every : int
        Rounds between checkpoints.
    payload : {"native", "int8"}
        How parameters travel: as they are, or as rounded differences; see `fedloop.payload`.
    targets : tuple of float
        Accuracies for which rounds and bytes are reported.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    rounds: Count = 80
    participants: Count | None = None
    strategy: Strategy = "optimal"
    threads: Count = 1
    device: str = "cpu"
    checkpoint_every: Count = 10
    payload: Literal["native", "int8"] = "native"
    targets: tuple[Share, ...] = (0.8, 0.9)
    data: DataSettings = DataSettings()
    partition: PartitionSettings = PartitionSettings()
    model: ModelSettings = ModelSettings()
    local: LocalSettings = LocalSettings()
    server: ServerSettings = ServerSettings()
    alignment: AlignmentSettings = AlignmentSettings()
    fleet: FleetSettings = FleetSettings()
    privacy: PrivacySettings = PrivacySettings()

    @model_validator(mode="after")
    def _agree(self) -> Config:
        """Check what no single setting can tell."""
        if self.participants is not None and self.participants > self.partition.clients:
            raise ValueError(f"participants is {self.participants}; there are only "
                             f"{self.partition.clients} clients")
        if self.strategy == "oracle" and not self.partition.has_domains:
            raise ValueError(f"strategy is 'oracle', and clients of partition.kind "
                             f"{self.partition.kind!r} have no domains that it could know")
        return self


def read_config(path: str | Path | None, changes: Iterable[str] = ()) -> Config:
    """Read settings from a TOML file, the defaults where it says nothing.

    Parameters
    ----------
    path : path or None
        The file; None takes the defaults alone.
    changes : iterable of str
        ``key=value`` or ``group.key=value``, applied last. Values are TOML;
        what is no TOML is taken as text.

    Raises
    ------
    ConfigError
        If the file is missing or malformed, or a setting is unknown or wrong.
    """
    settings: dict[str, Any] = {}
    if path is not None:
        try:
            # Editors may put a byte order mark before the text.
            settings = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not TOML: {error}") from None
    for change in changes:
        _apply(settings, change)
    return build_config(settings, "" if path is None else f"{path}: ")


def build_config(settings: Mapping[str, Any], where: str = "") -> Config:
    """Return validated settings, or raise `ConfigError` naming the first that is wrong."""
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "the settings"
        if first["type"] == "extra_forbidden":
            group = Config
            for part in first["loc"][:-1]:
                group = type(getattr(group(), str(part)))
            raise ConfigError(f"{where}there is no setting {name}; there are "
                              f"{', '.join(group.model_fields)}") from None
        text = first["msg"].removeprefix("Value error, ")
        text = text[:1].lower() + text[1:]
        shown = "" if isinstance(first["input"], Mapping) else f" (it is {first['input']!r})"
        raise ConfigError(f"{where}{name}: {text}{shown}") from None


def _apply(settings: dict[str, Any], change: str) -> None:
    """Put one ``group.key=value`` into nested settings."""
    name, equals, text = change.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--set {change!r} is not key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *groups, key = name.strip().split(".")
    for group in groups:
        settings = settings.setdefault(group, {})
        if not isinstance(settings, dict):
            raise ConfigError(f"--set {change!r}: {group} is no group of settings")
    settings[key] = value


def config_json(config: Config) -> str:
    """Return settings as JSON text that `build_config` takes back."""
    return json.dumps(config.model_dump(mode="json"), indent=1) + "\n"
