"""Scenarios that between them use every process, flow, policy, limit, breaker and size law.

Their values are frozen in data/golden.json. A new scenario is a new entry of SCENARIOS, and then
`python tests/golden.py --write` adds its hash. A change of an entry or of the stream changes the hashes.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import mcmm
from mcmm.policies import QuoteView

INF = math.inf
SEED = 20_240_607
FROZEN = 130  # two blocks and a bit

SCENARIOS: dict[str, dict[str, Any]] = {
    "default": {"steps": 300},
    "constant": {
        "steps": 64,
        "market": {"volatility": 0.0},
        "flow": {"informed_fraction": 0.0, "price_sensitivity": 0.0, "size_distribution": "fixed"},
        "quoting": {"policy": "symmetric"},
        "risk": {"inventory_limit": INF},
    },
    "news": {
        "steps": 250,
        "market": {"initial_probability": 0.3, "volatility": 0.05, "news_rate": 0.02, "news_strength": 0.3},
        "flow": {
            **{"clustering": 0.5, "news_excitation": 0.5, "herding": 0.3, "informed_know": "outcome"},
            **{"size_distribution": "lognormal", "size_mean": 5.0},
        },
        "quoting": {"volatility_factor": 0.5, "inventory_shade": 0.01},
        "fees": {"maker_rate": 0.07, "rounding": 0.01},
    },
    "threshold": {
        "steps": 200,
        "market": {"process": "threshold", "initial_probability": 0.4, "tick_size": 0.001},
        "quoting": {"reference_weight": 0.3, "reference_noise": 0.02, "volatility_factor": 0.3},
    },
    "closing": {
        "steps": 150,
        "market": {"process": "threshold"},
        "flow": {
            **{"clustering": 0.4, "price_sensitivity": 40.0, "informed_fraction": 0.3},
            **{"size_distribution": "empirical", "size_max": 367},
            "size_table": [[1, 6], [2, 2], *([k * k, 1] for k in range(2, 7)), [131, 1], [367, 1]],
        },
        "quoting": {
            **{"quote_size": 50, "base_spread": 0.01, "volatility_factor": 0.24},
            **{"reference_weight": 0.5, "reference_noise": 0.005},
        },
        "risk": {"inventory_limit": 60, "close_steps": 40, "drawdown_limit": 20.0},
    },
    "threshold exposure": {
        "steps": 150,
        "market": {"process": "threshold", "resolution_step": 400, "initial_mid": 0.6},
        "flow": {"arrival_rate": 0.9, "price_sensitivity": 5.0},
        "quoting": {"policy": "avellaneda_stoikov", "reference_weight": 0.1},
        "risk": {"exposure_limit": 8.0, "exposure_soft_fraction": 0.5, "close_steps": 30, "mark": "fair"},
        "fees": {"maker_rate": -0.01},
    },
    "textbook": {
        "steps": 200,
        "market": {"process": "arithmetic", "initial_mid": 100.0, "tick_size": 0.0, "volatility": 0.1414},
        "flow": {"model": "intensity"},
        "quoting": {"policy": "avellaneda_stoikov"},
        "risk": {"inventory_limit": INF},
    },
    "unbounded grid": {
        "steps": 120,
        "market": {"process": "arithmetic", "initial_mid": -1.25, "tick_size": 0.05, "volatility": 0.1},
        "flow": {"model": "intensity", "intensity_decay": 0.5},
        "quoting": {"policy": "symmetric", "base_spread": 0.3},
        "risk": {"inventory_limit": 9, "loss_limit": 2.0, "loss_window": 30, "breaker_action": "flatten"},
    },
    "pauses": {
        "steps": 300,
        "flow": {"arrival_rate": 0.9, "informed_fraction": 0.4},
        "risk": {
            **{
                "drawdown_limit": 0.8,
                "loss_limit": 0.7,
                "loss_window": 8,
                "volume_limit": 40,
                "volume_window": 9,
            },
            **{"breaker_action": "pause", "pause_steps": 12},
        },
        "recovery": {"disconnect_rate": 0.02, "outage_steps": 6, "stale_quotes": True, "ramp_steps": 20},
    },
    "flattens": {
        "steps": 200,
        "flow": {"arrival_rate": 1.0, "informed_fraction": 0.3},
        "risk": {
            "drawdown_limit": 1.5,
            "drawdown_baseline": "start",
            "mark": "fair",
            "breaker_action": "flatten",
        },
        "recovery": {"disconnect_rate": 0.01, "outage_steps": 10, "conservative_multiplier": 2.0},
    },
    "halts": {
        "steps": 180,
        "flow": {"model": "intensity"},
        "quoting": {"imbalance_window": 7, "imbalance_factor": 2.0, "imbalance_shade": 0.01},
        "risk": {"volume_limit": 60, "volume_window": 60, "inventory_limit": 4},
    },
    "large sizes": {
        "steps": 150,
        "flow": {
            **{"arrival_rate": 0.8, "size_distribution": "empirical", "size_max": 500},
            **{"size_table": [[1, 5.0], [10, 3.0], [75, 1.5], [120, 1.0], [500, 0.25]]},
        },
        "quoting": {"quote_size": 200},
        "risk": {"inventory_limit": 1000},
    },
    "one tick": {
        "steps": 100,
        "market": {"tick_size": 0.25, "volatility": 0.3, "initial_mid": 0.25},
        "flow": {"arrival_rate": 1.0, "clustering": 0.9, "clustering_steps": 3.0, "noise_buy_fraction": 0.9},
        "quoting": {"base_spread": 0.0, "quote_size": 3},
        "risk": {"inventory_limit": 5, "exposure_limit": 2.0},
    },
    # The reduced bot's path: one pass a phase, and no takers for what the drawdown has halted.
    "reduced": {
        "steps": 150,
        "market": {"volatility": 0.06},
        "flow": {
            **{"arrival_rate": 0.5, "informed_fraction": 0.5, "price_sensitivity": 0.0},
            **{"size_mean": 2.857, "size_max": 10},
        },
        "quoting": {
            **{"base_spread": 0.02, "inventory_factor": 1.0, "fill_shade": 0.005, "imbalance_shade": 0.0},
        },
        "risk": {"drawdown_limit": 0.5},
    },
    "posterior": {
        "steps": 150,
        "market": {"tick_size": 0.0, "initial_probability": 0.3, "news_rate": 0.01, "news_strength": 0.5},
        "flow": {"informed_know": "outcome", "informed_fraction": 0.2, "arrival_rate": 0.7},
        "quoting": {"policy": "glosten_milgrom", "assumed_informed_fraction": 0.2},
        "risk": {"exposure_limit": 15.0, "exposure_soft_fraction": 0.5},
        "recovery": {"disconnect_rate": 0.02, "outage_steps": 4, "stale_quotes": True},
    },
    "scoring rule": {
        "steps": 150,
        "market": {"tick_size": 0.0, "process": "threshold", "initial_mid": 0.6},
        "flow": {"arrival_rate": 0.8, "size_mean": 6.0},
        "quoting": {"policy": "lmsr", "liquidity": 25.0},
        "risk": {"drawdown_limit": 2.0, "breaker_action": "pause", "pause_steps": 10},
        "recovery": {"ramp_steps": 8},
        "fees": {"maker_rate": 0.02, "rounding": 0.01},
    },
    "schedule": {
        "steps": 200,
        "market": {"volatility": 0.04, "news_rate": 0.005, "news_strength": 0.2},
        "flow": {"clustering": 0.4, "news_excitation": 0.4, "price_sensitivity": 8.0},
        "quoting": {"volatility_factor": 0.5},
        "recovery": {"ramp_steps": 15, "disconnect_rate": 0.01, "outage_steps": 7},
        "schedule": {
            "arrival_rate": [[0, 1.5], [60, 0.4], [150, 2.0]],
            "informed_fraction": [[140, 3.0]],
            "volatility": [[30, 0.5], [140, 2.5]],
            "amplitude": 0.8,
            "news": [[141, 0.4], [170]],
            "pauses": [{"start": 100, "steps": 20, "quotes": "rest"}, {"start": 142, "steps": 8}],
        },
    },
    "custom": {
        "steps": 120,
        "quoting": {"policy": "custom", "reference_weight": 0.05},
        "risk": {
            "inventory_limit": 30,
            "exposure_limit": 12.0,
            "drawdown_limit": 1.5,
            "breaker_action": "pause",
        },
        "recovery": {"disconnect_rate": 0.02, "outage_steps": 5, "ramp_steps": 10},
    },
    # Nothing but the inventory limit acts on its quote, which is shown and placed in one pass.
    "custom at once": {
        "steps": 40,
        "market": {"volatility": 0.04},
        "flow": {"arrival_rate": 0.9, "noise_buy_fraction": 0.7},
        "quoting": {"policy": "custom", "imbalance_shade": 0.01},
        "risk": {"inventory_limit": 12},
    },
    "replay": {
        "steps": 90,
        "flow": {"model": "replay"},
        "market": {"process": "threshold", "initial_probability": 0.55},
        "risk": {"inventory_limit": 12},
        "fees": {"maker_rate": 0.07, "rounding": 0.01},
    },
    "portfolio": {
        "steps": 160,
        "flow": {"arrival_rate": 0.9, "informed_fraction": 0.4},
        "markets": [
            {"name": "fed", "quoting": {"base_spread": 0.02}, "risk": {"breaker_action": "pause"}},
            {
                "name": "cpi",
                "market": {"process": "threshold", "resolution_step": 200, "initial_probability": 0.3},
                "risk": {"breaker_action": "flatten"},
            },
            {"name": "btc", "flow": {"model": "intensity"}, "risk": {"exposure_limit": 9.0, "mark": "fair"}},
        ],
        "portfolio": {"correlation": 0.6, "exposure_limit": 25.0, "drawdown_limit": 1.5},
    },
    "book": {
        "steps": 50,
        "venue": "book",
        "market": {"volatility": 0.05, "news_rate": 0.02, "news_strength": 0.2},
        "flow": {"arrival_rate": 0.5, "clustering": 0.2, "herding": 0.3, "informed_fraction": 0.3},
        "quoting": {"base_spread": 0.02, "quote_size": 6, "reference_weight": 0.3, "inventory_shade": 0.01},
        "fees": {"maker_rate": 0.0175, "rounding": 0.01},
        "risk": {"inventory_limit": 30, "drawdown_limit": 1.0, "breaker_action": "pause", "pause_steps": 7},
        "recovery": {"disconnect_rate": 0.03, "outage_steps": 4},
        "book": {
            **{"activity": 0.2, "warmup_steps": 5, "passive_fraction": 0.3, "cancel_latency": 2},
            **{"place_latency": 1, "join_only": True},
        },
    },
    "books": {
        "steps": 30,
        "venue": "book",
        "flow": {"arrival_rate": 0.6, "informed_fraction": 0.3},
        "quoting": {"base_spread": 0.02, "quote_size": 5, "reference_weight": 0.2},
        "risk": {"inventory_limit": 40, "breaker_action": "pause", "pause_steps": 6},
        "book": {"activity": 0.15, "warmup_steps": 4},
        "markets": [
            {
                "name": "fed",
                "market": {"volatility": 0.08},
                "book": {"place_latency": 2, "cancel_latency": 1},
            },
            {
                "name": "cpi",
                "market": {"process": "threshold", "resolution_step": 60, "initial_probability": 0.3},
                "risk": {"breaker_action": "flatten", "mark": "fair"},
                "book": {
                    "limit_rates": [round(1.5 - 0.09 * i, 2) for i in range(16)],
                    "cancel_rates": [round(0.8 - 0.04 * i, 2) for i in range(16)],
                    "passive_fraction": 0.3,
                },
            },
            {
                "name": "btc",
                "market": {"tick_size": 0.05, "initial_probability": 0.6},
                "quoting": {"policy": "symmetric", "base_spread": 0.1},
                "book": {"fill_rule": "touch", "top_up": False, "recentre_strength": 60.0},
            },
        ],
        "portfolio": {"correlation": 0.6, "exposure_limit": 8.0, "drawdown_limit": 0.1},
    },
}

ORDERS = pd.DataFrame(
    {
        "step": np.arange(90),
        "side": np.where(np.arange(90) * 7 % 5 < 2, -1, 1),
        "size": 1 + np.arange(90) * 11 % 13,
        "limit": np.where(np.arange(90) % 3 == 0, 0.40 + np.arange(90) % 23 / 100, np.nan),
        "fair": np.where(np.arange(90) % 4 == 0, 0.35 + np.arange(90) % 31 / 100, np.nan),
    }
)


def skewed(view: QuoteView) -> None:
    """A policy of one's own: around the mid, skewed by the inventory."""
    half = (0.02 + 0.03 * abs(view.imbalance)) * view.multiplier
    centre = view.mid - 0.02 * view.inventory_ratio
    view.bid[:] = centre - half * view.bid_multiplier
    view.ask[:] = centre + half * view.ask_multiplier


POLICIES = {name: skewed for name in SCENARIOS if name.startswith("custom")}

# What a sweep can run: a study has no orders.
SWEPT = [name for name in SCENARIOS if name != "replay"]


def named_policy(name: str) -> str | None:
    """A scenario's policy as other processes find it: file.py:name."""
    return f"{__file__}:{POLICIES[name].__name__}" if name in POLICIES else None


def simulate(name: str, paths: int, **options: Any) -> mcmm.Simulation:
    """Simulate a scenario of the panel."""
    orders = ORDERS if name == "replay" else None
    scenario = mcmm.Scenario.from_dict(SCENARIOS[name])
    arguments = {"seed": SEED, "orders": orders, "policy": POLICIES.get(name), **options}
    return mcmm.simulate(scenario, paths=paths, **arguments)


def values(name: str, paths: int, **options: Any) -> NDArray[np.float64]:
    """Its values, with one NaN and one zero, so that equal values have equal bytes."""
    return plain(simulate(name, paths, **options).values)


def plain(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values with one NaN and one zero."""
    told = values + 0.0
    told[np.isnan(told)] = np.nan
    return np.ascontiguousarray(told, dtype="<f8")


def digest(name: str, near: NDArray[np.float64] | None = None, **options: Any) -> str:
    """The hash of what is frozen: 130 paths from the first one on, and as many from a far one.

    `near` is where the first ones come from another place than `simulate`.
    """
    if near is None:
        near = values(name, FROZEN, **options)
    far = values(name, FROZEN, first_path=2**40 + 7, **options)
    return hashlib.sha256(near.tobytes() + far.tobytes()).hexdigest()
