"""Statistics of a sample of paths: means, quantiles, tail risk, chances, and how sure they are.

Every function takes arrays and gives numbers; none keeps state. NaN means "does not apply to this path" (an
overshoot where nothing tripped): such paths are left out and the counts say how many are left. Other values
are expected to be finite.

The same values in the same order give the same bits on every machine: means come from the fixed binary trees
of `mcmm.moments`, as do tails, and quantiles from order statistics.

Conventions, with x(1) <= ... <= x(n) the sorted sample and L = -pnl the loss:

- quantile p: linear interpolation at position (n - 1) p, definition 7 of Hyndman & Fan, "Sample quantiles in
  statistical packages", The American Statistician 50 (1996);
- value at risk a: the order statistic ceil(n a) of L, counted from the smallest;
- expected shortfall a: the mean of the worst n (1 - a) losses, the last of them with the fractional weight
  that is left (Acerbi & Tasche, "On the coherence of expected shortfall", Journal of Banking & Finance 26,
  2002).

Probabilities and levels are read as the decimals they are written as, so ceil(100 * 0.07) is 7, not 8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from mcmm.errors import InputError
from mcmm.moments import FloatArray, row_moments, tree_sum

__all__ = [
    "MONEY_METRICS",
    "QUANTILES",
    "QUANTILE_METRICS",
    "TAIL_LEVELS",
    "Estimate",
    "Interval",
    "Proportion",
    "check_share",
    "expected_shortfall",
    "mean",
    "ordered_expected_shortfall",
    "ordered_quantile",
    "ordered_quantile_interval",
    "ordered_quantiles",
    "ordered_value_at_risk",
    "proportion",
    "quantile",
    "quantile_interval",
    "quantile_ranks",
    "rank",
    "shortfall",
    "shortfalls",
    "sorted_sample",
    "tail_size",
    "value_at_risk",
    "value_at_risk_interval",
]

QUANTILES: tuple[float, ...] = (0.01, 0.05, 0.5, 0.95, 0.99)
TAIL_LEVELS: tuple[float, ...] = (0.95, 0.99)
MONEY_METRICS: tuple[str, ...] = ("pnl", "pnl_fair", "pnl_settled")
QUANTILE_METRICS: tuple[str, ...] = (
    *MONEY_METRICS,
    "max_drawdown",
    "max_drawdown_fair",
    "final_inventory",
    "max_inventory",
    "max_exposure",
)


class Interval(NamedTuple):
    """A confidence interval; an end that the sample cannot bound is infinite."""

    low: float
    high: float


class Estimate(NamedTuple):
    """An estimate with its standard error.

    Attributes
    ----------
    value, standard_error : float
        In the unit of the sample. NaN where the sample is too small to say.
    observations : float
        How many are behind the value; for an expected shortfall n (1 - level), which need not be whole.
    """

    value: float
    standard_error: float
    observations: float

    def interval(self, confidence: float = 0.95) -> Interval:
        """Return the two-sided interval of Student's t with ``observations - 1`` degrees of freedom.

        Its coverage is asymptotic: as stated for the mean of a few hundred paths; for the expected shortfall
        of a heavy tail (t with 5 degrees) 90% instead of 95% with 5 paths in the tail, 92% with 100. It has
        no bounds where the standard error is not known. Raises InputError unless 0 < confidence < 1.
        """
        check_share("confidence", confidence)
        if math.isnan(self.standard_error):
            return Interval(-math.inf, math.inf)
        from scipy.stats import t

        reach = float(t.isf((1.0 - confidence) / 2.0, self.observations - 1.0)) * self.standard_error
        return Interval(self.value - reach, self.value + reach)


class Proportion(NamedTuple):
    """A chance estimated by counting, with its standard error and its exact interval."""

    value: float
    standard_error: float
    low: float
    high: float


def mean(sample: npt.ArrayLike) -> Estimate:
    """Mean of a sample with its standard error, sd / sqrt(n).

    Parameters
    ----------
    sample : array_like of shape (paths,)
        NaN is left out.

    Returns
    -------
    Estimate
        In the unit of the sample.
    """
    count, average, _, error = row_moments(np.asarray(sample, dtype=np.float64)[np.newaxis, :])
    return Estimate(float(average[0]), float(error[0]), float(count[0]))


def sorted_sample(sample: npt.ArrayLike) -> FloatArray:
    """Sort a sample, without its NaNs.

    Parameters
    ----------
    sample : array_like of shape (paths,)
        In any order.

    Returns
    -------
    ndarray of shape (count,)
        Smallest first. Negative zeros become zeros: which of two equal values comes first would otherwise be
        the sorting algorithm's choice, and show in the sign.
    """
    # NaN is sorted last, so cutting it off afterwards spares a pass over the sample.
    ordered = np.asarray(sample, dtype=np.float64) + 0.0
    ordered.sort()
    return ordered[: np.searchsorted(ordered, np.nan)]


def quantile(sample: npt.ArrayLike, probability: float) -> float:
    """Quantile of a sample by linear interpolation between order statistics (Hyndman & Fan 7).

    Parameters
    ----------
    sample : array_like of shape (paths,)
        NaN is left out.
    probability : float
        Between 0 and 1, both included.

    Returns
    -------
    float
        In the unit of the sample; NaN for an empty one.

    Raises
    ------
    InputError
        If ``probability`` is outside [0, 1].
    """
    return ordered_quantile(sorted_sample(sample), probability)


def quantile_interval(sample: npt.ArrayLike, probability: float, confidence: float = 0.95) -> Interval:
    """Exact two-sided interval for a quantile, between two order statistics.

    The count of observations below the true quantile is binomial whatever the distribution, which gives the
    ranks (Conover, "Practical Nonparametric Statistics", 3rd ed. 1999, section 3.2; computed by
    `scipy.stats.quantile_test`). The coverage is at least ``confidence``, for discrete samples too.

    Parameters
    ----------
    sample : array_like of shape (paths,)
        NaN is left out.
    probability, confidence : float
        Strictly between 0 and 1.

    Returns
    -------
    Interval
        In the unit of the sample. An end is infinite where no order statistic bounds it: 50 paths say nothing
        about how far up a 99% quantile may lie.

    Raises
    ------
    InputError
        If ``probability`` or ``confidence`` is not strictly between 0 and 1.
    """
    return ordered_quantile_interval(sorted_sample(sample), probability, confidence)


def ordered_quantile_interval(ordered: FloatArray, probability: float, confidence: float = 0.95) -> Interval:
    """Return `quantile_interval` of a `sorted_sample`."""
    low, high = quantile_ranks(ordered.size, probability, confidence)
    return Interval(
        float(ordered[low]) if low >= 0 else -math.inf,
        float(ordered[high]) if high < ordered.size else math.inf,
    )


@lru_cache(maxsize=1024)
def quantile_ranks(count: int, probability: float, confidence: float = 0.95) -> tuple[int, int]:
    """Return the places of the two order statistics that bound a quantile, see `quantile_interval`.

    Parameters
    ----------
    count : int
        Size of the sample, >= 0.
    probability, confidence : float
        Strictly between 0 and 1.

    Returns
    -------
    tuple of int
        Places in the sorted sample, the smallest 0; -1 and ``count`` where no order statistic bounds it.
    """
    check_share("probability", probability)
    check_share("confidence", confidence)
    if count == 0:
        return -1, 0
    from scipy.stats import quantile_test

    # The ranks depend on the size alone, so that a sample of places gives them.
    found: Any = quantile_test(np.arange(count), p=probability).confidence_interval(confidence)
    low, high = float(found.low), float(found.high)
    return -1 if math.isnan(low) else int(low), count if math.isnan(high) else int(high)


def value_at_risk(pnl: npt.ArrayLike, level: float) -> float:
    """Loss that a share ``level`` of paths does not exceed: the order statistic ceil(n level) of the losses.

    Parameters
    ----------
    pnl : array_like of shape (paths,)
        Dollars; NaN is left out.
    level : float
        Strictly between 0 and 1, as in 0.95.

    Returns
    -------
    float
        Dollars, a loss positive; NaN for an empty sample.

    Raises
    ------
    InputError
        If ``level`` is not strictly between 0 and 1.
    """
    return ordered_value_at_risk(sorted_sample(pnl), level)


def value_at_risk_interval(pnl: npt.ArrayLike, level: float, confidence: float = 0.95) -> Interval:
    """Exact two-sided interval for the value at risk; see `quantile_interval`.

    Parameters
    ----------
    pnl : array_like of shape (paths,)
        Dollars; NaN is left out.
    level, confidence : float
        Strictly between 0 and 1.

    Returns
    -------
    Interval
        Dollars, losses positive; infinite where the sample gives no bound.

    Raises
    ------
    InputError
        If ``level`` or ``confidence`` is not strictly between 0 and 1.
    """
    check_share("level", level)
    return quantile_interval(0.0 - np.asarray(pnl, dtype=np.float64), level, confidence)


def expected_shortfall(pnl: npt.ArrayLike, level: float) -> Estimate:
    """Mean loss in the worst share 1 - ``level`` of paths, with its asymptotic standard error.

    With m = n (1 - level) and e what the mean of the tail lies beyond the value at risk, the variance is
    (variance of the m tail losses + level e^2) / m: Manistre & Hancock, "Variance of the CTE estimator",
    North American Actuarial Journal 9 (2005). Its second term is what not knowing the quantile adds.

    Parameters
    ----------
    pnl : array_like of shape (paths,)
        Dollars; NaN is left out.
    level : float
        Strictly between 0 and 1.

    Returns
    -------
    Estimate
        Dollars, a loss positive; ``observations`` is m. The standard error is NaN for m <= 1. For m < 1 the
        value is the worst loss, which understates the expected shortfall.

    Raises
    ------
    InputError
        If ``level`` is not strictly between 0 and 1.
    """
    return ordered_expected_shortfall(sorted_sample(pnl), level)


@lru_cache(maxsize=256)
def _decimal(share: float) -> Fraction:
    return Fraction(str(float(share)))


@lru_cache(maxsize=256)
def rank(count: int, share: float) -> tuple[int, float]:
    """Return ``count * share`` as its whole part and the rest, without a product's rounding."""
    exact = count * _decimal(share)
    whole = math.floor(exact)
    return whole, float(exact - whole)


@lru_cache(maxsize=256)
def tail_size(count: int, level: float) -> tuple[int, float]:
    """Return the whole number of paths in the tail, and its size n (1 - level) with the fraction."""
    exact = count * (1 - _decimal(level))
    return math.floor(exact), float(exact)


def ordered_quantiles(ordered: FloatArray, probabilities: Sequence[float]) -> FloatArray:
    """Return quantiles of sorted samples of one length, shape (..., n) to (..., probabilities)."""
    count = ordered.shape[-1]
    found = np.full((*ordered.shape[:-1], len(probabilities)), np.nan)
    for place, probability in enumerate(probabilities if count else ()):
        below, weight = rank(count - 1, probability)
        low = ordered[..., below]
        found[..., place] = low + weight * (ordered[..., below + 1] - low) if weight else low
    return found


def ordered_quantile(ordered: FloatArray, probability: float) -> float:
    """Return `quantile` of a `sorted_sample`."""
    if not 0.0 <= probability <= 1.0:
        raise InputError(f"probability: must be between 0 and 1, got {probability}")
    return float(ordered_quantiles(ordered, (probability,))[0])


def ordered_value_at_risk(ordered: FloatArray, level: float) -> float:
    """Return `value_at_risk` of a `sorted_sample` of pnl."""
    check_share("level", level)
    if ordered.size == 0:
        return math.nan
    whole, _ = tail_size(ordered.size, level)
    # The ceil(n level)-th loss from below is the (floor(n (1 - level)) + 1)-th worst pnl; 0 - x avoids a -0.
    return 0.0 - float(ordered[whole])


def ordered_expected_shortfall(ordered: FloatArray, level: float) -> Estimate:
    """Return `expected_shortfall` of a `sorted_sample` of pnl."""
    check_share("level", level)
    if ordered.size == 0:
        return Estimate(math.nan, math.nan, 0.0)
    whole, _ = tail_size(ordered.size, level)
    boundary = float(ordered[whole])
    return shortfall(boundary, boundary - ordered[:whole], ordered.size, level)


def shortfall(
    boundary: float, excess: FloatArray, count: int, level: float, weights: FloatArray | None = None
) -> Estimate:
    """Compute the expected shortfall of a sample from its tail; see `expected_shortfall`.

    Parameters
    ----------
    boundary : float
        The largest pnl in the tail, of which its fraction counts: the negative of the value at risk.
    excess : ndarray of shape (k,)
        By how much each pnl below it is below it, >= 0.
    count : int
        Paths of the sample.
    level : float
        Strictly between 0 and 1.
    weights : ndarray of shape (k,), optional
        How many paths each excess stands for, ``floor(count * (1 - level))`` in all; 1 if left out.

    Returns
    -------
    Estimate
        Dollars, a loss positive.
    """
    value, error = shortfalls(np.float64(boundary), excess, count, level, weights)
    return Estimate(float(value), float(error), tail_size(count, level)[1])


def shortfalls(
    boundary: npt.ArrayLike, excess: FloatArray, count: int, level: float, weights: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Compute `shortfall` and its error for samples of one size: boundaries (...), excesses (..., k)."""
    whole, size = tail_size(count, level)
    beyond = tree_sum(excess if weights is None else excess * weights) / size
    # 0 - x, and not -x, which would make a -0 of a 0.
    value = np.asarray((0.0 - np.asarray(boundary)) + beyond)
    if size <= 1.0:
        return value, np.full(value.shape, np.nan)
    apart = excess - beyond[..., np.newaxis]
    squares = apart * apart
    within = tree_sum(squares if weights is None else squares * weights)
    squared = within + (size - whole) * beyond * beyond
    variance = (squared / (size - 1.0) + level * beyond * beyond) / size
    return value, np.sqrt(variance)


def proportion(
    hits: int,
    count: int,
    confidence: float = 0.95,
    bound: Literal["both", "upper", "lower"] = "both",
) -> Proportion:
    """Chance of an event seen on ``hits`` of ``count`` paths, with its exact interval of Clopper & Pearson.

    Parameters
    ----------
    hits, count : int
        0 <= hits <= count.
    confidence : float
        Strictly between 0 and 1.
    bound : {"both", "upper", "lower"}
        A two-sided interval, or a one-sided bound (the other end is 0 or 1). No hit on 299 paths bounds a
        chance at 1% with "upper" and 95%.

    Returns
    -------
    Proportion
        The standard error is sqrt(p (1 - p) / count), which is 0 where p is 0 or 1: read the interval there.
        Value and standard error are NaN, and the interval is [0, 1], for no paths.

    Raises
    ------
    InputError
        If the counts, ``confidence`` or ``bound`` are out of range.
    """
    check_share("confidence", confidence)
    if not 0 <= hits <= count:
        raise InputError(f"hits: must be between 0 and count ({count}), got {hits}")
    if bound not in ("both", "upper", "lower"):
        raise InputError(f'bound: must be "both", "upper" or "lower", got {bound!r}')
    if count == 0:
        return Proportion(math.nan, math.nan, 0.0, 1.0)
    from scipy.special import betaincinv

    # Quantiles of beta distributions: scipy.stats.binomtest finds the same ends by a search, in some
    # milliseconds, beside a p-value; a report has four of them for each point.
    beyond = (1.0 - confidence) / 2.0 if bound == "both" else 1.0 - confidence
    low = betaincinv(hits, count - hits + 1, beyond) if hits and bound != "upper" else 0.0
    high = betaincinv(hits + 1, count - hits, 1.0 - beyond) if hits < count and bound != "lower" else 1.0
    return Proportion(*_chance(hits, count), float(low), float(high))


def _chance(hits: int, count: int) -> tuple[float, float]:
    if count == 0:
        return math.nan, math.nan
    value = hits / count
    return value, math.sqrt(value * (1.0 - value) / count)


def check_share(name: str, share: float) -> None:
    """Refuse what is not strictly between 0 and 1."""
    if not 0.0 < share < 1.0:
        raise InputError(f"{name}: must be strictly between 0 and 1, got {share}")
