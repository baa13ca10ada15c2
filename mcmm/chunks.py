"""Chunks: how a study's work is cut up, and how one chunk's rows are put in Parquet.

The cut depends on the study alone, never on the machine or the number of workers, so a sweep can be stopped
on one machine and finished on another. A chunk holds whole points packed together, or a range of the paths of
a big one.

A chunk's file has the columns ``point``, ``path`` and the metrics as float64, bit for bit as the core gave
them. Of the encodings measured (28 metrics x 10,000 paths, one core), byte-stream-split with LZ4 takes 1.4 ms
and makes 1.2 MB. Plain pages take 0.9 ms and 2.2 MB; LZ4 with dictionaries for whole numbers 2.5 ms and
1.1 MB; zstd 2.9 ms and 1.0 MB; dictionaries throughout, pyarrow's default, over 6 ms. The core's own time for
these rows is 80 to 100 ms at 1,000 steps.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mcmm.errors import StoreError, StudyError
from mcmm.metrics import NAMES

if TYPE_CHECKING:
    from mcmm.study import Study

__all__ = ["SCHEMA_VERSION", "Chunk", "decode", "encode", "plan"]

SCHEMA_VERSION = 1

# A chunk is what is lost when a sweep is killed, and what progress advances by: 0.3 s of one core.
_LARGEST = 32_000_000
# In a small study fewer points make a chunk, to keep all cores busy to the end; below this, files cost more
# than they hold.
_SMALLEST = 2_000_000
_CHUNKS = 128
# 30 MB of metrics: what a worker holds of a chunk of short paths.
_ROWS = 131_072
# Ranges of paths start at multiples of the first, which the core's blocks and the summary's divide; of very
# long paths, at multiples of the second.
_PATHS, _LONG_PATHS = 4096, 256
_CHUNKS_AT_MOST = 1_000_000

FloatArray = npt.NDArray[np.float64]


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
        The work, paths times steps over its points, and times markets where there are several.
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


def plan(study: Study) -> list[Chunk]:
    """Cut a study into chunks.

    Parameters
    ----------
    study : Study
        The study; only its points, paths and steps matter.

    Returns
    -------
    list of Chunk
        In order of point and path. Every path of every point is in one of them.

    Raises
    ------
    StudyError
        If there would be more than a million.
    """
    target = min(max(study.path_steps() // _CHUNKS, _SMALLEST), _LARGEST)
    if study.path_steps() // target > _CHUNKS_AT_MOST:
        raise StudyError(
            f"paths: {study.count:,} points x {study.paths:,} paths take {study.path_steps():.2g} "
            f"path-steps, more than one study may ({_CHUNKS_AT_MOST * target:.2g})"
        )
    # A table's width: with several markets each has its columns.
    most_rows = max(_ROWS * len(NAMES) // len(study.scenario.columns), 1)
    chunks: list[Chunk] = []
    first, path_steps = 0, 0
    for point in range(study.count):
        cost = study.paths * study.steps_at(point) * study.scenario.market_count
        packed = point - first
        if packed and (path_steps + cost > target or (packed + 1) * study.paths > most_rows):
            chunks.append(Chunk(len(chunks), first, packed, 0, study.paths, path_steps))
            first, path_steps = point, 0
        if cost > _LARGEST or study.paths > most_rows:
            chunks.extend(_split(len(chunks), point, study.paths, cost, most_rows))
            first = point + 1
        else:
            path_steps += cost
    if first < study.count:
        chunks.append(Chunk(len(chunks), first, study.count - first, 0, study.paths, path_steps))
    return chunks


def _split(index: int, point: int, paths: int, cost: int, most_rows: int) -> Iterator[Chunk]:
    """Cut the paths of one big point into ranges."""
    steps = cost // paths
    unit = _PATHS if _PATHS * steps <= _LARGEST and most_rows >= _PATHS else _LONG_PATHS
    size = max(min(_LARGEST // steps, most_rows) // unit, 1) * unit
    for place, first in enumerate(range(0, paths, size)):
        taken = min(size, paths - first)
        yield Chunk(index + place, point, 1, first, taken, steps * taken)


def encode(chunk: Chunk, values: FloatArray, digest: str, names: Sequence[str] = NAMES) -> bytes:
    """Put a chunk's rows in Parquet.

    Parameters
    ----------
    chunk : Chunk
        The chunk.
    values : ndarray of shape (metrics, rows)
        Its rows, point by point and in path order.
    digest : str
        The study's, kept in the file so that no other study can take it for its own.
    names : sequence of str
        What the rows of values are.

    Returns
    -------
    bytes
        The file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    points = np.repeat(np.arange(chunk.point, chunk.point + chunk.points), chunk.paths)
    paths = np.tile(np.arange(chunk.first_path, chunk.first_path + chunk.paths), chunk.points)
    fields = [pa.field(name, pa.int64(), nullable=False) for name in ("point", "path")]
    fields += [pa.field(name, pa.float64(), nullable=False) for name in names]
    mark = json.dumps({"schema": SCHEMA_VERSION, "study": digest, "chunk": chunk.index}, sort_keys=True)
    schema = pa.schema(fields, metadata={"mcmm": mark})
    table = pa.Table.from_arrays([pa.array(column) for column in (points, paths, *values)], schema=schema)
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=max(table.num_rows, 1),
        compression="lz4",
        use_dictionary=False,
        use_byte_stream_split=list(names),
        column_encoding={"point": "DELTA_BINARY_PACKED", "path": "DELTA_BINARY_PACKED"},
        write_statistics=False,
    )
    return bytes(memoryview(sink.getvalue()))


def decode(source: Any, chunk: Chunk, digest: str, names: Sequence[str] = NAMES) -> FloatArray:
    """Read metrics of a chunk's file.

    Parameters
    ----------
    source : path or file-like
        What `encode` made.
    chunk : Chunk
        The chunk that it must be.
    digest : str
        The digest of the study that it must be of.
    names : sequence of str
        Which metrics.

    Returns
    -------
    ndarray of shape (len(names), rows)
        Bit for bit what went in.

    Raises
    ------
    StoreError
        If it is not that chunk of that study, or cannot be read. Not all damage shows in a file itself.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source) as file:
            mark = json.loads((file.schema_arrow.metadata or {}).get(b"mcmm", b"{}"))
            if mark != {"schema": SCHEMA_VERSION, "study": digest, "chunk": chunk.index}:
                raise StoreError("is not this study's chunk")
            if file.metadata.num_rows != chunk.rows:
                raise StoreError(f"has {file.metadata.num_rows} rows in place of {chunk.rows}")
            table = file.read(columns=list(names), use_threads=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StoreError(f"cannot be read: {str(error).splitlines()[0]}") from None
    values = np.empty((len(names), chunk.rows))
    for row, name in enumerate(names):
        values[row] = table.column(name).to_numpy()
    return values
