"""Sensitivity: how much of a result's variance over the axes' ranges each axis makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mcmm.designs import Indices
from mcmm.errors import InputError
from mcmm.summaries import estimate_column

if TYPE_CHECKING:
    import pandas as pd

    from mcmm.study import Study

__all__ = ["sensitivity", "variance_shares"]

FloatArray = npt.NDArray[np.float64]

_RESAMPLES = 999


def sensitivity(study: Study, summary: pd.DataFrame, column: str) -> pd.DataFrame:
    """Compute Sobol indices from a sweep's summary; see `mcmm.store.SweepResult.sensitivity`."""
    import pandas as pd
    from scipy.stats import bootstrap, sobol_indices

    if not isinstance(study.layout, Indices):
        raise InputError(f"sensitivity: needs a study with design sobol_indices, got {study.layout.design}")
    if column not in summary:
        raise InputError(f"column: must be a column of the summary, got {column!r}")
    samples, axes = study.layout.samples, len(study.names)
    values = summary[estimate_column(column, summary.columns)].to_numpy(dtype=float)
    if not np.isfinite(values).all():
        raise InputError(
            f"column: must be known at every point, {column} is not at point {_first_unknown(values)}"
        )
    blocks = values.reshape(axes + 2, 1, samples)

    def indices(places: npt.NDArray[np.int64]) -> FloatArray:
        taken = blocks[:, :, places]
        if float(np.ptp(taken)) == 0.0:
            return np.zeros((2, axes))
        # An axis' indices need no other's; scipy fails at one axis alone, so that is given twice.
        mixed = np.concatenate([taken[2:]] * 2) if axes == 1 else taken[2:]
        func: Any = {"f_A": taken[0], "f_B": taken[1], "f_AB": mixed}
        found = sobol_indices(func=func, n=samples)
        return np.array([np.ravel(found.first_order)[:axes], np.ravel(found.total_order)[:axes]])

    every = np.arange(samples)
    # scipy's own bootstrap of the indices takes no seed, and BCa, its default, needs samples of another size.
    resampled: Any = bootstrap(
        (every,),
        indices,
        vectorized=False,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(study.seed),
    )
    columns = {}
    for place, name in enumerate(("first_order", "total_order")):
        columns[name] = indices(every)[place]
        columns[f"{name}_low"] = resampled.confidence_interval.low[place]
        columns[f"{name}_high"] = resampled.confidence_interval.high[place]
    return pd.DataFrame(columns, index=pd.Index(list(study.names), name="setting"))


def variance_shares(table: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Share of a full table's variance that each of its axes makes: the Sobol indices over its cells.

    With each axis' values taken as equally likely, first order is Var(E[y | x_i]) / Var(y) and total order
    1 - Var(E[y | all but x_i]) / Var(y): sums over the cells, exact for the table.

    Parameters
    ----------
    table : array_like with an axis for each setting
        The number in each cell.

    Returns
    -------
    tuple of ndarray of shape (axes,)
        First and total order; 0 where all cells are equal, NaN where one is not known.
    """
    cells = np.asarray(table, dtype=np.float64)
    axes = range(cells.ndim)
    total = float(np.var(cells))
    if not total > 0.0:
        return np.full(cells.ndim, total), np.full(cells.ndim, total)
    first = [np.var(cells.mean(axis=tuple(each for each in axes if each != axis))) for axis in axes]
    rest = [np.var(cells.mean(axis=axis)) for axis in axes]
    return np.array(first) / total, 1.0 - np.array(rest) / total


def _first_unknown(values: FloatArray) -> int:
    return int(np.flatnonzero(~np.isfinite(values))[0])
