"""Studies: one scenario, the settings to vary, and how many paths each combination gets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mcmm import metrics, settings
from mcmm.axes import MAX_POINTS, Value
from mcmm.designs import Design, Grid, Listed, Points
from mcmm.errors import InputError, ScenarioError, StudyError
from mcmm.policies import Policy, checked_policy
from mcmm.precision import MAX_PATHS, Precision
from mcmm.question import Question, read_question
from mcmm.refusals import nearest, refusals
from mcmm.scenario import Scenario
from mcmm.study_files import read_scenario, read_tables
from mcmm.summaries import summary_names

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MAX_PATHS", "Study", "summary_columns"]

_NO_POINTS = "points: must be given"
MANY_POINTS = 20_000
"""The most points of a study that keeps what it takes to compare all means; beyond, the money's only. And of
a report's page, which takes 2 kB and 2 ms for each."""


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
    paths : int, optional
        Paths at each point, 1 to 100,000,000.
    precision : Precision or dict, optional
        A standard error to reach in place of ``paths``: ``{"metric": "expected_shortfall_99",
        "standard_error": 0.25}``, see `mcmm.precision.Precision`. One of the two must be given.
    seed : int
        Seed of the random streams, 0 to 2**64 - 1.
    points : dict or list of dict
        A design, or several whose points are taken one after the other. A grid is
        ``{"axes": {"quoting.base_spread": [0.02, 0.04], ...}}``; an axis is a list of values or
        ``{"low": ..., "high": ..., "count": ..., "scale": "linear" or "log", "integer": ...}``. With
        ``"design"`` one of ``"list"``, ``"sobol"``, ``"latin_hypercube"``, ``"sobol_indices"``, ``"union"``
        and ``"product"`` it is another of `mcmm.designs`; each may have ``"constraints"``.
    keep_paths : bool
        Keep the rows of every path in the run directory, not only summaries of the points.
    question : str, optional
        What the study asks.
    objective : str, optional
        The column of the summary by which reports call a point better (more is better).
    calibrate : Question or dict, optional
        The limits that `mcmm.calibrate` is to set, see `mcmm.question.Question`. ``points`` and ``paths`` may
        then be left out; there is nothing to sweep without them.
    policy : str, optional
        Name and digest of who quotes where ``quoting.policy`` is custom, as a run directory records it. No
        code is looked up by it: `quoted_by` is handed the function, and holds it to this.

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
    paths: int = Field(default=0, ge=1, le=MAX_PATHS)
    precision: Precision | None = None
    seed: int = Field(ge=0, lt=2**64)
    objective: str = "pnl_settled.mean"
    keep_paths: bool = False
    policy: str = ""
    calibrate: Question | None = None
    # What stands here for no points is looked at by nobody, see `sweeps`.
    layout: Design = Field(default=Listed.model_construct(design="list", points=()), alias="points")
    _points: Points | Grid = PrivateAttr()
    _quoter: Policy | None = PrivateAttr(default=None)

    def __init__(self, **tables: Any) -> None:
        try:
            super().__init__(**tables)
        except ValidationError as error:
            lines = refusals(error, type(self))
            # Whether points may be left out is only asked of a study that is complete but for them.
            if not tables.keys() & {"points", "calibrate"} and _NO_POINTS not in lines:
                lines.append(_NO_POINTS)
            raise StudyError("\n".join(lines)) from None

    @field_validator("scenario", mode="before")
    @classmethod
    def _scenario(cls, scenario: object) -> object:
        if not isinstance(scenario, dict):
            return scenario
        try:
            return Scenario.from_dict(scenario)
        except ScenarioError as error:
            raise ValueError(str(error)) from None

    @field_validator("layout", mode="before")
    @classmethod
    def _several(cls, points: object) -> object:
        return {"design": "union", "designs": points} if isinstance(points, list | tuple) else points

    @field_validator("calibrate", mode="before")
    @classmethod
    def _asked(cls, table: object, info: ValidationInfo) -> object:
        # Without a scenario, which is refused by itself, nothing can be said of the question.
        scenario = info.data.get("scenario")
        return None if table is None or scenario is None else read_question(table, scenario)

    @model_validator(mode="after")
    def _paths_or_precision(self) -> Self:
        if not self.sweeps:
            if self.calibrate is None:
                raise ValueError(_NO_POINTS)
            if self.paths or self.precision is not None:
                raise ValueError(
                    "points: must be given with paths or precision (a certificate has calibrate.paths)"
                )
            return self
        if self.precision is None:
            if not self.paths:
                raise ValueError("paths: must be given, or precision in its place")
            return self
        if self.paths:
            raise ValueError("paths: must be left out where precision is given, which says how many")
        self.precision.check(tuple(summary_columns(self.metrics)))
        return self

    @model_validator(mode="after")
    def _every_point(self) -> Self:
        if not self.sweeps:
            self._points = Points({})
            return self
        columns = summary_columns(self.metrics)
        if self.objective not in columns:
            got = f"{settings.shown(self.objective)}{nearest(self.objective, columns)}"
            raise ValueError(f"objective: must be a column of the summary, got {got}")
        names = [*self.layout.names, *(name for rule in self.layout.rules() for name in sorted(rule.names))]
        faults_of = {name: fault for name in dict.fromkeys(names) if (fault := self._axis_fault(name))}
        if faults_of:
            where = {name: "axes" if name in self.layout.names else "constraints" for name in faults_of}
            raise ValueError("\n".join(f"points.{where[name]}: {fault}" for name, fault in faults_of.items()))
        if self.layout.most > MAX_POINTS:
            raise ValueError(
                f"points.axes: must make at most {MAX_POINTS:,} points, got {self.layout.most:,}"
            )
        if isinstance(self.layout, Grid) and not self.layout.constraints:
            self._points = self.layout
        else:
            try:
                self._points = self.layout.build(self.seed, self._base)
            except ValueError as error:
                raise ValueError(f"points.{error}") from None
        # Points often share a fault; each is said once, with the first point that has it.
        faults: dict[str, str] = {}
        for point in range(self.count):
            try:
                for name, market in self.scenario_at(point).by_market().items():
                    if market.flow.model == "replay":
                        place = f"markets.{name}." if name else ""
                        rule = "must not be replay in a study, which has no orders"
                        raise ScenarioError(f"{place}flow.model: {rule}")
            except ScenarioError as error:
                faults.setdefault(str(error), self.label(point))
                if len(faults) == 5:
                    break
        lines = [f"{label}: {line}" for fault, label in faults.items() for line in fault.splitlines()]
        if lines:
            raise ValueError("\n".join(lines))
        return self

    def _axis_fault(self, name: str) -> str:
        """Say why a name is no setting of this study's to vary; empty if it is one."""
        try:
            self.scenario.setting(name)
        except ScenarioError as error:
            return str(error)
        members = self.scenario.markets
        if members and name in self.layout.names and all(name in member.overrides() for member in members):
            own = f"markets.{members[0].name}.{name}"
            return f"{name}: every market has its own, so that it would change nothing; vary {own}"
        return ""

    def _base(self, name: str) -> Any:
        """Return the scenario's value of a setting, a derived one's too."""
        value = self.scenario.get(name)
        return getattr(self.scenario, name.rpartition(".")[2], None) if value is None else value

    def pinned(self, points: Points) -> Study:
        """Return the study with its points as they were written down, whatever a design would draw today."""
        study = self.model_copy()
        study._points = points
        return study

    def quoted_by(self, policy: object) -> Study:
        """Return the study with the function that quotes where ``quoting.policy`` is custom.

        Parameters
        ----------
        policy : LowLevelCallable, Numba cfunc, callable, str or None
            As for `mcmm.simulate`; None if no point is custom.

        Returns
        -------
        Study

        Raises
        ------
        InputError
            If one is missing, not wanted, no policy, or not the one that the study names.
        """
        if self._quoter is not None and policy is None:
            return self
        columns = [name for name in self.names if f".{name}".endswith(".quoting.policy")]
        wanted = any(
            market.quoting.policy == "custom" for market in self.scenario.by_market().values()
        ) or any("custom" in self.columns()[name] for name in columns)
        quoter = checked_policy(policy, wanted, 'a study with quoting.policy "custom" at some point')
        if quoter is None:
            return self
        if self.policy not in ("", quoter.mark):
            raise InputError(f"policy: must be {self.policy}, as the study has it, got {quoter.mark}")
        study = self.model_copy(update={"policy": quoter.mark})
        study._quoter = quoter
        return study

    @property
    def quoter(self) -> Policy | None:
        """What `quoted_by` was handed, or None."""
        return self._quoter

    def quoter_of(self, scenario: Scenario) -> Policy | None:
        """Return the quoter if one of the scenario's markets is custom, as `mcmm.simulate` takes it."""
        custom = any(market.quoting.policy == "custom" for market in scenario.by_market().values())
        return self._quoter if custom else None

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
        tables = read_tables(path)
        try:
            if isinstance(tables.get("scenario"), str):
                tables["scenario"] = read_scenario(path.parent / tables["scenario"])
            return cls.from_dict(tables)
        except StudyError as error:
            raise StudyError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from None

    def to_dict(self) -> dict[str, Any]:
        """Return the study as nested tables, the scenario with all of its settings."""
        tables: dict[str, Any] = {
            "name": self.name,
            "question": self.question,
            "scenario": self.scenario.to_dict(),
            "seed": self.seed,
            "objective": self.objective,
        }
        if self.calibrate is not None:
            tables["calibrate"] = _lists(self.calibrate.model_dump(exclude_defaults=True))
        if not self.sweeps:
            return tables
        tables["points"] = _lists(
            self.layout.model_dump(exclude_defaults=True) | {"design": self.layout.design}
        )
        if self.precision is None:
            tables["paths"] = self.paths
        else:
            tables["precision"] = self.precision.model_dump(exclude_none=True)
        tables |= {"policy": self.policy} if self.policy else {}
        return tables | ({"keep_paths": True} if self.keep_paths else {})

    @property
    def sweeps(self) -> bool:
        """Whether it has points to sweep: not, where it only asks for limits."""
        return "layout" in self.model_fields_set

    def check_sweep(self) -> None:
        """Raise StudyError if it has nothing to sweep."""
        if not self.sweeps:
            raise StudyError(f"points: must be given; {self.name!r} only asks for limits: mcmm calibrate")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of its paths, in the order of the core's rows; a book's where the venue varies."""
        if self.sweeps and "venue" in self.layout.names:
            return metrics.columns(self.scenario.market_names, book=True)
        return self.scenario.columns

    @property
    def looks(self) -> int:
        """After how many looks at the results the sweep may stop: 1 without precision."""
        return 1 if self.precision is None else len(self.precision.totals)

    @property
    def all_rows(self) -> bool:
        """Whether any mean can be compared between points, or in so large a study the money's only."""
        return self.count <= MANY_POINTS

    @property
    def most_paths(self) -> int:
        """The most paths that a point may get: ``paths``, or the cap of ``precision``."""
        return self.paths if self.precision is None else self.precision.totals[-1]

    @property
    def axes(self) -> dict[str, tuple[Value, ...]]:
        """Each axis' values, by the dotted name of its setting: a grid's, or those of the points in order."""
        if isinstance(self._points, Grid):
            return self._points.values
        columns = zip(*self._points.rows(), strict=True)
        return {name: tuple(dict.fromkeys(column)) for name, column in zip(self.names, columns, strict=True)}

    @property
    def names(self) -> tuple[str, ...]:
        """The varied settings' dotted names."""
        return self._points.names

    @property
    def count(self) -> int:
        """How many points the study has."""
        return self._points.count

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
        if not (hasattr(point, "__index__") and 0 <= point < self.count):
            raise InputError(f"point: must be between 0 and {self.count - 1}, got {point!r}")
        return self._points.at(point)

    def label(self, point: int) -> str:
        """Return a point's number and settings, for messages."""
        return f"point {point} ({', '.join(f'{name} = {value!r}' for name, value in self.at(point).items())})"

    def scenario_at(self, point: int) -> Scenario:
        """Return the scenario of a point."""
        return self.scenario.replace(self.at(point))

    def steps_at(self, point: int) -> int:
        """Return the length of a point's paths, in steps."""
        return int(self.at(point)["steps"]) if "steps" in self.names else self.scenario.steps

    def all_steps(self, points: Sequence[int]) -> Iterator[int]:
        """Yield the length of some points' paths, in steps; each of several markets counted."""
        if "steps" not in self.names:
            return repeat(self.scenario.steps * self.scenario.market_count, len(points))
        return (self.steps_at(point) * self.scenario.market_count for point in points)

    def path_steps(self) -> int:
        """Return how many steps all paths of all points take together, or would at the cap of precision."""
        paths = self.most_paths * self.scenario.market_count
        if "steps" not in self.names:
            return self.count * paths * self.scenario.steps
        if isinstance(self._points, Grid):
            lengths = [int(value) for value in self.axes["steps"]]
            return self.count // len(lengths) * sum(lengths) * paths
        place = self.names.index("steps")
        return sum(int(row[place]) for row in self._points.rows()) * paths

    def points(self) -> pd.DataFrame:
        """Return the points.

        Returns
        -------
        DataFrame
            Index ``point``, a column for each axis.
        """
        import pandas as pd

        return pd.DataFrame(self.columns(), index=pd.RangeIndex(self.count, name="point"))

    def columns(self) -> dict[str, list[Value]]:
        """Return each axis' value at every point; whole numbers beside others are floats here."""
        found = {
            name: list(column)
            for name, column in zip(self.names, zip(*self._points.rows(), strict=True), strict=True)
        }
        for name, column in found.items():
            if {type(value) for value in column} == {int, float}:
                found[name] = [float(value) for value in column]
        return found

    def points_digest(self) -> str:
        """Return a SHA-256 of the points as they are written down."""
        hasher = hashlib.sha256(repr(self.names).encode())
        for row in self._points.rows():
            hasher.update(repr(row).encode())
        return hasher.hexdigest()

    def digest(self) -> str:
        """Return a SHA-256 of what decides the results: scenario, axes' values, paths and seed.

        Name, question and objective may change without making the results another study's.
        """
        layout = self.layout
        if isinstance(layout, Grid):
            points: Any = [
                [name, [repr(value) for value in values]] for name, values in layout.values.items()
            ]
        else:
            points = repr(layout.model_dump())
        decides = {
            "scenario": self.scenario.digest(),
            "points": points,
            "constraints": list(layout.constraints),
            "paths": self.paths,
            "precision": None if self.precision is None else self.precision.model_dump(),
            "seed": self.seed,
            **({"policy": self.policy} if self.policy else {}),
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _lists(value: Any) -> Any:
    """Return nested tables with lists for tuples, as a file has them."""
    if isinstance(value, dict):
        return {name: _lists(item) for name, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value


def summary_columns(names: Sequence[str] = metrics.NAMES) -> list[str]:
    """Return the columns of a point's summary, in order; of a scenario's ``columns``, or of one market's."""
    return list(summary_names(tuple(names)))
