"""The terminal's report of a sweep and summary of one simulation, in 80 columns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mcmm.reports import numbers
from mcmm.reports.details import Details
from mcmm.reports.findings import (
    Findings,
    describe,
    error_digits,
    point_label,
    short_names,
)
from mcmm.reports.layout import (
    WIDTH,
    Column,
    compact,
    count,
    counts,
    gain,
    gained,
    money,
    pack,
    print_table,
    rate,
    say,
)
from mcmm.reports.queue import counted_steps, point_groups, queues_of, together, venue_of
from mcmm.study import MANY_POINTS

if TYPE_CHECKING:
    from rich.console import Console


__all__ = ["print_report"]

#: A sweep of more points than this shows its best and its worst only.
ALL_POINTS, BEST_POINTS, WORST_POINTS = 24, 15, 3


def print_report(findings: Findings, console: Console, details: Details | None = None) -> None:
    """Print a sweep: the question, its answer, and a table by point.

    Parameters
    ----------
    findings : Findings
        The sweep and what it says.
    console : rich.console.Console
        Where to; at most 80 columns are used.
    details : Details, optional
        What is worked out of the paths, where that has been done before.
    """
    details = details or Details(findings)
    result = findings.result
    study = result.study
    say(console, numbers.clean(study.name), "bold")
    if study.question:
        say(console, numbers.clean(study.question), "italic")
    say(console, _run_line(findings), "dim")
    console.print()
    for sentence in findings.sentences():
        say(console, sentence)
    if same := _same_everywhere(findings):
        say(console, f"\nAt every point: {same}.")
    rows, left_out = _shown_rows(findings)
    groups = [_axis_columns(findings, rows), *_number_groups(findings, rows)]
    marks = Column("", [_mark(findings, row) for row in rows], text=True)
    points = Column("point", [str(result.points.index[row]) for row in rows])
    split = BEST_POINTS if left_out else None
    bold = [position for position, row in enumerate(rows) if row == findings.best]
    for columns in pack(groups, [marks, points], min(WIDTH, console.width)):
        console.print()
        print_table(console, columns, bold, split)
    queues = queues_of(findings)
    if booked := [row for row in rows if row in queues]:
        say(
            console,
            "\nThe maker's place in the queue: contracts filled a step, what a step earns, mark-outs"
            + (", with standard errors" if result.study.all_rows else "")
            + f"{f'; {joint}' if (joint := together(result.study.scenario)) else ''}. "
            + counted_steps(min(result.study.steps_at(result.points.index[row]) for row in booked)),
        )
        points = Column("point", [str(result.points.index[row]) for row in booked])
        for columns in pack(point_groups(queues, booked), [points], min(WIDTH, console.width)):
            console.print()
            print_table(console, columns, [], None)
    indices = findings.sensitivity
    if indices:
        console.print()
        print_table(console, _index_columns(indices), [], None)
    elif columns := _driver_columns(details):
        say(console, f"\nWhat drives the {describe(findings.objective)} over the study:")
        print_table(console, columns, [], None)
    if details.prices is not None and details.prices.prices:
        point = result.points.index[details.prices.row]
        say(
            console,
            f"\nShadow prices of point {point}'s limits, $ a path: its first {details.prices.paths:,} paths "
            "once more without one limit, on the same random numbers.",
        )
        first, groups = _price_columns(details)
        for columns in pack(groups, first, min(WIDTH, console.width)):
            console.print()
            print_table(console, columns, [], None)
        told = (
            "Forgone: what the limit takes from the mean, luck that is 0 on average taken out (negative: the "
            "limit earns). Avoided: what it takes from the mean max_drawdown and from the ES at 95%."
        )
        say(console, told, "dim")
    console.print()
    for note in _notes(findings, rows, left_out):
        say(console, note, "dim")


def _run_line(findings: Findings) -> str:
    """Say how much was simulated, from which seed, by which version and how fast."""
    provenance = findings.result.provenance
    speed = rate(float(provenance["path_steps_per_second"]))
    paths = findings.paths_text
    parts = [
        f"{count(len(findings.order), 'point')} of {paths} path{'s' * (paths != '1')}",
        f"seed {findings.result.study.seed}",
        *([venue] if (venue := venue_of(findings)) else []),
        f"mcmm {provenance['mcmm']}",
        f"{numbers.duration(float(provenance['wall_seconds']))} ({speed})",
    ]
    return ", ".join(parts)


def _same_everywhere(findings: Findings) -> str:
    """Write the axes on which no two points differ, which the table leaves out."""
    points = findings.result.points
    names = short_names([name for name in points.columns if name not in findings.varied])
    return point_label(points, 0, names)


def _shown_rows(findings: Findings) -> tuple[list[int], int]:
    """Choose the rows to show, and count those left out."""
    count = len(findings.order)
    if count <= ALL_POINTS:
        return list(range(count)), 0
    return [
        *findings.order[:BEST_POINTS],
        *findings.order[-WORST_POINTS:],
    ], count - BEST_POINTS - WORST_POINTS


def _mark(findings: Findings, row: int) -> str:
    return "*" if row == findings.best else "~" if row in findings.tied else ""


def _axis_columns(findings: Findings, rows: list[int]) -> list[Column]:
    """Make a column of each axis's values."""
    points = findings.result.points
    columns = []
    for name, short in findings.varied.items():
        cells = [numbers.short_text(points[name].iloc[row]) for row in rows]
        cells = [cell if len(cell) <= 24 else cell[:21] + "..." for cell in cells]
        columns.append(Column(short.replace("_", "\n").replace(".", ".\n"), cells))
    return columns


def _number_groups(findings: Findings, rows: list[int]) -> list[list[Column]]:
    """Make the groups of columns of a sweep's table."""

    def numbers_of(column: str) -> list[float]:
        return [findings.value(row, column) for row in rows]

    def chances(column: str) -> list[str]:
        return [findings.chance(row, column) for row in rows]

    pnl = "pnl_settled"
    errors = numbers_of(f"{pnl}.controlled_standard_error")
    digits = error_digits(min((error for error in errors if error > 0), default=math.nan), 0.0)
    gains = numbers_of(f"{pnl}.variance_reduction")
    beside = [
        money("plain\nmean $", numbers_of(f"{pnl}.mean")),
        Column("gain", [gain(value) for value in gains]),
    ]
    main = [
        Column("mean\npnl $", [compact(value, digits) for value in numbers_of(f"{pnl}.controlled_mean")]),
        Column("se", [compact(value, digits) for value in errors]),
        *(beside if gained(gains) else []),
        money("sd", numbers_of(f"{pnl}.sd")),
        Column("chance\nof loss", chances(f"{pnl}.loss_chance")),
        Column("chance\nof halt", chances("halt.chance")),
        counts("fills", numbers_of("fills.mean")),
        counts("max\ninv.", numbers_of("max_inventory.mean")),
    ]
    quantiles = [
        money(f"{name}\npnl $", numbers_of(f"{pnl}.{key}"))
        for key, name in (("p01", "1%"), ("p05", "5%"), ("p50", "50%"), ("p95", "95%"), ("p99", "99%"))
    ]
    tails = [
        money(f"{name}\n{level}%", numbers_of(f"{pnl}.{key}_{level}"))
        for level in (95, 99)
        for key, name in (("value_at_risk", "VaR"), ("expected_shortfall", "ES"))
    ]
    return [main, [*quantiles, *tails]]


def _index_columns(indices: dict[str, dict[str, float]]) -> list[Column]:
    """Make the table of Sobol indices: alone and with interactions, each with its 95% interval."""
    columns = [Column("setting", list(indices), text=True)]
    for order, heading in (("first_order", "first\norder"), ("total_order", "total\norder")):
        rows = indices.values()
        columns.append(Column(heading, [numbers.fixed(row[order], 2) for row in rows]))
        intervals = [
            f"{numbers.fixed(row[f'{order}_low'], 2)} to {numbers.fixed(row[f'{order}_high'], 2)}"
            for row in rows
        ]
        columns.append(Column("95%\ninterval", intervals))
    return columns


def _driver_columns(details: Details) -> list[Column]:
    """Make the table of what drives the objective: shares over a full grid, or rank correlations alone."""
    drivers, findings = details.drivers, details.findings
    if drivers is None or findings.estimated(findings.objective) not in drivers.columns:
        return []
    found = drivers.columns[findings.estimated(findings.objective)]

    def cells(part: str) -> list[str]:
        return ["-" if value is None else numbers.fixed(value, 2) for value in found[part]]

    columns = [Column("setting", list(drivers.axes), text=True)]
    if "first_order" in found:
        columns += [
            Column("share\nalone", cells("first_order")),
            Column("with inter-\nactions", cells("total_order")),
        ]
    columns.append(Column("rank cor-\nrelation", cells("correlation")))
    if "correlation_low" in found:
        ends = zip(cells("correlation_low"), cells("correlation_high"), strict=True)
        columns.append(Column("95%\ninterval", [f"{low} to {high}" for low, high in ends]))
    return columns


def _price_columns(details: Details) -> tuple[list[Column], list[list[Column]]]:
    """Make the table of the limits' prices, with their intervals."""
    assert details.prices is not None
    prices = details.prices.prices
    confidence = details.findings.confidence
    names = [price.setting.replace("risk.", "") for price in prices]
    values = [", ".join(numbers.short_text(value) for value in price.values[:2]) for price in prices]
    first = [Column("limit", names, text=True), Column("value", values)]
    groups = []
    for heading, key in (
        ("pnl\nforgone", "forgone"),
        ("drawdown\navoided", "drawdown"),
        ("ES 95%\navoided", "shortfall"),
    ):
        value, interval = [], []
        for price in prices:
            estimate = getattr(price, key)
            if estimate is None:
                value.append("refused")
                interval.append("")
                continue
            digits = min(4, error_digits(estimate.standard_error, estimate.value))
            low, high = estimate.interval(confidence)
            value.append(compact(estimate.value, digits))
            interval.append(f"{compact(low, digits)} to {compact(high, digits)}")
        groups.append([Column(heading, value), Column("95%\ninterval", interval)])
    return first, groups


def _notes(findings: Findings, rows: list[int], left_out: int) -> list[str]:
    """Say what the marks and the columns mean, as far as they occur."""
    notes = []
    if left_out:
        notes.append(
            f"The best {BEST_POINTS} and the worst {WORST_POINTS} of {len(findings.order):,} points; "
            f"{left_out:,} are left out here. All are in the run directory's summary.parquet"
            + (" and in the page." if len(findings.order) <= MANY_POINTS else ".")
        )
    if findings.best is not None:
        notes.append(f"* best by {describe(findings.objective)}.")
    if findings.tied:
        how = (
            "on the same random numbers" if findings.method == "paired" else "the points taken as independent"
        )
        notes.append(
            "~ not shown to be worse than the best: with it, these hold the true best with a chance of 95% "
            f"or more, for all points together (differences {how}; t, Bonferroni)."
        )
    notes.append(
        "Money is pnl_settled a path. se: standard error of the mean. VaR and ES (value at risk, expected "
        "shortfall) are losses, positive; a minus sign is a gain. fills and max inv. are means."
    )
    if gained([findings.value(row, "pnl_settled.variance_reduction") for row in rows]):
        notes.append(
            "The mean is estimated with control variates: the luck of inventory and of settlement, which is "
            "0 on average, is taken out. gain: how many times smaller that makes its variance than the plain "
            "mean's (1 where takers know the outcome and it is not 0)."
        )
    if findings.sensitivity:
        notes.append(
            f"Order: Sobol indices, the share of the variance of the {describe(findings.objective)} over the "
            "axes' ranges that a setting makes alone (first) and with its interactions (total)."
        )
    if findings.sketched:
        notes.append(findings.sketched)
    precision = findings.result.study.precision
    if precision is not None:
        notes.append(precision.note(findings.result.summary, describe(precision.column)))
    several = bool(findings.result.study.scenario.markets)
    if not all(findings.halting[row] for row in rows):
        notes.append(f"none: {findings.unbroken}, so no path can halt{' as a whole' if several else ''}.")
    chances = ("halt.chance", "pnl_settled.loss_chance")
    if any(findings.chance(row, column).startswith("<") for row in rows for column in chances):
        notes.append(f"<: seen on none of {findings.paths:,} paths; the number is the 95% upper bound.")
    if findings.paths < 1000:
        tail = count(max(1, round(findings.paths / 100)), "path")
        notes.append(f"The 99% tail rests on {tail} of each point: read it with care.")
    return notes
