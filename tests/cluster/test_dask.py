"""Sweeps on a dask cluster: the same values as on one machine, whatever befalls its workers."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_study import assert_same, many_chunks, small_study, start

from cluster.local_cluster import PATIENCE, Cluster, wait
from mcmm import runner, workers
from mcmm.errors import InputError, MCMMError
from mcmm.runner import sweep
from mcmm.store import SweepResult

distributed = pytest.importorskip("distributed", reason="dask is not installed")

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9"),
]

STEPS = 3000  # 30 chunks of 60 ms or so


@pytest.fixture(scope="module")
def reference() -> SweepResult:
    """What one machine finds."""
    return sweep(many_chunks(STEPS), jobs=1)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler and two workers."""
    made = Cluster(tmp_path)
    yield made
    made.close()


def test_one_worker_is_killed_and_one_is_added(
    tmp_path: Path, cluster: Cluster, reference: SweepResult
) -> None:
    first, second = cluster.add_worker(), cluster.add_worker()
    cluster.wait_for_workers(2)
    events: list[str] = []

    def progress(done: int, total: int) -> None:
        if done > 0.1 * total and not events:
            first.kill()
            events.append("killed one")
        elif done > 0.3 * total and len(events) == 1:
            cluster.add_worker()
            cluster.wait_for_workers(2)
            events.append("added one")
        elif done > 0.5 * total and len(events) == 2:
            second.kill()
            events.append("the added one is alone")

    run = tmp_path / "run"
    result = sweep(many_chunks(STEPS), run, backend="dask", scheduler=cluster.address, progress=progress)
    assert events == ["killed one", "added one", "the added one is alone"]
    assert_same(result, reference)
    assert_same(SweepResult.load(run), reference)
    (session,) = result.sessions
    assert session["backend"] == "dask"
    assert session["builds"][0]["mcmm"] == result.provenance["mcmm"]


def test_a_killed_driver_leaves_the_cluster_in_order(
    tmp_path: Path, cluster: Cluster, reference: SweepResult
) -> None:
    cluster.add_worker()
    cluster.add_worker()
    cluster.wait_for_workers(2)
    run = tmp_path / "run"
    driver = start(
        """
        import sys
        from small_study import many_chunks
        from mcmm.runner import sweep
        sweep(many_chunks(int(sys.argv[3])), sys.argv[1], backend="dask", scheduler=sys.argv[2])
        """,
        *(run, cluster.address, STEPS),
    )
    wait(lambda: list(run.glob("chunks/*.parquet")))
    os.kill(driver.pid, signal.SIGKILL)
    driver.communicate()
    result = sweep(many_chunks(STEPS), run, backend="dask", scheduler=cluster.address)
    assert result.summary.equals(reference.summary)
    assert result.provenance["sessions"] <= 2


def test_a_cluster_that_is_lost_is_told_and_not_waited_for(
    tmp_path: Path, cluster: Cluster, reference: SweepResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_CONNECT", 3.0)
    monkeypatch.setattr(workers, "_SILENCE", 4.0)  # a busy machine's worker takes some seconds to its first
    monkeypatch.setattr(workers, "_TIMES", 2.0)
    only = cluster.add_worker()
    cluster.wait_for_workers(1)

    def progress(done: int, total: int) -> None:
        if done > 0.2 * total:
            only.kill()

    run = tmp_path / "run"
    with pytest.raises(MCMMError, match=r"has had no workers for 3 s; what is finished is kept"):
        sweep(many_chunks(STEPS), run, backend="dask", scheduler=cluster.address, progress=progress)
    with pytest.raises(InputError, match="no worker answered within 3 s"):
        sweep(many_chunks(STEPS), run, backend="dask", scheduler=cluster.address)
    cluster.close()
    with pytest.raises(InputError, match="cannot be reached: Connection refused"):
        sweep(many_chunks(STEPS), run, backend="dask", scheduler=cluster.address)
    assert sweep(many_chunks(STEPS), run, jobs=2).summary.equals(reference.summary)


def test_a_scheduler_that_hangs_is_told_and_not_waited_for(
    tmp_path: Path, cluster: Cluster, reference: SweepResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped, it takes connections and answers nothing, as one behind a network that lost its packets."""
    cluster.add_worker()
    cluster.wait_for_workers(1)
    run = tmp_path / "run"

    with monkeypatch.context() as patch:
        patch.setattr(runner, "_RECOUNT", 0.0)  # the scheduler is asked after each task

        def progress(done: int, total: int) -> None:
            if done > 0.2 * total:
                cluster.scheduler.send_signal(signal.SIGSTOP)
                patch.setattr(workers, "_CONNECT", 2.0)

        with pytest.raises(MCMMError, match=r"does not answer .*; what is finished is kept"):
            sweep(many_chunks(STEPS), run, backend="dask", scheduler=cluster.address, progress=progress)
        with pytest.raises(InputError, match="cannot be reached: "):
            sweep(many_chunks(STEPS), run, backend="dask", scheduler=cluster.address)
    cluster.scheduler.send_signal(signal.SIGCONT)
    result = sweep(many_chunks(STEPS), run, backend="dask", scheduler=cluster.address)
    assert result.summary.equals(reference.summary)


@pytest.mark.parametrize("hung", [1, 2])
def test_workers_that_hang_are_not_waited_for(
    tmp_path: Path,
    cluster: Cluster,
    reference: SweepResult,
    monkeypatch: pytest.MonkeyPatch,
    hung: int,
) -> None:
    """A stopped worker keeps its connections, so the scheduler counts it and gives it tasks for minutes.

    One of two costs the sweep its tasks, time and again, while the other one gets on; both end it.
    """
    monkeypatch.setattr(workers, "_SILENCE", 2.0)
    monkeypatch.setattr(workers, "_TIMES", 1.0)
    both = [cluster.add_worker(), cluster.add_worker()]
    cluster.wait_for_workers(2)
    stopped: list[float] = []

    def progress(done: int, total: int) -> None:
        if done > 0.6 * total and not stopped:
            for worker in both[:hung]:
                worker.send_signal(signal.SIGSTOP)
            stopped.append(time.monotonic())

    run = tmp_path / "run"

    def swept() -> SweepResult:
        return sweep(many_chunks(STEPS), run, backend="dask", scheduler=cluster.address, progress=progress)

    if hung == 2:
        told = r"no worker was heard of for \d s, 3 times in a row; what is finished is kept"
        with pytest.raises(MCMMError, match=told):
            swept()
        assert time.monotonic() - stopped[0] < 15.0
        for worker in both:
            worker.send_signal(signal.SIGCONT)
    assert swept().summary.equals(reference.summary)
    assert len(stopped) == 1


def test_a_lost_scheduler_is_named_and_one_in_its_place_taken_up(
    tmp_path: Path, cluster: Cluster, reference: SweepResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.add_worker()
    cluster.wait_for_workers(1)
    run = tmp_path / "run"

    def lost(done: int, total: int) -> None:
        if done > 0.2 * total:
            cluster.scheduler.kill()
            monkeypatch.setattr(workers, "_CONNECT", 2.0)

    told = f"^the scheduler at {cluster.address} is lost .Connection refused.; what is finished is kept, run"
    with pytest.raises(MCMMError, match=told):
        sweep(many_chunks(STEPS), run, backend="dask", scheduler=cluster.address, progress=lost)
    monkeypatch.setattr(workers, "_CONNECT", 30.0)
    cluster.start_scheduler()
    cluster.add_worker()

    def replaced(done: int, total: int) -> None:
        if done > 0.6 * total and cluster.scheduler.poll() is None and len(cluster.schedulers) == 2:
            cluster.scheduler.kill()
            cluster.scheduler.wait(PATIENCE)
            cluster.start_scheduler()
            cluster.add_worker()

    result = sweep(many_chunks(STEPS), run, backend="dask", scheduler=cluster.address, progress=replaced)
    assert len(cluster.schedulers) == 3
    assert result.summary.equals(reference.summary)


def test_an_address_that_is_none_is_told() -> None:
    with pytest.raises(InputError, match="scheduler: nonsense: cannot be reached: missing port number"):
        sweep(small_study(), backend="dask", scheduler="nonsense")
