"""A tenth of the repetitions of `benchmarks/certify.py`: false certificates, power, and the search's best."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks.certify import PROBLEMS, compare_with_grid, repeat, split

COMMITTED = Path(__file__).parents[1] / "benchmarks/results/certify.json"


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PROBLEMS))
def test_certificates_are_false_no_more_often_than_stated(name: str) -> None:
    found = repeat(name, 100, seed=5001, jobs=1)
    # 5 in 100, and 2.6 standard deviations of that count.
    assert found["false"] <= 5 + 2.6 * math.sqrt(100 * 0.05 * 0.95)
    assert found["power"]["certified_rate"] >= 0.9
    assert found["power"]["of_the_limit"]["0.5"] >= 0.8


@pytest.mark.slow
def test_the_search_comes_within_two_percent_of_the_best_of_a_fine_grid() -> None:
    found = compare_with_grid(1, seed=5001, cells=20, paths=16_384)
    assert found["least_of_the_best"] >= 0.98


@pytest.mark.slow
def test_the_interval_of_splitting_holds_a_known_chance_about_as_often_as_it_says() -> None:
    found = split(20, seed=5001)
    assert found["covered"] >= 16  # 95% of 20, and 3 standard deviations
    assert found["mean_of_the_estimates"] == pytest.approx(found["chance"], rel=0.25)


def test_the_committed_repetitions_hold() -> None:
    result = json.loads(COMMITTED.read_text())
    names = [make().name for make in PROBLEMS.values()]
    assert [each["problem"] for each in result["false_certificates"]] == names
    for each in result["false_certificates"]:
        assert each["repetitions"] >= 1000
        assert each["false_rate"] <= each["stated"]
    assert result["search"]["least_of_the_best"] >= 0.98
    assert result["splitting"]["repetitions"] >= 200
    assert 0.90 <= result["splitting"]["coverage"] <= 0.99
    assert result["splitting"]["of_a_millionth"]["saving"] >= 100
