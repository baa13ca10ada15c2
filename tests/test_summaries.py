"""Summaries of points: what the functions of statistics say, however the paths were cut."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mcmm import moments, statistics
from mcmm.distributions import LEVELS, Distribution
from mcmm.errors import InputError
from mcmm.metrics import NAMES
from mcmm.sketch import RELATIVE_ERROR, Sketch
from mcmm.statistics import expected_shortfall, mean, proportion, quantile, value_at_risk
from mcmm.summaries import EXACT_PATHS, Part, join_parts, summaries_of, summarise, summary_names
from mcmm.tails import TailTable, fill_tails

# What a sample cannot say is NaN, never a warning.
pytestmark = pytest.mark.filterwarnings("error")


def sample(length: int, seed: int = 1) -> np.ndarray:
    """Numbers of very different sizes, so that another order of adding shows in the last bits."""
    random = np.random.default_rng(seed)
    return random.standard_normal(length) * 10.0 ** random.integers(-6, 6, length)


def point(paths: int) -> np.ndarray:
    values = np.stack([sample(paths, seed) for seed in range(len(NAMES))])
    values[NAMES.index("trips")] = np.arange(paths) % 4 == 1
    values[NAMES.index("halt_step")] = np.where(np.arange(paths) % 4 == 1, 10.0 + np.arange(paths) % 3, -1.0)
    values[NAMES.index("breaker_overshoot"), np.arange(paths) % 4 != 1] = np.nan
    values[NAMES.index("outcome")] = np.nan
    return values


def test_summary_says_what_the_functions_say() -> None:
    values = point(6000)
    found = summarise(values, NAMES)
    for name, row in zip(NAMES, values, strict=True):
        if name in ("halt_reason", "halt_step", "outcome"):
            continue
        average, error, count = mean(row)
        assert (found[f"{name}.mean"], found[f"{name}.standard_error"], found[f"{name}.count"]) == (
            average,
            error,
            count,
        )
        assert found[f"{name}.sd"] == pytest.approx(np.nanstd(row, ddof=1), rel=1e-12)
    for name in statistics.QUANTILE_METRICS:
        row = values[NAMES.index(name)]
        for share, label in zip(statistics.QUANTILES, ("p01", "p05", "p50", "p95", "p99"), strict=True):
            assert found[f"{name}.{label}"] == quantile(row, share)
    for name in statistics.MONEY_METRICS:
        row = values[NAMES.index(name)]
        for level, label in ((0.95, "95"), (0.99, "99")):
            shortfall = expected_shortfall(row, level)
            assert found[f"{name}.value_at_risk_{label}"] == value_at_risk(row, level)
            assert found[f"{name}.expected_shortfall_{label}"] == shortfall.value
            assert found[f"{name}.expected_shortfall_{label}_standard_error"] == shortfall.standard_error
        assert found[f"{name}.loss_chance"] == np.mean(row < 0)
        assert found[f"{name}.loss_chance_standard_error"] == proportion(int((row < 0).sum()), 6000)[1]


def test_summary_of_halts() -> None:
    found = summarise(point(6000), NAMES)
    assert found["halt.chance"] == 0.25
    assert found["halt.chance_standard_error"] == math.sqrt(0.25 * 0.75 / 6000)
    assert found["halt_step.count"] == found["breaker_overshoot.count"] == 1500.0
    assert found["halt_step.mean"] == 11.0
    assert not [name for name in found if name.startswith("halt_reason")]


def test_summary_of_what_never_applies() -> None:
    found = summarise(point(500), NAMES)
    assert found["outcome.count"] == 0.0
    assert all(math.isnan(found[f"outcome.{column}"]) for column in ("mean", "sd", "standard_error"))
    nothing = summarise(np.full((1, 9), np.nan), ["pnl"])
    assert all(math.isnan(value) for name, value in nothing.items() if name != "pnl.count")


def test_summary_has_the_same_names_for_any_number_of_paths() -> None:
    many, one = summarise(point(500), NAMES), summarise(point(1), NAMES)
    assert list(many) == list(one)
    assert math.isnan(one["pnl.standard_error"])
    assert one["pnl.mean"] == one["pnl.p01"] == -one["pnl.value_at_risk_95"]
    assert all(type(value) is float for value in many.values())


def test_a_loss_is_less_than_nothing() -> None:
    assert summarise(np.array([[-1.0, -0.0, 0.0, 1.0]]), ["pnl"])["pnl.loss_chance"] == 0.25


def test_summary_changes_no_value() -> None:
    values = point(300)
    before = values.tobytes()
    summarise(values, NAMES)
    assert values.tobytes() == before


def test_summary_has_the_same_bits_without_vector_instructions() -> None:
    code = (
        "import hashlib, numpy, test_summaries as t;"
        "from mcmm.summaries import summarise;"
        "core = getattr(numpy, '_core', None) or numpy.core;"
        "core = core._multiarray_umath;"
        "found = summarise(t.point(9001), t.NAMES);"
        "print(' '.join(name for name in core.__cpu_dispatch__ if core.__cpu_features__[name]));"
        "print(hashlib.sha256(' '.join(map(float.hex, found.values())).encode()).hexdigest())"
    )

    def run(disabled: str) -> list[str]:
        environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": disabled}
        path = os.pathsep.join((str(Path(__file__).parent), str(Path(__file__).parent.parent)))
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env={**environment, "PYTHONPATH": path},
        )
        return done.stdout.splitlines()

    features, with_them = run("")
    left, without = run(features)
    assert left == ""
    assert with_them == without


def test_summary_needs_numpy_alone() -> None:
    code = (
        "import sys, numpy; from mcmm.summaries import summarise;"
        "summarise(numpy.zeros((1, 5)), ['pnl']);"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'scipy', 'pandas', 'pyarrow'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("values", [np.zeros((2, 5)), np.zeros(5), np.zeros((1, 0))])
def test_what_is_no_table_of_paths_is_refused(values: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"values: must have shape \(1, paths\), a row per name, got "):
        summarise(values, ["pnl"])


@pytest.mark.parametrize("paths", [700, 5000, EXACT_PATHS + 900])
@pytest.mark.parametrize("seed", range(3))
def test_a_summary_does_not_depend_on_how_the_paths_were_cut(paths: int, seed: int) -> None:
    values = np.maximum(np.minimum(point(paths), 1e4), -1e4)
    exact = paths <= EXACT_PATHS
    random = np.random.default_rng(seed)
    leaves = math.ceil(paths / moments.LEAF)
    cuts = [
        0,
        *sorted(random.choice(np.arange(1, leaves), min(5, leaves - 1), replace=False) * moments.LEAF),
        paths,
    ]
    # Early parts may have kept their values when nobody knew yet how many paths there would be.
    parts = [
        Part.of(values[:, begin:end], NAMES, int(begin), exact=exact or end < 30_000)
        for begin, end in itertools.pairwise(cuts)
    ]
    whole = Part.of(values, NAMES, exact=exact)
    for grouping in (
        [parts],
        [[join_parts(parts[:2], NAMES), *parts[2:]]],
        [[parts[0], join_parts(parts[1:], NAMES)]],
    ):
        (found,) = summaries_of([join_parts(part, NAMES) for part in grouping], NAMES, [True])
        (expected,) = summaries_of([whole], NAMES, [True])
        assert found.columns.tobytes() == expected.columns.tobytes()
        for one, other in zip(found.node[2:], expected.node[2:], strict=True):
            assert one.tobytes() == other.tobytes()
        assert (
            found.distributions.keys()
            == expected.distributions.keys()
            == {"pnl_settled", "pnl_fair", "max_drawdown"}
        )
        for name, distribution in found.distributions.items():
            assert distribution.pack().tobytes() == expected.distributions[name].pack().tobytes()


def test_beyond_the_exact_paths_quantiles_and_tails_are_within_the_stated_error() -> None:
    paths = EXACT_PATHS + 5000
    values = point(paths)
    found = summarise(values, NAMES)
    for name in statistics.QUANTILE_METRICS:
        row = values[NAMES.index(name)]
        for share, label in zip(statistics.QUANTILES, ("p01", "p05", "p50", "p95", "p99"), strict=True):
            assert found[f"{name}.{label}"] == pytest.approx(
                quantile(row, share), rel=RELATIVE_ERROR, abs=2e-6
            )
    for name in statistics.MONEY_METRICS:
        row = values[NAMES.index(name)]
        for level, label in ((0.95, "95"), (0.99, "99")):
            shortfall = expected_shortfall(row, level)
            near = pytest.approx(shortfall.value, rel=RELATIVE_ERROR)
            assert found[f"{name}.expected_shortfall_{label}"] == near
            error = pytest.approx(shortfall.standard_error, rel=0.01)
            assert found[f"{name}.expected_shortfall_{label}_standard_error"] == error
            risk = pytest.approx(value_at_risk(row, level), rel=RELATIVE_ERROR)
            assert found[f"{name}.value_at_risk_{label}"] == risk
        assert found[f"{name}.loss_chance"] == np.mean(row < 0)


def test_several_points_at_once_are_each_on_its_own() -> None:
    values = [point(300), point(700)[:, ::-1].copy(), np.zeros((len(NAMES), 50))]
    together = summaries_of([Part.of(each, NAMES, exact=True) for each in values], NAMES, [True, False, True])
    for each, summary, known in zip(values, together, (True, False, True), strict=True):
        alone = list(summarise(each, NAMES, controls=known).values())
        assert summary.columns.tobytes() == np.array(alone).tobytes()


def test_the_names_are_those_of_a_summary() -> None:
    assert summary_names(NAMES) == tuple(summarise(point(9), NAMES))
    assert len(set(summary_names(NAMES))) == len(summary_names(NAMES))


# ---- sketches


SAMPLES = {
    "heavy tails": np.random.default_rng(0).standard_t(3, 50_000) * 30,
    "ticks": np.round(np.random.default_rng(1).normal(1, 4, 20_000), 2),
    "whole numbers": np.round(np.random.default_rng(2).normal(0, 40, 20_000)),
    "all sizes": sample(20_000),
    "one": np.array([-3.7]),
    "nothing": np.zeros(9),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sketch_is_the_same_in_any_order_of_merging(name: str) -> None:
    values = SAMPLES[name]
    whole = Sketch.of(values)
    random = np.random.default_rng(3)
    for cut in (2, 7, 50):
        parts = [Sketch.of(part) for part in np.array_split(random.permutation(values), cut)]
        random.shuffle(parts)
        halves = Sketch.merge([Sketch.merge(parts[::2]), Sketch.merge(parts[1::2])])
        for merged in (Sketch.merge(parts), halves):
            assert all(one.tobytes() == other.tobytes() for one, other in zip(merged, whole, strict=True))


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sketch_is_within_its_error(name: str) -> None:
    values = SAMPLES[name]
    ordered, sketch = np.sort(values), Sketch.of(values)
    assert sketch.size == len(values)
    assert len(sketch.keys) <= len(values)
    every = np.unique(np.linspace(0, len(values) - 1, 500).astype(int))
    assert sketch.quantiles(every) == pytest.approx(ordered[every], rel=RELATIVE_ERROR, abs=2.0**-20)
    for count in {1, len(values) // 100, len(values) // 3, len(values)} - {0}:
        means, weights = sketch.smallest(count)
        assert weights.sum() == count
        total, size = math.fsum(ordered[:count]), math.fsum(np.abs(ordered[:count]))
        assert math.fsum(means * weights) == pytest.approx(
            total, abs=RELATIVE_ERROR * size + count * 2.0**-20
        )


def test_a_sketch_of_everything_has_the_exact_sum() -> None:
    values = SAMPLES["heavy tails"]
    means, weights = Sketch.of(values).smallest(len(values))
    assert math.fsum(means * weights) == pytest.approx(math.fsum(values), rel=1e-9)


def test_a_sketch_leaves_out_nan() -> None:
    assert Sketch.of([1.0, math.nan, -2.0]).size == 2
    assert Sketch.of([]).size == Sketch.merge([]).size == 0


# ---- distributions


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sketchs_distribution_is_the_samples_but_for_the_bins_edges(name: str) -> None:
    ordered = np.sort(SAMPLES[name])
    exact, sketched = Distribution.of(ordered), Distribution.of(Sketch.of(ordered))
    assert (exact.start, exact.width) == (sketched.start, sketched.width)
    assert exact.counts.sum() == len(ordered)
    assert sketched.counts.sum() == pytest.approx(len(ordered))
    assert np.abs(np.cumsum(exact.counts) - np.cumsum(sketched.counts)).max() <= 0.002 * len(ordered) + 1
    ranks = [max(math.ceil(Fraction(str(level)) * len(ordered)), 1) for level in LEVELS]
    assert exact.quantiles.tolist() == [ordered[rank - 1] for rank in ranks]
    assert sketched.quantiles == pytest.approx(exact.quantiles, rel=RELATIVE_ERROR, abs=2.0**-20)
    again = Distribution.unpack(exact.pack())
    assert again.pack().tobytes() == exact.pack().tobytes()


@pytest.mark.parametrize("paths", [1, 2, 7, 100, 1001])
def test_tails_of_many_points_are_those_of_each(paths: int) -> None:
    """With what is rare: values that are missing, all of them, all the same, or zeros of either sign."""
    starts = {"pnl": 0, "max_drawdown": 20, "fed.pnl_fair": 30, "pnl_settled": 50}
    values = np.random.default_rng(paths).normal(size=(9, len(starts), paths)).round(1)
    values[2, 1, ::2] = values[3] = np.nan
    values[4, 0], values[5, 3], values[6, 2] = 3.0, 0.0, -0.0
    values[6, 3, ::3] = -0.0
    expected, found = np.full((2, 9, 70), 7.0)
    kept = fill_tails(expected, [dict(zip(starts, point, strict=True)) for point in values], starts)
    together = TailTable(starts, 9, paths)
    for begin, end in ((0, 4), (4, 5), (5, 9)):
        together.add(values[begin:end].copy())
    together.fill(found)
    assert found.tobytes() == expected.tobytes()
    for packed, each in zip(together.distributions, kept, strict=True):
        assert packed.keys() == each.keys()
        assert all(packed[name].tobytes() == each[name].pack().tobytes() for name in packed)
