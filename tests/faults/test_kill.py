"""Sweeps that are killed, interrupted or started twice: they keep what is finished and end the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_study import assert_same, finished_chunks, many_chunks, start

from mcmm.runner import sweep
from mcmm.store import SweepResult

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(
        sys.platform == "win32", reason="Windows has no kill -9 and no SIGINT for one process"
    ),
]

# Every wait in this file ends: nothing here takes longer than this, in seconds.
PATIENCE = 60.0
CHUNKS = 30

SWEEP = """
    import sys
    from small_study import many_chunks
    from mcmm import packing
    from mcmm.runner import sweep
    packing._SECONDS, packing._TASKS_A_SECOND = 0.0, 1e9  # tasks of one chunk
    sweep(many_chunks(steps=1000), sys.argv[1], jobs=2, backend=sys.argv[2])
"""

# Kills itself in the midst of writing: at the n-th sync or at the n-th renaming.
KILLED_WRITING = """
    import os, signal, sys
    call, left = sys.argv[3], int(sys.argv[4])
    honest = getattr(os, call)

    def deadly(*arguments):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return honest(*arguments)

    setattr(os, call, deadly)
"""


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    """What a sweep that nobody disturbs finds."""
    return sweep(many_chunks(steps=1000), tmp_path_factory.mktemp("reference") / "run", jobs=1)


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a sweep in another process; none outlives its test."""
    begun = []

    def begin(
        run: Path, backend: str = "threading", before: str = "", *more: object
    ) -> subprocess.Popen[str]:
        begun.append(start(before + SWEEP, run, backend, *more))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def wait(until: Callable[[], object], seconds: float = PATIENCE) -> float:
    """Wait until something is so, and return how long that took."""
    begin = time.monotonic()
    while not until():
        assert time.monotonic() < begin + seconds, "waited in vain"
        time.sleep(0.005)
    return time.monotonic() - begin


def processes() -> dict[int, int]:
    """The parent of every process that is not over."""
    if Path("/proc/self/stat").exists():
        found = {}
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                # The name before the last bracket may have blanks in it.
                state, parent = status.read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue  # it ended meanwhile
            if state != "Z":
                found[int(status.parent.name)] = int(parent)
        return found
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in listed.stdout.splitlines()]
    return {int(pid): int(parent) for pid, parent, state in rows if not state.startswith("Z")}


def children(parent: int) -> list[int]:
    """Processes that a process started."""
    return [pid for pid, owner in processes().items() if owner == parent]


def assert_goes_on(run: Path, reference: SweepResult, backend: str = "threading") -> None:
    """Run it again: it keeps what was finished and ends as if nothing had happened."""
    kept = finished_chunks(run)
    result = sweep(many_chunks(steps=1000), run, jobs=2, backend=backend)
    assert_same(result, reference)
    assert result.sessions[-1]["path_steps"] == (CHUNKS - kept) * 4_000_000
    assert not [path for path in run.rglob("*") if path.name.endswith(".tmp")]


@pytest.mark.parametrize("finished", [0, 1, 7, 20])
def test_kill_at_any_moment(
    tmp_path: Path, started: Callable[..., subprocess.Popen[str]], reference: SweepResult, finished: int
) -> None:
    run = tmp_path / "run"
    process = started(run)
    wait(lambda: (run / "lock").exists() and finished_chunks(run) >= finished)
    process.kill()
    assert process.wait(PATIENCE) == -signal.SIGKILL
    assert finished <= finished_chunks(run) < CHUNKS
    assert_goes_on(run, reference)


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_kill_while_writing(
    tmp_path: Path,
    started: Callable[..., subprocess.Popen[str]],
    reference: SweepResult,
    call: str,
    count: int,
) -> None:
    run = tmp_path / "run"
    process = started(run, "threading", KILLED_WRITING, call, count)
    assert process.wait(PATIENCE) == -signal.SIGKILL
    if call == "replace":
        assert [path for path in run.rglob("*") if path.name.endswith(".tmp")]
    assert_goes_on(run, reference)


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
    os.kill(max(children(process.pid)), signal.SIGKILL)
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
