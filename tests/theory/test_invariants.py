"""Every invariant, on every step of every path of random scenarios; and each check can fail."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mcmm
from mcmm.metrics import HALT_REASONS, NAMES
from theory.harness import SEED, make, traces
from theory.invariants import CHECKS, Run
from theory.random_scenarios import random_case

SCENARIOS = 600
TRACED = 24
BATCH = 50


def acted(run: Run) -> Counter[str]:
    """What this scenario showed, for the count that keeps these tests from running dry."""
    v, t, s = run.values, run.trace, run.scenario
    seen = {
        f"{s.market.process}, {s.flow.model}, {s.quoting.policy}": bool(v["volume"].any()),
        "inventory limit": bool((v["inventory_limit_steps"] > 0).any()),
        "exposure limit": bool((v["exposure_limit_steps"] > 0).any()),
        "outage": bool(v["outages"].any()),
        "stale fill": bool(((t["quoting"] == 0) & (t["bought"] + t["sold"] > 0)).any()),
        "unwinding": bool(run.unwound.any()),
        "several trips": bool((v["trips"] > 1).any()),
        "informed": bool(v["informed_volume"].any()),
        "fees": bool(v["fees"].any()),
        "closing": s.risk.close_steps > 0,
        "venue pause": bool(s.schedule.pauses) and bool(v["volume"].any()),
        "fill in a venue pause": any(
            bool((t["bought"] + t["sold"])[:, pause.start : pause.start + pause.steps].any())
            for pause in s.schedule.pauses
        ),
        s.risk.breaker_action: bool(v["trips"].any()),
        **{
            reason: bool((v["halt_reason"] == code).any()) for code, reason in enumerate(HALT_REASONS) if code
        },
    }
    return Counter(name for name, shown in seen.items() if shown)


@functools.cache
def checked(batch: int) -> Counter[str]:
    """Check the invariants of a batch of scenarios, and count in how many of them each thing acted."""
    seen: Counter[str] = Counter()
    for number in range(batch, batch + BATCH):
        scenario, orders = random_case(number)
        for values, trace in traces(scenario, TRACED, orders=orders):
            run = Run(scenario, values, trace)
            for check in CHECKS:
                try:
                    check(run)
                except AssertionError as error:
                    raise AssertionError(f"{check.__name__} of random_case({number}): {error}") from error
            seen.update(acted(run))
    return seen


@pytest.mark.parametrize("batch", range(0, SCENARIOS, BATCH))
def test_invariants_hold(batch: int) -> None:
    assert checked(batch)


def test_enough_of_everything_was_seen() -> None:
    seen = sum((checked(batch) for batch in range(0, SCENARIOS, BATCH)), Counter[str]())
    for name in (
        *("inventory limit", "exposure limit", "outage", "stale fill", "unwinding", "several trips"),
        *(
            "venue pause",
            "fill in a venue pause",
            "informed",
            "fees",
            "closing",
            "halt",
            "pause",
            "flatten",
            "drawdown",
            "loss",
            "volume",
        ),
    ):
        assert seen[name] >= 20, f"{name} was seen in {seen[name]} scenarios"
    kinds = [name for name in seen if "," in name]
    assert len(kinds) == 3 * 3 * 3 - 3 + 2 * 2 * 3  # three of the policies are not for arithmetic
    for part in (
        *("adaptive", "symmetric", "avellaneda_stoikov", "glosten_milgrom", "lmsr"),
        "intensity",
        "replay",
    ):
        assert sum(seen[name] for name in kinds if part in name.split(", ")) >= 20, part


def test_attribution_holds_on_every_path() -> None:
    paths = 0
    for number in range(SCENARIOS):
        scenario, orders = random_case(number)
        values = mcmm.simulate(scenario, paths=1_000, seed=SEED + 1, orders=orders, jobs=-1).values
        v = dict(zip(NAMES, values, strict=True))
        parts = v["spread_pnl"] + v["inventory_pnl"] - v["fees"]
        scale = 1.0 + np.abs(v["spread_pnl"]) + np.abs(v["inventory_pnl"]) + np.abs(v["fees"])
        assert np.all(np.abs(v["pnl_fair"] - parts) <= 1e-9 * scale), scenario.dumps()
        assert np.all(v["max_inventory"] <= scenario.risk.inventory_limit)
        paths += len(parts)
    assert paths == SCENARIOS * 1_000


# ---- the checks can fail

BUSY = make(
    {
        "steps": 150,
        "market.volatility": 0.05,
        "flow.arrival_rate": 0.6,
        "fees.maker_rate": 0.02,
        "quoting.base_spread": 0.05,
        "risk.inventory_limit": 12,
        "risk.exposure_limit": 6.0,
        "risk.drawdown_limit": 0.8,
        "risk.loss_limit": 0.7,
        "risk.breaker_action": "flatten",
        "risk.mark": "fair",
        "recovery.disconnect_rate": 0.01,
        "recovery.outage_steps": 5,
    }
)


def busy() -> Run:
    values, trace = next(traces(BUSY, 60))
    return Run(BUSY, dict(values), {name: series.copy() for name, series in trace.items()})


def spoilt(run: Run, name: str, path: int, step: int, value: float) -> Run:
    run.trace[name][path, step] = value
    return Run(run.scenario, run.values, run.trace)


def at(run: Run, where: np.ndarray) -> tuple[int, int]:
    rows, columns = np.nonzero(where)
    assert len(rows), "the scenario shows nothing to spoil"
    return int(rows[0]), int(columns[0])


def fill_beyond_size(run: Run) -> Run:
    path, step = at(run, run.trace["sold"] > 0)
    return spoilt(run, "ask_size", path, step, run.trace["sold"][path, step] - 1)


def price_off_the_grid(run: Run) -> Run:
    path, step = at(run, run.trace["quoting"] > 0)
    return spoilt(run, "bid", path, step, run.trace["bid"][path, step] - 0.001)


def crossed_quote(run: Run) -> Run:
    path, step = at(run, run.trace["quoting"] > 0)
    return spoilt(run, "ask", path, step, run.trace["bid"][path, step])


def ask_of_a_dollar(run: Run) -> Run:
    path, step = at(run, run.trace["quoting"] > 0)
    return spoilt(run, "ask", path, step, 1.0)


def cash_off_by_a_tick(run: Run) -> Run:
    return spoilt(run, "cash", 3, 100, run.trace["cash"][3, 100] + 0.01)


def inventory_off_by_one(run: Run) -> Run:
    return spoilt(run, "inventory", 3, 149, run.trace["inventory"][3, 149] + 1)


def quote_after_the_trip(run: Run) -> Run:
    path = at(run, run.values["halt_step"][:, None] >= 0)[0]
    return spoilt(run, "ask_size", path, int(run.values["halt_step"][path]) + 1, 2.0)


def outage_too_short(run: Run) -> Run:
    return Run(run.scenario.replace({"recovery.outage_steps": 6}), *untripped(run))


def outage_not_counted(run: Run) -> Run:
    values, trace = untripped(run)
    return Run(run.scenario, {**values, "outages": values["outages"] + 1}, trace)


def untripped(run: Run) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    keep = run.values["trips"] == 0
    assert keep.any()
    return {name: row[keep] for name, row in run.values.items()}, {
        name: row[keep] for name, row in run.trace.items()
    }


def changed(name: str, by: float) -> Callable[[Run], Run]:
    def spoil(run: Run) -> Run:
        return Run(run.scenario, {**run.values, name: run.values[name] + by}, run.trace)

    return spoil


def with_settings(changes: dict[str, Any]) -> Callable[[Run], Run]:
    """The same run, held against a scenario with tighter rules."""

    def spoil(run: Run) -> Run:
        return Run(run.scenario.replace(changes), run.values, run.trace)

    return spoil


@pytest.mark.parametrize(
    ("check", "spoil"),
    [
        ("attribution", changed("inventory_pnl", 1e-6)),
        ("attribution", changed("pnl_fair", 1e-6)),
        ("attribution", with_settings({"risk.unwind_slippage": 0.02})),
        ("books", cash_off_by_a_tick),
        ("books", changed("pnl_settled", 1e-6)),
        ("books", changed("volume", 1.0)),
        ("prices", price_off_the_grid),
        ("prices", crossed_quote),
        ("prices", ask_of_a_dollar),
        ("limits", with_settings({"risk.inventory_limit": 11})),
        ("limits", with_settings({"risk.exposure_limit": 5.0})),
        ("sizes", fill_beyond_size),
        ("sizes", with_settings({"risk.inventory_limit": 11})),
        ("sizes", with_settings({"quoting.quote_size": 9})),
        ("sizes", with_settings({"risk.close_steps": 100})),
        ("silence", quote_after_the_trip),
        ("silence", inventory_off_by_one),
        ("silence", with_settings({"risk.breaker_action": "halt"})),
        ("outages", outage_too_short),
        ("outages", outage_not_counted),
        ("drawdowns", changed("max_drawdown", 1e-6)),
        ("drawdowns", changed("max_exposure", 1e-6)),
        ("first_trip", with_settings({"risk.drawdown_limit": 0.75})),
        ("first_trip", with_settings({"risk.loss_window": 10})),
        ("first_trip", with_settings({"risk.drawdown_baseline": "start"})),
        ("first_trip", changed("halt_step", 1.0)),
        ("first_trip", changed("breaker_overshoot", 1e-6)),
        ("what_a_trip_costs", changed("delay_cost", 1e-6)),
        ("what_a_trip_costs", changed("unwinding_cost", 1e-6)),
        ("what_a_trip_costs", changed("realised_overshoot", 1e-6)),
        ("what_a_trip_costs", with_settings({"risk.breaker_action": "halt"})),
    ],
)
def test_a_broken_rule_is_seen(check: str, spoil: Callable[[Run], Run]) -> None:
    one = next(rule for rule in CHECKS if rule.__name__ == check)
    one(busy())
    if check == "outages":
        one(Run(BUSY, *untripped(busy())))
    with pytest.raises(AssertionError):
        one(spoil(busy()))


@pytest.mark.parametrize(("check", "policy"), [("scoring_rule", "lmsr"), ("posterior", "glosten_milgrom")])
def test_a_wrong_price_of_a_policy_that_names_it_is_seen(check: str, policy: str) -> None:
    one = next(rule for rule in CHECKS if rule.__name__ == check)
    scenario = make({"steps": 80, "market.tick_size": 0.0, "quoting.policy": policy})
    values, trace = next(traces(scenario, 20))
    one(Run(scenario, values, trace))
    for changes in (
        {"quoting.liquidity": 101.0, "quoting.assumed_informed_fraction": 0.11},
        {"market.initial_mid": 0.51},
    ):
        with pytest.raises(AssertionError):
            one(Run(scenario.replace(changes), values, trace))
