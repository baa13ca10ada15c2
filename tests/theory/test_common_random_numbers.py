"""Two scenarios with one seed face one market; a path is a function of scenario, seed and index alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import mcmm
from mcmm.metrics import NAMES
from theory.harness import EVEN, SEED, assert_within, make, mean, metrics, traces
from theory.random_scenarios import random_case

# Everything acts, so that every setting of the maker has something to change.
BUSY: dict[str, Any] = {
    "steps": 240,
    "market.volatility": 0.06,
    "market.news_rate": 0.01,
    "market.news_strength": 0.2,
    "flow.arrival_rate": 0.5,
    "fees.maker_rate": 0.02,
    "quoting.reference_weight": 0.02,
    "quoting.reference_noise": 0.02,
    "quoting.volatility_factor": 0.5,
    "quoting.inventory_shade": 0.001,
    "risk.inventory_limit": 30,
    "risk.exposure_limit": 10.0,
    "risk.drawdown_limit": 2.0,
    "risk.loss_limit": 1.5,
    "risk.volume_limit": 40,
    "risk.breaker_action": "pause",
    "recovery.disconnect_rate": 0.005,
    "recovery.stale_quotes": True,
}

MAKER: dict[str, Any] = {
    "fees.maker_rate": 0.07,
    "fees.rounding": 0.01,
    "quoting.policy": "symmetric",
    "quoting.base_spread": 0.1,
    "quoting.imbalance_factor": 2.0,
    "quoting.inventory_factor": 2.0,
    "quoting.quote_size": 5,
    "quoting.imbalance_window": 5,
    "quoting.reference_weight": 0.2,
    "quoting.reference_noise": 0.1,
    "quoting.volatility_factor": 3.0,
    "quoting.fill_shade": 0.02,
    "quoting.imbalance_shade": 0.02,
    "quoting.inventory_shade": 0.02,
    "quoting.defensive_threshold": 0.1,
    "quoting.defensive_shade": 0.03,
    "risk.inventory_limit": 20,
    "risk.exposure_limit": 5.0,
    "risk.exposure_soft_fraction": 0.2,
    "risk.passive_multiplier": 4.0,
    "risk.drawdown_limit": 0.8,
    "risk.mark": "fair",
    "risk.drawdown_baseline": "start",
    "risk.breaker_action": "flatten",
    "risk.pause_steps": 5,
    "risk.loss_limit": 0.7,
    "risk.loss_window": 5,
    "risk.volume_limit": 20,
    "risk.volume_window": 60,
    "risk.close_steps": 100,
    "recovery.disconnect_rate": 0.05,
    "recovery.outage_steps": 5,
    "recovery.stale_quotes": False,
    "recovery.conservative_multiplier": 1.5,
    "recovery.ramp_steps": 5,
    "market.initial_mid": 0.4,
    "schedule.pauses": [{"start": 40, "steps": 30, "quotes": "rest"}, {"start": 150, "steps": 20}],
}
# Each needs another setting before it acts.
GATED: dict[str, dict[str, Any]] = {
    "risk.unwind_slippage": {"risk.breaker_action": "flatten"},
    "quoting.risk_aversion": {"quoting.policy": "avellaneda_stoikov", "flow.intensity_decay": 40.0},
    "quoting.assumed_informed_fraction": {"quoting.policy": "glosten_milgrom", "market.tick_size": 0.0},
    "quoting.liquidity": {"quoting.policy": "lmsr", "market.tick_size": 0.0},
}
GATED_TO: dict[str, Any] = {
    "risk.unwind_slippage": 0.05,
    "quoting.risk_aversion": 1.0,
    "quoting.assumed_informed_fraction": 0.4,
    "quoting.liquidity": 10.0,
}


def run(*changes: dict[str, Any], paths: int = 100) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    return next(traces(make(*changes), paths))


def taken(trace: dict[str, np.ndarray]) -> np.ndarray:
    """Signed taker volume of each step."""
    return np.asarray(trace["sold"] - trace["bought"])


def test_the_list_of_the_makers_settings_is_whole() -> None:
    tables = ("fees.", "quoting.", "risk.", "recovery.", "schedule.pauses")
    names = {name for name in mcmm.Scenario.settings() if name.startswith(tables)}
    names.discard("quoting.parameters")  # read by nothing but a policy of one's own
    assert names == {name for name in (*MAKER, *GATED) if name.startswith(tables)}


@pytest.mark.parametrize("process", ["logit", "threshold"])
@pytest.mark.parametrize("name", [*MAKER, *GATED])
def test_nothing_the_maker_does_moves_the_market(name: str, process: str) -> None:
    base = {**BUSY, **GATED.get(name, {})}
    if process == "threshold":
        base |= {"market.process": "threshold", "market.news_rate": 0.0}
    values, trace = run(base)
    other_values, other_trace = run(base, {name: MAKER.get(name, GATED_TO.get(name))})
    assert np.array_equal(trace["probability"], other_trace["probability"])
    for metric in ("outcome", "final_probability"):
        assert np.array_equal(values[metric], other_values[metric])
    # And it does do something.
    assert any(not np.array_equal(values[m], other_values[m], equal_nan=True) for m in NAMES)


def test_another_market_moves_otherwise() -> None:
    for changes in (
        {"market.volatility": 0.07},
        {"market.news_rate": 0.02},
        {"market.initial_probability": 0.4},
    ):
        assert not np.array_equal(run(BUSY)[1]["probability"], run(BUSY, changes)[1]["probability"])
    assert not np.array_equal(
        next(traces(make(BUSY), 50))[1]["probability"],
        next(traces(make(BUSY), 50, seed=SEED + 1))[1]["probability"],
    )


# ---- takers

# Every taker trades against every quote: what is taken is who came.
OPEN: dict[str, Any] = {**EVEN, "steps": 240, "quoting.policy": "adaptive", "quoting.quote_size": 20}
PRICED = [
    name
    for name in MAKER
    if name.startswith(("quoting.", "fees.", "market.")) and name != "quoting.quote_size"
]


@pytest.mark.parametrize("name", PRICED)
def test_takers_are_the_same_whatever_the_quote(name: str) -> None:
    assert np.array_equal(taken(run(OPEN)[1]), taken(run(OPEN, {name: MAKER[name]})[1]))


def test_a_smaller_quote_cuts_the_same_takers() -> None:
    whole, cut = taken(run(OPEN)[1]), taken(run(OPEN, {"quoting.quote_size": 4})[1])
    assert np.array_equal(cut, np.clip(whole, -4, 4))
    assert not np.array_equal(cut, whole)


@pytest.mark.parametrize("policy", ["adaptive", "symmetric", "avellaneda_stoikov", "glosten_milgrom", "lmsr"])
def test_takers_are_the_same_for_every_policy(policy: str) -> None:
    base = {**OPEN, "flow.clustering": 0.5, "flow.herding": 0.3}
    own = {"quoting.policy": policy} | (
        {"market.tick_size": 0.0} if policy in ("glosten_milgrom", "lmsr") else {}
    )
    assert np.array_equal(taken(run(base)[1]), taken(run(base, own)[1]))


@pytest.mark.parametrize(
    "changes",
    [
        {"flow.intensity_scale": 10.0},
        {"flow.intensity_decay": 9.0},
        {"flow.dt": 0.1},
        {"flow.size_sigma": 2.0},
        {"flow.clustering_steps": 3.0},
        {"flow.informed_know": "outcome", "flow.informed_fraction": 0.0},
        {"flow.news_excitation": 0.5, "market.news_rate": 0.0},
    ],
)
def test_settings_that_do_not_act_change_no_bit(changes: dict[str, Any]) -> None:
    base = {**BUSY, "flow.informed_fraction": 0.0, "market.news_rate": 0.0}
    before, after = metrics(make(base), 300), metrics(make(base, changes), 300)
    assert all(np.array_equal(before[name], after[name], equal_nan=True) for name in NAMES)


@pytest.mark.parametrize(
    ("changes", "keeps"),
    [
        ({"flow.size_mean": 6.0}, ("when", "side")),
        ({"flow.size_distribution": "lognormal"}, ("when", "side")),
        ({"flow.noise_buy_fraction": 0.6}, ("when", "size")),
        ({"flow.herding": 0.4}, ("when", "size")),
        ({"flow.price_sensitivity": 20.0}, ("side where both", "size where both")),
        ({"flow.arrival_rate": 0.5}, ("side where both", "size where both")),
        ({"flow.clustering": 0.5}, ("side where both", "size where both")),
        ({"market.volatility": 0.05}, ("when", "side", "size")),
        ({"market.process": "threshold"}, ("when", "side", "size")),
    ],
)
def test_each_purpose_has_its_own_draw(changes: dict[str, Any], keeps: tuple[str, ...]) -> None:
    one, other = taken(run(OPEN)[1]), taken(run(OPEN, changes)[1])
    both = (one != 0) & (other != 0)
    assert both.sum() > 2_000
    same = {
        "when": np.array_equal(one != 0, other != 0),
        "side": np.array_equal(np.sign(one), np.sign(other)),
        "size": np.array_equal(np.abs(one), np.abs(other)),
        "side where both": np.array_equal(np.sign(one)[both], np.sign(other)[both]),
        "size where both": np.array_equal(np.abs(one)[both], np.abs(other)[both]),
    }
    assert all(same[name] for name in keeps)
    if "market" not in next(iter(changes)):
        assert not np.array_equal(one, other)


def test_more_of_a_chance_adds_to_the_same_events() -> None:
    some = taken(run(OPEN)[1]) != 0
    assert np.all((taken(run(OPEN, {"flow.arrival_rate": 0.4})[1]) != 0)[some])
    assert not np.any((taken(run(OPEN, {"flow.price_sensitivity": 20.0})[1]) != 0)[~some])
    buys = taken(run(OPEN)[1]) > 0
    assert np.all((taken(run(OPEN, {"flow.noise_buy_fraction": 0.6})[1]) > 0)[buys])


def test_common_numbers_sharpen_a_comparison() -> None:
    """What they are for: the difference of two spreads has a far smaller error than with a seed each."""
    paths = 20_000
    tight, wide = ({"quoting.base_spread": spread} for spread in (0.08, 0.10))
    first, second = metrics(make(tight), paths)["pnl_settled"], metrics(make(wide), paths)["pnl_settled"]
    apart = metrics(make(wide), paths, seed=SEED + 1)["pnl_settled"]
    paired, unpaired = mean(second - first), mean(apart - first)
    assert paired.standard_error < 0.6 * unpaired.standard_error
    assert_within(paired.value, unpaired.value, math.hypot(paired.standard_error, unpaired.standard_error))


# ---- paths


def rows(
    scenario: mcmm.Scenario, paths: int, first: int = 0, jobs: int = 1, seed: int = SEED, orders: Any = None
) -> bytes:
    run = mcmm.simulate(scenario, paths=paths, first_path=first, jobs=jobs, seed=seed, orders=orders)
    return np.ascontiguousarray(run.values.T).tobytes()  # path by path


@pytest.mark.parametrize("number", range(12))
def test_a_path_is_its_own_whatever_runs_beside_it(number: int) -> None:
    scenario, orders = random_case(1_000 + number)
    whole = rows(scenario, 1_000, orders=orders)
    width = len(whole) // 1_000
    for first, paths in ((0, 1), (0, 63), (0, 64), (0, 65), (1, 127), (63, 2), (64, 64), (999, 1), (37, 700)):
        assert rows(scenario, paths, first, orders=orders) == whole[first * width : (first + paths) * width]
    assert rows(scenario, 1_000, jobs=2, orders=orders) == whole
    traced = mcmm.simulate(scenario, paths=130, trace_paths=70, seed=SEED, orders=orders)
    assert np.ascontiguousarray(traced.values.T).tobytes() == whole[: 130 * width]


def test_slices_on_threads_leave_no_trace() -> None:
    # Several times the slice that a thread takes at once.
    scenario = make({"steps": 1_000})
    assert rows(scenario, 12_345, jobs=3) == rows(scenario, 12_345)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 2**64 - 1])
def test_neighbouring_seeds_and_paths_are_unrelated(seed: int) -> None:
    scenario, paths = make({"steps": 100, "market.volatility": 0.1}), 40_000
    found = metrics(scenario, paths, seed=seed)
    beside = metrics(scenario, paths, seed=seed + 1 if seed < 2**64 - 1 else 0)
    for name in ("outcome", "final_probability", "final_inventory", "volume", "spread_pnl"):
        one, two = ((x[name] - x[name].mean()) / x[name].std() for x in (found, beside))
        for product in (one * two, one[:-1] * one[1:], one[:-64] * one[64:], one[1:] * two[:-1]):
            estimate = mean(product)
            assert_within(estimate.value, 0.0, estimate.standard_error, sees=0.045)
