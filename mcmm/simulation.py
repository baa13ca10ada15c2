"""Simulation: what a run found, path by path, with everything that is needed to run it again.

The values are kept as the core gave them, a row per metric. Frames are made when they are asked for.

Files: ``.parquet`` holds a row per path and, in its metadata under ``mcmm``, the scenario, seed, versions and
provenance; it can be loaded again, bit for bit. ``.csv`` holds the rows alone, in the shortest digits that
read back exactly; the rest is put beside it in ``<name>.csv.toml``. What does not apply to a path is empty.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmm.columns import metric_moments, quantile_columns, tail_columns
from mcmm.errors import InputError
from mcmm.files import from_json, to_json, write_whole
from mcmm.frames import as_whole, checkpoint_steps, steps_frame
from mcmm.metrics import HALT_REASONS, metric_of
from mcmm.moments import FloatArray
from mcmm.scenario import Scenario
from mcmm.statistics import (
    MONEY_METRICS,
    QUANTILES,
    TAIL_LEVELS,
    proportion,
    sorted_sample,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["SCHEMA_VERSION", "Simulation"]

SCHEMA_VERSION = 1
"""Of saved files; raised when a file of before could no longer be read as it was meant."""

_BREAKERS = ("drawdown", "loss", "volume")


@dataclass(frozen=True, eq=False, repr=False)
class Simulation:
    """Paths of one scenario, as `mcmm.simulate` returns them.

    Parameters
    ----------
    scenario : Scenario
        What was simulated.
    seed : int
        Of the random streams. Path i depends on the scenario, the seed and i alone.
    first_path : int
        Number of the first path.
    values : ndarray of shape (metrics, paths)
        A row per metric, in the order of `mcmm.metrics.NAMES`; NaN where a metric does not apply to a path.
        With several markets these are the portfolio's, and as many of each market follow: the scenario's
        ``columns``. Read-only from here on.
    trace_values : dict of str to ndarray of shape (traced paths, steps), optional
        Every step of the first paths, by column of `trace`; with several markets of shape (traced paths,
        markets, steps).
    checkpoint_values : dict of str to ndarray of shape (paths, checkpoints), optional
        Every path at equally spaced steps, by column of `checkpoints`; with several markets of shape (paths,
        markets, checkpoints).
    provenance : dict, optional
        What made the values: versions, machine, time.

    Raises
    ------
    InputError
        If the arrays have not these shapes.
    """

    scenario: Scenario
    seed: int
    first_path: int
    values: FloatArray
    trace_values: dict[str, FloatArray] | None = None
    checkpoint_values: dict[str, FloatArray] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the shapes, and keep the values from being changed."""
        values = np.ascontiguousarray(self.values, dtype=np.float64).view()
        rows, markets = len(self.scenario.columns), len(self.scenario.markets)
        if values.ndim != 2 or values.shape[0] != rows:
            raise InputError(f"values: must have shape ({rows}, paths), got {values.shape}")
        of_a_path = (markets, self.scenario.steps) if markets else (self.scenario.steps,)
        for name, steps in (self.trace_values or {}).items():
            if steps.shape[1:] != of_a_path or not steps.ndim > 0 or steps.shape[0] > values.shape[1]:
                of = f"{markets} markets, " if markets else ""
                rule = f"must have shape (<= {values.shape[1]} paths, {of}{self.scenario.steps} steps)"
                raise InputError(f"trace_values: {name} {rule}, got {steps.shape}")
        for name, marks in (self.checkpoint_values or {}).items():
            markets_of = (markets,) if markets else ()
            if marks.shape[:-1] != (values.shape[1], *markets_of) or marks.shape[-1] > self.scenario.steps:
                rule = f"must have shape ({values.shape[1]} paths, .., <= {self.scenario.steps} steps)"
                raise InputError(f"checkpoint_values: {name} {rule}, got {marks.shape}")
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    def __repr__(self) -> str:
        """Say what was run, in a line."""
        paths, start = self.values.shape[1], f" from {self.first_path:,}" if self.first_path else ""
        return f"Simulation({paths:,} paths{start} x {self.scenario.steps:,} steps, seed {self.seed})"

    @cached_property
    def paths(self) -> pd.DataFrame:
        """A row per path.

        Returns
        -------
        DataFrame
            Index ``path``; a column per metric, units as in `mcmm.metrics.METRICS`. Whole numbers are int64,
            halt_reason is categorical. Changing the frame changes nothing else of the simulation. With
            several markets the metrics' own names hold the portfolio's, sums where a sum means something, and
            ``NAME.pnl`` and so on the markets': docs/model.md, section 7.
        """
        return _frame(self)

    def market(self, name: str) -> pd.DataFrame:
        """Return one market's row per path.

        Parameters
        ----------
        name : str
            One of the scenario's ``market_names``.

        Returns
        -------
        DataFrame
            As `paths`, of that market alone: a column per metric, under its own name.

        Raises
        ------
        InputError
            If there is no such market.
        """
        names = self.scenario.market_names
        if name not in names:
            raise InputError(f"market: must be one of {', '.join(names) or 'none'}, got {name!r}")
        metrics = self.scenario.by_market()[name].columns
        frame = self.paths[[f"{name}.{metric}" for metric in metrics]]
        return frame.set_axis(list(metrics), axis="columns")

    @cached_property
    def trace(self) -> pd.DataFrame:
        """Every step of the traced paths.

        Returns
        -------
        DataFrame
            Columns ``path``, with several markets ``market``, ``step``, then what was traced, such as
            probability, mid, bid, ask, inventory and pnl; sizes and inventory are int64, flags bool. A row
            per step, path by path and, in each, market by market.

        Raises
        ------
        InputError
            If no path was traced.
        """
        if not self.trace_values:
            raise InputError("trace: no path was traced; simulate with trace_paths=K to record the first K")
        return steps_frame(self.trace_values, self.first_path, self.scenario.market_names)

    @cached_property
    def checkpoints(self) -> pd.DataFrame:
        """Every path at equally spaced steps.

        Returns
        -------
        DataFrame
            Columns ``path``, with several markets ``market``, ``step`` (the one whose end is recorded; the
            last is the path's), ``pnl`` (at the mid) and ``drawdown`` (at risk.mark) in dollars,
            ``inventory`` in contracts and ``spread``, ask less bid as the step's taker saw them, NaN without
            a quote.

        Raises
        ------
        InputError
            If none were recorded.
        """
        if not self.checkpoint_values:
            raise InputError("checkpoints: none were recorded; simulate with checkpoints=K to record K")
        steps = checkpoint_steps(self.scenario.steps, next(iter(self.checkpoint_values.values())).shape[-1])
        return steps_frame(self.checkpoint_values, self.first_path, self.scenario.market_names, steps)

    def summary(
        self,
        quantiles: Sequence[float] = QUANTILES,
        levels: Sequence[float] = TAIL_LEVELS,
        metrics: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Summarise the distribution of each metric over the paths it applies to.

        Parameters
        ----------
        quantiles : sequence of float
            Probabilities between 0 and 1.
        levels : sequence of float
            Levels of value at risk and expected shortfall, strictly between 0 and 1.
        metrics : sequence of str, optional
            Which; all if not given, of several markets too.

        Returns
        -------
        DataFrame
            Index ``metric`` (all but halt_reason, which is a code; halt_step over the paths that halted);
            columns mean, standard_error, sd, p01 ... p99, value_at_risk_95 ... (losses positive, for pnl,
            pnl_fair and pnl_settled alone), expected_shortfall_95 with its _standard_error ..., and count,
            the paths behind them. Definitions in `mcmm.statistics`.

        Raises
        ------
        InputError
            If a probability or level is out of range, or a metric is none of this simulation.
        """
        import pandas as pd

        columns = self.scenario.columns
        names = columns if metrics is None else tuple(metrics)
        if strange := [name for name in names if name not in columns]:
            raise InputError(f"metrics: must be columns of paths, got {strange[0]!r}")
        values = self.values[[columns.index(name) for name in names]] if metrics else self.values
        found = metric_moments(values, names)
        rows: dict[str, dict[str, float]] = {}
        for index, (name, row) in enumerate(zip(names, values, strict=True)):
            metric = name.rpartition(".")[2]
            if metric == "halt_reason":
                continue
            ordered = sorted_sample(row[row >= 0.0] if metric == "halt_step" else row)
            rows[name] = {
                "mean": found.mean[index],
                "standard_error": found.standard_error[index],
                "sd": found.sd[index],
                **quantile_columns(ordered, quantiles),
                **(tail_columns(ordered, levels) if metric in MONEY_METRICS else {}),
                "count": found.counts[index],
            }
        frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("metric")
        # A row of money has all columns; count last, and whole.
        fullest = max(rows, key=lambda name: len(rows[name]))
        return frame[list(rows[fullest])].astype({"count": np.int64})

    def chances(self, confidence: float = 0.95) -> pd.DataFrame:
        """Chances of a loss and of a halt, with exact intervals.

        Parameters
        ----------
        confidence : float
            Of the two-sided interval of Clopper & Pearson.

        Returns
        -------
        DataFrame
            Index ``event``: ``loss`` (pnl_settled < 0), ``halt`` (a breaker tripped) and, for each breaker
            that the scenario sets, ``halt_drawdown``, ``halt_loss``, ``halt_volume`` (the first to trip).
            Columns hits, paths, chance, standard_error, low, high. With several markets these are the
            portfolio's, and ``fed.loss``, ``fed.halt_drawdown`` and so on the markets'.

        Raises
        ------
        InputError
            If ``confidence`` is not strictly between 0 and 1.
        """
        import pandas as pd

        row = dict(zip(self.scenario.columns, self.values, strict=True))
        events: dict[str, Any] = {}

        def count(prefix: str, reasons: list[str]) -> None:
            events[f"{prefix}loss"] = row[f"{prefix}pnl_settled"] < 0.0
            events[f"{prefix}halt"] = row[f"{prefix}trips"] > 0.0
            for reason in reasons:
                code = float(HALT_REASONS.index(reason))
                events[f"{prefix}halt_{reason}"] = row[f"{prefix}halt_reason"] == code

        joint = ["portfolio_drawdown"] if math.isfinite(self.scenario.portfolio.drawdown_limit) else []
        if self.scenario.markets:
            count("", joint)
        for name, market in self.scenario.by_market().items():
            own = [each for each in _BREAKERS if math.isfinite(market.get(f"risk.{each}_limit"))]
            count(f"{name}." if name else "", own + joint)
        records = []
        for happened in events.values():
            hits = int(np.count_nonzero(happened))
            chance = proportion(hits, happened.size, confidence)
            records.append((hits, happened.size, *chance))
        columns = ["hits", "paths", "chance", "standard_error", "low", "high"]
        return pd.DataFrame(records, columns=columns, index=pd.Index(list(events), name="event"))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a row per path; the file is there whole or not at all.

        Parameters
        ----------
        path : str or os.PathLike
            Ends in ``.parquet``, or in ``.csv`` (with ``<name>.csv.toml`` beside it for scenario, seed and
            provenance). What is there is replaced. Traces are not written; `trace` is a frame to write.

        Raises
        ------
        InputError
            If the name ends otherwise, or it cannot be written.
        """
        target = Path(path)
        match target.suffix.lower():
            case ".parquet":
                write_whole(target, _parquet(self))
            case ".csv":
                write_whole(target, _csv(self))
                write_whole(target.with_name(f"{target.name}.toml"), _toml(self))
            case _:
                raise InputError(f"{target}: must end in .parquet or .csv")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Simulation:
        """Read what `save` wrote to a ``.parquet`` file.

        Parameters
        ----------
        path : str or os.PathLike
            The file.

        Returns
        -------
        Simulation
            Equal to the saved one in every bit of its values; without traces.

        Raises
        ------
        InputError
            If the file cannot be read, is damaged, or holds no simulation of this schema version.
        """
        source = Path(path)
        table = _read(source)
        mark = _mark(table, source)
        scenario = Scenario.loads(mark["scenario"], source=f"{source}: scenario")
        values = _values(table, mark["first_path"], source, scenario.columns)
        return cls(
            scenario,
            mark["seed"],
            mark["first_path"],
            values,
            provenance=from_json(mark["provenance"]),
        )


def _frame(run: Simulation) -> pd.DataFrame:
    """Return `Simulation.paths` afresh: saving must not depend on what was done to the cached frame."""
    import pandas as pd

    index = pd.RangeIndex(run.first_path, run.first_path + run.values.shape[1], name="path")
    columns: dict[str, Any] = {}
    for name, row in zip(run.scenario.columns, run.values, strict=True):
        if (metric := metric_of(name)).name == "halt_reason":
            columns[name] = pd.Categorical.from_codes(row.astype(np.int8), categories=pd.Index(HALT_REASONS))
        else:
            columns[name] = as_whole(row) if metric.whole else row
    return pd.DataFrame(columns, index=index)


def _version(run: Simulation) -> str:
    """Return the version that made the values, which need not be the one that saves them."""
    from mcmm import __version__

    return str(run.provenance.get("mcmm", __version__))


def _table(run: Simulation) -> pa.Table:
    import pyarrow as pa

    # From pandas, so that pandas reads the index back; NaN becomes null.
    return pa.Table.from_pandas(_frame(run), preserve_index=True).select(["path", *run.scenario.columns])


def _parquet(run: Simulation) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = _table(run)
    mark = {
        "kind": "simulation",
        "schema": SCHEMA_VERSION,
        "version": _version(run),
        "seed": run.seed,
        "first_path": run.first_path,
        "scenario": run.scenario.dumps(),
        "provenance": run.provenance,
    }
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"mcmm": to_json(mark)})
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        use_dictionary=[name for name in run.scenario.columns if metric_of(name).whole],
        use_byte_stream_split=[name for name in run.scenario.columns if not metric_of(name).whole],
        write_page_checksum=True,
    )
    return bytes(memoryview(sink.getvalue()))


def _csv(run: Simulation) -> bytes:
    import pyarrow as pa
    from pyarrow import csv

    table = _table(run)
    sink = pa.BufferOutputStream()
    # pyarrow would quote every name in the header.
    sink.write(f"{','.join(table.column_names)}\n".encode())
    csv.write_csv(table, sink, csv.WriteOptions(include_header=False, quoting_style="none"))
    return bytes(memoryview(sink.getvalue()))


def _toml(run: Simulation) -> bytes:
    import tomli_w

    header = {
        "version": _version(run),
        "schema": SCHEMA_VERSION,
        "seed": run.seed,
        "first_path": run.first_path,
        "paths": run.values.shape[1],
    }
    provenance = {name: value for name, value in run.provenance.items() if value is not None}
    document = {"mcmm": header, "provenance": provenance, "scenario": run.scenario.to_dict()}
    return tomli_w.dumps(document).encode()


def _read(source: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with source.open("rb") as file, pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            return parquet.read()
    except (pa.ArrowException, ValueError):
        raise InputError(f"{source}: is no Parquet file, or a damaged one") from None
    except OSError as error:
        # pyarrow reports damage it finds while reading as an OSError without a number.
        reason = f"cannot be read: {error.strerror}" if error.strerror else "is a damaged Parquet file"
        raise InputError(f"{source}: {reason}") from None


def _mark(table: pa.Table, source: Path) -> dict[str, Any]:
    """Return what `_parquet` put in the metadata, once it is known to be of this schema."""
    try:
        mark: dict[str, Any] = json.loads((table.schema.metadata or {}).get(b"mcmm", b"{}"))
    except ValueError:
        mark = {}
    if mark.get("kind") != "simulation":
        raise InputError(f"{source}: holds no simulation; Simulation.save writes what can be loaded")
    if mark.get("schema") != SCHEMA_VERSION:
        made = f"schema version {mark.get('schema')}, written by mcmm {mark.get('version')}"
        raise InputError(f"{source}: has {made}; this version reads {SCHEMA_VERSION}")
    return mark


def _values(table: pa.Table, first_path: int, source: Path, names: Sequence[str]) -> FloatArray:
    """Return the rows of metrics of a saved table."""
    if missing := [name for name in ("path", *names) if name not in table.column_names]:
        raise InputError(f"{source}: has no column {missing[0]}")
    numbers = table.column("path").to_numpy()
    if not np.array_equal(numbers, np.arange(first_path, first_path + table.num_rows)):
        raise InputError(f"{source}: its paths are not the ones from {first_path} on, in order")
    values = np.empty((len(names), table.num_rows))
    codes = {reason: float(code) for code, reason in enumerate(HALT_REASONS)}
    try:
        for row, name in enumerate(names):
            column = table.column(name)
            if metric_of(name).name == "halt_reason":
                values[row] = [codes[reason] for reason in column.to_pylist()]
            else:
                values[row] = column.to_numpy()
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{source}: column {name} holds what is no value of it: {error}") from None
    return values
