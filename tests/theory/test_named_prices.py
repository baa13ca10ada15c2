"""glosten_milgrom earns nothing where it is right about its takers; lmsr never loses more than its bound."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mcmm
from theory.harness import SEED, assert_within, make, mean, metrics, traces

OPEN: dict[str, Any] = {
    "market.tick_size": 0.0,
    "flow.price_sensitivity": 0.0,
    "flow.informed_know": "outcome",
    "risk.inventory_limit": math.inf,
}
LEARNS = {**OPEN, "quoting.policy": "glosten_milgrom"}
SCORES = {**OPEN, "quoting.policy": "lmsr"}
# Quotes that are cancelled, rest, are widened and cut, and takers that come in herds.
ROUGH: dict[str, Any] = {
    "market.news_rate": 0.05,
    "market.news_strength": 0.5,
    "flow.herding": 0.5,
    "flow.clustering": 0.5,
    "flow.price_sensitivity": 5.0,
    "risk.inventory_limit": 10,
    "risk.exposure_limit": 2.0,
    "risk.exposure_soft_fraction": 0.3,
    "risk.drawdown_limit": 1.0,
    "risk.breaker_action": "pause",
    "risk.pause_steps": 3,
    "recovery.disconnect_rate": 0.05,
    "recovery.outage_steps": 3,
    "recovery.stale_quotes": True,
    "recovery.ramp_steps": 10,
}


def replay(changes: dict[str, Any], volumes: list[int]) -> mcmm.Simulation:
    """One path on which takers trade these signed volumes, one a step."""
    orders = pd.DataFrame({"step": range(len(volumes)), "side": np.sign(volumes), "size": np.abs(volumes)})
    changes = {**changes, "flow.informed_know": "probability", "steps": len(volumes)}
    return mcmm.simulate(make(changes), paths=1, trace_paths=1, orders=orders)


# ---- glosten_milgrom


def test_glosten_milgrom_quotes_the_published_figures() -> None:
    changes = {**LEARNS, "quoting.assumed_informed_fraction": 0.2, "market.initial_mid": 0.35}
    row = replay(changes, [1]).trace.iloc[0]
    assert (row["bid"], row["ask"]) == (pytest.approx(0.264151, abs=5e-7), pytest.approx(0.446809, abs=5e-7))


def test_the_posterior_after_a_trade_is_the_price_that_it_paid() -> None:
    trace = replay({**LEARNS, "quoting.assumed_informed_fraction": 0.3}, [3, 1, -2, 7, -1, -4, -1, 2]).trace
    paid = np.where(trace["sold"] > 0, trace["ask"], trace["bid"])[:-1]
    np.testing.assert_allclose(trace["mid"][1:], paid, rtol=1e-13)
    # A purchase and a sale say nothing together, whatever their sizes.
    assert trace["mid"][4] == pytest.approx(0.5 * 1.3**2 / (0.5 * 1.3**2 + 0.5 * 0.7**2), rel=1e-13)


def test_the_posterior_is_held() -> None:
    trace = replay({**LEARNS, "quoting.assumed_informed_fraction": 0.99}, [1] * 12 + [-1]).trace
    odds = np.log(trace["mid"] / (1 - trace["mid"]))
    assert odds.max() == pytest.approx(20, rel=1e-6)
    assert odds.iloc[-1] == odds.max()
    assert 0 < trace["bid"].min() < trace["ask"].max() < 1


@pytest.mark.parametrize("process", ["logit", "constant", "news"])
@pytest.mark.parametrize("p_0", [0.5, 0.2])
def test_glosten_milgrom_earns_nothing_from_the_takers_it_expects(process: str, p_0: float) -> None:
    changes = {
        **LEARNS,
        "steps": 300,
        "market.initial_probability": p_0,
        "market.volatility": 0.0 if process == "constant" else 0.05,
        "market.news_rate": 0.02 if process == "news" else 0.0,
        "market.news_strength": 0.3,
        "flow.informed_fraction": 0.25,
    }
    earned = {
        assumed: metrics(make(changes, {"quoting.assumed_informed_fraction": assumed}), 200_000)[
            "pnl_settled"
        ]
        for assumed in (0.25, 0.15, 0.35)
    }
    estimate = mean(earned[0.25])
    assert_within(estimate.value, 0.0, estimate.standard_error, sees=0.15)
    # Who expects fewer of them loses, who expects more earns; the same draws.
    for assumed, sign in ((0.15, -1), (0.35, 1)):
        estimate = mean(sign * earned[assumed])
        assert estimate.value > 8 * estimate.standard_error


def test_the_posterior_is_calibrated() -> None:
    changes = {"steps": 60, "flow.informed_fraction": 0.1, "market.volatility": 0.0}
    found = metrics(make(LEARNS, changes), 400_000)
    edges = [0.0, 0.2, 0.35, 0.45, 0.55, 0.65, 0.8, 1.0]
    for low, high in pairwise(edges):
        inside = (found["final_mid"] > low) & (found["final_mid"] <= high)
        estimate = mean(found["outcome"][inside] - found["final_mid"][inside])
        assert_within(estimate.value, 0.0, estimate.standard_error, sees=0.05)


def test_a_recovery_widens_the_quotes_and_not_what_is_learnt() -> None:
    outages = {**LEARNS, "steps": 200, "recovery.disconnect_rate": 0.05, "recovery.outage_steps": 2}
    outages |= {"recovery.ramp_steps": 20, "flow.informed_fraction": 0.0}
    runs = {
        extra: next(traces(make(outages, {"recovery.conservative_multiplier": extra}), 100))[1]
        for extra in (1.0, 3.0)
    }
    calm, wary = runs[1.0], runs[3.0]
    assert np.array_equal(calm["mid"], wary["mid"])
    for side, sign in (("bid", -1), ("ask", 1)):
        with np.errstate(invalid="ignore"):
            ratio = (wary[side] - wary["mid"]) / (calm[side] - calm["mid"])
        inside = (wary[side] > 1e-6) & (wary[side] < 1 - 1e-6)
        assert 1 - 1e-9 < ratio[inside].min() < ratio[inside].max() < 3 + 1e-9
        assert ratio[inside].max() > 2.9
        assert np.nanmin(sign * (wary[side] - calm[side])) >= -1e-12


# ---- lmsr


def test_lmsr_pays_the_published_figures() -> None:
    # Whole contracts: 138.629 of them lie between 138 and 139, and 138,629 of a thousandth are enough.
    few = [replay(SCORES | {"quoting.quote_size": 200}, [volume]) for volume in (138, 139)]
    assert few[0].paths["final_mid"].iloc[0] < 0.80 < few[1].paths["final_mid"].iloc[0]
    assert few[0].trace["cash"][0] < 91.629 < few[1].trace["cash"][0]
    many = replay(SCORES | {"quoting.quote_size": 10**6, "quoting.liquidity": 1e5}, [138_629])
    assert many.paths["final_mid"].iloc[0] == pytest.approx(0.80, abs=1e-6)
    assert many.trace["cash"][0] / 1000 == pytest.approx(91.629, abs=5e-4)


def test_lmsr_prices_are_what_one_contract_costs() -> None:
    changes = {**SCORES, "quoting.liquidity": 7.0, "market.initial_mid": 0.3}
    trace = replay(changes, [1, 1, -1, -1, -1, 1, 5, -5]).trace
    paid = np.diff(trace["cash"], prepend=0.0)
    ones = slice(0, 6)
    quoted = np.where(trace["sold"] > 0, trace["ask"], -trace["bid"])
    np.testing.assert_allclose(paid[ones], quoted[ones], rtol=0, atol=1e-14)
    assert 5 * trace["ask"][6] < paid[6] < 5 * trace["ask"][6] * 1.5
    # Back where it was: what it was paid, it has paid.
    assert trace["cash"].iloc[-1] == pytest.approx(0, abs=1e-14)
    x = math.log(0.3 / 0.7) + 1 / 7.0
    assert trace["mid"][1] == pytest.approx(1 / (1 + math.exp(-x)), rel=1e-14)


@pytest.mark.parametrize(("mid", "liquidity"), [(0.5, 1e6), (0.01, 1e4), (0.9, 100.0), (0.5, 0.3)])
def test_lmsr_costs_are_exact_for_any_liquidity(mid: float, liquidity: float) -> None:
    """Where a contract hardly moves the price, and where one moves it all the way."""
    mpmath = pytest.importorskip("mpmath")
    changes = {
        **SCORES,
        "market.initial_mid": mid,
        "quoting.liquidity": liquidity,
        "quoting.quote_size": 10**5,
    }
    volumes = [1, 99_999, -100_000, -3, -99_997, 1]
    trace = replay(changes, volumes).trace
    with mpmath.workprec(200):
        x_0 = mpmath.log(mpmath.mpf(mid) / (1 - mpmath.mpf(mid)))

        def cost(sold: int) -> float:
            x = x_0 + sold / mpmath.mpf(liquidity)
            return float(
                mpmath.mpf(liquidity) * (mpmath.log1p(mpmath.exp(x)) - mpmath.log1p(mpmath.exp(x_0)))
            )

        exact = [cost(sold) for sold in np.cumsum(volumes).tolist()]
    np.testing.assert_allclose(trace["cash"], exact, rtol=1e-13, atol=1e-9)


@pytest.mark.parametrize("mid", [0.5, 0.1])
def test_lmsr_never_loses_more_than_its_bound(mid: float) -> None:
    """On every one of a million paths, among takers who know the outcome and make it lose all it can."""
    changes = {
        **SCORES,
        "steps": 24,
        "market.initial_probability": mid,
        "flow.arrival_rate": 1.0,
        "flow.informed_fraction": 0.6,
        "quoting.liquidity": 5.0,
    }
    bound = 5.0 * max(-math.log(mid), -math.log(1 - mid))
    least = metrics(make(changes), 1_000_000)["pnl_settled"].min()
    assert -bound - 1e-12 <= least < -0.9999 * bound


def test_nor_does_it_through_outages_pauses_and_limits() -> None:
    changes = {**SCORES, **ROUGH, "steps": 80, "quoting.liquidity": 5.0, "market.initial_probability": 0.3}
    found = metrics(make(changes, {"flow.arrival_rate": 0.9, "flow.informed_fraction": 0.5}), 200_000)
    assert found["pnl_settled"].min() >= -5.0 * -math.log(0.3) - 1e-12
    for acted in ("trips", "outages", "exposure_limit_steps", "inventory_limit_steps"):
        assert (found[acted] > 0).mean() > 0.01, acted


def test_without_recovery_cash_follows_from_the_contracts_sold() -> None:
    """However they came: the cost function has no memory."""
    values, trace = next(traces(make(SCORES, {"steps": 200, "flow.arrival_rate": 1.0}), 200, seed=SEED))
    assert values["volume"].min() > 100
    inventory, order = np.unique(trace["inventory"], return_index=True)
    cash = trace["cash"].ravel()[order]
    np.testing.assert_allclose(
        trace["cash"], cash[np.searchsorted(inventory, trace["inventory"])], atol=1e-11
    )
    assert (np.bincount(np.searchsorted(inventory, trace["inventory"].ravel())) > 20).sum() > 100
