"""Designs: which points of the settings' space a study visits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

__all__ = ["MAX_POINTS", "Cell", "Points", "Span", "Value"]

MAX_POINTS = 1_000_000
# Twelve digits hide the last bits of a power or a product, in which two machines' libraries may differ.
_DIGITS = 12

Cell = bool | int | float | str
Value = Cell | list[Any]

_TABLE = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=True)


class Span(BaseModel):
    """Values of an axis spread evenly between two ends, both included.

    Attributes
    ----------
    low, high : float
        The ends; finite, low < high, and low > 0 on a logarithmic scale.
    count : int
        How many values, >= 2.
    scale : {"linear", "log"}
        Even differences or even ratios.
    integer : bool
        Round to whole numbers (for settings that take no others).
    """

    model_config = _TABLE

    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    count: int = Field(ge=2, le=MAX_POINTS)
    scale: Literal["linear", "log"] = "linear"
    integer: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be < high, got low = {self.low:g}, high = {self.high:g}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"low must be > 0 on a log scale, got {self.low:g}")
        values = self.values()
        if len(set(values)) < len(values):
            what = "whole numbers" if self.integer else "numbers that differ in their first 12 digits"
            raise ValueError(f"count must not exceed the {what} between low and high, got {self.count}")
        return self

    def values(self) -> tuple[int | float, ...]:
        """Return the values, ascending, rounded to 12 significant digits or to whole numbers."""
        shares = [i / (self.count - 1) for i in range(self.count)]
        if self.scale == "log":
            exact = [self.low * (self.high / self.low) ** share for share in shares]
        else:
            exact = [self.low + (self.high - self.low) * share for share in shares]
        exact[0], exact[-1] = self.low, self.high
        if self.integer:
            return tuple(round(value) for value in exact)
        return tuple(float(f"{value:.{_DIGITS}g}") for value in exact)


def _form(axis: object) -> str:
    """Tell the two ways to write an axis apart."""
    return "span" if isinstance(axis, Mapping | Span) else "values"


def _lists(value: object) -> object:
    """Turn tuples within an axis' values into lists, as a file has them."""
    return [_lists(each) for each in value] if isinstance(value, list | tuple) else value


_Values = Annotated[tuple[Value, ...], Field(strict=False, min_length=1), BeforeValidator(_lists)]
Axis = Annotated[Annotated[_Values, Tag("values")] | Annotated[Span, Tag("span")], Discriminator(_form)]


class Points(BaseModel):
    """Every combination of the axes' values, the first axis varying slowest; or a list of points.

    Attributes
    ----------
    design : {"grid", "list"}
        How the points are laid out: `list` takes the first value of every axis, then the second, and so on.
    axes : dict of str to (tuple of values or Span)
        By dotted name of a scenario's setting. A value may be a list where the setting is one.
    """

    model_config = _TABLE

    design: Literal["grid", "list"] = "grid"
    axes: dict[str, Axis] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for name, values in self._spread.items():
            for i, value in enumerate(values):
                if isinstance(value, float) and math.isnan(value):
                    raise ValueError(f"axes: {name} must not hold NaN")
                if self.design == "grid" and value in values[:i]:
                    raise ValueError(f"axes: {name} must not hold a value twice, got {value!r} again")
        if self.design == "list":
            if len({len(values) for values in self._spread.values()}) > 1:
                lengths = ", ".join(f"{name} {len(values)}" for name, values in self._spread.items())
                raise ValueError(f"axes: must be of one length in a list of points, got {lengths}")
            seen: set[str] = set()
            for point in range(self.count):
                row = repr(self.at(point))
                if row in seen:
                    raise ValueError(f"axes: must not make a point twice, got {row} again")
                seen.add(row)
        return self

    @cached_property
    def _spread(self) -> dict[str, tuple[Value, ...]]:
        return {name: axis.values() if isinstance(axis, Span) else axis for name, axis in self.axes.items()}

    @cached_property
    def values(self) -> dict[str, tuple[Value, ...]]:
        """Each axis' values, by its name, each once."""
        if self.design == "grid":
            return self._spread
        return {
            name: tuple({repr(value): value for value in values}.values())
            for name, values in self._spread.items()
        }

    @cached_property
    def count(self) -> int:
        """How many points there are."""
        lengths = [len(values) for values in self._spread.values()]
        return math.prod(lengths) if self.design == "grid" else lengths[0]

    def at(self, point: int) -> dict[str, Value]:
        """Return each axis' value at a point."""
        if self.design == "list":
            return {name: values[point] for name, values in self._spread.items()}
        found: list[tuple[str, Value]] = []
        rest = point
        for name, values in reversed(self._spread.items()):
            rest, position = divmod(rest, len(values))
            found.append((name, values[position]))
        return dict(reversed(found))
