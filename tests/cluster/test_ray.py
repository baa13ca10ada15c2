"""Sweeps on ray: the same values as on one machine, though a worker is killed and a node is added."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_study import assert_same, finished_chunks, many_chunks, small_study, start

from cluster.local_cluster import ENVIRONMENT, PATIENCE, wait
from mcmm import workers
from mcmm.runner import sweep

ray = pytest.importorskip("ray", reason="ray is not installed")

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9"),
]


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A head node with two workers on this machine."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield made
    made.shutdown()


DRIVER = """
    import sys
    from small_study import many_chunks
    from mcmm import workers
    from mcmm.runner import sweep

    workers._CONNECT = float(sys.argv[3])

    def progress(done, total):
        if done:
            workers._CONNECT = 2.0

    sweep(many_chunks(3000), sys.argv[1], backend="ray", scheduler=sys.argv[2], progress=progress)
"""


def actors() -> list[int]:
    """The processes that ray's pools compute in."""
    listed = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 1) for line in listed.stdout.splitlines()]
    return [int(pid) for pid, command in rows if command.startswith("ray::PoolActor")]


def test_a_worker_is_killed_and_a_node_is_added(nodes: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_ROUND", 3)  # tasks a worker and round: several rounds in this short sweep
    study = many_chunks(steps=3000)
    counts: list[int] = []

    def progress(done: int, total: int) -> None:
        if done > 0.1 * total and not counts:
            os.kill(actors()[0], signal.SIGKILL)
            nodes.add_node(num_cpus=1)  # type: ignore[attr-defined]
            wait(lambda: ray.cluster_resources()["CPU"] == 3)
            counts.append(len(actors()))
        elif done > 0.9 * total:
            counts.append(len(actors()))

    result = sweep(study, backend="ray", scheduler=nodes.address, progress=progress)  # type: ignore[attr-defined]
    assert max(counts) == 3
    assert_same(result, sweep(study, jobs=1))
    assert result.sessions[0]["backend"] == "ray"
    assert not ray.is_initialized()


def test_ray_of_this_machine_needs_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """And leaves SIGTERM what it was; ray's own way with it would abort this process."""
    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    heard: list[int] = []

    def progress(done: int, total: int) -> None:
        if done and not heard:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        result = sweep(small_study(), backend="ray", jobs=2, progress=progress)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
    assert result.summary.equals(sweep(small_study(), jobs=1).summary)
    assert result.sessions[0]["jobs"] == 2
    assert not ray.is_initialized()


def last_line(driver: subprocess.Popen[str]) -> str:
    """What a driver that fails within its bounds ends with."""
    try:
        _, errors = driver.communicate(timeout=PATIENCE)
    finally:
        driver.kill()
    assert driver.returncode == 1
    return next(line for line in errors.splitlines() if line.startswith("mcmm.errors."))


def test_a_head_that_hangs_or_is_lost_is_told(tmp_path: Path, nodes: object) -> None:
    """By drivers in processes of their own: ray itself ends one that has lost its head, after a minute."""
    address = nodes.address  # type: ignore[attr-defined]
    (head,) = nodes.head_node.all_processes["gcs_server"]  # type: ignore[attr-defined]
    run = tmp_path / "run"
    head.process.send_signal(signal.SIGSTOP)
    told = "scheduler: ray cannot be reached: no answer within 3 s"
    assert last_line(start(DRIVER, run, address, 1.5)).endswith(told)
    head.process.send_signal(signal.SIGCONT)

    driver = start(DRIVER, run, address, 30)
    wait(lambda: finished_chunks(run) > 0 or driver.poll() is not None)
    head.process.kill()
    told = f"ray's head at {address} is lost (Connection refused); what is finished is kept, run the sweep"
    assert told in last_line(driver)
    kept = finished_chunks(run)
    assert 0 < kept < 30
    result = sweep(many_chunks(3000), run, jobs=2)
    assert result.sessions[-1]["path_steps"] == (30 - kept) * 12_000_000
