"""Schedules for the generated scenarios, valid beside the rest of one."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Tables = dict[str, dict[str, Any]]


@st.composite
def schedules(draw: st.DrawFn, tables: Tables, steps: int) -> dict[str, Any]:
    """A `[schedule]` table: shapes, news and pauses where they may stand."""
    flow, market = tables["flow"], tables["market"]
    replay = flow["model"] == "replay"
    schedule: dict[str, Any] = {"amplitude": draw(st.sampled_from((1.0, 1.0, 0.0, 0.3)))}
    if flow["model"] == "takers":
        for shape in ("arrival_rate", "informed_fraction"):
            fitting = [m for m in (1.0, 0.0, 0.2, 1.2, 2.5, 6.0) if m * flow[shape] <= 1]
            schedule[shape] = [[start, draw(st.sampled_from(fitting))] for start in draw(starts(steps))]
    if market["process"] != "threshold" and not replay:
        factors = st.sampled_from((3.0, 0.0, 0.5, 1.0))
        schedule["volatility"] = [[start, draw(factors)] for start in draw(starts(steps))]
    if market["process"] == "logit" and not replay:
        strengths = st.sampled_from((0.4, 0.0, 1.0))
        schedule["news"] = [
            [start] if market["news_strength"] and draw(st.booleans()) else [start, draw(strengths)]
            for start in draw(starts(steps))
        ]
    schedule["pauses"] = []
    free = 0
    for start in draw(starts(steps)):
        if start >= free:
            length = draw(st.sampled_from((5, 1, 2, 30)))
            schedule["pauses"].append(
                {"start": start, "steps": length, "quotes": draw(st.sampled_from(("rest", "cancel")))}
            )
            free = start + length
    return schedule


def starts(steps: int) -> st.SearchStrategy[list[int]]:
    step = st.integers(0, steps - 1)
    return st.lists(step | step.map(lambda t: t - t % 4), max_size=4, unique=True).map(sorted)
