"""The oracle's policy of one's own, told from section 4 of docs/model.md and docs/policies.md."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oracle import Path

Books = dict[str, float]
CustomPolicy = Callable[[Books], tuple[float, float, float, float]]
"""What the maker knows of one path, by the names of the rows; to bid, ask and the two sizes."""


def books(path: Path, t: int) -> Books:
    """The rows as one path has them before its quote."""
    risk = path.scenario.risk
    full = path.exposure >= risk.exposure_soft_fraction * risk.exposure_limit
    limit = math.inf if path.limit is None else path.limit
    return {
        "mid": path.mid,
        "inventory": path.inventory,
        "inventory_ratio": path.inventory_ratio(),
        "imbalance": path.imbalance(),
        # At the fair value it would tell the maker what that is.
        "exposure": path.exposure if risk.mark == "mid" else exposure_at_mid(path),
        "pnl": path.worth(path.mid),
        "multiplier": path.recovery_multiplier(),
        "bid_multiplier": risk.passive_multiplier if full and path.inventory > 0 else 1.0,
        "ask_multiplier": risk.passive_multiplier if full and path.inventory < 0 else 1.0,
        "bid_size": min(path.plain_size(path.inventory), limit - path.inventory),
        "ask_size": min(path.plain_size(-path.inventory), limit + path.inventory),
        "step": t,
    }


def exposure_at_mid(path: Path) -> float:
    """What the inventory can lose from the maker's mid."""
    q = path.inventory
    return q * path.mid if q > 0 else abs(q) * (1 - path.mid)


def whole(size: float) -> int:
    """Rounded down to whole contracts; none for less than one or NaN, and a billion at most."""
    return 0 if math.isnan(size) or size < 1 else math.floor(min(size, 2**30))


def ask_policy(policy: CustomPolicy, path: Path, t: int) -> tuple[float, float, tuple[int, int]]:
    """Prices in ticks, and the sizes asked for: none on a side without a price."""
    bid, ask, bid_size, ask_size = policy(books(path, t))
    sizes = 0 if math.isnan(bid) else whole(bid_size), 0 if math.isnan(ask) else whole(ask_size)
    low, high = path.on_the_grid(0.0 if math.isnan(bid) else bid, 1.0 if math.isnan(ask) else ask)
    return low, high, sizes
