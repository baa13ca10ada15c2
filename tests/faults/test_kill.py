"""Sweeps that are killed, interrupted or started twice: they keep what is finished and end the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_study import assert_same, finished_chunks, many_chunks, start

from faults.processes import PATIENCE, children, processes, wait, workers_of
from mcmm.runner import sweep
from mcmm.store import SweepResult

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(
        sys.platform == "win32", reason="Windows has no kill -9 and no SIGINT for one process"
    ),
]

CHUNKS = 30

SWEEP = """
    import resource, sys
    from small_study import many_chunks
    from mcmm import packing, workers
    from mcmm.runner import sweep
    packing._SECONDS, packing._TASKS_A_SECOND = 0.0, 1e9  # tasks of one chunk
    exec(sys.argv[3])
    sweep(many_chunks(steps=1000), sys.argv[1], jobs=2, backend=sys.argv[2])
"""


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    """What a sweep that nobody disturbs finds."""
    return sweep(many_chunks(steps=1000), tmp_path_factory.mktemp("reference") / "run", jobs=1)


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a sweep in another process; none outlives its test."""
    begun = []

    def begin(run: Path, backend: str = "threading", first: str = "") -> subprocess.Popen[str]:
        begun.append(start(SWEEP, run, backend, first))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def assert_goes_on(run: Path, reference: SweepResult, backend: str = "threading") -> None:
    """Run it again: it keeps what was finished and ends as if nothing had happened."""
    kept = finished_chunks(run)
    result = sweep(many_chunks(steps=1000), run, jobs=2, backend=backend)
    assert_same(result, reference)
    if kept < CHUNKS:
        assert result.sessions[-1]["path_steps"] == (CHUNKS - kept) * 4_000_000
    else:  # nothing was left to compute, only to be put together, which is no session of its own
        assert len(result.sessions) == 1
    assert not [path for path in run.rglob("*") if path.name.endswith(".tmp")]


def test_killed_again_and_again(
    tmp_path: Path, started: Callable[..., subprocess.Popen[str]], reference: SweepResult
) -> None:
    run = tmp_path / "run"
    for _ in range(4):
        before = finished_chunks(run)
        process = started(run)
        wait(lambda before=before: finished_chunks(run) >= before + 3)  # type: ignore[misc]
        process.kill()
        process.wait(PATIENCE)
    assert_goes_on(run, reference)


def test_workers_end_with_their_driver(
    tmp_path: Path, started: Callable[..., subprocess.Popen[str]], reference: SweepResult
) -> None:
    run = tmp_path / "run"
    process = started(run, "loky")
    wait(lambda: finished_chunks(run) >= 3)
    workers = children(process.pid)
    assert len(workers) >= 2
    process.kill()
    process.wait(PATIENCE)
    wait(lambda: not set(workers) & set(processes()), 10)
    assert_goes_on(run, reference, "loky")


def test_a_killed_worker_is_replaced(
    tmp_path: Path, started: Callable[..., subprocess.Popen[str]], reference: SweepResult
) -> None:
    run = tmp_path / "run"
    process = started(run, "loky")
    wait(lambda: finished_chunks(run) >= 3)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    assert process.wait(PATIENCE) == 0, process.communicate()[1]
    assert_same(SweepResult.load(run), reference)


@pytest.mark.parametrize("backend", ["threading", "loky"])
@pytest.mark.parametrize("finished", [0, 5])
def test_an_interruption_ends_it_soon(
    tmp_path: Path,
    started: Callable[..., subprocess.Popen[str]],
    reference: SweepResult,
    backend: str,
    finished: int,
) -> None:
    run = tmp_path / "run"
    process = started(run, backend)
    wait(lambda: (run / "manifest.json").exists() and finished_chunks(run) >= finished)
    workers = children(process.pid)
    process.send_signal(signal.SIGINT)
    assert wait(lambda: process.poll() is not None) < 2.0
    assert process.returncode == -signal.SIGINT
    assert process.communicate()[1].rstrip().endswith("KeyboardInterrupt")
    wait(lambda: not set(workers) & set(processes()), 10)
    assert finished_chunks(run) < CHUNKS
    assert_goes_on(run, reference)


def test_a_second_sweep_is_turned_away_until_the_first_is_dead(
    tmp_path: Path, started: Callable[..., subprocess.Popen[str]], reference: SweepResult
) -> None:
    run = tmp_path / "run"
    first = started(run)
    wait(lambda: finished_chunks(run) >= 2)
    first.send_signal(signal.SIGSTOP)
    second = started(run)
    assert second.wait(PATIENCE) == 1
    line = second.communicate()[1].splitlines()[-1]
    assert f"another sweep (process {first.pid}) is writing to this run directory" in line
    first.kill()
    first.wait(PATIENCE)
    assert_goes_on(run, reference)


def test_workers_that_hang_are_replaced(
    tmp_path: Path, started: Callable[..., subprocess.Popen[str]], reference: SweepResult
) -> None:
    """A stopped process never answers; a sweep waits for it only so long."""
    run = tmp_path / "run"
    process = started(run, "loky", "workers._SILENCE, workers._TIMES = 5.0, 1.0")
    wait(lambda: finished_chunks(run) >= 3)
    hung = workers_of(process.pid)
    assert len(hung) == 2
    for worker in hung:
        os.kill(worker, signal.SIGSTOP)
    try:
        assert process.wait(PATIENCE) == 0, process.communicate()[1]
        wait(lambda: not set(hung) & set(processes()), 10)
    finally:
        for worker in set(hung) & set(processes()):
            os.kill(worker, signal.SIGKILL)
    assert_same(SweepResult.load(run), reference)


def test_a_disk_that_takes_no_more_ends_it_with_a_message(
    tmp_path: Path, started: Callable[..., subprocess.Popen[str]], reference: SweepResult
) -> None:
    """The system refuses the write itself, as it does where a disk is full."""
    run = tmp_path / "run"
    process = started(run, "threading", "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))")
    assert process.wait(PATIENCE) == 1
    last = process.communicate()[1].splitlines()[-1]
    assert last.startswith("mcmm.errors.InputError: ")
    assert "cannot be written: File too large" in last
    assert_goes_on(run, reference)
