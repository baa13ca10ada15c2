"""The day's shape: flow and volatility by the clock, news that is certain, a venue that pauses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mcmm.metrics import NAMES
from theory.harness import EVEN, assert_within, make, mean, metrics, traces

STEPS = 200
SHAPE = [[0, 0.5], [60, 2.0], [140, 0.0], [180, 1.5]]
PARTS = {(0, 60): 0.5, (60, 140): 2.0, (140, 180): 0.0, (180, 200): 1.5}
OPEN = {**EVEN, "steps": STEPS, "quoting.quote_size": 20}


def run(*changes: dict[str, Any], paths: int = 2_000) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    return next(traces(make(*changes), paths))


def log_odds(trace: dict[str, np.ndarray]) -> np.ndarray:
    return np.log(trace["probability"] / (1 - trace["probability"]))


# ---- flow


def test_takers_come_as_often_as_the_shape_says() -> None:
    _, trace = run(OPEN, {"schedule.arrival_rate": SHAPE})
    came = (trace["bought"] + trace["sold"]) > 0
    for (start, end), factor in PARTS.items():
        if factor:
            estimate = mean(came[:, start:end].mean(axis=1))
            assert_within(estimate.value, 0.3 * factor, estimate.standard_error, sees=0.025)
        else:
            assert not came[:, start:end].any()


def test_amplitude_scales_the_shape() -> None:
    base = {**OPEN, "schedule.arrival_rate": [[0, 3.0], [100, 0.0]]}
    flat = metrics(make(OPEN), 2_000)
    for amplitude, early, late in ((1.0, 3.0, 0.0), (0.5, 2.0, 0.5), (0.0, 1.0, 1.0)):
        _, trace = run(base, {"schedule.amplitude": amplitude})
        came = (trace["bought"] + trace["sold"]) > 0
        assert came[:, :100].mean() == pytest.approx(0.3 * early, abs=0.01)
        assert came[:, 100:].mean() == pytest.approx(0.3 * late, abs=0.01)
    # A day without shape is the day without a schedule, bit for bit.
    none = metrics(make(base, {"schedule.amplitude": 0.0}), 2_000)
    assert all(np.array_equal(flat[name], none[name], equal_nan=True) for name in NAMES)


def test_clustered_arrivals_follow_the_shape_once_they_have_settled() -> None:
    changes = {"flow.clustering": 0.6, "flow.clustering_steps": 3.0, "flow.arrival_rate": 0.2}
    _, trace = run(OPEN, changes, {"schedule.arrival_rate": [[0, 2.0], [100, 0.5]]}, paths=6_000)
    came = (trace["bought"] + trace["sold"]) > 0
    for start, end, rate in ((0, 100, 0.4), (140, 200, 0.1)):  # h_0 is that of the first multiplier
        estimate = mean(came[:, start:end].mean(axis=1))
        assert_within(estimate.value, rate, estimate.standard_error, sees=0.025)
    # The excitation of the busy hours dies down, and does not vanish.
    estimate = mean(came[:, 100:104].mean(axis=1))
    assert estimate.value - 4 * estimate.standard_error > 0.12


def test_takers_are_informed_as_often_as_the_shape_says() -> None:
    knowing = {"flow.informed_know": "outcome", "flow.informed_fraction": 0.4, "flow.arrival_rate": 1.0}
    values, trace = run(OPEN, knowing, {"schedule.informed_fraction": SHAPE})
    right = np.where(values["outcome"][:, None] == 1, trace["sold"] > 0, trace["bought"] > 0)
    for (start, end), factor in PARTS.items():
        estimate = mean(right[:, start:end].mean(axis=1))
        assert_within(estimate.value, 0.5 + 0.2 * factor, estimate.standard_error, sees=0.05)


@pytest.mark.parametrize("changes", [{"schedule.arrival_rate": SHAPE}, {"schedule.informed_fraction": SHAPE}])
def test_a_schedule_of_the_flow_shifts_no_other_draw(changes: dict[str, Any]) -> None:
    base = {**OPEN, "market.volatility": 0.05, "flow.informed_fraction": 0.0}
    if "schedule.informed_fraction" in changes:
        base |= {"flow.informed_know": "outcome", "flow.informed_fraction": 0.2}
    (values, one), (other_values, other) = run(base), run(base, changes)
    assert np.array_equal(one["probability"], other["probability"])
    assert np.array_equal(values["outcome"], other_values["outcome"])
    volumes = [trace["sold"] - trace["bought"] for trace in (one, other)]
    both = (volumes[0] != 0) & (volumes[1] != 0)
    assert both.sum() > 10_000
    assert np.array_equal(np.abs(volumes[0])[both], np.abs(volumes[1])[both])
    if "schedule.arrival_rate" in changes:
        assert np.array_equal(volumes[0][both], volumes[1][both])
        more = np.array([0.3 * m for (a, b), m in PARTS.items() for _ in range(a, b)]) >= 0.3
        assert np.all((volumes[1] != 0)[:, more] >= (volumes[0] != 0)[:, more])


# ---- fair value


def test_volatility_by_the_clock() -> None:
    _, trace = run({**OPEN, "market.volatility": 0.04, "schedule.volatility": SHAPE}, paths=4_000)
    values, _ = run({**OPEN, "market.volatility": 0.04, "schedule.volatility": SHAPE}, paths=4_000)
    moves = np.diff(log_odds(trace), axis=1)
    toward = np.where(values["outcome"] == 1, 1.0, -1.0)[:, None]
    for (start, end), factor in PARTS.items():
        v, part = 0.04 * factor, slice(start, min(end, STEPS - 1))
        if not v:
            assert np.abs(moves[:, part]).max() < 1e-12
            continue
        estimate = mean((moves[:, part] ** 2).mean(axis=1))
        assert_within(estimate.value, v**2 + v**4 / 4, estimate.standard_error, sees=0.08 * v**2)
        drift = mean((moves * toward)[:, part].mean(axis=1))
        assert_within(drift.value, v**2 / 2, drift.standard_error)


def test_scheduled_news_comes_on_every_path_in_its_step_and_goes_as_far() -> None:
    base = {**OPEN, "market.volatility": 0.0, "market.news_strength": 0.3, "market.initial_probability": 0.4}
    values, trace = run(base, {"schedule.news": [[49], [100, 1.0]]}, paths=20_000)
    p = trace["probability"]
    assert np.allclose(p[:, :50], 0.4, atol=1e-15)
    up = p[:, 50] > 0.4
    assert np.allclose(p[:, 50:101], np.where(up, 0.4 + 0.3 * 0.6, 0.4 - 0.3 * 0.4)[:, None], atol=1e-12)
    assert np.array_equal(p[:, 101], values["outcome"])
    estimate = mean(up)
    assert_within(estimate.value, 0.4, estimate.standard_error, sees=0.1)
    # What the news said comes true as often as it made it likely.
    for moved, said in ((up, 0.58), (~up, 0.28)):
        estimate = mean(values["outcome"][moved])
        assert_within(estimate.value, said, estimate.standard_error, sees=0.15)


def test_scheduled_news_is_the_only_news_of_its_step_and_shifts_no_draw() -> None:
    base = {**OPEN, "market.volatility": 0.05, "market.news_rate": 0.3, "market.news_strength": 0.2}
    (values, plain), (other_values, trace) = run(base), run(base, {"schedule.news": [[120, 0.2]]})
    assert np.array_equal(values["outcome"], other_values["outcome"])
    jumped = np.abs(plain["probability"][:, 121] - trace["probability"][:, 121]) > 1e-9
    # Where news came by chance it is the same news: same step, same strength, same direction.
    assert jumped.mean() == pytest.approx(0.7, abs=0.04)
    assert np.array_equal(plain["probability"][:, :121], trace["probability"][:, :121])
    assert np.array_equal(plain["probability"][~jumped], trace["probability"][~jumped])


def test_scheduled_news_excites_takers() -> None:
    base = {**OPEN, "market.news_strength": 0.0, "flow.arrival_rate": 0.1, "flow.news_excitation": 0.6}
    _, trace = run(base, {"schedule.news": [[100, 0.0]]}, paths=4_000)
    came = ((trace["bought"] + trace["sold"]) > 0).mean(axis=0)
    assert came[:101].max() < 0.15
    assert came[101] == pytest.approx(0.1 + 0.6, abs=0.03)
    assert came[121] == pytest.approx(0.1 + 0.6 * math.exp(-1), abs=0.03)


# ---- the maker


def test_the_maker_reckons_with_the_volatility_of_the_step() -> None:
    base = {"steps": 100, "flow.arrival_rate": 0.0, "market.volatility": 0.05, "market.tick_size": 1e-6}
    base |= {"schedule.volatility": [[40, 3.0]]}
    _, trace = run(base, {"quoting.base_spread": 0.0, "quoting.volatility_factor": 1.0}, paths=1)
    half = (trace["ask"] - trace["bid"])[0] / 2
    assert half[:40] == pytest.approx(0.05 * 0.25, abs=2e-6)
    assert half[40:] == pytest.approx(0.15 * 0.25, abs=2e-6)
    stoikov = {
        "quoting.policy": "avellaneda_stoikov",
        "quoting.risk_aversion": 1.0,
        "flow.intensity_decay": 40.0,
    }
    _, trace = run(base, stoikov, paths=1)
    spread, left = (trace["ask"] - trace["bid"])[0], 100 - np.arange(100)
    sd = np.where(np.arange(100) < 40, 0.05, 0.15) * 0.25
    assert spread == pytest.approx(sd**2 * left + 2 * math.log(1 + 1 / 40), abs=3e-6)


def pause(quotes: str) -> dict[str, Any]:
    return {"schedule.pauses": [{"start": 80, "steps": 40, "quotes": quotes}]}


def test_a_pause_that_cancels_leaves_nothing_to_hit() -> None:
    values, trace = run(OPEN, pause("cancel"), {"flow.arrival_rate": 1.0})
    assert not trace["quoting"][:, 80:120].any()
    assert not (trace["bid_size"] + trace["ask_size"])[:, 80:120].any()
    assert trace["quoting"][:, :80].all()
    assert trace["quoting"][:, 120:].all()
    assert np.all(values["quoted_fraction"] == 0.8)
    assert not values["outages"].any()


def test_quotes_that_rest_through_a_pause_are_used_up() -> None:
    _, trace = run(OPEN, pause("rest"), {"flow.arrival_rate": 1.0, "quoting.quote_size": 40})
    during = slice(80, 120)
    assert not trace["quoting"][:, during].any()
    assert np.array_equal(trace["ask"][:, 80], trace["ask"][:, 79])
    left = 40 - np.cumsum(trace["sold"][:, 79:119], axis=1)
    assert np.array_equal(trace["ask_size"][:, during], left)
    assert (left == 0).any()
    assert (trace["sold"][:, during].sum(axis=1) > 0).all()


def test_quoting_comes_back_as_after_an_outage() -> None:
    changes = {"recovery.conservative_multiplier": 3.0, "recovery.ramp_steps": 20, "market.tick_size": 1e-6}
    _, trace = run(OPEN, pause("rest"), changes, paths=3)
    spread = trace["ask"] - trace["bid"]
    rho = 1 + 2 * np.maximum(0, 1 - np.arange(80) / 20)
    np.testing.assert_allclose(spread[:, 120:], np.broadcast_to(0.04 * rho, (3, 80)), atol=3e-6)
    np.testing.assert_allclose(spread[:, :80], 0.04, atol=3e-6)


def test_a_lost_connection_cancels_what_a_pause_lets_rest() -> None:
    lossy = {"recovery.disconnect_rate": 0.02, "recovery.outage_steps": 5, "flow.arrival_rate": 0.0}
    resting = {}
    for stale in (False, True):
        _, trace = run(OPEN, pause("rest"), lossy, {"recovery.stale_quotes": stale})
        resting[stale] = (trace["bid_size"] > 0)[:, 80:120]
    # Nobody trades: a stale quote stays where it is, one that is cancelled does not reappear.
    assert np.all(resting[False][:, 1:] <= resting[False][:, :-1])
    assert 0.2 < resting[False][:, -1].mean() < 0.6
    assert resting[True].all()
