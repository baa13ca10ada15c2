"""Checkpoints are the trace's rows at equally spaced steps, bit for bit, and change nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mcmm
from mcmm import engine
from mcmm.errors import InputError
from mcmm.frames import checkpoint_steps

SCENARIOS: dict[str, dict[str, Any]] = {
    "defaults": {"steps": 100},
    "breaker and outages": {
        "steps": 90,
        "risk": {"drawdown_limit": 0.5, "mark": "fair", "breaker_action": "pause", "pause_steps": 5},
        "recovery": {"disconnect_rate": 0.05, "outage_steps": 4},
    },
    "stale quotes": {
        "steps": 80,
        "recovery": {"disconnect_rate": 0.1, "outage_steps": 3, "stale_quotes": True},
    },
    "continuous prices": {"steps": 64, "quoting": {"policy": "lmsr"}, "market": {"tick_size": 0}},
    "two markets": {
        "steps": 70,
        "portfolio": {"correlation": 0.5, "drawdown_limit": 1.0},
        "markets": [{"name": "fed"}, {"name": "cpi", "quoting": {"base_spread": 0.1}}],
    },
}


@pytest.mark.parametrize("tables", SCENARIOS.values(), ids=SCENARIOS)
@pytest.mark.parametrize("count", [1, 7, 64])
def test_checkpoints_are_the_traces_rows(tables: dict[str, Any], count: int) -> None:
    scenario = mcmm.Scenario.from_dict(tables)
    traced = mcmm.simulate(scenario, paths=150, seed=3, trace_paths=150)
    marked = mcmm.simulate(scenario, paths=150, seed=3, checkpoints=count, jobs=2)
    assert marked.values.tobytes() == traced.values.tobytes()
    steps = checkpoint_steps(scenario.steps, count)
    trace, marks = traced.trace_values, marked.checkpoint_values
    assert trace is not None
    assert marks is not None
    expected = {name: trace[name][..., steps] for name in ("pnl", "drawdown", "inventory")}
    expected["spread"] = trace["ask"][..., steps] - trace["bid"][..., steps]
    assert set(marks) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(marks[name], values, err_msg=name)
        assert marks[name].shape == ((150, 2, count) if scenario.markets else (150, count))


@pytest.mark.parametrize("tables", SCENARIOS.values(), ids=SCENARIOS)
def test_slices_do_not_show(tables: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = mcmm.Scenario.from_dict(tables)
    whole = mcmm.simulate(scenario, paths=200, seed=3, trace_paths=150, checkpoints=5)
    monkeypatch.setattr(engine, "_SLICE", 1)  # a block each: the last whole one traced, the next in part
    sliced = mcmm.simulate(scenario, paths=200, seed=3, trace_paths=150, checkpoints=5, jobs=2)
    assert sliced.values.tobytes() == whole.values.tobytes()
    for parts, together in (
        (sliced.trace_values, whole.trace_values),
        (sliced.checkpoint_values, whole.checkpoint_values),
    ):
        assert parts is not None
        assert together is not None
        for name, values in together.items():
            np.testing.assert_array_equal(parts[name], values, err_msg=name)


def test_the_last_checkpoint_is_the_paths_end() -> None:
    run = mcmm.simulate(mcmm.Scenario(steps=50), paths=300, seed=1, checkpoints=3)
    assert checkpoint_steps(50, 3).tolist() == [16, 33, 49]
    assert run.checkpoint_values is not None
    np.testing.assert_array_equal(run.checkpoint_values["pnl"][:, -1], run.paths["pnl"])
    np.testing.assert_array_equal(run.checkpoint_values["inventory"][:, -1], run.paths["final_inventory"])


def test_a_paths_checkpoints_depend_on_its_number_alone() -> None:
    scenario = mcmm.Scenario(steps=60)
    every = mcmm.simulate(scenario, paths=400, seed=5, checkpoints=6).checkpoint_values
    some = mcmm.simulate(scenario, paths=3, first_path=300, seed=5, checkpoints=6).checkpoint_values
    assert every is not None
    assert some is not None
    for name, values in every.items():
        np.testing.assert_array_equal(some[name], values[300:303])


def test_the_frame_has_a_row_for_each_checkpoint() -> None:
    run = mcmm.simulate(mcmm.Scenario(steps=40), paths=4, seed=2, first_path=10, checkpoints=4)
    frame = run.checkpoints
    assert list(frame.columns) == ["path", "step", "pnl", "drawdown", "inventory", "spread"]
    assert frame["path"].tolist() == [path for path in range(10, 14) for _ in range(4)]
    assert frame["step"].tolist() == [9, 19, 29, 39] * 4
    assert frame["inventory"].dtype == np.int64
    two = mcmm.Scenario.from_dict(SCENARIOS["two markets"])
    frame = mcmm.simulate(two, paths=2, checkpoints=2).checkpoints
    assert frame["market"].tolist() == ["fed", "fed", "cpi", "cpi"] * 2


@pytest.mark.parametrize(
    ("checkpoints", "message"),
    [
        (-1, "checkpoints: must be a whole number >= 0 and <= 40, got -1"),
        (41, "checkpoints: must be a whole number >= 0 and <= 40, got 41"),
        (True, "checkpoints: must be a whole number"),
    ],
)
def test_bad_counts_are_named(checkpoints: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        mcmm.simulate(mcmm.Scenario(steps=40), paths=4, checkpoints=checkpoints)


def test_too_many_are_refused_before_they_are_allocated() -> None:
    with pytest.raises(InputError, match="checkpoints: must be <= 2 with 10000000 paths, got 40"):
        mcmm.simulate(mcmm.Scenario(steps=40), paths=10_000_000, checkpoints=40)


def test_none_asked_for_is_said() -> None:
    with pytest.raises(InputError, match="checkpoints: none were recorded; simulate with checkpoints=K"):
        _ = mcmm.simulate(mcmm.Scenario(steps=40), paths=4).checkpoints
