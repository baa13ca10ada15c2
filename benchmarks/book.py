"""Events of an order book a second, on one core: mcmm beside a Numba book, and beside hftbacktest's loop.

`python -m benchmarks.book` times them in turn, round after round, the first two on the same books, and writes
its table into docs/performance.md. hftbacktest is timed where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import mcmm
from benchmarks.peers.numba_book import CANCELS, LIMITS, MARKET, play
from benchmarks.timing import interleave, machine, measured, ratio, table
from mcmm._isa import core
from mcmm.plan import make_plan

__all__ = ["books", "main", "report", "subjects"]

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = (f"<!-- written by python -m benchmarks.book: {word} -->" for word in ("begin", "end"))
PATHS, STEPS, AIM = 4096, 100, 30.0
CORE, PEER = "**mcmm**", "Numba, one path at a time, xoshiro inline"


def books(paths: int) -> NDArray[np.int32]:
    """Books in which every queue has about its mean length: volumes by tick, of asks negative; no maker."""
    states = np.zeros((paths, 107), np.int32)
    states[:, 46:51], states[:, 51:56] = (2, 2, 2, 2, 3), (-3, -2, -2, -2, -2)
    return states


def ours() -> Callable[[NDArray[np.int32], NDArray[np.int64], int, int], None]:
    """The core's flow: the paper's rates, orders of one contract, nothing to lean on."""
    flow = {"size_distribution": "fixed", "size_mean": 1.0, "size_max": 1, "arrival_rate": 0.0}
    book = {"limit_rates": LIMITS, "cancel_rates": CANCELS, "market_rate": MARKET, "recentre_strength": 0.0}
    plan = make_plan(mcmm.Scenario(venue="book", book=book, flow=flow))
    assert isinstance(plan, core.Plan)
    return lambda states, events, seed, steps: core.play_book(plan, seed, 0, states, events, steps)


def subjects(paths: int, steps: int) -> dict[str, Callable[[int], float]]:
    """Nanoseconds an event, in processor time."""

    def timed(
        run: Callable[[NDArray[np.int32], NDArray[np.int64], int, int], None],
    ) -> Callable[[int], float]:
        def once(seed: int) -> float:
            states, events = books(paths), np.zeros(paths, np.int64)
            start = time.thread_time()
            run(states, events, seed, steps)
            return (time.thread_time() - start) * 1e9 / int(events.sum())

        return once

    replayed = {}
    if importlib.util.find_spec("hftbacktest"):
        from benchmarks.peers import hftbacktest_loop

        replayed = hftbacktest_loop.subjects()
    return {**replayed, PEER: timed(play), CORE: timed(ours())}


def report(rounds: int) -> str:
    """Time them, and write the section."""
    times = interleave(subjects(PATHS, STEPS), rounds)
    rows = []
    for name, took in times.items():
        rates = sorted(1e3 / each for each in took)
        middle = f"{rates[len(rates) // 2]:.1f} ({rates[0]:.1f}-{rates[-1]:.1f})"
        rows.append(f"| {name} | {middle} | {measured(ratio(times, name, CORE))} |")
    rates = sorted(1e3 / each for each in times[CORE])
    verdict = "reached" if rates[len(rates) // 2] >= AIM else "not reached"
    return "\n\n".join(
        [
            f"{datetime.now(UTC):%Y-%m-%d}, {machine()}; core: isa {core.isa()}, compiler {core.compiler()}; "
            f"mcmm {mcmm.__version__}, numba {version('numba')}. {PATHS:,} paths at once, {STEPS} steps of "
            f"some 24 events, {rounds} interleaved rounds, one thread, processor time; medians, and in "
            "brackets the least and the greatest of the rounds.",
            table("| book | million events/s | times as long as mcmm |", rows),
            f"The aim of {AIM:.0f} million events a second on one core: {verdict}. A path's book takes "
            f"{core.book_bytes():,} bytes, of the 4,096 that it may.",
        ]
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.book", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--dry-run", action="store_true", help="print the section, leave the page as it is")
    options = parser.parse_args(arguments)
    text = report(options.rounds)
    print(text)
    if options.dry_run:
        return
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
