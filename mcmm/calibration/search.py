"""The search for settings worth a trial. Nothing it says is evidence: that is what the fresh paths are for.

**One number to be made large or small** (``maximize = "risk.inventory_limit"``): the constraints are taken
to get worse along the axis, and the place where the worst of them meets its bound is found by Brent's
method (`scipy.optimize.brentq`), with few paths first, then with many near it. All settings meet the same
market, so the function is one fixed function and not a noisy one. Five points across the axis show whether
it is monotone.

**Anything else**: a scrambled Sobol sequence over all axes, a few paths each. Then successive halving
(Jamieson & Talwalkar, AISTATS 2016): the better half goes on with twice the paths. Better is: the
objective, among settings whose worst score is at most -3.5 + 2 search errors, that is, which have not been
seen to be too risky at two standard errors; then the least violated. Then boxes that shrink around the best
one: in each a quadratic surrogate of objective and constraints, fitted by weighted least squares to what
was seen nearby, proposes the settings where it expects the best at each margin, beside others that fill the
box.

**Candidates**: for each margin of `MARGINS`, the setting with the best objective among those whose worst
score is at most minus it. They are tried from the largest margin to the smallest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from mcmm.axes import Range
from mcmm.calibration.sampling import Key, Sampler
from mcmm.calibration.scores import Evaluation, Space, evaluate, measure_at
from mcmm.designs import draw
from mcmm.errors import StudyError
from mcmm.moments import FloatArray

__all__ = ["MARGINS", "Found", "search"]

MARGINS = (14.0, 7.0, 3.5)
"""By how many standard errors of the certificate a candidate keeps its constraints, from safe to risky."""

_AIM = MARGINS[-1]
_FIRST = 1024
_HITS = 10  # breaches expected at the bound in the first look at a setting
_ROUNDS = 5
_SHRINK = 0.6
_GUESSES = 2048


@dataclass(frozen=True)
class Found:
    """What the search found.

    Attributes
    ----------
    candidates : tuple of Key
        From safe to risky; of a search without a feasible setting the least violated alone.
    best : Evaluation
        The best setting that keeps every bound as the search estimates it, or the least violated.
    feasible : bool
        Whether any setting keeps every bound, as the search estimates it.
    fallback : bool
        Whether the only candidate is the least violated setting, for want of one that keeps a margin.
    evaluations : tuple of Evaluation
        All that was seen, each with the most paths it had.
    notes : tuple of str
        What is to be said of the search.
    """

    candidates: tuple[Key, ...]
    best: Evaluation
    feasible: bool
    fallback: bool
    evaluations: tuple[Evaluation, ...]
    notes: tuple[str, ...] = field(default=())


def search(sampler: Sampler) -> Found:
    """Search for settings worth a trial.

    Parameters
    ----------
    sampler : Sampler
        Of paths that the certificate will not see.

    Returns
    -------
    Found

    Raises
    ------
    StudyError
        If none of the settings makes a scenario.
    """
    run = _Search(sampler)
    axes = list(sampler.question.search.values())
    if sampler.question.objective.setting and len(axes) == 1 and isinstance(axes[0], Range):
        return _along_an_axis(run)
    return _in_all_axes(run)


class _Search:
    """What has been seen so far."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler, self.question = sampler, sampler.question
        self.space = Space(sampler.question)
        self.seen: dict[Key, Evaluation] = {}
        self.most = max(self.question.paths // 4, _FIRST)
        chances = [limit.bound for limit in self.question.constraint if limit.probability is not None]
        self.first = min(max(_FIRST, _power_of_two(_HITS / min(chances, default=1.0))), self.most)

    def look(self, keys: Sequence[Key], paths: int, what: str) -> list[Evaluation]:
        """Evaluate settings; those that make no scenario are left out."""
        possible = [key for key in dict.fromkeys(keys) if self.sampler.possible(key)]
        wanted = [key for key in possible if key not in self.seen or self.seen[key].paths < paths]
        self.sampler.need(wanted, paths, what)
        for key in wanted:
            self.seen[key] = evaluate(self.sampler, key, paths)
        return [self.seen[key] for key in possible]

    def error(self, paths: int) -> float:
        """Return the search's standard error of a score."""
        return math.sqrt(self.question.paths / paths)

    def height(self, one: Evaluation, margin: float) -> float:
        """Return by how much, as a measure, the worst constraint misses a margin; <= 0 where all keep it."""
        return float(np.max(np.array(one.measures) - measure_at(self.question, -margin)))

    def keeps(self, one: Evaluation, margin: float) -> bool:
        """Tell whether every constraint keeps a margin."""
        return self.height(one, margin) <= 0.0

    def rank(self, one: Evaluation) -> tuple[bool, float]:
        """Order settings by promise, the best largest."""
        hopeful = self.keeps(one, _AIM - 2.0 * self.error(one.paths))
        return hopeful, one.objective if hopeful else -one.worst

    def best(self, margin: float, paths: int = 0) -> Evaluation | None:
        """Return the best objective among settings that keep a margin and have had so many paths."""
        kept = [each for each in self.seen.values() if each.paths >= paths and self.keeps(each, margin)]
        return max(kept, key=lambda each: (each.objective, -each.worst), default=None)

    def least_violated(self, paths: int = 0) -> Evaluation:
        """Return the setting that keeps its constraints best, or breaks them least."""
        known = [each for each in self.seen.values() if each.paths >= paths]
        return min(known or self.seen.values(), key=lambda each: each.worst)

    def found(self, candidates: Sequence[Key], paths: int, notes: Sequence[str] = ()) -> Found:
        best = self.best(0.0, paths)
        least = self.least_violated(paths)
        ordered = tuple(dict.fromkeys(candidates))
        return Found(
            ordered or (least.key,),
            best or least,
            best is not None,
            not ordered,
            tuple(self.seen.values()),
            tuple(notes),
        )


def _power_of_two(least: float) -> int:
    return 1 << max(math.ceil(math.log2(least)), 0)


def _along_an_axis(run: _Search) -> Found:
    """Find where the worst constraint meets its bound along the only axis."""
    from scipy.optimize import brentq

    downwards = run.question.objective.downwards
    (name,) = run.question.search

    def key_at(share: float) -> Key:
        return run.space.key([1.0 - share if downwards else share])

    def share_of(key: Key) -> float:
        share = float(run.space.point(key)[0])
        return 1.0 - share if downwards else share

    def at(share: float, paths: int) -> float:
        (one,) = run.look([key_at(share)], paths, f"searching {name} = {key_at(share)[0]}")
        return run.height(one, 0.0)

    ends = run.look([key_at(share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)], run.first, f"searching {name}")
    if not ends:
        raise StudyError("calibrate: search: no value makes a scenario")
    overview = sorted((share_of(each.key), run.height(each, 0.0), each.worst) for each in ends)
    fall = max(one[2] - other[2] for i, one in enumerate(overview) for other in overview[i:])
    notes = (
        [] if fall <= 4.0 * run.error(run.first) else [f"the constraints do not get worse all along {name}"]
    )
    if run.keeps(ends[-1], 0.0) and at(1.0, run.most) <= 0.0:
        low = high = 1.0
    elif at(0.0, run.first) > 0.0 and at(0.0, run.most) > 0.0:
        return run.found([], run.most, notes)
    else:
        bracket = _bracket([(share, value) for share, value, _ in overview])
        root = float(brentq(at, *bracket, args=(run.first,), xtol=2e-3, maxiter=20, disp=False))
        low, high, reach = root, root, 0.02
        while low > 0.0 and at(low, run.most) > 0.0:
            low, reach = max(low - reach, 0.0), 2.0 * reach
        reach = 0.02
        while high < 1.0 and at(high, run.most) <= 0.0:
            high, reach = min(high + reach, 1.0), 2.0 * reach
        if low < high and at(low, run.most) <= 0.0 < at(high, run.most):
            brentq(at, low, high, args=(run.most,), xtol=2e-3, maxiter=4, disp=False)
    candidates = [key_at(share) for margin in MARGINS if (share := _where(run, share_of, margin)) is not None]
    return run.found(candidates, run.most, notes)


def _bracket(overview: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return neighbours between which the constraint is first broken."""
    for (low, before), (high, after) in pairwise(overview):
        if before <= 0.0 < after:
            return low, high
    return overview[0][0], overview[-1][0]


def _where(run: _Search, share_of: Callable[[Key], float], margin: float) -> float | None:
    """Return the share up to which every constraint keeps a margin, between the settings seen."""
    known = sorted(run.seen.values(), key=lambda each: share_of(each.key))
    # Settings with few paths count only below those with the most.
    lowest = min(share_of(each.key) for each in known if each.paths >= run.most)
    points = [
        (share_of(each.key), each) for each in known if each.paths >= run.most or share_of(each.key) < lowest
    ]
    shares = np.array([share for share, _ in points])
    heights = np.array([each.measures for _, each in points]) - measure_at(run.question, -margin)
    worst = heights.max(axis=1)
    kept = np.flatnonzero(worst <= 0.0)
    if not kept.size:
        return None
    last = int(kept[-1])
    if last + 1 == shares.size:
        return float(shares[last])
    # The worst of several lines between two points: each constraint's line gives its own crossing.
    below, above = heights[last], heights[last + 1]
    crossing = min(
        (-b / (a - b) for b, a in zip(below.tolist(), above.tolist(), strict=True) if a > 0.0), default=1.0
    )
    return float(shares[last] + crossing * (shares[last + 1] - shares[last]))


def _in_all_axes(run: _Search) -> Found:
    """Fill the space, halve, and refine in shrinking boxes."""
    seed = run.sampler.seed
    count = min(_power_of_two(16 * run.space.dimensions), 256)
    cube = draw("sobol", run.space.dimensions, count, seed)
    start = [run.space.key(point) for point in cube.tolist()]
    start += [run.space.key([share] * run.space.dimensions) for share in (0.0, 1.0)]
    alive = run.look(start, run.first, f"searching: {len(start)} settings that fill the space")
    if not alive:
        raise StudyError("calibrate: search: none of its settings makes a scenario")
    paths, few = run.first, 4 + run.space.dimensions
    while len(alive) > few and paths < run.most:
        alive = sorted(alive, key=run.rank, reverse=True)[: max(len(alive) // 2, few)]
        paths = min(2 * paths, run.most)
        alive = run.look(
            [each.key for each in alive], paths, f"searching: the better {len(alive)} of them again"
        )
    paths = max(run.first, min(run.most // 4, 8 * run.first))
    run.look([each.key for each in alive], paths, "searching: the best of them again")
    for step in range(_ROUNDS):
        proposals = _propose(run, 0.35 * _SHRINK**step, seed + step + 1, paths)
        if not proposals:
            break
        run.look(proposals, paths, f"searching: refining, {step + 1} of {_ROUNDS}")
    for _ in range(2):
        finalists = [each for margin in (0.0, *MARGINS) for each in _finalists(run, margin, paths)]
        run.look(finalists, run.most, f"searching: {len(set(finalists))} finalists")
    # What is left is close together: only more paths tell which is best.
    final = min(2 * run.most, run.question.paths)
    finalists = [each for margin in (0.0, *MARGINS) for each in _finalists(run, margin, run.most)]
    run.look(finalists, final, f"searching: {len(set(finalists))} finalists, once more")
    kept = [run.best(margin, final) or run.best(margin, run.most) for margin in MARGINS]
    best_known = final if run.best(0.0, final) is not None else run.most
    return run.found([each.key for each in kept if each is not None], best_known)


def _finalists(run: _Search, margin: float, paths: int) -> list[Key]:
    """Return what is worth the most paths at a margin: the best seen, and the best that can be expected."""
    seen = [each for each in run.seen.values() if each.paths >= paths and run.keeps(each, margin)]
    seen.sort(key=lambda each: each.objective, reverse=True)
    guess = _expected_best(run, margin, paths)
    found = [each.key for each in seen[:3]] + ([guess] if guess is not None else [])
    return found or [run.least_violated(paths).key]


def _centre(run: _Search, paths: int) -> Evaluation:
    """Return the setting around which to look: the best at the aim, or the least violated."""
    return run.best(_AIM, paths) or run.best(0.0, paths) or run.least_violated(paths)


def _propose(run: _Search, width: float, seed: int, paths: int) -> list[Key]:
    """Return settings in a box around the best: those that the surrogate expects most of, and others."""
    groups: dict[Key, Evaluation] = {}
    for each in sorted(run.seen.values(), key=run.rank, reverse=True):
        groups.setdefault(run.space.choice(each.key), each)
    centre = _centre(run, paths)
    # Other choices are looked at as long as the box is wide.
    centres = [centre, *(each for choice, each in groups.items() if choice != run.space.choice(centre.key))]
    centres = centres[: 3 if width > 0.2 else 1]
    many = 2 * (2 + run.space.dimensions)
    proposals: list[Key] = []
    for each in centres:
        share = max(many // len(centres), 2)
        box = _box(run, run.space.point(each.key), width, seed)
        if len(run.space.ranges):
            surrogate = _Surrogate(run, box)
            best = [surrogate.best(box, margin) for margin in (0.0, *MARGINS)]
            proposals += [run.space.key(box[place].tolist()) for place in best]
        proposals += [run.space.key(point) for point in box[: share // 2].tolist()]
    return [key for key in dict.fromkeys(proposals) if key not in run.seen or run.seen[key].paths < paths]


def _box(run: _Search, centre: FloatArray, width: float, seed: int) -> FloatArray:
    """Return points that fill a box, cut off at the cube's sides; choices stay those of its centre."""
    points: FloatArray = draw("sobol", run.space.dimensions, _GUESSES, seed)
    low, high = np.maximum(centre - width, 0.0), np.minimum(centre + width, 1.0)
    points = low + points * (high - low)
    # Limits often want to be at an end of their range: some of the points lie there.
    points[1::4] = np.where(points[1::4] > 1.0 - width / 4.0, 1.0, points[1::4])
    points[2::4] = np.where(points[2::4] < width / 4.0, 0.0, points[2::4])
    points[:, run.space.choices] = centre[run.space.choices]
    return points


def _expected_best(run: _Search, margin: float, paths: int) -> Key | None:
    if not run.space.ranges:
        return None
    width = 0.35 * _SHRINK ** (_ROUNDS - 1)
    box = _box(run, run.space.point(_centre(run, paths).key), width, run.sampler.seed)
    key = run.space.key(box[_Surrogate(run, box).best(box, margin)].tolist())
    return key if run.sampler.possible(key) else None


class _Surrogate:
    """Quadratics of the objective and of each constraint's measure, fitted to settings in and near a box."""

    def __init__(self, run: _Search, box: FloatArray) -> None:
        self._run, self._ranges = run, run.space.ranges
        choice = run.space.choice(run.space.key(box[0].tolist()))
        known = [
            each
            for each in run.seen.values()
            if run.space.choice(each.key) == choice and math.isfinite(each.objective)
        ]
        points = np.array([run.space.point(each.key)[self._ranges] for each in known])
        self._centre = (box.min(axis=0) + box.max(axis=0))[self._ranges] / 2.0
        self._width = np.maximum(np.ptp(box, axis=0)[self._ranges] / 2.0, 1e-9)
        away = np.abs((points - self._centre) / self._width).max(axis=1)
        weights = np.sqrt([each.paths for each in known]) * np.exp(-np.maximum(away - 1.0, 0.0))
        features = self._features(points)
        targets = np.array([[each.objective, *np.clip(each.measures, -50.0, 50.0)] for each in known])
        self._mean = np.average(targets, axis=0, weights=weights)
        left = np.vstack([features * weights[:, None], 1e-2 * weights.max() * np.eye(features.shape[1])])
        right = np.vstack(
            [(targets - self._mean) * weights[:, None], np.zeros((features.shape[1], targets.shape[1]))]
        )
        self._fit = np.linalg.lstsq(left, right, rcond=None)[0]

    def _features(self, points: FloatArray) -> FloatArray:
        apart = (points - self._centre) / self._width
        first, second = np.triu_indices(apart.shape[1])
        return np.hstack([np.ones((apart.shape[0], 1)), apart, apart[:, first] * apart[:, second]])

    def best(self, box: FloatArray, margin: float) -> int:
        """Return the point of the box with the best objective that is expected to keep a margin."""
        expected = self._features(box[:, self._ranges]) @ self._fit + self._mean
        over = (expected[:, 1:] - measure_at(self._run.question, -margin)).max(axis=1)
        kept = np.flatnonzero(over <= 0.0)
        if not kept.size:
            return int(np.argmin(over))
        return int(kept[np.argmax(expected[kept, 0])])
