"""The bounds of a certificate: against published numbers, and how often they hold on a known law."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mcmm.calibration.bounds import bounds, influence, looks, more_paths, objective_terms, read
from mcmm.objectives import Objective, Statistic
from mcmm.question import Limit, Question
from mcmm.statistics import expected_shortfall

SEED = 20_240


def of(values: Any) -> Any:
    return lambda _: np.asarray(values, dtype=np.float64)


def question(**tables: Any) -> Question:
    given = {
        "constraint": [{"probability": "pnl < 0", "at_most": 0.01}],
        "search": {"risk.inventory_limit": {"low": 1, "high": 9}},
    }
    return Question(**(given | tables))


def test_zero_breaches_in_299_paths_bound_a_chance_at_one_percent() -> None:
    event = Statistic("probability", "pnl < 0")
    assert bounds(read(event, of(np.ones(299))), 0.05, 0.05)[1] <= 0.01
    assert bounds(read(event, of(np.ones(298))), 0.05, 0.05)[1] > 0.01
    assert bounds(read(event, of(np.ones(299))), 0.05, 0.05)[1] > 0.0


def test_the_bound_of_a_chance_is_the_exact_binomial() -> None:
    values = np.ones(500)
    values[:7] = -1.0
    low, high = bounds(read(Statistic("probability", "pnl < 0"), of(values)), 0.02, 0.01)
    assert stats.binom.cdf(7, 500, high) == pytest.approx(0.01, rel=1e-9)
    assert stats.binom.sf(6, 500, low) == pytest.approx(0.02, rel=1e-9)


def test_looks_double_and_share_alpha() -> None:
    found = looks(question(paths=64_000))
    assert [look.paths for look in found] == [2000, 4000, 8000, 16_000, 32_000, 64_000]
    assert math.fsum(look.alpha for look in found) == pytest.approx(0.05)
    # At 0.05 / 6 a chance of 1% takes 477 paths: what has fewer is no look and spends nothing.
    found = looks(question(paths=2000))
    assert [look.paths for look in found] == [500, 1000, 2000]
    assert found[0].alpha == pytest.approx(0.05 / 3)


def test_the_terms_of_an_expected_shortfall_have_its_value_and_its_error() -> None:
    values = np.random.default_rng(SEED).standard_t(5, 10_000)
    terms = influence(Statistic("expected_shortfall", "pnl", 0.99), of(values))
    known = expected_shortfall(values, 0.99)
    assert terms.mean() == pytest.approx(known.value, rel=1e-12)
    assert terms.std() / 100 == pytest.approx(known.standard_error, rel=0.02)


def test_paths_to_which_a_metric_does_not_apply_are_left_out() -> None:
    reading = read(Statistic("mean", "pnl"), of([*np.arange(100.0), math.nan]))
    assert (reading.estimate, reading.count) == (49.5, 100)


def test_a_small_sample_bounds_nothing() -> None:
    assert bounds(read(Statistic("mean", "pnl"), of([1.0, 2.0])), 0.05, 0.05) == (-math.inf, math.inf)
    tail = read(Statistic("expected_shortfall", "pnl", 0.99), of(np.arange(4999.0)))
    assert bounds(tail, 0.05, 0.05) == (-math.inf, math.inf)


def test_how_many_more_paths_are_foretold() -> None:
    limit = Limit(probability="pnl < 0", at_most=0.01)
    values = np.ones(1000)
    values[:8] = -1.0
    more = more_paths(limit, read(limit.statistic, of(values)), 0.01)
    assert more is not None
    # With the same share of breaches that many paths decide, and two thirds of them do not.
    for count, decides in (((1000 + more) * 21 // 20, True), ((1000 + more) * 2 // 3, False)):
        high = bounds(
            read(limit.statistic, of(np.where(np.arange(count) < 0.008 * count, -1.0, 1.0))), 0.01, 0.01
        )[1]
        assert (high <= 0.01) is decides
    values[:10] = -1.0
    assert more_paths(limit, read(limit.statistic, of(values)), 0.01) is None


def test_an_objective_is_the_mean_of_its_terms() -> None:
    values = np.random.default_rng(SEED).normal(3.0, 1.0, 5000)
    objective = Objective("mean(pnl) - 0.5 * expected_shortfall(pnl, 0.95) + 2 * risk.inventory_limit - 1")
    terms = objective_terms(objective, of(values), {"risk.inventory_limit": 4.0}.__getitem__)
    assert terms.mean() == pytest.approx(values.mean() - 0.5 * expected_shortfall(values, 0.95).value + 7.0)


def _laws() -> dict[str, tuple[Any, Any]]:
    """Losses of known law: light and heavy tails, skew to either side; how to draw, and the distribution."""
    return {
        "normal": stats.norm(),
        "exponential": stats.expon(),
        "heavy, t with 5 degrees": stats.t(5),
        "lognormal": stats.lognorm(0.8),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", list(_laws()))
@pytest.mark.parametrize(("level", "paths"), [(0.99, 5000), (0.95, 2000)])
def test_the_upper_bound_of_an_expected_shortfall_holds_as_often_as_it_says(
    name: str, level: float, paths: int
) -> None:
    law = _laws()[name]
    truth = law.expect(lambda x: x, lb=law.ppf(level)) / (1.0 - level)
    generator = np.random.default_rng(SEED)
    statistic = Statistic("expected_shortfall", "pnl", level)
    alpha, repetitions = 0.05, 800
    missed = 0
    for _ in range(repetitions):
        loss = law.ppf(generator.random(paths))
        missed += bounds(read(statistic, of(-loss)), alpha, alpha)[1] < truth
    # 2.6 standard deviations of a count with chance 5% above it; a heavy tail may miss half as often again.
    allowed = 1.5 * alpha if "heavy" in name or "lognormal" in name else alpha
    assert missed / repetitions <= allowed + 2.6 * math.sqrt(alpha * (1 - alpha) / repetitions)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(_laws()))
def test_both_bounds_of_a_mean_hold_as_often_as_they_say(name: str) -> None:
    law = _laws()[name]
    generator = np.random.default_rng(SEED)
    alpha, repetitions, below, above = 0.01, 4000, 0, 0
    for _ in range(repetitions):
        low, high = bounds(read(Statistic("mean", "pnl"), of(law.ppf(generator.random(1000)))), alpha, alpha)
        above += low > law.mean()
        below += high < law.mean()
    allowed = alpha + 2.6 * math.sqrt(alpha * (1 - alpha) / repetitions)
    assert above / repetitions <= allowed
    assert below / repetitions <= 1.5 * allowed
