"""Feeds: where the steps of a bot come from, as async iterators of messages.

A message is a step: what arrives in it, and its number. A feed of numbers alone serves the takers that a bot
has by itself, simulated or recorded; JSON lines let anything drive it (docs/bot.md).
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, NamedTuple

from mcmm.errors import InputError
from mcmm.quotes import Order

__all__ = ["Feed", "Message", "Unread", "json_lines", "parse", "steps"]

_LONGEST = 1 << 20  # bytes of a line
_CHUNK, _CHUNKS = 1 << 16, 8  # bytes read at once, and how many such reads may wait for the bot
_SIDES = {"buy": 1, "sell": -1}
_CONNECTION = {"lost": False, "back": True}
_ORDER = frozenset({"side", "size", "limit", "fair"})


class Message(NamedTuple):
    """A step.

    Attributes
    ----------
    seq : int
        Its number, from 0, none left out.
    orders : dict of str to Order, optional
        What arrives, by market; None where the bot has takers of its own.
    connected : bool, optional
        Whether the connection is up from the next step on; None where that is as it was.
    """

    seq: int
    orders: dict[str, Order] | None = None
    connected: bool | None = None


class Unread(NamedTuple):
    """A line that is no message.

    Attributes
    ----------
    seq : int, optional
        Its number, if it has one.
    why : str
        What is wrong with it.
    """

    seq: int | None
    why: str


Feed = AsyncIterator[Message | Unread]


async def steps(first: int, last: int, pace: float = 0.0) -> Feed:
    """Yield the steps first .. last - 1, for a bot that has takers of its own.

    Parameters
    ----------
    first, last : int
        Which.
    pace : float
        Steps a second; 0 is as fast as it goes.
    """
    clock = asyncio.get_running_loop().time
    begin = clock()
    for seq in range(first, last):
        if pace:
            wait = begin + (seq - first) / pace - clock()
            if wait > 0:
                await asyncio.sleep(wait)
        yield Message(seq)


async def json_lines(handle: int, markets: Collection[str]) -> Feed:
    """Yield what a file's lines say until it ends.

    Parameters
    ----------
    handle : int
        The open file. It is read by a thread, so that it may be anything: a pipe, a terminal, a disk. It is
        read half a megabyte ahead of the bot and no further: who writes faster than the bot quotes waits.
    markets : collection of str
        The names of the bot's markets; ``""`` is the only one.
    """
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[list[bytes] | None] = asyncio.Queue()
    room = threading.Semaphore(_CHUNKS)
    over = threading.Event()

    def read() -> None:
        rest = b""
        while True:
            room.acquire()
            if over.is_set():
                return
            try:
                found = os.read(handle, _CHUNK)
            except OSError:
                found = b""
            *whole, rest = (rest + found).split(b"\n")
            if not found and rest:
                whole.append(rest)
            if len(rest) > _LONGEST:
                found = b""  # no line is so long: what comes is not for us
            try:
                loop.call_soon_threadsafe(chunks.put_nowait, whole)
                if not found:
                    loop.call_soon_threadsafe(chunks.put_nowait, None)
            except RuntimeError:
                return  # the loop is over
            if not found:
                return

    # A daemon: nothing can wake it from a read, and the bot does not wait for it.
    threading.Thread(target=read, name="mcmm-feed", daemon=True).start()
    try:
        while (chunk := await chunks.get()) is not None:
            for line in chunk:
                if line.strip():
                    yield parse(line, markets)
            room.release()
    finally:
        over.set()
        room.release()


def parse(line: bytes, markets: Collection[str]) -> Message | Unread:
    """Read a line: ``{"seq": 7, "side": "buy", "size": 3}``, or ``{"seq": 7, "orders": {"NAME": {..}}}``.

    Either may say ``"connection": "lost"`` or ``"back"`` too.

    Parameters
    ----------
    line : bytes
        A JSON object.
    markets : collection of str
        The names that ``orders`` may have.

    Returns
    -------
    Message or Unread
        What it says, or what is wrong with it.
    """
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return Unread(None, "must be a JSON object on one line")
    if not isinstance(document, dict):
        return Unread(None, f"must be a JSON object, got {type(document).__name__}")
    seq = document.pop("seq", None)
    if not isinstance(seq, int) or isinstance(seq, bool) or seq < 0:
        return Unread(None, f"seq: must be a whole number >= 0, got {seq!r}")
    try:
        connection = document.pop("connection", None)
        if connection is not None and connection not in ("lost", "back"):
            raise InputError(f"connection: must be lost or back, got {connection!r}")
        connected = None if connection is None else _CONNECTION[connection]
        if "orders" in document:
            orders = document.pop("orders")
            if document:
                raise InputError(f"{', '.join(document)}: must be within orders, an order a market")
            if not isinstance(orders, dict):
                raise InputError(f"orders: must be an object, an order a market, got {orders!r}")
        else:
            orders = {next(iter(markets)): document} if document else {}
            if document and len(markets) > 1:
                raise InputError(f"orders: must name the market: {', '.join(markets)}")
        unknown = [name for name in orders if name not in markets]
        if unknown:
            named = ", ".join(markets) if len(markets) > 1 else "left out, for there is only one"
            raise InputError(f"orders: markets must be {named}, got {', '.join(unknown)}")
        return Message(seq, {name: _order(order) for name, order in orders.items()}, connected)
    except InputError as error:
        return Unread(seq, str(error))


def _order(told: Any) -> Order:
    if not isinstance(told, Mapping):
        raise InputError(f"order: must be an object, got {told!r}")
    if unknown := [name for name in told if name not in _ORDER]:
        raise InputError(f"order: must be of side, size, limit and fair, got {', '.join(unknown)}")
    side = told.get("side", 0)
    side = _SIDES.get(side, side) if isinstance(side, str) else side
    if not isinstance(side, int) or isinstance(side, bool) or side not in (-1, 0, 1):
        raise InputError(f"order.side: must be buy, sell, 1 or -1, got {side!r}")
    size = told.get("size", 0)
    limit, fair = _number(told, "limit"), _number(told, "fair")
    if side and (not isinstance(size, int) or isinstance(size, bool)):
        raise InputError(f"order.size: must be a whole number, got {size!r}")
    if not side and (size or limit is not None):
        raise InputError("order.side: must be given with a size or a limit")
    return Order(side, size, limit, fair)


def _number(told: Mapping[str, Any], name: str) -> float | None:
    value = told.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise InputError(f"order.{name}: must be a number, got {value!r:.40}")
    return float(value)
