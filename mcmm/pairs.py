"""Statistics of pairs: what two samples on the same paths, or two columns of the same points, say together.

As `mcmm.statistics`, these are pure functions of arrays, and NaN means that something does not apply.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mcmm.errors import InputError
from mcmm.moments import FloatArray
from mcmm.statistics import (
    Estimate,
    Proportion,
    check_share,
    mean,
    ordered_expected_shortfall,
    ordered_value_at_risk,
    sorted_sample,
    tail_size,
)

__all__ = ["paired_mean", "paired_shortfall", "rank_correlation"]


def paired_mean(one: npt.ArrayLike, other: npt.ArrayLike) -> Estimate:
    """Mean of ``other`` less ``one`` over the same paths, with the standard error of the differences.

    Parameters
    ----------
    one, other : array_like of shape (paths,)
        On the same paths, in the same order; a path with NaN in either is left out.

    Returns
    -------
    Estimate
        In the unit of the samples.

    Raises
    ------
    InputError
        If the arrays differ in shape.
    """
    both = _pairs(one, other)
    return mean(both[1] - both[0])


def paired_shortfall(pnl: npt.ArrayLike, other: npt.ArrayLike, level: float) -> Estimate:
    """Difference of two expected shortfalls on the same paths, ``other``'s less ``pnl``'s.

    Its variance is that of the mean of the differences of the two estimators' influence functions,
    VaR + max(L - VaR, 0) / (1 - level) on each path: of one sample alone that is the variance of Manistre &
    Hancock (2005), see `expected_shortfall`; what the paths have in common cancels.

    Parameters
    ----------
    pnl, other : array_like of shape (paths,)
        Dollars on the same paths, in the same order; a path with NaN in either is left out.
    level : float
        Strictly between 0 and 1.

    Returns
    -------
    Estimate
        Dollars, positive where the other loses more; ``observations`` is n (1 - level), the paths of a tail.

    Raises
    ------
    InputError
        If the arrays differ in shape, or ``level`` is not strictly between 0 and 1.
    """
    check_share("level", level)
    both = _pairs(pnl, other)
    count = both.shape[1]
    if count == 0:
        return Estimate(math.nan, math.nan, 0.0)
    values, influences = [], []
    for sample in both:
        ordered = sorted_sample(sample)
        values.append(ordered_expected_shortfall(ordered, level).value)
        risk = ordered_value_at_risk(ordered, level)
        influences.append(np.maximum(0.0 - sample - risk, 0.0) / (1.0 - level) + risk)
    size = tail_size(count, level)[1]
    error = mean(influences[1] - influences[0]).standard_error
    # As for one tail: its mean is taken of the n (1 - level) paths in it, not of all.
    corrected = error * math.sqrt(size / (size - 1.0)) if size > 1.0 else math.nan
    return Estimate(values[1] - values[0], corrected, size)


def rank_correlation(one: npt.ArrayLike, other: npt.ArrayLike, confidence: float = 0.95) -> Proportion:
    """Spearman's rank correlation with its interval.

    The interval is Fisher's, with the variance (1 + r^2 / 2) / (n - 3) of Bonett & Wright, "Sample size
    requirements for estimating Pearson, Kendall and Spearman correlations", Psychometrika 65 (2000).

    Parameters
    ----------
    one, other : array_like of shape (n,)
        Pairs; one with NaN in either is left out.
    confidence : float
        Strictly between 0 and 1.

    Returns
    -------
    Proportion
        Value, standard error (on Fisher's scale, brought back) and interval, within [-1, 1]. NaN where
        either is constant or there are fewer than 2 pairs; [-1, 1] for fewer than 4.

    Raises
    ------
    InputError
        If the arrays differ in shape, or ``confidence`` is not strictly between 0 and 1.
    """
    check_share("confidence", confidence)
    first, second = _pairs(one, other)
    count = len(first)
    if count < 2 or np.ptp(first) == 0.0 or np.ptp(second) == 0.0:
        return Proportion(math.nan, math.nan, -1.0, 1.0)
    from scipy.stats import norm, spearmanr

    value = float(np.clip(spearmanr(first, second).statistic, -1.0, 1.0))
    if count < 4:
        return Proportion(value, math.nan, -1.0, 1.0)
    if abs(value) > 1.0 - 1e-12:
        return Proportion(round(value), 0.0, round(value), round(value))
    spread = math.sqrt((1.0 + value * value / 2.0) / (count - 3.0))
    reach = float(norm.isf((1.0 - confidence) / 2.0)) * spread
    centre = math.atanh(value)
    return Proportion(
        value, spread * (1.0 - value * value), math.tanh(centre - reach), math.tanh(centre + reach)
    )


def _pairs(one: npt.ArrayLike, other: npt.ArrayLike) -> FloatArray:
    """Return two samples as rows, without the pairs that are not whole."""
    first, second = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise InputError(f"other: must have the shape of the first, ({first.size},), got {second.shape}")
    both = np.stack([first, second])
    return both[:, ~np.isnan(both).any(axis=0)]
