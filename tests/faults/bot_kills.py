"""Kill a bot with -9 at random moments, let it resume, and hold what comes out to an undisturbed run.

    python tests/faults/bot_kills.py --kills 100

No acknowledged fill may be lost or counted twice; with the recovery ramp switched off the resumed run equals
the uninterrupted one bit for bit. A third of the kills strike in the midst of writing: at a sync, at a
renaming, or halfway through a line. The bots are forked from this process, so that a life takes milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import mcmm
from mcmm import feeds
from mcmm.bot import Bot, ExecutionEngine
from mcmm.live import Live, Output
from mcmm.quotes import Order
from mcmm.scenario import Scenario
from mcmm.session import Given, Session

SEED = 20_261_126
STEPS = 600
KILLS_A_RUN = 3
FORMS = {"simulated": "jsonl", "stdin": "csv", "ramped": "parquet", "book": "jsonl"}
KEYS = ("market", "side", "size", "price")

MARKETS = {
    "steps": STEPS,
    "risk": {"loss_limit": 3.0, "breaker_action": "pause", "pause_steps": 7},
    "recovery": {"ramp_steps": 0, "disconnect_rate": 0.01},
    "flow": {"arrival_rate": 0.7},
    "portfolio": {"exposure_limit": 60.0},
    "markets": [{"name": "fed"}, {"name": "jobs", "quoting": {"policy": "symmetric"}}],
}
SCENARIOS = {
    "simulated": Scenario.from_dict(MARKETS),
    "stdin": Scenario.from_dict(MARKETS),
    "book": Scenario.from_dict({"steps": STEPS, "venue": "book", "recovery": MARKETS["recovery"]}),
    "ramped": Scenario.from_dict({**MARKETS, "recovery": {"ramp_steps": 50, "disconnect_rate": 0.01}}),
}


def orders(run: int) -> list[dict[str, Any]]:
    """What an outside feed says in each step."""
    chance = random.Random(run)
    steps = []
    for _ in range(STEPS):
        told = {}
        for market in ("fed", "jobs"):
            if chance.random() < 0.6:
                told[market] = {"side": chance.choice(("buy", "sell")), "size": chance.randint(1, 12)}
                told[market] |= {"limit": round(chance.uniform(0.3, 0.7), 2), "fair": chance.random()}
        steps.append({"orders": told})
        if chance.random() < 0.05:
            steps[-1]["connection"] = chance.choice(("lost", "back", "back"))
    return steps


def undisturbed(kind: str, run: int) -> tuple[dict[str, float], list[dict[str, Any]], list[dict[str, Any]]]:
    """Metrics, fills and trace of the run that nobody kills."""
    outside = kind == "stdin"
    bot = Bot(SCENARIOS[kind], seed=run, outside=outside)
    engine, fills, told = ExecutionEngine(bot), [], orders(run)
    while not bot.done:
        given = {}
        connection = told[bot.step].get("connection") if outside else None
        for market, order in told[bot.step]["orders"].items() if outside else ():
            side = 1 if order["side"] == "buy" else -1
            given[market] = Order(side, order["size"], order["limit"], order["fair"])
        for fill in engine.trade(given or None):
            side = "buy" if fill.side > 0 else "sell"
            fills.append(
                {
                    "seq": fill.step,
                    "market": fill.market,
                    "side": side,
                    "size": fill.size,
                    "price": fill.price,
                }
            )
        bot.end_step()
        if connection:
            bot.connect(connection == "back")
    trace: list[dict[str, Any]] = []
    if not outside:
        trace = mcmm.simulate(SCENARIOS[kind], paths=1, seed=run, trace_paths=1).trace.to_dict("records")
    return bot.metrics(), fills, trace


def deadly(calls: int) -> None:
    """Let this process die at its so manieth sync, renaming or writing; of a writing, half is done."""
    left = calls

    def counted(honest: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                if name == "write":
                    honest(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return honest(*arguments, **keywords)

        return call

    for name in ("fsync", "replace", "write"):
        setattr(os, name, counted(getattr(os, name), name))


def live(kind: str, run: int, directory: Path, source: int, sink: int) -> None:
    """Be a bot, in a child."""

    async def main() -> None:
        scenario, feed = SCENARIOS[kind], "stdin" if kind == "stdin" else "simulated"
        with Session(
            directory, Given(scenario, seed=run, feed=feed, form=FORMS[kind]), resume=True
        ) as session:
            bot = session.bot
            messages = feeds.json_lines(source, bot.makers) if bot.outside else feeds.steps(bot.step, STEPS)
            output = Output(sink)
            await Live(session, messages, output, every=23).run()
            output.close()

    asyncio.run(main())


class Child:
    """A bot that was forked, and the pipes to it."""

    def __init__(self, kind: str, run: int, directory: Path, calls: int) -> None:
        source, self.to = os.pipe()
        self.back, sink = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(self.to)
                os.close(self.back)
                if calls:
                    deadly(calls)
                live(kind, run, directory, source, sink)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(source)
        os.close(sink)
        self.rest = b""

    def lines(self, until: float) -> Iterator[dict[str, Any] | None]:
        """What it says, whole lines, until its end; None at a moment, and 30 s after that."""
        while True:
            left = until - time.monotonic()
            if left <= 0:
                until += 30.0
                yield None
                continue
            if not select.select([self.back], [], [], left)[0]:
                continue
            found = os.read(self.back, 1 << 16)
            if not found:
                return
            *whole, self.rest = (self.rest + found).split(b"\n")
            yield from map(json.loads, whole)

    def end(self) -> int:
        """Wait for its end; the signal that it was, or its status."""
        os.close(self.to)
        os.close(self.back)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def one_life(
    kind: str, run: int, directory: Path, moment: float, calls: int, said: list[dict[str, Any]]
) -> int:
    """Start a bot, drive it, kill it at a moment (0: never); what it said is added to `said`."""
    child, told = Child(kind, run, directory, calls), orders(run)
    sent = 0
    for line in child.lines(time.monotonic() + (moment or 30.0)):
        if line is None:
            assert moment, "it hangs"
            os.kill(child.pid, signal.SIGKILL)
            moment = 0.0
            continue
        said.append(line)
        if line["type"] == "ready":
            sent = line["seq"]
        if kind == "stdin" and line["type"] in ("ready", "ack"):
            while sent < min(line["seq"] + 9, STEPS):
                message = json.dumps({"seq": sent, **told[sent]}) + "\n"
                try:
                    os.write(child.to, message.encode())
                except BrokenPipeError:
                    break
                sent += 1
    return child.end()


def check(kind: str, run: int, directory: Path, said: list[dict[str, Any]]) -> int:
    """Hold a run to the one that nobody disturbed; how many fills were acknowledged."""
    metrics, fills, trace = undisturbed(kind, run)
    shown = [json.loads(line) for line in (directory / "journal.jsonl").read_text().splitlines()]
    steps = [record for record in shown if record["kind"] == "step"]
    assert [each["step"] for each in steps] == sorted({each["step"] for each in steps}), (
        "a step is there twice"
    )
    kept = []
    for each in steps:
        for market, side, size, price in each["fills"]:
            fill = {"market": market, "side": "buy" if side > 0 else "sell", "size": size, "price": price}
            kept.append({"seq": each["step"], **fill})
    acknowledged = [{"seq": s["seq"], **{k: s.get(k, "") for k in KEYS}} for s in said if s["type"] == "fill"]
    for fill in acknowledged:
        assert kept.count(fill) == 1, (
            f"{fill} was acknowledged, and is in the journal {kept.count(fill)} times"
        )
    assert len(acknowledged) == len({json.dumps(fill) for fill in acknowledged}), "acknowledged twice"
    end = said[-1]
    assert end["type"] == "end"
    assert end["done"]
    assert end["fills"] == len(kept) or kind == "book"  # there a step's fills of one order are told as one
    assert end["volume"] == sum(fill["size"] for fill in kept)
    signed = sum(fill["size"] * (-1 if fill["side"] == "buy" else 1) for fill in kept)
    assert end["final_inventory"] == signed, "the inventory is not that of the fills"
    traced = read_trace(directory / f"trace.{FORMS[kind]}")
    if kind == "book":
        traced["market"] = ""
    assert (traced.groupby("market")["step"].apply(list).map(lambda s: s == list(range(STEPS)))).all()
    if kind != "ramped":
        assert kept == fills, "the fills are not those of the undisturbed run"
        wanted = {name: None if np.isnan(value) else value for name, value in metrics.items()}
        assert {name: end[name] for name in wanted} == wanted, "the metrics differ"
        for line, row in zip(
            (directory / "trace.jsonl").read_text().splitlines() if trace else (), by_step(trace), strict=True
        ):
            assert json.loads(line) == row, "the trace differs"
    return len(acknowledged)


def read_trace(path: Path) -> pd.DataFrame:
    """The log, of whatever form."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_json(path, lines=True, precise_float=True)


def by_step(trace: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a trace as a log has them: step by step, and nothing where there is nothing."""
    rows = sorted(trace, key=lambda row: (row["step"], row.get("market")))
    return [{n: None if isinstance(v, float) and np.isnan(v) else v for n, v in row.items()} for row in rows]


def main() -> int:
    """Kill as often as asked, in runs of all kinds in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    chance, killed, run, acknowledged = random.Random(options.seed), 0, 0, 0
    folder = Path(tempfile.mkdtemp(prefix="mcmm-bot-kills-"))
    try:
        while killed < options.kills:
            kind, directory = list(SCENARIOS)[run % len(SCENARIOS)], folder / str(run)
            said: list[dict[str, Any]] = []
            spared = min(killed + KILLS_A_RUN, options.kills)
            while True:
                calls, moment = 0, 0.0
                if killed < spared:
                    midst = chance.random() < 1 / 3
                    calls, moment = (
                        (chance.randint(1, 60), 5.0) if midst else (0, chance.uniform(0.002, 0.12))
                    )
                status = one_life(kind, run, directory, moment, calls, said)
                assert status in (0, -signal.SIGKILL), f"the bot ended with {status}"
                if status == 0:
                    break
                killed += 1
            acknowledged += check(kind, run, directory, said)
            run += 1
    finally:
        shutil.rmtree(folder)
    print(f"{killed} kills in {run} runs, {acknowledged} acknowledged fills: none lost, none twice")
    return 0


if __name__ == "__main__":
    sys.exit(main())
