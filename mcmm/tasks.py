"""What a worker does: simulate some chunks, summarise their whole points, put their rows in Parquet.

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
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mcmm import __version__
from mcmm.chunks import Chunk, encode
from mcmm.controls import controls_known
from mcmm.errors import MCMMError
from mcmm.markets import varied
from mcmm.records import Record, encode_records, encode_whole, mark_of
from mcmm.summaries import EXACT_PATHS, Part, summaries_of
from mcmm.whole import WholePoints

if TYPE_CHECKING:
    from mcmm.policies import Policy
    from mcmm.scenario import Scenario

__all__ = [
    "Build",
    "Failure",
    "Finished",
    "Stop",
    "Stopped",
    "Task",
    "build",
    "compute",
    "end_with",
    "records_of",
    "rows_of",
]

FloatArray = npt.NDArray[np.float64]
Build = tuple[tuple[str, str], ...]

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
    """All that a worker needs to know to compute some consecutive chunks.

    Attributes
    ----------
    chunks : tuple of Chunk
        The chunks.
    scenario : Scenario
        The study's.
    names : tuple of str
        The settings that the study varies.
    settings : dict
        Their values at each point that has a path in the chunks.
    seed : int
        The study's.
    digest : str
        The round's.
    metrics : tuple of str
        The metrics of its paths.
    whole : int
        How many paths make a point whole, so that its chunk can summarise it; 0 if none can tell yet.
    exact : bool
        Whether points have few enough paths to keep the values of those that are not whole.
    all_rows : bool
        Whether what it takes to compare all means is kept, see `mcmm.study.Study.all_rows`.
    keep_paths : bool
        Whether the rows of all paths are wanted too.
    policy : Policy or None
        Who quotes where ``quoting.policy`` is custom.
    """

    chunks: tuple[Chunk, ...]
    scenario: Scenario
    names: tuple[str, ...]
    settings: dict[int, tuple[Any, ...]]
    seed: int
    digest: str
    metrics: tuple[str, ...]
    whole: int
    exact: bool
    all_rows: bool
    keep_paths: bool
    policy: Policy | None = None

    def scenario_at(self, point: int) -> Scenario:
        """Return the scenario of a point, which the study has checked."""
        changes = dict(zip(self.names, self.settings[point], strict=True))
        made = varied(self.scenario, changes)
        return self.scenario.replace(changes) if made is None else made

    @property
    def is_whole(self) -> bool:
        """Whether all of its points are whole, with few enough paths to keep the values of."""
        return self.whole <= EXACT_PATHS and all(chunk.paths == self.whole for chunk in self.chunks)

    @property
    def first(self) -> int:
        """The first chunk."""
        return self.chunks[0].index

    @property
    def stop(self) -> int:
        """The chunk after the last."""
        return self.chunks[-1].index + 1


@dataclass(frozen=True, slots=True)
class Finished:
    """Computed chunks.

    Attributes
    ----------
    first, stop : int
        The first chunk and the one after the last.
    records : bytes
        The file of what is kept of them.
    rows : bytes or None
        The file of their paths.
    summaries : list of (int, ndarray)
        Rows of the summary for points that are whole: the first point of each run of them.
    seconds : float
        How long it took.
    build : dict
        What made them: see `build`.
    """

    first: int
    stop: int
    records: bytes
    rows: bytes | None
    summaries: list[tuple[int, FloatArray]]
    seconds: float
    build: Build


@dataclass(frozen=True, slots=True)
class Failure:
    """Chunks that could not be computed: the point at fault, and why."""

    point: int
    kind: type[MCMMError] | None
    message: str
    trace: str


def build() -> Build:
    """Return which mcmm runs here and on what, as pairs of name and value."""
    return _build()


@cache
def _build() -> Build:
    import platform

    from mcmm import engine

    info = {name: engine.core_info()[name] for name in ("isa", "compiler", "python", "numpy", "machine")}
    return (
        ("mcmm", __version__),
        *((name, str(value)) for name, value in info.items()),
        ("host", platform.node()),
    )


def compute(task: Task, stop: Stop | None) -> Finished | Failure | None:
    """Compute some chunks.

    Parameters
    ----------
    task : Task
        The chunks and their study.
    stop : Stop or None
        Where to look whether to stop, for a worker in a thread.

    Returns
    -------
    Finished, Failure or None
        None if it was stopped. An error is returned, not raised: raised, it would end its neighbours' work
        and leave out the point.
    """
    worker = _Worker(task, stop or Stop())
    started = time.perf_counter()
    try:
        with worker.stop.working():
            records = worker.whole() if task.is_whole else worker.parts()
            return Finished(
                task.first,
                task.stop,
                records,
                encode(task.chunks, np.concatenate(worker.rows, axis=1), task.digest, task.metrics)
                if worker.rows
                else None,
                worker.summaries,
                time.perf_counter() - started,
                build(),
            )
    except Stopped:
        return None
    except Exception as error:
        kind = type(error) if isinstance(error, MCMMError) else None
        message = str(error) if kind else f"{type(error).__name__}: {error}"
        return Failure(worker.point, kind, message, traceback.format_exc())


class _Worker:
    """A task at work.

    Attributes
    ----------
    point : int
        What it is at.
    rows : list of ndarray
        The paths, where they are kept.
    summaries : list of (int, ndarray)
        As in `Finished`.
    """

    def __init__(self, task: Task, stop: Stop) -> None:
        self.task = task
        self.stop = stop
        self.point = task.chunks[0].point
        self.rows: list[FloatArray] = []
        self.summaries: list[tuple[int, FloatArray]] = []
        self._mark = mark_of(task.digest, task.first, task.stop)

    def whole(self) -> bytes:
        """Compute chunks of whole points, and return the file of what is kept of them."""
        task = self.task
        points = [point for chunk in task.chunks for point in chunk.range]
        whole = WholePoints(task.metrics, points, task.whole, all_rows=task.all_rows)
        known = []
        for chunk in task.chunks:
            for scenario, values in self._paths(chunk):
                whole.add(values)
                known.append(controls_known(scenario))
        whole.close(known)
        begin = 0
        for chunk in task.chunks:
            self.summaries.append((chunk.point, whole.columns[begin : begin + chunk.points]))
            begin += chunk.points
        return encode_whole(whole, self._mark)

    def parts(self) -> bytes:
        """Compute chunks of any kind, and return the file of what is kept of them."""
        task = self.task
        records: list[Record] = []
        for chunk in task.chunks:
            parts, known = [], []
            for scenario, values in self._paths(chunk):
                parts.append(
                    Part.of(values, task.metrics, chunk.first_path, exact=task.exact, all_rows=task.all_rows)
                )
                known.append(controls_known(scenario))
            made, columns = records_of(chunk, parts, known, task.metrics, task.whole)
            records += made
            if columns is not None:
                self.summaries.append((chunk.point, columns))
        return encode_records(records, task.metrics, self._mark)

    def _paths(self, chunk: Chunk) -> Iterator[tuple[Scenario, FloatArray]]:
        """Simulate the points of a chunk, one after the other."""
        task = self.task
        for self.point in chunk.range:
            scenario = task.scenario_at(self.point)
            values = rows_of(scenario, task.seed, chunk, self.stop, task.policy, task.metrics)
            self.rows += [values] if task.keep_paths else []
            yield scenario, values


def records_of(
    chunk: Chunk, parts: Sequence[Part], known: Sequence[bool], metrics: tuple[str, ...], whole: int
) -> tuple[list[Record], FloatArray | None]:
    """Make what is kept of a chunk.

    Parameters
    ----------
    chunk : Chunk
        The chunk, or one with some of its points.
    parts : sequence of Part
        What is known of the paths of each of its points.
    known : sequence of bool
        Whether the means of each point's controls are.
    metrics : tuple of str
        The metrics of its paths.
    whole : int
        How many paths make a point whole.

    Returns
    -------
    tuple of list of Record and ndarray of shape (points, columns)
        The records, and the points' rows of the summary; None unless they are whole.
    """
    if chunk.paths != whole:
        return [Record(*pair) for pair in zip(chunk.range, parts, strict=True)], None
    found = summaries_of(parts, metrics, known)
    records = [
        Record(point, Part(0, chunk.paths, (each.node,), {}), each.columns, each.distributions)
        for point, each in zip(chunk.range, found, strict=True)
    ]
    return records, np.stack([each.columns for each in found])


def rows_of(
    scenario: Scenario,
    seed: int,
    chunk: Chunk,
    stop: Stop,
    policy: Policy | None = None,
    metrics: tuple[str, ...] = (),
) -> FloatArray:
    """Simulate one point's paths of a chunk; shape (metrics, paths), with the rows of a study's `metrics`."""
    from mcmm import engine

    stop.check()
    values: FloatArray = engine.run_rows(scenario, seed, chunk.first_path, chunk.paths, stop.flag, policy)
    stop.check()
    return engine.widened(values, scenario, metrics)


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
