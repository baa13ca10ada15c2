"""The oracle's schedule, told from section 1 of docs/model.md: what holds in a step."""

from __future__ import annotations

from mcmm.scenario import Scenario


class Schedule:
    """The day's shape, step by step."""

    def __init__(self, scenario: Scenario) -> None:
        self.table = scenario.schedule
        self.usual_strength = scenario.market.news_strength

    def multiplier(self, shape: str, t: int) -> float:
        m = None
        for start, value in getattr(self.table, shape):
            if start <= t:
                m = value
        return 1.0 if m is None else m + (self.table.amplitude - 1) * (m - 1)

    def news(self, t: int) -> float | None:
        """The strength of the news that is certain in this step."""
        for row in self.table.news:
            if row[0] == t:
                return row[1] if len(row) > 1 else self.usual_strength
        return None

    def pause(self, t: int) -> str | None:
        """What becomes of the quotes in the book, if the venue pauses."""
        for pause in self.table.pauses:
            if t in range(pause.start, pause.start + pause.steps):
                return pause.quotes
        return None
