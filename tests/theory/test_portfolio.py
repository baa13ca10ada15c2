"""Several markets in one path: each keeps its law, the common factor joins them, the sums are limited."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from scipy import stats

import mcmm
from mcmm.metrics import NAMES
from theory.harness import SEED, Array, assert_within, mean

QUIET: dict[str, Any] = {"arrival_rate": 0.0}
THRESHOLD: dict[str, Any] = {"process": "threshold"}
BUSY: dict[str, Any] = {"arrival_rate": 0.9, "informed_fraction": 0.3, "price_sensitivity": 2.0}


def make(names: str, portfolio: Mapping[str, Any], **shared: Any) -> mcmm.Scenario:
    """Markets with one-letter names, alike but for what is given by name in `own`."""
    own = shared.pop("own", {})
    markets = [{"name": name, **own.get(name, {})} for name in names]
    return mcmm.Scenario.from_dict({**shared, "markets": markets, "portfolio": dict(portfolio)})


def columns(scenario: mcmm.Scenario, paths: int, **options: Any) -> dict[str, Array]:
    run = mcmm.simulate(scenario, paths=paths, jobs=-1, **{"seed": SEED, **options})
    return dict(zip(scenario.columns, run.values, strict=True))


def traced(scenario: mcmm.Scenario, paths: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """Metrics, and traces of shape (paths, markets, steps)."""
    run = mcmm.simulate(scenario, paths=paths, seed=SEED, trace_paths=paths)
    assert run.trace_values is not None
    return dict(zip(scenario.columns, run.values, strict=True)), run.trace_values


# ---- each market's own law


@pytest.mark.parametrize("rho", [0.5, 1.0])
@pytest.mark.parametrize(
    "market",
    [
        {"volatility": 0.08, "news_rate": 0.01, "news_strength": 0.3},
        THRESHOLD,
        {**THRESHOLD, "resolution_step": 300},
    ],
)
def test_each_market_stays_a_martingale(market: dict[str, Any], rho: float) -> None:
    starts = {"a": 0.5, "b": 0.1, "c": 0.8}
    own = {name: {"market": {"initial_probability": start}} for name, start in starts.items()}
    found = columns(make("abc", {"correlation": rho}, steps=150, market=market, flow=QUIET, own=own), 40_000)
    for name, start in starts.items():
        p, outcome = found[f"{name}.final_probability"], found[f"{name}.outcome"]
        for estimate in (mean(p), mean(outcome)):
            assert_within(estimate.value, start, estimate.standard_error, sees=0.025)
        # P(O = 1 | p_T) = p_T: exact where p has resolved, else no bucket of p is off.
        for low in np.arange(0.0, 1.0, 0.25):
            gap = (outcome - p)[(p >= low) & (p <= low + 0.25)]
            if gap.size > 500 and np.ptp(gap) > 1e-6:
                estimate = mean(gap)
                assert_within(estimate.value, 0.0, estimate.standard_error)


def test_the_first_market_without_correlation_is_the_only_one() -> None:
    """Bit for bit: the second does not touch it, and its draws are those of a scenario of one market."""
    shared = {"steps": 200, "flow": BUSY, "risk": {"drawdown_limit": 2.0, "exposure_limit": 9.0}}
    alone = mcmm.simulate(mcmm.Scenario.from_dict(shared), paths=300, seed=SEED).values
    rows = mcmm.simulate(make("ab", {}, **shared), paths=300, seed=SEED).values.reshape(3, len(NAMES), 300)
    assert np.array_equal(rows[1], alone, equal_nan=True)
    assert not np.array_equal(rows[2], alone, equal_nan=True)


# ---- what joins them


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.8])
def test_shocks_have_the_correlation(rho: float) -> None:
    """Of each pair of four, step by step; the product of two normals has variance 1 + rho^2."""
    market = {"process": "arithmetic", "initial_mid": 10.0, "tick_size": 0.0, "volatility": 1.0}
    scenario = make(
        "abcd", {"correlation": rho}, steps=101, market=market, flow=QUIET, quoting={"policy": "symmetric"}
    )
    _, trace = traced(scenario, 600)
    z = np.diff(trace["probability"], axis=2)
    count = z.shape[0] * z.shape[2]
    for one in range(4):
        assert_within(z[:, one].var(), 1.0, math.sqrt(2 / count), sees=0.06)
        for other in range(one):
            product = float((z[:, one] * z[:, other]).mean())
            assert_within(product, rho, math.sqrt((1 + rho * rho) / count), sees=0.06)
            # And none with another step's.
            lagged = float((z[:, one, 1:] * z[:, other, :-1]).mean())
            assert_within(lagged, 0.0, math.sqrt(1 / count), sees=0.06)


def test_one_factor_alone_moves_all_alike() -> None:
    _, trace = traced(make("abc", {"correlation": 1.0}, steps=120, market=THRESHOLD, flow=QUIET), 50)
    p = trace["probability"]
    assert np.array_equal(p[:, 0], p[:, 1])
    assert np.array_equal(p[:, 0], p[:, 2])


@pytest.mark.parametrize("rho", [0.25, 0.7, 1.0])
@pytest.mark.parametrize("resolution", [80, 200])
def test_threshold_outcomes_are_those_of_correlated_walks(rho: float, resolution: int) -> None:
    """P(both happen) is that of two normals of this correlation below their quantiles; resolved or not.

    So it is jointly that p is a martingale: what is left after the last step is correlated as well.
    """
    market = {**THRESHOLD, "resolution_step": resolution}
    own = {"b": {"market": {"initial_probability": 0.3}}}
    scenario = make("ab", {"correlation": rho}, steps=80, market=market, flow=QUIET, own=own)
    found = columns(scenario, 60_000)
    both = found["a.outcome"] * found["b.outcome"]
    law = stats.multivariate_normal([0, 0], [[1.0, rho], [rho, 1.0]], allow_singular=True)
    expected = law.cdf([0.0, stats.norm.ppf(0.3)]) if rho < 1 else 0.3
    assert_within(both.mean(), expected, math.sqrt(expected * (1 - expected) / both.size), sees=0.02)


def test_logit_outcomes_stay_independent() -> None:
    market = {"volatility": 0.1, "initial_probability": 0.4}
    found = columns(make("ab", {"correlation": 0.9}, steps=80, market=market, flow=QUIET), 60_000)
    both = mean(found["a.outcome"] * found["b.outcome"])
    assert_within(both.value, 0.16, both.standard_error, sees=0.02)
    # While the fair values move together.
    assert np.corrcoef(found["a.final_probability"], found["b.final_probability"])[0, 1] > 0.3


def test_correlation_is_what_does_not_diversify() -> None:
    """Long in all markets: the variance of the sum is that of one, times n (1 + (n - 1) rho)."""
    market = {"process": "arithmetic", "initial_mid": 10.0, "tick_size": 0.0, "volatility": 0.1}
    orders_of_a_seller = {"arrival_rate": 1.0, "noise_buy_fraction": 0.0, "informed_fraction": 0.0}
    flow = {**orders_of_a_seller, "price_sensitivity": 0.0, "size_distribution": "fixed", "size_mean": 5.0}
    for rho in (0.0, 0.6):
        scenario = make(
            *("abcd", {"correlation": rho}),
            steps=60,
            market=market,
            flow=flow,
            quoting={"policy": "symmetric", "base_spread": 0.0},
            risk={"inventory_limit": 5},
        )
        found = columns(scenario, 40_000)
        assert np.all(found["final_inventory"] == 20)
        one, total = found["a.pnl_fair"].var(), found["pnl_fair"].var()
        assert total / one == pytest.approx(4 * (1 + 3 * rho), rel=0.05)


# ---- the limits on the sum


@pytest.mark.parametrize("limit", [4.0, 15.0])
def test_no_step_adds_more_than_its_share(limit: float) -> None:
    """At its own quote a market adds at most its share of what the last marks left; reducing is free."""
    own = {"b": {"market": THRESHOLD}, "c": {"risk": {"mark": "fair"}, "quoting": {"base_spread": 0.1}}}
    scenario = make("abc", {"exposure_limit": limit, "correlation": 0.4}, steps=150, flow=BUSY, own=own)
    values, t = traced(scenario, 40)
    before = np.concatenate([np.zeros_like(t["inventory"][..., :1]), t["inventory"][..., :-1]], axis=2)
    fair_after = np.concatenate(
        [
            t["probability"][..., 1:],
            np.stack([values[f"{name}.final_probability"] for name in "abc"], 1)[..., None],
        ],
        axis=2,
    )
    mid_after = np.concatenate(
        [t["mid"][..., 1:], np.stack([values[f"{name}.final_mid"] for name in "abc"], 1)[..., None]], axis=2
    )
    mark = np.where(np.arange(3)[None, :, None] == 2, fair_after, mid_after)
    held = t["inventory"]
    exposure = np.where(held > 0, held * mark, -held * (1 - mark)).sum(axis=1)
    np.testing.assert_allclose(values["max_exposure"], exposure.max(axis=1), rtol=1e-12)
    last = np.concatenate([np.zeros_like(exposure[:, :1]), exposure[:, :-1]], axis=1)
    share = np.maximum(0.0, (limit - last) / 3)[:, None, :]
    added_long = np.maximum(held, 0) - np.maximum(before, 0)
    added_short = np.maximum(-held, 0) - np.maximum(-before, 0)
    assert np.all(np.where(added_long > 0, added_long * t["bid"], 0.0) <= share + 2e-9)
    assert np.all(np.where(added_short > 0, added_short * (1 - t["ask"]), 0.0) <= share + 2e-9)
    assert values["exposure_limit_steps"].min() > 0
    # What reduces is quoted whatever the sum: the side of the position has its size.
    full = share == 0.0
    reducing = np.where(before > 0, t["ask_size"], t["bid_size"])
    assert np.all(reducing[np.broadcast_to(full, before.shape) & (before != 0)] > 0)


@pytest.mark.parametrize("baseline", ["peak", "start"])
def test_the_sum_trips_every_market(baseline: str) -> None:
    own = {
        "a": {"risk": {"breaker_action": "halt"}},
        "b": {"risk": {"breaker_action": "flatten"}},
        "c": {"risk": {"breaker_action": "pause", "pause_steps": 7}},
    }
    limit = 1.5
    scenario = make(
        "abc",
        {"drawdown_limit": limit, "correlation": 0.7},
        steps=200,
        market={"volatility": 0.08},
        flow=BUSY,
        risk={"mark": "fair", "drawdown_baseline": baseline},
        own=own,
    )
    v, t = traced(scenario, 60)
    total = t["pnl_fair"][:, 0] + t["pnl_fair"][:, 1] + t["pnl_fair"][:, 2]
    peak = np.maximum(np.maximum.accumulate(total, axis=1), 0.0)
    np.testing.assert_allclose(v["max_drawdown"], (peak - total).max(axis=1), rtol=1e-9)
    drawdown = (peak if baseline == "peak" else 0.0) - total
    over = drawdown >= limit
    first = np.where(over.any(axis=1), over.argmax(axis=1), -1)
    assert np.array_equal(v["halt_step"], first)
    tripped = np.flatnonzero(first >= 0)
    assert tripped.size > 20
    assert np.all(v["halt_reason"] == np.where(first >= 0, 4, 0))
    np.testing.assert_allclose(
        v["breaker_overshoot"][tripped], drawdown[tripped, first[tripped]] - limit, rtol=0, atol=1e-9
    )
    for path in tripped:
        at = int(first[path])
        assert all(v[f"{name}.halt_step"][path] == at for name in "abc")
        assert all(v[f"{name}.halt_reason"][path] == 4 for name in "abc")
        later = slice(at + 1, None)
        assert t["halted"][path, :2, at:].all()
        assert not t["quoting"][path, :2, later].any()
        assert not t["quoting"][path, 2, at + 1 : at + 8].any()
        # The markets that halt are not checked for: what one has left goes on, and may trip again.
        if at + 8 < 200:
            assert t["quoting"][path, 2, at + 8]
            assert not t["inventory"][path, 1, at + 1 :].any()


# ---- common random numbers


def test_no_setting_of_the_maker_moves_a_market() -> None:
    scenario = make("abc", {"correlation": 0.5}, steps=90, flow=BUSY, market={"news_rate": 0.02})
    _, before = traced(scenario, 20)
    for changes in (
        {"portfolio.exposure_limit": 2.0, "portfolio.drawdown_limit": 0.3},
        {"markets.b.quoting.base_spread": 0.1, "markets.a.risk.inventory_limit": 3},
    ):
        _, after = traced(scenario.replace(changes), 20)
        assert np.array_equal(before["probability"], after["probability"])
        assert not np.array_equal(before["inventory"], after["inventory"])


def test_a_market_more_leaves_the_others_their_draws() -> None:
    few, many = (make(names, {"correlation": 0.5}, steps=90, flow=BUSY) for names in ("ab", "abcde"))
    one, other = columns(few, 64), columns(many, 64)
    for name in few.columns[len(NAMES) :]:
        assert np.array_equal(one[name], other[name], equal_nan=True)


def test_the_common_factor_shifts_no_other_draw() -> None:
    """Takers who mind no price trade alike whatever the correlation; only the fair values differ."""
    even = {"informed_fraction": 0.0, "price_sensitivity": 0.0}
    trades = []
    for rho in (0.0, 0.2, 1.0):
        scenario = make(
            *("ab", {"correlation": rho}),
            steps=90,
            flow=even,
            quoting={"policy": "symmetric"},
            risk={"inventory_limit": math.inf},
        )
        trades.append(traced(scenario, 20)[1])
    for after in trades[1:]:
        assert np.array_equal(trades[0]["inventory"], after["inventory"])
        assert not np.array_equal(trades[0]["probability"], after["probability"])
