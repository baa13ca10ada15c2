"""How much of a sweep is the core's own work: ``python -m benchmarks.sweep_efficiency [CASE] [JOBS]``.

CASE is ``small`` (10,000 points x 1,000 paths x 500 steps), ``tenth`` (1,000 of them), ``big`` (10 points x
1,000,000 paths x 500 steps) or a study's file; without one, small, big and ``sweeps/risk_limits.toml``. The
core's time for the study is taken from a sample of its chunks, before and after the sweep, on as many threads
as the sweep has workers, so that what the cores share (memory, heat, neighbours) counts alike. Efficiency is
that time over the sweep's wall time, summaries, Parquet and resumable files included; it asks for a machine
with nothing else to do. Beside it stands the share of the sweep's own processor time that was spent in the
core, call by call in the same seconds, which neighbours disturb less.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mcmm
from mcmm import engine
from mcmm.chunks import plan

CASES = {
    "small": ("10,000 points x 1,000 paths x 500 steps", 100, 100, 1_000),
    "tenth": ("1,000 points x 1,000 paths x 500 steps", 50, 20, 1_000),
    "big": ("10 points x 1,000,000 paths x 500 steps", 5, 2, 1_000_000),
}
SAMPLE = 40  # chunks


def case(name: str) -> mcmm.Study:
    """A study of one of the cases, over base spreads and inventory limits."""
    if name not in CASES:
        return mcmm.Study.load(name)
    title, spreads, limits, paths = CASES[name]
    axes = {
        "quoting.base_spread": {"low": 0.02, "high": 0.2, "count": spreads},
        "risk.inventory_limit": {
            "low": 25,
            "high": 400,
            "count": limits,
            "integer": True,
        },
    }
    return mcmm.Study(name=title, scenario={"steps": 500}, paths=paths, seed=7, points={"axes": axes})


def core_seconds(study: mcmm.Study, jobs: int) -> float:
    """The wall time that the core alone would take for the study."""
    cut = plan(study)
    # Multiples of the threads' number, so that none idles at the end.
    count = min(-(-SAMPLE // jobs) * jobs, len(cut))
    chosen = [cut[place * len(cut) // count] for place in range(count)]
    scenarios = {point: study.scenario_at(point) for chunk in chosen for point in chunk.range}

    def work(place: int) -> None:
        for point in chosen[place].range:
            engine.run_rows(scenarios[point], study.seed, chosen[place].first_path, chosen[place].paths)

    started = time.perf_counter()
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(work, range(count)))
    share = sum(chunk.path_steps for chunk in chosen) / study.path_steps()
    return (time.perf_counter() - started) / share


class CoreClock:
    """Adds up the processor time that threads spend in the core, from ``with`` to its end."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock = threading.Lock()
        self._run = engine.run_rows

    def __enter__(self) -> CoreClock:
        engine.run_rows = self._timed
        return self

    def __exit__(self, *_: object) -> None:
        engine.run_rows = self._run

    def _timed(self, *arguments: Any, **keywords: Any) -> Any:
        started = time.thread_time()
        rows = self._run(*arguments, **keywords)
        spent = time.thread_time() - started
        with self._lock:
            self.seconds += spent
        return rows


def measure(name: str, jobs: int) -> None:
    study = case(name)
    before = core_seconds(study, jobs)
    with tempfile.TemporaryDirectory() as folder, CoreClock() as clock:
        started, processor = time.perf_counter(), time.process_time()
        result = mcmm.sweep(study, out=Path(folder) / "run", jobs=jobs)
        wall, processor = time.perf_counter() - started, time.process_time() - processor
        files = [path for path in result.directory.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
    alone = (before + core_seconds(study, jobs)) / 2
    beside = processor - clock.seconds
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(
        f"{study.name}: the core alone {alone:.2f} s, the sweep {wall:.2f} s: {alone / wall:.1%} on {jobs} "
        f"workers; {clock.seconds / processor:.1%} of its processor time in the core, "
        f"{clock.seconds / study.count * 1e3:.3f} ms a point and {beside / study.count * 1e3:.3f} beside it; "
        f"{len(files)} files, {size / 1e6:,.1f} MB; {memory:,.0f} MB of memory",
        flush=True,
    )


def main(arguments: Sequence[str]) -> None:
    import pandas  # noqa: F401  (what a sweep imports once is not its overhead)
    import pyarrow.parquet  # noqa: F401

    jobs = int(arguments[1]) if len(arguments) > 1 else engine.cores()
    for name in arguments[:1] or ["small", "big", "sweeps/risk_limits.toml"]:
        measure(name, jobs)


if __name__ == "__main__":
    main(sys.argv[1:])
