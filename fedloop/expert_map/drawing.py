"""Drawings of shapes: which axis of a tensor counts the experts of a layer, and how.

A drawing names the axes of a tensor, one word each:

=============  ====================================================================
``E``          one entry per expert: the experts are stacked on this axis
``(E r)``      blocks: the r entries of expert 0, then those of expert 1, ...
``(r E)``      interleaved: entry 0 of every expert, then entry 1 of every expert, ...
``F``, ``2F``  another size, or a multiple; the same capital is the same size in a layer
``r``          a size that nothing else must agree with
``...``        any further axes; only at the end
=============  ====================================================================

So ``"E 2F H"`` is a stack of matrices, and ``"O (r E)"`` a matrix with columns that
take turns. A drawing without ``E`` is a tensor of one expert, or one that all share.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from fedloop.errors import ExpertMapError

#: How experts lie in a tensor: it belongs to one, to all, or has slices along an axis.
Layout = Literal["each", "stacked", "blocks", "interleaved", "shared"]

_WORD = re.compile(r"\((?:E [a-z]|[a-z] E)\)|\.\.\.|[1-9]?\d*[A-Za-z]")


@dataclass(frozen=True)
class Drawing:
    """A shape in words; see the module.

    Raises
    ------
    ExpertMapError
        From the properties, if the text is no drawing.
    """

    text: str

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Return one word per axis, and perhaps ``...``."""
        words = tuple(_WORD.findall(self.text))
        if " ".join(words) != self.text or "..." in words[:-1]:
            raise ExpertMapError(f"{self.text!r} is no shape: write axes such as 'E F H', "
                                 "'(E r) H', 'O (r E)' or 'E ...'")
        if sum("E" in word for word in words) > 1:
            raise ExpertMapError(f"{self.text!r} counts the experts on two axes")
        return words

    @cached_property
    def axis(self) -> int | None:
        """Return the axis that counts experts; None where there is none."""
        return next((at for at, word in enumerate(self.words) if "E" in word), None)

    @cached_property
    def layout(self) -> Layout | None:
        """Return how the experts lie on it; None where no axis counts them."""
        if self.axis is None:
            return None
        word = self.words[self.axis]
        return "stacked" if word == "E" else "blocks" if word.startswith("(E") else "interleaved"

    def fits(self, shape: tuple[int, ...], sizes: dict[str, int]) -> bool:
        """Compare with a shape; enter capitals that are new into `sizes`, which has ``E``."""
        words = self.words
        if words[-1:] == ("...",):
            words, shape = words[:-1], shape[:len(words) - 1]
        return len(words) == len(shape) and all(
            self._axis_fits(word, size, sizes) for word, size in zip(words, shape, strict=True))

    @staticmethod
    def _axis_fits(word: str, size: int, sizes: dict[str, int]) -> bool:
        if word.startswith("("):
            return size > 0 and size % sizes["E"] == 0
        factor, symbol = int(word[:-1] or 1), word[-1]
        if symbol.islower():
            return size % factor == 0
        return size == factor * sizes.setdefault(symbol, size // factor)

    def in_numbers(self, sizes: Mapping[str, int]) -> str:
        """Return the drawing and the sizes it would need, for messages."""
        needed = [f"{name} = {size}" for name, size in sizes.items() if name in self.text]
        return f"'{self.text}'" + (f" with {', '.join(needed)}" if needed else "")
