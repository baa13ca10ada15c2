"""What the search knows of a setting, and the search's coordinates.

A constraint's **score** is how far its estimate is from its bound, in standard errors of the certificate's
last look: a setting with a score of -3 keeps the constraint by three of them, so that the certificate would
likely hold it. The search's own error, in the same unit, is sqrt(paths of the certificate / paths of the
search).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcmm.axes import Range, Value
from mcmm.calibration.bounds import objective_terms
from mcmm.calibration.sampling import Key, Sampler
from mcmm.calibration.trials import reading_at
from mcmm.moments import FloatArray, tree_sum
from mcmm.question import Limit, Question

__all__ = ["Evaluation", "Space", "evaluate", "measure_at", "score_of"]

_FAR = 1e6  # a score that stands for infinitely far
_SIGNIFICANT = 4  # digits of a setting that is found: nobody sets a limit of 137.2384


@dataclass(frozen=True)
class Evaluation:
    """What the search knows of a setting.

    Attributes
    ----------
    key : Key
        The setting.
    paths : int
        How many paths it had in each world.
    objective : float
        The estimate, in the world where it is least.
    estimates : tuple of float
        Of what each constraint bounds, world by world.
    scores : tuple of float
        The constraints' scores, in the same order; <= 0 keeps the bound.
    measures : tuple of float
        As the scores, but for probabilities the difference of log-odds, which is closer to a line.
    """

    key: Key
    paths: int
    objective: float
    estimates: tuple[float, ...]
    scores: tuple[float, ...]
    measures: tuple[float, ...]

    @property
    def worst(self) -> float:
        """The score of the constraint that is kept least."""
        return max(self.scores)


def evaluate(sampler: Sampler, key: Key, paths: int) -> Evaluation:
    """Read a setting's first paths, which must have been computed."""
    question = sampler.question
    objectives, estimates, scores, measures = [], [], [], []
    for world in range(len(sampler.worlds)):
        lookup = sampler.lookup(key, world, paths)
        terms = objective_terms(question.objective, lookup, sampler.setting(key))
        objectives.append(float(tree_sum(terms)) / terms.size if terms.size else math.nan)
        for place, limit in enumerate(question.constraint):
            reading = reading_at(sampler, key, place, world, paths)
            estimates.append(reading.estimate)
            scores.append(score_of(limit, reading.estimate, reading.scale, question.paths))
            if reading.hits >= 0:
                odds = math.log((reading.hits + 0.5) / (reading.count - reading.hits + 0.5))
                measures.append(odds - _logit(limit.bound))
            else:
                measures.append(scores[-1])
    known = [-math.inf if math.isnan(value) else value for value in objectives]
    return Evaluation(key, paths, min(known), tuple(estimates), tuple(scores), tuple(measures))


def score_of(limit: Limit, estimate: float, scale: float, paths: int) -> float:
    """Return a constraint's score at so many paths, from its estimate and that one's error with one path."""
    if math.isnan(estimate):  # a metric that applies to no path: nothing can be certified
        return _FAR
    excess = limit.bound - estimate if limit.at_least is not None else estimate - limit.bound
    if limit.probability is not None:
        scale = math.sqrt(limit.bound * (1.0 - limit.bound))
    if not scale > 0.0:
        return -_FAR if excess <= 0.0 else _FAR
    return max(-_FAR, min(_FAR, excess / scale * math.sqrt(paths)))


def measure_at(question: Question, score: float) -> FloatArray:
    """Return the measure that each constraint has at a score, world by world."""
    found = []
    for limit in question.constraint:
        if limit.probability is None:
            found.append(score)
            continue
        error = math.sqrt(limit.bound * (1.0 - limit.bound) / question.paths)
        # A margin leaves an eighth of the chance, below which there is nothing to keep.
        chance = max(limit.bound + score * error, limit.bound / 8.0)
        found.append(_logit(min(chance, 0.5 + limit.bound / 2.0)) - _logit(limit.bound))
    return np.array(found * len(question.worlds))


def _logit(chance: float) -> float:
    return math.log(chance / (1.0 - chance))


class Space:
    """The settings that are searched, as points of the unit cube.

    Parameters
    ----------
    question : Question
        What is searched.
    """

    def __init__(self, question: Question) -> None:
        self._axes = list(question.search.values())
        self.dimensions = len(self._axes)
        self.ranges = [place for place, axis in enumerate(self._axes) if isinstance(axis, Range)]
        self.choices = [place for place, axis in enumerate(self._axes) if not isinstance(axis, Range)]

    def key(self, point: Sequence[float]) -> Key:
        """Return the setting at a point of the unit cube, both ends included."""
        return tuple(_value(axis, float(share)) for axis, share in zip(self._axes, point, strict=True))

    def point(self, key: Key) -> FloatArray:
        """Return a setting's point, that of a choice in the middle of its part."""
        return np.array([_share(axis, value) for axis, value in zip(self._axes, key, strict=True)])

    def choice(self, key: Key) -> Key:
        """Return the values of the axes that are lists."""
        return tuple(key[place] for place in self.choices)

    def neighbours(self, key: Key, step: float) -> list[Key]:
        """Return the settings that differ in one axis: by a share of a range, or by a choice."""
        found = []
        for place, axis in enumerate(self._axes):
            if isinstance(axis, Range):
                share = _share(axis, key[place])
                values = [_value(axis, min(max(share + way * step, 0.0), 1.0)) for way in (-1.0, 1.0)]
            else:
                values = list(axis)
            found += [(*key[:place], value, *key[place + 1 :]) for value in values if value != key[place]]
        return list(dict.fromkeys(found))


def _value(axis: Range | tuple[Value, ...], share: float) -> Value:
    if not isinstance(axis, Range):
        return axis[min(int(share * len(axis)), len(axis) - 1)]
    if axis.integer:
        first, last = math.ceil(axis.low), math.floor(axis.high)
        return min(max(round(axis.between(share)), first), last)
    rounded = float(f"{axis.between(share):.{_SIGNIFICANT}g}")
    return min(max(rounded, axis.low), axis.high)


def _share(axis: Range | tuple[Value, ...], value: Value) -> float:
    if not isinstance(axis, Range):
        return (axis.index(value) + 0.5) / len(axis)
    assert isinstance(value, int | float)
    if axis.scale == "log":
        return math.log(value / axis.low) / math.log(axis.high / axis.low)
    return (value - axis.low) / (axis.high - axis.low)
