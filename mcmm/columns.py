"""Columns: a sample's statistics by the names they have in a summary, such as ``p05``."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np

from mcmm.moments import FloatArray, Moments, row_moments
from mcmm.statistics import (
    QUANTILES,
    TAIL_LEVELS,
    ordered_expected_shortfall,
    ordered_quantile,
    ordered_value_at_risk,
)

__all__ = ["metric_moments", "percent_label", "quantile_columns", "tail_columns"]


@lru_cache(maxsize=64)
def percent_label(share: float) -> str:
    """Write a share as a percentage for a column's name: 0.01 is "01", 0.5 "50", 0.995 "99.5"."""
    percent = f"{float(Fraction(str(float(share))) * 100):.10g}"
    return percent.zfill(2) if "." not in percent else percent


def metric_moments(values: FloatArray, names: Sequence[str]) -> Moments:
    """Moments of each metric over the paths it applies to (where halt_step is -1, it does not).

    Parameters
    ----------
    values : ndarray of shape (metrics, paths)
        NaN is left out.
    names : sequence of str
        The metrics' names, one a row.

    Returns
    -------
    Moments
        Arrays of shape (metrics,).
    """
    found = row_moments(values)
    for index, name in enumerate(names):
        if name.rpartition(".")[2] != "halt_step":
            continue
        halted = np.where(values[index] < 0.0, np.nan, values[index])
        for column, replacement in zip(found, row_moments(halted[np.newaxis, :]), strict=True):
            column[index] = replacement[0]
    return found


def quantile_columns(ordered: FloatArray, probabilities: Sequence[float] = QUANTILES) -> dict[str, float]:
    """Quantiles of a `sorted_sample`, by column name: p01, p05, p50, ..."""
    return {f"p{percent_label(share)}": ordered_quantile(ordered, share) for share in probabilities}


def tail_columns(ordered: FloatArray, levels: Sequence[float] = TAIL_LEVELS) -> dict[str, float]:
    """Value at risk and expected shortfall of a `sorted_sample` of pnl, by column name."""
    labelled = [(percent_label(level), level) for level in levels]
    columns = {f"value_at_risk_{label}": ordered_value_at_risk(ordered, level) for label, level in labelled}
    for label, level in labelled:
        shortfall = ordered_expected_shortfall(ordered, level)
        columns[f"expected_shortfall_{label}"] = shortfall.value
        columns[f"expected_shortfall_{label}_standard_error"] = shortfall.standard_error
    return columns
