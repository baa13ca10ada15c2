"""Questions: what is taken for one, and that each fault is refused with one line that names it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import mcmm
from mcmm.errors import StudyError
from mcmm.expressions import Event
from mcmm.objectives import Objective, Statistic
from mcmm.question import LOOKS, Limit

DRAWDOWN = {"probability": "max_drawdown_fair > 50", "at_most": 0.01}
LIMITS = {"risk.inventory_limit": {"low": 10, "high": 500, "integer": True}}


def ask(**tables: Any) -> mcmm.Study:
    question = {"constraint": [DRAWDOWN], "search": LIMITS} | tables
    return mcmm.Study(name="limits", scenario={"steps": 100}, seed=7, calibrate=question)


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({"maximize": "mean(pnl_setled)"}, "maximize: unknown metric pnl_setled; did you mean pnl_settled?"),
        ({"confidence": 1.0}, "confidence: must be a number > 0 and < 1, as 0.95, got 1.0"),
        ({"confidence": 95}, "confidence: must be a number > 0 and < 1, as 0.95, got 95"),
        ({"confidence": math.nan}, "confidence: must be a number > 0 and < 1, as 0.95, got nan"),
        (
            {"search": {}},
            "search: must be a table of settings, at least one, each a list of values or a table",
        ),
        (
            {"search": {"risk.inventory_limit": {"low": 5, "high": 1}}},
            "search.risk.inventory_limit: low must be < high",
        ),
        ({"search": {"risk.inventory_limit": []}}, "search.risk.inventory_limit: must be a list of values"),
        ({"search": {"risk.inventory_limt": [1, 2]}}, "unknown setting; did you mean risk.inventory_limit?"),
        (
            {"search": {"risk": {"inventory_limit": [1]}}},
            "search.risk: is a table of settings; quote an axis whole",
        ),
        (
            {"search": {"quoting.base_spread": {"low": -5, "high": -1}}},
            "base_spread has no value that the scenario",
        ),
        (
            {"search": {"risk.inventory_limit": [10, None]}},
            "search.risk.inventory_limit[1]: must be a number, a text or true or false, got nothing",
        ),
        ({"constraint": []}, "constraint: must be a list of tables"),
        (
            {"constraint": [3]},
            "constraint[0]: must be a table with probability, expected_shortfall or mean, got 3",
        ),
        ({"constraint": [{"probability": "max_drawdwn > 50", "at_most": 0.1}]}, "did you mean max_drawdown?"),
        (
            {"constraint": [DRAWDOWN | {"at_most": 1.5}]},
            "a probability must be strictly between 0 and 1, got 1.5",
        ),
        (
            {"constraint": [DRAWDOWN | {"mean": "pnl"}]},
            "must have one of probability, expected_shortfall and mean",
        ),
        ({"constraint": [{"mean": "pnl"}]}, "must have one of at_most and at_least, got none"),
        ({"constraint": [DRAWDOWN | {"at_least": 0.1}]}, "must have one of at_most and at_least, got both"),
        ({"constraint": [DRAWDOWN, DRAWDOWN]}, "constraint[1]: bounds the same as constraint[0]"),
        (
            {"constraint": [{"mean": "pnl", "at_most": 1.0}, {"mean": "pnl", "at_least": 2.0}]},
            "constraint[1]: contradicts constraint[0], mean(pnl) <= 1",
        ),
        (
            {
                "constraint": [
                    {"expected_shortfall": {"metric": "pnl", "level": 0.99}, "at_most": 1},
                    {"mean": "pnl", "at_most": -2.0},
                ]
            },
            "constraint[1]: contradicts constraint[0], ES(pnl, 0.99) <= 1",
        ),
        (
            {"constraint": [{"expected_shortfall": {"metric": "pnl", "level": 1.5}, "at_most": 1}]},
            "expected_shortfall.level: must be a number > 0 and < 1, as 0.99, got 1.5",
        ),
        ({"constraint": [DRAWDOWN | {"at_most": 1e-5}]}, "paths: must be >= 478,747 for constraint[0]"),
        ({"maximise": "mean(pnl)"}, "maximise: unknown setting; did you mean maximize?"),
        (
            {"maximize": "risk.drawdown_limit"},
            "maximize: risk.drawdown_limit is not among the settings searched",
        ),
        (
            {"robust": {"flow.informed_fraction": [0.1, 2.0]}},
            "robust: flow.informed_fraction: must be a number >= 0",
        ),
        (
            {"robust": {"risk.inventory_limit": [1, 2]}},
            "robust.risk.inventory_limit: must not be searched too",
        ),
        (
            {"robust": {"flow.arrival_rate": [i / 100 for i in range(1, 70)]}},
            "at most 64 combinations, got 69",
        ),
    ],
)
def test_a_fault_is_refused_with_one_line_that_names_it(table: dict[str, Any], line: str) -> None:
    with pytest.raises(StudyError) as caught:
        ask(**table)
    (message,) = str(caught.value).splitlines()
    assert message.startswith("calibrate: ")
    assert line in message


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true') > 1", "open('x') > 1", "max_drawdown", "1 > 0", "max_drawdown > 'x'",
        "max_drawdown > true", "not max_drawdown", "[x for x in y] > 1", "max_drawdown ** 2 > 1",
        "a if b > 1 else c",
        "max_drawdown is 5", "lambda: 1", "", "max_drawdown > ", "pnl[0] > 1", "f'{pnl}' > 1",
        "(pnl := 5) > 1",
    ],
)  # fmt: skip
def test_nothing_but_comparisons_of_metrics_and_numbers_is_an_event(text: str) -> None:
    with pytest.raises(ValueError, match="must be a comparison of metrics and numbers"):
        Event(text)


@pytest.mark.parametrize(
    "text",
    ["open('x')", "mean(pnl) * mean(pnl)", "1 / mean(pnl)", "mean('pnl')", "mean(pnl, 2)",
     "expected_shortfall(pnl)",
     "median(pnl)", "mean(*pnl)", "mean(pnl) > 5", "", "pnl", "expected_shortfall(pnl, 1)", "2 ** mean(pnl)"],
)  # fmt: skip
def test_nothing_but_a_sum_of_statistics_is_an_objective(text: str) -> None:
    with pytest.raises(ValueError, match="must be a sum of numbers times"):
        Objective(text)


def test_an_event_is_told_path_by_path() -> None:
    rows = {"pnl": np.array([1.0, -2.0, math.nan]), "fees": np.array([0.0, 1.0, 9.0])}
    tell = {
        "pnl > 0": [True, False, False],
        "not pnl > 0": [False, True, True],
        "pnl < 0 or fees / 3 == 3": [False, True, True],
        "-3 < pnl <= 1 and fees >= 0.5": [False, True, False],
        "fees / fees > 0": [False, True, True],
    }
    for text, happens in tell.items():
        assert Event(text).on(rows.__getitem__).tolist() == happens, text


def test_an_objective_is_a_sum_of_terms() -> None:
    found = Objective("2 * (mean(pnl) - expected_shortfall(pnl, 0.99) / 4) + 0.1 * risk.inventory_limit - 3")
    assert found.statistics == (
        (2.0, Statistic("mean", "pnl")),
        (-0.5, Statistic("expected_shortfall", "pnl", 0.99)),
    )
    assert found.settings == ((0.1, "risk.inventory_limit"),)
    assert found.constant == -3.0
    assert not found.setting
    assert Objective("risk.inventory_limit").setting == "risk.inventory_limit"


def test_no_breach_in_299_paths_is_what_one_percent_at_95_percent_takes() -> None:
    assert Limit(probability="pnl < 0", at_most=0.01).fewest(0.05) == 299
    assert ask(paths=1024).calibrate is not None
    assert LOOKS > 1


def test_a_question_alone_is_a_study_with_nothing_to_sweep() -> None:
    study = ask()
    assert mcmm.Study.from_dict(study.to_dict()) == study
    assert not study.sweeps
    with pytest.raises(StudyError, match="points: must be given; 'limits' only asks for limits"):
        mcmm.sweep(study)
    with pytest.raises(StudyError, match="points: must be given"):
        mcmm.Study(name="none", scenario={}, seed=7)


def test_worlds_are_every_combination_of_what_nobody_knows() -> None:
    study = ask(
        robust={"flow.informed_fraction": [0.1, 0.3], "market.news_rate": {"low": 0, "high": 0.1, "count": 2}}
    )
    assert study.calibrate is not None
    assert len(study.calibrate.worlds) == 4
    assert study.calibrate.worlds[1] == {"flow.informed_fraction": 0.1, "market.news_rate": 0.1}
    alone = ask().calibrate
    assert alone is not None
    assert alone.worlds == [{}]
