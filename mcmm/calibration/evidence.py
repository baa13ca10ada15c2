"""What a certificate says beside its verdict: which assumption binds, and what a breaker does not save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mcmm.calibration.sampling import Sampler, sets_breaker
from mcmm.calibration.scores import score_of
from mcmm.calibration.trials import Trial, reading_at
from mcmm.statistics import mean, ordered_quantile, sorted_sample

__all__ = ["assumptions", "overshoot"]

Rows = Sequence[Mapping[str, Any]]

_QUANTILES = (0.5, 0.95, 0.99)


def assumptions(sampler: Sampler, trial: Trial, frontier: Rows) -> list[dict[str, Any]]:
    """Return how near to its bound each world brings a setting, the world that binds marked.

    Parameters
    ----------
    sampler : Sampler
        The trial's.
    trial : Trial
        Of the setting.
    frontier : sequence of dict
        Settings that the search looked at, with a score for every constraint in every world.

    Returns
    -------
    list of dict
        One for each world: ``world`` (its settings), ``constraint`` (the one that is kept least) with its
        ``estimate``, its ``paths`` and ``score`` (see `mcmm.calibration.scores`), ``binds``; and where one
        number alone is made large, ``alone``: the largest of the frontier's that keeps this world's
        constraints. Empty for one world.
    """
    question, key = sampler.question, sampler.key_of(trial.setting)
    if len(sampler.worlds) == 1:
        return []
    rows: list[dict[str, Any]] = []
    count = len(question.constraint)
    for place, world in enumerate(sampler.worlds):
        found = []
        for constraint, limit in enumerate(question.constraint):
            reading = reading_at(sampler, key, constraint, place, sampler.paths_of(key, place))
            score = score_of(limit, reading.estimate, reading.scale, question.paths)
            found.append((score, constraint, reading.estimate, reading.count))
        score, constraint, estimate, paths = max(found)
        row: dict[str, Any] = {"world": world, "constraint": constraint, "estimate": estimate, "score": score}
        row["paths"] = paths
        if (name := question.objective.setting) and len(question.search) == 1:
            kept = [
                each["setting"][name]
                for each in frontier
                if max(each["scores"][place * count : (place + 1) * count]) <= 0.0
            ]
            row["alone"] = (min if question.objective.downwards else max)(kept, default=None)
        rows.append(row)
    worst = max(row["score"] for row in rows)
    return [row | {"binds": row["score"] == worst} for row in rows]


def overshoot(sampler: Sampler, trial: Trial) -> list[dict[str, Any]]:
    """Return by how much the drawdown goes on past the breaker's trigger, in each world.

    Parameters
    ----------
    sampler : Sampler
        The trial's.
    trial : Trial
        Of the setting.

    Returns
    -------
    list of dict
        ``trigger`` (dollars), ``paths``, ``tripped`` (the share of paths), and for ``at_the_trip`` (the step
        that trips, `breaker_overshoot`) and ``in_the_end`` (once the breaker's action is over,
        `realised_overshoot`) the mean, quantiles and the largest, dollars. Empty without such a breaker.
    """
    key = sampler.key_of(trial.setting)
    if not sets_breaker(sampler.question, sampler.scenario):
        return []
    rows = []
    for world in range(len(sampler.worlds)):
        paths = sampler.paths_of(key, world)
        lookup = sampler.lookup(key, world, paths)
        columns = {"at_the_trip": "breaker_overshoot", "in_the_end": "realised_overshoot"}
        row: dict[str, Any] = {"trigger": sampler.trigger(key, world), "paths": paths}
        row["tripped"] = float(np.count_nonzero(~np.isnan(lookup("breaker_overshoot")))) / paths
        for name, metric in columns.items():
            ordered = sorted_sample(lookup(metric))
            row[name] = {"mean": mean(ordered).value, "largest": ordered_quantile(ordered, 1.0)} | {
                f"{100 * share:g}%": ordered_quantile(ordered, share) for share in _QUANTILES
            }
        rows.append(row)
    return rows
