"""A bot that runs: feed, quoting, journal, log, snapshots and view as tasks of one loop.

Quotes wait for nothing but the feed. What a disk is slow with waits in queues: the journal, which lets fills
be acknowledged once they are synced; the log; and the newest snapshot that is wanted, once both have come so
far.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mcmm.bot import Bot, Frozen
from mcmm.errors import InputError
from mcmm.feeds import Feed, Message, Unread
from mcmm.quotes import Fill, MarketState, Quote
from mcmm.session import Advanced, Session

__all__ = ["Live", "Output", "Shown"]

_AHEAD = 256  # messages read ahead of the quotes
_WAITING = 10_000  # records and rows that may wait for the disk before a patient bot does too
_SIGNALS = ("SIGINT", "SIGTERM")
_SIDES = {1: "buy", -1: "sell"}


class Output:
    """Lines to a file that may be slow, or gone, written by a thread.

    Parameters
    ----------
    handle : int
        The open file.

    Attributes
    ----------
    broken : bool
        Nobody reads any more.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.broken = False
        self._thread = threading.Thread(target=self._write, name="mcmm-output", daemon=True)
        self._thread.start()

    def write(self, document: Mapping[str, Any]) -> None:
        """Write an object as a line; NaN as null."""
        shown = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in document.items()}
        self._lines.put(json.dumps(shown, separators=(",", ":")) + "\n")

    def close(self, seconds: float = 5.0) -> None:
        """Wait until all is written, or so long."""
        self._lines.put(None)
        self._thread.join(seconds)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            text = line.encode()
            while text and not self.broken:
                try:
                    text = text[os.write(self._handle, text) :]
                except OSError:
                    self.broken = True


class _Wanted(NamedTuple):
    """A snapshot that is to be written once the journal and the log have come so far."""

    frozen: Frozen
    lines: int
    metrics: dict[str, float]
    rows: int


@dataclass
class _Said:
    """What may be said once a record, if there is one, is in the journal."""

    record: dict[str, Any] | None
    lines: list[dict[str, Any]]


@dataclass
class Shown:
    """What a view shows: markets, quotes, the last fills, and how many records wait for the disk."""

    bot: Bot
    states: dict[str, MarketState]
    quotes: dict[str, Quote]
    fills: deque[Fill]
    step: int = 0
    waiting: int = 0


class Live:
    """Runs a session until its path or its feed ends, or it is told to stop.

    Parameters
    ----------
    session : Session
        The run.
    feed : Feed
        Its steps.
    output : Output, optional
        Where quotes, fills and acknowledgements go.
    orders_only : bool
        Write the orders that the quotes make (place, cancel) in place of the quotes.
    every : int
        Steps between two snapshots.
    patient : bool
        Wait for the disk rather than run ahead of it: for steps that come as fast as they go. Without it, of
        snapshots that the disk is too slow for the newest is written.
    show : callable, optional
        Shown `Shown` a few times a second.
    tell : callable
        Told what a reader should know.
    """

    def __init__(
        self,
        session: Session,
        feed: Feed,
        output: Output | None = None,
        *,
        orders_only: bool = False,
        every: int = 1000,
        patient: bool = False,
        show: Callable[[Shown], object] | None = None,
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._session, self._bot, self._feed = session, session.bot, feed
        self._output, self._orders_only, self._every = output, orders_only, every
        self._patient = patient
        self._show, self._tell = show, tell
        fills = deque((fill for done in session.replayed for fill in done.fills), maxlen=8)
        self.shown = Shown(self._bot, self._bot.states, {}, fills, self._bot.step)
        self._messages: asyncio.Queue[Message | Unread | None] = asyncio.Queue(_AHEAD)
        self._records: asyncio.Queue[_Said | None] = asyncio.Queue()
        self._rows: asyncio.Queue[list[dict[str, Any]] | None] = asyncio.Queue()
        self._wanted: _Wanted | None = None
        self._changed = asyncio.Condition()
        self._over = False
        self._boundary: Frozen | None = None
        self._resting: dict[tuple[str, str], tuple[float, int]] = {}
        self._lines, self._logged, self._put = session.journal.lines, 0, 0
        self.stopped = ""

    async def run(self) -> str:
        """Run it.

        Returns
        -------
        str
            The name of the signal that stopped it; empty if it came to its end.

        Raises
        ------
        InputError
            If a file cannot be written. What was acknowledged is kept.
        """
        loop = asyncio.get_running_loop()
        signals = [getattr(signal, name) for name in _SIGNALS]
        try:
            for each in signals:
                loop.add_signal_handler(each, self.stop, each.name)
        except (ValueError, RuntimeError, NotImplementedError):
            signals = []  # not the main thread, or Windows: whoever runs it stops it
        self._say_ready()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._reader = tasks.create_task(self._read())
                ends: list[Coroutine[Any, Any, None]] = [self._quote(), self._keep(), self._log()]
                working = [tasks.create_task(each) for each in ends]
                tasks.create_task(self._snapshot())
                if self._show is not None:
                    tasks.create_task(self._view(self._show))
                await asyncio.gather(*working)
                async with self._changed:
                    self._over = True
                    self._changed.notify_all()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None  # the first failure is the one to report
        finally:
            for each in signals:
                loop.remove_signal_handler(each)
        self._say_end()
        return self.stopped

    def stop(self, why: str) -> None:
        """Stop after this step, with a snapshot; told again, it is stopping already."""
        if not self.stopped:
            self.stopped = why
            self._reader.cancel()

    # The tasks.

    async def _read(self) -> None:
        try:
            async for message in self._feed:
                await self._messages.put(message)
        except asyncio.CancelledError:
            if not self.stopped:
                raise
        await self._messages.put(None)

    async def _quote(self) -> None:
        bot, session = self._bot, self._session
        if bot.outside and not bot.done:
            self._offer()
        while not bot.done and (message := await self._messages.get()) is not None:
            while self._patient and self._behind():
                await asyncio.sleep(0.001)
            if self.stopped:
                continue
            if self._output is not None and self._output.broken:
                self.stop("nobody reads the output")
                continue
            if not isinstance(message, Message) or message.seq != bot.step:
                self._refuse(message)
                continue
            if not bot.outside:
                self._offer()
            try:
                done = session.advance(message.orders, self.shown.quotes, message.connected)
            except InputError as error:
                self._refuse(Unread(message.seq, str(error)))
                continue
            self._note(done)
            if bot.outside and not bot.done:
                self._offer()
        self._reader.cancel()
        if bot.outside and not bot.done and self._boundary is not None:
            bot.thaw(self._boundary)  # the quote that nobody took is made again when the run goes on
        self._want()
        self._records.put_nowait(None)
        self._rows.put_nowait(None)

    async def _keep(self) -> None:
        """Keep the journal; once it is synced, fills are acknowledged."""
        open_ = True
        while open_:
            batch, open_ = await _all_of(self._records)
            records = [said.record for said in batch if said.record is not None]
            if records:
                await asyncio.to_thread(self._session.journal.append, records)
            for said in batch:
                for line in said.lines:
                    self._say(line)
            async with self._changed:
                self._lines = self._session.journal.lines
                self._changed.notify_all()

    async def _log(self) -> None:
        open_ = True
        while open_:
            batch, open_ = await _all_of(self._rows)
            rows = [row for some in batch for row in some]
            await asyncio.to_thread(self._session.logger.write, rows)
            async with self._changed:
                self._logged += len(rows)
                self._changed.notify_all()

    async def _snapshot(self) -> None:
        """Write the newest that is wanted, once the journal and the log have come so far."""
        while True:
            async with self._changed:
                await self._changed.wait_for(self._ready)
                wanted, self._wanted = self._wanted, None
            if wanted is None:
                return
            await asyncio.to_thread(self._session.save, wanted.frozen, wanted.lines, wanted.metrics)

    def _ready(self) -> bool:
        wanted = self._wanted
        if wanted is None:
            return self._over
        return self._lines >= wanted.lines and self._logged >= wanted.rows

    async def _view(self, show: Callable[[Shown], object]) -> None:
        while not self._over:
            self.shown.waiting = self._session.lines - self._lines
            show(self.shown)
            await asyncio.sleep(0.2)
        self.shown.waiting = 0
        show(self.shown)

    # What they do at a step.

    def _offer(self) -> None:
        """Quote, and say so at once."""
        if self._bot.outside:
            self._boundary = self._bot.freeze()
        quotes = self.shown.quotes = self._bot.quote()
        if self._output is None:
            return
        seq = self._bot.step
        for name, before in self.shown.states.items():
            if before.halted and before.inventory:
                self._say_unwound(seq, before, self._bot.makers[name].state)
        for name, quote in quotes.items():
            market = {"market": name} if name else {}
            if self._orders_only:
                self._order(seq, name, "buy", quote.bid, quote.bid_size)
                self._order(seq, name, "sell", quote.ask, quote.ask_size)
                continue
            self._output.write(
                {
                    "type": "quote",
                    "seq": seq,
                    **market,
                    "bid": quote.bid if quote.bid_size else None,
                    "ask": quote.ask if quote.ask_size else None,
                    "bid_size": quote.bid_size,
                    "ask_size": quote.ask_size,
                }
            )

    def _order(self, seq: int, name: str, side: str, price: float, size: int) -> None:
        """Write what makes the resting order of a side that of the quote."""
        assert self._output is not None
        resting, wanted = self._resting.get((name, side)), (price, size) if size else None
        if resting == wanted:
            return
        order = {"seq": seq, **({"market": name} if name else {}), "side": side}
        if resting is not None:
            self._output.write({"type": "cancel", **order, "price": resting[0]})
            del self._resting[name, side]
        if wanted is not None:
            self._output.write({"type": "place", **order, "price": price, "size": size})
            self._resting[name, side] = wanted

    def _note(self, done: Advanced) -> None:
        """Hand on what a step did."""
        shown = self.shown
        before, shown.states, shown.step = shown.states, done.states, done.step + 1
        shown.fills.extend(done.fills)
        for name, state in done.states.items():
            if state.trips > before[name].trips:
                self._tell(f"step {done.step}: {name or 'the market'}: {_tripped(state)}")
                market = {"market": name} if name else {}
                stops: dict[str, Any] = {"halted": state.halted, "pause": state.pause_left}
                if state.trips == 1:  # only the first one's reason is kept
                    stops["reason"] = state.halt_reason
                self._say({"type": "trip", "seq": done.step, **market, **stops, "trips": state.trips})
        for fill in done.fills if self._orders_only else ():
            key = (fill.market, "sell" if fill.side > 0 else "buy")
            price, size = self._resting[key]
            self._resting[key] = (price, size - fill.size)
            if size == fill.size:
                del self._resting[key]
        lines = [{"type": "fill", "seq": done.step, **_told(fill)} for fill in done.fills]
        if self._bot.outside:
            lines.append({"type": "ack", "seq": done.step})
        if done.record is not None:
            self._records.put_nowait(_Said(done.record, lines))
        self._rows.put_nowait(done.rows)
        self._put += len(done.rows)
        if self._bot.step % self._every == 0:
            self._want()

    def _behind(self) -> bool:
        """Tell whether the disk has much to catch up with."""
        return self._wanted is not None or self._records.qsize() + self._rows.qsize() > _WAITING

    def _want(self) -> None:
        """Have a snapshot of now written, in place of one that still waits."""
        bot = self._bot
        self._wanted = _Wanted(bot.freeze(), self._session.lines, bot.metrics(), self._put)

    # What is said.

    def _say(self, line: Mapping[str, Any]) -> None:
        if self._output is not None:
            self._output.write(line)

    def _say_ready(self) -> None:
        state = self.shown.states
        books = {name or "market": {"inventory": s.inventory, "fills": s.fills} for name, s in state.items()}
        ready: dict[str, Any] = {
            "type": "ready",
            "seq": self._bot.step,
            "steps": self._bot.scenario.steps,
            "books": books,
        }
        self._say(ready)

    def _refuse(self, message: Message | Unread) -> None:
        """Say why a message was not a step."""
        step = self._bot.step
        if isinstance(message, Unread):
            self._say({"type": "error", "seq": message.seq, "expected": step, "message": message.why})
        elif message.seq < step:
            fills = [_told(Fill(message.seq, *fill)) for fill in self._session.filled.get(message.seq, ())]
            line = {"type": "duplicate", "seq": message.seq, "expected": step, "fills": fills}
            self._records.put_nowait(_Said(None, [line]))  # behind what is still to be synced
        else:
            self._say({"type": "gap", "seq": message.seq, "expected": step})

    def _say_unwound(self, seq: int, before: MarketState, after: MarketState) -> None:
        """Tell of a position that flatten closed."""
        closed = before.inventory - after.inventory
        if closed:
            fill = Fill(seq, before.market, -1 if closed > 0 else 1, abs(closed), 0.0)
            price = (after.cash - before.cash) / closed
            self._say({"type": "unwind", "seq": seq, **_told(fill), "price": price})

    def _say_end(self) -> None:
        self._say({"type": "end", "seq": self._bot.step, "done": self._bot.done, **self._bot.metrics()})


def _told(fill: Fill) -> dict[str, Any]:
    market = {"market": fill.market} if fill.market else {}
    return {**market, "side": _SIDES[fill.side], "size": fill.size, "price": fill.price}


def _tripped(state: MarketState) -> str:
    doing = "halted" if state.halted else f"paused for {state.pause_left} steps"
    return f"breaker tripped ({state.halt_reason}), {doing}; pnl {state.pnl:.2f}"


async def _all_of(items: asyncio.Queue[Any]) -> tuple[list[Any], bool]:
    """Wait for something, and take all that is there; whether more may come."""
    batch = [await items.get()]
    while not items.empty():
        batch.append(items.get_nowait())
    ended = batch[-1] is None
    return batch[: len(batch) - ended], not ended
