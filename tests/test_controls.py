"""Control variates: the regression by hand, when they are off, their gain, their intervals' coverage."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

import mcmm
from mcmm import engine
from mcmm.controls import controls_known, regress
from mcmm.metrics import NAMES
from mcmm.scenario import Scenario
from mcmm.summaries import Part, summaries_of, summarise, summary_names

pytestmark = pytest.mark.filterwarnings("error")

COLUMNS = summary_names(NAMES)


def paths_of(pnl_fair: np.ndarray, inventory: np.ndarray, settlement: np.ndarray) -> np.ndarray:
    rows = {
        "pnl": pnl_fair,
        "pnl_fair": pnl_fair,
        "pnl_settled": pnl_fair + settlement,
        "inventory_pnl": inventory,
    }
    return np.stack([rows.get(name, np.zeros(len(pnl_fair))) for name in NAMES])


def test_settlement_is_taken_out_and_the_rest_is_least_squares() -> None:
    random = np.random.default_rng(1)
    inventory, settlement = random.standard_normal((2, 500)) * [[2.0], [20.0]]
    fair = 3 + 0.8 * inventory + random.standard_normal(500)
    found = summarise(paths_of(fair, inventory, settlement), NAMES)
    design = np.column_stack([np.ones(500), inventory])
    coefficients, squares, *_ = np.linalg.lstsq(design, fair)
    error = math.sqrt(squares[0] / 498 * np.linalg.inv(design.T @ design)[0, 0])
    for name, values in (("pnl_fair", fair), ("pnl_settled", fair + settlement)):
        assert found[f"{name}.controlled_mean"] == pytest.approx(coefficients[0])
        assert found[f"{name}.controlled_standard_error"] == pytest.approx(error)
        gain = (found[f"{name}.standard_error"] / error) ** 2
        assert found[f"{name}.variance_reduction"] == pytest.approx(gain)
        assert found[f"{name}.mean"] == pytest.approx(values.mean())


@pytest.mark.parametrize(
    ("inventory", "settlement"),
    [
        ((1.0, 0.0), (0.0, 0.0)),  # arithmetic: what is settled is the fair value
        ((1.0, 0.0), (1e-16, 0.0)),  # a resolved event: nothing but rounding is left to settle
        ((0.0, 0.0), (0.0, 1.0)),  # a constant fair value
        ((1.0, 0.0), (2.0, 0.0)),  # the one follows from the other
        ((0.0, 0.0), (0.0, 0.0)),  # nothing was ever held
        ((1.0, 0.0), (0.0, 1.0)),
    ],
)
def test_a_control_that_says_nothing_is_left_out(
    inventory: tuple[float, float], settlement: tuple[float, float]
) -> None:
    random = np.random.default_rng(2)
    noise = random.standard_normal((3, 400))
    controls = np.array([inventory, settlement]) @ noise[:2]
    fair = 1 + controls[0] + 0.5 * noise[2]
    found = summarise(paths_of(fair, *controls), NAMES)
    held = [controls[0]] if any(inventory) else []
    mean = np.linalg.lstsq(np.column_stack([np.ones(400), *held]), fair)[0][0]
    assert found["pnl_settled.controlled_mean"] == pytest.approx(mean, abs=1e-9)
    assert math.isfinite(found["pnl_settled.controlled_standard_error"])
    used = any(inventory) or any(settlement)
    assert (found["pnl_settled.variance_reduction"] > 1) == used


def test_a_control_whose_mean_is_doubtful_is_left_out() -> None:
    random = np.random.default_rng(3)
    inventory, noise, settlement = random.standard_normal((3, 400))
    inventory -= inventory.mean()
    step = inventory.std(ddof=1) / 20  # a standard error of the mean
    fair = 3 + inventory + noise
    near = summarise(paths_of(fair, inventory + 4.9 * step, settlement), NAMES)
    assert near["pnl_fair.controlled_mean"] != near["pnl_fair.mean"]
    far = summarise(paths_of(fair, inventory + 5.1 * step, settlement), NAMES)
    assert far["pnl_fair.controlled_mean"] == far["pnl_fair.mean"]
    assert far["pnl_fair.variance_reduction"] == 1.0
    assert far["pnl_settled.controlled_mean"] == pytest.approx(far["pnl_fair.mean"])


def test_where_a_mean_is_known_exactly() -> None:
    found = summarise(paths_of(np.full(100, 2.0), np.zeros(100), np.zeros(100)), NAMES)
    assert found["pnl_settled.controlled_mean"] == found["pnl_settled.mean"] == 2.0
    assert found["pnl_settled.controlled_standard_error"] == 0.0
    assert found["pnl_settled.variance_reduction"] == 1.0
    swings = np.where(np.arange(100) % 2 == 0, 1.0, -1.0)
    found = summarise(paths_of(2 + swings, swings, np.zeros(100)), NAMES)
    assert found["pnl_settled.controlled_mean"] == 2.0
    assert found["pnl_settled.controlled_standard_error"] < 1e-6


def test_few_paths_and_unknown_means_leave_the_plain_mean() -> None:
    random = np.random.default_rng(3)
    values = paths_of(*random.standard_normal((3, 400)))
    for found in (summarise(values, NAMES, controls=False), summarise(values[:, :19], NAMES)):
        assert found["pnl_settled.controlled_mean"] == found["pnl_settled.mean"]
        assert found["pnl_settled.controlled_standard_error"] == found["pnl_settled.standard_error"]
        assert found["pnl_settled.variance_reduction"] == 1.0
    one = summarise(values[:, :1], NAMES)
    assert one["pnl.controlled_mean"] == one["pnl.mean"]
    assert math.isnan(one["pnl.controlled_standard_error"])


@pytest.mark.parametrize(
    ("settings", "known"),
    [
        ({}, True),
        ({"flow.informed_know": "outcome"}, False),
        ({"flow.informed_know": "outcome", "flow.informed_fraction": 0.0}, True),
        ({"flow.informed_know": "outcome", "flow.model": "intensity"}, True),  # nobody is informed there
        ({"flow.model": "replay"}, False),
        ({"market.process": "threshold"}, True),
        ({"market.news_rate": 0.1, "market.news_strength": 0.5}, True),
        ({"schedule.news": [[10]], "market.news_strength": 0.5}, True),
        ({"schedule.informed_fraction": [[10, 3.0]]}, True),
        ({"risk.drawdown_limit": 5.0, "risk.breaker_action": "flatten"}, True),
        ({"quoting.policy": "glosten_milgrom", "market.tick_size": 0.0}, True),
        ({"quoting.policy": "custom"}, True),
    ],
)
def test_the_means_are_known_unless_takers_know_what_comes(settings: dict[str, Any], known: bool) -> None:
    assert controls_known(Scenario().replace(settings)) is known


def several(one: dict[str, Any], other: dict[str, Any], **shared: Any) -> Scenario:
    """Two markets that meet, each with its own tables."""
    return Scenario.from_dict({"markets": [{"name": "one", **one}, {"name": "other", **other}], **shared})


LINKED: dict[str, Any] = {"correlation": 0.9, "drawdown_limit": 0.5}


@pytest.mark.parametrize(
    ("one", "other", "shared", "known"),
    [
        ({}, {}, {}, True),
        # Whoever knows the outcome, it is enough; who and how many may be said in different places.
        ({}, {"flow": {"informed_know": "outcome"}}, {}, False),
        ({}, {"flow": {"informed_know": "outcome", "informed_fraction": 0.0}}, {}, True),
        (
            {},
            {"flow": {"informed_fraction": 0.3}},
            {"flow": {"informed_know": "outcome", "informed_fraction": 0.0}},
            False,
        ),
        (
            {"flow": {"informed_know": "probability"}},
            {"flow": {"informed_fraction": 0.0}},
            {"flow": {"informed_know": "outcome"}},
            True,
        ),
        # A portfolio's limits carry what one logit market says of another; threshold walks say nothing new.
        ({}, {}, {"portfolio": LINKED}, False),
        ({}, {}, {"portfolio": {"correlation": 0.9, "exposure_limit": 20.0}}, False),
        ({}, {}, {"portfolio": {"correlation": 0.9}}, True),
        ({}, {"quoting": {"policy": "custom"}}, {"portfolio": {"correlation": 0.9}}, False),
        ({}, {}, {"portfolio": {"correlation": 0.0}, "quoting": {"policy": "custom"}}, True),
        ({}, {}, {"portfolio": LINKED | {"correlation": 0.0}}, True),
        ({}, {}, {"portfolio": LINKED, "market": {"process": "threshold"}}, True),
        (
            {"market": {"process": "logit"}},
            {},
            {"portfolio": LINKED, "market": {"process": "threshold"}},
            False,
        ),
        (
            {"market": {"process": "threshold"}},
            {"market": {"process": "threshold"}},
            {"portfolio": LINKED},
            True,
        ),
    ],
)
def test_of_several_markets_each_is_asked(
    one: dict[str, Any], other: dict[str, Any], shared: dict[str, Any], known: bool
) -> None:
    assert controls_known(several(one, other, **shared)) is known


# ---- real paths

MARKETS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "outages and pauses": {
        "recovery.disconnect_rate": 0.01,
        "risk.drawdown_limit": 2.0,
        "risk.breaker_action": "pause",
    },
    "flatten": {"risk.drawdown_limit": 2.0, "risk.breaker_action": "flatten", "risk.mark": "fair"},
    "halt": {"risk.loss_limit": 2.0},
    "news": {"market.news_rate": 0.02, "market.news_strength": 0.3, "flow.news_excitation": 0.5},
    "threshold": {"market.process": "threshold"},
    "a certain jump, pauses and more who know": {
        "schedule.news": [[50, 0.5]],
        "schedule.pauses": [{"start": 40, "steps": 20, "quotes": "rest"}],
        "schedule.informed_fraction": [[45, 4.0]],
    },
    "glosten_milgrom": {"quoting.policy": "glosten_milgrom", "market.tick_size": 0.0},
    "arithmetic": {
        "market.process": "arithmetic",
        "market.initial_mid": 100.0,
        "market.volatility": 0.1,
        "quoting.policy": "symmetric",
    },
}


@pytest.mark.parametrize("name", MARKETS)
def test_the_controls_have_mean_0_and_the_two_means_agree(name: str) -> None:
    scenario = Scenario(steps=100).replace(MARKETS[name])
    found = summarise(engine.run_rows(scenario, 5, 0, 40_000), NAMES, controls=controls_known(scenario))
    for control in ("inventory_pnl", "settlement"):
        assert abs(found[f"{control}.mean"]) <= 4.5 * found[f"{control}.standard_error"]
    for result in ("pnl", "pnl_fair", "pnl_settled"):
        apart = found[f"{result}.controlled_mean"] - found[f"{result}.mean"]
        assert abs(apart) <= 4.5 * found[f"{result}.standard_error"]
        assert found[f"{result}.variance_reduction"] >= 0.99


# A market that moves much, a breaker on the sum that trips often and caps that bind.
MOVING: dict[str, Any] = {"steps": 100, "quoting": {"base_spread": 0.08}, "risk": {"mark": "fair"}}


@pytest.mark.parametrize(
    ("market", "portfolio"),
    [
        ({"process": "threshold", "resolution_step": 300}, LINKED),
        ({"process": "threshold", "resolution_step": 300}, {"correlation": 0.9, "exposure_limit": 10.0}),
        ({"volatility": 0.1}, {"correlation": 0.9}),
        ({"volatility": 0.1}, {"drawdown_limit": 0.5, "exposure_limit": 10.0}),
    ],
)
def test_several_markets_controls_have_mean_0(market: dict[str, Any], portfolio: dict[str, Any]) -> None:
    scenario = several({}, {}, market=market, portfolio=portfolio, **MOVING)
    assert controls_known(scenario)
    found = summarise(engine.run_rows(scenario, 5, 0, 40_000), scenario.columns)
    for control in ("inventory_pnl", "settlement"):
        assert abs(found[f"{control}.mean"]) <= 4.5 * found[f"{control}.standard_error"]
    apart = found["pnl_settled.controlled_mean"] - found["pnl_settled.mean"]
    assert abs(apart) <= 4.5 * found["pnl_settled.standard_error"]
    assert found["pnl_settled.variance_reduction"] > 2


def test_where_limits_join_correlated_logit_markets_the_controls_would_lie() -> None:
    scenario = several({}, {}, market={"volatility": 0.1}, portfolio=LINKED, **MOVING)
    assert not controls_known(scenario)
    found = summarise(engine.run_rows(scenario, 5, 0, 40_000), scenario.columns)
    assert found["settlement.mean"] < -10 * found["settlement.standard_error"]
    right = summarise(engine.run_rows(scenario, 5, 0, 40_000), scenario.columns, controls=False)
    assert right["pnl_settled.controlled_mean"] == right["pnl_settled.mean"]
    lie = found["pnl_settled.controlled_mean"] - right["pnl_settled.mean"]
    assert abs(lie) > 10 * right["pnl_settled.standard_error"]


def test_where_takers_know_the_outcome_the_controls_would_lie() -> None:
    scenario = Scenario(steps=300).replace({"flow.informed_know": "outcome", "flow.informed_fraction": 0.4})
    rows = engine.run_rows(scenario, 5, 0, 20_000)
    wrong, right = (summarise(rows, NAMES, controls=controls) for controls in (True, False))
    assert right["inventory_pnl.mean"] < -10 * right["inventory_pnl.standard_error"]
    lie = wrong["pnl_settled.controlled_mean"] - right["pnl_settled.mean"]
    assert abs(lie) > 10 * right["pnl_settled.standard_error"]
    assert right["pnl_fair.controlled_mean"] == right["pnl_fair.mean"]
    assert right["pnl_settled.controlled_mean"] == right["pnl_settled.mean"]


def test_the_gain_on_the_defaults() -> None:
    """About 7 times for pnl_fair and 100 times for pnl_settled."""
    result = mcmm.sweep(
        mcmm.Study(
            name="d", scenario={}, paths=10_000, seed=3, points={"axes": {"quoting.base_spread": [0.04]}}
        )
    )
    row = result.summary.loc[0]
    assert 6 < row["pnl_fair.variance_reduction"] < 9
    assert 85 < row["pnl_settled.variance_reduction"] < 135


@pytest.mark.parametrize("paths", [32, 256])
def test_their_intervals_hold_the_mean_as_often_as_they_say(paths: int) -> None:
    repetitions = 1000
    scenario = Scenario(steps=60)
    rows = engine.run_rows(scenario, 11, 0, paths * repetitions)
    parts = [Part.of(part, NAMES, exact=True) for part in np.split(rows, repetitions, axis=1)]
    table = np.stack([each.columns for each in summaries_of(parts, NAMES, [True] * repetitions)])
    whole = summarise(rows, NAMES)
    for name in ("pnl", "pnl_fair", "pnl_settled"):
        errors = {}
        for mean, error, degrees in (
            ("mean", "standard_error", paths - 1),
            ("controlled_mean", "controlled_standard_error", paths - 3),
        ):
            value, errors[mean] = (table[:, COLUMNS.index(f"{name}.{part}")] for part in (mean, error))
            # All paths together stand for the truth: they know it 30 times better than one repetition.
            miss = (
                np.abs(value - whole[f"{name}.controlled_mean"]) > stats.t.isf(0.025, degrees) * errors[mean]
            )
            # The results are skewed: with few paths a little more is missed.
            slack = 4 * math.sqrt(0.05 * 0.95 / repetitions) + (0.02 if paths == 32 else 0.0)
            assert 0.02 < miss.mean() < 0.05 + slack
        gained = errors["mean"] / errors["controlled_mean"]
        assert np.median(gained) > {"pnl": 0.95, "pnl_fair": 0.95, "pnl_settled": 2.0}[name]


def test_a_rare_outcome_does_not_mislead_them() -> None:
    """Of 256 paths none or one ends the other way: the plain mean's interval misses, theirs does not."""
    repetitions, paths = 600, 256
    scenario = Scenario(steps=60).replace({"market.initial_probability": 0.005})
    rows = engine.run_rows(scenario, 11, 0, paths * repetitions)
    truth = rows[NAMES.index("pnl_fair")].mean()  # of pnl_settled too, which alone does not tell
    parts = [Part.of(part, NAMES, exact=True) for part in np.split(rows, repetitions, axis=1)]
    table = np.stack([each.columns for each in summaries_of(parts, NAMES, [True] * repetitions)])

    def missed(mean: str, error: str) -> float:
        value, spread = (table[:, COLUMNS.index(name)] for name in (mean, error))
        return float((np.abs(value - truth) > stats.t.isf(0.025, paths - 1) * spread).mean())

    assert missed("pnl_settled.mean", "pnl_settled.standard_error") > 0.15
    for name in ("pnl_fair", "pnl_settled"):
        assert missed(f"{name}.controlled_mean", f"{name}.controlled_standard_error") < 0.08
        assert table[:, COLUMNS.index(f"{name}.variance_reduction")].min() > 0.8


def test_points_are_fitted_each_on_its_own() -> None:
    random = np.random.default_rng(4)
    arguments = [
        np.abs(random.standard_normal(shape)) for shape in ((3, 2), (3, 2), (3, 2), (3, 3), (3, 2, 2))
    ]
    arguments[3][:, 2] *= 0.1
    counts, known = np.array([100.0, 50.0, 9.0]), np.array([True, False, True])
    together = regress(counts, *arguments, known)
    for point in range(3):
        alone = regress(counts[[point]], *(each[[point]] for each in arguments), known[[point]])
        for one, other in zip(alone, together, strict=True):
            assert one[0].tobytes() == other[point].tobytes()
