"""Scenario: everything that decides what a path is, but for the seed.

One tree of frozen tables, read from and written to TOML, the same dotted names (``risk.inventory_limit``) in
files, sweeps and reports. A Scenario that exists is valid: what is wrong is said when it is made, all of it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError, model_validator
from pydantic_core import PydanticCustomError

from mcmm import schedule, venue
from mcmm.errors import InputError, ScenarioError
from mcmm.markets import Tables, market_problems, names_given, portfolio_problems, varied
from mcmm.metrics import columns
from mcmm.settings import (
    MARKET_NAMES,
    NAMES,
    Setting,
    catalogue,
    contradicted,
    json_schema,
    place_of,
    problems,
    shown,
    unknown,
)

__all__ = ["Scenario", "Setting"]

CONTINUOUS = ("glosten_milgrom", "lmsr")
"""The policies whose prices on bounded processes have no grid."""
NEAREST = 1e-8
"""Without a grid, what a first mid keeps from 0 and 1: log-odds of 18.4; a posterior is held to 20."""


class Scenario(Tables):
    """The market or markets, their takers, the maker's policy, limits and recovery, and a path's length.

    Parameters
    ----------
    **settings : Any
        ``steps``, ``venue`` and the tables ``market``, ``flow``, ``fees``, ``quoting``, ``risk``,
        ``recovery``, ``schedule`` and ``book``, each a dict; what is left out has its default. For several
        markets also ``markets``, a list of dicts with a ``name`` and any of those tables, in which a market
        differs from the shared ones, and ``portfolio``.

    Raises
    ------
    ScenarioError
        Of an unknown setting, a wrong type, a value out of range, or settings that contradict each other: a
        line for each, such as ``risk.inventory_limit: must be a whole number >= 1 or inf, got -5``.

    Examples
    --------
    >>> scenario = Scenario(steps=200, quoting={"base_spread": 0.05})
    >>> scenario.replace({"risk.inventory_limit": 200}).risk.inventory_limit
    200
    """

    def __init__(self, /, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise ScenarioError("\n".join(problems(error, names_given(settings)))) from None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if lines := self.faults():
            raise PydanticCustomError("contradiction", "{text}", {"text": "\n".join(lines)})
        return self

    def faults(self) -> list[str]:
        """Return a line for each contradiction between settings: none, unless validation was passed by."""
        if self.markets:
            found = {
                market: contradicted(_contradictions(s), s.get) for market, s in self.by_market().items()
            }
            return list(market_problems(self, found))
        wrong = chain(_contradictions(self), portfolio_problems(self.portfolio))
        return [line for _, line in contradicted(wrong, self.get)]

    # ---- values that follow from the settings

    @property
    def bounded(self) -> bool:
        """Whether prices are probabilities, which is so for every process but arithmetic."""
        return self.market.process != "arithmetic"

    @property
    def ticks(self) -> int:
        """Ticks in a dollar; 0 for continuous prices."""
        return round(1 / self.market.tick_size) if self.market.tick_size else 0

    @property
    def initial_mid(self) -> float:
        """The maker's first mid, in dollars: as given, or initial_probability within the prices there are."""
        if self.market.initial_mid is not None:
            return self.market.initial_mid
        edge = 1 / self.ticks if self.ticks else NEAREST
        return min(max(self.market.initial_probability, edge), 1 - edge)

    @property
    def resolution_step(self) -> int:
        """The step at which process threshold is at 0 or 1: as given, or steps."""
        return self.steps if self.market.resolution_step is None else self.market.resolution_step

    # ---- several markets

    @property
    def market_names(self) -> tuple[str, ...]:
        """The names of several markets, in their order; none where there is one market, without a name."""
        return tuple(member.name for member in self.markets)

    @property
    def market_count(self) -> int:
        """Markets in a path."""
        return max(len(self.markets), 1)

    @property
    def columns(self) -> tuple[str, ...]:
        """What a path reports, by name: the metrics, and with several markets those of each market."""
        return columns(self.market_names, book=self.venue == "book")

    def by_market(self) -> dict[str, Scenario]:
        """Return each market as a scenario of its own: the shared settings with its own in their place.

        Returns
        -------
        dict of str to Scenario
            By name, in their order; this scenario itself by ``""`` where it has no ``[[markets]]``.
        """
        if not self.markets:
            return {"": self}
        shared = {name: value for name, value in self if name not in ("markets", "portfolio")}
        scenarios: dict[str, Scenario] = {}
        for member in self.markets:
            tables = dict(shared)
            for table in member.model_fields_set - {"name"}:
                own = getattr(member, table)
                changes = {name: getattr(own, name) for name in own.model_fields_set}
                tables[table] = tables[table].model_copy(update=changes)
            # Not validated again: types and ranges are, and what contradicts what is asked of the result.
            scenarios[member.name] = self.model_construct(**tables)
        return scenarios

    # ---- dicts and dotted names

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make a scenario of nested dicts, as `to_dict` returns them.

        Parameters
        ----------
        data : Mapping[str, Any]
            Settings by table; what is left out has its default.

        Returns
        -------
        Scenario
            The validated scenario.

        Raises
        ------
        ScenarioError
            As for `Scenario`.
        """
        if not isinstance(data, Mapping):
            raise ScenarioError(f"scenario: must be a table, got {shown(data)}")
        return cls(**{str(key): value for key, value in data.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return all settings that have a value as nested dicts of plain values and lists.

        Of one market among several only what it has for itself; without several no ``portfolio``; with
        venue quote no ``venue``, and no ``book`` that says nothing.
        """
        left_out = {"portfolio", "markets", *venue.unsaid(self)}
        data = self.model_dump(mode="json", exclude_none=True, exclude=left_out)
        if self.markets:
            data["portfolio"] = self.portfolio.model_dump(mode="json")
            dumped = (member.model_dump(mode="json", exclude_unset=True) for member in self.markets)
            data["markets"] = [{key: value for key, value in each.items() if value != {}} for each in dumped]
        return data

    def get(self, name: str) -> Any:
        """Return the value of a setting by its dotted name.

        Parameters
        ----------
        name : str
            As in ``"risk.inventory_limit"``, or ``"markets.fed.risk.inventory_limit"``.

        Returns
        -------
        Any
            The value; None where it is not given and derived from other settings. Of one market among several
            its own, or the shared one.

        Raises
        ------
        ScenarioError
            If there is no such setting.
        """
        self.setting(name)
        market, setting = place_of(name)
        for member in self.markets:
            if member.name == market and setting in (own := member.overrides()):
                return own[setting]
        table, _, leaf = setting.rpartition(".")
        return getattr(getattr(self, table) if table else self, leaf)

    def setting(self, name: str) -> Setting:
        """Return what is known of a setting of this scenario by its dotted name.

        Parameters
        ----------
        name : str
            As for `get`.

        Returns
        -------
        Setting
            Of a setting of one market among several: what is known of the shared one, under this name.

        Raises
        ------
        ScenarioError
            If there is no such setting.
        """
        market, setting = place_of(name)
        if name in NAMES:
            return catalogue()[name]
        if market not in self.market_names or setting not in MARKET_NAMES:
            raise ScenarioError(unknown(name, self.market_names))
        return replace(catalogue()[setting], name=name)

    def replace(self, changes: Mapping[str, Any]) -> Self:
        """Return a new scenario with some settings changed.

        Parameters
        ----------
        changes : Mapping[str, Any]
            Values by dotted name; None leaves a setting to be derived, where it can be, and a setting of one
            market among several to the shared value. A shared setting changes in the markets that do not have
            it for themselves.

        Returns
        -------
        Scenario
            The changed scenario, validated as a whole.

        Raises
        ------
        ScenarioError
            As for `Scenario`.
        """
        if (made := varied(self, changes)) is not None and not made.faults():
            return made
        markets = self.market_names
        own = [f"markets.{market}.{name}" for market in markets for name in MARKET_NAMES]
        known = {*NAMES, *own} if markets else NAMES
        if wrong := [unknown(name, markets) for name in changes if name not in known]:
            raise ScenarioError("\n".join(wrong))
        data = self.to_dict()
        for name, value in changes.items():
            market, setting = place_of(name)
            table, _, leaf = setting.rpartition(".")
            if isinstance(value, str) and isinstance(catalogue()[setting].default, tuple):
                value = _listed(value)
            if market:
                data["markets"][markets.index(market)].setdefault(table, {})[leaf] = value
            else:
                (data.setdefault(table, {}) if table else data)[leaf] = value
        return self.from_dict(data)

    def digest(self) -> str:
        """Return a SHA-256 of all settings, in hexadecimal; equal scenarios have equal ones."""
        text = json.dumps(_canonical(self.to_dict()), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    # ---- TOML

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a scenario from a TOML file.

        Parameters
        ----------
        path : str or os.PathLike
            The file, in UTF-8.

        Returns
        -------
        Scenario
            The validated scenario.

        Raises
        ------
        InputError
            If the file cannot be read or is no text.
        ScenarioError
            If it is no TOML, is empty, or as for `Scenario`; each line opens with the path.
        """
        try:
            text = Path(path).read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: must be text in UTF-8, is not at byte {error.start}") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
        return cls.loads(text, source=os.fspath(path))

    @classmethod
    def loads(cls, text: str, source: str = "") -> Self:
        """Read a scenario from TOML text.

        Parameters
        ----------
        text : str
            The TOML. Text without a single setting is refused: it is nearly always the wrong file.
        source : str, optional
            What to call it in messages, as in a path.

        Returns
        -------
        Scenario
            The validated scenario.

        Raises
        ------
        ScenarioError
            If it is no TOML, is empty, or as for `Scenario`.
        """
        try:
            data = tomllib.loads(text)
            if not data:
                raise ScenarioError("must hold at least one setting, got an empty file")
            if "points" in data:
                raise ScenarioError("is a study, not a scenario; run it with `mcmm sweep`")
            return cls.from_dict(data)
        except ScenarioError as error:
            lines = str(error).splitlines()
        except (ValueError, RecursionError) as error:
            lines = [f"must be valid TOML: {error}"]
        raise ScenarioError("\n".join(f"{source}: {line}" if source else line for line in lines))

    def dumps(self) -> str:
        """Return all settings that have a value as TOML, which `loads` reads back exactly."""
        import tomli_w

        return tomli_w.dumps(self.to_dict())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all settings that have a value to a TOML file.

        Parameters
        ----------
        path : str or os.PathLike
            The file; it is replaced if it exists.

        Raises
        ------
        InputError
            If it cannot be written.
        """
        try:
            Path(path).write_text(self.dumps(), encoding="utf-8", newline="\n")
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}"
            ) from None

    # ---- what the settings are

    @staticmethod
    def json_schema() -> dict[str, Any]:
        """Return the JSON schema of a scenario file, for editors that check and complete TOML."""
        return json_schema()

    @staticmethod
    def settings() -> dict[str, Setting]:
        """Return every setting by its dotted name, in the order of the tables.

        One market's among several are the same after ``markets.NAME.``, but for steps and the portfolio's.
        """
        return dict(catalogue())


def _listed(text: str) -> Any:
    """Return a list written as JSON, as an axis of a study has it; other text as it is, to be refused."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _contradictions(s: Scenario) -> Iterator[tuple[str, str]]:
    """Yield the setting to blame and the rule for settings that cannot be meant together."""
    market, flow, quoting, risk = s.market, s.flow, s.quoting, s.risk
    process = f"with market.process {market.process}"
    cap = f"flow.size_max ({flow.size_max})"

    if not s.bounded:
        if market.initial_mid is None:
            yield "market.initial_mid", f"must be given {process}, whose price starts there"
        if quoting.policy not in ("symmetric", "avellaneda_stoikov"):
            yield "quoting.policy", f"must be symmetric or avellaneda_stoikov {process}"
        for name, off in {
            "fees.maker_rate": 0.0,
            "fees.rounding": 0.0,
            "risk.exposure_limit": math.inf,
        }.items():
            if s.get(name) != off:
                yield name, f"must be {off} {process}, whose prices are not in (0, 1)"
    elif quoting.policy in CONTINUOUS:
        if s.ticks:
            yield "market.tick_size", f"must be 0 with quoting.policy {quoting.policy}, which has no grid"
        if market.initial_mid is not None and not NEAREST <= market.initial_mid <= 1 - NEAREST:
            yield "market.initial_mid", f"must be >= {NEAREST} and <= 1 - {NEAREST}"
    elif not s.ticks:
        yield "market.tick_size", f"must be > 0 {process}: {quoting.policy} quotes need a grid"
    elif (
        market.initial_mid is not None and not 1 - 1e-9 <= market.initial_mid * s.ticks <= s.ticks - 1 + 1e-9
    ):
        yield "market.initial_mid", f"must be >= 1 tick ({1 / s.ticks}) and <= 1 - 1 tick ({1 - 1 / s.ticks})"

    if quoting.policy == "custom":
        if not s.bounded:
            yield "quoting.policy", f"must not be custom {process}: its prices are held to (0, 1)"
        if s.steps * flow.size_max * max(s.ticks, 1) >= 2**53:
            yield "flow.size_max", f"must be < 2**53 / (steps ({s.steps}) * ticks in a dollar ({s.ticks}))"
    elif quoting.parameters:
        yield "quoting.parameters", f"must be left out with quoting.policy {quoting.policy}"

    if s.resolution_step < s.steps:
        yield "market.resolution_step", f"must be >= steps ({s.steps})"
    if market.process != "logit":
        if market.news_rate:
            yield "market.news_rate", f"must be 0 {process}: only logit has news"
        if flow.informed_know == "outcome":
            yield "flow.informed_know", f"must be probability {process}: only logit draws the outcome first"
    if flow.model == "replay" and flow.informed_know == "outcome":
        yield "flow.informed_know", "must be probability with flow.model replay, whose orders are given"
    if flow.model == "replay":
        for name in ("quoting.reference_noise", "recovery.disconnect_rate"):
            if s.get(name):
                yield name, "must be 0 with flow.model replay, which has no randomness but the outcome's"

    match flow.size_distribution:
        case "fixed" if flow.size_mean % 1 or flow.size_mean > flow.size_max:
            yield "flow.size_mean", f"must be a whole number <= {cap} for fixed sizes"
        case "lognormal" if _lognormal_mass(flow.size_mean, flow.size_sigma, flow.size_max) < 1e-6:
            yield "flow.size_mean", f"must leave 1e-6 of the lognormal law within 1 and {cap}"
        case "empirical" if not any(weight for size, weight in flow.size_table if size <= flow.size_max):
            yield "flow.size_table", f"must give weight to a size <= {cap} for empirical sizes"
    if flow.size_table and flow.size_distribution != "empirical":
        yield "flow.size_table", f"must be left out with flow.size_distribution {flow.size_distribution}"

    yield from schedule.contradictions(s)
    yield from venue.contradictions(s)
    if risk.close_steps > s.steps:
        yield "risk.close_steps", f"must be <= steps ({s.steps})"
    # Sizes are integer arithmetic and cash is counted in ticks: exact as long as they fit a double.
    if 2**53 <= quoting.quote_size * risk.inventory_limit < math.inf:
        yield "risk.inventory_limit", f"must be < 2**53 / quoting.quote_size ({quoting.quote_size}), or inf"
    if 2**53 <= risk.volume_limit < math.inf:
        yield "risk.volume_limit", "must be < 2**53, or inf"
    if s.steps * quoting.quote_size * max(s.ticks, 1) >= 2**53:
        yield "quoting.quote_size", f"must be < 2**53 / (steps ({s.steps}) * ticks in a dollar ({s.ticks}))"


def _lognormal_mass(mean: float, sigma: float, largest: int) -> float:
    """Return the chance that a lognormal size, rounded, is in 1..largest."""
    mu = math.log(mean) - sigma**2 / 2
    low, high = (math.erf((math.log(x) - mu) / (sigma * math.sqrt(2))) for x in (0.5, largest + 0.5))
    return (high - low) / 2


def _canonical(value: Any) -> Any:
    """Return the value with inf spelled out and -0.0, which equals 0.0, as 0.0."""
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float):
        return value + 0.0 if math.isfinite(value) else str(value)
    return value
