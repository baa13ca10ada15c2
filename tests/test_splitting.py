"""Splitting: resumed paths are the core's own; its chances are those of counting and of an exact chain."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import mcmm
from benchmarks.certify import CHAIN, chance_of_drawdown
from mcmm._isa import core
from mcmm.engine import resume_rows, run_rows
from mcmm.errors import InputError
from mcmm.splitting import rare_event

#: Every kind of state: windows, breakers, outages, news, herding, clustering.
BUSY: dict[str, Any] = {
    "steps": 200,
    "market": {"news_rate": 0.01, "news_strength": 0.2},
    "flow": {"clustering": 0.4, "herding": 0.3},
    "risk": {
        "loss_limit": 5.0,
        "loss_window": 13,
        "volume_limit": 60,
        "volume_window": 7,
        "breaker_action": "pause",
    },
    "recovery": {"disconnect_rate": 0.02, "outage_steps": 5, "stale_quotes": True},
}


@pytest.mark.parametrize("metric", ["max_drawdown", "max_drawdown_fair"])
def test_from_the_beginning_it_is_the_simulation(metric: str) -> None:
    scenario = mcmm.Scenario(**BUSY)
    rows = run_rows(scenario, 5, 0, 300)[scenario.columns.index(metric)]
    level = float(np.quantile(rows, 0.6))
    found = resume_rows(scenario, 5, 300, metric.endswith("fair"), level)
    assert (found.crossed >= 0).tolist() == (rows > level).tolist()
    assert found.reached[rows <= level].tolist() == rows[rows <= level].tolist()
    assert 0.0 < level < rows.max()


@pytest.mark.parametrize(
    ("tables", "unkept"),
    [
        (BUSY, ()),
        ({"steps": 150}, ()),
        ({"steps": 90, "flow": {"model": "intensity"}}, ()),
        # A breaker that trips in the very step in which a path passes, 15 times; and one that is checked
        # in one pass, where what it is measured from is written down when any neighbour trips.
        ({"steps": 150, "risk": {"drawdown_limit": 0.5, "mark": "fair"}}, ()),
        ({"steps": 150, "risk": {"drawdown_limit": 0.5}}, ("reference", "tripped")),
    ],
)
def test_a_path_resumed_with_its_own_draws_goes_on_as_if_it_had_never_stopped(
    tables: dict[str, Any], unkept: tuple[str, ...]
) -> None:
    """The whole state is copied: with the same seed and place, what follows is the same path, bit for bit."""
    scenario = mcmm.Scenario(**tables)
    paths = 64 * 3
    rows = run_rows(scenario, 5, 0, paths)[scenario.columns.index("max_drawdown_fair")]
    low, high = np.quantile(rows, [0.2, 0.7])
    first = resume_rows(scenario, 5, paths, True, float(low))
    # A path that has not passed starts again at its end, where there is nothing left to run.
    starts = np.where(first.crossed >= 0, first.crossed, scenario.steps)
    again = resume_rows(scenario, 5, paths, True, float(high), first.entrances, starts)
    passed = first.crossed >= 0
    assert (again.crossed >= 0)[passed].tolist() == (rows > high)[passed].tolist()
    stayed = passed & (rows <= high)
    assert stayed.sum() > 20
    assert again.reached[stayed].tolist() == rows[stayed].tolist()
    straight = resume_rows(scenario, 5, paths, True, float(high))
    assert again.crossed[passed].tolist() == straight.crossed[passed].tolist()
    both = passed & (straight.crossed >= 0)
    for found in (again, straight):
        for row in unkept:
            place = 8 * core.STATE_ROWS_WIDE.index(row)
            found.entrances[:, place : place + 8] = 0
    assert again.entrances[both].tobytes() == straight.entrances[both].tobytes()


def test_another_seed_is_another_future_from_the_same_past() -> None:
    scenario = mcmm.Scenario(**BUSY)
    first = resume_rows(scenario, 5, 256, True, 0.2)
    entered = np.flatnonzero(first.crossed >= 0)
    entered = entered[np.argsort(first.crossed[entered], kind="stable")]
    one, other = (
        resume_rows(
            scenario, seed, entered.size, True, 30.0, first.entrances[entered], first.crossed[entered]
        )
        for seed in (6, 7)
    )
    assert one.reached.tolist() != other.reached.tolist()
    assert (one.reached > 0.2).all()


def test_a_chance_equals_that_of_counting() -> None:
    scenario = mcmm.Scenario(steps=300)
    counted = run_rows(scenario, 99, 0, 100_000)[scenario.columns.index("max_drawdown_fair")]
    found = rare_event(scenario, "max_drawdown_fair > 10", seed=3, effort=1024, replicates=16)
    share = (counted > 10).mean()
    error = math.hypot(found.standard_error, math.sqrt(share * (1 - share) / counted.size))
    assert len(found.levels) >= 2
    assert abs(found.chance - share) < 3.5 * error


@pytest.mark.parametrize("cents", [200, 300])
def test_a_chance_equals_that_of_a_chain_that_is_solved_exactly(cents: int) -> None:
    found = rare_event(
        mcmm.Scenario(**CHAIN),
        f"max_drawdown_fair > {cents / 100 + 0.005}",
        seed=4,
        effort=4096,
        replicates=16,
    )
    assert abs(found.chance - chance_of_drawdown(cents)) < 3.5 * found.standard_error
    assert not found.warnings
    assert found.interval.low < found.chance < found.interval.high


def test_a_millionth_takes_a_hundredth_of_the_work() -> None:
    found = rare_event(
        mcmm.Scenario(**CHAIN), "max_drawdown_fair > 3.305", seed=4, effort=8192, replicates=16
    )
    assert abs(found.chance - chance_of_drawdown(330)) < 3.5 * found.standard_error
    assert found.saving >= 100


def test_threads_change_nothing() -> None:
    scenario = mcmm.Scenario(steps=100)
    one, other = (
        rare_event(scenario, "max_drawdown_fair > 2", seed=2, effort=1024, replicates=8, jobs=jobs)
        for jobs in (1, 3)
    )
    assert one == other


def test_too_few_replicates_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="2 replicates are too few"):
        found = rare_event(mcmm.Scenario(steps=50), "max_drawdown_fair > 1", effort=1024, replicates=2)
    assert found.warnings


@pytest.mark.parametrize(
    ("event", "options", "line"),
    [
        ("max_drawdwn > 5", {}, "did you mean max_drawdown?"),
        ("pnl > 5", {}, "event: must be max_drawdown or max_drawdown_fair"),
        (
            "max_drawdown > abc",
            {},
            "event: must be max_drawdown or max_drawdown_fair, > and a number of dollars",
        ),
        ("max_drawdown < 5", {}, "event: must be max_drawdown or max_drawdown_fair"),
        ("__import__('os') > 5", {}, "event: must be a comparison of metrics"),
        ("max_drawdown > 5", {"effort": 1}, "effort: must be a whole number >= 64"),
        ("max_drawdown > 5", {"replicates": 1}, "replicates: must be a whole number >= 2"),
        ("max_drawdown > 5", {"confidence": 1.0}, "confidence: must be strictly between 0 and 1"),
        ("max_drawdown > 5", {"levels": [3, 2]}, "levels: must rise"),
        ("max_drawdown > 5", {"levels": [3, 7]}, "levels: must rise"),
    ],
)
def test_what_cannot_be_split_is_refused(event: str, options: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as caught:
        rare_event(mcmm.Scenario(steps=20), event, **options)
    assert line in str(caught.value)
    with pytest.raises(InputError, match="must have one market"):
        rare_event(mcmm.Scenario(markets=[{"name": "a"}, {"name": "b"}]), "max_drawdown > 5")
