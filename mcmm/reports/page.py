"""The report as one self-contained page: text and tables made here, figures drawn by its script."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcmm.distributions import LEVELS
from mcmm.files import write_whole
from mcmm.metrics import PLACES
from mcmm.reports import numbers
from mcmm.reports.details import Details
from mcmm.reports.figures import MOST_DISTRIBUTIONS, carried_rows, figures_data
from mcmm.reports.findings import (
    Findings,
    breakers_of,
    describe,
    error_digits,
    money_digits,
    short_names,
)
from mcmm.reports.provenance import provenance_rows, recipes, settings_groups
from mcmm.reports.queue import counted_steps, queue_rows, queues_of, together, venue_of
from mcmm.reports.timeline import MOST_MARKETS

if TYPE_CHECKING:
    from mcmm.statistics import Estimate

__all__ = ["page", "write_page"]

PNL = "pnl_settled"
#: The page's script, in the order in which it runs.
SCRIPTS = (
    *("core", "distributions", "scatter", "map", "multiples", "tradeoff", "attribution", "bound"),
    *("time", "drivers", "limits", "recipes", "start"),
)


def write_page(findings: Findings, path: str | os.PathLike[str], details: Details | None = None) -> None:
    """Write the report's page to a file, whole or not at all.

    Parameters
    ----------
    findings : Findings
        The sweep and what it says.
    path : str or path
        The file; one that is there is replaced.
    details : Details, optional
        What is worked out of the paths, where that has been done before.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    write_whole(Path(path), page(findings, details).encode(), durable=False)


def page(findings: Findings, details: Details | None = None, *, pictures: int = 0) -> str:
    """Make the report's page.

    Parameters
    ----------
    findings : Findings
        The sweep and what it says.
    details : Details, optional
        What is worked out of the paths, where that has been done before.
    pictures : int
        If not 0, have the page turn its figures into PNG of so many pixels to one of its own, and write them
        into itself, see `mcmm.reports.png`.

    Returns
    -------
    str
        A whole HTML document that needs no other file and no network. Every text of the study's is escaped.
    """
    from jinja2 import Environment, StrictUndefined
    from jinja2.utils import htmlsafe_json_dumps
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    home = files("mcmm.reports")
    scripts = (*SCRIPTS, "png") if pictures else SCRIPTS
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(home.joinpath("report.html.j2").read_text(encoding="utf-8"))
    study = findings.result.study
    details = details or Details(findings)
    data = figures_data(details)
    data["recipes"] = recipes(findings, carried_rows(findings))
    data["scale"] = pictures
    return template.render(
        name=numbers.clean(study.name),
        question=numbers.clean(study.question),
        sentences=findings.sentences(),
        best=None if findings.best is None else findings.name(findings.best),
        tiles=_tiles(findings),
        points=_points(findings),
        notes=_notes(findings),
        facts=_facts(findings),
        axes=findings.varied,
        sampled=_sampled(details),
        sensitivity=_sensitivity(findings),
        queue=_queue(findings),
        drivers=details.drivers is not None,
        overshoot=_overshoot(details),
        limits=_limits(details),
        time=data["time"],
        settings=settings_groups(findings),
        provenance=provenance_rows(findings),
        has_map=any(len(axis["values"]) > 1 for axis in data["axes"]),
        has_settlement=any(data["settlement"]["mean"]),
        left_out=max(0, len(findings.order) - MOST_DISTRIBUTIONS),
        objective=describe(findings.objective),
        data=htmlsafe_json_dumps(data, dumps=_dumps),
        # These three are the package's and plotly's own texts; none comes from a study.
        style=Markup(home.joinpath("report.css").read_text(encoding="utf-8")),
        script=Markup("".join(home.joinpath(f"{name}.js").read_text(encoding="utf-8") for name in scripts)),
        plotly=Markup(get_plotlyjs()),
    )


def _dumps(data: Any, **_: Any) -> str:
    return json.dumps(data, separators=(",", ":"), allow_nan=False)


def _tiles(findings: Findings) -> list[dict[str, str]]:
    """Choose the best point's four numbers that open the page."""
    best = findings.best
    if best is None:
        return []
    paths = f"{findings.paths_text} paths"
    breaker = "the portfolio's breaker" if findings.result.study.scenario.markets else "a breaker"
    tiles = []
    for column, label, note in (
        (f"{PNL}.mean", "Mean pnl, settled", "dollars a path"),
        (f"{PNL}.expected_shortfall_95", "Expected shortfall, 95%", "mean loss in the worst 5% of paths"),
        (f"{PNL}.loss_chance", "Chance of a loss", f"share of {paths}"),
        ("halt.chance", "Chance of a halt", f"share of {paths} on which {breaker} tripped"),
    ):
        value, interval = findings.write(best, column), findings.write_interval(best, column)
        interval = f"95% interval {interval}" if interval else ""
        if column == "halt.chance" and not findings.halting[best]:
            value, interval, note = "none", "", findings.unbroken
        elif value.startswith("<"):
            interval, note = "95% upper bound", f"seen on none of {paths}"
        tiles.append({"label": label, "value": _minus(value), "interval": _minus(interval), "note": note})
    return tiles


def _facts(findings: Findings) -> list[tuple[str, str, bool]]:
    """List what a reader of the answer asks first, and whether the number comes before its name."""
    found = findings.result.provenance
    count = len(findings.order)
    rate = numbers.significant(float(found["path_steps_per_second"]) / 1e6, 3)
    return [
        ("points" if count != 1 else "point", f"{count:,}", True),
        ("paths each", findings.paths_text, True),
        ("seed", str(findings.result.study.seed), False),
        *([("venue", venue.partition(" ")[2], False)] if (venue := venue_of(findings)) else []),
        ("mcmm", numbers.clean(str(found["mcmm"])), False),
        ("Python", numbers.clean(str(found.get("python", "-"))), False),
        ("NumPy", numbers.clean(str(found.get("numpy", "-"))), False),
        ("path-steps", f"{int(found['path_steps']):,}", True),
        ("path-steps per second", f"{rate} million", True),
        ("wall time", numbers.duration(float(found["wall_seconds"])), True),
    ]


def _sampled(details: Details) -> str:
    """Say which points' paths the page has looked at, and what it shows of the others."""
    findings, samples = details.findings, details.samples
    total, whole = len(findings.order), sum(sample.whole for sample in samples.values())
    if whole == total:
        return (
            "Every point's paths were looked at for this page, read or simulated again with the same bits: "
            "every interval of a quantile is exact."
        )
    partly = len(samples) - whole
    told = f" and the first paths of {partly} more" if partly else ""
    return (
        f"For this page all paths of {whole} of the {total:,} points{told} were read, or simulated again "
        "with the same bits: the best, those along each axis through it, those on the efficient frontier, "
        "and those nearest to the best. Of the others three metrics are shown, from their kept histograms "
        f"and {len(LEVELS)} quantiles, and the interval of a quantile is widened to the next kept ones: it "
        "covers at least 95%. They are marked \u201csummarised\u201d."
    )


def _overshoot(details: Details) -> str:
    """Say why there is no overshoot to show; empty where there is."""
    findings = details.findings
    if any("breaker_overshoot" in sample.distributions for sample in details.samples.values()):
        return ""
    study = findings.result.study
    rows = [
        row
        for row, point in enumerate(findings.result.points.index)
        if {"drawdown", "portfolio_drawdown"} & set(breakers_of(study.scenario_at(int(point))))
    ]
    if not rows:
        return "No point of the study sets a drawdown breaker, so that there is no overshoot to show."
    fewest = min(sample.paths for sample in details.samples.values())
    return (
        "No drawdown breaker tripped first on any of the paths that were looked at: at each of those points "
        f"the chance that one does is {numbers.chance(0.0, fewest)} (95% upper bound)."
    )


def _limits(details: Details) -> dict[str, Any] | None:
    """Make the table of the limits' prices."""
    found = details.prices
    if found is None:
        return None
    confidence = details.findings.confidence

    def cell(estimate: Estimate | None) -> tuple[str, str]:
        if estimate is None:
            return "-", ""
        low, high = estimate.interval(confidence)
        digits = error_digits(estimate.standard_error, estimate.value)
        told = [_minus(numbers.money(value, digits)) for value in (estimate.value, low, high)]
        return told[0], f"{told[1]} to {told[2]}" if math.isfinite(low) else ""

    rows = [
        {
            "setting": price.setting,
            "value": ", ".join(numbers.setting_text(value) for value in price.values),
            "acted": "-" if price.problem else numbers.chance(price.acted / found.paths, found.paths),
            "cells": [cell(price.forgone), cell(price.drawdown), cell(price.shortfall)],
            "problem": numbers.clean(price.problem),
        }
        for price in found.prices
    ]
    return {
        "point": details.findings.name(found.row),
        "paths": f"{found.paths:,}",
        "rows": rows,
        "drawn": any(not price.problem for price in found.prices),
    }


def _minus(text: str) -> str:
    """Set a minus sign for a hyphen that stands before a number."""
    return text.replace("-$", "\u2212$").replace(" -", " \u2212") if text[:1] != "-" else "\u2212" + text[1:]


@dataclass(frozen=True)
class _Column:
    """One column of the table of points: heading, explanation, and each row's text and sort key."""

    heading: str
    title: str
    texts: list[str]
    keys: list[float | str]
    first: bool = False


def _points(findings: Findings) -> dict[str, Any]:
    """Make the table of all points."""
    rows = range(len(findings.order))
    result = findings.result
    columns = [
        _Column("point", "Number in the study", [str(point) for point in result.points.index], [*rows]),
    ]
    for name, short in short_names(list(result.points.columns)).items():
        values = result.points[name].tolist()
        sortable = all(isinstance(value, (int, float)) for value in values)
        texts = [numbers.short_text(value) for value in values]
        columns.append(
            _Column(short, name, texts, [float(value) for value in values] if sortable else [*texts])
        )

    def money(column: str, heading: str, title: str, first: bool = False) -> None:
        values = [findings.value(row, column) for row in rows]
        digits = money_digits(values)
        if column.endswith("standard_error") or column.endswith("mean"):
            name = f"{column.removesuffix('mean')}standard_error" if column.endswith("mean") else column
            errors = [findings.value(row, name) for row in rows]
            digits = min(
                4, error_digits(min((error for error in errors if error > 0), default=math.nan), 100.0)
            )
        columns.append(
            _Column(
                heading, title, [_minus(numbers.fixed(value, digits)) for value in values], [*values], first
            )
        )

    def chances(column: str, heading: str, title: str) -> None:
        texts = [findings.chance(row, column) for row in rows]
        columns.append(_Column(heading, title, texts, [findings.value(row, column) for row in rows]))

    def means(metric: str, heading: str, title: str) -> None:
        values = [findings.value(row, f"{metric}.mean") for row in rows]
        digits = numbers.decimals(values, 3)
        columns.append(
            _Column(heading, title, [_minus(numbers.fixed(value, digits)) for value in values], [*values])
        )

    money(f"{PNL}.controlled_mean", "mean", "Mean pnl_settled with control variates, $", first=True)
    money(f"{PNL}.controlled_standard_error", "se", "Standard error of the mean, $")
    columns.append(_behind(findings))
    money(f"{PNL}.mean", "plain mean", "Mean pnl_settled over the paths, $")
    gains = [findings.value(row, f"{PNL}.variance_reduction") for row in rows]
    title = "Variance of the plain mean over that of the mean with control variates"
    columns.append(_Column("gain", title, [numbers.fixed(value, 1) for value in gains], [*gains]))
    money(f"{PNL}.sd", "sd", "Standard deviation, $")
    for key, share in (("p01", 1), ("p05", 5), ("p50", 50), ("p95", 95), ("p99", 99)):
        money(f"{PNL}.{key}", f"{share}%", f"{share}% quantile of pnl_settled, $", first=share == 1)
    for level in (95, 99):
        risk, shortfall = f"{PNL}.value_at_risk_{level}", f"{PNL}.expected_shortfall_{level}"
        money(risk, f"VaR {level}%", f"Value at risk at {level}%, $, a loss positive", first=level == 95)
        money(shortfall, f"ES {level}%", f"Expected shortfall at {level}%, $, a loss positive")
        money(f"{shortfall}_standard_error", "se", f"Standard error of the shortfall at {level}%, $")
    chances(f"{PNL}.loss_chance", "loss", "Chance of a loss (pnl_settled below 0)")
    chances("halt.chance", "halt", "Chance that a breaker trips")
    means("max_drawdown", "draw\u00addown", "Mean of the largest drawdown, $")
    means("fills", "fills", "Mean number of fills")
    means("max_inventory", "max inv.", "Mean of the largest absolute inventory, contracts")
    marks = dict.fromkeys(findings.tied, "tied")
    if findings.best is not None:
        marks[findings.best] = "best"
    cells = [
        [(column.texts[row], _sort_key(column.keys[row]), column.first) for column in columns] for row in rows
    ]
    return {"columns": columns, "rows": [(marks.get(row, ""), row, cells[row]) for row in rows]}


def _sensitivity(findings: Findings) -> list[tuple[str, str, str, str, str]]:
    """List each axis' Sobol indices with their intervals; none for other designs."""
    rows = []
    for name, found in findings.sensitivity.items():
        first, total = (
            [_minus(numbers.fixed(found[f"{order}_order{part}"], 2)) for part in ("", "_low", "_high")]
            for order in ("first", "total")
        )
        texts = (first[0], f"{first[1]} to {first[2]}", total[0], f"{total[1]} to {total[2]}")
        rows.append((name, *texts))
    return rows


def _queue(findings: Findings) -> dict[str, Any] | None:
    """List what each point's orders earn by their place in the queue; None without an order book."""
    queues = queues_of(findings)
    if not queues:
        return None
    study = findings.result.study
    markets = study.scenario.market_names[:MOST_MARKETS] if study.scenario.markets else ()
    tables = []
    for market in ("", *markets):
        headings, cells = queue_rows(queues_of(findings, market) if market else queues, list(queues))
        rows = [
            (findings.name(row), [_minus(text) for text in texts])
            for row, texts in zip(queues, cells, strict=True)
        ]
        tables.append({"market": market, "headings": headings, "rows": rows})
    shortest = min(study.steps_at(findings.result.points.index[row]) for row in queues)
    told = {"together": together(study.scenario), "counted": counted_steps(shortest)}
    first = "" if len(markets) == len(study.scenario.markets) else f"the first {len(markets)}"
    return {"tables": tables, "first": first, "places": PLACES, **told}


def _sort_key(value: float | str) -> str:
    return value if isinstance(value, str) else ("" if math.isnan(value) else f"{value:.6g}")


def _behind(findings: Findings) -> _Column:
    """Make the column of shortfalls from the best point."""
    texts = []
    for row, (value, error) in enumerate(
        zip(findings.shortfall.tolist(), findings.shortfall_standard_error.tolist(), strict=True)
    ):
        digits = min(4, error_digits(error, value))
        known = f" \u00b1 {numbers.fixed(error, digits)}" if math.isfinite(error) else ""
        texts.append("" if row == findings.best else _minus(numbers.fixed(value, digits)) + known)
    title = (
        f"The best {describe(findings.objective)} less this one, \u00b1 one standard error of the difference"
    )
    return _Column("behind best", title, texts, findings.shortfall.tolist())


def _notes(findings: Findings) -> list[str]:
    """Say what the table's marks and bounds mean, as far as they occur."""
    notes = []
    how = {
        "paired": "on the same random numbers",
        "apart": "the two points' standard errors taken as independent",
        "none": "",
    }[findings.method]
    if findings.method != "none":
        notes.append(
            "Not shown to be worse: with the best, these points hold the true best with a chance of 95% or "
            f"more, for all points together (differences {how}; Student's t, Bonferroni)."
        )
    chances = [
        findings.chance(row, name)
        for row in range(len(findings.order))
        for name in ("halt.chance", f"{PNL}.loss_chance")
    ]
    if any(text.startswith("<") for text in chances):
        notes.append(
            f"A chance written with < was seen on none of {findings.paths:,} paths: the number is its exact "
            "95% upper bound."
        )
    if not all(findings.halting):
        notes.append(f"A halt is \u201cnone\u201d where {findings.unbroken}.")
    if findings.paths < 1000:
        tail = max(1, round(findings.paths / 100))
        notes.append(
            f"The 99% tail rests on {tail} path{'s' * (tail != 1)} of each point: read it with care."
        )
    if findings.sketched:
        notes.append(findings.sketched)
    precision = findings.result.study.precision
    if precision is not None:
        notes.append(precision.note(findings.result.summary, describe(precision.column)))
    return notes
