"""What a sweep's numbers say: the best point, what cannot be told apart from it, the tail, the frontier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mcmm.metrics import METRICS, metric_of
from mcmm.reports import numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mcmm.runner import SweepResult

__all__ = [
    "Findings",
    "can_halt",
    "describe",
    "error_digits",
    "frontier",
    "is_chance",
    "money_digits",
    "point_label",
    "short_names",
    "standard_error_name",
    "unit",
    "write",
]

#: Standard errors within which a difference from the best point counts as not distinguishable.
TIED_WITHIN = 2.0
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
    return metric_of(metric).unit if metric.rpartition(".")[2] in METRICS else ""


def standard_error_name(column: str) -> str | None:
    """Name the column that holds a column's standard error; None where the summary has none."""
    metric, _, part = column.rpartition(".")
    if part == "mean":
        return f"{metric}.standard_error"
    if part in ("chance", "loss_chance") or part.startswith("expected_shortfall_"):
        return f"{column}_standard_error"
    return None


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


def can_halt(scenario: Any) -> bool:
    """Tell whether a scenario sets any breaker: without one a halt is impossible, not merely unseen.

    With several markets the portfolio's own is meant, as in the columns without a market's name.
    """
    if scenario.markets:
        return math.isfinite(scenario.portfolio.drawdown_limit)
    limits = ("risk.drawdown_limit", "risk.loss_limit", "risk.volume_limit")
    return any(math.isfinite(scenario.get(name)) for name in limits)


def point_label(result: SweepResult, row: int) -> str:
    """Write a point's settings on its axes: ``"base_spread 0.06, inventory_limit 100"``."""
    short = short_names(list(result.points.columns))
    values = {name: numbers.setting_text(result.points[name].iloc[row]) for name in short}
    return ", ".join(f"{short[name]} {value}" for name, value in values.items())


def _path_scores(result: SweepResult, row: int, objective: str) -> NDArray[np.float64] | None:
    """Give the number of each path whose mean over paths is the objective; None where it is no mean."""
    point = result.points.index[row]
    metric, _, part = objective.rpartition(".")
    if part == "chance":
        of = metric.removesuffix("halt")
        return (result.values(point, f"{of}trips") > 0).astype(float)
    known = metric.rpartition(".")[2] in METRICS
    if known and part == "mean":
        return result.values(point, metric)
    if known and part == "loss_chance":
        return (result.values(point, metric) < 0).astype(float)
    return None


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
    tied : tuple of int
        Rows not distinguishable from the best: a shortfall within two of its standard errors; best first.
    method : {"paired", "apart", "none"}
        Where the shortfall's standard error comes from: differences path by path (points share their random
        numbers), the two points' standard errors taken as independent, or nowhere (the objective has none).
    halting : tuple of bool
        Whether the row's scenario sets a breaker.
    """

    result: SweepResult
    objective: str
    order: tuple[int, ...]
    best: int | None
    shortfall: NDArray[np.float64]
    shortfall_standard_error: NDArray[np.float64]
    tied: tuple[int, ...]
    method: Literal["paired", "apart", "none"]
    halting: tuple[bool, ...]

    @classmethod
    def of(cls, result: SweepResult) -> Findings:
        """Read the findings off a sweep.

        Parameters
        ----------
        result : SweepResult
            A finished sweep; the paths of points close to the best are read for the paired differences.

        Returns
        -------
        Findings
        """
        objective = str(result.study.objective)
        values = result.summary[objective].to_numpy(dtype=float)
        ranks = np.argsort(np.where(np.isnan(values), np.inf, -values), kind="stable")
        order = tuple(int(row) for row in ranks)
        best = order[0] if order and math.isfinite(values[order[0]]) else None
        shortfall = np.full(len(values), math.nan)
        errors = np.full(len(values), math.nan)
        method: Literal["paired", "apart", "none"] = "none"
        if best is not None:
            shortfall = values[best] - values
            method = _fill_errors(result, objective, best, shortfall, errors)
        tied = tuple(
            row
            for row in order
            if row != best and math.isfinite(errors[row]) and shortfall[row] <= TIED_WITHIN * errors[row]
        )
        halting = tuple(can_halt(result.study.scenario_at(point)) for point in result.points.index)
        return cls(result, objective, order, best, shortfall, errors, tied, method, halting)

    @property
    def paths(self) -> int:
        """Paths of each point."""
        return int(self.result.study.paths)

    def value(self, row: int, column: str) -> float:
        """Read one number of the summary; NaN where there is no such column."""
        return float(self.result.summary[column].iloc[row]) if column in self.result.summary else math.nan

    def chance(self, row: int, column: str) -> str:
        """Write a chance: its bound where no path showed it, ``"none"`` for a halt without a breaker."""
        if column == "halt.chance" and not self.halting[row]:
            return "none"
        return numbers.chance(self.value(row, column), self.paths)

    def interval(self, row: int, column: str) -> tuple[float, float]:
        """Find the 95% interval of a number: exact for a chance, else by Student's t; NaN if none."""
        from mcmm.statistics import proportion

        value = self.value(row, column)
        if is_chance(column):
            if math.isnan(value):
                return math.nan, math.nan
            found = proportion(round(value * self.paths), self.paths)
            return found.low, found.high
        name = standard_error_name(column)
        reach = self.reach(column) * self.value(row, name) if name else math.nan
        return value - reach, value + reach

    def reach(self, column: str) -> float:
        """Count a 95% interval's standard errors to each side: Student's t for the paths behind it."""
        from mcmm.statistics import Estimate

        part = column.rpartition(".")[2].removeprefix("expected_shortfall_")
        behind = self.paths * (1 - int(part) / 100) if part.isdigit() else float(self.paths)
        return Estimate(0.0, 1.0, behind).interval().high if behind > 1 else math.nan

    def write(self, row: int, column: str) -> str:
        """Write a number in its unit."""
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

    def name(self, row: int) -> str:
        """Name a point by its number and its settings."""
        label = point_label(self.result, row)
        return f"point {self.result.points.index[row]}" + (f" ({label})" if label else "")

    def sentences(self) -> tuple[str, ...]:
        """Answer in three sentences: the best point, its tail, what cannot be told apart from it."""
        if self.best is None:
            return (f"No point has a {describe(self.objective)}: it does not apply to this scenario.",)
        return self._best_sentence(self.best), self._tail_sentence(self.best), self._tied_sentence(self.best)

    def _best_sentence(self, best: int) -> str:
        interval = self.write_interval(best, self.objective)
        interval = f" (95% interval {interval})" if interval else ""
        extra = ""
        if self.objective != "pnl_settled.mean":
            extra = f", with mean pnl_settled {self.write(best, 'pnl_settled.mean')} a path"
        elif self.value(best, self.objective) < 0:
            extra = ": even the best point loses money"
        return (
            f"The best {describe(self.objective)} is {self.write(best, self.objective)}{interval}, "
            f"at {self.name(best)}{extra}{self._at_the_edge(best)}."
        )

    def _at_the_edge(self, best: int) -> str:
        """Warn where a better setting may lie outside the study: the best has an axis' last finite value."""
        edges = []
        if self.result.study.layout.design == "list":  # chosen one by one: it has no edge
            return ""
        short = short_names(list(self.result.study.axes))
        for name, values in self.result.study.axes.items():
            if any(isinstance(each, str | bool | list) for each in values) or len(values) < 2:
                continue
            value = float(self.result.points[name].iloc[best])
            finite = [float(each) for each in values if not isinstance(each, list)]
            if math.isfinite(value) and value in (min(finite), max(finite)):
                edges.append(f"the {'largest' if value == max(finite) else 'smallest'} {short[name]}")
        return f", which has {' and '.join(edges)} of the study: a better one may lie beyond" if edges else ""

    def _tail_sentence(self, best: int) -> str:
        shortfall = self.value(best, TAIL)
        interval = self.write_interval(best, TAIL)
        interval = f" (95% interval {interval})" if interval else ""
        verb = "lose" if shortfall >= 0 else "still earn"
        error = self.value(best, f"{TAIL}_standard_error")
        amount = numbers.money(abs(shortfall), error_digits(error, shortfall))
        if shortfall < 0:
            interval = ""
        text = (
            f"In the tail its worst 5% of paths {verb} {amount} on average{interval}, "
            f"and {self.chance(best, 'pnl_settled.loss_chance')} of paths end in a loss"
        )
        tails = self.result.summary[TAIL].to_numpy(dtype=float)
        safest = int(np.nanargmin(tails)) if np.isfinite(tails).any() else best
        if len(tails) == 1:
            return text + "."
        if safest == best:
            return text + "; no other point has a smaller tail."
        return (
            f"{text}; the smallest such tail, {numbers.money(tails[safest])}, is that of "
            f"{self.name(safest)}, where mean pnl_settled is {self.write(safest, 'pnl_settled.mean')}."
        )

    def _tied_sentence(self, best: int) -> str:
        others = len(self.order) - 1
        if others == 0:
            return "The study has this one point, so there is nothing to compare it with."
        if self.method == "none" or self.paths < 2:
            return f"The {describe(self.objective)} has no standard error here, so no difference is judged."
        paired = "paired " if self.method == "paired" else ""
        rule = f"within {TIED_WITHIN:.0f} standard errors of the {paired}difference"
        if not self.tied:
            return f"Every other point is distinguishable from it: none of the {others} comes {rule}."
        points = [str(self.result.points.index[row]) for row in self.tied]
        listed = ", ".join(points[:8]) + (f" and {len(points) - 8} more" if len(points) > 8 else "")
        if len(points) == 1:
            text = (
                f"Of the {others} other points one, point {listed}, is not distinguishable from it ({rule})"
            )
        else:
            count = len(points)
            text = f"Of the {others} other points {count} are not distinguishable from it ({rule}): {listed}"
        tails = {row: self.value(row, TAIL) for row in (best, *self.tied)}
        safest = min(tails, key=lambda row: (tails[row], row != best))
        if safest == best:
            return text + "; the best has the smallest tail of them."
        return (
            f"{text}; of these point {self.result.points.index[safest]} has the smallest tail, "
            f"{numbers.money(tails[safest])}."
        )


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
) -> Literal["paired", "apart", "none"]:
    """Put the standard errors of the shortfalls into ``errors`` and say where they come from."""
    from mcmm.statistics import mean

    name = standard_error_name(objective)
    own = np.full(len(errors), math.nan)
    if name is not None and name in result.summary:
        own = result.summary[name].to_numpy(dtype=float)
    scores = _path_scores(result, best, objective)
    if scores is None:
        errors[:] = np.sqrt(own**2 + own[best] ** 2)
        return "apart" if np.isfinite(own).any() else "none"
    for row in range(len(errors)):
        other = _path_scores(result, row, objective)
        if row == best or other is None or not math.isfinite(shortfall[row]):
            continue
        errors[row] = mean(scores - other).standard_error
    return "paired"
