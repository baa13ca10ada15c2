"""Tables and lines for a terminal of 80 columns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcmm.reports import numbers
from mcmm.reports.findings import money_digits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.text import Text

WIDTH = 80


@dataclass(frozen=True)
class Column:
    """One column of a table: its heading (lines), its cells, and whether they are text."""

    heading: str
    cells: list[str]
    text: bool = False

    @property
    def width(self) -> int:
        """Its widest line."""
        return max(len(line) for text in [self.heading, *self.cells] for line in text.split("\n"))


def say(console: Console, line: str, style: str = "") -> None:
    """Print a line of prose, wrapped, with nothing in it read as markup."""
    from rich.text import Text

    console.print(Text(line, style=style), width=min(WIDTH, console.width), highlight=False)


def pack(groups: list[list[Column]], first: list[Column], width: int) -> list[list[Column]]:
    """Stack groups of columns into tables of at most this width; every table opens with the first columns."""
    tables: list[list[Column]] = []
    current: list[Column] = []
    for group in groups:
        if current and width_of([*first, *current, *group]) > width:
            tables.append([*first, *current])
            current = []
        for column in group:
            if current and width_of([*first, *current, column]) > width:
                tables.append([*first, *current])
                current = []
            current.append(column)
    return [*tables, [*first, *current]] if current else tables


def width_of(columns: list[Column], gap: int = 1) -> int:
    """Count the characters of a table's line."""
    return sum(column.width for column in columns) + gap * (len(columns) - 1)


def print_table(console: Console, columns: list[Column], bold: Sequence[int], split: int | None) -> None:
    """Print one table; ``bold`` rows stand out, and a gap follows row number ``split``."""
    from rich import box
    from rich.table import Table

    gap = 1 if width_of(columns, gap=2) <= min(WIDTH, console.width) else 0
    # The box's own divider is the other character between two columns.
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold"
    )
    for column in columns:
        table.add_column(
            plain(column.heading),
            justify="left" if column.text else "right",
            no_wrap=True,
            vertical="bottom",
            min_width=column.width,
        )
    for position, cells in enumerate(zip(*(column.cells for column in columns), strict=True)):
        end = split is not None and position == split - 1
        table.add_row(*map(plain, cells), style="bold" if position in bold else "", end_section=end)
    console.print(table)


def plain(text: str) -> Text:
    """Make text that rich does not read as markup."""
    from rich.text import Text

    return Text(text)


def money(heading: str, values: list[float]) -> Column:
    """Make a column of dollars."""
    digits = money_digits(values)
    return Column(heading, [compact(value, digits) for value in values])


def counts(heading: str, values: list[float]) -> Column:
    """Make a column of mean counts, three figures of the largest."""
    digits = numbers.decimals(values, 3)
    return Column(heading, [compact(value, digits) for value in values])


def gained(gains: list[float]) -> bool:
    """Tell whether control variates made a difference anywhere."""
    return any(gain != 1.0 and math.isfinite(gain) for gain in gains)


def gain(value: float) -> str:
    """Write how many times smaller a variance has become: ``"1"``, ``"7.2"``, ``"107"``."""
    return "-" if math.isnan(value) else numbers.fixed(value, 0 if value >= 99.5 or value == 1.0 else 1)


def compact(value: float, digits: int) -> str:
    """Write a number in at most eight characters."""
    text = numbers.fixed(value, digits)
    return text if len(text) <= 8 else f"{value:.2e}".replace("e+0", "e").replace("e+", "e")


def figures(error: float, value: float) -> int:
    """Count the decimals for two figures of a standard error, or four of the value where there is none."""
    return numbers.decimals([error], 2, most=6) if error > 0 else numbers.decimals([value], 4)


def count(number: int, what: str) -> str:
    """Write a number of things, as ``3 paths``."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def rate(path_steps_per_second: float) -> str:
    """Write a speed: ``"131 million path-steps/s"``."""
    for size, word in ((1e9, " billion"), (1e6, " million"), (1e3, " thousand")):
        if path_steps_per_second >= size:
            return f"{numbers.significant(path_steps_per_second / size, 3)}{word} path-steps/s"
    return f"{path_steps_per_second:.0f} path-steps/s"
