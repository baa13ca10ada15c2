"""The risk layers of a bot: what each watches, when it acts, what it does, in which order, and how it stands.

docs/risk.md has the same table; a test holds the two together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcmm.quotes import MarketState, Quote

if TYPE_CHECKING:
    from mcmm.bot import Bot
    from mcmm.scenario import Scenario

__all__ = ["LAYERS", "Layer", "Standing", "Sums", "standings", "sums_of"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a layer stands in a market.

    Attributes
    ----------
    state : str
        ``off`` (not set), ``ok``, ``acts`` (it shapes or withholds quotes now) or ``tripped``.
    text : str
        How far it is from acting.
    """

    state: str
    text: str


@dataclass(frozen=True, slots=True)
class Sums:
    """What the portfolio's layers watch, as of the last mark, and their limits, in dollars.

    Attributes
    ----------
    exposure, drawdown : float
        Of all markets together.
    exposure_limit, drawdown_limit : float
        Infinite where they are not set.
    """

    exposure: float = 0.0
    drawdown: float = 0.0
    exposure_limit: float = math.inf
    drawdown_limit: float = math.inf


Look = Callable[[MarketState, Quote, "Scenario", Sums], Standing]


@dataclass(frozen=True, slots=True)
class Layer:
    """One of them.

    Attributes
    ----------
    name : str
        As reports name it.
    watches, acts, does : str
        What, when, and what then.
    settings : tuple of str
        Its own, by dotted name.
    look : callable
        How it stands, from a market's state, its quote, its scenario and the portfolio's sums.
    """

    name: str
    watches: str
    acts: str
    does: str
    settings: tuple[str, ...]
    look: Look


OFF = Standing("off", "off")


def _connection(state: MarketState, quote: Quote, scenario: Scenario, sums: Sums) -> Standing:
    if not state.outage_left:
        return Standing("ok", "up")
    left = "" if state.outage_left == math.inf else f", {state.outage_left:.0f} steps"
    return Standing("acts", f"down{left}")


def _breaker(name: str, watched: Callable[[MarketState], float], limit: Callable[[Scenario], float]) -> Look:
    def look(state: MarketState, quote: Quote, scenario: Scenario, sums: Sums) -> Standing:
        most = limit(scenario)
        if most == math.inf:
            return OFF
        return _tripped(state, name) or Standing("ok", f"{watched(state):.4g} of {most:.4g}")

    return look


def _tripped(state: MarketState, name: str) -> Standing | None:
    """Return what a trip does, of a breaker that may be the one: only the first trip's is known."""
    if state.halt_reason != name and state.trips < 2:
        return None
    if state.halted:
        return Standing("tripped", "halted")
    return Standing("tripped", f"paused, {state.pause_left} steps") if state.pause_left else None


def _portfolio_breaker(state: MarketState, quote: Quote, scenario: Scenario, sums: Sums) -> Standing:
    most = sums.drawdown_limit
    if most == math.inf:
        return OFF
    return _tripped(state, "portfolio_drawdown") or Standing("ok", f"{sums.drawdown:.4g} of {most:.4g}")


def _venue(state: MarketState, quote: Quote, scenario: Scenario, sums: Sums) -> Standing:
    if not scenario.schedule.pauses:
        return OFF
    return Standing("acts", "closed") if state.venue_paused else Standing("ok", "open")


def _ramp(state: MarketState, quote: Quote, scenario: Scenario, sums: Sums) -> Standing:
    if not scenario.recovery.ramp_steps:
        return OFF
    return Standing("acts" if state.multiplier > 1.0 else "ok", f"spread x {state.multiplier:.3g}")


def _soft(state: MarketState, quote: Quote, scenario: Scenario, sums: Sums) -> Standing:
    most = scenario.risk.exposure_limit * scenario.risk.exposure_soft_fraction
    if scenario.risk.exposure_limit == math.inf:
        return OFF
    return Standing("acts" if state.exposure >= most else "ok", f"${state.exposure:.2f} of ${most:.2f}")


def _inventory(state: MarketState, quote: Quote, scenario: Scenario, sums: Sums) -> Standing:
    most = scenario.risk.inventory_limit
    if most == math.inf:
        return OFF
    acts = abs(state.inventory) >= most
    return Standing("acts" if acts else "ok", f"{state.inventory:+d} of {most:.0f}")


def _exposure(state: MarketState, quote: Quote, scenario: Scenario, sums: Sums) -> Standing:
    most = scenario.risk.exposure_limit
    if most == math.inf:
        return OFF
    return Standing(_withheld(state, quote), f"${state.exposure:.2f} of ${most:.2f}")


def _portfolio_exposure(state: MarketState, quote: Quote, scenario: Scenario, sums: Sums) -> Standing:
    most = sums.exposure_limit
    if most == math.inf:
        return OFF
    return Standing(_withheld(state, quote), f"${sums.exposure:.2f} of ${most:.2f}")


def _withheld(state: MarketState, quote: Quote) -> str:
    """Tell whether the side that would add to the position has no size, though quotes are made."""
    adding = quote.bid_size if state.inventory > 0 else quote.ask_size if state.inventory < 0 else 1
    return "acts" if quote.quoting and not adding else "ok"


def _close(state: MarketState, quote: Quote, scenario: Scenario, sums: Sums) -> Standing:
    if not scenario.risk.close_steps:
        return OFF
    left = scenario.steps - scenario.risk.close_steps - state.step
    return Standing("acts", "reducing only") if left <= 0 else Standing("ok", f"in {left} steps")


LAYERS: tuple[Layer, ...] = (
    Layer(
        "connection",
        "the line to the venue",
        "it is lost: at random (`disconnect_rate`), or when the feed says so",
        "no quotes; those in the book are cancelled, or rest unrevised (`stale_quotes`)",
        ("recovery.disconnect_rate", "recovery.outage_steps", "recovery.stale_quotes"),
        _connection,
    ),
    Layer(
        "drawdown",
        "pnl at `risk.mark` below its peak, or below the start (`drawdown_baseline`)",
        "it reaches `drawdown_limit` at the end of a step",
        "`breaker_action` from the next step on: halt, pause or flatten",
        ("risk.drawdown_limit", "risk.drawdown_baseline", "risk.breaker_action"),
        _breaker(
            "drawdown", lambda s: max(s.drawdown_reference - s.marked, 0.0), lambda s: s.risk.drawdown_limit
        ),
    ),
    Layer(
        "loss",
        "dollars lost within `loss_window` steps",
        "they reach `loss_limit` at the end of a step",
        "`breaker_action` from the next step on",
        ("risk.loss_limit", "risk.loss_window", "risk.breaker_action"),
        _breaker("loss", lambda s: s.recent_loss, lambda s: s.risk.loss_limit),
    ),
    Layer(
        "volume",
        "contracts filled within `volume_window` steps",
        "they reach `volume_limit` at the end of a step",
        "`breaker_action` from the next step on",
        ("risk.volume_limit", "risk.volume_window", "risk.breaker_action"),
        _breaker("volume", lambda s: s.recent_volume, lambda s: float(s.risk.volume_limit)),
    ),
    Layer(
        "portfolio drawdown",
        "the pnl of all markets together, below its peak or the start",
        "it reaches `portfolio.drawdown_limit` at the end of a step",
        "each market's own `breaker_action` from the next step on",
        ("portfolio.drawdown_limit",),
        _portfolio_breaker,
    ),
    Layer(
        "venue pause",
        "the clock",
        "a pause of `schedule.pauses` lasts",
        "no quotes; those in the book are cancelled, or rest",
        ("schedule.pauses",),
        _venue,
    ),
    Layer(
        "recovery ramp",
        "quoted steps since an outage, a pause or a restart",
        "they are fewer than `ramp_steps`",
        "half-spreads are multiplied, by `conservative_multiplier` at first",
        ("recovery.conservative_multiplier", "recovery.ramp_steps"),
        _ramp,
    ),
    Layer(
        "soft exposure",
        "exposure at the last mark",
        "it reaches `exposure_soft_fraction` of `exposure_limit`",
        "the accumulating side's half-spread is multiplied by `passive_multiplier`",
        ("risk.exposure_soft_fraction", "risk.passive_multiplier"),
        _soft,
    ),
    Layer(
        "inventory",
        "contracts held, long or short",
        "always: sizes shrink as they near `inventory_limit`, and end there",
        "the accumulating side is cut to the room that is left",
        ("risk.inventory_limit",),
        _inventory,
    ),
    Layer(
        "exposure",
        "what a fill at the quote would build",
        "it would pass `exposure_limit`",
        "the accumulating side is cut to the room that is left",
        ("risk.exposure_limit",),
        _exposure,
    ),
    Layer(
        "portfolio exposure",
        "the exposure of all markets at the last mark",
        "a market's fill could add more than its share of the room",
        "the accumulating side is cut to that share",
        ("portfolio.exposure_limit",),
        _portfolio_exposure,
    ),
    Layer(
        "close",
        "the clock",
        "the last `close_steps` steps",
        "only the reducing side is quoted, and no more than reduces",
        ("risk.close_steps",),
        _close,
    ),
)
"""In the order in which they act on a step; the breakers decide at its end, for the next."""


def sums_of(bot: Bot) -> Sums:
    """Return what the portfolio's layers watch of a bot; nothing of one market."""
    if not bot.scenario.markets:
        return Sums()
    portfolio = bot.scenario.portfolio
    lost = max(bot.portfolio("reference") - bot.portfolio("marked"), 0.0)
    return Sums(bot.portfolio("exposure"), lost, portfolio.exposure_limit, portfolio.drawdown_limit)


def standings(state: MarketState, quote: Quote, scenario: Scenario, sums: Sums) -> dict[str, Standing]:
    """Return how each layer stands in a market.

    Parameters
    ----------
    state : MarketState
        Of the market.
    quote : Quote
        Its last.
    scenario : Scenario
        That market's.
    sums : Sums
        The portfolio's.
    """
    return {layer.name: layer.look(state, quote, scenario, sums) for layer in LAYERS}
