"""The oracle's market, told from sections 3 and 5 of docs/model.md: fair value, and who comes to trade."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import oracle_numbers as numbers
from oracle_numbers import clip
from oracle_schedule import Schedule

from mcmm.scenario import Scenario


@dataclass
class Quote:
    """What rests in the book: prices in ticks (dollars without a grid) and dollars, sizes in contracts."""

    bid_ticks: float
    ask_ticks: float
    bid: float
    ask: float
    bid_size: int
    ask_size: int
    bid_markup: float = 0.0
    ask_markup: float = 0.0


@dataclass(frozen=True)
class Taker:
    """Who trades in this step: contracts wanted, buys positive."""

    wanted: int
    informed: bool = False


class FairValue:
    """p, and the outcome it settles at; `given` are a replay's values by step, None for a random path."""

    def __init__(
        self, scenario: Scenario, draws: numbers.Draws, given: Mapping[int, float] | None, acted: set[str]
    ) -> None:
        self.scenario, self.draws, self.given, self.acted = scenario, draws, given, acted
        self.schedule = Schedule(scenario)
        self.resolution = scenario.resolution_step
        self.outcome_draw = draws.uniform(0, numbers.OUTCOME)
        p = scenario.market.initial_probability
        match scenario.market.process:
            case "logit":
                self.drawn_outcome = float(self.outcome_draw < p)
                self.x = numbers.logit(p)
            case "threshold":
                self.b = math.sqrt(self.resolution) * numbers.normal_quantile(p)
            case "arithmetic":
                p = scenario.initial_mid
        self.p = p

    def move(self, t: int) -> bool:
        """Move p to its next value; whether there was news."""
        if self.given is not None:
            self.p = self.given.get(t, self.p)
            return False
        match self.scenario.market.process:
            case "logit":
                self.diffuse(t)
                return self.jump(t)
            case "threshold":
                self.walk(t)
            case "arithmetic":
                z = self.draws.shock(t)
                self.p = self.p + self.volatility(t) * z
        return False

    def volatility(self, t: int) -> float:
        return self.scenario.market.volatility * self.schedule.multiplier("volatility", t)

    def diffuse(self, t: int) -> None:
        market = self.scenario.market
        if market.volatility or market.news_rate or self.scenario.schedule.news:
            v = self.volatility(t)
            z = self.draws.shock(t)
            self.x = clip(self.x + ((self.drawn_outcome - 0.5) * (v * v) + v * z), -36, 36)
            self.p = float(numbers.single_logistic(numbers.single(self.x)))

    def jump(self, t: int) -> bool:
        market = self.scenario.market
        scheduled = self.schedule.news(t)
        if scheduled is None and not self.draws.happens(market.news_rate, t, numbers.NEWS):
            return False
        self.acted.add("news" if scheduled is None else "scheduled news")
        p, kappa = self.p, market.news_strength if scheduled is None else scheduled
        up = self.draws.happens(p + kappa * (self.drawn_outcome - p), t, numbers.NEWS_DIRECTION)
        end = 1 if up else 0
        self.p = p + kappa * (end - p)
        complement = (1 - p) - kappa * (end - p)
        self.x = clip(numbers.log(max(self.p, 1e-18) / max(complement, 1e-18)), -36, 36)
        return True

    def walk(self, t: int) -> None:
        self.b = self.b + self.draws.shock(t)
        left = self.resolution - (t + 1)
        if left:
            self.p = numbers.normal_cdf(self.b * (1 / math.sqrt(left)))
        else:
            self.p = 1.0 if self.b > 0 else 0.0

    def outcome(self) -> float:
        """What the contract pays after the last step."""
        if not self.scenario.bounded:
            return math.nan
        if self.scenario.market.process == "logit" and self.given is None:
            return self.drawn_outcome
        left = self.resolution - self.scenario.steps
        if self.given is None and left and self.draws.correlation > 0:
            # What is left of the walks is correlated as they were.
            common = numbers.normal_quantile(self.draws.uniform(0, numbers.COMMON_OUTCOME))
            rest = self.draws.joined(common, numbers.normal_quantile(self.outcome_draw))
            return float(rest < self.b * (1 / math.sqrt(left)))
        return float(self.outcome_draw < self.p)


class Takers:
    """One taker at most a step: arrivals that excite arrivals, informed takers and others."""

    def __init__(self, scenario: Scenario, draws: numbers.Draws, fair: FairValue, acted: set[str]) -> None:
        self.flow, self.draws, self.fair, self.acted = scenario.flow, draws, fair, acted
        self.size_thresholds = numbers.size_thresholds(scenario)
        self.schedule = fair.schedule
        self.excitation = self.flow.clustering * self.arrival_rate(0)
        self.decay = numbers.exp(-1 / self.flow.clustering_steps)
        self.last_side = 0

    def come(self, t: int, quote: Quote | None) -> Taker | None:
        """The taker of this step, if one comes and wants to trade at the quote."""
        if not self.arrives(t):
            return None
        share = self.flow.informed_fraction * self.schedule.multiplier("informed_fraction", t)
        informed = self.draws.happens(share, t, numbers.INFORMED)
        side = self.informed_side(quote) if informed else self.uninformed_side(t)
        if side:
            self.last_side = side
        if quote is None or side == 0 or not (informed or self.accepts(side, quote, t)):
            return None
        u = self.draws.uniform(t, numbers.SIZE)
        return Taker(side * (1 + sum(threshold <= u for threshold in self.size_thresholds)), informed)

    def arrival_rate(self, t: int) -> float:
        return self.flow.arrival_rate * self.schedule.multiplier("arrival_rate", t)

    def arrives(self, t: int) -> bool:
        n = self.flow.clustering
        chance = min(1, self.arrival_rate(t) * (1 - n) + self.excitation)
        arrives = self.draws.happens(chance, t, numbers.ARRIVAL)
        self.excitation = self.excitation * self.decay
        if arrives:
            self.excitation = self.excitation + n * (1 - self.decay)
        return arrives

    def hear_news(self) -> None:
        self.excitation = self.excitation + self.flow.news_excitation

    def informed_side(self, quote: Quote | None) -> int:
        if quote is None:
            return 0
        known = self.fair.p if self.flow.informed_know == "probability" else self.fair.drawn_outcome
        if quote.ask_size > 0 and known > quote.ask:
            return 1
        if quote.bid_size > 0 and known < quote.bid:
            return -1
        return 0

    def uninformed_side(self, t: int) -> int:
        if self.last_side and self.draws.happens(self.flow.herding, t, numbers.HERDING):
            self.acted.add("herding")
            return self.last_side
        return 1 if self.draws.happens(self.flow.noise_buy_fraction, t, numbers.SIDE) else -1

    def accepts(self, side: int, quote: Quote, t: int) -> bool:
        cost = quote.ask - self.fair.p if side > 0 else self.fair.p - quote.bid
        reluctance = min(self.flow.price_sensitivity * max(0, cost), 87)
        chance = numbers.single_exp(-numbers.single(reluctance))
        return self.draws.happens_in_single(chance, t, numbers.SENSITIVITY)


def hits(scenario: Scenario, draws: numbers.Draws, t: int, p: float, quote: Quote) -> list[Taker]:
    """Flow `intensity`: each side is hit on its own for one contract, the bid first."""
    flow = scenario.flow
    takers = []
    for side, distance, purpose in (
        (-1, p - quote.bid, numbers.BID_HIT),
        (1, quote.ask - p, numbers.ASK_HIT),
    ):
        decay = numbers.single(clip(flow.intensity_decay * distance, -87, 87))
        chance = numbers.single(flow.intensity_scale * flow.dt) * numbers.single_exp(-decay)
        if draws.happens_in_single(chance, t, purpose):
            takers.append(Taker(side))
    return takers


def accepts_limit(scenario: Scenario, order: Mapping[str, float], quote: Quote) -> bool:
    """Flow `replay`: whether the quote is at or better than the order's limit."""
    limit = order.get("limit", math.nan)
    if math.isnan(limit):
        return True
    grace = 1e-9 / scenario.ticks if scenario.ticks else 0.0
    return quote.ask <= limit + grace if order["side"] > 0 else quote.bid >= limit - grace
