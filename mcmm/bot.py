"""The bot itself, quote by quote, on the core's own rules: what was calibrated is what quotes.

A `Bot` is one path: one maker quoting all of its markets, a `MarketMaker` each. An `ExecutionEngine` brings
its takers: those of the scenario's own streams, recorded ones, or orders from outside. A step is

>>> import mcmm
>>> bot = mcmm.Bot(mcmm.Scenario(steps=100), seed=7)
>>> engine = mcmm.ExecutionEngine(bot)
>>> while not bot.done:
...     quotes = bot.quote()
...     fills = engine.trade()
...     states = bot.end_step()

and path i of `mcmm.simulate` is the bot's path i, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mcmm._isa import core
from mcmm.errors import InputError
from mcmm.logger import Logger
from mcmm.metrics import HALT_REASONS
from mcmm.orders import MAX_SIZE, no_orders, order_row, order_tables, replay_of, without_outages
from mcmm.plan import make_plan
from mcmm.policies import policy_of
from mcmm.quotes import Fill, MarketState, Order, Quote
from mcmm.scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = [
    "TRACE_COLUMNS",
    "Bot",
    "ExecutionEngine",
    "Fill",
    "Frozen",
    "Logger",
    "MarketMaker",
    "MarketState",
    "Order",
    "Quote",
]

TRACE_COLUMNS: tuple[str, ...] = core.TRACE_COLUMNS
"""What `Bot.trace_row` fills in."""

_PLACE = {name: place for place, name in enumerate(core.STATE_ROWS_WIDE)}
_PORTFOLIO_PLACE = {name: place for place, name in enumerate(core.STATE_ROWS_PORTFOLIO)}
_GRACE = 1e-9


class MarketMaker:
    """One market of a `Bot`: its quote, its fills, its books. `Bot.makers` holds them by name."""

    def __init__(self, bot: Bot, name: str, place: int, scenario: Scenario) -> None:
        self._bot, self._core, self._place = bot, bot._core, place
        self.name = name
        self.scenario = scenario

    def quote(self) -> Quote:
        """Return this step's quote; the first of a step makes those of all markets.

        Returns
        -------
        Quote
            Prices on the tick grid, sizes within every limit.

        Raises
        ------
        InputError
            If the path is over.
        """
        self._bot._begin_step()
        return self._offered()

    def _offered(self) -> Quote:
        bid, ask, bid_size, ask_size, quoting = self._core.offered(self._place)
        return Quote(bid, ask, int(bid_size), int(ask_size), quoting)

    def on_fill(self, side: int, size: int, price: float) -> Fill:
        """Book a fill of this step's quote.

        Parameters
        ----------
        side : int
            The taker's: +1 buys at the ask, -1 sells at the bid.
        size : int
            Contracts, at most the quote's.
        price : float
            Dollars: the quote's, to 1e-9 of a tick.

        Returns
        -------
        Fill
            With the price that was paid.

        Raises
        ------
        InputError
            If there is no such quote: none yet in this step, none of that side or size or price, or it has
            had its fill (one a step and market; with flow.model intensity the bid's, then the ask's).
        """
        where = f"on_fill{f' in {self.name}' if self.name else ''}"
        if self._core.in_book(self._place):
            raise InputError(f"{where}: must be left to the venue, an order book")
        if not self._core.quoted:
            raise InputError(f"{where}: must follow quote(), and step {self._bot.step} has no quote yet")
        if side not in (1, -1):
            raise InputError(f"{where}: side must be 1 (the taker buys) or -1 (it sells), got {side!r}")
        _whole(f"{where}: size", size, 1, MAX_SIZE)
        quote = self._offered()
        most, at = (quote.ask_size, quote.ask) if side > 0 else (quote.bid_size, quote.bid)
        if not size <= most:
            raise InputError(f"{where}: size must be <= the {_SIDES[side]}'s ({most}), got {size}")
        if not abs(price - at) <= _GRACE * (1.0 / self.scenario.ticks if self.scenario.ticks else 1.0):
            raise InputError(f"{where}: price must be the {_SIDES[side]} ({at!r}), got {price!r}")
        if self._core.booked_fills(self._place) > (side > 0 and self._core.most_fills(self._place) > 1):
            raise InputError(f"{where}: a step has one fill, and step {self._bot.step} has had it")
        paid = self._core.on_fill(self._place, side, float(size))
        return Fill(self._bot.step, self.name, side, int(size), paid)

    @property
    def state(self) -> MarketState:
        """The market as it is now."""
        place, of_core = self._place, self._core
        bid, ask, *_ = of_core.offered(place)
        spread = ask - bid
        fair = self.scenario.risk.mark == "fair"
        peak = self._value("peak_fair" if fair else "peak")
        signed, total = self._value("window_signed"), self._value("window_total")
        watched = self.scenario.risk.loss_limit != math.inf
        pnl, marked = self._value("pnl"), self._value("pnl_fair" if fair else "pnl")
        return MarketState(
            market=self.name,
            step=self._bot.step,
            mid=self._value("mid"),
            spread=math.nan if math.isnan(spread) else spread,  # one NaN, so that equal states are equal
            inventory=int(self._value("inventory")),
            exposure=of_core.exposure(place),
            pnl=pnl,
            cash=self._value("cash") / (self.scenario.ticks or 1) + self._value("unwind_cash"),
            fees=self._value("fees"),
            fills=int(self._value("fills")),
            volume=int(self._value("volume")),
            imbalance=signed / total if total else 0.0,
            window_signed=int(signed),
            window_total=int(total),
            marked=marked,
            peak=peak,
            drawdown=max(peak - marked, 0.0),
            drawdown_reference=self._value("reference"),
            recent_loss=max(self._value("loss_top") - self._value("marked"), 0.0) if watched else 0.0,
            recent_volume=int(self._value("volume_sum")),
            halted=self._value("halted") != 0.0,
            halt_reason=HALT_REASONS[int(self._value("halt_reason"))],
            pause_left=int(self._value("pause")),
            outage_left=self._value("down"),
            venue_paused=of_core.venue_paused(place),
            multiplier=of_core.multiplier(place),
            trips=int(self._value("trips")),
        )

    def _value(self, name: str) -> float:
        return self._core.value_of(self._place, _PLACE[name])


_SIDES = {1: "ask", -1: "bid"}


class Frozen(NamedTuple):
    """A bot's state between two steps, in the core's order."""

    step: int
    markets: list[NDArray[np.float64]]
    portfolio: NDArray[np.float64] | None


class Bot:
    """One path, step by step.

    Parameters
    ----------
    scenario : Scenario
        The markets, the maker and its limits.
    seed : int
        0 .. 2^64 - 1.
    path : int
        Which path of that seed.
    orders : DataFrame, optional
        Recorded takers in place of the scenario's, as `mcmm.simulate` takes them.
    outside : bool
        Takers come from outside, as the `Order` that `ExecutionEngine.trade` is given; the fair value stays
        where it is until one tells it, and the connection lasts until `connect` says otherwise, in place of
        ``recovery.disconnect_rate``.
    policy : LowLevelCallable, Numba cfunc, callable or str, optional
        Who quotes with ``quoting.policy = "custom"``, as for `mcmm.simulate`.

    Raises
    ------
    InputError
        If an argument is out of its range.
    ScenarioError
        If the scenario contradicts recorded or outside orders.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int = 0,
        path: int = 0,
        orders: pd.DataFrame | None = None,
        outside: bool = False,
        policy: object = None,
    ) -> None:
        if not isinstance(scenario, Scenario):
            raise InputError(f"scenario: must be a Scenario, got {type(scenario).__name__}")
        _whole("seed", seed, 0, 2**64 - 1)
        _whole("path", path, 0, 2**48 - 1)
        if orders is not None and outside:
            raise InputError("orders: must be left out where takers come from outside, got a DataFrame")
        if outside:
            scenario = without_outages(scenario)
        if orders is not None or outside:
            scenario = replay_of(scenario)
        elif any(market.flow.model == "replay" for market in scenario.by_market().values()):
            raise InputError("orders: must be given for a scenario with flow.model replay, got None")
        self.scenario, self.seed, self.path, self.outside = scenario, int(seed), int(path), outside
        self.policy = policy_of(policy, scenario)
        markets = scenario.by_market()
        self._tables: dict[str, NDArray[np.float64]] | None = None
        if outside:
            self._tables = {name: no_orders(scenario.steps) for name in markets}
        elif orders is not None:
            self._tables = order_tables(orders, scenario)
        plan = make_plan(scenario, self._tables, self.policy)
        stale = [market.recovery.stale_quotes for market in markets.values()]
        self._core = core.Stepper(plan, self.seed, self.path, outside, stale)
        self.makers = {
            name: MarketMaker(self, name, place, market)
            for place, (name, market) in enumerate(markets.items())
        }

    @property
    def maker(self) -> MarketMaker:
        """The maker of the first market, or the only one."""
        return next(iter(self.makers.values()))

    @property
    def step(self) -> int:
        """Steps that are over: the number of this one."""
        return self._core.step

    @property
    def done(self) -> bool:
        """Whether the path is over."""
        return self._core.step >= self._core.steps

    def quote(self) -> dict[str, Quote]:
        """Return this step's quotes by market; asked twice in a step, what is left of them."""
        self._begin_step()
        return {name: maker._offered() for name, maker in self.makers.items()}

    def _begin_step(self) -> None:
        if not self._core.quoted:
            if self.done:
                raise InputError(f"quote: the path is over after {self._core.steps} steps")
            self._core.quote()

    def end_step(self) -> dict[str, MarketState]:
        """Move the fair values, mark the books, check the breakers; return the markets as they are then."""
        if not self._core.quoted:
            raise InputError(f"end_step: must follow quote(), and step {self.step} has no quote yet")
        self._core.end_step()
        return self.states

    @property
    def states(self) -> dict[str, MarketState]:
        """Every market as it is now, by name."""
        return {name: maker.state for name, maker in self.makers.items()}

    def portfolio(self, name: str) -> float:
        """Return a sum over the markets as of the last mark, one of those that snapshots list."""
        return self._core.portfolio_value(_PORTFOLIO_PLACE[name])

    def trace_row(self, market: str, row: NDArray[np.float64], *, books: bool) -> None:
        """Fill in a row of a trace, in the core's columns: first the quote, after the step the books."""
        place = self.makers[market]._place
        if books:
            self._core.trace_books(place, row)
        else:
            self._core.trace_quote(place, row)

    def metrics(self) -> dict[str, float]:
        """Return what the path reports, by the scenario's ``columns``; before its end, of the steps so far.

        ``pnl_settled`` and ``outcome`` are NaN before the end: nobody knows them.
        """
        out = np.empty((len(self.scenario.columns), 1))
        self._core.metrics(out)
        found = dict(zip(self.scenario.columns, out[:, 0].tolist(), strict=True))
        if not self.done:
            hidden = (name for name in found if name.rpartition(".")[2] in ("pnl_settled", "outcome"))
            found |= dict.fromkeys(hidden, math.nan)
        return found

    def freeze(self) -> Frozen:
        """Copy the state between two steps, quickly; `state` tells it in words.

        Raises
        ------
        InputError
            In the midst of a step.
        """
        if self._core.quoted:
            raise InputError(f"state: must be taken between two steps, and step {self.step} is under way")
        markets = []
        for maker in self.makers.values():
            flat = np.empty(self._core.state_size(maker._place))
            self._core.save_market(maker._place, flat)
            markets.append(flat)
        joint = None
        if self.scenario.markets:
            joint = np.empty(len(core.STATE_ROWS_PORTFOLIO))
            self._core.save_portfolio(joint)
        return Frozen(self.step, markets, joint)

    def thaw(self, frozen: Frozen) -> None:
        """Go back to where `freeze` found this bot, a quote that was made since forgotten."""
        self._core.load(*frozen)

    def state(self, frozen: Frozen | None = None) -> dict[str, Any]:
        """Return the whole state between two steps, as plain numbers and lists.

        Parameters
        ----------
        frozen : Frozen, optional
            What `freeze` returned of this bot; now if not given.

        Returns
        -------
        dict
            ``step``; ``markets``, by name ``rows`` and ``windows``; ``portfolio``, None for one market.
            docs/snapshots.md says what they hold. Draws are keyed by seed, path and step, so these three are
            the random position.

        Raises
        ------
        InputError
            In the midst of a step.
        """
        then = frozen or self.freeze()
        markets: dict[str, Any] = {}
        names = (*core.STATE_ROWS_WIDE, *core.STATE_ROWS_NARROW)
        for (name, maker), flat in zip(self.makers.items(), then.markets, strict=True):
            windows, at = {}, len(names)
            for window, length in self._core.windows_of(maker._place):
                windows[window] = flat[at : at + length].tolist()
                at += length
            rows = dict(zip(names, flat[: len(names)].tolist(), strict=True))
            markets[name] = {"rows": rows, "windows": windows}
        sums = None
        if then.portfolio is not None:
            sums = dict(zip(core.STATE_ROWS_PORTFOLIO, then.portfolio.tolist(), strict=True))
        return {"step": then.step, "markets": markets, "portfolio": sums}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned of a bot of the same scenario, seed and path.

        Raises
        ------
        InputError
            If it is not a state of this scenario; nothing is changed then.
        """
        names = (*core.STATE_ROWS_WIDE, *core.STATE_ROWS_NARROW)
        try:
            step, markets, sums = state["step"], state["markets"], state["portfolio"]
            flat = []
            for name, maker in self.makers.items():
                rows, windows = markets[name]["rows"], markets[name]["windows"]
                numbers = [float(rows[row]) for row in names]
                for window, length in self._core.windows_of(maker._place):
                    if len(windows[window]) != length:
                        raise ValueError(f"{window} has {len(windows[window])} entries, not {length}")
                    numbers += map(float, windows[window])
                flat.append(np.array(numbers))
            joint = None
            if self.scenario.markets:
                joint = np.array([float(sums[row]) for row in core.STATE_ROWS_PORTFOLIO])
            if set(markets) != set(self.makers) or not 0 <= step <= self.scenario.steps:
                raise ValueError(f"it is of step {step} of {', '.join(markets)}")
            self._core.load(step, flat, joint)
        except (KeyError, TypeError, ValueError) as error:
            what = f"it has no {error}" if isinstance(error, KeyError) else error
            raise InputError(f"state: must be a state of this scenario, got another: {what}") from None

    def connect(self, up: bool) -> None:
        """Say that the connection is lost, or back, from the next step on.

        Raises
        ------
        InputError
            If the scenario's own outages are simulated, or in the midst of a step.
        """
        if not self.outside:
            raise InputError("connect: must be of a bot whose takers come from outside")
        if self._core.quoted:
            raise InputError(f"connect: must be said between two steps, and step {self.step} is under way")
        if up:
            self._core.regain_connection()
        else:
            self._core.lose_connection()

    def resume_carefully(self) -> None:
        """Quote wide from here on, as after an outage: the recovery ramp begins anew in every market."""
        self._core.restart_ramp()

    def reset_breakers(self) -> None:
        """Clear halts and pauses, of the portfolio too; drawdowns and windows are measured from now on."""
        self._core.reset_breakers()

    def _row_of(self, market: str, order: Order) -> tuple[float, float, float, float]:
        """Return an outside order as the core's table has it; InputError if it is none."""
        if market not in self.makers:
            named = ", ".join(self.makers) if self.scenario.markets else "left out, for there is only one"
            raise InputError(f"order.market: must be {named}, got {market!r}")
        return order_row(order, self.makers[market].scenario)


class ExecutionEngine:
    """Brings the takers of a step to a bot's quotes.

    Parameters
    ----------
    bot : Bot
        Whose scenario, and orders, say who the takers are.
    """

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._traded = -1

    def trade(self, orders: Mapping[str, Order] | None = None) -> list[Fill]:
        """Let this step's takers trade, and tell the makers of their fills.

        Parameters
        ----------
        orders : mapping of str to Order, optional
            By market, for a bot whose takers come from outside; at most one a market and step.

        Returns
        -------
        list of Fill
            In the order of the markets.

        Raises
        ------
        InputError
            If an order is not one, or is given to a bot that has takers of its own, or the step has had its
            takers or a fill. Nothing has traded then.
        """
        bot = self._bot
        if orders and not bot.outside:
            raise InputError("orders: must be given to a bot whose takers come from outside, got some")
        bot._begin_step()
        if self._traded == bot.step or any(bot._core.booked_fills(m._place) for m in bot.makers.values()):
            raise InputError(f"trade: a step has its takers once, and step {bot.step} has had them")
        rows = {market: bot._row_of(market, order) for market, order in (orders or {}).items()}
        if bot._tables is not None:
            for market, row in rows.items():
                bot._tables[market][:, bot.step] = row
        self._traded = bot.step
        fills = []
        for maker in bot.makers.values():
            if bot._core.in_book(maker._place):
                filled = bot._core.trade(maker._place)
                fills += [Fill(bot.step, maker.name, side, int(size), price) for side, size, price in filled]
                continue
            for side, size in bot._core.match(maker._place):
                quote = maker._offered()
                price = quote.ask if side > 0 else quote.bid
                fills.append(maker.on_fill(side, int(size), price))
        return fills


def _whole(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(f"{name}: must be a whole number >= {low} and <= {high}, got {value!r}")
