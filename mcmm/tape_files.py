"""Rows of a recorded file as text, and columns of them checked; errors name file, row, column and rule."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from mcmm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["Rows", "read_rows"]

_SHOWN = 12
_JSON_LINES = (".jsonl", ".ndjson")
# A number for a time is in seconds, milli-, micro- or nanoseconds since 1970, by its size: 1e11 s is in 5138.
_UNITS = ((1e11, 1), (1e14, 10**3), (1e17, 10**6), (np.inf, 10**9))


class Rows:
    """The rows of one file, every value a text as it stands there.

    Parameters
    ----------
    path : Path
        The file, for messages.
    frame : DataFrame of str
        A row per row of the file. Rows are counted from 1, without the header.
    """

    def __init__(self, path: Path, frame: pd.DataFrame) -> None:
        self.path = path
        self.frame = frame

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.frame)

    def require(self, columns: Sequence[str], optional: Sequence[str] = ()) -> None:
        """Raise an InputError unless the file has these columns."""
        missing = [name for name in columns if name not in self.frame.columns]
        if missing:
            also = f" (and may have {', '.join(optional)})" if optional else ""
            raise InputError(
                f"{self.path}: must have the columns {', '.join(columns)}{also}, got {self.columns}; "
                f"missing: {', '.join(missing)}"
            )

    @property
    def columns(self) -> str:
        """The columns' names, for a message: the first dozen."""
        names = list(map(str, self.frame.columns))
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return (", ".join(names[:_SHOWN]) or "none") + more

    def has(self, column: str) -> bool:
        """Whether the file has the column."""
        return column in self.frame.columns

    def refuse(self, row: int, column: str, rule: str) -> NoReturn:
        """Raise the InputError of one value, ``row`` counted from 0."""
        value = self.frame[column].iloc[row]
        raise InputError(f"{self.path}: row {row + 1}, column {column}: must be {rule}, got {value!r}")

    def check(self, column: str, rule: str, holds: NDArray[np.bool_]) -> None:
        """Raise an InputError that names the first row in which the rule does not hold."""
        if not holds.all():
            self.refuse(int(np.argmin(holds)), column, rule)

    def numbers(
        self,
        column: str,
        rule: str,
        holds: Callable[[NDArray[np.float64]], NDArray[np.bool_]],
        *,
        empty: bool = False,
    ) -> NDArray[np.float64]:
        """Return a column of numbers, NaN for an empty value where ``empty`` allows it."""
        import pandas as pd

        text = self.frame[column].str.strip()
        values = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64)
        sound = np.isfinite(values)
        sound[sound] = holds(values[sound])
        if empty:
            sound |= (text == "").to_numpy()
        self.check(column, rule, sound)
        return values

    def words(self, column: str, meaning: Mapping[str, int]) -> NDArray[np.int64]:
        """Return what the words of a column mean; capitals do not matter."""
        values = self.frame[column].str.strip().str.lower().map(meaning)
        shown = list(meaning)
        rule = shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"
        self.check(column, rule, values.notna().to_numpy())
        return np.asarray(values, dtype=np.int64)

    def names(self, column: str) -> pd.Series[str]:
        """Return a column of texts that are not empty."""
        values = self.frame[column].str.strip()
        self.check(column, "a name that is not empty", (values != "").to_numpy())
        return values

    def times(self, column: str) -> pd.Series[Any]:
        """Return a column of times in UTC: ISO 8601 (UTC if no offset is given) or numbers since 1970."""
        import pandas as pd

        text = self.frame[column].str.strip()
        numbers = pd.to_numeric(text, errors="coerce")
        if len(text) and numbers.notna().all():
            largest = float(numbers.abs().max())
            per_second = next(unit for most, unit in _UNITS if largest < most)
            whole = numbers.to_numpy() if numbers.dtype == np.int64 else None
            if whole is not None and largest * (10**9 // per_second) < 2**63:
                nanoseconds = whole * (10**9 // per_second)
            else:
                sound = np.abs(numbers.to_numpy() / per_second * 1e9) < 2.0**63
                self.check(column, "a time between the years 1678 and 2262", sound)
                nanoseconds = np.rint(numbers.to_numpy() / per_second * 1e9).astype(np.int64)
            return pd.Series(pd.to_datetime(nanoseconds, utc=True), index=self.frame.index)
        found = pd.to_datetime(text, errors="coerce", utc=True, format="ISO8601")
        rule = "a time: ISO 8601, or a number of seconds, milli-, micro- or nanoseconds since 1970"
        self.check(column, rule, found.notna().to_numpy())
        return found.astype("datetime64[ns, UTC]")


def read_rows(path: Path, columns: Mapping[str, str] | None = None) -> Rows:
    """Read a CSV or JSON file of records as text.

    Parameters
    ----------
    path : Path
        ``.json`` holds a list of records, or an object of which one value is such a list (``{"trades":
        [..]}``, as a venue's interface answers); ``.jsonl`` or ``.ndjson`` a record a line; any other is CSV
        with a header.
    columns : mapping of str to str, optional
        New name of a column to the file's own, as ``{"time": "timestamp_ms"}``.

    Returns
    -------
    Rows
        At least one.

    Raises
    ------
    InputError
        The file cannot be read, holds no records, or has not a column that is to be renamed.
    """
    import pandas as pd

    try:
        if path.suffix.lower() == ".json":
            frame = _records(path, json.loads(path.read_text("utf-8-sig"), parse_float=str, parse_int=str))
        elif path.suffix.lower() in _JSON_LINES:
            frame = _records(path, _lines(path))
        else:
            # A row longer than the header would otherwise shift its values one column to the left.
            with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
                frame = pd.read_csv(
                    path, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig"
                )
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read: {reason}") from None
    frame.columns = [str(name).strip() for name in frame.columns]
    if frame.empty:
        raise InputError(f"{path}: must hold at least one row, got none")
    if frame.isna().to_numpy().any():
        # pandas fills a row that is shorter than the header.
        frame = frame.fillna("")
    for name, own in (columns or {}).items():
        if own not in frame.columns:
            raise InputError(
                f"{path}: must have the column {own} (for {name}), got {Rows(path, frame).columns}"
            )
    if columns:
        frame = frame.assign(**{name: frame[own] for name, own in columns.items()})
    return Rows(path, frame)


def _lines(path: Path) -> list[Any]:
    """Parse a record a line."""
    found = []
    for number, line in enumerate(path.read_text("utf-8-sig").splitlines(), start=1):
        if line.strip():
            try:
                found.append(json.loads(line, parse_float=str, parse_int=str))
            except ValueError as error:
                raise InputError(f"{path}: line {number}: must be JSON: {error}") from None
    return found


def _records(path: Path, document: Any) -> pd.DataFrame:
    """Make a frame of text of parsed records."""
    import pandas as pd

    if isinstance(document, dict):
        lists = [value for value in document.values() if isinstance(value, list)]
        if len(lists) != 1:
            raise InputError(f"{path}: must be a list of records, or an object with one such list")
        document = lists[0]
    if not isinstance(document, list):
        raise InputError(f"{path}: must be a list of records, got {type(document).__name__}")
    for number, record in enumerate(document, start=1):
        if not isinstance(record, dict):
            raise InputError(f"{path}: row {number}: must be a record, got {type(record).__name__}")
        for name, value in record.items():
            if isinstance(value, dict | list):
                raise InputError(f"{path}: row {number}, column {name}: must be a single value")
    frame = pd.DataFrame(document, dtype=object)
    return frame.where(frame.notna(), "").map(str)
