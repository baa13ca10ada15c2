"""The loop that runs a bot: its protocol, what waits for the disk and what does not, stopping, the log."""

from __future__ import annotations

import asyncio
import io
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mcmm
from mcmm import feeds
from mcmm.bot_view import view
from mcmm.errors import InputError
from mcmm.feeds import Message, Unread, parse
from mcmm.live import Live, Output, Shown
from mcmm.logger import Logger
from mcmm.quotes import Order
from mcmm.scenario import Scenario
from mcmm.session import Given, Session
from mcmm.snapshot import Journal

SMALL = Scenario(steps=8, risk={"volume_limit": 10}, recovery={"ramp_steps": 2})
TWO = Scenario.from_dict(
    {"steps": 40, "flow": {"arrival_rate": 0.9}, "markets": [{"name": "fed"}, {"name": "jobs"}]}
)


class Heard(Output):
    """Lines as objects, with the moment of each."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.moments: list[float] = []
        self.broken = False

    def write(self, document: Mapping[str, Any]) -> None:
        self.moments.append(time.perf_counter())
        self.lines.append(json.loads(json.dumps(document)))

    def types(self) -> list[str]:
        return [line["type"] for line in self.lines]


def run(
    directory: Path,
    given: Given,
    said: list[Any] = [],  # noqa: B006
    before: Callable[[Live], object] = lambda live: None,
    pace: float = 0.0,
    **options: Any,
) -> tuple[Heard, str, Session]:
    """Run a bot to the end of its feed."""
    heard = Heard()
    session = Session(directory, given, resume=True)

    async def main() -> str:
        if given.feed == "stdin":
            source, to = os.pipe()
            text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in said)
            os.write(to, text.encode())
            os.close(to)
            feed = feeds.json_lines(source, session.bot.makers)
        else:
            feed = feeds.steps(session.bot.step, given.scenario.steps, pace)
        live = Live(session, feed, heard, **options)
        before(live)
        return await live.run()

    with session:
        return heard, asyncio.run(main()), session


def test_a_conversation(tmp_path: Path) -> None:
    given = Given(SMALL, feed="stdin")
    heard, _, _ = run(
        tmp_path,
        given,
        [
            {"seq": 0, "side": "buy", "size": 3, "limit": 0.52, "fair": 0.51},
            {"seq": 1},
            "junk",
            {"seq": 5},
            {"seq": 0, "side": "buy", "size": 3},
            {"seq": 2, "side": 1, "size": 10**7},
            {"seq": 2, "connection": "lost"},
            {"seq": 3, "side": "buy", "size": 2},
            {"seq": 4, "connection": "back"},
        ],
    )
    fill = {"side": "buy", "size": 3, "price": 0.52}
    by_type = {kind: [line for line in heard.lines if line["type"] == kind] for kind in heard.types()}
    ready = {"type": "ready", "seq": 0, "steps": 8, "books": {"market": {"inventory": 0, "fills": 0}}}
    assert heard.lines[0] == ready
    assert [line["seq"] for line in by_type["quote"]] == [0, 1, 2, 3, 4, 5]
    assert heard.lines[1] == {
        "type": "quote", "seq": 0, "bid": 0.48, "ask": 0.52, "bid_size": 10, "ask_size": 10,
    }  # fmt: skip
    assert [line["bid_size"] for line in by_type["quote"]] == [10, 10, 10, 0, 0, 10]
    assert by_type["quote"][3]["bid"] is None
    assert by_type["fill"] == [{"type": "fill", "seq": 0, **fill}]
    assert [line["seq"] for line in by_type["ack"]] == [0, 1, 2, 3, 4]
    assert by_type["gap"] == [{"type": "gap", "seq": 5, "expected": 2}]
    assert by_type["duplicate"] == [{"type": "duplicate", "seq": 0, "expected": 2, "fills": [fill]}]
    assert [line["message"].split(",")[0] for line in by_type["error"]] == [
        "must be a JSON object on one line",
        "order.size: must be a whole number >= 1 and <= 1000000",
    ]
    assert heard.lines[-1]["type"] == "end"
    assert (heard.lines[-1]["done"], heard.lines[-1]["seq"]) == (False, 5)
    # The acknowledgement of a fill never comes before the fill, nor a duplicate's answer before its sync.
    order = [line["type"] for line in heard.lines if line["seq"] == 0 and line["type"] != "quote"]
    assert order == ["ready", "fill", "ack", "duplicate"]
    again, _, session = run(
        tmp_path,
        given,
        [{"seq": 5, "side": "sell", "size": 1}, {"seq": 6, "side": "buy", "size": 8}, {"seq": 7}],
    )
    assert again.lines[0]["seq"] == 5
    assert again.lines[0]["books"] == {"market": {"inventory": -3, "fills": 1}}
    wide = [line for line in again.lines if line["type"] == "quote"]
    spreads = [round(line["ask"] - line["bid"], 2) for line in wide if line["bid"]]
    assert spreads == [0.19, 0.11]  # three times as wide, then twice
    assert wide[-1]["ask_size"] == 0  # the volume breaker tripped
    assert again.lines[-1]["done"]
    assert session.bot.metrics()["trips"] == 1


def test_a_driver_is_told_of_trips_and_of_what_flatten_closes(tmp_path: Path) -> None:
    scenario = SMALL.replace({"risk.breaker_action": "flatten"})
    said = [
        {"seq": 0, "side": "sell", "size": 10, "fair": 0.4},
        {"seq": 1},
        {"seq": 2, "side": "buy", "size": 1},
    ]
    heard, _, session = run(tmp_path, Given(scenario, feed="stdin"), said)
    told = [line for line in heard.lines if line["type"] in ("trip", "unwind", "fill")]
    assert told == [
        {"type": "trip", "seq": 0, "halted": True, "pause": 0, "reason": "volume", "trips": 1},
        {"type": "unwind", "seq": 1, "side": "sell", "size": 10, "price": pytest.approx(0.39)},
        {"type": "fill", "seq": 0, "side": "sell", "size": 10, "price": 0.48},
    ]
    assert session.bot.maker.state.inventory == 0
    assert session.bot.maker.state.cash == pytest.approx(3.9 - 4.8)


def test_every_order_that_is_placed_is_the_quotes(tmp_path: Path) -> None:
    quotes, _, _ = run(tmp_path / "quotes", Given(TWO, seed=7))
    orders, _, _ = run(tmp_path / "orders", Given(TWO, seed=7), orders_only=True)
    resting: dict[tuple[str, str], tuple[float, int]] = {}
    at: dict[int, dict[tuple[str, str], tuple[float, int]]] = {}
    fills = {(line["seq"], line["market"]): line for line in quotes.lines if line["type"] == "fill"}
    assert fills
    placed = [line for line in orders.lines if line["type"] in ("place", "cancel")]
    for step in range(40):
        for line in (line for line in placed if line["seq"] == step):
            key = (line["market"], line["side"])
            if line["type"] == "cancel":
                assert resting.pop(key)[0] == line["price"]
            else:
                assert key not in resting
                resting[key] = (line["price"], line["size"])
        at[step] = dict(resting)
        for market in ("fed", "jobs"):
            if (step, market) in fills:
                fill = fills[step, market]
                key = (market, "sell" if fill["side"] == "buy" else "buy")
                price, size = resting[key]
                assert price == fill["price"]
                resting[key] = (price, size - fill["size"])
                if size == fill["size"]:
                    del resting[key]
    for line in (line for line in quotes.lines if line["type"] == "quote"):
        wanted = {}
        if line["bid_size"]:
            wanted["buy"] = (line["bid"], line["bid_size"])
        if line["ask_size"]:
            wanted["sell"] = (line["ask"], line["ask_size"])
        there = {side: order for (market, side), order in at[line["seq"]].items() if market == line["market"]}
        assert there == wanted
    assert not [line for line in orders.lines if line["type"] == "quote"]


def test_a_slow_disk_delays_no_quote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Journal.append, Logger.write

    def slow_append(self: Journal, records: Any) -> None:
        time.sleep(0.2)
        honest[0](self, records)

    def slow_write(self: Logger, rows: Any) -> None:
        time.sleep(0.2)
        honest[1](self, rows)

    monkeypatch.setattr(Journal, "append", slow_append)
    monkeypatch.setattr(Logger, "write", slow_write)
    given = Given(SMALL, feed="stdin")
    heard, _, _ = run(tmp_path, given, [{"seq": seq, "side": "buy", "size": 1} for seq in range(8)], every=1)
    types = heard.types()
    quotes = [place for place, kind in enumerate(types) if kind == "quote"]
    acks = [place for place, kind in enumerate(types) if kind == "ack"]
    assert len(quotes) == len(acks) == 8
    assert heard.moments[quotes[-1]] - heard.moments[quotes[0]] < 0.15
    assert heard.moments[acks[0]] - heard.moments[quotes[0]] >= 0.2
    # Snapshots that the disk is too slow for are left out, but not the last.
    assert [path.name for path in tmp_path.glob("snapshot-*")][-1:] == ["snapshot-000000000008.json"]


def test_nothing_is_acknowledged_that_the_disk_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Journal, records: Any) -> None:
        raise InputError(f"{tmp_path}: cannot be written: No space left on device")

    monkeypatch.setattr(Journal, "append", full)
    heard = Heard()

    async def main() -> None:
        with Session(tmp_path, Given(TWO, seed=7)) as session:
            await Live(session, feeds.steps(0, 40), heard).run()

    with pytest.raises(InputError, match="No space left on device"):
        asyncio.run(main())
    assert "fill" not in heard.types()
    assert not list(tmp_path.glob("snapshot-*"))


@pytest.mark.parametrize("feed", ["simulated", "stdin"])
def test_a_stopped_run_goes_on_as_if_nothing_had_been(tmp_path: Path, feed: str) -> None:
    scenario = TWO.replace({"recovery.ramp_steps": 0})
    given = Given(scenario, seed=7, feed=feed)
    said = [{"seq": s, "orders": {"fed": {"side": "buy", "size": 1 + s % 5, "fair": 0.5}}} for s in range(40)]
    _, _, whole = run(tmp_path / "whole", given, said)
    stop = {"done": 0}

    def stops(live: Live) -> None:
        honest = live._note

        def note(done: Any) -> None:
            honest(done)
            if done.step == 13:
                stop["done"] += 1
                live.stop("SIGTERM")

        live._note = note  # type: ignore[method-assign]

    heard, stopped, session = run(tmp_path / "run", given, said, stops)
    assert (stopped, session.bot.step, stop["done"]) == ("SIGTERM", 14, 1)
    assert (tmp_path / "run" / "snapshot-000000000014.json").exists()
    assert heard.lines[-1]["done"] is False
    assert heard.lines[-1]["quoted_fraction"] == 1.0
    _, stopped, again = run(tmp_path / "run", given, said)
    assert not stopped
    np.testing.assert_equal(again.bot.metrics(), whole.bot.metrics())
    traces = [(tmp_path / name / "trace.jsonl").read_bytes() for name in ("whole", "run")]
    assert traces[0] == traces[1]


def test_two_signals_while_the_disk_is_slow_stop_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first has the reader wait for room to say that it is over; a second must not take it."""
    honest = Session.save

    def slow(self: Session, *what: Any) -> None:
        time.sleep(0.3)
        honest(self, *what)

    monkeypatch.setattr(Session, "save", slow)

    def twice(live: Live) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(0.1, live.stop, "SIGINT")
        loop.call_later(0.2, live.stop, "SIGTERM")
        loop.call_later(5.0, lambda: [task.cancel() for task in asyncio.all_tasks()])  # it hangs

    _, stopped, session = run(tmp_path, Given(Scenario(steps=2000)), before=twice, every=10, patient=True)
    assert stopped == "SIGINT"
    assert not session.bot.done
    assert (tmp_path / f"snapshot-{session.bot.step:012d}.json").exists()


def test_it_stops_when_nobody_reads_what_it_says(tmp_path: Path) -> None:
    back, sink = os.pipe()
    os.close(back)
    output = Output(sink)

    async def main() -> str:
        with Session(tmp_path, Given(TWO.replace({"steps": 10_000}))) as session:
            return await Live(session, feeds.steps(0, 10_000, pace=2_000), output).run()

    assert asyncio.run(main()) == "nobody reads the output"
    output.close()
    assert list(tmp_path.glob("snapshot-*"))


def test_the_pace_is_kept(tmp_path: Path) -> None:
    begin = time.perf_counter()
    run(tmp_path, Given(SMALL), pace=40.0)
    assert 7 / 40 <= time.perf_counter() - begin < 1.0


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_the_log_is_the_trace_of_simulate(tmp_path: Path, form: str) -> None:
    run(tmp_path, Given(TWO, seed=7, path=3, form=form), every=7)
    read = {"jsonl": lambda p: pd.read_json(p, lines=True, precise_float=True), "csv": pd.read_csv}
    trace = read.get(form, pd.read_parquet)(tmp_path / f"trace.{form}")
    summary = read.get(form, pd.read_parquet)(tmp_path / f"summary.{form}")
    wanted = mcmm.simulate(TWO, paths=1, seed=7, first_path=3, trace_paths=1)
    expected = wanted.trace.sort_values(["step", "market"], kind="stable").reset_index(drop=True)
    expected["market"] = expected["market"].astype(str)
    pd.testing.assert_frame_equal(trace, expected, check_dtype=False, check_exact=True)
    found = summary.iloc[0].astype(float)
    np.testing.assert_array_equal(found[list(TWO.columns)], wanted.values[:, 0])
    assert (found["path"], found["steps"]) == (3, 40)


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_the_log_goes_back_to_a_step_and_drops_half_a_record(tmp_path: Path, form: str) -> None:
    rows = [{"step": step, "market": name, "x": step / 7} for step in range(9) for name in "ab"]
    log = Logger(tmp_path, ("step", "market", "x"), form)
    log.write(rows[:6])
    log.sync()
    log.write(rows[6:])
    log.close()
    if form == "parquet":
        (log.path / ".part-000000000009.parquet.tmp").write_bytes(b"half")
    else:
        whole = log.path.read_bytes()
        log.path.write_bytes(whole + whole.splitlines()[-1][:-2])
    for step in (9, 7, 4, 4, 0):
        again = Logger(tmp_path, ("step", "market", "x"), form)
        again.rewind(step)
        again.close()
        if form == "parquet":
            parts = [pd.read_parquet(part) for part in sorted(log.path.iterdir())]
            left = pd.concat(parts).to_dict("records") if parts else []
        elif form == "csv":
            left = pd.read_csv(log.path).to_dict("records")
        else:
            left = [json.loads(line) for line in log.path.read_text().splitlines()]
        assert left == rows[: 2 * step]
    with pytest.raises(InputError, match="format: must be one of jsonl, csv, parquet, got 'xml'"):
        Logger(tmp_path, ("step",), "xml")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ('{"seq": 3}', Message(3, {})),
        ('{"seq": 3, "side": "sell", "size": 2}', Message(3, {"": Order(-1, 2)})),
        ('{"seq": 3, "side": 1, "size": 2, "limit": 1}', Message(3, {"": Order(1, 2, 1)})),
        ('{"seq": 3, "fair": 0.2, "connection": "back"}', Message(3, {"": Order(fair=0.2)}, True)),
        ('{"seq": 3, "orders": {"": {"side": 1, "size": 1}}}', Message(3, {"": Order(1, 1)})),
        ("[1]", "must be a JSON object, got list"),
        ("{", "must be a JSON object on one line"),
        ('{"side": "buy"}', "seq: must be a whole number >= 0, got None"),
        ('{"seq": true}', "seq: must be a whole number >= 0, got True"),
        ('{"seq": 3, "side": "up", "size": 1}', "order.side: must be buy, sell, 1 or -1, got 'up'"),
        ('{"seq": 3, "side": "buy", "size": 1.5}', "order.size: must be a whole number, got 1.5"),
        ('{"seq": 3, "size": 1}', "order.side: must be given with a size or a limit"),
        ('{"seq": 3, "side": "buy", "size": 1, "limit": "x"}', "order.limit: must be a number, got 'x'"),
        ('{"seq": 3, "fair": 1' + "0" * 400 + "}", "order.fair: must be a number, got 1" + "0" * 39),
        ('{"seq": 3, "side": "buy", "size": 1, "limit": NaN}', "order.limit: must be a number, got nan"),
        ('{"seq": 3, "price": 1}', "order: must be of side, size, limit and fair, got price"),
        (
            '{"seq": 3, "orders": {"fed": {}}}',
            "orders: markets must be left out, for there is only one, got fed",
        ),
        ('{"seq": 3, "orders": [], "x": 1}', "x: must be within orders, an order a market"),
        ('{"seq": 3, "orders": []}', "orders: must be an object, an order a market, got []"),
        ('{"seq": 3, "connection": 1}', "connection: must be lost or back, got 1"),
    ],
)
def test_lines_are_read_or_refused_by_name(line: str, wanted: Any) -> None:
    found = parse(line.encode(), ("",))
    if isinstance(wanted, str):
        assert isinstance(found, Unread)
        assert found.why == wanted
    else:
        assert found == wanted


def test_with_several_markets_an_order_names_its_own() -> None:
    found = parse(b'{"seq": 3, "side": 1, "size": 1}', ("fed", "jobs"))
    assert found == Unread(3, "orders: must name the market: fed, jobs")
    found = parse(b'{"seq": 3, "orders": {"fed": {"side": 1, "size": 1}, "jobs": {}}}', ("fed", "jobs"))
    assert found == Message(3, {"fed": Order(1, 1), "jobs": Order()})


def test_lines_are_read_no_further_ahead_than_half_a_megabyte() -> None:
    """A writer who is faster than the bot is made to wait; none of its lines is lost."""
    source, to = os.pipe()
    said = 0

    def write() -> None:
        nonlocal said
        for seq in range(100_000):
            said += os.write(to, b'{"seq": %d}\n' % seq)
        os.close(to)

    async def main() -> tuple[int, list[int]]:
        feed = feeds.json_lines(source, ("",))
        first = await anext(feed)
        before = -1
        while before != said:
            before = said
            await asyncio.sleep(0.3)
        return before, [first.seq, *[each.seq async for each in feed]]

    writer = threading.Thread(target=write)
    writer.start()
    ahead, numbers = asyncio.run(main())
    writer.join()
    os.close(source)
    assert ahead < 800_000 < said
    assert numbers == list(range(100_000))


def test_what_halted_a_market_is_said_on_a_narrow_terminal_too(tmp_path: Path) -> None:
    from rich.console import Console

    scenario = TWO.replace({"portfolio.drawdown_limit": 0.001})
    seen: list[Shown] = []
    run(tmp_path, Given(scenario, seed=7), show=seen.append)
    console = Console(file=io.StringIO(), width=80)
    console.print(view(seen[-1]))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "fed halted: portfolio drawdown\n" in text.replace(" \n", "\n")
    assert all(f" {name}" in text for name in ("inventory", "exposure", "drawdown", "fills"))
    assert "…" not in text


def test_the_view_shows_books_layers_and_fills(tmp_path: Path) -> None:
    from rich.console import Console

    scenario = TWO.replace(
        {"risk.volume_limit": 12, "risk.volume_window": 40, "portfolio.exposure_limit": 90.0}
    )
    seen: list[Shown] = []
    _, _, session = run(tmp_path, Given(scenario, seed=7), show=seen.append)
    console = Console(file=io.StringIO(), width=150)
    console.print(view(seen[-1]))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "step 40 of 40   journal: all on disk" in text
    for word in (
        "fed",
        "jobs",
        "fed halted: volume",
        "portfolio exposure",
        "recovery ramp",
        "last fills",
        "bought",
    ):
        assert word in text
    assert "drawdown" in text
    assert session.bot.states["fed"].halted
    assert f"{session.bot.states['fed'].inventory:+d} of 100" in text
