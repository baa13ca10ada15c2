"""Rounds of a sweep: the paths that are computed before the next look, and the files that hold them.

A study with a number of paths has one round. One that asks for a precision has as many as it takes: the first
for all points, each later one for the points whose standard error was still too large.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mcmm.chunks import Plan, plan
from mcmm.errors import InputError
from mcmm.shelf import File, RecordShelf, RowShelf, Shelf
from mcmm.study import Study
from mcmm.summaries import EXACT_PATHS, Part, join_parts

__all__ = ["CHUNKS", "PATHS", "Round", "joined"]

FloatArray = npt.NDArray[np.float64]

CHUNKS, PATHS = "chunks", "paths"
# Parts of a point that are read before they are joined.
_PENDING = 16


class Round:
    """One round's chunks.

    Parameters
    ----------
    path : Path
        The run directory.
    study : Study
        The study.
    number : int
        0 for the first.
    points : sequence of int
        The points that get paths, ascending.
    durable : bool
        Sync every file to the disk.

    Attributes
    ----------
    first_path, paths : int
        Which paths each of the points gets.
    digest : str
        What the round's files bear so that no other study's or round's are taken for them.
    plan : Plan
        All chunks of the round.
    left : ndarray of bool, shape (chunks,)
        Which of them are still to be computed.
    records : RecordShelf
        What is kept of them.
    rows : RowShelf or None
        Their paths, where the study keeps them.
    """

    def __init__(
        self, path: Path, study: Study, number: int, points: Sequence[int], *, durable: bool = True
    ) -> None:
        totals = (study.paths,) if study.precision is None else study.precision.totals
        self.study = study
        self.number = number
        self.points = points
        self.first_path = totals[number - 1] if number else 0
        self.paths = totals[number] - self.first_path
        self.folder = path / f"round-{number}" if number else path
        self.digest = study.digest() + (f"+{number}" if number else "")
        self.plan: Plan = plan(study, points, self.first_path, self.paths)
        self.left: npt.NDArray[np.bool_] = np.ones(len(self.plan), dtype=bool)
        shelf = (self.plan, self.digest, study.metrics)
        self.records = RecordShelf(self.folder / CHUNKS, *shelf, durable=durable)
        self.rows = RowShelf(self.folder / PATHS, *shelf, durable=durable) if study.keep_paths else None

    @property
    def whole(self) -> bool:
        """Whether its paths are all that its points can ever have."""
        return self.study.precision is None

    @property
    def exact(self) -> bool:
        """Whether its points have few enough paths, with those of the rounds before, to keep their values."""
        return self.first_path + self.paths <= EXACT_PATHS

    @property
    def shelves(self) -> list[Shelf]:  # type: ignore[type-arg]
        """The kinds of its files."""
        return [self.records] if self.rows is None else [self.records, self.rows]

    def open(self) -> None:
        """Make its folders; raise InputError if the disk does not take them."""
        for shelf in self.shelves:
            try:
                shelf.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"{shelf.folder}: cannot be made: {error.strerror or error}") from None

    def trust(self) -> None:
        """Take the files that are there for what their names say."""
        for shelf in self.shelves:
            for file in shelf.unclaimed(shelf.files()):
                if file.stop <= len(self.plan):
                    shelf.register(file)
        self._count()

    def tidy(self, files: Sequence[File]) -> None:
        """Remove those of the files of records that are not needed, and put small files together."""
        self.records.remove_redundant(files)
        for shelf in self.shelves:
            for end in shelf.segment_ends:
                shelf.compact(int(end) - 1)

    def take_rows(self) -> None:
        """Take up the files of rows that are whole, as many as are needed."""
        if self.rows is not None:
            found = self.rows.files()
            while files := self.rows.unclaimed(found):
                for file in files:
                    found.remove(file)
                    if self.rows.check(file) is not None:
                        self.rows.register(file)
            self.rows.remove_redundant(self.rows.files())
        self._count()

    def write(self, first: int, stop: int, records: bytes, rows: bytes | None) -> None:
        """Write what is kept of some chunks."""
        # The rows first: chunks are done once both are there, and the records are what is looked at.
        if self.rows is not None and rows is not None:
            self.rows.write(first, stop, rows)
        self.records.write(first, stop, records)
        self.left[first:stop] = False

    def rows_of(self, point: int, names: Sequence[str]) -> FloatArray:
        """Read metrics of a point's paths of the round, shape (len(names), paths), in path order."""
        assert self.rows is not None
        first = self.plan[self.plan.of_point(point)[0]]
        begin = int(self.plan.row_ends[first.index]) + (point - first.point) * self.paths
        return self.rows.rows(begin, begin + self.paths, names)

    def _count(self) -> None:
        self.left[:] = self.records.left
        if self.rows is not None:
            self.left |= self.rows.left


def joined(
    rounds: Sequence[Round], points: Set[int], columns: Sequence[str] | None = None
) -> Iterator[tuple[int, Part]]:
    """Read points of the last round and join their paths of all rounds, in bounded memory.

    Parameters
    ----------
    rounds : sequence of Round
        In order, complete.
    points : set of int
        The points that are wanted.
    columns : sequence of str, optional
        As for `mcmm.records.decode_records`.

    Yields
    ------
    tuple of int and Part
        Point and all of its paths, in order of the points.
    """
    if not points:
        return
    wanted = range(min(points), max(points) + 1)
    streams = [groupby(each.records.all(columns, wanted), key=lambda record: record.point) for each in rounds]
    for point, records in streams[-1]:
        if point not in points:
            continue
        parts: list[Part] = []
        for stream in streams[:-1]:
            for number, earlier in stream:
                if number == point:
                    parts += [record.part for record in earlier]
                    break
        for record in records:
            parts.append(record.part)
            if len(parts) >= _PENDING:
                parts = [join_parts(parts, rounds[-1].study.metrics)]
        yield point, join_parts(parts, rounds[-1].study.metrics)
