"""The terminal's summary of one simulation, in 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mcmm.metrics import HALT_REASONS, METRICS, NAMES, PLACES
from mcmm.reports import numbers
from mcmm.reports.findings import can_halt
from mcmm.reports.layout import (
    WIDTH,
    Column,
    compact,
    count,
    counts,
    figures,
    money,
    pack,
    print_table,
    rate,
    say,
)
from mcmm.reports.queue import (
    counted_steps,
    market_queues,
    markout_line,
    place_columns,
    point_groups,
    together,
)
from mcmm.statistics import MONEY_METRICS, proportion
from mcmm.summaries import summarise

if TYPE_CHECKING:
    from rich.console import Console

    from mcmm.moments import FloatArray
    from mcmm.simulation import Simulation

__all__ = ["print_simulation"]

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
    account = simulation.provenance.get("replay")
    title = f"{count(paths, 'path')} of {count(scenario.steps, 'step')}"
    title += f" from path {simulation.first_path:,}" if simulation.first_path else ""
    title += f", seed {simulation.seed}, " + _policies(simulation)
    title += ", venue book" if scenario.venue == "book" else ""
    if seconds is not None and seconds > 0:
        title += f", {numbers.duration(seconds)} ({rate(path_steps / seconds)})"
    if account is not None:
        title = (
            f"Replay of recorded prints, not a simulation: {count(paths, 'contract')} of {account['tape']}, "
        )
        title += f"{account['prints']:,} prints, {_policies(simulation)}"
    say(console, numbers.clean(title), "bold")
    if account is not None:
        cut = f"{account['steps']:,} steps, cut {account['cut']}; the maker may fill "
        cut += f"{account['capture']:.0%} of each print that is at its quote or past it."
        say(console, " ".join((cut, "A path is a contract.")), "dim")
    # With several markets the first rows are the portfolio's.
    values = dict(zip(NAMES, simulation.values, strict=False))
    missing = [name for name, row in values.items() if np.isnan(row).all()]
    constant = {
        name: float(row[0]) for name, row in values.items() if paths > 1 and bool((row == row[0]).all())
    }
    apart = {"halt_step", *constant, *missing}
    names, *rest = _summary_columns(simulation, apart)
    for part in pack([rest], [names], min(WIDTH, console.width)):
        console.print()
        print_table(console, part, [], None)
    console.print()
    if paths > 1:
        names, *rest = _tail_columns(simulation)
        for part in pack([rest], [names], min(WIDTH, console.width)):
            print_table(console, part, [], None)
            console.print()
    if scenario.markets:
        names, *rest = _market_columns(simulation)
        for part in pack([rest], [names], min(WIDTH, console.width)):
            print_table(console, part, [], None)
            console.print()
    if scenario.venue == "book":
        print_table(console, place_columns(simulation), [], None)
        say(console, markout_line(simulation))
        console.print()
        if joint := together(scenario):
            say(console, f"Places of orders in {joint}. By market:\n")
            groups, first = _book_groups(simulation)
            for part in pack(groups, [first], min(WIDTH, console.width)):
                print_table(console, part, [], None)
                console.print()
    say(console, _halt_line(simulation, values["trips"], values["halt_reason"], values["halt_step"]))
    notes = []
    if paths > 1:
        notes.append(
            "se: standard error of the mean, or of ES. VaR and ES (value at risk, expected shortfall) are "
            "losses, positive; a minus sign is a gain."
        )
    if scenario.venue == "book":
        notes.append(
            "Places, as a step begins: "
            + "; ".join(f"{name}, {where}" for name, where in PLACES.items())
            + ". Filled: contracts, of an order there; ¢: their mark-out after 10 steps. "
            + counted_steps(scenario.steps)
        )
    if constant:
        notes.append(f"The same on every path: {_constants(constant)}.")
    if missing:
        notes.append(f"Does not apply to any path: {', '.join(missing)}.")
    if account is not None:
        notes += [numbers.clean(note) for note in account["notes"]]
    for note in notes:
        say(console, note, "dim")


def _summary_columns(simulation: Simulation, apart: set[str]) -> list[Column]:
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
            fine = figures(row["standard_error"], row["mean"])
            fine = 0 if one and METRICS[name].whole else fine
            coarse = min(fine, numbers.decimals([row["sd"]], 3)) if row["sd"] > 0 else fine
            texts = [
                compact(row[key], fine if key in ("mean", "standard_error") else coarse) for key, _ in parts
            ]
            named.append(f"{above}  {name}")
            cells.append([("\n" if above else "") + text for text in texts])
    columns = [list(column) for column in zip(*cells, strict=True)]
    return [
        Column("", named, text=True),
        *(Column(heading, column) for (_, heading), column in zip(parts, columns, strict=True)),
    ]


def _policies(simulation: Simulation) -> str:
    """Say which policies quote: one, or by how many of several markets each is used."""
    markets = [market.quoting.policy for market in simulation.scenario.by_market().values()]
    used = list(dict.fromkeys(markets))
    counted = used[0] if len(used) == 1 else ", ".join(f"{name} ({markets.count(name)})" for name in used)
    policy = f"{'policies' if len(used) > 1 else 'policy'} {counted}"
    return f"{count(len(markets), 'market')}, {policy}" if simulation.scenario.markets else policy


def _market_columns(simulation: Simulation) -> list[Column]:
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
        Column(heading, markets, text=True),
        money("mean\npnl_settled", cells("pnl_settled.mean")),
        money("se", cells("pnl_settled.standard_error")),
        money("sd", cells("pnl_settled.sd")),
        money("ES\n95%", cells("pnl_settled.expected_shortfall_95")),
        counts("fills", cells("fills.mean")),
        counts("max\ninv.", cells("max_inventory.mean")),
        Column("chance\nof halt", [numbers.chance(value, paths) for value in cells("halt.chance")]),
    ]


def _book_groups(simulation: Simulation) -> tuple[list[list[Column]], Column]:
    """Make the tables of several markets' queues, and the column of their names: of many the first."""
    names = simulation.scenario.market_names
    shown = list(names[:MOST_MARKETS])
    heading = "market" if len(shown) == len(names) else f"market, the\n{MOST_MARKETS} first"
    return point_groups(market_queues(simulation, shown), range(len(shown))), Column(
        heading, shown, text=True
    )


def _constants(constant: dict[str, float]) -> str:
    """List metrics that are equal on every path, by value."""
    by_value: dict[str, list[str]] = {}
    for name, value in constant.items():
        if name not in ("halt_reason", "halt_step"):
            by_value.setdefault(numbers.significant(float(value)), []).append(name)
    return "; ".join(f"{', '.join(names)} {value}" for value, names in by_value.items())


def _tail_columns(simulation: Simulation) -> list[Column]:
    """Make the table of losses: their chance, value at risk, and expected shortfall with its error."""
    flat = summarise(simulation.values[: len(NAMES)], NAMES)
    paths, names = simulation.values.shape[1], list(MONEY_METRICS)
    columns = [
        Column("losses, $", names, text=True),
        Column("chance\nof loss", [numbers.chance(flat[f"{name}.loss_chance"], paths) for name in names]),
    ]
    for level in (95, 99):
        stem = f"expected_shortfall_{level}"
        columns.append(money(f"VaR\n{level}%", [flat[f"{name}.value_at_risk_{level}"] for name in names]))
        columns.append(money(f"ES\n{level}%", [flat[f"{name}.{stem}"] for name in names]))
        columns.append(money("se", [flat[f"{name}.{stem}_standard_error"] for name in names]))
    return columns


def _halt_line(simulation: Simulation, trips: FloatArray, reasons: FloatArray, steps: FloatArray) -> str:
    """Say how many paths tripped a breaker, which one first and when; of several markets the portfolio's."""
    paths = len(trips)
    several = bool(simulation.scenario.markets)
    own = " Each market's own trips are in its row." if several else ""
    if not can_halt(simulation.scenario):
        return f"The portfolio has no breaker.{own}" if several else "No breaker is set, so no path halts."
    tripped = trips > 0
    if not tripped.any():
        bound = numbers.chance(0.0, paths)
        which = "The portfolio's breaker tripped on none" if several else "No breaker tripped on any"
        return f"{which} of the {paths:,} paths: its chance is {bound} (95% upper bound).{own}"
    found = proportion(int(tripped.sum()), paths)
    firsts = ", ".join(
        f"{name} on {numbers.chance(float((reasons == code).mean()), paths)}"
        for code, name in enumerate(HALT_REASONS)
        if code and bool((reasons == code).any())
    )
    share, low, high = (numbers.chance(value, paths) for value in (found.value, found.low, found.high))
    which = "The portfolio's breaker" if several else "A breaker"
    first = "" if several else f" First to trip: {firsts}."
    return (
        f"{which} tripped on {share} of paths (95% interval {low} to {high}), half of them by step "
        f"{np.median(steps[tripped]):,.0f}.{first}{own}"
    )
