"""Given orders, for replay: a frame of them is checked, and becomes one order a step for the core."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mcmm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mcmm.scenario import Scenario

__all__ = ["order_table"]

MAX_SIZE = 1_000_000


def order_table(orders: pd.DataFrame, scenario: Scenario) -> NDArray[np.float64]:
    """Return side, size, limit and fair value of the order of each step.

    Parameters
    ----------
    orders : DataFrame
        Columns ``step``, ``side`` (+1 buys, -1 sells), ``size`` and, if wanted, ``limit`` and ``fair``, in
        dollars; NaN is none.
    scenario : Scenario
        Says how many steps there are and which prices are possible.

    Returns
    -------
    numpy.ndarray of float64, shape (4, steps)
        Side 0 where there is no order. Limits have their grace, 1e-9 of a tick, added. Of several orders in a
        step the first trades, of several fair values the last counts.

    Raises
    ------
    InputError
        If a column is missing or unknown, or a value breaks its rule; the row is named.
    """
    import pandas as pd

    if not isinstance(orders, pd.DataFrame):
        raise InputError(f"orders: must be a DataFrame, got {type(orders).__name__}")
    if not orders.columns.is_unique:
        raise InputError(f"orders: must have each column once, got {', '.join(map(str, orders.columns))}")
    unknown = [str(name) for name in orders.columns if name not in ("step", "side", "size", "limit", "fair")]
    if unknown:
        rule = "must be step, side and size, with limit and fair if wanted"
        raise InputError(f"orders: columns {rule}, got {', '.join(unknown)}")
    steps = scenario.steps
    step = _column(
        orders,
        "step",
        f"a whole number >= 0 and < steps ({steps})",
        lambda x: (x >= 0) & (x < steps) & (x % 1 == 0),
    )
    side = _column(orders, "side", "1 (buys) or -1 (sells)", lambda x: abs(x) == 1)
    size = _column(
        orders,
        "size",
        f"a whole number >= 1 and <= {MAX_SIZE}",
        lambda x: (x >= 1) & (x <= MAX_SIZE) & (x % 1 == 0),
    )
    limit = _column(orders, "limit", "a price in dollars", np.isfinite, optional=True)
    probable = scenario.bounded
    fair = _column(
        orders,
        "fair",
        "a probability" if probable else "a price in dollars",
        lambda x: (x >= 0) & (x <= 1) if probable else np.isfinite(x),
        optional=True,
    )
    grace = 1e-9 / scenario.ticks if scenario.ticks else 0.0
    table = np.zeros((4, steps))
    table[3] = np.nan
    given = np.where(np.isnan(limit), side * np.inf, limit + side * grace)
    at = step.astype(np.int64)
    first = np.unique(at, return_index=True)[1]
    table[:3, at[first]] = side[first], size[first], given[first]
    priced = ~np.isnan(fair)
    last = dict(zip(at[priced].tolist(), fair[priced].tolist(), strict=True))
    table[3, list(last)] = list(last.values())
    return table


def _column(
    orders: pd.DataFrame, name: str, rule: str, holds: object, *, optional: bool = False
) -> NDArray[np.float64]:
    if name not in orders.columns:
        if optional:
            return np.full(len(orders), np.nan)
        raise InputError(
            f"orders: must have a column {name}, got {', '.join(map(str, orders.columns)) or 'none'}"
        )
    try:
        values = orders[name].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        raise InputError(f"orders.{name}: must be {rule}, got a column of {orders[name].dtype}") from None
    assert callable(holds)
    wrong = ~(np.asarray(holds(values)) | (np.isnan(values) if optional else False))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(f"orders.{name}: must be {rule}, got {values[row]:g} in row {row}")
    return values
