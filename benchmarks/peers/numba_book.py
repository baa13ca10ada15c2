"""The order book's zero-intelligence flow as one would write it in Numba: one path at a time, draws inline.

The flow of Cont, Stoikov and Talreja (2010), with orders of one contract or of sizes by a law, and others who
lean towards a fair value or not, on a book of volumes by tick: the events that `mcmm._isa.core.play_book`
counts, from the same books. xoshiro256+ (Blackman and Vigna 2018) gives the bits; the best prices are found
by walking from the old ones, and the rates of cancels are added up anew after each event.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from benchmarks.peers.numba_scalar import _next

__all__ = ["CANCELS", "LIMITS", "MARKET", "play", "player"]

LIMITS = (1.85, 1.51, 1.09, 0.88, 0.77)
CANCELS = (0.71, 0.81, 0.68, 0.56, 0.47)
MARKET = 0.94
TICKS = 100
_PAD = 8
UNIT = 2.0**-53


@njit
def _seeded(seed, path):
    """Four words of state by splitmix64."""
    state = uint64(seed) * uint64(0x9E3779B97F4A7C15) + uint64(path) * uint64(0xD1B54A32D192ED03)
    words = np.empty(4, np.uint64)
    for i in range(4):
        state += uint64(0x9E3779B97F4A7C15)
        z = state
        z = (z ^ (z >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> uint64(27))) * uint64(0x94D049BB133111EB)
        words[i] = z ^ (z >> uint64(31))
    return words


@njit(inline="always")
def _uniform(number):
    return (number >> uint64(11)) * UNIT


def player(
    limits: Sequence[float],
    cancels: Sequence[float],
    market: float,
    sizes: NDArray[np.float64] | None = None,
    strength: float = 0.0,
    fair: float = 0.5,
) -> Callable[[NDArray[np.int32], NDArray[np.int64], int, int], None]:
    """Return a compiled flow; what it is handed here are constants to the compiler.

    limits, cancels : by distance, a step and side, cancels of a contract.
    sizes : P(size <= 1), P(size <= 2), .. of an order; None: one contract.
    strength, fair : how strongly others lean towards which fair value, per dollar; 0: not at all.
    """
    limit_of, cancel_of = np.array(limits), np.array(cancels)
    beyond, levels, one_lot, leaning = float(cancels[-1]), len(limits), sizes is None, strength > 0.0
    upto = np.ones(1) if sizes is None else np.asarray(sizes, np.float64)
    on_a_side = float(limit_of.sum())
    fixed = 2.0 * (market + on_a_side)

    @njit
    def run(states, events, seed, steps):
        volume = np.zeros(TICKS + 2 * _PAD, np.int32)
        lean = 0.0
        for path in range(states.shape[0]):
            words = _seeded(seed, path)
            a, b, d, e = words[0], words[1], words[2], words[3]
            bid, ask = 0, TICKS
            bids = asks = 0
            for tick in range(1, TICKS):
                contracts = states[path, tick]
                volume[_PAD + tick] = abs(contracts)
                if contracts > 0:
                    bid = max(bid, tick)
                    bids += contracts
                elif contracts < 0:
                    ask = min(ask, tick)
                    asks -= contracts
            left, count = float(steps), 0
            while True:
                bid_rate, ask_rate = beyond * bids, beyond * asks
                for i in range(levels):
                    bid_rate += (cancel_of[i] - beyond) * volume[_PAD + ask - 1 - i]
                    ask_rate += (cancel_of[i] - beyond) * volume[_PAD + bid + 1 + i]
                if leaning:
                    lean = min(max(strength * (fair - (bid + ask) * 0.5 / TICKS), -1.0), 1.0)
                    bid_rate *= 1.0 - lean
                    ask_rate *= 1.0 + lean
                total = fixed + bid_rate + ask_rate
                number, a, b, d, e = _next(a, b, d, e)
                left += math.log(1.0 - _uniform(number)) / total
                if left <= 0.0:
                    break
                count += 1
                number, a, b, d, e = _next(a, b, d, e)
                at = _uniform(number) * total
                size = 1
                if not one_lot:
                    number, a, b, d, e = _next(a, b, d, e)
                    size = 1 + np.searchsorted(upto, _uniform(number), side="right")
                if at < 2.0 * market:
                    if at < market:
                        while size > 0 and ask < TICKS:
                            taken = min(size, volume[_PAD + ask])
                            volume[_PAD + ask] -= taken
                            asks -= taken
                            size -= taken
                            while ask < TICKS and volume[_PAD + ask] == 0:
                                ask += 1
                    else:
                        while size > 0 and bid > 0:
                            taken = min(size, volume[_PAD + bid])
                            volume[_PAD + bid] -= taken
                            bids -= taken
                            size -= taken
                            while bid > 0 and volume[_PAD + bid] == 0:
                                bid -= 1
                elif at < fixed:
                    at -= 2.0 * market
                    buys = at < (1.0 + lean) * on_a_side
                    at = at / (1.0 + lean) if buys else (at - (1.0 + lean) * on_a_side) / (1.0 - lean)
                    i = 0
                    while i < levels - 1 and at >= limit_of[i]:
                        at -= limit_of[i]
                        i += 1
                    tick = ask - 1 - i if buys else bid + 1 + i
                    if 0 < tick < TICKS:
                        volume[_PAD + tick] += size
                        if buys:
                            bids += size
                            bid = max(bid, tick)
                        else:
                            asks += size
                            ask = min(ask, tick)
                else:
                    at -= fixed
                    buys = at < bid_rate
                    if not buys:
                        at -= bid_rate
                    # At the rates before they were leant.
                    at /= 1.0 - lean if buys else 1.0 + lean
                    away = -1 if buys else 1
                    tick = ask - 1 if buys else bid + 1
                    i = 0
                    while 0 < tick < TICKS:
                        at -= (cancel_of[i] if i < levels else beyond) * volume[_PAD + tick]
                        if at < 0.0:
                            break
                        tick += away
                        i += 1
                    if 0 < tick < TICKS:
                        gone = min(size, volume[_PAD + tick])
                        volume[_PAD + tick] -= gone
                        if buys:
                            bids -= gone
                        else:
                            asks -= gone
                while bid > 0 and volume[_PAD + bid] == 0:
                    bid -= 1
                while ask < TICKS and volume[_PAD + ask] == 0:
                    ask += 1
            events[path] = count
            for tick in range(1, TICKS):
                states[path, tick] = volume[_PAD + tick] if tick <= bid else -volume[_PAD + tick]

    return run


_PAPER = player(LIMITS, CANCELS, MARKET)


def play(states: NDArray[np.int32], events: NDArray[np.int64], seed: int, steps: int) -> None:
    """Let the paper's flow act on books, a row each: volumes by tick, of asks negative; changed in place.

    events : (paths,), how many there were, is filled in.
    """
    _PAPER(states, events, seed, steps)
