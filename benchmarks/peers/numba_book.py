"""The order book's zero-intelligence flow as one would write it in Numba: one path at a time, draws inline.

The flow of Cont, Stoikov and Talreja (2010) with orders of one contract, on a book of volumes by tick: the
events that `mcmm._isa.core.play_book` counts, from the same books. xoshiro256+ (Blackman and Vigna 2018)
gives the bits; the best prices are found by walking from the old ones, and the rates of cancels are added up
anew after each event.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
from __future__ import annotations

import math

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from benchmarks.peers.numba_scalar import _next

__all__ = ["LIMITS", "play"]

LIMITS = (1.85, 1.51, 1.09, 0.88, 0.77)
CANCELS = (0.71, 0.81, 0.68, 0.56, 0.47)
MARKET = 0.94
TICKS = 100
_LIMITS, _CANCELS = np.array(LIMITS), np.array(CANCELS)
_BEYOND = CANCELS[-1]
_LEVELS = len(LIMITS)
_FIXED = 2.0 * (MARKET + sum(LIMITS))
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


@njit
def _play(states, events, seed, steps):
    volume = np.zeros(TICKS + 2 * _PAD, np.int32)
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
            bid_rate, ask_rate = _BEYOND * bids, _BEYOND * asks
            for i in range(_LEVELS):
                bid_rate += (_CANCELS[i] - _BEYOND) * volume[_PAD + ask - 1 - i]
                ask_rate += (_CANCELS[i] - _BEYOND) * volume[_PAD + bid + 1 + i]
            total = _FIXED + bid_rate + ask_rate
            number, a, b, d, e = _next(a, b, d, e)
            left += math.log(1.0 - _uniform(number)) / total
            if left <= 0.0:
                break
            count += 1
            number, a, b, d, e = _next(a, b, d, e)
            at = _uniform(number) * total
            if at < 2.0 * MARKET:
                if at < MARKET:
                    if ask < TICKS:
                        volume[_PAD + ask] -= 1
                        asks -= 1
                elif bid > 0:
                    volume[_PAD + bid] -= 1
                    bids -= 1
            elif at < _FIXED:
                at -= 2.0 * MARKET
                buys = at < 0.5 * (_FIXED - 2.0 * MARKET)
                if not buys:
                    at -= 0.5 * (_FIXED - 2.0 * MARKET)
                i = 0
                while i < _LEVELS - 1 and at >= _LIMITS[i]:
                    at -= _LIMITS[i]
                    i += 1
                tick = ask - 1 - i if buys else bid + 1 + i
                if 0 < tick < TICKS:
                    volume[_PAD + tick] += 1
                    if buys:
                        bids += 1
                        bid = max(bid, tick)
                    else:
                        asks += 1
                        ask = min(ask, tick)
            else:
                at -= _FIXED
                buys = at < bid_rate
                if not buys:
                    at -= bid_rate
                away = -1 if buys else 1
                tick = ask - 1 if buys else bid + 1
                i = 0
                while 0 < tick < TICKS:
                    at -= (_CANCELS[i] if i < _LEVELS else _BEYOND) * volume[_PAD + tick]
                    if at < 0.0:
                        break
                    tick += away
                    i += 1
                if 0 < tick < TICKS and volume[_PAD + tick] > 0:
                    volume[_PAD + tick] -= 1
                    if buys:
                        bids -= 1
                    else:
                        asks -= 1
            while bid > 0 and volume[_PAD + bid] == 0:
                bid -= 1
            while ask < TICKS and volume[_PAD + ask] == 0:
                ask += 1
        events[path] = count
        for tick in range(1, TICKS):
            states[path, tick] = volume[_PAD + tick] if tick <= bid else -volume[_PAD + tick]


def play(states: NDArray[np.int32], events: NDArray[np.int64], seed: int, steps: int) -> None:
    """Let the flow act on books, a row each: volumes by tick, of asks negative; they are changed in place.

    events : (paths,), how many there were, is filled in.
    """
    _play(states, events, seed, steps)
