"""The fair value is a martingale that settles at its own chance, whatever moves it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from theory.harness import assert_fits, assert_misfits, assert_within, make, mean, metrics, traces

PROCESSES: dict[str, dict[str, Any]] = {
    "logit": {"market.volatility": 0.08},
    "logit in large steps": {"market.volatility": 0.5},
    "logit with news": {"market.volatility": 0.05, "market.news_rate": 0.02, "market.news_strength": 0.4},
    "news alone": {"market.volatility": 0.0, "market.news_rate": 0.05, "market.news_strength": 0.25},
    "news that resolves": {"market.volatility": 0.03, "market.news_rate": 0.004, "market.news_strength": 1.0},
    "scheduled": {
        "market.volatility": 0.06,
        "schedule.volatility": [[0, 0.3], [70, 4.0], [110, 0.5]],
        "schedule.news": [[30, 0.4], [97, 0.6]],
    },
    "scheduled news among others": {
        "market.volatility": 0.0,
        "market.news_rate": 0.03,
        "market.news_strength": 0.2,
        "schedule.news": [[2], [90, 1.0]],
    },
    "threshold": {"market.process": "threshold"},
    "threshold, not resolved": {"market.process": "threshold", "market.resolution_step": 300},
}
STEPS = 200
ROUNDED = 2e-7  # of a chance in single precision
TOLD = 10.0  # the logit up to which a chance in single precision tells it to 0.2%

# Nobody trades: what is tested is the market.
QUIET = {"steps": STEPS, "flow.arrival_rate": 0.0}


@pytest.mark.parametrize("start", [0.5, 0.08, 0.93])
@pytest.mark.parametrize("process", PROCESSES)
def test_outcomes_and_fair_values_average_to_where_they_began(process: str, start: float) -> None:
    found = metrics(make(QUIET, PROCESSES[process], {"market.initial_probability": start}), 60_000)
    for name in ("outcome", "final_probability"):
        estimate = mean(found[name])
        assert_within(estimate.value, start, estimate.standard_error, sees=0.02)
    assert set(np.unique(found["outcome"])) == {0.0, 1.0}


@pytest.mark.parametrize("start", [0.5, 0.2])
@pytest.mark.parametrize("process", PROCESSES)
def test_outcomes_come_true_as_often_as_the_fair_value_said(process: str, start: float) -> None:
    """By bucket of p_t, at steps along the path and at its end."""
    looks = (5, 20, 100, 180)
    seen: dict[int, list[np.ndarray]] = {look: [] for look in (*looks, STEPS)}
    outcomes = []
    for values, trace in traces(
        make(QUIET, PROCESSES[process], {"market.initial_probability": start}), 15_000
    ):
        outcomes.append(values["outcome"])
        seen[STEPS].append(values["final_probability"])
        for look in looks:
            seen[look].append(trace["probability"][:, look])
    outcome = np.concatenate(outcomes)
    tested = 0
    for parts in seen.values():
        p = np.concatenate(parts)
        bucket = np.minimum((p * 10).astype(int), 9)
        for index in range(10):
            gap = (outcome - p)[bucket == index]
            if np.abs(gap).max(initial=0.0) < 1e-6:
                continue  # empty, or resolved: there p is O itself
            if len(gap) >= 150 and gap.std() > 0.05:
                estimate = mean(gap)
                assert_within(estimate.value, 0.0, estimate.standard_error)
                tested += 1
    assert tested >= 5


def test_a_bucket_off_by_a_few_hundredths_is_seen() -> None:
    found = metrics(make(QUIET, PROCESSES["logit"]), 60_000)
    p = found["final_probability"]
    inside = (p > 0.3) & (p < 0.4)
    for bias in (-0.05, 0.05):
        estimate = mean((found["outcome"] - (p + bias))[inside])
        with pytest.raises(AssertionError, match="standard errors from"):
            assert_within(estimate.value, 0.0, estimate.standard_error)


@pytest.mark.parametrize("start", [0.5, 0.15])
@pytest.mark.parametrize("process", PROCESSES)
def test_squared_moves_add_up_to_the_uncertainty_they_resolve(process: str, start: float) -> None:
    """E[sum (dp)^2] = p_0 (1 - p_0) - E[p_T (1 - p_T)], for any martingale; and its first step by itself."""
    totals, left, moves = [], [], []
    for values, trace in traces(
        make(QUIET, PROCESSES[process], {"market.initial_probability": start}), 15_000
    ):
        p = np.column_stack([trace["probability"], values["final_probability"]])
        totals.append((np.diff(p) ** 2).sum(axis=1))
        left.append(p[:, -1] * (1 - p[:, -1]))
        moves.append(np.diff(p))
    total, rest = np.concatenate(totals), np.concatenate(left)
    estimate = mean(total + rest)
    assert_within(estimate.value, start * (1 - start), estimate.standard_error, sees=0.025)
    assert total.mean() > 0.02
    # No stretch of the path has a drift. (A single step's rare and lopsided jumps are far from normal.)
    move = np.concatenate(moves)
    for stretch in np.split(move, 10, axis=1):
        estimate = mean(stretch.sum(axis=1))
        assert_within(estimate.value, 0.0, estimate.standard_error, sees=0.035)
    # Nor does where it stands tell where it goes.
    standing = np.concatenate(
        [np.full((len(move), 1), start), start + np.cumsum(move, axis=1)[:, :-1]], axis=1
    )
    estimate = mean(((standing - start) * move).sum(axis=1))
    assert_within(estimate.value, 0.0, estimate.standard_error, sees=0.04)


# ---- laws


def test_threshold_is_uniform_at_half_time() -> None:
    half = {"market.process": "threshold", "market.resolution_step": 2 * STEPS}
    p = metrics(make(QUIET, half), 40_000)["final_probability"]
    assert_fits(stats.kstest(p, "uniform").pvalue)
    for changes in (
        {"market.resolution_step": 2 * STEPS - 50},
        {"market.resolution_step": 2 * STEPS + 50},
        {"market.initial_probability": 0.53},
    ):
        p = metrics(make(QUIET, half, changes), 40_000)["final_probability"]
        assert_misfits(stats.kstest(p, "uniform").pvalue)


@pytest.mark.parametrize("start", [0.5, 0.2, 0.9])
@pytest.mark.parametrize("resolution", [260, 400, 1_000])
def test_threshold_is_a_gaussian_walk_seen_through_its_chance(start: float, resolution: int) -> None:
    changes = {
        "market.process": "threshold",
        "market.resolution_step": resolution,
        "market.initial_probability": start,
    }
    p = metrics(make(QUIET, changes), 20_000)["final_probability"]

    def law(x: Any, steps: int = STEPS) -> Any:
        walk = stats.norm.ppf(x) * math.sqrt(resolution - steps)
        return stats.norm.cdf((walk - math.sqrt(resolution) * stats.norm.ppf(start)) / math.sqrt(steps))

    assert_fits(stats.kstest(p, law).pvalue)
    assert_misfits(stats.kstest(p, lambda x: law(x, STEPS - 50)).pvalue)


@pytest.mark.parametrize("start", [0.5, 0.8])
@pytest.mark.parametrize("volatility", [0.02, 0.3])
def test_logit_is_gaussian_given_the_outcome(volatility: float, start: float) -> None:
    found = metrics(
        make(QUIET, {"market.volatility": volatility, "market.initial_probability": start}), 40_000
    )
    p = found["final_probability"]
    begin, spread = math.log(start / (1 - start)), volatility * math.sqrt(STEPS)
    # The chance is told in single precision: beyond this its logit is not, so there the law is cut.
    edge = 1 / (1 + math.exp(-TOLD))
    told = (p > 1 - edge) & (p < edge)
    for outcome in (0.0, 1.0):
        kept = p[told & (found["outcome"] == outcome)]
        sample = np.log(kept / (1 - kept)) - begin
        for drift, test in ((outcome - 0.5, assert_fits), (0.5 - outcome, assert_misfits)):
            centre = drift * spread**2
            ends = [(end - begin - centre) / spread for end in (-TOLD, TOLD)]
            test(stats.kstest(sample, stats.truncnorm(*ends, loc=centre, scale=spread).cdf).pvalue)
        assert np.mean(told[found["outcome"] == outcome]) > 0.25


@pytest.mark.parametrize(("rate", "strength", "start"), [(0.5, 0.3, 0.35), (0.9, 0.15, 0.9), (0.2, 1.0, 0.6)])
def test_news_jumps_as_often_as_far_and_as_truly_as_stated(
    rate: float, strength: float, start: float
) -> None:
    changes = {
        "steps": 1,
        "market.volatility": 0.0,
        "market.news_rate": rate,
        "market.news_strength": strength,
        "market.initial_probability": start,
    }
    found = metrics(make(QUIET, changes), 200_000)
    up, down = start + strength * (1 - start), start - strength * start
    p, outcome = found["final_probability"], found["outcome"]
    landed = np.abs(p[:, None] - np.array([start, up, down]))
    assert landed.min(axis=1).max() < ROUNDED
    cell = landed.argmin(axis=1)
    counts = [np.sum((outcome == o) & (cell == c)) for o in (0, 1) for c in range(3)]

    def expected(strength: float) -> np.ndarray:
        rises = {1: start + strength * (1 - start), 0: (1 - strength) * start}
        cells = [
            chance
            for o, share in ((0, 1 - start), (1, start))
            for chance in (share * (1 - rate), share * rate * rises[o], share * rate * (1 - rises[o]))
        ]
        return np.array(cells) * outcome.size

    assert_fits(pvalue(counts, expected(strength)))
    assert_misfits(pvalue(counts, expected(0.5 * strength)))


def pvalue(counts: list[int], expected: np.ndarray) -> float:
    """Chi-square over the cells that can be filled."""
    possible = expected > 0
    if np.asarray(counts)[~possible].any():
        return 0.0
    return float(stats.chisquare(np.asarray(counts)[possible], expected[possible]).pvalue)


def test_news_comes_step_by_step_and_resolves_at_full_strength() -> None:
    rate = 0.01
    changes = {"market.volatility": 0.0, "market.news_rate": rate, "market.news_strength": 0.1}
    jumps = np.concatenate(
        [
            (np.abs(np.diff(trace["probability"])) > ROUNDED).sum(axis=1)
            for _, trace in traces(make(QUIET, changes), 10_000)
        ]
    )
    counts = np.bincount(jumps, minlength=9)
    law = stats.binom(STEPS - 1, rate)
    expected = np.append(law.pmf(np.arange(8)), law.sf(7)) * jumps.size
    assert_fits(stats.chisquare(np.append(counts[:8], counts[8:].sum()), expected).pvalue)

    found = metrics(
        make(QUIET, changes, {"market.news_strength": 1.0, "market.initial_probability": 0.3}), 20_000
    )
    settled = np.abs(found["final_probability"] - found["outcome"]) < ROUNDED
    np.testing.assert_allclose(found["final_probability"][~settled], 0.3, atol=ROUNDED)
    estimate = mean(settled)
    assert_within(estimate.value, 1 - (1 - rate) ** STEPS, estimate.standard_error, sees=0.02)
    # Whether there was news says nothing about what it will be.
    estimate = mean(found["outcome"][settled])
    assert_within(estimate.value, 0.3, estimate.standard_error, sees=0.035)


def test_threshold_ends_at_its_outcome() -> None:
    found = metrics(make(QUIET, PROCESSES["threshold"]), 5_000)
    assert np.array_equal(found["final_probability"], found["outcome"])
    found = metrics(make(QUIET, PROCESSES["threshold, not resolved"]), 5_000)
    assert np.all((found["final_probability"] > 0) & (found["final_probability"] < 1))


def test_arithmetic_is_a_gaussian_walk() -> None:
    changes = {
        "market.process": "arithmetic",
        "market.initial_mid": 100.0,
        "market.volatility": 0.4,
        "quoting.policy": "symmetric",
    }
    price = metrics(make(QUIET, changes), 40_000)["final_probability"]
    spread = 0.4 * math.sqrt(STEPS)
    assert_fits(stats.kstest((price - 100) / spread, "norm").pvalue)
    assert_misfits(stats.kstest((price - 100) / (1.1 * spread), "norm").pvalue)
    assert_misfits(stats.kstest((price - 100.3) / spread, "norm").pvalue)
