"""What a breaker does not save: the jump beyond its limit, the delay, the unwinding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mcmm
from theory.harness import assert_within, make, mean, metrics

BASE: dict[str, Any] = {
    "quoting.base_spread": 0.08,
    "risk.mark": "fair",
    "risk.drawdown_limit": 2.5,
    "risk.pause_steps": 40,
}
COSTS = ("breaker_overshoot", "delay_cost", "unwinding_cost", "realised_overshoot")
ACTIONS = ("halt", "pause", "flatten")


def test_a_path_by_hand() -> None:
    """10 bought at 0.48 when p is 0.50, which falls to 0.40, 0.35, 0.30 and 0.20: 80 cents at once."""
    fair = [0.40, 0.35, 0.30, 0.20]
    orders = pd.DataFrame(
        {"step": range(4), "side": -1, "size": [10, 1, 1, 1], "limit": [0.0, 1.0, 1.0, 1.0], "fair": fair}
    )
    told = {}
    for action in ACTIONS:
        scenario = make(
            {
                **{"steps": 4, "quoting.base_spread": 0.04, "risk.mark": "fair", "risk.drawdown_limit": 0.5},
                **{"risk.breaker_action": action, "risk.pause_steps": 2, "risk.unwind_slippage": 0.01},
            }
        )
        run = mcmm.simulate(scenario, paths=1, orders=orders)
        told[action] = run.paths[list(COSTS)].iloc[0].tolist()
    assert told["halt"] == pytest.approx([0.3, 2.0, 0.0, 2.3])  # to 0.20, the end of the path
    assert told["pause"] == pytest.approx([0.3, 1.0, 0.0, 1.3])  # to 0.30, the end of the pause
    assert told["flatten"] == pytest.approx([0.3, 0.0, 0.1, 0.4])  # at 0.39


@pytest.mark.parametrize("mark", ["mid", "fair"])
@pytest.mark.parametrize("baseline", ["peak", "start"])
@pytest.mark.parametrize("action", ACTIONS)
def test_the_parts_add_up_on_every_path(action: str, baseline: str, mark: str) -> None:
    changes = {"risk.breaker_action": action, "risk.drawdown_baseline": baseline, "risk.mark": mark}
    changes["risk.drawdown_limit"] = (5.0 if mark == "fair" else 2.5) * (2 if baseline == "peak" else 1)
    found = metrics(make(BASE, changes, {"market.news_rate": 0.005, "market.news_strength": 0.3}), 20_000)
    tripped = found["trips"] > 0
    assert 0.05 < tripped.mean() < 0.95
    total = found["breaker_overshoot"] + found["delay_cost"] + found["unwinding_cost"]
    np.testing.assert_allclose(found["realised_overshoot"][tripped], total[tripped], rtol=0, atol=1e-9)
    assert np.isnan(found["realised_overshoot"][~tripped]).all()
    assert found["breaker_overshoot"][tripped].min() >= 0
    if action == "flatten":
        assert not found["delay_cost"][tripped].any()
        assert (found["unwinding_cost"][tripped].mean() > 0.3) or mark == "mid"
    else:
        assert not found["unwinding_cost"][tripped].any()
        # A mid does not move without quotes: marked at it, a delay costs nothing.
        assert found["delay_cost"][tripped].any() == (mark == "fair")


def test_flattening_pays_the_slippage_and_holding_pays_a_risk() -> None:
    """At fair marks an unwinding costs slippage * contracts; a delay costs nothing on average, but swings."""
    runs = {action: metrics(make(BASE, {"risk.breaker_action": action}), 40_000) for action in ACTIONS}
    tripped = runs["halt"]["trips"] > 0
    for run in runs.values():  # up to the trip they are one path
        assert np.array_equal(run["breaker_overshoot"], runs["halt"]["breaker_overshoot"], equal_nan=True)
    held = np.abs(runs["halt"]["final_inventory"])
    unwound = runs["flatten"]["halt_step"] < 999
    np.testing.assert_allclose(
        runs["flatten"]["unwinding_cost"][tripped & unwound], 0.01 * held[tripped & unwound], atol=1e-9
    )
    spread = {}
    for action in ("halt", "pause"):
        delay = runs[action]["delay_cost"][tripped]
        estimate = mean(delay)
        assert_within(estimate.value, 0.0, estimate.standard_error, sees=1.0)
        spread[action] = float(delay.std())
    assert spread["halt"] > 1.5 * spread["pause"] > 0.5
    # 40 steps of p's walk on the inventory held.
    walk = 0.02 * 0.25 * math.sqrt(40)
    assert spread["pause"] == pytest.approx(walk * math.sqrt(np.mean(held[tripped] ** 2)), rel=0.2)
