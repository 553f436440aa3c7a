"""Which files a bench reads, and what is known of their optima."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignsolve.bench.records import Instance, Reference, finite
from alignsolve.errors import ProblemError
from alignsolve.io.companions import is_companion, three_paths
from alignsolve.io.optima import NAME as OPTIMA
from alignsolve.io.optima import Optimum, find_optima
from alignsolve.io.sets import SUFFIX
from alignsolve.io.specs import Spec, read_spec

#: What a folder of instances also holds; a file named outright is read all the same.
_OTHER_SUFFIXES = frozenset({".md", ".rst", ".py", ".svg", ".png", ".pdf", ".html", ".log", SUFFIX})
_OTHER_NAMES = frozenset({OPTIMA, "LICENSE", "LICENSE.txt", "README.txt", "README"})


@dataclass(frozen=True)
class Source:
    """A file that may hold instances.

    Attributes
    ----------
    name : str
        Path below the folder given, with forward slashes; with the folder's
        own name where several were given.
    path : Path
        Where it is.
    """

    name: str
    path: Path


def find_sources(paths: Sequence[Path], out: Path) -> list[Source]:
    """List the files to read, sorted by name.

    Parameters
    ----------
    paths : sequence of Path
        Folders, searched recursively, and files.
    out : Path
        The bench's own output folder, which is not searched.

    Returns
    -------
    sources : list of Source
        Distinct files.

    Raises
    ------
    ProblemError
        If a path does not exist, or there is no file at all.
    """
    found: dict[Path, Source] = {}
    for given in paths:
        if given.is_dir():
            files = [path for path in sorted(given.rglob("*")) if _is_candidate(path, given, out)]
            # Of several folders, each name begins with its folder's.
            folder = "" if len(paths) == 1 else f"{given.resolve().name}/"
            names = [folder + path.relative_to(given).as_posix() for path in files]
        elif given.exists():
            files, names = [given], [given.name]
        else:
            raise ProblemError(f"{given}: no such file or folder; give instances or folders")
        for path, name in zip(files, names, strict=True):
            found.setdefault(path.resolve(), Source(name, path.absolute()))
    if not found:
        listed = ", ".join(str(path) for path in paths)
        raise ProblemError(f"no instance files under {listed or 'an empty list of paths'}")
    return sorted(_distinct([*found.values()]), key=lambda source: source.name)


def _is_candidate(path: Path, root: Path, out: Path) -> bool:
    """Return whether a file in a folder may hold instances."""
    parts = path.relative_to(root).parts
    return (
        path.is_file()
        and not any(part.startswith((".", "__")) for part in parts)
        and path.suffix.lower() not in _OTHER_SUFFIXES
        and path.name not in _OTHER_NAMES
        and not is_companion(path)
        and not path.resolve().is_relative_to(out.resolve())
    )


def _distinct(sources: list[Source]) -> list[Source]:
    """Return the sources with names that differ: with more parent folders, where they clash."""
    counts = Counter(source.name for source in sources)
    if max(counts.values()) == 1:
        return sources
    return _distinct([
        source if counts[source.name] == 1
        else Source("/".join(source.path.parts[-source.name.count("/") - 2 :]), source.path)
        for source in sources
    ])


def file_digest(path: Path) -> str:
    """Return a digest of what a file makes: problems, not what is known of their optima.

    Raises
    ------
    OSError
        If the file cannot be read.
    ProblemError
        If a spec, or the list of optima that names the file, is malformed.
    """
    spec = _spec(path)
    if spec is not None and spec.digest is not None:
        # The same problem, but what runs on it reads it in another way.
        return spec.digest + (" streamed" if spec.streamed else "")
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256")
    for beside in three_paths(path)[1:]:
        if beside.exists():
            content.update(beside.read_bytes())
    for problem, optimum in sorted(find_optima(path).items()):
        # The list may say in which sense the file is read.
        content.update(f"{problem} {optimum.sense}".encode())
    return f"sha256:{content.hexdigest()}"


def instances_of(source: Source, digest: str, description: Mapping[str, Any]) -> list[Instance]:
    """Return the instances of a file, from what a worker told about it.

    Parameters
    ----------
    source : Source
        The file.
    digest : str
        Its digest.
    description : mapping
        ``problems``: see `alignsolve.bench.worker.Server.open`.
    """
    problems: list[dict[str, Any]] = description["problems"]
    several = len(problems) > 1
    optima, spec = find_optima(source.path), _spec(source.path)
    return [
        Instance(
            name=f"{source.name}#{number}" if several else source.name,
            path=source.path,
            index=number - 1,
            digest=f"{digest}#{number}",
            reference=_reference(optima.get(number) or spec),
            **problem | {"features": tuple(problem["features"])},
        )
        for number, problem in enumerate(problems, start=1)
    ]


def _spec(path: Path) -> Spec | None:
    """Return the spec in a file, or None where it is another kind of file."""
    return read_spec(path) if path.suffix == ".toml" else None


def _reference(known: Optimum | Spec | None) -> Reference:
    """Return what a list of optima or a spec says.

    A proved value is its own bound; proved without a value means infeasible.
    """
    if known is None:
        return Reference()
    best = finite(known.best_known)
    if known.proved:
        return Reference(best, best, infeasible=best is None)
    return Reference(best, finite(known.best_bound))
