"""A bot's run in a directory: begun, snapshotted, killed, gone on with.

A run is what it was given (``run.json``), its journal, its snapshots and its log. What is resumed is the
newest sound snapshot and, from it on, what the journal has: nothing acknowledged is lost, nothing is counted
twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

import mcmm
from mcmm.bot import TRACE_COLUMNS, Bot, ExecutionEngine, Frozen
from mcmm.errors import InputError, StoreError
from mcmm.files import Lock, digest, from_json, settle, to_json, write_whole
from mcmm.logger import Logger
from mcmm.quotes import Fill, MarketState, Order, Quote
from mcmm.scenario import Scenario
from mcmm.snapshot import Journal, Snapshots

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RUN", "Advanced", "Given", "Session", "read_given"]

RUN = "run.json"
_FORMAT, _VERSION = "mcmm bot run", 1
_FLAGS = frozenset({"quoting", "halted"})
_WHOLE = frozenset({"bid_size", "ask_size", "bought", "sold", "inventory"})


@dataclass(frozen=True)
class Given:
    """What a run is given: it makes every number of it.

    Attributes
    ----------
    scenario : Scenario
        The markets and the maker.
    seed, path : int
        Of the random streams.
    feed : str
        Who the takers are: ``simulated``, ``recorded`` or ``stdin``.
    orders : DataFrame, optional
        Of a recorded feed.
    policy : str, optional
        ``FILE.py:NAME`` of a policy of one's own.
    form : str
        Of the log.
    """

    scenario: Scenario
    seed: int = 0
    path: int = 0
    feed: str = "simulated"
    orders: pd.DataFrame | None = None
    policy: str | None = None
    form: str = "jsonl"

    def bot(self) -> Bot:
        """Return a bot at its first step."""
        outside = self.feed == "stdin"
        return Bot(
            self.scenario,
            seed=self.seed,
            path=self.path,
            orders=self.orders,
            outside=outside,
            policy=self.policy,
        )

    def identity(self, bot: Bot) -> dict[str, Any]:
        """Return what tells this run from another, as snapshots record it."""
        recorded = "" if self.orders is None else digest(self.orders.to_csv(index=False).encode())
        return {
            "scenario": self.scenario.digest(),
            "seed": self.seed,
            "path": self.path,
            "feed": self.feed,
            "orders": recorded,
            "policy": bot.policy.mark if bot.policy is not None else "",
        }


def read_given(directory: Path) -> dict[str, Any] | None:
    """Return what ``run.json`` of a directory says, or None if there is no run in it.

    Raises
    ------
    StoreError
        If it is damaged, or of another version.
    """
    path = directory / RUN
    if not path.exists():
        return None
    try:
        found = from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        raise StoreError(f"{path}: cannot be read; it may have been cut off") from None
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise StoreError(f'{path}: is not of format "{_FORMAT}"')
    if found.get("version") != _VERSION:
        raise StoreError(f"{path}: is of version {found.get('version')!r}, this mcmm reads {_VERSION}")
    return found


class Advanced(NamedTuple):
    """What a step did.

    Attributes
    ----------
    step : int
        Which.
    quotes : dict of str to Quote
        By market, as the takers saw them.
    fills : list of Fill
        What they took.
    states : dict of str to MarketState
        By market, after it.
    rows : list of dict
        Of the trace, one a market.
    record : dict, optional
        What the journal must have before any of it is acknowledged; None where nothing is.
    """

    step: int
    quotes: dict[str, Quote]
    fills: list[Fill]
    states: dict[str, MarketState]
    rows: list[dict[str, Any]]
    record: dict[str, Any] | None


class Session:
    """A run of a bot in its directory, which no other process may use meanwhile.

    Parameters
    ----------
    directory : Path
        The run's; made if it is not there.
    given : Given
        What it is given, or was.
    resume : bool
        Go on with the run that is there.
    reset_breakers : bool
        Clear halts and pauses once it has gone on.
    keep : int
        Snapshots to keep.
    tell : callable
        Told what a reader should know: what was skipped, resumed, cleared.

    Attributes
    ----------
    bot : Bot
        Where it stands now.
    lines : int
        Of the journal, those included that are still to be written.
    filled : dict of int to list
        The fills of the steps that had some, as the journal has them.
    replayed : list of Advanced
        Steps since the snapshot, done again.

    Raises
    ------
    InputError
        If there is a run already and it is not to be resumed, or the directory cannot be written.
    StoreError
        If the run is another, is in use, or does not fit its journal.
    """

    def __init__(
        self,
        directory: Path,
        given: Given,
        *,
        resume: bool = False,
        reset_breakers: bool = False,
        keep: int = 3,
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._directory, self._given, self._tell = Path(directory), given, tell
        self._resume, self._reset, self._keep = resume, reset_breakers, keep
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Begin it, or go on with it."""
        with ExitStack() as stack:
            try:
                self._directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"{self._directory}: cannot be made: {error.strerror or error}") from None
            held = f"{self._directory}: another bot (process {{owner}}) runs in it"
            stack.enter_context(Lock(self._directory / "lock", held))
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of its files."""
        self._stack.close()

    def _open(self, stack: ExitStack) -> None:
        given, directory = self._given, self._directory
        there = read_given(directory)
        if there is not None and not self._resume:
            raise InputError(f"{directory}: holds a run; --resume goes on with it, --out names another place")
        if there is None and (self._resume or self._reset):
            self._tell(f"{directory}: there is no run to resume; this one begins")
        self.bot = given.bot()
        self.engine = ExecutionEngine(self.bot)
        run = given.identity(self.bot)
        if there is None:
            self._begin(run)
        elif there["run"] | {"log": there["log"]} != run | {"log": given.form}:
            differs = [name for name in run if there["run"].get(name) != run[name]]
            differs += ["log"] * (there["log"] != given.form)
            raise StoreError(f"{directory}: belongs to another run; these differ: {', '.join(differs)}")
        self.journal = Journal(directory / "journal.jsonl")
        stack.callback(self.journal.close)
        self.lines = self.journal.lines
        steps = [record for record in self.journal.records if record is not None and record["kind"] == "step"]
        self.filled = {record["step"]: record["fills"] for record in steps if record["fills"]}
        self.snapshots = Snapshots(directory, run, self._keep)
        markets = ("market",) if given.scenario.markets else ()
        self.logger = Logger(directory, ("path", *markets, "step", *TRACE_COLUMNS), given.form)
        stack.callback(self.logger.close)
        self.replayed: list[Advanced] = []
        if there is not None:
            self._go_on()

    def _begin(self, run: Mapping[str, Any]) -> None:
        """Write down what the run is, once all of it is known to be right."""
        given = self._given
        document = {
            "format": _FORMAT,
            "version": _VERSION,
            "mcmm": mcmm.__version__,
            "run": run,
            "scenario": given.scenario.to_dict(),
            "policy": given.policy,
            "log": given.form,
        }
        if given.orders is not None:
            write_whole(self._directory / "orders.parquet", given.orders.to_parquet(index=False))
        write_whole(self._directory / RUN, to_json(document))
        settle(self._directory)

    def _go_on(self) -> None:
        """Load the newest sound snapshot, do again what followed it, and quote with care from there on."""
        self.snapshots.clear()
        found, skipped = self.snapshots.newest()
        for line in (*skipped, *filter(None, [self.journal.damaged])):
            self._tell(line)
        if found is not None:
            self.bot.load(found.state)
        start, lines = (found.step, found.lines) if found is not None else (0, 0)
        self.logger.rewind(start)
        self._replay(self.journal.since(lines))
        again = f", and the {self.bot.step - start} since from the journal" if self.bot.step > start else ""
        self._tell(f"resumed: {start} steps from a snapshot{again}; inventory {self._inventories()}")
        if self.bot.done:
            return
        self.note("resume")
        self.bot.resume_carefully()
        for name, state in self.bot.states.items():
            if state.halted or state.pause_left:
                self._tell(
                    f"{name or 'the market'}: still {'halted' if state.halted else 'paused'} by a breaker"
                )
        if self._reset:
            self.note("reset")
            self.bot.reset_breakers()
            self._tell("BREAKERS RESET: halts and pauses are cleared, drawdowns are measured from now on")
        self.save(self.bot.freeze(), self.lines, self.bot.metrics())

    def _inventories(self) -> str:
        return ", ".join(f"{s.inventory:+d}{f' {name}' * bool(name)}" for name, s in self.bot.states.items())

    def note(self, event: str) -> None:
        """Put an event into the journal, before it acts."""
        self.journal.append([{"kind": event, "step": self.bot.step}])
        self.lines += 1

    def _replay(self, records: Sequence[Mapping[str, Any]]) -> None:
        for record in records:
            while self.bot.step < record["step"] and not self.bot.outside:
                self._again(self.advance(None), [])
            if self.bot.step != record["step"]:
                at = f"the journal goes on with step {record['step']}, the run is at {self.bot.step}"
                raise StoreError(f"{self._directory}: {at}")
            if record["kind"] == "resume":
                self.bot.resume_carefully()
            elif record["kind"] == "reset":
                self.bot.reset_breakers()
            else:
                given = {name: Order(*order) for name, order in record.get("orders", {}).items()}
                done = self.advance(given if self.bot.outside else None, connected=record.get("connected"))
                self._again(done, record["fills"])
        self.lines = self.journal.lines

    def _again(self, done: Advanced, wanted: list[Any]) -> None:
        """Hold a step that was done again to what the journal says of it, and log it."""
        if _told(done.fills) != wanted:
            raise StoreError(
                f"{self._directory}: step {done.step} has other fills than the journal says: "
                f"{_told(done.fills)}, not {wanted}"
            )
        self.replayed.append(done)
        self.logger.write(done.rows)

    def advance(
        self,
        orders: Mapping[str, Order] | None,
        quotes: dict[str, Quote] | None = None,
        connected: bool | None = None,
    ) -> Advanced:
        """Do a step: quote, unless it is done already, trade, and end it.

        Parameters
        ----------
        orders : mapping of str to Order, optional
            From outside, by market.
        quotes : dict of str to Quote, optional
            What `Bot.quote` returned of this step.
        connected : bool, optional
            What the feed says of the connection, from the next step on.

        Raises
        ------
        InputError
            If an order is not one. The step is not done then.
        """
        bot = self.bot
        step, quotes = bot.step, quotes or bot.quote()
        seen = np.empty((len(bot.makers), len(TRACE_COLUMNS)))
        for name, row in zip(bot.makers, seen, strict=True):
            bot.trace_row(name, row, books=False)
        fills = self.engine.trade(orders)
        states = bot.end_step()
        if connected is not None:
            bot.connect(connected)
        rows = []
        for name, row in zip(bot.makers, seen, strict=True):
            bot.trace_row(name, row, books=True)
            market = {"market": name} if bot.scenario.markets else {}
            rows.append({"path": bot.path, **market, "step": step, **_typed(row.tolist())})
        record: dict[str, Any] | None = None
        if bot.outside or fills:
            record = {"kind": "step", "step": step}
            if orders:
                record["orders"] = {n: [o.side, o.size, o.limit, o.fair] for n, o in orders.items()}
            if connected is not None:
                record["connected"] = connected
            record["fills"] = told = _told(fills)
            if told:
                self.filled[step] = told
            self.lines += 1
        return Advanced(step, quotes, fills, states, rows, record)

    def save(self, frozen: Frozen, lines: int, metrics: Mapping[str, float]) -> None:
        """Write a snapshot and the summary; the journal has `lines` lines by now, the log these steps."""
        self.logger.sync()
        self.snapshots.write(frozen.step, lines, self.bot.state(frozen), {"mcmm": mcmm.__version__})
        self.logger.summary({"path": self.bot.path, "steps": frozen.step, **metrics})


def _told(fills: Sequence[Fill]) -> list[list[Any]]:
    return [[fill.market, fill.side, fill.size, fill.price] for fill in fills]


def _typed(values: Sequence[float]) -> dict[str, Any]:
    """Return a row of a trace, flags and whole numbers as such."""
    return {
        name: value != 0.0 if name in _FLAGS else int(value) if name in _WHOLE else value
        for name, value in zip(TRACE_COLUMNS, values, strict=True)
    }
