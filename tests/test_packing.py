"""Packing: tasks cover what is left, in order, and are as long as the measured rate says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_study import small_study

from mcmm import packing
from mcmm.chunks import Plan, plan, segments
from mcmm.packing import Packer, task_seconds


def cut(points: int, paths: int, steps: int) -> Plan:
    rates = {"low": 0.1, "high": 0.2, "count": points}
    return plan(
        small_study(scenario={"steps": steps}, paths=paths, points={"axes": {"flow.arrival_rate": rates}})
    )


def packer(made: Plan, left: np.ndarray, workers: int = 2) -> Packer:
    fences = np.array([stop for _, stop in segments(made)])
    found = Packer(made, left, fences, workers)
    found.begin(workers)
    return found


def tasks(found: Packer) -> list[tuple[int, int]]:
    return list(iter(found.take, None))


MADE = cut(2000, 1000, 1000)


@given(done=st.sets(st.integers(0, 624)), rate=st.floats(1e5, 1e10), workers=st.integers(1, 9))
def test_every_chunk_that_is_left_is_in_one_task(done: set[int], rate: float, workers: int) -> None:
    made = MADE
    left = np.ones(len(made), dtype=bool)
    left[[chunk for chunk in done if chunk < len(made)]] = False
    found = packer(made, left, workers)
    found.measured(int(rate), 1.0)
    taken = tasks(found)
    assert [chunk for first, stop in taken for chunk in range(first, stop)] == np.flatnonzero(left).tolist()
    for first, stop in taken:
        assert stop == first + 1 or made.rows(first, stop) <= packing._ROWS
        assert stop == first + 1 or made.path_steps(first, stop) <= 0.5 * rate * 1.001


def test_tasks_take_half_a_second_until_the_end_nears() -> None:
    made = cut(10_000, 1000, 500)
    found = packer(made, np.ones(len(made), dtype=bool))
    for _ in range(50):
        found.measured(200_000_000, 1.0)
    assert found.rate == pytest.approx(200e6)
    seconds = [made.path_steps(*task) / found.rate for task in tasks(found)]
    assert np.median(seconds) == pytest.approx(0.5, abs=0.1)
    assert max(seconds) <= 0.5
    assert max(seconds[-2:]) < 0.15


def test_the_rate_follows_what_was_measured_last() -> None:
    made = cut(100, 1000, 500)
    found = packer(made, np.ones(len(made), dtype=bool))
    for rate in (100e6, 400e6):
        for _ in range(30):
            found.measured(int(rate / 2), 0.5)
        assert found.rate == pytest.approx(rate, rel=0.01)


def test_many_workers_get_longer_tasks() -> None:
    assert task_seconds(2) == task_seconds(100) == 0.5
    assert task_seconds(1000) == 5.0


def test_a_task_of_short_points_has_a_bounded_number_of_them() -> None:
    made = cut(10_000, 2, 5)
    found = packer(made, np.ones(len(made), dtype=bool), workers=1)
    taken = [int(made.point_ends[stop] - made.point_ends[first]) for first, stop in tasks(found)]
    assert sum(taken) == 10_000
    assert max(taken) == packing._POINTS


def test_no_task_crosses_a_segment() -> None:
    made = cut(10_000, 1000, 500)
    ends = [stop for _, stop in segments(made)]
    assert len(ends) > 5
    found = packer(made, np.ones(len(made), dtype=bool))
    found.measured(10**12, 1.0)
    for first, stop in tasks(found):
        assert not any(first < end < stop for end in ends)


def test_a_new_round_hands_out_what_is_still_left() -> None:
    made = cut(100, 1000, 500)
    left = np.ones(len(made), dtype=bool)
    found = packer(made, left)
    tasks(found)
    assert found.take() is None
    left[3:] = False
    found.begin(2)
    assert [chunk for first, stop in tasks(found) for chunk in range(first, stop)] == [0, 1, 2]
