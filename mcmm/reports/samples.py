"""Points looked at path by path: any metric's distribution, with quantiles, tails and their intervals.

A run directory keeps three metrics' distributions of every point. For the others, and for exact intervals,
the report reads the paths of some points, or simulates them again: those that a reader asks for first, as
many as a few seconds and a page of a sensible size allow.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mcmm.columns import percent_label
from mcmm.distributions import LEVELS, Distribution
from mcmm.engine import cores
from mcmm.metrics import HALT_REASONS, NAMES
from mcmm.statistics import (
    MONEY_METRICS,
    QUANTILES,
    TAIL_LEVELS,
    Interval,
    mean,
    ordered_expected_shortfall,
    ordered_quantile,
    ordered_quantile_interval,
    ordered_value_at_risk,
    proportion,
    quantile_ranks,
    sorted_sample,
)

if TYPE_CHECKING:
    from mcmm.moments import FloatArray
    from mcmm.reports.findings import Findings
    from mcmm.statistics import Proportion

__all__ = ["SAMPLED_METRICS", "Mark", "Sample", "kept_marks", "read_samples", "reading_order"]

#: The most points that are looked at path by path: in a small study all, of a larger one fewer.
ALL_POINTS, MOST_POINTS = 32, 12
#: The most path-steps that are simulated again for it, and the most paths of one point.
MOST_PATH_STEPS, MOST_PATHS = 250_000_000, 50_000
#: A point that would get fewer of its paths than this is left out.
FEWEST_PATHS = 1000
SAMPLED_METRICS = tuple(name for name in NAMES if name != "halt_reason")

#: A number with the ends of its 95% interval; an end that the paths do not bound is infinite.
Mark = tuple[float, float, float]


@dataclass(frozen=True)
class Sample:
    """What some paths of a point say.

    Attributes
    ----------
    paths : int
        How many; the point's first.
    whole : bool
        Whether they are all of the point's.
    distributions : dict of str to Distribution
        By metric; those that apply to no path are missing.
    marks : dict of str to (dict of str to Mark)
        By metric its mean, quantiles and, of money, value at risk and expected shortfall.
    trips : dict of str to Proportion
        By breaker the share of paths on which it was the first to trip.
    after : dict of str to float
        By breaker the mean share of steps after such a first trip.
    """

    paths: int
    whole: bool
    distributions: dict[str, Distribution]
    marks: dict[str, dict[str, Mark]]
    trips: dict[str, Proportion]
    after: dict[str, float]

    @classmethod
    def of(cls, rows: FloatArray, steps: int, confidence: float, *, whole: bool) -> Sample:
        """Look at paths.

        Parameters
        ----------
        rows : ndarray of shape (metrics, paths)
            In the order of `mcmm.metrics.NAMES`.
        steps : int
            Of a path.
        confidence : float
            Of each interval.
        whole : bool
            Whether these are all of the point's paths.
        """
        at = dict(zip(NAMES, rows, strict=True))
        distributions, marks = {}, {}
        for name in SAMPLED_METRICS:
            values = at[name]
            if name == "halt_step":
                values = values[values >= 0.0]
            ordered = sorted_sample(values)
            if ordered.size:
                distributions[name] = Distribution.of(ordered)
                marks[name] = _marks(name, values, ordered, confidence)
        paths = rows.shape[1]
        trips, after = {}, {}
        for code, reason in enumerate(HALT_REASONS):
            hit = at["halt_reason"] == code
            if code and hit.any():
                trips[reason] = proportion(int(hit.sum()), paths, confidence)
                after[reason] = float(np.where(hit, steps - 1 - at["halt_step"], 0.0).mean()) / steps
        return cls(paths, whole, distributions, marks, trips, after)


def _marks(name: str, values: FloatArray, ordered: FloatArray, confidence: float) -> dict[str, Mark]:
    average = mean(values)
    found: dict[str, Mark] = {"mean": (average.value, *average.interval(confidence))}
    for share in QUANTILES:
        ends = ordered_quantile_interval(ordered, share, confidence)
        found[f"p{percent_label(share)}"] = (ordered_quantile(ordered, share), *ends)
    if name in MONEY_METRICS:
        for level in TAIL_LEVELS:
            label = percent_label(level)
            # The losses' quantile is the pnl's of the other side.
            low, high = ordered_quantile_interval(ordered, round(1.0 - level, 12), confidence)
            found[f"value_at_risk_{label}"] = (ordered_value_at_risk(ordered, level), 0.0 - high, 0.0 - low)
            shortfall = ordered_expected_shortfall(ordered, level)
            found[f"expected_shortfall_{label}"] = (shortfall.value, *shortfall.interval(confidence))
    return found


def kept_marks(findings: Findings, row: int, metric: str, distribution: Distribution) -> dict[str, Mark]:
    """Give the marks of a metric whose paths are not at hand, from what the run directory keeps.

    The exact interval of a quantile lies between two order statistics; of those only the ones at
    `mcmm.distributions.LEVELS` are kept, so that the next ones outward are taken: it covers more, never less.

    Parameters
    ----------
    findings : Findings
        The sweep.
    row : int
        The point's.
    metric : str
        One of `mcmm.distributions.DISTRIBUTION_METRICS`.
    distribution : Distribution
        The kept one.

    Returns
    -------
    dict of str to Mark
        As in `Sample`.
    """
    paths = findings.result.paths_of(int(findings.result.points.index[row]))

    def outward(share: float) -> Interval:
        low, high = quantile_ranks(paths, share, findings.confidence)
        places = np.clip(np.ceil(np.array(LEVELS) * paths - 1e-9).astype(int) - 1, 0, paths - 1)
        below, above = np.flatnonzero(places <= low), np.flatnonzero(places >= high)
        return Interval(
            float(distribution.quantiles[below[-1]]) if low >= 0 and below.size else -math.inf,
            float(distribution.quantiles[above[0]]) if high < paths and above.size else math.inf,
        )

    found: dict[str, Mark] = {}
    mean_column = findings.estimated(f"{metric}.mean")
    found["mean"] = (findings.value(row, mean_column), *findings.interval(row, mean_column))
    for share in QUANTILES:
        part = f"p{percent_label(share)}"
        found[part] = (findings.value(row, f"{metric}.{part}"), *outward(share))
    if metric in MONEY_METRICS:
        for level in TAIL_LEVELS:
            label = percent_label(level)
            low, high = outward(round(1.0 - level, 12))
            part = f"value_at_risk_{label}"
            found[part] = (findings.value(row, f"{metric}.{part}"), 0.0 - high, 0.0 - low)
            column = f"{metric}.expected_shortfall_{label}"
            found[f"expected_shortfall_{label}"] = (
                findings.value(row, column),
                *findings.interval(row, column),
            )
    return {part: mark for part, mark in found.items() if not math.isnan(mark[0])}


def reading_order(findings: Findings) -> list[int]:
    """Rank the rows by what a reader asks for first.

    The best, the one with the smallest tail and the worst; those along each axis through the best; the
    efficient ones; those that cannot be told apart from the best; then the others, best first.
    """
    from mcmm.reports.findings import TAIL, frontier

    summary, best = findings.result.summary, findings.best
    reward = summary[findings.estimated("pnl_settled.mean")].to_numpy(dtype=float)
    efficient = frontier(summary[TAIL].to_numpy(dtype=float), reward)
    first = [] if best is None else [best]
    rows = [*first, *efficient[:1], *findings.order[-1:]]
    points = findings.result.points
    if best is not None:
        same = points.eq(points.iloc[best], axis="columns")
        along = (~same).sum(axis="columns") <= 1
        rows += [int(row) for row in np.flatnonzero(along.to_numpy())]
    return list(dict.fromkeys([*rows, *efficient, *findings.tied, *findings.order]))


def read_samples(findings: Findings) -> dict[int, Sample]:
    """Look at the paths of the points that are asked for first.

    Parameters
    ----------
    findings : Findings
        The sweep.

    Returns
    -------
    dict of int to Sample
        By row, in `reading_order`. The same whatever the machine.
    """
    study, result = findings.result.study, findings.result
    left = MOST_PATH_STEPS
    chosen: dict[int, int] = {}
    order = reading_order(findings)
    for row in order if len(order) <= ALL_POINTS else order[:MOST_POINTS]:
        if not (study.keep_paths or findings.can_simulate(row)):
            continue
        point = int(result.points.index[row])
        steps = study.steps_at(point) * study.scenario.market_count
        paths = min(result.paths_of(point), MOST_PATHS, left // steps)
        if paths < min(FEWEST_PATHS, result.paths_of(point)):
            break
        chosen[row] = paths
        left -= paths * steps

    def look(row: int) -> Sample:
        point = int(result.points.index[row])
        rows = result.rows(point, NAMES, chosen[row])
        whole = chosen[row] == result.paths_of(point)
        return Sample.of(rows, study.steps_at(point), findings.confidence, whole=whole)

    with ThreadPoolExecutor(cores(), thread_name_prefix="mcmm-report") as pool:
        return dict(zip(chosen, pool.map(look, chosen), strict=True))
