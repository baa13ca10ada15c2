"""Adaptive retold as a policy of one's own: the same bits among several markets, and in an order book."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_policies import code_in_docs, plain

import mcmm

LOSING = {"arrival_rate": 0.9, "informed_fraction": 0.6, "price_sensitivity": 5.0}
JOINED: dict[str, dict[str, Any]] = {
    "three markets": {
        "steps": 120,
        "market": {"volatility": 0.08},
        "flow": LOSING,
        "quoting": {"base_spread": 0.02},
        "risk": {"breaker_action": "pause", "pause_steps": 9, "inventory_limit": 15, "drawdown_limit": 0.2},
        "recovery": {"disconnect_rate": 0.02, "outage_steps": 5, "ramp_steps": 10},
        "markets": [
            {"name": "fed", "risk": {"exposure_limit": 6.0, "mark": "fair"}},
            {"name": "cpi", "market": {"process": "threshold"}, "recovery": {"stale_quotes": True}},
            {"name": "btc", "quoting": {"reference_weight": 0.05}, "risk": {"breaker_action": "flatten"}},
        ],
        "portfolio": {"correlation": 0.5, "exposure_limit": 12.0, "drawdown_limit": 0.5},
    },
    # Nothing of a market's own but the limit of its inventory, and yet the portfolio's on its exposure.
    "a shared limit": {
        "steps": 90,
        "flow": LOSING,
        "risk": {"inventory_limit": 15},
        "markets": [{"name": name} for name in "abc"],
        "portfolio": {"exposure_limit": 9.0},
    },
    "a shared halt": {
        "steps": 90,
        "market": {"volatility": 0.08},
        "flow": LOSING,
        "quoting": {"base_spread": 0.02},
        "risk": {"inventory_limit": 15, "mark": "fair"},
        "markets": [{"name": name} for name in "abc"],
        "portfolio": {"drawdown_limit": 1.2},
    },
    "a book": {
        "steps": 60,
        "venue": "book",
        "flow": {"arrival_rate": 0.6, "informed_fraction": 0.5},
        "quoting": {"base_spread": 0.02, "quote_size": 6, "reference_weight": 0.1, "inventory_shade": 0.01},
        "risk": {"inventory_limit": 6, "drawdown_limit": 0.1, "breaker_action": "pause", "pause_steps": 7},
        "recovery": {"disconnect_rate": 0.03, "outage_steps": 4},
        "book": {"activity": 0.2, "warmup_steps": 5, "cancel_latency": 2, "place_latency": 1},
    },
}
ACTED = {
    "three markets": ["trips", "fed.trips", "outages", "inventory_limit_steps", "exposure_limit_steps"],
    "a shared limit": ["inventory_limit_steps", "exposure_limit_steps"],
    "a shared halt": ["trips", "inventory_limit_steps"],
    "a book": ["trips", "outages", "inventory_limit_steps"],
}


@pytest.fixture(scope="module")
def compiled() -> Any:
    """Adaptive as docs/policies.md compiles it."""
    names: dict[str, Any] = {}
    exec(next(code_in_docs()), names)
    return names["adaptive"]


@pytest.mark.parametrize("joined", JOINED)
def test_adaptive_retold_has_the_same_bits(joined: str, compiled: Any) -> None:
    built_in = mcmm.Scenario.from_dict(JOINED[joined])
    own = built_in.replace({"quoting.policy": "custom"})
    expected = mcmm.simulate(built_in, paths=130, seed=5, trace_paths=3)
    for column in ACTED[joined]:
        assert (expected.paths[column] > 0).mean() > 0.1, column
    if joined == "three markets":
        assert {"drawdown", "portfolio_drawdown"} <= set(expected.paths["fed.halt_reason"])
    for policy in (compiled, plain):
        found = mcmm.simulate(own, paths=130, seed=5, trace_paths=3, policy=policy)
        np.testing.assert_array_equal(found.values, expected.values)
        assert found.trace.equals(expected.trace)
