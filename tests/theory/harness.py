"""The one harness of the statistical tests: samples from the core, and closeness counted in standard errors.

A test says what theory expects, and how large an error it must not miss (`sees`): the harness refuses a
sample that is too small to see it, so that no test passes for want of power. Seeds are fixed: a test passes
always or never.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

import mcmm
from mcmm.metrics import NAMES

__all__ = [
    "EVEN",
    "SEED",
    "Estimate",
    "assert_fits",
    "assert_misfits",
    "assert_within",
    "autocovariance",
    "make",
    "mean",
    "metrics",
    "sd",
    "traces",
    "variance",
]

Array = NDArray[np.float64]

SEED = 20_260_731
TOLERANCE = 4.0
_MARGIN = 4.0  # an error that large is missed once in 30,000 seeds
_TRACED = 6_000_000  # numbers of a trace held at once

EVEN: dict[str, Any] = {
    "market.volatility": 0.0,
    "flow.informed_fraction": 0.0,
    "flow.price_sensitivity": 0.0,
    "quoting.policy": "symmetric",
    "risk.inventory_limit": math.inf,
}
"""Constant fair value, takers who know nothing and mind nothing, a fixed spread, no limit."""


class Estimate(NamedTuple):
    """A statistic of a sample, with its standard error."""

    value: float
    standard_error: float


def make(*changes: Mapping[str, Any]) -> mcmm.Scenario:
    """Return the default scenario with settings changed by dotted name, later ones over earlier ones."""
    merged: dict[str, Any] = {}
    for change in changes:
        merged.update(change)
    return mcmm.Scenario().replace(merged)


def metrics(scenario: mcmm.Scenario, paths: int, *, seed: int = SEED) -> dict[str, Array]:
    """Return a row per metric."""
    values = mcmm.simulate(scenario, paths=paths, seed=seed, jobs=-1).values
    return dict(zip(NAMES, values, strict=True))


def traces(
    scenario: mcmm.Scenario, paths: int, *, seed: int = SEED, orders: Any = None
) -> Iterator[tuple[dict[str, Array], dict[str, Array]]]:
    """Yield metrics (paths,) and traces (paths, steps) of so many paths at a time that they fit in memory."""
    size = max(1, min(paths, _TRACED // (16 * scenario.steps)))
    for first in range(0, paths, size):
        count = min(size, paths - first)
        run = mcmm.simulate(
            scenario, paths=count, first_path=first, seed=seed, trace_paths=count, orders=orders
        )
        assert run.trace_values is not None
        yield dict(zip(NAMES, run.values, strict=True)), run.trace_values


def mean(sample: ArrayLike) -> Estimate:
    """Return the mean of a sample of independent values."""
    values = np.asarray(sample, dtype=np.float64)
    return Estimate(float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size)))


def variance(sample: ArrayLike) -> Estimate:
    """Return the variance of a sample; its own is (fourth moment - variance^2) / n to first order."""
    values = np.asarray(sample, dtype=np.float64)
    squares = (values - values.mean()) ** 2
    found = float(squares.sum() / (values.size - 1))
    return Estimate(found, float(math.sqrt((np.mean(squares**2) - found**2) / values.size)))


def sd(sample: ArrayLike) -> Estimate:
    """Return the standard deviation of a sample, its standard error by the delta method."""
    found = variance(sample)
    root = math.sqrt(found.value)
    return Estimate(root, found.standard_error / (2 * root))


def autocovariance(series: Array, lag: int, expected_mean: float) -> Estimate:
    """Return the covariance at a lag of series of known mean, a row a path; paths are independent."""
    centred = series - expected_mean
    return mean((centred[:, :-lag] * centred[:, lag:]).mean(axis=1))


def assert_within(
    estimate: ArrayLike,
    expected: ArrayLike,
    standard_error: ArrayLike,
    tolerance: float = TOLERANCE,
    *,
    sees: float | None = None,
) -> None:
    """Assert that estimates are within `tolerance` standard errors of what theory says, each of them.

    `sees` is an error that the test must not miss: it has to lie four standard errors beyond the tolerance.
    """
    found, theory, error = np.broadcast_arrays(
        np.asarray(estimate, dtype=np.float64),
        np.asarray(expected, dtype=np.float64),
        np.asarray(standard_error, dtype=np.float64),
    )
    assert found.size, "nothing was estimated"
    assert np.all(np.isfinite(error) & (error > 0)), f"a standard error must be > 0, got {error.min()}"
    assert np.all(np.isfinite(found) & np.isfinite(theory)), "an estimate or its expectation is not finite"
    if sees is not None:
        needed = sees / (tolerance + _MARGIN)
        assert error.max() <= needed, (
            f"too few paths: standard error {error.max():.3g} must be <= {needed:.3g}"
        )
    distance = np.abs(found - theory) / error
    worst = int(np.argmax(distance))
    assert distance.flat[worst] <= tolerance, (
        f"{found.flat[worst]:.6g} +- {error.flat[worst]:.2g} is {distance.flat[worst]:.1f} standard errors "
        f"from {theory.flat[worst]:.6g}" + (f" (entry {worst} of {found.size})" if found.size > 1 else "")
    )


def assert_fits(p_value: Any, tolerance: float = TOLERANCE) -> None:
    """Assert that a test of fit does not refuse: its p-value is no rarer than `tolerance` standard errors."""
    assert 0.0 <= p_value <= 1.0
    rarest = 2 * stats.norm.sf(tolerance)
    assert p_value >= rarest, f"p-value {p_value:.2g} is below {rarest:.2g}"


def assert_misfits(p_value: Any, tolerance: float = TOLERANCE + _MARGIN) -> None:
    """Assert that the same test refuses a law that is wrong: without it a test of fit says little."""
    assert p_value < 2 * stats.norm.sf(tolerance), (
        f"p-value {p_value:.2g}: this test cannot tell the laws apart"
    )
