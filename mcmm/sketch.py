"""A sample's distribution in bounded memory: counts in log-spaced bins, the same in any order of merging.

A bin holds the numbers that agree in sign, exponent and the first `_BITS` bits of the mantissa, so its width
is at most 2^-10 of what it holds. Finding it takes no logarithm, only the number's own bits. Next to its
count a bin keeps the exact sum of how far its numbers lie beyond its edge, in whole multiples of 2^-32 of its
width. Counts and sums are integers: however a sample is cut and merged, the sketch is the same.

Numbers nearer to 0 than 2^-20 (a ten-thousandth of a cent) count as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mcmm._isa import core

__all__ = ["RELATIVE_ERROR", "Sketch"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_BITS = 10
RELATIVE_ERROR = 2.0**-_BITS
"""The most by which a quantile or a tail's mean of a sketch differs from the sample's, as a share of it."""

_SHIFT = 52 - _BITS
_SMALLEST = 2.0**-20
# The bin of the smallest number kept apart from 0 is number 1.
_BELOW = (int(np.float64(_SMALLEST).view(np.int64)) >> _SHIFT) - 1
_STEPS = 32


class Sketch(NamedTuple):
    """Counts of a sample by bin.

    Attributes
    ----------
    keys : ndarray of int64, shape (bins,)
        Ascending, as the numbers in the bins are: 0 for 0, k for the k-th bin above it, -k below.
    counts : ndarray of int64, shape (bins,)
        How many numbers, >= 1.
    beyond : ndarray of int64, shape (bins,)
        The sum of their distances from the bin's edge on the side of 0, in 2^-32 of its width.
    """

    keys: IntArray
    counts: IntArray
    beyond: IntArray

    @classmethod
    def of(cls, sample: npt.ArrayLike) -> Sketch:
        """Make the sketch of a sample.

        Parameters
        ----------
        sample : array_like of shape (n,)
            Finite numbers; NaN is left out.
        """
        values = np.ascontiguousarray(sample, dtype=np.float64)
        lowest, bins = core.sketch_counts(values, _SHIFT, _BELOW, _STEPS)
        found = np.flatnonzero(bins[:, 0])
        return cls(found + lowest, bins[found, 0], bins[found, 1])

    @classmethod
    def merge(cls, sketches: Sequence[Sketch]) -> Sketch:
        """Make the sketch of all their samples together; the order makes no difference."""
        if not sketches:
            nothing = np.zeros(0, dtype=np.int64)
            return cls(nothing, nothing, nothing)
        keys, counts, beyond = (np.concatenate(column) for column in zip(*sketches, strict=True))
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        starts = np.flatnonzero(np.diff(keys, prepend=keys[:1] - 1))
        if not keys.size:
            return cls(keys, counts, beyond)
        return cls(
            keys[starts], np.add.reduceat(counts[order], starts), np.add.reduceat(beyond[order], starts)
        )

    @property
    def size(self) -> int:
        """How many numbers the sample has."""
        return int(self.counts.sum())

    def bins(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return where the numbers of each bin begin and end, ascending, and their mean.

        Within a bin they are taken to be spread evenly around their mean, as far as the bin goes.
        """
        edge, width = _edges(self.keys)
        share = self.beyond / (self.counts * 2.0**_STEPS)
        near, far = np.maximum(0.0, 2.0 * share - 1.0), np.minimum(1.0, 2.0 * share)
        low, high, mean = (edge + width * part for part in (near, far, share))
        below = self.keys < 0
        return (
            np.where(below, 0.0 - high, low),
            np.where(below, 0.0 - low, high),
            np.where(below, 0.0 - mean, mean),
        )

    def quantiles(self, places: npt.ArrayLike) -> FloatArray:
        """Return the numbers at places of the sorted sample, 0 the smallest; between two, by interpolation.

        Parameters
        ----------
        places : array_like of shape (k,)
            0 to size - 1.

        Returns
        -------
        ndarray of shape (k,)
            Within `RELATIVE_ERROR` of the sample's.
        """
        wanted = np.asarray(places, dtype=np.float64)
        below = np.floor(wanted)
        low, high, _ = self.bins()
        ends = np.cumsum(self.counts)

        def at(place: FloatArray) -> FloatArray:
            found = np.minimum(np.searchsorted(ends, place, side="right"), len(ends) - 1)
            count = self.counts[found]
            within = (place - (ends[found] - count) + 0.5) / count
            return np.asarray(low[found] + (high[found] - low[found]) * within)

        left, right = at(below), at(np.minimum(below + 1.0, float(ends[-1] - 1)))
        return np.asarray(left + (wanted - below) * (right - left))

    def smallest(self, count: int) -> tuple[FloatArray, FloatArray]:
        """Return the ``count`` smallest numbers, summed up by bin.

        Returns
        -------
        tuple of ndarray
            The bins' means, ascending, and how many of the numbers lie in each, as floats.
        """
        low, high, mean = self.bins()
        taken = np.clip(count - (np.cumsum(self.counts) - self.counts), 0, self.counts)
        kept = taken > 0
        # Of the bin that is cut the lower part is taken.
        part = taken / self.counts
        cut = low + (high - low) * part / 2.0
        return np.where(part < 1.0, cut, mean)[kept], taken[kept].astype(np.float64)


def _edges(keys: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return each bin's edge on the side of 0, without its sign, and its width."""
    bits = (np.abs(keys) + _BELOW) << _SHIFT
    edge = np.where(keys == 0, 0.0, bits.view(np.float64))
    after = np.where(keys == 0, 0.0, (bits + (1 << _SHIFT)).view(np.float64))
    return edge, after - edge
