"""Laws that the tests compare with, worked out apart from the package."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]

SIZE_LAWS: dict[str, dict[str, Any]] = {
    "geometric": {"flow.size_mean": 3.0, "flow.size_max": 20},
    "geometric, cut short": {"flow.size_mean": 9.0, "flow.size_max": 12},
    "fixed": {"flow.size_distribution": "fixed", "flow.size_mean": 7.0},
    "lognormal": {
        "flow.size_distribution": "lognormal",
        "flow.size_mean": 6.0,
        "flow.size_sigma": 1.2,
        "flow.size_max": 50,
    },
    "empirical": {
        "flow.size_distribution": "empirical",
        "flow.size_table": [[1, 5.0], [4, 2.0], [4, 1.0], [25, 3.0], [60, 9.0]],
        "flow.size_max": 40,
    },
}


def size_chances(changes: dict[str, Any], quote_size: int | None = None) -> tuple[Array, Array]:
    """Sizes 1, 2, .. and their chances, those beyond the quote counted as the quote."""
    law = changes.get("flow.size_distribution", "geometric")
    average, largest = (
        changes.get("flow.size_mean", 3.0),
        changes.get("flow.size_max", 20),
    )
    sizes = np.arange(1, largest + 1)
    if law == "geometric":
        weights = stats.geom.pmf(sizes, 1 / average)
    elif law == "fixed":
        weights = (sizes == average).astype(np.float64)
    elif law == "lognormal":
        sigma = changes["flow.size_sigma"]
        law_of_log = stats.norm(math.log(average) - sigma**2 / 2, sigma)
        weights = law_of_log.cdf(np.log(sizes + 0.5)) - law_of_log.cdf(np.log(sizes - 0.5))
    else:
        weights = np.array([sum(w for size, w in changes["flow.size_table"] if size == k) for k in sizes])
    chances = weights / weights.sum()
    if quote_size is not None and quote_size < largest:
        chances = np.append(chances[: quote_size - 1], chances[quote_size - 1 :].sum())
        sizes = sizes[:quote_size]
    return sizes.astype(np.float64), chances


def size_moments(changes: dict[str, Any], quote_size: int | None = None) -> tuple[float, float]:
    """E[min(size, quote)] and E[min(size, quote)^2]."""
    sizes, chances = size_chances(changes, quote_size)
    return float(sizes @ chances), float(sizes**2 @ chances)


def hawkes_covariances(rate: float, branching: float, e_folding: float, steps: int) -> Array:
    """Covariance of arrivals of every two steps, (steps, steps), of the clustered flow of model.md section 5.

    With y = lambda - rate, d = exp(-1 / e_folding) and c = branching (1 - d), y moves to
    (d + c) y + c (arrival - lambda); the last bracket has mean 0 and variance
    E[lambda (1 - lambda)] = rate (1 - rate) - E[y^2]. y starts at 0.
    """
    decay = math.exp(-1 / e_folding)
    rise = branching * (1 - decay)
    persistence = decay + rise
    covariance = np.zeros((steps, steps))
    spread = 0.0  # E[y^2]
    for t in range(steps):
        surprise = rate * (1 - rate) - spread
        covariance[t, t] = rate * (1 - rate)
        later = persistence ** np.arange(steps - t - 1)
        covariance[t, t + 1 :] = covariance[t + 1 :, t] = later * (persistence * spread + rise * surprise)
        spread = persistence**2 * spread + rise**2 * surprise
    return covariance
