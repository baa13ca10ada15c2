"""A sweep killed at random moments of its life, then run again, equals one that nobody disturbed.

Ten kills unless told otherwise, always the same ten; ``python -m pytest tests/faults --kills 50`` runs fifty.
A third of them strike in the midst of writing: at a sync, a renaming or a removal.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_study import assert_same, finished_chunks, many_chunks, start

from faults.processes import PATIENCE, children, processes, wait, workers_of
from mcmm.runner import sweep
from mcmm.store import SweepResult

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9"),
]

SEED = 20_261_124
# The study: 30 chunks of one point each, in segments of seven.
STEPS, CHUNKS, CHUNK = 500, 30, 2_000_000

SWEEP = """
    import os, signal, sys
    from small_study import many_chunks
    from mcmm import chunks, directory, packing
    from mcmm.runner import sweep

    packing._SECONDS, packing._TASKS_A_SECOND = 0.0, 1e9  # tasks of one chunk, to be put together
    chunks._SEGMENT_ROWS = 28_000
    run, backend, deadly = sys.argv[1], sys.argv[2], int(sys.argv[3])
    calls = 0

    def counted(honest):
        def call(*arguments, **keywords):
            global calls
            calls += 1
            if calls == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            return honest(*arguments, **keywords)
        return call

    for name in ("fsync", "replace", "unlink"):
        setattr(os, name, counted(getattr(os, name)))
    print("begun", flush=True)
    sweep(many_chunks(steps=500), run, jobs=2, backend=backend)
    print(calls, flush=True)
"""


@dataclass(frozen=True)
class Kill:
    """Who is killed and when, as a share of the sweep's life or of its calls that write."""

    number: int
    backend: str
    victim: str
    moment: float

    def __str__(self) -> str:
        return f"{self.number}-{self.backend}-{self.victim}-{self.moment:.3f}"


def kills(count: int) -> list[Kill]:
    """So many kills, spread evenly over a life with a random shift each, of all kinds in turn."""
    chance = random.Random(SEED)
    kinds = [
        ("threading", "driver"),
        ("loky", "driver"),
        ("threading", "writing"),
        ("loky", "worker"),
        ("loky", "both"),
        ("loky", "writing"),
    ]
    moments = [(place + chance.random()) / count for place in range(count)]
    chance.shuffle(moments)
    return [Kill(place, *kinds[place % len(kinds)], moment) for place, moment in enumerate(moments)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a kill."""
    if "kill" in metafunc.fixturenames:
        metafunc.parametrize("kill", kills(metafunc.config.getoption("--kills")), ids=str)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    """What a sweep that nobody disturbs finds."""
    return sweep(many_chunks(STEPS), tmp_path_factory.mktemp("reference") / "run", jobs=1)


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, int]]:
    """How long an undisturbed sweep lives on each backend, in seconds, and how many of its calls write."""
    found = {}
    for backend in ("threading", "loky"):
        process = start(SWEEP, tmp_path_factory.mktemp(backend) / "run", backend, 0)
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        begin = time.monotonic()
        calls = int(process.stdout.readline())
        found[backend] = (time.monotonic() - begin, calls)
        assert process.wait(PATIENCE) == 0
        process.communicate()
    return found


def test_killed_and_run_again_it_is_the_same(
    tmp_path: Path, kill: Kill, reference: SweepResult, lives: dict[str, tuple[float, int]]
) -> None:
    seconds, calls = lives[kill.backend]
    deadly = 1 + int(kill.moment * calls) if kill.victim == "writing" else 0
    run = tmp_path / "run"
    process = start(SWEEP, run, kill.backend, deadly)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        if kill.victim == "writing":
            process.wait(PATIENCE)
        else:
            time.sleep(kill.moment * seconds)
        begun = children(process.pid)
        workers = workers_of(process.pid)
        if kill.victim in ("worker", "both"):
            for worker in workers[:1] if kill.victim == "worker" else workers:
                os.kill(worker, signal.SIGKILL)
        if kill.victim in ("driver", "both"):
            process.kill()
        status = process.wait(PATIENCE)
        assert status in ((0, -signal.SIGKILL) if kill.victim != "worker" else (0,))
        wait(lambda: not set(begun) & set(processes()), 10)
    finally:
        process.kill()
        process.communicate()
    kept = finished_chunks(run)
    result = sweep(many_chunks(STEPS), run, jobs=2)
    assert_same(result, reference)
    assert SweepResult.load(run).summary.equals(result.summary)
    # Nothing that was finished is computed again, and nothing is left behind.
    assert sum(each["path_steps"] for each in result.sessions) <= CHUNKS * CHUNK
    assert result.sessions[-1]["path_steps"] == (CHUNKS - kept) * CHUNK or kept == CHUNKS
    assert not [path for path in run.rglob("*") if path.name.endswith(".tmp")]
    assert len(list((run / "chunks").iterdir())) <= 5
