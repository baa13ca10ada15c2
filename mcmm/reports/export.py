"""The report for machines and for pull requests: JSON and Markdown, with the numbers of the page."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from mcmm.reports import numbers
from mcmm.reports.figures import RISKS, carried_rows
from mcmm.reports.findings import TAIL, describe, frontier, short_names, unit
from mcmm.reports.layout import rate
from mcmm.reports.samples import kept_marks
from mcmm.reports.timeline import FAN_LEVELS

if TYPE_CHECKING:
    from mcmm.reports.details import Details
    from mcmm.reports.findings import Findings
    from mcmm.statistics import Estimate

__all__ = ["report_tables", "to_json", "to_markdown"]

LOSSES = (
    "Losses, value at risk, expected shortfall and drawdowns are positive numbers; a negative one is a gain."
)
#: Of more points than this, Markdown has the best and the worst only.
ALL_POINTS, BEST_POINTS, WORST_POINTS = 24, 15, 3


def to_json(details: Details) -> str:
    """Write the report as JSON.

    Parameters
    ----------
    details : Details
        The sweep and what it says.

    Returns
    -------
    str
        `report_tables`, indented; what is not known or not bounded is null.
    """
    return json.dumps(report_tables(details), indent=1, allow_nan=False) + "\n"


def report_tables(details: Details) -> dict[str, Any]:
    """Give the report as nested tables.

    Parameters
    ----------
    details : Details
        The sweep and what it says.

    Returns
    -------
    dict
        ``name``, ``question``, ``answer`` (the sentences), ``losses``, ``run``, ``objective``, ``points``
        (with settings, numbers and distributions), ``frontiers`` (points by measure of risk), ``drivers``,
        ``limits`` and ``time``. Numbers are not rounded; an interval is 95%.
    """
    findings = details.findings
    study, result = findings.result.study, findings.result
    provenance = {
        name: value
        for name, value in result.provenance.items()
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    }
    return {
        "name": study.name,
        "question": study.question,
        "answer": list(findings.sentences()),
        "losses": LOSSES,
        "run": {**provenance, "seed": study.seed, "study": study.digest()},
        "objective": {
            "column": findings.estimated(findings.objective),
            "description": describe(findings.objective),
            "best": None if findings.best is None else int(result.points.index[findings.best]),
            "not_shown_to_be_worse": [int(result.points.index[row]) for row in findings.tied],
            "differences": findings.method,
        },
        "points": [_point(details, row) for row in range(len(findings.order))],
        "frontiers": _frontiers(findings),
        "drivers": _drivers(details),
        "limits": _limits(details),
        "time": _time(details),
    }


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _interval(low: float, high: float) -> dict[str, float | None]:
    return {"low": _known(low), "high": _known(high)}


def _point(details: Details, row: int) -> dict[str, Any]:
    findings = details.findings
    result = findings.result
    point = int(result.points.index[row])
    low, high = findings.behind(row)
    found: dict[str, Any] = {
        "point": point,
        "settings": {name: _setting(result.points[name].iloc[row]) for name in result.points.columns},
        "paths": result.paths_of(point),
        "behind_best": {"value": _known(float(findings.shortfall[row])), **_interval(low, high)},
        "numbers": {},
        "distributions": {},
    }
    for column in result.summary.columns:
        value = findings.value(row, column)
        if not math.isfinite(value) or column.endswith(("standard_error", ".count")):
            continue
        entry: dict[str, Any] = {"value": value}
        if kind := unit(column):
            entry["unit"] = kind
        if column == "halt.chance" and not findings.halting[row]:
            entry["note"] = findings.unbroken
        elif all(map(math.isfinite, ends := findings.interval(row, column))):
            entry |= _interval(*ends)
        if value == 0.0 and column.endswith("chance") and "note" not in entry:
            entry["upper_bound"] = numbers.zero_chance_bound(result.paths_of(point))
        found["numbers"][str(column)] = entry
    for metric, marks in _marks(details, row).items():
        found["distributions"][metric] = {
            part: {"value": _known(value), **_interval(*ends)} for part, (value, *ends) in marks.items()
        }
    return found


def _marks(details: Details, row: int) -> dict[str, Any]:
    """Return a point's quantiles and tails by metric: exact ones, or those of the metrics that are kept."""
    from mcmm.distributions import DISTRIBUTION_METRICS

    findings = details.findings
    sample = details.samples.get(row)
    found = dict(sample.marks) if sample is not None and sample.whole else {}
    if row in carried_rows(findings):
        for metric in DISTRIBUTION_METRICS:
            if metric not in found:
                kept = findings.result.distribution(int(findings.result.points.index[row]), metric)
                if kept is not None:
                    found[metric] = kept_marks(findings, row, metric, kept)
    return found


def _setting(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    # JSON has no infinity; TOML spells it so.
    return "inf" if isinstance(value, float) and math.isinf(value) else value


def _frontiers(findings: Findings) -> dict[str, list[int]]:
    summary = findings.result.summary
    reward = summary[findings.estimated("pnl_settled.mean")].to_numpy(dtype=float)
    return {
        column: [
            int(findings.result.points.index[row])
            for row in frontier(summary[column].to_numpy(dtype=float), reward)
        ]
        for column in RISKS
        if column in summary
    }


def _drivers(details: Details) -> dict[str, Any] | None:
    drivers = details.drivers
    if drivers is None:
        return None
    columns = {
        column: {
            axis: {part: values[place] for part, values in found.items()}
            for place, axis in enumerate(drivers.axes)
        }
        for column, found in drivers.columns.items()
    }
    return {"method": drivers.method, "columns": columns}


def _limits(details: Details) -> dict[str, Any] | None:
    found = details.prices
    if found is None:
        return None

    def told(estimate: Estimate | None) -> dict[str, float | None] | None:
        if estimate is None:
            return None
        return {
            "value": _known(estimate.value),
            **_interval(*estimate.interval(details.findings.confidence)),
        }

    return {
        "point": int(details.findings.result.points.index[found.row]),
        "paths": found.paths,
        "prices": {
            price.setting: {
                "values": [_setting(value) for value in price.values],
                "paths_acted_on": price.acted,
                "pnl_forgone": told(price.forgone),
                "drawdown_avoided": told(price.drawdown),
                "expected_shortfall_95_avoided": told(price.shortfall),
                **({"problem": price.problem} if price.problem else {}),
            }
            for price in found.prices
        },
    }


def _time(details: Details) -> list[dict[str, Any]] | None:
    found = details.timeline
    if found is None:
        return None
    return [
        {
            "point": int(details.findings.result.points.index[fan.row]),
            "market": fan.market,
            "paths": fan.paths,
            "steps": fan.steps.tolist(),
            "levels": list(FAN_LEVELS),
            "quantiles": {
                name: [[_known(float(value)) for value in line] for line in lines]
                for name, lines in fan.quantiles.items()
            },
        }
        for fan in found.fans
    ]


def to_markdown(details: Details) -> str:
    """Write the report as Markdown, as a pull request shows it.

    Parameters
    ----------
    details : Details
        The sweep and what it says.

    Returns
    -------
    str
        Headings, the answer, and tables; every text of the study's is escaped.
    """
    findings = details.findings
    study, found = findings.result.study, findings.result.provenance
    count = len(findings.order)
    lines = [f"## {_escaped(study.name)}", ""]
    if study.question:
        lines += [f"*{_escaped(study.question)}*", ""]
    lines += [f"{place}. {_escaped(text)}" for place, text in enumerate(findings.sentences(), start=1)]
    lines += [
        "",
        f"{count:,} point{'s' * (count != 1)} of {findings.paths_text} paths, seed {study.seed}, "
        f"mcmm {_escaped(str(found['mcmm']))}, {int(found['path_steps']):,} path-steps in "
        f"{numbers.duration(float(found['wall_seconds']))} ({rate(float(found['path_steps_per_second']))}).",
        "",
        *_points_table(findings),
        *_drivers_table(details),
        *_limits_table(details),
        f"{LOSSES} pnl_settled is each path's money once the contract has paid its outcome, after fees. In "
        "brackets: 95% intervals.",
    ]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Escape what Markdown or HTML would read as more than text."""
    return re.sub(r"([\\`*_{}\[\]<>|#~$!&])", r"\\\1", numbers.clean(text))


def _table(heads: list[str], rows: list[list[str]]) -> list[str]:
    return [
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]


def _ranged(findings: Findings, row: int, column: str) -> str:
    interval = findings.write_interval(row, column)
    return _escaped(findings.write(row, column) + (f" ({interval})" if interval else ""))


def _points_table(findings: Findings) -> list[str]:
    result, count = findings.result, len(findings.order)
    rows = list(findings.order)
    if count > ALL_POINTS:
        rows = [*rows[:BEST_POINTS], *rows[-WORST_POINTS:]]
    short = short_names(list(result.points.columns))
    heads = ["point", *map(_escaped, short.values()), "mean pnl", "behind best"]
    heads += ["expected shortfall 95%", "chance of loss", "chance of halt", "mean max drawdown"]
    table = []
    for row in rows:
        mark = "**" if row == findings.best else ""
        tied = " ~" if row in findings.tied else ""
        low, high = findings.behind(row)
        behind = ""
        if row != findings.best and math.isfinite(low):
            digits = numbers.decimals([(high - low) / 4], 2, most=4)
            value = float(findings.shortfall[row])
            told = [numbers.fixed(each, digits) for each in (value, low, high)]
            behind = f"{told[0]} ({told[1]} to {told[2]})"
        halt = "none" if not findings.halting[row] else findings.chance(row, "halt.chance")
        table.append(
            [
                f"{mark}{result.points.index[row]}{mark}{tied}",
                *(_escaped(numbers.short_text(result.points[name].iloc[row])) for name in short),
                _ranged(findings, row, "pnl_settled.mean"),
                behind,
                _ranged(findings, row, TAIL),
                _escaped(findings.chance(row, "pnl_settled.loss_chance")),
                _escaped(halt),
                _ranged(findings, row, "max_drawdown.mean"),
            ]
        )
    lines = _table(heads, table)
    if count > ALL_POINTS:
        left = count - BEST_POINTS - WORST_POINTS
        lines += [f"The best {BEST_POINTS} and the worst {WORST_POINTS}; {left:,} others are left out.", ""]
    if findings.tied:
        lines += ["\\~ not shown to be worse than the best.", ""]
    return lines


def _drivers_table(details: Details) -> list[str]:
    drivers, findings = details.drivers, details.findings
    column = findings.estimated(findings.objective)
    if drivers is None or column not in drivers.columns:
        return []
    found = drivers.columns[column]

    def cell(part: str, place: int) -> str:
        value = found[part][place]
        low, high = (found.get(f"{part}_{end}", [None] * len(drivers.axes))[place] for end in ("low", "high"))
        if value is None:
            return "-"
        ends = "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
        return f"{numbers.fixed(value, 2)}{ends}"

    parts = [
        part
        for part in ("first_order", "total_order", "correlation")
        if part in found  # by what the design allows
    ]
    names = {"first_order": "alone", "total_order": "with interactions", "correlation": "rank correlation"}
    rows = [
        [_escaped(axis), *(cell(part, place) for part in parts)] for place, axis in enumerate(drivers.axes)
    ]
    title = f"What drives {_escaped(describe(findings.objective))}: shares of its variance over the study"
    return [f"### {title}", "", *_table(["setting", *(names[part] for part in parts)], rows)]


def _limits_table(details: Details) -> list[str]:
    found = details.prices
    if found is None or not found.prices:
        return []

    def cell(estimate: Estimate | None) -> str:
        if estimate is None:
            return "-"
        low, high = estimate.interval(details.findings.confidence)
        digits = numbers.decimals([estimate.standard_error], 2, most=4) if estimate.standard_error else 2
        told = [numbers.money(value, 2 if digits == 1 else digits) for value in (estimate.value, low, high)]
        return _escaped(f"{told[0]} ({told[1]} to {told[2]})")

    rows = [
        [
            _escaped(price.setting),
            _escaped(", ".join(numbers.setting_text(value) for value in price.values)),
            *map(cell, (price.forgone, price.drawdown, price.shortfall)),
        ]
        for price in found.prices
    ]
    point = details.findings.result.points.index[found.row]
    return [
        f"### Shadow price of each limit at point {point}: {found.paths:,} paths and their twins without it",
        "",
        *_table(
            ["limit", "value", "pnl forgone", "drawdown avoided", "expected shortfall 95% avoided"], rows
        ),
    ]
