"""What drives a number: the share of its variance over the study that each axis makes, and which way.

Three ways, by what the study allows: Sobol indices where its design is made for them (with bootstrap
intervals); the same indices over the cells of a full grid, where they are plain sums; and rank correlations
over any other points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mcmm.designs import Grid, Indices
from mcmm.errors import InputError
from mcmm.metrics import METRICS
from mcmm.pairs import rank_correlation
from mcmm.sensitivity import variance_shares

if TYPE_CHECKING:
    from mcmm.moments import FloatArray
    from mcmm.reports.findings import Findings

__all__ = ["Drivers", "find_drivers"]

#: Beside the objective and every metric's mean.
COLUMNS = (
    "pnl_settled.controlled_mean",
    "pnl_settled.expected_shortfall_95",
    "pnl_settled.expected_shortfall_99",
    "pnl_settled.loss_chance",
    "halt.chance",
    "max_drawdown.mean",
    "max_drawdown.p95",
)
#: With this many points or fewer, all metrics' means can be asked about.
FEW_POINTS = 5000


@dataclass(frozen=True)
class Drivers:
    """What drives the numbers of a study.

    Attributes
    ----------
    method : {"sobol", "grid", "ranks"}
        Where the shares come from: a design for Sobol indices, a full grid's cells, or ranks alone.
    axes : tuple of str
        The settings that vary.
    columns : dict of str to dict
        By column of the summary lists with an entry for each axis, None where it has none: ``correlation``,
        ``correlation_low``, ``correlation_high`` (rank correlations); for the first two methods
        ``first_order`` and ``total_order``, of the first with ``_low`` and ``_high``.
    """

    method: Literal["sobol", "grid", "ranks"]
    axes: tuple[str, ...]
    columns: dict[str, dict[str, list[float | None]]]


def find_drivers(findings: Findings) -> Drivers | None:
    """Work out what drives the study's numbers.

    Parameters
    ----------
    findings : Findings
        The sweep.

    Returns
    -------
    Drivers or None
        None for fewer than three points.
    """
    result = findings.result
    layout = result.study.layout
    axes = tuple(name for name, values in result.study.axes.items() if len(values) > 1)
    if len(result.points) < 3 or not axes:
        return None
    full = isinstance(layout, Grid) and not layout.constraints
    method: Literal["sobol", "grid", "ranks"]
    method = "sobol" if isinstance(layout, Indices) else "grid" if full else "ranks"
    columns: dict[str, dict[str, list[float | None]]] = {}
    for column in _columns(findings):
        values = result.summary[column].to_numpy(dtype=float)
        if not (np.isfinite(values).any() and np.nanmax(values) > np.nanmin(values)):
            continue
        found = _correlations(findings, axes, values, method == "ranks")
        if method == "grid" and np.isfinite(values).all():
            found |= _grid_shares(findings, axes, values)
        elif method == "sobol":
            found |= _sobol_shares(findings, axes, column)
        columns[column] = found
    return Drivers(method, axes, columns)


def _columns(findings: Findings) -> list[str]:
    summary = findings.result.summary
    names = [findings.estimated(findings.objective), *COLUMNS]
    if len(summary) <= FEW_POINTS:
        names += [f"{name}.mean" for name in METRICS if name != "halt_reason"]
    return [name for name in dict.fromkeys(names) if name in summary]


def _correlations(
    findings: Findings, axes: tuple[str, ...], values: FloatArray, intervals: bool
) -> dict[str, list[float | None]]:
    """Correlate ranks along each axis; a text has none. A grid is no sample: it has no intervals."""
    points = findings.result.points
    found: dict[str, list[float | None]] = {"correlation": []}
    ends: dict[str, list[float | None]] = {"correlation_low": [], "correlation_high": []}
    for name in axes:
        along = points[name].tolist()
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in along):
            one: tuple[float, float, float] = (math.nan, math.nan, math.nan)
        else:
            # An infinite limit is the largest.
            ranks = np.unique(np.array(along, dtype=float), return_inverse=True)[1].astype(float)
            estimate = rank_correlation(ranks, values)
            one = (estimate.value, estimate.low, estimate.high)
        found["correlation"].append(_known(one[0]))
        ends["correlation_low"].append(_known(one[1]))
        ends["correlation_high"].append(_known(one[2]))
    return found | (ends if intervals else {})


def _grid_shares(
    findings: Findings, axes: tuple[str, ...], values: FloatArray
) -> dict[str, list[float | None]]:
    lengths = {name: len(points) for name, points in findings.result.study.axes.items()}
    first, total = variance_shares(values.reshape(tuple(lengths.values())))
    places = [list(lengths).index(name) for name in axes]
    return {
        "first_order": [_known(float(first[place])) for place in places],
        "total_order": [_known(float(total[place])) for place in places],
    }


def _sobol_shares(findings: Findings, axes: tuple[str, ...], column: str) -> dict[str, list[float | None]]:
    try:
        table: Any = findings.result.sensitivity(column)
    except InputError:  # not known at some point
        return {}
    parts = [f"{order}{end}" for order in ("first_order", "total_order") for end in ("", "_low", "_high")]
    return {part: [_known(float(table[part].loc[name])) for name in axes] for part in parts}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
