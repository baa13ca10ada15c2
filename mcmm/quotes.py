"""What passes between a bot and its markets: quotes, fills, takers' orders, and what is known of a market."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Fill", "MarketState", "Order", "Quote"]


@dataclass(frozen=True, slots=True)
class Quote:
    """What the maker offers in a step.

    Attributes
    ----------
    bid, ask : float
        Dollars; NaN where neither side is quoted.
    bid_size, ask_size : int
        Contracts; 0 is no such side.
    quoting : bool
        Whether the maker may quote: false where it is halted, paused or disconnected, stale quotes aside.
    """

    bid: float
    ask: float
    bid_size: int
    ask_size: int
    quoting: bool


@dataclass(frozen=True, slots=True)
class Fill:
    """A trade of the maker's.

    Attributes
    ----------
    step : int
        From 0.
    market : str
        Its name; empty where there is one market, without a name.
    side : int
        The taker's: +1 bought from the maker, -1 sold to it.
    size : int
        Contracts.
    price : float
        Dollars a contract; the average where a policy's contracts have not all the same (lmsr).
    """

    step: int
    market: str
    side: int
    size: int
    price: float


@dataclass(frozen=True, slots=True)
class Order:
    """A taker's order from outside, for one step of one market.

    Attributes
    ----------
    side : int
        +1 buys, -1 sells; 0 is no order.
    size : int
        Contracts, 1 .. 10^6.
    limit : float, optional
        Dollars; it trades at a quote that is at or better than it. None takes any.
    fair : float, optional
        What the fair value moves to at the end of the step; None leaves it where it is.
    """

    side: int = 0
    size: int = 0
    limit: float | None = None
    fair: float | None = None


@dataclass(frozen=True, slots=True)
class MarketState:
    """What the maker knows of a market, and what its risk layers say, between two steps or after the quote.

    Attributes
    ----------
    market : str
        Its name; empty where there is one market, without a name.
    step : int
        Steps that are over.
    mid : float
        The maker's estimate, dollars.
    spread : float
        Ask less bid of the last quote, dollars; NaN without one.
    inventory : int
        Contracts, long positive.
    exposure : float
        pnl less the pnl at the worse outcome, at the mid, dollars.
    pnl : float
        Cash and inventory at the mid, after fees, dollars.
    cash, fees : float
        Dollars.
    fills, volume : int
        Fills, and contracts, so far.
    imbalance : float
        Signed over total taker volume of the window, in [-1, 1].
    window_signed, window_total : int
        Contracts that takers bought less those they sold, and both together, in ``imbalance_window`` steps.
    marked : float
        pnl at risk.mark, dollars.
    peak, drawdown : float
        The highest pnl at risk.mark, 0 included, and how far below it that is now, dollars.
    drawdown_reference : float
        What the drawdown breaker measures from: the peak, or the baseline of the start or of the last pause.
    recent_loss : float
        What the loss breaker watches: the highest mark of its window less the last, dollars; 0 without one.
    recent_volume : int
        What the volume breaker watches: contracts filled in its window; 0 without one.
    halted : bool
        A breaker ended the quoting.
    halt_reason : str
        Of the first trip, one of `mcmm.metrics.HALT_REASONS`.
    pause_left : int
        Steps that a breaker's pause still lasts.
    outage_left : float
        Steps that the lost connection still lasts; infinite where that is not known.
    venue_paused : bool
        The schedule has the venue closed.
    multiplier : float
        What the recovery ramp multiplies the next half-spread by.
    trips : int
        Of the breakers so far.
    """

    market: str
    step: int
    mid: float
    spread: float
    inventory: int
    exposure: float
    pnl: float
    cash: float
    fees: float
    fills: int
    volume: int
    imbalance: float
    window_signed: int
    window_total: int
    marked: float
    peak: float
    drawdown: float
    drawdown_reference: float
    recent_loss: float
    recent_volume: int
    halted: bool
    halt_reason: str
    pause_left: int
    outage_left: float
    venue_paused: bool
    multiplier: float
    trips: int
