"""Rare events: the chance that a drawdown passes a level, by multilevel splitting on the core's own state.

A path that loses a lot loses a little first. Levels below the one that is asked for are fixed; from the
start, as many paths as ``effort`` run until their running drawdown passes the first level or they end. Each
level that is passed is an entrance, with the whole state of the path. As many paths again start from the
entrances, each from one of them and each with a market of its own from there on, and run until they pass
the next level; and so on. The product of the shares that passed is an unbiased estimate of the chance
(fixed effort: Garvels, "The splitting method in rare event simulation", 2000; Glasserman, Heidelberger,
Shahabuddin & Zajic, "Multilevel splitting for estimating rare event probabilities", Operations Research 47,
1999). Entrances are used equally often, the rest drawn without putting back.

Paths within a replicate have ancestors in common and are not independent; replicates are. The interval is
Student's t over their estimates. A path of a replicate is a pure function of the scenario, the seed, the
replicate, the level and its place: neither threads nor the machine change a bit.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mcmm.engine import Resumed, cores, resume_rows
from mcmm.errors import InputError
from mcmm.expressions import Event
from mcmm.refusals import nearest
from mcmm.scenario import Scenario
from mcmm.statistics import Interval, mean

__all__ = ["WATCHED", "RareEvent", "rare_event"]

WATCHED = ("max_drawdown", "max_drawdown_fair")
"""The metrics that have a running value to split on."""

_PASS = 0.15  # the share of paths that the levels are to let through
_MOST_LEVELS = 40
_FEW = 8
_ROUGH = 0.25


@dataclass(frozen=True)
class RareEvent:
    """A chance by splitting.

    Attributes
    ----------
    event : str
        What happens.
    chance, standard_error : float
        The mean of the replicates' estimates, and its error.
    interval : Interval
        Two-sided, at ``confidence``.
    confidence : float
        Strictly between 0 and 1.
    levels : tuple of float
        Dollars of drawdown, the last one that of the event.
    estimates : tuple of float
        Each replicate's.
    effort : int
        Paths started at each level of a replicate.
    seed : int
        Of all of it.
    path_steps : int
        The work: steps of lanes that were computed, the choice of the levels and what ran idle included.
    brute_force_path_steps : float
        What as small an error would take by counting: (1 - p) / (p r^2) paths, r the relative error.
    warnings : tuple of str
        Why the interval may not hold; empty where nothing speaks against it.
    """

    event: str
    chance: float
    standard_error: float
    interval: Interval
    confidence: float
    levels: tuple[float, ...]
    estimates: tuple[float, ...]
    effort: int
    seed: int
    path_steps: int
    brute_force_path_steps: float
    warnings: tuple[str, ...]

    @property
    def saving(self) -> float:
        """How many times less work than counting for the same error."""
        return self.brute_force_path_steps / self.path_steps


def rare_event(
    scenario: Scenario,
    event: str,
    *,
    seed: int = 0,
    effort: int = 1024,
    replicates: int = 16,
    levels: Sequence[float] | None = None,
    confidence: float = 0.95,
    jobs: int = -1,
    progress: Callable[[int, int], object] | None = None,
) -> RareEvent:
    """Estimate the chance of a large drawdown, down to 1e-7 and below.

    Parameters
    ----------
    scenario : Scenario
        Of one market, with a quoting policy of the core's.
    event : str
        ``"max_drawdown_fair > DOLLARS"`` or ``"max_drawdown > DOLLARS"``.
    seed : int
        0 to 2**64 - 1.
    effort : int
        Paths started at each level, 64 to 1,000,000.
    replicates : int
        Independent estimates, 2 to 10,000; fewer than 8 are warned of.
    levels : sequence of float, optional
        Dollars, rising, below that of the event. Chosen by a pilot, which no estimate uses, if left out.
    confidence : float
        Of the interval, strictly between 0 and 1.
    jobs : int
        Threads, -1 for one a core. They change nothing.
    progress : callable, optional
        Called as ``progress(done, replicates)``.

    Returns
    -------
    RareEvent

    Raises
    ------
    InputError
        If an argument is out of its range, or the event or scenario is none that can be split.
    """
    metric, threshold = _watched(event)
    _check(scenario, seed, effort, replicates, confidence)
    threads = cores() if jobs == -1 else jobs
    run = _Run(scenario, metric == "max_drawdown_fair", seed, effort)
    steps = 0
    if levels is None:
        chosen, steps = _pilot(run, threshold)
    else:
        chosen = tuple(float(level) for level in levels)
        if list(chosen) != sorted({*chosen}) or not all(0.0 < level < threshold for level in chosen):
            raise InputError(f"levels: must rise, and be > 0 and < {threshold:g}, got {list(chosen)}")
    chosen = (*chosen, threshold)

    from joblib import Parallel, delayed

    results = Parallel(n_jobs=threads, backend="threading", return_as="generator")(
        delayed(_replicate)(run, chosen, number) for number in range(replicates)
    )
    estimates = []
    for done, (estimate, work) in enumerate(results, start=1):
        estimates.append(estimate)
        steps += work
        if progress is not None:
            progress(done, replicates)
    found = mean(np.array(estimates))
    relative = found.standard_error / found.value if found.value else math.inf
    brute = scenario.steps * (1.0 - found.value) / (found.value * relative**2) if found.value else math.nan
    faults = _faults(estimates, relative)
    for fault in faults:
        warnings.warn(f"{event}: {fault}", stacklevel=2)
    low, high = found.interval(confidence)
    return RareEvent(
        event=event,
        chance=found.value,
        standard_error=found.standard_error,
        interval=Interval(max(low, 0.0), min(high, 1.0)),
        confidence=confidence,
        levels=chosen,
        estimates=tuple(estimates),
        effort=effort,
        seed=seed,
        path_steps=steps,
        brute_force_path_steps=brute,
        warnings=faults,
    )


def _watched(event: str) -> tuple[str, float]:
    """Return an event's metric and its level in dollars."""
    try:
        metric = min(Event(event).names, key=WATCHED.__contains__)  # one that is wrong, of several
    except ValueError as error:
        raise InputError(f"event: {error}") from None
    name, sign, number = event.partition(">")
    try:
        threshold = float(number)
    except ValueError:
        threshold = math.nan
    if name.strip() != metric or not sign or not 0.0 < threshold < math.inf or metric not in WATCHED:
        hint = nearest(metric, WATCHED) if metric not in WATCHED else ""
        raise InputError(
            f"event: must be {' or '.join(WATCHED)}, > and a number of dollars > 0, got {event!r}{hint}"
        )
    return metric, threshold


def _check(scenario: Scenario, seed: int, effort: int, replicates: int, confidence: float) -> None:
    if scenario.markets:
        raise InputError("scenario: must have one market to be split, got [[markets]]")
    if scenario.quoting.policy == "custom":
        raise InputError("scenario: quoting.policy must not be custom to be split; its state is its own")
    if scenario.flow.model == "replay":
        raise InputError("scenario: flow.model must not be replay to be split; it has no randomness")
    for name, value, low, high in (
        ("seed", seed, 0, 2**64 - 1),
        ("effort", effort, 64, 1_000_000),
        ("replicates", replicates, 2, 10_000),
    ):
        if isinstance(value, bool) or not low <= value <= high:
            raise InputError(f"{name}: must be a whole number >= {low} and <= {high}, got {value!r}")
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence: must be strictly between 0 and 1, got {confidence}")


def _faults(estimates: Sequence[float], relative: float) -> tuple[str, ...]:
    """Say why an interval may not hold."""
    faults = []
    if len(estimates) < _FEW:
        faults.append(f"{len(estimates)} replicates are too few for an interval; have {_FEW} or more")
    if died := sum(1 for estimate in estimates if estimate == 0.0):
        faults.append(f"{died} of {len(estimates)} replicates reached no end; raise effort")
    if not relative <= _ROUGH:
        faults.append(f"the standard error is {relative:.0%} of the chance; raise effort or replicates")
    return tuple(faults)


@dataclass(frozen=True)
class _Run:
    scenario: Scenario
    at_fair: bool
    seed: int
    effort: int

    def key(self, *place: object) -> int:
        """Return the seed of one level of one replicate."""
        text = f"mcmm splitting of seed {self.seed}: " + " ".join(map(str, place))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

    def level(self, came: Resumed | None, level: float, *place: object) -> Resumed:
        """Run one level, from the beginning or from what came through the one before."""
        key = self.key(*place)
        if came is None:
            return resume_rows(self.scenario, key, self.effort, self.at_fair, level)
        entered = np.flatnonzero(came.crossed >= 0)
        generator = np.random.Generator(np.random.Philox(key=key))
        whole, rest = divmod(self.effort, entered.size)
        chosen = np.concatenate([np.repeat(entered, whole), generator.permutation(entered)[:rest]])
        # Lanes of a block are at one step: those that start at the same time are put together.
        chosen = chosen[np.argsort(came.crossed[chosen], kind="stable")]
        return resume_rows(
            self.scenario,
            key,
            self.effort,
            self.at_fair,
            level,
            states=came.entrances[chosen],
            starts=came.crossed[chosen],
        )


def _replicate(run: _Run, levels: Sequence[float], number: int) -> tuple[float, int]:
    """Return one estimate, and the steps it took."""
    estimate, steps, came = 1.0, 0, None
    for place, level in enumerate(levels):
        came = run.level(came, level, "replicate", number, "level", place)
        steps += came.path_steps
        passed = int((came.crossed >= 0).sum())
        estimate *= passed / run.effort
        if not passed:
            break
    return estimate, steps


def _pilot(run: _Run, threshold: float) -> tuple[tuple[float, ...], int]:
    """Choose levels that about `_PASS` of the paths pass, and say what that took."""
    levels: list[float] = []
    came: Resumed | None = None
    steps = 0
    while len(levels) < _MOST_LEVELS:
        place = ("pilot", len(levels))
        seen = run.level(came, threshold, *place)
        steps += seen.path_steps
        passed = float((seen.crossed >= 0).mean())
        level = float(np.quantile(seen.reached, 1.0 - _PASS))
        if passed >= _PASS or level >= threshold:
            break
        if level <= (levels[-1] if levels else 0.0):
            # So few get on that the quantile is where they started: take half of those that did.
            above = seen.reached[seen.reached > (levels[-1] if levels else 0.0)]
            if above.size < 2:
                break
            level = float(np.median(above))
        # The same paths once more, for their states at the level.
        entered = run.level(came, level, *place)
        steps += entered.path_steps
        if not (entered.crossed >= 0).any():
            break
        levels.append(level)
        came = entered
    return tuple(levels), steps
