"""Several markets in one path, each in an order book: core equals oracle bit for bit, and so does the bot."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import cases
import oracle_portfolio
import panel
import pytest
import test_book_oracle
from cases import PATHS, one_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_bot import assert_same as assert_bot_is_simulation
from test_portfolio_oracle import told_alike

from mcmm.metrics import PLACES
from mcmm.scenario import Scenario

INF = math.inf
LEAST = 3  # scenarios in which each of the below has to act, whatever hypothesis draws
WANTED = [
    *(f"portfolio {action}" for action in ("halt", "pause", "flatten")),
    *("second portfolio trip", "a market's own reason first", "portfolio's share", "the share binds"),
    *("filled after the trip", "correlated", "three markets", "one market", "latencies of their own"),
    *("fill by the flow", "patient taker", "taker walks on", "stale order filled"),
]


@st.composite
def portfolios(draw: st.DrawFn, trips: bool = False) -> Scenario:
    """Markets with books of their own, and what joins them; with `trips` breakers that trip soon."""
    count = draw(st.sampled_from((2, 3, 2, 1)))
    chosen = [draw(test_book_oracle.scenarios()) for _ in range(count)]
    tables = []
    for place, each in enumerate(chosen):
        table = {"name": f"m-{place}", **each.to_dict()}
        del table["steps"], table["venue"]
        table["book"]["activity"] = min(table["book"]["activity"], 0.3)
        table["risk"] |= one_of(
            draw, breaker_action=("pause", "flatten", "pause", "halt"), pause_steps=(5, 1)
        )
        if trips:
            table["risk"] |= one_of(
                draw, drawdown_limit=(0.05, INF), volume_limit=(INF,), mark=("mid", "fair")
            )
        tables.append(table)
    joint = one_of(
        draw,
        correlation=(0.7, 0.0, 1.0),
        drawdown_limit=(0.05, 0.02) if trips else (0.5, 0.1, INF),
        exposure_limit=(INF,) if trips else (1.0, 5.0, INF),
    )
    shared = one_of(draw, drawdown_baseline=("peak", "start"))
    steps = min(each.steps for each in chosen)
    made = {"venue": "book", "steps": steps, "risk": shared, "markets": tables, "portfolio": joint}
    return Scenario.from_dict(made)


@st.composite
def replays(draw: st.DrawFn) -> tuple[Scenario, list[dict[str, Any]]]:
    """Such a portfolio with given orders in place of its takers."""
    made = draw(portfolios())
    made = made.replace({f"markets.{name}.recovery.disconnect_rate": 0.0 for name in made.market_names})
    markets = made.by_market().items()
    return made, [{**order, "market": name} for name, each in markets for order in draw(cases.orders(each))]


def compare(
    scenario: Scenario,
    seed: int,
    first_path: int,
    lanes: tuple[int, ...],
    orders: list[dict[str, Any]] | None = None,
) -> set[str]:
    """Assert that core and oracle agree, step by step and market by market; return what came about."""
    came_about: set[str] = set()
    for told in told_alike(scenario, seed, first_path, lanes, orders, PATHS):
        keep_the_rules(scenario, told.metrics)
        came_about |= told.acted | happened(scenario, told)
    return came_about


def keep_the_rules(scenario: Scenario, m: dict[str, float]) -> None:
    """What holds of every market, and of their sum."""
    for name, market in scenario.by_market().items():
        assert m[f"{name}.max_inventory"] <= market.risk.inventory_limit
        assert all(m[f"{name}.queue_fills_{place}"] <= m[f"{name}.volume"] for place in PLACES)
    for of in ("", *(f"{name}." for name in scenario.market_names)):
        parts = m[f"{of}spread_pnl"] + m[f"{of}inventory_pnl"] - m[f"{of}fees"]
        assert m[f"{of}pnl_fair"] == pytest.approx(parts, abs=1e-9)


def happened(scenario: Scenario, told: oracle_portfolio.Result) -> set[str]:
    m, markets = told.metrics, scenario.by_market().values()
    late = [
        now
        for rows in told.rows.values()
        for before, now in pairwise(rows)
        if before["halted"] and now["bought"] + now["sold"] > 0
    ]
    signs = {
        "the share binds": m["exposure_limit_steps"] > 0,
        "filled after the trip": bool(late),
        "correlated": scenario.portfolio.correlation > 0 and m["fills"] > 0,
        "three markets": len(markets) == 3,
        "one market": len(markets) == 1,
        "latencies of their own": len({each.book.cancel_latency for each in markets}) > 1,
    }
    return {sign for sign, came_about in signs.items() if came_about}


@pytest.mark.slow
def test_core_is_the_oracle_of_several_books() -> None:
    acted: Counter[str] = Counter()

    def all_of(made: st.SearchStrategy[Scenario], examples: int) -> Callable[[], None]:
        @settings(max_examples=examples, suppress_health_check=list(HealthCheck), deadline=None)
        @given(made, st.sampled_from((0, 7, 2**64 - 1)), st.sampled_from((0, 999, 2**48 - PATHS)))
        def each(scenario: Scenario, seed: int, first_path: int) -> None:
            acted.update(compare(scenario, seed, first_path, (0, 65)))

        return each

    tests = [all_of(portfolios(), 35), all_of(portfolios(trips=True), 35)]
    cases.until_seen(tests, acted, WANTED, LEAST)


def test_given_orders_in_several_books() -> None:
    acted: Counter[str] = Counter()

    @settings(max_examples=12, suppress_health_check=list(HealthCheck), deadline=None)
    @given(replays())
    def each(case: tuple[Scenario, list[dict[str, Any]]]) -> None:
        acted.update(compare(case[0], 7, 999, (0, 65), case[1]))

    wanted = ("order given stops at its limit", "order given walks on", "fill by the flow", "three markets")
    cases.until_seen([each], acted, wanted, 1)


def test_the_panel() -> None:
    """So that what is frozen is what the pages say, 16 distances and a joint trip included."""
    came_about = compare(Scenario.from_dict(panel.SCENARIOS["books"]), panel.SEED, 2**40 + 7, (0, 63, 64))
    assert {"portfolio's share", "portfolio pause", "portfolio flatten", "stale order filled"} <= came_about


def test_the_bot_in_several_books() -> None:
    """Every quote, fill, mark and metric, through restarts from its snapshots."""
    filled: list[Any] = []

    @settings(max_examples=15, deadline=None)
    @given(portfolios(), st.lists(st.integers(0, 40), max_size=3))
    def agree(scenario: Scenario, restarts: list[int]) -> None:
        filled.extend(assert_bot_is_simulation(scenario, 7, 5, restarts=restarts))

    agree()
    assert {fill.market for fill in filled} >= {"m-0", "m-1"}
