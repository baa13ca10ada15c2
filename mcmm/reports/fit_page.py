"""A fit in the terminal and as one page, which lays the market simulated from it against the recorded one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmm.engine import simulate
from mcmm.files import write_whole
from mcmm.fitted import figure
from mcmm.fitting import recorder
from mcmm.fitting_price import Prices, squared_changes, thinned
from mcmm.reports import numbers
from mcmm.reports.layout import Column, print_table, say
from mcmm.reports.recorded_page import Figure, Section, Table, axis, render
from mcmm.tape_formats import counted
from mcmm.tape_writing import tape_of

if TYPE_CHECKING:
    from rich.console import Console

    from mcmm.fitted import Fit
    from mcmm.tape import Tape

__all__ = ["fit_page", "print_fit", "write_fit_page"]

# Steps of all simulated paths together, and paths at most.
_STEPS, _PATHS = 2_000_000, 100
_LAGS = 20
_POINTS = 400


def print_fit(fit: Fit, console: Console) -> None:
    """Print a fit: a line for each setting, adverse selection, and what the tape does not tell."""
    tape = fit.tape
    held = [counted(len(tape.contracts), "contract"), counted(len(tape.prints), "print")]
    held += [counted(len(tape.quotes), "quote"), f"a step of {fit.step:g} s"]
    say(console, numbers.clean(f"Fitted from {tape.source}: {', '.join(held)}"), "bold")
    console.print()
    rows = list(fit.estimates.values())
    columns = [
        Column("setting", [each.setting for each in rows], text=True),
        Column("estimate", [figure(each.value) for each in rows]),
        Column("standard\nerror", [figure(each.standard_error, 2) for each in rows]),
        Column("n", [f"{each.count:,}" for each in rows]),
        Column("fit", [figure(each.fit, 3) for each in rows]),
        Column("p", [figure(each.p_value, 2) for each in rows]),
    ]
    print_table(console, columns, [], None)
    console.print()
    if fit.marks:
        columns = [
            Column("mark-out,\nseconds", [f"{each.seconds:g}" for each in fit.marks]),
            Column("mid moves\ntaker's way", [f"{each.moved:.5f}" for each in fit.marks]),
            Column("se", [f"{each.moved_error:.5f}" for each in fit.marks]),
            Column("maker\nkeeps", [f"{each.kept:.5f}" for each in fit.marks]),
            Column("se", [f"{each.kept_error:.5f}" for each in fit.marks]),
            Column("n", [f"{each.count:,}" for each in fit.marks]),
        ]
        print_table(console, columns, [], None)
        console.print()
    for line in _unknown(fit):
        say(console, numbers.clean(line))
    for line in (*_measures(fit), *fit.notes):
        say(console, numbers.clean(line), "dim")


def _unknown(fit: Fit) -> list[str]:
    """Say what the tape does not identify, settings of one reason together."""
    reasons: dict[str, list[str]] = {}
    for setting, reason in fit.unknown.items():
        reasons.setdefault(reason, []).append(setting)
    return [f"Not identified: {', '.join(settings)}: {reason}." for reason, settings in reasons.items()]


def _measures(fit: Fit) -> list[str]:
    """Say what each figure of fit is."""
    found: dict[str, list[str]] = {}
    for each in fit.estimates.values():
        found.setdefault(each.measure, []).append(each.setting.rpartition(".")[2])
    return [f"fit of {', '.join(settings)}: {measure}." for measure, settings in found.items()]


def write_fit_page(fit: Fit, path: str | Path, seed: int = 0) -> None:
    """Write a fit's page, whole or not at all.

    Parameters
    ----------
    fit : Fit
        The fit.
    path : path
        The file; one that is there is replaced.
    seed : int
        Of the simulated market.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    write_whole(Path(path), fit_page(fit, seed).encode(), durable=False)


def fit_page(fit: Fit, seed: int = 0) -> str:
    """Return a fit's page: estimates, simulated against recorded, mark-outs, what is not known, the TOML."""
    tape, scenario = fit.tape, recorder(fit.scenario)
    paths = int(min(max(_STEPS // scenario.steps, 1), _PATHS))
    run = simulate(scenario, paths=paths, seed=seed, trace_paths=paths, jobs=-1)
    again = tape_of(run, fit.step)
    facts = [
        ("contracts", f"{len(tape.contracts):,}"),
        ("prints", f"{len(tape.prints):,}"),
        ("quotes", f"{len(tape.quotes):,}"),
        ("step", f"{fit.step:g} s"),
        ("simulated", f"{paths:,} paths of {scenario.steps:,} steps, seed {seed}"),
        ("mcmm", run.provenance["mcmm"]),
    ]
    sections = [_estimates(fit), _compared(fit, again)]
    if fit.marks:
        sections.append(_marks(fit))
    sections.append(Section("unknown", "What the tape does not tell", _unknown(fit), notes=fit.notes))
    sections.append(Section("scenario", "The scenario", text=fit.dumps()))
    return render(
        "mcmm fit of a recorded market",
        " with ".join(Path(source).name for source in tape.source.split(" with ")),
        "Which settings of the model does this recorded market have, and does the model then look like it?",
        facts,
        sections,
    )


def _estimates(fit: Fit) -> Section:
    """List the estimates."""
    rows = [
        [
            each.setting, figure(each.value), figure(each.standard_error, 2), f"{each.count:,}",
            each.method, each.measure, figure(each.fit, 3), figure(each.p_value, 2),
        ]
        for each in fit.estimates.values()
    ]  # fmt: skip
    head = ["setting", "estimate", "standard error", "n", "method", "goodness of fit", "figure", "p"]
    return Section(
        "estimates",
        "Estimates",
        [
            "Each by a method of its own, with its standard error and a figure of how well the method's "
            "law fits. With many observations a small p says that the law is not exact, the figure how far "
            "off it is."
        ],
        tables=[Table("Table of estimates", head, rows, texts=(0, 4, 5))],
    )


def _compared(fit: Fit, again: Tape) -> Section:
    """Draw the recorded market and the one that is simulated with its settings."""
    figures, rows = [], []
    if fit.arrivals is not None and fit.sizes is not None:
        recorded, simulated = fit.tape.merged(), again
        gaps = [_gaps(each) for each in (recorded, simulated)]
        figures.append(_tails("plot-gaps", "Share of gaps between orders that are longer", gaps, "seconds"))
        sizes = [each.prints["size"].to_numpy(dtype=np.float64) for each in (recorded, simulated)]
        figures.append(_tails("plot-sizes", "Share of orders that are larger", sizes, "contracts"))
        correlations = [_correlations(each) for each in (recorded, simulated)]
        figures.append(_lags(correlations))
        rows += [
            ["gap, seconds: mean", *(figure(float(each.mean())) for each in gaps)],
            ["gap: coefficient of variation", *(figure(float(each.std() / each.mean())) for each in gaps)],
            ["size, contracts: mean", *(figure(float(each.mean())) for each in sizes)],
            ["size: median", *(figure(float(np.median(each))) for each in sizes)],
            ["correlation of sides, lag 1", *(figure(float(each[0])) for each in correlations)],
            ["correlation of sides, lag 5", *(figure(float(each[4])) for each in correlations)],
            [
                "share of buys",
                *(figure(float((each.prints["side"] > 0).mean())) for each in (recorded, simulated)),
            ],
        ]
    sums = [fit.squared, squared_changes(thinned(_series(again), fit.every))]
    figures.append(_squares(sums))
    rows += [
        ["sum of squared changes: mean a contract", *(_mean(each) for each, _ in sums)],
        ["p0 (1 - p0) - pT (1 - pT): mean a contract", *(_mean(each) for _, each in sums)],
    ]
    return Section(
        "compared",
        "Simulated against recorded",
        [
            "The model with these settings, seen as the tape saw the market: every taker meets a maker "
            "around the fair value, so that each leaves a print.",
        ],
        tables=[Table("Simulated against recorded", ["", "recorded", "simulated"], rows)],
        figures=figures,
        notes=[
            f"Prices every {fit.every:g} seconds. The sum of squared changes of a price that nobody can "
            "foresee is p0 (1 - p0) - pT (1 - pT) in the mean over contracts; one contract alone says "
            "little. Rounding and what is left of bounces add to it."
        ],
    )


def _gaps(tape: Tape) -> Any:
    """Return the gaps between a tape's orders, seconds, contract by contract."""
    times = tape.prints["time"].to_numpy(dtype="datetime64[ns]").astype(np.int64) / 1e9
    names = tape.prints["contract"].to_numpy()
    order = np.lexsort((times, names))
    same = names[order][1:] == names[order][:-1]
    return np.diff(times[order])[same]


def _correlations(tape: Tape) -> Any:
    """Return the correlation of sides at lags 1 .. 20, contract by contract."""
    sides = [group.to_numpy(dtype=np.float64) for _, group in tape.prints.groupby("contract")["side"]]
    mean = np.concatenate(sides).mean()
    spread = np.concatenate(sides).var()
    found = []
    for lag in range(1, _LAGS + 1):
        products = np.concatenate([(each[lag:] - mean) * (each[:-lag] - mean) for each in sides])
        found.append(products.mean() / spread if len(products) and spread > 0 else math.nan)
    return np.array(found)


def _series(tape: Tape) -> list[Prices]:
    """Return the mids of each contract."""
    return [
        Prices(
            (time := group["time"].to_numpy(dtype="datetime64[ns]").astype(np.int64) / 1e9) - time[0],
            group["mid"].to_numpy(),
        )
        for _, group in tape.quotes.groupby("contract", sort=False)
    ]


def _mean(values: Any) -> str:
    if not len(values):
        return "-"
    mean = figure(float(values.mean()))
    if len(values) < 2:
        return mean
    return f"{mean} +- {figure(float(values.std(ddof=1) / math.sqrt(len(values))), 2)}"


_LOG = {"type": "log", "exponentformat": "power", "dtick": 1}
_NAMES = (("recorded", 0, "solid", "circle"), ("simulated", 1, "dash", "diamond"))


def _tails(place: str, caption: str, samples: Sequence[Any], unit: str) -> Figure:
    """Draw the share of each sample beyond a value, on logarithmic axes."""
    traces = []
    for sample, (name, colour, dash, _) in zip(samples, _NAMES, strict=True):
        values = np.sort(sample[sample > 0])
        chosen = np.unique(np.linspace(0, max(len(values) - 1, 0), _POINTS).astype(np.int64))[: len(values)]
        traces.append(
            {
                "type": "scatter", "mode": "lines", "name": name, "x": values[chosen],
                "y": 1 - np.asarray(chosen) / max(len(values), 1), "colour": colour, "dash": dash,
            }
        )  # fmt: skip
    axes = {"xaxis": axis(unit, **_LOG), "yaxis": axis("share", **_LOG)}
    return Figure(place, caption, traces, axes)


def _lags(correlations: Sequence[Any]) -> Figure:
    """Draw the correlation of sides by lag."""
    traces = [
        {
            "type": "scatter", "mode": "lines+markers", "name": name,
            "x": list(range(1, _LAGS + 1)), "y": each, "colour": colour, "dash": dash, "symbol": symbol,
        }
        for each, (name, colour, dash, symbol) in zip(correlations, _NAMES, strict=True)
    ]  # fmt: skip
    axes = {"xaxis": axis("orders apart"), "yaxis": axis("correlation")}
    return Figure("plot-sides", "Correlation of the sides of orders", traces, axes)


def _squares(sums: Sequence[tuple[Any, Any]]) -> Figure:
    """Draw each contract's sum of squared changes against what a martingale's is in the mean."""
    most = max([0.25, *(float(each.max()) for pair in sums for each in pair if len(each))])
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "markers", "name": name, "x": due, "y": found,
            "colour": colour, "symbol": symbol,
        }
        for (found, due), (name, colour, _, symbol) in zip(sums, _NAMES, strict=True)
    ]  # fmt: skip
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "equal",
            "x": [0, most],
            "y": [0, most],
            "colour": 2,
            "dash": "dot",
        }
    )
    axes = {"xaxis": axis("p0 (1 - p0) - pT (1 - pT)"), "yaxis": axis("sum of squared changes")}
    return Figure("plot-squares", "Sum of squared price changes, a point a contract", traces, axes)


def _marks(fit: Fit) -> Section:
    """Show adverse selection at horizons."""
    rows = [
        [
            f"{each.seconds:g}", f"{each.moved:.5f}", f"{each.moved_error:.5f}", f"{each.kept:.5f}",
            f"{each.kept_error:.5f}", f"{each.count:,}",
        ]
        for each in fit.marks
    ]  # fmt: skip
    seconds = [each.seconds for each in fit.marks]
    traces = [
        {
            "type": "scatter", "mode": "lines+markers", "name": name, "x": seconds,
            "y": [getattr(each, column) for each in fit.marks],
            "error_y": {
                "type": "data", "array": [1.96 * getattr(each, f"{column}_error") for each in fit.marks],
            },
            "colour": colour, "dash": dash, "symbol": symbol,
        }
        for (column, name), (_, colour, dash, symbol) in zip(
            (("moved", "the mid moves the taker's way"), ("kept", "the maker keeps")), _NAMES, strict=True
        )
    ]  # fmt: skip
    axes = {"xaxis": axis("seconds after the print", type="log"), "yaxis": axis("$ a contract")}
    head = ["seconds", "mid moves the taker's way", "se", "the maker keeps", "se", "n"]
    return Section(
        "marks",
        "Adverse selection",
        [
            "Mark-outs: how far the mid has moved the taker's way a while after a print, from the last mid "
            "before it, and what the maker has left of the price then. Means over prints."
        ],
        tables=[Table("Table of mark-outs", head, rows)],
        figures=[Figure("plot-marks", "Mark-outs with 95% intervals", traces, axes)],
        notes=["Standard errors by batches of neighbouring prints: what follows one print follows the next."],
    )
