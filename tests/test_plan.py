"""What is worked out before a run: laws of the size, as the draw's thresholds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mcmm._isa import core
from mcmm.engine import run_rows
from mcmm.metrics import NAMES
from mcmm.plan import bound, size_thresholds, size_weights
from mcmm.scenario import Scenario


def flow(**settings: object) -> object:
    return Scenario(flow=settings).flow


def law(weights: list[float]) -> np.ndarray:
    return np.array(weights) / sum(weights)


def test_geometric_weights_are_scipys() -> None:
    sizes = np.arange(1, 21)
    expected = stats.geom.pmf(sizes, 1 / 3.0)
    np.testing.assert_allclose(law(size_weights(flow(size_mean=3.0))), expected / expected.sum(), rtol=1e-13)


def test_lognormal_weights_are_scipys() -> None:
    sigma, mean = 1.3, 8.0
    cdf = stats.lognorm(s=sigma, scale=mean * np.exp(-(sigma**2) / 2)).cdf
    sizes = np.arange(1, 41)
    expected = cdf(sizes + 0.5) - cdf(sizes - 0.5)
    found = law(
        size_weights(flow(size_distribution="lognormal", size_mean=mean, size_sigma=sigma, size_max=40))
    )
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-11)


def test_empirical_rows_add_up_and_larger_sizes_are_left_out() -> None:
    table = [[2, 1.0], [5, 2.0], [2, 3.0], [9, 100.0]]
    assert size_weights(flow(size_distribution="empirical", size_table=table, size_max=5)) == [
        0,
        4.0,
        0,
        0,
        2.0,
    ]


@pytest.mark.parametrize("largest", [1, 2, 5, 20, 33, 34, 64, 65, 100])
def test_thresholds_give_the_law_up_to_the_largest_quote(largest: int) -> None:
    takers = flow(size_mean=30.0, size_max=80)
    thresholds = size_thresholds(takers, largest)
    draws = np.arange(2**16) * 2**15
    sizes = 1 + (draws[:, None] > thresholds).sum(axis=1)
    cumulative = np.minimum(np.cumsum(law(size_weights(takers))), 1)
    assert sizes.max() == min(largest, 80)
    for size in range(1, min(largest, 80)):
        assert abs((sizes <= size).mean() - cumulative[size - 1]) < 2 / 2**16


@pytest.mark.parametrize("size_max", [1, 2, 31, 32, 33, 34, 35, 63, 64, 65])
def test_the_core_draws_every_size_of_the_law(size_max: int) -> None:
    """Each step, a seller to whoever comes: the volume bought is the taker's size."""
    scenario = Scenario.from_dict(
        {
            "steps": 1,
            "flow": {
                **{
                    "arrival_rate": 1.0,
                    "informed_fraction": 0.0,
                    "price_sensitivity": 0.0,
                    "size_max": size_max,
                },
                **{
                    "size_distribution": "empirical",
                    "size_table": [[k, 1.0] for k in range(1, size_max + 1)],
                },
            },
            "quoting": {"quote_size": 100},
            "risk": {"inventory_limit": math.inf},
        }
    )
    paths = 500 * size_max
    volume = run_rows(scenario, 11, 0, paths)[NAMES.index("volume")].astype(int)
    counts = np.bincount(volume, minlength=size_max + 1)[1:]
    assert counts.sum() == paths
    assert stats.chisquare(counts).pvalue > 1e-4 if size_max > 1 else counts[0] == paths


@pytest.mark.parametrize(
    ("takers", "largest"),
    [
        (
            flow(size_distribution="lognormal", size_mean=54.0, size_sigma=1.15, size_max=500),
            50,
        ),  # a share each
        (
            flow(size_distribution="lognormal", size_mean=54.0, size_sigma=1.15, size_max=500),
            500,
        ),  # many in a share
        (
            # A threshold a share, of sizes that just fit in the guide and no longer do.
            flow(
                size_distribution="empirical",
                size_max=2060,
                size_table=[[k, 1.0] for k in range(2040, 2061)],
            ),
            2060,
        ),
        (flow(size_mean=900.0, size_max=3000), 3000),
        (flow(size_distribution="fixed", size_mean=60.0, size_max=70), 70),  # all draws above, or below
        (
            # Runs of one threshold; and the least weights there are, whose shares hold several.
            flow(
                size_distribution="empirical",
                size_max=367,
                size_table=[[1, 5.0], [3, 1e-9], [4, 1e-9], [99, 4.0], [367, 1e-9]],
            ),
            367,
        ),
        (
            flow(size_distribution="empirical", size_max=1024, size_table=[[k, 1.0] for k in range(1, 1025)]),
            1024,
        ),
    ],
)
def test_a_guide_finds_every_draws_size(takers: object, largest: int) -> None:
    """At each threshold, each end of a share, and at their neighbours; lane by lane, and one alone."""
    thresholds = size_thresholds(takers, largest)
    ends = np.arange(0, 2**31 + 1, 2**21)
    near = np.concatenate([thresholds.astype(np.int64), ends])[:, None] + np.arange(-2, 3)
    asked = np.clip(near, 0, 2**31 - 1).ravel()
    blocks = -(-asked.size // (4 * core.BLOCK))
    draws = np.resize(asked, (blocks, 4, core.BLOCK)).astype(np.int32)
    sizes = draws.copy()
    core.guided_sizes(thresholds, sizes)
    np.testing.assert_array_equal(sizes, 1 + np.searchsorted(thresholds, draws))
    some = draws.ravel()[:: max(1, draws.size // 500)].tolist()
    assert [core.guided_size_of(thresholds, draw) for draw in some] == (
        1 + np.searchsorted(thresholds, some)
    ).tolist()


def test_fixed_sizes_need_no_luck() -> None:
    thresholds = size_thresholds(flow(size_distribution="fixed", size_mean=4.0), 10)
    assert (thresholds[:3] == -1).all()
    assert (thresholds[3:] == 2**31 - 1).all()


@pytest.mark.parametrize("chance", [0.0, 1e-20, 2.0**-32, 2.0**-31, 0.1, 0.3, 0.5, 1 - 2.0**-32, 1.0])
def test_a_bound_is_where_a_uniform_draw_is_below_the_chance(chance: float) -> None:
    edge = round(chance * 2**31)
    assert -1 <= bound(chance) < 2**31
    for draw in {0, 1, max(edge - 1, 0), min(edge, 2**31 - 1), min(edge + 1, 2**31 - 1), 2**31 - 1}:
        assert (draw <= bound(chance)) == (core.uniform_of(draw) < chance)
