"""Where the packages can be mutated, by the operators of cosmic-ray, and a sample of it."""

from __future__ import annotations

import ast
import itertools
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

#: What needs an engine that `make test` has not, or is compiled; see `mutants.patches`.
LEFT_OUT = ("fedloop/flower/", "alignsolve/distributed/", "alignsolve/bench/profile.py",
            "alignsolve/plot/")

#: Nodes that say nothing at run time, or only how things are printed and declared.
SILENT = {"decorator", "tfpdef", "annassign", "import_from", "import_name"}


@dataclass(frozen=True)
class Mutation:
    """One change of a module: an operator, and which of its places.

    `first_line` is where its statement starts; None where that runs on import.
    """

    path: str
    line: int
    column: int
    first_line: int | None
    operator: str
    occurrence: int

    def applied(self, source: str) -> str:
        """Return the module with this change."""
        changed = mutate_code(source, get_operator(self.operator)(), self.occurrence)
        assert changed is not None
        return str(changed)


def plain_modules(root: Path) -> list[str]:
    """Return the modules without compiled kernels."""
    every = (path for name in ("alignsolve", "fedloop") for path in (root / name).rglob("*.py"))
    names = sorted(str(path.relative_to(root)) for path in every if not _has_kernels(path))
    return [name for name in names if not name.startswith(LEFT_OUT)]


def _has_kernels(path: Path) -> bool:
    text = path.read_text()
    return "@kernel" in text


def _ancestors(node: Any) -> list[Any]:
    found = []
    while node.parent is not None:
        node = node.parent
        found.append(node)
    return found


def _is_silent(node: Any) -> bool:
    """Tell whether a node is part of an annotation, a decorator, an import, or a log line."""
    child = node
    for parent in _ancestors(node):
        if parent.type in SILENT and not (parent.type == "annassign" and "=" in parent.children
                                          and child is parent.children[-1]):
            return True
        if parent.type == "funcdef" and child is parent.annotation:
            return True
        if parent.type == "if_stmt" and "TYPE_CHECKING" in parent.children[1].get_code():
            return True
        child = parent
    return False


def _first_line(node: Any) -> int | None:
    """Return where the statement of a node starts; None where it runs on import."""
    parents = [node, *_ancestors(node)]
    if not any(parent.type in ("funcdef", "lambdef") for parent in parents):
        return None
    own = (parent for parent in parents if parent.type == "simple_stmt")
    return int(next(own, node).start_pos[0])


def _alike() -> dict[str, list[str]]:
    """Return the operators, those of binary operations by what they replace: same places."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in operator_names():
        if not get_operator(name).arguments():
            found[name.rpartition("_")[0] if "Binary" in name else name].append(name)
    return found


def sites(path: str, source: str) -> list[list[Mutation]]:
    """Return the mutations of a module, by place and kind."""
    nodes = list(ast_nodes(get_ast(source)))
    silent = {id(node): _is_silent(node) for node in nodes}
    found: dict[tuple[int, int, str], list[Mutation]] = defaultdict(list)
    for names in _alike().values():
        operator, kind = get_operator(names[0])(), names[0].partition("_")[0]
        places = ((node, at[0]) for node in nodes for at in operator.mutation_positions(node))
        for occurrence, (node, (line, column)) in enumerate(places):
            if not silent[id(node)]:
                found[line, column, kind] += [
                    Mutation(path, line, column, _first_line(node), name, occurrence)
                    for name in names
                ]
    return list(found.values())


def sample(root: Path, number: int, seed: int, only: str = "") -> list[Mutation]:
    """Draw mutations: all places alike, and at each one of its operators."""
    draw, every = random.Random(seed), []
    sources = {path: (root / path).read_text() for path in plain_modules(root) if only in path}
    for path, source in sources.items():
        every += sites(path, source)
    draw.shuffle(every)
    drawn = (draw.choice(options) for options in every)
    sound = (mutation for mutation in drawn if _is_python(mutation.applied(sources[mutation.path])))
    return list(itertools.islice(sound, number))


def _is_python(text: str) -> bool:
    """Tell whether a text can be parsed; the star before named parameters is no product."""
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True
