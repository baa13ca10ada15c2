"""The run directory of a sweep: what is in it, what is done and what is left.

::

    manifest.json       the study, its digest, versions, when, where and at what rate it ran
    points.parquet      the settings of each point
    chunks/             finished chunks: FIRST-LAST-<digest of the file's bytes>.parquet
    summary.parquet     a row for each point, once all chunks are there
    lock                held while a sweep runs

A task's chunks are written as one file. Once all chunks of a segment (`mcmm.chunks.segments`) are there, its
small files are put together in one, and only then removed; of two files that hold a chunk the longer counts,
so a kill in between costs nothing. Every file is written aside, synced and renamed; the digest in its name
tells a damaged one. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mcmm import __version__
from mcmm.chunks import SCHEMA_VERSION, decode, encode, plan, segments
from mcmm.errors import InputError, MCMMError, StoreError
from mcmm.files import Lock, digest, from_json, settle, temporary, to_json, write_whole
from mcmm.metrics import NAMES
from mcmm.study import Study

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MANIFEST", "SUMMARY", "Part", "RunDirectory", "open_run", "read_manifest"]

FloatArray = npt.NDArray[np.float64]

_LOG = logging.getLogger(__name__)
MANIFEST, SUMMARY = "manifest.json", "summary.parquet"
_POINTS, _CHUNKS, _LOCK = "points.parquet", "chunks", "lock"
_OWN = {MANIFEST, _POINTS, SUMMARY, _CHUNKS, _LOCK}
_ELSEWHERE = "give another directory (--out), or delete this one"
_SPEED = "path_steps_per_second"
_PART = re.compile(r"(\d+)-(\d+)-([0-9a-f]{16})\.parquet")
# Files that are larger than this on average are not put together: it would cost more than it tidies.
_SMALL = 2_000_000


class Part(NamedTuple):
    """A file of finished chunks: the first, the one after the last, and where it is."""

    first: int
    stop: int
    path: Path


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
    plan : Plan
        All chunks of the study.
    left : ndarray of bool, shape (chunks,)
        Which of them are still to be computed.
    segment_ends : ndarray of shape (segments,)
        For each segment the chunk after its last.
    """

    def __init__(self, path: Path, study: Study, *, durable: bool = True) -> None:
        self.path = path
        self.study = study
        self.digest = study.digest()
        self.plan = plan(study)
        self.left: npt.NDArray[np.bool_] = np.ones(len(self.plan), dtype=bool)
        self.segment_ends = np.array([stop for _, stop in segments(self.plan)])
        self._durable = durable
        self._sound: set[Path] = set()
        # The files in use, and which of them holds each chunk.
        self._parts: list[Part] = []
        self._cover = np.full(len(self.plan), -1, dtype=np.int64)

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
        if foreign and not (self.path / MANIFEST).exists():
            what = f"is not a run directory (it has {foreign[0]} and no {MANIFEST})"
            raise StoreError(f"{self.path}: {what}; {_ELSEWHERE}")

    def _manifest(self) -> dict[str, Any]:
        """Read the manifest and hold it against the study; begin one where there is none."""
        if not (self.path / MANIFEST).exists():
            if next((self.path / _CHUNKS).glob("*.parquet"), None):
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
        write_whole(self.path / MANIFEST, to_json(manifest), durable=self._durable)
        if self._durable:
            settle(self.path / _CHUNKS)
            settle(self.path)

    def write_summary(self, summary: pd.DataFrame) -> None:
        """Write the summary."""
        sink = io.BytesIO()
        summary.to_parquet(sink)
        write_whole(self.path / SUMMARY, sink.getvalue(), durable=self._durable)

    # ---- chunks

    def parts(self) -> list[Part]:
        """Return the files of chunks that are there, unchecked, those of most chunks first."""
        found = []
        for path in sorted((self.path / _CHUNKS).glob("*.parquet")):
            name = _PART.fullmatch(path.name)
            if name:
                found.append(Part(int(name[1]), int(name[2]) + 1, path))
        return sorted(found, key=lambda part: (part.first - part.stop, part.first))

    def unclaimed(self, parts: Iterable[Part]) -> list[Part]:
        """Return those of the files that have a chunk which neither the run nor one before them has."""
        left = self.left.copy()
        found = []
        for part in parts:
            if left[part.first : part.stop].any() or part.stop > len(self.plan):
                left[part.first : part.stop] = False
                found.append(part)
        return found

    def check(self, part: Part) -> FloatArray | None:
        """Read a file's rows back if it is whole; else remove it, with a warning.

        Parameters
        ----------
        part : Part
            The file.

        Returns
        -------
        ndarray of shape (metrics, rows), or None
            What it holds; None if its chunks must be computed again.
        """
        try:
            if not 0 <= part.first < part.stop <= len(self.plan):
                raise StoreError("is not this study's chunk")
            return self._read(part, NAMES)
        except (OSError, StoreError) as error:
            _LOG.warning("%s: damaged (%s); it is removed and computed again", part.path, error)
            _remove(part.path)
            return None

    def register(self, part: Part) -> None:
        """Take a whole file for the place of its chunks."""
        self._cover[part.first : part.stop] = len(self._parts)
        self._parts.append(part)
        self.left[part.first : part.stop] = False

    def remove_redundant(self, parts: Iterable[Part]) -> None:
        """Remove files whose chunks are all in others too."""
        used = {self._parts[place].path for place in np.unique(self._cover[self._cover >= 0])}
        for part in parts:
            if part.path not in used:
                _remove(part.path)

    def write(self, first: int, stop: int, data: bytes) -> None:
        """Write a file of chunks, and put its segment together if that is whole now."""
        path = self._write(first, stop, data)
        self.register(Part(first, stop, path))
        self.compact(first)

    def _write(self, first: int, stop: int, data: bytes) -> Path:
        path = self.path / _CHUNKS / f"{first:06d}-{stop - 1:06d}-{digest(data)}.parquet"
        write_whole(path, data, durable=self._durable)
        return path

    def compact(self, chunk: int) -> None:
        """Put a chunk's segment in one file if it is whole and in several small ones."""
        place = int(np.searchsorted(self.segment_ends, chunk, side="right"))
        stop = int(self.segment_ends[place])
        first = int(self.segment_ends[place - 1]) if place else 0
        if self.left[first:stop].any():
            return
        parts = [self._parts[place] for place in dict.fromkeys(self._cover[first:stop].tolist())]
        if len(parts) == 1 or self._small(parts) > _SMALL:
            return
        try:
            values = np.concatenate([self._read(part, NAMES) for part in parts], axis=1)
        except (OSError, StoreError):
            return  # whoever reads it will be told, and the next sweep mends it
        path = self._write(first, stop, encode(self.plan[first:stop], values, self.digest))
        if self._durable:
            settle(path.parent)
        self.register(Part(first, stop, path))
        for part in parts:
            _remove(part.path)

    def _small(self, parts: list[Part]) -> float:
        try:
            return sum(part.path.stat().st_size for part in parts) / len(parts)
        except OSError:
            return float("inf")

    def rows(self, begin: int, end: int, names: Sequence[str]) -> FloatArray:
        """Read metrics of some rows, counted through the whole study.

        Parameters
        ----------
        begin, end : int
            The first row and the one after the last.
        names : sequence of str
            Which metrics.

        Returns
        -------
        ndarray of shape (len(names), end - begin)
            In order of point and path.

        Raises
        ------
        StoreError
            If a file is damaged or gone.
        """
        found = []
        ends = self.plan.row_ends
        at = begin
        while at < end:
            chunk = int(np.searchsorted(ends, at, side="right")) - 1
            cover = int(self._cover[chunk])
            if cover < 0:
                raise StoreError(f"{self.path}: chunk {chunk} is not there; run the sweep again to mend it")
            part = self._parts[cover]
            upto = min(end, int(ends[part.stop]))
            try:
                origin = int(ends[part.first])
                found.append(self._read(part, names, (at - origin, upto - origin)))
            except (OSError, StoreError) as error:
                raise StoreError(f"{part.path}: {error}; run the sweep again to mend it") from None
            at = upto
        return found[0] if len(found) == 1 else np.concatenate(found, axis=1)

    def _read(self, part: Part, names: Sequence[str], rows: tuple[int, int] | None = None) -> FloatArray:
        """Read metrics of a file; the first time, hold all of it against the digest in its name."""
        chunks, count = (part.first, part.stop), self.plan.rows(part.first, part.stop)
        if part.path in self._sound:
            return decode(part.path, chunks, count, self.digest, names, rows)
        data = part.path.read_bytes()
        if not part.path.stem.endswith(f"-{digest(data)}"):
            raise StoreError("is not what was written")
        values = decode(io.BytesIO(data), chunks, count, self.digest, names, rows)
        self._sound.add(part.path)
        return values


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
    for part in run.unclaimed(run.parts()):
        if part.stop <= len(run.plan):
            run.register(part)
    return run, manifest


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
    missing = [name for name in ("schema", "mcmm", "digest", "axes", "study") if not manifest.get(name)]
    if missing:
        raise StoreError(f"{path / MANIFEST}: is damaged (it has no {missing[0]})")
    sessions, provenance = manifest.get("sessions", []), manifest.get("provenance", {})
    if not isinstance(sessions, list) or not all(_is_session(each) for each in sessions):
        raise StoreError(f"{path / MANIFEST}: is damaged (its sessions are not what a sweep writes)")
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


def _study_in(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the study's tables: infinities are numbers again, and the axes, whose order counts, in order."""
    try:
        tables = dict(manifest["study"])
        for name in ("scenario", "points"):
            tables[name] = from_json(tables[name])
        axes = tables["points"]["axes"]
        tables["points"]["axes"] = {name: axes[name] for name in manifest["axes"]}
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


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be removed: {error.strerror or error}") from None
