"""A bot's state on disk: snapshots that are whole or are not there, and a journal of what came since.

A snapshot is written aside, synced and renamed. The journal is appended to and synced before anything in it
is acknowledged. Together they hold every acknowledged fill, once: docs/snapshots.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mcmm.errors import InputError, StoreError
from mcmm.files import from_json, settle, temporary, to_json, write_whole

__all__ = ["FORMAT", "VERSION", "Journal", "Snapshot", "Snapshots"]

FORMAT = "mcmm bot snapshot"
VERSION = 1
"""Of a snapshot; raised when one of before could no longer be read as it was meant."""

_NAME = re.compile(r"snapshot-(\d{12})\.json")
_CHECK = ',"crc":"'


class Snapshot(NamedTuple):
    """A sound snapshot.

    Attributes
    ----------
    step : int
        Steps that were over.
    lines : int
        Of the journal, that are in it.
    state : dict
        What `mcmm.bot.Bot.load` takes.
    """

    step: int
    lines: int
    state: dict[str, Any]


class Snapshots:
    """The snapshots of a run.

    Parameters
    ----------
    directory : Path
        Where they lie.
    run : mapping
        What tells the run from another: scenario, seed, path, feed, policy.
    keep : int
        How many of the last to keep.
    """

    def __init__(self, directory: Path, run: Mapping[str, Any], keep: int = 3) -> None:
        self._directory, self._run, self._keep = directory, dict(run), keep

    def write(self, step: int, lines: int, state: Mapping[str, Any], made: Mapping[str, Any]) -> Path:
        """Write one, and remove what is older than the last ones to be kept.

        Parameters
        ----------
        step : int
            Steps that are over.
        lines : int
            Of the journal, that are in it; they have been synced.
        state : mapping
            What `mcmm.bot.Bot.state` returned.
        made : mapping
            What made it, for the reader: versions.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        InputError
            If it cannot be written. Those that are there stay.
        """
        body = {"run": self._run, "made": made, "step": step, "journal_lines": lines, "state": state}
        document = {"format": FORMAT, "version": VERSION, "checksum": checksum(body), "body": body}
        path = self._directory / f"snapshot-{step:012d}.json"
        write_whole(path, to_json(document))
        settle(self._directory)
        for old in self._files()[self._keep :]:
            old.unlink(missing_ok=True)
        return path

    def newest(self) -> tuple[Snapshot | None, list[str]]:
        """Return the newest sound snapshot, and of each newer one its name and why it was skipped.

        Raises
        ------
        StoreError
            If it belongs to another run.
        """
        skipped = []
        for path in self._files():
            try:
                found = self._read(path)
            except ValueError as error:
                skipped.append(f"{path}: skipped: {error}")
                continue
            return found, skipped
        return None, skipped

    def clear(self) -> None:
        """Remove what a killed write left behind."""
        for path in self._directory.iterdir():
            if temporary(path) and _NAME.search(path.name):
                path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        """Return them, the newest first."""
        return sorted((p for p in self._directory.iterdir() if _NAME.fullmatch(p.name)), reverse=True)

    def _read(self, path: Path) -> Snapshot:
        """Return a snapshot; ValueError with the reason if it is not sound."""
        try:
            document = json.loads(path.read_bytes())
        except OSError as error:
            raise ValueError(f"it cannot be read: {error.strerror or error}") from None
        except ValueError:
            raise ValueError("it is not JSON; it may have been cut off") from None
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError(f'it is not of format "{FORMAT}"')
        if document.get("version") != VERSION:
            raise ValueError(f"it is of version {document.get('version')!r}, this mcmm reads {VERSION}")
        body = from_json(document.get("body"))
        if not isinstance(body, dict) or document.get("checksum") != checksum(body):
            raise ValueError("its checksum is not that of what it holds")
        if body["run"] != self._run:
            names = sorted({*body["run"], *self._run})
            differs = [name for name in names if body["run"].get(name) != self._run.get(name)]
            raise StoreError(f"{path}: belongs to another run; these differ: {', '.join(differs)}")
        return Snapshot(body["step"], body["journal_lines"], body["state"])


def checksum(body: Mapping[str, Any]) -> str:
    """Return what a snapshot has for a checksum: SHA-256 of its body, as `mcmm.files.to_json` writes it."""
    return f"sha256:{hashlib.sha256(to_json(body)).hexdigest()}"


class Journal:
    """What a run did, a JSON object a line, synced before any of it is acknowledged.

    A line ends in a checksum of what is before it, and counts itself. Of a line that a kill or a loss of
    power cut off nothing was acknowledged: it is removed when the journal is opened again. Whole lines at the
    end that are damaged are put aside in ``<name>.damaged``, and said.

    Parameters
    ----------
    path : Path
        The file; made if it is not there.

    Attributes
    ----------
    records : list of dict
        What was in it when it was opened; None in place of a damaged line.
    lines : int
        How many there are now.
    damaged : str
        What was put aside, and why; empty if nothing was.

    Raises
    ------
    InputError
        If it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = (
            threading.Lock()
        )  # whoever gives up on a slow disk must not close what a thread writes to
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            text = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be opened: {error.strerror or error}") from None
        *whole, torn = text.split(b"\n")
        self.records: list[dict[str, Any] | None] = [_parsed(line, n) for n, line in enumerate(whole)]
        kept, count = len(text) - len(torn), len(whole)
        while self.records and self.records[-1] is None:
            self.records.pop()
            kept -= len(whole.pop()) + 1
        self.damaged = ""
        if len(whole) < count:
            aside = path.with_name(f"{path.name}.damaged")
            write_whole(aside, text[kept:])
            last = (
                f"the last {count - len(whole)} lines are" if count - len(whole) > 1 else "the last line is"
            )
            self.damaged = f"{path}: {last} damaged; put aside in {aside}"
        if kept < len(text):
            os.truncate(self._handle, kept)
            os.fsync(self._handle)
        self.lines = len(self.records)

    def since(self, lines: int) -> list[dict[str, Any]]:
        """Return the records that follow the first ones.

        Raises
        ------
        StoreError
            If one of them is damaged, or some of the first are missing.
        """
        if lines > len(self.records):
            raise StoreError(
                f"{self._path}: has {len(self.records)} sound lines, and the snapshot counts {lines} of them"
            )
        found = []
        for number, record in enumerate(self.records[lines:], start=lines + 1):
            if record is None:
                raise StoreError(f"{self._path}: line {number} is damaged, and is needed to resume")
            found.append(record)
        return found

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Write records and wait until the disk has them; they may be acknowledged then.

        Raises
        ------
        InputError
            If they cannot be written.
        """
        text = "".join(_line(record, self.lines + place) for place, record in enumerate(records)).encode()
        with self._lock:
            try:
                while text:
                    text = text[os.write(self._handle, text) :]
                os.fsync(self._handle)
            except OSError as error:
                raise InputError(f"{self._path}: cannot be written: {error.strerror or error}") from None
            self.lines += len(records)

    def close(self) -> None:
        """Let go of the file, once what is being written is."""
        with self._lock:
            handle, self._handle = self._handle, -1
            if handle >= 0:
                os.close(handle)


def _line(record: Mapping[str, Any], number: int) -> str:
    body = json.dumps({"line": number + 1, **record}, separators=(",", ":"), allow_nan=False)[:-1]
    return f'{body}{_CHECK}{zlib.crc32(body.encode()):08x}"}}\n'


def _parsed(line: bytes, number: int) -> dict[str, Any] | None:
    """Return a line's record, or None if it is damaged."""
    body, found, check = line.rpartition(_CHECK.encode())
    if not found or check != f'{zlib.crc32(body):08x}"}}'.encode():
        return None
    try:
        record = json.loads(body + b"}")
    except ValueError:
        return None
    if not isinstance(record, dict) or record.pop("line", None) != number + 1:
        return None
    return record
