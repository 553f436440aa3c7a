"""A TOML file with every setting, its default, and what it means, to start from."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from typing import Any, get_args

from fedloop.config import Config
from fedloop.settings import Settings

#: An entry of a docstring's section "Attributes": names and the indented text below their type.
_ENTRY = re.compile(r"^(\w[\w, ]*) : .+\n((?:    .*\n|\n)*)", re.MULTILINE)


def template() -> str:
    """Return the text of a settings file that says what the defaults say, with comments.

    What it says of a setting is its class's docstring. `fedloop.config.read_config` reads it
    as `Config()`.
    """
    lines = ["# Settings of fedloop: all defaults. Delete what you do not change.",
             "# fedloop run THIS.toml; the command line overrides: --set local.steps=10", ""]
    groups = [(name, value) for name, value in Config() if isinstance(value, Settings)]
    lines += _entries(Config())
    for name, group in groups:
        lines += ["", f"# -- {_summary(group)}", f"[{name}]", *_entries(group)]
    return "\n".join(lines) + "\n"


def _summary(group: Settings) -> str:
    return _plain((inspect.getdoc(type(group)) or "").partition("\n")[0])


def _entries(group: Settings) -> list[str]:
    """Return a group's settings as lines, what explains several before the first of them."""
    lines: list[str] = []
    for names, text in _ENTRY.findall(_attributes(group)):
        listed = names.split(", ")
        if isinstance(getattr(group, listed[0]), Settings):
            continue
        about = f"{', '.join(listed)}: " if len(listed) > 1 else ""
        text = f"{about}{_plain(text)}{_choices(group, listed[0], text)}"
        lines += textwrap.wrap(text, 98, initial_indent="# ", subsequent_indent="# ")
        lines += [_setting(name, getattr(group, name)) for name in listed]
    return lines


def _attributes(group: Settings) -> str:
    """Return the section "Attributes" of a class's docstring."""
    text = inspect.getdoc(type(group)) or ""
    return re.split(r"\n\w+\n-+\n", text.partition("----------\n")[2] + "\n", maxsplit=1)[0] + "\n"


def _plain(text: str) -> str:
    """Return text without the marks of reStructuredText."""
    return re.sub(r"`+", "", re.sub(r" ?\[\d\]_", "", " ".join(text.split())))


def _choices(group: Settings, name: str, text: str) -> str:
    """Return the values that a setting may have, where they are few and not all explained."""
    values = get_args(type(group).model_fields[name].annotation)
    if not all(isinstance(value, str) for value in values) or all(v in text for v in values):
        return ""
    return f" One of {', '.join(values)}."


def _setting(name: str, value: Any) -> str:
    """Return a line of TOML; without a default, one that is commented out."""
    if value is None:
        return f"# {name} ="
    if isinstance(value, dict):
        assert not value, "a table of settings by default"
        return f"{name} = {{}}"
    return f"{name} = {json.dumps(value)}"
