"""Paired comparisons: differences between points that face the same market, and which of them are real.

Every point keeps the sums of its paths by batch: batch b has the paths whose number is b modulo 64. Two
points' batches hold the same paths, with the same random numbers, so the differences of their batch means are
64 independent, nearly normal looks at the difference; their spread gives its standard error and Student's t
with 63 degrees of freedom its interval, from 64 numbers a point and without a single path being kept. With up
to 64 paths a batch is a path, and this is the paired t test.

Where the control variates' means are known at both points (`mcmm.controls`), what settlement adds is taken
out of a difference of pnl_settled, and a difference of money's means is estimated by regression of its 64
batches on both points' inventory_pnl, which costs a degree of freedom each. The coefficients are the
difference's own: those that serve each mean best leave more of it than they must.

Of several comparisons each has its chance of being wrong. `compare` adjusts its p-values after Holm, which
holds whatever their dependence, and the points here are dependent by design: a familywise error of 5%.
`best_set` keeps the points that may be the best: one that beats a point by more than Bonferroni's bound for
all the points rules it out. The true best is ruled out with a chance of at most 5%, however the sample's best
was found, because only differences from the true best itself can do that, and the bound holds for all of them
at once (Hsu, "Multiple Comparisons", 1996, chapter 4).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from mcmm import moments
from mcmm.controls import CONTROLS, DOUBTFUL, SETTLEMENT_IN, controls_known
from mcmm.errors import InputError
from mcmm.moments import BATCHES, Node
from mcmm.summaries import rows_of

if TYPE_CHECKING:
    import pandas as pd

    from mcmm.directory import RunDirectory
    from mcmm.rounds import Round

__all__ = ["Difference", "best_set", "compare", "differences", "holm", "row_of_column"]

FloatArray = npt.NDArray[np.float64]

# With fewer batches the controls' coefficients are too uncertain to help.
_FEWEST_BATCHES = 20
# A control that follows from those before, or is rounding noise next to the differences, is left out.
_COLLINEAR, _NOISE = 1e-9, 1e-18

FAMILYWISE = 0.05
"""The chance of one wrong claim or more among all the comparisons."""


class Difference(NamedTuple):
    """A point's mean less the baseline's.

    Attributes
    ----------
    point : int
        The point.
    value, standard_error : float
        Of the difference.
    plain : float
        The difference of the plain means.
    degrees : float
        Degrees of freedom of its t distribution.
    variance_reduction : float
        The variance that two independent plain means would have, over its own.
    """

    point: int
    value: float
    standard_error: float
    plain: float
    degrees: float
    variance_reduction: float


def row_of_column(column: str, rows: Sequence[str]) -> str | None:
    """Return the row whose mean a column of the summary is; None where it is no mean."""
    metric, _, part = column.rpartition(".")
    row = {"mean": metric, "controlled_mean": metric, "loss_chance": f"{metric}.loss"}.get(part)
    if column == "halt.chance":
        row = "halt"
    return row if row in rows else None


def compare(found: Sequence[Difference], looks: int = 1) -> pd.DataFrame:
    """Make the table of some differences; see `mcmm.store.SweepResult.compare`.

    Parameters
    ----------
    found : sequence of Difference
        All that are compared.
    looks : int
        Looks after which the sweep might have stopped, each of which could be wrong.
    """
    import pandas as pd
    from scipy.stats import t

    index = pd.Index([each.point for each in found], name="point")
    value = np.array([each.value for each in found])
    error = np.array([each.standard_error for each in found])
    degrees = np.array([each.degrees for each in found])
    reach = t.isf(FAMILYWISE / looks / 2.0, degrees) * error
    p_values = np.minimum(2.0 * t.sf(np.abs(scores(value, error)), degrees) * looks, 1.0)
    adjusted = holm(p_values)
    return pd.DataFrame(
        {
            "difference": value,
            "standard_error": error,
            "plain_difference": [each.plain for each in found],
            "low": value - reach,
            "high": value + reach,
            "variance_reduction": [each.variance_reduction for each in found],
            "p_value": p_values,
            "adjusted_p_value": adjusted,
            "differs": adjusted <= FAMILYWISE,
        },
        index=index,
    )


def scores(value: FloatArray, error: FloatArray) -> FloatArray:
    """Return values in standard errors: 0 for none at all, infinite for one that is known exactly."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(value == 0.0, 0.0, value / error)


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Adjust p-values for their number after Holm (Scandinavian Journal of Statistics 6, 1979).

    Parameters
    ----------
    p_values : array_like of shape (k,)
        NaN, of a comparison that could not be made, stays NaN and does not count.

    Returns
    -------
    ndarray of shape (k,)
        Rejecting those that are at most a has a familywise error of at most a, whatever their dependence.
    """
    found = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(found))
    order = known[np.argsort(found[known], kind="stable")]
    steps = found[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(found.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return adjusted


def best_set(
    shortfall: npt.ArrayLike, error: npt.ArrayLike, degrees: npt.ArrayLike, looks: int = 1
) -> npt.NDArray[np.bool_]:
    """Tell which points may be the best, with a chance of 95% at least to keep the true one.

    Parameters
    ----------
    shortfall : array_like of shape (points,)
        The sample's best less each point; 0 for itself, NaN where not known.
    error, degrees : array_like of shape (points,)
        Its standard error and degrees of freedom.
    looks : int
        Looks after which the sweep might have stopped, each of which could be wrong.

    Returns
    -------
    ndarray of bool, shape (points,)
        Points not shown to be worse; those whose shortfall is not known are not kept.
    """
    from scipy.stats import t

    value = np.asarray(shortfall, dtype=np.float64)
    known = ~np.isnan(value)
    others = max(int(known.sum()) - 1, 1)
    bound = t.isf(FAMILYWISE / others / looks, np.asarray(degrees, dtype=np.float64))
    score = scores(value, np.asarray(error, dtype=np.float64))
    return known & ((value <= 0.0) | (score < bound))


def differences(run: RunDirectory, baseline: int, column: str) -> Iterator[Difference]:
    """Yield each point's difference from a baseline, a point at a time and in order.

    Where points have different numbers of paths, those that both have are compared.

    Parameters
    ----------
    run : RunDirectory
        A finished run.
    baseline : int
        The point to compare with.
    column : str
        A mean or a chance.

    Raises
    ------
    InputError
        If the column is no mean or chance, or the study keeps no sums of it.
    """
    study = run.study
    rows = rows_of(study.metrics)
    row = row_of_column(column, rows.names)
    if row is None or (not study.all_rows and rows.place(row) >= rows.first):
        kept = rows.names if study.all_rows else rows.names[: rows.first]
        raise InputError(f"column: must be the mean or chance of one of {', '.join(kept)}, got {column!r}")
    controlled = row in rows.results
    wanted = [row, *CONTROLS] if controlled else [row]
    against = _nodes(run.rounds, baseline, wanted)
    knows = controlled and controls_known(study.scenario_at(baseline))
    sums: dict[int, Node] = {}
    for point, nodes in _all_nodes(run.rounds, wanted):
        if point == baseline:
            continue
        common = min(len(nodes), len(against))
        if common not in sums:
            sums[common] = moments.root(against[:common], rows.pairs)
        use = knows and controls_known(study.scenario_at(point))
        ours = moments.root(nodes[:common], rows.pairs)
        found = difference(ours, sums[common], rows.place(row), use, SETTLEMENT_IN.get(row, 0.0))
        yield found._replace(point=point)


def _nodes(rounds: Sequence[Round], point: int, wanted: Sequence[str]) -> list[Node]:
    """Read the sums of a point, a node a round."""
    columns = [f"batches.{name}" for name in wanted]
    pairs = rows_of(rounds[0].study.metrics).pairs
    return [
        moments.root(moments.join((node for each in found for node in each.part.nodes), pairs), pairs)
        for round_ in rounds
        if point in round_.points and (found := round_.records.of_point(point, columns))
    ]


def _all_nodes(rounds: Sequence[Round], wanted: Sequence[str]) -> Iterator[tuple[int, list[Node]]]:
    """Read the sums of every point, in order."""
    from itertools import groupby

    columns = [f"batches.{name}" for name in wanted]
    pairs = rows_of(rounds[0].study.metrics).pairs
    streams = [groupby(each.records.all(columns), key=lambda record: record.point) for each in rounds]
    ahead = [next(stream, None) for stream in streams[1:]]
    for point, records in streams[0]:
        nodes = [moments.root(moments.join((n for each in records for n in each.part.nodes), pairs), pairs)]
        for place, stream in enumerate(streams[1:]):
            entry = ahead[place]
            if entry is not None and entry[0] == point:
                nodes.append(
                    moments.root(
                        moments.join((n for each in entry[1] for n in each.part.nodes), pairs), pairs
                    )
                )
                ahead[place] = next(stream, None)
        yield point, nodes


def batch_sums(run: RunDirectory, metrics: Sequence[str]) -> Iterator[tuple[int, FloatArray]]:
    """Yield each point with the sums of some metrics over its batches of paths, in order of the points.

    Parameters
    ----------
    run : RunDirectory
        A finished run whose study keeps the sums of all rows, `mcmm.study.Study.all_rows`.
    metrics : sequence of str
        Metrics of its paths.

    Yields
    ------
    tuple of int and ndarray of shape (len(metrics), BATCHES)
        Path i is in batch i modulo `mcmm.moments.BATCHES`; NaN counts as 0.
    """
    rows = rows_of(run.study.metrics)
    order = sorted(metrics, key=rows.place)  # as nodes have them
    back = [order.index(name) for name in metrics]
    for point, nodes in _all_nodes(run.rounds, order):
        yield point, sum((node.batches[back] for node in nodes), np.zeros((len(metrics), BATCHES)))


def ratio_of_sums(parts: FloatArray, of: FloatArray, paths: int) -> tuple[float, float]:
    """Estimate a ratio of two means from their sums by batch.

    Parameters
    ----------
    parts, of : ndarray of shape (BATCHES,)
        The sums of what is shared out, and of what it is a share of.
    paths : int
        How many paths they are of.

    Returns
    -------
    tuple of float
        The ratio R and its standard error by the delta method: the batches' parts - R * of vary about 0 in
        proportion to their size. NaN where there is nothing to share by, the error too of one path alone.
    """
    total, sizes = float(of.sum()), _batch_sizes(paths)
    if not total:
        return math.nan, math.nan
    ratio = float(parts.sum()) / total
    if len(sizes) < 2:
        return ratio, math.nan
    residuals = (parts - ratio * of)[: len(sizes)]
    variance = float((residuals * residuals / sizes).sum()) / (len(sizes) - 1.0)
    return ratio, math.sqrt(variance * paths) / total


def difference(one: Node, baseline: Node, row: int, controls: bool, settlement: float = 0.0) -> Difference:
    """Estimate the difference of two points' means from their batches.

    Parameters
    ----------
    one, baseline : Node
        The points' sums over the same paths; of batches the row's first, then those of `CONTROLS`.
    row : int
        The row's place among the counts.
    controls : bool
        Whether to use the controls.
    settlement : float
        The coefficient of the control settlement, `mcmm.controls.SETTLEMENT_IN`.

    Returns
    -------
    Difference
        The difference NaN where the row applies to some of the paths only; its error NaN where there is one
        path.
    """
    paths, count = int(one.counts.max()), float(one.counts[row])
    if count < paths or baseline.counts[row] < paths:  # and not to the same ones
        return Difference(-1, math.nan, math.nan, math.nan, math.nan, math.nan)
    sizes = _batch_sizes(paths)
    used = len(sizes)
    lines: list[FloatArray] = []
    values = [node.batches[0][:used] / sizes for node in (one, baseline)]
    plain = float(moments.tree_sum(sizes * (values[0] - values[1]))) / float(sizes.sum())
    if controls and used >= _FEWEST_BATCHES:
        lines = [node.batches[1][:used] / sizes for node in (one, baseline)]
        if settlement:
            added = (node.batches[2][:used] / sizes for node in (one, baseline))
            values = [value - settlement * each for value, each in zip(values, added, strict=True)]
    value, variance, degrees = weighted_mean(values[0] - values[1], sizes, lines)
    if used < 2:
        return Difference(-1, value, math.nan, plain, math.nan, math.nan)
    alone = sum(float(node.squares[row]) / (count - 1.0) / count for node in (one, baseline))
    gain = alone / variance if variance > 0.0 else (math.inf if alone > 0.0 else 1.0)
    return Difference(-1, value, math.sqrt(variance), plain, degrees, gain)


def _batch_sizes(paths: int) -> FloatArray:
    """Return how many paths each batch has, of those that have any."""
    sizes = np.full(min(paths, BATCHES), float(paths // BATCHES))
    sizes[: paths % BATCHES] += 1.0
    return sizes


def weighted_mean(
    values: FloatArray, sizes: FloatArray, controls: Sequence[FloatArray]
) -> tuple[float, float, float]:
    """Estimate a mean from batch means by regression on those of controls of mean 0.

    Parameters
    ----------
    values, sizes : ndarray of shape (batches,)
        The batches' means and sizes.
    controls : sequence of ndarray of shape (batches,)
        Theirs; one that follows from those before, or whose mean is doubtful, is left out.

    Returns
    -------
    tuple of float
        The estimate, its variance and the degrees of freedom, as in `mcmm.controls.regress` with the batches
        weighted by their sizes, which may differ by one path.
    """
    total = float(sizes.sum())

    def product(one: FloatArray, other: FloatArray) -> float:
        return float(moments.tree_sum(sizes * (one * other)))

    def centred(line: FloatArray) -> tuple[FloatArray, float]:
        middle = float(moments.tree_sum(sizes * line)) / total
        return line - middle, middle

    left, value = centred(values)
    leverage = 1.0 / total
    chosen: list[tuple[FloatArray, float, float]] = []
    for line in controls:
        rest, middle = centred(line)
        before = product(rest, rest)
        # Twice: once leaves too much of a control that nearly follows from the others (Gram and Schmidt).
        for _ in range(2):
            for direction, at, length in chosen:
                share = product(direction, rest) / length
                rest, middle = rest - share * direction, middle - share * at
        length = product(rest, rest)
        doubtful = middle * middle * total * (len(values) - 1.0) > DOUBTFUL**2 * length
        if length > _COLLINEAR * before and length > _NOISE * product(left, left) and not doubtful:
            chosen.append((rest, middle, length))
    for direction, at, length in chosen:
        slope = product(direction, left) / length
        left, value, leverage = left - slope * direction, value - slope * at, leverage + at * at / length
    degrees = len(values) - 1.0 - len(chosen)
    return value, product(left, left) / degrees * leverage if degrees > 0 else math.nan, degrees
