"""The venue of a scenario: what an order book asks of the other settings."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from mcmm.book import Book

if TYPE_CHECKING:
    from mcmm.markets import Tables

__all__ = ["BOOK_TICKS", "TOP_RATE", "contradictions", "levels", "unsaid", "work"]

BOOK_TICKS = 100
"""The most ticks in a dollar that a book has a place for."""
TOP_RATE = 100.0
"""The most events a step of one kind, at one price or by one resting order."""

_WORK = 64


def work(columns: Collection[str]) -> int:
    """Return how many steps of a path on venue quote one step takes as long as, roughly.

    Parameters
    ----------
    columns : collection of str
        What the paths report: a scenario's ``columns``, or a study's ``metrics``, of which some are a book's.
    """
    return _WORK if "book_events" in columns else 1


def levels(s: Tables) -> list[tuple[float, float]]:
    """Return the rates of others' limit orders and cancels, a step, at 1, 2, .. ticks from the opposite best.

    Parameters
    ----------
    s : Tables
        The scenario.

    Returns
    -------
    list of (float, float)
        As many as the longer of the two lists has: beyond its end no limit orders come, and the last rate of
        cancels holds.
    """
    limits, cancels = s.book.limit_rates, s.book.cancel_rates
    count = max(len(limits), len(cancels))
    padded = (*limits, *[0.0] * (count - len(limits))), (*cancels, *[cancels[-1]] * (count - len(cancels)))
    return [(s.book.activity * a, s.book.activity * b) for a, b in zip(*padded, strict=True)]


def unsaid(s: Tables) -> set[str]:
    """Return what a scenario of venue quote is written without, as it was before there was another."""
    if s.venue == "book":
        return set()
    return {"venue", "book"} if s.book == Book() else {"venue"}


def contradictions(s: Tables) -> Iterator[tuple[str, str]]:
    """Yield the setting to blame and the rule, where the venue does not fit the rest of a scenario."""
    if s.venue == "quote":
        return
    book = "with venue book"
    if s.market.process == "arithmetic":
        yield "market.process", f"must be logit or threshold {book}, whose prices are between 0 and 1"
        return
    if s.quoting.policy in ("glosten_milgrom", "lmsr"):
        yield (
            "quoting.policy",
            f"must be adaptive, symmetric, avellaneda_stoikov or custom {book}: it has a grid",
        )
    if s.flow.model == "intensity":
        yield "flow.model", f"must be takers or replay {book}, which matches orders in their turn"
    if s.market.tick_size and round(1 / s.market.tick_size) > BOOK_TICKS:
        yield "market.tick_size", f"must be >= {1 / BOOK_TICKS} {book}"
    if s.recovery.stale_quotes:
        yield "recovery.stale_quotes", f"must be false {book}: there book.cancel_latency makes quotes stale"
    if any(pause.quotes == "rest" for pause in s.schedule.pauses):
        yield "schedule.pauses", f'must have quotes = "cancel" {book}'
    most = max(s.book.market_rate, *s.book.limit_rates, *s.book.cancel_rates)
    if not math.isfinite(most) or most * s.book.activity > TOP_RATE:
        yield "book.activity", f"must keep every rate of the book <= {TOP_RATE:g} a step"
