"""Scenarios of every kind, drawn from a seed: all settings vary, and every limit and breaker acts in some."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

import mcmm

__all__ = ["random_case"]

Case = tuple[mcmm.Scenario, pd.DataFrame | None]


def random_case(seed: int) -> Case:
    """Return a scenario and, for one in ten, orders to replay."""
    draw = np.random.default_rng([77, seed])

    def between(low: float, high: float) -> float:
        return float(draw.uniform(low, high))

    def whole(low: int, high: int) -> int:
        return int(draw.integers(low, high + 1))

    def one_of(*values: Any) -> Any:
        return values[int(draw.integers(len(values)))]

    def sometimes(chance: float, value: Callable[[], Any], otherwise: Any) -> Any:
        return value() if draw.random() < chance else otherwise

    process = one_of("logit", "logit", "logit", "threshold", "arithmetic")
    flow = one_of("takers", "takers", "takers", "intensity", "replay")
    bounded = process != "arithmetic"
    steps = whole(1, 260)
    ticks = int(one_of(100, 100, 1000, 50, 7, 4))
    changes: dict[str, Any] = {
        "steps": steps,
        "market.process": process,
        "market.initial_probability": between(0.02, 0.98),
        "market.tick_size": 1 / ticks if bounded else one_of(0.0, 0.01),
        "market.volatility": one_of(0.0, between(0.0, 0.3), 0.05) if bounded else between(0.0, 0.5),
        "flow.model": flow,
        "flow.arrival_rate": between(0.1, 1.0),
        "flow.clustering": sometimes(0.4, lambda: between(0, 0.95), 0.0),
        "flow.clustering_steps": between(1, 40),
        "flow.informed_fraction": sometimes(0.7, lambda: between(0, 1), 0.0),
        "flow.noise_buy_fraction": between(0.2, 0.8),
        "flow.herding": sometimes(0.5, lambda: between(0, 1), 0.0),
        "flow.price_sensitivity": sometimes(0.5, lambda: between(0, 60), 0.0),
        "flow.size_mean": float(whole(1, 8)),
        "flow.size_max": whole(8, 60),
        "flow.size_distribution": one_of("geometric", "fixed", "lognormal"),
        "flow.intensity_decay": between(1, 30),
        "fees.maker_rate": sometimes(0.5, lambda: between(-0.05, 0.1), 0.0) if bounded else 0.0,
        "fees.rounding": one_of(0.0, 0.01) if bounded else 0.0,
        "quoting.policy": one_of("adaptive", "adaptive", "symmetric", "avellaneda_stoikov")
        if bounded
        else one_of("symmetric", "avellaneda_stoikov"),
        "quoting.base_spread": between(0, 0.2),
        "quoting.imbalance_factor": between(0, 2),
        "quoting.inventory_factor": between(0, 2),
        "quoting.quote_size": whole(1, 40),
        "quoting.imbalance_window": whole(1, 80),
        "quoting.reference_weight": sometimes(0.3, lambda: between(0, 0.5), 0.0),
        "quoting.reference_noise": between(0, 0.05) if flow != "replay" else 0.0,
        "quoting.volatility_factor": sometimes(0.3, lambda: between(0, 2), 0.0),
        "quoting.fill_shade": between(-0.002, 0.02),
        "quoting.imbalance_shade": between(0, 0.01),
        "quoting.inventory_shade": between(0, 0.01),
        "quoting.defensive_threshold": between(0, 0.9),
        "quoting.defensive_shade": between(0, 0.02),
        "quoting.risk_aversion": between(0.01, 2),
        "risk.inventory_limit": sometimes(0.75, lambda: whole(1, 120), math.inf),
        "risk.exposure_limit": sometimes(0.4, lambda: between(0.3, 30), math.inf) if bounded else math.inf,
        "risk.exposure_soft_fraction": between(0, 1),
        "risk.passive_multiplier": between(1, 5),
        "risk.mark": one_of("mid", "fair"),
        "risk.drawdown_baseline": one_of("peak", "start"),
        "risk.breaker_action": one_of("halt", "pause", "flatten"),
        "risk.pause_steps": whole(1, 40),
        "risk.drawdown_limit": sometimes(0.35, lambda: between(0.1, 5), math.inf),
        "risk.loss_limit": sometimes(0.35, lambda: between(0.1, 3), math.inf),
        "risk.loss_window": whole(1, 40),
        "risk.volume_limit": sometimes(0.25, lambda: whole(3, 80), math.inf),
        "risk.volume_window": whole(1, 40),
        "risk.unwind_slippage": between(0, 0.05),
        "risk.close_steps": sometimes(0.3, lambda: whole(0, steps), 0),
        "recovery.disconnect_rate": sometimes(0.4, lambda: between(0, 0.1), 0.0) if flow != "replay" else 0.0,
        "recovery.outage_steps": whole(1, 30),
        "recovery.stale_quotes": one_of(True, False),
        "recovery.conservative_multiplier": between(1, 5),
        "recovery.ramp_steps": whole(0, 40),
    }
    if process == "logit":
        changes["flow.informed_know"] = (
            one_of("probability", "outcome") if flow != "replay" else "probability"
        )
        changes["market.news_rate"] = sometimes(0.3, lambda: between(0, 0.1), 0.0)
        changes["market.news_strength"] = between(0, 1)
        changes["flow.news_excitation"] = between(0, 1)
    elif process == "threshold":
        changes["market.resolution_step"] = steps + whole(0, 100)
    if bounded:
        changes["market.initial_mid"] = sometimes(0.5, lambda: whole(1, ticks - 1) / ticks, None)
    else:
        changes["market.initial_mid"] = 100.0
        changes["flow.intensity_scale"] = between(20, 140)
    if changes["quoting.policy"] == "adaptive" and sometimes(0.5, lambda: True, False):
        changes["quoting.policy"] = ("glosten_milgrom", "lmsr")[seed // 3 % 2]
        changes |= {"market.tick_size": 0.0, "quoting.assumed_informed_fraction": between(0.01, 0.6)}
        changes["quoting.liquidity"] = one_of(between(0.5, 10), between(10, 200))
    if sometimes(0.25, lambda: True, False):
        first = whole(0, steps - 1)
        changes["schedule.pauses"] = [
            {"start": first, "steps": whole(1, 20), "quotes": one_of("rest", "cancel")},
            *([{"start": first + 25, "steps": 5, "quotes": "rest"}] if first + 25 < steps else []),
        ]
        if flow == "takers":
            changes["schedule.arrival_rate"] = [[whole(0, steps - 1), between(0, 1)]]
            changes["schedule.informed_fraction"] = [[whole(0, steps - 1), between(0, 1)]]
        if process == "logit" and flow != "replay":
            changes["schedule.volatility"] = [[whole(0, steps - 1), between(0, 3)]]
            changes["schedule.news"] = [[whole(0, steps - 1), between(0, 1)]]
    if flow != "replay":
        return mcmm.Scenario().replace(changes), None
    count = whole(1, 2 * steps)
    orders = pd.DataFrame(
        {
            "step": draw.integers(0, steps, count),
            "side": draw.choice([-1, 1], count),
            "size": draw.integers(1, 30, count),
            "limit": np.where(draw.random(count) < 0.5, np.nan, draw.uniform(0.2, 0.8, count)),
            "fair": np.where(draw.random(count) < 0.5, np.nan, draw.uniform(0.2, 0.8, count)),
        }
    )
    if not bounded:
        orders[["limit", "fair"]] += 99.5
    return mcmm.Scenario().replace(changes), orders
