"""Given orders, for replay: a frame of them is checked, and becomes one order a step for the core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mcmm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mcmm.quotes import Order
    from mcmm.scenario import Scenario

__all__ = ["MAX_SIZE", "no_orders", "order_row", "order_tables", "replay_of", "without_outages"]

MAX_SIZE = 1_000_000
"""Contracts of an order, at most."""

_GRACE = 1e-9  # of a tick: a limit on the grid stays there


def replay_of(scenario: Scenario) -> Scenario:
    """Return the scenario with given orders in place of its takers, in every market.

    Raises
    ------
    ScenarioError
        If a setting contradicts that.
    """
    shared = {f"markets.{name}.flow.model": None for name in scenario.market_names}
    return scenario.replace({**shared, "flow.model": "replay"})


def without_outages(scenario: Scenario) -> Scenario:
    """Return the scenario without random outages: whoever brings its orders knows of the real ones."""
    name = "recovery.disconnect_rate"
    return scenario.replace({**{f"markets.{each}.{name}": None for each in scenario.market_names}, name: 0.0})


def no_orders(steps: int) -> NDArray[np.float64]:
    """Return a market's orders by step before there are any, shape (4, steps)."""
    table = np.zeros((4, steps))
    table[3] = np.nan
    return table


def order_row(order: Order, scenario: Scenario) -> tuple[float, float, float, float]:
    """Return an order's column of such a table: side, size, limit with its grace, fair value.

    Parameters
    ----------
    order : Order
        From outside.
    scenario : Scenario
        Of its market.

    Raises
    ------
    InputError
        If it is no order.
    """
    if isinstance(order.side, bool) or order.side not in (-1, 0, 1):
        raise InputError(f"order.side: must be 1 (buys) or -1 (sells), got {order.side!r}")
    size: object = order.size
    if order.side and not (isinstance(size, int | np.integer) and 1 <= size <= MAX_SIZE):
        raise InputError(f"order.size: must be a whole number >= 1 and <= {MAX_SIZE}, got {size!r}")
    limit = order.side * np.inf if order.side else 0.0
    if order.limit is not None:
        if not np.isfinite(order.limit):
            raise InputError(f"order.limit: must be a price in dollars, got {order.limit!r}")
        limit = order.limit + order.side * (_GRACE / scenario.ticks if scenario.ticks else 0.0)
    if order.fair is None:
        return order.side, order.size, limit, np.nan
    if not (0.0 <= order.fair <= 1.0 if scenario.bounded else np.isfinite(order.fair)):
        rule = "a probability" if scenario.bounded else "a price in dollars"
        raise InputError(f"order.fair: must be {rule}, got {order.fair!r}")
    return order.side, order.size, limit, order.fair


def order_tables(orders: pd.DataFrame, scenario: Scenario) -> dict[str, NDArray[np.float64]]:
    """Return side, size, limit and fair value of the order of each step, for each market.

    Parameters
    ----------
    orders : DataFrame
        Columns ``step``, ``side`` (+1 buys, -1 sells), ``size`` and, if wanted, ``limit`` and ``fair``, in
        dollars; NaN is none. With several markets also ``market``, the name of one.
    scenario : Scenario
        Says which markets and how many steps there are and which prices are possible.

    Returns
    -------
    dict of str to numpy.ndarray of float64, shape (4, steps)
        By market, ``""`` for the only one of a scenario without ``[[markets]]``. Side 0 where there is no
        order. Limits have their grace, 1e-9 of a tick, added. Of several orders in a step the first trades,
        of several fair values the last counts.

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
    names = scenario.market_names
    columns = ("step", "side", "size", "limit", "fair", *(("market",) if names else ()))
    unknown = [str(name) for name in orders.columns if name not in columns]
    if unknown:
        rule = "must be step, side and size, with limit and fair if wanted"
        rule += ", and market" if names else ""
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
    markets = scenario.by_market()
    probable = all(market.bounded for market in markets.values())
    fair = _column(
        orders,
        "fair",
        "a probability" if probable else "a price in dollars",
        lambda x: (x >= 0) & (x <= 1) if probable else np.isfinite(x),
        optional=True,
    )
    place = _places(orders, names)
    tables = {}
    for row, (name, market) in enumerate(markets.items()):
        here = place == row
        improbable = here & market.bounded & ~np.isnan(fair) & ~((fair >= 0) & (fair <= 1))
        if improbable.any():
            at = int(np.argmax(improbable))
            raise InputError(f"orders.fair: must be a probability, got {fair[at]:g} in row {at}")
        tables[name] = _table(market, step[here], side[here], size[here], limit[here], fair[here])
    return tables


def _places(orders: pd.DataFrame, names: Sequence[str]) -> NDArray[np.int64]:
    """Return the place among the markets of each order's."""
    if len(names) < 2 and "market" not in orders.columns:
        return np.zeros(len(orders), dtype=np.int64)
    if "market" not in orders.columns:
        raise InputError(f"orders: must have a column market, one of {', '.join(names)}")
    given = orders["market"].astype(object).tolist()
    known = {name: place for place, name in enumerate(names)}
    for row, name in enumerate(given):
        # A file's reader takes a name of digits for a number.
        if str(name) not in known:
            raise InputError(f"orders.market: must be one of {', '.join(names)}, got {name!r} in row {row}")
    return np.array([known[str(name)] for name in given], dtype=np.int64)


def _table(
    scenario: Scenario,
    step: NDArray[np.float64],
    side: NDArray[np.float64],
    size: NDArray[np.float64],
    limit: NDArray[np.float64],
    fair: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return one market's orders by step, shape (4, steps)."""
    grace = _GRACE / scenario.ticks if scenario.ticks else 0.0
    table = no_orders(scenario.steps)
    given = np.where(np.isnan(limit), side * np.inf, limit + side * grace)
    at = step.astype(np.int64)
    first = np.unique(at, return_index=True)[1]
    table[:3, at[first]] = side[first], size[first], given[first]
    priced = ~np.isnan(fair)
    where, place = np.unique(at[priced][::-1], return_index=True)
    table[3, where] = fair[priced][::-1][place]
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
