"""Sensitivity: Sobol indices of a sweep are those of the function it samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_sweep import FakeSweep, data_of
from small_study import small_study

import mcmm
from mcmm.errors import InputError, StoreError
from mcmm.metrics import NAMES
from mcmm.reports.findings import Findings
from mcmm.reports.page import page
from mcmm.scenario import Scenario
from mcmm.sensitivity import sensitivity
from mcmm.store import SweepResult
from mcmm.study import Study

AXES = {
    "quoting.base_spread": {"low": 0.0, "high": 1.0},
    "quoting.fill_shade": {"low": 0.0, "high": 1.0},
    "quoting.imbalance_shade": {"low": 0.0, "high": 1.0},
}


def study(samples: int = 256) -> Study:
    points = {"design": "sobol_indices", "samples": samples, "axes": AXES}
    return Study(name="drivers", question="What drives it?", scenario={}, paths=4, seed=7, points=points)


def made_up(study: Study, scenario: Scenario) -> np.ndarray:
    """x + 2 y + 3 x z, over the unit cube; every path the same but for noise that all points share."""
    x, y, z = (scenario.quoting.base_spread, scenario.quoting.fill_shade, scenario.quoting.imbalance_shade)
    values = np.zeros((len(NAMES), study.paths))
    values[NAMES.index("halt_step")] = -1.0
    values[NAMES.index("pnl_settled")] = x + 2 * y + 3 * x * z + np.arange(study.paths)
    return values


def test_the_indices_are_those_of_the_function() -> None:
    result = FakeSweep(study(1024), made_up)
    found = result.sensitivity("pnl_settled.mean")
    assert found.index.tolist() == list(AXES)
    # By hand: the variances of E[f|x] = 2.5 x, E[f|y] = 2 y, E[f|z] = 1.5 z, and of 3 (x - 1/2) (z - 1/2).
    parts = np.array([2.5**2, 2**2, 1.5**2]) / 12
    both = 9 / 144
    total = parts.sum() + both
    assert found["first_order"].to_numpy() == pytest.approx(parts / total, abs=0.03)
    assert found["total_order"].to_numpy() == pytest.approx(
        (parts + np.array([both, 0, both])) / total, abs=0.03
    )
    for order, expected in (
        ("first_order", parts / total),
        ("total_order", (parts + np.array([both, 0, both])) / total),
    ):
        assert (found[f"{order}_low"] < expected + 0.01).all()
        assert (found[f"{order}_high"] > expected - 0.01).all()
        assert (found[f"{order}_low"] < found[order]).all()
        assert (found[order] < found[f"{order}_high"]).all()


def test_they_are_the_same_each_time() -> None:
    result = FakeSweep(study(64), made_up)
    pd.testing.assert_frame_equal(
        result.sensitivity("pnl_settled.mean"), result.sensitivity("pnl_settled.mean")
    )


def test_one_axis_alone_makes_all_of_it() -> None:
    axes = {"quoting.base_spread": AXES["quoting.base_spread"]}
    points = {"design": "sobol_indices", "samples": 256, "axes": axes}
    one = Study(name="one", scenario={}, paths=4, seed=7, points=points)
    found = FakeSweep(one, made_up).sensitivity("pnl_settled.mean")
    assert found[["first_order", "total_order"]].to_numpy() == pytest.approx(1.0, abs=0.01)


def test_what_never_varies_has_no_drivers() -> None:
    found = FakeSweep(study(16), made_up).sensitivity("fills.mean")
    assert (found == 0.0).all(axis=None)


def test_what_cannot_be_told_is_refused() -> None:
    result = FakeSweep(study(4), made_up)
    with pytest.raises(InputError, match="needs a study with design sobol_indices, got grid"):
        sensitivity(small_study(), result.summary, "pnl.mean")
    with pytest.raises(InputError, match="must be a column of the summary, got 'pnl'"):
        result.sensitivity("pnl")
    with pytest.raises(InputError, match=r"halt_step.mean is not at point 0"):
        result.sensitivity("halt_step.mean")


def test_a_sweep_stores_them(tmp_path: Path) -> None:
    axes = {"quoting.base_spread": {"low": 0.02, "high": 0.2}, "risk.inventory_limit": [50, 100, 200]}
    points = {"design": "sobol_indices", "samples": 8, "axes": axes}
    result = mcmm.sweep(small_study(points=points), tmp_path / "run", jobs=1)
    stored = pd.read_parquet(tmp_path / "run" / "sensitivity.parquet")
    pd.testing.assert_frame_equal(stored, result.sensitivity())
    pd.testing.assert_frame_equal(SweepResult.load(tmp_path / "run").sensitivity("pnl_settled.mean"), stored)


def test_a_sweep_is_not_finished_before_they_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {"design": "sobol_indices", "samples": 4, "axes": {"quoting.base_spread": [0.02, 0.05, 0.1]}}
    study, run = small_study(points=points), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("mcmm.sensitivity.sensitivity", interrupt)
        with pytest.raises(KeyboardInterrupt):
            mcmm.sweep(study, run, jobs=1)
    with pytest.raises(StoreError, match="is not finished"):
        SweepResult.load(run)
    mcmm.sweep(study, run, jobs=1)
    assert (run / "sensitivity.parquet").exists()
    assert mcmm.verify(run, None).same


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_objective_that_is_not_known_everywhere_costs_no_sweep(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No path ends by a loss, so there is no mean of when; the rest is found, and told as finished."""
    points = {
        "design": "sobol_indices",
        "samples": 4,
        "axes": {"quoting.base_spread": {"low": 0.02, "high": 0.2}},
    }
    study = small_study(scenario={"steps": 50}, points=points, objective="halt_step.mean")
    run = mcmm.sweep(study, tmp_path / "run", jobs=1).directory
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith(
        f"{run}: has no sensitivities of the objective: column: must be known at every point"
    )
    assert not (run / "sensitivity.parquet").exists()
    assert SweepResult.load(run).summary.shape[0] == 12
    assert mcmm.verify(run, None).same


def test_the_reports_show_them() -> None:
    from test_reports import printed, without_lines

    findings = Findings.of(FakeSweep(study(64), made_up))
    text = printed(findings)
    assert max(map(len, text.splitlines())) <= 80
    found = findings.result.sensitivity("pnl_settled.mean")
    for name, row in found.iterrows():
        line = next(line for line in text.splitlines() if line.startswith(str(name)))
        assert line.split()[1] == f"{row['first_order']:.2f}"
    assert "Order: Sobol indices, the share of the variance of the mean pnl_settled" in without_lines(text)
    html = page(findings)
    assert '<h2 id="drivers-title">What drives it</h2>' in html
    data = data_of(html)
    assert data["scattered"] is True
    assert data["drivers"]["method"] == "sobol"
    of_the_tail = data["drivers"]["columns"]["pnl_settled.expected_shortfall_95"]
    tail = findings.result.sensitivity("pnl_settled.expected_shortfall_95")
    np.testing.assert_allclose(of_the_tail["first_order"], tail["first_order"], rtol=0.01)


def test_other_designs_have_no_sobol_indices() -> None:
    from fake_sweep import sweep

    data = data_of(page(Findings.of(sweep())))
    assert data["drivers"]["method"] == "grid"
    assert data["scattered"] is False
