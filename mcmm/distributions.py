"""A sample's distribution as a report draws it: a histogram of round bins and quantiles at fixed levels."""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mcmm.sketch import Sketch

__all__ = ["DISTRIBUTION_METRICS", "LEVELS", "Distribution", "pack_sample"]

FloatArray = npt.NDArray[np.float64]

DISTRIBUTION_METRICS = ("pnl_settled", "pnl_fair", "max_drawdown")
"""Metrics whose whole distribution a sweep keeps."""
LEVELS = (
    0.0, 0.001, 0.002, 0.005, *(percent / 100 for percent in range(1, 100)), 0.995, 0.998, 0.999, 1.0,
)  # fmt: skip
"""Probabilities at which cumulative curves are drawn: every percent, and finer in the tails."""
_FEWEST_BINS, _MOST_BINS = 12, 100


class Distribution(NamedTuple):
    """A sample's histogram and quantiles.

    Attributes
    ----------
    start, width : float
        The first bin's left edge, and every bin's width: 1, 2 or 5 times a power of ten.
    counts : ndarray of shape (bins,)
        Values in each bin, which holds its left edge. Of a `Sketch` they need not be whole.
    quantiles : ndarray of shape (levels,)
        The smallest value that a share of at least `LEVELS` of the sample does not exceed.
    """

    start: float
    width: float
    counts: FloatArray
    quantiles: FloatArray

    @classmethod
    def of(cls, tail: FloatArray | Sketch) -> Distribution:
        """Make it of a sorted sample, or of a sketch; of one finite number at least."""
        return cls.of_sketch(tail) if isinstance(tail, Sketch) else cls.of_sample(tail)

    @classmethod
    def of_sample(cls, ordered: FloatArray) -> Distribution:
        """Make it of a sorted sample of at least one finite number."""
        return cls.unpack(pack_sample(ordered))

    @classmethod
    def of_sketch(cls, sketch: Sketch) -> Distribution:
        """Make it of a sketch of at least one number, each of its bins spread evenly over its width."""
        count = sketch.size
        quantiles = sketch.quantiles(_ranks(count))
        start, width, edges = _edges(float(quantiles[0]), float(quantiles[-1]), count)
        low, high, _ = sketch.bins()
        before = np.concatenate([[0], np.cumsum(sketch.counts)]).astype(np.float64)
        place = np.searchsorted(high, edges, side="left")
        inner = np.minimum(place, len(low) - 1)
        span = high[inner] - low[inner]
        share = np.clip((edges - low[inner]) / np.where(span > 0.0, span, 1.0), 0.0, 1.0)
        part = np.where((place < len(low)) & (span > 0.0), share * sketch.counts[inner], 0.0)
        below = before[place] + part
        # The first number's bin may begin before the first edge, the last one's end after the last.
        below[0], below[-1] = 0.0, float(count)
        return cls(start, width, np.diff(below), quantiles)

    def pack(self) -> FloatArray:
        """Return it as one array: start, width, quantiles, counts."""
        return np.concatenate([[self.start, self.width], self.quantiles, self.counts])

    @classmethod
    def unpack(cls, packed: FloatArray) -> Distribution:
        """Undo `pack`."""
        split = 2 + len(LEVELS)
        return cls(float(packed[0]), float(packed[1]), packed[split:], packed[2:split])


def pack_sample(ordered: FloatArray) -> FloatArray:
    """Return `Distribution.pack` of a sorted sample of at least one finite number."""
    count = len(ordered)
    start, width, edges = _edges(float(ordered[0]), float(ordered[-1]), count)
    split = 2 + len(LEVELS)
    packed = np.empty(split + len(edges) - 1)
    packed[0], packed[1] = start, width
    packed[2:split] = ordered[_ranks(count)]
    below = ordered.searchsorted(edges, side="left")
    packed[split:] = below[1:] - below[:-1]
    return packed


@lru_cache(maxsize=64)
def _ranks(count: int) -> npt.NDArray[np.int64]:
    """Return the places of the quantiles in a sorted sample: that of level q is ceil(n q) - 1."""
    places = np.ceil(np.array(LEVELS) * count - 1e-9).astype(np.int64) - 1
    clipped: npt.NDArray[np.int64] = np.clip(places, 0, count - 1)
    clipped.flags.writeable = False  # it is handed out again
    return clipped


def _edges(low: float, high: float, count: int) -> tuple[float, float, FloatArray]:
    """Return the first edge, the width, and where each bin begins and the last one ends."""
    bins = _most_bins(count)
    width = _round_width((high - low) / (bins - 1)) if high > low else _round_width(max(abs(low), 1.0) / 50)
    # A value that stands on an edge but for its last bits belongs to the bin that starts there.
    first, last = math.floor(low / width + 1e-9), math.floor(high / width + 1e-9)
    return _grid(first, last, width)


@lru_cache(maxsize=64)
def _most_bins(count: int) -> int:
    """Return some more than Rice's rule, 2 n^(1/3): a binary outcome gives two humps and long tails."""
    return min(_MOST_BINS, max(_FEWEST_BINS, math.ceil(3.0 * math.pow(count, 1 / 3))))


@lru_cache(maxsize=1024)  # the points of a study mostly have much the same range
def _grid(first: int, last: int, width: float) -> tuple[float, float, FloatArray]:
    edges = (np.arange(first, last + 2, dtype=np.float64) - 1e-9) * width
    edges.flags.writeable = False  # it is handed out again
    return float(f"{first * width:.12g}"), width, edges


def _round_width(about: float) -> float:
    """Round to the nearest of 1, 2, 5 and 10 times a power of ten, by ratio."""
    exponent = math.floor(math.log10(about))
    ratio = about / 10.0**exponent
    return _width(_STEPS[bisect_right(_BETWEEN, ratio * ratio)], exponent)


_STEPS = (1, 2, 5, 10)
_BETWEEN = [one * other for one, other in pairwise(_STEPS)]


@lru_cache(maxsize=256)
def _width(factor: int, exponent: int) -> float:
    return float(f"{factor * 10.0**exponent:.6g}")
