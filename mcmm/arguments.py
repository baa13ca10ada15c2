"""What the command's options mean, checked before the work begins."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcmm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "JobsOption",
    "PolicyOption",
    "check_jobs",
    "check_output",
    "check_paths",
    "parse_settings",
    "read_orders",
    "write_frame",
]


JobsOption = Annotated[
    int, typer.Option("--jobs", "-j", metavar="N", help="Workers; -1 is one a core. No result depends on it.")
]
PolicyOption = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="FILE.py:NAME",
        help="Who quotes, with quoting.policy custom; or module:name. It runs that code.",
    ),
]


def parse_settings(assignments: Sequence[str]) -> dict[str, Any]:
    """Read ``name=value`` settings: a TOML value, or a bare word for a text.

    Parameters
    ----------
    assignments : sequence of str
        Such as ``risk.inventory_limit=200``, ``risk.exposure_limit=inf`` or ``quoting.policy=symmetric``.

    Returns
    -------
    dict
        Dotted names and their values; the last one of a name counts.

    Raises
    ------
    InputError
        An assignment has no name or no value, or a value that is not TOML.
    """
    import tomllib

    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = (part.strip() for part in assignment.partition("="))
        if not name or not equals or not text:
            raise InputError(f"--set: must be NAME=VALUE, as risk.inventory_limit=200, got {assignment!r}")
        try:
            document = tomllib.loads(f"value = {text}")
        except (ValueError, RecursionError):
            document = {"value": text} if text.replace("_", "").isalpha() else {}
        # A line break would let a text hold more than its value.
        if set(document) != {"value"}:
            raise InputError(f"--set {name}: must be a TOML value or a bare word, got {text!r}")
        values[name] = document["value"]
    return values


def check_jobs(jobs: int) -> None:
    """Refuse a number of workers that means nothing."""
    if not (jobs == -1 or 1 <= jobs <= 1024):
        raise InputError(f"--jobs: must be >= 1 and <= 1024, or -1 for one a core, got {jobs}")


def check_paths(paths: int, *, saved: bool = False, numbers: int = 31) -> None:
    """Refuse no paths, and more than this machine holds rows for, with the copies that a saved file takes."""
    import os

    if paths < 1:
        raise InputError(f"--paths: must be >= 1, got {paths}")
    needed = paths * numbers * 8 * (6 if saved else 3)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise InputError(
            f"--paths: each path leaves a row of {numbers:,} numbers; {paths:,} rows, summarised"
            f"{' and saved' * saved}, take {needed / 1e9:,.0f} GB of memory, this machine has "
            f"{memory / 1e9:,.0f} GB (a sweep streams rows to disk)"
        )


def check_output(path: Path, suffixes: tuple[str, ...] = ()) -> None:
    """Make sure that a file can be written, before the work that is to fill it.

    Parameters
    ----------
    path : Path
        The file.
    suffixes : tuple of str
        The endings it may have; any if empty.

    Raises
    ------
    InputError
        It has another ending, is a directory, or cannot be written.
    """
    import tempfile

    if suffixes and path.suffix not in suffixes:
        raise InputError(f"{path}: must end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise InputError(f"{path}: cannot be written: it is a directory")
    try:
        if path.exists():
            with path.open("ab"):
                return
        # Only trying tells: permissions do not bind every user, and a file system may be read-only or full.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}."):
            return
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None


def read_orders(path: Path) -> pd.DataFrame:
    """Read the orders of a replay from CSV or Parquet.

    Parameters
    ----------
    path : Path
        The file; its ending tells which.

    Returns
    -------
    pandas.DataFrame
        As stored; `mcmm.simulate` checks the columns and values.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    import pandas as pd
    import pyarrow as pa

    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"{path}: must end in .csv or .parquet")
    try:
        # A row longer than the header would otherwise shift its values one column to the left.
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
            return pd.read_csv(path, index_col=False) if path.suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError, pd.errors.ParserWarning, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read: {reason}") from None


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as CSV or Parquet, as the file's ending says.

    Parameters
    ----------
    frame : pandas.DataFrame
        What to write; its index is left out.
    path : Path
        The file; one that is there is replaced.

    Raises
    ------
    InputError
        It cannot be written.
    """
    from mcmm.files import write_whole

    if path.suffix == ".csv":
        write_whole(path, frame.to_csv(index=False).encode())
    else:
        write_whole(path, frame.to_parquet(index=False))
