"""The harness refuses what it should: without that no test that uses it means anything."""

from __future__ import annotations

import math

import numpy as np
import pytest

from theory.harness import assert_fits, assert_misfits, assert_within, mean, sd, variance


def test_close_enough_passes() -> None:
    assert_within(1.0, 1.3, 0.1)
    assert_within([1.0, 2.0], [1.3, 1.7], 0.1)
    assert_within(1.0, 1.3, 0.1, sees=0.8)


@pytest.mark.parametrize(
    ("estimate", "expected", "error", "says"),
    [
        (1.0, 1.5, 0.1, "5.0 standard errors from 1.5"),
        ([0.0, 1.0], [0.0, 1.5], 0.1, "entry 1 of 2"),
        (1.0, 1.0, 0.0, "must be > 0"),
        (1.0, 1.0, math.nan, "must be > 0"),
        (math.nan, 1.0, 0.1, "not finite"),
        ([], [], [], "nothing was estimated"),
    ],
)
def test_what_is_off_or_empty_fails(estimate: object, expected: object, error: object, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        assert_within(estimate, expected, error)  # type: ignore[arg-type]


def test_a_sample_too_small_to_see_the_error_fails() -> None:
    with pytest.raises(AssertionError, match="too few paths"):
        assert_within(1.0, 1.0, 0.1, sees=0.7)


def test_fits_and_misfits_exclude_each_other() -> None:
    assert_fits(0.01)
    assert_misfits(1e-20)
    with pytest.raises(AssertionError, match="below"):
        assert_fits(1e-5)
    with pytest.raises(AssertionError, match="cannot tell"):
        assert_misfits(1e-5)


def test_standard_errors_are_those_of_repeated_samples() -> None:
    # Exponential: skewed, so that the variance of a variance is four times a normal law's 2 sigma^4 / n.
    samples = np.random.default_rng(5).exponential(2.0, size=(4_000, 500))
    for statistic, truth in ((mean, 2.0), (variance, 4.0), (sd, 2.0)):
        found = np.array([statistic(sample) for sample in samples])
        assert found[:, 0].mean() == pytest.approx(truth, rel=0.01)
        assert found[:, 1].mean() == pytest.approx(found[:, 0].std(), rel=0.1)
