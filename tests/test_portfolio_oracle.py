"""Several markets in one path: core equals oracle bit for bit, whatever the markets and what joins them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cases
import numpy as np
import oracle_portfolio
import pandas as pd
import panel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_oracle import same

import mcmm
from mcmm.metrics import HALT_REASONS
from mcmm.scenario import Scenario

INF = math.inf
LEAST = 10  # scenarios in which each of the below has to act
EXAMPLES = {"joint breaker": 200, "joint exposure": 45, "correlated": 45, "replay": 40}
WANTED = [
    *(f"portfolio {action}" for action in ("halt", "pause", "flatten")),
    *("second portfolio trip", "a market's own reason first", "a pause begun anew", "portfolio's share"),
    *(
        "the share binds",
        "correlated outcomes",
        "correlated logit",
        "correlated arithmetic",
        "from the start",
    ),
    *("one market", "three markets or more", "replayed", "unwinding", "fill of a stale quote", "own breaker"),
    "scheduled news",
]


def within(schedule: dict[str, Any], steps: int) -> dict[str, Any]:
    """A schedule without what lies beyond a shorter path."""
    return {
        name: [row for row in rows if (row["start"] if isinstance(row, dict) else row[0]) < steps]
        if isinstance(rows, list)
        else rows
        for name, rows in schedule.items()
    }


@st.composite
def members(draw: st.DrawFn, regime: str) -> tuple[list[dict[str, Any]], int]:
    """Markets, each with settings of its own for everything, and the steps they have in common."""
    kinds = {
        "joint breaker": ("inventory", "drawdown pause", "loss flatten", "volume pause", "outage"),
        "joint exposure": ("exposure", "inventory", "outage", "close"),
        "correlated": ("free", "news", "inventory"),
        "replay": ("inventory", "exposure", "free"),
    }
    count = draw(st.sampled_from((2, 3, 1, 2, 4)))
    chosen = [
        draw(cases.scenarios(draw(st.sampled_from(kinds[regime])), regime == "replay")) for _ in range(count)
    ]
    if regime == "joint exposure":
        chosen = [each for each in chosen if each.bounded] or [Scenario(steps=90)]
    steps = min(each.steps for each in chosen)
    tables = []
    for place, each in enumerate(chosen):
        table = {"name": f"m-{place}", **each.to_dict()}
        del table["steps"]
        table["risk"]["close_steps"] = min(table["risk"]["close_steps"], steps)
        table["schedule"] = within(table["schedule"], steps)
        if regime == "correlated" and table["market"]["process"] == "logit":
            table["schedule"]["news"] = draw(st.sampled_from(([[steps // 2, 0.4]], [], [[0, 1.0]])))
        if regime == "joint breaker":
            table["risk"] |= cases.one_of(
                draw,
                breaker_action=("pause", "pause", "halt", "pause", "flatten"),
                pause_steps=(40, 12, 40, 3, 1),
                drawdown_limit=(0.1, INF, 0.3),
            )
        tables.append(table)
    return tables, steps


@st.composite
def portfolios(draw: st.DrawFn, regime: str) -> tuple[Scenario, list[dict[str, Any]] | None]:
    tables, steps = draw(members(regime))
    bounded = all(table["market"]["process"] != "arithmetic" for table in tables)
    limit = {"joint breaker": (0.02, 0.2, 1.0, 0.5), "replay": (0.3, INF)}.get(regime, (INF, INF, 1.0))
    room = (0.6, 2.0, 8.0, 0.1) if regime == "joint exposure" else (INF, INF, 4.0)
    joint = cases.one_of(
        draw,
        correlation=(0.5, 1.0, 0.1) if regime == "correlated" else (0.0, 0.7),
        drawdown_limit=limit,
        exposure_limit=room if bounded else (INF,),
    )
    shared = cases.one_of(draw, drawdown_baseline=("peak", "start"))
    scenario = Scenario.from_dict({"steps": steps, "risk": shared, "markets": tables, "portfolio": joint})
    if regime != "replay":
        return scenario, None
    orders = [
        {**order, "market": name}
        for name, market in scenario.by_market().items()
        for order in draw(cases.orders(market))
    ]
    return scenario, orders


def compare(
    scenario: Scenario, seed: int, first_path: int, lanes: Sequence[int], orders: list[dict[str, Any]] | None
) -> set[str]:
    """Assert that core and oracle agree on some of a run's paths; return what came about."""
    came_about: set[str] = set()
    for told in told_alike(scenario, seed, first_path, lanes, orders, cases.PATHS):
        came_about |= told.acted | happened(scenario, told.metrics, orders is not None)
    return came_about


def told_alike(
    scenario: Scenario,
    seed: int,
    first_path: int,
    lanes: Sequence[int],
    orders: list[dict[str, Any]] | None,
    paths: int,
) -> Iterator[oracle_portfolio.Result]:
    """Yield what the oracle says of some of so many paths, step by step and market by market as the core."""
    core = mcmm.simulate(
        scenario,
        paths=paths,
        seed=seed,
        first_path=first_path,
        trace_paths=paths,
        orders=None if orders is None else pd.DataFrame(orders),
    )
    assert core.trace_values is not None
    for lane in lanes:
        told = oracle_portfolio.simulate(scenario, seed, first_path + lane, orders)
        for place, (market, rows) in enumerate(told.rows.items()):
            for t, row in enumerate(rows):
                ours = {name: float(core.trace_values[name][lane, place, t]) for name in row}
                assert same(ours, row) == {}, f"path {first_path + lane}, market {market}, step {t}"
        assert tuple(told.metrics) == scenario.columns
        ours = dict(zip(scenario.columns, core.values[:, lane].tolist(), strict=True))
        assert same(ours, told.metrics) == {}, f"path {first_path + lane}: core and oracle"
        yield told


def happened(scenario: Scenario, m: dict[str, float], replayed: bool) -> set[str]:
    """What came about on a path, from what it reports."""
    markets = scenario.by_market()
    kinds = Counter(market.market.process for market in markets.values())
    rho = scenario.portfolio.correlation > 0 and not replayed
    own = {HALT_REASONS[int(m[f"{name}.halt_reason"])] for name in markets}
    late = [
        name
        for name, each in markets.items()
        if each.market.process == "threshold" and each.resolution_step > scenario.steps
    ]
    signs = {
        "the share binds": m["exposure_limit_steps"] > 0,
        "correlated outcomes": rho and bool(late),
        "correlated logit": rho and kinds["logit"] > 1,
        "correlated arithmetic": rho and kinds["arithmetic"] > 0,
        "from the start": m["trips"] > 0 and scenario.risk.drawdown_baseline == "start",
        "one market": len(markets) == 1,
        "three markets or more": len(markets) > 2,
        "replayed": replayed and m["fills"] > 0,
        "own breaker": bool(own - {"none", "portfolio_drawdown"}),
        "unwinding": m["trips"] > 0 and any(x.risk.breaker_action == "flatten" for x in markets.values()),
    }
    return {sign for sign, came_about in signs.items() if came_about}


@pytest.mark.slow
def test_core_is_the_oracle_of_several_markets() -> None:
    acted: Counter[str] = Counter()
    default = settings()

    def of(regime: str) -> Callable[[], None]:
        @settings(
            max_examples=EXAMPLES[regime] if default.derandomize else default.max_examples,
            suppress_health_check=list(HealthCheck),
        )
        @given(portfolios(regime), st.sampled_from(cases.SEEDS), st.sampled_from(cases.EDGES))
        def each(case: Any, start: int, first_path: int) -> None:
            acted.update(compare(case[0], start, first_path, (0, 65), case[1]))

        return each

    cases.until_seen([of(regime) for regime in EXAMPLES], acted, WANTED, LEAST)


@pytest.mark.parametrize("first_path", [0, 2**40 + 7])
def test_a_mixed_portfolio(first_path: int) -> None:
    """So that what is frozen in the panel is what the pages say."""
    came_about = compare(
        Scenario.from_dict(panel.SCENARIOS["portfolio"]), panel.SEED, first_path, (0, 1, 63, 64), None
    )
    assert {"portfolio's share", "correlated outcomes", "portfolio pause", "portfolio flatten"} <= came_about


def test_seventy_markets() -> None:
    names = [f"m{place}" for place in range(70)]
    scenario = Scenario.from_dict(
        {
            "steps": 12,
            "flow": {"arrival_rate": 1.0},
            "markets": [
                {"name": name, "quoting": {"base_spread": 0.02 + 0.002 * k}} for k, name in enumerate(names)
            ],
            "portfolio": {"correlation": 0.4, "exposure_limit": 200.0, "drawdown_limit": 4.0},
        }
    )
    compare(scenario, 11, 7, (0, 65), None)
    rows = mcmm.simulate(scenario, paths=2, seed=1).paths
    assert len({tuple(rows[f"{name}.volume"]) + tuple(rows[f"{name}.pnl_fair"]) for name in names}) == 70
    assert rows["volume"].tolist() == np.sum([rows[f"{name}.volume"] for name in names], axis=0).tolist()
