"""Estimates: what a sweep will take, from a short try of some of its chunks on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mcmm.directory import MANIFEST, RunDirectory, read_manifest
from mcmm.errors import StoreError
from mcmm.records import join_files
from mcmm.rounds import Round
from mcmm.runner import task_of
from mcmm.study import MANY_POINTS, Study, summary_columns
from mcmm.tasks import Failure, Stop, compute
from mcmm.workers import Workers

__all__ = ["Estimate", "estimate"]

# How long chunks are tried, in seconds, and how many of each worker at most.
_SECONDS, _CHUNKS = 1.5, 64
# Bytes of summary.parquet: a column's description, a number in it; and of the report's page: what all have,
# plotly among it, and what it says of a point.
_COLUMN, _NUMBER = 600, 5
_PAGE, _PAGE_POINT = 5_000_000, 2_000


@dataclass(frozen=True)
class Estimate:
    """What a sweep will take.

    Attributes
    ----------
    points : int
        Points of the study.
    paths : int
        Paths at each point; of a study with a precision those of the first look, and there may be more.
    path_steps : int
        Work of the whole study, or of the first look.
    done : float
        The share of it that the run directory has already.
    path_steps_per_second : float
        Of all workers together, as measured.
    seconds : float
        Time for what is left.
    bytes : int
        The run directory's size in the end, without a report's page.
    page_bytes : int
        The size of the page that `mcmm sweep` puts there too, roughly; 0 for more points than have one.
    workers : int
        How many were tried.
    """

    points: int
    paths: int
    path_steps: int
    done: float
    path_steps_per_second: float
    seconds: float
    bytes: int
    page_bytes: int
    workers: int


def estimate(study: Study, out: str | Path | None = None, jobs: int = -1, policy: object = None) -> Estimate:
    """Tell what a sweep will take, without writing anything.

    Parameters
    ----------
    study : Study
        The study.
    out : str or Path, optional
        The run directory, whose finished chunks need not be computed.
    jobs : int
        Workers on this machine; -1 for one a core. A cluster is not asked.
    policy : LowLevelCallable, Numba cfunc, callable or str, optional
        Who quotes where ``quoting.policy`` is custom.

    Returns
    -------
    Estimate
        Within a quarter or so; what is measured in two seconds depends on what else the machine does.

    Raises
    ------
    InputError
        If an argument is out of its range.
    StoreError
        If the directory holds another study.
    MCMMError
        If a point cannot be simulated.
    """
    study = study.quoted_by(policy)
    workers = Workers("threading", jobs, None)
    study.check_sweep()
    first = Round(Path("."), study, 0, range(study.count))
    if out is not None and (Path(out) / MANIFEST).exists():
        manifest = read_manifest(Path(out))
        if manifest["digest"] != study.digest():
            raise StoreError(
                f"{out}: holds another study; give another directory (--out), or delete this one"
            )
        first = RunDirectory(Path(out), study).begin_round(range(study.count))
        first.trust()
    costs = np.diff(first.plan.path_step_ends)
    rate, size = _measure(study, first, workers)
    left = int(costs[first.left].sum())
    return Estimate(
        study.count,
        first.paths,
        int(costs.sum()),
        1.0 - left / int(costs.sum()),
        rate,
        left / rate,
        int(size * len(first.plan)) + len(summary_columns(study.metrics)) * (_COLUMN + _NUMBER * study.count),
        _PAGE + _PAGE_POINT * study.count if study.count <= MANY_POINTS else 0,
        workers.count,
    )


def _measure(study: Study, first: Round, workers: Workers) -> tuple[float, float]:
    """Return path-steps a second of all workers, and the bytes of a chunk."""
    from joblib import delayed

    count = min(len(first.plan), _CHUNKS * workers.count)
    # Spread over the study, whose points may differ, in an order that is so from the beginning.
    places = [place * len(first.plan) // count for place in range(count)]
    order = sorted(range(count), key=lambda place: int(f"{place:032b}"[::-1], 2))
    stop = Stop()
    started = time.perf_counter()

    def tasks() -> Iterator[Any]:
        for number, place in enumerate(order):
            if number >= workers.count and time.perf_counter() > started + _SECONDS:
                return
            yield delayed(compute)(task_of(first, places[place], places[place] + 1), stop)

    steps, rows = 0, 0
    records: dict[int, bytes] = {}
    with workers.run(tasks(), lambda: float("inf")) as results:
        for result in results:
            if isinstance(result, Failure):
                raise (result.kind or RuntimeError)(f"{study.label(result.point)}: {result.message}")
            steps += first.plan.path_steps(result.first, result.stop)
            records[result.first] = result.records
            rows += len(result.rows or b"")
    # Put together as they will be: alone, a small file is mostly its own table of contents.
    joined = join_files([records[first] for first in sorted(records)], "")
    return steps / (time.perf_counter() - started), (len(joined) + rows) / len(records)
