"""hftbacktest's loop, as its documentation has it: a strategy that elapses and looks at the best prices.

It replays recorded events, so it draws none: here a stream of updates of the five best prices of each side,
a millisecond apart, looked at every tenth of a second. Needs ``pip install hftbacktest``; no extra brings it.
"""

# mypy: ignore-errors
from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numba import njit

__all__ = ["subjects"]

EVENTS = 2_000_000
_LOOK = 100_000_000  # nanoseconds


@njit
def _watch(backtest):
    looks = 0
    while backtest.elapse(_LOOK) == 0:
        if backtest.depth(0).best_bid_tick > 0:
            looks += 1
    return looks


def _events():
    from hftbacktest import types

    rng = np.random.default_rng(1)
    buys, away = rng.random(EVENTS) < 0.5, rng.integers(0, 5, EVENTS)
    events = np.zeros(EVENTS, types.event_dtype)
    both = types.DEPTH_EVENT | types.EXCH_EVENT | types.LOCAL_EVENT
    events["ev"] = np.where(buys, types.BUY_EVENT, types.SELL_EVENT) | both
    events["exch_ts"] = 1_000_000_000 + 1_000_000 * np.arange(EVENTS)
    events["local_ts"] = events["exch_ts"] + 100_000
    events["px"] = np.where(buys, 50 - away, 51 + away) * 0.01
    events["qty"] = rng.integers(1, 6, EVENTS)
    return events


def subjects() -> dict[str, Callable[[int], float]]:
    """Nanoseconds an event, in processor time, for each of its two kinds of book."""
    import hftbacktest

    events = _events()

    def timed(vector: bool) -> Callable[[int], float]:
        def once(seed: int) -> float:
            asset = hftbacktest.BacktestAsset().data(events).linear_asset(1.0).constant_order_latency(0, 0)
            asset = asset.risk_adverse_queue_model().no_partial_fill_exchange().trading_value_fee_model(0, 0)
            asset = asset.tick_size(0.01).lot_size(1.0)
            if vector:
                asset = asset.roi_lb(0.0).roi_ub(1.0)
            kind = "ROIVectorMarketDepthBacktest" if vector else "HashMapMarketDepthBacktest"
            backtest = getattr(hftbacktest, kind)([asset])
            start = time.thread_time()
            looks = _watch(backtest)
            took = time.thread_time() - start
            backtest.close()
            assert looks > EVENTS // 110
            return took * 1e9 / EVENTS

        return once

    return {
        "hftbacktest's loop, book in a hash map (replays given events)": timed(False),
        "hftbacktest's loop, book in an array (replays given events)": timed(True),
    }
