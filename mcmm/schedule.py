"""The day's shape: multipliers over a path's steps, and what contradicts a schedule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcmm.markets import Tables
    from mcmm.tables import Schedule

__all__ = ["SHAPES", "contradictions", "multiplier", "turns"]

SHAPES = {
    "arrival_rate": "flow.arrival_rate",
    "informed_fraction": "flow.informed_fraction",
    "volatility": "market.volatility",
}
"""The schedule's shapes, and the setting that each multiplies."""


def multiplier(schedule: Schedule, shape: str, step: int) -> float:
    """Return what a setting is multiplied by in a step.

    Parameters
    ----------
    schedule : Schedule
        The table.
    shape : str
        One of `SHAPES`.
    step : int
        0, 1, ..

    Returns
    -------
    float
        m + (amplitude - 1) * (m - 1), m from the last row at or before the step; 1 before the first row.
    """
    given = [m for start, m in getattr(schedule, shape) if start <= step]
    return given[-1] + (schedule.amplitude - 1.0) * (given[-1] - 1.0) if given else 1.0


def turns(schedule: Schedule, steps: int) -> list[int]:
    """Return the steps in which something changes, 0 among them, rising; none without a schedule."""
    starts = {start for shape in SHAPES for start, _ in getattr(schedule, shape)}
    starts |= {at for row in schedule.news for at in (row[0], row[0] + 1)}
    starts |= {at for pause in schedule.pauses for at in (pause.start, pause.start + pause.steps)}
    return sorted({0, *(start for start in starts if start < steps)}) if starts else []


def contradictions(s: Tables) -> Iterator[tuple[str, str]]:
    """Yield the setting to blame and the rule, where a schedule does not fit the rest of a scenario."""
    if not any(getattr(s.schedule, name) for name in (*SHAPES, "news", "pauses")):
        return
    for name in (*SHAPES, "news"):
        rows: Sequence[Any] = getattr(s.schedule, name)
        for row, (start, *_) in enumerate(rows):
            if row and start <= rows[row - 1][0]:
                yield (
                    f"schedule.{name}[{row}][0]",
                    f"must be > {rows[row - 1][0]}, the step of the row before it",
                )
                break
            if start >= s.steps:
                yield f"schedule.{name}[{row}][0]", f"must be < steps ({s.steps})"
                break
        else:
            if rows:
                yield from _misplaced(s, name)
    yield from _beyond(s)
    end = 0
    for row, pause in enumerate(s.schedule.pauses):
        if pause.start < end:
            yield f"schedule.pauses[{row}].start", f"must be >= {end}, the end of the pause before it"
            break
        if pause.start >= s.steps:
            yield f"schedule.pauses[{row}].start", f"must be < steps ({s.steps})"
            break
        end = pause.start + pause.steps


def _misplaced(s: Tables, name: str) -> Iterator[tuple[str, str]]:
    """Yield the rule where a shape, or news, has nothing to act on."""
    setting, model, process = f"schedule.{name}", s.flow.model, s.market.process
    if name in ("arrival_rate", "informed_fraction"):
        if model != "takers":
            yield setting, f"must be left out with flow.model {model}: it is about takers"
    elif model == "replay":
        yield setting, "must be left out with flow.model replay, whose fair values are given"
    elif name == "volatility":
        if process == "threshold":
            yield setting, "must be left out with market.process threshold, whose volatility is its own"
    elif process != "logit":
        yield setting, f"must be left out with market.process {process}: only logit has news"
    elif not s.market.news_strength and (
        bare := [n for n, row in enumerate(s.schedule.news) if len(row) == 1]
    ):
        yield f"{setting}[{bare[0]}]", "must give a strength while market.news_strength is 0"


def _beyond(s: Tables) -> Iterator[tuple[str, str]]:
    """Yield the rule where a multiplier leads out of its setting's range."""
    for shape, setting in SHAPES.items():
        products = [multiplier(s.schedule, shape, start) for start, _ in getattr(s.schedule, shape)]
        table, _, leaf = setting.partition(".")
        base = getattr(getattr(s, table), leaf)
        if any(product < 0 for product in products):
            yield "schedule.amplitude", f"must leave the multipliers of schedule.{shape} >= 0"
        elif shape != "volatility" and (
            rows := [n for n, product in enumerate(products) if base * product > 1]
        ):
            scaled = f" at schedule.amplitude {s.schedule.amplitude}" if s.schedule.amplitude != 1 else ""
            yield (
                f"schedule.{shape}[{rows[0]}][1]",
                f"must leave its product with {setting} ({base}) <= 1{scaled}",
            )
