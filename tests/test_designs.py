"""Designs: which points come out of each, that constraints hold, and that points stay as written."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import qmc
from small_study import small_study

import mcmm
from mcmm import designs, runner
from mcmm.errors import StoreError, StudyError
from mcmm.store import SweepResult
from mcmm.study import Study

SPREAD, LIMIT, ACTION = "quoting.base_spread", "risk.inventory_limit", "risk.breaker_action"
AXES: dict[str, Any] = {
    SPREAD: {"low": 0.01, "high": 0.2, "scale": "log"},
    LIMIT: {"low": 20, "high": 400, "integer": True},
    ACTION: ["halt", "flatten"],
}


def study(points: Any, **changes: Any) -> Study:
    return small_study(points=points, **changes)


def rows(found: Study) -> list[tuple[Any, ...]]:
    return [tuple(found.at(point).values()) for point in range(found.count)]


@pytest.mark.parametrize("design", ["sobol", "latin_hypercube"])
def test_a_sample_is_spread_evenly_over_every_axis(design: str) -> None:
    found = study({"design": design, "samples": 64, "axes": AXES})
    assert found.count == 64
    spreads, limits, actions = zip(*rows(found), strict=True)
    shares = np.log(np.array(spreads) / 0.01) / math.log(20)
    assert np.bincount((shares * 8).astype(int), minlength=8).tolist() == [8] * 8
    assert np.bincount((np.array(limits) - 20) * 4 // 381, minlength=4).tolist() == pytest.approx(
        [16] * 4, abs=1
    )
    assert {type(limit) for limit in limits} == {int}
    assert (min(limits), max(limits)) >= (20, 380)
    assert actions.count("halt") == 32
    assert qmc.discrepancy(np.column_stack([shares, (np.array(limits) - 20) / 380])) < 0.01


def test_a_sample_hangs_on_the_studys_seed_alone() -> None:
    table = {"design": "sobol", "samples": 16, "axes": AXES}
    assert rows(study(table)) == rows(study(table)) != rows(study(table, seed=8))
    assert study(table).digest() == study(table).digest() != study(table, seed=8).digest()


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_every_whole_number_is_drawn_and_none_beyond(scale: str) -> None:
    axis = {"low": 3, "high": 7, "integer": True, "scale": scale}
    found = study({"design": "sobol", "samples": 1024, "axes": {"quoting.quote_size": axis}})
    counts = np.bincount([size for (size,) in rows(found)])
    assert np.flatnonzero(counts).tolist() == [3, 4, 5, 6, 7]
    edges = np.arange(2.5, 8) if scale == "linear" else np.log(np.arange(2.5, 8))
    assert counts[3:] == pytest.approx(1024 * np.diff(edges) / (edges[-1] - edges[0]), abs=2)


@pytest.mark.parametrize(
    "values", [np.arange(50, 200, 50), list(np.arange(50, 200, 50)), tuple(np.float32([0.5, 0.25]))]
)
def test_numbers_of_numpys_are_numbers(values: Any) -> None:
    name = LIMIT if len(values) == 3 else "quoting.defensive_threshold"
    found = study({"axes": {name: values}})
    assert [type(value) for (value,) in rows(found)] == [type(values[0].item())] * len(values)
    assert found == study({"axes": {name: [value.item() for value in values]}})
    listed = study({"design": "list", "points": [{name: value} for value in values]})
    assert rows(listed) == rows(found)


def test_a_list_visits_its_points_in_order() -> None:
    found = study({"design": "list", "points": [{SPREAD: 0.03}, {LIMIT: 50, SPREAD: 0.02}, {LIMIT: 70}]})
    # What a point leaves out is the scenario's.
    assert rows(found) == [(0.03, 100), (0.02, 50), (0.04, 70)]
    assert found.axes == {SPREAD: (0.03, 0.02, 0.04), LIMIT: (100, 50, 70)}
    assert found.points()[LIMIT].tolist() == [100, 50, 70]


def test_designs_one_after_the_other() -> None:
    grid = {"design": "grid", "axes": {SPREAD: [0.02, 0.04]}}
    listed = {"design": "list", "points": [{LIMIT: 50}, {SPREAD: 0.02}]}
    found = study([grid, listed])
    # The list's second point is the grid's first.
    assert rows(found) == [(0.02, 100), (0.04, 100), (0.04, 50)]
    assert rows(study({"design": "union", "designs": [grid, listed]})) == rows(found)


def test_designs_crossed() -> None:
    sample = {"design": "latin_hypercube", "samples": 3, "axes": {LIMIT: AXES[LIMIT]}}
    grid = {"axes": {SPREAD: [0.02, 0.04]}, "constraints": [f"{SPREAD} < 0.03"]}
    found = study({"design": "product", "designs": [sample, grid]})
    assert [row[1] for row in rows(found)] == [0.02] * 3
    assert [(row[0],) for row in rows(found)] == rows(study(sample))


def test_points_that_break_a_constraint_are_left_out() -> None:
    axes = {SPREAD: [0.02, 0.04, 0.06], "quoting.fill_shade": [0.01, 0.03, 0.05]}
    rules = [f"quoting.fill_shade < {SPREAD}", f"{SPREAD} + quoting.imbalance_shade < 0.06"]
    found = study({"axes": axes, "constraints": rules})
    assert rows(found) == [(0.02, 0.01), (0.04, 0.01), (0.04, 0.03)]
    assert found.digest() != study({"axes": axes}).digest()
    assert Study.from_dict(found.to_dict()) == found
    # A setting that the scenario derives has its derived value.
    derived = {"axes": axes, "constraints": ["market.initial_mid == market.initial_probability"]}
    assert study(derived).count == 9


def test_constraints_join_the_settings_of_several_markets() -> None:
    markets = [{"name": "cut-25"}, {"name": "50", "quoting": {"base_spread": 0.06}}]
    one, other = f"markets.cut-25.{SPREAD}", f"markets.50.{SPREAD}"
    found = study(
        {"axes": {one: [0.02, 0.04, 0.08]}, "constraints": [f"2*{one}-0.02<={other}"]},
        scenario={"steps": 10, "markets": markets},
    )
    assert rows(found) == [(0.02,), (0.04,)]


def test_the_points_of_sobol_indices_are_saltellis() -> None:
    found = study({"design": "sobol_indices", "samples": 4, "axes": AXES})
    assert found.count == 4 * 5
    blocks = np.array(rows(found), dtype=object).reshape(5, 4, 3)
    one, other = blocks[:2]
    for axis in range(3):
        for column in range(3):
            expected = other if column == axis else one
            assert blocks[2 + axis][:, column].tolist() == expected[:, column].tolist()
    assert (one[:, 0] != other[:, 0]).all()


@pytest.mark.parametrize(
    ("points", "line"),
    [
        (
            {"design": "sobol", "samples": 12, "axes": AXES},
            "points: samples must be a power of 2 for a sobol design",
        ),
        ({"design": "sobol", "axes": AXES}, "points.samples: must be given"),
        ({"design": "sobol", "samples": 1, "axes": AXES}, "points.samples: must be a whole number >= 2"),
        (
            {"design": "sobol", "samples": 4, "axes": {SPREAD: {"low": 0.1, "high": 0.01}}},
            "low must be < high",
        ),
        (
            {"design": "sobol", "samples": 4, "axes": {LIMIT: {"low": 1.2, "high": 1.8, "integer": True}}},
            "points.axes.risk.inventory_limit: must hold a whole number, got low = 1.2, high = 1.8",
        ),
        (
            {"design": "sobol", "samples": 4, "axes": {SPREAD: {"low": 0.1, "high": 0.2, "count": 3}}},
            "points.axes.quoting.base_spread.count: unknown setting",
        ),
        (
            {"design": "sobol", "samples": 4, "axes": {ACTION: ["halt", "halt"]}},
            "must not hold a value twice",
        ),
        (
            {"design": "list", "points": []},
            "points.points: must be a list of tables of settings, at least one",
        ),
        (
            {"design": "list", "points": [{LIMIT: 5}, 3]},
            "points.points[1]: must be a table of settings, got 3",
        ),
        (
            {"design": "list", "points": [{LIMIT: 5}, {LIMIT: None}]},
            "points.points[1].risk.inventory_limit: must be a number, a text or true or false, got nothing",
        ),
        (
            {"axes": {LIMIT: [5]}, "constraints": [f"{LIMIT} < 6", 3]},
            "points.constraints[1]: must be a comparison of settings, as text, got 3",
        ),
        (
            [{"axes": {LIMIT: [5]}}, {"axes": {LIMIT: [6, None]}}],
            "points.designs[1].axes.risk.inventory_limit[1]: must be a number, a text or true or false, got",
        ),
        ({"design": "list", "points": [{}]}, "must have a setting in each point"),
        (
            {"design": "list", "points": [{LIMIT: 5}, {LIMIT: 5}]},
            "must not hold a point twice, got point 1 again",
        ),
        (
            {"design": "list", "points": [{LIMIT: -5}]},
            "point 0 (risk.inventory_limit = -5): risk.inventory_limit",
        ),
        ({"design": "list", "points": [{"risk.limit": 5}]}, "points.axes: risk.limit: unknown setting"),
        ([], "points.designs: must be a list of designs, at least one"),
        ([{"design": "sobol_indices", "samples": 4, "axes": AXES}], "must not hold sobol_indices"),
        (
            {"design": "product", "designs": [{"axes": {LIMIT: [5]}}, {"axes": {LIMIT: [6]}}]},
            "designs of a product must have different axes, got risk.inventory_limit twice",
        ),
        (
            {"design": "sobol_indices", "samples": 4, "axes": AXES, "constraints": [f"{LIMIT} < 5"]},
            "must be left out with sobol_indices",
        ),
        (
            {"axes": {LIMIT: [5]}, "constraints": [f"{LIMIT} < 5"]},
            "points.constraints: leave none of the 1 points",
        ),
        (
            {"axes": {LIMIT: [5]}, "constraints": ["risk.limit < 5"]},
            "points.constraints: risk.limit: unknown setting",
        ),
        (
            {"axes": {LIMIT: [5]}, "constraints": ["exit()"]},
            "points.constraints: must be a comparison of settings",
        ),
        ({"axes": {LIMIT: [5]}, "constraints": [f"{LIMIT} / 0 > 1"]}, "divides by 0"),
        ([{"axes": {"market.initial_mid": [0.4]}}, {"axes": {LIMIT: [5]}}], None),
    ],
)
def test_a_wrong_design_is_refused_in_a_line(points: Any, line: str | None) -> None:
    if line is None:  # a derived setting that another design varies has its derived value
        assert rows(study(points)) == [(0.4, 100), (0.5, 5)]
        return
    with pytest.raises(StudyError) as refused:
        study(points)
    assert any(line in said for said in str(refused.value).splitlines()), str(refused.value)


def test_a_study_of_a_million_points_and_one_is_refused() -> None:
    axes = {SPREAD: {"low": 0.01, "high": 0.2, "count": 1001}, LIMIT: {"low": 1, "high": 1000, "count": 1000}}
    with pytest.raises(StudyError, match="must make at most 1,000,000 points, got 1,001,000"):
        study({"axes": axes})


EVERY = [
    {"axes": {SPREAD: [0.02, 0.04], ACTION: ["halt", "flatten"]}},
    {"design": "list", "points": [{LIMIT: 50, SPREAD: 0.02}, {LIMIT: math.inf}]},
    {"design": "sobol", "samples": 8, "axes": AXES},
    {"design": "latin_hypercube", "samples": 5, "axes": AXES, "constraints": [f"{LIMIT} > 40"]},
    {"design": "sobol_indices", "samples": 2, "axes": AXES},
    [{"axes": {LIMIT: [50, math.inf]}}, {"design": "sobol", "samples": 2, "axes": AXES}],
    {"design": "product", "designs": [{"axes": {LIMIT: [50, 60]}}, {"axes": {SPREAD: [0.02, 0.03]}}]},
]


@pytest.mark.parametrize("points", EVERY, ids=lambda points: str(points)[:30])
def test_every_design_is_swept_stored_and_read_again(tmp_path: Path, points: Any) -> None:
    found = study(points, paths=64)
    assert Study.from_dict(found.to_dict()) == found
    assert Study.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    result = mcmm.sweep(found, tmp_path / "run", jobs=1)
    loaded = SweepResult.load(tmp_path / "run")
    assert loaded.study == found
    assert rows(loaded.study) == rows(found)
    assert np.array_equal(loaded.summary, result.summary, equal_nan=True)
    assert [str(each) for each in mcmm.sweep(found, tmp_path / "run", jobs=1).summary.loc[0]] == [
        str(each) for each in result.summary.loc[0]
    ]


def inline(value: Any) -> str:
    """TOML of a value, on one line and with tables in their order."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{name}" = {inline(item)}' for name, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return "inf" if value == math.inf else json.dumps(value)


@pytest.mark.parametrize("points", EVERY, ids=lambda points: str(points)[:30])
def test_every_design_is_the_same_from_a_file(tmp_path: Path, points: Any) -> None:
    path = tmp_path / "study.toml"
    tables = small_study().to_dict() | {"points": points}
    path.write_text("\n".join(f"{name} = {inline(value)}" for name, value in tables.items()))
    found = Study.load(path)
    assert found == study(points)
    assert rows(found) == rows(study(points))


SPREADS = [0.02, 0.04, 0.08]


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("[0.02, 0.04, 0.08]", SPREADS),
        ("{ low = 0.02, high = 0.08, count = 3, scale = 'log' }", SPREADS),
        ("{ low = 0.02, high = 0.08, count = 3 }", [0.02, 0.05, 0.08]),
    ],
)
def test_an_axis_is_written_in_a_file_in_each_way(tmp_path: Path, axis: str, values: list[float]) -> None:
    path = tmp_path / "study.toml"
    path.write_text(
        'name = "n"\npaths = 64\nseed = 7\nscenario = { steps = 10 }\n'
        "points.constraints = ["
        '"quoting.defensive_threshold < 1", "quoting.base_spread / 2 < 0.03 or steps < 5"]\n'
        f'[points.axes]\n"quoting.base_spread" = {axis}\n'
        '"risk.inventory_limit" = { low = 10, high = 1000, count = 3, scale = "log", integer = true }\n'
        '"risk.breaker_action" = ["halt", "flatten"]\n"recovery.stale_quotes" = [true, false]\n'
    )
    found = Study.load(path)
    kept = [spread for spread in values if spread < 0.06]
    assert found.count == len(kept) * 3 * 2 * 2
    assert found.axes[SPREAD] == tuple(kept)
    assert found.axes[LIMIT] == (10, 100, 1000)
    assert found.axes[ACTION] == ("halt", "flatten")
    assert mcmm.sweep(found, jobs=1).points[SPREAD].tolist() == [each for each in kept for _ in range(12)]


@pytest.mark.parametrize("points", EVERY, ids=lambda points: str(points)[:30])
def test_the_points_are_written_down_before_the_first_path_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, points: Any
) -> None:
    written: list[list[tuple[Any, ...]]] = []

    def compute(*arguments: Any) -> Any:
        table = pq.read_table(tmp_path / "run" / "points.parquet").drop_columns("point")
        written.append([tuple(row.values()) for row in table.to_pylist()])
        assert (tmp_path / "run" / "manifest.json").exists()
        return honest(*arguments)

    honest = runner.compute
    monkeypatch.setattr(runner, "compute", compute)
    found = study(points, paths=2)
    mcmm.sweep(found, tmp_path / "run", jobs=1)
    assert written
    assert all(each == rows(found) for each in written)


def other_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another scipy, whose Sobol sequence is scrambled otherwise."""
    honest = designs.draw

    def draw(design: str, axes: int, samples: int, seed: int) -> np.ndarray:
        return honest(design, axes, samples, seed + 1)

    monkeypatch.setattr(designs, "draw", draw)


def test_a_run_goes_on_with_the_points_that_were_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed = {**AXES, "risk.volume_limit": [50, math.inf]}
    table = {"design": "sobol", "samples": 8, "axes": mixed}
    first = mcmm.sweep(study(table), tmp_path / "run", jobs=1)
    written = rows(first.study)
    other_draws(monkeypatch)
    assert rows(study(table)) != written
    assert rows(SweepResult.load(tmp_path / "run").study) == written
    for path in (tmp_path / "run" / "chunks").glob("*"):
        path.unlink()
    again = mcmm.sweep(study(table), tmp_path / "run", jobs=1)
    assert rows(again.study) == written
    assert np.array_equal(again.summary, first.summary, equal_nan=True)


def test_points_that_were_tampered_with_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"design": "sobol", "samples": 8, "axes": AXES}
    mcmm.sweep(study(table), tmp_path / "run", jobs=1)
    path = tmp_path / "run" / "points.parquet"
    points = pq.read_table(path)
    changed = points[SPREAD].to_pylist()
    changed[3] += 0.001
    place = points.schema.get_field_index(SPREAD)
    pq.write_table(points.set_column(place, SPREAD, pa.array(changed)), path)
    other_draws(monkeypatch)
    with pytest.raises(StoreError, match=r"points.parquet: is damaged, and the design draws other points"):
        SweepResult.load(tmp_path / "run")
    with pytest.raises(StoreError, match=r"points.parquet: is damaged"):
        mcmm.sweep(study(table), tmp_path / "run", jobs=1)
