from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from mcmm import statistics
from mcmm.errors import InputError
from mcmm.metrics import NAMES
from mcmm.moments import tree_sum
from mcmm.statistics import (
    Interval,
    expected_shortfall,
    mean,
    percent_label,
    proportion,
    quantile,
    quantile_interval,
    sorted_sample,
    summarise,
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
        (lambda: summarise(np.zeros((2, 5)), ["pnl"]), r"values: must have shape \(1, paths\).*got \(2, 5\)"),
        (lambda: summarise(np.zeros(5), ["pnl"]), "values: must have shape"),
    ],
)
def test_bad_arguments_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


# ---- summaries


def test_labels() -> None:
    labels = [percent_label(share) for share in (0.01, 0.05, 0.5, 0.95, 0.995, 0.001, 0.29)]
    assert labels == ["01", "05", "50", "95", "99.5", "0.1", "29"]


def point(paths: int) -> np.ndarray:
    values = np.stack([sample(paths, seed) for seed in range(len(NAMES))])
    values[NAMES.index("trips")] = np.arange(paths) % 4 == 1
    values[NAMES.index("halt_step")] = np.where(np.arange(paths) % 4 == 1, 10.0 + np.arange(paths) % 3, -1.0)
    values[NAMES.index("breaker_overshoot"), np.arange(paths) % 4 != 1] = np.nan
    values[NAMES.index("outcome")] = np.nan
    return values


def test_summary_says_what_the_functions_say() -> None:
    values = point(6000)
    found = summarise(values, NAMES)
    for name, row in zip(NAMES, values, strict=True):
        if name in ("halt_reason", "halt_step", "outcome"):
            continue
        average, error, count = mean(row)
        assert (found[f"{name}.mean"], found[f"{name}.standard_error"], found[f"{name}.count"]) == (
            average,
            error,
            count,
        )
        assert found[f"{name}.sd"] == pytest.approx(np.nanstd(row, ddof=1), rel=1e-12)
    for name in statistics.QUANTILE_METRICS:
        row = values[NAMES.index(name)]
        for share, label in zip(statistics.QUANTILES, ("p01", "p05", "p50", "p95", "p99"), strict=True):
            assert found[f"{name}.{label}"] == quantile(row, share)
    for name in statistics.MONEY_METRICS:
        row = values[NAMES.index(name)]
        for level, label in ((0.95, "95"), (0.99, "99")):
            shortfall = expected_shortfall(row, level)
            assert found[f"{name}.value_at_risk_{label}"] == value_at_risk(row, level)
            assert found[f"{name}.expected_shortfall_{label}"] == shortfall.value
            assert found[f"{name}.expected_shortfall_{label}_standard_error"] == shortfall.standard_error
        assert found[f"{name}.loss_chance"] == np.mean(row < 0)
        assert found[f"{name}.loss_chance_standard_error"] == proportion(int((row < 0).sum()), 6000)[1]


def test_summary_of_halts() -> None:
    found = summarise(point(6000), NAMES)
    assert found["halt.chance"] == 0.25
    assert found["halt.chance_standard_error"] == math.sqrt(0.25 * 0.75 / 6000)
    assert found["halt_step.count"] == found["breaker_overshoot.count"] == 1500.0
    assert found["halt_step.mean"] == 11.0
    assert not [name for name in found if name.startswith("halt_reason")]


def test_summary_of_what_never_applies() -> None:
    found = summarise(point(500), NAMES)
    assert found["outcome.count"] == 0.0
    assert all(math.isnan(found[f"outcome.{column}"]) for column in ("mean", "sd", "standard_error"))
    nothing = summarise(np.full((1, 9), np.nan), ["pnl"])
    assert all(math.isnan(value) for name, value in nothing.items() if name != "pnl.count")


def test_summary_has_the_same_names_for_any_number_of_paths() -> None:
    many, one = summarise(point(500), NAMES), summarise(point(1), NAMES)
    assert list(many) == list(one)
    assert math.isnan(one["pnl.standard_error"])
    assert one["pnl.mean"] == one["pnl.p01"] == -one["pnl.value_at_risk_95"]
    assert all(type(value) is float for value in many.values())


def test_a_loss_is_less_than_nothing() -> None:
    assert summarise(np.array([[-1.0, -0.0, 0.0, 1.0]]), ["pnl"])["pnl.loss_chance"] == 0.25


def test_summary_changes_no_value() -> None:
    values = point(300)
    before = values.tobytes()
    summarise(values, NAMES)
    assert values.tobytes() == before


def test_summary_has_the_same_bits_without_vector_instructions() -> None:
    code = (
        "import hashlib, numpy, test_statistics as t;"
        "from mcmm.statistics import summarise;"
        "core = getattr(numpy, '_core', None) or numpy.core;"
        "core = core._multiarray_umath;"
        "found = summarise(t.point(9001), t.NAMES);"
        "print(' '.join(name for name in core.__cpu_dispatch__ if core.__cpu_features__[name]));"
        "print(hashlib.sha256(' '.join(map(float.hex, found.values())).encode()).hexdigest())"
    )

    def run(disabled: str) -> list[str]:
        environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": disabled}
        path = os.pathsep.join((str(Path(__file__).parent), str(Path(__file__).parent.parent)))
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env={**environment, "PYTHONPATH": path},
        )
        return done.stdout.splitlines()

    features, with_them = run("")
    left, without = run(features)
    assert left == ""
    assert with_them == without


def test_summary_needs_numpy_alone() -> None:
    code = (
        "import sys, numpy; from mcmm.statistics import summarise;"
        "summarise(numpy.zeros((1, 5)), ['pnl']);"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'scipy', 'pandas', 'pyarrow'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
