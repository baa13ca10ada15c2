"""Paired comparisons: by hand, against path-by-path differences, and how often they are wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from small_study import small_study

import mcmm
from mcmm import comparison, engine, moments
from mcmm.comparison import best_set, difference, holm, weighted_mean
from mcmm.errors import InputError
from mcmm.metrics import NAMES
from mcmm.moments import Node
from mcmm.store import SweepResult

pytestmark = pytest.mark.filterwarnings("error")


def node(*rows: np.ndarray) -> Node:
    return moments.root(moments.tally(np.stack(rows)))


@pytest.fixture(scope="module")
def result() -> SweepResult:
    return mcmm.sweep(small_study(paths=6400, scenario={"steps": 200}), jobs=2)


def test_holm_by_hand() -> None:
    adjusted = holm([0.01, 0.04, 0.03, 0.005, math.nan])
    # 0.005 * 4, 0.01 * 3, 0.03 * 2, then 0.04, which may not be below what came before.
    assert adjusted[:4] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert math.isnan(adjusted[4])
    assert holm([]).size == 0
    assert holm([0.7, 0.9]).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("paths", [5, 64])
def test_up_to_64_paths_it_is_the_paired_t_test(paths: int) -> None:
    one, other = np.random.default_rng(1).standard_normal((2, paths))
    found = difference(node(one), node(other), 0, controls=False)
    expected = stats.ttest_rel(one, other)
    assert found.value == pytest.approx(np.mean(one - other))
    assert found.value / found.standard_error == pytest.approx(expected.statistic)
    assert found.degrees == paths - 1


@pytest.mark.parametrize("paths", [65, 1000, 6400])
def test_batches_give_the_weighted_spread_of_their_means(paths: int) -> None:
    one, other = np.random.default_rng(2).standard_normal((2, paths))
    found = difference(node(one), node(other), 0, controls=False)
    sizes = np.array([len(one[batch::64]) for batch in range(64)])
    means = np.array([np.mean((one - other)[batch::64]) for batch in range(64)])
    assert found.value == found.plain == pytest.approx(np.mean(one - other))
    variance = np.sum(sizes * (means - found.value) ** 2) / 63 / paths
    assert found.standard_error == pytest.approx(math.sqrt(variance))
    apart = (one.var(ddof=1) + other.var(ddof=1)) / paths
    assert found.variance_reduction == pytest.approx(apart / variance)


def test_regression_on_controls_is_least_squares() -> None:
    random = np.random.default_rng(3)
    controls = random.standard_normal((3, 64))
    controls = np.vstack([controls, controls[0] - 2 * controls[1]])  # this one says nothing new
    sizes = np.where(np.arange(64) < 10, 4.0, 3.0)
    values = 5 + controls[:3].T @ [1.0, -2.0, 0.5] + 0.1 * random.standard_normal(64)
    value, variance, degrees = weighted_mean(values, sizes, list(controls))
    design = np.column_stack([np.ones(64), *controls[:3]]) * np.sqrt(sizes)[:, np.newaxis]
    found, squares, *_ = np.linalg.lstsq(design, values * np.sqrt(sizes))
    assert weighted_mean(values, sizes, [])[0] == pytest.approx(np.average(values, weights=sizes))
    assert value == pytest.approx(found[0])
    assert degrees == 60
    assert variance == pytest.approx(squares[0] / 60 * np.linalg.inv(design.T @ design)[0, 0])


def test_a_control_whose_mean_is_doubtful_is_left_out() -> None:
    random = np.random.default_rng(5)
    sizes = np.full(64, 3.0)
    control = random.standard_normal(64)
    control += 5.2 / 8 * control.std() - control.mean()  # 5.2 standard errors above its known 0
    values = 2 * control + random.standard_normal(64)
    assert weighted_mean(values, sizes, [control]) == weighted_mean(values, sizes, [])
    used = weighted_mean(values, sizes, [control - 0.3 / 8])
    assert used[2] == 62
    assert used[1] < weighted_mean(values, sizes, [])[1]


def test_compare_is_near_the_differences_path_by_path(result: SweepResult) -> None:
    found = result.compare(2, "pnl_fair.mean")
    assert found.index.tolist() == [0, 1, 3, 4, 5]
    baseline = result.values(2, "pnl_fair")
    for point in found.index:
        apart = result.values(point, "pnl_fair") - baseline
        row = found.loc[point]
        assert row["plain_difference"] == pytest.approx(apart.mean(), abs=1e-9)
        assert row["difference"] == pytest.approx(apart.mean(), abs=5 * stats.sem(apart))
        assert row["standard_error"] < 1.4 * stats.sem(apart)
        assert row["low"] < row["difference"] < row["high"]
        assert row["variance_reduction"] > 5
    assert found["differs"].tolist() == (found["adjusted_p_value"] <= 0.05).tolist()
    assert (found["adjusted_p_value"] >= found["p_value"]).all()
    # The other way round it is the same, with the other sign.
    back = result.compare(0, "pnl_fair.mean").loc[2]
    assert back["difference"] == pytest.approx(-found.loc[0, "difference"])
    assert back["standard_error"] == pytest.approx(found.loc[0, "standard_error"])


def test_chances_and_any_mean_are_compared(result: SweepResult) -> None:
    for column, metric, score in (
        ("halt.chance", "trips", lambda values: values > 0),
        ("pnl.loss_chance", "pnl", lambda values: values < 0),
        ("fills.mean", "fills", lambda values: values),
    ):
        row = result.compare(0, column).loc[5]
        apart = score(result.values(5, metric)).astype(float) - score(result.values(0, metric))
        assert row["difference"] == row["plain_difference"] == pytest.approx(apart.mean())
        if apart.any():
            assert row["standard_error"] == pytest.approx(stats.sem(apart), rel=0.35)


def test_points_equal_path_by_path_do_not_differ(result: SweepResult) -> None:
    found = result.compare(0, "outages.mean")
    assert (found[["difference", "standard_error", "low", "high"]] == 0.0).all(axis=None)
    assert (found["p_value"] == 1.0).all()
    assert not found["differs"].any()


def test_what_applies_to_some_paths_only_is_not_compared(result: SweepResult) -> None:
    found = result.compare(0, "breaker_overshoot.mean")
    assert found["difference"].isna().all()
    assert not found["differs"].any()


@pytest.mark.parametrize("column", ["pnl.p05", "pnl.expected_shortfall_95", "pnl", "halt.chancy", "pnl.sd"])
def test_what_is_no_mean_is_refused(result: SweepResult, column: str) -> None:
    with pytest.raises(InputError, match=r"column: must be the mean or chance of one of pnl_settled, .*got"):
        result.compare(0, column)
    with pytest.raises(InputError, match="point: must be between 0 and 5, got 6"):
        result.compare(6)
    for point in (1.0, "1", None):
        with pytest.raises(InputError, match=f"point: must be between 0 and 5, got {point!r}"):
            result.compare(point)  # type: ignore[arg-type]


def test_takers_who_know_the_outcome_switch_the_controls_off() -> None:
    knowing = {"steps": 100, "flow": {"informed_know": "outcome"}}
    result = mcmm.sweep(small_study(paths=640, scenario=knowing), jobs=1)
    for name in ("pnl", "pnl_fair", "pnl_settled"):
        assert (result.summary[f"{name}.variance_reduction"] == 1.0).all()
        assert (result.summary[f"{name}.controlled_mean"] == result.summary[f"{name}.mean"]).all()
    found = result.compare(0)
    assert (found["difference"] == found["plain_difference"]).all()


def test_a_huge_study_keeps_the_money_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcmm.study.MANY_POINTS", 5)
    result = mcmm.sweep(small_study(paths=128), jobs=1)
    assert len(result.compare(0)) == 5
    with pytest.raises(
        InputError, match=r"of one of pnl_settled, pnl_fair, pnl, .*settlement, got 'fills.mean'"
    ):
        result.compare(0, "fills.mean")


def test_one_path_tells_nothing_apart() -> None:
    found = mcmm.sweep(small_study(paths=1), jobs=1).compare(0)
    assert found["standard_error"].isna().all()
    assert not found["differs"].any()


# ---- how often they are wrong

REPETITIONS = 600


def assert_rate(hits: int, rate: float, repetitions: int = REPETITIONS) -> None:
    """A rate within four standard errors of what it should be."""
    error = math.sqrt(rate * (1 - rate) / repetitions)
    assert abs(hits / repetitions - rate) < 4 * error, hits / repetitions


def skewed(random: np.random.Generator, points: int, paths: int) -> np.ndarray:
    """Results of points on the same random numbers, all of mean 0: heavy on one side, and much in common."""
    common = random.exponential(size=paths) - 1
    return (
        3 * common
        + 0.3 * common * random.standard_normal((points, 1))
        + random.standard_normal((points, paths))
    )


@pytest.mark.parametrize("paths", [40, 500])
def test_an_interval_holds_the_difference_as_often_as_it_says(paths: int) -> None:
    random = np.random.default_rng(7)
    hits = 0
    for _ in range(REPETITIONS):
        one, other = skewed(random, 2, paths)
        found = difference(node(one), node(other), 0, controls=False)
        reach = stats.t.isf(0.025, found.degrees) * found.standard_error
        hits += abs(found.value) < reach
    assert_rate(hits, 0.95)


def test_an_interval_with_controls_holds_it_as_often() -> None:
    random = np.random.default_rng(8)
    hits, gains = 0, []
    for _ in range(REPETITIONS):
        paths = 300
        inventory = random.standard_normal((2, paths)) * [[2.0], [2.2]]
        settlement = random.choice([-1.0, 1.0], paths) * np.array([[20.0], [22.0]])
        noise = skewed(random, 2, paths)
        value = noise + 0.9 * inventory + settlement
        nodes = [node(value[place], inventory[place], settlement[place]) for place in range(2)]
        found = difference(*nodes, 0, controls=True, settlement=1.0)
        assert found.degrees == 61
        reach = stats.t.isf(0.025, found.degrees) * found.standard_error
        hits += abs(found.value) < reach
        gains.append(found.variance_reduction)
    assert np.median(gains) > 100
    assert_rate(hits, 0.95)


@pytest.mark.parametrize(
    ("controls", "probability", "gain"), [(True, 0.5, 100), (False, 0.5, 2), (True, 0.01, 5)]
)
def test_an_interval_of_real_paths_holds_it_as_often(controls: bool, probability: float, gain: float) -> None:
    """Two spreads on one market: 500 sweeps of 256 paths, against the difference that all of them show."""
    repetitions, paths = 500, 256
    scenario = mcmm.Scenario(steps=60).replace({"market.initial_probability": probability})
    rows = [
        engine.run_rows(scenario.replace({"quoting.base_spread": spread}), 12, 0, repetitions * paths)
        for spread in (0.04, 0.08)
    ]
    fair, settled, inventory = map(NAMES.index, ("pnl_fair", "pnl_settled", "inventory_pnl"))
    lines = [[each[settled], each[inventory], each[settled] - each[fair]] for each in rows]
    truth = difference(*(node(*each) for each in reversed(lines)), 0, controls=True, settlement=1.0).value
    hits, gains = 0, []
    for first in range(0, repetitions * paths, paths):
        one, other = (node(*(line[first : first + paths] for line in each)) for each in reversed(lines))
        found = difference(one, other, 0, controls=controls, settlement=1.0)
        hits += abs(found.value - truth) < stats.t.isf(0.025, found.degrees) * found.standard_error
        gains.append(found.variance_reduction)
    assert np.median(gains) > gain
    assert_rate(hits, 0.95, repetitions)


def test_holms_familywise_error_is_at_most_5_percent() -> None:
    random = np.random.default_rng(9)
    wrong = 0
    for _ in range(REPETITIONS):
        nodes = [node(row) for row in skewed(random, 12, 200)]
        found = [difference(each, nodes[0], 0, controls=False) for each in nodes[1:]]
        wrong += bool(comparison.compare(found)["differs"].any())
    assert wrong / REPETITIONS < 0.05 + 4 * math.sqrt(0.05 * 0.95 / REPETITIONS)
    assert wrong > 0


def test_the_best_set_holds_the_true_best() -> None:
    random = np.random.default_rng(10)
    means = np.array([0.0, -0.02, -0.05, -0.1, -0.3, -1.0])
    kept, sizes = 0, []
    for _ in range(REPETITIONS):
        nodes = [node(row) for row in skewed(random, 6, 400) + means[:, np.newaxis]]
        averages = [each.totals[0] / 400 for each in nodes]
        best = int(np.argmax(averages))
        found: list[Any] = [difference(nodes[best], each, 0, controls=False) for each in nodes]
        value, error = ([getattr(each, name) for each in found] for name in ("value", "standard_error"))
        possible = best_set(value, error, [63.0] * 6)
        assert possible[best]
        kept += bool(possible[0])
        sizes.append(int(possible.sum()))
    assert kept / REPETITIONS > 0.95 - 4 * math.sqrt(0.05 * 0.95 / REPETITIONS)
    assert 1 < np.mean(sizes) < 5.5
