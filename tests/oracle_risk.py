"""The oracle's circuit breakers, told from section 6 of docs/model.md."""

from __future__ import annotations

import math
from collections import deque

from mcmm.scenario import Scenario

NONE, DRAWDOWN, LOSS, VOLUME, PORTFOLIO_DRAWDOWN = range(5)


class Breaker:
    """What the breakers remember, and whether the maker may quote."""

    def __init__(self, scenario: Scenario) -> None:
        self.risk = scenario.risk
        self.marks: deque[float] = deque([0.0], maxlen=self.risk.loss_window + 1)
        self.volumes: deque[int] = deque(maxlen=self.risk.volume_window)
        self.peak = self.baseline = 0.0
        self.halted = False
        self.paused_steps = 0  # still to come
        self.trips = 0
        self.halt_step, self.halt_reason, self.overshoot = -1, NONE, math.nan
        self.trip_mark = self.trip_reference = self.mark_after = math.nan  # of the first trip

    def allows_quotes(self) -> bool:
        return not self.halted and self.paused_steps == 0

    def remember(self, marked: float, contracts: int) -> None:
        """The windows and the peak go on, halted or paused or not."""
        self.peak = max(self.peak, marked)
        self.marks.append(marked)
        self.volumes.append(contracts)
        if self.trips == 1 and not self.allows_quotes():
            self.mark_after = marked

    def trip(self, t: int, marked: float) -> bool:
        """Check, and trip if there is a reason; whether it tripped."""
        drawdown = self.drawdown(marked)
        return self.act(t, marked, self.reason(drawdown, marked), drawdown)

    def act(self, t: int, marked: float, reason: int, drawdown: float = math.nan) -> bool:
        """Do what a trip does, if there is a reason for one; whether there was."""
        if reason == NONE:
            return False
        self.trips += 1
        if self.trips == 1:
            self.halt_step, self.halt_reason = t, reason
            self.trip_mark = self.mark_after = marked
            self.trip_reference = self.peak if self.risk.drawdown_baseline == "peak" else self.baseline
            if reason == DRAWDOWN:
                self.overshoot = drawdown - self.risk.drawdown_limit
        if self.risk.breaker_action == "pause":
            self.pause(marked)
        else:
            self.halted = True
        return True

    def costs(self) -> tuple[float, float, float]:
        """What the first trip's action cost: by delay, by unwinding, and what it left beyond the limit."""
        if not self.trips:
            return math.nan, math.nan, math.nan
        cost = self.trip_mark - self.mark_after
        flattens = self.risk.breaker_action == "flatten"
        left = (self.trip_reference - self.mark_after) - self.risk.drawdown_limit
        realised = left if self.halt_reason == DRAWDOWN else math.nan
        return (0.0, cost, realised) if flattens else (cost, 0.0, realised)

    def drawdown(self, marked: float) -> float:
        if self.risk.drawdown_baseline == "start":
            return max(0, self.baseline - marked)
        return self.peak - marked

    def reason(self, drawdown: float, marked: float) -> int:
        if drawdown >= self.risk.drawdown_limit:
            return DRAWDOWN
        if max(self.marks) - marked >= self.risk.loss_limit:
            return LOSS
        if sum(self.volumes) >= self.risk.volume_limit:
            return VOLUME
        return NONE

    def pause(self, marked: float) -> None:
        self.paused_steps = self.risk.pause_steps
        self.peak = self.baseline = marked
        self.marks.clear()
        self.marks.append(marked)
        self.volumes.clear()
