"""Holding earns nothing on average unless takers know the outcome: then it loses, and settles lower still."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from theory.harness import assert_within, make, mean, metrics

PATHS = 60_000
STEPS = 500

# Whatever the maker and its takers do without knowing O.
UNKNOWING: dict[str, dict[str, Any]] = {
    "uninformed": {"flow.informed_fraction": 0.0},
    "who know p": {"flow.informed_fraction": 0.5},
    "threshold": {"market.process": "threshold"},
    "news": {"market.news_rate": 0.01, "market.news_strength": 0.3, "flow.news_excitation": 0.4},
    "herds and clusters": {"flow.clustering": 0.6, "flow.herding": 0.4, "flow.noise_buy_fraction": 0.6},
    "off the centre": {"market.initial_probability": 0.12, "market.initial_mid": 0.2},
    "reference": {
        "quoting.reference_weight": 0.05,
        "quoting.reference_noise": 0.03,
        "quoting.volatility_factor": 1.0,
    },
    "outages": {"recovery.disconnect_rate": 0.02, "recovery.stale_quotes": True},
    "halt": {"risk.drawdown_limit": 2.0},
    "pause": {"risk.drawdown_limit": 2.0, "risk.breaker_action": "pause", "risk.mark": "fair"},
    "flatten": {"risk.drawdown_limit": 2.0, "risk.breaker_action": "flatten", "risk.mark": "fair"},
    "exposure": {"risk.exposure_limit": 10.0, "risk.close_steps": 100},
    "intensity": {"flow.model": "intensity"},
    "avellaneda_stoikov": {"quoting.policy": "avellaneda_stoikov", "flow.intensity_decay": 40.0},
}


@pytest.mark.parametrize("name", UNKNOWING)
def test_holding_earns_nothing_while_nobody_knows_the_outcome(name: str) -> None:
    found = metrics(make({"steps": STEPS, "market.volatility": 0.05}, UNKNOWING[name]), PATHS)
    for sample in (found["inventory_pnl"], found["pnl_settled"] - found["pnl_fair"]):
        if name == "threshold" and not sample.any():
            continue  # p is O at the end
        estimate = mean(sample)
        # Eight standard errors are at most 3.5% of what a path's holding gains or loses.
        assert_within(estimate.value, 0.0, estimate.standard_error, sees=0.035 * float(sample.std()))
        assert sample.std() > 0.3
    assert found["volume"].mean() > 30


def test_threshold_settles_at_its_last_fair_value() -> None:
    found = metrics(make({"steps": STEPS, "market.process": "threshold"}), 5_000)
    np.testing.assert_allclose(found["pnl_settled"], found["pnl_fair"], rtol=0, atol=1e-9)


def test_who_knows_p_takes_it_from_the_spread() -> None:
    without = metrics(make({"flow.informed_fraction": 0.0}), PATHS)
    with_them = metrics(make({"flow.informed_fraction": 0.3}), PATHS)
    assert with_them["informed_pnl"].max() <= 0.0
    for sample in (with_them["informed_pnl"], with_them["spread_pnl"] - without["spread_pnl"]):
        estimate = mean(sample)
        assert estimate.value < -8 * estimate.standard_error
    estimate = mean(with_them["inventory_pnl"])
    assert_within(estimate.value, 0.0, estimate.standard_error, sees=0.3)


KNOWING = {"flow.informed_know": "outcome", "flow.informed_fraction": 0.3}


def test_who_knows_the_outcome_takes_it_from_holding() -> None:
    found = metrics(make(KNOWING), PATHS)
    for sample in (found["inventory_pnl"], found["pnl_settled"] - found["pnl_fair"]):
        estimate = mean(sample)
        assert estimate.value < -8 * estimate.standard_error
    # The same takers, knowing p alone: neither.
    found = metrics(make(KNOWING, {"flow.informed_know": "probability"}), PATHS)
    for sample in (found["inventory_pnl"], found["pnl_settled"] - found["pnl_fair"]):
        estimate = mean(sample)
        assert_within(estimate.value, 0.0, estimate.standard_error)


def test_once_the_fair_value_has_resolved_settlement_adds_nothing() -> None:
    # 1,000 steps of 0.2: log-odds of +-20 at the end.
    found = metrics(make(KNOWING, {"market.volatility": 0.2}), PATHS)
    estimate = mean(found["inventory_pnl"])
    assert estimate.value < -8 * estimate.standard_error
    gap = mean(found["pnl_settled"] - found["pnl_fair"])
    assert abs(gap.value) < 0.01 * abs(estimate.value)


@pytest.mark.parametrize("know", ["probability", "outcome"])
def test_what_takers_who_know_the_outcome_cost_is_a_loss_of_settled_pnl(know: str) -> None:
    """At a constant fair value holding earns nothing at p; what takers knew shows at settlement alone."""
    found = metrics(make(KNOWING, {"market.volatility": 0.0, "flow.informed_know": know}), PATHS)
    assert not found["inventory_pnl"].any()
    gap = mean(found["pnl_settled"] - found["pnl_fair"])
    if know == "outcome":
        assert gap.value < -8 * gap.standard_error
    else:
        assert_within(gap.value, 0.0, gap.standard_error, sees=1.0)
