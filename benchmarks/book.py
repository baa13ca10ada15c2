"""Events of an order book a second, on one core: mcmm beside a Numba book, and beside hftbacktest's loop.

`python -m benchmarks.book` times them in turn, round after round, mcmm and Numba on the same books: the
paper's flow of orders of one contract, and the flow of the measured scenarios in the book of
`sweeps/fill_optimism.toml`. Of mcmm also the whole step: the maker, its orders, takers and marks as well.
Its table goes into docs/performance.md. hftbacktest is timed where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import mcmm
from benchmarks.peers.numba_book import CANCELS, LIMITS, MARKET, play, player
from benchmarks.timing import Subject, interleave, machine, measured, ratio, table
from mcmm._isa import core
from mcmm.plan import make_plan, size_weights
from mcmm.venue import levels

__all__ = ["FLOWS", "main", "ours", "report", "scenario", "settled", "subjects", "theirs"]

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = (f"<!-- written by python -m benchmarks.book: {word} -->" for word in ("begin", "end"))
PATHS, STEPS, AIM = 4096, 100, 30.0
WHOLE_PATHS, WHOLE_STEPS = 256, 900
PAPER = "the paper's"
FLOWS = (PAPER, "kalshi_macro", "polymarket_btc15m")
CORE, WHOLE, PEER = "**mcmm**", "mcmm, whole step", "Numba, one path at a time, xoshiro inline"
BYTES = 4096

Run = Callable[[NDArray[np.int32], NDArray[np.int64], int, int], None]


def books(paths: int) -> NDArray[np.int32]:
    """Books in which every queue has about its mean length: volumes by tick, of asks negative; no maker."""
    states = np.zeros((paths, 107), np.int32)
    states[:, 46:51], states[:, 51:56] = (2, 2, 2, 2, 3), (-3, -2, -2, -2, -2)
    return states


@cache
def scenario(flow: str) -> mcmm.Scenario:
    """The paper's rates with orders of one contract, nothing to lean on; or a measured scenario in a book."""
    if flow == PAPER:
        takers = {"size_distribution": "fixed", "size_mean": 1.0, "size_max": 1, "arrival_rate": 0.0}
        rates = {"limit_rates": LIMITS, "cancel_rates": CANCELS, "market_rate": MARKET}
        return mcmm.Scenario(venue="book", book={**rates, "recentre_strength": 0.0}, flow=takers)
    study = tomllib.loads((ROOT / "sweeps" / "fill_optimism.toml").read_text("utf-8"))
    book = {name: values[0] for name, values in study["points"]["axes"].items() if len(values) == 1}
    return mcmm.Scenario.load(ROOT / "scenarios" / f"{flow}.toml").replace(book)


def plan(of: mcmm.Scenario) -> core.Plan:
    """What the core runs."""
    made = make_plan(of)
    assert isinstance(made, core.Plan)
    return made


def ours(flow: str = PAPER) -> Run:
    """The core's flow of others."""
    made = plan(scenario(flow))
    return lambda states, events, seed, steps: core.play_book(made, seed, 0, states, events, steps)


def theirs(flow: str = PAPER) -> Run:
    """The same by Numba: sizes by their law, and others who lean towards the first fair value."""
    if flow == PAPER:
        return play
    of = scenario(flow)
    weights = np.array(size_weights(of.flow))
    mean = float((weights * np.arange(1, len(weights) + 1)).sum() / weights.sum())
    rates = levels(of)
    return player(
        [limit for limit, _ in rates],
        [cancel / mean for _, cancel in rates],
        of.book.activity * of.book.market_rate,
        np.array(list(accumulate(weights / weights.sum()))),
        of.book.recentre_strength,
        of.market.initial_probability,
    )


@cache
def settled(flow: str, paths: int) -> NDArray[np.int32]:
    """Books to begin with: of a measured scenario, after the flow had 50 steps from queues of mean length."""
    if flow == PAPER:
        return books(paths)
    weights = np.array(size_weights(scenario(flow).flow))
    mean = round(float((weights * np.arange(1, len(weights) + 1)).sum() / weights.sum()))
    states = books(paths) * np.int32(mean)
    ours(flow)(states, np.zeros(paths, np.int64), 2**32, 50)
    return states


def timed(run: Run, flow: str, paths: int, steps: int) -> Subject:
    """Nanoseconds an event of the flow alone, in processor time."""

    def once(seed: int) -> float:
        states, events = settled(flow, paths).copy(), np.zeros(paths, np.int64)
        start = time.thread_time()
        run(states, events, seed, steps)
        return (time.thread_time() - start) * 1e9 / int(events.sum())

    return once


def whole(flow: str, paths: int, steps: int) -> Subject:
    """Nanoseconds an event of a whole simulation, in processor time; its warm-up is in both."""
    of = scenario(flow)
    of = of.replace({"steps": min(steps, of.steps)})
    made, row = plan(of), of.columns.index("book_events")

    def once(seed: int) -> float:
        out = np.zeros((len(of.columns), paths))
        start = time.thread_time()
        made.run(seed, 0, out)
        return (time.thread_time() - start) * 1e9 / float(out[row].sum())

    return once


def row_of(flow: str, book: str) -> str:
    """The first cells of a row of the table, by which its subject is known."""
    return f"{flow} | {book}"


def subjects(paths: int, steps: int, whole_paths: int, whole_steps: int) -> dict[str, Subject]:
    """Nanoseconds an event, in processor time, by flow and book."""
    found: dict[str, Subject] = {}
    if importlib.util.find_spec("hftbacktest"):
        from benchmarks.peers import hftbacktest_loop

        found |= {row_of(PAPER, name): subject for name, subject in hftbacktest_loop.subjects().items()}
    for flow in FLOWS:
        found[row_of(flow, PEER)] = timed(theirs(flow), flow, paths, steps)
        found[row_of(flow, CORE)] = timed(ours(flow), flow, paths, steps)
        found[row_of(flow, WHOLE)] = whole(flow, whole_paths, whole_steps)
    return found


def report(rounds: int, paths: int = PATHS, whole_paths: int = WHOLE_PATHS) -> str:
    """Time them, and write the section."""
    busy = os.getloadavg()[0]
    times = interleave(subjects(paths, STEPS, whole_paths, WHOLE_STEPS), rounds)
    rows, verdicts = [], []
    for name, took in times.items():
        flow, _, book = name.partition(" | ")
        rates = sorted(1e3 / each for each in took)
        middle = rates[len(rates) // 2]
        shown = f"{middle:.1f} ({rates[0]:.1f}-{rates[-1]:.1f})"
        rows.append(f"| {name} | {shown} | {measured(ratio(times, name, row_of(flow, CORE)))} |")
        if book in (CORE, WHOLE):
            alone = "flow alone" if book == CORE else "whole step"
            verdicts.append(f"{flow} {alone} {'reached' if middle >= AIM else 'not reached'}")
    needed = [f"{core.path_bytes(plan(scenario(flow))):,} bytes with {flow}" for flow in FLOWS[1:]]
    return "\n\n".join(
        [
            f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, {os.cpu_count()} cores, load average {busy:.1f} "
            f"when it began; core: isa {core.isa()}, compiler {core.compiler()}; mcmm {mcmm.__version__}, "
            f"numba {version('numba')}. {paths:,} paths at once, {STEPS} steps of some 24 events (of the "
            f"measured flows 13), of whole steps {whole_paths:,} paths and {WHOLE_STEPS} steps; "
            f"{rounds} interleaved rounds, one thread, processor time; medians, and in brackets the least "
            "and the greatest of the rounds.",
            table("| flow | book | million events/s | times as long as mcmm's flow alone |", rows),
            f"The aim of {AIM:.0f} million events a second on one core: {', '.join(verdicts)}.",
            f"A path's book takes {core.book_bytes():,} bytes of the {BYTES:,} that it may; all that is kept "
            f"of a path and market while it runs, its lane of the block and its windows too, is "
            f"{' and '.join(needed)}.",
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
