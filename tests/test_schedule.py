"""The schedule's table: what is accepted, every kind of refusal, and the axes of a study that vary it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mcmm
from mcmm.engine import run_rows
from mcmm.errors import ScenarioError
from mcmm.plan import _pieces
from mcmm.scenario import Scenario
from mcmm.schedule import multiplier, turns
from mcmm.study import Study

SHAPE = "a whole number >= 0 and < 1e8 and a number >= 0 and <= 1e6"
NEWS = "a whole number >= 0 and < 1e8 and a number >= 0 and <= 1"


def refusal(changes: dict[str, Any]) -> str:
    with pytest.raises(ScenarioError) as caught:
        Scenario().replace(changes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "rows", "line"),
    [
        ("arrival_rate", [[1.0, 1]], "[0][0]: must be a whole number >= 0 and < 1e8, got 1.0"),
        ("volatility", [[1, -1]], "[0][1]: must be a number >= 0 and <= 1e6, got -1"),
        ("informed_fraction", [[0, 1], [1]], f"[1]: must be a row [step, multiplier], {SHAPE}, got [1]"),
        ("news", [[5], [6, 1.5]], "[1][1]: must be a number >= 0 and <= 1, got 1.5"),
        ("news", [[5, 0.5], [-1]], "[1][0]: must be a whole number >= 0 and < 1e8, got -1"),
        ("news", [[5, 0.5, 1]], f"[0]: must be a row [step] or [step, strength], {NEWS}, got [5, 0.5, 1]"),
        ("news", [[]], f"[0]: must be a row [step] or [step, strength], {NEWS}, got []"),
        ("news", [7], f"[0]: must be a row [step] or [step, strength], {NEWS}, got 7"),
        ("pauses", [{"start": 3}], "[0].steps: must be a whole number >= 1 and <= 1e9, got nothing"),
        ("pauses", [{"start": 3, "steps": 0}], "[0].steps: must be a whole number >= 1 and <= 1e9, got 0"),
        ("pauses", [{"start": -1, "steps": 2}], "[0].start: must be a whole number >= 0 and < 1e8, got -1"),
        (
            "pauses",
            [{"start": 3, "steps": 2}, {"start": 9, "steps": 2, "quotes": "keep"}],
            '[1].quotes: must be one of cancel, rest, got "keep"',
        ),
        (
            "pauses",
            [{"start": 3, "steps": 2, "qotes": "rest"}],
            "[0]: must be a row {start, steps, quotes}, whole numbers start >= 0 and steps >= 1, quotes "
            "cancel (if left out) or rest, got a key qotes",
        ),
    ],
)
def test_schedule_rows(name: str, rows: Any, line: str) -> None:
    said = refusal({f"schedule.{name}": rows})
    assert said == f"schedule.{name}{line}"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"schedule.arrival_rate": [[5, 1.0], [5, 2.0]]},
            "schedule.arrival_rate[1][0]: must be > 5, the step of the row before it, got 5",
        ),
        (
            {"schedule.news": [[8, 0.1], [2, 0.1]]},
            "schedule.news[1][0]: must be > 8, the step of the row before it, got 2",
        ),
        (
            {"steps": 50, "schedule.volatility": [[10, 2.0], [50, 1.0]]},
            "schedule.volatility[1][0]: must be < steps (50), got 50",
        ),
        (
            {"schedule.arrival_rate": [[0, 4.0]]},
            "schedule.arrival_rate[0][1]: must leave its product with flow.arrival_rate (0.3) <= 1, got 4.0",
        ),
        (
            {"schedule.informed_fraction": [[0, 2.0]], "schedule.amplitude": 7.0},
            "schedule.informed_fraction[0][1]: must leave its product with flow.informed_fraction (0.15) "
            "<= 1 at schedule.amplitude 7.0, got 2.0",
        ),
        (
            {"schedule.volatility": [[0, 0.5]], "schedule.amplitude": 2.5},
            "schedule.amplitude: must leave the multipliers of schedule.volatility >= 0, got 2.5",
        ),
        (
            {"schedule.news": [[3, 0.1], [5]]},
            "schedule.news[1]: must give a strength while market.news_strength is 0, got [5]",
        ),
        (
            {"schedule.news": [[5, 0.1]], "market.process": "threshold"},
            "schedule.news: must be left out with market.process threshold: only logit has news, got ",
        ),
        (
            {"schedule.volatility": [[5, 0.1]], "market.process": "threshold"},
            "schedule.volatility: must be left out with market.process threshold, whose volatility is its",
        ),
        (
            {"schedule.volatility": [[5, 0.1]], "flow.model": "replay"},
            "schedule.volatility: must be left out with flow.model replay, whose fair values are given, got ",
        ),
        (
            {"schedule.arrival_rate": [[5, 0.1]], "flow.model": "intensity"},
            "schedule.arrival_rate: must be left out with flow.model intensity: it is about takers, got ",
        ),
        (
            {"schedule.pauses": [{"start": 10, "steps": 5}, {"start": 14, "steps": 5}]},
            "schedule.pauses[1].start: must be >= 15, the end of the pause before it, got 14",
        ),
        (
            {"schedule.pauses": [{"start": 1000, "steps": 5}]},
            "schedule.pauses[0].start: must be < steps (1000), got 1000",
        ),
    ],
)
def test_contradictions(changes: dict[str, Any], line: str) -> None:
    message = refusal(changes)
    assert message.startswith(line)
    assert "\n" not in message


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule.arrival_rate": [[0, 0.5], [500, 3.3333333333333335]], "schedule.amplitude": 0.5},
        {"schedule.news": [[0, 1], [999, 0.0]], "schedule.volatility": [[999, 0]]},
        {"schedule.news": [[5], [6, 0.5]], "market.news_strength": 0.1},
        {"schedule.pauses": [{"start": 0, "steps": 5, "quotes": "rest"}, {"start": 5, "steps": 5000}]},
    ],
)
def test_what_is_accepted_comes_back(changes: dict[str, Any]) -> None:
    scenario = Scenario().replace(changes)
    assert Scenario.loads(scenario.dumps()) == scenario
    assert run_rows(scenario, 1, 0, 70).shape[1] == 70


def test_multipliers_hold_from_their_step_on() -> None:
    day = Scenario(schedule={"volatility": [[3, 2.0], [5, 0.1]]}).schedule
    assert [multiplier(day, "volatility", step) for step in range(7)] == [1, 1, 1, 2, 2, 0.1, 0.1]
    assert multiplier(day, "arrival_rate", 5) == 1
    half = Scenario(schedule={"volatility": [[3, 2.0], [5, 0.1]], "amplitude": 0.5}).schedule
    assert [multiplier(half, "volatility", step) for step in (2, 4, 6)] == [1, 1.5, pytest.approx(0.55)]


def test_a_piece_begins_wherever_something_changes() -> None:
    scenario = Scenario(
        steps=100,
        schedule={
            "arrival_rate": [[10, 2.0]],
            "news": [[30, 0.5], [99, 0.5]],
            "pauses": [{"start": 40, "steps": 5}, {"start": 95, "steps": 50, "quotes": "rest"}],
        },
    )
    assert turns(scenario.schedule, 100) == [0, 10, 30, 31, 40, 45, 95, 99]
    pieces = _pieces(scenario)
    assert pieces is not None
    assert pieces[:, 0].tolist() == [0, 10, 30, 31, 40, 45, 95, 99]
    assert pieces[:, -3].tolist() == [0, 0, 1, 0, 0, 0, 0, 1]  # news
    assert pieces[:, -2].tolist() == [0, 0, 0, 0, 1, 0, 1, 1]  # paused
    assert pieces[:, -1].tolist() == [0, 0, 0, 0, 1, 0, 0, 0]  # cancels
    assert turns(Scenario().schedule, 1000) == []
    assert _pieces(Scenario()) is None


def test_a_sweep_varies_schedules() -> None:
    shapes = ["[]", "[[0, 0.5], [20, 2.0]]"]
    pauses = ["[]", '[{"start": 5, "steps": 10, "quotes": "rest"}]']
    axes = {"schedule.arrival_rate": shapes, "schedule.pauses": pauses, "schedule.amplitude": [0.5, 1.0]}
    study = Study(name="day", scenario={"steps": 40}, paths=10, seed=1, points={"axes": axes})
    assert study.count == 8
    assert study.scenario_at(6).schedule.arrival_rate == ((0, 0.5), (20, 2.0))
    assert study.scenario_at(2).schedule.pauses[0].steps == 10
    assert Study.from_dict(study.to_dict()).digest() == study.digest()
    assert study.columns()["schedule.arrival_rate"][:5] == ["[]"] * 4 + ["[[0, 0.5], [20, 2.0]]"]
    # Of a choice of lists each is its own point: as many different days as there should be.
    rows = [run_rows(study.scenario_at(point), 1, 0, 50) for point in range(8)]
    # Amplitude has nothing to scale in a day without shape.
    assert len({np.nan_to_num(row).tobytes() for row in rows}) == 6


def test_a_sweep_of_schedules_is_stored_read_back_and_reported(tmp_path: Path) -> None:
    rest = '[{"quotes": "rest", "start": 5, "steps": 10}]'
    points = {
        "design": "list",
        "points": [
            {"schedule.pauses": "[]", "schedule.volatility": "[[0, 2.0], [20, 0.5]]"},
            {"schedule.pauses": rest, "schedule.volatility": "[]"},
        ],
    }
    study = Study(name="day", scenario={"steps": 40}, paths=20, seed=1, points=points)
    swept = mcmm.sweep(study, out=tmp_path / "run")
    again = mcmm.sweep(study, out=tmp_path / "run")  # nothing is left to do
    assert again.study.digest() == study.digest()
    assert again.points.equals(swept.points)
    assert again.points["schedule.pauses"].tolist() == ["[]", rest]
    mcmm.report(again, html=tmp_path / "report.html")
    assert "schedule.volatility" in (tmp_path / "report.html").read_text(encoding="utf-8")
