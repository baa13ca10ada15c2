"""Records: what goes into their files comes out, of files of either layout, whole or in part."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mcmm.metrics import NAMES
from mcmm.moments import BATCHES
from mcmm.records import Record, decode_records, encode_records, join_files
from mcmm.summaries import Part, rows_of

ROWS = rows_of(NAMES)


def records(first: int, *, exact: bool, all_rows: bool = True) -> list[Record]:
    """Three points, one of them in two ranges of paths."""
    random = np.random.default_rng(first)
    found = []
    for point, first_path, paths in (
        (first, 0, 300),
        (first + 1, 0, 512),
        (first + 1, 512, 700),
        (first + 2, 0, 9),
    ):
        values = random.normal(size=(len(NAMES), paths))
        part = Part.of(values, NAMES, first_path, exact=exact, all_rows=all_rows)
        found.append(Record(point, part))
    return found


def older(data: bytes) -> bytes:
    """The same records as files had them at first: a column for each row's batches and part of a sketch."""
    table = pq.read_table(io.BytesIO(data))
    columns = {}
    for name in table.column_names:
        column = table.column(name)
        lists = column.to_pylist()
        if name == "batches.others":
            for place, row in enumerate(ROWS.names[ROWS.first :]):
                kept = [each[place * BATCHES : (place + 1) * BATCHES] for each in lists]
                columns[f"batches.{row}"] = pa.array(kept, pa.list_(pa.float64()))
        elif name.startswith("sketch."):
            for place, part in enumerate(("keys", "counts", "beyond")):
                kept = [each[place * len(each) // 3 : (place + 1) * len(each) // 3] for each in lists]
                columns[f"{part}.{name.partition('.')[2]}"] = pa.array(kept, pa.list_(pa.int64()))
        else:
            columns[name] = column
    sink = io.BytesIO()
    pq.write_table(pa.table(columns).replace_schema_metadata(table.schema.metadata), sink)
    return sink.getvalue()


def told(found: Sequence[Record]) -> list[object]:
    """All that records say, comparable."""
    return [
        (
            each.point,
            each.part.first_path,
            each.part.paths,
            [(*node[:2], *(array.tobytes() for array in node[2:])) for node in each.part.nodes],
            {
                name: tail.tobytes() if isinstance(tail, np.ndarray) else [part.tobytes() for part in tail]
                for name, tail in each.part.tails.items()
            },
        )
        for each in found
    ]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("all_rows", [True, False])
def test_records_come_back_from_files_of_either_layout(exact: bool, all_rows: bool) -> None:
    first, second = (records(point, exact=exact, all_rows=all_rows) for point in (0, 3))
    data = [encode_records(each, NAMES, "mark") for each in (first, second)]
    assert told(list(decode_records(io.BytesIO(data[0]), "mark", NAMES))) == told(first)
    assert told(list(decode_records(io.BytesIO(older(data[0])), "mark", NAMES))) == told(first)
    for files in ((data[0], data[1]), (older(data[0]), data[1]), (data[0], older(data[1]))):
        joined = join_files(files, "both")
        assert told(list(decode_records(io.BytesIO(joined), "both", NAMES))) == told([*first, *second])


@pytest.mark.parametrize("is_old", [True, False])
def test_what_is_asked_for_is_read_alone(is_old: bool) -> None:
    made = records(0, exact=False)
    data = encode_records(made, NAMES, "mark")
    data = older(data) if is_old else data
    money, other = ROWS.place("pnl_fair"), ROWS.place("fills")
    asked = [f"batches.{ROWS.names[place]}" for place in (other, money)]
    for expected, found in zip(
        made, decode_records(io.BytesIO(data), "mark", NAMES, columns=asked), strict=True
    ):
        assert not found.part.tails
        for one, node in zip(expected.part.nodes, found.part.nodes, strict=True):
            # In the order of the rows, whatever that of the question.
            assert node.batches.tobytes() == one.batches[[money, other]].tobytes()
            assert node.squares.tobytes() == one.squares.tobytes()
    tails = decode_records(io.BytesIO(data), "mark", NAMES, range(1, 2), ["values.max_drawdown"])
    kept = [part for each in tails for part in [each.part]]
    assert [part.first_path for part in kept] == [0, 512]
    for part, expected in zip(kept, made[1:3], strict=True):
        assert part.tails.keys() == {"max_drawdown"}
        assert told([Record(1, part)])[0][4] == {
            "max_drawdown": [each.tobytes() for each in expected.part.tails["max_drawdown"]]
        }
        assert not any(node.batches.size for node in part.nodes)
