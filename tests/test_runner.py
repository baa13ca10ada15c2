"""Sweeps: the same values whoever computes them, in one go or in many."""

from __future__ import annotations

import _thread
import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from small_study import assert_same, chunk_files, finished_chunks, many_chunks, scatter, small_study

import mcmm
from mcmm import chunks, engine, packing, runner, summaries
from mcmm.errors import InputError, ScenarioError, StoreError
from mcmm.metrics import NAMES
from mcmm.rounds import Round
from mcmm.runner import sweep
from mcmm.store import SweepResult
from mcmm.workers import Workers

Rows = Callable[[mcmm.Scenario, int, int, int], np.ndarray]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    """30 chunks, computed in one go by one worker."""
    return sweep(many_chunks(), tmp_path_factory.mktemp("reference") / "run", jobs=1)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The ranges of paths that the core was asked for."""
    asked: list[tuple[int, int]] = []
    core: Rows = engine.run_rows

    def run_rows(
        scenario: mcmm.Scenario,
        seed: int,
        first_path: int,
        paths: int,
        stop: np.ndarray | None = None,
        policy: object = None,
    ) -> np.ndarray:
        asked.append((first_path, paths))
        return core(scenario, seed, first_path, paths, stop)

    monkeypatch.setattr(engine, "run_rows", run_rows)
    return asked


@pytest.fixture
def short_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks of a single chunk each."""
    monkeypatch.setattr(packing, "_SECONDS", 0.0)
    monkeypatch.setattr(packing, "_TASKS_A_SECOND", 1e9)


def test_a_sweep_is_the_core_at_every_point() -> None:
    study = small_study()
    result = mcmm.sweep(study, jobs=1)
    assert isinstance(result, mcmm.SweepResult)
    for point in range(study.count):
        rows = engine.run_rows(study.scenario_at(point), study.seed, 0, study.paths)
        for name, row in zip(NAMES, rows, strict=True):
            assert result.values(point, name).tobytes() == row.tobytes()
        summary = summaries.summarise(rows, NAMES)
        assert list(result.summary.columns) == list(summary)
        assert np.array_equal(result.summary.loc[point], list(summary.values()), equal_nan=True)


@pytest.mark.parametrize("jobs", [2, 3, -1])
def test_threads_change_nothing(reference: SweepResult, jobs: int) -> None:
    assert_same(sweep(many_chunks(), jobs=jobs), reference)


def test_processes_change_nothing(reference: SweepResult) -> None:
    assert_same(sweep(many_chunks(), jobs=2, backend="loky"), reference)


def test_one_process_needs_no_other(reference: SweepResult) -> None:
    study = small_study()
    assert_same(sweep(study, jobs=1, backend="loky"), sweep(study, jobs=1))


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_split_point_is_the_same_point(monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    study = small_study(paths=9000)
    whole = sweep(study, jobs=1)
    monkeypatch.setattr(chunks, "_ROWS", 4096)
    assert [chunk.paths for chunk in chunks.plan(study)] == 6 * [4096, 4096, 808]
    assert_same(sweep(study, jobs=jobs), whole)


@pytest.mark.usefixtures("short_tasks")
def test_progress_is_told_in_order(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    threads = set()

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        threads.add(threading.current_thread())

    spreads = {"low": 0.02, "high": 0.2, "count": 8}
    study = small_study(
        scenario={"steps": 500}, paths=4000, points={"axes": {"quoting.base_spread": spreads}}
    )
    result = sweep(study, tmp_path / "run", jobs=2, progress=progress)
    done = [at for at, _ in told]
    assert done == [2_000_000 * chunk for chunk in range(9)]
    assert {total for _, total in told} == {study.path_steps()}
    assert threads == {threading.main_thread()}
    told.clear()
    scatter(result, range(7))
    sweep(study, tmp_path / "run", jobs=2, progress=progress)
    assert [at for at, _ in told] == [14_000_000, 16_000_000]


def test_only_what_is_missing_is_computed(
    tmp_path: Path, reference: SweepResult, calls: list[tuple[int, int]]
) -> None:
    first = sweep(many_chunks(), tmp_path / "run", jobs=2)
    assert len(calls) == 30
    calls.clear()
    again = sweep(many_chunks(), tmp_path / "run", jobs=2)
    assert calls == []
    assert again.provenance == first.provenance
    scatter(again, range(7, 30))
    third = sweep(many_chunks(), tmp_path / "run", jobs=2)
    assert len(calls) == 7
    assert third.provenance["sessions"] == 2
    assert_same(third, reference)
    assert_same(SweepResult.load(tmp_path / "run"), reference)


class Bang(Exception):
    """Somebody's own."""


@pytest.mark.usefixtures("short_tasks")
@pytest.mark.parametrize("error", [KeyboardInterrupt, Bang])
@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_sweep_goes_on(
    tmp_path: Path, reference: SweepResult, error: type[BaseException], jobs: int
) -> None:
    def progress(done: int, total: int) -> None:
        if done >= total / 3:
            raise error

    threads = threading.active_count()
    with pytest.raises(error):
        sweep(many_chunks(), tmp_path / "run", jobs=jobs, progress=progress)
    kept = finished_chunks(tmp_path / "run")
    assert 10 <= kept < 20
    with pytest.raises(StoreError, match="is not finished"):
        SweepResult.load(tmp_path / "run")
    result = sweep(many_chunks(), tmp_path / "run", jobs=jobs)
    assert_same(result, reference)
    assert [each["path_steps"] for each in result.sessions] == [kept * 2_000_000, (30 - kept) * 2_000_000]
    assert threading.active_count() <= threads + 1


def test_an_interruption_waits_for_one_slice_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker in the midst of a chunk is told in the core."""
    core: Rows = engine.run_rows
    running: list[int] = []

    def slow(
        scenario: mcmm.Scenario, seed: int, first_path: int, paths: int, stop: np.ndarray, policy: object
    ) -> np.ndarray:
        running.append(1)
        time.sleep(0.1)
        rows = core(scenario, seed, first_path, paths, stop)
        running.pop()
        return rows

    monkeypatch.setattr(engine, "run_rows", slow)
    timer = threading.Timer(0.5, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        sweep(many_chunks(), tmp_path / "run", jobs=2)
    timer.join()
    assert running == []


@pytest.mark.usefixtures("short_tasks")
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(
    ("raised", "caught", "message"),
    [
        (ScenarioError("flow.dt: must be > 0"), ScenarioError, "flow.dt: must be > 0"),
        (MemoryError(), RuntimeError, "MemoryError: "),
        (ZeroDivisionError("division by zero"), RuntimeError, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_workers_error_names_the_point(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    jobs: int,
    raised: Exception,
    caught: type[Exception],
    message: str,
) -> None:
    study = many_chunks()
    spread = study.at(8)["quoting.base_spread"]
    core: Rows = engine.run_rows

    def faulty(
        scenario: mcmm.Scenario, seed: int, first_path: int, paths: int, stop: np.ndarray, policy: object
    ) -> np.ndarray:
        if scenario.get("quoting.base_spread") == spread:
            raise raised
        return core(scenario, seed, first_path, paths, stop)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "run_rows", faulty)
        with pytest.raises(caught) as told:
            sweep(study, tmp_path / "run", jobs=jobs)
    assert str(told.value) == f"point 8 (quoting.base_spread = {spread}): {message}"
    assert (caught is RuntimeError) == ("faulty" in "".join(getattr(told.value, "__notes__", [])))
    kept = finished_chunks(tmp_path / "run")
    assert kept >= 8 - jobs
    again = sweep(study, tmp_path / "run", jobs=1)
    assert_same(again, sweep(study, jobs=1))
    assert again.sessions[-1]["path_steps"] == (30 - kept) * 2_000_000


@pytest.mark.usefixtures("short_tasks")
def test_a_full_disk_ends_it_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: SweepResult
) -> None:
    write = Round.write

    def full(run: Round, first: int, stop: int, *data: bytes | None) -> None:
        if len(chunk_files(run.folder)) == 5:
            raise InputError(f"{run.folder}: cannot be written: No space left on device")
        write(run, first, stop, *data)

    with monkeypatch.context() as patch:
        patch.setattr(Round, "write", full)
        with pytest.raises(InputError, match="No space left on device"):
            sweep(many_chunks(), tmp_path / "run", jobs=2)
    assert len(chunk_files(tmp_path / "run")) == 5
    assert_same(sweep(many_chunks(), tmp_path / "run", jobs=2), reference)


@pytest.mark.usefixtures("short_tasks")
def test_a_slow_disk_holds_the_workers_back(
    monkeypatch: pytest.MonkeyPatch, calls: list[tuple[int, int]], reference: SweepResult
) -> None:
    write = Round.write
    ahead = []

    def slow(run: Round, first: int, stop: int, *data: bytes | None) -> None:
        ahead.append(len(calls) - finished_chunks(run.folder))
        time.sleep(0.05)
        write(run, first, stop, *data)

    monkeypatch.setattr(Round, "write", slow)
    monkeypatch.setattr(runner, "_BACKLOG", 3)
    result = sweep(many_chunks(), jobs=2)
    assert 2 <= max(ahead) <= 6
    assert len(calls) == 30
    assert_same(result, reference)


def test_two_at_once_are_told(tmp_path: Path) -> None:
    refused = []

    def progress(done: int, total: int) -> None:
        with pytest.raises(StoreError, match=r"another sweep \(process \d+\) is writing") as error:
            sweep(small_study(), tmp_path / "run", jobs=1)
        refused.append(error)

    result = sweep(small_study(), tmp_path / "run", jobs=1, progress=progress)
    assert len(refused) == 2
    assert_same(result, sweep(small_study(), jobs=1))


def test_words_may_change_between_sessions(tmp_path: Path) -> None:
    sweep(small_study(), tmp_path / "run", jobs=1)
    reworded = small_study(name="other", question="Why?", objective="pnl.mean")
    assert sweep(reworded, tmp_path / "run", jobs=1).study.question == "Why?"
    assert SweepResult.load(tmp_path / "run").study == reworded


def test_without_a_directory_the_rows_live_as_long_as_the_result() -> None:
    result = sweep(small_study(), jobs=1)
    directory = result.directory
    assert chunk_files(directory)
    del result
    gc.collect()
    assert not directory.exists()


def test_a_failed_sweep_leaves_no_temporary_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def progress(done: int, total: int) -> None:
        raise Bang

    with pytest.raises(Bang):
        sweep(small_study(), jobs=1, progress=progress)
    assert list(tmp_path.iterdir()) == []


def test_the_provenance_says_how_it_was_made(tmp_path: Path) -> None:
    study = small_study()
    found = sweep(study, tmp_path / "run", jobs=2).provenance
    assert found["mcmm"] == mcmm.__version__
    assert found["schema"] == chunks.SCHEMA_VERSION
    assert (found["seed"], found["study"]) == (7, study.digest())
    assert (found["jobs"], found["backend"], found["cores"]) == (2, "threading", engine.cores())
    assert found.items() >= engine.core_info().items()
    assert found["path_steps"] == 6 * 300 * 50
    assert found["path_steps_per_second"] == pytest.approx(found["path_steps"] / found["wall_seconds"])
    assert found["started"].startswith("20")
    assert found["sessions"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"study": "study.toml"}, "study: must be a Study, got str"),
        *(
            (
                {"jobs": jobs},
                f"jobs: must be a whole number >= 1 and <= 1024, or -1 for one a core, got {jobs}",
            )
            for jobs in (0, -2, 100_000, 1.5, True)
        ),
        ({"backend": "mpi"}, "backend: must be one of threading, loky, dask, ray, got 'mpi'"),
        (
            {"backend": "dask"},
            "scheduler: must be given with backend dask, as tcp://127.0.0.1:8786, got none",
        ),
        (
            {"scheduler": "tcp://here:1"},
            "scheduler: must be left out with backend threading, which has none; got 'tcp://here:1'",
        ),
    ],
)
def test_wrong_arguments_are_refused(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        sweep(**{"study": small_study(), "out": tmp_path / "run", **arguments})
    assert str(refused.value) == message
    assert not (tmp_path / "run").exists()


def test_minus_one_job_is_one_a_core() -> None:
    assert Workers("threading", -1, None).count == joblib.cpu_count()
    assert Workers("threading", 7, None).count == 7
