"""The tables of Avellaneda & Stoikov, Quantitative Finance 2008, against exact moments and against print."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from theory.harness import (
    Estimate,
    assert_fits,
    assert_misfits,
    assert_within,
    make,
    mean,
    metrics,
    sd,
    variance,
)

STEPS = 200
DT = 0.005
SIGMA = 2.0
SCALE = 140.0
DECAY = 1.5
PATHS = 200_000
PRINTED_PATHS = 1_000
REACH = 120  # contracts: eight standard deviations of the widest inventory

TEXTBOOK = {
    "steps": STEPS,
    "market.process": "arithmetic",
    "market.tick_size": 0.0,
    "market.initial_mid": 100.0,
    "market.volatility": SIGMA * math.sqrt(DT),
    "flow.model": "intensity",
    "flow.intensity_scale": SCALE,
    "flow.intensity_decay": DECAY,
    "flow.dt": DT,
    "risk.inventory_limit": math.inf,
}

# gamma -> spread; profit, std, std of final q of the inventory strategy, then of the symmetric one.
PRINTED = {
    0.1: (1.49, (65.0, 6.6, 2.9), (68.4, 12.7, 8.4)),
    0.01: (1.35, (68.6, 8.7, 5.1), (68.8, 12.8, 8.7)),
    1.0: (3.02, (31.4, 5.0, 1.7), (44.0, 11.0, 5.1)),
}


class Moments(NamedTuple):
    """What theory says of a strategy."""

    spread: float
    profit: float
    profit_variance: float
    inventory: NDArray[np.float64]  # chance of a final inventory of -REACH .. REACH


def spread_at(gamma: float, step: int) -> float:
    return gamma * SIGMA**2 * (STEPS - step) * DT + 2 / gamma * math.log(1 + gamma / DECAY)


def average_spread(gamma: float) -> float:
    return float(np.mean([spread_at(gamma, step) for step in range(STEPS)]))


def dynamic_programme(gamma: float | None, spread: float | None = None) -> Moments:
    """Exact moments by recursion over (step, inventory), backwards for profit and forwards for inventory.

    The price moves apart from the hits, so that profit is what the hits earn over it plus inventory times its
    moves: W = e + q' v z + W', and E[W^2] = E[(e + W')^2] + v^2 E[q'^2]. Without gamma spread is constant.
    """
    q = np.arange(-REACH, REACH + 1, dtype=np.float64)
    first, second = np.zeros_like(q), np.zeros_like(q)  # E[W], E[W^2] from here to the end
    law = (q == 0).astype(np.float64)

    def hits(step: int) -> list[tuple[NDArray[np.float64], NDArray[np.float64], int]]:
        wide = (spread if gamma is None else spread_at(gamma, step)) or 0.0
        lean = q * (0.0 if gamma is None else gamma * SIGMA**2 * (STEPS - step) * DT)
        below, above = wide / 2 + lean, wide / 2 - lean
        # A quote far on the wrong side of the price is hit for certain: exp is kept from overflowing there.
        bid, ask = (
            np.minimum(1.0, SCALE * DT * np.exp(np.minimum(-DECAY * gap, 50.0))) for gap in (below, above)
        )
        # Beyond REACH nothing is followed; nothing gets there.
        bid, ask = np.where(q == REACH, 0.0, bid), np.where(q == -REACH, 0.0, ask)
        return [
            ((1 - bid) * (1 - ask), np.zeros_like(q), 0),
            (bid * (1 - ask), below, 1),
            ((1 - bid) * ask, above, -1),
            (bid * ask, below + above, 0),
        ]

    for step in range(STEPS):
        law = np.sum([np.roll(law * chance, move) for chance, _, move in hits(step)], axis=0)
    for step in reversed(range(STEPS)):
        cases = hits(step)
        later = [(np.roll(first, -move), np.roll(second, -move), q + move) for _, _, move in cases]
        second = np.sum(
            [
                chance * (earned**2 + 2 * earned * m1 + m2 + SIGMA**2 * DT * held**2)
                for (chance, earned, _), (m1, m2, held) in zip(cases, later, strict=True)
            ],
            axis=0,
        )
        first = np.sum(
            [chance * (earned + m1) for (chance, earned, _), (m1, _, _) in zip(cases, later, strict=True)],
            axis=0,
        )
    assert law[[0, -1]].max() < 1e-12
    shown = (spread or 0.0) if gamma is None else average_spread(gamma)
    return Moments(shown, float(first[REACH]), float(second[REACH] - first[REACH] ** 2), law)


def simulated(strategy: str, gamma: float) -> dict[str, NDArray[np.float64]]:
    policy = (
        {"quoting.policy": "avellaneda_stoikov", "quoting.risk_aversion": gamma}
        if strategy == "inventory"
        else {"quoting.policy": "symmetric", "quoting.base_spread": average_spread(gamma)}
    )
    return metrics(make(TEXTBOOK, policy), PATHS)


def test_the_programme_agrees_with_the_closed_form() -> None:
    for gamma in PRINTED:
        spread = average_spread(gamma)
        theory = dynamic_programme(None, spread)
        distance = spread / 2
        chance = SCALE * math.exp(-DECAY * distance) * DT
        flow = chance * (1 - chance)
        q = np.arange(-REACH, REACH + 1)
        assert theory.profit == pytest.approx(2 * STEPS * chance * distance, rel=1e-9)
        assert theory.inventory @ q**2 == pytest.approx(2 * STEPS * flow, rel=1e-9)
        assert theory.profit_variance == pytest.approx(
            distance**2 * 2 * STEPS * flow + SIGMA**2 * DT * flow * STEPS * (STEPS + 1), rel=1e-9
        )


@pytest.mark.parametrize("strategy", ["inventory", "symmetric"])
@pytest.mark.parametrize("gamma", PRINTED)
def test_rows_of_the_tables(gamma: float, strategy: str) -> None:
    theory = (
        dynamic_programme(gamma)
        if strategy == "inventory"
        else dynamic_programme(None, average_spread(gamma))
    )
    found = simulated(strategy, gamma)
    q = np.arange(-REACH, REACH + 1)

    # The spread of this policy depends on the step alone: it has no sampling error.
    np.testing.assert_allclose(found["average_spread"], theory.spread, rtol=1e-9)
    profit, inventory = mean(found["pnl"]), mean(found["final_inventory"])
    assert_within(profit.value, theory.profit, profit.standard_error, sees=0.005 * theory.profit)
    assert_within(inventory.value, 0.0, inventory.standard_error, sees=0.2)
    for sample, expected in (
        (found["pnl"], theory.profit_variance),
        (found["final_inventory"], float(theory.inventory @ q**2)),
    ):
        estimate = variance(sample)
        assert_within(estimate.value, expected, estimate.standard_error, sees=0.05 * expected)
    np.testing.assert_array_equal(found["pnl"], found["pnl_settled"])

    # The whole law of the final inventory, the tails in one cell each.
    common = theory.inventory * PATHS > 20
    counts = np.bincount(found["final_inventory"].astype(int) + REACH, minlength=2 * REACH + 1)
    observed = np.append(counts[common], counts[~common].sum())
    expected_counts = np.append(theory.inventory[common], theory.inventory[~common].sum()) * PATHS
    assert_fits(stats.chisquare(observed, expected_counts / expected_counts.sum() * PATHS).pvalue)

    # As printed, from 1,000 paths: two errors of sampling, theirs and ours, and that of rounding.
    spread, *rows = PRINTED[gamma]
    printed = rows[strategy == "symmetric"]
    assert theory.spread == pytest.approx(spread, abs=0.015)
    ours = (profit, sd(found["pnl"]), sd(found["final_inventory"]))
    for estimate, value in zip(ours, printed, strict=True):
        assert_within(estimate.value, value, loose_error(estimate))


def loose_error(ours: Estimate) -> float:
    """Standard error of a printed figure and ours together."""
    return math.sqrt(ours.standard_error**2 * (1 + PATHS / PRINTED_PATHS) + 0.05**2 / 3)


def test_a_strategy_with_another_risk_aversion_or_rate_is_refused() -> None:
    found = simulated("inventory", 0.1)
    theory = dynamic_programme(0.13)
    estimate = variance(found["pnl"])
    with pytest.raises(AssertionError, match="standard errors from"):
        assert_within(estimate.value, theory.profit_variance, estimate.standard_error)
    counts = np.bincount(found["final_inventory"].astype(int) + REACH, minlength=2 * REACH + 1)
    common = theory.inventory * PATHS > 20
    expected = theory.inventory[common] / theory.inventory[common].sum() * counts[common].sum()
    assert_misfits(stats.chisquare(counts[common], expected).pvalue)
    # A step of time too many in T - t, the easiest mistake: the average spread tells.
    late = np.mean([spread_at(0.1, step + 1) for step in range(STEPS)])
    assert abs(found["average_spread"][0] - late) > 1e-3
