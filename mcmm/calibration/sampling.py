"""The paths of a calibration: each setting's, under common random numbers, computed once and kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from mcmm.axes import Value
from mcmm.calibration.bounds import Lookup
from mcmm.engine import run_rows
from mcmm.errors import ScenarioError
from mcmm.moments import FloatArray
from mcmm.question import Question
from mcmm.scenario import Scenario
from mcmm.venue import work

__all__ = ["Key", "Sampler", "Tell", "sets_breaker"]

Key = tuple[Value, ...]
"""A setting: a value for each setting that is searched, in the order of the question."""
Tell = Callable[[str, int, int], object]
"""Called with what is done now, and how many of how many path-steps of it are done."""

_SLICE = 4_000_000  # path-steps of a task: some 40 ms to 100 ms
_LEAF = 256


class Sampler:
    """Computes paths of settings in worlds, on threads, and keeps the metrics that the question speaks of.

    Path i depends on the setting, the world, the seed and i alone; all settings meet the same market.

    Parameters
    ----------
    scenario : Scenario
        What is not searched.
    question : Question
        What is.
    seed : int
        Of all paths.
    jobs : int
        Threads.
    tell : callable
        Told what is done and how far it is.
    """

    def __init__(self, scenario: Scenario, question: Question, seed: int, jobs: int, tell: Tell) -> None:
        self.scenario, self.question, self.seed = scenario, question, seed
        self.worlds = question.worlds
        self.paths_run = 0
        self._jobs, self._tell = jobs, tell
        self._metrics = _kept_metrics(question, scenario)
        self._kept: dict[tuple[Key, int], FloatArray] = {}
        self._scenarios: dict[tuple[Key, int], Scenario | None] = {}

    def named(self, key: Key) -> dict[str, Value]:
        """Return a setting's values by their names."""
        return dict(zip(self.question.search, key, strict=True))

    def key_of(self, setting: Mapping[str, Value]) -> Key:
        """Return a setting as a key."""
        return tuple(setting[name] for name in self.question.search)

    def possible(self, key: Key) -> bool:
        """Tell whether the setting makes a scenario in every world."""
        return all(self._scenario(key, world) is not None for world in range(len(self.worlds)))

    def _scenario(self, key: Key, world: int) -> Scenario | None:
        if (key, world) not in self._scenarios:
            try:
                found = self.scenario.replace(self.worlds[world] | self.named(key))
            except ScenarioError:
                found = None
            self._scenarios[key, world] = found
        return self._scenarios[key, world]

    def need(self, keys: Sequence[Key], paths: int, what: str, worlds: Iterable[int] | None = None) -> None:
        """Compute what is missing of the first `paths` paths of some settings.

        Parameters
        ----------
        keys : sequence of Key
            Possible settings.
        paths : int
            How many paths each is to have.
        what : str
            What this is for, to be told.
        worlds : iterable of int, optional
            In which worlds; all if left out.
        """
        from joblib import Parallel, delayed

        places = range(len(self.worlds)) if worlds is None else tuple(worlds)
        tasks = [
            (key, world, first, count)
            for key in dict.fromkeys(keys)
            for world in places
            for first, count in self._slices(key, world, paths)
        ]
        if not tasks:
            return
        costs = [self._work(key, world) * count for key, world, _, count in tasks]
        total, done = sum(costs), 0
        self._tell(what, 0, total)
        parts: dict[tuple[Key, int], list[FloatArray]] = {}
        results: Iterator[FloatArray] = Parallel(
            n_jobs=self._jobs, backend="threading", return_as="generator", batch_size=1
        )(delayed(self._run)(*task) for task in tasks)
        for (key, world, _, count), cost, rows in zip(tasks, costs, results, strict=True):
            parts.setdefault((key, world), []).append(rows)
            self.paths_run += count
            done += cost
            self._tell(what, done, total)
        for place, found in parts.items():
            before = [self._kept[place]] if place in self._kept else []
            self._kept[place] = np.concatenate([*before, *found], axis=1)

    def _slices(self, key: Key, world: int, paths: int) -> Iterator[tuple[int, int]]:
        kept = self._kept.get((key, world))
        have = 0 if kept is None else kept.shape[1]
        size = max(_SLICE // self._work(key, world) // _LEAF, 1) * _LEAF
        for first in range(have, paths, size):
            yield first, min(size, paths - first)

    def _work(self, key: Key, world: int) -> int:
        """Path-steps of a path, or as many as it takes as long as."""
        scenario = self._scenario(key, world)
        assert scenario is not None
        return scenario.steps * scenario.market_count * work(scenario.columns)

    def _run(self, key: Key, world: int, first: int, count: int) -> FloatArray:
        scenario = self._scenario(key, world)
        assert scenario is not None
        # Venues differ in what their paths report, and several markets' columns stand elsewhere then.
        rows = [scenario.columns.index(name) for name in self._metrics]
        return run_rows(scenario, self.seed, first, count)[rows]

    def paths_of(self, key: Key, world: int = 0) -> int:
        """Return how many paths of a setting there are."""
        kept = self._kept.get((key, world))
        return 0 if kept is None else kept.shape[1]

    def lookup(self, key: Key, world: int, paths: int) -> Lookup:
        """Return what gives a metric's values on the first `paths` paths, which must have been computed."""
        rows = self._kept[key, world][:, :paths]
        return lambda name: rows[self._metrics.index(name)]

    def setting(self, key: Key) -> Callable[[str], float]:
        """Return what gives a setting's value by its name."""
        named = self.named(key)
        return lambda name: float(named[name])

    def trigger(self, key: Key, world: int) -> float:
        """Return the drawdown limit of a setting in a world."""
        scenario = self._scenario(key, world)
        assert scenario is not None
        return float(scenario.risk.drawdown_limit)


def _kept_metrics(question: Question, scenario: Scenario) -> tuple[str, ...]:
    """Return the question's metrics and, where a drawdown breaker is set, what tells of its overshoot."""
    extra = ("breaker_overshoot", "realised_overshoot") if sets_breaker(question, scenario) else ()
    return tuple(dict.fromkeys((*question.metrics, *extra)))


def sets_breaker(question: Question, scenario: Scenario) -> bool:
    """Tell whether the question is about a drawdown breaker: it sets one, or the scenario has one."""
    return "risk.drawdown_limit" in question.search or math.isfinite(scenario.risk.drawdown_limit)
