"""One market or several: the tree of tables, what acts on markets together, what they must agree on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, Strict, ValidationError, model_validator

from mcmm.book import Book
from mcmm.tables import (
    STEPS,
    Fees,
    Flow,
    Limit,
    Market,
    Quoting,
    Recovery,
    Risk,
    Schedule,
    Share,
    Table,
    setting,
)

__all__ = [
    "MARKETS",
    "NAME_RULE",
    "Member",
    "Portfolio",
    "Shared",
    "Tables",
    "market_problems",
    "names_given",
    "portfolio_problems",
    "varied",
]

MARKETS = 1024
"""The most markets in one path; each takes some 60 kB for every block of paths at work, in a book 300 kB."""

NAME_RULE = "1 to 64 letters, digits, _ and -"


class Portfolio(Table):
    """What acts on several markets together; needs [[markets]]."""

    correlation: Share = setting(
        0.0,
        "",
        "rho: the share that one common factor has in the variance of every market's fair-value shocks.",
    )
    exposure_limit: Limit = setting(
        math.inf,
        "$",
        "Cap on the exposure, summed over markets, that fills may build: in one step each market may add an "
        "equal share of what is left of it; inf for none.",
    )
    drawdown_limit: Limit = setting(
        math.inf,
        "$",
        "Drawdown of the summed pnl that trips every market, each by its own risk.breaker_action; inf for "
        "none.",
    )


class Shared(Table):
    """The tables of a market: those that several share, and in which each may differ."""

    market: Market = Market()
    flow: Flow = Flow()
    fees: Fees = Fees()
    quoting: Quoting = Quoting()
    risk: Risk = Risk()
    recovery: Recovery = Recovery()
    schedule: Schedule = Schedule()
    book: Book = Book()


class Named(Table):
    """What has a name among several."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = Field(
        description="What settings (markets.NAME.quoting.base_spread) and columns (NAME.pnl_fair) call it.",
        json_schema_extra={"unit": "", "rule": NAME_RULE},
    )


class Member(Shared, Named):
    """One of several markets: its name, and the settings in which it differs from the shared ones."""

    @model_validator(mode="before")
    @classmethod
    def _given_alone(cls, data: Any) -> Any:
        """Leave out what is None: a setting that is not given is the shared one."""
        if not isinstance(data, dict):
            return data
        return {
            name: {key: value for key, value in table.items() if value is not None}
            if isinstance(table, dict)
            else table
            for name, table in data.items()
        }

    def overrides(self) -> dict[str, Any]:
        """Return the settings given here by dotted name."""
        return {
            f"{table}.{name}": getattr(getattr(self, table), name)
            for table in sorted(self.model_fields_set - {"name"})
            for name in sorted(getattr(self, table).model_fields_set)
        }

    def __eq__(self, other: object) -> bool:
        """Compare what is given: a setting given its default is not one left to the shared value."""
        if not isinstance(other, Member):
            return NotImplemented
        return self.name == other.name and self.overrides() == other.overrides()

    def __hash__(self) -> int:
        """Hash what is given."""
        return hash((self.name, *self.overrides().items()))


class Length(Table):
    """How long a path is, and where it trades."""

    steps: Annotated[int, Field(ge=1, le=STEPS)] = setting(1000, "steps", "Length of a path.")
    venue: Literal["quote", "book"] = setting(
        "quote",
        "",
        "Where the maker trades: quote (takers hit its quote at once) or book (an order book with price-time "
        "priority, and others in it).",
    )


class Tables(Shared, Length):  # a model's fields begin with those of its last base: steps come first
    """The markets, their takers, the maker's policy, limits and recovery, and the length of a path."""

    model_config = ConfigDict(title="Scenario")

    portfolio: Portfolio = Portfolio()
    markets: Annotated[tuple[Member, ...], Strict(False), Field(max_length=MARKETS)] = Field(
        default=(),
        description="Several markets in one path, each with a name and the settings in which it differs from "
        "the shared ones. Its place in the list is part of what its draws are keyed by.",
    )


Made = TypeVar("Made", bound=Tables)


def varied(tables: Made, changes: Mapping[str, Any]) -> Made | None:
    """Return a scenario with some shared settings changed, each valid for itself; not all that it was.

    What points of a study differ by is known to be good one value at a time, so that a point takes
    microseconds. What contradicts what is for the caller to ask of the result.

    Parameters
    ----------
    tables : Tables
        The scenario.
    changes : mapping of str to Any
        Values by dotted name.

    Returns
    -------
    Tables or None
        None where it takes more than that: a wrong value, a list, a market's own setting, or none at all.
    """
    update: dict[str, Any] = {}
    by_table: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        table, _, leaf = name.rpartition(".")
        found = _valid(table, leaf, value) if type(value) in _PLAIN else _NOTHING
        if found is _NOTHING:
            return None
        (by_table.setdefault(table, {}) if table else update)[leaf] = found
    for table, own in by_table.items():
        update[table] = getattr(tables, table).model_copy(update=own)
    return tables.model_copy(update=update)


# What a value may be that is found again by its type and itself; True and 1 are two.
_PLAIN = (bool, float, int, str)
_NOTHING = object()


@lru_cache(maxsize=4096, typed=True)
def _valid(table: str, leaf: str, value: Any) -> Any:
    """Return a setting's value as its table has it: 50 dollars are 50.0."""
    if table and table not in Shared.model_fields:
        return _NOTHING
    owner = type(Tables.model_fields[table].default) if table else Tables
    if leaf not in owner.model_fields or isinstance(owner.model_fields[leaf].default, Table | tuple):
        return _NOTHING
    try:
        return getattr(owner(**{leaf: value}), leaf)
    except ValidationError:
        return _NOTHING


def names_given(settings: Mapping[str, Any]) -> list[object]:
    """Return what was given for the names of the markets, whatever it is."""
    markets = settings.get("markets")
    if not isinstance(markets, list | tuple):
        return []
    return [market.get("name") if isinstance(market, Mapping) else None for market in markets]


def portfolio_problems(portfolio: Portfolio) -> Iterator[tuple[str, str]]:
    """Yield the setting to blame and the rule for what a portfolio of no markets cannot have."""
    for name, field in Portfolio.model_fields.items():
        if getattr(portfolio, name) != field.default:
            yield f"portfolio.{name}", f"must be {field.default} without [[markets]]"


def market_problems(s: Tables, found: Mapping[str, Iterable[tuple[str, str]]]) -> Iterator[str]:
    """Yield a line for each contradiction in a scenario of several markets.

    Parameters
    ----------
    s : Tables
        The scenario.
    found : mapping of str to iterable of (str, str)
        For each market by name: the setting to blame, and the line, of what contradicts each other in it.

    Yields
    ------
    str
        As in ``markets.fed.risk.close_steps: must be <= steps (100), got 200``; without the market's name
        where all markets have it from a shared setting.
    """
    names = [member.name for member in s.markets]
    for row, name in enumerate(names):
        if name in names[:row]:
            yield f'markets[{row}].name: must differ from those of the markets before it, got "{name}"'
    blamed: dict[tuple[str, str], list[str]] = {}
    for market, contradictions in found.items():
        for contradiction in contradictions:
            blamed.setdefault(contradiction, []).append(market)
    overrides = {member.name: member.overrides() for member in s.markets}
    for (setting_name, line), at in blamed.items():
        shared = len(at) == len(names) and not any(setting_name in own for own in overrides.values())
        yield from [line] if shared else [f"markets.{market}.{line}" for market in at]
    for market, own in overrides.items():
        unbounded = own.get("market.process", s.market.process) == "arithmetic"
        if unbounded and s.portfolio.exposure_limit != math.inf:
            rule = (
                f"must be inf with market.process arithmetic, as of {market}, whose prices are not in (0, 1)"
            )
            yield f"portfolio.exposure_limit: {rule}, got {s.portfolio.exposure_limit}"
            return
