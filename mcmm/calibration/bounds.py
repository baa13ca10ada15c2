"""One-sided bounds for chances, means and expected shortfalls, and what looking again and again costs.

- A chance: the exact bound of Clopper & Pearson, "The use of confidence or fiducial limits illustrated in
  the case of the binomial", Biometrika 26 (1934).
- A mean: Student's t with the skewness g of the sample taken into account (Hall, "Inverting an Edgeworth
  expansion", Annals of Statistics 11, 1983), ``estimate + s / sqrt(n) (t + g (2 t^2 + 1) / (6 sqrt(n)))``.
  The correction is made where it widens, never where it narrows.
- An expected shortfall: the same, of the terms whose mean it is, ``v + max(0, loss - v) / (1 - level)``
  with v the value at risk. Their variance is Manistre & Hancock's, see
  `mcmm.statistics.expected_shortfall`.

**Looks.** With K looks each is at level alpha / K (linear alpha spending: after k of K looks, k / K of
alpha is spent; Lan & DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70, 1983).
The chance that a bound fails at any look is at most the sum of the levels, alpha, however the looks depend
on one another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mcmm.expressions import Event
from mcmm.moments import FloatArray, tree_sum
from mcmm.objectives import Objective, Statistic
from mcmm.question import LOOKS, Limit, Question
from mcmm.statistics import expected_shortfall

__all__ = [
    "Look",
    "Reading",
    "bounds",
    "influence",
    "looks",
    "more_paths",
    "objective_terms",
    "read",
    "reading_of_limit",
]

Lookup = Callable[[str], FloatArray]

_FEWEST = 50
"""Fewer values than this bound no mean, and fewer in a tail no expected shortfall."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A statistic of a sample.

    Attributes
    ----------
    estimate : float
        NaN for an empty sample.
    scale : float
        The standard error times sqrt(count).
    skewness : float
        Of the terms that the estimate is the mean of.
    count : int
        Values behind it: paths to which the metric applies.
    hits : int
        Of a probability, how many; else -1.
    bounded : bool
        Whether the sample is large enough to bound the statistic.
    """

    estimate: float
    scale: float
    skewness: float
    count: int
    hits: int
    bounded: bool

    @property
    def error(self) -> float:
        """The standard error."""
        return self.scale / math.sqrt(self.count) if self.count else math.inf


class Look(NamedTuple):
    """When a certificate looks at its paths, and what it spends then."""

    paths: int
    alpha: float


def looks(question: Question) -> tuple[Look, ...]:
    """Return when to look and at which level, fixed before the first path.

    Parameters
    ----------
    question : Question
        Its ``paths`` are those of the last look; each earlier one has half of the next one's. A look that
        could certify nothing, such as one of fewer than 299 paths for 1% at 95%, is left out and spends none.
    """
    totals = [-(-question.paths // 2**back) for back in reversed(range(LOOKS))]
    fewest = max(limit.fewest(question.alpha / LOOKS) for limit in question.constraint)
    kept = [total for total in totals if total >= fewest]
    return tuple(Look(total, question.alpha / len(kept)) for total in kept)


def influence(statistic: Statistic, lookup: Lookup) -> FloatArray:
    """Return the terms whose mean is the statistic's estimate, one for each path to which it applies.

    Parameters
    ----------
    statistic : Statistic
        What is estimated.
    lookup : callable
        Returns a metric's values by its name, an array of shape (paths,).
    """
    if statistic.kind == "probability":
        return Event(statistic.of).on(lookup).astype(np.float64)
    values = lookup(statistic.of)
    if np.isnan(values).any():
        values = values[~np.isnan(values)]
    if statistic.kind == "mean" or not values.size:
        return values
    whole = math.floor(values.size * (1.0 - statistic.level) + 1e-9)
    boundary = float(np.partition(values, whole)[whole])
    return np.maximum(boundary - values, 0.0) / (1.0 - statistic.level) - boundary


def read(statistic: Statistic, lookup: Lookup) -> Reading:
    """Estimate a statistic; arguments as for `influence`."""
    terms = influence(statistic, lookup)
    if statistic.kind == "probability":
        hits = int(terms.sum())
        share = hits / terms.size if terms.size else math.nan
        return Reading(share, math.sqrt(share * (1.0 - share)), 0.0, terms.size, hits, bool(terms.size))
    if terms.size < 2:
        return Reading(math.nan, math.nan, 0.0, terms.size, -1, False)
    average, scale, skewness = _moments(terms)
    if statistic.kind == "mean":
        return Reading(average, scale, skewness, terms.size, -1, terms.size >= _FEWEST)
    values = lookup(statistic.of)
    enough = terms.size * (1.0 - statistic.level) >= _FEWEST - 1e-6
    return Reading(expected_shortfall(values, statistic.level).value, scale, skewness, terms.size, -1, enough)


def reading_of_limit(limit: Limit, lookup: Lookup) -> Reading:
    """Estimate what a constraint bounds."""
    return read(limit.statistic, lookup)


def _moments(terms: FloatArray) -> tuple[float, float, float]:
    """Mean, standard deviation and skewness, the same bits on every machine."""
    count = terms.size
    average = float(tree_sum(terms)) / count
    apart = terms - average
    squares = apart * apart
    variance = float(tree_sum(squares)) / (count - 1)
    if variance <= 0.0:
        return average, 0.0, 0.0
    cubes = float(tree_sum(squares * apart)) / count
    return average, math.sqrt(variance), cubes / variance**1.5


def bounds(reading: Reading, alpha_low: float, alpha_high: float) -> tuple[float, float]:
    """Return the one-sided bounds of a statistic.

    Parameters
    ----------
    reading : Reading
        Its estimate.
    alpha_low, alpha_high : float
        The chance that the truth is below the lower, and above the upper bound; in (0, 1).

    Returns
    -------
    tuple of float
        Infinite where the sample is too small to say. Rounded outwards to 12 digits, in which two machines'
        distribution functions agree.
    """
    if reading.hits >= 0:
        if not reading.bounded:
            return 0.0, 1.0
        return _exact(reading.hits, reading.count, alpha_low, alpha_high)
    if not reading.bounded:
        return -math.inf, math.inf
    from scipy.stats import t

    def reach(alpha: float, skewness: float) -> float:
        quantile = float(t.isf(alpha, reading.count - 1))
        correction = skewness * (2.0 * quantile**2 + 1.0) / (6.0 * math.sqrt(reading.count))
        return (quantile + max(correction, 0.0)) * reading.error

    return (
        _rounded(reading.estimate - reach(alpha_low, -reading.skewness)),
        _rounded(reading.estimate + reach(alpha_high, reading.skewness)),
    )


def _exact(hits: int, count: int, alpha_low: float, alpha_high: float) -> tuple[float, float]:
    """Return the bounds of Clopper & Pearson, as quantiles of the beta distribution."""
    from scipy.special import betaincinv

    low = float(betaincinv(hits, count - hits + 1, alpha_low)) if hits else 0.0
    high = float(betaincinv(hits + 1, count - hits, 1.0 - alpha_high)) if hits < count else 1.0
    return _rounded(low), _rounded(high)


def _rounded(value: float) -> float:
    return float(f"{value:.12g}")


def more_paths(limit: Limit, reading: Reading, alpha: float) -> int | None:
    """Return how many more paths would likely decide, if the truth is the estimate.

    Parameters
    ----------
    limit : Limit
        The constraint.
    reading : Reading
        What is known.
    alpha : float
        The level of a look.

    Returns
    -------
    int or None
        None where no number would: the estimate is the bound itself, or unknown.
    """
    gap = abs(reading.estimate - limit.bound)
    if not reading.bounded or not gap > 0.0:
        return None
    from scipy.stats import norm

    scale = reading.scale
    if reading.hits >= 0:
        # The exact test is at the bound; half a hit is what its steps cost.
        scale = math.sqrt(limit.bound * (1.0 - limit.bound))
    reach = float(norm.isf(alpha)) * scale
    needed = (reach / gap) ** 2 + (1.0 / gap if reading.hits >= 0 else 0.0)
    if not needed < 1e15:
        return None
    return max(math.ceil(needed) - reading.count, 1)


def objective_terms(objective: Objective, lookup: Lookup, setting: Callable[[str], float]) -> FloatArray:
    """Return the terms whose mean is the objective, one a path.

    Parameters
    ----------
    objective : Objective
        What is made large.
    lookup : callable
        Returns a metric's values by its name.
    setting : callable
        Returns a setting's value by its name.

    Returns
    -------
    ndarray of shape (paths,), or (1,) without statistics
        A statistic that does not apply to every path counts by its mean on all of them, without its error.
    """
    fixed = objective.constant + math.fsum(factor * setting(name) for factor, name in objective.settings)
    parts = [factor * influence(statistic, lookup) for factor, statistic in objective.statistics]
    size = max((part.size for part in parts), default=1)
    total = np.full(size, fixed)
    for part in parts:
        total += part if part.size == size else (float(tree_sum(part)) / part.size if part.size else math.nan)
    return total
