from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from mcmm import _isa, moments
from mcmm.moments import (
    BATCHES,
    LEAF,
    Kind,
    RowOf,
    form_of,
    join,
    moments_of,
    root,
    row_moments,
    tally,
    tally_whole,
    tree_sum,
)
from mcmm.statistics import Interval, mean

# What a sample cannot say is NaN, never a warning.
pytestmark = pytest.mark.filterwarnings("error")

LENGTHS = (1, 2, 3, 5, 64, 1000, LEAF - 1, LEAF, LEAF + 1, 10_000, 3 * LEAF + 17, 40 * LEAF)


def sample(length: int, seed: int = 1) -> np.ndarray:
    """Numbers of very different sizes, so that another order of adding shows in the last bits."""
    random = np.random.default_rng(seed)
    return random.standard_normal(length) * 10.0 ** random.integers(-6, 6, length)


def plain_fold(values: list[float]) -> float:
    """Fold one leaf in plain Python, as the documentation of tree_sum says it."""
    padded = values + [0.0] * (LEAF - len(values))
    while len(padded) > 1:
        half = len(padded) // 2
        padded = [low + high for low, high in zip(padded[:half], padded[half:], strict=True)]
    return padded[0]


def leaves_of(values: list[float]) -> list[list[float]]:
    return [values[start : start + LEAF] for start in range(0, len(values), LEAF)]


def plain_tree(values: list[float]) -> float:
    sums = [plain_fold(leaf) for leaf in leaves_of(values)]
    while len(sums) > 1:
        pairs = [sums[place : place + 2] for place in range(0, len(sums), 2)]
        sums = [pair[0] + pair[1] if len(pair) == 2 else pair[0] for pair in pairs]
    return sums[0]


def plain_moments(values: list[float]) -> tuple[float, float]:
    nodes = []
    for leaf in leaves_of(values):
        total = plain_fold(leaf)
        apart = [value - total / len(leaf) for value in leaf]
        nodes.append((float(len(leaf)), total, plain_fold([gap * gap for gap in apart])))
    while len(nodes) > 1:
        merged = []
        for place in range(0, len(nodes) - 1, 2):
            (n, total, squares), (m, other, more) = nodes[place : place + 2]
            gap = other / m - total / n
            between = n * m / (n + m) * (gap * gap)
            merged.append((n + m, total + other, (squares + more) + between))
        nodes = merged + nodes[len(nodes) // 2 * 2 :]
    count, total, squares = nodes[0]
    return total / count, math.sqrt(squares / (count - 1)) if count > 1 else math.nan


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


PAIRS = ((0, 1), (1, 0), (2, 2))


@pytest.mark.parametrize("length", [300, 3 * LEAF + 321, 29 * LEAF + 1, 64 * LEAF])
@pytest.mark.parametrize("seed", range(4))
def test_parts_cut_anywhere_join_to_the_same_bits(length: int, seed: int) -> None:
    values = np.stack([sample(length, row) for row in range(4)])
    values[3, ::5] = np.nan
    random = np.random.default_rng(seed)
    leaves = -(-length // LEAF)
    starts = [
        0,
        *sorted(random.choice(np.arange(1, leaves), min(6, leaves - 1), replace=False) * LEAF),
        length,
    ]
    parts = [tally(values[:, begin:end], int(begin), PAIRS) for begin, end in itertools.pairwise(starts)]
    whole = root(tally(values, pairs=PAIRS), PAIRS)
    cut = int(random.integers(0, len(parts)))
    later = join((node for part in parts[cut:] for node in part), PAIRS)
    joined = join([*(node for part in parts[:cut] for node in part), *later], PAIRS)
    # As few as there can be: one for each power of two in the number of leaves.
    assert len(joined) == leaves.bit_count()
    for one, other in zip(root(joined, PAIRS)[2:], whole[2:], strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("length", [1, 300, 1000, 3 * LEAF + 321, 29 * LEAF + 1, 64 * LEAF])
@pytest.mark.parametrize("batched", [0, 2, 4])
def test_a_whole_samples_sums_are_its_roots(length: int, batched: int) -> None:
    values = np.stack([sample(length, row) for row in range(4)])
    values[3, ::5] = np.nan
    rows = (
        RowOf(Kind.AS_IT_IS, 1),
        RowOf(Kind.DIFFERENCE, 2, 0),
        RowOf(Kind.NEGATIVE, 1),
        RowOf(Kind.AS_IT_IS, 3),
    )
    expected = root(tally(values, 0, PAIRS, batched, rows), PAIRS)
    form = form_of(rows, PAIRS, batched)
    sums = np.full((2, form.width), np.nan)
    assert tally_whole(values, form, sums[1]) == expected.level
    assert expected.number == 0
    assert np.isnan(sums[0]).all()
    for found, array in zip(form.split(sums), expected[2:], strict=True):
        assert found[1].shape == array.shape
        assert found[1].tobytes() == array.tobytes()


def test_products_of_deviations_are_covariances() -> None:
    values = np.random.default_rng(5).standard_normal((3, 12_345))
    values[1] += 0.5 * values[0]
    node = root(tally(values, pairs=PAIRS), PAIRS)
    covariance = np.cov(values) * 12_344
    assert node.squares[3:] == pytest.approx([covariance[0, 1], covariance[1, 0], covariance[2, 2]])
    assert node.squares[:3] == pytest.approx(np.diag(covariance))
    assert moments_of(node).sd == pytest.approx(values.std(axis=1, ddof=1))


@pytest.mark.parametrize("length", [1, 63, 64, 65, 5000])
def test_batches_are_the_paths_by_their_number(length: int) -> None:
    values = np.random.default_rng(6).standard_normal((3, length))
    values[1, ::3] = np.nan
    node = root(tally(values, batched=2))
    assert node.batches.shape == (2, BATCHES)
    for batch in range(BATCHES):
        assert node.batches[:, batch] == pytest.approx(np.nansum(values[:2, batch::BATCHES], axis=1))


def test_a_range_must_begin_with_a_leaf() -> None:
    with pytest.raises(ValueError, match="first_path: must be a multiple of 256, got 100"):
        tally(np.zeros((1, 5)), 100)
    assert tally(np.zeros((1, 0))) == []


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
    values = np.full(2 * LEAF, np.nan)
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


@pytest.mark.parametrize("build", _isa.builds())
def test_every_build_adds_up_to_the_same_bits(build: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.stack([sample(3001, row) for row in range(3)])
    values[2, ::7] = np.nan
    whole = root(tally(values, pairs=PAIRS[:2]), PAIRS[:2])
    total = tree_sum(values[:2])
    monkeypatch.setattr(moments, "core", _isa.load(build))
    for one, other in zip(root(tally(values, pairs=PAIRS[:2]), PAIRS[:2])[2:], whole[2:], strict=True):
        assert one.tobytes() == other.tobytes()
    assert tree_sum(values[:2]).tobytes() == total.tobytes()


def test_rows_are_made_of_columns() -> None:
    values = np.stack([sample(700, 1), sample(700, 2)])
    values[0, :3], values[1, :3] = [-1.0, 0.0, -0.0], [3.0, -3.0, 0.0]
    made = {
        RowOf(Kind.AS_IT_IS, 1): values[1],
        RowOf(Kind.DIFFERENCE, 0, 1): values[0] - values[1],
        RowOf(Kind.NEGATIVE, 0): (values[0] < 0).astype(float),
        RowOf(Kind.POSITIVE, 0): (values[0] > 0).astype(float),
        RowOf(Kind.UNLESS_NEGATIVE, 1): np.where(values[1] < 0, np.nan, values[1]),
    }
    found = tally(values, rows=list(made))
    expected = tally(np.stack(list(made.values())))
    for node, other in zip(found, expected, strict=True):
        assert node[:2] == other[:2]
        for one, another in zip(node[2:], other[2:], strict=True):
            assert one.tobytes() == another.tobytes()


def test_what_was_read_from_a_file_can_be_joined() -> None:
    nodes = tally(np.stack([sample(600), sample(600, 2)]), pairs=PAIRS[:2])
    for node in nodes:
        for array in node[2:]:
            array.flags.writeable = False
    assert root(nodes, PAIRS[:2]).counts.tolist() == [600.0, 600.0]
