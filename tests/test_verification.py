"""Verification: what was tampered with is found, wherever it stands; another build finds the same bits."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_study import many_chunks, scatter, small_study

import mcmm
from mcmm import chunks, engine, files, runner, tasks
from mcmm.errors import InputError, StoreError
from mcmm.listing import list_runs
from mcmm.metrics import NAMES
from mcmm.runner import sweep
from mcmm.verification import verify


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of six points, each whole in a chunk."""
    return sweep(small_study(), tmp_path_factory.mktemp("plain") / "run", jobs=1).directory


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of six points in three chunks each, with their paths."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "_ROWS", 4096)
        study = small_study(paths=9000, keep_paths=True)
        return sweep(study, tmp_path_factory.mktemp("split") / "run", jobs=1).directory


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cut that the split sweep was made with."""
    monkeypatch.setattr(chunks, "_ROWS", 4096)


def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def tamper(path: Path, column: str, row: int, change: Callable[[Any], Any]) -> None:
    """Change one value in a file of chunks and make the file whole again, digest and all."""
    table = pq.read_table(path)
    values = table.column(column).to_pylist()
    values[row] = change(values[row])
    place = table.schema.get_field_index(column)
    table = table.set_column(place, table.schema.field(place), pa.array(values, table.schema.types[place]))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=64, write_statistics=["point"])
    data = sink.getvalue().to_pybytes()
    path.unlink()
    path.with_name(f"{path.stem.rpartition('-')[0]}-{files.digest(data)}.parquet").write_bytes(data)


def nudged(place: int) -> Callable[[list[float]], list[float]]:
    """Change one number of a list in its last bit."""

    def change(values: list[float]) -> list[float]:
        values[place] = math.nextafter(values[place], math.inf)
        return values

    return change


def test_what_was_stored_is_what_it_is(plain: Path) -> None:
    told: list[tuple[int, int]] = []
    found = mcmm.verify(plain, None, progress=lambda done, total: told.append((done, total)))
    assert found.same
    assert (found.checked, found.cells) == (6, 6)
    assert told == [(0, 6), (6, 6)]
    here = {"mcmm": mcmm.__version__, "isa": engine.core_info()["isa"]}
    assert found.here.items() >= here.items()
    assert len(found.made) == 1
    assert found.made[0] == found.here


@pytest.mark.usefixtures("cut")
def test_split_points_and_their_paths_are_the_same(split: Path) -> None:
    found = verify(split, None)
    assert found.same
    assert found.cells == 18


def test_a_sample_is_chosen_by_its_seed(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core = engine.run_rows
    asked: list[Any] = []

    def run_rows(scenario: Any, *arguments: Any) -> np.ndarray:
        asked.append((scenario.quoting.base_spread, scenario.risk.inventory_limit))
        return core(scenario, *arguments)

    monkeypatch.setattr(engine, "run_rows", run_rows)
    first = verify(plain, 2, seed=5, jobs=1)
    assert (first.checked, first.cells, first.seed) == (2, 6, 5)
    assert len(set(asked)) == 2
    again = list(asked)
    asked.clear()
    verify(plain, 2, seed=5, jobs=1)
    assert asked == again
    seeds = {verify(plain, 2).seed for _ in range(3)}
    assert len(seeds) > 1


@pytest.mark.parametrize(
    ("column", "change", "what"),
    [
        ("totals", nudged(0), "number 0 of totals"),
        ("squares", nudged(3), "number 3 of squares"),
        ("batches.pnl_fair", nudged(2), "number 2 of batches of pnl_fair"),
        ("summary", nudged(1), " in the chunk"),
        ("distribution.pnl_settled", nudged(0), "number 0 of distribution of pnl_settled"),
        ("distribution.pnl_settled", lambda values: values[:-1], "how many numbers there are in"),
    ],
)
def test_one_value_in_one_chunk_is_found(
    plain: Path, tmp_path: Path, column: str, change: Callable[[Any], Any], what: str
) -> None:
    run = copy(plain, tmp_path)
    (path,) = (run / "chunks").iterdir()
    tamper(path, column, 4, change)
    found = verify(run, None)
    assert not found.same
    assert not found.damaged
    (difference,) = found.differences
    assert (difference.point, difference.first_path, difference.paths) == (4, 0, 300)
    assert what in difference.what
    assert "point 4 (quoting.base_spread = 0.06, risk.inventory_limit = 50)" in str(difference)


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("name", ["pnl", "fills"])
def test_one_value_of_one_path_is_found(split: Path, tmp_path: Path, name: str) -> None:
    run = copy(split, tmp_path)
    (path,) = (run / "paths").iterdir()
    tamper(path, name, 9000 + 5000, lambda value: value + 1)
    (difference,) = verify(run, None).differences
    assert (difference.point, difference.what) == (1, f"{name} of path 5000")
    assert difference.stored == difference.computed + 1


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("kind", ["plain", "split"])
def test_one_value_of_the_summary_is_found(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    run = copy(request.getfixturevalue(kind), tmp_path)
    summary = pd.read_parquet(run / "summary.parquet")
    summary.loc[3, "pnl_settled.expected_shortfall_99"] += 1e-9
    summary.to_parquet(run / "summary.parquet")
    (difference,) = verify(run, None).differences
    assert (difference.point, difference.what) == (
        3,
        "pnl_settled.expected_shortfall_99 in summary.parquet",
    )


def test_damage_is_told_and_left_as_it_is(plain: Path, tmp_path: Path) -> None:
    run = copy(plain, tmp_path)
    (path,) = (run / "chunks").iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = verify(run)
    assert not found.same
    assert found.damaged == (f"{path}: is not what was written",)
    assert path.read_bytes() == data


def test_a_changed_study_is_told(plain: Path, tmp_path: Path) -> None:
    run = copy(plain, tmp_path)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["study"]["seed"] = 8
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="its study and its digest do not agree"):
        verify(run)


def unfinished(run: Path) -> None:
    """Make it a run that was stopped before its end."""
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["provenance"]
    (run / "manifest.json").write_text(json.dumps(manifest))


def test_an_unfinished_run_is_verified_as_far_as_it_is(plain: Path, tmp_path: Path) -> None:
    run = copy(plain, tmp_path)
    unfinished(run)
    (run / "summary.parquet").unlink()
    assert verify(run, None).same
    (path,) = (run / "chunks").iterdir()
    path.unlink()
    with pytest.raises(StoreError, match="has no finished chunk to verify"):
        verify(run)


def test_who_made_what_a_killed_sweep_left_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed sweep closes no session; what it leaves on the disk must say by itself who made it."""
    run, study = tmp_path / "run", many_chunks(steps=50)
    ours = tasks.build()
    theirs = tuple((name, "theirs" if name in ("isa", "host") else value) for name, value in ours)

    def killed(done: int, total: int) -> None:
        if done:
            raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "build", lambda: theirs)
        patch.setattr(runner._Sweep, "_close", lambda *_: None)
        with pytest.raises(SystemExit):
            sweep(study, run, jobs=1, progress=killed)
    assert verify(run).made == (dict(theirs),)
    (state,) = list_runs(run)
    assert state.started.startswith("20")
    result = sweep(study, run, jobs=1)
    assert {each["host"] for each in verify(run).made} == {dict(ours)["host"], "theirs"}
    assert result.provenance["isa"] == ", ".join(sorted([dict(ours)["isa"], "theirs"]))
    assert result.provenance["started"] == state.started


@pytest.mark.parametrize("cells", [1, None])
def test_what_a_finished_run_has_lost_is_told(tmp_path: Path, cells: int | None) -> None:
    result = sweep(many_chunks(steps=50), tmp_path / "run", jobs=1)
    run, chunks = result.directory, len(result._run.rounds[0].plan)
    scatter(result, range(chunks - 1))
    found = verify(run, cells)
    assert not found.same
    assert found.damaged == (f"{run}: 1 of {chunks} chunks are not there, though the run is finished",)
    (run / "summary.parquet").unlink()
    assert f"{run / 'summary.parquet'}: is not there, though the run is finished" in verify(run).damaged
    unfinished(run)
    assert verify(run, cells).same


def test_a_point_that_is_written_down_wrong_is_found(plain: Path, tmp_path: Path) -> None:
    run = copy(plain, tmp_path)
    path = run / "points.parquet"
    points = pd.read_parquet(path)
    points.loc[2, "quoting.base_spread"] = 0.05
    points.to_parquet(path)
    (line,) = verify(run, None).damaged
    assert line == f"{path}: quoting.base_spread of point 2 is stored as 0.05 and is 0.04"
    path.unlink()
    (line,) = verify(run, None).damaged
    assert line.startswith(f"{path}: cannot be read: ")


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep for Sobol indices."""
    axes = {"quoting.base_spread": {"low": 0.02, "high": 0.2}, "risk.inventory_limit": [50, 100, 200]}
    study = small_study(points={"design": "sobol_indices", "samples": 8, "axes": axes})
    return sweep(study, tmp_path_factory.mktemp("drivers") / "run", jobs=1).directory


@pytest.mark.parametrize("column", ["first_order", "total_order_high"])
def test_one_value_of_the_sensitivities_is_found(drivers: Path, tmp_path: Path, column: str) -> None:
    assert verify(drivers, None).same
    run = copy(drivers, tmp_path)
    path = run / "sensitivity.parquet"
    table = pd.read_parquet(path)
    was = float(table.loc["risk.inventory_limit", column])
    table.loc["risk.inventory_limit", column] = changed = was + 1e-6
    table.to_parquet(path)
    (line,) = verify(run, None).damaged
    assert line == f"{path}: {column} of risk.inventory_limit is stored as {changed!r} and is {was!r}"
    table.drop(columns=column).to_parquet(path)
    assert verify(run, None).damaged == (f"{path}: is not this study's sensitivities",)
    path.unlink()
    (line,) = verify(run, None).damaged
    assert line.startswith(f"{path}: cannot be read: ")


def test_rounds_of_a_precision_are_verified(tmp_path: Path) -> None:
    target = {"metric": "mean", "standard_error": 0.02, "first_paths": 256, "most_paths": 1024}
    tables = small_study().to_dict()
    del tables["paths"]
    study = mcmm.Study(**tables, precision=target)
    run = sweep(study, tmp_path / "run", jobs=1).directory
    assert (run / "round-1").exists()
    found = verify(run, None)
    assert found.same
    assert found.cells > 6
    (path,) = (run / "round-1" / "chunks").iterdir()
    tamper(path, "totals", 0, nudged(0))
    assert not verify(run, None).same
    # Stopped before it had a summary, it is looked at as far as it came.
    unfinished(run)
    (run / "summary.parquet").unlink()
    again = verify(run, None)
    assert again.cells == found.cells
    assert not again.same


def test_another_build_finds_the_same_bits(plain: Path) -> None:
    if engine.core_info()["isa"] == "baseline":
        pytest.skip("this machine has one build only")
    code = "import sys, mcmm; found = mcmm.verify(sys.argv[1], None); print(found.same, found.here['isa'])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(plain)],
        env={**os.environ, "MCMM_ISA": "baseline", "PYTHONPATH": str(Path(mcmm.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True baseline\n"


@pytest.mark.parametrize("cells", [0, -1, 1.5, True])
def test_wrong_numbers_of_cells_are_refused(plain: Path, cells: Any) -> None:
    with pytest.raises(InputError, match="cells: must be a whole number >= 1, or None for all, got"):
        verify(plain, cells)


def test_metrics_are_all_looked_at(split: Path) -> None:
    assert set(pq.ParquetFile(next((split / "paths").iterdir())).schema_arrow.names) >= set(NAMES)
