"""Workers: results as they come on every backend, losses told, arguments checked, nothing left behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import joblib
import pytest
from faults.processes import wait

from mcmm import workers
from mcmm.errors import InputError, MCMMError
from mcmm.workers import Workers, WorkersLost


def square(number: int) -> int:
    return number * number


def sleep_and_say(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def fail(number: int) -> int:
    raise LookupError(f"no {number}")


def run(backend: str, work: Any, items: Any, jobs: int = 2) -> list[Any]:
    with (
        Workers(backend, jobs, None) as pool,
        pool.run((joblib.delayed(work)(item) for item in items), lambda: 1.0) as results,
    ):
        return list(results)


@pytest.mark.parametrize("backend", ["threading", "loky"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_every_task_gives_its_result_once(backend: str, jobs: int) -> None:
    assert sorted(run(backend, square, range(20), jobs)) == [number * number for number in range(20)]


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_what_is_finished_first_comes_first(backend: str) -> None:
    assert run(backend, sleep_and_say, [1.5, 0.0]) == [0.0, 1.5]


def test_tasks_are_taken_as_workers_become_free() -> None:
    """Not all at once, so that memory is bounded: two or so ahead for each worker."""
    taken: list[int] = []

    def ahead(number: int) -> int:
        return len(taken) - number

    def tasks() -> Any:
        for number in range(50):
            taken.append(number)
            yield joblib.delayed(ahead)(number)

    with Workers("threading", 2, None) as pool, pool.run(tasks(), lambda: 1.0) as results:
        assert max(results) <= 8
    assert len(taken) == 50


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9")
def test_a_killed_process_is_told_as_a_loss() -> None:
    with pytest.raises(WorkersLost, match="workers were killed or cut off"):
        run("loky", die, range(8))
    assert sorted(run("loky", square, range(4))) == [0, 1, 4, 9]  # and others take its place


def test_silence_is_told_as_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_SILENCE", 0.2)
    monkeypatch.setattr(workers, "_TIMES", 0.2)
    with pytest.raises(WorkersLost, match=r"no worker was heard of for 0 s"):
        run("loky", sleep_and_say, [30.0])


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_an_error_of_a_task_is_that_error(backend: str) -> None:
    with pytest.raises(LookupError, match="no 0"):
        run(backend, fail, [0])


def test_leaving_early_ends_the_work() -> None:
    started = threading.active_count()

    def leave_early(pool: Workers) -> None:
        tasks = (joblib.delayed(sleep_and_say)(0.01) for _ in range(1000))
        with pool.run(tasks, lambda: 1.0) as results:
            assert next(results) == 0.01
            raise KeyError

    with Workers("threading", 2, None) as pool, pytest.raises(KeyError):
        leave_early(pool)
    wait(lambda: threading.active_count() <= started, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("process", 1, None), "backend: must be one of threading, loky, dask, ray, got 'process'"),
        (
            ("threading", 0, None),
            "jobs: must be a whole number >= 1 and <= 1024, or -1 for one a core, got 0",
        ),
        (("threading", True, None), "jobs: must be .* got True"),
        (("threading", 2000, None), "jobs: must be .* got 2000"),
        (("dask", -1, None), "scheduler: must be given with backend dask, as tcp://127.0.0.1:8786, got none"),
        (("loky", 1, "tcp://x:1"), "scheduler: must be left out with backend loky, .* got 'tcp://x:1'"),
    ],
)
def test_arguments_are_checked(arguments: tuple[str, int, str | None], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Workers(*arguments)


@pytest.mark.parametrize(("backend", "module"), [("dask", "distributed"), ("ray", "ray")])
def test_a_backend_that_is_not_installed_is_told(
    backend: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf'install it with: python -m pip install "mcmm\[{backend}\]"'):
        Workers(backend, 1, "tcp://127.0.0.1:1")  # before a sweep makes its directory


def test_workers_of_another_version_are_refused() -> None:
    theirs = tuple((name, "9.9" if name == "mcmm" else value) for name, value in workers.build())
    with pytest.raises(InputError, match=r"its workers have mcmm 9\.9 and this is"):
        workers._check_build(theirs)
    workers._check_build(workers.build())


def test_what_takes_too_long_is_left_to_itself() -> None:
    never = threading.Event()
    with pytest.raises(TimeoutError, match="no answer within 0 s"):
        workers._within(0.05, never.wait)
    never.set()
    assert workers._within(10.0, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        workers._within(10.0, lambda: 1 // 0)


def test_a_head_of_rays_that_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    hung = SimpleNamespace(
        cluster_resources=never.wait, exceptions=SimpleNamespace(RayError=type("RayError", (Exception,), {}))
    )
    monkeypatch.setitem(sys.modules, "ray", hung)
    monkeypatch.setattr(workers, "_CONNECT", 0.05)
    with pytest.raises(MCMMError, match=r"^ray's head does not answer .*; what is finished is kept"):
        Workers("ray", -1, None).refresh()
    never.set()
