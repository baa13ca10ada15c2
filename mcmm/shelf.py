"""Shelves: the files of a study's chunks in one folder, of one kind, and which chunk is in which.

A task's chunks are written as one file, FIRST-LAST-<digest of the file's bytes>.parquet. Once all chunks of a
segment (`mcmm.chunks.segments`) are there, its small files are put together in one, and only then removed; of
two files that hold a chunk the longer counts, so a kill in between costs nothing. Every file is written
aside, synced and renamed; the digest in its name tells a damaged one.
"""

from __future__ import annotations

import errno
import io
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from mcmm.chunks import Plan, decode, encode, segments
from mcmm.errors import InputError, StoreError
from mcmm.files import digest, settle, write_whole
from mcmm.records import Record, decode_records, join_files, mark_of

__all__ = ["File", "RecordShelf", "RowShelf", "Shelf"]

FloatArray = npt.NDArray[np.float64]
Content = TypeVar("Content")

_LOG = logging.getLogger(__name__)
_NAME = re.compile(r"(\d+)-(\d+)-([0-9a-f]{16})\.parquet")
# Files of records and of rows that are larger than this on average are not put together: it would cost
# more than it tidies. Half a second of small points is some 800 kB of records, a quarter of it on a busy
# machine; to join them is to make them again, which takes 0.2 ms of the 5 ms that a point takes.
_SMALL_RECORDS, _SMALL_ROWS = 64_000, 2_000_000


class File(NamedTuple):
    """A file of finished chunks: the first, the one after the last, and where it is."""

    first: int
    stop: int
    path: Path


class Shelf(ABC, Generic[Content]):
    """The files of one kind.

    Parameters
    ----------
    folder : Path
        Where they are.
    plan : Plan
        All chunks.
    study : str
        The study's digest.
    durable : bool
        Sync every file to the disk.

    Attributes
    ----------
    left : ndarray of bool, shape (chunks,)
        Which chunks are not there.
    segment_ends : ndarray of shape (segments,)
        For each segment the chunk after its last.
    """

    _small: int

    def __init__(self, folder: Path, plan: Plan, study: str, *, durable: bool) -> None:
        self.folder = folder
        self.plan = plan
        self.study = study
        self.left: npt.NDArray[np.bool_] = np.ones(len(plan), dtype=bool)
        self.segment_ends = np.array([stop for _, stop in segments(plan)])
        self._durable = durable
        self._sound: set[Path] = set()
        # The files in use, and which of them holds each chunk.
        self._files: list[File] = []
        self._cover = np.full(len(plan), -1, dtype=np.int64)

    @abstractmethod
    def _decode(self, source: Any, file: File) -> Content:
        """Read a whole file."""

    @abstractmethod
    def _join(self, files: Sequence[bytes], first: int, stop: int) -> bytes:
        """Put whole files together."""

    def files(self) -> list[File]:
        """Return the files that are there, unchecked, those of most chunks first."""
        found = []
        for path in sorted(self.folder.glob("*.parquet")):
            name = _NAME.fullmatch(path.name)
            if name:
                found.append(File(int(name[1]), int(name[2]) + 1, path))
        return sorted(found, key=lambda file: (file.first - file.stop, file.first))

    def unclaimed(self, files: Iterable[File]) -> list[File]:
        """Return those of the files that have a chunk which neither the shelf nor one before them has."""
        left = self.left.copy()
        found = []
        for file in files:
            if left[file.first : file.stop].any() or file.stop > len(self.plan):
                left[file.first : file.stop] = False
                found.append(file)
        return found

    def check(self, file: File) -> Content | None:
        """Read a file back if it is whole; else remove it, with a warning.

        Parameters
        ----------
        file : File
            The file.

        Returns
        -------
        content or None
            What it holds; None if its chunks must be computed again.

        Raises
        ------
        InputError
            If it cannot be read for another reason than damage, such as permissions; it is left alone.
        """
        try:
            if not 0 <= file.first < file.stop <= len(self.plan):
                raise StoreError("is not this study's chunk")
            return self._decode(io.BytesIO(self._bytes(file)), file)
        except OSError as error:
            # Only what the disk has lost is damaged; a file that cannot be read just now may be whole.
            if error.errno not in (errno.EIO, errno.ENOENT):
                raise InputError(f"{file.path}: cannot be read: {error.strerror or error}") from None
            reason: object = error.strerror
        except StoreError as error:
            reason = error
        _LOG.warning("%s: damaged (%s); it is removed and computed again", file.path, reason)
        remove(file.path)
        return None

    def register(self, file: File) -> None:
        """Take a whole file for the place of its chunks."""
        self._cover[file.first : file.stop] = len(self._files)
        self._files.append(file)
        self.left[file.first : file.stop] = False

    def used(self) -> list[File]:
        """Return the files in use, in order of their first chunk."""
        places = dict.fromkeys(self._cover[self._cover >= 0].tolist())
        return [self._files[place] for place in places]

    def remove_redundant(self, files: Iterable[File]) -> None:
        """Remove files whose chunks are all in others too."""
        used = {file.path for file in self.used()}
        for file in files:
            if file.path not in used:
                remove(file.path)

    def write(self, first: int, stop: int, data: bytes) -> None:
        """Write a file of chunks, and put its segment together if that is whole now."""
        self.register(File(first, stop, self._write(first, stop, data)))
        self.compact(first)

    def _write(self, first: int, stop: int, data: bytes) -> Path:
        path = self.folder / f"{first:06d}-{stop - 1:06d}-{digest(data)}.parquet"
        write_whole(path, data, durable=self._durable)
        return path

    def compact(self, chunk: int) -> None:
        """Put a chunk's segment in one file if it is whole and in several small ones."""
        place = int(np.searchsorted(self.segment_ends, chunk, side="right"))
        stop = int(self.segment_ends[place])
        first = int(self.segment_ends[place - 1]) if place else 0
        if self.left[first:stop].any():
            return
        files = [self._files[place] for place in dict.fromkeys(self._cover[first:stop].tolist())]
        if len(files) == 1 or self._mean_size(files) > self._small:
            return
        try:
            data = self._join([self._bytes(file) for file in files], first, stop)
        except (OSError, StoreError):
            return  # whoever reads it will be told, and the next sweep mends it
        path = self._write(first, stop, data)
        if self._durable:
            settle(path.parent)
        self.register(File(first, stop, path))
        for file in files:
            remove(file.path)

    def _mean_size(self, files: list[File]) -> float:
        try:
            return sum(file.path.stat().st_size for file in files) / len(files)
        except OSError:
            return float("inf")

    def _bytes(self, file: File) -> bytes:
        """Return a file's bytes, held against the digest in its name."""
        data = file.path.read_bytes()
        if not file.path.stem.endswith(f"-{digest(data)}"):
            raise StoreError("is not what was written")
        self._sound.add(file.path)
        return data

    def _source(self, file: File) -> Any:
        """Return where to read a file; the first time, hold all of it against the digest in its name."""
        return file.path if file.path in self._sound else io.BytesIO(self._bytes(file))

    def covering(self, chunk: int) -> File:
        """Return the file that holds a chunk."""
        cover = int(self._cover[chunk])
        if cover < 0:
            raise StoreError(f"{self.folder}: chunk {chunk} is not there; run the sweep again to mend it")
        return self._files[cover]


class RowShelf(Shelf[FloatArray]):
    """Rows of paths, in the order of the plan."""

    _small = _SMALL_ROWS

    def __init__(
        self, folder: Path, plan: Plan, study: str, metrics: tuple[str, ...], *, durable: bool
    ) -> None:
        super().__init__(folder, plan, study, durable=durable)
        self.metrics = metrics

    def _decode(self, source: Any, file: File) -> FloatArray:
        return decode(
            source, (file.first, file.stop), self.plan.rows(file.first, file.stop), self.study, self.metrics
        )

    def _join(self, files: Sequence[bytes], first: int, stop: int) -> bytes:
        parts = [
            self._decode(io.BytesIO(data), file)
            for data, file in zip(files, self._spans(first, stop), strict=True)
        ]
        return encode(self.plan[first:stop], np.concatenate(parts, axis=1), self.study, self.metrics)

    def _spans(self, first: int, stop: int) -> list[File]:
        return [self._files[place] for place in dict.fromkeys(self._cover[first:stop].tolist())]

    def rows(self, begin: int, end: int, names: Sequence[str]) -> FloatArray:
        """Read metrics of some rows, counted through the whole plan.

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
            file = self.covering(int(np.searchsorted(ends, at, side="right")) - 1)
            upto, origin = min(end, int(ends[file.stop])), int(ends[file.first])
            part = (at - origin, upto - origin)
            count = self.plan.rows(file.first, file.stop)
            try:
                found.append(
                    decode(self._source(file), (file.first, file.stop), count, self.study, names, part)
                )
            except (OSError, StoreError) as error:
                raise StoreError(f"{file.path}: {error}; run the sweep again to mend it") from None
            at = upto
        return found[0] if len(found) == 1 else np.concatenate(found, axis=1)


class RecordShelf(Shelf[list[Record]]):
    """Records of points."""

    _small = _SMALL_RECORDS

    def __init__(
        self, folder: Path, plan: Plan, study: str, metrics: tuple[str, ...], *, durable: bool
    ) -> None:
        super().__init__(folder, plan, study, durable=durable)
        self.metrics = metrics

    def _mark(self, file: File) -> str:
        return mark_of(self.study, file.first, file.stop)

    def _decode(self, source: Any, file: File) -> list[Record]:
        return list(decode_records(source, self._mark(file), self.metrics))

    def _join(self, files: Sequence[bytes], first: int, stop: int) -> bytes:
        return join_files(files, mark_of(self.study, first, stop))

    def of_point(self, point: int, columns: Sequence[str] | None = None) -> list[Record]:
        """Read the records of a point, in path order.

        Parameters
        ----------
        point : int
            The point.
        columns : sequence of str, optional
            As for `mcmm.records.decode_records`.

        Raises
        ------
        StoreError
            If a file is damaged or gone.
        """
        wanted = range(point, point + 1)
        files = dict.fromkeys(self.covering(chunk) for chunk in self.plan.of_point(point))
        found = [record for file in files for record in self._read(file, wanted, columns)]
        return sorted(found, key=lambda record: record.part.first_path)

    def all(self, columns: Sequence[str] | None = None, points: range | None = None) -> Iterator[Record]:
        """Read the records of a range of points, all if left out, a row group at a time; as `of_point`."""
        for file in self.used():
            chunks = self.plan[file.stop - 1], self.plan[file.first]
            if points is None or (chunks[0].range.stop > points.start and chunks[1].point < points.stop):
                yield from self._stream(file, points, columns)

    def of_file(self, file: File, points: range | None = None) -> list[Record]:
        """Read the records of a file; as `of_point`."""
        return self._read(file, points, None)

    def _read(self, file: File, points: range | None, columns: Sequence[str] | None) -> list[Record]:
        return list(self._stream(file, points, columns))

    def _stream(self, file: File, points: range | None, columns: Sequence[str] | None) -> Iterator[Record]:
        """Read the records of a file that are in no other file in its place."""
        alone = all(self.covering(chunk) == file for chunk in range(file.first, file.stop))
        try:
            source = self._source(file)
            for each in decode_records(source, self._mark(file), self.metrics, points, columns):
                if alone or self.covering(self.plan.place(each.point, each.part.first_path)) == file:
                    yield each
        except (OSError, StoreError) as error:
            raise StoreError(f"{file.path}: {error}; run the sweep again to mend it") from None


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be removed: {error.strerror or error}") from None
