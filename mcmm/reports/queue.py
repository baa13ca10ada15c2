"""The maker's place in the queue of an order book: what is filled there, and what that is worth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mcmm.metrics import PLACES
from mcmm.reports import numbers
from mcmm.reports.layout import Column, compact, figures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcmm.reports.findings import Findings
    from mcmm.scenario import Scenario
    from mcmm.simulation import Simulation

__all__ = [
    "HORIZONS",
    "Queue",
    "counted_steps",
    "market_queues",
    "markout_line",
    "place_columns",
    "point_groups",
    "queue_rows",
    "queues_of",
    "together",
    "venue_of",
]

HORIZONS = (1, 10, 100)
"""Steps after a fill at which it is marked."""


_MARKED_AFTER = 10
"""Steps after which the fills of a place are marked."""

#: Cents, and what they are made of: the metrics' dollars.
_CENTS = 100.0
_PAIRS: dict[tuple[str, str | int], tuple[str, str]] = {
    **{("rate", place): (f"queue_fills_{place}", f"queue_steps_{place}") for place in PLACES},
    **{("value", place): (f"queue_value_{place}", f"queue_steps_{place}") for place in PLACES},
    **{("markout", h): (f"markout_{h}", f"markout_volume_{h}") for h in HORIZONS},
}
"""The ratios of sums that a queue is told by."""

Estimate = tuple[float, float]
"""A number and its standard error; NaN where it is not known."""


@dataclass(frozen=True)
class Queue:
    """A point's queue; NaN where an order never was, or nothing was filled.

    Attributes
    ----------
    rate : dict of str to Estimate
        By place, contracts filled in a step in which the maker had an order there; an order of each side
        counts.
    value : dict of str to Estimate
        What such a step earns: its fills' mark-out after 10 steps, in cents.
    markout : dict of int to Estimate
        By horizon, how far the fair value is on the maker's side of a fill's price, in cents a contract.
    """

    rate: dict[str, Estimate]
    value: dict[str, Estimate]
    markout: dict[int, Estimate]

    @classmethod
    def of(cls, ratio: Callable[[str, str], Estimate]) -> Queue:
        """Make it of the ratios of a book's metrics: the names of what is shared out, and by what."""
        found = {key: ratio(*pair) for key, pair in _PAIRS.items()}

        def cents(kind: str, key: str | int) -> Estimate:
            value, error = found[kind, key]
            return _CENTS * value, _CENTS * error

        return cls(
            {place: found["rate", place] for place in PLACES},
            {place: cents("value", place) for place in PLACES},
            {h: cents("markout", h) for h in HORIZONS},
        )


def _ratio(part: float, of: float) -> float:
    return part / of if of else math.nan


def venue_of(findings: Findings) -> str:
    """Name the venues of a sweep's points; empty where there is but the quote."""
    study, points = findings.result.study, findings.result.points
    found = {study.scenario.venue}
    if "venue" in points.columns:
        found = {study.scenario_at(point).venue for point in points.index}
    return "" if found == {"quote"} else f"venue{'s' * (len(found) > 1)} {' and '.join(sorted(found))}"


def together(scenario: Scenario) -> str:
    """Say of how many markets a queue is the sum; empty of one."""
    count = len(scenario.markets)
    return "" if count < 2 else f"{'both' if count == 2 else f'all {count}'} markets together"


def counted_steps(least: int) -> str:
    """Say which steps places are told of, where the shortest path has `least`."""
    short = f"; paths of fewer than {_MARKED_AFTER} steps have none to count" if least < _MARKED_AFTER else ""
    return f"Of all steps but a path's last {_MARKED_AFTER - 1}, whose fills cannot be marked so{short}."


def market_queues(simulation: Simulation, markets: Sequence[str]) -> dict[int, Queue]:
    """Return the queue of some of several markets, by their place in the list."""
    row = dict(zip(simulation.scenario.columns, simulation.values, strict=True))

    def queue(market: str) -> Queue:
        return Queue.of(lambda part, of: _estimate(row[f"{market}.{part}"], row[f"{market}.{of}"]))

    return {place: queue(market) for place, market in enumerate(markets)}


def queues_of(findings: Findings, market: str = "") -> dict[int, Queue]:
    """Return the queue of every point of venue book, by its row: of several markets one's, or the sum.

    Errors come of the sums by batch that a study of up to `mcmm.study.MANY_POINTS` points keeps; a larger one
    has none.
    """
    result = findings.result
    if "book_events.mean" not in result.summary:
        return {}
    prefix = f"{market}." if market else ""
    pairs = [(f"{prefix}{part}", f"{prefix}{of}") for part, of in _PAIRS.values()]
    place = {pair: number for number, pair in enumerate(pairs)}
    known = result.ratios(pairs) if result.study.all_rows else None

    def queue(row: int) -> Queue:
        def ratio(part: str, of: str) -> Estimate:
            part, of = f"{prefix}{part}", f"{prefix}{of}"
            value = _ratio(findings.value(row, f"{part}.mean"), findings.value(row, f"{of}.mean"))
            return value, math.nan if known is None else float(known[place[part, of], row, 1])

        return Queue.of(ratio)

    rows = range(len(result.points))
    return {row: queue(row) for row in rows if math.isfinite(findings.value(row, "book_events.mean"))}


def queue_rows(queues: dict[int, Queue], rows: Sequence[int]) -> tuple[dict[str, list[str]], list[list[str]]]:
    """Write a table of points: the headings of its numbers by group, and a list of cells a point."""
    headings = {
        "contracts filled a step": list(PLACES),
        "\u00a2 earned a step": list(PLACES),
        "mark-out, \u00a2 a contract": [f"{h} step{'s' * (h > 1)}" for h in HORIZONS],
    }
    cells = [
        [
            _with_error(*estimate)
            for part in (queues[row].rate, queues[row].value, queues[row].markout)
            for estimate in part.values()
        ]
        for row in rows
    ]
    return headings, cells


def point_groups(queues: dict[int, Queue], rows: Sequence[int]) -> list[list[Column]]:
    """Make the columns of a sweep's table in the terminal: rates by place, values by place, mark-outs."""
    parts: list[list[tuple[str, list[Estimate]]]] = [
        [(f"filled\n{place}", [queues[row].rate[place] for row in rows]) for place in PLACES],
        [(f"\u00a2 a step\n{place}", [queues[row].value[place] for row in rows]) for place in PLACES],
        [(f"mark-out\n\u00a2, {h}", [queues[row].markout[h] for row in rows]) for h in HORIZONS],
    ]
    return [
        [column for heading, found in part for column in _estimate_columns(heading, found)] for part in parts
    ]


def _estimate_columns(heading: str, found: list[Estimate]) -> list[Column]:
    """Make a column of numbers, and one of their standard errors."""
    return [
        Column(heading, _cells([value for value, _ in found])),
        Column("se", _cells([error for _, error in found], 2)),
    ]


def place_columns(simulation: Simulation) -> list[Column]:
    """Make the table of one simulation: a row for each place, each number with its standard error."""
    row = dict(zip(simulation.scenario.columns, simulation.values, strict=True))
    steps = [row[f"queue_steps_{place}"] for place in PLACES]
    total = sum(float(each.sum()) for each in steps)
    shares = [100.0 * _ratio(float(each.sum()), total) for each in steps]
    columns = [
        Column("place in\nthe queue", [*PLACES], text=True),
        Column("share of\nsteps", [f"{share:.1f}%" if math.isfinite(share) else "-" for share in shares]),
    ]
    for heading, name, scale in (("filled\na step", "fills", 1.0), ("\u00a2\na step", "value", 100.0)):
        found = [
            _estimate(scale * row[f"queue_{name}_{place}"], each)
            for place, each in zip(PLACES, steps, strict=True)
        ]
        columns += _estimate_columns(heading, found)
    found = [_estimate(100 * row[f"queue_value_{place}"], row[f"queue_fills_{place}"]) for place in PLACES]
    return [*columns, *_estimate_columns("\u00a2 a con-\ntract", found)]


def markout_line(simulation: Simulation) -> str:
    """Say what fills are worth later: cents a contract, with standard errors."""
    row = dict(zip(simulation.scenario.columns, simulation.values, strict=True))
    told = []
    for h in HORIZONS:
        written = _with_error(*_estimate(100 * row[f"markout_{h}"], row[f"markout_volume_{h}"]))
        told.append(f"{written} after {h}")
    return f"Mark-outs, \u00a2 a contract filled: {', '.join(told)} steps."


def _with_error(value: float, error: float) -> str:
    """Write a number with its standard error, where that is known: not of a rate of what was never filled."""
    if not 0.0 < error < math.inf:
        return _written(value, 3)
    digits = figures(error, value)
    return f"{numbers.fixed(value, digits)} \u00b1 {numbers.fixed(error, digits)}"


def _estimate(parts: np.ndarray, of: np.ndarray) -> Estimate:
    """Estimate a ratio of means over paths, and its standard error by the delta method."""
    count, total = len(of), float(of.sum())
    if not total:
        return math.nan, math.nan
    ratio = float(parts.sum()) / total
    if count < 2:
        return ratio, math.nan
    return ratio, float(np.std(parts - ratio * of, ddof=1)) * math.sqrt(count) / total


def _written(value: float, significant: int) -> str:
    return numbers.fixed(value, numbers.decimals([value], significant)) if math.isfinite(value) else "-"


def _cells(values: list[float], significant: int = 3) -> list[str]:
    digits = numbers.decimals([value for value in values if math.isfinite(value)] or [0.0], significant)
    return [compact(value, digits) if math.isfinite(value) else "-" for value in values]
