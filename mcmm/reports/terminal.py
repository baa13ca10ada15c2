"""The terminal's report of a sweep and summary of one simulation, in 80 columns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mcmm.metrics import HALT_REASONS, METRICS, NAMES
from mcmm.reports import numbers
from mcmm.reports.findings import (
    TIED_WITHIN,
    Findings,
    can_halt,
    describe,
    error_digits,
    money_digits,
    short_names,
)
from mcmm.statistics import MONEY_METRICS, proportion, summarise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.text import Text

    from mcmm.moments import FloatArray
    from mcmm.simulation import Simulation

__all__ = ["print_report", "print_simulation"]

WIDTH = 80
#: A sweep of more points than this shows its best and its worst only.
ALL_POINTS, BEST_POINTS, WORST_POINTS = 24, 15, 3
#: Of more markets than this a simulation's summary shows the worst only.
MOST_MARKETS = 20
_OF_A_MARKET = ("pnl_settled", "fills", "max_inventory", "trips")
SUMMARY = (
    ("mean", "mean"), ("standard_error", "se"), ("sd", "sd"),
    ("p01", "1%"), ("p05", "5%"), ("p50", "50%"), ("p95", "95%"), ("p99", "99%"),
)  # fmt: skip
#: The metrics of a simulation's summary, as a reader asks for them.
SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "dollars a path",
        (
            "pnl_settled", "pnl_fair", "pnl", "spread_pnl", "inventory_pnl", "fees", "informed_pnl",
            "max_drawdown", "max_drawdown_fair", "breaker_overshoot", "delay_cost", "unwinding_cost",
            "realised_overshoot", "max_exposure", "notional",
        ),
    ),
    ("contracts a path", ("volume", "informed_volume", "final_inventory", "max_inventory")),
    (
        "times or steps a path",
        ("fills", "trips", "halt_step", "outages", "inventory_limit_steps", "exposure_limit_steps"),
    ),
    (
        "prices and shares",
        ("average_spread", "quoted_fraction", "final_mid", "final_probability", "outcome"),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class _Column:
    """One column of a table: its heading (lines), its cells, and whether they are text."""

    heading: str
    cells: list[str]
    text: bool = False

    @property
    def width(self) -> int:
        return max(len(line) for text in [self.heading, *self.cells] for line in text.split("\n"))


def print_report(findings: Findings, console: Console) -> None:
    """Print a sweep: the question, its answer, and a table by point.

    Parameters
    ----------
    findings : Findings
        The sweep and what it says.
    console : rich.console.Console
        Where to; at most 80 columns are used.
    """
    result = findings.result
    study = result.study
    _say(console, numbers.clean(study.name), "bold")
    if study.question:
        _say(console, numbers.clean(study.question), "italic")
    _say(console, _run_line(findings), "dim")
    console.print()
    for sentence in findings.sentences():
        _say(console, sentence)
    rows, left_out = _shown_rows(findings)
    groups = [_axis_columns(findings, rows), *_number_groups(findings, rows)]
    marks = _Column("", [_mark(findings, row) for row in rows], text=True)
    points = _Column("point", [str(result.points.index[row]) for row in rows])
    split = BEST_POINTS if left_out else None
    bold = [position for position, row in enumerate(rows) if row == findings.best]
    for columns in _pack(groups, [marks, points], min(WIDTH, console.width)):
        console.print()
        _print_table(console, columns, bold, split)
    console.print()
    for note in _notes(findings, rows, left_out):
        _say(console, note, "dim")


def print_simulation(simulation: Simulation, console: Console, seconds: float | None = None) -> None:
    """Print the summary of one simulation: a line for each metric that says something, then losses and halts.

    Parameters
    ----------
    simulation : Simulation
        The simulation.
    console : rich.console.Console
        Where to; at most 80 columns are used.
    seconds : float, optional
        How long it took, to be shown with the speed.
    """
    scenario, (_, paths) = simulation.scenario, simulation.values.shape
    path_steps = paths * scenario.steps * scenario.market_count
    title = f"{_count(paths, 'path')} of {_count(scenario.steps, 'step')}"
    title += f" from path {simulation.first_path:,}" if simulation.first_path else ""
    title += f", seed {simulation.seed}, " + _policies(simulation)
    if seconds is not None and seconds > 0:
        title += f", {numbers.duration(seconds)} ({_rate(path_steps / seconds)})"
    _say(console, title, "bold")
    # With several markets the first rows are the portfolio's.
    values = dict(zip(NAMES, simulation.values, strict=False))
    missing = [name for name, row in values.items() if np.isnan(row).all()]
    constant = {
        name: float(row[0]) for name, row in values.items() if paths > 1 and bool((row == row[0]).all())
    }
    apart = {"halt_step", *constant, *missing}
    names, *rest = _summary_columns(simulation, apart)
    for part in _pack([rest], [names], min(WIDTH, console.width)):
        console.print()
        _print_table(console, part, [], None)
    console.print()
    if paths > 1:
        names, *rest = _tail_columns(simulation)
        for part in _pack([rest], [names], min(WIDTH, console.width)):
            _print_table(console, part, [], None)
            console.print()
    if scenario.markets:
        names, *rest = _market_columns(simulation)
        for part in _pack([rest], [names], min(WIDTH, console.width)):
            _print_table(console, part, [], None)
            console.print()
    _say(console, _halt_line(simulation, values["trips"], values["halt_reason"], values["halt_step"]))
    notes = []
    if paths > 1:
        notes.append(
            "se: standard error of the mean, or of ES. VaR and ES (value at risk, expected shortfall) are "
            "losses, positive; a minus sign is a gain."
        )
    if constant:
        notes.append(f"The same on every path: {_constants(constant)}.")
    if missing:
        notes.append(f"Does not apply to any path: {', '.join(missing)}.")
    for note in notes:
        _say(console, note, "dim")


def _summary_columns(simulation: Simulation, apart: set[str]) -> list[_Column]:
    """Make the table of a simulation's metrics, all but those that are said apart."""
    summary = simulation.summary(metrics=NAMES).to_dict(orient="index")
    one = simulation.values.shape[1] == 1
    parts = (("mean", "value"),) if one else SUMMARY
    named: list[str] = []
    cells: list[list[str]] = []
    for heading, metrics in SECTIONS:
        names = [name for name in metrics if name not in apart]
        for name in names:
            # A heading is a line of its own above its first row.
            above = f"{heading}\n" if name == names[0] else ""
            row = summary[name]
            fine = _error_digits(row["standard_error"], row["mean"])
            fine = 0 if one and METRICS[name].whole else fine
            coarse = min(fine, numbers.decimals([row["sd"]], 3)) if row["sd"] > 0 else fine
            texts = [
                _compact(row[key], fine if key in ("mean", "standard_error") else coarse) for key, _ in parts
            ]
            named.append(f"{above}  {name}")
            cells.append([("\n" if above else "") + text for text in texts])
    columns = [list(column) for column in zip(*cells, strict=True)]
    return [
        _Column("", named, text=True),
        *(_Column(heading, column) for (_, heading), column in zip(parts, columns, strict=True)),
    ]


def _policies(simulation: Simulation) -> str:
    """Say which policies quote: one, or by how many of several markets each is used."""
    markets = [market.quoting.policy for market in simulation.scenario.by_market().values()]
    used = list(dict.fromkeys(markets))
    counted = used[0] if len(used) == 1 else ", ".join(f"{name} ({markets.count(name)})" for name in used)
    policy = f"{'policies' if len(used) > 1 else 'policy'} {counted}"
    return f"{_count(len(markets), 'market')}, {policy}" if simulation.scenario.markets else policy


def _market_columns(simulation: Simulation) -> list[_Column]:
    """Make the table of several markets: what each earns and risks, the worst mean first if they are many."""
    paths = simulation.values.shape[1]
    markets = list(simulation.scenario.market_names)
    row = dict(zip(simulation.scenario.columns, simulation.values, strict=True))
    flat = {
        name: summarise([row[f"{name}.{each}"] for each in _OF_A_MARKET], _OF_A_MARKET) for name in markets
    }
    if len(markets) > MOST_MARKETS:
        markets = sorted(markets, key=lambda name: flat[name]["pnl_settled.mean"])[:MOST_MARKETS]

    def cells(column: str) -> list[float]:
        return [flat[name][column] for name in markets]

    heading = "market" if len(markets) == len(flat) else f"market, the\n{MOST_MARKETS} worst"
    return [
        _Column(heading, markets, text=True),
        _money("mean\npnl_settled", cells("pnl_settled.mean")),
        _money("se", cells("pnl_settled.standard_error")),
        _money("sd", cells("pnl_settled.sd")),
        _money("ES\n95%", cells("pnl_settled.expected_shortfall_95")),
        _counts("fills", cells("fills.mean")),
        _counts("max\ninv.", cells("max_inventory.mean")),
        _Column("chance\nof halt", [numbers.chance(value, paths) for value in cells("halt.chance")]),
    ]


def _say(console: Console, line: str, style: str = "") -> None:
    """Print a line of prose, wrapped, with nothing in it read as markup."""
    from rich.text import Text

    console.print(Text(line, style=style), width=min(WIDTH, console.width), highlight=False)


def _run_line(findings: Findings) -> str:
    """Say how much was simulated, from which seed, by which version and how fast."""
    provenance = findings.result.provenance
    speed = _rate(float(provenance["path_steps_per_second"]))
    parts = [
        f"{_count(len(findings.order), 'point')} of {_count(findings.paths, 'path')}",
        f"seed {findings.result.study.seed}",
        f"mcmm {provenance['mcmm']}",
        f"{numbers.duration(float(provenance['wall_seconds']))} ({speed})",
    ]
    return ", ".join(parts)


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


def _axis_columns(findings: Findings, rows: list[int]) -> list[_Column]:
    """Make a column of each axis's values."""
    points = findings.result.points
    columns = []
    for name, short in short_names(list(points.columns)).items():
        cells = [numbers.setting_text(points[name].iloc[row]) for row in rows]
        cells = [cell if len(cell) <= 24 else cell[:21] + "..." for cell in cells]
        columns.append(_Column(short.replace("_", "\n").replace(".", ".\n"), cells))
    return columns


def _number_groups(findings: Findings, rows: list[int]) -> list[list[_Column]]:
    """Make the groups of columns of a sweep's table."""

    def numbers_of(column: str) -> list[float]:
        return [findings.value(row, column) for row in rows]

    def chances(column: str) -> list[str]:
        return [findings.chance(row, column) for row in rows]

    pnl = "pnl_settled"
    errors = numbers_of(f"{pnl}.standard_error")
    digits = error_digits(min((error for error in errors if error > 0), default=math.nan), 0.0)
    main = [
        _Column("mean\npnl $", [_compact(value, digits) for value in numbers_of(f"{pnl}.mean")]),
        _Column("se", [_compact(value, digits) for value in errors]),
        _money("sd", numbers_of(f"{pnl}.sd")),
        _Column("chance\nof loss", chances(f"{pnl}.loss_chance")),
        _Column("chance\nof halt", chances("halt.chance")),
        _counts("fills", numbers_of("fills.mean")),
        _counts("max\ninv.", numbers_of("max_inventory.mean")),
    ]
    quantiles = [
        _money(f"{name}\npnl $", numbers_of(f"{pnl}.{key}"))
        for key, name in (("p01", "1%"), ("p05", "5%"), ("p50", "50%"), ("p95", "95%"), ("p99", "99%"))
    ]
    tails = [
        _money(f"{name}\n{level}%", numbers_of(f"{pnl}.{key}_{level}"))
        for level in (95, 99)
        for key, name in (("value_at_risk", "VaR"), ("expected_shortfall", "ES"))
    ]
    return [main, [*quantiles, *tails]]


def _pack(groups: list[list[_Column]], first: list[_Column], width: int) -> list[list[_Column]]:
    """Stack groups of columns into tables of at most this width; every table opens with the first columns."""
    tables: list[list[_Column]] = []
    current: list[_Column] = []
    for group in groups:
        if current and _width([*first, *current, *group]) > width:
            tables.append([*first, *current])
            current = []
        for column in group:
            if current and _width([*first, *current, column]) > width:
                tables.append([*first, *current])
                current = []
            current.append(column)
    return [*tables, [*first, *current]] if current else tables


def _width(columns: list[_Column], gap: int = 1) -> int:
    """Count the characters of a table's line."""
    return sum(column.width for column in columns) + gap * (len(columns) - 1)


def _print_table(console: Console, columns: list[_Column], bold: Sequence[int], split: int | None) -> None:
    """Print one table; ``bold`` rows stand out, and a gap follows row number ``split``."""
    from rich import box
    from rich.table import Table

    gap = 1 if _width(columns, gap=2) <= min(WIDTH, console.width) else 0
    # The box's own divider is the other character between two columns.
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold"
    )
    for column in columns:
        table.add_column(
            _plain(column.heading),
            justify="left" if column.text else "right",
            no_wrap=True,
            vertical="bottom",
            min_width=column.width,
        )
    for position, cells in enumerate(zip(*(column.cells for column in columns), strict=True)):
        end = split is not None and position == split - 1
        table.add_row(*map(_plain, cells), style="bold" if position in bold else "", end_section=end)
    console.print(table)


def _plain(text: str) -> Text:
    from rich.text import Text

    return Text(text)


def _money(heading: str, values: list[float]) -> _Column:
    """Make a column of dollars."""
    digits = money_digits(values)
    return _Column(heading, [_compact(value, digits) for value in values])


def _counts(heading: str, values: list[float]) -> _Column:
    """Make a column of mean counts, three figures of the largest."""
    digits = numbers.decimals(values, 3)
    return _Column(heading, [_compact(value, digits) for value in values])


def _compact(value: float, digits: int) -> str:
    """Write a number in at most eight characters."""
    text = numbers.fixed(value, digits)
    return text if len(text) <= 8 else f"{value:.2e}".replace("e+0", "e").replace("e+", "e")


def _notes(findings: Findings, rows: list[int], left_out: int) -> list[str]:
    """Say what the marks and the columns mean, as far as they occur."""
    notes = []
    if left_out:
        notes.append(
            f"The best {BEST_POINTS} and the worst {WORST_POINTS} of {len(findings.order):,} points; "
            f"{left_out:,} are left out here. All are in the run directory's summary.parquet and in the page."
        )
    if findings.best is not None:
        notes.append(f"* best by {describe(findings.objective)}.")
    if findings.tied:
        how = (
            "the difference path by path, on the same random numbers"
            if findings.method == "paired"
            else "the difference, the points taken as independent"
        )
        notes.append(
            f"~ not distinguishable from the best: less than {TIED_WITHIN:.0f} standard errors of {how}, not "
            f"corrected for the number of points."
        )
    notes.append(
        "Money is pnl_settled a path. se: standard error of the mean. VaR and ES (value at risk, expected "
        "shortfall) are losses, positive; a minus sign is a gain. fills and max inv. are means."
    )
    if not all(findings.halting[row] for row in rows):
        notes.append("none: no breaker is set, so no path can halt.")
    chances = ("halt.chance", "pnl_settled.loss_chance")
    if any(findings.chance(row, column).startswith("<") for row in rows for column in chances):
        notes.append(f"<: seen on none of {findings.paths:,} paths; the number is the 95% upper bound.")
    if findings.paths < 1000:
        tail = _count(max(1, round(findings.paths / 100)), "path")
        notes.append(f"The 99% tail rests on {tail} of each point: read it with care.")
    return notes


def _error_digits(error: float, value: float) -> int:
    """Count the decimals for two figures of a standard error, or four of the value where there is none."""
    return numbers.decimals([error], 2, most=6) if error > 0 else numbers.decimals([value], 4)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _rate(path_steps_per_second: float) -> str:
    """Write a speed: ``"131 million path-steps/s"``."""
    for size, word in ((1e9, " billion"), (1e6, " million"), (1e3, " thousand")):
        if path_steps_per_second >= size:
            return f"{numbers.significant(path_steps_per_second / size, 3)}{word} path-steps/s"
    return f"{path_steps_per_second:.0f} path-steps/s"


def _constants(constant: dict[str, float]) -> str:
    """List metrics that are equal on every path, by value."""
    by_value: dict[str, list[str]] = {}
    for name, value in constant.items():
        if name not in ("halt_reason", "halt_step"):
            by_value.setdefault(numbers.significant(float(value)), []).append(name)
    return "; ".join(f"{', '.join(names)} {value}" for value, names in by_value.items())


def _tail_columns(simulation: Simulation) -> list[_Column]:
    """Make the table of losses: their chance, value at risk, and expected shortfall with its error."""
    flat = summarise(simulation.values[: len(NAMES)], NAMES)
    paths = simulation.values.shape[1]
    money = MONEY_METRICS
    columns = [
        _Column("losses, $", list(money), text=True),
        _Column("chance\nof loss", [numbers.chance(flat[f"{name}.loss_chance"], paths) for name in money]),
    ]
    for level in (95, 99):
        stem = f"expected_shortfall_{level}"
        columns.append(_money(f"VaR\n{level}%", [flat[f"{name}.value_at_risk_{level}"] for name in money]))
        columns.append(_money(f"ES\n{level}%", [flat[f"{name}.{stem}"] for name in money]))
        columns.append(_money("se", [flat[f"{name}.{stem}_standard_error"] for name in money]))
    return columns


def _halt_line(simulation: Simulation, trips: FloatArray, reasons: FloatArray, steps: FloatArray) -> str:
    """Say how many paths tripped a breaker, which one first and when."""
    paths = len(trips)
    if not can_halt(simulation.scenario):
        if simulation.scenario.markets:
            return "The portfolio has no breaker; each market's own trips are in its row."
        return "No breaker is set, so no path halts."
    tripped = trips > 0
    if not tripped.any():
        bound = numbers.chance(0.0, paths)
        return f"No breaker tripped on any of the {paths:,} paths: its chance is {bound} (95% upper bound)."
    found = proportion(int(tripped.sum()), paths)
    firsts = ", ".join(
        f"{name} on {numbers.chance(float((reasons == code).mean()), paths)}"
        for code, name in enumerate(HALT_REASONS)
        if code and bool((reasons == code).any())
    )
    share, low, high = (numbers.chance(value, paths) for value in (found.value, found.low, found.high))
    return (
        f"A breaker tripped on {share} of paths (95% interval {low} to {high}), half of them by step "
        f"{np.median(steps[tripped]):,.0f}. First to trip: {firsts}."
    )
