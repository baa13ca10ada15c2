"""How fast recorded markets are taken in: ``python -m benchmarks.recorded``.

Replays a contract of 400,000 prints that was made up, and fits a day of some 25,000 trades that mcmm wrote
itself; prints the medians of several runs beside what is asked of them.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import pandas as pd

import mcmm
from mcmm.fitting import recorder
from mcmm.tape import Tape
from mcmm.tape_writing import tape_of

ROUNDS = 5
DAY = {
    "steps": 86_400,
    "market": {"tick_size": 0.001, "volatility": 0.004, "news_rate": 0.001, "news_strength": 0.25},
    "flow": {"arrival_rate": 0.3, "clustering": 0.5, "clustering_steps": 10.0, "informed_fraction": 0.0},
}


def made_up(prints: int) -> Tape:
    """A contract whose price walks from tick to tick, a print a second."""
    random = np.random.default_rng(1)
    walk = 0.5 + np.cumsum(random.choice([-0.01, 0.0, 0.01], prints))
    table = pd.DataFrame(
        {
            "contract": "x",
            "time": pd.to_datetime(np.arange(prints), unit="s", utc=True),
            "side": random.choice([-1, 1], prints),
            "size": random.integers(1, 20, prints),
            "price": np.clip(np.round(walk, 2), 0.02, 0.98),
        }
    )
    contracts = pd.DataFrame({"outcome": [1.0], "outcome_from": ["given"]}, index=["x"])
    return Tape("made", table, table[:0].assign(mid=[]), contracts, own_trades=False, notes=())


def main() -> None:
    tape = made_up(400_000)
    rates = [
        mcmm.replay(tape, mcmm.Scenario()).simulation.provenance["replay"]["events_per_second"]
        for _ in range(ROUNDS)
    ]
    print(
        f"replay, {len(tape.prints):,} prints: {statistics.median(rates) / 1e6:.1f} million a second (aim 1)"
    )
    day = tape_of(mcmm.simulate(recorder(mcmm.Scenario.from_dict(DAY)), paths=1, seed=2, trace_paths=1))
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        mcmm.fit(day, informed=0.0)
        seconds.append(time.perf_counter() - started)
    print(f"fit, a day of {len(day.prints):,} trades: {statistics.median(seconds):.1f} s (aim: under 30)")


if __name__ == "__main__":
    main()
