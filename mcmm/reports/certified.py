"""The terminal's account of a certificate, in 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcmm.calibration.certificate import OBJECTIVE, question_of
from mcmm.calibration.wording import (
    constraint_label,
    estimate_label,
    in_order,
    objective_unit,
    percent,
    setting_label,
    settings_text,
    share_label,
    shown,
    value_label,
)
from mcmm.reports.layout import Column, print_table, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from mcmm.calibration.certificate import Certificate
    from mcmm.question import Question

__all__ = ["print_certificate"]

# Characters of a constraint beside which its numbers fit in 80 columns.
_WIDEST = 36


def print_certificate(certificate: Certificate, console: Console) -> None:
    """Print a certificate: the answer, the trials, what lies around it, and what it rests on.

    Parameters
    ----------
    certificate : Certificate
        What to print.
    console : rich.console.Console
        Where to; at most 80 columns are used.
    """
    document, question = certificate.document, question_of(certificate.study)
    say(console, document["answer"], style="bold")
    console.print()
    say(console, f"Verdict: {document['verdict']}.")
    if document["objective"] is not None and question.objective.statistics:
        worth = [
            shown(value, objective_unit(question)) for value in map(document["objective"].get, OBJECTIVE)
        ]
        where = " in the worst world" if len(question.worlds) > 1 else ""
        interval = f"{percent(question.confidence)} interval {worth[1]} to {worth[2]}"
        say(console, f"{question.maximize}{where}: {worth[0]} ({interval}).")
    console.print()
    for number, trial in enumerate(document["trials"], start=1):
        last = number == len(document["trials"])
        _print_trial(console, question, number, trial, whole=last or len(question.worlds) == 1)
    _print_assumptions(console, question, document["assumptions"])
    _print_overshoot(console, document["breaker"])
    _print_rows(console, question, "around it, as the search saw it", document["frontier"])
    _print_rows(console, question, "what would change the answer", document["neighbours"])
    for note in document["plan"]["notes"]:
        say(console, f"Note: {note}.")
    paths, seeds = document["paths"], document["seeds"]
    settings = f"{document['plan']['settings']:,} settings"
    say(
        console,
        f"Search: {settings}, {paths['search']:,} paths, seed {seeds['search']}. "
        f"Certificate: {paths['certificate']:,} fresh paths, seed {seeds['certificate']}, up to "
        f"{len(document['looks'])} looks at {percent(document['looks'][0]['alpha'])} each.",
    )


def _print_trial(
    console: Console, question: Question, number: int, trial: dict[str, Any], *, whole: bool
) -> None:
    """Print what the fresh paths say of one setting."""
    say(
        console,
        f"{number}. {settings_text(trial['setting'])}: {trial['verdict']} on {trial['paths']:,} fresh paths",
    )
    if not whole:
        return
    cells = trial["cells"]
    limits = [question.constraint[cell["constraint"]] for cell in cells]
    # Of several worlds there is one column more: the short labels fit beside it.
    several = len(question.worlds) > 1
    labels = [constraint_label(limit) for limit in limits]
    if several or max(map(len, labels)) > _WIDEST:
        labels = [limit.label for limit in limits]
    columns = [Column("constraint", labels, text=True)]
    if len(question.worlds) > 1:
        columns.append(Column("world", [str(cell["world"]) for cell in cells]))
    found = [
        estimate_label(limit.statistic, cell["estimate"], cell["paths"])
        for limit, cell in zip(limits, cells, strict=True)
    ]
    columns.append(Column("estimate", found))
    for heading in ("low", "high"):
        values = [
            value_label(limit.statistic, cell[heading]) for limit, cell in zip(limits, cells, strict=True)
        ]
        columns.append(Column(heading, values))
    columns.append(Column("verdict", [cell["verdict"] for cell in cells], text=True))
    print_table(console, columns, [], None)
    console.print()


def _print_assumptions(console: Console, question: Question, rows: Sequence[dict[str, Any]]) -> None:
    """Print how near each world comes to breaking a constraint."""
    if not rows:
        return
    say(console, "which assumption binds", style="bold")
    columns = [
        Column(setting_label(name).replace(" ", "\n"), [f"{row['world'][name]}" for row in rows])
        for name in sorted(question.robust)
    ]
    limits = [question.constraint[row["constraint"]] for row in rows]
    columns.append(Column("nearest to its bound", [limit.label for limit in limits], text=True))
    values = [
        estimate_label(limit.statistic, row["estimate"], row["paths"])
        for limit, row in zip(limits, rows, strict=True)
    ]
    columns.append(Column("estimate", values))
    if "alone" in rows[0]:
        columns.append(Column("alone it\nwould allow", [f"{row['alone']}" for row in rows]))
    columns.append(Column("", ["binds" if row["binds"] else "" for row in rows], text=True))
    print_table(console, columns, [place for place, row in enumerate(rows) if row["binds"]], None)
    console.print()


def _print_overshoot(console: Console, rows: Sequence[dict[str, Any]]) -> None:
    """Print what the drawdown breaker does not save."""
    if not rows:
        return
    say(console, "what the drawdown breaker does not save", style="bold")
    for place, row in enumerate(rows):
        world = f"world {place}: " if len(rows) > 1 else ""
        say(
            console,
            f"{world}trigger {shown(row['trigger'], '$')}, tripped on "
            + (f"{percent(row['tripped'])} of paths" if row["tripped"] else share_label(0.0, row["paths"])),
        )
    rows = [row for row in rows if row["tripped"]]
    if not rows:
        console.print()
        return
    columns = [
        Column(
            "past the trigger",
            [f"{where}" for _ in rows for where in ("at the trip", "in the end")],
            text=True,
        )
    ]
    parts = [row[name] for row in rows for name in ("at_the_trip", "in_the_end")]
    columns += [Column(name, [shown(part[name], "$") for part in parts]) for name in parts[0]]
    print_table(console, columns, [], None)
    console.print()


def _print_rows(console: Console, question: Question, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print settings that the search looked at."""
    if not rows:
        return
    say(console, title, style="bold")
    names = list(question.search)
    rows = in_order(rows, names)
    columns = [
        Column(setting_label(name).replace(" ", "\n"), [f"{row['setting'][name]}" for row in rows])
        for name in names
    ]
    if question.objective.statistics:
        unit = objective_unit(question)
        columns.append(Column("objective", [shown(row["objective"], unit) for row in rows]))
    worlds = len(question.worlds)
    for place, limit in enumerate(question.constraint):
        # Of several worlds the worst one's estimate.
        worst = [
            max(range(place, len(row["scores"]), len(question.constraint)), key=row["scores"].__getitem__)
            for row in rows
        ]
        values = [
            estimate_label(limit.statistic, row["estimates"][at], row["paths"])
            for row, at in zip(rows, worst, strict=True)
        ]
        columns.append(Column(f"{'worst ' if worlds > 1 else ''}{limit.statistic.kind[:12]}", values))
    columns.append(Column("keeps", ["yes" if max(row["scores"]) <= 0.0 else "no" for row in rows], text=True))
    print_table(console, columns, [], None)
    console.print()
