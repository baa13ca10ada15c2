"""How much of a sweep is the core's own work: ``python -m benchmarks.sweep_efficiency [STUDY] [JOBS]``.

The core's time for the study is taken from every seventh point, before and after the sweep, on as many
threads as the sweep has workers, so that what the cores share (memory, heat, neighbours) counts alike.
Efficiency is that time over the sweep's wall time, summaries, Parquet and resumable files included.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mcmm
from mcmm.engine import cores, run_rows

EVERY = 7


def core_seconds(study: mcmm.Study, jobs: int) -> float:
    """The wall time that the core alone would take for the study."""
    points = range(0, study.count, EVERY)
    started = time.perf_counter()
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda point: run_rows(study.scenario_at(point), study.seed, 0, study.paths), points))
    return (time.perf_counter() - started) * study.count / len(points)


def main(arguments: Sequence[str]) -> None:
    study = mcmm.Study.load(arguments[0] if arguments else "sweeps/risk_limits.toml")
    jobs = int(arguments[1]) if len(arguments) > 1 else cores()
    import pandas  # noqa: F401  (what a sweep imports once is not its overhead)
    import pyarrow.parquet  # noqa: F401

    before = core_seconds(study, jobs)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        mcmm.sweep(study, out=Path(folder) / "run", jobs=jobs)
        wall = time.perf_counter() - started
    alone = (before + core_seconds(study, jobs)) / 2
    share = f"{alone / wall:.1%} on {jobs} workers"
    print(f"{study.name}: the core alone {alone:.2f} s, the sweep {wall:.2f} s: {share}")


if __name__ == "__main__":
    main(sys.argv[1:])
