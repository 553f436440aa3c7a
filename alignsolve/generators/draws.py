"""Random numbers that are the same on every machine.

Everything random in a generated problem comes from the raw 64-bit words of
numpy's PCG64, seeded through `numpy.random.SeedSequence`. Of numpy's random
module only these two promise a fixed stream; the methods of
`numpy.random.Generator` (normal, dirichlet, even integers) may change between
versions and are not used.

Words become numbers by integer arithmetic alone. Where floats are unavoidable
the only operations are elementwise ``+ - * /``, which IEEE 754 rounds in one
way, and sums and products of whole numbers so small that every partial sum is
exact, in whatever order a BLAS or a SIMD unit takes them. No exp, log or pow:
their last bits differ between libraries of mathematics.

References
----------
R. Kern, "NEP 19: Random number generator policy", 2018,
https://numpy.org/neps/nep-0019-rng-policy.html

M. E. O'Neill, "PCG: A family of simple fast space-efficient statistically good
algorithms for random number generation", 2014, https://www.pcg-random.org
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from alignsolve.model.arrays import BoolArray, IntArray


def exact(value: float) -> Fraction:
    """Return the decimal number that a float is written as: 0.1 is 1/10."""
    return Fraction(repr(value))


def share_of(amount: IntArray, share: float) -> IntArray:
    """Return a share, a decimal number, of whole numbers, each rounded down."""
    fraction = exact(share)
    return amount * fraction.numerator // fraction.denominator


def zipf_weights(size: int, exponent: float) -> IntArray:
    """Return whole weights close to ``2**16 / rank**exponent``, int64 of shape (size,).

    Parameters
    ----------
    size : int
        Number of ranks, at most 2**16: the weights add up to at most 2**32.
    exponent : float
        A multiple of 0.5, >= 0: integer square roots then suffice.
    """
    power = int(2 * exponent)
    return np.array(
        [max(1, math.isqrt(2**32 // rank**power)) for rank in range(1, size + 1)], dtype=np.int64
    )


class Draws:
    """Named streams of reproducible random numbers.

    Parameters
    ----------
    seed : int
        Seed, >= 0.
    path : tuple of str
        Names that lead to this stream. Streams of other names are
        independent, so that one parameter of a family can change without
        every other draw changing.
    block : int, default 2**20
        Values drawn at a time. Even, so that blocks draw the same words as one
        call would.
    """

    def __init__(self, seed: int, path: tuple[str, ...] = (), block: int = 1 << 20) -> None:
        self._seed, self._path, self._block = seed, path, block
        key = tuple("/".join(path).encode())
        self._bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key))

    def stream(self, name: str) -> Draws:
        """Return the stream of a name below this one, from its start."""
        return Draws(self._seed, (*self._path, name), self._block)

    def skip(self, words: int) -> Draws:
        """Leave out the next words, an even number of them, in no time; return this stream."""
        self._bits.advance(words // 2)
        return self

    def words(self, count: int) -> npt.NDArray[np.uint32]:
        """Return `count` random 32-bit words; the low half of each 64-bit word comes first."""
        raw: npt.NDArray[np.uint64] = self._bits.random_raw((count + 1) // 2)
        return raw.astype("<u8", copy=False).view("<u4")[:count].astype(np.uint32, copy=False)

    def whole(
        self, low: int, high: int, shape: int | tuple[int, ...], dtype: npt.DTypeLike = np.int64
    ) -> npt.NDArray[Any]:
        """Return uniform whole numbers from `low` to `high`, both included.

        Parameters
        ----------
        low, high : int
            ``high - low`` below 2**32. Of the 2**32 words each value gets the
            same number to within one.
        shape : int or tuple of int
            Shape of the result.
        dtype : dtype, default int64
            Must hold the values exactly.
        """
        out, span = np.empty(shape, dtype=dtype), np.uint64(high - low + 1)
        for part in self._parts(out):
            part[:] = (self.words(part.size) * span) >> np.uint64(32)
            part += low
        return out

    def fractions(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return uniform multiples of 2**-24 (float32) or 2**-53 (float64) in [0, 1)."""
        out = np.empty(shape, dtype=dtype)
        single = out.dtype == np.float32
        for part in self._parts(out):
            if single:
                part[:] = self.words(part.size) >> 8
            else:
                part[:] = self._bits.random_raw(part.size) >> np.uint64(11)
            part *= 2.0**-24 if single else 2.0**-53
        return out

    def _parts(self, out: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
        """Yield views of a new array, a block of values each."""
        flat = out.reshape(-1)
        for start in range(0, flat.size, self._block):
            yield flat[start : start + self._block]

    def chance(self, share: float, shape: int | tuple[int, ...]) -> BoolArray:
        """Return independent events of probability `share`, rounded down to 2**-32."""
        threshold = math.floor(exact(share) * 2**32)
        words = self.words(math.prod(shape) if isinstance(shape, tuple) else shape)
        return (words.astype(np.uint64) < threshold).reshape(shape)

    def weighted(self, weights: Sequence[int] | IntArray, shape: int | tuple[int, ...]) -> IntArray:
        """Return indices drawn by whole `weights` that add up to at most 2**32, int64."""
        ends = np.cumsum(np.asarray(weights, dtype=np.int64))
        return np.searchsorted(ends, self.whole(0, int(ends[-1]) - 1, shape), side="right")

    def orders(self, rows: int, size: int) -> IntArray:
        """Return random orders of ``range(size)``, one per row, int64 (rows, size)."""
        return np.argsort(self.words(rows * size).reshape(rows, size), axis=1, kind="stable")

    def order(self, size: int) -> IntArray:
        """Return one random order of ``range(size)``, int64 of shape (size,)."""
        order: IntArray = self.orders(1, size)[0]
        return order

    def urn(self, rows: int, colours: int, alpha: float, balls: int) -> IntArray:
        """Return how often each colour comes from Polya's urn, int64 (rows, colours).

        The counts have exactly the Dirichlet-multinomial distribution with
        concentration `alpha` for each colour, without a gamma function.

        Parameters
        ----------
        rows : int
            Independent urns.
        colours : int
            Colours, each with weight `alpha` at first.
        alpha : float
            A multiple of 0.01, > 0. Small values concentrate on few colours.
        balls : int
            Draws from each urn; a drawn colour gains weight 1.

        References
        ----------
        D. Blackwell and J. B. MacQueen, "Ferguson distributions via Polya urn
        schemes", Annals of Statistics 1(2), 1973, doi:10.1214/aos/1176342372
        """
        start = int(exact(alpha) * 100)
        weights: IntArray = np.full((rows, colours), start, dtype=np.int64)
        for ball in range(balls):
            drawn = self.whole(0, start * colours + 100 * ball - 1, rows)
            colour = (np.cumsum(weights, axis=1) <= drawn[:, None]).sum(axis=1)
            weights[np.arange(rows), colour] += 100
        return (weights - start) // 100
