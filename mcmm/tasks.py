"""What a worker does: simulate a chunk, summarise its whole points, put its rows in Parquet.

Everything here can be sent to another process.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mcmm import statistics
from mcmm.chunks import Chunk, encode
from mcmm.errors import MCMMError

if TYPE_CHECKING:
    from mcmm.scenario import Scenario

__all__ = ["Failure", "Finished", "Stop", "Stopped", "Task", "compute", "end_with", "summaries_of"]

FloatArray = npt.NDArray[np.float64]
Summary = tuple[float, ...]

# Between slices of its paths a worker looks up to see whether to stop: every 0.1 to 0.2 seconds.
_SLICE = 12_000_000
_SLICE_PATHS = 256
# How often a worker process looks whether its parent lives, in seconds.
_WATCH = 0.5


class Stopped(Exception):
    """The sweep is ending; what the worker was at is not wanted any more."""


class Stop:
    """Tells workers in threads to stop, and knows when they have."""

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self.flag = np.zeros(1, dtype=np.int32)
        """What the core looks at within a block; a step of a long path can be far from its end."""
        self._changed = threading.Condition()
        self._working = 0

    def set(self) -> None:
        """Ask the workers to stop."""
        self._wanted.set()
        self.flag[0] = 1

    def check(self) -> None:
        """Raise Stopped if asked to stop."""
        if self._wanted.is_set():
            raise Stopped

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count the caller among the workers."""
        with self._changed:
            self._working += 1
        try:
            self.check()
            yield
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait until no worker is at work, for so long at most; return whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: self._working == 0, seconds)


@dataclass(frozen=True, slots=True)
class Task:
    """All that a worker needs to know to compute a chunk.

    Attributes
    ----------
    chunk : Chunk
        The chunk.
    scenario : Scenario
        The study's.
    settings : tuple of dict
        What each of the chunk's points changes in it.
    seed : int
        The study's.
    digest : str
        The study's.
    whole : bool
        Whether the chunk holds all paths of its points, and so can summarise them.
    """

    chunk: Chunk
    scenario: Scenario
    settings: tuple[dict[str, Any], ...]
    seed: int
    digest: str
    whole: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """A computed chunk: its file, and a row of the summary for each of its whole points."""

    chunk: Chunk
    data: bytes
    summaries: tuple[Summary, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """A chunk that could not be computed: the point at fault, and why."""

    point: int
    kind: type[MCMMError] | None
    message: str
    trace: str


def compute(task: Task, stop: Stop | None) -> Finished | Failure | None:
    """Compute a chunk.

    Parameters
    ----------
    task : Task
        The chunk and its study.
    stop : Stop or None
        Where to look whether to stop, for a worker in a thread.

    Returns
    -------
    Finished, Failure or None
        None if it was stopped. An error is returned, not raised: raised, it would end its neighbours' work
        and leave out the point.
    """
    stop = stop or Stop()
    point = task.chunk.point
    try:
        with stop.working():
            values: FloatArray | None = None
            names = task.scenario.columns
            for place, settings in enumerate(task.settings):
                point = task.chunk.point + place
                rows = _rows(task.scenario.replace(settings), task.seed, task.chunk, stop)
                if task.chunk.points == 1:
                    values = rows
                    break
                if values is None:
                    values = np.empty((len(names), task.chunk.rows))
                values[:, place * task.chunk.paths : (place + 1) * task.chunk.paths] = rows
            assert values is not None
            summaries = summaries_of(task.chunk, values, names) if task.whole else ()
            return Finished(task.chunk, encode(task.chunk, values, task.digest, names), summaries)
    except Stopped:
        return None
    except Exception as error:
        kind = type(error) if isinstance(error, MCMMError) else None
        message = str(error) if kind else f"{type(error).__name__}: {error}"
        return Failure(point, kind, message, traceback.format_exc())


def _rows(scenario: Scenario, seed: int, chunk: Chunk, stop: Stop) -> FloatArray:
    """Simulate one point's paths of a chunk, in slices."""
    from mcmm import engine

    size = max(_SLICE // (scenario.steps * scenario.market_count) // _SLICE_PATHS, 1) * _SLICE_PATHS
    if chunk.paths <= size:
        stop.check()
        rows: FloatArray = engine.run_rows(scenario, seed, chunk.first_path, chunk.paths, stop.flag)
        stop.check()
        return rows
    values = np.empty((len(scenario.columns), chunk.paths))
    for begin in range(0, chunk.paths, size):
        stop.check()
        end = min(begin + size, chunk.paths)
        first = chunk.first_path + begin
        values[:, begin:end] = engine.run_rows(scenario, seed, first, end - begin, stop.flag)
        stop.check()
    return values


def summaries_of(chunk: Chunk, values: FloatArray, names: Sequence[str]) -> tuple[Summary, ...]:
    """Summarise the points of a chunk that holds them whole.

    Parameters
    ----------
    chunk : Chunk
        The chunk.
    values : ndarray of shape (metrics, rows)
        Its rows.
    names : sequence of str
        What they are.

    Returns
    -------
    tuple of tuple of float
        For each point, the values of `mcmm.statistics.summarise` in its order.
    """
    parts = np.split(values, chunk.points, axis=1)
    return tuple(tuple(statistics.summarise(part, names).values()) for part in parts)


def end_with(driver: int) -> None:
    """Have this worker process end when the one that started it does, however that ended.

    Parameters
    ----------
    driver : int
        The process number of the parent. A killed parent cannot end its workers, which would wait for ever.
    """

    def watch(parent: Callable[[], int]) -> None:
        while parent() == driver:
            time.sleep(_WATCH)
        os._exit(1)

    threading.Thread(target=watch, args=(os.getppid,), name="mcmm-watch", daemon=True).start()
