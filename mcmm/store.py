"""The run directory of a sweep, and the result that is read from it.

::

    manifest.json       the study, its digest, versions, when and at what rate it ran
    points.parquet      the settings of each point
    chunks/             one file for each finished chunk, NNNNNN-<digest of its bytes>.parquet
    summary.parquet     a row for each point, once all chunks are there
    lock                held while a sweep runs

Every file is written aside, synced and renamed; the digest in a chunk's name tells a damaged one. Nothing in
it is ever unpickled.
"""

from __future__ import annotations

import bisect
import io
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mcmm import __version__
from mcmm.chunks import SCHEMA_VERSION, Chunk, decode, plan
from mcmm.errors import InputError, MCMMError, StoreError
from mcmm.files import Lock, digest, from_json, settle, temporary, to_json, write_whole
from mcmm.metrics import HALT_REASONS, NAMES, metric_of
from mcmm.study import Study, summary_columns

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RunDirectory", "SweepResult"]

FloatArray = npt.NDArray[np.float64]

_LOG = logging.getLogger(__name__)
_MANIFEST, _POINTS, _SUMMARY = "manifest.json", "points.parquet", "summary.parquet"
_ELSEWHERE = "give another directory (--out), or delete this one"
_SPEED = "path_steps_per_second"
_CHUNKS, _LOCK = "chunks", "lock"
_OWN = {_MANIFEST, _POINTS, _SUMMARY, _CHUNKS, _LOCK}


class RunDirectory:
    """The files of one study's sweep.

    Parameters
    ----------
    path : Path
        The directory.
    study : Study
        The study it holds.
    durable : bool
        Sync every file to the disk.
    """

    def __init__(self, path: Path, study: Study, *, durable: bool = True) -> None:
        self.path = path
        self.study = study
        self.digest = study.digest()
        self.plan = plan(study)
        self._durable = durable
        self._sound: set[Path] = set()

    @contextmanager
    def locked(self) -> Iterator[dict[str, Any]]:
        """Make the directory or take it up again, alone.

        Yields
        ------
        dict
            The manifest: as it is on the disk, or a new one's beginning.

        Raises
        ------
        InputError
            If it cannot be made or written.
        StoreError
            If it is another study's, of another version, in use, or not a run directory.
        """
        try:
            self._refuse_foreign()
            (self.path / _CHUNKS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{self.path}: cannot be used as a run directory: {reason}") from None
        busy = f"{self.path}: another sweep (process {{owner}}) is writing to this run directory"
        with Lock(self.path / _LOCK, busy):
            manifest = self._manifest()
            self._clear_temporary()
            yield manifest

    def _refuse_foreign(self) -> None:
        """Refuse, before anything is made, a directory that has other files in it."""
        if not self.path.is_dir():
            return
        entries = [entry for entry in self.path.iterdir() if not temporary(entry)]
        foreign = sorted(entry.name for entry in entries if entry.name not in _OWN)
        if foreign and not (self.path / _MANIFEST).exists():
            what = f"is not a run directory (it has {foreign[0]} and no {_MANIFEST})"
            raise StoreError(f"{self.path}: {what}; {_ELSEWHERE}")

    def _manifest(self) -> dict[str, Any]:
        """Read the manifest and hold it against the study; begin one where there is none."""
        if not (self.path / _MANIFEST).exists():
            if next((self.path / _CHUNKS).glob("*.parquet"), None):
                raise StoreError(f"{self.path}: has chunks but no {_MANIFEST}; choose another directory")
            return {}
        manifest = read_manifest(self.path)
        if manifest["digest"] != self.digest:
            raise StoreError(
                f"{self.path}: holds another study ({self._difference(_study_in(manifest))}); {_ELSEWHERE}"
            )
        if manifest["mcmm"] != __version__:
            raise StoreError(
                f"{self.path}: was begun by mcmm {manifest['mcmm']} and this is {__version__}; "
                "finish it with that version or choose another directory"
            )
        return manifest

    def _difference(self, other: dict[str, Any]) -> str:
        """Say the first thing in which the directory's study is not this one."""
        there, here = _flat(other), _flat(self.study.to_dict())
        for name in ("paths", "seed", *sorted({*there, *here})):
            if there.get(name) != here.get(name) and name not in ("name", "question", "objective"):
                return f"{name}: {there.get(name, 'not set')} there, {here.get(name, 'not set')} here"
        return "the order of its axes differs"

    def _clear_temporary(self) -> None:
        """Remove what a killed sweep was writing."""
        for folder in (self.path, self.path / _CHUNKS):
            for entry in folder.iterdir():
                if temporary(entry):
                    entry.unlink(missing_ok=True)

    def begin(self, manifest: dict[str, Any]) -> None:
        """Write the points and the manifest, before the first chunk."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = io.BytesIO()
        pq.write_table(pa.table({"point": range(self.study.count), **self.study.columns()}), sink)
        write_whole(self.path / _POINTS, sink.getvalue(), durable=self._durable)
        self.write_manifest(manifest)

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Write the manifest anew, and have all that was written so far last."""
        write_whole(self.path / _MANIFEST, to_json(manifest), durable=self._durable)
        if self._durable:
            settle(self.path / _CHUNKS)
            settle(self.path)

    def write_summary(self, summary: pd.DataFrame) -> None:
        """Write the summary."""
        sink = io.BytesIO()
        summary.to_parquet(sink)
        write_whole(self.path / _SUMMARY, sink.getvalue(), durable=self._durable)

    def write_chunk(self, chunk: Chunk, data: bytes) -> Path:
        """Write a chunk and return its file."""
        path = self.path / _CHUNKS / f"{chunk.index:06d}-{digest(data)}.parquet"
        write_whole(path, data, durable=self._durable)
        return path

    def files(self) -> dict[int, list[Path]]:
        """Return the chunks' files by index, unchecked (there is more than one only after damage)."""
        found: dict[int, list[Path]] = {}
        for path in sorted((self.path / _CHUNKS).glob("*-*.parquet")):
            index = path.name.partition("-")[0]
            if index.isdigit():
                found.setdefault(int(index), []).append(path)
        return found

    def check(self, chunk: Chunk, paths: Iterable[Path]) -> tuple[Path, FloatArray] | None:
        """Read a chunk's rows back if it is whole; else remove it, with a warning.

        Parameters
        ----------
        chunk : Chunk
            The chunk.
        paths : iterable of Path
            Its files.

        Returns
        -------
        tuple of Path and ndarray of shape (metrics, rows), or None
            The file and what it holds; None if it must be computed again.
        """
        for path in paths:
            try:
                return path, self._read(chunk, path, self.study.scenario.columns)
            except (OSError, StoreError) as error:
                _LOG.warning("%s: damaged (%s); it is removed and computed again", path, error)
                _remove(path)
        return None

    def chunks_of(self, point: int) -> list[Chunk]:
        """Return the chunks that hold a point's paths, in path order."""
        end = bisect.bisect_right(self.plan, point, key=lambda chunk: chunk.point)
        start = end - 1
        while start > 0 and self.plan[start - 1].point == self.plan[start].point:
            start -= 1
        return self.plan[start:end]

    def values(self, chunk: Chunk, path: Path, names: Sequence[str]) -> FloatArray:
        """Read metrics of a chunk, shape (len(names), rows)."""
        try:
            return self._read(chunk, path, names)
        except (OSError, StoreError) as error:
            raise StoreError(f"{path}: {error}; run the sweep again to mend it") from None

    def _read(self, chunk: Chunk, path: Path, names: Sequence[str]) -> FloatArray:
        """Read metrics of a chunk's file; the first time, hold all of it against the digest in its name."""
        if path in self._sound:
            return decode(path, chunk, self.digest, names)
        data = path.read_bytes()
        if digest(data) != path.stem.partition("-")[2]:
            raise StoreError("is not what was written")
        values = decode(io.BytesIO(data), chunk, self.digest, names)
        self._sound.add(path)
        return values


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
    _files: dict[int, Path] = field(repr=False)

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

        path = Path(directory)
        if not path.is_dir():
            raise InputError(f"{path}: is not a directory" if path.exists() else f"{path}: does not exist")
        manifest = read_manifest(path)
        try:
            study = Study.from_dict(_study_in(manifest))
            run = RunDirectory(path, study)
        except MCMMError as error:
            raise StoreError(f"{path / _MANIFEST}: holds no valid study: {error}") from None
        if run.digest != manifest["digest"]:
            raise StoreError(f"{path / _MANIFEST}: has been changed: its study and its digest do not agree")
        files = {index: paths[-1] for index, paths in run.files().items()}
        done = sum(chunk.index in files for chunk in run.plan)
        if done < len(run.plan) or "provenance" not in manifest:
            chunks = f"{done} of {len(run.plan)} chunks"
            raise StoreError(f"{path}: is not finished ({chunks}); run the sweep again to go on with it")
        try:
            summary = pd.read_parquet(path / _SUMMARY)
        except (OSError, ValueError) as error:
            reason = f"cannot be read: {error}; run the sweep again to mend it"
            raise StoreError(f"{path / _SUMMARY}: {reason}") from None
        if (
            set(summary.columns) != set(summary_columns(study.scenario.columns))
            or len(summary) != study.count
        ):
            reason = "is not this study's summary; run the sweep again to mend it"
            raise StoreError(f"{path / _SUMMARY}: {reason}")
        return cls(study, study.points(), summary, from_json(manifest["provenance"]), path, run, files)

    def values(self, point: int, metric: str) -> FloatArray:
        """Return one metric of every path of a point.

        Parameters
        ----------
        point : int
            The point.
        metric : str
            A name of `mcmm.metrics.NAMES`; of one market among several ``fed.pnl``.

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

        names = self.study.scenario.columns if metrics is None else tuple(metrics)
        columns: dict[str, Any] = {}
        for name, row in zip(names, self._read(point, names), strict=True):
            metric = metric_of(name)
            if metric.name == "halt_reason":
                columns[name] = pd.Categorical.from_codes(row.astype(np.int64), pd.Index(HALT_REASONS))
            else:
                whole = metric.whole and bool(np.isfinite(row).all())
                columns[name] = row.astype(np.int64) if whole else row
        return pd.DataFrame(columns, index=pd.RangeIndex(self.study.paths, name="path"))

    def _read(self, point: int, names: Sequence[str]) -> FloatArray:
        self.study.at(point)
        known = self.study.scenario.columns
        unknown = [name for name in names if name not in known]
        if unknown:
            listed = ", ".join(NAMES) + (
                ", or one of these of a market, as " + known[-1] if self.study.scenario.markets else ""
            )
            raise InputError(f"metric: must be one of {listed}, got {unknown[0]!r}")
        return read_point(self._run, self._files, point, names)


def read_point(run: RunDirectory, files: dict[int, Path], point: int, names: Sequence[str]) -> FloatArray:
    """Read metrics of a point from its chunks, shape (len(names), paths), in path order."""
    parts = []
    for chunk in run.chunks_of(point):
        begin = (point - chunk.point) * chunk.paths
        parts.append(run.values(chunk, files[chunk.index], names)[:, begin : begin + chunk.paths])
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a run directory's manifest.

    Raises
    ------
    StoreError
        If there is none, or it is damaged or of another schema version.
    """
    try:
        manifest = json.loads((path / _MANIFEST).read_bytes())
    except FileNotFoundError:
        raise StoreError(f"{path}: is not a run directory (it has no {_MANIFEST})") from None
    except OSError as error:
        raise InputError(f"{path / _MANIFEST}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise StoreError(f"{path / _MANIFEST}: is damaged (not JSON); {_ELSEWHERE}") from None
    if not isinstance(manifest, dict):
        raise StoreError(f"{path / _MANIFEST}: is damaged (no table)")
    schema = manifest.get("schema", SCHEMA_VERSION)
    if schema != SCHEMA_VERSION:
        maker = f"mcmm {manifest.get('mcmm', '?')}"
        raise StoreError(f"{path}: has schema version {schema} (of {maker}); this one reads {SCHEMA_VERSION}")
    missing = [name for name in ("schema", "mcmm", "digest", "axes", "study") if not manifest.get(name)]
    if missing:
        raise StoreError(f"{path / _MANIFEST}: is damaged (it has no {missing[0]})")
    sessions, provenance = manifest.get("sessions", []), manifest.get("provenance", {})
    if not isinstance(sessions, list) or not all(_is_session(each) for each in sessions):
        raise StoreError(f"{path / _MANIFEST}: is damaged (its sessions are not what a sweep writes)")
    if "provenance" in manifest and not (_is_session(provenance) and _SPEED in provenance):
        raise StoreError(f"{path / _MANIFEST}: is damaged (its provenance is not what a sweep writes)")
    return dict(manifest)


def _is_session(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() >= {
        "isa",
        "machine",
        "path_steps",
        "started",
        "wall_seconds",
    }


def _study_in(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the study's tables: infinities are numbers again, and the axes, whose order counts, in order."""
    try:
        tables = dict(manifest["study"])
        for name in ("scenario", "points"):
            tables[name] = from_json(tables[name])
        axes = tables["points"]["axes"]
        tables["points"]["axes"] = {name: axes[name] for name in manifest["axes"]}
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{_MANIFEST} is damaged ({type(error).__name__}: {error})") from None
    return tables


def _flat(tables: Any, prefix: str = "") -> dict[str, Any]:
    """Nested tables by dotted names."""
    if not isinstance(tables, dict):
        return {prefix: tables}
    flat: dict[str, Any] = {}
    for name, value in tables.items():
        flat |= _flat(value, f"{prefix}.{name}" if prefix else name)
    return flat


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be removed: {error.strerror or error}") from None
