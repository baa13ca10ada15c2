"""Quantiles and tails of a sweep's points, of many samples in one pass."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mcmm.columns import percent_label
from mcmm.distributions import DISTRIBUTION_METRICS, Distribution, pack_sample
from mcmm.sketch import Sketch
from mcmm.statistics import (
    MONEY_METRICS,
    QUANTILES,
    TAIL_LEVELS,
    ordered_quantiles,
    rank,
    shortfall,
    shortfalls,
    tail_size,
)

__all__ = ["QUANTILE_NAMES", "TAIL_NAMES", "Tail", "TailTable", "fill_tails"]

FloatArray = npt.NDArray[np.float64]
Tail = FloatArray | Sketch
"""A metric's values at a point, or their sketch."""
Distributions = dict[str, Distribution]

QUANTILE_NAMES: tuple[str, ...] = tuple(f"p{percent_label(share)}" for share in QUANTILES)
"""Of the quantiles in a summary."""
TAIL_NAMES: tuple[str, ...] = (
    *(f"value_at_risk_{percent_label(level)}" for level in TAIL_LEVELS),
    *(
        f"expected_shortfall_{percent_label(level)}{suffix}"
        for level in TAIL_LEVELS
        for suffix in ("", "_standard_error")
    ),
)
"""Of the tails that follow the quantiles of money."""
_QUANTILE_PLACES = np.arange(len(QUANTILES))
_TAIL_PLACES = len(QUANTILES) + np.arange(len(TAIL_NAMES))
# Numbers that are sorted together: what fits a processor's cache.
_TOGETHER = 65_536


def fill_tails(
    table: FloatArray, points: Sequence[Mapping[str, Tail]], starts: Mapping[str, int]
) -> list[Distributions]:
    """Put quantiles and tails in rows of a summary.

    Parameters
    ----------
    table : ndarray of shape (points, columns)
        The rows.
    points : sequence of dict of str to (ndarray or Sketch)
        Each point's values or sketches, by metric.
    starts : dict of str to int
        The column of each metric's first quantile; its other quantiles follow, of money its tails too.

    Returns
    -------
    list of dict of str to Distribution
        The distributions of each point that `DISTRIBUTION_METRICS` asks for.
    """
    distributions: list[Distributions] = [{} for _ in points]
    # Samples of one length without NaN, which nearly all are, take one pass.
    samples: dict[int, list[tuple[int, str, FloatArray]]] = {}
    for row, tails in enumerate(points):
        for name in starts:
            tail = tails[name]
            if isinstance(tail, Sketch):
                _fill_sketch(table[row], starts[name], name, tail, distributions[row])
            else:
                samples.setdefault(len(tail), []).append((row, name, tail))
    for count, group in samples.items():
        size = max(_TOGETHER // max(count, 1), 1)
        for begin in range(0, len(group), size):
            _fill_samples(table, group[begin : begin + size], starts, distributions)
    return distributions


class TailTable:
    """Quantiles and tails of points of as many paths each: what `fill_tails` does, in a pass over many.

    Parameters
    ----------
    starts : dict of str to int
        As for `fill_tails`.
    points, paths : int
        How many points, and paths of each; one or more.

    Attributes
    ----------
    distributions : list of dict of str to ndarray
        Of each point so far, as `Distribution.pack` has them.
    """

    def __init__(self, starts: Mapping[str, int], points: int, paths: int) -> None:
        self.distributions: list[dict[str, FloatArray]] = []
        self._starts = starts
        self._paths = paths
        self._money = [place for place, name in enumerate(starts) if _is_money(name)]
        self._drawn = [(place, name) for place, name in enumerate(starts) if name in DISTRIBUTION_METRICS]
        # Of a sorted sample the two numbers around each quantile, and of money the worst.
        self._ranks = [rank(paths - 1, share) for share in QUANTILES]
        around = [(below, min(below + 1, paths - 1)) for below, _ in self._ranks]
        self._around = np.array(around, dtype=np.intp).T
        self._deepest = max(tail_size(paths, level)[0] for level in TAIL_LEVELS) + 1
        self._ends = np.empty((points, len(starts), 2, len(QUANTILES)))
        self._worst = np.empty((points, len(self._money), self._deepest))
        self._gaps: list[tuple[int, dict[str, Tail]]] = []

    @property
    def together(self) -> int:
        """How many points should be added in one go, so that their samples fit a processor's cache."""
        return max(_TOGETHER // (len(self._starts) * self._paths), 1)

    def add(self, samples: FloatArray) -> None:
        """Take the samples of the next points, shape (points, metrics, paths), which are sorted in place."""
        begin = len(self.distributions)
        # Zeros lose their sign: which of two equal values comes first is the sorting algorithm's choice.
        samples += 0.0
        samples.sort(axis=-1)
        self._ends[begin : begin + len(samples)] = samples[:, :, self._around]
        self._worst[begin : begin + len(samples)] = samples[:, self._money, : self._deepest]
        gaps: list[bool] = np.asarray(np.isnan(samples[..., -1]).any(axis=1)).tolist()  # NaN is sorted last
        for ordered, gap in zip(samples, gaps, strict=True):
            if gap:
                tails: dict[str, Tail] = dict(zip(self._starts, ordered.copy(), strict=True))
                self._gaps.append((len(self.distributions), tails))
            self.distributions.append(
                {} if gap else {name: pack_sample(ordered[place]) for place, name in self._drawn}
            )

    def fill(self, table: FloatArray) -> None:
        """Put the quantiles and tails of all points in their rows of a summary, shape (points, columns)."""
        columns = np.array([[start] for start in self._starts.values()], dtype=np.intp)
        low, high = self._ends[:, :, 0], self._ends[:, :, 1]
        weights = np.array([weight for _, weight in self._ranks])
        table[:, columns + _QUANTILE_PLACES] = np.where(weights > 0.0, low + weights * (high - low), low)
        if self._money:
            worst = self._worst.reshape(-1, self._deepest)
            tails = _ordered_shortfalls(worst, self._paths).reshape(*self._worst.shape[:2], len(TAIL_NAMES))
            table[:, columns[self._money] + _TAIL_PLACES] = tails
        for row, gap in self._gaps:
            (found,) = fill_tails(table[row : row + 1], [gap], self._starts)
            self.distributions[row] = {name: distribution.pack() for name, distribution in found.items()}


def _fill_sketch(
    columns: FloatArray, start: int, name: str, sketch: Sketch, distributions: Distributions
) -> None:
    """Put a sketch's quantiles and tails in a point's row."""
    found = _sketch_quantiles(sketch)
    found += _sketch_shortfalls(sketch) if _is_money(name) else []
    columns[start : start + len(found)] = found
    if name in DISTRIBUTION_METRICS and sketch.size:
        distributions[name] = Distribution.of(sketch)


def _fill_samples(
    table: FloatArray,
    group: Sequence[tuple[int, str, FloatArray]],
    starts: Mapping[str, int],
    distributions: list[Distributions],
) -> None:
    """Put quantiles and tails of samples of one length in the points' rows."""
    # Zeros lose their sign: which of two equal values comes first is the sorting algorithm's choice.
    ordered = np.stack([sample for *_, sample in group]) + 0.0
    ordered.sort(axis=-1)
    if np.isnan(ordered[:, -1]).any():  # NaN is sorted last
        for (row, name, _), sample in zip(group, ordered, strict=True):
            whole = sample[: np.searchsorted(sample, np.nan)]
            _fill_ordered(table, [(row, name)], whole[np.newaxis], starts, distributions)
        return
    _fill_ordered(table, [(row, name) for row, name, _ in group], ordered, starts, distributions)


def _fill_ordered(
    table: FloatArray,
    places: Sequence[tuple[int, str]],
    ordered: FloatArray,
    starts: Mapping[str, int],
    distributions: list[Distributions],
) -> None:
    """Put quantiles and tails of sorted samples, shape (samples, n), in the points' rows."""
    rows = np.array([[row] for row, _ in places])
    columns = np.array([[starts[name]] for _, name in places])
    table[rows, columns + _QUANTILE_PLACES] = ordered_quantiles(ordered, QUANTILES)
    money = [place for place, (_, name) in enumerate(places) if _is_money(name)]
    if money:
        table[rows[money], columns[money] + _TAIL_PLACES] = _ordered_shortfalls(
            ordered[money], ordered.shape[-1]
        )
    for (row, name), sample in zip(places, ordered, strict=True):
        if name in DISTRIBUTION_METRICS and sample.size:
            distributions[row][name] = Distribution.of(sample)


def _is_money(name: str) -> bool:
    return name.rpartition(".")[2] in MONEY_METRICS


def _ordered_shortfalls(ordered: FloatArray, count: int) -> FloatArray:
    """Return value at risk at each level, then expected shortfall and its error at each, a row a sample.

    ``ordered`` has the smallest of ``count`` values each, as many as the tails take.
    """
    if not count:
        return np.full((len(ordered), len(TAIL_NAMES)), np.nan)
    risks: list[FloatArray] = []
    found: list[FloatArray] = []
    for level in TAIL_LEVELS:
        whole, _ = tail_size(count, level)
        boundary = ordered[:, whole]
        risks.append(0.0 - boundary)
        found += shortfalls(boundary, boundary[:, np.newaxis] - ordered[:, :whole], count, level)
    return np.stack([*risks, *found], axis=-1)


def _sketch_quantiles(sketch: Sketch) -> list[float]:
    """Return the quantiles of `QUANTILES`."""
    if not sketch.size:
        return [math.nan] * len(QUANTILES)
    return list(sketch.quantiles([sum(rank(sketch.size - 1, share)) for share in QUANTILES]).tolist())


def _sketch_shortfalls(sketch: Sketch) -> list[float]:
    """Return what `_ordered_shortfalls` does, of a sketch."""
    count = sketch.size
    if not count:
        return [math.nan] * len(TAIL_NAMES)
    risks, found = [], []
    for level in TAIL_LEVELS:
        whole, _ = tail_size(count, level)
        boundary = float(sketch.quantiles([whole])[0])
        worst, weights = sketch.smallest(whole)
        # The boundary may be a bin's middle and the worst the same bin's mean: none lies above it.
        tail = shortfall(boundary, np.maximum(boundary - worst, 0.0), count, level, weights)
        risks.append(0.0 - boundary)
        found += [tail.value, tail.standard_error]
    return [*risks, *found]
