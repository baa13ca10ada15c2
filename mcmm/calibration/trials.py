"""Trials: settings tested on fresh paths, one after the other from safe to risky.

**One setting.** It is certified once every constraint, in every world, has held its one-sided bound at some
look: an intersection-union test, whose level is that of each part (Berger, "Multiparameter hypothesis
testing and acceptance sampling", Technometrics 24, 1982), so nothing is divided. If it breaks a constraint,
certifying it takes that constraint's bound to fail, which happens with chance alpha at most. It is refuted
once the other bound of one of them is beyond its limit; any of them may be that one, so there alpha is
divided among them (Bonferroni).

**Several settings.** They are listed from safe to risky before the first fresh path, and tested in that
order until one is not certified (a fixed sequence; Maurer, Hothorn & Lehmacher, 1995). A false certificate
takes the first setting in the list that breaks a constraint to be certified, which has chance alpha at
most: again nothing is divided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mcmm.calibration.bounds import (
    Look,
    Reading,
    bounds,
    more_paths,
    objective_terms,
    reading_of_limit,
)
from mcmm.calibration.sampling import Key, Sampler
from mcmm.moments import row_moments
from mcmm.statistics import Estimate

__all__ = [
    "CERTIFIED",
    "REFUTED",
    "UNDECIDED",
    "Cell",
    "Trial",
    "certify",
    "objective_of",
    "reading_at",
    "try_setting",
]

CERTIFIED, REFUTED, UNDECIDED = "certified", "refuted", "undecided"


@dataclass(frozen=True)
class Cell:
    """A constraint in a world, as a trial left it.

    Attributes
    ----------
    constraint, world : int
        Which.
    estimate, low, high : float
        The estimate and its one-sided bounds at the look that decided, or at the last.
    paths, hits : int
        Paths to which the metric applies, and of a probability on how many it happened (else -1).
    verdict : str
        ``certified``, ``refuted`` or ``undecided``.
    more : int or None
        Undecided: about how many more paths it would take; None if no number would.
    """

    constraint: int
    world: int
    estimate: float
    low: float
    high: float
    paths: int
    hits: int
    verdict: str
    more: int | None


@dataclass(frozen=True)
class Trial:
    """What the fresh paths say of a setting.

    Attributes
    ----------
    setting : dict
        Values by dotted name.
    verdict : str
        ``certified``, ``refuted`` or ``undecided``.
    paths : int
        How many paths it had in each world.
    looks : int
        After how many looks it ended.
    objective : float
        The estimate of what is made large, in the world where it is least.
    objective_low, objective_high : float
        Its two-sided interval at the question's confidence.
    cells : tuple of Cell
        Every constraint in every world.
    """

    setting: dict[str, Any]
    verdict: str
    paths: int
    looks: int
    objective: float
    objective_low: float
    objective_high: float
    cells: tuple[Cell, ...]

    @property
    def certified(self) -> bool:
        """Whether it was certified."""
        return self.verdict == CERTIFIED

    @property
    def more(self) -> int | None:
        """About how many more paths it would take; None if no number would."""
        left = [cell.more for cell in self.cells if cell.verdict == UNDECIDED]
        return None if None in left else max((more for more in left if more is not None), default=0)


def try_setting(sampler: Sampler, key: Key, looks: Sequence[Look]) -> Trial:
    """Test a setting; see the module.

    Parameters
    ----------
    sampler : Sampler
        Of fresh paths.
    key : Key
        The setting.
    looks : sequence of Look
        When to look.

    Returns
    -------
    Trial
    """
    question = sampler.question
    open_cells = [(c, w) for w in range(len(sampler.worlds)) for c in range(len(question.constraint))]
    order, cells = list(open_cells), {}
    looked = 0
    name = ", ".join(f"{setting} = {value}" for setting, value in sampler.named(key).items())
    for look in looks:
        looked += 1
        worlds = sorted({world for _, world in open_cells})
        sampler.need([key], look.paths, f"testing {name} on {look.paths:,} fresh paths", worlds)
        for constraint, world in list(open_cells):
            cell = _judge(sampler, key, constraint, world, look, len(order))
            cells[constraint, world] = cell
            if cell.verdict == CERTIFIED:
                open_cells.remove((constraint, world))
        if not open_cells or any(cell.verdict == REFUTED for cell in cells.values()):
            break
    verdicts = {cell.verdict for cell in cells.values()}
    verdict = next(each for each in (REFUTED, UNDECIDED, CERTIFIED) if each in verdicts)
    value, low, high = objective_of(sampler, key, question.confidence)
    return Trial(
        sampler.named(key),
        verdict,
        look.paths,
        looked,
        value,
        low,
        high,
        tuple(cells[each] for each in order),
    )


def _judge(sampler: Sampler, key: Key, constraint: int, world: int, look: Look, cells: int) -> Cell:
    """Look at one constraint in one world."""
    limit = sampler.question.constraint[constraint]
    reading = reading_of_limit(limit, sampler.lookup(key, world, look.paths))
    # What certifies has the whole level, what refutes its share.
    above = limit.at_least is not None
    spent = (look.alpha, look.alpha / cells) if above else (look.alpha / cells, look.alpha)
    low, high = bounds(reading, *spent)
    if (low >= limit.bound) if above else (high <= limit.bound):
        verdict = CERTIFIED
    elif (high < limit.bound) if above else (low > limit.bound):
        verdict = REFUTED
    else:
        verdict = UNDECIDED
    more = more_paths(limit, reading, look.alpha) if verdict == UNDECIDED else None
    return Cell(constraint, world, reading.estimate, low, high, reading.count, reading.hits, verdict, more)


def objective_of(sampler: Sampler, key: Key, confidence: float) -> tuple[float, float, float]:
    """Return the objective in the world where it is least, and its two-sided interval there.

    Each world's paths are all that were computed; those of a world that was decided early are fewer.
    """
    found = []
    for world in range(len(sampler.worlds)):
        lookup = sampler.lookup(key, world, sampler.paths_of(key, world))
        terms = objective_terms(sampler.question.objective, lookup, sampler.setting(key))
        if terms.size == 1:
            found.append((float(terms[0]), float(terms[0]), float(terms[0])))
            continue
        count, mean, _, error = (float(row[0]) for row in row_moments(terms[None, :]))
        found.append((mean, *Estimate(mean, error, count).interval(confidence)))
    return min(found, key=lambda each: math.inf if math.isnan(each[0]) else each[0])


def certify(sampler: Sampler, keys: Sequence[Key], looks: Sequence[Look]) -> list[Trial]:
    """Test settings in their order until one is not certified.

    Parameters
    ----------
    sampler : Sampler
        Of fresh paths.
    keys : sequence of Key
        From safe to risky, at least one, chosen without a look at these paths.
    looks : sequence of Look
        When to look.
    """
    trials: list[Trial] = []
    for key in keys:
        trials.append(try_setting(sampler, key, looks))
        if not trials[-1].certified:
            break
    return trials


def reading_at(sampler: Sampler, key: Key, constraint: int, world: int, paths: int) -> Reading:
    """Estimate what a constraint bounds from the first paths of a setting."""
    return reading_of_limit(sampler.question.constraint[constraint], sampler.lookup(key, world, paths))
