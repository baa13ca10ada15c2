"""Other ways to simulate the reduced bot, each as good as its tool allows, to measure the core against.

The reduced bot is the adaptive policy of ``docs/model.md`` on a logit walk, with takers who know the fair
value or nothing, an imbalance window, a drawdown halt, and eleven of the metrics. Each peer is a module with
one function ``run(paths, steps, seed) -> ndarray`` of shape ``(len(METRICS), paths)``, float64, on one
thread. The peers draw from generators of their own, so they agree with each other and with the core in
distribution, not path by path.

The parameters below are module constants because that favours the peers: Numba compiles them in, as a person
who writes such a loop for one scenario would have it. ``SCENARIO`` states the same bot for the core.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["METRICS", "PEERS", "SCENARIO", "load"]

METRICS = (
    "fills",
    "volume",
    "pnl",
    "pnl_fair",
    "pnl_settled",
    "spread_pnl",
    "inventory_pnl",
    "max_drawdown",
    "max_inventory",
    "average_spread",
    "halts",
)

PEERS = ("numpy_reduced", "numba_scalar", "numba_vector")

SCENARIO: dict[str, Any] = {
    "market": {"volatility": 0.03},
    "flow": {
        "arrival_rate": 0.5,
        "informed_fraction": 0.2,
        "price_sensitivity": 0.0,
        "size_mean": 2.857,
        "size_max": 10,
    },
    "quoting": {"inventory_factor": 1.0, "fill_shade": 0.005, "imbalance_shade": 0.0},
    "risk": {"drawdown_limit": 2.5},
}

# Prices and money are counted in ticks inside the peers, so that prices and cash are whole numbers.
TICKS = 100
TICK = 1.0 / TICKS
INITIAL_PROBABILITY = 0.5
INITIAL_LOG_ODDS = math.log(INITIAL_PROBABILITY / (1.0 - INITIAL_PROBABILITY))
VOLATILITY = 0.03
DRIFT = 0.5 * VOLATILITY * VOLATILITY
LOG_ODDS_LIMIT = 36.0

ARRIVAL_RATE = 0.5
INFORMED_FRACTION = 0.2
NOISE_BUY_FRACTION = 0.5
# One uniform number decides who comes and what an uninformed taker wants: it lies below the first bound for
# an informed taker, else below the second for an uninformed buyer, else below the third for a seller.
INFORMED_BOUND = ARRIVAL_RATE * INFORMED_FRACTION
BUYER_BOUND = INFORMED_BOUND + ARRIVAL_RATE * (1.0 - INFORMED_FRACTION) * NOISE_BUY_FRACTION
ARRIVAL_BOUND = ARRIVAL_RATE

SIZE_MEAN = 2.857
SIZE_MAX = 10
SIZE_LOG_RATIO = math.log1p(-1.0 / SIZE_MEAN)
SIZE_CAP_CHANCE = -math.expm1(SIZE_MAX * SIZE_LOG_RATIO)
# SIZE_TAIL[k] is the chance that a size is above k + 1.
SIZE_TAIL = tuple(1.0 + math.expm1(k * SIZE_LOG_RATIO) / SIZE_CAP_CHANCE for k in range(1, SIZE_MAX))

HALF_SPREAD = 0.04 / 2 * TICKS
IMBALANCE_FACTOR = 0.5
INVENTORY_FACTOR = 1.0
QUOTE_SIZE = 10
WINDOW = 50
FILL_SHADE = 0.005 * TICKS / QUOTE_SIZE
DEFENSIVE_THRESHOLD = 0.7
DEFENSIVE_SHADE = 0.002 * TICKS / (1.0 - DEFENSIVE_THRESHOLD)
INVENTORY_LIMIT = 100
DRAWDOWN_LIMIT = 2.5 * TICKS
GRACE = 1e-9


def load(name: str) -> Callable[[int, int, int], Any]:
    """The ``run`` function of the peer of that name; ImportError where its tool is not installed."""
    run: Callable[[int, int, int], Any] = import_module(f"{__name__}.{name}").run
    return run
