"""Run directories and their state, read from what is on disk without reading the results."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcmm.directory import MANIFEST, read_manifest
from mcmm.errors import InputError, MCMMError
from mcmm.files import lock_owner

__all__ = ["RunState", "list_runs"]

_FILE = re.compile(r"(\d+)-(\d+)-[0-9a-f]{16}\.parquet")


@dataclass(frozen=True)
class RunState:
    """One run directory.

    Attributes
    ----------
    path : Path
        Where it is.
    state : str
        ``"finished"``, ``"running"``, ``"unfinished"`` or ``"unreadable"``.
    done : float
        The share of its chunks that is there, of the first round where a precision decides how many follow.
    name : str
        The study's.
    points : int
        The study's.
    paths : int or None
        Paths at each point; None where a precision decides.
    started : str
        When its first sweep began, in ISO 8601.
    seconds : float
        How long its sweeps have run together, without those that were killed.
    bytes : int
        Its size on disk.
    note : str
        Which process runs it, or why it cannot be read.
    """

    path: Path
    state: str
    done: float = 0.0
    name: str = ""
    points: int = 0
    paths: int | None = None
    started: str = ""
    seconds: float = 0.0
    bytes: int = 0
    note: str = ""


def list_runs(folder: str | Path) -> list[RunState]:
    """List the run directories in a folder, or the one that it is.

    Parameters
    ----------
    folder : str or Path
        The folder.

    Returns
    -------
    list of RunState
        By name.

    Raises
    ------
    InputError
        If there is no such folder or it cannot be read.
    """
    folder = Path(folder)
    try:
        places = [folder] if (folder / MANIFEST).exists() else sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror or error}") from None
    return [_state(place) for place in places if (place / MANIFEST).exists()]


def _state(path: Path) -> RunState:
    size = sum(entry.stat().st_size for entry in _files(path))
    try:
        manifest = read_manifest(path)
    except MCMMError as error:
        reason = str(error).removeprefix(f"{path}: ").removeprefix(f"{path / MANIFEST}: ")
        return RunState(path, "unreadable", bytes=size, note=reason)
    study: dict[str, Any] = manifest["study"]
    owner = lock_owner(path / "lock")
    sessions = manifest.get("sessions", [])
    finished = "provenance" in manifest
    state = "finished" if finished else "unfinished"
    chunks = manifest.get("chunks", 0)
    return RunState(
        path,
        "running" if owner else state,
        1.0 if finished and not owner else _chunks(path) / chunks if chunks else 0.0,
        str(study.get("name", "")),
        int(manifest.get("points", 0)),
        study.get("paths"),
        str(manifest.get("begun") or (sessions[0]["started"] if sessions else "")),
        sum(each["wall_seconds"] for each in sessions),
        size,
        f"process {owner}" if owner else "",
    )


def _chunks(path: Path) -> int:
    """Count the chunks of the first round that are there."""
    found: set[int] = set()
    for entry in (path / "chunks").glob("*.parquet"):
        name = _FILE.fullmatch(entry.name)
        if name:
            found.update(range(int(name[1]), int(name[2]) + 1))
    return len(found)


def _files(path: Path) -> list[Path]:
    return [Path(root) / name for root, _, names in os.walk(path) for name in names]
