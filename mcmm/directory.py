"""The run directory of a sweep: what is in it, what is done and what is left.

::

    manifest.json       the study, its digest, versions, when, where and at what rate it ran
    points.parquet      the settings of each point, written before the first path runs
    chunks/             what is kept of finished chunks: FIRST-LAST-<digest of the file's bytes>.parquet
    paths/              with keep_paths, every path of the same chunks
    round-N/            with precision, the same two folders for the paths added in round N
    summary.parquet     a row for each point, once all chunks are there
    sensitivity.parquet for a sobol_indices design, the indices of the objective
    lock                held while a sweep runs

How chunks lie in files is told in `mcmm.shelf`. Nothing in the directory is ever unpickled.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcmm import __version__
from mcmm.chunks import SCHEMA_VERSION
from mcmm.designs import Points
from mcmm.errors import InputError, MCMMError, StoreError
from mcmm.files import Lock, from_json, open_whole, settle, temporary, to_json, write_whole
from mcmm.rounds import CHUNKS, PATHS, Round
from mcmm.shelf import remove
from mcmm.study import Study

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "MANIFEST",
    "POINTS",
    "SENSITIVITY",
    "SUMMARY",
    "RunDirectory",
    "open_run",
    "read_manifest",
    "study_out",
]

MANIFEST, SUMMARY = "manifest.json", "summary.parquet"
SENSITIVITY = "sensitivity.parquet"
POINTS, _LOCK = "points.parquet", "lock"
_OWN = {MANIFEST, POINTS, SUMMARY, SENSITIVITY, CHUNKS, PATHS, _LOCK}
# Of a table that is written: 100 MB of a summary.
_ROWS_AT_ONCE = 65_536
_ELSEWHERE = "give another directory (--out), or delete this one"
_SPEED = "path_steps_per_second"


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

    Attributes
    ----------
    study : Study
        The study, with its points as they are written down in the directory.
    rounds : list of Round
        The rounds begun so far.
    """

    def __init__(self, path: Path, study: Study, *, durable: bool = True) -> None:
        self.path = path
        self.study = study
        self.digest = study.digest()
        self.rounds: list[Round] = []
        self.durable = durable

    def begin_round(self, points: Sequence[int]) -> Round:
        """Begin the next round, of some points."""
        found = Round(self.path, self.study, len(self.rounds), points, durable=self.durable)
        self.rounds.append(found)
        return found

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
            (self.path / CHUNKS).mkdir(parents=True, exist_ok=True)
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
        if foreign and not (self.path / MANIFEST).exists():
            what = f"is not a run directory (it has {foreign[0]} and no {MANIFEST})"
            raise StoreError(f"{self.path}: {what}; {_ELSEWHERE}")

    def _manifest(self) -> dict[str, Any]:
        """Read the manifest and hold it against the study; begin one where there is none."""
        if not (self.path / MANIFEST).exists():
            if next((self.path / CHUNKS).glob("*.parquet"), None):
                raise StoreError(f"{self.path}: has chunks but no {MANIFEST}; choose another directory")
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
        self.study = pin(self.path, self.study, manifest)
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
        for entry in self.path.rglob(".*"):
            if temporary(entry):
                remove(entry)

    def begin(self, manifest: dict[str, Any]) -> None:
        """Write the points and the manifest, before the first chunk."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = io.BytesIO()
        pq.write_table(pa.table({"point": range(self.study.count), **self.study.columns()}), sink)
        write_whole(self.path / POINTS, sink.getvalue(), durable=self.durable)
        self.write_manifest(manifest)

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Write the manifest anew, and have all that was written so far last."""
        write_whole(self.path / MANIFEST, to_json(manifest), durable=self.durable)
        if self.durable:
            for round_ in self.rounds:
                for shelf in round_.shelves:
                    settle(shelf.folder)
            settle(self.path)

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table, some rows at a time: of a million points it would else be in memory once more."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.Schema.from_pandas(table)
        with (
            open_whole(self.path / name, durable=self.durable) as file,
            pq.ParquetWriter(file, schema) as writer,
        ):
            for begin in range(0, max(len(table), 1), _ROWS_AT_ONCE):
                rows = table.iloc[begin : begin + _ROWS_AT_ONCE]
                writer.write_table(pa.Table.from_pandas(rows, schema))


def open_run(path: Path) -> tuple[RunDirectory, dict[str, Any]]:
    """Open a run directory to read what it has.

    Parameters
    ----------
    path : Path
        The directory.

    Returns
    -------
    tuple of RunDirectory and dict
        The directory with its files of chunks registered, unchecked, and its manifest.

    Raises
    ------
    InputError
        If there is no such directory or it cannot be read.
    StoreError
        If it is not a run directory, of another version or damaged.
    """
    if not path.is_dir():
        raise InputError(f"{path}: is not a directory" if path.exists() else f"{path}: does not exist")
    manifest = read_manifest(path)
    try:
        run = RunDirectory(path, Study.from_dict(_study_in(manifest)))
    except MCMMError as error:
        raise StoreError(f"{path / MANIFEST}: holds no valid study: {error}") from None
    if run.digest != manifest["digest"]:
        raise StoreError(f"{path / MANIFEST}: has been changed: its study and its digest do not agree")
    run.study = pin(path, run.study, manifest)
    return run, manifest


def pin(path: Path, study: Study, manifest: dict[str, Any]) -> Study:
    """Return the study with the points that were written down when its sweep began.

    A design draws its points with a library, and another version of it may draw others; the run goes on with
    its own.

    Raises
    ------
    StoreError
        If the file of points is damaged and the design draws others today.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if study.points_digest() == manifest["points_digest"]:
        return study
    try:
        table = pq.read_table(path / POINTS).drop_columns("point").to_pydict()
        whole = {
            name
            for name, column in study.columns().items()
            if {type(value) for value in study.axes[name]} == {int, float}
        }
        columns = {
            name: [int(value) if name in whole and value % 1 == 0 else value for value in column]
            for name, column in table.items()
        }
        pinned = study.pinned(Points(columns))
        if pinned.names == study.names and pinned.points_digest() == manifest["points_digest"]:
            return pinned
    except (OSError, KeyError, TypeError, pa.ArrowException):
        pass
    raise StoreError(
        f"{path / POINTS}: is damaged, and the design draws other points with this scipy; {_ELSEWHERE}"
    )


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a run directory's manifest.

    Raises
    ------
    StoreError
        If there is none, or it is damaged or of another schema version.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise StoreError(f"{path}: is not a run directory (it has no {MANIFEST})") from None
    except OSError as error:
        raise InputError(f"{path / MANIFEST}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise StoreError(f"{path / MANIFEST}: is damaged (not JSON); {_ELSEWHERE}") from None
    if not isinstance(manifest, dict):
        raise StoreError(f"{path / MANIFEST}: is damaged (no table)")
    schema = manifest.get("schema", SCHEMA_VERSION)
    if schema != SCHEMA_VERSION:
        maker = f"mcmm {manifest.get('mcmm', '?')}"
        raise StoreError(f"{path}: has schema version {schema} (of {maker}); this one reads {SCHEMA_VERSION}")
    missing = [
        name for name in ("schema", "mcmm", "digest", "points_digest", "study") if not manifest.get(name)
    ]
    if missing:
        raise StoreError(f"{path / MANIFEST}: is damaged (it has no {missing[0]})")
    sessions, provenance = manifest.get("sessions", []), manifest.get("provenance", {})
    if not isinstance(sessions, list) or not all(_is_session(each) for each in sessions):
        raise StoreError(f"{path / MANIFEST}: is damaged (its sessions are not what a sweep writes)")
    builds = manifest.get("builds", [])
    if not isinstance(builds, list) or not all(_is_build(each) for each in builds):
        raise StoreError(f"{path / MANIFEST}: is damaged (its builds are not what a sweep writes)")
    if "provenance" in manifest and not (_is_session(provenance) and _SPEED in provenance):
        raise StoreError(f"{path / MANIFEST}: is damaged (its provenance is not what a sweep writes)")
    return dict(manifest)


def _is_session(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() >= {
        "isa",
        "machine",
        "path_steps",
        "started",
        "wall_seconds",
    }


def _is_build(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() >= {"isa", "machine"}
        and all(isinstance(each, str) for each in value.values())
    )


def study_out(study: Study) -> dict[str, Any]:
    """Return a study's tables for the manifest, which is sorted: axes, whose order counts, as pairs."""
    tables = study.to_dict()
    return tables | {"points": _paired(tables["points"])}


def _paired(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        items = [[key, _paired(item, key)] for key, item in value.items()]
        return items if name in ("axes", "points") else dict(items)
    return [_paired(item, name) for item in value] if isinstance(value, list) else value


def _unpaired(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _unpaired(item, key) for key, item in value.items()}
    if name == "axes":
        return dict(value)
    if name == "points":
        return [dict(point) for point in value]
    return [_unpaired(item) for item in value] if isinstance(value, list) else value


def _study_in(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the study's tables: infinities are numbers again, and axes tables."""
    try:
        tables = dict(manifest["study"])
        for name in ("scenario", "points"):
            tables[name] = from_json(tables[name])
        tables["points"] = _unpaired(tables["points"])
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{MANIFEST} is damaged ({type(error).__name__}: {error})") from None
    return tables


def _flat(tables: Any, prefix: str = "") -> dict[str, Any]:
    """Nested tables by dotted names."""
    if not isinstance(tables, dict):
        return {prefix: tables}
    flat: dict[str, Any] = {}
    for name, value in tables.items():
        flat |= _flat(value, f"{prefix}.{name}" if prefix else name)
    return flat
