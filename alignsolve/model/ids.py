"""Ids of clients and experts: distinct texts that nobody takes for one another.

Two clients called "anna" and "anna " would have slots each, and nobody would see why. So
an id has no white space at its ends and nothing invisible, and no two ids have the same look.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.errors import ProblemError
from alignsolve.model.foreign import refuse_mask

#: White space that may stand inside an id: people see that it is there.
_SPACES = " \t\n\r\u3000"

#: Categories of characters that show nothing, or what a plain space shows.
_UNSEEN = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})

#: Characters of other categories that show nothing: those that Unicode calls ignorable by
#: default (fillers, variation selectors), and the blank of Braille.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f"
                    "\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]")

#: Longest id that an error shows as a whole; of a longer one it shows both ends.
_SHOWN = 60


def identifiers(
    name: str, value: Sequence[object] | npt.NDArray[Any] | None, length: int
) -> tuple[str, ...] | None:
    """Return ids as a tuple of distinct strings of the wanted length, or None.

    Raises
    ------
    ProblemError
        If they are no sequence of that length, one is missing (None, NaN), empty or has
        white space at an end or anything invisible, or two look alike.
    """
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if value is None:
        return None
    refuse_mask(name, value)
    if isinstance(value, str):
        raise ProblemError(f"{name} is one string; give a sequence of {length} ids")
    if not isinstance(value, Iterable):
        raise ProblemError(f"{name} is {type(value).__name__}; give a sequence of {length} ids")
    if type(value) is np.ndarray and value.dtype.kind in "iuU":
        value = value.tolist()  # faster than one by one
    entries: Sequence[Any] = value if isinstance(value, (list, tuple)) else list(value)
    kinds = set(map(type, entries))
    if not kinds <= {str, int}:
        for position, entry in enumerate(entries):
            if _missing(entry):
                shown = " ".join(str(entry).split())[:_SHOWN]
                raise ProblemError(f"{name}[{position}] is {shown}; give a string or a whole "
                                   f"number")
    ids = tuple(entries if kinds == {str} else map(str, entries))
    if len(ids) != length:
        raise ProblemError(f"{name} has {len(ids)} entries; give {length}")
    if (found := first_fault(ids)) is not None:
        position, words = found
        raise ProblemError(f"{name}[{position}] {words}")
    return ids


def _missing(entry: Any) -> bool:
    """Tell whether an entry is None, NaN or another sign that there is no value."""
    if entry is None or entry is np.ma.masked:
        return True
    try:
        return bool(entry != entry)
    except (TypeError, ValueError):  # pandas' NA, arrays
        return True


def first_fault(ids: Sequence[str]) -> tuple[int, str] | None:
    """Return the position of the first id that is refused among others, and why; or None.

    The words go on from what the id is an id of, as in "client_ids[1] repeats 'a'; ...".
    """
    joined = f" {' '.join(ids)} "
    # Most lists are done with here, in little more time than it takes to make the set. Two
    # spaces in turn are an empty id, one at an end, or inside an id.
    if (joined.isprintable() and len(set(ids)) == len(ids)
            and ("  " not in joined or all(text and text == text.strip() for text in ids))
            and (joined.isascii() or (unicodedata.is_normalized("NFKC", joined)
                                      and not _BLANK.search(joined)))):
        return None
    seen: dict[str, str] = {}
    for position, text in enumerate(ids):
        shape, fault = look(text), id_fault(text)
        if shape in seen:
            return position, id_fault(text, seen[shape])
        if fault:
            others = (other for other in ids if other != text and look(other) == shape)
            return position, id_fault(text, next(others, None))
        seen[shape] = text
    return None


def id_fault(text: str, other: str | None = None) -> str:
    """Return why an id is refused, or "" where it is not.

    Parameters
    ----------
    text : str
        The id.
    other : str, optional
        Another id that looks the same, or is.
    """
    unseen = "" if _all_seen(text) else next(filter(_is_unseen, text), "")
    also = "" if other in (None, text) else f" and looks like {escaped(str(other))}"
    if not text:
        return "'' is empty; give a string or a whole number"
    if unseen:
        return f"{escaped(text)} holds the invisible U+{ord(unseen):04X}{also}; leave it out"
    if text != text.strip():
        return f"{escaped(text)} has white space at an end{also}; leave it out"
    if other == text:
        return f"repeats {escaped(text)}; ids must be distinct"
    if other is not None:
        return f"{escaped(text)} looks like {escaped(other)}: they differ only by Unicode " \
               f"normalisation or in white space; write each id in one way"
    return ""


def look(text: str) -> str:
    """Return what people see of an id: equal for ids that look alike."""
    if text.isascii() and text.isprintable():
        return text.strip()
    if not _all_seen(text):
        text = "".join(" " if character.isspace() else "" if _is_unseen(character) else character
                       for character in text)
    return unicodedata.normalize("NFKC", text).strip()


def alike(text: str, known: Iterable[str]) -> str:
    """Return which known id a text looks like, to end the error that refuses it; "" for none."""
    shape = look(text)
    other = next((name for name in known if look(name) == shape and name != text), None)
    return "" if other is None else f"; {escaped(text)} looks like {escaped(other)}: write it so"


def escaped(text: str) -> str:
    """Return an id quoted, in ASCII and not too long."""
    half = _SHOWN // 2
    return ascii(text if len(text) <= _SHOWN else f"{text[:half - 2]}...{text[1 - half:]}")


def _all_seen(text: str) -> bool:
    return text.isprintable() and (text.isascii() or not _BLANK.search(text))


def _is_unseen(character: str) -> bool:
    return character not in _SPACES and (
        unicodedata.category(character) in _UNSEEN or _BLANK.match(character) is not None
    )
