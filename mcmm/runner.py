"""Running a study: chunks go to workers, what they send back goes to the run directory.

The calling process alone writes, and what it writes does not depend on who computed it, so a sweep that is
run again computes only the chunks that are missing and ends with the same values.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mcmm import __version__, statistics
from mcmm.chunks import SCHEMA_VERSION, Chunk
from mcmm.errors import InputError, MCMMError
from mcmm.store import RunDirectory, SweepResult, read_point
from mcmm.study import Study, summary_columns
from mcmm.tasks import Failure, Finished, Stop, Task, compute, end_with, summaries_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BACKENDS", "SweepResult", "sweep"]

BACKENDS = ("threading", "loky")

Progress = Callable[[int, int], object]
Item = TypeVar("Item")
Made = TypeVar("Made")

# Results that may wait to be written, for each worker, before no more work is handed out.
_BACKLOG = 8
MAX_JOBS = 1024
"""The most workers."""
# How often in a row, without a finished chunk, worker processes may be killed before the sweep gives up.
_DEATHS = 3
# How long an interrupted sweep waits for its threads to leave the core, in seconds.
_PATIENCE = 1.0


def sweep(
    study: Study,
    out: str | Path | None = None,
    jobs: int = -1,
    backend: str = "threading",
    progress: Progress | None = None,
) -> SweepResult:
    """Run a study, or what is left of it.

    Parameters
    ----------
    study : Study
        What to run.
    out : str or Path, optional
        The run directory. If it has part of this study already, only the rest is computed; the result equals
        an uninterrupted run's in every value. Without it, a temporary one that lives as long as the result.
    jobs : int
        Workers, up to 1024; -1 for one on each core.
    backend : {"threading", "loky"}
        Threads of this process (the core releases the GIL, so they lose nothing by it), or processes.
    progress : callable, optional
        Called in the calling thread with (path-steps done, path-steps in all), first with what is done
        already and then after each chunk.

    Returns
    -------
    SweepResult

    Raises
    ------
    InputError
        If an argument is out of its range, or the directory cannot be made or written.
    StoreError
        If the directory holds another study, was made by another version, or another sweep is writing to it.
    MCMMError
        If a point cannot be simulated, or workers are killed again and again; finished chunks are kept.
    KeyboardInterrupt
        If the user interrupts it, within a second or so; finished chunks are kept.
    """
    if not isinstance(study, Study):
        raise InputError(f"study: must be a Study, got {type(study).__name__}")
    if backend not in BACKENDS:
        raise InputError(f"backend: must be one of {', '.join(BACKENDS)}, got {backend!r}")
    workers = _workers(jobs)
    path = Path(tempfile.mkdtemp(prefix="mcmm-")) if out is None else Path(out)
    try:
        run = RunDirectory(path, study, durable=out is not None)
        with run.locked() as manifest:
            result = _Sweep(run, manifest, workers, backend, progress).result()
    except BaseException:
        if out is None:
            shutil.rmtree(path, ignore_errors=True)
        raise
    if out is None:
        weakref.finalize(result, shutil.rmtree, path, ignore_errors=True)
    return result


def _workers(jobs: int) -> int:
    """Return how many workers ``jobs`` asks for."""
    import joblib

    if type(jobs) is not int or not (jobs == -1 or 1 <= jobs <= MAX_JOBS):
        raise InputError(
            f"jobs: must be a whole number >= 1 and <= {MAX_JOBS}, or -1 for one a core, got {jobs!r}"
        )
    # Unlike the core's count, joblib's knows a container's share of the machine.
    return jobs if jobs > 0 else int(joblib.cpu_count())


class _Sweep:
    """One call of `sweep`."""

    def __init__(
        self,
        run: RunDirectory,
        manifest: dict[str, Any],
        workers: int,
        backend: str,
        progress: Progress | None,
    ) -> None:
        self.run = run
        self.study = run.study
        self.workers = workers
        self.backend = backend
        self.progress = progress
        self.manifest = manifest
        self.stop = Stop()
        self.names = self.study.scenario.columns
        self.columns = summary_columns(self.names)
        self.summaries = np.full((self.study.count, len(self.columns)), np.nan)
        self.files: dict[int, Path] = {}
        self.done = 0
        self.computed = 0
        self.waiting = 0

    def result(self) -> SweepResult:
        """Do what is left to do."""
        session = {"started": datetime.now(UTC).isoformat(timespec="seconds"), **self._surroundings()}
        begin = time.monotonic()
        self._open()
        try:
            self._take_up()
            self._compute()
            self._summarise_split_points()
            summary = self._summary()
            self.run.write_summary(summary)
        except BaseException:
            # What ended the sweep is the news; that a full disk will not take this note either is not.
            with suppress(MCMMError):
                self._close(session, time.monotonic() - begin)
            raise
        self._close(session, time.monotonic() - begin)
        return SweepResult(
            self.study,
            self.study.points(),
            summary,
            self.manifest["provenance"],
            self.run.path,
            self.run,
            self.files,
        )

    # ---- the three passes

    def _take_up(self) -> None:
        """Find the chunks that are there and whole, and summarise their points from their rows."""
        there = self.run.files()
        chunks = [chunk for chunk in self.run.plan if chunk.index in there]

        def read_back(chunk: Chunk) -> tuple[Path, tuple[tuple[float, ...], ...]] | None:
            found = self.run.check(chunk, there[chunk.index])
            if found is None:
                return None
            path, values = found
            return path, summaries_of(chunk, values, self.names) if self._whole(chunk) else ()

        with self._in_threads(chunks, read_back) as results:
            for chunk, found in results:
                if found is not None:
                    self._keep(chunk, *found)
        self._tell()

    def _compute(self) -> None:
        """Compute the chunks that are missing."""
        from joblib.externals.loky.process_executor import BrokenProcessPool

        left = {chunk.index: chunk for chunk in self.run.plan if chunk.index not in self.files}
        deaths = 0
        while left:
            before = len(left)
            try:
                with self._round(left.values()) as results:
                    # Needed at the end; it takes 0.2 s to import, and here the workers are busy meanwhile.
                    import pandas  # noqa: F401

                    for result in results:
                        self.waiting -= 1
                        if isinstance(result, Failure):
                            raise self._error(result)
                        self._write(result)
                        del left[result.chunk.index]
            except BrokenProcessPool as error:
                deaths = 1 if len(left) < before else deaths + 1
                if deaths == _DEATHS:
                    raise MCMMError(
                        f"worker processes were killed {deaths} times in a row, often for want of memory; "
                        "run the sweep again with fewer jobs to go on"
                    ) from error

    @contextmanager
    def _round(self, chunks: Iterable[Chunk]) -> Iterator[Iterator[Finished | Failure]]:
        """Have chunks computed, as many as the disk keeps up with, and yield them as they are finished."""
        from joblib import delayed

        self.waiting = 0

        def tasks() -> Iterator[Any]:
            # joblib asks for a task whenever a worker is free, however many results wait to be written; the
            # round ends early to bound them.
            for chunk in list(chunks):
                if self.waiting >= _BACKLOG * self.workers:
                    return
                self.waiting += 1
                yield delayed(compute)(self._task(chunk), self.stop if self.backend == "threading" else None)

        options: dict[str, Any] = {"backend": self.backend}
        if self.backend == "loky":
            options |= {"initializer": end_with, "initargs": (os.getpid(),)}
        with self._ending(self._parallel(options)(tasks())) as results:
            yield results

    def _summarise_split_points(self) -> None:
        """Summarise the points whose paths lie in several chunks, a metric at a time."""
        points = sorted({chunk.point for chunk in self.run.plan if not self._whole(chunk)})

        def summary(point: int) -> list[float]:
            found: dict[str, float] = {}
            for name in self.names:
                self.stop.check()
                found |= statistics.summarise(read_point(self.run, self.files, point, (name,)), (name,))
            return [found[column] for column in self.columns]

        with self._in_threads(points, summary) as results:
            for point, row in results:
                self.summaries[point] = row

    def _summary(self) -> pd.DataFrame:
        import pandas as pd

        # Parquet keeps no NaN's sign.
        self.summaries[np.isnan(self.summaries)] = np.nan
        index = pd.RangeIndex(self.study.count, name="point")
        return pd.DataFrame(self.summaries, index=index, columns=self.columns)

    # ---- joblib

    def _parallel(self, options: dict[str, Any]) -> Any:
        from joblib import Parallel

        return Parallel(
            n_jobs=self.workers,
            return_as="generator_unordered",
            batch_size=1,
            pre_dispatch=2 * self.workers,
            **options,
        )

    @contextmanager
    def _in_threads(
        self, items: list[Item], work: Callable[[Item], Made]
    ) -> Iterator[Iterator[tuple[Item, Made]]]:
        """Yield each item with what ``work`` makes of it, in threads."""
        from joblib import delayed

        def task(item: Item) -> tuple[Item, Made]:
            with self.stop.working():
                return item, work(item)

        parallel = self._parallel({"backend": "threading"})
        with self._ending(parallel(delayed(task)(item) for item in items)) as results:
            yield results

    @contextmanager
    def _ending(self, results: Any) -> Iterator[Any]:
        """Yield joblib's results, and end its workers at once if they are not all taken."""
        from joblib.externals.loky.process_executor import BrokenProcessPool

        try:
            yield results
        except BrokenProcessPool:
            raise
        except BaseException:
            self.stop.set()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                results.close()
            # A thread that is still in the core while the interpreter shuts down would be cut off in it.
            self.stop.wait(_PATIENCE)
            raise

    # ---- chunks

    def _whole(self, chunk: Chunk) -> bool:
        return chunk.paths == self.study.paths

    def _task(self, chunk: Chunk) -> Task:
        study, digest = self.study, self.run.digest
        settings = tuple(study.at(point) for point in chunk.range)
        return Task(chunk, study.scenario, settings, study.seed, digest, self._whole(chunk))

    def _write(self, result: Finished) -> None:
        path = self.run.write_chunk(result.chunk, result.data)
        self.computed += result.chunk.path_steps
        self._keep(result.chunk, path, result.summaries)
        self._tell()

    def _keep(self, chunk: Chunk, path: Path, summaries: tuple[tuple[float, ...], ...]) -> None:
        self.files[chunk.index] = path
        self.done += chunk.path_steps
        if summaries:
            self.summaries[chunk.point : chunk.point + chunk.points] = summaries

    def _error(self, failure: Failure) -> Exception:
        """Return the error of a worker, with the point named."""
        label = self.study.label(failure.point)
        message = "\n".join(f"{label}: {line}" for line in failure.message.splitlines())
        if failure.kind is not None:
            return failure.kind(message)
        error = RuntimeError(message)
        error.add_note(failure.trace)
        return error

    def _tell(self) -> None:
        if self.progress is not None:
            self.progress(self.done, self.study.path_steps())

    # ---- the manifest

    def _surroundings(self) -> dict[str, Any]:
        """Return where and how this session runs."""
        from mcmm import engine

        return {**engine.core_info(), "backend": self.backend, "jobs": self.workers}

    def _open(self) -> None:
        """Write the manifest before the first chunk."""
        self.manifest = {
            "sessions": [],
            **self.manifest,
            "axes": list(self.study.axes),
            "chunks": len(self.run.plan),
            "digest": self.run.digest,
            "mcmm": __version__,
            "paths": self.study.paths,
            "points": self.study.count,
            "schema": SCHEMA_VERSION,
            "seed": self.study.seed,
            "study": self.study.to_dict(),
            "versions": {name: metadata.version(name) for name in ("joblib", "numpy", "pyarrow")},
        }
        self.run.begin(self.manifest)

    def _close(self, session: dict[str, Any], seconds: float) -> None:
        """Write down what this session did, if it did anything, and its part in the whole."""
        sessions = self.manifest["sessions"]
        if self.computed or not sessions:
            sessions.append({**session, "path_steps": self.computed, "wall_seconds": seconds})
        if self.done == self.study.path_steps():
            wall = sum(each["wall_seconds"] for each in sessions)
            computed = sum(each["path_steps"] for each in sessions)
            self.manifest["provenance"] = {
                **sessions[-1],
                "isa": ", ".join(sorted({each["isa"] for each in sessions})),
                "machine": ", ".join(sorted({each["machine"] for each in sessions})),
                "mcmm": __version__,
                "path_steps": self.study.path_steps(),
                "path_steps_per_second": computed / wall if computed else math.nan,
                "schema": SCHEMA_VERSION,
                "seed": self.study.seed,
                "sessions": len(sessions),
                "started": sessions[0]["started"],
                "study": self.run.digest,
                "wall_seconds": wall,
            }
        else:
            self.manifest.pop("provenance", None)
        self.run.write_manifest(self.manifest)
