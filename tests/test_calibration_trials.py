"""Trials: verdicts on chances that are known exactly, and the order in which settings are tried."""

from __future__ import annotations

import math
from typing import Any

import pytest

import mcmm
from mcmm.calibration.bounds import looks
from mcmm.calibration.sampling import Sampler
from mcmm.calibration.trials import CERTIFIED, REFUTED, UNDECIDED, certify, try_setting

# One step in which a taker arrives and trades with chance arrival_rate: P(fills > 0) is the setting itself.
KNOWN = {
    "steps": 1,
    "market": {"volatility": 0.0},
    "flow": {"informed_fraction": 0.0, "price_sensitivity": 0.0},
}
FILLED = {"probability": "fills > 0", "at_most": 0.01}


def ask(**tables: Any) -> mcmm.Study:
    question = {
        "maximize": "flow.arrival_rate",
        "constraint": [FILLED],
        "search": {"flow.arrival_rate": {"low": 0.001, "high": 0.05}},
        "paths": 16_384,
    }
    return mcmm.Study(name="known", scenario=KNOWN, seed=7, calibrate=question | tables)


def sampler(study: mcmm.Study, seed: int = 1, jobs: int = 1) -> Sampler:
    assert study.calibrate is not None
    return Sampler(study.scenario, study.calibrate, seed, jobs, lambda *_: None)


def test_a_clear_case_is_decided_at_an_early_look() -> None:
    fresh = sampler(ask())
    plan = looks(fresh.question)
    safe, risky = try_setting(fresh, (0.002,), plan), try_setting(fresh, (0.04,), plan)
    assert (safe.verdict, risky.verdict) == (CERTIFIED, REFUTED)
    assert safe.paths < plan[-1].paths
    assert risky.paths < plan[-1].paths
    assert safe.cells[0].high <= 0.01 < risky.cells[0].low
    assert safe.objective == 0.002


def test_a_case_on_the_line_is_undecided_and_says_how_many_more_paths() -> None:
    found = try_setting(sampler(ask(), seed=0), (0.0095,), looks(ask().calibrate))  # type: ignore[arg-type]
    assert found.verdict == UNDECIDED
    assert found.paths == 16_384
    assert found.more is not None
    assert found.more > 10_000


def test_settings_are_tried_until_one_is_not_certified() -> None:
    fresh = sampler(ask())
    keys = [(0.002,), (0.004,), (0.03,), (0.005,)]
    found = certify(fresh, keys, looks(fresh.question))
    assert [trial.verdict for trial in found] == [CERTIFIED, CERTIFIED, REFUTED]


def test_every_constraint_must_hold_in_every_world() -> None:
    tables = {
        "constraint": [FILLED, {"mean": "fills", "at_least": 0.0005}],
        "robust": {"market.initial_probability": [0.3, 0.5]},
    }
    fresh = sampler(ask(**tables))
    good = try_setting(fresh, (0.003,), looks(fresh.question))
    assert good.certified
    assert [(cell.constraint, cell.world) for cell in good.cells] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    # One constraint that breaks is enough.
    few = sampler(ask(**(tables | {"constraint": [FILLED, {"mean": "fills", "at_least": 0.02}]})))
    assert try_setting(few, (0.003,), looks(few.question)).verdict == REFUTED


def test_paths_do_not_depend_on_how_they_came_to_be_wanted() -> None:
    one, other = sampler(ask(), jobs=1), sampler(ask(), jobs=2)
    key = (0.2,)
    one.need([key], 5000, "")
    for paths in (256, 1000, 5000):
        other.need([key, (0.3,)], paths, "")
    assert one.lookup(key, 0, 5000)("fills").tolist() == other.lookup(key, 0, 5000)("fills").tolist()
    assert other.paths_run == 2 * one.paths_run
    assert math.isclose(one.lookup(key, 0, 5000)("fills").mean(), 0.2, abs_tol=0.02)


@pytest.mark.slow
def test_a_setting_just_beyond_the_limit_is_certified_no_more_often_than_stated() -> None:
    study = ask(confidence=0.8, paths=2048)
    assert study.calibrate is not None
    plan = looks(study.calibrate)
    repetitions = 400
    false = sum(try_setting(sampler(study, seed), (0.01001,), plan).certified for seed in range(repetitions))
    assert false / repetitions <= 0.2 + 2.6 * math.sqrt(0.2 * 0.8 / repetitions)
    assert false > 0  # the level is used, and not avoided
