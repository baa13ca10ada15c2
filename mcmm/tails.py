"""Quantiles and tails of a sweep's points, of many samples in one pass."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mcmm.columns import percent_label
from mcmm.distributions import DISTRIBUTION_METRICS, Distribution
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

__all__ = ["QUANTILE_NAMES", "TAIL_NAMES", "Tail", "fill_tails"]

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
        table[rows[money], columns[money] + _TAIL_PLACES] = _ordered_shortfalls(ordered[money])
    for (row, name), sample in zip(places, ordered, strict=True):
        if name in DISTRIBUTION_METRICS and sample.size:
            distributions[row][name] = Distribution.of(sample)


def _is_money(name: str) -> bool:
    return name.rpartition(".")[2] in MONEY_METRICS


def _ordered_shortfalls(ordered: FloatArray) -> FloatArray:
    """Return value at risk at each level, then expected shortfall and its error at each, a row a sample."""
    count = ordered.shape[-1]
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
