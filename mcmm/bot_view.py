"""The live view of a bot in the terminal: quotes, books, risk layers by market, and the last fills."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mcmm.layers import LAYERS, standings, sums_of
from mcmm.quotes import Quote

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mcmm.live import Shown
    from mcmm.quotes import MarketState

__all__ = ["MOST_MARKETS", "view"]

MOST_MARKETS = 12
"""Of more markets than this the first are shown."""

_STYLES = {"off": "dim", "ok": "", "acts": "yellow", "tripped": "bold red"}
_NO_QUOTE = Quote(math.nan, math.nan, 0, 0, False)


def view(shown: Shown) -> RenderableType:
    """Draw it.

    Parameters
    ----------
    shown : Shown
        What there is to see.

    Returns
    -------
    rich renderable
        Three tables, what each was halted by, and a line.
    """
    from rich.console import Group
    from rich.text import Text

    steps = shown.bot.scenario.steps
    journal = f"{shown.waiting:,} records wait for the disk" if shown.waiting else "all on disk"
    line = f"step {shown.step:,} of {steps:,}   journal: {journal}"
    # A table's own title would be broken to the table's width.
    layers = Text("risk layers, in the order they act", style="italic")
    fills = Text("last fills", style="italic")
    # Beside the numbers there is no room for the reason.
    halted = [
        Text(f"{name or 'this market'} halted: {state.halt_reason.replace('_', ' ')}", style="bold red")
        for name, state in list(shown.states.items())[:MOST_MARKETS]
        if state.halted
    ]
    head = Text(line, style="bold")
    return Group(head, _markets(shown), *halted, layers, _layers(shown), fills, _fills(shown))


def _markets(shown: Shown) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    # Without lines between columns ten of them fit a terminal of 80.
    table = Table(pad_edge=False, box=SIMPLE_HEAD, show_edge=False, padding=0)
    for name in ("", "bid", "ask", "mid", "inventory", "exposure", "pnl", "drawdown", "fills", "state"):
        table.add_column(
            name, justify="left" if name in ("", "bid", "ask", "state") else "right", overflow="fold"
        )
    for name, state in list(shown.states.items())[:MOST_MARKETS]:
        quote = shown.quotes.get(name, _NO_QUOTE)
        table.add_row(
            name or "-",
            _side(quote.bid, quote.bid_size),
            _side(quote.ask, quote.ask_size),
            f"{state.mid:.4f}",
            f"{state.inventory:+d}",
            f"${state.exposure:,.2f}",
            f"{state.pnl:+,.2f}",
            f"{state.drawdown:,.2f}",
            f"{state.fills:,}",
            _mode(state, quote),
        )
    return table


def _side(price: float, size: int) -> str:
    return f"{size} @ {price:.4g}" if size else "-"


def _mode(state: MarketState, quote: Quote) -> str:
    if state.halted:
        return "[bold red]halted[/]"
    if state.pause_left:
        return f"[red]paused, {state.pause_left} steps[/]"
    return "quoting" if quote.quoting else "[yellow]not quoting[/]"


def _layers(shown: Shown) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(pad_edge=False)
    table.add_column("layer")
    names, sums = list(shown.states)[:MOST_MARKETS], sums_of(shown.bot)
    found = {}
    for name in names:
        table.add_column(name or "this market")
        quote = shown.quotes.get(name, _NO_QUOTE)
        found[name] = standings(shown.states[name], quote, shown.bot.makers[name].scenario, sums)
    for layer in LAYERS:
        row = [found[name][layer.name] for name in names]
        if all(each.state == "off" for each in row):
            continue
        table.add_row(layer.name, *(Text(each.text, style=_STYLES[each.state]) for each in row))
    return table


def _fills(shown: Shown) -> RenderableType:
    from rich.table import Table

    table = Table(pad_edge=False)
    for name in ("step", "market", "taker", "contracts", "price"):
        table.add_column(name, justify="left" if name in ("market", "taker") else "right")
    for fill in reversed(shown.fills):
        taker = "bought" if fill.side > 0 else "sold"
        table.add_row(f"{fill.step:,}", fill.market or "-", taker, str(fill.size), f"{fill.price:.4g}")
    return table
