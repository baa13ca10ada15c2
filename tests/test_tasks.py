"""Tasks: what is kept of a point does not depend on which points share its chunk, its task or its worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_study import small_study

from mcmm import tails
from mcmm.chunks import Chunk
from mcmm.errors import ScenarioError
from mcmm.records import Record, decode_records, mark_of
from mcmm.rounds import Round
from mcmm.runner import task_of
from mcmm.study import Study
from mcmm.summaries import summarise
from mcmm.tasks import Failure, Finished, Stop, Task, _Worker, compute, rows_of

LIMITS = [25, 50, 100, 200]


def study(paths: int, **changes: Any) -> Study:
    """Eight points whose breakers trip on some paths, so that there is NaN in some rows."""
    axes = {"quoting.base_spread": [0.02, 0.08], "risk.inventory_limit": LIMITS}
    return small_study(paths=paths, points={"axes": axes}, **changes)


def task(of: Study, *chunks: tuple[int, int]) -> Task:
    """The task of chunks of whole points: the first and how many."""
    made = task_of(Round(Path("."), of, 0, range(of.count)), 0, 1)
    cut = tuple(Chunk(place, point, points, 0, of.paths, 0) for place, (point, points) in enumerate(chunks))
    settings = {point: tuple(of.at(point).values()) for point in range(of.count)}
    return Task(
        **{name: getattr(made, name) for name in made.__slots__} | {"chunks": cut, "settings": settings}
    )


def kept(of: Study, *chunks: tuple[int, int]) -> dict[int, Record]:
    """What a task keeps, by point."""
    asked = task(of, *chunks)
    found = compute(asked, None)
    assert isinstance(found, Finished)
    rows = {first + row: columns for first, block in found.summaries for row, columns in enumerate(block)}
    mark = mark_of(asked.digest, asked.first, asked.stop)
    records = {record.point: record for record in decode_records(_bytes(found.records), mark, of.metrics)}
    for point, record in records.items():
        assert record.summary is not None
        assert rows[point].tobytes() == record.summary.tobytes()
    return records


def _bytes(data: bytes) -> Any:
    import pyarrow as pa

    return pa.BufferReader(data)


def assert_same(one: Record, other: Record) -> None:
    assert one.summary is not None
    assert other.summary is not None
    assert one.summary.tobytes() == other.summary.tobytes()
    for node, another in zip(one.part.nodes, other.part.nodes, strict=True):
        assert node[:2] == another[:2]
        assert [array.tobytes() for array in node[2:]] == [array.tobytes() for array in another[2:]]
    assert one.distributions.keys() == other.distributions.keys()
    for name, distribution in one.distributions.items():
        assert distribution.pack().tobytes() == other.distributions[name].pack().tobytes()


@pytest.mark.parametrize("paths", [1, 19, 300, 1000])
def test_packing_changes_no_value(paths: int, monkeypatch: pytest.MonkeyPatch) -> None:
    of = study(paths)
    alone = {point: kept(of, (point, 1))[point] for point in range(of.count)}
    cuts: list[list[tuple[int, int]]] = [[(0, 8)], [(0, 3), (3, 5)], [(0, 1), (1, 6), (7, 1)]]
    for together in (1, 2048, 65_536):  # how many numbers are sorted in one go
        monkeypatch.setattr(tails, "_TOGETHER", together)
        for cut in cuts:
            for point, record in kept(of, *cut).items():
                assert_same(record, alone[point])


@pytest.mark.parametrize("paths", [1, 19, 257, 1000])
@pytest.mark.parametrize("large", [False, True])
def test_whole_points_are_kept_as_one_by_one(
    paths: int, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many points in one pass and each for itself give the same file, byte for byte."""
    if large:  # so that the money's sums by batch are kept only
        monkeypatch.setattr("mcmm.study.MANY_POINTS", 7)
    asked = task(study(paths), (0, 3), (3, 5))
    assert asked.is_whole
    assert asked.all_rows is not large
    together, apart = _Worker(asked, Stop()), _Worker(asked, Stop())
    assert together.whole() == apart.parts()
    for (first, rows), (other, expected) in zip(together.summaries, apart.summaries, strict=True):
        assert first == other
        assert rows.tobytes() == expected.tobytes()


def test_a_tasks_summary_is_that_of_the_rows() -> None:
    of = study(500)
    for point, record in kept(of, (0, 8)).items():
        rows = rows_of(of.scenario_at(point), of.seed, Chunk(0, point, 1, 0, of.paths, 0), Stop())
        expected = np.array(list(summarise(rows, of.metrics).values()))
        assert record.summary is not None
        assert np.array_equal(record.summary, expected, equal_nan=True)


def test_a_points_scenario_is_the_studys() -> None:
    axes = {"risk.exposure_limit": [50, 60.5], "quoting.policy": ["adaptive", "symmetric"], "steps": [10, 20]}
    of = small_study(points={"axes": axes})
    made = task(of, (0, of.count))
    for point in range(of.count):
        assert made.scenario_at(point) == of.scenario_at(point)
        assert made.scenario_at(point).dumps() == of.scenario_at(point).dumps()


def test_a_stopped_task_gives_nothing_and_an_error_names_its_point(monkeypatch: pytest.MonkeyPatch) -> None:
    of = study(100)
    stop = Stop()
    stop.set()
    assert compute(task(of, (0, 8)), stop) is None
    assert stop.wait(0.1)

    def refuse(self: Task, point: int) -> Any:
        if point == 5:
            raise ScenarioError("steps: must be another")
        return of.scenario_at(point)

    monkeypatch.setattr(Task, "scenario_at", refuse)
    found = compute(task(of, (0, 8)), None)
    assert isinstance(found, Failure)
    assert (found.point, found.kind, found.message) == (5, ScenarioError, "steps: must be another")
    assert "refuse" in found.trace
