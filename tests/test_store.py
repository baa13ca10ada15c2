"""Files, chunks and the run directory: what is written is read, what is damaged or foreign is told."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from small_study import assert_same, chunk_files, small_study, whole_numbers

from mcmm import files
from mcmm.chunks import Chunk, encode
from mcmm.errors import InputError, StoreError
from mcmm.metrics import HALT_REASONS, METRICS, NAMES
from mcmm.runner import sweep
from mcmm.store import SweepResult


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    """A finished sweep, whose directory tests copy before they harm it."""
    return sweep(small_study(), tmp_path_factory.mktemp("finished") / "run", jobs=1)


@pytest.fixture
def copy(finished: SweepResult, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished.directory, tmp_path / "run"))


# ---- files


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_whole(path, b"one")
    files.write_whole(path, b"two", durable=False)
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.json"
    files.write_whole(path, b"one")
    monkeypatch.setattr(os, call, full)
    with pytest.raises(InputError, match=r"a\.json: cannot be written: No space left on device"):
        files.write_whole(path, b"two")
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["a.json"]


def test_json_keeps_what_it_is_given() -> None:
    value = {"b": [1, math.inf, -math.inf], "a": {"x": 0.1, "text": "inferior"}, "c": None, "d": (True, -0.0)}
    text = files.to_json(value)
    assert files.from_json(json.loads(text)) == {**value, "d": [True, -0.0]}
    assert list(json.loads(text)) == ["a", "b", "c", "d"]
    assert json.loads(text)["b"] == [1, "inf", "-inf"]
    assert math.isnan(files.from_json(json.loads(files.to_json(math.nan))))


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with files.Lock(path, "held by {owner}"):
        assert path.read_text() == f"{os.getpid()}\n"
        with pytest.raises(StoreError, match=f"^held by {os.getpid()}$"), files.Lock(path, "held by {owner}"):
            pass
        with pytest.raises(StoreError), files.Lock(path, "held by {owner}"):
            pass
    assert path.read_text() == ""
    with files.Lock(path, ""):
        pass


@pytest.mark.parametrize("left", [b"", b"999999999\n", b"1\n", b"\xff no number"])
def test_what_a_dead_process_left_locks_nobody_out(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "lock"
    path.write_bytes(left)
    with files.Lock(path, "held by {owner}"):
        assert path.read_text() == f"{os.getpid()}\n"


def test_where_no_lock_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(files, "_take", refuse)
    with pytest.raises(InputError, match=r"lock: cannot be locked: No locks available"):
        files.Lock(tmp_path / "lock", "").__enter__()


def test_a_disk_that_is_full_already_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of no bytes is made there, and then nothing can be put in it."""
    path = tmp_path / "lock"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(InputError, match=r"lock: cannot be written: No space left on device"):
            files.Lock(path, "").__enter__()
    with files.Lock(path, "held by {owner}"):
        pass
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=f"^{tmp_path}: cannot be written: No space left on device"):
        files.settle(tmp_path)


# ---- the run directory


def test_a_result_is_loaded_as_it_was_returned(finished: SweepResult) -> None:
    loaded = SweepResult.load(finished.directory)
    assert_same(loaded, finished)
    assert loaded.provenance == finished.provenance


def test_what_the_directory_holds(finished: SweepResult) -> None:
    folder = finished.directory
    assert {entry.name for entry in folder.iterdir()} == {
        "manifest.json",
        "points.parquet",
        "chunks",
        "summary.parquet",
        "lock",
    }
    manifest = json.loads((folder / "manifest.json").read_text())
    assert list(manifest) == sorted(manifest)
    assert manifest["study"]["scenario"]["risk"]["exposure_limit"] == "inf"
    assert (manifest["schema"], manifest["seed"], manifest["points"]) == (4, 7, 6)
    points = pd.read_parquet(folder / "points.parquet").set_index("point")
    pd.testing.assert_frame_equal(points, finished.points, check_index_type=False)
    (path,) = chunk_files(folder)
    kept = pd.read_parquet(path)
    assert kept["point"].tolist() == list(range(6))
    assert kept["paths"].tolist() == [300] * 6
    assert np.array_equal(np.stack(kept["summary"]), finished.summary, equal_nan=True)


def test_rows_of_paths(finished: SweepResult) -> None:
    frame = finished.paths(3)
    assert list(frame.columns) == list(NAMES)
    assert frame.index.equals(pd.RangeIndex(300, name="path"))
    for name in NAMES:
        values = finished.values(3, name)
        assert values.dtype == np.float64
        if name == "halt_reason":
            assert list(frame[name].cat.categories) == list(HALT_REASONS)
            assert frame[name].cat.codes.tolist() == values.tolist()
        else:
            assert np.array_equal(frame[name], values, equal_nan=True)
            assert (frame[name].dtype == np.int64) == METRICS[name].whole
            assert not METRICS[name].whole or whole_numbers(values)
    assert list(finished.paths(0, ["pnl", "fills"]).columns) == ["pnl", "fills"]


def test_what_a_result_has_not_is_refused(finished: SweepResult) -> None:
    with pytest.raises(InputError, match="point: must be between 0 and 5, got 6"):
        finished.values(6, "pnl")
    with pytest.raises(InputError, match=r"metric: must be one of fills, .*, got 'profit'"):
        finished.values(0, "profit")
    with pytest.raises(InputError, match="got 'profit'"):
        finished.paths(0, ["pnl", "profit"])


def test_nothing_is_unpickled(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    result = SweepResult.load(copy)
    assert len(result.paths(0)) == 300
    sweep(small_study(), copy, jobs=1)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(b"no Parquet at all" * 10)


def other_study(path: Path) -> None:
    """A whole file, rightly named, of another study."""
    values = np.zeros((len(NAMES), 1800))
    data = encode([Chunk(0, 0, 6, 0, 300, 0)], values, "0" * 64)
    path.unlink()
    path.with_name(f"000000-000000-{files.digest(data)}.parquet").write_bytes(data)


@pytest.mark.parametrize("damage", [truncate, flip, empty, garbage, other_study])
def test_a_damaged_chunk_is_computed_again(
    finished: SweepResult, copy: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    (path,) = chunk_files(copy)
    damage(path)
    with caplog.at_level(logging.WARNING, "mcmm"):
        again = sweep(small_study(), copy, jobs=1)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "damaged" in line
    assert "computed again" in line
    assert len(line.splitlines()) == 1
    assert_same(again, finished)
    assert [entry.name for entry in chunk_files(copy)] == [path.name]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EMFILE, errno.EIO])
def test_only_what_the_disk_has_lost_is_removed(
    finished: SweepResult, copy: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A file that cannot be read just now may be hours of work."""
    (path,) = chunk_files(copy)
    honest = Path.read_bytes

    def read_bytes(self: Path) -> bytes:
        if self == path and path.exists():
            raise OSError(code, os.strerror(code))
        return honest(self)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", read_bytes)
        if code == errno.EIO:
            assert_same(sweep(small_study(), copy, jobs=1), finished)
            return
        with pytest.raises(InputError, match=f"{path.name}: cannot be read: {os.strerror(code)}"):
            sweep(small_study(), copy, jobs=1)
    assert path.exists()
    assert sweep(small_study(), copy, jobs=1).provenance["sessions"] == 1


def test_a_missing_chunk_is_computed_again(finished: SweepResult, copy: Path) -> None:
    (path,) = chunk_files(copy)
    path.unlink()
    with pytest.raises(StoreError, match=r"is not finished \(0 of 1 chunks\); run the sweep again"):
        SweepResult.load(copy)
    assert_same(sweep(small_study(), copy, jobs=1), finished)


@pytest.mark.parametrize("damage", [truncate, flip, empty, garbage])
def test_damage_after_loading_is_told(copy: Path, damage: Callable[[Path], None]) -> None:
    result = SweepResult.load(copy)
    (path,) = chunk_files(copy)
    damage(path)
    with pytest.raises(StoreError, match="run the sweep again to mend it"):
        result.compare(0)
    path.unlink()
    with pytest.raises(StoreError, match="run the sweep again to mend it"):
        result.distribution(0, "pnl_settled")


@pytest.mark.parametrize("damage", [truncate, flip, empty, garbage])
def test_damaged_paths_are_told_and_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    study = small_study(keep_paths=True)
    first = sweep(study, tmp_path / "run", jobs=1)
    (path,) = (tmp_path / "run" / "paths").glob("*.parquet")
    assert pq.ParquetFile(path).metadata.num_rows == 6 * 300
    damage(path)
    with pytest.raises(StoreError, match=r"paths.*run the sweep again to mend it"):
        SweepResult.load(tmp_path / "run").values(0, "pnl")
    with caplog.at_level(logging.WARNING, "mcmm"):
        assert_same(sweep(study, tmp_path / "run", jobs=1), first)
    assert "damaged" in caplog.text
    assert_same(SweepResult.load(tmp_path / "run"), first)


def test_paths_that_are_not_kept_are_simulated_again(finished: SweepResult, tmp_path: Path) -> None:
    kept = sweep(small_study(keep_paths=True), tmp_path / "run", jobs=1)
    assert kept.summary.to_numpy().tobytes() == finished.summary.to_numpy().tobytes()
    for point in range(6):
        pd.testing.assert_frame_equal(kept.paths(point), finished.paths(point), check_exact=True)


def test_paths_may_be_asked_for_later(finished: SweepResult, copy: Path) -> None:
    again = sweep(small_study(keep_paths=True), copy, jobs=1)
    assert list((copy / "paths").glob("*.parquet"))
    assert again.values(5, "pnl").tobytes() == finished.values(5, "pnl").tobytes()


@pytest.mark.parametrize("name", ["points.parquet", "summary.parquet"])
@pytest.mark.parametrize("damage", [truncate, empty, garbage, Path.unlink])
def test_damaged_tables_are_mended(
    finished: SweepResult, copy: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(copy / name)
    if name == "summary.parquet":
        with pytest.raises(StoreError, match=r"summary.parquet: .*run the sweep again to mend it"):
            SweepResult.load(copy)
    assert_same(sweep(small_study(), copy, jobs=1), finished)
    assert_same(SweepResult.load(copy), finished)
    assert (copy / name).read_bytes() == (finished.directory / name).read_bytes()


def rewrite(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda run: empty(run / "manifest.json"), "is damaged"),
        (lambda run: truncate(run / "manifest.json"), "is damaged"),
        (lambda run: (run / "manifest.json").write_text("[]"), "is damaged"),
        (lambda run: (run / "manifest.json").write_text("{}"), "is damaged"),
        (lambda run: rewrite(run, sessions=None), "its sessions are not what a sweep writes"),
        (lambda run: rewrite(run, sessions=[1]), "its sessions are not what a sweep writes"),
        (lambda run: rewrite(run, builds=[1]), "its builds are not what a sweep writes"),
        (lambda run: rewrite(run, provenance={}), "its provenance is not what a sweep writes"),
        (lambda run: rewrite(run, provenance=5), "its provenance is not what a sweep writes"),
        (lambda run: rewrite(run, study=None), "is damaged"),
        (lambda run: rewrite(run, study=[1], digest="0"), "is damaged"),
        (lambda run: rewrite(run, points_digest=None), "is damaged"),
        (lambda run: rewrite(run, points_digest="0"), "points.parquet: is damaged"),
        (lambda run: rewrite(run, mcmm=None), "is damaged"),
        (lambda run: rewrite(run, schema=2), "has schema version 2"),
        (lambda run: (run / "manifest.json").unlink(), "manifest.json"),
    ],
)
def test_a_manifest_that_is_wrong_is_told(copy: Path, harm: Callable[[Path], object], message: str) -> None:
    harm(copy)
    before = sorted(path.name for path in copy.rglob("*"))
    with pytest.raises(StoreError, match=message):
        SweepResult.load(copy)
    with pytest.raises(StoreError, match=message):
        sweep(small_study(), copy, jobs=1)
    assert sorted(path.name for path in copy.rglob("*")) == before


def test_another_table_in_the_summarys_place_is_told_and_mended(copy: Path, finished: SweepResult) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(copy / "summary.parquet")
    with pytest.raises(StoreError, match="is not this study's summary; run the sweep again"):
        SweepResult.load(copy)
    pd.testing.assert_frame_equal(sweep(small_study(), copy, jobs=1).summary, finished.summary)
    pd.testing.assert_frame_equal(SweepResult.load(copy).summary, finished.summary)


def test_a_changed_study_in_a_manifest_is_told(copy: Path) -> None:
    study = json.loads((copy / "manifest.json").read_text())["study"]
    rewrite(copy, study={**study, "seed": 8})
    with pytest.raises(StoreError, match="its study and its digest do not agree"):
        SweepResult.load(copy)
    rewrite(copy, study={**study, "paths": -8})
    with pytest.raises(StoreError, match="holds no valid study: paths: must be a whole number"):
        SweepResult.load(copy)


def test_another_version_may_be_read_but_not_gone_on_with(copy: Path, finished: SweepResult) -> None:
    rewrite(copy, mcmm="0.0.1")
    assert_same(SweepResult.load(copy), finished)
    with pytest.raises(StoreError, match=r"was begun by mcmm 0\.0\.1"):
        sweep(small_study(), copy, jobs=1)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"paths": 200}, "paths: 300 there, 200 here"),
        ({"seed": 8, "scenario": {"steps": 49}}, "seed: 7 there, 8 here"),
        ({"scenario": {"steps": 50}}, "scenario.risk.drawdown_limit: 1.0 there, inf here"),
        (
            {"points": {"axes": {"quoting.base_spread": [0.02], "risk.inventory_limit": [50, 100]}}},
            "points.axes.quoting.base_spread: [0.02, 0.04, 0.06] there, [0.02] here",
        ),
        (
            {
                "points": {
                    "axes": {"risk.inventory_limit": [50, 100], "quoting.base_spread": [0.02, 0.04, 0.06]}
                }
            },
            "the order of its axes differs",
        ),
    ],
)
def test_another_studys_directory_is_left_alone(
    copy: Path, finished: SweepResult, changes: dict[str, Any], difference: str
) -> None:
    with pytest.raises(StoreError) as refused:
        sweep(small_study(**changes), copy, jobs=1)
    advice = "give another directory (--out), or delete this one"
    assert str(refused.value) == f"{copy}: holds another study ({difference}); {advice}"
    assert_same(SweepResult.load(copy), finished)


def test_a_directory_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(
        StoreError, match=r"is not a run directory \(it has thesis.tex and no manifest.json\)"
    ):
        sweep(small_study(), tmp_path, jobs=1)
    assert os.listdir(tmp_path) == ["thesis.tex"]
    with pytest.raises(StoreError, match="is not a run directory"):
        SweepResult.load(tmp_path)


def test_chunks_without_a_manifest_are_left_alone(copy: Path) -> None:
    (copy / "manifest.json").unlink()
    with pytest.raises(StoreError, match=r"has chunks but no manifest.json; choose another directory"):
        sweep(small_study(), copy, jobs=1)
    assert len(chunk_files(copy)) == 1


def test_files_beside_the_manifest_are_nobodys_business(copy: Path, finished: SweepResult) -> None:
    (copy / "report.html").write_text("<p>")
    (copy / "notes.txt").write_text("mine")
    assert_same(sweep(small_study(), copy, jobs=1), finished)
    assert (copy / "notes.txt").read_text() == "mine"


def test_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for place in (file, file / "below"):
        with pytest.raises(InputError, match="cannot be used as a run directory"):
            sweep(small_study(), place, jobs=1)
    with pytest.raises(InputError, match="is not a directory"):
        SweepResult.load(file)
    with pytest.raises(InputError, match="does not exist"):
        SweepResult.load(tmp_path / "nowhere")

    def denied(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(InputError, match="lock: cannot be written: Permission denied"):
        sweep(small_study(), tmp_path / "run", jobs=1)


def test_infinity_is_kept(tmp_path: Path) -> None:
    study = small_study(
        name="inf",
        question="nan",
        points={"axes": {"risk.inventory_limit": [50, math.inf], "risk.drawdown_limit": [1.0, math.inf]}},
    )
    result = sweep(study, tmp_path / "run", jobs=1)
    loaded = SweepResult.load(tmp_path / "run")
    assert loaded.study == study
    assert_same(loaded, result)
    assert loaded.points["risk.inventory_limit"].tolist() == [50.0, 50.0, math.inf, math.inf]
