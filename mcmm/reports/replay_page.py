"""A replay as one self-contained page, labelled as what it is: recorded prints, not a simulation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmm.files import write_whole
from mcmm.recorded import replay
from mcmm.reports import numbers
from mcmm.reports.one_run import SECTIONS
from mcmm.reports.recorded_page import Figure, Section, Table, axis, render

if TYPE_CHECKING:
    import pandas as pd

    from mcmm.recorded import Replay
    from mcmm.simulation import Simulation
    from mcmm.tape import Tape

__all__ = ["replay_page", "write_replay_page"]

# Points of a line, or fills, of a contract that is drawn; more are thinned to so many.
_MOST_POINTS = 4000
# Steps of a contract that is drawn in time; one that is longer is in the tables alone.
_LONGEST = 2_000_000
_COLUMNS = (
    ("pnl_settled", 2), ("pnl_fair", 2), ("spread_pnl", 2), ("inventory_pnl", 2), ("fees", 2), ("fills", 0),
    ("volume", 0), ("max_inventory", 0), ("max_drawdown", 2), ("average_spread", 4), ("trips", 0),
)  # fmt: skip


def write_replay_page(tape: Tape, run: Replay, path: str | Path, policy: object = None) -> None:
    """Write a replay's page, whole or not at all.

    Parameters
    ----------
    tape : Tape
        What was replayed.
    run : Replay
        What came of it.
    path : path
        The file; one that is there is replaced.
    policy : optional
        As `mcmm.recorded.replay` was given it: some contracts are replayed again for their steps.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    write_whole(Path(path), replay_page(tape, run, policy).encode(), durable=False)


def replay_page(tape: Tape, run: Replay, policy: object = None) -> str:
    """Return a replay's page: what each contract came to, how that is spread, and three contracts in time."""
    simulation = run.simulation
    account = simulation.provenance["replay"]
    frame = simulation.paths.set_axis([path.contract for path in run.paths], axis="index")
    settled = frame["pnl_settled"].to_numpy()
    facts = [
        ("contracts", f"{len(frame):,}"),
        ("prints", f"{account['prints']:,}"),
        ("steps", f"{account['steps']:,}, {account['cut']}"),
        ("captured", f"{account['capture']:.0%} of each print"),
        ("outcomes known", f"{account['outcomes_known']:,}"),
        ("policy", simulation.scenario.quoting.policy),
        ("mcmm", simulation.provenance["mcmm"]),
    ]
    return render(
        "mcmm replay of recorded prints, not a simulation",
        " with ".join(Path(source).name for source in account["tape"].split(" with ")),
        "What would these settings have done in this recorded market, had they been filled as said below?",
        facts,
        [
            _answer(settled, account),
            _spread(frame),
            _in_time(tape, run, settled, policy),
            Section(
                "contracts",
                "Contracts",
                tables=[_contracts(frame)],
                notes=[
                    "Dollars, contracts and times a contract; losses of pnl negative, drawdowns positive."
                ],
            ),
            Section("metrics", "Every metric", tables=[_metrics(simulation)]),
            _settings(simulation, account),
        ],
    )


def _answer(settled: Any, account: dict[str, Any]) -> Section:
    """Say what came of it and what it is worth."""
    count = len(settled)
    mean = float(settled.mean())
    sentences = [f"Over {count:,} contracts the settled pnl sums to {numbers.money(float(settled.sum()))}."]
    if count > 1:
        error = float(settled.std(ddof=1) / np.sqrt(count))
        sentences[0] += (
            f" The mean is {numbers.money(mean)} a contract, with a standard error of {numbers.money(error)} "
            f"if contracts are independent; {int((settled < 0).sum()):,} of them lose."
        )
    sentences.append(
        "A print fills a quote that is at or better than its price, at the quote's price. That takes the "
        "maker to be first in every queue, nobody to answer its quotes, and takers to come as they came: "
        "read it as an upper bound."
    )
    return Section("answer", "Answer", sentences, notes=account["notes"])


def _spread(frame: pd.DataFrame) -> Section:
    """Draw how contracts differ, and what their pnl is made of."""
    order = np.argsort(frame["pnl_settled"].to_numpy())
    names = [str(frame.index[place]) for place in order]
    places = list(range(1, len(names) + 1))
    parts = [
        {
            "type": "bar",
            "name": label,
            "x": places,
            "y": sign * frame[name].to_numpy()[order],
            "colour": colour,
        }
        for colour, (name, label, sign) in enumerate(
            (("spread_pnl", "spread", 1), ("inventory_pnl", "inventory", 1), ("fees", "fees", -1))
        )
    ]
    line = {
        "type": "scatter",
        "mode": "markers",
        "name": "settled",
        "x": places,
        "y": frame["pnl_settled"].to_numpy()[order],
        "text": names,
        "colour": 3,
        "symbol": "diamond",
    }
    axes = {"xaxis": axis("contracts, the worst first"), "yaxis": axis("$ a contract")}
    parts_of = (
        "Each contract's pnl by what made it: fills against the fair value, the inventory's moves, fees"
    )
    share = np.arange(1, len(names) + 1) / len(names)
    steps = {
        "type": "scatter",
        "mode": "lines",
        "name": "contracts",
        "x": np.sort(frame["pnl_settled"].to_numpy()),
        "y": share,
        "line": {"shape": "hv"},
        "colour": 0,
    }
    return Section(
        "distribution",
        "Distribution",
        figures=[
            Figure(
                "plot-ecdf",
                "Share of contracts with a settled pnl at or below",
                [steps],
                {"xaxis": axis("pnl_settled, $ a contract"), "yaxis": axis("share of contracts")},
            ),
            Figure("plot-parts", parts_of, [*parts, line], axes),
        ],
    )


def _in_time(tape: Tape, run: Replay, settled: Any, policy: object) -> Section:
    """Draw the contracts at the worst, the middle and the best settled pnl step by step."""
    order = [place for place in np.argsort(settled) if run.paths[place].steps <= _LONGEST]
    places = (0, len(order) // 2, len(order) - 1) if order else ()
    chosen = list(dict.fromkeys(int(order[place]) for place in places))
    account = run.simulation.provenance["replay"]
    figures = []
    for place in chosen:
        name = run.paths[place].contract
        again = run.traces.get(name)
        if again is None:
            step = float(account["step"]) if "step" in account else None
            again = replay(
                tape,
                run.simulation.scenario.replace({"flow.model": "takers"}),
                step=step,
                capture=account["capture"],
                merge=account["merged"],
                contracts=[name],
                seed=run.simulation.seed,
                traces=1,
                policy=policy,
            ).traces[name]
        figures.append(
            _path(f"plot-path-{place}", name, run.paths[place].times, again, float(settled[place]))
        )
    return Section(
        "time",
        "In time",
        ["The fair value is the last mid before, or the last print; the quotes are the maker's."],
        figures=figures,
        pairs=False,
    )


def _path(place: str, name: str, times: Any, run: Simulation, settled: float) -> Figure:
    """Draw one contract: fair value, quotes and fills, and the inventory below."""
    trace = run.trace
    thin = slice(None, None, max(1, len(trace) // _MOST_POINTS))
    when = np.datetime_as_string(times, unit="ms")
    lines = [
        {
            "type": "scatter", "mode": "lines", "name": label,
            "x": when[thin], "y": trace[column].to_numpy()[thin],
            "colour": colour, "dash": dash, "line": {"shape": "hv"},
        }
        for column, label, colour, dash in (
            ("probability", "fair value", 0, "solid"),
            ("bid", "bid", 2, "dot"),
            ("ask", "ask", 1, "dot"),
        )
    ]  # fmt: skip
    fills = [
        {
            "type": "scatter", "mode": "markers", "name": label,
            "x": when[here], "y": trace[quote].to_numpy()[here],
            "colour": colour, "symbol": symbol,
        }
        for column, quote, label, colour, symbol in (
            ("bought", "bid", "bought", 2, "triangle-up"),
            ("sold", "ask", "sold", 1, "triangle-down"),
        )
        for here in (_some(np.flatnonzero(trace[column].to_numpy() > 0)),)
    ]  # fmt: skip
    inventory = {
        "type": "scatter",
        "mode": "lines",
        "name": "inventory",
        "x": when[thin],
        "y": trace["inventory"].to_numpy()[thin],
        "colour": 3,
        "line": {"shape": "hv"},
        "yaxis": "y2",
    }
    axes = {
        "xaxis": axis("UTC", type="date", anchor="y2"),
        "yaxis": axis("$", domain=[0.34, 1]),
        "yaxis2": axis("contracts", domain=[0, 0.26]),
    }
    caption = f"{name}: settled pnl {numbers.money(settled)}"
    return Figure(place, caption, [*lines, *fills, inventory], axes, 430)


def _some(places: Any) -> Any:
    """Return at most so many of some places, evenly spaced."""
    return places[:: max(1, -(-len(places) // _MOST_POINTS))]


def _contracts(frame: pd.DataFrame) -> Table:
    """List contracts, the worst first."""
    worst = frame.sort_values("pnl_settled")
    rows = [
        [str(name), *(numbers.fixed(float(row[column]), digits) for column, digits in _COLUMNS)]
        for name, row in zip(worst.index, worst.to_dict("records"), strict=True)
    ]
    return Table("Table of contracts", ["contract", *(column for column, _ in _COLUMNS)], rows)


def _metrics(simulation: Simulation) -> Table:
    """Summarise every metric over contracts, as of a simulation's paths."""
    cells: dict[str, dict[str, float]] = simulation.summary().to_dict("index")  # type: ignore[assignment]
    keys = [
        ("mean", "mean"),
        ("standard_error", "se"),
        ("sd", "sd"),
        ("p05", "5%"),
        ("p50", "50%"),
        ("p95", "95%"),
    ]
    rows = [
        [name, *(numbers.significant(cells[name][key]) for key, _ in keys)]
        for _, names in SECTIONS
        for name in names
        if cells[name]["count"] > 0
    ]
    return Table("Table of metrics", ["metric", *(heading for _, heading in keys)], rows)


def _settings(simulation: Simulation, account: dict[str, Any]) -> Section:
    """Show the maker's settings, and what the tape took the place of."""
    rows = [
        [f"{table}.{name}", numbers.setting_text(value)]
        for table, settings in simulation.scenario.to_dict().items()
        if table in ("quoting", "risk", "recovery", "fees")
        for name, value in settings.items()
    ]
    rows += [
        ["market.tick_size", numbers.setting_text(simulation.scenario.market.tick_size)],
        ["market.volatility", numbers.setting_text(simulation.scenario.market.volatility)],
    ]
    return Section(
        "settings",
        "Settings",
        [
            "The maker's. Its market's takers, news and first price are the tape's; the volatility is what "
            "the maker reckons with."
        ],
        tables=[Table("Table of settings", ["setting", "value"], rows, texts=(0, 1))],
        notes=[
            f"seed {simulation.seed}, for outcomes that the tape does not know",
            f"tape: {account['tape']}",
        ],
    )
