"""Means and variances that have a closed form: pnl, fills, fees, price sensitivity, the informed, outages."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from theory.harness import EVEN, assert_within, make, mean, metrics, traces, variance
from theory.laws import SIZE_LAWS, size_chances, size_moments

STEPS = 200
PATHS = 20_000
RATE = 0.3

ADAPTIVE = {
    "quoting.policy": "adaptive",
    "quoting.imbalance_factor": 0.0,
    "quoting.inventory_factor": 0.0,
    "quoting.fill_shade": 0.0,
    "quoting.imbalance_shade": 0.0,
    "quoting.defensive_shade": 0.0,
}


# ---- pnl


@pytest.mark.parametrize("policy", ["symmetric", "adaptive"])
@pytest.mark.parametrize(("spread", "quote_size"), [(0.02, 10), (0.04, 5), (0.30, 100)])
@pytest.mark.parametrize("law", SIZE_LAWS)
def test_pnl_is_volume_times_half_the_spread(law: str, spread: float, quote_size: int, policy: str) -> None:
    size, square = size_moments(SIZE_LAWS[law], quote_size)
    found = metrics(
        make(
            EVEN,
            ADAPTIVE if policy == "adaptive" else {},
            SIZE_LAWS[law],
            {"steps": STEPS, "quoting.base_spread": spread, "quoting.quote_size": quote_size},
        ),
        PATHS,
    )
    expected = STEPS * RATE * size * spread / 2
    pnl, spread_of_pnl = mean(found["pnl"]), variance(found["pnl"])
    assert_within(pnl.value, expected, pnl.standard_error, sees=0.02 * expected)
    # Steps are independent, and the mid is where it began, so that the variance has a closed form too.
    expected = STEPS * (spread / 2) ** 2 * (RATE * square - (RATE * size) ** 2)
    assert_within(spread_of_pnl.value, expected, spread_of_pnl.standard_error, sees=0.12 * expected)
    np.testing.assert_allclose(found["average_spread"], spread, rtol=1e-12)
    np.testing.assert_allclose(found["pnl"], found["volume"] * spread / 2, rtol=0, atol=1e-9)


def test_pnl_would_be_missed_by_another_half_spread_or_a_size_beyond_the_quote() -> None:
    law = SIZE_LAWS["lognormal"]
    found = metrics(make(EVEN, law, {"steps": STEPS, "quoting.quote_size": 5}), PATHS)
    pnl = mean(found["pnl"])
    for wrong in (
        STEPS * RATE * size_moments(law, 5)[0] * 0.0205,
        STEPS * RATE * size_moments(law)[0] * 0.02,
        (STEPS + 4) * RATE * size_moments(law, 5)[0] * 0.02,
    ):
        with pytest.raises(AssertionError, match="standard errors from"):
            assert_within(pnl.value, wrong, pnl.standard_error)


@pytest.mark.parametrize("buys", [0.5, 0.7])
@pytest.mark.parametrize("chance", [0.3, 0.37])
def test_a_mid_off_the_fair_value_gains_on_one_side_what_it_gives_on_the_other(
    chance: float, buys: float
) -> None:
    mid, half, size = 0.35, 0.02, size_moments(SIZE_LAWS["geometric"], 10)[0]
    found = metrics(
        make(
            EVEN,
            {
                "steps": STEPS,
                "market.initial_probability": chance,
                "market.initial_mid": mid,
                "flow.noise_buy_fraction": buys,
            },
        ),
        PATHS,
    )
    volume = STEPS * RATE * size
    fair = volume * (buys * (mid + half - chance) + (1 - buys) * (chance - mid + half))
    inventory = volume * (1 - 2 * buys)
    expected = {
        "volume": volume,
        "pnl": volume * half,
        "pnl_fair": fair,
        "spread_pnl": fair,
        "pnl_settled": fair,  # E[O] is p_0
        "final_inventory": inventory,
        "fills": STEPS * RATE,
    }
    sees = {"final_inventory": 2.0, "pnl_settled": 2.5, "fills": 0.5, "volume": 2.0, "pnl": 0.05}
    for name, value in expected.items():
        estimate = mean(found[name])
        assert_within(estimate.value, value, estimate.standard_error, sees=sees.get(name, 0.3))
    # Independent steps again: a bought contract and a sold one.
    square = size_moments(SIZE_LAWS["geometric"], 10)[1]
    earned = buys * (mid + half - chance) ** 2 + (1 - buys) * (chance - mid + half) ** 2
    estimate = variance(found["pnl_fair"])
    value = STEPS * (RATE * square * earned - (fair / STEPS) ** 2)
    assert_within(estimate.value, value, estimate.standard_error, sees=0.12 * value)


# ---- who trades


@pytest.mark.parametrize("sensitivity", [5.0, 20.0, 60.0])
def test_price_sensitivity_thins_each_side_by_its_own_cost(sensitivity: float) -> None:
    # The bid, 0.36, is better than fair for who sells: that side is not thinned.
    found = metrics(
        make(
            EVEN,
            {
                "steps": STEPS,
                "market.initial_probability": 0.33,
                "market.initial_mid": 0.38,
                "flow.price_sensitivity": sensitivity,
            },
        ),
        PATHS,
    )
    size = size_moments(SIZE_LAWS["geometric"], 10)[0]
    stay = math.exp(-sensitivity * 0.07)
    buys, sells = STEPS * RATE / 2 * size * stay, STEPS * RATE / 2 * size
    for sample, expected in (
        ((found["volume"] - found["final_inventory"]) / 2, buys),
        ((found["volume"] + found["final_inventory"]) / 2, sells),
    ):
        estimate = mean(sample)
        assert_within(estimate.value, expected, estimate.standard_error, sees=1.3)


@pytest.mark.parametrize(("informed", "share"), [(0.0, None), (0.15, None), (0.15, "outcome"), (1.0, None)])
def test_each_fill_has_the_chance_that_its_quote_and_the_fair_value_give_it(
    informed: float, share: str | None
) -> None:
    """On the default bot, whose quote and fair value move: fills less their chance given both have mean 0."""
    know = share or "probability"
    sensitivity, buys = 20.0, 0.6
    scenario = make(
        {
            "steps": 300,
            "market.volatility": 0.05,
            "flow.informed_fraction": informed,
            "flow.informed_know": know,
            "flow.noise_buy_fraction": buys,
        }
    )
    sizes, chances = size_chances({}, 20)
    up_to = np.array([0.0, *(float(np.minimum(sizes, quote) @ chances) for quote in range(1, 11))])
    residuals: dict[str, list[float]] = {name: [] for name in ("buys", "sells", "bought", "sold")}
    weighted: dict[str, list[float]] = {name: [] for name in ("buys", "sells")}
    for values, trace in traces(scenario, 6_000):
        p, bid, ask = trace["probability"], trace["bid"], trace["ask"]
        known = np.broadcast_to(values["outcome"][:, None], p.shape) if know == "outcome" else p
        for side, volume, cost, wants, size, share_of in (
            ("buys", "sold", ask - p, known > ask, trace["ask_size"], buys),
            ("sells", "bought", p - bid, known < bid, trace["bid_size"], 1 - buys),
        ):
            stays = np.exp(-sensitivity * np.maximum(0.0, cost))
            chance = RATE * (informed * wants + (1 - informed) * share_of * stays) * (size > 0)
            residual = (trace[volume] > 0) - chance
            residuals[side].extend(residual.sum(axis=1))
            # Where the quote is good for the taker a wrong slope shows least; weigh by the cost as well.
            weighted[side].extend((residual * cost).sum(axis=1))
            residuals[volume].extend((trace[volume] - chance * up_to[size.astype(int)]).sum(axis=1))
    for name, sample in residuals.items():
        estimate = mean(sample)
        assert_within(estimate.value, 0.0, estimate.standard_error, sees=0.7 if name in weighted else 2.5)
    for sample in weighted.values():
        estimate = mean(sample)
        assert_within(estimate.value, 0.0, estimate.standard_error, sees=0.1)


@pytest.mark.parametrize("share", [0.15, 0.5])
@pytest.mark.parametrize("know", ["probability", "outcome"])
def test_the_informed_trade_in_their_share_and_take_what_they_know(share: float, know: str) -> None:
    chance, half = 0.65, 0.02
    found = metrics(
        make(
            EVEN,
            {
                "steps": STEPS,
                "market.initial_probability": chance,
                "market.initial_mid": 0.5,
                "flow.informed_fraction": share,
                "flow.informed_know": know,
            },
        ),
        PATHS,
    )
    informed = STEPS * RATE * share * size_moments(SIZE_LAWS["geometric"], 10)[0]
    volume, earned = mean(found["informed_volume"]), mean(found["informed_pnl"])
    assert_within(volume.value, informed, volume.standard_error, sees=1.5)
    # Who knows p buys at 0.52 what is worth 0.65; who knows O buys it, or sells at 0.48, as O will have it.
    buyers = 1.0 if know == "probability" else chance
    expected = informed * (buyers * (0.5 + half - chance) + (1 - buyers) * (chance - 0.5 + half))
    assert_within(earned.value, expected, earned.standard_error, sees=0.8)
    # What the settled pnl loses beyond the fair one: nothing, or contracts times what O adds to p.
    beyond = mean(found["pnl_settled"] - found["pnl_fair"])
    expected = 0.0 if know == "probability" else -informed * 2 * chance * (1 - chance)
    assert_within(beyond.value, expected, beyond.standard_error, sees=3.0)


def test_who_knows_p_leaves_a_quote_around_it_alone() -> None:
    changes = {**EVEN, "steps": STEPS, "flow.informed_fraction": 0.5}
    assert metrics(make(changes), 1_000)["informed_volume"].sum() == 0.0
    changes["market.initial_mid"] = 0.53  # the bid is 0.51: one cent above p
    assert metrics(make(changes), 1_000)["informed_volume"].min() > 0.0


@pytest.mark.parametrize(
    ("process", "spread"), [("logit", 0.04), ("logit", 0.3), ("arithmetic", 0.5), ("arithmetic", 2.0)]
)
def test_intensity_hits_each_side_on_its_own(process: str, spread: float) -> None:
    bounded = process == "logit"
    fair: dict[str, Any] = {"market.process": process, "market.initial_mid": 0.5 if bounded else 100.0}
    found = metrics(
        make(
            EVEN,
            fair,
            {
                "steps": STEPS,
                "market.tick_size": 0.01 if bounded else 0.0,
                "flow.model": "intensity",
                "flow.intensity_scale": 60.0,
                "quoting.base_spread": spread,
            },
        ),
        PATHS,
    )
    chance = 60.0 * 0.005 * math.exp(-1.5 * spread / 2)
    expected = {
        "fills": 2 * STEPS * chance,
        "volume": 2 * STEPS * chance,
        "pnl": 2 * STEPS * chance * spread / 2,
        "final_inventory": 0.0,
    }
    for name, value in expected.items():
        estimate = mean(found[name])
        assert_within(estimate.value, value, estimate.standard_error, sees=0.7)
    for name in ("volume", "final_inventory"):  # the sides are independent: sum and difference vary alike
        estimate = variance(found[name])
        value = 2 * STEPS * chance * (1 - chance)
        assert_within(estimate.value, value, estimate.standard_error, sees=0.1 * value)


# ---- fees and outages


@pytest.mark.parametrize(("rate", "rounding"), [(0.07, 0.0), (0.0175, 0.01), (-0.02, 0.0), (-0.02, 0.01)])
def test_fees_are_charged_by_fill_and_rebates_are_not_rounded(rate: float, rounding: float) -> None:
    found = metrics(
        make(
            EVEN,
            {
                "steps": STEPS,
                "market.initial_probability": 0.3,
                "market.initial_mid": 0.3,
                "fees.maker_rate": rate,
                "fees.rounding": rounding,
            },
        ),
        PATHS,
    )
    sizes, chances = size_chances({}, 10)
    expected = 0.0
    for price in (0.28, 0.32):
        fee = rate * price * (1 - price) * sizes
        if rounding and rate > 0:
            fee = np.ceil(fee / rounding - 1e-9) * rounding
        expected += STEPS * RATE / 2 * float(fee @ chances)
    estimate = mean(found["fees"])
    assert_within(estimate.value, expected, estimate.standard_error, sees=0.02 * abs(expected))
    np.testing.assert_allclose(found["pnl"], found["volume"] * 0.02 - found["fees"], atol=1e-9)


@pytest.mark.parametrize(("rate", "length"), [(0.01, 20), (0.2, 3), (1.0, 1)])
def test_outages_begin_and_last_as_stated(rate: float, length: int) -> None:
    """A connected step drops with chance `rate`, never the first one back: a chain of length + 2 states."""
    fate = np.zeros(length + 2)  # 0: connected before, may drop; 1: back this step; 2 + k: k more steps down
    fate[0] = 1.0
    quoted, begun = 0.0, 0.0
    for _ in range(STEPS):
        drops = rate * fate[0]
        quoted += fate[0] - drops + fate[1]
        begun += drops
        after = np.zeros_like(fate)
        after[0] = fate[0] - drops + fate[1]
        after[1:-1] = fate[2:]
        # A drop covers this step and length - 1 more, then the step back.
        after[length] += drops
        fate = after
    found = metrics(
        make(EVEN, {"steps": STEPS, "recovery.disconnect_rate": rate, "recovery.outage_steps": length}), PATHS
    )
    if rate == 1.0:
        assert set(found["quoted_fraction"] * STEPS) == {quoted}
        assert set(found["outages"]) == {begun}
        return
    for name, expected in (("quoted_fraction", quoted / STEPS), ("outages", begun)):
        estimate = mean(found[name])
        assert_within(estimate.value, expected, estimate.standard_error, sees=0.05 * expected)
    # Takers find a quote in just those steps.
    estimate = mean(found["fills"])
    assert_within(estimate.value, RATE * quoted, estimate.standard_error, sees=0.03 * RATE * quoted)
