"""The law of takers' sizes from a tape: geometric or lognormal where one fits, else a table of sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mcmm.fitting_flow import covariance

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LAWS", "MOST_SIZE", "SizeLaw", "fit_sizes"]

LAWS = ("geometric", "lognormal", "empirical")
MOST_SIZE = 1_000_000
"""The largest size that a scenario knows."""

# Rows of a table of sizes: those seen, or the middles of so many equally likely classes.
_ROWS = 25
# A law is taken where a worse fit than its own would be seen at least this often.
_ACCEPTED = 0.01
_LEAST_EXPECTED = 5.0
# Where sizes go further, chances are summed over classes and not over every whole number.
_MOST_LISTED = 200_000


@dataclass(frozen=True, eq=False)
class SizeLaw:
    """The law of sizes.

    Attributes
    ----------
    law : str
        One of `LAWS`.
    mean, mean_error : float
        ``flow.size_mean`` (of the law before it is cut at the largest size) and its standard error; of a
        table its mean.
    sigma, sigma_error : float
        ``flow.size_sigma``; NaN but for lognormal.
    table : tuple of (size, weight)
        Empirical alone.
    largest : int
        ``flow.size_max``: the largest size seen.
    method : str
        How, and why this law.
    statistic, p_value : float
        Of Pearson's chi-squared test of the law; NaN for a table, which is the sizes themselves.
    distance : float
        Largest difference of the cumulative shares.
    count : int
        Orders.
    """

    law: str
    mean: float
    mean_error: float
    sigma: float
    sigma_error: float
    table: tuple[tuple[int, int], ...]
    largest: int
    method: str
    statistic: float
    p_value: float
    distance: float
    count: int


class _Candidate(NamedTuple):
    law: str
    mean: float
    mean_error: float
    sigma: float
    sigma_error: float
    score: float
    statistic: float
    p_value: float
    distance: float


def fit_sizes(sizes: NDArray[np.int64], law: str = "auto") -> SizeLaw:
    """Fit the law of sizes by maximum likelihood of the model's own chances (docs/model.md, section 10).

    Parameters
    ----------
    sizes : ndarray of int
        Contracts of each order, >= 1.
    law : str
        One of `LAWS`; "auto" takes the better of geometric and lognormal by Schwarz's criterion (BIC), if
        Pearson's test does not refuse it at 1%, else the table.
    """
    sizes = np.minimum(sizes, MOST_SIZE)
    values, counts = np.unique(sizes, return_counts=True)
    largest = int(values[-1])
    candidates = []
    if law in ("auto", "geometric"):
        candidates.append(_geometric(values, counts, largest))
    if law in ("auto", "lognormal") and len(values) > 2:
        candidates.append(_lognormal(values, counts, largest))
    best = min(candidates, key=lambda each: each.score) if candidates else None
    if best is not None and (law != "auto" or best.p_value >= _ACCEPTED):
        why = "maximum likelihood of the law on whole contracts up to the largest seen"
        return SizeLaw(
            best.law, best.mean, best.mean_error, best.sigma, best.sigma_error, (), largest, why,
            best.statistic, best.p_value, best.distance, len(sizes),
        )  # fmt: skip
    table = _table(sizes, values, counts)
    rows = np.array(table, dtype=np.float64)
    mean = float((rows[:, 0] * rows[:, 1]).sum() / rows[:, 1].sum())
    kept = np.cumsum(rows[:, 1]) / rows[:, 1].sum()
    upto = np.concatenate([[0.0], kept])[np.searchsorted(rows[:, 0], values, side="right")]
    distance = float(np.abs(upto - np.cumsum(counts) / len(sizes)).max())
    exact = len(values) <= _ROWS
    how = (
        "the sizes seen and how often"
        if exact
        else f"middles of {_ROWS} equally likely classes of the sizes seen"
    )
    if law == "auto" and best is not None:
        how += f"; {best.law} does not fit (chi-squared test, p {best.p_value:.2g})"
    error = float(sizes.std() / math.sqrt(len(sizes)))
    return SizeLaw(
        "empirical", mean, error, math.nan, math.nan, table, int(rows[-1, 0]), how,
        math.nan, math.nan, distance, len(sizes),
    )  # fmt: skip


def _geometric_below(size: NDArray[np.float64], mean: float, _: float) -> NDArray[np.float64]:
    """Return the geometric law's chance of at most a size, before it is cut."""
    if mean <= 1:
        return np.where(size >= 1, 1.0, 0.0)
    return np.asarray(-np.expm1(size * math.log1p(-1 / mean)))


def _lognormal_below(size: NDArray[np.float64], mean: float, sigma: float) -> NDArray[np.float64]:
    """Return the rounded lognormal law's chance of 1 .. size, before it is cut."""
    from scipy.special import ndtr

    mu = math.log(mean) - sigma * sigma / 2
    low = ndtr((math.log(0.5) - mu) / sigma)
    return np.asarray(ndtr((np.log(size + 0.5) - mu) / sigma) - low)


Below = Callable[["NDArray[np.float64]", float, float], "NDArray[np.float64]"]
_LAWS: dict[str, Below] = {"geometric": _geometric_below, "lognormal": _lognormal_below}


def _likelihood(below: Below, values: Any, counts: Any, largest: int, mean: float, sigma: float) -> float:
    chance = below(values, mean, sigma) - below(values - 1, mean, sigma)
    whole = below(np.array([float(largest)]), mean, sigma)[0]
    return float((counts * np.log(np.maximum(chance / max(whole, 1e-300), 1e-300))).sum())


def _geometric(values: NDArray[np.int64], counts: NDArray[np.int64], largest: int) -> _Candidate:
    size = values.astype(np.float64)
    mean = float((size * counts).sum() / counts.sum())

    def negative(theta: NDArray[np.float64]) -> float:
        return -_likelihood(_geometric_below, size, counts, largest, 1 + math.exp(theta[0]), 0.0)

    if largest == 1:
        return _candidate("geometric", size, counts, largest, 1.0, 0.0, 0.0, math.nan, 0.0)
    best = _best(negative, np.array([math.log(max(mean - 1, 1e-6))]), [(-14.0, 18.0)])
    above, penalty = math.exp(best[0]), math.log(counts.sum())
    error = above * math.sqrt(covariance(negative, best)[0, 0])
    return _candidate(
        "geometric", size, counts, largest, 1 + above, error, 0.0, math.nan, penalty + 2 * negative(best)
    )


def _lognormal(values: NDArray[np.int64], counts: NDArray[np.int64], largest: int) -> _Candidate:
    size = values.astype(np.float64)
    logs, weight = np.log(size), counts / counts.sum()
    mu = float((weight * logs).sum())
    sigma = math.sqrt(max(float((weight * (logs - mu) ** 2).sum()), 1e-2))

    def negative(theta: NDArray[np.float64]) -> float:
        # The mean is a worse coordinate than mu, for it moves with sigma.
        deviation = math.exp(theta[1])
        mean = math.exp(min(theta[0] + deviation**2 / 2, 700.0))
        return -_likelihood(_lognormal_below, size, counts, largest, mean, deviation)

    best = _best(negative, np.array([mu, math.log(sigma)]), [(-20.0, 20.0), (-3.0, 1.6)])
    deviation = math.exp(best[1])
    mean = math.exp(best[0] + deviation**2 / 2)
    found = covariance(negative, best)
    slope = np.array([mean, mean * deviation**2])
    error = math.sqrt(slope @ found @ slope)
    sigma_error = deviation * math.sqrt(found[1, 1])
    score = 2 * math.log(counts.sum()) + 2 * negative(best)
    # What a scenario cannot hold is no candidate.
    if not (1 <= mean <= 1e9 and 0.01 <= deviation <= 5):
        score = math.inf
    return _candidate("lognormal", size, counts, largest, mean, error, deviation, sigma_error, score)


def _best(function: Callable[[NDArray[np.float64]], float], begin: NDArray[np.float64], bounds: Any) -> Any:
    from scipy import optimize

    return optimize.minimize(
        function,
        begin,
        method="Nelder-Mead",
        bounds=bounds,
        options={"xatol": 1e-6, "fatol": 1e-7, "maxiter": 2000},
    ).x


def _candidate(
    law: str,
    size: NDArray[np.float64],
    counts: NDArray[np.int64],
    largest: int,
    mean: float,
    mean_error: float,
    sigma: float,
    sigma_error: float,
    score: float,
) -> _Candidate:
    """Judge a law by Pearson's test on classes that are expected to hold five orders each."""
    from scipy import stats

    below, total = _LAWS[law], int(counts.sum())
    whole = below(np.array([float(largest)]), mean, sigma)[0]
    edges = np.arange(1, largest + 1) if largest <= _MOST_LISTED else np.unique(
        np.rint(np.geomspace(1, largest, 2000)).astype(np.int64)
    )  # fmt: skip
    expected = below(edges.astype(np.float64), mean, sigma) / max(whole, 1e-300) * total
    seen = np.concatenate([[0], np.cumsum(counts)])[np.searchsorted(size, edges, side="right")]
    distance = float(np.abs(seen - expected).max() / total)
    # Join neighbours until each class expects enough; what is left over joins the last.
    ends, since = [], 0.0
    for place, upto in enumerate(expected):
        if upto - since >= _LEAST_EXPECTED and total - upto >= _LEAST_EXPECTED:
            ends.append(place)
            since = float(upto)
    bounds = [*ends, len(edges) - 1]
    wanted, got = np.diff(expected[bounds], prepend=0.0), np.diff(seen[bounds], prepend=0)
    free = len(bounds) - 1 - (2 if law == "lognormal" else 1)
    if free < 1:
        return _Candidate(law, mean, mean_error, sigma, sigma_error, score, math.nan, 1.0, distance)
    statistic = float(((got - wanted) ** 2 / np.maximum(wanted, 1e-12)).sum())
    chance = float(stats.chi2.sf(statistic, free))
    return _Candidate(law, mean, mean_error, sigma, sigma_error, score, statistic, chance, distance)


def _table(
    sizes: NDArray[np.int64], values: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[tuple[int, int], ...]:
    """Return rows [size, weight]: the sizes themselves, or the middles of equally likely classes."""
    if len(values) > _ROWS:
        middles = (np.arange(_ROWS) + 0.5) / _ROWS
        chosen = np.quantile(sizes, middles, method="inverted_cdf")
        values, counts = np.unique(chosen.astype(np.int64), return_counts=True)
    return tuple((int(value), int(count)) for value, count in zip(values, counts, strict=True))
