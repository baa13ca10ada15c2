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
from mcmm.reports.details import Details
from mcmm.reports.findings import (
    Findings,
    breakers_of,
    describe,
    exposure_limited,
    frontier,
    is_chance,
    point_label,
    short_names,
    standard_error_name,
    unit,
)
from mcmm.reports.samples import SAMPLED_METRICS, Mark, Sample, kept_marks
from mcmm.reports.timeline import FAN_LEVELS
from mcmm.statistics import proportion

if TYPE_CHECKING:
    from mcmm.moments import FloatArray

__all__ = ["MOST_DISTRIBUTIONS", "carried_rows", "figures_data"]

#: The most points whose distributions it carries; of a longer study the best ones and a spread of the others.
MOST_DISTRIBUTIONS = 200
#: The most markets whose own columns it carries.
MOST_MARKETS = 8
#: The mean that risk is set against.
REWARD = "pnl_settled.controlled_mean"
RISKS = (
    "pnl_settled.expected_shortfall_95",
    "pnl_settled.expected_shortfall_99",
    "max_drawdown.mean",
    "halt.chance",
    "pnl_settled.loss_chance",
)
#: A distribution's marks, in the order in which the page has them.
MARKS = (
    *("mean", "p01", "p05", "p50", "p95", "p99"),
    *("value_at_risk_95", "expected_shortfall_95", "value_at_risk_99", "expected_shortfall_99"),
)


def figures_data(details: Details) -> dict[str, Any]:
    """Gather what the page's figures show.

    Parameters
    ----------
    details : Details
        The sweep, what it says, and its points looked at path by path.

    Returns
    -------
    dict
        Ready for JSON: ``points``, ``axes``, ``columns`` (the summary, by column), ``menu`` (what to choose
        from), ``errors``, ``chances``, ``objective``, ``risks`` (with their frontiers), ``distributions`` (by
        metric and row, with marks), ``sampled`` (the rows whose paths were looked at, and how many),
        ``breakers``, ``drivers``, ``limits``, ``settlement``.
    """
    findings = details.findings
    result = findings.result
    columns = _columns(findings)
    distributions, settlement = _distributions(details)
    labels = [point_label(result.points, row, findings.varied) for row in range(len(findings.order))]
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
        "marks": list(MARKS),
        "distributions": distributions,
        "units": {name: METRICS[name].unit for name in distributions},
        "sampled": {str(row): [sample.paths, sample.whole] for row, sample in details.samples.items()},
        "breakers": _breakers(details),
        "unbroken": findings.unbroken,
        "exposure_limited": any(
            exposure_limited(result.study.scenario_at(int(point))) for point in result.points.index
        ),
        "steps": [result.study.steps_at(int(point)) for point in result.points.index],
        "drivers": _drivers(details),
        "limits": _limits(details),
        "time": _time(details),
        "settlement": settlement,
    }


def _number(value: float, figures: int = 5) -> float | None:
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


def carried_rows(findings: Findings) -> list[int]:
    """Choose the rows whose distributions are carried."""
    count = len(findings.order)
    if count <= MOST_DISTRIBUTIONS:
        return list(range(count))
    best_half = findings.order[: MOST_DISTRIBUTIONS // 2]
    others = findings.order[MOST_DISTRIBUTIONS // 2 :]
    places = np.linspace(0, len(others) - 1, MOST_DISTRIBUTIONS - len(best_half)).round().astype(int)
    return sorted({*best_half, *(others[place] for place in places)})


def _distributions(details: Details) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the distributions with their marks, and settlement's luck with its standard error.

    Three metrics are kept of every point; the others, and exact intervals, come from the points whose paths
    were looked at.
    """
    findings = details.findings
    result = findings.result
    distributions: dict[str, dict[str, Any]] = {name: {} for name in DISTRIBUTION_METRICS}
    for row in carried_rows(findings):
        sample = details.samples.get(row)
        for name in DISTRIBUTION_METRICS:
            found = result.distribution(int(result.points.index[row]), name)
            if found is not None:
                exact = sample.marks.get(name) if sample is not None and sample.whole else None
                marks = kept_marks(findings, row, name, found)
                marks |= exact or {}
                if exact and "mean" in exact:
                    column = findings.estimated(f"{name}.mean")
                    marks["mean"] = (findings.value(row, column), *findings.interval(row, column))
                paths = result.paths_of(int(result.points.index[row]))
                distributions[name][str(row)] = _distribution(found, marks, paths, exact is not None)
    for name in _telling(details.samples):
        distributions[name] = {
            str(row): _distribution(sample.distributions[name], sample.marks[name], sample.paths, True)
            for row, sample in details.samples.items()
            if name in sample.distributions
        }
    luck, errors = (
        _rounded(result.summary[f"settlement.{part}"].to_numpy()) for part in ("mean", "standard_error")
    )
    carried = {name: points for name, points in distributions.items() if points}
    return carried, {"mean": luck, "error": errors, "reach": _number(findings.reach("pnl_settled.mean"), 4)}


def _telling(samples: dict[int, Sample]) -> list[str]:
    """Name the metrics, beyond those kept of every point, that are not one number on every path."""
    names = []
    for name in SAMPLED_METRICS:
        found = [sample.distributions[name] for sample in samples.values() if name in sample.distributions]
        ends = {float(end) for each in found for end in (each.quantiles[0], each.quantiles[-1])}
        if name not in DISTRIBUTION_METRICS and (len(ends) > 1 or (name == "breaker_overshoot" and found)):
            names.append(name)
    return names


def _distribution(found: Distribution, marks: dict[str, Mark], paths: int, exact: bool) -> dict[str, Any]:
    """Write a distribution small.

    Quantiles are rounded to a hundredth of a bin or finer, as whole multiples of ``10^-digits``: the first,
    and then how far each lies beyond the one before. Marks stand in the order of `MARKS`.
    """
    digits = max(0, 2 - math.floor(math.log10(found.width)))
    whole = np.rint(found.quantiles * 10.0**digits).astype(np.int64)
    return {
        "start": found.start,
        "width": found.width,
        "counts": [int(count) if count == round(count) else round(float(count), 2) for count in found.counts],
        "digits": digits,
        "quantiles": np.diff(whole, prepend=0).tolist(),
        "marks": [[_number(value, 5) for value in marks[part]] if part in marks else 0 for part in MARKS],
        "paths": paths,
        "exact": int(exact),
    }


def _breakers(details: Details) -> dict[str, Any]:
    """Say by row and breaker on which share of paths it tripped first, and the share of steps after that.

    Where a point has one breaker, it is the one that every halt is of; which of several it was takes the
    paths, and where those were not looked at, all are told together as ``any``.
    """
    findings = details.findings
    result = findings.result
    found: dict[str, Any] = {}
    for row, point in enumerate(result.points.index):
        reasons = breakers_of(result.study.scenario_at(int(point)))
        sample = details.samples.get(row)
        if sample is None and len(reasons) > 1:
            reasons = ["any"]
        entries = {}
        for reason in reasons:
            if sample is not None and len(reasons) > 1:
                paths = sample.paths
                trips, after = sample.trips.get(reason, proportion(0, paths)), sample.after.get(reason, 0.0)
            else:
                paths, steps = result.paths_of(int(point)), result.study.steps_at(int(point))
                trips = proportion(round(findings.value(row, "halt.chance") * paths), paths)
                step = findings.value(row, "halt_step.mean")
                after = trips.value * (steps - 1 - step) / steps if trips.value else 0.0
            high = trips.high if trips.value else numbers.zero_chance_bound(paths)
            entries[reason] = {
                "chance": [_number(part, 4) for part in (trips.value, trips.low, high)],
                "after": _number(after, 4),
                "text": numbers.chance(trips.value, paths),
            }
        if entries:
            found[str(row)] = entries
    return found


def _drivers(details: Details) -> dict[str, Any] | None:
    drivers = details.drivers
    if drivers is None:
        return None
    short = short_names(list(details.findings.result.points.columns))
    columns = {
        column: {
            part: [None if value is None else _number(value, 3) for value in values]
            for part, values in found.items()
        }
        for column, found in drivers.columns.items()
    }
    return {
        "method": drivers.method,
        "axes": [{"name": name, "short": short[name]} for name in drivers.axes],
        "columns": columns,
    }


def _time(details: Details) -> dict[str, Any] | None:
    """Give the fans and the traced paths, rounded to what can be seen."""
    found = details.timeline
    if found is None:
        return None

    def rounded(values: FloatArray, figures: int) -> list[float | None]:
        return [_number(float(value), figures) for value in values]

    return {
        "levels": list(FAN_LEVELS),
        "markets": details.findings.result.study.scenario.market_count,
        "fans": [
            {
                "row": fan.row,
                "market": fan.market,
                "paths": fan.paths,
                "steps": fan.steps.tolist(),
                "quantiles": {
                    name: [rounded(line, 4) for line in lines] for name, lines in fan.quantiles.items()
                },
                "quoted": rounded(fan.quoted, 3),
            }
            for fan in found.fans
        ],
        "traces": [
            {
                "path": trace.path,
                "market": trace.market,
                "quantile": trace.quantile,
                "settled": _number(trace.settled),
                "columns": {name: rounded(values, 4) for name, values in trace.columns.items()},
                "fills": {name: rounded(values, 4) for name, values in trace.fills.items()},
            }
            for trace in found.traces
        ],
    }


def _limits(details: Details) -> dict[str, Any] | None:
    """Give each limit's prices with their intervals."""
    found = details.prices
    if found is None:
        return None
    confidence = details.findings.confidence
    return {
        "row": found.row,
        "paths": found.paths,
        "prices": [
            {
                "setting": price.setting,
                "value": ", ".join(numbers.setting_text(value) for value in price.values),
                "problem": numbers.clean(price.problem),
                "acted": price.acted,
                **{
                    name: None
                    if estimate is None
                    else [_number(part, 5) for part in (estimate.value, *estimate.interval(confidence))]
                    for name, estimate in (
                        ("forgone", price.forgone),
                        ("drawdown", price.drawdown),
                        ("shortfall", price.shortfall),
                    )
                },
            }
            for price in found.prices
        ],
    }
