"""What it costs to hand out a task, by its length: ``python -m benchmarks.task_overhead [SCHEDULER [N]]``.

A task sleeps, as long as the core would work without Python's lock, and gives back 100 kB, as much as what is
kept of half a second of small points. Two workers each; dask with a scheduler's address only. With a number N
of workers, for many sleep on few cores: how many tasks a second that scheduler hands out.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import joblib

from mcmm.workers import Workers

LENGTHS = (0.001, 0.01, 0.1, 0.5, 2.0)
KEPT = 100_000
WORKERS = 2


def task(seconds: float) -> bytes:
    time.sleep(seconds)
    return bytes(KEPT)


def run(workers: Workers, seconds: float, count: int) -> float:
    """The wall time of so many tasks."""
    left = iter([joblib.delayed(task)(seconds) for _ in range(count)])
    done = 0
    started = time.perf_counter()
    while done < count:
        with workers.run(left, lambda: seconds) as results:
            done += sum(1 for _ in results)
    return time.perf_counter() - started


def handed_out(scheduler: str, count: int) -> None:
    """Ask a scheduler with so many workers for more tasks a second than it manages, or nearly so."""
    print("| a task takes | tasks a second asked for | handed out |\n|--:|--:|--:|")
    with Workers("dask", count, scheduler) as workers:
        run(workers, 0.001, 2 * count)
        for seconds in LENGTHS[2:]:
            tasks = int(10 * count / max(seconds, 0.5))
            rate = tasks / run(workers, seconds, tasks)
            print(f"| {seconds * 1e3:,.0f} ms | {count / seconds:,.0f} | {rate:,.0f} |")


def main(arguments: Sequence[str]) -> None:
    if len(arguments) > 1:
        handed_out(arguments[0], int(arguments[1]))
        return
    backends = ["threading", "loky", *["dask"] * bool(arguments), "ray"]
    print(f"| a task takes | {' | '.join(backends)} |\n|--:|{'--:|' * len(backends)}")
    table: dict[float, list[str]] = {seconds: [] for seconds in LENGTHS}
    for backend in backends:
        with Workers(backend, WORKERS, arguments[0] if backend == "dask" else None) as workers:
            run(workers, 0.001, 2 * WORKERS)
            for seconds in LENGTHS:
                count = int(min(max(8.0 / seconds, 8 * WORKERS), 400)) // WORKERS * WORKERS
                wall = run(workers, seconds, count)
                cost = wall * WORKERS / count - seconds
                table[seconds].append(f"{cost * 1e3:.1f} ms, {seconds * count / WORKERS / wall:.0%}")
    for seconds, cells in table.items():
        print(f"| {seconds * 1e3:,.0f} ms | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
