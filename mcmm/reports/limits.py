"""The shadow price of every limit: the same paths once more with one limit lifted, at the recommended point.

Every scenario with one seed meets the same market, draw for draw, so that path i with a limit and path i
without it are twins: their difference is what the limit did to that path, and its standard error is that of
the differences.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmm.comparison import weighted_mean
from mcmm.controls import controls_known
from mcmm.engine import simulate
from mcmm.errors import MCMMError
from mcmm.metrics import NAMES
from mcmm.pairs import paired_mean, paired_shortfall
from mcmm.statistics import Estimate

if TYPE_CHECKING:
    from mcmm.moments import FloatArray
    from mcmm.reports.findings import Findings
    from mcmm.scenario import Scenario
    from mcmm.simulation import Simulation

__all__ = ["Price", "ShadowPrices", "shadow_prices"]

#: Every limit, with the value that lifts it.
LIMITS: dict[str, float] = {
    "risk.inventory_limit": math.inf,
    "risk.exposure_limit": math.inf,
    "risk.drawdown_limit": math.inf,
    "risk.loss_limit": math.inf,
    "risk.volume_limit": math.inf,
    "risk.close_steps": 0,
    "portfolio.exposure_limit": math.inf,
    "portfolio.drawdown_limit": math.inf,
}
#: The most path-steps of all the twins together, and the most paths of each.
MOST_PATH_STEPS, MOST_PATHS = 100_000_000, 50_000
#: With fewer paths the controls' coefficients are too uncertain to help.
FEWEST_CONTROLLED = 100


@dataclass(frozen=True)
class Price:
    """What one limit costs and saves.

    Attributes
    ----------
    setting : str
        Its dotted name.
    values : tuple
        Its value, or those of the markets that have one.
    forgone : Estimate
        Mean pnl_settled without the limit less that with it, dollars a path; with control variates where
        their means are known (`mcmm.controls`), by regression over the paths.
    drawdown : Estimate
        Mean max_drawdown without the limit less that with it.
    shortfall : Estimate
        Expected shortfall of pnl_settled at 95% without the limit less that with it.
    acted : int
        Paths on which lifting it changed anything.
    problem : str
        Why there is no price: the scenario without the limit is none. Empty otherwise.
    """

    setting: str
    values: tuple[Any, ...]
    forgone: Estimate | None = None
    drawdown: Estimate | None = None
    shortfall: Estimate | None = None
    acted: int = 0
    problem: str = ""


@dataclass(frozen=True)
class ShadowPrices:
    """The prices of a point's limits.

    Attributes
    ----------
    row : int
        The point's row.
    paths : int
        Twin pairs behind each price: the point's first paths.
    prices : tuple of Price
        In the order of the settings; empty where no limit is set.
    """

    row: int
    paths: int
    prices: tuple[Price, ...]


def shadow_prices(findings: Findings) -> ShadowPrices | None:
    """Lift the recommended point's limits one at a time.

    Parameters
    ----------
    findings : Findings
        The sweep.

    Returns
    -------
    ShadowPrices or None
        None where no point is best, or its policy is not at hand.
    """
    if findings.best is None or not findings.can_simulate(findings.best):
        return None
    study, point = findings.result.study, int(findings.result.points.index[findings.best])
    scenario = study.scenario_at(point)
    limits = _limits_of(scenario)
    steps = scenario.steps * scenario.market_count * (1 + len(limits))
    paths = min(findings.result.paths_of(point), MOST_PATHS, max(MOST_PATH_STEPS // steps, 100))
    if not limits:
        return ShadowPrices(findings.best, paths, ())

    def run(twin: Scenario) -> Simulation:
        return simulate(twin, paths=paths, seed=study.seed, jobs=-1, policy=study.quoter_of(twin))

    kept = run(scenario)
    prices = []
    for setting, values in limits.items():
        try:
            lifted = run(_lift(scenario, setting))
        except MCMMError as error:
            prices.append(Price(setting, values, problem=" ".join(str(error).split())))
            continue
        prices.append(_price(setting, values, kept, lifted))
    return ShadowPrices(findings.best, paths, tuple(prices))


def _limits_of(scenario: Scenario) -> dict[str, tuple[Any, ...]]:
    """Return the limits that are set, each with the values that the markets have."""
    found: dict[str, tuple[Any, ...]] = {}
    for setting, none in LIMITS.items():
        if setting.startswith("portfolio."):
            values = (scenario.get(setting),) if scenario.markets else ()
        else:
            values = tuple(market.get(setting) for market in scenario.by_market().values())
        set_ones = tuple(dict.fromkeys(value for value in values if value != none))
        if set_ones:
            found[setting] = set_ones
    return found


def _lift(scenario: Scenario, setting: str) -> Scenario:
    """Return the scenario without one limit, in any of its markets."""
    own = [f"markets.{each.name}.{setting}" for each in scenario.markets if setting in each.overrides()]
    return scenario.replace(dict.fromkeys([setting, *own], LIMITS[setting]))


def _price(setting: str, values: tuple[Any, ...], kept: Simulation, lifted: Simulation) -> Price:
    with_it = dict(zip(NAMES, kept.values, strict=False))
    without = dict(zip(NAMES, lifted.values, strict=False))
    changed = (with_it["volume"] != without["volume"]) | (with_it["pnl_settled"] != without["pnl_settled"])
    return Price(
        setting,
        values,
        _forgone(with_it, without, controls_known(kept.scenario) and controls_known(lifted.scenario)),
        paired_mean(with_it["max_drawdown"], without["max_drawdown"]),
        paired_shortfall(with_it["pnl_settled"], without["pnl_settled"], 0.95),
        int(changed.sum()),
    )


def _forgone(with_it: dict[str, FloatArray], without: dict[str, FloatArray], controls: bool) -> Estimate:
    plain = paired_mean(with_it["pnl_settled"], without["pnl_settled"])
    paths = len(with_it["pnl_settled"])
    if not controls or paths < FEWEST_CONTROLLED:
        return plain
    # What settlement adds and what holding inventory earns are 0 on average, with the limit and without. The
    # first is all of pnl_settled that pnl_fair is not.
    luck = [each["inventory_pnl"] for each in (with_it, without)]
    apart = without["pnl_fair"] - with_it["pnl_fair"]
    value, variance, degrees = weighted_mean(apart, np.ones(paths), luck)
    return Estimate(value, math.sqrt(variance), degrees + 1.0)
