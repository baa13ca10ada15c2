"""Frames of what is recorded by step, in a row a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

    from mcmm.moments import FloatArray

__all__ = ["as_whole", "checkpoint_steps", "steps_frame"]

_WHOLE = frozenset({"bid_size", "ask_size", "side", "fill", "bought", "sold", "inventory"})
_FLAGS = frozenset({"quoting", "halted"})


def as_whole(row: FloatArray) -> Any:
    """Return the row as int64, or as it is where NaN or infinity have no place there."""
    return row.astype(np.int64) if np.isfinite(row).all() else row


def checkpoint_steps(steps: int, checkpoints: int) -> npt.NDArray[np.int64]:
    """Return the steps that equally spaced checkpoints follow: ceil(k * steps / checkpoints) - 1.

    Parameters
    ----------
    steps : int
        Of a path.
    checkpoints : int
        How many, at most ``steps``.

    Returns
    -------
    ndarray of int64, shape (checkpoints,)
        The last is ``steps - 1``.
    """
    return -(-np.arange(1, checkpoints + 1) * steps // max(checkpoints, 1)) - 1


def steps_frame(
    values: Mapping[str, FloatArray],
    first_path: int,
    markets: Sequence[str],
    steps: npt.NDArray[np.int64] | None = None,
) -> pd.DataFrame:
    """Make a frame with a row for each step of each path, market by market.

    Parameters
    ----------
    values : mapping of str to ndarray of shape (paths, steps)
        By column; with several markets of shape (paths, markets, steps).
    first_path : int
        Number of the first.
    markets : sequence of str
        Their names; empty for one market.
    steps : ndarray of int64, shape (steps,), optional
        The steps' numbers, if they are not 0, 1, ..

    Returns
    -------
    DataFrame
        ``path``, with several markets ``market``, ``step``, then the columns; whole numbers as int64, flags
        as bool.
    """
    import pandas as pd

    paths, *_, length = next(iter(values.values())).shape
    count = max(len(markets), 1)
    columns: dict[str, Any] = {"path": np.repeat(np.arange(first_path, first_path + paths), count * length)}
    if markets:
        codes = np.tile(np.repeat(np.arange(count), length), paths)
        columns["market"] = pd.Categorical.from_codes(codes, pd.Index(markets))
    columns["step"] = np.tile(np.arange(length) if steps is None else steps, paths * count)
    for name, rows in values.items():
        if name in _FLAGS:
            columns[name] = rows.ravel() != 0.0
        else:
            columns[name] = as_whole(rows.ravel()) if name in _WHOLE else rows.ravel()
    return pd.DataFrame(columns)
