"""What `mcmm.calibrate` is asked: what to make large, under which constraints, over which settings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Self

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from mcmm import settings
from mcmm.axes import TABLE, Axis, Range, SampledAxis, Span, Value, check_values
from mcmm.errors import ScenarioError
from mcmm.expressions import Event
from mcmm.metrics import columns
from mcmm.objectives import Objective, Statistic
from mcmm.refusals import VALUE, nearest
from mcmm.scenario import Scenario

__all__ = ["LOOKS", "MAX_WORLDS", "Limit", "Question", "read_question"]

LOOKS = 6
"""How often a certificate looks at its paths, which double from one look to the next."""
MAX_WORLDS = 64
_MAX_PATHS = 100_000_000
_IN_TAIL = 50  # the fewest paths in the tail of an expected shortfall that is looked at


class Shortfall(BaseModel):
    """An expected shortfall: the mean loss in the worst share 1 - level of paths.

    Attributes
    ----------
    metric : str
        A metric of which more is better, such as ``pnl_settled``.
    level : float
        Strictly between 0 and 1.
    """

    model_config = TABLE

    metric: str
    level: float = Field(gt=0, lt=1)


class Limit(BaseModel):
    """A constraint: a statistic of paths, and what it may be.

    Attributes
    ----------
    probability : str, optional
        An event, such as ``"max_drawdown_fair > 50"``.
    expected_shortfall : Shortfall, optional
        A tail's mean loss, in place of a probability.
    mean : str, optional
        A metric's mean, in place of both.
    at_most, at_least : float, optional
        The bound; ``at_least`` is for means. One of the two must be given.
    """

    model_config = TABLE

    probability: str | None = None
    expected_shortfall: Shortfall | None = None
    mean: str | None = None
    at_most: float | None = Field(default=None, allow_inf_nan=False)
    at_least: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [
            name for name in ("probability", "expected_shortfall", "mean") if getattr(self, name) is not None
        ]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            raise ValueError(f"must have one of probability, expected_shortfall and mean, got {got}")
        if (self.at_most is None) == (self.at_least is None):
            got = "none" if self.at_most is None else "both"
            raise ValueError(f"must have one of at_most and at_least, got {got}")
        if self.at_least is not None and self.mean is None:
            raise ValueError(f"at_least is for a mean; {given[0]} must have at_most")
        if self.probability is not None and not 0.0 < self.bound < 1.0:
            raise ValueError(f"at_most of a probability must be strictly between 0 and 1, got {self.bound:g}")
        if self.probability is not None:
            try:
                Event(self.probability)
            except ValueError as error:
                raise ValueError(f"probability {error}") from None
        return self

    @property
    def bound(self) -> float:
        """What the statistic may be at most, or at least."""
        found = self.at_most if self.at_most is not None else self.at_least
        assert found is not None
        return found

    @property
    def statistic(self) -> Statistic:
        """What is bounded."""
        if self.probability is not None:
            return Statistic("probability", self.probability)
        if self.expected_shortfall is not None:
            return Statistic(
                "expected_shortfall", self.expected_shortfall.metric, self.expected_shortfall.level
            )
        assert self.mean is not None
        return Statistic("mean", self.mean)

    @property
    def label(self) -> str:
        """The constraint as one says it."""
        return f"{self.statistic.label} {'<=' if self.at_least is None else '>='} {self.bound:g}"

    def fewest(self, alpha: float) -> int:
        """Return how many paths a look at this level needs to be able to certify, or to be a look."""
        if self.probability is not None:
            return math.ceil(math.log(alpha) / math.log1p(-self.bound))
        if self.expected_shortfall is not None:
            return math.ceil(_IN_TAIL / (1.0 - self.expected_shortfall.level) - 1e-6)
        return 256


class Question(BaseModel):
    """What to make large, under which constraints, over which settings, and how sure the answer must be.

    Attributes
    ----------
    maximize : str
        See `mcmm.objectives.Objective`.
    confidence : float
        Strictly between 0 and 1, for all constraints together.
    constraint : tuple of Limit
        All must hold.
    search : dict of str to list or Range
        The settings to choose, by dotted name: a list of values, or ``{low, high, scale, integer}``.
    robust : dict of str to list or Span
        What nobody knows: the constraints must hold in every combination of these values.
    paths : int
        The most paths that the certificate spends on one setting.
    """

    model_config = TABLE

    maximize: str = "mean(pnl_settled)"
    confidence: float = Field(default=0.95, gt=0, lt=1)
    constraint: tuple[Limit, ...] = Field(strict=False, min_length=1)
    search: dict[str, SampledAxis] = Field(min_length=1)
    robust: dict[str, Axis] = Field(default_factory=dict)
    paths: int = Field(default=131_072, ge=1024, le=_MAX_PATHS)

    @field_validator("maximize")
    @classmethod
    def _parsed(cls, text: str) -> str:
        Objective(text)
        return text

    @field_validator("search", "robust")
    @classmethod
    def _distinct(cls, axes: dict[str, Any]) -> dict[str, Any]:
        for name, axis in axes.items():
            if not isinstance(axis, Range):
                check_values(name, axis)
        return axes

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if twice := [name for name in self.robust if name in self.search]:
            raise ValueError(f"robust.{twice[0]}: must not be searched too")
        if (worlds := math.prod(len(values) for values in self._robust_values.values())) > MAX_WORLDS:
            raise ValueError(f"robust: must make at most {MAX_WORLDS} combinations, got {worlds}")
        for second, first in itertools.product(range(len(self.constraint)), repeat=2):
            if first < second and (fault := _conflict(self.constraint[first], self.constraint[second])):
                raise ValueError(
                    f"constraint[{second}]: {fault} constraint[{first}], {self.constraint[first].label}"
                )
        for place, limit in enumerate(self.constraint):
            if (fewest := limit.fewest(self.alpha / LOOKS)) > self.paths:
                raise ValueError(
                    f"paths: must be >= {fewest:,} for constraint[{place}], {limit.label}, at "
                    f"{self.confidence:.10g} confidence in {LOOKS} looks, got {self.paths:,}"
                )
        return self

    @property
    def alpha(self) -> float:
        """The chance of a false certificate that is allowed."""
        return round(1.0 - self.confidence, 12)

    @property
    def objective(self) -> Objective:
        """What is made large, parsed."""
        return Objective(self.maximize)

    @cached_property
    def _robust_values(self) -> dict[str, tuple[Value, ...]]:
        # In the order of their names, so that the worlds of a file that sorts them are the same.
        axes = sorted(self.robust.items())
        return {name: axis.values() if isinstance(axis, Span) else axis for name, axis in axes}

    @property
    def worlds(self) -> list[dict[str, Value]]:
        """Every combination of what nobody knows; one that changes nothing without `robust`."""
        values = self._robust_values
        return [dict(zip(values, row, strict=True)) for row in itertools.product(*values.values())]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics it takes to answer, sorted."""
        statistics = [
            *(limit.statistic for limit in self.constraint),
            *(s for _, s in self.objective.statistics),
        ]
        return tuple(sorted({name for statistic in statistics for name in statistic.metrics}))

    def check(self, scenario: Scenario) -> Iterator[str]:
        """Yield what does not fit a scenario: unknown metrics and settings, impossible values."""
        asked = [(f"constraint[{place}]", limit.statistic) for place, limit in enumerate(self.constraint)]
        asked += [("maximize", statistic) for _, statistic in self.objective.statistics]
        reported, any_venues = (
            columns(scenario.market_names, book=of(venue == "book" for venue in self._venues(scenario)))
            for of in (all, any)
        )
        for where, statistic in asked:
            for name in sorted(statistic.metrics - set(reported)):
                if name in any_venues:
                    rule = "must be reported on every venue asked about, and venue quote has no such metric"
                    yield f"{where}: {name} {rule}"
                else:
                    yield f"{where}: unknown metric {name}{nearest(name, reported)}"
        for _, name in self.objective.settings:
            if name not in self.search:
                yield f"maximize: {name} is not among the settings searched{nearest(name, self.search)}"
            elif not _numeric(self.search[name]):
                yield f"maximize: {name} must be a number wherever it is searched"
        faults = 0
        for table in ("search", "robust"):
            for name in getattr(self, table):
                try:
                    scenario.setting(name)
                except ScenarioError as error:
                    faults += 1
                    yield f"{table}: {error}"
        if not faults:
            yield from self._check_ends(scenario)

    def _venues(self, scenario: Scenario) -> tuple[Value, ...]:
        """Return the venues of the paths that it asks about."""
        axis = self.search.get("venue", self._robust_values.get("venue", ()))
        # A range of venues is no setting's, and refused with its ends.
        return axis if isinstance(axis, tuple) and axis else (scenario.venue,)

    def _check_ends(self, scenario: Scenario) -> Iterator[str]:
        """Yield what is wrong with an axis' value even where every other setting stays as it is."""
        for world in self.worlds:
            try:
                scenario.replace(world)
            except ScenarioError as error:
                yield from (f"robust: {line}" for line in str(error).splitlines())
                return
        for name, axis in self.search.items():
            values = (axis.between(0.0), axis.between(1.0)) if isinstance(axis, Range) else axis
            wrong = []
            for value in values:
                whole = isinstance(axis, Range) and axis.integer
                try:
                    scenario.replace({name: round(value) if whole and not isinstance(value, str) else value})
                except ScenarioError as error:
                    wrong.append(str(error).splitlines()[0])
            # One end may be possible with other settings only; if no value is, the search is empty.
            if len(wrong) == len(values):
                yield f"search: {name} has no value that the scenario may have: {wrong[0]}"

    def market_faults(self, scenario: Scenario) -> Iterator[str]:
        """Yield why a scenario cannot be calibrated at all."""
        for name, market in scenario.by_market().items():
            where = f"markets.{name}." if name else ""
            if market.flow.model == "replay":
                yield f"scenario: {where}flow.model must not be replay, which has no random paths"
            if market.quoting.policy == "custom":
                yield f"scenario: {where}quoting.policy must not be custom, which no certificate can hold"


def _numeric(axis: Any) -> bool:
    return isinstance(axis, Range) or all(
        isinstance(value, int | float) and value is not True for value in axis
    )


def _conflict(one: Limit, other: Limit) -> str:
    """Say how a constraint clashes with an earlier one; empty if both can hold and both are needed."""
    first, second = one.statistic, other.statistic
    if first == second and (one.at_least is None) == (other.at_least is None):
        return "bounds the same as"
    if first == second:
        low = one.at_least if one.at_least is not None else other.at_least
        high = one.at_most if one.at_most is not None else other.at_most
        assert low is not None
        assert high is not None
        return "contradicts" if low > high else ""
    # The mean loss of a tail is never below the mean loss of all paths.
    tails = [each for each in (one, other) if each.expected_shortfall is not None]
    means = [each for each in (one, other) if each.mean is not None and each.at_most is not None]
    if len(tails) == len(means) == 1 and tails[0].statistic.of == means[0].statistic.of:
        return "contradicts" if -means[0].bound > tails[0].bound else ""
    return ""


_RULES = {
    "maximize": "text, such as mean(pnl_settled)",
    "confidence": "a number > 0 and < 1, as 0.95",
    "constraint": "a list of tables with probability, expected_shortfall or mean, at least one",
    "constraint[]": "a table with probability, expected_shortfall or mean",
    "search": "a table of settings, at least one, each a list of values or a table with low and high",
    "robust": "a table of settings, each a list of values or a table with low, high and count",
    "paths": f"a whole number >= 1024 and <= {_MAX_PATHS}",
    "probability": "text, such as max_drawdown_fair > 50",
    "expected_shortfall": "a table with metric and level",
    "mean": "the name of a metric",
    "metric": "the name of a metric",
    "level": "a number > 0 and < 1, as 0.99",
    "at_most": "a finite number",
    "at_least": "a finite number",
    "low": "a finite number",
    "high": "a finite number",
    "count": "a whole number >= 2",
    "scale": "linear or log",
    "integer": "true or false",
}


def read_question(table: object, scenario: Scenario) -> Question:
    """Make a question of a study's ``[calibrate]``, checked against its scenario.

    Parameters
    ----------
    table : object
        What the file has, or a `Question`.
    scenario : Scenario
        The study's.

    Raises
    ------
    ValueError
        A line for each fault, with setting, rule and value.
    """
    if isinstance(table, Question):
        question = table
    elif not isinstance(table, dict):
        raise ValueError(f"must be a table, got {settings.shown(table)}")
    else:
        try:
            question = Question(**table)
        except ValidationError as error:
            raise ValueError("\n".join(dict.fromkeys(_lines(error)))) from None
    faults = [*question.market_faults(scenario), *question.check(scenario)]
    if faults:
        raise ValueError("\n".join(dict.fromkeys(faults)))
    return question


def _lines(error: ValidationError) -> Iterator[str]:
    tables = {setting.partition(".")[0] for setting in settings.NAMES}
    faults = error.errors()
    places = [fault["loc"] for fault in faults]
    for fault in faults:
        # A list whose items are at fault is reported as too short besides.
        if any(fault["loc"] == other[: len(fault["loc"])] != other for other in places):
            continue
        place = [part for part in fault["loc"] if part not in ("span", "values", "[key]")]
        if place[:1] in (["search"], ["robust"]) and any(isinstance(part, int) for part in place):
            place = place[:3]  # a value; without what it was tried as
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(
            "."
        )
        names = [part for part in place if isinstance(part, str)]
        if names and names[0] in ("search", "robust") and len(names) > 1 and names[1] in tables:
            example = f'"{names[1]}.setting" = ..'
            yield f"{names[0]}.{names[1]}: is a table of settings; quote an axis whole, as {example}"
        elif fault["type"] == "extra_forbidden":
            yield f"{where}: unknown setting{nearest(str(place[-1]), _known(names))}"
        elif fault["type"] == "missing":
            yield f"{where}: must be given"
        elif fault["type"] == "value_error":
            message = str(fault["msg"]).removeprefix("Value error, ")
            yield f"{where}: {message}" if where else message
        else:
            rule = _RULES.get(names[-1] if names else "", "a list of values, or a table with low and high")
            if place and isinstance(place[-1], int):
                rule = _RULES["constraint[]"] if names == ["constraint"] else VALUE
            yield f"{where}: must be {rule}, got {settings.shown(fault['input'])}"


def _known(names: list[str]) -> list[str]:
    """Return the settings of the table that an unknown one stands in."""
    if names[0] in ("search", "robust"):
        return list((Range if names[0] == "search" else Span).model_fields)
    if names[0] == "constraint":
        return list((Shortfall if "expected_shortfall" in names[:-1] else Limit).model_fields)
    return list(Question.model_fields)
