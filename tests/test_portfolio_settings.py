"""Each setting that a market may have for itself, swept: it changes that market, and no other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import mcmm
from mcmm.errors import StudyError
from mcmm.policies import QuoteView
from mcmm.scenario import Scenario
from mcmm.settings import MARKET_NAMES
from mcmm.study import Study

INF = math.inf
Changes = dict[str, Any]
PATHS, STEPS = 24, 50
BUSY: Changes = {"flow.arrival_rate": 0.9, "flow.informed_fraction": 0.4, "flow.price_sensitivity": 5.0}
LOSING: Changes = {"flow.informed_fraction": 0.7, "market.volatility": 0.1, "quoting.base_spread": 0.02}
VENUE: Changes = {"venue": "book", "book.activity": 0.3, "book.warmup_steps": 5, "quoting.base_spread": 0.02}

# What a market has, for settings to act at all, and what each of these settings is changed to there.
GROUNDS: list[tuple[Changes, Changes]] = [
    (
        LOSING | {"market.initial_mid": 0.5},
        {
            **{"market.initial_probability": 0.4, "market.initial_mid": 0.4, "market.tick_size": 0.001},
            **{"market.process": "threshold", "market.volatility": 0.05, "market.news_rate": 0.1},
            **{"flow.model": "intensity", "flow.arrival_rate": 0.5, "flow.clustering": 0.5},
            **{"flow.informed_fraction": 0.1, "flow.informed_know": "outcome"},
            **{"flow.noise_buy_fraction": 0.8, "flow.herding": 0.5, "flow.price_sensitivity": 20.0},
            **{
                "flow.size_distribution": "lognormal",
                "flow.size_mean": 6.0,
                "flow.size_max": 3,
                "fees.maker_rate": 0.02,
            },
            **{"quoting.policy": "avellaneda_stoikov", "quoting.base_spread": 0.06},
            **{"quoting.imbalance_factor": 3.0, "quoting.inventory_factor": 9.0, "quoting.quote_size": 3},
            **{"quoting.imbalance_window": 4, "quoting.reference_weight": 0.5, "quoting.fill_shade": 0.01},
            **{"quoting.volatility_factor": 3.0, "quoting.imbalance_shade": 0.02},
            **{"quoting.inventory_shade": 0.09, "risk.inventory_limit": 10, "risk.exposure_limit": 3.0},
            **{"risk.drawdown_limit": 0.2, "risk.loss_limit": 0.15, "risk.volume_limit": 25},
            **{"risk.close_steps": 20, "recovery.disconnect_rate": 0.1},
        },
    ),
    (
        {
            **{"market.news_rate": 0.1, "market.news_strength": 0.3, "flow.arrival_rate": 0.5},
            **{"flow.clustering": 0.5, "fees.maker_rate": 0.02, "quoting.reference_weight": 0.5},
            **{"risk.inventory_limit": 15, "quoting.defensive_threshold": 0.5},
            **{"quoting.defensive_shade": 0.02, "flow.noise_buy_fraction": 0.7},
            **{"risk.exposure_limit": 4.0, "risk.exposure_soft_fraction": 0.3},
            **{"recovery.disconnect_rate": 0.1, "recovery.outage_steps": 4, "recovery.ramp_steps": 8},
            "schedule.arrival_rate": [[0, 0.6], [25, 1.0]],
        },
        {
            **{"market.news_strength": 0.2, "flow.clustering_steps": 5.0, "flow.news_excitation": 0.5},
            **{"fees.rounding": 0.01, "quoting.reference_noise": 0.05, "quoting.defensive_threshold": 0.2},
            **{"quoting.defensive_shade": 0.05, "risk.exposure_soft_fraction": 0.9},
            **{"risk.passive_multiplier": 5.0, "recovery.outage_steps": 8, "recovery.stale_quotes": True},
            **{"recovery.conservative_multiplier": 6.0, "recovery.ramp_steps": 20, "schedule.amplitude": 0.2},
        },
    ),
    (
        LOSING
        | {
            **{"risk.drawdown_limit": 0.9, "risk.breaker_action": "pause", "risk.pause_steps": 5},
            **{"risk.loss_limit": 0.5, "risk.loss_window": 4, "risk.volume_limit": 30},
            "risk.volume_window": 8,
        },
        {
            **{"risk.mark": "fair", "risk.drawdown_baseline": "start", "risk.breaker_action": "flatten"},
            **{"risk.pause_steps": 10, "risk.loss_window": 1, "risk.volume_window": 20},
        },
    ),
    (
        LOSING | {"risk.drawdown_limit": 0.2, "risk.breaker_action": "flatten"},
        {"risk.unwind_slippage": 0.05},
    ),
    ({"market.process": "threshold", "market.resolution_step": 60}, {"market.resolution_step": 90}),
    ({"flow.size_distribution": "lognormal"}, {"flow.size_sigma": 0.5}),
    (
        {"flow.model": "intensity", "quoting.policy": "avellaneda_stoikov"},
        {
            **{"flow.intensity_scale": 60.0, "flow.intensity_decay": 9.0, "flow.dt": 0.002},
            "quoting.risk_aversion": 5.0,
        },
    ),
    (
        {"market.tick_size": 0.0, "quoting.policy": "glosten_milgrom"},
        {"quoting.assumed_informed_fraction": 0.3},
    ),
    ({"market.tick_size": 0.0, "quoting.policy": "lmsr"}, {"quoting.liquidity": 40.0}),
    (
        VENUE,
        {
            **{"book.market_rate": 4.0, "book.activity": 0.6, "book.recentre_strength": 0.0},
            **{"book.recentre_lag": 1.0, "book.warmup_steps": 10, "book.passive_fraction": 0.9},
            **{"book.place_latency": 3, "book.cancel_latency": 3, "book.fill_rule": "touch"},
            **{"book.join_only": True, "book.top_up": False},
        },
    ),
]

# Those that hold a list, which no axis takes.
LISTS: dict[str, tuple[Changes, Any, Any]] = {
    "flow.size_table": ({"flow.size_distribution": "empirical"}, [[1, 1.0], [5, 1.0]], [[1, 1.0], [9, 3.0]]),
    "quoting.parameters": ({"quoting.policy": "custom"}, [0.02], [0.05]),
    "schedule.arrival_rate": ({}, [], [[10, 0.3]]),
    "schedule.informed_fraction": ({}, [], [[10, 0.1]]),
    "schedule.volatility": ({}, [], [[10, 4.0]]),
    "schedule.news": ({}, [], [[10, 0.4]]),
    "schedule.pauses": ({}, [], [{"start": 10, "steps": 20}]),
    "book.limit_rates": (VENUE, [1.85, 1.51, 1.09, 0.88, 0.77], [3.0, 1.5, 1.0, 0.9, 0.8]),
    "book.cancel_rates": (VENUE, [0.71, 0.81, 0.68, 0.56, 0.47], [0.3, 0.4, 0.7, 0.6, 0.5]),
}


def two_markets(changes: Changes) -> Scenario:
    """Two markets, of which a has the changes."""
    tables: dict[str, Any] = {"name": "a"}
    for setting, value in {**BUSY, **changes}.items():
        table, _, leaf = setting.partition(".")
        if leaf:
            tables.setdefault(table, {})[leaf] = value
    return Scenario.from_dict(
        {"steps": STEPS, "venue": changes.get("venue", "quote"), "markets": [tables, {"name": "b"}]}
    )


def told(summary: Any, point: int, market: str) -> bytes:
    """All that a summary says of a market at a point, NaN included."""
    columns = [name for name in summary.columns if name.startswith(f"{market}.")]
    assert len(columns) > 100
    return summary.loc[point, columns].to_numpy(dtype=np.float64).tobytes()


def parametrised(view: QuoteView) -> None:
    view.bid[:] = view.mid - view.parameters[0]
    view.ask[:] = view.mid + view.parameters[0]


def test_every_setting_of_a_market_is_here() -> None:
    here = [*LISTS, *(name for _, changed in GROUNDS for name in changed)]
    assert sorted(here) == sorted(MARKET_NAMES)


def test_a_sweep_of_any_setting_changes_its_market_alone() -> None:
    wrong = []
    for ground, changed in GROUNDS:
        scenario = two_markets(ground)
        axes = {f"markets.a.{name}": value for name, value in changed.items()}
        first = next(iter(axes))
        designs = [{"axes": {name: [value]}} for name, value in ((first, scenario.get(first)), *axes.items())]
        points = {"design": "union", "designs": designs}
        study = Study(name="each", scenario=scenario, paths=PATHS, seed=3, points=points)
        assert study.count == 1 + len(axes)
        summary = mcmm.sweep(study, jobs=1).summary
        for point, (name, value) in enumerate(axes.items(), 1):
            if told(summary, point, "a") == told(summary, 0, "a"):
                wrong.append(f"{name}: {value} changes nothing")
            if told(summary, point, "b") != told(summary, 0, "b"):
                wrong.append(f"{name}: {value} changes another market")
            alone = mcmm.simulate(scenario.replace({name: value}), paths=PATHS, seed=3)
            expected = alone.summary(metrics=["a.pnl_fair"]).loc["a.pnl_fair", "mean"]
            if summary.loc[point, "a.pnl_fair.mean"] != expected:
                wrong.append(f"{name}: {value} is not what simulate makes of it")
    assert not wrong, "\n".join(wrong)


def test_a_list_changes_its_market_alone() -> None:
    wrong = []
    for name, (ground, first, second) in LISTS.items():
        scenario, setting = two_markets(ground | {name: first}), f"markets.a.{name}"
        policy = parametrised if name == "quoting.parameters" else None
        left, right = (
            mcmm.simulate(each, paths=PATHS, seed=3, policy=policy)
            for each in (scenario, scenario.replace({setting: second}))
        )
        if left.market("a").equals(right.market("a")):
            wrong.append(f"{setting}: {first} and {second} give the same")
        if not left.market("b").equals(right.market("b")):
            wrong.append(f"{setting}: {second} changes another market")
        with pytest.raises(StudyError, match=name):
            Study(name="each", scenario=scenario, paths=1, points={"axes": {setting: [first, second]}})
    assert not wrong, "\n".join(wrong)
