"""Datasets: a grid's summary with a dimension for each of its axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mcmm.designs import Grid
from mcmm.errors import InputError
from mcmm.study import Study

if TYPE_CHECKING:
    import pandas as pd
    import xarray

__all__ = ["grid_dataset"]


def grid_dataset(study: Study, summary: pd.DataFrame, provenance: dict[str, Any]) -> xarray.Dataset:
    """Return the summary of a grid as a dataset; see `mcmm.store.SweepResult.to_xarray`."""
    if not isinstance(study.layout, Grid) or study.layout.constraints:
        kind = "a grid with constraints" if isinstance(study.layout, Grid) else study.layout.design
        raise InputError(f"points.design: must be a full grid to have a dimension for each axis, got {kind}")
    try:
        import xarray
    except ImportError:
        raise InputError(
            'to_xarray: xarray is not installed; install it with: python -m pip install "mcmm[xarray]"'
        ) from None
    shape = [len(values) for values in study.axes.values()]
    columns = {name: column.to_numpy() for name, column in summary.items()}
    # Every path has the first metric; how many a precision took, only its count tells.
    counts = columns[f"{study.metrics[0]}.count"].astype(np.int64)
    columns["paths"] = np.full(study.count, study.paths) if study.precision is None else counts
    return xarray.Dataset(
        {name: (list(study.axes), values.reshape(shape)) for name, values in columns.items()},
        coords={name: list(values) for name, values in study.axes.items()},
        attrs={
            "study": study.name,
            "question": study.question,
            "seed": str(study.seed),
            "mcmm": provenance["mcmm"],
            "digest": provenance["study"],
        },
    )
