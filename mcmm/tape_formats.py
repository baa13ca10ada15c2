"""The formats of recorded markets: which columns mean what, one function a format.

Prices come out as dollars of the event's YES (or Up) contract and sides as the taker's: +1 bought it, -1 sold
it. A buy of the other outcome at x is a sale of this one at 1 - x.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mcmm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mcmm.tape_files import Rows

__all__ = ["FORMATS", "ONE_CONTRACT", "Found", "counted", "format_of", "read_format"]

ONE_CONTRACT = "contract"
"""The name of the contract of a file that names none."""

KALSHI = ("ticker", "count", "created_time", "yes_price", "taker_side")
POLYMARKET_TRADES = ("timestamp", "trade_side", "quantity", "price", "TargetTime", "ExpirationTime")
POLYMARKET_QUOTES = ("Timestamp", "TargetTime", "Expiration", "UpBid", "UpAsk", "DownBid", "DownAsk")
PLAIN = ("time", "side", "size", "price")
PLAIN_QUOTES = ("time", "bid", "ask")
MID_QUOTES = ("time", "mid")

FORMATS = {
    "kalshi": KALSHI,
    "polymarket_trades": POLYMARKET_TRADES,
    "polymarket_quotes": POLYMARKET_QUOTES,
    "plain": PLAIN,
    "plain_quotes": PLAIN_QUOTES,
    "mid_quotes": MID_QUOTES,
}
"""The columns by which each format is known, the first that fits counts."""

_SIDES = {"buy": 1, "sell": -1, "b": 1, "s": -1, "1": 1, "+1": 1, "-1": -1}
# Past these an empty side of the book is what a decided contract looks like, and not a gap in the record.
_DECIDED = 0.05


class Found(NamedTuple):
    """What one file holds.

    Attributes
    ----------
    prints : DataFrame or None
        Columns contract, time, side, size (as recorded, maybe fractional), price.
    quotes : DataFrame or None
        Columns contract, time, bid, ask, bid_size, ask_size, mid; NaN is none.
    windows : DataFrame or None
        Index contract, columns opens and expires, where the file says so.
    own_trades : bool
        Whether the prints are one account's and not the market's.
    notes : tuple of str
        What reading left out or turned, a sentence each.
    """

    prints: pd.DataFrame | None
    quotes: pd.DataFrame | None
    windows: pd.DataFrame | None
    own_trades: bool
    notes: tuple[str, ...]


def counted(what: object, noun: str) -> str:
    """Write how many there are, or how many of a mask hold: ``"1 print"``, ``"1,200 prints"``."""
    number = int(np.sum(what))  # type: ignore[call-overload]
    return f"{number:,} {noun}{'s' if number != 1 else ''}"


def check_names(columns: Mapping[str, str]) -> None:
    """Raise an InputError where a column is said to stand for what no format has."""
    also = ("trade_id", "no_price", "bid_size", "ask_size", "spread", "contract")
    known = dict.fromkeys(name for names in (*FORMATS.values(), also) for name in names)
    for name in columns:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise InputError(f"columns: {name}: no format has such a column; {hint}")


def format_of(rows: Rows) -> str:
    """Return the format that a file's columns fit.

    Raises
    ------
    InputError
        They fit none.
    """
    for name, columns in FORMATS.items():
        if all(map(rows.has, columns)):
            return name
    known = "; ".join(f"{name}: {', '.join(columns)}" for name, columns in FORMATS.items())
    raise InputError(
        f"{rows.path}: must have the columns of a known format ({known}), some of them perhaps under a name "
        f"of its own (--column time=OWN), got {rows.columns}"
    )


def read_format(rows: Rows, name: str | None = None) -> Found:
    """Read the rows in a format, that which their columns fit if none is named.

    Parameters
    ----------
    rows : Rows
        The file's rows.
    name : str, optional
        One of `FORMATS`.

    Raises
    ------
    InputError
        The format is unknown, a column is missing, or a value breaks its rule.
    """
    chosen = format_of(rows) if name is None else name
    if chosen not in FORMATS:
        raise InputError(f"format: must be one of {', '.join(FORMATS)}, got {chosen!r}")
    rows.require(FORMATS[chosen])
    match chosen:
        case "kalshi":
            return _kalshi(rows)
        case "polymarket_trades":
            return _polymarket_trades(rows)
        case "polymarket_quotes":
            return _polymarket_quotes(rows)
        case "plain":
            return _plain(rows)
        case _:
            return _plain_quotes(rows)


def _kalshi(rows: Rows) -> Found:
    """Read the public trade schema: cents, newest first; a taker of "no" sold YES."""
    import pandas as pd

    cents = "a price in cents > 0 and < 100"
    price = rows.numbers("yes_price", cents, lambda x: (x > 0) & (x < 100))
    if rows.has("no_price"):
        no_price = rows.numbers("no_price", cents, lambda x: (x > 0) & (x < 100))
        rows.check("no_price", "100 - yes_price", np.abs(price + no_price - 100) < 1e-6)
    frame = pd.DataFrame(
        {
            "contract": rows.names("ticker"),
            "time": rows.times("created_time"),
            "side": rows.words("taker_side", {"yes": 1, "no": -1}),
            "size": rows.numbers("count", "a number > 0 and <= 1e9", _positive),
            "price": price / 100,
        }
    )
    notes = []
    if rows.has("trade_id"):
        known = rows.frame["trade_id"].str.strip()
        again = (known != "") & known.duplicated()
        # Pages of a venue's answer overlap: the same trade twice is one trade.
        whole = frame.assign(trade_id=known)
        torn = again & ~whole.duplicated()
        if torn.any():
            rows.refuse(int(np.argmax(torn.to_numpy())), "trade_id", "the id of one trade")
        if again.any():
            notes.append(f"{counted(again, 'row')} left out: a trade_id that came before.")
            frame = frame[~again.to_numpy()]
    return Found(_oldest_first(frame), None, None, own_trades=False, notes=tuple(notes))


def _polymarket_trades(rows: Rows) -> Found:
    """Read one account's trades in Up and Down contracts: a buy of Down at x is a sale of Up at 1 - x."""
    import pandas as pd

    side = rows.words("trade_side", {"up": 1, "down": -1})
    price = rows.numbers("price", "a price in dollars > 0 and < 1", lambda x: (x > 0) & (x < 1))
    contract, windows = _windows(rows, "TargetTime", "ExpirationTime")
    frame = pd.DataFrame(
        {
            "contract": contract,
            "time": rows.times("timestamp"),
            "side": side,
            "size": rows.numbers("quantity", "a number > 0 and <= 1e9", _positive),
            "price": np.where(side > 0, price, _other(price)),
        }
    )
    frame, notes = _within(frame, windows, "print")
    return Found(_oldest_first(frame), None, windows, own_trades=True, notes=notes)


def _polymarket_quotes(rows: Rows) -> Found:
    """Read best bids and asks of Up and Down contracts, in which a side without orders is written as 0."""
    import pandas as pd

    contract, windows = _windows(rows, "TargetTime", "Expiration")
    rule = "a price in dollars >= 0 and < 1, 0 for none"
    prices = {
        name: rows.numbers(name, rule, lambda x: (x >= 0) & (x < 1))
        for name in ("UpBid", "UpAsk", "DownBid", "DownAsk")
    }
    for name, values in prices.items():
        prices[name] = np.where(values > 0, values, np.nan)
    bid = np.where(np.isnan(prices["UpBid"]), _other(prices["DownAsk"]), prices["UpBid"])
    ask = np.where(np.isnan(prices["UpAsk"]), _other(prices["DownBid"]), prices["UpAsk"])
    sizes = {}
    for name, own, other in (
        ("bid_size", "UpBid", "DownAsk"),
        ("ask_size", "UpAsk", "DownBid"),
    ):
        here, there = (_sizes(rows, f"{price}Liquidity") for price in (own, other))
        sizes[name] = np.where(np.isnan(prices[own]), there, here)
    frame = _quotes(contract, rows.times("Timestamp"), bid, ask, sizes["bid_size"], sizes["ask_size"])
    filled = int(
        (np.isnan(prices["UpAsk"]) & ~np.isnan(ask)).sum()
        + (np.isnan(prices["UpBid"]) & ~np.isnan(bid)).sum()
    )
    notes = []
    if filled:
        notes.append(
            f"{counted(filled, 'side')} of the Up book written as 0, taken from the Down book at 1 - price."
        )
    frame, crossed = _uncrossed(frame)
    frame, outside = _within(frame, windows, "quote")
    return Found(
        None,
        frame.sort_values("time", kind="stable", ignore_index=True),
        windows.loc[pd.Index(windows.index)],
        own_trades=False,
        notes=(*notes, *crossed, *outside),
    )


def _plain(rows: Rows) -> Found:
    """Read time, side, size, price and, if given, contract."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "contract": _contract(rows),
            "time": rows.times("time"),
            "side": rows.words("side", _SIDES),
            "size": rows.numbers("size", "a number > 0 and <= 1e9", _positive),
            "price": rows.numbers("price", "a price in dollars > 0 and < 1", lambda x: (x > 0) & (x < 1)),
        }
    )
    return Found(_oldest_first(frame), None, None, own_trades=False, notes=())


def _plain_quotes(rows: Rows) -> Found:
    """Read time, bid, ask and, if given, their sizes and contract; or a mid, with the spread if given."""
    price = "a price in dollars >= 0 and <= 1, empty or 0 for none"
    empty = np.full(len(rows), np.nan)
    if rows.has("bid") and rows.has("ask"):
        sides = [
            rows.numbers(name, price, lambda x: (x >= 0) & (x <= 1), empty=True) for name in ("bid", "ask")
        ]
        bid, ask = (np.where(side > 0, side, np.nan) for side in sides)
    else:
        mid = rows.numbers("mid", "a price in dollars > 0 and < 1", lambda x: (x > 0) & (x < 1))
        spread = empty
        if rows.has("spread"):
            spread = rows.numbers("spread", "a spread in dollars >= 0 and < 1", lambda x: (x >= 0) & (x < 1))
        half = np.where(np.isnan(spread), 0.0, spread) / 2
        bid, ask = np.round(mid - half, 9), np.round(mid + half, 9)
        bid, ask = np.where(bid > 0, bid, np.nan), np.where(ask < 1, ask, np.nan)
    frame = _quotes(
        _contract(rows), rows.times("time"), bid, ask, _sizes(rows, "bid_size"), _sizes(rows, "ask_size")
    )
    frame, crossed = _uncrossed(frame)
    return Found(
        None,
        frame.sort_values("time", kind="stable", ignore_index=True),
        None,
        own_trades=False,
        notes=crossed,
    )


def _positive(x: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (x > 0) & (x <= 1e9)


def _other(price: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the other outcome's price, without what floating point adds: no tick is as fine as 1e-9."""
    return np.round(1 - price, 9)


def _sizes(rows: Rows, column: str) -> NDArray[np.float64]:
    if not rows.has(column):
        return np.full(len(rows), np.nan)
    return rows.numbers(column, "a number >= 0", lambda x: x >= 0, empty=True)


def _contract(rows: Rows) -> object:
    return rows.names("contract") if rows.has("contract") else ONE_CONTRACT


def _quotes(
    contract: object,
    time: pd.Series[pd.Timestamp],
    bid: NDArray[np.float64],
    ask: NDArray[np.float64],
    bid_size: NDArray[np.float64],
    ask_size: NDArray[np.float64],
) -> pd.DataFrame:
    """Make the frame of quotes, with the mid where there is one.

    Where one side has no orders the mid is halfway to 0 or 1 if the other side is within 5 cents of it, as
    in a contract that is all but decided, and none otherwise.
    """
    import pandas as pd

    below = np.where(np.isnan(bid) & (ask <= _DECIDED), 0.0, bid)
    above = np.where(np.isnan(ask) & (bid >= 1 - _DECIDED), 1.0, ask)
    return pd.DataFrame(
        {
            "contract": contract,
            "time": time,
            "bid": bid,
            "ask": ask,
            "bid_size": np.where(np.isnan(bid), np.nan, bid_size),
            "ask_size": np.where(np.isnan(ask), np.nan, ask_size),
            "mid": (below + above) / 2,
        }
    )


def _uncrossed(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Leave out quotes whose bid is above their ask: the two were read at different moments."""
    crossed = (frame["bid"] > frame["ask"]).to_numpy()
    if not crossed.any():
        return frame, ()
    return frame[~crossed], (f"{counted(crossed, 'quote')} left out: the bid is above the ask.",)


def _windows(rows: Rows, opens: str, expires: str) -> tuple[pd.Series[str], pd.DataFrame]:
    """Name each row's contract by when its window opens, and say when each opens and expires."""
    begin, end = rows.times(opens), rows.times(expires)
    rows.check(expires, f"after {opens}", (end > begin).to_numpy())
    contract = begin.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    windows = begin.to_frame("opens").assign(expires=end, contract=contract)
    first = windows.groupby("contract", sort=False)["expires"].transform("first")
    rows.check(expires, f"the same in every row of one {opens}", (first == end).to_numpy())
    return contract, windows.drop_duplicates("contract").set_index("contract")


def _within(frame: pd.DataFrame, windows: pd.DataFrame, what: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Leave out rows from outside their contract's window."""
    window = windows.loc[frame["contract"]]
    time = frame["time"].to_numpy()
    inside = (time >= window["opens"].to_numpy()) & (time <= window["expires"].to_numpy())
    if inside.all():
        return frame, ()
    return frame[inside], (f"{counted(~inside, what)} left out: outside the contract's window.",)


def _oldest_first(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort by time; prints of one moment keep their order, reversed where the file has the newest first."""
    if len(frame) and frame["time"].iloc[0] > frame["time"].iloc[-1]:
        frame = frame.iloc[::-1]
    return frame.sort_values("time", kind="stable", ignore_index=True)
