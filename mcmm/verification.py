"""Verification: stored cells are computed again and compared bit by bit.

A cell is one point's paths in one chunk: what a sweep keeps of them is computed anew from the study in the
manifest, on whatever machine and build this is, and must be the same in every bit. So a changed value is
found wherever it stands, even where the file around it was made whole again; and two machines that disagree
are found out.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mcmm.chunks import Chunk
from mcmm.controls import controls_known
from mcmm.designs import Indices
from mcmm.directory import POINTS, SENSITIVITY, SUMMARY, RunDirectory, open_run
from mcmm.errors import InputError, StoreError
from mcmm.records import Record
from mcmm.rounds import Round, joined
from mcmm.sensitivity import sensitivity
from mcmm.shelf import File
from mcmm.store import open_rounds
from mcmm.study import summary_columns
from mcmm.summaries import Part, rows_of, summaries_of
from mcmm.tasks import Stop, build, records_of
from mcmm.tasks import rows_of as simulate
from mcmm.workers import Workers

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Difference", "Verification", "verify"]

Progress = Callable[[int, int], object]
Arrays = dict[str, npt.NDArray[Any]]

_CELLS = 100
# Sensitivities are summed by numpy and scipy, which promise no bits.
_NEAR = 1e-9
# The most differences that are written down: where a build is wrong, everything differs.
_MOST = 1000


class Difference(NamedTuple):
    """A value that is not what it should be.

    Attributes
    ----------
    point : int
        The point.
    label : str
        Its number and settings.
    first_path, paths : int
        The paths that the value is about.
    what : str
        Which value: a column of the summary, the sums or batches of a metric, a metric of a path.
    stored, computed : float
        What is stored, and what it is; NaN for a value that is not there at all.
    """

    point: int
    label: str
    first_path: int
    paths: int
    what: str
    stored: float
    computed: float

    def __str__(self) -> str:
        """Say it in a line."""
        paths = f"paths {self.first_path} to {self.first_path + self.paths - 1}"
        return f"{self.label}, {paths}: {self.what} is stored as {self.stored!r} and is {self.computed!r}"


@dataclass(frozen=True)
class Verification:
    """What was found when stored cells were computed again.

    Attributes
    ----------
    directory : Path
        The run.
    checked, cells : int
        Cells that were computed again, and how many the run has.
    seed : int
        Of the sample: with it the same cells are chosen again.
    differences : tuple of Difference
        Values that are not the same in every bit; the first thousand of them.
    damaged : tuple of str
        Files that cannot be read or are not what was written, or are not there, and why.
    made : tuple of dict
        The builds and machines that made the run: ``mcmm``, ``isa``, ``compiler``, ``python``, ``numpy``,
        ``machine``, ``host``.
    here : dict
        The build and machine that computed them again.
    """

    directory: Path
    checked: int
    cells: int
    seed: int
    differences: tuple[Difference, ...]
    damaged: tuple[str, ...]
    made: tuple[dict[str, str], ...]
    here: dict[str, str]

    @property
    def same(self) -> bool:
        """Whether every value that was looked at is the same in every bit."""
        return not self.differences and not self.damaged


def verify(
    directory: str | Path,
    cells: int | None = _CELLS,
    *,
    seed: int | None = None,
    jobs: int = -1,
    progress: Progress | None = None,
    policy: object = None,
) -> Verification:
    """Compute cells of a stored run again and compare every bit.

    Parameters
    ----------
    directory : str or Path
        The run directory; it may be unfinished. Nothing in it is changed.
    cells : int or None
        How many cells to choose at random; None for all of them, the points as they are written down, the
        whole summary and a sobol_indices design's sensitivities (to 1e-9). A run in which one cell in a
        hundred is wrong passes a sample of 100 with a chance of 37%, one of 450 with 1%.
    seed : int, optional
        Of the choice; by default another one each time.
    jobs : int
        Threads; -1 for one a core.
    progress : callable, optional
        Called as ``progress(cells done, cells in all)`` from this thread.
    policy : LowLevelCallable, Numba cfunc, callable or str, optional
        Who quoted in the run, where ``quoting.policy`` is custom; held to the name and digest in it.

    Returns
    -------
    Verification

    Raises
    ------
    InputError
        If an argument is out of its range, or there is no such directory.
    StoreError
        If it is not a run directory, of another schema version, or has no finished chunk.
    """
    if cells is not None and (type(cells) is not int or cells < 1):
        raise InputError(f"cells: must be a whole number >= 1, or None for all, got {cells!r}")
    threads = Workers("threading", jobs, None)
    run, manifest = open_run(Path(directory))
    run.study = run.study.quoted_by(policy)
    summary, damaged = _open(run, finished="provenance" in manifest)
    chosen, total, seed = _choose(run, cells, random.SystemRandom().getrandbits(32) if seed is None else seed)
    differences: list[Difference] = []
    checked = 0
    count = sum(len(points) for each in chosen for points in each.values())
    if progress is not None:
        progress(0, count)
    with threads.run(_tasks(run, chosen, summary, damaged), lambda: float("inf")) as results:
        for done, found in results:
            checked += done
            differences += found[: _MOST - len(differences)]
            if progress is not None:
                progress(checked, count)
    if cells is None:
        damaged += _changed_points(run)
        if summary is not None and not damaged:
            differences += _joined_summaries(run, summary)
            damaged += _changed_sensitivity(run, summary)
    made = {tuple(sorted(each.items())) for each in manifest.get("builds", [])}
    for session in manifest.get("sessions", []):  # of runs from before their builds were noted
        made |= {tuple(sorted(each.items())) for each in session.get("builds", [])}
    return Verification(
        run.path,
        checked,
        total,
        seed,
        tuple(differences[:_MOST]),
        tuple(damaged),
        tuple(dict(each) for each in sorted(made)),
        dict(build()),
    )


def _open(run: RunDirectory, *, finished: bool) -> tuple[pd.DataFrame | None, list[str]]:
    """Find the files of the run and its summary; of a finished one, what is not there is damage."""
    import pandas as pd

    from_disk: pd.DataFrame | None = None
    damaged: list[str] = []
    if finished or (run.path / SUMMARY).exists():
        try:
            from_disk = pd.read_parquet(run.path / SUMMARY)
            if (
                list(from_disk.columns) != summary_columns(run.study.metrics)
                or len(from_disk) != run.study.count
            ):
                raise ValueError("is not this study's summary")
        except FileNotFoundError:
            damaged.append(f"{run.path / SUMMARY}: is not there, though the run is finished")
        except (OSError, ValueError) as error:
            damaged.append(f"{run.path / SUMMARY}: {error}")
            from_disk = None
    if from_disk is not None:
        with suppress(StoreError):
            open_rounds(run, from_disk)
    if not run.rounds:
        # Which points a later look had only its summary would say; the looks before it decide it once more.
        points: Sequence[int] = range(run.study.count)
        while points:
            run.begin_round(points).trust()
            points = _unmet(run)
    if all(each.left.all() for each in run.rounds):
        raise StoreError(f"{run.path}: has no finished chunk to verify")
    missing = sum(int(each.left.sum()) for each in run.rounds)
    if finished and missing:
        chunks = f"{missing} of {sum(len(each.plan) for each in run.rounds)} chunks"
        damaged.append(f"{run.path}: {chunks} are not there, though the run is finished")
    return from_disk, damaged


def _unmet(run: RunDirectory) -> list[int]:
    """Return the points that get a further look; none while the last is not complete or cannot be read."""
    study, last = run.study, run.rounds[-1]
    if study.precision is None or last.left.any() or len(run.rounds) == len(study.precision.totals):
        return []
    names, found = summary_columns(study.metrics), []
    with suppress(StoreError):
        for point, part in joined(run.rounds, set(last.points)):
            known = controls_known(study.scenario_at(point))
            row = summaries_of([part], study.metrics, [known])[0].columns
            if not study.precision.met(dict(zip(names, row.tolist(), strict=True))):
                found.append(point)
        return found
    return []


def _changed_points(run: RunDirectory) -> list[str]:
    """Hold the points as they are written down against the study's."""
    import pandas as pd

    path = run.path / POINTS
    try:
        found = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        return [f"{path}: cannot be read: {str(error).splitlines()[0]}"]
    wanted: dict[str, Sequence[Any]] = {"point": range(run.study.count), **run.study.columns()}
    if list(found.columns) != list(wanted) or len(found) != run.study.count:
        return [f"{path}: is not this study's points"]
    for name, column in wanted.items():
        for point, (there, here) in enumerate(zip(found[name].tolist(), column, strict=True)):
            if there != here:
                return [f"{path}: {name} of point {point} is stored as {there!r} and is {here!r}"]
    return []


def _changed_sensitivity(run: RunDirectory, summary: pd.DataFrame) -> list[str]:
    """Hold the sensitivities as they are written down against those of the summary, which was checked."""
    import pandas as pd

    if not isinstance(run.study.layout, Indices):
        return []
    path = run.path / SENSITIVITY
    try:
        wanted = sensitivity(run.study, summary, run.study.objective)
    except InputError:  # the objective is not known at every point
        return [f"{path}: is there, though the objective has none"] if path.exists() else []
    try:
        found = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        return [f"{path}: cannot be read: {str(error).splitlines()[0]}"]
    if not (found.index.equals(wanted.index) and list(found.columns) == list(wanted.columns)):
        return [f"{path}: is not this study's sensitivities"]
    stored, computed = found.to_numpy(dtype=float), wanted.to_numpy()
    far = ~np.isclose(stored, computed, rtol=_NEAR, atol=_NEAR, equal_nan=True)
    return [
        f"{path}: {wanted.columns[place]} of {wanted.index[row]} is stored as {float(stored[row, place])!r} "
        f"and is {float(computed[row, place])!r}"
        for row, place in np.argwhere(far)
    ]


def _choose(run: RunDirectory, cells: int | None, seed: int) -> tuple[list[dict[int, list[int]]], int, int]:
    """Choose cells: for each round the points wanted of each chunk; and how many cells there are."""
    ends: list[int] = []
    total = 0
    for each in run.rounds:
        for index in np.flatnonzero(~each.left).tolist():
            total += each.plan[index].points
            ends.append(total)
    wanted = (
        range(total) if cells is None or cells >= total else random.Random(seed).sample(range(total), cells)
    )
    places = [
        (number, chunk)
        for number, each in enumerate(run.rounds)
        for chunk in np.flatnonzero(~each.left).tolist()
    ]
    chosen: list[dict[int, list[int]]] = [{} for _ in run.rounds]
    for cell in sorted(wanted):
        place = bisect_right(ends, cell)
        number, index = places[place]
        chunk = run.rounds[number].plan[index]
        chosen[number].setdefault(index, []).append(chunk.range.stop - (ends[place] - cell))
    return chosen, total, seed


def _tasks(
    run: RunDirectory,
    chosen: Sequence[dict[int, list[int]]],
    summary: pd.DataFrame | None,
    damaged: list[str],
) -> Iterator[Any]:
    """Yield the work of checking each chosen chunk, with what is stored of it."""
    from joblib import delayed

    for each, chunks in zip(run.rounds, chosen, strict=True):
        by_file = groupby(sorted(chunks), key=each.records.covering)
        for file, indices in by_file:
            places = list(indices)
            try:
                stored = _stored(each, file, {index: chunks[index] for index in places})
            except (OSError, StoreError) as error:
                damaged.append(f"{file.path}: {error}")
                continue
            for index in places:
                rows = None
                if each.rows is not None:
                    try:
                        begin, end = (int(each.plan.row_ends[index + more]) for more in (0, 1))
                        rows = each.rows.rows(begin, end, run.study.metrics)
                    except StoreError as error:
                        damaged.append(str(error).removesuffix("; run the sweep again to mend it"))
                        continue
                yield delayed(_check)(run, each, each.plan[index], chunks[index], stored, rows, summary)


def _stored(each: Round, file: File, chunks: dict[int, list[int]]) -> dict[tuple[int, int], Record]:
    """Read the records of some chunks in a file, by point and first path."""
    points = range(
        min(min(found) for found in chunks.values()), max(max(found) for found in chunks.values()) + 1
    )
    try:
        records = each.records.of_file(file, points)
    except StoreError as error:
        raise StoreError(
            str(error).removeprefix(f"{file.path}: ").removesuffix("; run the sweep again to mend it")
        ) from None
    wanted = {(point, each.plan[index].first_path) for index, found in chunks.items() for point in found}
    keyed = {(record.point, record.part.first_path): record for record in records}
    return {key: keyed[key] for key in wanted & keyed.keys()}


def _check(
    run: RunDirectory,
    each: Round,
    chunk: Chunk,
    points: Sequence[int],
    stored: dict[tuple[int, int], Record],
    rows: npt.NDArray[np.float64] | None,
    summary: pd.DataFrame | None,
) -> tuple[int, list[Difference]]:
    """Compute some points of a chunk again, and compare."""
    study = run.study
    whole = each.paths if each.whole else 0
    found: list[Difference] = []
    for point in points:
        scenario = study.scenario_at(point)
        values = simulate(scenario, study.seed, chunk, Stop(), study.quoter, study.metrics)
        part = Part.of(values, study.metrics, chunk.first_path, exact=each.exact, all_rows=study.all_rows)
        one = Chunk(chunk.index, point, 1, chunk.first_path, chunk.paths, 0)
        (record,), _ = records_of(one, [part], [controls_known(scenario)], study.metrics, whole)

        def differ(stored: Arrays, computed: Arrays, at: int = point) -> list[Difference]:
            return [
                Difference(at, study.label(at), chunk.first_path, chunk.paths, *found)
                for found in _differences(stored, computed)
            ]

        kept = stored.get((point, chunk.first_path))
        found += differ({} if kept is None else _flat(kept, study.metrics), _flat(record, study.metrics))
        if rows is not None:
            begin = (point - chunk.point) * chunk.paths
            mine = rows[:, begin : begin + chunk.paths]
            found += differ(_by_path(mine, study.metrics, chunk), _by_path(values, study.metrics, chunk))
        if record.summary is not None and summary is not None:
            row = {"summary.parquet": summary.iloc[point].to_numpy()}
            found += differ(row, {"summary.parquet": record.summary})
    return len(points), found


def _joined_summaries(run: RunDirectory, summary: pd.DataFrame) -> list[Difference]:
    """Hold the summary's rows of points in several chunks or rounds against the cells, which were checked."""
    study = run.study
    found: list[Difference] = []
    for number, each in enumerate(run.rounds):
        later = set(run.rounds[number + 1].points) if number + 1 < len(run.rounds) else set()
        split = set(each.plan.split_points(each.paths if each.whole else float("inf"))) - later
        if not split:
            continue
        for point, part in joined(run.rounds[: number + 1], split, ("values",)):
            known = controls_known(study.scenario_at(point))
            row = summaries_of([part], study.metrics, [known])[0].columns
            found += [
                Difference(point, study.label(point), 0, part.paths, *one)
                for one in _differences(
                    {"summary.parquet": summary.iloc[point].to_numpy()}, {"summary.parquet": row}
                )
            ]
    return found


# ---- comparing


def _flat(record: Record, metrics: tuple[str, ...]) -> Arrays:
    """Put all numbers of a record in arrays by name."""
    rows = rows_of(metrics)
    found: Arrays = {}
    for place, node in enumerate(record.part.nodes):
        where = f"node {place} " if len(record.part.nodes) > 1 else ""
        scalars = [value for value in node if not isinstance(value, np.ndarray)]
        found[f"{where}place"] = np.array(scalars, dtype=np.float64)
        for name in ("counts", "totals", "squares"):
            found[f"{where}{name}"] = getattr(node, name)
        for row, batches in zip(rows.names, node.batches, strict=False):
            found[f"{where}batches of {row}"] = np.ascontiguousarray(batches)
    if record.summary is not None:
        found["summary"] = record.summary
    for name, distribution in record.distributions.items():
        found[f"distribution of {name}"] = distribution.pack()
    for name, tail in record.part.tails.items():
        parts = {"values": tail} if isinstance(tail, np.ndarray) else tail._asdict()
        found |= {f"{kind} of {name}": array for kind, array in parts.items() if array.size}
    return found


def _by_path(values: npt.NDArray[np.float64], metrics: tuple[str, ...], chunk: Chunk) -> Arrays:
    return {f"{name} of path {chunk.first_path} +": row for name, row in zip(metrics, values, strict=True)}


def _differences(stored: Arrays, computed: Arrays) -> Iterator[tuple[str, float, float]]:
    """Yield what differs: its name, the stored value and the computed one."""
    for name in dict.fromkeys((*computed, *stored)):
        there, here = stored.get(name, np.zeros(0)), computed.get(name, np.zeros(0))
        if there.shape != here.shape:
            yield f"how many numbers there are in {name}", float(there.size), float(here.size)
            continue
        # A NaN is a NaN: Parquet keeps neither its sign nor its other bits.
        differ = (there.view(np.int64) != here.view(np.int64)) & ~((there != there) & (here != here))
        for place in np.flatnonzero(differ).tolist():
            yield _named(name, place, len(there)), float(there.flat[place]), float(here.flat[place])


def _named(name: str, place: int, size: int) -> str:
    if name in ("summary", "summary.parquet"):
        columns = summary_columns()
        what = columns[place] if size == len(columns) else f"column {place}"
        return f"{what} in {'the chunk' if name == 'summary' else name}"
    if name.endswith(" +"):
        metric, _, first = name.removesuffix(" +").rpartition(" of path ")
        return f"{metric} of path {int(first) + place}"
    return f"number {place} of {name}"
