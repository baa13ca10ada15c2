"""Records: what a sweep keeps of its points, and some chunks' worth of them as Parquet.

A record is what is known of a range of a point's paths (`mcmm.summaries.Part`); of a point whose paths are
all in one chunk it has the finished summary in place of what that is made from. A file has a row for each
node of the sums' tree: mostly one a point.

====================================  ====================================================================
column                                holds
====================================  ====================================================================
point, first_path, paths              whose paths, and which
level, number                         the node, see `mcmm.moments.Node`
counts, totals, squares               its sums of each row of `mcmm.summaries.Rows`; squares has the pairs too
batches.ROW                           its sums by batch, of each of the money's rows
batches.others                        those of the other rows, one after the other, where they are kept
summary                               the point's row in the summary, for a whole point
distribution.METRIC                   `mcmm.distributions.Distribution.pack`, for a whole point
values.METRIC                         values in path order, else
sketch.METRIC                         the sketch: its keys, then counts, then what lies beyond
====================================  ====================================================================

All but the first five are lists, empty where they do not apply; a column of nothing but empty ones is left
out, which a file of whole points then is for most. What is said once of a range of paths stands in its first
row. A column costs some 50 microseconds to write, however short: what is never read apart shares one. In
files made before it did, each row's batches have a column, and keys, counts and beyond of each sketch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mcmm.chunks import SCHEMA_VERSION
from mcmm.distributions import DISTRIBUTION_METRICS, Distribution
from mcmm.errors import StoreError
from mcmm.moments import BATCHES, Node
from mcmm.sketch import Sketch
from mcmm.summaries import Part, Rows, rows_of
from mcmm.tails import Tail

if TYPE_CHECKING:
    from mcmm.whole import WholePoints

__all__ = ["Record", "decode_records", "encode_records", "encode_whole", "join_files", "mark_of"]

FloatArray = npt.NDArray[np.float64]

_WHOLE = ("point", "first_path", "paths", "level", "number")
_SKETCH = ("keys", "counts", "beyond")
_OTHERS = "batches.others"
_SUMS = ("counts", "totals", "squares")
# Records in a row group, and their size: what reading one of them must read.
_GROUP, _GROUP_BYTES = 256, 16_000_000


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a range of a point's paths.

    Attributes
    ----------
    point : int
        The point.
    part : Part
        The sums and, unless the point is whole, the tails.
    summary : ndarray of shape (columns,), or None
        The point's row in the summary, if the range is all of its paths.
    distributions : dict of str to Distribution
        Those of a whole point.
    """

    point: int
    part: Part
    summary: FloatArray | None = None
    distributions: dict[str, Distribution] = field(default_factory=dict)


def encode_records(records: Sequence[Record], metrics: tuple[str, ...], mark: str) -> bytes:
    """Put records in Parquet.

    Parameters
    ----------
    records : sequence of Record
        In order of point and path.
    metrics : tuple of str
        The metrics of the study's paths.
    mark : str
        What says whose they are, see `mcmm.directory`; kept in the file.

    Returns
    -------
    bytes
        The file. The same records give the same bytes, whoever computed them.
    """
    import pyarrow as pa

    rows = rows_of(metrics)
    nodes = [node for record in records for node in record.part.nodes]
    once = [(record, place == 0) for record in records for place in range(len(record.part.nodes))]
    columns: dict[str, Any] = {
        "point": np.array([record.point for record, _ in once]),
        "first_path": np.array([record.part.first_path for record, _ in once]),
        "paths": np.array([record.part.paths for record, _ in once]),
        "level": np.array([node.level for node in nodes]),
        "number": np.array([node.number for node in nodes]),
    }
    for name in _SUMS:
        columns[name] = _table(np.stack([getattr(node, name) for node in nodes]))
    columns |= _batches(np.stack([node.batches for node in nodes]), rows)
    lists: dict[str, list[npt.NDArray[Any]]] = {
        "summary": [
            _NONE if record.summary is None or not first else record.summary for record, first in once
        ]
    }
    for name in DISTRIBUTION_METRICS:
        found = [record.distributions.get(name) if first else None for record, first in once]
        lists[f"distribution.{name}"] = [_NONE if each is None else each.pack() for each in found]
    for name in rows.tails if any(record.part.tails for record in records) else ():
        tails = [record.part.tails.get(name) if first else None for record, first in once]
        lists[f"values.{name}"] = [tail if isinstance(tail, np.ndarray) else _NONE for tail in tails]
        lists[f"sketch.{name}"] = [
            np.concatenate(tail) if isinstance(tail, Sketch) else _NO_INT for tail in tails
        ]
    columns |= {name: _lists(arrays) for name, arrays in lists.items() if any(map(len, arrays))}
    return _write(pa.table(columns).replace_schema_metadata({"mcmm": mark}))


def encode_whole(whole: WholePoints, mark: str) -> bytes:
    """Put whole points in Parquet: the bytes that `encode_records` makes of their records.

    Parameters
    ----------
    whole : WholePoints
        Closed.
    mark : str
        As for `encode_records`.
    """
    import pyarrow as pa

    rows = rows_of(whole.metrics)
    counts, totals, squares, batches = whole.form.split(whole.sums)
    size = len(whole.points)
    columns: dict[str, Any] = {
        "point": np.array(whole.points, dtype=np.int64),
        "first_path": np.zeros(size, dtype=np.int64),
        "paths": np.full(size, whole.paths),
        "level": np.full(size, whole.level),
        "number": np.zeros(size, dtype=np.int64),
    }
    columns |= {name: _table(sums) for name, sums in zip(_SUMS, (counts, totals, squares), strict=True)}
    columns |= _batches(batches, rows)
    columns["summary"] = _table(whole.columns)
    for name in DISTRIBUTION_METRICS:
        packed = [each.get(name, _NONE) for each in whole.distributions]
        if any(map(len, packed)):
            columns[f"distribution.{name}"] = _lists(packed)
    return _write(pa.table(columns).replace_schema_metadata({"mcmm": mark}))


def join_files(files: Sequence[bytes], mark: str) -> bytes:
    """Put the records of several files in one; the records stay as they are.

    Parameters
    ----------
    files : sequence of bytes
        As `encode_records` makes them, in order.
    mark : str
        The new file's.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [pq.read_table(pa.BufferReader(data), use_threads=False) for data in files]
    joined = pa.concat_tables(tables, promote_options="default")
    return _write(joined.combine_chunks().replace_schema_metadata({"mcmm": mark}))


def decode_records(
    source: Any,
    mark: str,
    metrics: tuple[str, ...],
    points: range | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[Record]:
    """Read records.

    Parameters
    ----------
    source : path or file-like
        What `encode_records` made.
    mark : str
        The mark that it must have.
    metrics : tuple of str
        The metrics of the study's paths.
    points : range, optional
        Points that are wanted; all if left out.
    columns : sequence of str, optional
        What is wanted apart from the sums: columns by their names or the part before the dot; all if left
        out. What is not read is as if it were not there.

    Yields
    ------
    Record
        In order.

    Raises
    ------
    StoreError
        If it has another mark or cannot be read. Not all damage shows in a file itself.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source) as file:
            if (file.schema_arrow.metadata or {}).get(b"mcmm", b"") != mark.encode():
                raise StoreError("is not this study's chunk")
            known = file.schema_arrow.names
            names = (
                known
                if columns is None
                else [*_WHOLE, *_SUMS, *(name for name in known if _read(name, columns, rows_of(metrics)))]
            )
            wanted = [
                group
                for group in range(file.num_row_groups)
                if points is None or _has(file.metadata.row_group(group), points)
            ]
            tables = (file.read_row_group(group, columns=names, use_threads=False) for group in wanted)
            yield from _whole_ranges(
                each for table in tables for each in _records(table, metrics, points, columns)
            )
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise StoreError(f"cannot be read: {str(error).splitlines()[0]}") from None


def mark_of(study: str, first: int, stop: int) -> str:
    """Return the mark of a file: the study's digest, the first chunk and the one after the last."""
    return json.dumps({"schema": SCHEMA_VERSION, "study": study, "chunks": [first, stop]}, sort_keys=True)


_NONE: FloatArray = np.zeros(0)
_NO_INT: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)


def _batches(batches: FloatArray, rows: Rows) -> dict[str, Any]:
    """Make the columns of sums by batch, shape (nodes, rows, BATCHES)."""
    own = {f"batches.{name}": batches[:, place] for place, name in enumerate(rows.names[: rows.first])}
    if batches.shape[1] > rows.first:
        own[_OTHERS] = batches[:, rows.first :].reshape(len(batches), -1)
    return {name: _table(array) for name, array in own.items()}


def _table(rows: FloatArray) -> Any:
    """Make a column of lists of one length, shape (lists, length)."""
    import pyarrow as pa

    offsets = np.arange(len(rows) + 1, dtype=np.int32) * np.int32(rows.shape[1])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.ravel()))


def _lists(arrays: Sequence[npt.NDArray[Any]]) -> Any:
    """Make a column of lists."""
    import pyarrow as pa

    offsets = np.zeros(len(arrays) + 1, dtype=np.int32)
    np.cumsum([array.size for array in arrays], out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(arrays)))


def _write(table: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    floats = [
        f"{name}.list.element"
        for name, kind in zip(table.schema.names, table.schema.types, strict=True)
        if kind == pa.list_(pa.float64())
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=max(1, min(_GROUP, _GROUP_BYTES * table.num_rows // max(table.nbytes, 1))),
        compression="lz4",
        use_dictionary=False,
        use_byte_stream_split=floats,
        write_statistics=["point"],
    )
    return bytes(memoryview(sink.getvalue()))


def _asked(name: str, columns: Sequence[str] | None) -> bool:
    return columns is None or name in columns or name.partition(".")[0] in columns


def _read(name: str, columns: Sequence[str], rows: Rows) -> bool:
    """Tell whether a column of a file has some of what is asked for."""
    if name in (*_WHOLE, *_SUMS):
        return False
    if name == _OTHERS:
        return any(_asked(f"batches.{row}", columns) for row in rows.names[rows.first :])
    kind, _, metric = name.partition(".")
    return _asked(f"values.{metric}" if kind in ("sketch", *_SKETCH) else name, columns)


def _has(group: Any, points: range) -> bool:
    """Tell whether a row group may have one of the points."""
    found = group.column(0).statistics
    return found is None or (found.min < points.stop and found.max >= points.start)


def _records(
    table: Any, metrics: tuple[str, ...], points: range | None, columns: Sequence[str] | None
) -> Iterator[Record]:
    rows = rows_of(metrics)
    column = {name: _column(table.column(name)) for name in table.column_names}

    def listed(name: str, row: int, nothing: npt.NDArray[Any] = _NONE) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = column[name][row] if name in column else nothing
        return found

    batched = [name for name in rows.names if _asked(f"batches.{name}", columns)]
    points_of = column["point"]
    keys = [(int(points_of[row]), int(column["first_path"][row])) for row in range(table.num_rows)]
    for (point, first_path), group in groupby(range(table.num_rows), key=keys.__getitem__):
        places = list(group)
        if points is not None and point not in points:
            continue
        nodes = tuple(_node(column, row, batched, rows) for row in places)
        head = places[0]
        tails: dict[str, Tail] = {}
        for name in rows.tails:
            if _asked(f"values.{name}", columns):
                values = listed(f"values.{name}", head)
                packed_sketch = listed(f"sketch.{name}", head, _NO_INT)
                apart = (listed(f"{part}.{name}", head, _NO_INT) for part in _SKETCH)
                sketch = Sketch(*(packed_sketch.reshape(3, -1) if packed_sketch.size else apart))
                tails[name] = sketch if len(sketch.keys) or not len(values) else values
        summary = listed("summary", head)
        packed = {name: listed(f"distribution.{name}", head) for name in DISTRIBUTION_METRICS}
        yield Record(
            point,
            Part(first_path, int(column["paths"][head]), nodes, {} if len(summary) else tails),
            summary if len(summary) else None,
            {name: Distribution.unpack(array) for name, array in packed.items() if len(array)},
        )


def _whole_ranges(records: Iterator[Record]) -> Iterator[Record]:
    """Yield the records, put together where a row group ended within one."""
    pending: Record | None = None
    for record in records:
        if pending is None:
            pending = record
        elif (pending.point, pending.part.first_path) == (record.point, record.part.first_path):
            nodes = (*pending.part.nodes, *record.part.nodes)
            pending = replace(pending, part=replace(pending.part, nodes=nodes))
        else:
            yield pending
            pending = record
    if pending is not None:
        yield pending


def _node(column: dict[str, Any], row: int, batched: Sequence[str], rows: Rows) -> Node:
    counts, totals, squares = (column[name][row] for name in _SUMS)
    kept = column[_OTHERS][row].reshape(-1, BATCHES) if _OTHERS in column else ()
    others = dict(zip(rows.names[rows.first :], kept, strict=False))

    def summed(name: str) -> FloatArray:
        # Where files of both kinds were joined, a row has its batches in the one place or in the other.
        own: FloatArray = column[f"batches.{name}"][row] if f"batches.{name}" in column else _NONE
        return own if len(own) else others.get(name, _NONE)

    found = [each for each in map(summed, batched) if len(each)]
    batches = np.stack(found) if found else np.zeros((0, BATCHES))
    return Node(int(column["level"][row]), int(column["number"][row]), counts, totals, squares, batches)


def _column(chunked: Any) -> Any:
    """Return a column's numbers, or an array for each of its lists."""
    array = chunked.combine_chunks()
    if not hasattr(array, "offsets"):
        return array.to_numpy(zero_copy_only=False)
    offsets = array.offsets.to_numpy()
    values = array.values.to_numpy(zero_copy_only=False)
    return [values[begin:end] for begin, end in pairwise(offsets)]
