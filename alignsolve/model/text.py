"""Numbers, counts and lists of names in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from alignsolve.model.arrays import IntArray

#: Longer lists of names are shortened to `SHOWN` names "and 12 more".
LISTED, SHOWN = 5, 3


def number(value: float) -> str:
    """Spell a number with thousands separators and without needless digits."""
    return f"{0 + value:,.12g}"  # adding 0 turns -0.0 into 0.0


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that `word` may stand for, or all of them, to end an error."""
    import difflib  # for errors alone

    words = list(known)
    near = difflib.get_close_matches(word, words, 1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(words)}"


def counted(count: float, word: str) -> str:
    """Return a count with its noun, as in "1 client" or "40 clients"."""
    return f"{number(count)} {word}{'' if count == 1 else 's'}"


def listing(parts: list[str]) -> str:
    """Join as in "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def names(word: str, name: Callable[[int], str], index: IntArray) -> str:
    """Name clients, experts or groups, as in "experts 3, 4, 5 and 12 more"."""
    shown = index.tolist()
    more = len(shown) - SHOWN if len(shown) > LISTED else 0
    parts = [name(at).removeprefix(f"{word} ") for at in (shown[:SHOWN] if more else shown)]
    if more:
        parts.append(f"{more:,} more")
    return f"{word}{'s' if len(shown) > 1 else ''} {listing(parts)}"


def one_line(text: object, limit: int = 60) -> str:
    """Return untrusted text quoted on one line, cut to `limit` characters."""
    shown = str(text)
    return repr(shown if len(shown) <= limit else shown[: limit - 3] + "...")
