"""The numbers behind the page's figures, small enough to be carried in it: bins, quantiles, frontiers, menus.

Everything here is plain lists and dicts, ready for JSON; NaN is None. The page's script only draws.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmm.distributions import DISTRIBUTION_METRICS, LEVELS, Distribution
from mcmm.metrics import METRICS
from mcmm.reports import numbers
from mcmm.reports.findings import (
    Findings,
    describe,
    frontier,
    is_chance,
    point_label,
    short_names,
    standard_error_name,
    unit,
)

if TYPE_CHECKING:
    from mcmm.moments import FloatArray

__all__ = ["MOST_DISTRIBUTIONS", "figures_data"]

#: The most points whose distributions it carries; of a longer study the best ones and a spread of the others.
MOST_DISTRIBUTIONS = 200
#: The most markets whose own columns it carries.
MOST_MARKETS = 8
#: The mean that risk is set against.
REWARD = "pnl_settled.controlled_mean"
RISKS = (
    "pnl_settled.expected_shortfall_95",
    "pnl_settled.expected_shortfall_99",
    "pnl_settled.value_at_risk_95",
    "pnl_settled.sd",
    "max_drawdown.mean",
    "max_drawdown.p95",
    "halt.chance",
)
ATTRIBUTION = ("spread_pnl", "inventory_pnl", "fees")


def figures_data(findings: Findings) -> dict[str, Any]:
    """Gather what the page's figures show.

    Parameters
    ----------
    findings : Findings
        The sweep and what it says.

    Returns
    -------
    dict
        Ready for JSON: ``points``, ``axes``, ``columns`` (the summary, by column), ``menu`` (what to choose
        from), ``errors``, ``chances``, ``objective``, ``risks`` (with their frontiers), ``distributions``,
        ``settlement``.
    """
    result = findings.result
    columns = _columns(findings)
    distributions, settlement = _distributions(findings)
    labels = [point_label(result, row) for row in range(len(findings.order))]
    axes = _axes(findings)
    cells = math.prod(len(axis["values"]) for axis in axes)
    return {
        "paths": findings.paths,
        "points": [
            {"id": int(point), "label": label}
            for point, label in zip(result.points.index, labels, strict=True)
        ],
        "axes": axes,
        # Points that leave most cells of the axes' grid empty are shown as dots and not as a heatmap.
        "scattered": cells > 4 * len(findings.order),
        "columns": columns,
        "menu": _menu(columns),
        "errors": _errors(findings, columns),
        "chances": _chances(findings, columns),
        "objective": {
            "column": findings.estimated(findings.objective),
            "label": describe(findings.objective),
            "best": findings.best,
            "order": list(findings.order),
            "tied": list(findings.tied),
            "method": findings.method,
            "shortfall": _rounded(findings.shortfall),
            "shortfall_error": _rounded(findings.shortfall_standard_error),
        },
        "risks": _risks(findings, columns),
        "levels": list(LEVELS),
        "distributions": distributions,
        "settlement": settlement,
    }


def _number(value: float, figures: int = 6) -> float | None:
    """Round a number to some figures; None for what JSON cannot hold."""
    return float(f"{value:.{figures}g}") if math.isfinite(value) else None


def _rounded(values: FloatArray) -> list[float | None]:
    return [_number(float(value)) for value in values]


def _columns(findings: Findings) -> dict[str, list[float | None]]:
    """Give the summary's columns that say anything on some point.

    Of several markets only a few have their columns in the page, or the one that the points are ranked by:
    sixty would make it too large to open.
    """
    columns = {}
    markets = findings.result.study.scenario.market_names
    shown = set(markets) if len(markets) <= MOST_MARKETS else {findings.objective.split(".")[0]}
    for name in findings.result.summary.columns:
        if name.count(".") > 1 and name.split(".")[0] not in shown:
            continue
        values = findings.result.summary[name].to_numpy(dtype=float)
        if not name.endswith(".count") and np.isfinite(values).any():
            columns[str(name)] = _rounded(values)
    return columns


def _axes(findings: Findings) -> list[dict[str, Any]]:
    """Describe the axes: their values as text, in order, and which of them each point has."""
    points = findings.result.points
    scenario = findings.result.study.scenario
    axes = []
    for name, short in short_names(list(points.columns)).items():
        cells = [numbers.setting_text(value) for value in points[name]]
        values = dict(zip(cells, points[name], strict=True))
        if all(isinstance(value, (int, float, np.number)) for value in values.values()):
            values = dict(sorted(values.items(), key=lambda item: float(item[1])))
        texts = list(values)
        axes.append(
            {
                "name": name,
                "short": short,
                "unit": scenario.setting(name).unit,
                "description": scenario.setting(name).description,
                "numeric": all(isinstance(value, (int, float, np.number)) for value in values.values())
                and all(math.isfinite(float(value)) for value in values.values()),
                "values": texts,
                "of": [texts.index(cell) for cell in cells],
            }
        )
    return axes


def _menu(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Group the columns that a reader may map, by metric: the money first, then the halts, then the rest."""
    first = ["pnl_settled", "pnl_fair", "pnl", "halt", "max_drawdown", "max_drawdown_fair"]
    groups = [*first, *(name for name in METRICS if name not in first)]
    markets = dict.fromkeys(column.split(".")[0] for column in columns if column.count(".") > 1)
    groups += [f"{market}.{group}" for market in markets for group in groups]
    menu = []
    for group in groups:
        options = [
            {"column": column, "label": describe(column), "unit": unit(column)}
            for column in columns
            if column.rpartition(".")[0] == group and not column.endswith("standard_error")
        ]
        if options:
            metric = group.rpartition(".")[2]
            description = "Whether a breaker tripped." if metric == "halt" else METRICS[metric].description
            menu.append({"group": group, "description": description, "options": options})
    return menu


def _errors(findings: Findings, columns: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Name each column's standard error and how many of them make a 95% interval."""
    errors = {}
    for column in columns:
        name = standard_error_name(column)
        if name in columns and not is_chance(column):
            errors[column] = {"column": name, "reach": _number(findings.reach(column), 4)}
    return errors


def _chances(findings: Findings, columns: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Write the shares of paths with their exact intervals, one never seen by its bound."""
    rows = range(len(findings.order))
    chances = {}
    for column in columns:
        if is_chance(column):
            intervals = [findings.interval(row, column) for row in rows]
            chances[column] = {
                "text": [findings.chance(row, column) for row in rows],
                "low": [_number(low, 4) for low, _ in intervals],
                "high": [_number(high, 4) for _, high in intervals],
            }
    return chances


def _risks(findings: Findings, columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the measures of risk to set the mean against, each with its efficient frontier."""
    summary = findings.result.summary
    if REWARD not in columns:
        return []
    reward = summary[REWARD].to_numpy(dtype=float)
    return [
        {
            "column": column,
            "label": describe(column),
            "unit": unit(column),
            "frontier": frontier(summary[column].to_numpy(dtype=float), reward),
        }
        for column in RISKS
        if column in columns and (column != "halt.chance" or any(findings.halting))
    ]


def _chosen(findings: Findings) -> list[int]:
    """Choose the rows whose distributions are carried."""
    count = len(findings.order)
    if count <= MOST_DISTRIBUTIONS:
        return list(range(count))
    best_half = findings.order[: MOST_DISTRIBUTIONS // 2]
    others = findings.order[MOST_DISTRIBUTIONS // 2 :]
    places = np.linspace(0, len(others) - 1, MOST_DISTRIBUTIONS - len(best_half)).round().astype(int)
    return sorted({*best_half, *(others[place] for place in places)})


def _distributions(findings: Findings) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the chosen points' paths: their distributions, and settlement's luck with its standard error."""
    result = findings.result
    distributions: dict[str, dict[str, Any]] = {name: {} for name in DISTRIBUTION_METRICS}
    for row in _chosen(findings):
        for name in DISTRIBUTION_METRICS:
            found = result.distribution(int(result.points.index[row]), name)
            if found is not None:
                distributions[name][str(row)] = _distribution(found)
    luck, errors = (
        _rounded(result.summary[f"settlement.{part}"].to_numpy()) for part in ("mean", "standard_error")
    )
    carried = {name: points for name, points in distributions.items() if points}
    return carried, {"mean": luck, "error": errors, "reach": _number(findings.reach("pnl_settled.mean"), 4)}


def _distribution(found: Distribution) -> dict[str, Any]:
    """Round a distribution for the page: quantiles to a hundredth of a bin."""
    digits = max(0, 2 - math.floor(math.log10(found.width)))
    return {
        "start": found.start,
        "width": found.width,
        "counts": [int(count) if count == round(count) else round(float(count), 2) for count in found.counts],
        "quantiles": [round(float(value), digits) for value in found.quantiles],
    }
