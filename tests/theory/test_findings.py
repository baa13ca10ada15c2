"""What the model says of the default bot: where the best spread lies, what limits and breakers buy.

Every difference is taken path by path, on common random numbers.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcmm.statistics import expected_shortfall
from mcmm.study import Study
from theory.harness import Estimate, make, mean, metrics, sd

PATHS = 50_000
CLEAR = 4.0  # standard errors by which a difference must be away from 0


def above(estimate: Estimate, bound: float = 0.0) -> bool:
    return estimate.value - CLEAR * estimate.standard_error > bound


def below(estimate: Estimate, bound: float = 0.0) -> bool:
    return estimate.value + CLEAR * estimate.standard_error < bound


def tail(pnl: np.ndarray, level: float = 0.99) -> Estimate:
    """Expected shortfall, a loss positive."""
    found = expected_shortfall(pnl, level)
    return Estimate(found.value, found.standard_error)


def beyond(fatter: np.ndarray, thinner: np.ndarray, level: float = 0.99) -> Estimate:
    """Difference of two expected shortfalls, their errors added as if apart: common numbers only lower it."""
    one, two = tail(fatter, level), tail(thinner, level)
    return Estimate(one.value - two.value, float(np.hypot(one.standard_error, two.standard_error)))


def sweep(
    name: str, values: list[Any], base: dict[str, Any] | None = None
) -> dict[Any, dict[str, np.ndarray]]:
    kept = ("pnl_fair", "pnl_settled", "trips", "final_inventory", "halt_step")
    found = {}
    for value in values:
        run = metrics(make(base or {}, {name: value}), PATHS)
        found[value] = {metric: run[metric] for metric in kept}
    return found


@pytest.mark.slow
def test_the_best_spread_is_neither_the_tightest_nor_the_widest() -> None:
    runs = sweep("quoting.base_spread", [0.01, 0.03, 0.04, 0.06, 0.08, 0.09, 0.10, 0.12, 0.15, 0.18, 0.25])
    fair = {spread: run["pnl_fair"] for spread, run in runs.items()}
    best = max(fair, key=lambda spread: fair[spread].mean())
    assert 0.06 < best < 0.15
    for spread in (0.01, 0.03, 0.04, 0.06, 0.15, 0.18, 0.25):
        assert above(mean(fair[best] - fair[spread])), spread
    assert below(mean(fair[0.01]))
    # At settlement it is the same story, told with more noise.
    for spread in (0.01, 0.03, 0.18, 0.25):
        assert above(mean(runs[best]["pnl_settled"] - runs[spread]["pnl_settled"])), spread


@pytest.mark.slow
def test_a_limit_past_100_adds_to_the_tail_and_no_longer_to_the_mean() -> None:
    runs = sweep("risk.inventory_limit", [10, 50, 100, 200, 400])
    for small, large in ((100, 200), (200, 400)):
        assert below(mean(runs[large]["pnl_fair"] - runs[small]["pnl_fair"]))
        assert not above(mean(runs[large]["pnl_settled"] - runs[small]["pnl_settled"]))
    # At 0.10, near the best spread, it still adds to the mean; the tail grows ten times as much and more.
    wide = sweep("risk.inventory_limit", [100, 200], {"quoting.base_spread": 0.10})
    assert above(mean(wide[200]["pnl_fair"] - wide[100]["pnl_fair"]))
    grown = beyond(wide[200]["pnl_settled"], wide[100]["pnl_settled"])
    assert above(grown, 10 * float(wide[200]["pnl_fair"].mean() - wide[100]["pnl_fair"].mean()))
    # Up to 50 it adds at the default spread too.
    assert above(mean(runs[50]["pnl_fair"] - runs[10]["pnl_fair"]))
    for small, large in ((10, 50), (50, 100), (100, 200), (200, 400)):
        for metric in ("pnl_fair", "pnl_settled"):
            assert above(beyond(runs[large][metric], runs[small][metric]))
        wider = sd(runs[large]["pnl_settled"]), sd(runs[small]["pnl_settled"])
        assert wider[0].value - wider[1].value > CLEAR * (wider[0].standard_error + wider[1].standard_error)


@pytest.mark.slow
@pytest.mark.parametrize("mark", ["mid", "fair"])
def test_halting_leaves_the_tail_of_what_it_holds_and_flattening_cuts_it(mark: str) -> None:
    base = {"risk.drawdown_limit": 5.0, "risk.mark": mark}
    free = sweep("risk.drawdown_limit", [float("inf")], {"risk.mark": mark})[float("inf")]
    runs = sweep("risk.breaker_action", ["halt", "flatten"], base)
    halt, flatten = runs["halt"], runs["flatten"]
    tripped = halt["trips"] > 0
    # Up to the trip they are one path.
    assert np.array_equal(halt["halt_step"], flatten["halt_step"])
    assert np.array_equal(halt["pnl_settled"][~tripped], flatten["pnl_settled"][~tripped])
    assert 0.2 < tripped.mean() < 0.8
    # Where it tripped: halting holds what it held to settlement, flattening holds nothing.
    assert np.abs(halt["final_inventory"][tripped]).mean() > 30
    assert not flatten["final_inventory"][tripped & (flatten["halt_step"] < 999)].any()
    assert halt["pnl_settled"][tripped].std() > 4 * flatten["pnl_settled"][tripped].std()
    for metric in ("pnl_fair", "pnl_settled"):
        # Of the tail without a breaker halting leaves most, or adds to it; flattening cuts it.
        assert tail(halt[metric]).value > 0.7 * tail(free[metric]).value
        assert above(beyond(halt[metric], flatten[metric]), 3.0)
        assert above(beyond(free[metric], flatten[metric]), 3.0)
    # Neither is free.
    assert below(mean(flatten["pnl_fair"] - halt["pnl_fair"]))
    assert below(mean(halt["pnl_fair"] - free["pnl_fair"]))


def shipped(name: str, points: dict[str, int], paths: int = 80_000) -> dict[str, dict[str, np.ndarray]]:
    """Simulate some points of a shipped study, by a name each."""
    study = Study.load(Path(__file__).parents[2] / "sweeps" / f"{name}.toml")
    return {label: metrics(study.scenario_at(point), paths) for label, point in points.items()}


@pytest.mark.slow
def test_what_an_outage_costs_and_how_to_come_back() -> None:
    runs = shipped("outages", {"none": 0, "plain": 1, "careful": 4, "timid": 7, "stale": 8})
    pnl = {label: run["pnl_settled"] for label, run in runs.items()}
    assert above(mean(pnl["none"] - pnl["plain"]), 3.0)
    assert above(mean(pnl["plain"] - pnl["stale"]), 0.8)
    assert above(mean(pnl["careful"] - pnl["plain"]), 0.2)
    assert above(mean(pnl["plain"] - pnl["timid"]), 0.8)


@pytest.mark.slow
def test_the_five_policies_under_one_flow() -> None:
    runs = shipped("policies", {"symmetric": 1, "adaptive": 3, "stoikov": 6, "milgrom": 10, "lmsr": 13})
    pnl = {label: run["pnl_fair"] for label, run in runs.items()}
    ranked = ["stoikov", "milgrom", "adaptive", "symmetric", "lmsr"]
    for better, worse in pairwise(ranked):
        assert above(mean(pnl[better] - pnl[worse])), (better, worse)
    settled = {label: run["pnl_settled"] for label, run in runs.items()}
    assert tail(settled["milgrom"], 0.95).value < 0.5 * tail(settled["stoikov"], 0.95).value
    # They meet one market.
    assert all(np.array_equal(run["outcome"], runs["lmsr"]["outcome"]) for run in runs.values())


@pytest.mark.slow
def test_what_a_breaker_does_not_save_by_its_policy() -> None:
    points = {"halt": 0, "pause": 1, "flatten": 5, "flatten from the start": 11}
    runs = shipped("breaker_policy", points, PATHS)
    tripped = runs["halt"]["trips"] > 0
    jump = mean(runs["halt"]["breaker_overshoot"][tripped])
    assert 0.6 < jump.value < 0.7
    for action in ("halt", "pause"):
        delay = mean(runs[action]["delay_cost"][tripped])
        assert abs(delay.value) < CLEAR * delay.standard_error
    assert runs["halt"]["delay_cost"][tripped].std() > 4 * runs["pause"]["delay_cost"][tripped].std()
    assert above(mean(runs["flatten"]["unwinding_cost"][tripped]), 0.5)
    settled = {label: run["pnl_settled"] for label, run in runs.items()}
    assert above(beyond(settled["halt"], settled["flatten"], 0.95), 15.0)
    assert above(beyond(settled["flatten from the start"], settled["flatten"], 0.95), 12.0)
