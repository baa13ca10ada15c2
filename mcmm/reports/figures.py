"""The numbers behind the page's figures, small enough to be carried in it: bins, quantiles, frontiers, menus.

Everything here is plain lists and dicts, ready for JSON; NaN is None. The page's script only draws.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

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

__all__ = ["DISTRIBUTION_METRICS", "MOST_DISTRIBUTIONS", "figures_data", "histogram"]

#: Metrics whose whole distribution the page carries.
DISTRIBUTION_METRICS = ("pnl_settled", "pnl_fair", "max_drawdown")
#: The most points whose distributions it carries; of a longer study the best ones and a spread of the others.
MOST_DISTRIBUTIONS = 200
#: The most markets whose own columns it carries.
MOST_MARKETS = 8
#: Probabilities at which the cumulative curves are drawn: every percent, and finer in the tails.
LEVELS = (
    0.0, 0.001, 0.002, 0.005, *(percent / 100 for percent in range(1, 100)), 0.995, 0.998, 0.999, 1.0,
)  # fmt: skip
FEWEST_BINS, MOST_BINS = 12, 100
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
    return {
        "paths": findings.paths,
        "points": [
            {"id": int(point), "label": label}
            for point, label in zip(result.points.index, labels, strict=True)
        ],
        "axes": _axes(findings),
        "columns": columns,
        "menu": _menu(columns),
        "errors": _errors(findings, columns),
        "chances": _chances(findings, columns),
        "objective": {
            "column": findings.objective,
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


def histogram(values: FloatArray) -> dict[str, Any]:
    """Count values in bins of a round width, 1, 2 or 5 times a power of ten, with edges at its multiples.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Finite numbers, at least one.

    Returns
    -------
    dict
        ``start`` (the first edge), ``width`` and ``counts``; a bin holds its left edge.
    """
    low, high = float(values.min()), float(values.max())
    # Some more bins than Rice's rule (2 n^(1/3)): a binary outcome gives two humps and long tails.
    bins = min(MOST_BINS, max(FEWEST_BINS, math.ceil(3 * len(values) ** (1 / 3))))
    width = _round_width((high - low) / (bins - 1)) if high > low else _round_width(max(abs(low), 1.0) / 50)
    # A value that stands on an edge but for its last bits belongs to the bin that starts there.
    places = np.floor(values / width + 1e-9).astype(np.int64)
    first = int(places.min())
    return {
        "start": float(f"{first * width:.12g}"),
        "width": width,
        "counts": np.bincount(places - first).tolist(),
    }


def _round_width(about: float) -> float:
    """Round to the nearest of 1, 2, 5 and 10 times a power of ten, by ratio."""
    power = 10.0 ** math.floor(math.log10(about))
    factor = min((1, 2, 5, 10), key=lambda factor: abs(math.log(factor * power / about)))
    return float(f"{factor * power:.6g}")


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
    if "pnl_settled.mean" not in columns:
        return []
    reward = summary["pnl_settled.mean"].to_numpy(dtype=float)
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
    from mcmm.statistics import mean

    result = findings.result
    distributions: dict[str, dict[str, Any]] = {name: {} for name in DISTRIBUTION_METRICS}
    luck: list[float | None] = [None] * len(findings.order)
    errors: list[float | None] = [None] * len(findings.order)
    for row in _chosen(findings):
        point = result.points.index[row]
        values = {name: result.values(point, name) for name in DISTRIBUTION_METRICS}
        for name, sample in values.items():
            finite = sample[np.isfinite(sample)]
            if len(finite):
                distributions[name][str(row)] = _distribution(finite)
        found = mean(values["pnl_settled"] - values["pnl_fair"])
        luck[row], errors[row] = _number(found.value), _number(found.standard_error)
    carried = {name: points for name, points in distributions.items() if points}
    return carried, {"mean": luck, "error": errors, "reach": _number(findings.reach("pnl_settled.mean"), 4)}


def _distribution(values: FloatArray) -> dict[str, Any]:
    """Bin one sample and take its quantiles, to a hundredth of a bin."""
    found = histogram(values)
    digits = 2 - math.floor(math.log10(found["width"]))
    quantiles = np.quantile(values, LEVELS, method="inverted_cdf")
    return found | {"quantiles": [round(float(value), max(0, digits)) for value in quantiles]}
