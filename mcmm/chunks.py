"""Chunks: how a study's work is cut up, and the rows of some chunks as Parquet.

The cut depends on the study alone, never on the machine, the number of workers or their speed, so a sweep can
be stopped on one machine and finished on another, and any part of it computed again and compared. A chunk
holds whole points packed together, or a range of the paths of a big one. It is small: how many of them make
the task that a worker gets is for `mcmm.packing` to say, from a measured rate.

A file holds consecutive chunks, as columns ``point``, ``path`` and the metrics as float64, bit for bit as the
core gave them. Of the encodings measured (28 metrics x 10,000 paths, one core), byte-stream-split with LZ4
takes 1.4 ms and makes 1.2 MB. Plain pages take 0.9 ms and 2.2 MB; LZ4 with dictionaries for whole numbers
2.5 ms and 1.1 MB; zstd 2.9 ms and 1.0 MB; dictionaries throughout, pyarrow's default, over 6 ms. The core's
own time for these rows is 80 to 100 ms at 1,000 steps.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from mcmm.errors import StoreError, StudyError
from mcmm.metrics import NAMES
from mcmm.venue import work

if TYPE_CHECKING:
    from mcmm.study import Study

__all__ = ["SCHEMA_VERSION", "Chunk", "Plan", "decode", "encode", "plan", "segments"]

SCHEMA_VERSION = 4

# The most path-steps in a chunk of whole points, 0.1 s of one core or less: what tasks are packed of, and
# what the last ones to run differ by. In a small study less, to keep all cores busy to the end; in a huge one
# more, so that the plan of it fits in memory.
_LARGEST = 16_000_000
_SMALLEST = 500_000
_CHUNKS, _CHUNKS_WANTED = 128, 250_000
# A point that is cut is cut into as few ranges as keep all cores busy, up to half a second of work each: what
# is kept of a range of paths hardly shrinks with it, and of a whole point far less need be kept.
_LARGEST_RANGE = 64_000_000
# 30 MB of metrics: what a worker holds of a chunk of short paths; and 6 MB of what is kept of its points.
_ROWS, _POINTS = 131_072, 256
# Ranges of paths start at multiples of the first, which the core's blocks and the summary's divide; of very
# long paths, at multiples of the second.
_PATHS, _LONG_PATHS = 4096, 256
_CHUNKS_AT_MOST = 2_000_000
# The most rows in a compacted file, some 120 MB, and in one of its row groups: what reading a path must read.
_SEGMENT_ROWS = 1_048_576
# The most points in one: 50 MB of what is kept of them, while they are put together.
_SEGMENT_POINTS = 2048
_GROUP_ROWS = 65_536

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a study: some whole points, or some paths of one point.

    Attributes
    ----------
    index : int
        Its place in the plan.
    point, points : int
        The first point, and how many.
    first_path, paths : int
        The paths of each of these points.
    path_steps : int
        The work, paths times steps over its points.
    """

    index: int
    point: int
    points: int
    first_path: int
    paths: int
    path_steps: int

    @property
    def rows(self) -> int:
        """Rows of the chunk's table."""
        return self.points * self.paths

    @property
    def range(self) -> range:
        """The chunk's points."""
        return range(self.point, self.point + self.points)


class Plan(Sequence[Chunk]):
    """The chunks of a study, in order of point and path; a few numbers each, for there may be millions.

    Parameters
    ----------
    table : array of int
        Point, points, first path, paths and path-steps of each chunk, one after the other.

    Attributes
    ----------
    row_ends : ndarray of shape (chunks + 1,)
        Rows before each chunk, and in all.
    path_step_ends : ndarray of shape (chunks + 1,)
        Path-steps before each chunk, and in all.
    point_ends : ndarray of shape (chunks + 1,)
        Points before each chunk, a point of several chunks counted in each.
    """

    def __init__(self, table: array[int]) -> None:
        self._table: IntArray = np.array(table, dtype=np.int64).reshape(-1, 5)
        self.row_ends: IntArray = np.concatenate([[0], np.cumsum(self._table[:, 1] * self._table[:, 3])])
        self.path_step_ends: IntArray = np.concatenate([[0], np.cumsum(self._table[:, 4])])
        self.point_ends: IntArray = np.concatenate([[0], np.cumsum(self._table[:, 1])])

    def __len__(self) -> int:
        """Return how many chunks there are."""
        return len(self._table)

    @overload
    def __getitem__(self, index: int) -> Chunk: ...
    @overload
    def __getitem__(self, index: slice) -> list[Chunk]: ...
    def __getitem__(self, index: int | slice) -> Chunk | list[Chunk]:
        """Return a chunk, or those of a slice."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        return Chunk(index, *(int(value) for value in self._table[index]))

    def rows(self, first: int, stop: int) -> int:
        """Return how many rows the chunks from ``first`` to before ``stop`` have."""
        return int(self.row_ends[stop] - self.row_ends[first])

    def path_steps(self, first: int, stop: int) -> int:
        """Return the work in the chunks from ``first`` to before ``stop``."""
        return int(self.path_step_ends[stop] - self.path_step_ends[first])

    def of_point(self, point: int) -> range:
        """Return the places of the chunks that hold a point's paths."""
        starts = self._table[:, 0]
        stop = int(np.searchsorted(starts, point, side="right"))
        return range(int(np.searchsorted(starts, starts[stop - 1])), stop)

    def split_points(self, paths: float) -> list[int]:
        """Return the points of which no chunk holds all of ``paths``."""
        split = self._table[self._table[:, 3] < paths, :2]
        return [
            point
            for first, points in np.unique(split, axis=0).tolist()
            for point in range(first, first + points)
        ]

    def first_of_points(self) -> IntArray:
        """Return the places of the chunks that begin with a point's first path."""
        return np.flatnonzero(self._table[:, 2] == self._table[:1, 2])

    def place(self, point: int, first_path: int) -> int:
        """Return the place of the chunk that holds a point's paths from ``first_path`` on."""
        places = self.of_point(point)
        starts = self._table[places.start : places.stop, 2]
        return places.start + int(np.searchsorted(starts, first_path, side="right")) - 1


def plan(
    study: Study, points: Sequence[int] | None = None, first_path: int = 0, paths: int | None = None
) -> Plan:
    """Cut a study, or a round of it, into chunks.

    Parameters
    ----------
    study : Study
        The study; only its points, paths and steps matter.
    points : sequence of int, optional
        Points that the round is about, ascending; all if left out.
    first_path, paths : int, optional
        The round's paths of each; all of the study's if left out.

    Returns
    -------
    Plan
        Every path of every point is in one of its chunks.

    Raises
    ------
    StudyError
        If there would be more than two millions.
    """
    chosen = range(study.count) if points is None else points
    # A table's width: with several markets each has its columns.
    most_rows, most_points = (max(most * len(NAMES) // len(study.metrics), 1) for most in (_ROWS, _POINTS))
    paths = study.paths if paths is None else paths
    costs = [paths * steps for steps in study.all_steps(chosen)]
    path_steps = sum(costs)
    share, heavy = path_steps // _CHUNKS, work(study.metrics)
    largest = max(_LARGEST // heavy, min(share, _LARGEST_RANGE // heavy), path_steps // _CHUNKS_WANTED)
    target = max(min(max(share, _SMALLEST // heavy), _LARGEST // heavy), path_steps // _CHUNKS_WANTED)
    if max(path_steps // largest, len(chosen) * paths // most_rows) > _CHUNKS_AT_MOST:
        raise StudyError(
            f"paths: {len(chosen):,} points x {paths:,} paths are more than one study may have "
            f"({_CHUNKS_AT_MOST * most_rows:.2g} in all)"
        )
    table = array("q")
    first, packed, packed_steps = 0, 0, 0
    for point, cost in zip(chosen, costs, strict=True):
        # Points of a chunk follow one another.
        apart = point != first + packed
        full = packed == most_points or (packed + 1) * paths > most_rows
        if packed and (apart or full or packed_steps + cost > target):
            table.extend((first, packed, first_path, paths, packed_steps))
            packed, packed_steps = 0, 0
        if cost > largest or paths > most_rows:
            for row in _split(point, first_path, paths, cost, largest, most_rows):
                table.extend(row)
            continue
        first = first if packed else point
        packed, packed_steps = packed + 1, packed_steps + cost
    if packed:
        table.extend((first, packed, first_path, paths, packed_steps))
    return Plan(table)


def _split(
    point: int, first_path: int, paths: int, cost: int, largest: int, most_rows: int
) -> Iterator[tuple[int, int, int, int, int]]:
    """Cut the paths of one big point into ranges."""
    steps = cost // paths
    unit = _PATHS if _PATHS * steps <= largest and most_rows >= _PATHS else _LONG_PATHS
    size = max(min(largest // steps, most_rows) // unit, 1) * unit
    for first in range(0, paths, size):
        taken = min(size, paths - first)
        yield point, 1, first_path + first, taken, steps * taken


def segments(plan: Plan) -> Iterator[tuple[int, int]]:
    """Yield the ranges of chunks that are put in one file once all of them are there.

    A file of its own for every task would leave thousands; these are as few as can still be read and mended
    piece by piece. They begin with a point, unless a point is too big for one.

    Yields
    ------
    tuple of int
        The first chunk and the one after the last. The ranges cover the plan, in order.
    """
    starts = plan.first_of_points()
    first = 0
    while first < len(plan):
        stop = min(
            int(np.searchsorted(ends, ends[first] + most, side="right")) - 1
            for ends, most in ((plan.row_ends, _SEGMENT_ROWS), (plan.point_ends, _SEGMENT_POINTS))
        )
        stop = max(stop, first + 1)
        if stop < len(plan):
            whole = int(starts[np.searchsorted(starts, stop, side="right") - 1])
            stop = whole if whole > first else stop
        yield first, stop
        first = stop


def encode(chunks: Sequence[Chunk], values: FloatArray, digest: str, names: Sequence[str] = NAMES) -> bytes:
    """Put the rows of consecutive chunks in Parquet.

    Parameters
    ----------
    chunks : sequence of Chunk
        The chunks.
    values : ndarray of shape (metrics, rows)
        Their rows, chunk by chunk, point by point and in path order.
    digest : str
        The study's, kept in the file so that no other study can take it for its own.
    names : sequence of str
        The metrics.

    Returns
    -------
    bytes
        The file. The same rows give the same bytes, whoever computed them.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    points = [np.repeat(np.arange(chunk.point, chunk.point + chunk.points), chunk.paths) for chunk in chunks]
    ranges = [np.arange(chunk.first_path, chunk.first_path + chunk.paths) for chunk in chunks]
    paths = [np.tile(range_, chunk.points) for chunk, range_ in zip(chunks, ranges, strict=True)]
    fields = [pa.field(name, pa.int64(), nullable=False) for name in ("point", "path")]
    fields += [pa.field(name, pa.float64(), nullable=False) for name in names]
    schema = pa.schema(fields, metadata={"mcmm": _mark(chunks[0].index, chunks[-1].index + 1, digest)})
    columns = (np.concatenate(points), np.concatenate(paths), *values)
    table = pa.Table.from_arrays([pa.array(column) for column in columns], schema=schema)
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=_GROUP_ROWS,
        compression="lz4",
        use_dictionary=False,
        use_byte_stream_split=list(names),
        column_encoding={"point": "DELTA_BINARY_PACKED", "path": "DELTA_BINARY_PACKED"},
        write_statistics=False,
    )
    return bytes(memoryview(sink.getvalue()))


def _mark(first: int, stop: int, digest: str) -> str:
    return json.dumps({"schema": SCHEMA_VERSION, "study": digest, "chunks": [first, stop]}, sort_keys=True)


def decode(
    source: Any,
    chunks: tuple[int, int],
    rows: int,
    digest: str,
    names: Sequence[str] = NAMES,
    part: tuple[int, int] | None = None,
) -> FloatArray:
    """Read metrics from the file of some chunks.

    Parameters
    ----------
    source : path or file-like
        What `encode` made.
    chunks : tuple of int
        The first chunk that it must have, and the one after the last.
    rows : int
        How many rows these have.
    digest : str
        The digest of the study that it must be of.
    names : sequence of str
        Which metrics.
    part : tuple of int, optional
        The first row to read and the one after the last; all of them if left out.

    Returns
    -------
    ndarray of shape (len(names), rows)
        Bit for bit what went in.

    Raises
    ------
    StoreError
        If it does not hold those chunks of that study, or cannot be read. Not all damage shows in a file
        itself.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    begin, end = (0, rows) if part is None else part
    try:
        with pq.ParquetFile(source) as file:
            mark = (file.schema_arrow.metadata or {}).get(b"mcmm", b"")
            if mark != _mark(*chunks, digest).encode():
                raise StoreError("is not this study's chunk")
            if file.metadata.num_rows != rows:
                raise StoreError(f"has {file.metadata.num_rows} rows in place of {rows}")
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            ends = np.cumsum(sizes)
            low, high = (int(np.searchsorted(ends, row, side="right")) for row in (begin, end - 1))
            groups = list(range(low, high + 1))
            table = file.read_row_groups(groups, columns=list(names), use_threads=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StoreError(f"cannot be read: {str(error).splitlines()[0]}") from None
    begin -= int(ends[low]) - sizes[low]
    end -= int(ends[low]) - sizes[low]
    values = np.empty((len(names), end - begin))
    for row, name in enumerate(names):
        values[row] = table.column(name).slice(begin, end - begin).to_numpy()
    return values
