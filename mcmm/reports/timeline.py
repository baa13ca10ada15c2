"""A path's way through time: fans of quantiles from checkpoints, and a few paths step by step.

Both are simulated for the report, with the study's seed, so that path i is the study's path i, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmm.engine import simulate
from mcmm.frames import checkpoint_steps
from mcmm.metrics import NAMES
from mcmm.statistics import ordered_quantile, sorted_sample

if TYPE_CHECKING:
    from mcmm.moments import FloatArray
    from mcmm.reports.findings import Findings
    from mcmm.scenario import Scenario

__all__ = ["FAN_LEVELS", "Fan", "Timeline", "Trace", "make_timeline"]

FAN_LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
#: Quantities of a fan, as the core's checkpoints have them.
QUANTITIES = ("pnl", "drawdown", "inventory", "spread")
CHECKPOINTS = 100
#: The most path-steps of a fan, and the most paths.
MOST_PATH_STEPS, MOST_PATHS = 50_000_000, 20_000
#: The traced paths: those whose pnl_settled is at these quantiles of the fan's.
TRACED = (0.05, 0.5, 0.95)
#: The most markets of a path that are told, its first.
MOST_MARKETS = 4
#: The most steps of a trace that are kept; of a longer path every second, third .. step, and every fill.
MOST_STEPS = 800


@dataclass(frozen=True)
class Fan:
    """Quantiles over the paths of a point at checkpoints.

    Attributes
    ----------
    row : int
        The point's row.
    market : str
        Whose, of several; ``""`` where there is one.
    paths : int
        The point's first paths.
    steps : ndarray of int64, shape (checkpoints,)
        The steps whose end is told, with 1 added: how many have passed.
    quantiles : dict of str to ndarray of shape (levels, checkpoints)
        By quantity, at `FAN_LEVELS`; NaN where no path has it.
    quoted : ndarray of shape (checkpoints,)
        Share of paths with a quote, and so with a spread.
    """

    row: int
    market: str
    paths: int
    steps: Any
    quantiles: dict[str, FloatArray]
    quoted: FloatArray


@dataclass(frozen=True)
class Trace:
    """One path, step by step.

    Attributes
    ----------
    path : int
        Its number.
    market : str
        Whose quotes and fills, of several; ``""`` where there is one.
    quantile : float
        Where its pnl_settled lies among the fan's paths.
    settled : float
        Its pnl_settled, dollars, of all its markets together.
    columns : dict of str to ndarray of shape (steps,)
        ``step``, ``probability``, ``mid``, ``bid``, ``ask``, ``inventory``, ``pnl``.
    fills : dict of str to ndarray of shape (fills,)
        ``step``, ``price``, ``size`` (contracts, positive where the maker bought).
    """

    path: int
    market: str
    quantile: float
    settled: float
    columns: dict[str, FloatArray]
    fills: dict[str, FloatArray]


@dataclass(frozen=True)
class Timeline:
    """The fans of the points told, and the traced paths of the first of them; of each market one.

    Of a path's markets no more than `MOST_MARKETS` are told.
    """

    fans: tuple[Fan, ...]
    traces: tuple[Trace, ...]


def make_timeline(findings: Findings) -> Timeline | None:
    """Simulate the recommended point's way through time, and that of the point with the smallest tail.

    Parameters
    ----------
    findings : Findings
        The sweep.

    Returns
    -------
    Timeline or None
        None where no point is best, or a point's policy is not at hand.
    """
    from mcmm.reports.samples import reading_order

    if findings.best is None:
        return None
    rows = list(dict.fromkeys([findings.best, *reading_order(findings)[1:2]]))
    if not all(findings.can_simulate(row) for row in rows):
        return None
    fans, traces = [], []
    for row in rows:
        found, settled = _fans(findings, row)
        fans += found
        if row == findings.best:
            traces = _traces(findings, row, settled)
    return Timeline(tuple(fans), tuple(traces))


def _fans(findings: Findings, row: int) -> tuple[list[Fan], FloatArray]:
    study, point = findings.result.study, int(findings.result.points.index[row])
    scenario = study.scenario_at(point)
    most = max(MOST_PATH_STEPS // (scenario.steps * scenario.market_count), 100)
    paths, count = min(findings.result.paths_of(point), most, MOST_PATHS), min(CHECKPOINTS, scenario.steps)
    run = simulate(
        scenario, paths=paths, seed=study.seed, jobs=-1, checkpoints=count, policy=study.quoter_of(scenario)
    )
    marks = run.checkpoint_values or {}
    steps = checkpoint_steps(scenario.steps, count) + 1
    fans = []
    for place, market in enumerate(_told(scenario)):
        own = {name: values[:, place] if market else values for name, values in marks.items()}
        quantiles = {name: _quantiles(own[name]) for name in QUANTITIES}
        fans.append(Fan(row, market, paths, steps, quantiles, np.isfinite(own["spread"]).mean(axis=0)))
    return fans, run.values[NAMES.index("pnl_settled")]


def _told(scenario: Scenario) -> tuple[str, ...]:
    """Return the markets told, by name; of a scenario with one market that has none."""
    return scenario.market_names[:MOST_MARKETS] if scenario.markets else ("",)


def _quantiles(values: FloatArray) -> FloatArray:
    """Return the quantiles of each checkpoint, shape (paths, checkpoints) to (levels, checkpoints)."""
    ordered = [sorted_sample(column) for column in values.T]
    return np.array([[ordered_quantile(column, level) for column in ordered] for level in FAN_LEVELS])


def _traces(findings: Findings, row: int, settled: FloatArray) -> list[Trace]:
    study, point = findings.result.study, int(findings.result.points.index[row])
    scenario = study.scenario_at(point)
    order = np.argsort(settled, kind="stable")
    places = {level: int(order[min(round(level * (len(order) - 1)), len(order) - 1)]) for level in TRACED}
    found = []
    for path in dict.fromkeys(places.values()):
        run = simulate(
            scenario,
            paths=1,
            first_path=path,
            seed=study.seed,
            trace_paths=1,
            policy=study.quoter_of(scenario),
        )
        values = run.trace_values or {}
        quantile = next(level for level, each in places.items() if each == path)
        for place, market in enumerate(_told(scenario)):
            own = {name: rows[0, place] if market else rows[0] for name, rows in values.items()}
            found.append(Trace(path, market, quantile, float(settled[path]), _steps(own), _fills(own)))
    return found


def _steps(traced: dict[str, FloatArray]) -> dict[str, FloatArray]:
    steps = np.arange(len(traced["mid"]), dtype=np.float64)
    every = -(-len(steps) // MOST_STEPS)
    names = ("probability", "mid", "bid", "ask", "inventory", "pnl")
    return {"step": steps[::every], **{name: traced[name][::every] for name in names}}


def _fills(traced: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Return the maker's fills: what it bought at its bid and sold at its ask."""
    parts = []
    for side, quote, sign in (("bought", "bid", 1.0), ("sold", "ask", -1.0)):
        at = np.flatnonzero(traced[side] > 0.0)
        parts.append((at.astype(np.float64), traced[quote][at], sign * traced[side][at]))
    step, price, size = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(step, kind="stable")
    return {"step": step[order], "price": price[order], "size": size[order]}
