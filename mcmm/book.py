"""The order book's table: every setting of venue book with its type, range, default, unit and meaning."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict

from mcmm.tables import COUNT, WINDOW, Amount, Chance, Table, setting

__all__ = ["Book"]

Rate = Annotated[float, Field(ge=0, le=100)]
Rates = Annotated[tuple[Rate, ...], Field(min_length=1, max_length=16), Strict(False)]
_RATES = "a list of 1 to 16 numbers between 0 and 100"


class Book(Table):
    """The order book of venue book: the flow of others, latency, and how the maker's orders are filled."""

    limit_rates: Rates = setting(
        (1.85, 1.51, 1.09, 0.88, 0.77),
        "per step",
        "Others' limit orders: rate at 1, 2, .. ticks from the opposite best price, on each side.",
        rule=_RATES,
    )
    cancel_rates: Rates = setting(
        (0.71, 0.81, 0.68, 0.56, 0.47),
        "per step",
        "Others' cancels: rate per resting order at 1, 2, .. ticks from the opposite best price; the last "
        "holds further away.",
        rule=_RATES,
    )
    market_rate: Rate = setting(0.94, "per step", "Others' market orders: rate on each side.")
    activity: Rate = setting(1.0, "", "Multiplies all of these rates: how much of their time a step takes.")
    recentre_strength: Amount = setting(
        20.0,
        "per $",
        "How strongly others lean towards the fair value: the excess of their bids over their asks, and of "
        "their cancels of asks over those of bids, per dollar that it is above the book's mid; 1 at most.",
    )
    recentre_lag: Annotated[float, Field(ge=1, le=COUNT)] = setting(
        10.0, "steps", "e-folding time with which they learn of the fair value."
    )
    warmup_steps: Annotated[int, Field(ge=0, le=WINDOW)] = setting(
        50, "steps", "Of the others' flow before the first step, so that queues start from their law."
    )
    passive_fraction: Chance = setting(
        0.0,
        "chance",
        "Chance that an uninformed taker sends a limit order to its own side's best price instead of a "
        "market order.",
    )
    place_latency: Annotated[int, Field(ge=0, le=32)] = setting(
        0,
        "steps",
        "Steps until an order of the maker's is in the book; one that replaces another waits for its cancel.",
    )
    cancel_latency: Annotated[int, Field(ge=0, le=32)] = setting(
        0, "steps", "Steps until a cancel of the maker's reaches the book."
    )
    fill_rule: Literal["queue", "touch", "through"] = setting(
        "queue",
        "",
        "When the maker's order is filled: queue (in its turn), touch (before all others at its price: a "
        "backtest's optimism) or through (after all others at its price: its pessimism).",
    )
    join_only: bool = setting(
        False, "", "Whether the maker's orders never better the book's best prices, but join them (true)."
    )
    top_up: bool = setting(
        True,
        "",
        "Whether an order that is smaller than decided is placed anew, at the back (true), or kept (false).",
    )
