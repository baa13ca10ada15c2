"""How often a certificate is false, how often there is one, and how near the best the search comes.

    python -m benchmarks.certify --repetitions 1000 --seed 1 --out benchmarks/results/certify.json

Each problem has an answer that is known exactly, with its bound where a certificate errs most easily: the
first setting beyond the limit breaks it by a hair. A repetition is a whole calibration, search and trial,
with a seed of its own; its certificate is false if the setting that it certifies breaks the limit. CI runs
a tenth.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import mcmm
from mcmm.engine import core_info
from mcmm.statistics import proportion

# One step, in which a taker comes with chance arrival_rate and always trades, at a constant fair value.
ONE_TAKER: dict[str, Any] = {
    "steps": 1,
    "market": {"volatility": 0.0},
    "flow": {"informed_fraction": 0.0, "price_sensitivity": 0.0},
}


@dataclass(frozen=True)
class Problem:
    """A question whose answer is known.

    Attributes
    ----------
    name : str
        What is bounded.
    scenario, question : dict
        Of the study.
    axis : str
        The setting that is made large.
    limit : float
        The largest value that keeps the bound.
    """

    name: str
    scenario: dict[str, Any]
    question: dict[str, Any]
    axis: str
    limit: float

    def study(self, seed: int) -> mcmm.Study:
        """Return the study with a seed."""
        return mcmm.Study(name=self.name, scenario=self.scenario, seed=seed, calibrate=self.question)


def chance() -> Problem:
    """P(fills > 0) is the arrival rate itself."""
    return Problem(
        "a chance",
        ONE_TAKER,
        {
            "maximize": "flow.arrival_rate",
            "paths": 16_384,
            "constraint": [{"probability": "fills > 0", "at_most": 0.05}],
            "search": {"flow.arrival_rate": {"low": 0.005, "high": 0.2}},
        },
        "flow.arrival_rate",
        0.05,
    )


def chance_and_mean() -> Problem:
    """P(fills > 0) is the arrival rate, the mean volume three times that: both bind at once."""
    one = chance()
    limits = [*one.question["constraint"], {"mean": "volume", "at_most": 0.15}]
    flow = ONE_TAKER["flow"] | {"size_distribution": "fixed", "size_mean": 3.0}
    return Problem(
        "a chance and a mean",
        ONE_TAKER | {"flow": flow},
        one.question | {"constraint": limits},
        one.axis,
        one.limit,
    )


SIZES = 40


def shortfall_of(quote_size: int, level: float = 0.95) -> float:
    """Return the expected shortfall of one fill of min(size, quote_size) contracts, 2 cents from 1/2.

    Half of the fills lose 48 cents a contract and half gain 52; sizes are uniform on 1..SIZES, so each loss
    has chance 1 / (2 SIZES), and the tail is filled with the largest of them.
    """
    left, total = 1.0 - level, 0.0
    for size in range(SIZES, 0, -1):
        share = min(left, 1.0 / (2 * SIZES))
        total += share * 0.48 * min(size, quote_size)
        left -= share
    return total / (1.0 - level)


def shortfall() -> Problem:
    """The largest quote size of a known expected shortfall; the next is beyond it by a ten-thousandth."""
    largest = 24
    flow = ONE_TAKER["flow"] | {
        "arrival_rate": 1.0,
        "size_distribution": "empirical",
        "size_table": [[size, 1.0] for size in range(1, SIZES + 1)],
        "size_max": SIZES,
    }
    return Problem(
        "an expected shortfall",
        ONE_TAKER | {"flow": flow, "risk": {"inventory_limit": math.inf}},
        {
            "maximize": "quoting.quote_size",
            "paths": 16_384,
            "constraint": [
                {
                    "expected_shortfall": {"metric": "pnl_settled", "level": 0.95},
                    "at_most": shortfall_of(largest + 1) * 0.9999,
                }
            ],
            "search": {"quoting.quote_size": {"low": 2, "high": 60, "integer": True}},
        },
        "quoting.quote_size",
        largest,
    )


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "chance": chance,
    "chance_and_mean": chance_and_mean,
    "shortfall": shortfall,
}


def repeat(name: str, repetitions: int, seed: int, jobs: int = -1) -> dict[str, Any]:
    """Calibrate a problem with many seeds.

    Parameters
    ----------
    name : str
        Of the problem.
    repetitions, seed : int
        How many, and the first one's seed; the others follow.
    jobs : int
        Processes.

    Returns
    -------
    dict
        ``false`` and ``certified`` (counts), their rates, the upper bound of the false rate at 95%, and how
        the certified values compare with the largest that keeps it (``power``: quantiles of the ratio).
    """
    from joblib import Parallel, delayed

    problem = PROBLEMS[name]()
    started, clock = time.perf_counter(), time.process_time()
    values = Parallel(n_jobs=jobs)(delayed(certified)(name, seed + i) for i in range(repetitions))
    found = np.array([value for value in values if value is not None])
    false = int((found > problem.limit).sum())
    ratios = found / problem.limit
    return {
        "problem": problem.name,
        "repetitions": repetitions,
        "seed": seed,
        "stated": 0.05,
        "certified": len(found),
        "false": false,
        "false_rate": false / repetitions,
        "false_rate_at_most": proportion(false, repetitions, 0.95, "upper").high,
        "power": {
            "certified_rate": len(found) / repetitions,
            "of_the_limit": {str(q): round(float(np.quantile(ratios, q)), 4) for q in (0.05, 0.5, 0.95)},
        },
        "seconds": round(time.perf_counter() - started, 1),
        "processor_seconds_of_this_process": round(time.process_time() - clock, 1),
    }


def certified(name: str, seed: int) -> float | None:
    """Return the value that one calibration certifies, or None."""
    problem = PROBLEMS[name]()
    setting = mcmm.calibrate(problem.study(seed), jobs=1).setting
    return None if setting is None else float(setting[problem.axis])


TWO_AXES: dict[str, Any] = {
    "maximize": "mean(pnl_settled)",
    "constraint": [
        {"probability": "max_drawdown_fair > 4", "at_most": 0.05},
        {"expected_shortfall": {"metric": "pnl_settled", "level": 0.95}, "at_most": 14},
    ],
    "search": {
        "risk.inventory_limit": {"low": 5, "high": 100, "integer": True},
        "quoting.base_spread": {"low": 0.01, "high": 0.20},
    },
}
SHORT: dict[str, Any] = {"steps": 150}


def compare_with_grid(seeds: int, seed: int, cells: int = 25, paths: int = 32_768) -> dict[str, Any]:
    """Compare the best setting that the search finds with the best of a fine grid, on the grid's paths.

    Parameters
    ----------
    seeds, seed : int
        How many searches, and the first one's seed.
    cells : int
        Settings along each of the two axes.
    paths : int
        Of each setting; the grid and the search's settings meet the same market.
    """
    from mcmm.calibration.sampling import Sampler
    from mcmm.calibration.scores import Space, evaluate

    started = time.perf_counter()
    study = mcmm.Study(name="grid", scenario=SHORT, seed=seed, calibrate=TWO_AXES)
    assert study.calibrate is not None
    judge = Sampler(study.scenario, study.calibrate, 123_456_789, -1, lambda *_: None)
    space = Space(study.calibrate)
    shares = np.linspace(0.0, 1.0, cells)
    keys = list(dict.fromkeys(space.key([a, b]) for a in shares for b in shares))
    judge.need(keys, paths, "")
    grid = [evaluate(judge, key, paths) for key in keys]
    best = max((one for one in grid if one.worst <= 0.0), key=lambda one: one.objective)
    rows = []
    for i in range(seeds):
        asked = mcmm.Study(name="grid", scenario=SHORT, seed=seed + i, calibrate=TWO_AXES)
        document = mcmm.calibrate(asked).document
        row: dict[str, Any] = {"seed": seed + i}
        for name in ("best", "certified"):
            setting = document["best"]["setting"] if name == "best" else document["setting"]
            if setting is None:
                continue
            key = judge.key_of(setting)
            judge.need([key], paths, "")
            one = evaluate(judge, key, paths)
            row[name] = {
                "setting": setting,
                "objective": one.objective,
                "of_the_best": one.objective / best.objective,
                "estimates": one.estimates,
            }
        rows.append(row)
    return {
        "grid": len(keys),
        "best_of_the_grid": {
            "setting": judge.named(best.key),
            "objective": best.objective,
            "estimates": best.estimates,
        },
        "searches": rows,
        "least_of_the_best": min(row["best"]["of_the_best"] for row in rows),
        "seconds": round(time.perf_counter() - started, 1),
    }


CHAIN: dict[str, Any] = {
    "steps": 400,
    "market": {"volatility": 0.0, "initial_mid": 0.45},
    "flow": {
        "arrival_rate": 0.4,
        "informed_fraction": 0.0,
        "price_sensitivity": 0.0,
        "noise_buy_fraction": 0.75,
        "size_distribution": "fixed",
        "size_mean": 1.0,
        "size_max": 1,
    },
    "quoting": {"policy": "symmetric", "base_spread": 0.04},
    "risk": {"inventory_limit": math.inf, "mark": "fair"},
}
"""A maker whose mid is 5 cents below a constant fair value: a buyer takes 3 cents, a seller brings 7."""


def chance_of_drawdown(cents: int) -> float:
    """Return P(max_drawdown_fair > cents) of `CHAIN`: the drawdown is a Markov chain of whole cents."""
    rate, buys = CHAIN["flow"]["arrival_rate"], CHAIN["flow"]["noise_buy_fraction"]
    state = np.zeros(cents + 1)
    state[0], passed = 1.0, 0.0
    for _ in range(CHAIN["steps"]):
        worse, better = rate * buys * state, rate * (1.0 - buys) * state
        state = (1.0 - rate) * state
        state[3:] += worse[:-3]
        passed += worse[-3:].sum()
        state[:-7] += better[7:]
        state[0] += better[:7].sum()
    return passed


def split(repetitions: int, seed: int, cents: int = 300, effort: int = 1024) -> dict[str, Any]:
    """Count how often splitting's 95% interval holds the chance that is known exactly."""
    from mcmm.splitting import rare_event

    started = time.perf_counter()
    truth, scenario = chance_of_drawdown(cents), mcmm.Scenario(**CHAIN)
    event = f"max_drawdown_fair > {cents / 100 + 0.005}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [
            rare_event(scenario, event, seed=seed + i, effort=effort, replicates=16)
            for i in range(repetitions)
        ]
    covered = sum(bool(one.interval.low <= truth <= one.interval.high) for one in found)
    rare = rare_event(scenario, "max_drawdown_fair > 3.305", seed=seed, effort=8192, replicates=16)
    return {
        "event": event,
        "chance": truth,
        "repetitions": repetitions,
        "seed": seed,
        "covered": covered,
        "coverage": covered / repetitions,
        "mean_of_the_estimates": float(np.mean([one.chance for one in found])),
        "median_saving": float(np.median([one.saving for one in found])),
        "of_a_millionth": {
            "chance": chance_of_drawdown(330),
            "estimate": rare.chance,
            "interval": list(rare.interval),
            "saving": rare.saving,
        },
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    """Run all and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/certify.json"))
    options = parser.parse_args()
    result: dict[str, Any] = {"mcmm": mcmm.__version__, **core_info()}
    result["false_certificates"] = [repeat(name, options.repetitions, options.seed) for name in PROBLEMS]
    result["search"] = compare_with_grid(max(options.repetitions // 100, 1), options.seed)
    result["splitting"] = split(max(options.repetitions // 5, 1), options.seed)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
