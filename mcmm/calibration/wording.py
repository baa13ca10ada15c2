"""A certificate in words: its constraints, its settings, its answer."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mcmm.metrics import METRICS
from mcmm.objectives import Statistic
from mcmm.question import Limit, Question

__all__ = [
    "answer",
    "constraint_label",
    "estimate_label",
    "in_order",
    "percent",
    "setting_label",
    "share_label",
    "shown",
    "statistic_label",
]

_DOLLARS = ("$", "$ per contract")


def percent(chance: float) -> str:
    """Write a chance, as 1% or 0.94%."""
    return f"{100.0 * chance:.4g}%"


def shown(value: float, unit: str = "") -> str:
    """Write a number with its unit, as $6.43, -$3 or 140; NaN, where there is nothing to count, as none."""
    if math.isnan(value):
        return "none"
    if unit in _DOLLARS:
        return f"{'-' if value < 0 else ''}${abs(value):,.4g}"
    return f"{value:,.4g}"


def in_order(rows: Iterable[Mapping[str, Any]], names: Iterable[str]) -> list[Mapping[str, Any]]:
    """Return rows that the search looked at in the order of their settings: numbers by size, before words."""
    names = list(names)

    def place(row: Mapping[str, Any]) -> list[tuple[bool, Any]]:
        values = [row["setting"][name] for name in names]
        return [(isinstance(value, str), value) for value in values]

    return sorted(rows, key=place)


def _unit(metric: str) -> str:
    found = METRICS.get(metric.rpartition(".")[2])
    return found.unit if found else ""


def event_label(event: str) -> str:
    """Write an event with the dollars of a lone comparison, as max_drawdown_fair > $50."""
    found = re.fullmatch(r"\s*([\w.]+)\s*([<>]=?)\s*(-?[\d.]+)\s*", event)
    if found is None or _unit(found[1]) not in _DOLLARS:
        return event.strip()
    return f"{found[1]} {found[2]} {shown(float(found[3]), '$')}"


def statistic_label(statistic: Statistic) -> str:
    """Write what a statistic is."""
    if statistic.kind == "probability":
        return f"P({event_label(statistic.of)})"
    if statistic.kind == "expected_shortfall":
        return f"expected shortfall of {statistic.of} at {percent(statistic.level)}"
    return f"mean {statistic.of}"


def value_label(statistic: Statistic, value: float) -> str:
    """Write a statistic's value."""
    return percent(value) if statistic.kind == "probability" else shown(value, _unit(statistic.of))


def share_label(share: float, paths: int) -> str:
    """Write a share of paths; what was seen on none of them is not for that impossible."""
    return percent(share) if share else f"0 of {paths:,}"


def estimate_label(statistic: Statistic, value: float, paths: int) -> str:
    """Write a statistic's estimate from so many paths."""
    if statistic.kind == "probability" and not math.isnan(value):
        return share_label(value, paths)
    return value_label(statistic, value)


def constraint_label(limit: Limit) -> str:
    """Write a constraint, as P(max_drawdown_fair > $50) <= 1%."""
    sign = "<=" if limit.at_least is None else ">="
    return f"{statistic_label(limit.statistic)} {sign} {value_label(limit.statistic, limit.bound)}"


def setting_label(name: str) -> str:
    """Write a setting's name in words, as inventory limit."""
    place, _, leaf = name.rpartition(".")
    market = re.match(r"markets\.([^.]+)\.", place + ".")
    return leaf.replace("_", " ") + (f" of {market[1]}" if market else "")


def settings_text(setting: Mapping[str, Any]) -> str:
    """Write a setting's values, as base spread 0.04, inventory limit 140."""
    return ", ".join(f"{setting_label(name)} {_value(value)}" for name, value in sorted(setting.items()))


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def objective_unit(question: Question) -> str:
    """Return the objective's unit: dollars if all of its statistics are in dollars."""
    objective = question.objective
    units = {_unit(statistic.of) for _, statistic in objective.statistics if statistic.kind != "probability"}
    return "$" if units == {"$"} and not objective.settings else ""


def asked(question: Question) -> str:
    """Write the constraints and the confidence."""
    limits = " and ".join(constraint_label(limit) for limit in question.constraint)
    worlds = len(question.worlds)
    everywhere = f" in each of {worlds} worlds" if worlds > 1 else ""
    return f"{limits}{everywhere}, at {percent(question.confidence)} confidence"


def answer(question: Question, verdict: str, trials: Sequence[Mapping[str, Any]]) -> str:
    """Write the answer in a sentence.

    Parameters
    ----------
    question : Question
        What was asked.
    verdict : {"certified", "infeasible", "undecided"}
        What was found.
    trials : sequence of dict
        The trials, in their order.
    """
    objective = question.objective
    if verdict == "certified":
        trial = [each for each in trials if each["verdict"] == "certified"][-1]
        if objective.setting and len(question.search) == 1:
            which = "smallest" if objective.downwards else "largest"
            value = _value(trial["setting"][objective.setting])
            return f"{which} {setting_label(objective.setting)} with {asked(question)}: {value}"
        worth = shown(trial["objective"], objective_unit(question))
        chosen = settings_text(trial["setting"])
        return f"best {question.maximize} with {asked(question)}: {worth}, with {chosen}"
    trial = trials[0]
    broken = [cell for cell in trial["cells"] if cell["verdict"] != "certified"]
    statistics = [question.constraint[cell["constraint"]].statistic for cell in broken[:3]]
    facts = "; ".join(
        f"{statistic_label(each)} is {estimate_label(each, cell['estimate'], cell['paths'])}"
        for each, cell in zip(statistics, broken, strict=False)
    )
    where = settings_text(trial["setting"])
    if verdict == "infeasible":
        return f"no setting found with {asked(question)}; the least violated is {where}, where {facts}"
    paths = f"{trial['paths']:,} paths"
    more = trial["more"]
    if trial["verdict"] == "refuted":
        ahead = "the setting that the search took for safe is refuted; ask with another seed"
    elif more is None:
        ahead = "more paths would hardly decide it"
    else:
        ahead = f"about {_round(more):,} more would likely decide it"
    return f"undecided after {paths} whether {asked(question)}, with {where}, where {facts}; {ahead}"


def _round(paths: int) -> int:
    """Round up to two digits: nobody knows more."""
    unit = int(10 ** max(len(str(paths)) - 2, 0))
    return -(-paths // unit) * unit
