from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
from scipy import stats

from mcmm.columns import percent_label
from mcmm.errors import InputError
from mcmm.moments import tree_sum
from mcmm.statistics import (
    Interval,
    expected_shortfall,
    mean,
    proportion,
    quantile,
    quantile_interval,
    sorted_sample,
    value_at_risk,
    value_at_risk_interval,
)

# What a sample cannot say is NaN, never a warning.
pytestmark = pytest.mark.filterwarnings("error")


def sample(length: int, seed: int = 1) -> np.ndarray:
    """Numbers of very different sizes, so that another order of adding shows in the last bits."""
    random = np.random.default_rng(seed)
    return random.standard_normal(length) * 10.0 ** random.integers(-6, 6, length)


def test_interval_of_a_mean_is_students() -> None:
    expected = stats.t.interval(0.9, 3, loc=2.5, scale=stats.sem([1, 2, 3, 4]))
    assert mean([1, 2, 3, 4]).interval(0.9) == pytest.approx(expected)


# ---- order statistics


def test_quantile_by_hand() -> None:
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.25) == 1.75
    assert quantile([4.0, math.nan, 1.0, 3.0, 2.0], 0.25) == 1.75
    assert [quantile([5.0, 7.0], share) for share in (0.0, 0.5, 1.0)] == [5.0, 6.0, 7.0]
    assert quantile([5.0], 0.99) == 5.0
    assert math.isnan(quantile([], 0.5))
    assert math.isnan(quantile([math.nan], 0.5))


@pytest.mark.parametrize("length", [1, 2, 10, 99, 100, 101, 1234])
def test_quantile_agrees_with_numpy(length: int) -> None:
    values = sample(length)
    for share in (0.0, 0.01, 0.05, 0.333, 0.5, 0.95, 0.99, 1.0):
        assert quantile(values, share) == pytest.approx(np.quantile(values, share), rel=1e-12)


def test_value_at_risk_by_hand() -> None:
    pnl = -np.arange(1.0, 101.0)
    found = {level: value_at_risk(pnl, level) for level in (0.07, 0.57, 0.9, 0.95, 0.951, 0.99, 0.999)}
    # Products of floats would make 8 and 58 of the first two.
    assert found == {0.07: 7.0, 0.57: 57.0, 0.9: 90.0, 0.95: 95.0, 0.951: 96.0, 0.99: 99.0, 0.999: 100.0}


@pytest.mark.parametrize("length", [1, 7, 64, 1000])
def test_value_at_risk_agrees_with_numpy(length: int) -> None:
    pnl = sample(length)
    for level in (0.5, 0.94, 0.975, 0.999):
        assert value_at_risk(pnl, level) == np.quantile(-pnl, level, method="inverted_cdf")


def test_expected_shortfall_by_hand() -> None:
    # The worst 2.5 of ten: 10, 9 and half of 8, which is the value at risk; 9.2 lies 1.2 beyond it.
    found = expected_shortfall(-np.arange(1.0, 11.0), 0.75)
    assert found.value == pytest.approx((10 + 9 + 8 / 2) / 2.5)
    variance = (0.8**2 + 0.2**2 + 1.2**2 / 2) / 1.5
    assert found.standard_error == pytest.approx(math.sqrt((variance + 0.75 * 1.2**2) / 2.5))
    # The worst 2 of 20: 20 and 19, their variance 1/2; 19.5 lies 1.5 beyond the value at risk, 18.
    found = expected_shortfall(-np.arange(1.0, 21.0), 0.9)
    assert found.value == pytest.approx(19.5)
    assert found.standard_error == pytest.approx(math.sqrt((0.5 + 0.9 * 1.5**2) / 2))
    assert found.observations == 2.0


def test_expected_shortfall_is_the_mean_of_its_definition() -> None:
    pnl = sample(1237)
    for level in (0.5, 0.9, 0.95, 0.99):
        losses, size = np.sort(-pnl)[::-1], 1237 * (1 - level)
        whole = math.floor(size)
        expected = (losses[:whole].sum() + (size - whole) * losses[whole]) / size
        assert expected_shortfall(pnl, level).value == pytest.approx(expected, rel=1e-10)
        assert expected_shortfall(pnl, level).value >= value_at_risk(pnl, level)


def test_expected_shortfall_of_few_paths() -> None:
    few = expected_shortfall([3.0, -1.0, -7.0], 0.95)
    assert few.value == 7.0
    assert math.isnan(few.standard_error)
    assert math.isnan(expected_shortfall(np.arange(20.0), 0.95).standard_error)
    nothing = expected_shortfall([], 0.95)
    assert math.isnan(nothing.value)
    assert math.isnan(nothing.standard_error)
    assert expected_shortfall([2.0] * 100, 0.95)[:2] == (-2.0, 0.0)


def test_order_statistics_do_not_see_the_order() -> None:
    values = sample(5001)
    shuffled = np.random.default_rng(4).permutation(values)
    for function in (quantile, value_at_risk, expected_shortfall):
        assert function(values, 0.95) == function(shuffled, 0.95)


def test_negative_zeros_do_not_show() -> None:
    assert not np.signbit(sorted_sample([-0.0, 0.0, -0.0])).any()
    assert math.copysign(1.0, value_at_risk([0.0, -0.0, 0.0], 0.95)) == 1.0
    assert math.copysign(1.0, float(tree_sum([-0.0, -0.0]))) == 1.0
    assert math.copysign(1.0, mean([-0.0]).value) == 1.0


def test_interval_of_a_quantile_of_few_paths_has_no_end() -> None:
    assert quantile_interval(np.arange(50.0), 0.99)[1] == math.inf
    assert quantile_interval(np.arange(50.0), 0.01)[0] == -math.inf
    assert quantile_interval([], 0.5) == (-math.inf, math.inf)
    assert quantile_interval([1.0], 0.5) == (-math.inf, math.inf)


def test_interval_of_value_at_risk_is_that_of_the_losses() -> None:
    pnl = sample(1000)
    pnl[3] = math.nan
    low, high = value_at_risk_interval(pnl, 0.95)
    assert (low, high) == quantile_interval(-pnl, 0.95)
    assert low <= value_at_risk(pnl, 0.95) <= high


@pytest.mark.parametrize("length", [20, 100, 1000])
def test_quantile_interval_covers_by_the_binomial_law(length: int) -> None:
    """The ranks, read off a sample of 1..n, must leave at most 2.5% of the binomial on either side."""
    for share in (0.05, 0.5, 0.9):
        low, high = quantile_interval(np.arange(1.0, length + 1.0), share)
        below = stats.binom(length, share)
        assert low == -math.inf or below.cdf(low - 1) <= 0.025 < below.cdf(low)
        assert high == math.inf or below.sf(high - 1) <= 0.025 < below.sf(high - 2)


# ---- coverage by simulation


def coverage(interval: Callable[[np.ndarray], Interval], draws: np.ndarray, truth: float) -> float:
    return float(np.mean([found.low <= truth <= found.high for found in map(interval, draws)]))


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_coverage_of_quantile_intervals(share: float) -> None:
    draws = np.random.default_rng(5).exponential(size=(1000, 400))
    found = coverage(lambda row: quantile_interval(row, share), draws, -math.log1p(-share))
    assert 0.95 - 3 * 0.007 <= found <= 0.995
    whole = coverage(
        lambda row: quantile_interval(row, share), np.floor(draws), np.floor(-math.log1p(-share))
    )
    assert whole >= 0.95 - 3 * 0.007


def test_coverage_of_the_mean() -> None:
    draws = np.random.default_rng(6).standard_normal((3000, 5))
    found = coverage(lambda row: mean(row).interval(), draws, 0.0)
    assert found == pytest.approx(0.95, abs=3.5 * math.sqrt(0.95 * 0.05 / 3000))


@pytest.mark.slow
@pytest.mark.parametrize(("level", "least"), [(0.95, 0.92), (0.99, 0.90)])
def test_coverage_of_expected_shortfall(level: float, least: float) -> None:
    """Asymptotic, so below 95%: 100 and 20 paths in the tail of a normal law."""
    draws = np.random.default_rng(7).standard_normal((2000, 2000))
    truth = stats.norm.pdf(stats.norm.ppf(level)) / (1 - level)
    assert least <= coverage(lambda row: expected_shortfall(row, level).interval(), draws, truth) <= 0.96
    found = [expected_shortfall(row, level) for row in draws]
    spread = np.std([estimate.value for estimate in found])
    assert np.mean([estimate.standard_error for estimate in found]) == pytest.approx(spread, rel=0.06)


@pytest.mark.parametrize("bound", ["both", "upper", "lower"])
def test_coverage_of_chances_is_exact(bound: str) -> None:
    """Over all 41 outcomes, weighted by the binomial law: no simulation."""
    intervals = [proportion(hits, 40, bound=bound) for hits in range(41)]
    for truth in np.linspace(0.005, 0.995, 67):
        covered = [found.low <= truth <= found.high for found in intervals]
        assert stats.binom.pmf(np.arange(41), 40, truth)[covered].sum() >= 0.95 - 1e-12


# ---- chances


def test_proportion_by_hand() -> None:
    found = proportion(3, 10)
    assert found.value == 0.3
    assert found.standard_error == pytest.approx(math.sqrt(0.3 * 0.7 / 10))
    assert (found.low, found.high) == pytest.approx(
        (stats.beta.ppf(0.025, 3, 8), stats.beta.ppf(0.975, 4, 7))
    )


@pytest.mark.parametrize("bound", ["both", "upper", "lower"])
def test_intervals_of_chances_are_those_of_scipy(bound: Literal["both", "upper", "lower"]) -> None:
    """Clopper and Pearson's, as binomtest finds them by a search, for few paths and for many."""
    way = {"both": "two-sided", "upper": "less", "lower": "greater"}[bound]
    for count in (1, 40, 10_000, 1_000_000):
        for hits in {0, 1, count // 3, count - 1, count}:
            for confidence in (0.95, 0.999):
                found = proportion(hits, count, confidence, bound)
                exact = stats.binomtest(hits, count, alternative=way).proportion_ci(confidence, "exact")
                assert (found.low, found.high) == pytest.approx((exact.low, exact.high), rel=1e-9, abs=1e-12)


def test_no_hit_is_not_a_chance_of_zero() -> None:
    assert proportion(0, 299, bound="upper").high == pytest.approx(1 - 0.05 ** (1 / 299))
    assert proportion(0, 299, bound="upper").high < 0.01 < proportion(0, 298, bound="upper").high
    assert proportion(0, 299)[:3] == (0.0, 0.0, 0.0)
    assert proportion(299, 299, bound="lower").low == pytest.approx(0.05 ** (1 / 299))
    nothing = proportion(0, 0)
    assert math.isnan(nothing.value)
    assert nothing[2:] == (0.0, 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quantile([1.0], 1.5), r"probability: must be between 0 and 1, got 1\.5"),
        (lambda: quantile([1.0], math.nan), "probability: must be between 0 and 1, got nan"),
        (lambda: quantile_interval([1.0], 1.0), r"probability: must be strictly between 0 and 1, got 1\.0"),
        (lambda: quantile_interval([1.0], 0.5, 95), "confidence: must be strictly between 0 and 1, got 95"),
        (lambda: value_at_risk([1.0], 0.0), r"level: must be strictly between 0 and 1, got 0\.0"),
        (lambda: value_at_risk_interval([1.0], 95), "level: must be strictly between 0 and 1, got 95"),
        (lambda: expected_shortfall([], 2), "level: must be strictly between 0 and 1, got 2"),
        (lambda: mean([1.0, 2.0]).interval(1.0), "confidence: must be strictly"),
        (lambda: proportion(4, 3), r"hits: must be between 0 and count \(3\), got 4"),
        (lambda: proportion(-1, 3), "hits: must be between 0"),
        (lambda: proportion(1, 3, bound="left"), "bound: must be .*, got 'left'"),  # type: ignore[arg-type]
    ],
)
def test_bad_arguments_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


# ---- labels


def test_labels() -> None:
    labels = [percent_label(share) for share in (0.01, 0.05, 0.5, 0.95, 0.995, 0.001, 0.29)]
    assert labels == ["01", "05", "50", "95", "99.5", "0.1", "29"]
