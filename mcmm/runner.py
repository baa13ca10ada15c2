"""Running a study: chunks go to workers, what they send back goes to the run directory.

The calling process alone writes, and what it writes does not depend on who computed it, so a sweep that is
run again computes only the chunks that are missing and ends with the same values.
"""

from __future__ import annotations

import logging
import math
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mcmm import __version__
from mcmm.chunks import SCHEMA_VERSION
from mcmm.console import ProgressBar
from mcmm.controls import controls_known
from mcmm.designs import Indices
from mcmm.directory import SENSITIVITY, SUMMARY, RunDirectory, study_out
from mcmm.errors import InputError, MCMMError
from mcmm.packing import Packer
from mcmm.rounds import Round, joined
from mcmm.shelf import File
from mcmm.store import SweepResult
from mcmm.study import Study, summary_columns
from mcmm.summaries import summaries_of
from mcmm.tasks import Build, Failure, Finished, Stop, Task, build, compute
from mcmm.venue import work
from mcmm.workers import BACKENDS, KEPT, Workers, WorkersLost

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BACKENDS", "SweepResult", "sweep", "task_of"]

_LOG = logging.getLogger(__name__)

Progress = Callable[[int, int], object]
Item = TypeVar("Item")
Made = TypeVar("Made")

# Results that may wait to be written, for each worker, before no more work is handed out.
_BACKLOG = 4
# How often in a row, without a finished chunk, workers may be lost before the sweep gives up.
_DEATHS = 3
# How long an interrupted sweep waits for its threads to leave the core, in seconds.
_PATIENCE = 1.0
# How often a cluster is asked how many workers it has, in seconds.
_RECOUNT = 5.0
# Split points are read again in so many pieces, that threads can share them; neighbours, which lie in the
# same files, are read together, at most so many.
_PIECES, _READ_TOGETHER = 64, 64
# Rows of the summary that are looked at in one go.
_ROWS_AT_ONCE = 16_384


def sweep(
    study: Study,
    out: str | Path | None = None,
    jobs: int = -1,
    backend: str = "threading",
    progress: Progress | bool | None = None,
    scheduler: str | None = None,
    policy: object = None,
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
        Workers, up to 1024; -1 for one on each core. A dask cluster's workers are all used.
    backend : {"threading", "loky", "dask", "ray"}
        Threads of this process (the core releases the GIL, so they lose nothing by it), processes, or the
        workers of a cluster, which need the same version of mcmm.
    progress : callable or bool, optional
        True for a bar, in a terminal or a notebook, if it takes more than two seconds. Else what is called in
        the calling thread with (path-steps done, path-steps in all), first with what is done already and then
        after each task.
    scheduler : str, optional
        The cluster's address: ``"tcp://host:8786"`` for dask; for ray ``"auto"`` or ``"host:6379"``, without
        which ray starts workers on this machine.
    policy : LowLevelCallable, Numba cfunc, callable or str, optional
        Who quotes where ``quoting.policy`` is custom, as for `mcmm.simulate`. Other processes need it by
        name, ``module:name`` or ``file.py:name``, and must find the same source there.

    Returns
    -------
    SweepResult

    Raises
    ------
    InputError
        If an argument is out of its range, the cluster cannot be reached or has another mcmm, or the
        directory cannot be made or written.
    StoreError
        If the directory holds another study, was made by another version, or another sweep is writing to it.
    MCMMError
        If a point cannot be simulated, workers are lost again and again, or none is heard of for minutes;
        finished chunks are kept.
    KeyboardInterrupt
        If the user interrupts it, within a second or so; finished chunks are kept.
    """
    if not isinstance(study, Study):
        raise InputError(f"study: must be a Study, got {type(study).__name__}")
    study.check_sweep()
    study = study.quoted_by(policy)
    if backend != "threading" and study.quoter is not None and not study.quoter.place:
        raise InputError(
            f"policy: must be module:name or file.py:name with backend {backend}, whose processes look it "
            f"up, got {study.quoter.name}"
        )
    workers = Workers(backend, jobs, scheduler)
    path = Path(tempfile.mkdtemp(prefix="mcmm-")) if out is None else Path(out)
    try:
        run = RunDirectory(path, study, durable=out is not None)
        bar = ProgressBar("sweeping") if progress is True else nullcontext(progress or None)
        with run.locked() as manifest, bar as told:
            result = _Sweep(run, manifest, workers, told).result()
    except BaseException:
        if out is None:
            shutil.rmtree(path, ignore_errors=True)
        raise
    if out is None:
        weakref.finalize(result, shutil.rmtree, path, ignore_errors=True)
    return result


def task_of(round_: Round, first: int, stop: int) -> Task:
    """Return the task of computing a round's chunks from ``first`` to before ``stop``."""
    study = round_.study
    chunks = tuple(round_.plan[first:stop])
    settings = {point: tuple(study.at(point).values()) for chunk in chunks for point in chunk.range}
    return Task(
        chunks=chunks,
        scenario=study.scenario,
        names=study.names,
        settings=settings,
        seed=study.seed,
        digest=round_.digest,
        metrics=study.metrics,
        whole=round_.paths if round_.whole else 0,
        exact=round_.exact,
        all_rows=study.all_rows,
        keep_paths=study.keep_paths,
        policy=study.quoter,
    )


class _Sweep:
    """One call of `sweep`."""

    def __init__(
        self,
        run: RunDirectory,
        manifest: dict[str, Any],
        workers: Workers,
        progress: Progress | None,
    ) -> None:
        self.run = run
        self.study = run.study
        self.workers = workers
        self.progress = progress
        self.manifest = manifest
        self.stop = Stop()
        self.columns = summary_columns(self.study.metrics)
        self.summaries = np.full((self.study.count, len(self.columns)), np.nan)
        self.builds: dict[Build, None] = {}
        self.round: Round
        self.packer: Packer
        self.done = 0
        self.total = 0
        self.finished = False
        self.computed = 0
        self.waiting = 0
        self.recounted = time.monotonic()
        self.recount = False

    def result(self) -> SweepResult:
        """Do what is left to do."""
        session = {"started": datetime.now(UTC).isoformat(timespec="seconds"), **self._surroundings()}
        begin = time.monotonic()
        points: Sequence[int] = range(self.study.count)
        self._begin(points)
        self._open()
        try:
            while points:
                if self.round.points is not points:
                    self._begin(points)
                self._take_up()
                self._compute()
                self._summarise_split_points()
                points = self._unmet(points)
            summary = self._summary()
            self.run.write_table(SUMMARY, summary)
            if isinstance(self.study.layout, Indices):
                self._write_sensitivity(summary)
            self.finished = True
        except BaseException:
            # What ended the sweep is the news; that a full disk will not take this note either is not.
            with suppress(MCMMError):
                self._close(session, time.monotonic() - begin)
            raise
        self._close(session, time.monotonic() - begin)
        provenance = self.manifest["provenance"]
        return SweepResult(self.study, self.study.points(), summary, provenance, self.run.path, self.run)

    # ---- the passes of a round

    def _begin(self, points: Sequence[int]) -> None:
        """Begin a round."""
        self.round = self.run.begin_round(points)
        self.round.open()
        self.packer = Packer(
            self.round.plan,
            self.round.left,
            self.round.records.segment_ends,
            self.workers.count,
            work(self.study.metrics),
        )
        self.total += int(self.round.plan.path_step_ends[-1])

    def _unmet(self, points: Sequence[int]) -> Sequence[int]:
        """Return the points of the round that need more paths."""
        precision = self.study.precision
        if precision is None or len(self.run.rounds) == len(precision.totals):
            return []
        rows = (
            (point, dict(zip(self.columns, self.summaries[point].tolist(), strict=True))) for point in points
        )
        return [point for point, columns in rows if not precision.met(columns)]

    def _take_up(self) -> None:
        """Find the chunks that are there and whole, and summarise their points from their rows."""
        shelf = self.round.records
        found = shelf.files()

        def read_back(file: File) -> list[tuple[int, Any]] | None:
            records = shelf.check(file)
            return None if records is None else [(each.point, each.summary) for each in records]

        # If a long file is damaged, the short ones that it was made of may still be there.
        while files := shelf.unclaimed(found):
            with self._in_threads(files, read_back) as results:
                for file, summaries in results:
                    found.remove(file)
                    if summaries is not None:
                        shelf.register(file)
                        self._keep([(point, row) for point, row in summaries if row is not None])
        self.round.take_rows()
        self.round.tidy(found)
        costs = np.diff(self.round.plan.path_step_ends)
        self.done += int(costs[~self.round.left].sum())
        self._tell()

    def _compute(self) -> None:
        """Compute the chunks that are missing."""
        if not self.round.left.any():
            return
        deaths = 0
        with self.workers:
            while self.round.left.any():
                before = self.done
                try:
                    self._hand_out()
                except WorkersLost as error:
                    deaths = 1 if self.done > before else deaths + 1
                    if deaths == _DEATHS:
                        raise MCMMError(f"{error}, {deaths} times in a row; {KEPT}") from error
                self.workers.refresh()

    def _hand_out(self) -> None:
        """Have tasks computed, as many as the disk keeps up with, and write them as they are finished."""
        from joblib import delayed

        self.waiting = 0
        self.recount = False
        self.packer.begin(self.workers.count)
        stop = self.stop if self.workers.backend == "threading" else None

        def tasks() -> Iterator[Any]:
            # joblib asks for a task whenever a worker is free, however many results wait to be written; the
            # round ends early to bound them.
            while self.waiting < _BACKLOG * self.workers.count and not self.recount:
                taken = self.packer.take()
                if taken is None:
                    return
                self.waiting += 1
                yield delayed(compute)(task_of(self.round, *taken), stop)

        with self._ending(), self.workers.run(tasks(), self.packer.longest) as results:
            # Needed at the end; it takes 0.2 s to import, and here the workers are busy meanwhile.
            import pandas  # noqa: F401

            for result in results:
                self.waiting -= 1
                if isinstance(result, Failure):
                    raise self._error(result)
                self._write(result)
                self._look_around()

    def _look_around(self) -> None:
        """End the round if the cluster has grown or shrunk: the next one shares out to what it has."""
        if time.monotonic() > self.recounted + _RECOUNT:
            self.recounted = time.monotonic()
            self.recount = self.workers.refresh(patience=0.0)

    def _summarise_split_points(self) -> None:
        """Summarise the points whose paths lie in several chunks, or in several rounds."""
        whole = self.round.paths if self.round.whole else math.inf
        points = self.round.plan.split_points(whole)
        metrics = self.study.metrics

        def summarised(some: Sequence[int]) -> list[tuple[int, Any]]:
            found = []
            for point, part in joined(self.run.rounds, set(some), ("values",)):
                self.stop.check()
                known = controls_known(self.study.scenario_at(point))
                found.append((point, summaries_of([part], metrics, [known])[0].columns))
            return found

        size = min(-(-len(points) // _PIECES) or 1, _READ_TOGETHER)
        pieces = [points[begin : begin + size] for begin in range(0, len(points), size)]
        with self._in_threads(pieces, summarised) as results:
            for _, rows in results:
                for point, row in rows:
                    self.summaries[point] = row

    def _summary(self) -> pd.DataFrame:
        import pandas as pd

        # Parquet keeps no NaN's sign. Some rows at a time: of a million points the mask would take 0.2 GB.
        for begin in range(0, len(self.summaries), _ROWS_AT_ONCE):
            rows = self.summaries[begin : begin + _ROWS_AT_ONCE]
            rows[np.isnan(rows)] = np.nan
        index = pd.RangeIndex(self.study.count, name="point")
        return pd.DataFrame(self.summaries, index=index, columns=self.columns, copy=False)

    def _write_sensitivity(self, summary: pd.DataFrame) -> None:
        from mcmm.sensitivity import sensitivity

        try:
            table = sensitivity(self.study, summary, self.study.objective)
        except InputError as error:
            # A point at which the objective is not known leaves the summary as good as it is.
            _LOG.warning("%s: has no sensitivities of the objective: %s", self.run.path, error)
        else:
            self.run.write_table(SENSITIVITY, table)

    @contextmanager
    def _in_threads(
        self, items: Iterable[Item], work: Callable[[Item], Made]
    ) -> Iterator[Iterator[tuple[Item, Made]]]:
        """Yield each item with what ``work`` makes of it, in threads of this process."""
        from joblib import delayed

        def task(item: Item) -> tuple[Item, Made]:
            with self.stop.working():
                return item, work(item)

        threads = Workers("threading", -1, None)
        with (
            self._ending(),
            threads.run((delayed(task)(item) for item in items), lambda: math.inf) as results,
        ):
            yield results

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """Stop workers in threads at once if what they make is not wanted any more."""
        try:
            yield
        except WorkersLost:
            raise
        except BaseException:
            self.stop.set()
            # A thread that is still in the core while the interpreter shuts down would be cut off in it.
            self.stop.wait(_PATIENCE)
            raise

    # ---- chunks

    def _write(self, result: Finished) -> None:
        path_steps = self.round.plan.path_steps(result.first, result.stop)
        self.packer.measured(path_steps, result.seconds)
        self._note(result.build)
        self.round.write(result.first, result.stop, result.records, result.rows)
        self.computed += path_steps
        self.done += path_steps
        for point, rows in result.summaries:
            self.summaries[point : point + len(rows)] = rows
        self._tell()

    def _note(self, made: Build) -> None:
        """Write down who computes before the first chunk of theirs: a killed sweep closes no session."""
        if made in self.builds:
            return
        self.builds[made] = None
        if dict(made) not in self.manifest["builds"]:
            self.manifest["builds"].append(dict(made))
            self.run.write_manifest(self.manifest)

    def _keep(self, summaries: list[tuple[int, Any]]) -> None:
        for point, row in summaries:
            self.summaries[point] = row

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
            self.progress(self.done, self.total)

    # ---- the manifest

    def _surroundings(self) -> dict[str, Any]:
        """Return where and how this session runs."""
        from mcmm import engine

        return {
            **engine.core_info(),
            "host": dict(build())["host"],
            "backend": self.workers.backend,
            "jobs": self.workers.count,
        }

    def _open(self) -> None:
        """Write the manifest before the first chunk."""
        self.manifest = {
            "begun": datetime.now(UTC).isoformat(timespec="seconds"),
            "builds": [],
            "sessions": [],
            **self.manifest,
            "chunks": len(self.round.plan),
            "digest": self.run.digest,
            "mcmm": __version__,
            "points": self.study.count,
            "points_digest": self.study.points_digest(),
            "schema": SCHEMA_VERSION,
            "seed": self.study.seed,
            "study": study_out(self.study),
            "versions": {name: metadata.version(name) for name in ("joblib", "numpy", "pyarrow")},
        }
        self.run.begin(self.manifest)

    def _close(self, session: dict[str, Any], seconds: float) -> None:
        """Write down what this session did, if it did anything, and its part in the whole."""
        sessions = self.manifest["sessions"]
        if self.computed or not sessions:
            counts = {"path_steps": self.computed, "wall_seconds": seconds}
            sessions.append({**session, **counts, "builds": [dict(made) for made in self.builds]})
        if self.finished:
            wall = sum(each["wall_seconds"] for each in sessions)
            computed = sum(each["path_steps"] for each in sessions)
            self.manifest["provenance"] = {
                **sessions[-1],
                **{
                    name: ", ".join(sorted({each[name] for each in (*sessions, *self.manifest["builds"])}))
                    for name in ("isa", "machine")
                },
                "mcmm": __version__,
                "path_steps": self.done,
                "path_steps_per_second": computed / wall if computed else math.nan,
                "schema": SCHEMA_VERSION,
                "seed": self.study.seed,
                "sessions": len(sessions),
                "started": self.manifest["begun"],
                "study": self.run.digest,
                "wall_seconds": wall,
            }
        else:
            self.manifest.pop("provenance", None)
        self.run.write_manifest(self.manifest)
