"""Studies: what is accepted, what is refused and how that is said, and which points come out."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import pytest
from small_study import LIMITS, SPREADS, small_study

import mcmm
from mcmm.errors import InputError, StudyError
from mcmm.study import MAX_PATHS, Study, summary_columns

TOML = """
name = "spread and limit"
question = "Which spread?"
scenario = "market.toml"
paths = 200
seed = 7
[points]
design = "grid"
[points.axes]
"quoting.base_spread" = [0.02, 0.04]
"risk.inventory_limit" = { low = 25, high = 400, count = 5, scale = "log", integer = true }
"""


def load(folder: Path, text: str, market: str = "steps = 40\n") -> Study:
    (folder / "market.toml").write_text(market)
    (folder / "study.toml").write_text(text)
    return Study.load(folder / "study.toml")


def axis(values: Any, name: str = "flow.arrival_rate") -> Study:
    return small_study(points={"axes": {name: values}})


def test_a_file_is_read(tmp_path: Path) -> None:
    study = load(tmp_path, TOML)
    assert (study.name, study.question, study.paths, study.seed) == (
        "spread and limit",
        "Which spread?",
        200,
        7,
    )
    assert study.scenario.steps == 40
    assert study.objective == "pnl_settled.mean"
    assert study.axes == {
        "quoting.base_spread": (0.02, 0.04),
        "risk.inventory_limit": (25, 50, 100, 200, 400),
    }
    assert study.count == 10
    assert study.path_steps() == 10 * 200 * 40


def test_the_scenario_may_stand_in_the_file(tmp_path: Path) -> None:
    text = (
        TOML.replace('scenario = "market.toml"\n', "")
        + "[scenario]\nsteps = 70\n[scenario.fees]\nmaker_rate = 0.1\n"
    )
    assert load(tmp_path, text).scenario.get("fees.maker_rate") == 0.1


def test_the_first_axis_varies_slowest() -> None:
    study = small_study()
    frame = study.points()
    assert frame.index.name == "point"
    assert frame["quoting.base_spread"].tolist() == [0.02, 0.02, 0.04, 0.04, 0.06, 0.06]
    assert frame["risk.inventory_limit"].tolist() == [50, 100, 50, 100, 50, 100]
    for point, row in enumerate((spread, limit) for spread in SPREADS for limit in LIMITS):
        assert tuple(study.at(point).values()) == row
        scenario = study.scenario_at(point)
        assert (scenario.get("quoting.base_spread"), scenario.get("risk.inventory_limit")) == row
        assert scenario.get("risk.drawdown_limit") == 1.0


def test_axes_of_every_kind() -> None:
    study = small_study(
        points={
            "axes": {
                "risk.breaker_action": ["halt", "flatten"],
                "recovery.stale_quotes": [False, True],
                "risk.inventory_limit": [100, math.inf],
                "steps": [50, 80],
            }
        }
    )
    frame = study.points()
    assert frame.dtypes.astype(str).tolist()[1:] == ["bool", "float64", "int64"]
    assert study.at(15) == {
        "risk.breaker_action": "flatten",
        "recovery.stale_quotes": True,
        "risk.inventory_limit": math.inf,
        "steps": 80,
    }
    assert study.scenario_at(0).get("risk.inventory_limit") == 100
    assert (study.steps_at(0), study.steps_at(1)) == (50, 80)
    assert study.path_steps() == sum(study.steps_at(point) for point in range(16)) * 300


@pytest.mark.parametrize(
    ("span", "values"),
    [
        ({"low": 0.1, "high": 0.7, "count": 7}, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)),
        ({"low": 0.1, "high": 0.9, "count": 2}, (0.1, 0.9)),
        ({"low": 0.001, "high": 1, "count": 4, "scale": "log"}, (0.001, 0.01, 0.1, 1.0)),
        ({"low": 0.01, "high": 0.1, "count": 3, "scale": "log"}, (0.01, 0.0316227766017, 0.1)),
    ],
)
def test_spans(span: dict[str, Any], values: tuple[float, ...]) -> None:
    assert axis(span).axes["flow.arrival_rate"] == values


def test_integer_spans_are_whole() -> None:
    values = axis({"low": 10, "high": 33, "count": 4, "integer": True}, "quoting.quote_size").axes[
        "quoting.quote_size"
    ]
    assert values == (10, 18, 25, 33)
    assert all(type(value) is int for value in values)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"paths": 0}, f"paths: must be a whole number >= 1 and <= {MAX_PATHS}, got 0"),
        ({"paths": 10**12}, f"paths: must be a whole number >= 1 and <= {MAX_PATHS}, got 1000000000000"),
        ({"paths": True}, f"paths: must be a whole number >= 1 and <= {MAX_PATHS}, got true"),
        ({"paths": "100"}, f'paths: must be a whole number >= 1 and <= {MAX_PATHS}, got "100"'),
        ({"paths": 10.5}, f"paths: must be a whole number >= 1 and <= {MAX_PATHS}, got 10.5"),
        ({"seed": -1}, "seed: must be a whole number >= 0 and < 2**64, got -1"),
        ({"seed": 2**64}, f"seed: must be a whole number >= 0 and < 2**64, got {2**64}"),
        ({"name": ""}, "name: must be text of at least one character, got"),
        ({"pahts": 3}, "pahts: unknown setting; did you mean paths?"),
        ({"objective": "pnl_settled.maen"}, "objective: must be a column of the summary"),
        ({"objective": "pnl_settled.maen"}, "did you mean pnl_settled.mean?"),
        ({"scenario": 3}, "scenario: must be"),
        ({"scenario": {"flow": {"model": "replay"}}}, "flow.model: must not be replay in a study"),
        ({"scenario": {"stepz": 3}}, "scenario: stepz: unknown setting; did you mean steps?"),
        ({"scenario": {"risk": {"inventory_limit": -5}}}, "got -5"),
        ({"points": {}}, "points.axes: must be given"),
        ({"points": {"axes": {}}}, "points.axes: must be a table with an axis or more, got {}"),
        (
            {"points": {"design": "sobl", "axes": {"steps": [5]}}},
            "points: must be a table whose design is one of grid, list, sobol, latin_hypercube, ",
        ),
        (
            {"points": {"axis": {}, "axes": {"steps": [5]}}},
            "points.axis: unknown setting; did you mean axes?",
        ),
        ({"points": {"axes": {"quoting.base_spred": [1]}}}, "did you mean quoting.base_spread?"),
        ({"points": {"axes": {"quoting": [1]}}}, "points.axes: quoting: is a table"),
    ],
)
def test_a_wrong_study_is_refused_in_a_line(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(StudyError) as refused:
        small_study(**changes)
    assert any(line in said for said in str(refused.value).splitlines()), str(refused.value)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], "points.axes.flow.arrival_rate: must be a list of numbers"),
        (3, "points.axes.flow.arrival_rate: must be"),
        ([0.1, 0.1], "flow.arrival_rate must not hold a value twice, got 0.1 again"),
        ([0.1, math.nan], "flow.arrival_rate must not hold NaN"),
        (
            [0.1, [0.2]],
            "points.axes.flow.arrival_rate[1]: must be a number, a text or true or false, got [0.2]",
        ),
        ([0.1, 1.5], "point 1 (flow.arrival_rate = 1.5): flow.arrival_rate: must be"),
        (["often"], "point 0 (flow.arrival_rate = 'often'): flow.arrival_rate: must be"),
        ({"low": 0.5, "high": 0.1, "count": 3}, "low must be < high, got low = 0.5, high = 0.1"),
        ({"low": 0, "high": 0.1, "count": 3, "scale": "log"}, "low must be > 0 on a log scale, got 0"),
        (
            {"low": 0.1, "high": math.inf, "count": 3},
            "points.axes.flow.arrival_rate.high: must be a finite number",
        ),
        ({"low": 0.1, "high": 0.5, "count": 1}, "points.axes.flow.arrival_rate.count: must be"),
        ({"low": 0.1, "high": 0.5}, "points.axes.flow.arrival_rate.count: must be given"),
        (
            {"low": 0.1, "high": 0.5, "count": 3, "step": 1},
            "points.axes.flow.arrival_rate.step: unknown setting",
        ),
        (
            {"low": 0.1, "high": 0.5, "count": 3, "scale": "cubic"},
            "points.axes.flow.arrival_rate.scale: must be",
        ),
        ({"low": 1, "high": 5, "count": 9, "integer": True}, "count must not exceed the whole numbers"),
        ({"low": 1e-9, "high": 1, "count": 2_000_000}, "points.axes.flow.arrival_rate.count: must be"),
    ],
)
def test_a_wrong_axis_is_refused_in_a_line(values: Any, line: str) -> None:
    with pytest.raises(StudyError) as refused:
        axis(values)
    assert any(line in said for said in str(refused.value).splitlines()), str(refused.value)


def test_settings_that_contradict_each_other_at_one_point_are_found() -> None:
    with pytest.raises(
        StudyError, match=r"^point 4 \(steps = 80, risk.close_steps = 90\): risk.close_steps: "
    ) as refused:
        small_study(points={"axes": {"steps": [100, 80, 50], "risk.close_steps": [10, 90, 60]}})
    assert len(str(refused.value).splitlines()) == 3


def test_too_many_points_are_refused_before_they_are_made() -> None:
    many = {"low": 0.001, "high": 0.1, "count": 10_000}
    with pytest.raises(StudyError, match="at most 1,000,000 points, got 100,000,000"):
        small_study(points={"axes": {"quoting.base_spread": many, "flow.arrival_rate": many}})


@pytest.mark.parametrize(
    ("text", "error", "line"),
    [
        ("", StudyError, "name: must be given"),
        ("paths = ", StudyError, "is not valid TOML"),
        (TOML.replace("market.toml", "nowhere.toml"), StudyError, "scenario: "),
        (TOML.replace("paths = 200", "paths = -3"), StudyError, "study.toml: paths: must be"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, error: type[Exception], line: str) -> None:
    with pytest.raises(error) as refused:
        load(tmp_path, text)
    assert line in str(refused.value)
    assert all("study.toml" in said for said in str(refused.value).splitlines())


def test_a_fault_in_the_scenarios_file_names_both_files(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"study.toml: scenario: .*market.toml: steps: "):
        load(tmp_path, TOML, "steps = -3\n")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        Study.load(tmp_path / "nowhere.toml")
    with pytest.raises(InputError, match="cannot be read"):
        Study.load(tmp_path)
    (tmp_path / "study.toml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(StudyError, match="is not a text file"):
        Study.load(tmp_path / "study.toml")


def test_a_study_makes_the_round_trip() -> None:
    study = small_study(
        question="Why?",
        objective="pnl.p05",
        points={
            "axes": {
                "risk.exposure_limit": [5.0, math.inf],
                "flow.arrival_rate": {"low": 0.1, "high": 0.4, "count": 4, "scale": "log"},
            }
        },
    )
    again = Study.from_dict(study.to_dict())
    assert again == study
    assert again.digest() == study.digest()
    assert pickle.loads(pickle.dumps(study)) == study
    with pytest.raises(StudyError, match="must be a table"):
        Study.from_dict([])  # type: ignore[arg-type]


def test_the_digest_is_of_what_decides_the_results() -> None:
    study = small_study()
    reworded = small_study(name="other", question="Why?", objective="pnl.mean")
    assert reworded.digest() == study.digest()
    spelled = small_study(
        points={
            "axes": {
                "quoting.base_spread": {"low": 0.02, "high": 0.06, "count": 3},
                "risk.inventory_limit": LIMITS,
            }
        }
    )
    assert spelled.digest() == study.digest()
    others = [
        small_study(paths=301),
        small_study(seed=8),
        small_study(scenario={"steps": 51}),
        small_study(points={"axes": {"quoting.base_spread": SPREADS, "risk.inventory_limit": [50, 101]}}),
        small_study(points={"axes": {"risk.inventory_limit": LIMITS, "quoting.base_spread": SPREADS}}),
    ]
    assert len({study.digest(), *(other.digest() for other in others)}) == 6


def test_a_study_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        small_study().paths = 5  # type: ignore[misc]


def test_there_is_no_point_beyond_the_last() -> None:
    with pytest.raises(InputError, match="point: must be between 0 and 5, got 6"):
        small_study().scenario_at(6)


def test_the_objective_may_be_any_column() -> None:
    assert "halt.chance" in summary_columns()
    assert small_study(objective="halt.chance").objective == "halt.chance"


def test_the_public_name() -> None:
    assert mcmm.Study is Study


@pytest.mark.parametrize("text", ["paths = " + "9" * 5000, "a = " + "[" * 5000])
def test_toml_that_chokes_the_parser_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "study.toml"
    path.write_text(text)
    with pytest.raises(StudyError, match="is not valid TOML"):
        Study.load(path)


def test_an_axis_that_is_not_quoted_is_told_to_be(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(
        'name = "n"\nquestion = "q?"\npaths = 2\nseed = 1\n[scenario]\nsteps = 3\n'
        '[points]\ndesign = "grid"\n[points.axes]\nrisk.inventory_limit = [50]\n'
    )
    with pytest.raises(StudyError) as refused:
        Study.load(path)
    assert str(refused.value).splitlines() == [
        f'{path}: points.axes.risk: is a table of settings; quote an axis whole, as "risk.setting" = [..]'
    ]
