"""What a sweep's numbers say: the best point, what cannot be told apart from it, the tail, the frontier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mcmm.comparison import best_set
from mcmm.errors import InputError
from mcmm.metrics import METRICS, metric_of
from mcmm.reports import numbers
from mcmm.sketch import RELATIVE_ERROR
from mcmm.summaries import EXACT_PATHS, error_column, estimate_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from mcmm.runner import SweepResult

__all__ = [
    "Findings",
    "breakers_of",
    "can_halt",
    "describe",
    "error_digits",
    "exposure_limited",
    "frontier",
    "is_chance",
    "money_digits",
    "point_label",
    "short_names",
    "standard_error_name",
    "unit",
    "varied_names",
    "write",
]

TAIL = "pnl_settled.expected_shortfall_95"


def short_names(axes: list[str]) -> dict[str, str]:
    """Shorten dotted settings to their last part where that stays unambiguous.

    Parameters
    ----------
    axes : list of str
        Dotted names.

    Returns
    -------
    dict
        Dotted name -> name to show.
    """
    last = [name.rpartition(".")[2] for name in axes]
    return {name: part if last.count(part) == 1 else name for name, part in zip(axes, last, strict=True)}


def describe(column: str) -> str:
    """Say what a column of the summary is: ``"pnl_settled.p05"`` is the "5% quantile of pnl_settled".

    Parameters
    ----------
    column : str
        A flat name of the summary.

    Returns
    -------
    str
        Words that stand within a sentence.
    """
    metric, _, part = column.rpartition(".")
    if part == "chance":
        of = metric.rpartition(".")[0]
        return f"chance of a halt of {of}" if of else "chance of a halt"
    if part == "loss_chance":
        return f"chance of a loss ({metric})"
    if part == "controlled_mean":
        return f"mean {metric} with control variates"
    if part == "variance_reduction":
        return f"variance of mean {metric} over its own with control variates"
    if part in ("mean", "sd"):
        return f"{part} {metric}" if part == "mean" else f"standard deviation of {metric}"
    if part[:1] == "p" and part[1:].isdigit():
        return f"{int(part[1:])}% quantile of {metric}"
    for stem, words in (("value_at_risk_", "value at risk"), ("expected_shortfall_", "expected shortfall")):
        if part.removeprefix(stem).isdigit():
            return f"{words} of {metric} at {part.removeprefix(stem)}%"
    return f"{part.replace('_', ' ')} of {metric}" if metric else column


def unit(column: str) -> str:
    """Give the unit of a column of the summary, as in `mcmm.metrics.METRICS`; shares of paths are chances."""
    metric, _, part = column.rpartition(".")
    if part in ("chance", "loss_chance"):
        return "chance"
    known = metric.rpartition(".")[2] in METRICS and part != "variance_reduction"
    return metric_of(metric).unit if known else ""


def standard_error_name(column: str) -> str | None:
    """Name the column that holds a column's standard error; None where the summary has none."""
    metric, _, part = column.rpartition(".")
    return f"{metric}.standard_error" if part == "mean" else error_column(column)


def is_chance(column: str) -> bool:
    """Tell whether a column is a share of paths, which has an exact interval and bounds."""
    return column.rpartition(".")[2] in ("chance", "loss_chance")


def frontier(risk: NDArray[np.float64], reward: NDArray[np.float64]) -> list[int]:
    """Find the efficient points: no other has at most their risk and at least their reward, one strictly.

    Parameters
    ----------
    risk, reward : ndarray, shape (points,)
        Less of the first and more of the second is better; a point with a NaN is left out.

    Returns
    -------
    list of int
        Rows, by rising risk and so by rising reward.
    """
    rows = np.flatnonzero(np.isfinite(risk) & np.isfinite(reward))
    chosen: list[int] = []
    highest = -math.inf
    for row in rows[np.lexsort((-reward[rows], risk[rows]))]:
        tied = bool(chosen) and risk[row] == risk[chosen[-1]] and reward[row] == reward[chosen[-1]]
        if reward[row] > highest or tied:
            chosen.append(int(row))
            highest = max(highest, float(reward[row]))
    return chosen


def breakers_of(scenario: Any) -> list[str]:
    """Name the breakers that a scenario sets; with several markets only the portfolio's own."""
    if scenario.markets:
        return ["portfolio_drawdown"] if math.isfinite(scenario.portfolio.drawdown_limit) else []
    return [
        name for name in ("drawdown", "loss", "volume") if math.isfinite(scenario.get(f"risk.{name}_limit"))
    ]


def exposure_limited(scenario: Any) -> bool:
    """Tell whether a scenario limits exposure, in any market or of their sum."""
    limits = [market.risk.exposure_limit for market in scenario.by_market().values()]
    return any(map(math.isfinite, [*limits, scenario.portfolio.exposure_limit]))


def can_halt(scenario: Any) -> bool:
    """Tell whether a scenario sets any breaker: without one a halt is impossible, not merely unseen.

    With several markets the portfolio's own is meant, as in the columns without a market's name.
    """
    return bool(breakers_of(scenario))


def varied_names(points: pd.DataFrame) -> dict[str, str]:
    """Return the short names of the axes on which the points differ; of all of them where no two do."""
    names = list(points.columns)
    return short_names([name for name in names if points[name].nunique(dropna=False) > 1] or names)


def point_label(points: pd.DataFrame, row: int, short: dict[str, str]) -> str:
    """Write a point's settings on some axes: ``"base_spread 0.06, inventory_limit 100"``."""
    values = {name: numbers.short_text(points[name].iloc[row]) for name in short}
    return ", ".join(f"{short[name]} {value}" for name, value in values.items())


@dataclass(frozen=True)
class Findings:
    """What the report says of a sweep, apart from how it is shown. Rows are positions in ``result.points``.

    Attributes
    ----------
    result : SweepResult
        The sweep.
    objective : str
        Column of the summary that the points are ranked by; the largest is best.
    order : tuple of int
        Rows from the best to the worst; those without an objective come last, in the study's order.
    best : int or None
        The best row; None where no point has an objective.
    shortfall, shortfall_standard_error : ndarray, shape (points,)
        The best point's objective less the point's, and its standard error; NaN where not known.
    shortfall_degrees : ndarray, shape (points,)
        Degrees of freedom of that error's t distribution; infinite for a normal one.
    tied : tuple of int
        Rows not shown to be worse than the best, best first: with the best they hold the true best with a
        chance of 95% or more, see `mcmm.comparison.best_set`.
    method : {"paired", "apart", "none"}
        Where the shortfall's standard error comes from: differences of batches of the same paths (points
        share their random numbers), the two points' standard errors taken as independent, or nowhere (the
        objective has none).
    halting : tuple of bool
        Whether the row's scenario sets a breaker.
    """

    result: SweepResult
    objective: str
    order: tuple[int, ...]
    best: int | None
    shortfall: NDArray[np.float64]
    shortfall_standard_error: NDArray[np.float64]
    shortfall_degrees: NDArray[np.float64]
    tied: tuple[int, ...]
    method: Literal["paired", "apart", "none"]
    halting: tuple[bool, ...]

    @classmethod
    def of(cls, result: SweepResult) -> Findings:
        """Read the findings off a sweep.

        Parameters
        ----------
        result : SweepResult
            A finished sweep.

        Returns
        -------
        Findings
        """
        objective = str(result.study.objective)
        estimated = estimate_column(objective, result.summary.columns)
        values = result.summary[estimated].to_numpy(dtype=float)
        ranks = np.argsort(np.where(np.isnan(values), np.inf, -values), kind="stable")
        order = tuple(int(row) for row in ranks)
        best = order[0] if order and math.isfinite(values[order[0]]) else None
        shortfall = np.full(len(values), math.nan)
        errors = np.full(len(values), math.nan)
        degrees = np.full(len(values), math.inf)
        tied: tuple[int, ...] = ()
        method: Literal["paired", "apart", "none"] = "none"
        if best is not None:
            shortfall = values[best] - values
            method = _fill_errors(result, objective, best, shortfall, errors, degrees)
            known = np.where(np.isfinite(errors), shortfall, math.nan)
            kept = best_set(known, errors, degrees, result.study.looks)
            tied = tuple(row for row in order if row != best and kept[row])
        halting = tuple(can_halt(result.study.scenario_at(point)) for point in result.points.index)
        return cls(result, objective, order, best, shortfall, errors, degrees, tied, method, halting)

    @property
    def unbroken(self) -> str:
        """What is said where no halt can be: with several markets their own breakers are not meant."""
        return "the portfolio has no breaker" if self.result.study.scenario.markets else "no breaker is set"

    def can_simulate(self, row: int) -> bool:
        """Tell whether a point can be simulated again: a policy of one's own is not in a run directory."""
        study = self.result.study
        markets = study.scenario_at(int(self.result.points.index[row])).by_market().values()
        custom = any(market.quoting.policy == "custom" for market in markets)
        return not custom or study.quoter is not None

    @cached_property
    def paths(self) -> int:
        """Paths of each point, the fewest of any where they differ."""
        return min(map(self.result.paths_of, self.result.points.index))

    @property
    def paths_text(self) -> str:
        """How many paths each point has, in words: ``"20,000"``, or ``"8,192 to 65,536"``."""
        counts = [self.result.paths_of(point) for point in self.result.points.index]
        low, high = min(counts), max(counts)
        return f"{low:,}" if low == high else f"{low:,} to {high:,}"

    @property
    def sketched(self) -> str:
        """Say how near quantiles and tails are where points have too many paths to keep; else empty."""
        if max(map(self.result.paths_of, self.result.points.index)) <= EXACT_PATHS:
            return ""
        return (
            f"Quantiles, VaR and ES of a point with more than {EXACT_PATHS:,} paths are a sketch's, within "
            f"{RELATIVE_ERROR:.1%} of what they are of the paths one by one."
        )

    def estimated(self, column: str) -> str:
        """Name the column with a mean's best estimate: that with control variates, where there is one."""
        return estimate_column(column, self.result.summary.columns)

    def value(self, row: int, column: str) -> float:
        """Read one number of the summary; NaN where there is no such column."""
        return float(self._numbers[column][row]) if column in self._numbers else math.nan

    @cached_property
    def _numbers(self) -> dict[str, NDArray[Any]]:
        """The summary's columns as arrays: a page reads some forty numbers of each point, one by one."""
        return {str(name): column.to_numpy() for name, column in self.result.summary.items()}

    def chance(self, row: int, column: str) -> str:
        """Write a chance: its bound where no path showed it, ``"none"`` for a halt without a breaker."""
        if column == "halt.chance" and not self.halting[row]:
            return "none"
        return numbers.chance(self.value(row, column), self.result.paths_of(self.result.points.index[row]))

    def interval(self, row: int, column: str) -> tuple[float, float]:
        """Find the 95% interval of a number: exact for a chance, else by Student's t; NaN if none."""
        from mcmm.statistics import proportion

        column = self.estimated(column)
        value = self.value(row, column)
        paths = self.result.paths_of(self.result.points.index[row])
        if is_chance(column):
            if math.isnan(value):
                return math.nan, math.nan
            found = proportion(round(value * paths), paths, self.confidence)
            return found.low, found.high
        name = standard_error_name(column)
        reach = self.reach(column, paths) * self.value(row, name) if name else math.nan
        return value - reach, value + reach

    @property
    def confidence(self) -> float:
        """The level of one interval; more than 95% where the sweep looked several times, see `Precision`."""
        precision = self.result.study.precision
        return 0.95 if precision is None else float(precision.confidence)

    def reach(self, column: str, paths: int | None = None) -> float:
        """Count a 95% interval's standard errors to each side: Student's t for the paths behind it."""
        from mcmm.statistics import Estimate

        part = column.rpartition(".")[2].removeprefix("expected_shortfall_")
        behind = (paths or self.paths) * (1 - int(part) / 100 if part.isdigit() else 1)
        return Estimate(0.0, 1.0, behind).interval(self.confidence).high if behind > 1 else math.nan

    def write(self, row: int, column: str) -> str:
        """Write a number in its unit; of a mean its best estimate."""
        column = self.estimated(column)
        value = self.value(row, column)
        name = standard_error_name(column)
        digits = error_digits(self.value(row, name) if name else math.nan, value)
        return write(value, column, digits, self.paths)

    def write_interval(self, row: int, column: str) -> str:
        """Write a number's 95% interval, ``"$3.39 to $4.26"``; empty where there is none."""
        low, high = self.interval(row, column)
        if not (math.isfinite(low) and math.isfinite(high)):
            return ""
        if is_chance(column):
            digits = max(1, numbers.decimals([100 * (high - low)], 2, most=5))
            return f"{100 * low:.{digits}f}% to {100 * high:.{digits}f}%"
        digits = error_digits((high - low) / 4, high)
        return f"{write(low, column, digits, self.paths)} to {write(high, column, digits, self.paths)}"

    @cached_property
    def varied(self) -> dict[str, str]:
        """The axes on which the points differ, and their short names."""
        return varied_names(self.result.points)

    def name(self, row: int) -> str:
        """Name a point by its number and its settings."""
        label = point_label(self.result.points, row, self.varied)
        return f"point {self.result.points.index[row]}" + (f" ({label})" if label else "")

    @cached_property
    def sensitivity(self) -> dict[str, dict[str, float]]:
        """Give each axis' Sobol indices of the objective; nothing for other designs or an unknown one."""
        try:
            table = self.result.sensitivity(self.objective)
        except InputError:
            return {}
        rows = zip(table.index, table.to_dict("records"), strict=True)
        return {str(name): {str(key): float(value) for key, value in row.items()} for name, row in rows}

    def sentences(self) -> tuple[str, ...]:
        """Answer in three sentences: the best point, its tail, what cannot be told apart from it."""
        from mcmm.reports.answer import sentences

        return sentences(self)

    def behind(self, row: int) -> tuple[float, float]:
        """Find the 95% interval of a point's shortfall from the best, by Student's t; NaN if none."""
        from mcmm.statistics import Estimate

        error, degrees = float(self.shortfall_standard_error[row]), float(self.shortfall_degrees[row])
        if not math.isfinite(error):
            return math.nan, math.nan
        value = float(self.shortfall[row])
        low, high = Estimate(value, error, degrees + 1.0).interval(self.confidence)
        return low, high


def error_digits(error: float, value: float) -> int:
    """Count the decimals that show two figures of a standard error, or four of the value where there is none.

    Parameters
    ----------
    error : float
        Standard error, or NaN.
    value : float
        The number it belongs to.

    Returns
    -------
    int
        0 to 6, never 1 (cents come in pairs).
    """
    digits = (
        numbers.decimals([error], 2, most=6)
        if math.isfinite(error) and error > 0
        else numbers.decimals([value], 4)
    )
    return 2 if digits == 1 else digits


def money_digits(values: Sequence[float]) -> int:
    """Count the decimals of a column of dollars: cents up to a thousand, whole dollars beyond.

    Parameters
    ----------
    values : sequence of float
        The column.

    Returns
    -------
    int
        0 to 4.
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return 0 if largest >= 1000 else 2 if largest >= 0.1 or largest == 0 else numbers.decimals([largest], 2)


def write(value: float, column: str, digits: int, paths: int) -> str:
    """Write a number of the summary in its unit.

    Parameters
    ----------
    value : float
        The number.
    column : str
        The summary's column it is of.
    digits : int
        Decimals.
    paths : int
        Paths behind it, for the bound of a chance never seen.

    Returns
    -------
    str
        ``"$3.20"``, ``"4.2%"`` or a bare number.
    """
    kind = unit(column)
    if kind.startswith("$"):
        return numbers.money(value, digits)
    if is_chance(column):
        return numbers.chance(value, paths)
    return numbers.fixed(value, digits)


def _fill_errors(
    result: SweepResult,
    objective: str,
    best: int,
    shortfall: NDArray[np.float64],
    errors: NDArray[np.float64],
    degrees: NDArray[np.float64],
) -> Literal["paired", "apart", "none"]:
    """Put the shortfalls' standard errors and degrees of freedom in place and say where they come from."""
    try:
        found = list(result.differences(int(result.points.index[best]), objective))
    except InputError:
        name = error_column(estimate_column(objective, result.summary.columns))
        own = np.full(len(errors), math.nan)
        if name is not None and name in result.summary:
            own = result.summary[name].to_numpy(dtype=float)
        errors[:] = np.sqrt(own**2 + own[best] ** 2)
        return "apart" if np.isfinite(own).any() else "none"
    for each in found:
        row = result.points.index.get_loc(each.point)
        shortfall[row], errors[row], degrees[row] = 0.0 - each.value, each.standard_error, each.degrees
    return "paired"
