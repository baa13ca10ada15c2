"""What a path reports: the metrics' names, units and meaning, in the order of the core's output rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["BOOK_NAMES", "HALT_REASONS", "METRICS", "NAMES", "PLACES", "Metric", "columns", "metric_of"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One number a path reports.

    Attributes
    ----------
    name : str
        The column's name.
    unit : str
        ``"$"``, ``"contracts"``, ``"steps"``, ``"$ per contract"``, ``"chance"``, ``"count"`` or ``"code"``.
    description : str
        One sentence, as a reader of a report needs it.
    whole : bool
        True where the value is a whole number on every path.
    """

    name: str
    unit: str
    description: str
    whole: bool = False


HALT_REASONS: tuple[str, ...] = ("none", "drawdown", "loss", "volume", "portfolio_drawdown")

_TABLE = (
    Metric("fills", "count", "Fills of the maker's quotes.", whole=True),
    Metric("volume", "contracts", "Contracts traded, unwinding included.", whole=True),
    Metric("notional", "$", "Contracts times their price, summed over fills and unwinding."),
    Metric("fees", "$", "Maker fees paid, less rebates."),
    Metric("pnl", "$", "Cash and inventory at the maker's mid after the last step, after fees."),
    Metric("pnl_fair", "$", "Cash and inventory at the fair value after the last step, after fees."),
    Metric("pnl_settled", "$", "Cash and inventory once the contract has paid its outcome, after fees."),
    Metric(
        "spread_pnl",
        "$",
        "Earned at the fills: contracts times the distance of the price from the fair value.",
    ),
    Metric(
        "inventory_pnl",
        "$",
        "Earned by holding: inventory times the change in fair value, summed over steps.",
    ),
    Metric(
        "max_drawdown",
        "$",
        "Largest fall of pnl, at risk.mark, from its running peak (the peak starts at 0).",
    ),
    Metric(
        "max_drawdown_fair",
        "$",
        "Largest fall of pnl at the fair value from its running peak (the peak starts at 0).",
    ),
    Metric("average_spread", "$ per contract", "Mean of ask less bid over the quoted steps."),
    Metric("final_inventory", "contracts", "Signed inventory after the last step.", whole=True),
    Metric("max_inventory", "contracts", "Largest absolute inventory.", whole=True),
    Metric("max_exposure", "$", "Largest loss that the worse outcome could bring at a mark."),
    Metric("quoted_fraction", "chance", "Share of steps in which the maker could quote."),
    Metric("trips", "count", "Times a breaker tripped.", whole=True),
    Metric("halt_step", "steps", "The step whose check tripped a breaker first; -1: never.", whole=True),
    Metric("halt_reason", "code", "The breaker that tripped first.", whole=True),
    Metric(
        "breaker_overshoot", "$", "Drawdown at the first trip less the limit: what the breaker did not save."
    ),
    Metric(
        "delay_cost",
        "$",
        "Lost by the inventory kept after the first trip, at risk.mark: until the pause ends, or the path if "
        "the breaker halts.",
    ),
    Metric("unwinding_cost", "$", "Lost by closing the inventory after the first trip, against risk.mark."),
    Metric(
        "realised_overshoot",
        "$",
        "Drawdown once the first trip's action is over, less the limit: breaker_overshoot + delay_cost + "
        "unwinding_cost.",
    ),
    Metric("outages", "count", "Connections lost.", whole=True),
    Metric(
        "inventory_limit_steps",
        "steps",
        "Quoted steps in which the inventory limit left a side no size.",
        whole=True,
    ),
    Metric(
        "exposure_limit_steps",
        "steps",
        "Quoted steps in which the exposure limit left a side no size.",
        whole=True,
    ),
    Metric("informed_volume", "contracts", "Contracts filled against informed takers.", whole=True),
    Metric("informed_pnl", "$", "The part of spread_pnl earned from informed takers."),
    Metric("final_mid", "$ per contract", "The maker's mid after the last step."),
    Metric(
        "final_probability",
        "chance",
        "The fair value after the last step (a price for the arithmetic process).",
    ),
    Metric("outcome", "chance", "What the contract paid: 0 or 1."),
)

NAMES: tuple[str, ...] = tuple(metric.name for metric in _TABLE)

PLACES: dict[str, str] = {
    "front": "with nobody ahead of it",
    "near": "behind at most quote_size contracts",
    "middle": "behind at most four times quote_size",
    "back": "further back",
}
"""The classes of an order's place in the queue, as the step begins; what each means."""

_BOOK_TABLE = (
    Metric("book_events", "count", "Events of the others' flow in the book.", whole=True),
    Metric(
        "refusals", "count", "Orders of the maker's refused because they would trade at once.", whole=True
    ),
    *(
        Metric(
            f"queue_steps_{place}",
            "steps",
            f"Steps that an order of the maker's begins {where}, all but a path's last 9.",
            whole=True,
        )
        for place, where in PLACES.items()
    ),
    *(
        Metric(
            f"queue_fills_{place}",
            "contracts",
            f"Filled in steps that the order began {where}, all but a path's last 9.",
            whole=True,
        )
        for place, where in PLACES.items()
    ),
    *(
        Metric(
            f"queue_value_{place}", "$", f"Mark-out after 10 steps of what was filled of an order {where}."
        )
        for place, where in PLACES.items()
    ),
    *(
        Metric(
            f"markout_{steps}",
            "$",
            f"Contracts filled times what the fair value {steps} steps later is on the maker's side of their "
            "price.",
        )
        for steps in (1, 10, 100)
    ),
    *(
        Metric(
            f"markout_volume_{steps}",
            "contracts",
            f"Contracts filled {steps} steps or more before the end.",
            whole=True,
        )
        for steps in (1, 10, 100)
    ),
)
BOOK_NAMES: tuple[str, ...] = tuple(metric.name for metric in _BOOK_TABLE)
"""What a path of venue book reports besides."""

METRICS: dict[str, Metric] = {metric.name: metric for metric in (*_TABLE, *_BOOK_TABLE)}


def columns(markets: Sequence[str], *, book: bool = False) -> tuple[str, ...]:
    """Return the names of what a path reports, in the order of the core's rows.

    Parameters
    ----------
    markets : sequence of str
        The names of several markets, in their order; empty for one market.
    book : bool
        Whether it is of venue book.

    Returns
    -------
    tuple of str
        `NAMES`, for a book also `BOOK_NAMES`; with several markets these are the portfolio's, and each
        market's follow as in ``fed.pnl``.
    """
    names = (*NAMES, *BOOK_NAMES) if book else NAMES
    return (*names, *(f"{market}.{name}" for market in markets for name in names))


def metric_of(column: str) -> Metric:
    """Return the metric that a column holds, of whichever market."""
    return METRICS[column.rpartition(".")[2]]
