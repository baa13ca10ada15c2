"""Path-steps per second with pytest-benchmark: ``python -m pytest benchmarks/bench_core.py``.

Each line of its table runs the same number of path-steps, so its ratios are ratios of speed; the extra
column ``path_steps_per_second`` is the rate of the best round. ``python -m benchmarks.report`` interleaves
the same work, which is fairer on a machine that does other things too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.cases import SCENARIOS, STEPS, available_peers, core, numpy_draws, peer

PATH_STEPS = 8192 * STEPS
ROUNDS = 5


def measure(benchmark: Any, run: Callable[[int, int], Any], steps: int) -> None:
    paths = PATH_STEPS // steps
    benchmark.pedantic(run, args=(paths, 1), rounds=ROUNDS, warmup_rounds=1)
    if benchmark.stats is not None:
        benchmark.extra_info["path_steps_per_second"] = paths * steps / benchmark.stats.stats.min


@pytest.mark.benchmark(group="core", timer=time.thread_time)
@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "reduced"])
def test_core(benchmark: Any, name: str) -> None:
    measure(benchmark, *core(name))


@pytest.mark.benchmark(group="reduced bot", timer=time.thread_time)
def test_core_reduced(benchmark: Any) -> None:
    measure(benchmark, *core("reduced"))


@pytest.mark.benchmark(group="reduced bot", timer=time.thread_time)
@pytest.mark.parametrize("name", available_peers())
def test_peer_reduced(benchmark: Any, name: str) -> None:
    measure(benchmark, *peer(name))


@pytest.mark.benchmark(group="reduced bot", timer=time.thread_time)
def test_numpy_draws(benchmark: Any) -> None:
    measure(benchmark, *numpy_draws())
