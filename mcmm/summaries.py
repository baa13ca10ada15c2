"""Summaries of a sweep's points: made of any pieces of a point's paths, in bounded memory, always the same.

A `Part` is what is known of a range of one point's paths: the nodes of the sums' tree (`mcmm.moments`) and,
for the metrics whose distribution is summarised, their values as long as the point has at most `EXACT_PATHS`
paths, beyond that a sketch (`mcmm.sketch`). Parts are joined in path order; the summary of a point depends on
its paths alone, not on how they were cut.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from mcmm import moments
from mcmm.controls import CONTROLS, regress
from mcmm.distributions import Distribution
from mcmm.errors import InputError
from mcmm.moments import Form, Kind, Node, RowOf, form_of
from mcmm.sketch import Sketch
from mcmm.statistics import MONEY_METRICS, QUANTILE_METRICS
from mcmm.tails import QUANTILE_NAMES, TAIL_NAMES, Tail, fill_tails

__all__ = [
    "EXACT_PATHS",
    "Part",
    "Rows",
    "Summary",
    "error_column",
    "estimate_column",
    "fill_moments",
    "join_parts",
    "quantile_places",
    "regression_inputs",
    "rows_of",
    "summaries_of",
    "summarise",
    "summary_names",
    "tail_share",
]

FloatArray = npt.NDArray[np.float64]

EXACT_PATHS = 65_536
"""The most paths of a point whose quantiles and tails are exact; beyond, they are a sketch's."""
_FIRST_ROWS = ("pnl_settled", "pnl_fair", "pnl", "inventory_pnl", "max_drawdown")


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows whose sums are kept: the metrics but halt_reason, the controls, losses and halts.

    Attributes
    ----------
    metrics : tuple of str
        The metrics as the core gives them.
    names : tuple of str
        The rows; ``pnl.loss`` is 1 on a path that loses and ``halt`` on one that trips a breaker, else 0.
    first : int
        How many of them are the money's: what is compared between points in any study.
    results : tuple of str
        Metrics whose mean is estimated with the controls too.
    pairs : tuple of tuple of int
        Rows whose products are kept: each result with each control, and the controls with each other.
    made : tuple of RowOf
        What each row is of the metrics.
    tails : tuple of str
        Metrics whose distribution is summarised.
    tail_places : list of int
        Their places among the metrics.
    """

    metrics: tuple[str, ...]
    names: tuple[str, ...]
    first: int
    results: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    made: tuple[RowOf, ...]
    tails: tuple[str, ...]
    tail_places: list[int]

    def place(self, name: str) -> int:
        """Return a row's place."""
        return self.names.index(name)

    def form(self, *, all_rows: bool) -> Form:
        """Return what is summed up; ``all_rows`` as for `Part.of`."""
        return form_of(self.made, self.pairs, len(self.made) if all_rows else self.first)


def _leaf(name: str) -> str:
    """Return the metric of a column: of one market among several, ``pnl`` of ``fed.pnl``."""
    return name.rpartition(".")[2]


def _halt(trips: str) -> str:
    """Return the row of whether a path halted at all, ``fed.halt`` of ``fed.trips``."""
    return f"{trips.removesuffix('trips')}halt"


@cache
def rows_of(metrics: tuple[str, ...]) -> Rows:
    """Return the rows kept for some metrics."""
    known = [name for name in _FIRST_ROWS if name in metrics]
    known += [f"{name}.loss" for name in metrics if _leaf(name) in MONEY_METRICS]
    known += [_halt(name) for name in metrics if _leaf(name) == "trips"]
    controlled = {"inventory_pnl", "pnl_fair", "pnl_settled"} <= set(metrics)
    known += ["settlement"] * controlled
    names = (*known, *(name for name in metrics if name not in known and _leaf(name) != "halt_reason"))
    results = tuple(name for name in MONEY_METRICS if name in metrics) if controlled else ()
    one, other = (names.index(name) for name in CONTROLS) if controlled else (0, 0)
    pairs = [(names.index(name), place) for name in results for place in (one, other)]
    tails = tuple(name for name in metrics if _leaf(name) in QUANTILE_METRICS)
    return Rows(
        metrics,
        names,
        len(known),
        results,
        (*pairs, *[(one, other)] * controlled),
        tuple(_row_of(name, metrics) for name in names),
        tails,
        [metrics.index(name) for name in tails],
    )


def _row_of(name: str, metrics: tuple[str, ...]) -> RowOf:
    """Say how a row is made of the metrics."""
    if name == "settlement":
        return RowOf(Kind.DIFFERENCE, metrics.index("pnl_settled"), metrics.index("pnl_fair"))
    if _leaf(name) == "halt":
        return RowOf(Kind.POSITIVE, metrics.index(f"{name.removesuffix('halt')}trips"))
    if name.endswith(".loss"):
        return RowOf(Kind.NEGATIVE, metrics.index(name.removesuffix(".loss")))
    # The step of a halt applies to the paths that halted; of the others it is -1.
    kind = Kind.UNLESS_NEGATIVE if _leaf(name) == "halt_step" else Kind.AS_IT_IS
    return RowOf(kind, metrics.index(name))


@dataclass(frozen=True, slots=True)
class Part:
    """What is known of a range of one point's paths.

    Attributes
    ----------
    first_path, paths : int
        The range; ``first_path`` is a multiple of `mcmm.moments.LEAF`.
    nodes : tuple of Node
        The sums of the rows, `Rows`.
    tails : dict of str to (ndarray or Sketch)
        By metric its values in path order, or their sketch.
    """

    first_path: int
    paths: int
    nodes: tuple[Node, ...]
    tails: Mapping[str, Tail]

    @classmethod
    def of(
        cls,
        values: FloatArray,
        metrics: tuple[str, ...],
        first_path: int = 0,
        *,
        exact: bool,
        all_rows: bool = True,
    ) -> Part:
        """Sum up a range of paths.

        Parameters
        ----------
        values : ndarray of shape (metrics, paths)
            What the core gives.
        metrics : tuple of str
            Their names.
        first_path : int
            Number of the first.
        exact : bool
            Keep the values of the tails' metrics, in place of sketches.
        all_rows : bool
            Keep the batches of all rows, not only of the money's.
        """
        rows = rows_of(metrics)
        batched = None if all_rows else rows.first
        nodes = moments.tally(values, first_path, rows.pairs, batched, rows.made)
        samples = values[rows.tail_places]
        tails: dict[str, Tail] = {
            name: sample if exact else Sketch.of(sample)
            for name, sample in zip(rows.tails, samples, strict=True)
        }
        return cls(first_path, values.shape[1], tuple(nodes), tails)

    def whole_tails(self) -> Mapping[str, Tail]:
        """Return the tails of a whole point: beyond `EXACT_PATHS` sketches, however few a part had."""
        if self.paths <= EXACT_PATHS:
            return self.tails
        return {
            name: tail if isinstance(tail, Sketch) else Sketch.of(tail) for name, tail in self.tails.items()
        }


def join_parts(parts: Sequence[Part], metrics: tuple[str, ...]) -> Part:
    """Join ranges of one point's paths, in path order and without gaps.

    Parameters
    ----------
    parts : sequence of Part
        At least one.
    metrics : tuple of str
        The metrics' names.

    Returns
    -------
    Part
        The same as of all of the paths at once.
    """
    paths = sum(part.paths for part in parts)
    nodes = moments.join((node for part in parts for node in part.nodes), rows_of(metrics).pairs)
    tails: dict[str, Tail] = {}
    for name in parts[0].tails:
        found = [part.tails[name] for part in parts]
        if paths <= EXACT_PATHS and not any(isinstance(tail, Sketch) for tail in found):
            tails[name] = np.concatenate([tail for tail in found if not isinstance(tail, Sketch)])
        else:
            tails[name] = Sketch.merge(
                [tail if isinstance(tail, Sketch) else Sketch.of(tail) for tail in found]
            )
    return Part(parts[0].first_path, paths, tuple(nodes), tails)


@dataclass(frozen=True, slots=True)
class Summary:
    """All that is kept of a whole point.

    Attributes
    ----------
    columns : ndarray of shape (columns,)
        The point's row in the sweep's summary, in the order of `summary_names`; see `summarise`.
    node : Node
        The sums of the rows of `rows_of`.
    distributions : dict of str to Distribution
        Of `DISTRIBUTION_METRICS`, those that apply to a path.
    """

    columns: FloatArray
    node: Node
    distributions: dict[str, Distribution]


def summaries_of(parts: Sequence[Part], metrics: tuple[str, ...], controls: Sequence[bool]) -> list[Summary]:
    """Summarise points.

    Parameters
    ----------
    parts : sequence of Part
        All paths of each point, at least one.
    metrics : tuple of str
        The metrics' names.
    controls : sequence of bool
        Whether the control variates' means are 0 at each point, `mcmm.controls.controls_known`.
    """
    rows, layout = rows_of(metrics), _layout(metrics)
    nodes = [moments.root(part.nodes, rows.pairs) for part in parts]
    table = np.empty((len(parts), len(layout.names)))
    counts, totals, squares = (
        np.stack(arrays) for arrays in zip(*(node[2:5] for node in nodes), strict=True)
    )
    fill_moments(table, metrics, counts, totals, squares, controls)
    distributions = fill_tails(table, [part.whole_tails() for part in parts], layout.tails)
    return [Summary(*each) for each in zip(table, nodes, distributions, strict=True)]


def fill_moments(
    table: FloatArray,
    metrics: tuple[str, ...],
    counts: FloatArray,
    totals: FloatArray,
    squares: FloatArray,
    controls: Sequence[bool],
) -> None:
    """Put in rows of a summary what does not hang on a distribution.

    Parameters
    ----------
    table : ndarray of shape (points, columns)
        The rows, in the order of `summary_names`.
    metrics : tuple of str
        The metrics' names.
    counts, totals, squares : ndarray of shape (points, ...)
        The sums of each point, as `mcmm.moments.Node` has them, of the rows of `rows_of`.
    controls : sequence of bool
        As for `summaries_of`.
    """
    rows, layout = rows_of(metrics), _layout(metrics)
    found = moments.row_statistics(counts, totals, squares[:, : len(rows.names)])
    ordered = (found.counts, found.mean, found.standard_error, found.sd)
    for places, column in zip(layout.moments, ordered, strict=True):
        table[:, places] = column[:, layout.metric_rows]
    if layout.settlement is not None:
        mean_at, error_at, row = layout.settlement
        table[:, mean_at], table[:, error_at] = found.mean[:, row], found.standard_error[:, row]
    for (chance_at, error_at), indicator, base in layout.chances:
        with np.errstate(divide="ignore", invalid="ignore"):
            share = totals[:, indicator] / counts[:, base]
            table[:, chance_at] = share
            table[:, error_at] = np.sqrt(share * (1.0 - share) / counts[:, base])
    if rows.results:
        fit = regress(*regression_inputs(rows, counts, totals, squares), np.array(controls, dtype=bool))
        for places, column in zip(layout.controlled, fit[:3], strict=True):
            table[:, places] = column


def summarise(values: npt.ArrayLike, names: Sequence[str], *, controls: bool = True) -> dict[str, float]:
    """Summarise a point of a sweep in one flat row.

    Parameters
    ----------
    values : array_like of shape (metrics, paths)
        All paths of the point, in path order; at least one.
    names : sequence of str
        The metrics' names, one a row.
    controls : bool
        Whether the control variates' means are 0 in the scenario; see `mcmm.controls`.

    Returns
    -------
    dict
        For each metric but halt_reason ``name.count``, ``name.mean``, ``name.standard_error`` and
        ``name.sd``, over the paths it applies to (for halt_step those that halted); for `MONEY_METRICS` also
        ``name.controlled_mean``, ``name.controlled_standard_error`` and ``name.variance_reduction``, the mean
        with control variates and how many times smaller its variance is; for `QUANTILE_METRICS`
        ``name.p01`` to ``name.p99``; for `MONEY_METRICS` ``name.value_at_risk_95``,
        ``name.expected_shortfall_95``, ``name.expected_shortfall_95_standard_error``, the same for 99,
        ``name.loss_chance`` (of less than 0) and ``name.loss_chance_standard_error``; and ``halt.chance`` and
        ``halt.chance_standard_error`` (of a trip); ``settlement.mean`` and ``settlement.standard_error``, of
        pnl_settled less pnl_fair. What too few paths cannot say is NaN. The names depend on
        ``names`` alone. Of more than `EXACT_PATHS` paths, quantiles and tails are a sketch's, within
        `mcmm.sketch.RELATIVE_ERROR`.

    Raises
    ------
    InputError
        If ``values`` has not two axes, a name for every row and a path or more.
    """
    array = np.asarray(values, dtype=np.float64)
    metrics = tuple(names)
    if array.ndim != 2 or array.shape[0] != len(metrics) or not array.shape[1]:
        raise InputError(
            f"values: must have shape ({len(metrics)}, paths), a row per name, got {array.shape}"
        )
    part = Part.of(array, metrics, exact=array.shape[1] <= EXACT_PATHS)
    (summary,) = summaries_of([part], metrics, [controls])
    return dict(zip(summary_names(metrics), summary.columns.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a summary's columns stand.

    ``moments`` are the places of counts, means, standard errors and deviations, ``metric_rows`` the rows they
    come from; ``chances`` those of a chance and its error, the row of its indicator and of what it is a share
    of; ``controlled`` those of mean, error and gain; ``tails`` by metric where its quantiles begin;
    ``settlement`` those of its mean and error, and its row.
    """

    names: tuple[str, ...]
    metric_rows: list[int]
    moments: tuple[list[int], ...]
    chances: list[tuple[tuple[int, int], int, int]]
    controlled: tuple[list[int], ...]
    tails: dict[str, int]
    settlement: tuple[int, int, int] | None


_MOMENTS = ("count", "mean", "standard_error", "sd")
_CONTROLLED = ("controlled_mean", "controlled_standard_error", "variance_reduction")


@cache
def _layout(metrics: tuple[str, ...]) -> _Layout:
    rows = rows_of(metrics)
    kept = [name for name in metrics if _leaf(name) != "halt_reason"]  # a code has no mean
    names: list[str] = []
    chances = []
    for name in kept:
        parts = list(_MOMENTS)
        parts += _CONTROLLED if name in rows.results else ()
        parts += QUANTILE_NAMES if name in rows.tails else ()
        money = _leaf(name) in MONEY_METRICS
        parts += (*TAIL_NAMES, "loss_chance", "loss_chance_standard_error") if money else ()
        names += [f"{name}.{part}" for part in parts]
        if money:
            chances.append(((len(names) - 2, len(names) - 1), rows.place(f"{name}.loss"), rows.place(name)))
        if _leaf(name) == "trips":
            halt = _halt(name)
            names += [f"{halt}.chance", f"{halt}.chance_standard_error"]
            chances.append(((len(names) - 2, len(names) - 1), rows.place(halt), rows.place(halt)))
    settlement = None
    if "settlement" in rows.names:
        settlement = (len(names), len(names) + 1, rows.place("settlement"))
        names += ["settlement.mean", "settlement.standard_error"]
    places = [[names.index(f"{name}.{part}") for name in kept] for part in _MOMENTS]
    controlled = [[names.index(f"{name}.{part}") for name in rows.results] for part in _CONTROLLED]
    tails = {name: names.index(f"{name}.{QUANTILE_NAMES[0]}") for name in rows.tails}
    metric_rows = [rows.place(name) for name in kept]
    return _Layout(tuple(names), metric_rows, tuple(places), chances, tuple(controlled), tails, settlement)


def estimate_column(column: str, columns: Collection[str]) -> str:
    """Return the column with the best estimate of what a column is: of a mean, the one with controls."""
    better = f"{column.removesuffix('mean')}controlled_mean"
    return better if column.endswith(".mean") and better in columns else column


def error_column(column: str) -> str | None:
    """Return the column with the standard error of a column's best estimate; None where there is none."""
    metric, _, part = column.rpartition(".")
    if part == "mean":
        return (
            f"{metric}.controlled_standard_error" if metric in MONEY_METRICS else f"{metric}.standard_error"
        )
    if part == "controlled_mean":
        return f"{metric}.controlled_standard_error"
    if part in ("chance", "loss_chance") or part.startswith("expected_shortfall_"):
        return f"{column}_standard_error"
    return None


def tail_share(column: str) -> float:
    """Return the share of the paths that a column is about: of ``expected_shortfall_99`` 0.01."""
    level = column.rpartition(".")[2].removeprefix("expected_shortfall_")
    return 1.0 - float(level) / 100.0 if level.replace(".", "").isdigit() else 1.0


def summary_names(metrics: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of `summarise`, in order."""
    return _layout(metrics).names


def quantile_places(metrics: tuple[str, ...]) -> Mapping[str, int]:
    """Return the column of the first quantile of each metric whose distribution is summarised."""
    return _layout(metrics).tails


def regression_inputs(
    rows: Rows, counts: FloatArray, totals: FloatArray, squares: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return what `mcmm.controls.regress` asks for, from the sums of several points, one a row."""
    results = [rows.place(name) for name in rows.results]
    controls = [rows.place(name) for name in CONTROLS]
    products = squares[:, len(rows.names) :]
    means = totals / np.maximum(counts, 1.0)
    control_squares = np.concatenate([squares[:, controls], products[:, -1:]], axis=1)
    by_result = products[:, :-1].reshape(len(products), len(results), 2)
    return (
        counts[:, results[0]],
        means[:, results],
        squares[:, results],
        means[:, controls],
        control_squares,
        by_result,
    )
