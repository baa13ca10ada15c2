"""What a sweep found, as it is read from its run directory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mcmm.directory import SUMMARY, RunDirectory, open_run, read_manifest
from mcmm.errors import InputError, StoreError
from mcmm.files import from_json
from mcmm.metrics import HALT_REASONS, METRICS, NAMES
from mcmm.study import Study, summary_columns

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RunDirectory", "SweepResult", "read_point"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SweepResult:
    """What a sweep found.

    Attributes
    ----------
    study : Study
        The study that was run.
    points : DataFrame
        Index ``point``, a column for each axis.
    summary : DataFrame
        A row for each point: the columns of `mcmm.statistics.summarise`, such as ``pnl_settled.mean``.
    provenance : dict
        ``mcmm``, ``schema``, ``study`` (its digest), ``seed``, ``isa``, ``compiler``, ``python``, ``numpy``,
        ``machine``, ``cores``, ``jobs``, ``backend``, ``started``, ``path_steps`` (of the whole study),
        ``sessions`` (how many it took), ``wall_seconds`` and ``path_steps_per_second`` (of these sessions).
    directory : Path
        Where the rows of every path are.
    """

    study: Study
    points: pd.DataFrame
    summary: pd.DataFrame
    provenance: dict[str, Any]
    directory: Path
    _run: RunDirectory = field(repr=False)

    @classmethod
    def load(cls, directory: str | Path) -> SweepResult:
        """Read a finished sweep from its run directory.

        Parameters
        ----------
        directory : str or Path
            The directory.

        Returns
        -------
        SweepResult

        Raises
        ------
        InputError
            If there is no such directory or it cannot be read.
        StoreError
            If it is not a run directory, of another version, damaged or not finished.
        """
        import pandas as pd

        run, manifest = open_run(Path(directory))
        path = run.path
        done = len(run.plan) - int(run.left.sum())
        if done < len(run.plan) or "provenance" not in manifest:
            chunks = f"{done} of {len(run.plan)} chunks"
            raise StoreError(f"{path}: is not finished ({chunks}); run the sweep again to go on with it")
        try:
            summary = pd.read_parquet(path / SUMMARY)
        except (OSError, ValueError) as error:
            reason = f"cannot be read: {error}; run the sweep again to mend it"
            raise StoreError(f"{path / SUMMARY}: {reason}") from None
        if set(summary.columns) != set(summary_columns()) or len(summary) != run.study.count:
            reason = "is not this study's summary; run the sweep again to mend it"
            raise StoreError(f"{path / SUMMARY}: {reason}")
        study = run.study
        return cls(study, study.points(), summary, from_json(manifest["provenance"]), path, run)

    @property
    def sessions(self) -> list[dict[str, Any]]:
        """What was done in each call of `sweep` that did any work: when, where, by which builds, how fast."""
        return list(from_json(read_manifest(self.directory).get("sessions", [])))

    def values(self, point: int, metric: str) -> FloatArray:
        """Return one metric of every path of a point.

        Parameters
        ----------
        point : int
            The point.
        metric : str
            A name of `mcmm.metrics.NAMES`.

        Returns
        -------
        ndarray of shape (paths,)
            In path order; NaN where the metric does not apply.

        Raises
        ------
        InputError
            If there is no such point or metric.
        StoreError
            If a file is damaged or gone.
        """
        row: FloatArray = self._read(point, (metric,))[0]
        return row

    def paths(self, point: int, metrics: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the rows of a point's paths.

        Parameters
        ----------
        point : int
            The point.
        metrics : sequence of str, optional
            Which columns; default all.

        Returns
        -------
        DataFrame
            Index ``path``; whole numbers as int64, halt_reason by name, the rest float64.

        Raises
        ------
        InputError
            If there is no such point or metric.
        StoreError
            If a file is damaged or gone.
        """
        import pandas as pd

        names = NAMES if metrics is None else tuple(metrics)
        columns: dict[str, Any] = {}
        for name, row in zip(names, self._read(point, names), strict=True):
            if name == "halt_reason":
                columns[name] = pd.Categorical.from_codes(row.astype(np.int64), pd.Index(HALT_REASONS))
            else:
                columns[name] = row.astype(np.int64) if METRICS[name].whole else row
        return pd.DataFrame(columns, index=pd.RangeIndex(self.study.paths, name="path"))

    def _read(self, point: int, names: Sequence[str]) -> FloatArray:
        self.study.at(point)
        unknown = [name for name in names if name not in METRICS]
        if unknown:
            raise InputError(f"metric: must be one of {', '.join(NAMES)}, got {unknown[0]!r}")
        return read_point(self._run, point, names)


def read_point(run: RunDirectory, point: int, names: Sequence[str]) -> FloatArray:
    """Read metrics of a point, shape (len(names), paths), in path order."""
    first = run.plan[run.plan.of_point(point)[0]]
    begin = int(run.plan.row_ends[first.index]) + (point - first.point) * run.study.paths
    return run.rows(begin, begin + run.study.paths, names)
