"""The oracle's policies that name their prices, from section 4 of docs/model.md: glosten_milgrom and lmsr."""

from __future__ import annotations

import oracle_numbers as numbers
from oracle_numbers import clip

from mcmm.scenario import Scenario

LEAST = 2.0**-50


class GlostenMilgrom:
    """A maker who learns from each trade that some takers know the outcome."""

    def __init__(self, scenario: Scenario) -> None:
        self.a = scenario.quoting.assumed_informed_fraction
        self.log_odds = numbers.logit(scenario.initial_mid)
        self.evidence = numbers.log((1 + self.a) / (1 - self.a))

    def prices(self, mid: float) -> tuple[float, float]:
        """E[O | a sell] and E[O | a buy]."""
        likely, unlikely = 1 + self.a, 1 - self.a
        sold, bought = mid * unlikely, mid * likely
        return sold / (sold + (1 - mid) * likely), bought / (bought + (1 - mid) * unlikely)

    def mid_after(self, v: int) -> float:
        side = 1 if v > 0 else -1
        self.log_odds = clip(self.log_odds + self.evidence * side, -20, 20)
        return numbers.logistic(self.log_odds)


class Lmsr:
    """Hanson's market scoring rule: a cost function of the contracts sold, net of those bought back."""

    def __init__(self, scenario: Scenario) -> None:
        self.b = scenario.quoting.liquidity
        self.first_mid = scenario.initial_mid
        self.first_log_odds = numbers.logit(self.first_mid)
        self.sold = 0
        self.cost = 0.0

    def prices(self, mid: float) -> tuple[float, float]:
        """What the next contract costs, bought from a taker or sold to one."""
        down, up = numbers.expm1(-1 / self.b), numbers.expm1(1 / self.b)
        return -(self.b * numbers.log1p(mid * down)), self.b * numbers.log1p(mid * up)

    def pay(self, v: int, markup: float) -> float:
        """What a fill pays: the difference of the cost function, and each contract's markup."""
        self.sold += v
        before, self.cost = self.cost, self.cost_of(self.sold)
        return (self.cost - before) + v * markup

    def cost_of(self, sold: int) -> float:
        by = sold / self.b
        if abs(by) < 1:
            return self.b * numbers.log1p(self.first_mid * numbers.expm1(by))
        return self.b * (numbers.softplus(self.first_log_odds + by) - numbers.softplus(self.first_log_odds))

    def mid_after(self, v: int) -> float:
        return numbers.logistic(clip(self.first_log_odds + self.sold / self.b, -36, 36))


def policy_of(scenario: Scenario) -> GlostenMilgrom | Lmsr | None:
    """The policy, where it is one of these."""
    match scenario.quoting.policy:
        case "glosten_milgrom":
            return GlostenMilgrom(scenario)
        case "lmsr":
            return Lmsr(scenario)
    return None


def widen(bid: float, ask: float, mid: float, below: float, above: float) -> tuple[float, float]:
    """Prices away from the mid by their multipliers, inside (0, 1), the ask above the bid."""
    bid = clip(bid + (below - 1) * (bid - mid), LEAST, 1 - 2 * LEAST)
    return bid, max(min(ask + (above - 1) * (ask - mid), 1 - LEAST), bid + LEAST)
