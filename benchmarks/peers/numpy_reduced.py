"""The reduced bot in plain NumPy: one array element a path, one array operation a rule.

Tuned as NumPy allows: every result written into a buffer that exists already, SFC64 (its fastest generator),
two uniform numbers and a normal a step, signs instead of masks where both sides share a rule, and no sums
that follow from others at the end of the path. An operation costs 0.2 ns an element and 0.4 us a call, so
blocks are large: blocks of 2,048 paths, which fit the second-level cache, take half as long again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers as c

__all__ = ["run"]

BLOCK = 16384


def run(paths: int, steps: int, seed: int) -> NDArray[np.float64]:
    """Simulate the reduced bot; a row per metric of ``peers.METRICS``, a column per path."""
    out = np.empty((len(c.METRICS), paths))
    for block, start in enumerate(range(0, paths, BLOCK)):
        count = min(BLOCK, paths - start)
        rng = np.random.Generator(np.random.SFC64([seed, block]))
        out[:, start : start + count] = _run_block(count, steps, rng)
    return out


def _run_block(n: int, steps: int, rng: np.random.Generator) -> NDArray[np.float64]:
    outcome = (rng.random(n) < c.INITIAL_PROBABILITY).astype(np.float64)
    drift = (outcome - 0.5) * (2.0 * c.DRIFT)
    log_odds = np.full(n, c.INITIAL_LOG_ODDS)
    fair = np.full(n, c.INITIAL_PROBABILITY * c.TICKS)
    mid = fair.copy()
    inventory, cash, traded_at_fair, spreads, quoted, fills, volume = np.zeros((7, n))
    peak, max_drawdown, max_inventory = np.zeros((3, n))
    active = np.ones(n)
    ring = np.zeros((c.WINDOW, n))
    signed, total = np.zeros((2, n))
    normal, uniform, size, half, bid, ask, spread, filled, a, b = np.empty((10, n))
    informed, buys, sells, mask = np.empty((4, n), dtype=np.bool_)
    side = np.empty(n, dtype=np.int8)
    # Bounds as arrays: NumPy's maximum and minimum are several times slower with a scalar.
    bounds = (0.0, 1.0, c.TICKS - 2.0, c.TICKS - 1.0, -c.LOG_ODDS_LIMIT, c.LOG_ODDS_LIMIT)
    zero, one, top_bid, top, lowest, highest = (np.full(n, bound) for bound in bounds)
    share = c.IMBALANCE_FACTOR * c.HALF_SPREAD
    slope = c.INVENTORY_FACTOR * c.HALF_SPREAD / c.INVENTORY_LIMIT

    for step in range(steps):
        old = ring[step % c.WINDOW]
        np.subtract(signed, old, out=signed)
        np.abs(old, out=a)
        np.subtract(total, a, out=total)

        # The quote: half a spread that grows with the imbalance and the inventory, to the tick outwards.
        np.abs(signed, out=a)
        np.maximum(total, one, out=b)
        np.divide(a, b, out=a)
        np.multiply(a, share, out=half)
        np.abs(inventory, out=b)
        np.multiply(b, slope, out=b)
        np.add(half, b, out=half)
        np.add(half, c.HALF_SPREAD - c.GRACE, out=half)
        np.subtract(mid, half, out=bid)
        np.floor(bid, out=bid)
        np.maximum(bid, one, out=bid)
        np.minimum(bid, top_bid, out=bid)
        np.add(mid, half, out=ask)
        np.ceil(ask, out=ask)
        np.add(bid, 1.0, out=a)
        np.maximum(ask, a, out=ask)
        np.minimum(ask, top, out=ask)
        np.subtract(ask, bid, out=spread)
        np.multiply(spread, active, out=a)
        np.add(spreads, a, out=spreads)
        np.add(quoted, active, out=quoted)

        # The taker: who, which side (+1 buys from the maker), how many.
        rng.random(out=uniform)
        np.less(uniform, c.INFORMED_BOUND, out=informed)
        np.less(uniform, c.BUYER_BOUND, out=buys)
        np.less(uniform, c.ARRIVAL_BOUND, out=sells)
        np.logical_xor(sells, buys, out=sells)
        np.logical_xor(buys, informed, out=buys)
        np.greater(fair, ask, out=mask)
        np.logical_and(mask, informed, out=mask)
        np.logical_or(buys, mask, out=buys)
        np.less(fair, bid, out=mask)
        np.logical_and(mask, informed, out=mask)
        np.logical_or(sells, mask, out=sells)
        np.subtract(buys.view(np.int8), sells.view(np.int8), out=side)
        np.multiply(side, active, out=a)
        rng.random(out=size)
        np.multiply(size, -c.SIZE_CAP_CHANCE, out=size)
        np.add(size, 1.0, out=size)
        np.log(size, out=size)
        np.multiply(size, 1.0 / c.SIZE_LOG_RATIO, out=size)
        np.ceil(size, out=size)
        np.maximum(size, one, out=size)

        # The quoted size falls with the inventory on the side that would add to it.
        np.multiply(a, inventory, out=b)
        np.minimum(b, zero, out=b)
        np.add(b, c.INVENTORY_LIMIT, out=b)
        np.multiply(b, c.QUOTE_SIZE / c.INVENTORY_LIMIT, out=b)
        np.subtract(b, c.GRACE, out=b)
        np.ceil(b, out=b)
        np.minimum(size, b, out=size)
        np.maximum(a, zero, out=b)
        np.multiply(b, spread, out=b)
        np.add(bid, b, out=bid)
        np.multiply(a, size, out=a)

        # The fill: a is the signed taker volume, bid the price of the side that was hit.
        ring[step % c.WINDOW] = a
        np.add(signed, a, out=signed)
        np.subtract(inventory, a, out=inventory)
        np.multiply(a, bid, out=b)
        np.add(cash, b, out=cash)
        np.multiply(a, fair, out=b)
        np.add(traded_at_fair, b, out=traded_at_fair)
        np.abs(a, out=b)
        np.add(total, b, out=total)
        np.add(volume, b, out=volume)
        np.minimum(b, one, out=filled)
        np.add(fills, filled, out=fills)
        np.abs(inventory, out=b)
        np.maximum(max_inventory, b, out=max_inventory)
        np.subtract(b, c.DEFENSIVE_THRESHOLD * c.INVENTORY_LIMIT, out=b)
        np.maximum(b, zero, out=b)
        np.multiply(b, c.DEFENSIVE_SHADE / c.INVENTORY_LIMIT, out=b)
        np.copysign(b, inventory, out=b)
        np.multiply(b, filled, out=b)
        np.multiply(a, c.FILL_SHADE, out=a)
        np.subtract(a, b, out=a)
        np.add(mid, a, out=mid)
        np.maximum(mid, one, out=mid)
        np.minimum(mid, top, out=mid)

        # The fair value.
        rng.standard_normal(out=normal)
        np.multiply(normal, c.VOLATILITY, out=normal)
        np.add(log_odds, drift, out=log_odds)
        np.add(log_odds, normal, out=log_odds)
        np.maximum(log_odds, lowest, out=log_odds)
        np.minimum(log_odds, highest, out=log_odds)
        np.negative(log_odds, out=a)
        np.exp(a, out=a)
        np.add(a, 1.0, out=a)
        np.divide(c.TICKS, a, out=fair)

        # Mark at the mid and check the drawdown.
        np.multiply(inventory, mid, out=a)
        np.add(a, cash, out=a)
        np.maximum(peak, a, out=peak)
        np.subtract(peak, a, out=a)
        np.maximum(max_drawdown, a, out=max_drawdown)
        np.less(max_drawdown, c.DRAWDOWN_LIMIT, out=active)

    pnl = cash + inventory * mid
    pnl_fair = cash + inventory * fair
    spread_pnl = cash - traded_at_fair
    money = np.array(
        [
            pnl,
            pnl_fair,
            cash + inventory * outcome * c.TICKS,
            spread_pnl,
            pnl_fair - spread_pnl,
            max_drawdown,
        ]
    )
    return np.vstack([fills, volume, money * c.TICK, max_inventory, spreads / quoted * c.TICK, active == 0.0])
