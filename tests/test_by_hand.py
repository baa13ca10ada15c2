"""Ten steps of the adaptive bot worked out by hand, against the core and against the oracle.

Orders and fair values are given, so nothing is random. The bot: half-spread 2 cents, half as much again at
full imbalance; 10 contracts a side, at most 10 of inventory; fees of 10% * price * (1 - price), up to the
cent; a drawdown of 60 cents trips the breaker, which flattens at 2 cents from the fair value.
"""

from __future__ import annotations

import math

import oracle
import pandas as pd
import pytest

import mcmm
from mcmm.metrics import NAMES

SCENARIO = mcmm.Scenario.from_dict(
    {
        "steps": 10,
        "flow": {"model": "replay"},
        "fees": {"maker_rate": 0.1, "rounding": 0.01},
        "quoting": {
            "base_spread": 0.04,
            "imbalance_factor": 0.5,
            "inventory_factor": 0.0,
            "quote_size": 10,
            "imbalance_window": 3,
            "fill_shade": 0.01,  # 0.1 cents a contract
            "imbalance_shade": 0.01,  # a cent at full imbalance
            "defensive_threshold": 0.5,
            "defensive_shade": 0.02,  # u = 0.7: 0.02 * (0.7 - 0.5) / (1 - 0.5) = 0.8 cents
        },
        "risk": {
            "inventory_limit": 10,
            "drawdown_limit": 0.6,
            "breaker_action": "flatten",
            "unwind_slippage": 0.02,
        },
    }
)

NONE = math.nan
ORDERS = [
    {"step": step, "side": side, "size": size, "limit": limit, "fair": fair}
    for step, side, size, limit, fair in (
        (0, +1, 4, NONE, NONE),
        (1, +1, 9, 0.54, 0.55),
        (2, +1, 9, 0.55, NONE),
        (3, +1, 1, NONE, 0.60),
        (5, -1, 3, NONE, NONE),
        (6, -1, 5, 0.51, 0.45),
        (7, -1, 12, NONE, NONE),
        (8, -1, 1, NONE, 0.48),
        (9, +1, 5, NONE, 1.0),
    )
]

# Step 0. No flow yet, I = 0: half-spread 0.02 around 0.50. A buyer takes 4 at 0.52: cash 2.08, fee 0.1 *
#   0.52 * 0.48 * 4 = 0.09984, up to 0.10. The mid gains 0.004 for the 4 and 0.01 for I = 1: 0.514. pnl =
#   2.08 - 4 * 0.514 - 0.10 = -0.076. Spread pnl 4 * (0.52 - 0.50) = 0.08.
# Step 1. I = 1, half-spread 0.03: 0.484 down to 0.48, 0.544 up to 0.55. Short 4, so 6 are offered. The
#   buyer's limit is 0.54: no fill. p goes to 0.55; inventory pnl -4 * 0.05 = -0.20.
# Step 2. The same quote; this buyer pays 0.55 and gets the 6 of 9. Cash 5.38, fee 0.1 * 0.55 * 0.45 * 6 =
#   0.1485, up to 0.15. u = -1: mid + 0.006 + 0.01 + 0.02 = 0.55. pnl = 5.38 - 5.50 - 0.25 = -0.37. Spread
#   pnl 0.
# Step 3. I = 1, half-spread 0.03. At the limit nothing is offered: the buyer goes away. p to 0.60, which
#   costs 10 * 0.05: pnl_fair = 5.38 - 6.00 - 0.25 = -0.87.
# Step 4. Nobody comes.
# Step 5. Three steps without a fill, I = 0: half-spread 0.02. A seller hits the bid for 3 at 0.53: cash
#   3.79, fee 0.1 * 0.53 * 0.47 * 3 = 0.07473, up to 0.08. I = -1, u = -0.7: mid - 0.003 - 0.01 + 0.008 =
#   0.545. pnl = 3.79 - 7 * 0.545 - 0.33 = -0.355. Spread pnl -3 * (0.53 - 0.60) = 0.21.
# Step 6. I = -1, half-spread 0.03: 0.515 down, 0.575 up. The seller's limit 0.51 is met: 5, cash 1.24, fee
#   0.1 * 0.51 * 0.49 * 5 = 0.12495, up to 0.13. Mid - 0.005 - 0.01 = 0.53. pnl = 1.24 - 1.06 - 0.46 =
#   -0.28. Spread pnl -5 * (0.51 - 0.60) = 0.45. p falls to 0.45: inventory pnl -2 * -0.15 = 0.30.
# Step 7. The seller of 12 gets the 10 of the bid at 0.50: cash -3.76, long 8. The fee is 0.25 and stays
#   0.25. u = 0.8: mid - 0.01 - 0.01 - 0.012 = 0.498. pnl = -3.76 + 3.984 - 0.71 = -0.486. Spread pnl -10 *
#   0.05 = -0.50.
# Step 8. 0.468 down, 0.528 up; 2 are bid for. One is sold at 0.46: cash -4.22, fee 0.1 * 0.46 * 0.54 =
#   0.02484, up to 0.03. u = 0.9: mid - 0.001 - 0.01 - 0.016 = 0.471. pnl = -4.22 + 9 * 0.471 - 0.74 =
#   -0.721: the drawdown passes 0.60 and the breaker trips. Spread pnl -1 * (0.46 - 0.45) = -0.01. p to
#   0.48: inventory pnl 9 * 0.03 = 0.27.
# Step 9. Before the quote the 9 go at 0.48 - 0.02 = 0.46: cash -4.22 + 4.14, spread pnl 9 * -0.02 = -0.18.
#   No quote, so the buyer gets nothing. pnl = -0.08 - 0.74 = -0.82.
ROWS = pd.DataFrame(
    # As the taker sees it: probability, mid, bid, ask, bid_size, ask_size, quoting. At the end of the step:
    # bought, sold, inventory, cash, fees, pnl, pnl_fair, drawdown, halted.
    [
        (0.50, 0.500, 0.48, 0.52, 10, 10, 1, 0, 4, -4, 2.08, 0.10, -0.076, -0.02, 0.076, 0),
        (0.50, 0.514, 0.48, 0.55, 10, 6, 1, 0, 0, -4, 2.08, 0.10, -0.076, -0.22, 0.076, 0),
        (0.55, 0.514, 0.48, 0.55, 10, 6, 1, 0, 6, -10, 5.38, 0.25, -0.37, -0.37, 0.37, 0),
        (0.55, 0.550, 0.52, 0.58, 10, 0, 1, 0, 0, -10, 5.38, 0.25, -0.37, -0.87, 0.37, 0),
        (0.60, 0.550, 0.52, 0.58, 10, 0, 1, 0, 0, -10, 5.38, 0.25, -0.37, -0.87, 0.37, 0),
        (0.60, 0.550, 0.53, 0.57, 10, 0, 1, 3, 0, -7, 3.79, 0.33, -0.355, -0.74, 0.355, 0),
        (0.60, 0.545, 0.51, 0.58, 10, 3, 1, 5, 0, -2, 1.24, 0.46, -0.28, -0.12, 0.28, 0),
        (0.45, 0.530, 0.50, 0.56, 10, 8, 1, 10, 0, 8, -3.76, 0.71, -0.486, -0.87, 0.486, 0),
        (0.45, 0.498, 0.46, 0.53, 2, 10, 1, 1, 0, 9, -4.22, 0.74, -0.721, -0.64, 0.721, 1),
        (0.48, 0.471, NONE, NONE, 0, 0, 0, 0, 0, 0, -0.08, 0.74, -0.82, -0.82, 0.82, 1),
    ],
    columns=[
        *("probability", "mid", "bid", "ask", "bid_size", "ask_size", "quoting"),
        *("bought", "sold", "inventory", "cash", "fees", "pnl", "pnl_fair", "drawdown", "halted"),
    ],
)

METRICS = {
    "fills": 6,
    "volume": 4 + 6 + 3 + 5 + 10 + 1 + 9,
    "notional": 2.08 + 3.30 + 1.59 + 2.55 + 5.00 + 0.46 + 4.14,
    "fees": 0.74,
    "pnl": -0.82,
    "pnl_fair": -0.82,
    "pnl_settled": -0.82,  # nothing is left to settle
    "spread_pnl": 0.08 + 0.21 + 0.45 - 0.50 - 0.01 - 0.18,
    "inventory_pnl": -0.20 - 0.50 + 0.30 + 0.27,
    "max_drawdown": 0.82,
    "max_drawdown_fair": 0.87,
    "average_spread": (4 + 7 + 7 + 6 + 6 + 4 + 7 + 6 + 7) / 100 / 9,
    "final_inventory": 0,
    "max_inventory": 10,
    "max_exposure": 10 * (1 - 0.55),
    "quoted_fraction": 0.9,
    "trips": 1,
    "halt_step": 8,
    "halt_reason": 1,  # drawdown
    "breaker_overshoot": 0.121,
    "delay_cost": 0,
    "unwinding_cost": 0.82 - 0.721,
    "realised_overshoot": 0.82 - 0.6,
    "outages": 0,
    "inventory_limit_steps": 3,
    "exposure_limit_steps": 0,
    "informed_volume": 0,
    "informed_pnl": 0,
    "final_mid": 0.471,
    "final_probability": 1,
    "outcome": 1,  # with chance p = 1
}


def test_the_hand_attributes_all_pnl() -> None:
    earned = METRICS["spread_pnl"] + METRICS["inventory_pnl"] - METRICS["fees"]
    assert earned == pytest.approx(METRICS["pnl_fair"], abs=1e-12)


def test_core() -> None:
    core = mcmm.simulate(SCENARIO, paths=3, seed=5, trace_paths=3, orders=pd.DataFrame(ORDERS))
    assert core.trace_values is not None
    for path in range(3):
        rows = pd.DataFrame({name: core.trace_values[str(name)][path] for name in ROWS})
        pd.testing.assert_frame_equal(rows, ROWS.astype(float), rtol=0, atol=1e-12)
        metrics = dict(zip(NAMES, core.values[:, path], strict=True))
        assert metrics == pytest.approx(METRICS, rel=0, abs=1e-12)


def test_oracle() -> None:
    told = oracle.simulate(SCENARIO, 5, 0, ORDERS)
    pd.testing.assert_frame_equal(
        pd.DataFrame(told.rows).astype(float), ROWS.astype(float), rtol=0, atol=1e-12
    )
    assert told.metrics == pytest.approx(METRICS, rel=0, abs=1e-12)
