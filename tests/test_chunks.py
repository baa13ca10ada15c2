"""Chunks: every path is in one of them, and their rows come back as they were written."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_study import small_study

from mcmm import chunks
from mcmm.chunks import Chunk, decode, encode, plan
from mcmm.errors import StoreError, StudyError
from mcmm.metrics import METRICS, NAMES


@settings(max_examples=60)
@given(
    points=st.integers(1, 40),
    paths=st.integers(1, 300_000),
    steps=st.lists(st.integers(1, 20_000), min_size=1, max_size=3, unique=True),
)
def test_every_path_is_in_one_chunk(points: int, paths: int, steps: list[int]) -> None:
    rates = {"low": 0.1, "high": 0.2, "count": points + 1}
    study = small_study(paths=paths, points={"axes": {"flow.arrival_rate": rates, "steps": steps}})
    seen = dict.fromkeys(range(study.count), 0)
    cut = plan(study)
    for place, chunk in enumerate(cut):
        assert chunk.index == place
        assert chunk.path_steps == sum(study.steps_at(point) * chunk.paths for point in chunk.range)
        assert chunk.points == 1 or chunk.paths == paths
        assert chunk.rows <= chunks._ROWS
        assert chunk.points <= chunks._POINTS
        assert chunk.first_path % 256 == 0
        for point in chunk.range:
            assert chunk.first_path == seen[point]
            seen[point] += chunk.paths
    assert set(seen.values()) == {paths}
    assert sum(chunk.path_steps for chunk in cut) == study.path_steps()


@pytest.mark.parametrize(
    ("points", "paths", "steps", "count", "largest"),
    [
        (100, 4000, 1000, 100, 4_000_000),  # a point is a chunk
        (10_000, 1000, 500, 313, 16_000_000),  # small points are packed
        (10, 1_000_000, 500, 130, 39_062_500),  # big points are split
        (10, 4_000_000, 500, 320, 64_000_000),  # up to half a second of work
        (10, 100_000, 1, 10, 100_000),  # rows bound chunks of short paths
        (2, 5000, 20_000, 14, 16_000_000),  # long paths are split too
        (6, 300, 50, 1, 90_000),
        (10_000, 2, 5, 40, 2560),  # points bound chunks of few paths
    ],
)
def test_chunks_are_of_the_stated_size(points: int, paths: int, steps: int, count: int, largest: int) -> None:
    rates = {"low": 0.1, "high": 0.2, "count": points}
    study = small_study(scenario={"steps": steps}, paths=paths, points={"axes": {"flow.arrival_rate": rates}})
    cut = plan(study)
    assert max(chunk.path_steps for chunk in cut) <= largest
    assert len(cut) == pytest.approx(count, rel=0.1)


def test_a_study_beyond_all_bounds_is_refused() -> None:
    rates = {"low": 0.1, "high": 0.2, "count": 10_000}
    with pytest.raises(StudyError, match="paths: 10,000 points x 100,000,000 paths are more than one"):
        plan(
            small_study(scenario={"steps": 1000}, paths=10**8, points={"axes": {"flow.arrival_rate": rates}})
        )


def odd_rows(rows: int) -> np.ndarray:
    random = np.random.default_rng(1)
    values = random.standard_normal((len(NAMES), rows))
    values[:, 0], values[:, 1], values[3] = -0.0, np.inf, np.nan
    for row, name in enumerate(NAMES):
        if METRICS[name].whole:
            values[row, 2:] = random.integers(-5, 300, rows - 2)
    return values


CHUNKS = [Chunk(4, 10, 3, 0, 50, 0), Chunk(5, 13, 1, 0, 25, 0), Chunk(6, 13, 1, 25, 25, 0)]


def test_chunks_are_read_as_they_were_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_GROUP_ROWS", 60)
    values = odd_rows(200)
    data = encode(CHUNKS, values, "study")
    assert decode(io.BytesIO(data), (4, 7), 200, "study").tobytes() == values.tobytes()
    one = decode(io.BytesIO(data), (4, 7), 200, "study", ("pnl", "fills"))
    assert one.tobytes() == values[[NAMES.index("pnl"), NAMES.index("fills")]].tobytes()
    for begin, end in ((0, 1), (0, 60), (59, 61), (60, 120), (100, 190), (199, 200)):
        part = decode(io.BytesIO(data), (4, 7), 200, "study", part=(begin, end))
        assert part.tobytes() == values[:, begin:end].tobytes()
    frame = pd.read_parquet(io.BytesIO(data))
    assert list(frame.columns) == ["point", "path", *NAMES]
    assert frame["point"].tolist() == [point for point in (10, 11, 12, 13) for _ in range(50)]
    assert frame["path"].tolist() == 4 * list(range(50))
    assert set(frame.dtypes.astype(str)) == {"int64", "float64"}


def test_other_chunks_or_another_study_are_told() -> None:
    data = encode(CHUNKS, odd_rows(200), "study")
    with pytest.raises(StoreError, match="is not this study's chunk"):
        decode(io.BytesIO(data), (4, 6), 200, "study")
    with pytest.raises(StoreError, match="has 200 rows in place of 199"):
        decode(io.BytesIO(data), (4, 7), 199, "study")
    with pytest.raises(StoreError, match="is not this study's chunk"):
        decode(io.BytesIO(data), (4, 7), 200, "other")
    frame = io.BytesIO()
    pd.DataFrame({"a": [1]}).to_parquet(frame)
    with pytest.raises(StoreError, match="is not this study's chunk"):
        decode(frame, (4, 7), 200, "study")


def test_segments_cover_the_plan_and_begin_with_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_SEGMENT_ROWS", 10_000)
    monkeypatch.setattr(chunks, "_ROWS", 4096)
    for paths in (300, 5000, 9000, 30_000):
        cut = plan(small_study(paths=paths))
        ranges = list(chunks.segments(cut))
        assert [first for first, _ in ranges] == [0, *(stop for _, stop in ranges[:-1])]
        assert ranges[-1][1] == len(cut)
        for first, stop in ranges:
            assert cut.rows(first, stop) <= 10_000
            assert cut[first].first_path == 0 or paths > 10_000
        assert len(ranges) == {300: 1, 5000: 3, 9000: 6, 30_000: 24}[paths]
