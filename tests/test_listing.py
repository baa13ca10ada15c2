"""Run directories in a list, what a sweep will take, and a grid as a dataset."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from small_study import many_chunks, scatter, small_study

from mcmm.errors import InputError, StoreError
from mcmm.estimate import estimate
from mcmm.listing import list_runs
from mcmm.reports import report
from mcmm.runner import sweep
from mcmm.store import SweepResult
from mcmm.study import Study


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    """A small sweep."""
    return sweep(small_study(), tmp_path_factory.mktemp("finished") / "run", jobs=1)


def test_runs_are_listed_with_their_state(tmp_path: Path) -> None:
    sweep(small_study(), tmp_path / "a", jobs=1)
    half = sweep(many_chunks(steps=50), tmp_path / "b", jobs=1)
    chunks = len(half._run.rounds[0].plan)
    scatter(half, range(chunks // 2))
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    del manifest["provenance"]
    (tmp_path / "b" / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "manifest.json").write_text("{")
    (tmp_path / "no run").mkdir()
    one, two, three = list_runs(tmp_path)
    assert (one.path, one.state, one.done, one.name, one.points, one.paths) == (
        tmp_path / "a",
        "finished",
        1.0,
        "small",
        6,
        300,
    )
    assert one.bytes == sum(path.stat().st_size for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert one.seconds > 0
    assert one.started.startswith("20")
    assert two.state == "unfinished"
    assert two.done == pytest.approx(0.5, abs=0.05)
    assert (three.state, three.note) == (
        "unreadable",
        "is damaged (not JSON); give another directory (--out), or delete this one",
    )
    assert list_runs(tmp_path / "a") == [one]
    with pytest.raises(InputError, match="cannot be read: No such file or directory"):
        list_runs(tmp_path / "nowhere")


def test_a_running_sweep_is_told_and_not_disturbed(tmp_path: Path) -> None:
    seen = []

    def progress(done: int, total: int) -> None:
        seen.extend(list_runs(tmp_path))

    sweep(small_study(), tmp_path / "run", jobs=1, progress=progress)
    assert [(each.state, each.done) for each in seen] == [("running", 0.0), ("running", 1.0)]
    assert seen[0].note.startswith("process ")
    assert list_runs(tmp_path)[0].state == "finished"


def test_what_a_killed_sweep_left_in_the_lock_is_not_running(finished: SweepResult) -> None:
    (finished.directory / "lock").write_text("999999999\n")
    (state,) = list_runs(finished.directory)
    assert state.state == "finished"


def test_an_estimate_writes_nothing_and_knows_what_is_done(tmp_path: Path) -> None:
    study = many_chunks(steps=100)
    out = tmp_path / "run"
    found = estimate(study, out, jobs=1)
    assert not out.exists()
    assert (found.points, found.paths, found.workers, found.done) == (30, 4000, 1, 0.0)
    assert found.path_steps == study.path_steps()
    assert found.seconds == pytest.approx(found.path_steps / found.path_steps_per_second)
    result = sweep(study, out, jobs=1)
    report(result, html=tmp_path / "page.html")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    assert found.bytes == pytest.approx(size, rel=0.2)
    assert found.page_bytes == pytest.approx((tmp_path / "page.html").stat().st_size, rel=0.2)
    before = sorted(path.name for path in out.rglob("*"))
    assert estimate(study, out, jobs=1).done == 1.0
    assert estimate(study, out, jobs=1).seconds == 0.0
    assert sorted(path.name for path in out.rglob("*")) == before
    chunks = len(result._run.rounds[0].plan)
    scatter(result, range(chunks // 3))
    assert estimate(study, out, jobs=1).done == pytest.approx(1 / 3, abs=0.05)
    with pytest.raises(StoreError, match="holds another study"):
        estimate(small_study(), out)


def test_a_grid_is_a_dataset(finished: SweepResult) -> None:
    data = finished.to_xarray()
    assert dict(data.sizes) == {"quoting.base_spread": 3, "risk.inventory_limit": 2}
    for point in range(6):
        at = data.sel(finished.study.at(point))
        for column in finished.summary:
            stored = finished.summary.loc[point, column]
            assert np.array_equal(at[column].item(), stored, equal_nan=True)
    assert data.attrs["seed"] == "7"
    assert data.attrs["digest"] == finished.study.digest()
    assert data["paths"].to_numpy().tolist() == [[300, 300]] * 3


def test_a_dataset_has_the_paths_that_a_precision_took(tmp_path: Path) -> None:
    target = {"metric": "mean", "standard_error": 0.02, "first_paths": 256, "most_paths": 1024}
    tables = small_study().to_dict()
    del tables["paths"]
    result = sweep(Study(**tables, precision=target), tmp_path / "run", jobs=1)
    data = result.to_xarray()
    paths = [result.paths_of(point) for point in range(6)]
    assert data["paths"].to_numpy().ravel().tolist() == paths
    assert len(set(paths)) > 1
    assert "paths" not in data.attrs


def test_what_is_no_grid_is_no_dataset(tmp_path: Path) -> None:
    axes = {"quoting.base_spread": {"low": 0.02, "high": 0.2}}
    study = small_study(points={"design": "sobol", "samples": 4, "axes": axes})
    result = sweep(study, tmp_path / "run", jobs=1)
    with pytest.raises(InputError, match=r"points.design: must be a full grid .*, got sobol"):
        result.to_xarray()


def test_without_xarray_it_says_what_to_install(
    finished: SweepResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(InputError, match=r'install it with: python -m pip install "mcmm\[xarray\]"'):
        finished.to_xarray()


def test_a_study_needs_no_file() -> None:
    study = Study(
        name="spread",
        scenario={"steps": 20},
        paths=100,
        seed=7,
        points={"axes": {"quoting.base_spread": [0.02, 0.04]}},
    )
    assert len(sweep(study, jobs=1).summary) == 2
