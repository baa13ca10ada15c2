"""Recorded markets: a tape is read, and cut into the steps of one path a contract.

docs/recorded.md describes the formats and every rule that is applied here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from mcmm.errors import InputError
from mcmm.orders import MAX_SIZE
from mcmm.tape_files import read_rows
from mcmm.tape_formats import FORMATS, check_names, counted, read_format

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mcmm.scenario import Scenario

__all__ = ["MAX_STEPS", "RecordedPath", "Tape", "read_outcomes", "read_tape"]

MAX_STEPS = 100_000_000
"""The most steps that a contract is cut into."""

# A contract whose last mid, this close to its expiry, is this close to 0 or 1 counts as settled there.
_LAST_SECONDS = 60
_SETTLED = 0.05


@dataclass(frozen=True, eq=False, repr=False)
class RecordedPath:
    """One contract of a tape, cut into steps.

    Attributes
    ----------
    contract : str
        Its name.
    steps : int
        How many.
    initial_probability : float
        The fair value before the first step.
    orders : DataFrame
        As `mcmm.simulate` takes them: step, side, size, limit, fair. At most one row a step. A row that tells
        of a fair value alone, in a step without a print, is a purchase limited to 0, which no quote fills.
    times : ndarray of datetime64[ns], shape (steps,)
        When each step begins, UTC.
    outcome : float
        0 or 1 where it is known; the last step then moves the fair value there. NaN where it is not.
    extra_steps : int
        Of the steps, those that a cut by wall time has beyond its clock, one for each further print of an
        interval.
    """

    contract: str
    steps: int
    initial_probability: float
    orders: pd.DataFrame
    times: NDArray[np.datetime64]
    outcome: float
    extra_steps: int

    def __repr__(self) -> str:
        """Say what it is, in a line."""
        return f"RecordedPath({self.contract!r}, {self.steps:,} steps)"

    def scenario(self, settings: Scenario) -> Scenario:
        """Return a scenario's maker in this contract: its steps, its first fair value, its orders.

        The maker's first estimate is the first fair value too, whatever the scenario's own market begins at.

        Raises
        ------
        ScenarioError
            If a setting contradicts a replay.
        """
        return settings.replace(
            {
                "steps": self.steps,
                "market.initial_probability": self.initial_probability,
                "market.initial_mid": None,
                "market.resolution_step": None,
                "flow.model": "replay",
                "risk.close_steps": min(settings.risk.close_steps, self.steps),
            }
        )


@dataclass(frozen=True, eq=False, repr=False)
class Tape:
    """What was recorded of some contracts: prints, quotes, or both.

    Attributes
    ----------
    source : str
        The file or files.
    prints : DataFrame
        Oldest first. Columns contract, time (UTC), side (+1: the taker bought YES, -1: sold it), size (whole
        contracts, at least 1), price (dollars, of YES).
    quotes : DataFrame
        Oldest first. Columns contract, time, bid, ask, bid_size, ask_size, mid; NaN is none.
    contracts : DataFrame
        Index contract, in the order of their first row. Columns opens and expires (NaT if not known), outcome
        (0, 1 or NaN) and outcome_from ("given", "last quote" or "").
    own_trades : bool
        The prints are one account's trades: they say nothing of how often the market trades.
    notes : tuple of str
        What reading changed or left out, a sentence each.
    """

    source: str
    prints: pd.DataFrame
    quotes: pd.DataFrame
    contracts: pd.DataFrame
    own_trades: bool
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        """Say what it holds, in a line."""
        counts = (
            f"{len(self.contracts):,} contracts, {len(self.prints):,} prints, {len(self.quotes):,} quotes"
        )
        return f"Tape({self.source!r}, {counts})"

    def merged(self) -> Tape:
        """Return the tape with the prints of one order made one.

        Prints of one contract that follow each other with the same time and side are taken for one order that
        met several resting ones. Its size is their sum, its price the worst that it took.
        """
        return replace(self, prints=_merged(self.prints))

    @property
    def listed(self) -> str:
        """How many contracts there are, and the first of them, for an error."""
        names = list(self.contracts.index)
        first = ", ".join(names[:5]) + ", .." * (len(names) > 5)
        return f"{counted(len(names), 'contract')}: {first}"

    def of(self, contract: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return one contract's prints, and its quotes that have a mid.

        Raises
        ------
        InputError
            If there is no such contract.
        """
        if contract not in self.contracts.index:
            raise InputError(f"contract: must be one of the tape's {self.listed}; got {contract!r}")
        prints, quotes = (rows.get(contract, np.empty(0, dtype=np.int64)) for rows in self._rows)
        quoted = self.quotes.iloc[quotes]
        return self.prints.iloc[prints], quoted[quoted["mid"].notna()]

    @cached_property
    def _rows(self) -> tuple[dict[str, NDArray[np.int64]], ...]:
        """Where each contract's prints and quotes are, found once for all."""
        return tuple(
            {str(name): np.asarray(rows) for name, rows in frame.groupby("contract").indices.items()}
            for frame in (self.prints, self.quotes)
        )

    def cut(
        self, contract: str, *, step: float | None = None, capture: float = 1.0, merge: bool = False
    ) -> RecordedPath:
        """Cut one contract into the steps of a path.

        Parameters
        ----------
        contract : str
            One of `contracts`.
        step : float, optional
            Seconds of a step. An interval with several prints is given a step more for each further one, so
            that none is lost and none sees a later price. By event if left out: a step a print.
        capture : float
            Share of each print's size that the maker may fill, > 0 and <= 1. It is taken of the running sum
            of each side and rounded down to whole contracts, so that small prints count in the end.
        merge : bool
            Whether to make the prints of one order one first, as `merged` does.

        Returns
        -------
        RecordedPath
            The fair value that a print meets is the last mid quoted before it or, before there is one, the
            price of the print before. A print before the first quote that has none before it sets the first
            fair value and is not traded.

        Raises
        ------
        InputError
            If there is no such contract, nothing to cut, or an argument is out of its range.
        """
        if step is not None and not (1e-6 <= step <= 1e9):
            raise InputError(f"step: must be a number of seconds >= 1e-6 and <= 1e9, got {step:g}")
        if not 0 < capture <= 1:
            raise InputError(f"capture: must be > 0 and <= 1, got {capture:g}")
        prints, quotes = self.of(contract)
        if merge:
            prints = _merged(prints)
        times, prices = _nanoseconds(prints["time"]), prints["price"].to_numpy()
        fair = _Fair(_nanoseconds(quotes["time"]), quotes["mid"].to_numpy(), prices)
        # Nothing is known before the first quote or, without one before it, the first print.
        quoted = len(fair.times) > 0 and (not len(times) or bool(fair.times[0] < times[0]))
        traded = slice(0 if quoted else 1, None)
        ticks = times[traded]
        if not (len(times) or quoted) or (step is None and not len(ticks)):
            raise InputError(
                f"{self.source}: contract {contract}: must have a print after its first price to be cut, "
                f"got {len(prints)} prints and {len(quotes)} quotes"
            )
        if step is None:
            at, begins, ends = np.arange(len(ticks)), ticks, np.append(ticks[1:], np.iinfo(np.int64).max)
            first, extra = fair.before(int(ticks[0])) if quoted else float(prices[0]), 0
        else:
            known, last = (int(fair.times[0] if quoted else times[0]), max(*fair.times[-1:], *times[-1:], 0))
            first = float(fair.mids[0] if quoted else prices[0])
            where = f"{self.source}: contract {contract}"
            at, begins, ends, extra = _by_time(ticks, known, int(last), round(step * 1e9), where)
        table = _orders(prints.iloc[traded], at, len(begins), capture)
        # Up to and with which print a step's end has seen the tape.
        seen = np.searchsorted(at, np.arange(len(begins)), side="right") - 1 + traded.start
        values = fair.at(ends, seen, first)
        outcome = float(self.contracts["outcome"].to_numpy()[self.contracts.index.get_loc(contract)])
        if not math.isnan(outcome):
            values, begins = np.append(values, outcome), np.append(begins, begins[-1])
        return RecordedPath(
            contract,
            len(values),
            first,
            _with_fair(table, values, first),
            begins.astype("datetime64[ns]"),
            outcome,
            extra,
        )


def _merged(prints: pd.DataFrame) -> pd.DataFrame:
    """Make one row of the prints of each order; see `Tape.merged`."""
    if prints.empty:
        return prints
    # Contracts interleave on a tape: neighbours are neighbours within their contract.
    ordered = prints.sort_values("contract", kind="stable")
    keys = [ordered[name].to_numpy() for name in ("contract", "time", "side")]
    starts = np.flatnonzero(np.append(True, np.logical_or.reduce([key[1:] != key[:-1] for key in keys])))
    side, size, price = (ordered[name].to_numpy() for name in ("side", "size", "price"))
    one = ordered.iloc[starts].assign(
        size=np.add.reduceat(size, starts), price=np.abs(np.maximum.reduceat(side * price, starts))
    )
    return one.sort_index().reset_index(drop=True)


class _Fair:
    """What is known of a contract's value: the last mid before a moment, else the last print's price."""

    def __init__(
        self, times: NDArray[np.int64], mids: NDArray[np.float64], prices: NDArray[np.float64]
    ) -> None:
        self.times, self.mids, self.prices = times, mids, prices

    def before(self, time: int) -> float:
        """Return the last mid quoted before a moment."""
        return float(self.mids[np.searchsorted(self.times, time, side="left") - 1])

    def at(self, ends: NDArray[np.int64], seen: NDArray[np.int64], first: float) -> NDArray[np.float64]:
        """Return the fair value at the end of each step, by what is older than it."""
        place = np.searchsorted(self.times, ends, side="left") - 1
        printed = np.where(seen >= 0, self.prices[np.maximum(seen, 0)] if len(self.prices) else first, first)
        if not len(self.mids):
            return printed
        return np.where(place >= 0, self.mids[np.maximum(place, 0)], printed)


def _by_time(
    ticks: NDArray[np.int64], begin: int, last: int, length: int, where: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int]:
    """Return the step of each print, when each step begins and ends, and how many are not the clock's.

    An interval has one step, or one for each of its prints if they are several: the first begins with the
    interval, the others with their print.
    """
    intervals = (last - begin) // length + 1
    if intervals + len(ticks) > MAX_STEPS:
        raise InputError(
            f"{where}: must be cut into at most {MAX_STEPS:,} steps, got "
            f"{intervals + len(ticks):,} of {length / 1e9:g} seconds"
        )
    interval = (ticks - begin) // length
    count = np.bincount(interval, minlength=intervals)
    start = np.cumsum(np.maximum(count, 1)) - np.maximum(count, 1)
    rank = np.arange(len(ticks)) - (np.cumsum(count) - count)[interval]
    at = start[interval] + rank
    begins = np.repeat(begin + np.arange(intervals) * length, np.maximum(count, 1))
    later = rank > 0
    begins[at[later]] = ticks[later]
    ends = np.append(begins[1:], begin + intervals * length)
    # A quote at the very end is known as the next step begins, unless a print of then may have made it.
    return at, begins, ends + ~np.isin(ends, ticks), int(later.sum())


def _orders(prints: pd.DataFrame, at: NDArray[np.int64], steps: int, capture: float) -> NDArray[np.float64]:
    """Return side, size and limit of each step's order, shape (3, steps), side 0 for none."""
    side, size = prints["side"].to_numpy(), np.minimum(prints["size"].to_numpy(), MAX_SIZE)
    if capture < 1:
        size = size.copy()
        for one in (1, -1):
            here = side == one
            whole = np.floor(capture * np.cumsum(size[here]) + 1e-9).astype(np.int64)
            size[here] = np.diff(whole, prepend=0)
    table = np.zeros((3, steps))
    traded = size > 0
    table[:, at[traded]] = side[traded], size[traded], prints["price"].to_numpy()[traded]
    return table


def _with_fair(table: NDArray[np.float64], fair: NDArray[np.float64], first: float) -> pd.DataFrame:
    """Make the frame of orders: a row for each step that has a print or in which the fair value moves."""
    import pandas as pd

    steps = len(fair)
    side, size, limit = (np.append(row, np.zeros(steps - len(row))) for row in table)
    moved = fair != np.append(first, fair[:-1])
    rows = np.flatnonzero((side != 0) | moved)
    alone = side[rows] == 0
    return pd.DataFrame(
        {
            "step": rows,
            "side": np.where(alone, 1, side[rows]).astype(np.int64),
            "size": np.where(alone, 1, size[rows]).astype(np.int64),
            "limit": np.where(alone, 0.0, limit[rows]),
            "fair": fair[rows],
        }
    )


def read_tape(
    path: str | os.PathLike[str],
    *,
    quotes: str | os.PathLike[str] | None = None,
    form: str | None = None,
    columns: Mapping[str, str] | None = None,
    outcomes: Mapping[str, float] | None = None,
    account: Literal["taker", "maker"] = "taker",
) -> Tape:
    """Read a recorded market.

    Parameters
    ----------
    path : str or path
        Prints or quotes, CSV or JSON, of one of the formats in docs/recorded.md; its columns tell which.
    quotes : str or path, optional
        Quotes of the same contracts, from a second file.
    form : str, optional
        The format of ``path``, one of `mcmm.tape_formats.FORMATS`, if its columns are not to tell.
    columns : mapping of str to str, optional
        Names of a plain format to those that ``path`` has in their place, as ``{"time": "timestamp_ms"}``.
    outcomes : mapping of str to float, optional
        What contracts settled at, 0 or 1.
    account : "taker" or "maker"
        Where trades are one account's own: whether it is taken for the taker of each, or for the maker, so
        that the taker was on the other side.

    Returns
    -------
    Tape
        Sizes in whole contracts: of each contract and side the running sum is rounded to the nearest whole
        number, so that volume is kept, and prints that are left with none are left out.

    Raises
    ------
    InputError
        A file cannot be read, its columns or those named fit no format, or a value breaks its rule; file,
        row, column, rule and value are named.
    """
    import pandas as pd

    check_names(columns or {})
    main = read_format(read_rows(Path(path), columns), form)
    found, source = [main], str(path)
    if quotes is not None:
        found.append(read_format(read_rows(Path(quotes))))
        if found[1].quotes is None:
            raise InputError(f"{quotes}: must hold quotes ({_known('quotes')}), got prints")
        if main.prints is None:
            raise InputError(f"{path}: must hold prints to be read with quotes, got quotes")
        source += f" with {quotes}"
    prints = next((each.prints for each in found if each.prints is not None), _empty("side", "size", "price"))
    quoted = next(
        (each.quotes for each in found if each.quotes is not None),
        _empty("bid", "ask", "bid_size", "ask_size", "mid"),
    )
    notes = [note for each in found for note in each.notes]
    prints, rounded = _whole(prints)
    if large := int((prints["size"] > MAX_SIZE).sum()):
        notes.append(f"{counted(large, 'print')} of more than {MAX_SIZE:,} contracts: replayed as that many.")
    rows = pd.concat([quoted[["contract", "time"]], prints[["contract", "time"]]])
    names = pd.Index(rows.sort_values("time", kind="stable")["contract"].unique(), name="contract")
    contracts = pd.DataFrame(index=names, columns=["opens", "expires"], dtype="datetime64[ns, UTC]")
    for each in found:
        if each.windows is not None:
            contracts = contracts.combine_first(each.windows).reindex(names)
    contracts["outcome"], contracts["outcome_from"] = math.nan, ""
    notes += [*rounded, *_settle(contracts, quoted, outcomes or {}, source)]
    if account not in ("taker", "maker") or (account == "maker" and not main.own_trades):
        raise InputError(
            f"account: must be taker, or maker where the trades are one account's own, got {account!r}"
        )
    if main.own_trades:
        notes.append(f"The trades are one account's own, not the market's; it is taken for their {account}.")
        prints = prints.assign(side=prints["side"] * (1 if account == "taker" else -1))
    return Tape(source, prints, quoted, contracts, main.own_trades, tuple(notes))


def read_outcomes(path: str | os.PathLike[str]) -> dict[str, float]:
    """Read what contracts settled at: columns contract and outcome, 0 or 1.

    Raises
    ------
    InputError
        The file cannot be read, or a value breaks its rule.
    """
    rows = read_rows(Path(path))
    rows.require(("contract", "outcome"))
    values = rows.numbers("outcome", "0 or 1", lambda x: (x == 0) | (x == 1))
    return dict(zip(rows.names("contract"), values.tolist(), strict=True))


def _whole(prints: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Round sizes to whole contracts, keeping each contract's and side's volume."""
    size = prints["size"].to_numpy(dtype=np.float64)
    fractional = int((size % 1 != 0).sum())
    if not fractional:
        return prints.assign(size=size.astype(np.int64)), ()
    total = prints.groupby(["contract", "side"], sort=False)["size"].cumsum()
    # Halves up; a millionth in grace for what adding fractions leaves.
    running = np.floor(total + 0.5 + 1e-6)
    before = running.groupby([prints["contract"], prints["side"]], sort=False).shift(fill_value=0.0)
    whole = (running - before).to_numpy(dtype=np.int64)
    nothing = int((whole == 0).sum())
    note = f"{counted(fractional, 'print')} of a fractional size: running sums are rounded to whole contracts"
    note += f"; {counted(nothing, 'print')} left out that this leaves with none." if nothing else "."
    return prints.assign(size=whole)[whole > 0].reset_index(drop=True), (note,)


def _settle(
    contracts: pd.DataFrame, quotes: pd.DataFrame, outcomes: Mapping[str, float], source: str
) -> list[str]:
    """Note what each contract settled at: as given, else where its last quote shows it."""
    import pandas as pd

    for name, outcome in outcomes.items():
        if name not in contracts.index:
            raise InputError(f"outcomes: must be of contracts of {source}, got {name!r}")
        if outcome not in (0, 1):
            raise InputError(f"outcomes: must be 0 or 1, got {outcome!r} for {name}")
        contracts.loc[name, ["outcome", "outcome_from"]] = float(outcome), "given"
    last = quotes[quotes["mid"].notna()].groupby("contract", sort=False).last()
    if last.empty:
        return []
    last = last.join(contracts[["expires", "outcome_from"]])
    near = (last["expires"] - last["time"]) <= pd.Timedelta(seconds=_LAST_SECONDS)
    decided = (last["mid"] <= _SETTLED) | (last["mid"] >= 1 - _SETTLED)
    shown = last[near & decided & (last["outcome_from"] == "")]
    contracts.loc[shown.index, "outcome"] = np.round(shown["mid"].to_numpy())
    contracts.loc[shown.index, "outcome_from"] = "last quote"
    if shown.empty:
        return []
    return [
        f"{counted(len(shown), 'contract')} taken as settled at 0 or 1: the last mid, within {_LAST_SECONDS} "
        f"seconds of expiry, is within {_SETTLED:g} of it."
    ]


def _nanoseconds(times: pd.Series[pd.Timestamp]) -> NDArray[np.int64]:
    """Return times as nanoseconds since 1970."""
    found: NDArray[np.int64] = times.to_numpy(dtype="datetime64[ns]").astype(np.int64)
    return found


def _known(kind: str) -> str:
    return ", ".join(name for name in FORMATS if kind in name)


def _empty(*columns: str) -> pd.DataFrame:
    """Return a frame without rows, of numbers by contract and time."""
    import pandas as pd

    frame = pd.DataFrame({name: np.empty(0) for name in columns})
    frame.insert(0, "contract", np.empty(0, dtype=object))
    frame.insert(1, "time", pd.DatetimeIndex([], tz="UTC"))
    return frame
