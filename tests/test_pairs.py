from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mcmm.errors import InputError
from mcmm.pairs import paired_mean, paired_shortfall, rank_correlation
from mcmm.sensitivity import variance_shares
from mcmm.statistics import expected_shortfall, mean, quantile_interval, quantile_ranks


def test_a_paired_mean_is_that_of_the_differences() -> None:
    one, other = np.array([1.0, 2.0, math.nan, 4.0]), np.array([2.0, 4.0, 5.0, math.nan])
    found = paired_mean(one, other)
    assert found == mean([1.0, 2.0])
    assert found.value == 1.5


def test_a_paired_shortfall_is_the_difference_of_the_two() -> None:
    random = np.random.default_rng(3)
    one = random.normal(size=4000)
    other = one + 0.1 * random.standard_t(5, size=4000)
    found = paired_shortfall(one, other, 0.95)
    apart = [expected_shortfall(each, 0.95) for each in (one, other)]
    assert found.value == pytest.approx(apart[1].value - apart[0].value, abs=1e-12)
    assert found.observations == 200
    # On the same paths it is far better known than two tails apart, and of a path and itself exactly.
    assert found.standard_error < 0.4 * math.hypot(apart[0].standard_error, apart[1].standard_error)
    assert paired_shortfall(one, one, 0.95)[:2] == (0.0, 0.0)


def test_a_paired_shortfall_of_nothing_lost_has_manistre_and_hancocks_error() -> None:
    losses = np.random.default_rng(4).exponential(size=20_000)
    alone = expected_shortfall(-losses, 0.95)
    against = paired_shortfall(np.zeros(20_000), -losses, 0.95)
    assert against.value == pytest.approx(alone.value, abs=1e-12)
    assert against.standard_error == pytest.approx(alone.standard_error, rel=0.01)


@pytest.mark.slow
def test_coverage_of_paired_shortfalls() -> None:
    random = np.random.default_rng(11)
    # Normal losses, and the same with more noise: shortfalls of 2.0627 and of its sqrt(1.25) fold.
    factor = stats.norm.pdf(stats.norm.ppf(0.95)) / 0.05
    truth = factor * (math.sqrt(1.25) - 1.0)
    hits = 0
    for _ in range(1500):
        one = random.normal(size=1000)
        other = one + 0.5 * random.normal(size=1000)
        low, high = paired_shortfall(one, other, 0.95).interval()
        hits += low <= truth <= high
    assert 0.925 <= hits / 1500 <= 0.965


def test_rank_correlation_is_spearmans() -> None:
    random = np.random.default_rng(5)
    one, other = random.normal(size=(2, 50))
    found = rank_correlation(one, other + one)
    assert found.value == pytest.approx(stats.spearmanr(one, other + one).statistic)
    assert -1.0 < found.low < found.value < found.high < 1.0
    assert rank_correlation(one, np.exp(one))[0:4:2] == (1.0, 1.0)
    assert math.isnan(rank_correlation(one, np.zeros(50)).value)
    assert rank_correlation([1.0, 2.0, 3.0], [1.0, 3.0, 2.0])[2:] == (-1.0, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("pearson", [0.0, 0.6])
def test_coverage_of_rank_correlations(pearson: float) -> None:
    random = np.random.default_rng(6)
    truth = 6.0 / math.pi * math.asin(pearson / 2.0)  # of a normal pair
    hits = 0
    for _ in range(2000):
        one, noise = random.normal(size=(2, 40))
        other = pearson * one + math.sqrt(1.0 - pearson**2) * noise
        found = rank_correlation(one, other)
        hits += found.low <= truth <= found.high
    assert 0.93 <= hits / 2000 <= 0.97


def test_variance_shares_by_hand() -> None:
    # Additive: 1 and 4 parts of 5; a pure interaction has no first order and both totals of 1.
    first, total = variance_shares([[0.0, 2.0], [1.0, 3.0]])
    assert first.tolist() == pytest.approx([0.2, 0.8])
    assert total.tolist() == pytest.approx([0.2, 0.8])
    first, total = variance_shares([[1.0, -1.0], [-1.0, 1.0]])
    assert first.tolist() == pytest.approx([0.0, 0.0])
    assert total.tolist() == pytest.approx([1.0, 1.0])
    assert variance_shares(np.zeros((2, 3)))[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("count", "share"), [(1, 0.5), (50, 0.99), (200, 0.05), (10_000, 0.01)])
def test_ranks_of_a_quantile_are_the_quantile_tests(count: int, share: float) -> None:
    values = np.sort(np.random.default_rng(count).normal(size=count))
    low, high = quantile_ranks(count, share)
    found = stats.quantile_test(values, p=share).confidence_interval(0.95)
    assert (low == -1) if math.isnan(found.low) else (values[low] == found.low)
    assert (high == count) if math.isnan(found.high) else (values[high] == found.high)
    assert quantile_interval(values, share) == quantile_interval(values[::-1], share)


def test_bad_pairs_are_named() -> None:
    with pytest.raises(InputError, match=r"other: must have the shape of the first, \(2,\), got \(3,\)"):
        paired_mean([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(InputError, match="level: must be strictly between 0 and 1"):
        paired_shortfall([1.0], [1.0], 1.0)
