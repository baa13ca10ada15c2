from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mcmm.moments import BLOCK, Blocks, block_sums, merge_blocks, row_moments, tree_sum
from mcmm.statistics import Interval, mean

# What a sample cannot say is NaN, never a warning.
pytestmark = pytest.mark.filterwarnings("error")

LENGTHS = (1, 2, 3, 5, 64, 1000, BLOCK - 1, BLOCK, BLOCK + 1, 10_000, 3 * BLOCK + 17)


def sample(length: int, seed: int = 1) -> np.ndarray:
    """Numbers of very different sizes, so that another order of adding shows in the last bits."""
    random = np.random.default_rng(seed)
    return random.standard_normal(length) * 10.0 ** random.integers(-6, 6, length)


def plain_fold(values: list[float]) -> float:
    """Fold one block in plain Python, as the documentation of tree_sum says it."""
    width = 1
    while width < len(values):
        width *= 2
    padded = values + [0.0] * (width - len(values))
    while len(padded) > 1:
        half = len(padded) // 2
        padded = [low + high for low, high in zip(padded[:half], padded[half:], strict=True)]
    return padded[0]


def plain_tree(values: list[float]) -> float:
    while len(values) > 1:
        values = [plain_fold(values[start : start + BLOCK]) for start in range(0, len(values), BLOCK)]
    return values[0]


def plain_moments(values: list[float]) -> tuple[float, float]:
    blocks = [values[start : start + BLOCK] for start in range(0, len(values), BLOCK)]
    totals = [plain_fold(block) for block in blocks]
    averages = [total / len(block) for total, block in zip(totals, blocks, strict=True)]
    within = [
        plain_fold([(value - average) * (value - average) for value in block])
        for average, block in zip(averages, blocks, strict=True)
    ]
    overall = plain_tree(totals) / len(values)
    between = [
        len(block) * ((average - overall) * (average - overall))
        for average, block in zip(averages, blocks, strict=True)
    ]
    squares = plain_tree(within) + plain_tree(between)
    return overall, math.sqrt(squares / (len(values) - 1)) if len(values) > 1 else math.nan


@pytest.mark.parametrize("length", LENGTHS)
def test_tree_sum_is_the_tree_of_its_definition_bit_for_bit(length: int) -> None:
    values = sample(length)
    assert float(tree_sum(values)).hex() == plain_tree(values.tolist()).hex()
    assert float(tree_sum(values)) == pytest.approx(math.fsum(values), rel=1e-12, abs=1e-9)


def test_tree_sum_shapes() -> None:
    values = sample(24).reshape(2, 3, 4)
    assert tree_sum(values).shape == (2, 3)
    assert tree_sum(values)[1, 2] == tree_sum(values[1, 2])
    assert tree_sum(np.zeros((3, 0))).tolist() == [0.0, 0.0, 0.0]
    assert tree_sum(np.zeros((0, 3))).shape == (0,)
    assert tree_sum([1, 2, 3]) == 6.0


@pytest.mark.parametrize("length", LENGTHS)
def test_moments_are_those_of_plain_python_bit_for_bit(length: int) -> None:
    values = np.stack([sample(length, seed) for seed in range(3)])
    found = row_moments(values)
    for row in range(3):
        average, deviation = plain_moments(values[row].tolist())
        assert float(found.mean[row]).hex() == average.hex()
        assert float(found.sd[row]).hex() == deviation.hex()
    assert found.counts.tolist() == [float(length)] * 3


def test_moments_agree_with_numpy() -> None:
    values = np.random.default_rng(2).standard_normal((4, 12_345)) + 3.0
    found = row_moments(values)
    np.testing.assert_allclose(found.mean, values.mean(axis=1), rtol=1e-13)
    np.testing.assert_allclose(found.sd, values.std(axis=1, ddof=1), rtol=1e-13)
    np.testing.assert_allclose(found.standard_error, stats.sem(values, axis=1), rtol=1e-13)


def test_deviation_survives_a_far_mean() -> None:
    noise = np.random.default_rng(3).standard_normal(10_000)
    assert row_moments(noise[np.newaxis] + 1e9).sd[0] == pytest.approx(noise.std(ddof=1), rel=1e-6)


@pytest.mark.parametrize("cuts", [(BLOCK,), (2 * BLOCK, 3 * BLOCK), (BLOCK, 2 * BLOCK, 3 * BLOCK)])
def test_parts_cut_at_blocks_merge_to_the_same_bits(cuts: tuple[int, ...]) -> None:
    values = np.stack([sample(3 * BLOCK + 321, seed) for seed in range(2)])
    values[1, ::5] = np.nan
    parts = [block_sums(part) for part in np.split(values, cuts, axis=1)]
    merged = merge_blocks(Blocks(*(np.concatenate(column, axis=1) for column in zip(*parts, strict=True))))
    for joined, whole in zip(merged, row_moments(values), strict=True):
        assert joined.tobytes() == whole.tobytes()


def test_nan_is_left_out_and_the_other_rows_keep_their_bits() -> None:
    values = np.stack([sample(9000, seed) for seed in range(3)])
    clean = row_moments(values)
    values[1, 100:5000:7] = np.nan
    values[2] = np.nan
    found = row_moments(values)
    kept = values[1][~np.isnan(values[1])]
    assert found.counts.tolist() == [9000.0, float(kept.size), 0.0]
    assert found.mean[1] == pytest.approx(kept.mean(), rel=1e-12)
    assert found.sd[1] == pytest.approx(kept.std(ddof=1), rel=1e-12)
    assert np.isnan([found.mean[2], found.sd[2], found.standard_error[2]]).all()
    assert [column[0] for column in found] == [column[0] for column in clean]


def test_a_block_without_a_value_changes_nothing() -> None:
    values = np.full(2 * BLOCK, np.nan)
    values[:3] = [1.0, 2.0, 6.0]
    assert mean(values) == mean([1.0, 2.0, 6.0])
    assert mean(values[::-1]) == mean([6.0, 2.0, 1.0])


def test_one_path_no_path_and_equal_paths() -> None:
    one = mean([2.5])
    assert one.value == 2.5
    assert math.isnan(one.standard_error)
    assert one.interval() == Interval(-math.inf, math.inf)
    assert math.isnan(mean([]).value)
    assert mean([]).observations == 0.0
    assert mean([0.25] * 10_000) == (0.25, 0.0, 10_000.0)
    assert row_moments(np.full((1, 10_000), 0.1)).sd[0] < 1e-15


def test_values_may_be_read_only_strided_or_whole_numbers() -> None:
    values = sample(2000).reshape(1000, 2)
    values.flags.writeable = False
    assert float(row_moments(values.T).mean[1]) == float(row_moments(values[:, 1][np.newaxis].copy()).mean[0])
    assert mean(np.array([1, 2, 3])).value == 2.0
