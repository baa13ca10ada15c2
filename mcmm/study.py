"""Studies: one scenario, the settings to vary, and how many paths each combination gets."""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mcmm import metrics, settings, statistics
from mcmm.designs import MAX_POINTS, Cell, Points, Span, Value
from mcmm.errors import InputError, MCMMError, ScenarioError, StudyError
from mcmm.scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MAX_PATHS", "Study", "summary_columns"]

MAX_PATHS = 100_000_000


class Study(BaseModel):
    """A sweep to be run: a scenario, the settings to vary, paths and a seed.

    Everything is checked here, each point's scenario included, so that a sweep cannot fail on a setting
    half-way. All points share the seed and therefore face the same market (common random numbers).

    Parameters
    ----------
    name : str
        What reports call the study.
    scenario : Scenario or dict
        The settings that the axes do not vary.
    paths : int
        Paths at each point, 1 to 100,000,000.
    seed : int
        Seed of the random streams, 0 to 2**64 - 1.
    points : dict
        ``{"axes": {"quoting.base_spread": [0.02, 0.04], ...}}``; an axis is a list of values or
        ``{"low": ..., "high": ..., "count": ..., "scale": "linear" or "log", "integer": ...}``. With
        ``"design": "list"`` point i has every axis' i-th value.
    question : str, optional
        What the study asks.
    objective : str, optional
        The column of the summary by which reports call a point better (more is better).

    Raises
    ------
    StudyError
        If a setting is unknown, missing, or against its rule; one line for each.

    Examples
    --------
    >>> study = Study(
    ...     name="spread", scenario={"steps": 100}, paths=1000, seed=7,
    ...     points={"axes": {"quoting.base_spread": [0.02, 0.04], "risk.inventory_limit": [50, 100]}},
    ... )
    >>> study.at(2)
    {'quoting.base_spread': 0.04, 'risk.inventory_limit': 50}
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    name: str = Field(min_length=1)
    question: str = ""
    scenario: Scenario
    paths: int = Field(ge=1, le=MAX_PATHS)
    seed: int = Field(ge=0, lt=2**64)
    objective: str = "pnl_settled.mean"
    layout: Points = Field(alias="points")

    def __init__(self, **tables: Any) -> None:
        try:
            super().__init__(**tables)
        except ValidationError as error:
            raise StudyError("\n".join(_lines(error))) from None

    @field_validator("scenario", mode="before")
    @classmethod
    def _scenario(cls, scenario: object) -> object:
        if not isinstance(scenario, dict):
            return scenario
        try:
            return Scenario.from_dict(scenario)
        except ScenarioError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _every_point(self) -> Self:
        columns = summary_columns(self.scenario.columns)
        if self.objective not in columns:
            got = f"{settings.shown(self.objective)}{_nearest(self.objective, columns)}"
            raise ValueError(f"objective: must be a column of the summary, got {got}")
        if strange := [fault for name in self.axes if (fault := self._axis_fault(name))]:
            raise ValueError("\n".join(f"points.axes: {fault}" for fault in strange))
        if self.count > MAX_POINTS:
            raise ValueError(f"points.axes: must make at most {MAX_POINTS:,} points, got {self.count:,}")
        # Points often share a fault; each is said once, with the first point that has it.
        faults: dict[str, str] = {}
        for point in range(self.count):
            try:
                for name, market in self.scenario_at(point).by_market().items():
                    if market.flow.model == "replay":
                        where = f"markets.{name}." if name else ""
                        rule = "must not be replay in a study, which has no orders"
                        raise ScenarioError(f"{where}flow.model: {rule}")
            except ScenarioError as error:
                faults.setdefault(str(error), self.label(point))
                if len(faults) == 5:
                    break
        lines = [f"{label}: {line}" for fault, label in faults.items() for line in fault.splitlines()]
        if lines:
            raise ValueError("\n".join(lines))
        return self

    def _axis_fault(self, name: str) -> str:
        """Say why a name is no axis of this study; empty if it is one."""
        try:
            self.scenario.setting(name)
        except ScenarioError as error:
            return str(error)
        members = self.scenario.markets
        if members and all(name in member.overrides() for member in members):
            own = f"markets.{members[0].name}.{name}"
            return f"{name}: every market has its own, so that it would change nothing; vary {own}"
        return ""

    @classmethod
    def from_dict(cls, tables: Mapping[str, Any]) -> Study:
        """Make a study from nested tables, as `to_dict` returns them."""
        if not isinstance(tables, Mapping):
            raise StudyError(f"study: must be a table, got {settings.shown(tables)}")
        return cls(**{str(name): value for name, value in tables.items()})

    @classmethod
    def load(cls, path: str | Path) -> Study:
        """Read a study from a TOML file.

        Parameters
        ----------
        path : str or Path
            The file. Its ``scenario`` is a table of settings, or the path of a scenario's file relative to
            this one.

        Returns
        -------
        Study

        Raises
        ------
        InputError
            If the file cannot be read.
        StudyError
            If it is not TOML or not a study.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise StudyError(f"{path}: is not a text file") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
        try:
            tables = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise StudyError(f"{path}: is not valid TOML: {error}") from None
        if "points" not in tables and tables.keys() & {
            "market",
            "flow",
            "quoting",
            "risk",
            "recovery",
            "markets",
            "steps",
        }:
            raise StudyError(f"{path}: is a scenario, not a study; simulate it with `mcmm simulate {path}`")
        try:
            if isinstance(tables.get("scenario"), str):
                tables["scenario"] = _scenario_file(path.parent / tables["scenario"])
            return cls.from_dict(tables)
        except StudyError as error:
            raise StudyError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from None

    def to_dict(self) -> dict[str, Any]:
        """Return the study as nested tables, the scenario with all of its settings."""
        axes = {
            name: axis.model_dump() if isinstance(axis, Span) else list(axis)
            for name, axis in self.layout.axes.items()
        }
        return {
            "name": self.name,
            "question": self.question,
            "scenario": self.scenario.to_dict(),
            "paths": self.paths,
            "seed": self.seed,
            "objective": self.objective,
            "points": {"design": self.layout.design, "axes": axes},
        }

    @property
    def axes(self) -> dict[str, tuple[Value, ...]]:
        """Each axis' values, by the dotted name of its setting."""
        return self.layout.values

    @property
    def count(self) -> int:
        """How many points the study has."""
        return self.layout.count

    def at(self, point: int) -> dict[str, Value]:
        """Return the varied settings' values at a point.

        Parameters
        ----------
        point : int
            0 to count - 1.

        Raises
        ------
        InputError
            If there is no such point.
        """
        if not 0 <= point < self.count:
            raise InputError(f"point: must be between 0 and {self.count - 1}, got {point!r}")
        return self.layout.at(point)

    def label(self, point: int) -> str:
        """Return a point's number and settings, for messages."""
        return f"point {point} ({', '.join(f'{name} = {value!r}' for name, value in self.at(point).items())})"

    def scenario_at(self, point: int) -> Scenario:
        """Return the scenario of a point."""
        return self.scenario.replace(self.at(point))

    def steps_at(self, point: int) -> int:
        """Return the length of a point's paths, in steps."""
        return int(_cell(self.at(point)["steps"])) if "steps" in self.axes else self.scenario.steps

    def path_steps(self) -> int:
        """Return how many steps all paths of all points take together, each of several markets counted."""
        paths = self.paths * self.scenario.market_count
        if "steps" not in self.axes:
            return self.count * paths * self.scenario.steps
        if self.layout.design == "list":
            return sum(self.steps_at(point) for point in range(self.count)) * paths
        lengths = [int(_cell(value)) for value in self.axes["steps"]]
        return self.count // len(lengths) * sum(lengths) * paths

    def points(self) -> pd.DataFrame:
        """Return the points.

        Returns
        -------
        DataFrame
            Index ``point``, a column for each axis.
        """
        import pandas as pd

        return pd.DataFrame(self.columns(), index=pd.RangeIndex(self.count, name="point"))

    def columns(self) -> dict[str, list[Cell]]:
        """Return each axis' value at every point; whole numbers beside others are floats, lists texts."""
        rows = [self.layout.at(point) for point in range(self.count)]
        columns = {name: [_cell(row[name]) for row in rows] for name in self.axes}
        for name, values in self.axes.items():
            if {type(value) for value in values} == {int, float}:
                columns[name] = [float(value) for value in columns[name]]
        return columns

    def digest(self) -> str:
        """Return a SHA-256 of what decides the results: scenario, axes' values, paths and seed.

        Name, question and objective may change without making the results another study's.
        """
        decides = {
            "scenario": self.scenario.digest(),
            "axes": [[name, [repr(_cell(value)) for value in values]] for name, values in self.axes.items()],
            "paths": self.paths,
            "seed": self.seed,
        }
        if self.layout.design == "list":
            decides["points"] = [
                [repr(_cell(value)) for value in self.at(point).values()] for point in range(self.count)
            ]
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _cell(value: Value) -> Cell:
    """Return a value as a column can hold it: a list as its JSON."""
    return json.dumps(value, sort_keys=True) if isinstance(value, list) else value


def _scenario_file(path: Path) -> Scenario:
    """Read the scenario that a study names, and say so where it is at fault."""
    try:
        return Scenario.load(path)
    except MCMMError as error:
        raise StudyError("\n".join(f"scenario: {line}" for line in str(error).splitlines())) from None


@cache
def summary_columns(names: tuple[str, ...] = metrics.NAMES) -> list[str]:
    """Return the columns of a point's summary, in order, for what a path reports."""
    return list(statistics.summarise(np.zeros((len(names), 2)), names))


def _nearest(name: str, known: Any) -> str:
    """Return ``; did you mean ...?`` where a known name is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


_AXIS = "a list of numbers, texts, lists or true and false, or a table with low, high and count"
_RULES = {
    "name": "text of at least one character",
    "question": "text",
    "objective": "text",
    "scenario": "a table of settings, or in a file the path of a scenario's file",
    "paths": f"a whole number >= 1 and <= {MAX_PATHS}",
    "seed": "a whole number >= 0 and < 2**64",
    "points": "a table",
    "points.design": "grid or list",
    "points.axes": "a table with an axis or more",
    "low": "a finite number",
    "high": "a finite number",
    "count": f"a whole number >= 2 and <= {MAX_POINTS}",
    "scale": "linear or log",
    "integer": "true or false",
}


def _lines(error: ValidationError) -> list[str]:
    """Put pydantic's findings as ``setting: rule, got value``, one line each."""
    lines: list[str] = []
    for fault in error.errors():
        # The tags of an axis' two forms are no part of its name, and a value's place in it tells no more.
        place = [part for part in fault["loc"] if part not in ("span", "values", "layout", "[key]")]
        where = ".".join(str(part) for part in (place[:3] if "values" in fault["loc"] else place))
        match fault["type"]:
            case "extra_forbidden":
                lines.append(f"{where}: unknown setting{_nearest(str(place[-1]), _known(fault['loc']))}")
            case "missing":
                lines.append(f"{where}: must be given")
            case "value_error":
                message = str(fault["msg"]).removeprefix("Value error, ")
                lines.extend(f"{where}: {line}" if where else line for line in message.splitlines())
            case _:
                rule = _RULES.get(where) or _RULES.get(str(place[-1]) if len(place) == 4 else "", _AXIS)
                lines.append(f"{where}: must be {rule}, got {settings.shown(fault['input'])}")
    unquoted = [
        fault["loc"]
        for fault in error.errors()
        if "axes" in fault["loc"] and fault["type"] == "extra_forbidden"
    ]
    for name in {str(place[place.index("axes") + 1]) for place in unquoted} & {
        setting.partition(".")[0] for setting in settings.NAMES
    }:
        lines = [line for line in lines if not line.startswith(f"points.axes.{name}")]
        lines.append(
            f'points.axes.{name}: is a table of settings; quote an axis whole, as "{name}.setting" = [..]'
        )
    return list(dict.fromkeys(lines))  # a union reports each of its members


def _known(where: tuple[int | str, ...]) -> list[str]:
    """Return the settings of the table that an unknown one stands in."""
    if "axes" in where:
        return list(Span.model_fields)
    if "points" in where[:-1]:
        return list(Points.model_fields)
    return [field.alias or name for name, field in Study.model_fields.items()]
