"""The oracle of several markets in one path: a walk for each, and what docs/model.md says of their sum."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import oracle
import oracle_numbers as numbers
from oracle_risk import NONE, PORTFOLIO_DRAWDOWN
from oracle_venue import BookPath

from mcmm.metrics import BOOK_NAMES
from mcmm.scenario import Scenario

SUMMED = (
    *("fills", "volume", "notional", "fees", "pnl", "pnl_fair", "pnl_settled", "spread_pnl", "inventory_pnl"),
    *("final_inventory", "outages", "inventory_limit_steps", "informed_volume", "informed_pnl"),
)
"""Of each market's metrics; all that only a book reports is added up too."""


@dataclass(frozen=True)
class Result:
    """The portfolio's metrics, then each market's; each market's trace; and what acted on the portfolio."""

    metrics: dict[str, float]
    rows: dict[str, list[dict[str, float]]]
    acted: set[str]


def total(values: Iterable[float]) -> float:
    """From left to right, which the built-in sum does not do in every version of Python."""
    found = 0.0
    for value in values:
        found = found + value
    return found


class Portfolio:
    """One bot that quotes several markets."""

    def __init__(self, scenario: Scenario, seed: int, path: int, orders: Sequence[Any] | None) -> None:
        self.scenario, self.rules = scenario, scenario.portfolio
        limited = self.rules.exposure_limit < math.inf
        self.share = oracle.Share(math.inf)
        self.walks: dict[str, oracle.Path] = {}
        for place, (name, market) in enumerate(scenario.by_market().items()):
            draws = numbers.Draws(seed, path, place, self.rules.correlation)
            own = None if orders is None else [order for order in orders if order["market"] == name]
            share = self.share if limited else None
            self.walks[name] = (
                oracle.Path(market, draws, own, share)
                if scenario.venue == "quote"
                else BookPath(market, draws, own, share)
            )
        self.exposure = 0.0
        self.peak = self.peak_fair = 0.0  # of the whole path
        self.since = 0.0  # what the breaker measures from
        self.most: dict[str, float] = dict.fromkeys(
            ("max_drawdown", "max_drawdown_fair", "max_exposure", "max_inventory"), 0.0
        )
        self.trips, self.halt_step, self.overshoot = 0, -1, math.nan
        self.acted: set[str] = set()

    def step(self, t: int) -> dict[str, dict[str, float]]:
        walks = self.walks.values()
        self.share.dollars = max(0, (self.rules.exposure_limit - self.exposure) / len(walks))
        before = {name: walk.breaker.trips for name, walk in self.walks.items()}
        checked = any(walk.breaker.allows_quotes() for walk in walks)
        seen = {name: walk.step(t) for name, walk in self.walks.items()}
        marked = self.mark()
        if self.scenario.risk.drawdown_baseline == "peak":
            self.since = max(self.since, marked)
        drawdown = max(0, self.since - marked)
        if checked and drawdown >= self.rules.drawdown_limit:
            self.trip(t, marked, drawdown, before)
        return {name: row | self.walks[name].what_the_step_leaves() for name, row in seen.items()}

    def mark(self) -> float:
        walks = self.walks.values()
        marked, fair = total(walk.marked for walk in walks), total(walk.pnl_fair for walk in walks)
        self.exposure = total(walk.exposure for walk in walks)
        self.peak, self.peak_fair = max(self.peak, marked), max(self.peak_fair, fair)
        for name, value in (
            ("max_drawdown", self.peak - marked),
            ("max_drawdown_fair", self.peak_fair - fair),
            ("max_exposure", self.exposure),
            ("max_inventory", total(abs(walk.inventory) for walk in walks)),
        ):
            self.most[name] = max(self.most[name], value)
        return marked

    def trip(self, t: int, marked: float, drawdown: float, before: dict[str, int]) -> None:
        """Every market trips, by its own action; not the halted, nor who has just tripped by itself."""
        self.trips += 1
        if self.trips == 1:
            self.halt_step, self.overshoot = t, drawdown - self.rules.drawdown_limit
        self.since = marked
        for name, walk in self.walks.items():
            own = walk.breaker.trips > before[name]
            self.note("a market's own reason first", own)
            if own or walk.breaker.halted:
                continue
            self.note("a pause begun anew", walk.breaker.paused_steps > 0)
            action = walk.scenario.risk.breaker_action
            self.note(f"portfolio {action}", True)
            self.note("second portfolio trip", self.trips > 1)
            assert walk.breaker.act(t, walk.marked, PORTFOLIO_DRAWDOWN)
            walk.stop()

    def note(self, what: str, came_about: bool) -> None:
        if came_about:
            self.acted.add(what)

    def metrics(self) -> dict[str, float]:
        walks = self.walks.values()
        own = {name: walk.metrics() for name, walk in self.walks.items()}
        quoted = sum(walk.sums.quoted_steps for walk in walks)
        spread = total(walk.sums.spread_ticks * walk.tick for walk in walks)
        bounded = all(walk.scenario.bounded for walk in walks)
        summed = (*SUMMED, *(BOOK_NAMES if self.scenario.venue == "book" else ()))
        found = {name: total(each[name] for each in own.values()) for name in summed} | self.most
        found |= {
            "max_exposure": self.most["max_exposure"] if bounded else math.nan,
            "average_spread": spread / quoted if quoted else math.nan,
            "quoted_fraction": quoted / (self.scenario.steps * len(walks)),
            "trips": self.trips,
            "halt_step": self.halt_step,
            "halt_reason": PORTFOLIO_DRAWDOWN if self.trips else NONE,
            "breaker_overshoot": self.overshoot,
            "exposure_limit_steps": self.share.binding_steps,
            **dict.fromkeys(("delay_cost", "unwinding_cost", "realised_overshoot"), math.nan),
            **dict.fromkeys(("final_mid", "final_probability", "outcome"), math.nan),
        }
        order = next(iter(own.values()))
        return {name: found[name] for name in order} | {
            f"{market}.{name}": value for market, each in own.items() for name, value in each.items()
        }


def simulate(scenario: Scenario, seed: int, path: int, orders: Sequence[Any] | None = None) -> Result:
    """Walk one path of several markets; with orders, which name their market, a replayed one."""
    if orders is not None:
        own = {f"markets.{name}.flow.model": None for name in scenario.market_names}
        scenario = scenario.replace({**own, "flow.model": "replay"})
    portfolio = Portfolio(scenario, seed, path, orders)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in scenario.market_names}
    for t in range(scenario.steps):
        for name, row in portfolio.step(t).items():
            rows[name].append(row)
    acted = portfolio.acted.union(*(walk.acted for walk in portfolio.walks.values()))
    return Result(portfolio.metrics(), rows, acted)
