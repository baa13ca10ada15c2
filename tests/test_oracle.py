"""The core equals the oracle bit for bit: every metric and every column of the trace, whatever the settings.

What acted is counted from what happened, so that no limit, breaker or policy can pass by never coming about.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import cases
import numpy as np
import oracle
import oracle_numbers as numbers
import pandas as pd
import panel
import pytest
from hypothesis import HealthCheck, given, settings

import mcmm
from mcmm.frames import checkpoint_steps
from mcmm.metrics import HALT_REASONS, NAMES
from mcmm.plan import size_thresholds
from mcmm.schedule import SHAPES

LEAST = 20  # scenarios in which each of the below has to act
SCENARIOS, REPLAYS = 100, 90  # of each regime

BREAKERS = [*cases.BREAKERS, "drawdown from the start", "marks at fair value", "unwinding", "second trip"]
BREAKERS += ["quotes after a pause"]
LIMITS = ["inventory limit", "exposure limit", "passive quote", "defensive shade", "close_steps", "no limit"]
POLICIES = [
    "adaptive on logit",
    "adaptive on threshold",
    *(
        f"{policy} on {process}"
        for policy in ("symmetric", "avellaneda_stoikov")
        for process in ("logit", "threshold", "arithmetic")
    ),
    *("glosten_milgrom on logit", "lmsr on logit", "lmsr pays a fee"),
]
MARKET = ["fees rounded up", "rebate", "prices without a grid", "unbounded grid", "part of an order filled"]
RANDOM = [
    *(f"sizes {law}" for law in ("geometric", "fixed", "lognormal", "empirical")),
    *("takers", "intensity", "fills of both sides", "news", "clustering", "herding"),
    *("informed by probability", "informed by outcome", "price sensitivity", "reference", "resolution"),
    *("outage", "fill of a stale quote", "quotes after an outage", "recovery ramp"),
    *("glosten_milgrom on threshold", "lmsr on threshold", "glosten_milgrom widened", "lmsr widened"),
    *("scheduled news", "fill while the venue pauses", "quotes after a venue's pause"),
    *(f"schedule of {shape}" for shape in ("arrival_rate", "informed_fraction", "volatility")),
]
REPLAYED = ["limit order filled", "limit order refused", "fair value moved"]


def happened(case: cases.Case, result: oracle.Result) -> set[str]:
    """What came about on a path, from what it reports."""
    s, m, rows = case.scenario, result.metrics, result.rows
    reason, action = HALT_REASONS[int(m["halt_reason"])], s.risk.breaker_action
    quoted = [t for t, row in enumerate(rows) if row["quoting"]]
    filled = m["fills"] > 0
    replay = case.orders is not None
    resumed = min((pause.start + pause.steps for pause in s.schedule.pauses), default=0)
    takers = s.flow.model == "takers"
    learns = s.bounded and s.quoting.policy in ("adaptive", "avellaneda_stoikov")
    widened = result.acted & {"recovery ramp", "passive quote"}
    signs = {
        f"{reason} {action}": m["trips"] > 0,
        "drawdown from the start": reason == "drawdown" and s.risk.drawdown_baseline == "start",
        "marks at fair value": m["trips"] > 0 and s.risk.mark == "fair",
        "second trip": m["trips"] > 1,
        "quotes after a pause": m["trips"] > 0 and action == "pause" and quoted[-1] > m["halt_step"],
        "unwinding": m["volume"] > sum(row["bought"] + row["sold"] for row in rows),
        "inventory limit": m["inventory_limit_steps"] > 0,
        "exposure limit": m["exposure_limit_steps"] > 0,
        "no limit": filled and s.risk.inventory_limit == math.inf,
        f"{s.quoting.policy} on {s.market.process}": filled,
        f"{s.quoting.policy} widened": filled and bool(widened),
        f"{s.quoting.policy} pays a fee": m["fees"] != 0,
        f"sizes {s.flow.size_distribution}": filled and takers,
        s.flow.model: filled,
        "clustering": filled and takers and s.flow.clustering > 0,
        "informed by probability": m["informed_volume"] > 0 and s.flow.informed_know == "probability",
        "informed by outcome": m["informed_volume"] > 0 and s.flow.informed_know == "outcome",
        "price sensitivity": filled and takers and s.flow.price_sensitivity > 0,
        "reference": bool(quoted) and learns and s.quoting.reference_weight > 0,
        "resolution": s.market.process == "threshold" and m["final_probability"] in (0, 1) and not replay,
        "outage": m["outages"] > 0,
        "quotes after an outage": any(not rows[t - 1]["quoting"] for t in quoted[1:]) and not m["trips"],
        "fees rounded up": m["fees"] > 0 and s.fees.rounding > 0,
        "rebate": m["fees"] < 0,
        **{f"schedule of {shape}": filled and bool(getattr(s.schedule, shape)) for shape in SHAPES},
        "quotes after a venue's pause": any(row["quoting"] for row in rows[resumed:]) and resumed > 0,
        "prices without a grid": filled and not s.ticks,
        "unbounded grid": filled and not s.bounded and s.ticks > 0,
        "fair value moved": m["final_probability"] != rows[0]["probability"] and replay,
    }
    return result.acted | {sign for sign, came_about in signs.items() if came_about}


def compare(case: cases.Case) -> set[str]:
    """Assert that core and oracle agree on a case; return what came about in it."""
    orders = None if case.orders is None else pd.DataFrame(case.orders)
    core = mcmm.simulate(
        case.scenario,
        paths=cases.PATHS,
        seed=case.seed,
        first_path=case.first_path,
        trace_paths=cases.PATHS,
        orders=orders,
    )
    assert core.trace_values is not None
    # Without a trace, so that nothing but the checkpoints asks for the books of a step.
    count = min(7, case.scenario.steps)
    marked = mcmm.simulate(
        case.scenario,
        paths=cases.PATHS,
        seed=case.seed,
        first_path=case.first_path,
        checkpoints=count,
        orders=orders,
    )
    assert marked.values.tobytes() == core.values.tobytes()
    came_about: set[str] = set()
    for lane in case.lanes:
        path = case.first_path + lane
        told = oracle.simulate(case.scenario, case.seed, path, case.orders)
        assert set(core.trace_values) == set(told.rows[0])
        # Steps before sums: the first difference in a trace is nearest to its cause.
        for t, row in enumerate(told.rows):
            ours = {name: float(core.trace_values[name][lane, t]) for name in row}
            assert same(ours, row) == {}, f"path {path}, step {t}: core and oracle"
        for place, t in enumerate(checkpoint_steps(case.scenario.steps, count)):
            row = told.rows[t]
            theirs = {name: row[name] for name in ("pnl", "drawdown", "inventory")}
            theirs["spread"] = row["ask"] - row["bid"]
            ours = {name: float(values[lane, place]) for name, values in marked.checkpoint_values.items()}
            assert same(ours, theirs) == {}, f"path {path}, checkpoint {place}: core and oracle"
        assert tuple(told.metrics) == NAMES
        ours = dict(zip(NAMES, core.values[:, lane].tolist(), strict=True))
        assert_held_to_change(case, told)
        assert same(ours, told.metrics) == {}, f"path {path}: core and oracle"
        came_about |= happened(case, told)
    return came_about


def assert_held_to_change(case: cases.Case, told: oracle.Result) -> None:
    """inventory_pnl, summed by parts, is the sum of what each step's inventory made of the change in p."""
    rows, m = told.rows, told.metrics
    worth = [row["probability"] for row in rows[1:]] + [m["final_probability"]]
    if m["volume"] == sum(
        row["bought"] + row["sold"] for row in rows
    ):  # nothing was unwound between two steps
        made = [
            row["inventory"] * (after - row["probability"]) for row, after in zip(rows, worth, strict=True)
        ]
        size = max(1.0, m["volume"] * max(map(abs, worth)))
        assert abs(m["inventory_pnl"] - math.fsum(made)) < 1e-12 * size * len(rows)


def same(ours: dict[str, float], theirs: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Where two rows differ: not in the sign of a zero, nor in what is NaN in both."""
    return {
        name: (ours[name], value)
        for name, value in theirs.items()
        if ours[name] != value and not (math.isnan(ours[name]) and math.isnan(value))
    }


def compare_generated(regimes: Sequence[str], replay: bool, examples: int, wanted: Sequence[str]) -> int:
    """Compare as many cases of each regime, or more until all that is wanted came about; count scenarios."""
    acted: Counter[str] = Counter()
    digests: set[str] = set()
    default = settings()
    budget = examples if default.derandomize else default.max_examples

    def of(regime: str) -> Callable[[], None]:
        @settings(max_examples=budget, suppress_health_check=list(HealthCheck))
        @given(cases.cases(regime, replay))
        def each(case: cases.Case) -> None:
            acted.update(compare(case))
            digests.add(case.scenario.digest())

        return each

    cases.until_seen([of(regime) for regime in regimes], acted, wanted, LEAST)
    return len(digests)


@pytest.mark.slow
def test_core_is_the_oracle() -> None:
    wanted = BREAKERS + LIMITS + POLICIES + MARKET + RANDOM
    assert compare_generated(cases.REGIMES, replay=False, examples=SCENARIOS, wanted=wanted) >= 500


@pytest.mark.slow
def test_core_is_the_oracle_in_replay() -> None:
    wanted = LIMITS + POLICIES + MARKET + REPLAYED
    assert compare_generated(cases.REPLAY_REGIMES, replay=True, examples=REPLAYS, wanted=wanted) >= 200


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in panel.SCENARIOS
        if name not in ("portfolio", "book", "books") and name not in panel.POLICIES
    ],
)
def test_the_panel(name: str) -> None:
    """So that what is frozen is what the pages say."""
    scenario = mcmm.Scenario.from_dict(panel.SCENARIOS[name])
    orders: Any = panel.ORDERS.to_dict("records") if name == "replay" else None
    came_about = [
        compare(cases.Case(scenario, panel.SEED, first_path, (0, 63, 64), orders))
        for first_path in (0, 2**40 + 7)
    ]
    # What is frozen must move, or its hash would hold nothing.
    assert all(came_about)


@pytest.mark.parametrize("name", ["news", "pauses", "threshold exposure"])
def test_long_paths(name: str) -> None:
    scenario = mcmm.Scenario.from_dict({**panel.SCENARIOS[name], "market": {}, "steps": 5_000})
    assert len(compare(cases.Case(scenario, 3, 0, (0, 65)))) > 5


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"quoting": {"imbalance_shade": 0.0}, "flow": {"informed_fraction": 0.0}},
        {"quoting": {"imbalance_window": 1, "inventory_shade": 0.002}},
        {"quoting": {"imbalance_window": 3}, "risk": {"inventory_limit": math.inf}},
    ],
)
def test_halts_where_every_phase_is_one_pass(tables: dict[str, Any]) -> None:
    """Without fees, news, a schedule or herding all phases are taken at once, and a halt stops the takers."""
    risk = {"drawdown_limit": 0.4} | tables.get("risk", {})
    scenario = mcmm.Scenario.from_dict({"steps": 400, **tables, "risk": risk})
    halted = mcmm.simulate(scenario, paths=64, seed=2).values[NAMES.index("halt_step")]
    assert 20 < (halted >= 0).sum() < 64
    lanes = [*np.flatnonzero(halted >= 0)[:3], *np.flatnonzero(halted < 0)[:1]]
    assert "drawdown halt" in compare(cases.Case(scenario, 2, 0, tuple(int(lane) for lane in lanes)))


@pytest.mark.parametrize(
    ("setting", "purpose"),
    [
        ("market.initial_probability", numbers.OUTCOME),
        ("market.news_rate", numbers.NEWS),
        ("flow.arrival_rate", numbers.ARRIVAL),
        ("flow.informed_fraction", numbers.INFORMED),
        ("flow.noise_buy_fraction", numbers.SIDE),
        ("recovery.disconnect_rate", numbers.DISCONNECT),
    ],
)
def test_a_chance_is_a_strict_bound(setting: str, purpose: int) -> None:
    """An event happens if u < chance: not if they are equal, but then for the next larger chance."""
    u = numbers.Draws(seed=1, path=0).uniform(0, purpose)
    scenario = mcmm.Scenario.from_dict(
        {
            "steps": 5,
            "market": {"news_strength": 0.2},
            "flow": {"arrival_rate": 1.0, "informed_fraction": 0.0, "price_sensitivity": 0.0},
        }
    )
    outcomes = []
    for chance in (u, math.nextafter(u, 1)):
        case = cases.Case(scenario.replace({setting: chance}), 1, 0, (0,))
        compare(case)
        outcomes.append(oracle.simulate(case.scenario, 1, 0))
    first, second = outcomes
    assert (first.rows, first.metrics["outcome"]) != (second.rows, second.metrics["outcome"])


def test_size_thresholds_are_the_oracles() -> None:
    """Whole draws, one by one: a threshold that is off by one shows in one of two thousand million."""
    laws: list[dict[str, Any]] = [
        *({"size_mean": mean} for mean in (1.0, 1.25, 3.0, 17.3, 1e9)),
        *(
            {"size_distribution": "lognormal", "size_mean": mean, "size_sigma": sigma}
            for mean in (1.0, 4.4, 30.0)
            for sigma in (0.3, 1.0, 2.5)
        ),
        {"size_distribution": "fixed", "size_mean": 7.0},
        {
            "size_distribution": "empirical",
            "size_table": [(4, 0.1), (1, 1 / 3), (4, 2.7), (90, 1.0), (9, 0.7)],
        },
    ]
    compared = 0
    for law in laws:
        for size_max, quote_size in ((20, 10), (50, 50), (70, 1000), (9, 1)):
            scenario = mcmm.Scenario.from_dict(
                {"flow": {**law, "size_max": size_max}, "quoting": {"quote_size": quote_size}}
            )
            draws = [threshold * 2**31 for threshold in numbers.size_thresholds(scenario)]
            bounds = size_thresholds(scenario.flow, quote_size).tolist()
            assert [bound + 1 for bound in bounds[: len(draws)]] == draws
            assert all(bound == 2**31 - 1 for bound in bounds[len(draws) :])
            compared += len(draws)
    assert compared > 1_000
