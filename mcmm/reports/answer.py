"""The answer in sentences, each number with its interval."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mcmm.reports import numbers
from mcmm.reports.findings import TAIL, describe, error_digits, is_chance, short_names, write

if TYPE_CHECKING:
    from mcmm.reports.findings import Findings

__all__ = ["sentences"]

PNL, LOSS = "pnl_settled.mean", "pnl_settled.loss_chance"
#: The most points whose differences from the best are told one by one.
MOST_TOLD = 3


def sentences(findings: Findings) -> tuple[str, ...]:
    """Answer in three sentences: the best point, its tail, what cannot be told apart from it.

    Parameters
    ----------
    findings : Findings
        The sweep and what it says.

    Returns
    -------
    tuple of str
        One sentence only where no point has an objective.
    """
    best = findings.best
    if best is None:
        return (f"No point has a {describe(findings.objective)}: it does not apply to this scenario.",)
    return _best_sentence(findings, best), _tail_sentence(findings, best), _tied_sentence(findings, best)


def _with_interval(findings: Findings, row: int, column: str) -> str:
    interval = findings.write_interval(row, column)
    return findings.write(row, column) + (f" (95% interval {interval})" if interval else "")


def _best_sentence(findings: Findings, best: int) -> str:
    extra = ""
    if findings.objective != PNL:
        extra = f", with mean pnl_settled {_with_interval(findings, best, PNL)} a path"
    elif findings.value(best, findings.objective) < 0:
        extra = ": even the best point loses money"
    return (
        f"The best {describe(findings.objective)} is {_with_interval(findings, best, findings.objective)}, "
        f"at {findings.name(best)}{extra}{_at_the_edge(findings, best)}."
    )


def _at_the_edge(findings: Findings, best: int) -> str:
    """Warn where a better setting may lie outside the study: the best has an axis' last finite value."""
    edges = []
    study = findings.result.study
    # What a design drew is never at the end of its range; only a grid's ends are the study's.
    axes = study.axes if study.layout.design == "grid" else {}
    short = short_names(list(axes))
    for name, values in axes.items():
        if any(isinstance(each, str | bool) for each in values) or len(values) < 2:
            continue
        value = float(findings.result.points[name].iloc[best])
        finite = [float(each) for each in values]
        if math.isfinite(value) and value in (min(finite), max(finite)):
            edges.append(f"the {'largest' if value == max(finite) else 'smallest'} {short[name]}")
    return f", which has {' and '.join(edges)} of the study: a better one may lie beyond" if edges else ""


def _tail_sentence(findings: Findings, best: int) -> str:
    shortfall = findings.value(best, TAIL)
    interval = findings.write_interval(best, TAIL)
    interval = f" (95% interval {interval})" if interval else ""
    verb = "lose" if shortfall >= 0 else "still earn"
    error = findings.value(best, f"{TAIL}_standard_error")
    amount = numbers.money(abs(shortfall), error_digits(error, shortfall))
    if shortfall < 0:
        interval = ""
    chance = findings.chance(best, LOSS)
    bounds = "" if chance[:1] in "<>-" else f" ({findings.write_interval(best, LOSS)})"
    text = (
        f"In the tail its worst 5% of paths {verb} {amount} on average{interval}, "
        f"and {chance} of paths end in a loss{bounds}"
    )
    tails = findings.result.summary[TAIL].to_numpy(dtype=float)
    safest = int(np.nanargmin(tails)) if np.isfinite(tails).any() else best
    if len(tails) == 1:
        return text + "."
    if safest == best:
        return text + "; no other point has a smaller tail."
    return (
        f"{text}; the smallest such tail, {_with_interval(findings, safest, TAIL)}, is that of "
        f"{findings.name(safest)}, where mean pnl_settled is {_with_interval(findings, safest, PNL)}."
    )


def _tied_sentence(findings: Findings, best: int) -> str:
    others = len(findings.order) - 1
    if others == 0:
        return "The study has this one point, so there is nothing to compare it with."
    without = int(np.isnan(findings.shortfall).sum())
    if not without:
        return _compared(findings, best, others)
    # What only a book reports, say, of points on a quote.
    have, them = ("s have", "them") if without > 1 else (" has", "it")
    none = f"{without:,} other point{have} no {describe(findings.objective)}, so nothing is said of {them}."
    return none if without == others else f"{_compared(findings, best, others - without)} {none}"


def _compared(findings: Findings, best: int, others: int) -> str:
    """Say how the best compares with the others that have the objective."""
    if findings.method == "none" or findings.paths < 2:
        return f"The {describe(findings.objective)} has no standard error here, so no difference is judged."
    paired = (
        "paired differences"
        if findings.method == "paired"
        else "differences, the points taken as independent"
    )
    rule = f"{paired}; at most a 5% chance to have ruled out the true best"
    if not findings.tied:
        near = findings.order[1]
        gap = _behind(findings, near) if math.isfinite(findings.shortfall[near]) else ""
        if others == 1:
            return f"The other point is worse and cannot be the best ({rule}){gap and f': {gap}'}."
        gap = gap and f"; the nearest, {gap}"
        return f"Every other point is worse: none of the {others} can be the best ({rule}){gap}."
    points = [str(findings.result.points.index[row]) for row in findings.tied]
    if len(points) <= MOST_TOLD:
        listed = ", and ".join(_behind(findings, row) for row in findings.tied)
    else:
        listed = ", ".join(points[:8]) + (f" and {len(points) - 8} more" if len(points) > 8 else "")
        listed += f"; the nearest, {_behind(findings, findings.tied[0])}"
    if len(points) == 1:
        one = "The other point" if others == 1 else f"Of the {others} other points one"
        text = f"{one} is not shown to be worse ({rule}): {listed}"
    else:
        text = f"Of the {others} other points {len(points)} are not shown to be worse ({rule}): {listed}"
    tails = {row: findings.value(row, TAIL) for row in (best, *findings.tied)}
    safest = min(tails, key=lambda row: (tails[row], row != best))
    if safest == best:
        return text + "; the best has the smallest tail of them."
    if len(points) == 1:
        return f"{text}; its tail is smaller, {_with_interval(findings, safest, TAIL)}."
    return (
        f"{text}; of these point {findings.result.points.index[safest]} has the smallest tail, "
        f"{_with_interval(findings, safest, TAIL)}."
    )


def _behind(findings: Findings, row: int) -> str:
    """Say by how much a point is behind the best."""
    value, error = float(findings.shortfall[row]), float(findings.shortfall_standard_error[row])
    low, high = findings.behind(row)
    digits = error_digits(error, value)
    column = findings.objective
    if is_chance(column):
        told = [f"{100 * each:.{max(1, digits - 2)}f}%" for each in (value, low, high)]
    else:
        told = [write(each, column, digits, findings.paths) for each in (value, low, high)]
    return (
        f"point {findings.result.points.index[row]}, behind by {told[0]} "
        f"(95% interval {told[1]} to {told[2]})"
    )
