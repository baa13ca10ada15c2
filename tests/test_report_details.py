"""What a report works out beyond the summary: points path by path, drivers, and the price of each limit."""

from __future__ import annotations

import math
import re
import tomllib

import numpy as np
import pytest
from fake_sweep import MANY, data_of, sweep
from small_study import small_study

import mcmm
from mcmm import runner
from mcmm.metrics import NAMES
from mcmm.reports import samples
from mcmm.reports.details import Details
from mcmm.reports.drivers import find_drivers
from mcmm.reports.findings import Findings
from mcmm.reports.limits import shadow_prices
from mcmm.reports.page import page
from mcmm.reports.provenance import recipes
from mcmm.reports.samples import kept_marks, read_samples, reading_order
from mcmm.scenario import Scenario
from mcmm.statistics import expected_shortfall, quantile_interval, value_at_risk, value_at_risk_interval


@pytest.fixture(scope="module")
def small() -> Findings:
    return Findings.of(sweep())


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> mcmm.store.SweepResult:
    return runner.sweep(small_study(paths=500), out=tmp_path_factory.mktemp("run") / "run", jobs=1)


# ---- samples


def test_marks_are_exact_intervals_of_the_paths(small: Findings) -> None:
    sample = read_samples(small)[small.best]
    pnl = small.result.values(small.best, "pnl_settled")
    marks = sample.marks["pnl_settled"]
    assert sample.whole
    assert marks["p05"] == (np.quantile(pnl, 0.05), *quantile_interval(pnl, 0.05))
    assert marks["value_at_risk_95"] == (value_at_risk(pnl, 0.95), *value_at_risk_interval(pnl, 0.95))
    shortfall = expected_shortfall(pnl, 0.99)
    assert marks["expected_shortfall_99"] == (shortfall.value, *shortfall.interval())
    assert set(sample.marks["fills"]) == {"mean", "p01", "p05", "p50", "p95", "p99"}


def test_a_real_sweeps_samples_are_its_paths(swept: mcmm.store.SweepResult) -> None:
    findings = Findings.of(swept)
    found = read_samples(findings)
    assert set(found) == set(range(6))
    for row, sample in found.items():
        rows = swept.paths(row)
        assert sample.distributions["fills"].counts.sum() == 500
        assert sample.marks["fills"]["p50"][0] == rows["fills"].quantile(0.5)
        for reason, trips in sample.trips.items():
            hit = rows["halt_reason"] == reason
            assert trips.value == hit.mean()
            assert sample.after[reason] == pytest.approx(((49 - rows["halt_step"]) * hit).mean() / 50)


def test_intervals_from_what_is_kept_are_no_narrower(small: Findings) -> None:
    for row in (0, 7, 19):
        kept = kept_marks(small, row, "pnl_settled", small.result.distribution(row, "pnl_settled"))
        exact = read_samples(small)[row].marks["pnl_settled"]
        assert set(kept) == set(exact)
        for part in ("p01", "p05", "p50", "p95", "p99", "value_at_risk_95", "value_at_risk_99"):
            assert kept[part][0] == pytest.approx(exact[part][0])
            assert kept[part][1] <= exact[part][1]
            assert kept[part][2] >= exact[part][2]


def test_the_best_and_its_neighbours_are_read_first(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = Findings.of(sweep(MANY, paths=100))
    order = reading_order(findings)
    assert order[0] == findings.best
    assert sorted(order) == list(range(200))
    best = findings.result.points.iloc[findings.best]
    along = [row for row, point in findings.result.points.iterrows() if (point != best).sum() == 1]
    assert set(along) <= set(order[: 3 + len(along)])
    assert findings.order[-1] in order[:3]
    monkeypatch.setattr(samples, "MOST_PATH_STEPS", 350_000)
    found = read_samples(findings)
    assert list(found) == order[:3]
    assert all(sample.whole for sample in found.values())
    html = page(findings)
    assert "all paths of 3 of the 200 points were read" in re.sub(r"\s+", " ", html)
    data = data_of(html)
    assert data["distributions"]["pnl_settled"]["0"]["exact"] == (0 in found)
    assert set(data["distributions"]["fills"]) == {str(row) for row in found}


# ---- drivers


def test_drivers_of_a_grid_are_the_grids_own_shares(small: Findings) -> None:
    drivers = find_drivers(small)
    assert drivers.method == "grid"
    table = small.result.summary["pnl_settled.controlled_mean"].to_numpy().reshape(5, 4)
    found = drivers.columns["pnl_settled.controlled_mean"]
    assert found["first_order"] == pytest.approx(
        [table.mean(axis=1).var() / table.var(), table.mean(axis=0).var() / table.var()]
    )
    assert found["correlation"][1] > 0
    # A wider quote trades less, at any limit.
    assert drivers.columns["fills.mean"]["correlation"][0] < -0.9
    assert drivers.columns["fills.mean"]["correlation"][1] == pytest.approx(0.0, abs=1e-9)


def test_drivers_of_other_designs() -> None:
    axes = {
        "quoting.base_spread": {"low": 0.02, "high": 0.2},
        "quoting.policy": ["adaptive", "symmetric"],
    }
    ranks = find_drivers(Findings.of(sweep_of({"design": "sobol", "samples": 32, "axes": axes})))
    assert ranks.method == "ranks"
    found = ranks.columns["fills.mean"]
    assert found["correlation_low"][0] <= found["correlation"][0] <= found["correlation_high"][0] < 0
    assert found["correlation"][1] is None  # a text has no order
    numbers = {"quoting.base_spread": axes["quoting.base_spread"], "risk.inventory_limit": [25, 50]}
    sobol = find_drivers(Findings.of(sweep_of({"design": "sobol_indices", "samples": 16, "axes": numbers})))
    assert sobol.method == "sobol"
    found = sobol.columns["fills.mean"]
    assert found["total_order_low"][0] <= found["total_order"][0] <= found["total_order_high"][0]
    assert find_drivers(Findings.of(sweep({"quoting.base_spread": [0.02, 0.04]}, paths=10))) is None


def sweep_of(points: dict) -> object:
    from fake_sweep import FakeSweep

    from mcmm.study import Study

    return FakeSweep(Study(name="designed", scenario={}, paths=100, seed=7, points=points))


# ---- limits


def test_a_limits_price_is_that_of_its_twin() -> None:
    scenario = {
        "steps": 200,
        "risk": {"drawdown_limit": 1.5, "exposure_limit": 40.0, "close_steps": 20, "mark": "fair"},
    }
    findings = Findings.of(sweep({"quoting.base_spread": [0.04, 0.08]}, scenario, paths=400))
    found = shadow_prices(findings)
    assert found.row == findings.best
    assert found.paths == 400
    assert [price.setting for price in found.prices] == [
        "risk.inventory_limit",
        "risk.exposure_limit",
        "risk.drawdown_limit",
        "risk.close_steps",
    ]
    chosen = findings.result.study.scenario_at(findings.best)
    kept = mcmm.simulate(chosen, paths=400, seed=7).paths
    lifts = {"risk.drawdown_limit": math.inf, "risk.close_steps": 0}
    for price in found.prices:
        if price.setting not in lifts:
            continue
        without = mcmm.simulate(
            chosen.replace({price.setting: lifts[price.setting]}), paths=400, seed=7
        ).paths
        apart = without["max_drawdown"] - kept["max_drawdown"]
        assert price.drawdown.value == pytest.approx(apart.mean())
        assert price.drawdown.standard_error == pytest.approx(apart.sem())
        gain = without["pnl_settled"] - kept["pnl_settled"]
        # With control variates: the same within the error of the plain difference, and better known.
        assert price.forgone.value == pytest.approx(gain.mean(), abs=4 * gain.sem())
        assert price.forgone.standard_error < gain.sem()
        assert 0 < price.acted <= 400
    # A breaker that halts saves drawdown.
    breaker = found.prices[2]
    assert breaker.drawdown.interval().low > 0


def test_a_limit_that_never_binds_has_no_price() -> None:
    findings = Findings.of(
        sweep({"risk.drawdown_limit": [1000.0, 2000.0]}, {"steps": 50}, paths=100, objective="pnl_fair.mean")
    )
    price = shadow_prices(findings).prices[-1]
    assert price.setting == "risk.drawdown_limit"
    assert price.acted == 0
    assert price.forgone.value == price.drawdown.value == price.shortfall.value == 0.0
    # None of 100 paths is a bound, not a 0.
    assert "&lt;3.0%" in page(findings)


def test_limits_of_several_markets_are_lifted_in_all() -> None:
    scenario = {
        "steps": 200,
        "risk": {"mark": "fair"},
        "portfolio": {"drawdown_limit": 1.0},
        "markets": [{"name": "fed", "risk": {"inventory_limit": 20}}, {"name": "cpi"}],
    }
    found = shadow_prices(Findings.of(portfolio(scenario)))
    by_name = {price.setting: price for price in found.prices}
    assert set(by_name) == {"risk.inventory_limit", "portfolio.drawdown_limit"}
    assert by_name["risk.inventory_limit"].values == (20, 100)
    assert by_name["portfolio.drawdown_limit"].acted > 0


def portfolio(scenario: dict) -> object:
    import tempfile

    from mcmm.study import Study

    study = Study(
        name="two", scenario=scenario, paths=300, seed=7,
        points={"axes": {"quoting.base_spread": [0.04, 0.08, 0.1]}},
    )  # fmt: skip
    return runner.sweep(study, out=f"{tempfile.mkdtemp()}/run", jobs=1)


def test_a_portfolios_page_is_made() -> None:
    scenario = {"steps": 60, "markets": [{"name": "fed"}, {"name": "cpi"}]}
    html = page(Findings.of(portfolio(scenario)))
    assert data_of(html)["limits"]["prices"][0]["setting"] == "risk.inventory_limit"


def test_no_best_point_has_no_price() -> None:
    assert Details(Findings.of(sweep(objective="breaker_overshoot.mean", paths=20))).prices is None


# ---- recipes


def test_a_recipe_is_the_points_scenario() -> None:
    axes = {"quoting.base_spread": [0.02, 0.04], "risk.inventory_limit": [25, math.inf], "steps": [10, 20]}
    findings = Findings.of(sweep(axes, paths=10))
    found = recipes(findings, range(8))
    for row in range(8):
        changes = found["changes"][str(row)]
        lines = changes.get("whole") or [
            changes.get(str(place), line) for place, line in enumerate(found["lines"])
        ]
        text = "\n".join(lines)
        assert tomllib.loads(text)
        assert Scenario.loads(text) == findings.result.study.scenario_at(row)
        assert len(changes) <= 4


# ---- breakers


def test_trips_are_told_by_breaker_and_a_tail_never_seen_by_its_bound() -> None:
    axes = {"risk.drawdown_limit": [20.0, 500.0, math.inf]}
    html = page(Findings.of(sweep(axes)))
    found = data_of(html)["breakers"]
    assert set(found) == {"0", "1"}
    assert found["0"]["drawdown"]["chance"][0] > 0
    assert found["1"]["drawdown"]["text"] == "<0.15%"
    assert found["1"]["drawdown"]["chance"][2] == pytest.approx(0.0015, abs=1e-4)
    none = page(Findings.of(sweep({"quoting.base_spread": [0.02, 0.04]}, paths=50)))
    assert "No point of the study sets a drawdown breaker" in none
    unseen = page(Findings.of(sweep({"risk.drawdown_limit": [500.0, 600.0]}, paths=2000)))
    assert "chance that one does is &lt;0.15%" in unseen


def test_every_metric_but_codes_and_constants_can_be_looked_at(small: Findings) -> None:
    carried = set(data_of(page(small))["distributions"])
    constant = {
        name
        for name in NAMES
        if len({small.result.values(row, name)[0] for row in range(20)}) == 1
        and all(np.ptp(small.result.values(row, name)) == 0 for row in range(20))
    }
    overshoot = {"breaker_overshoot"}  # no breaker is set
    assert carried == set(NAMES) - constant - overshoot - {"halt_reason", "halt_step"}
