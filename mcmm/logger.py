"""What a bot leaves to read: its time series as it goes, and its summary, as JSON lines, CSV or Parquet.

A reader never finds half a record. Rows are appended whole, Parquet comes in parts that are written aside and
renamed, the summary is replaced whole; what a kill cut off is removed before the run goes on.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from mcmm.errors import InputError
from mcmm.files import settle, temporary, write_whole

__all__ = ["FORMATS", "Logger"]

FORMATS = ("jsonl", "csv", "parquet")

_PART = 4096
"""Rows at which a part of Parquet is written; fewer when the log is synced, as it is before each snapshot."""

Row = Mapping[str, Any]


class Logger:
    """Writes a bot's rows and summary into a directory.

    Parameters
    ----------
    directory : Path
        Where ``trace.jsonl`` or ``trace.csv``, or parts in ``trace.parquet/``, and ``summary.*`` go.
    columns : sequence of str
        Of a row; ``step`` is one of them.
    form : str
        One of `FORMATS`.

    Raises
    ------
    InputError
        If the format is none, or the files cannot be written.
    """

    def __init__(self, directory: Path, columns: Sequence[str], form: str = "jsonl") -> None:
        if form not in FORMATS:
            raise InputError(f"format: must be one of {', '.join(FORMATS)}, got {form!r}")
        self._directory, self._columns, self._form = Path(directory), tuple(columns), form
        self.path = self._directory / f"trace.{form}"
        self._file: BinaryIO | None = None
        self._part: list[Row] = []
        self._lock = threading.Lock()  # a snapshot syncs, and another closes, while rows are written
        try:
            if form == "parquet":
                self.path.mkdir(exist_ok=True)
            else:
                self._file = self.path.open("ab", buffering=0)
                if form == "csv" and not self.path.stat().st_size:
                    self._file.write(f"{','.join(self._columns)}\n".encode())
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written: {error.strerror or error}") from None

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows and hand them to the system, Parquet a part at a time: others read them from then on.

        Parameters
        ----------
        rows : sequence of mapping
            A value for each column, by step; NaN is written as nothing (null in JSON).

        Raises
        ------
        InputError
            If they cannot be written.
        """
        if not rows:
            return
        if self._file is None:
            with self._lock:
                self._part += rows
                if len(self._part) >= _PART:
                    self._write_part()
            return
        write = _json_line if self._form == "jsonl" else _csv_line
        text = "".join(write([row[name] for name in self._columns], self._columns) for row in rows).encode()
        try:
            with self._lock:
                while text:
                    text = text[self._file.write(text) or 0 :]
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise InputError(f"{self.path}: cannot be written: {why}") from None

    def sync(self) -> None:
        """Wait until the disk has what was written."""
        try:
            if self._file is not None:
                os.fsync(self._file.fileno())
            else:
                with self._lock:
                    self._write_part()
                settle(self.path)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written: {error.strerror or error}") from None

    def rewind(self, step: int) -> None:
        """Remove the rows of a step and of all that follow, and what a kill left half written."""
        if self._file is None:
            self._rewind_parts(step)
            return
        kept = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file):
                header = self._form == "csv" and number == 0
                if not line.endswith(b"\n") or not (header or self._step_of(line) < step):
                    break
                kept += len(line)
        os.truncate(self.path, kept)
        if self._form == "csv" and not kept:
            self._file.write(f"{','.join(self._columns)}\n".encode())

    def summary(self, row: Row) -> None:
        """Replace the summary: one row, ``summary.jsonl``, ``summary.csv`` or ``summary.parquet``."""
        path = self._directory / f"summary.{self._form}"
        names = tuple(row)
        if self._form == "parquet":
            import pandas as pd

            write_whole(path, pd.DataFrame([dict(row)]).to_parquet(index=False))
        elif self._form == "csv":
            write_whole(path, f"{','.join(names)}\n{_csv_line(list(row.values()), names)}".encode())
        else:
            write_whole(path, _json_line(list(row.values()), names).encode())

    def close(self) -> None:
        """Let go of the files."""
        if self._file is not None:
            with self._lock:
                self._file.close()
        else:
            self.sync()

    def _step_of(self, line: bytes) -> int:
        """Return the step of a whole line; past all steps if it is not one of ours."""
        try:
            if self._form == "jsonl":
                return int(json.loads(line)["step"])
            return int(line.decode().split(",")[self._columns.index("step")])
        except (ValueError, KeyError, IndexError, TypeError):
            return 2**63

    def _write_part(self) -> None:
        import pandas as pd

        rows, self._part = self._part, []
        if not rows:
            return
        frame = pd.DataFrame([[row[name] for name in self._columns] for row in rows], columns=self._columns)
        write_whole(self.path / f"part-{rows[0]['step']:012d}.parquet", frame.to_parquet(index=False))

    def _rewind_parts(self, step: int) -> None:
        import pandas as pd

        for part in sorted(self.path.iterdir()):
            if temporary(part) or int(part.stem.removeprefix("part-")) >= step:
                part.unlink()
                continue
            frame = pd.read_parquet(part)
            if (frame["step"] >= step).any():
                write_whole(part, frame[frame["step"] < step].to_parquet(index=False))


def _json_line(values: Sequence[Any], names: Sequence[str]) -> str:
    shown = (None if isinstance(v, float) and not math.isfinite(v) else v for v in values)
    return json.dumps(dict(zip(names, shown, strict=True)), separators=(",", ":")) + "\n"


def _csv_line(values: Sequence[Any], _: Sequence[str]) -> str:
    return ",".join("" if isinstance(v, float) and math.isnan(v) else str(v) for v in values) + "\n"
