"""What a sweep found, as it is read from its run directory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from mcmm import comparison
from mcmm.datasets import grid_dataset
from mcmm.directory import SUMMARY, RunDirectory, open_run, read_manifest
from mcmm.distributions import Distribution
from mcmm.errors import InputError, StoreError
from mcmm.files import from_json
from mcmm.metrics import HALT_REASONS, METRICS, NAMES, metric_of
from mcmm.rounds import Round
from mcmm.sketch import Sketch
from mcmm.statistics import sorted_sample
from mcmm.study import Study, summary_columns
from mcmm.summaries import join_parts, rows_of

if TYPE_CHECKING:
    import pandas as pd
    import xarray

__all__ = ["RunDirectory", "SweepResult", "open_rounds"]

FloatArray = npt.NDArray[np.float64]

# Path-steps that are simulated again at a time.
_SLICE = 64_000_000


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
        A row for each point: the columns of `mcmm.summaries.summarise`, such as ``pnl_settled.mean``.
    provenance : dict
        ``mcmm``, ``schema``, ``study`` (its digest), ``seed``, ``isa``, ``compiler``, ``python``, ``numpy``,
        ``machine``, ``cores``, ``jobs``, ``backend``, ``started``, ``path_steps`` (of the whole study),
        ``sessions`` (how many it took), ``wall_seconds`` and ``path_steps_per_second`` (of these sessions).
    directory : Path
        Where it is stored.
    """

    study: Study
    points: pd.DataFrame
    summary: pd.DataFrame
    provenance: dict[str, Any]
    directory: Path
    _run: RunDirectory = field(repr=False)

    @classmethod
    def load(cls, directory: str | Path, policy: object = None) -> SweepResult:
        """Read a finished sweep from its run directory.

        Parameters
        ----------
        directory : str or Path
            The directory.
        policy : LowLevelCallable, Numba cfunc, callable or str, optional
            Who quoted where ``quoting.policy`` is custom, to simulate paths again; held to what the
            run names.

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
        if policy is not None:
            run.study = run.study.quoted_by(policy)
        path = run.path
        if "provenance" not in manifest:
            _refuse_unfinished(run)
        try:
            summary = pd.read_parquet(path / SUMMARY)
        except (OSError, ValueError) as error:
            reason = f"cannot be read: {error}; run the sweep again to mend it"
            raise StoreError(f"{path / SUMMARY}: {reason}") from None
        if set(summary.columns) != set(summary_columns(run.study.metrics)) or len(summary) != run.study.count:
            reason = "is not this study's summary; run the sweep again to mend it"
            raise StoreError(f"{path / SUMMARY}: {reason}")
        study = run.study
        open_rounds(run, summary)
        return cls(study, study.points(), summary, from_json(manifest["provenance"]), path, run)

    @property
    def sessions(self) -> list[dict[str, Any]]:
        """What was done in each call of `sweep` that did any work: when, where, by which builds, how fast."""
        return list(from_json(read_manifest(self.directory).get("sessions", [])))

    def paths_of(self, point: int) -> int:
        """Return how many paths a point has."""
        self.study.at(point)
        return _paths(self.study, self.summary, point)

    def values(self, point: int, metric: str) -> FloatArray:
        """Return one metric of every path of a point.

        Where the study does not keep its paths, they are simulated again, with the same bits.

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
        """Return the rows of a point's paths; see `values`.

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
        InputError, StoreError
            As for `values`.
        """
        import pandas as pd

        names = self.study.metrics if metrics is None else tuple(metrics)
        columns: dict[str, Any] = {}
        for name, row in zip(names, self._read(point, names), strict=True):
            if name == "halt_reason":
                columns[name] = pd.Categorical.from_codes(row.astype(np.int64), pd.Index(HALT_REASONS))
            else:
                columns[name] = (
                    row.astype(np.int64)
                    if name.rpartition(".")[2] in METRICS and metric_of(name).whole
                    else row
                )
        return pd.DataFrame(columns, index=pd.RangeIndex(self.paths_of(point), name="path"))

    def distribution(self, point: int, metric: str) -> Distribution | None:
        """Return the histogram and quantiles of a metric at a point.

        Parameters
        ----------
        point : int
            The point.
        metric : str
            A name of `mcmm.metrics.NAMES`; those of `mcmm.distributions.DISTRIBUTION_METRICS` are kept, the
            others need the point's paths.

        Returns
        -------
        Distribution or None
            None where the metric applies to no path.

        Raises
        ------
        InputError, StoreError
            As for `values`.
        """
        self._check(point, (metric,))
        rounds = self._rounds_of(point)
        columns = (f"distribution.{metric}", "summary", f"values.{metric}")
        records = [record for each in rounds for record in each.records.of_point(point, columns)]
        if len(records) == 1 and records[0].summary is not None and metric in records[0].distributions:
            return records[0].distributions[metric]
        if not any(metric in record.part.tails for record in records):
            ordered = sorted_sample(self.values(point, metric))
            return Distribution.of(ordered) if ordered.size else None
        part = join_parts([record.part for record in records], self.study.metrics)
        tail = part.tails[metric]
        tail = tail if isinstance(tail, Sketch) else sorted_sample(tail)
        return Distribution.of(tail) if tail.size else None

    def compare(self, baseline: int, column: str | None = None) -> pd.DataFrame:
        """Compare each point with one of them, path by path on the same random numbers.

        All points share the seed and so face the same market: what luck one had, the others had too, and the
        difference is far better known than either mean. Where the control variates' means are known
        (`mcmm.controls`), the differences of money's means use them too.

        Parameters
        ----------
        baseline : int
            The point to compare with.
        column : str, optional
            A mean or a chance: a column of the summary such as ``"pnl_fair.mean"`` or ``"halt.chance"``; by
            default the study's objective.

        Returns
        -------
        DataFrame
            Index ``point``, all points but the baseline: ``difference`` (the point's less the baseline's),
            ``standard_error``, ``plain_difference`` (without controls), ``low`` and ``high`` (its 95%
            interval), ``variance_reduction`` (the variance that the difference would have were the points
            simulated apart and without controls, over its own), ``p_value``, ``adjusted_p_value`` (Holm's,
            over all these points) and ``differs``: whether that is at most 5%, so that the chance of one
            point or more wrongly marked is at most 5%.

        Raises
        ------
        InputError
            If there is no such point, or the column is no mean or chance whose sums the study keeps.
        StoreError
            If a file is damaged or gone.
        """
        found = self.differences(baseline, column or self.study.objective)
        return comparison.compare(found, self.study.looks)

    def differences(self, baseline: int, column: str) -> list[comparison.Difference]:
        """Return each other point's difference from a baseline, as `compare` takes them; the same errors."""
        self.study.at(baseline)
        return list(comparison.differences(self._run, baseline, column))

    def ratio(self, part: str, of: str) -> pd.DataFrame:
        """Return the ratio of two metrics' means at each point, with its standard error.

        Parameters
        ----------
        part, of : str
            Names of `mcmm.metrics.NAMES`, or of a market's or a book's.

        Returns
        -------
        DataFrame
            Index ``point``: ``ratio`` and ``standard_error``, by the delta method on 64 batches of a point's
            paths, so that it is known to a tenth or so of itself.

        Raises
        ------
        InputError
            If there is no such metric, or the study has so many points (`mcmm.study.MANY_POINTS`) that it
            keeps no sums of it by batch.
        StoreError
            If a file is damaged or gone.
        """
        import pandas as pd

        (found,) = self.ratios([(part, of)])
        return pd.DataFrame(found, index=self.points.index, columns=["ratio", "standard_error"])

    def ratios(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        """Return `ratio` of several pairs of metrics in one pass, shape (pairs, points, 2)."""
        names = list(dict.fromkeys(name for pair in pairs for name in pair))
        self._check(0, names)
        kept = rows_of(self.study.metrics)
        if not self.study.all_rows and any(kept.place(name) >= kept.first for name in names):
            raise InputError(
                f"ratio: must be of {', '.join(kept.names[: kept.first])} in a study of {self.study.count:,} "
                f"points, got {', '.join(names)}"
            )
        found = np.empty((len(pairs), self.study.count, 2))
        for point, sums in comparison.batch_sums(self._run, names):
            at = dict(zip(names, sums, strict=True))
            for place, (part, of) in enumerate(pairs):
                found[place, point] = comparison.ratio_of_sums(at[part], at[of], self.paths_of(point))
        return found

    def to_xarray(self) -> xarray.Dataset:
        """Return the summary as a dataset with a dimension for each axis of the grid.

        Needs the extra ``xarray``.

        Returns
        -------
        xarray.Dataset
            Dimensions and coordinates named as the settings, a variable for each column of the summary and
            one, ``paths``, of how many paths each point has; attributes ``study``, ``question``, ``seed``,
            ``mcmm`` and ``digest``. So
            ``result.to_xarray()["pnl_settled.mean"].sel({"risk.inventory_limit": 100})`` is a curve.

        Raises
        ------
        InputError
            If the points are no full grid, or xarray is not installed.
        """
        return grid_dataset(self.study, self.summary, self.provenance)

    def sensitivity(self, column: str | None = None) -> pd.DataFrame:
        """Tell how much of a column's variance over the axes' ranges each axis makes: Sobol indices.

        Parameters
        ----------
        column : str, optional
            A column of the summary; by default the study's objective, of a mean with its controls.

        Returns
        -------
        DataFrame
            Index ``setting``: ``first_order`` (alone) and ``total_order`` (with its interactions), shares of
            the variance, each with the ``_low`` and ``_high`` of its 95% bootstrap interval.

        Raises
        ------
        InputError
            If the study's design is not sobol_indices, or the column is missing or not known at some point.
        """
        from mcmm.sensitivity import sensitivity

        return sensitivity(self.study, self.summary, column or self.study.objective)

    def _rounds_of(self, point: int) -> list[Round]:
        """Return the rounds in which a point got paths."""
        paths = self.paths_of(point)
        return [each for each in self._run.rounds if each.first_path < paths]

    def _check(self, point: int, names: Sequence[str]) -> None:
        self.study.at(point)
        unknown = [name for name in names if name not in self.study.metrics]
        if unknown:
            listed = ", ".join(NAMES)
            if self.study.scenario.markets:
                listed += f", or one of these of a market, as {self.study.metrics[-1]}"
            raise InputError(f"metric: must be one of {listed}, got {unknown[0]!r}")

    def rows(self, point: int, metrics: Sequence[str], paths: int | None = None) -> FloatArray:
        """Return some metrics of a point's paths as an array; see `values`.

        Parameters
        ----------
        point : int
            The point.
        metrics : sequence of str
            Names of `mcmm.metrics.NAMES`, or of a market's.
        paths : int, optional
            Its first so many paths; default all.

        Returns
        -------
        ndarray of shape (metrics, paths)
            In path order; NaN where a metric does not apply.

        Raises
        ------
        InputError
            If there is no such point or metric.
        StoreError
            If a file is damaged or gone.
        """
        return self._read(point, metrics, paths)

    def _read(self, point: int, names: Sequence[str], most: int | None = None) -> FloatArray:
        self._check(point, names)
        if self.study.keep_paths:
            parts = [each.rows_of(point, names) for each in self._rounds_of(point)]
            return (parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1))[:, :most]
        from mcmm import engine

        scenario = self.study.scenario_at(point)
        paths, size = self.paths_of(point), max(_SLICE // scenario.steps, 1)
        paths = paths if most is None else min(paths, most)
        places = [self.study.metrics.index(name) for name in names]
        values = np.empty((len(names), paths))
        for first in range(0, paths, size):
            end = min(first + size, paths)
            rows = engine.run_rows(scenario, self.study.seed, first, end - first, policy=self.study.quoter)
            values[:, first:end] = engine.widened(rows, scenario, self.study.metrics)[places]
        return values


def _paths(study: Study, summary: pd.DataFrame, point: int) -> int:
    return study.paths or int(summary[f"{study.metrics[0]}.count"].iloc[point])


def open_rounds(run: RunDirectory, summary: pd.DataFrame) -> None:
    """Find the files of every round; how many paths each point has tells in which rounds it was."""
    totals = run.study.precision.totals if run.study.precision is not None else (run.study.paths,)
    counts = summary[f"{run.study.metrics[0]}.count"].to_numpy()
    before = 0
    for total in totals:
        points: Sequence[int] = (
            np.flatnonzero(counts > before).tolist()
            if run.study.precision is not None
            else range(run.study.count)
        )
        if not len(points):
            break
        run.begin_round(points).trust()
        before = total
    if any(each.left.any() for each in run.rounds):
        _refuse_unfinished(run)


def _refuse_unfinished(run: RunDirectory) -> NoReturn:
    if not run.rounds:
        run.begin_round(range(run.study.count)).trust()
    done = sum(int((~each.left).sum()) for each in run.rounds)
    chunks = f"{done} of {sum(len(each.plan) for each in run.rounds)} chunks"
    if run.study.precision is not None:
        chunks += " of the rounds so far"
    raise StoreError(f"{run.path}: is not finished ({chunks}); run the sweep again to go on with it")
