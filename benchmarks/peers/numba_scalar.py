"""The reduced bot as a scalar loop in Numba: one path at a time, its state in registers, draws inline.

xoshiro256+ (Blackman and Vigna 2018) gives the bits, a 256-layer ziggurat (Marsaglia and Tsang 2000) the
normals. What nobody looks at is not computed: the fair value only where a taker arrives, the mark only after
a fill. Sides and sizes come without branches, which would be mispredicted every other time.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
from __future__ import annotations

import math

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from benchmarks import peers as c

__all__ = ["normals", "run"]

ZIGGURAT_EDGE = 3.6541528853610088


def _ziggurat() -> tuple[NDArray[np.uint64], NDArray[np.float64], NDArray[np.float64]]:
    """Bounds, widths and densities of 256 layers of equal area under exp(-x^2 / 2), for 52-bit integers."""
    tail = math.sqrt(math.pi / 2.0) * math.erfc(ZIGGURAT_EDGE / math.sqrt(2.0))
    area = ZIGGURAT_EDGE * math.exp(-0.5 * ZIGGURAT_EDGE**2) + tail
    edge = np.zeros(257)
    edge[0] = area / math.exp(-0.5 * ZIGGURAT_EDGE**2)
    edge[1] = ZIGGURAT_EDGE
    for i in range(2, 256):
        edge[i] = math.sqrt(-2.0 * math.log(area / edge[i - 1] + math.exp(-0.5 * edge[i - 1] ** 2)))
    bound = (edge[1:] / edge[:-1] * 2.0**52).astype(np.uint64)
    return bound, edge[:-1] / 2.0**52, np.exp(-0.5 * edge**2)


ZIGGURAT_BOUND, ZIGGURAT_WIDTH, ZIGGURAT_DENSITY = _ziggurat()
SIZE_TAIL = np.array(c.SIZE_TAIL)
SHARE = c.HALF_SPREAD * c.IMBALANCE_FACTOR
SLOPE = c.HALF_SPREAD * c.INVENTORY_FACTOR / c.INVENTORY_LIMIT
SHADE_FROM = c.DEFENSIVE_THRESHOLD * c.INVENTORY_LIMIT
SHADE = c.DEFENSIVE_SHADE / c.INVENTORY_LIMIT
UNIT = 2.0**-53
LIMIT, SIZE_AT_ZERO = c.INVENTORY_LIMIT, c.QUOTE_SIZE


@njit(inline="always")
def _next(a, b, d, e):
    """One step of xoshiro256+: the number and the next four words of state."""
    number = a + e
    shifted = b << uint64(17)
    d ^= a
    e ^= b
    b ^= d
    a ^= e
    d ^= shifted
    e = (e << uint64(45)) | (e >> uint64(19))
    return number, a, b, d, e


@njit
def _normal_slow(layer, x, a, b, d, e):
    """The ziggurat's wedges and tail, about one draw in 80: accepted or not, the number, the generator."""
    if layer == 0:
        while True:
            word, a, b, d, e = _next(a, b, d, e)
            tail = -math.log(((word >> uint64(11)) + 1.0) * UNIT) / ZIGGURAT_EDGE
            word, a, b, d, e = _next(a, b, d, e)
            if -2.0 * math.log(((word >> uint64(11)) + 1.0) * UNIT) > tail * tail:
                return True, ZIGGURAT_EDGE + tail, a, b, d, e
    word, a, b, d, e = _next(a, b, d, e)
    low, high = ZIGGURAT_DENSITY[layer], ZIGGURAT_DENSITY[layer + 1]
    accepted = low + (word >> uint64(11)) * UNIT * (high - low) < math.exp(-0.5 * x * x)
    return accepted, x, a, b, d, e


@njit(inline="always")
def _normal(a, b, d, e):
    while True:
        word, a, b, d, e = _next(a, b, d, e)
        layer = word >> uint64(56)
        magnitude = (word >> uint64(3)) & uint64((1 << 52) - 1)
        x = magnitude * ZIGGURAT_WIDTH[layer]
        if magnitude >= ZIGGURAT_BOUND[layer]:
            accepted, x, a, b, d, e = _normal_slow(layer, x, a, b, d, e)
            if not accepted:
                continue
        return (x if word & uint64(1 << 55) else -x), a, b, d, e


@njit(inline="always")
def _seeded(seed, path):
    """Four words of state for a path, by splitmix64."""
    x = uint64(seed) * uint64(0xD1342543DE82EF95) + uint64(path) * uint64(0x9E3779B97F4A7C15) * uint64(4)
    words = (uint64(0), uint64(0), uint64(0), uint64(0))
    for _ in range(4):
        x += uint64(0x9E3779B97F4A7C15)
        z = (x ^ (x >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> uint64(27))) * uint64(0x94D049BB133111EB)
        words = (words[1], words[2], words[3], z ^ (z >> uint64(31)))
    return words


@njit(nogil=True, cache=False, fastmath={"contract", "nsz", "arcp"}, error_model="numpy")
def _run(out, steps, seed):
    ring = np.zeros(c.WINDOW, dtype=np.int64)
    for path in range(out.shape[1]):
        a, b, d, e = _seeded(seed, path)
        word, a, b, d, e = _next(a, b, d, e)
        outcome = 1.0 if (word >> uint64(11)) * UNIT < c.INITIAL_PROBABILITY else 0.0
        drift = (2.0 * outcome - 1.0) * c.DRIFT
        log_odds = c.INITIAL_LOG_ODDS
        mid = c.INITIAL_PROBABILITY * c.TICKS
        ring[:] = 0
        inventory = cash = fills = volume = spreads = signed = total = max_inventory = slot = 0
        traded_at_fair = peak = max_drawdown = 0.0
        quoted = walked = steps
        for step in range(steps):
            signed -= ring[slot]
            total -= abs(ring[slot])
            half = c.HALF_SPREAD - c.GRACE + SHARE * abs(signed) / max(total, 1) + SLOPE * abs(inventory)
            bid = min(max(math.floor(mid - half), 1), c.TICKS - 2)
            ask = min(max(math.ceil(mid + half), bid + 1), c.TICKS - 1)
            spreads += ask - bid
            traded = 0
            word, a, b, d, e = _next(a, b, d, e)
            who = (word >> uint64(11)) * UNIT
            if who < c.ARRIVAL_BOUND:
                fair = c.TICKS / (1.0 + math.exp(-log_odds))
                if who < c.INFORMED_BOUND:
                    side = int(fair > ask) - int(fair < bid)
                else:
                    side = 2 * int(who < c.BUYER_BOUND) - 1
                # The integer division rounds up; the size falls on the side that would add to the inventory.
                room = LIMIT - max(0, -side * inventory)
                word, a, b, d, e = _next(a, b, d, e)
                tail = (word >> uint64(11)) * UNIT
                size = 1
                for k in range(c.SIZE_MAX - 1):
                    size += int(tail < SIZE_TAIL[k])
                traded = side * min(size, (SIZE_AT_ZERO * room + LIMIT - 1) // LIMIT)
                if traded != 0:
                    signed += traded
                    total += abs(traded)
                    inventory -= traded
                    cash += traded * (ask if traded > 0 else bid)
                    traded_at_fair += traded * fair
                    fills += 1
                    volume += abs(traded)
                    max_inventory = max(max_inventory, abs(inventory))
                    shade = SHADE * max(0.0, abs(inventory) - SHADE_FROM)
                    mid += c.FILL_SHADE * traded - (shade if inventory > 0 else -shade)
                    mid = min(max(mid, 1.0), c.TICKS - 1.0)
                    pnl = cash + inventory * mid
                    peak = max(peak, pnl)
                    max_drawdown = max(max_drawdown, peak - pnl)
                    if max_drawdown >= c.DRAWDOWN_LIMIT:
                        quoted = step + 1
                        walked = step
                        break
            ring[slot] = traded
            slot = slot + 1 if slot + 1 < c.WINDOW else 0
            z, a, b, d, e = _normal(a, b, d, e)
            log_odds = min(max(log_odds + drift + c.VOLATILITY * z, -c.LOG_ODDS_LIMIT), c.LOG_ODDS_LIMIT)
        for _ in range(walked, steps):
            z, a, b, d, e = _normal(a, b, d, e)
            log_odds = min(max(log_odds + drift + c.VOLATILITY * z, -c.LOG_ODDS_LIMIT), c.LOG_ODDS_LIMIT)
        fair = c.TICKS / (1.0 + math.exp(-log_odds))
        out[0, path] = fills
        out[1, path] = volume
        out[2, path] = (cash + inventory * mid) * c.TICK
        out[3, path] = (cash + inventory * fair) * c.TICK
        out[4, path] = (cash + inventory * outcome * c.TICKS) * c.TICK
        out[5, path] = (cash - traded_at_fair) * c.TICK
        out[6, path] = (inventory * fair + traded_at_fair) * c.TICK
        out[7, path] = max_drawdown * c.TICK
        out[8, path] = max_inventory
        out[9, path] = spreads / quoted * c.TICK
        out[10, path] = max_drawdown >= c.DRAWDOWN_LIMIT


@njit(nogil=True, cache=False)
def _fill_normals(out, seed):
    a, b, d, e = _seeded(seed, 0)
    for i in range(out.size):
        out[i], a, b, d, e = _normal(a, b, d, e)


def normals(count: int, seed: int) -> NDArray[np.float64]:
    """Normal numbers from the loop's generator, for its test."""
    out = np.empty(count)
    _fill_normals(out, np.uint64(seed))
    return out


def run(paths: int, steps: int, seed: int) -> NDArray[np.float64]:
    """Simulate the reduced bot; a row per metric of ``peers.METRICS``, a column per path."""
    out = np.empty((len(c.METRICS), paths))
    _run(out, steps, np.uint64(seed))
    return out
