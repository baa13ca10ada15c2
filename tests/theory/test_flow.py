"""Who comes, when and how much of it: size laws, clustering, herding and what news stirs up."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from theory.harness import (
    EVEN,
    assert_fits,
    assert_misfits,
    assert_within,
    autocovariance,
    make,
    mean,
    metrics,
    traces,
    variance,
)
from theory.laws import SIZE_LAWS, hawkes_covariances, size_chances

# Every taker trades, one contract if nothing else is said: fills are arrivals.
ONE = {"flow.size_distribution": "fixed", "flow.size_mean": 1.0}


def signs_of(changes: dict[str, object], steps: int, paths: int) -> np.ndarray:
    """Signed taker volume, (paths, steps)."""
    parts = [
        trace["sold"] - trace["bought"] for _, trace in traces(make(EVEN, {"steps": steps}, changes), paths)
    ]
    return np.concatenate(parts)


# ---- sizes


@pytest.mark.parametrize("quote_size", [1_000, 10])
@pytest.mark.parametrize("law", SIZE_LAWS)
def test_sizes_follow_their_law(law: str, quote_size: int) -> None:
    taken = np.abs(
        signs_of({**SIZE_LAWS[law], "quoting.quote_size": quote_size, "flow.arrival_rate": 1.0}, 200, 1_500)
    )
    sizes, chances = size_chances(SIZE_LAWS[law], quote_size)
    counts = np.bincount(taken.astype(int).ravel(), minlength=len(sizes) + 1)
    assert counts[0] == 0
    assert len(counts) == len(sizes) + 1
    possible = chances > 0
    assert counts[1:][~possible].sum() == 0
    if possible.sum() == 1:
        return
    expected = chances[possible] * taken.size
    rare = expected < 20  # chi-square wants filled cells: the tail is one
    observed = np.append(counts[1:][possible][~rare], counts[1:][possible][rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    keep = expected > 0
    assert_fits(stats.chisquare(observed[keep], expected[keep]).pvalue)


def test_a_size_law_a_little_off_is_seen() -> None:
    taken = np.abs(signs_of({"quoting.quote_size": 20, "flow.arrival_rate": 1.0}, 200, 1_500)).astype(int)
    counts = np.bincount(taken.ravel(), minlength=21)[1:]
    for wrong in ({"flow.size_mean": 3.05}, {"flow.size_max": 19}):
        sizes, chances = size_chances(wrong)
        expected = np.append(chances, 1e-9 * np.ones(20 - len(sizes)))
        assert_misfits(stats.chisquare(counts, expected / expected.sum() * counts.sum()).pvalue)


# ---- arrivals


@pytest.mark.parametrize(
    ("rate", "branching", "e_folding"),
    [(0.3, 0.0, 20.0), (0.3, 0.6, 20.0), (0.1, 0.9, 20.0), (0.05, 0.5, 2.0), (0.9, 0.8, 5.0)],
)
def test_clustering_keeps_the_mean_and_sets_the_variance(
    rate: float, branching: float, e_folding: float
) -> None:
    steps = 400
    found = metrics(
        make(
            EVEN,
            ONE,
            {
                "steps": steps,
                "flow.arrival_rate": rate,
                "flow.clustering": branching,
                "flow.clustering_steps": e_folding,
            },
        ),
        20_000,
    )["fills"]
    covariance = hawkes_covariances(rate, branching, e_folding, steps)
    count, spread = mean(found), variance(found)
    assert_within(count.value, rate * steps, count.standard_error, sees=0.06 * rate * steps)
    assert_within(spread.value, covariance.sum(), spread.standard_error, sees=0.14 * covariance.sum())
    if branching:
        plain = rate * (1 - rate) * steps
        assert abs(spread.value - plain) > 8 * spread.standard_error


@pytest.mark.parametrize(("branching", "e_folding"), [(0.6, 20.0), (0.5, 2.0)])
def test_clustered_arrivals_are_correlated_as_a_hawkes_process(branching: float, e_folding: float) -> None:
    rate, steps = 0.3, 300
    arrived = np.abs(
        signs_of(
            {
                **ONE,
                "flow.arrival_rate": rate,
                "flow.clustering": branching,
                "flow.clustering_steps": e_folding,
            },
            steps,
            6_000,
        )
    )
    covariance = hawkes_covariances(rate, branching, e_folding, steps)
    for lag in (1, 2, 5, 20, 50):
        estimate = autocovariance(arrived, lag, rate)
        assert_within(
            estimate.value, np.diagonal(covariance, lag).mean(), estimate.standard_error, sees=0.006
        )
    # What the lags are worth: the neighbouring branching ratio, or memory, is refused.
    lag_1 = autocovariance(arrived, 1, rate)
    for wrong in ((branching + 0.2, e_folding), (branching, e_folding * 2)):
        with pytest.raises(AssertionError, match="standard errors from"):
            assert_within(
                lag_1.value,
                np.diagonal(hawkes_covariances(rate, *wrong, steps), 1).mean(),
                lag_1.standard_error,
            )


def test_counts_give_the_branching_ratio_back() -> None:
    """Over a long window variance / mean is (1 - rate') / (1 - n)^2: n is read off it, as on real flow."""
    rate, branching, steps = 0.02, 0.55, 4_000
    found = metrics(
        make(EVEN, ONE, {"steps": steps, "flow.arrival_rate": rate, "flow.clustering": branching}), 10_000
    )["fills"]
    spread = variance(found)
    ratio = 1 - math.sqrt(rate * (1 - rate) * steps / spread.value)
    error = (1 - ratio) / 2 * spread.standard_error / spread.value
    # Within 0.02: rate' is a little above rate, and the window is not infinite.
    assert abs(ratio - branching) < 0.02 + 4 * error
    assert error < 0.005


def test_without_clustering_arrivals_are_independent() -> None:
    arrived = np.abs(signs_of({**ONE, "flow.clustering_steps": 5.0}, 300, 6_000))
    for lag in (1, 2, 3, 4, 5, 8, 64):
        estimate = autocovariance(arrived, lag, 0.3)
        assert_within(estimate.value, 0.0, estimate.standard_error, sees=0.003)


@pytest.mark.parametrize("branching", [0.0, 0.4])
def test_news_excites_arrivals(branching: float) -> None:
    rate, news, lift, e_folding, steps = 0.1, 0.02, 0.3, 10.0, 300
    found = metrics(
        make(
            EVEN,
            ONE,
            {
                "steps": steps,
                "market.news_rate": news,
                "market.news_strength": 0.01,
                "flow.arrival_rate": rate,
                "flow.clustering": branching,
                "flow.clustering_steps": e_folding,
                "flow.news_excitation": lift,
            },
        ),
        20_000,
    )["fills"]
    decay = math.exp(-1 / e_folding)
    excitation, expected = branching * rate, 0.0
    for _ in range(steps):
        chance = rate * (1 - branching) + excitation
        expected += chance
        excitation = excitation * decay + branching * (1 - decay) * chance + lift * news
    estimate = mean(found)
    # lambda is cut at 1, which three jumps close together need: a few in a thousand arrivals.
    assert_within(estimate.value, expected, math.hypot(estimate.standard_error, 0.0005 * expected), sees=1.5)
    assert expected > 1.4 * rate * steps


# ---- sides


@pytest.mark.parametrize(("herding", "buys"), [(0.0, 0.5), (0.24, 0.5), (0.24, 0.65), (0.8, 0.3)])
def test_herding_correlates_sides_and_keeps_their_mean(herding: float, buys: float) -> None:
    signs = signs_of(
        {**ONE, "flow.arrival_rate": 1.0, "flow.herding": herding, "flow.noise_buy_fraction": buys},
        300,
        6_000,
    )
    average, spread = 2 * buys - 1, 4 * buys * (1 - buys)
    estimate = mean(signs.mean(axis=1))
    assert_within(estimate.value, average, estimate.standard_error, sees=0.02)
    for lag in (1, 2, 5):
        estimate = autocovariance(signs, lag, average)
        assert_within(estimate.value, spread * herding**lag, estimate.standard_error, sees=0.015)
    with pytest.raises(AssertionError, match="standard errors from"):
        assert_within(
            autocovariance(signs, 1, average).value, spread * (herding + 0.02), estimate.standard_error
        )


def test_who_does_not_trade_is_followed_all_the_same() -> None:
    """Between two fills lies a geometric number of takers who did not trade, each of them copied or not."""
    herding, sensitivity = 0.6, 35.0
    stays = math.exp(-sensitivity * 0.02)
    signs = signs_of(
        {**ONE, "flow.arrival_rate": 0.8, "flow.herding": herding, "flow.price_sensitivity": sensitivity},
        300,
        6_000,
    )
    products = []
    for row in signs:
        sides = row[row != 0]
        products.append((sides[1:] * sides[:-1]).mean())
    estimate = mean(products)
    expected = stays * herding / (1 - (1 - stays) * herding)
    assert_within(estimate.value, expected, estimate.standard_error, sees=0.02)
    assert abs(estimate.value - herding) > 8 * estimate.standard_error  # as if only who trades were followed


def test_the_informed_are_followed_too() -> None:
    herding, buys, share, steps = 0.5, 0.4, 0.2, 300
    # The informed all buy: p is above the ask. h is the chance that the last taker bought.
    signs = signs_of(
        {
            **ONE,
            "flow.arrival_rate": 1.0,
            "market.initial_probability": 0.6,
            "market.initial_mid": 0.5,
            "flow.informed_fraction": share,
            "flow.herding": herding,
            "flow.noise_buy_fraction": buys,
        },
        steps,
        3_000,
    )
    bought = share + (1 - share) * buys
    expected = bought
    for _ in range(steps - 1):
        bought = share + (1 - share) * (herding * bought + (1 - herding) * buys)
        expected += bought
    estimate = mean((signs > 0).mean(axis=1))
    assert_within(estimate.value, expected / steps, estimate.standard_error, sees=0.01)
    assert (
        expected / steps > share + (1 - share) * buys + 0.02
    )  # what it would be if only the uninformed were


# ---- purposes


def test_what_is_drawn_for_one_purpose_says_nothing_of_another() -> None:
    """Arrival, side, size and the fair value's move of one step, and of the next ones, are uncorrelated."""
    steps = 200
    columns: dict[str, list[np.ndarray]] = {"arrival": [], "side": [], "size": [], "move": []}
    for values, trace in traces(
        make(
            EVEN,
            {"steps": steps, "market.volatility": 0.05, "quoting.quote_size": 20, "flow.arrival_rate": 0.5},
        ),
        9_000,
    ):
        logit = np.log(trace["probability"] / (1 - trace["probability"]))
        taken = trace["sold"] - trace["bought"]
        sizes, chances = size_chances({})
        columns["arrival"].append((taken != 0)[:, :-1] - 0.5)
        columns["side"].append(np.sign(taken)[:, :-1])
        columns["size"].append(np.where(taken != 0, np.abs(taken) - sizes @ chances, 0.0)[:, :-1])
        columns["move"].append(np.diff(logit) / 0.05 - (values["outcome"][:, None] - 0.5) * 0.05)
    series = {name: np.concatenate(parts) for name, parts in columns.items()}
    series = {name: part / part.std() for name, part in series.items()}
    for one, first in series.items():
        for other, second in series.items():
            for lag in (0, 1, 2, 3, 4):
                if one == other and lag == 0:
                    continue
                products = first[:, : first.shape[1] - lag] * second[:, lag:]
                estimate = mean(products.mean(axis=1))
                assert_within(estimate.value, 0.0, estimate.standard_error, tolerance=4.5, sees=0.01)
