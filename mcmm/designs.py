"""Designs: which points of the settings' space a study visits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

__all__ = ["MAX_POINTS", "Grid", "Span", "Value"]

MAX_POINTS = 1_000_000
# Twelve digits hide the last bits of a power or a product, in which two machines' libraries may differ.
_DIGITS = 12

Value = bool | int | float | str

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


_Values = Annotated[tuple[Value, ...], Field(strict=False, min_length=1)]
Axis = Annotated[Annotated[_Values, Tag("values")] | Annotated[Span, Tag("span")], Discriminator(_form)]


class Grid(BaseModel):
    """Every combination of the axes' values; the first axis varies slowest.

    Attributes
    ----------
    design : {"grid"}
        How the points are laid out.
    axes : dict of str to (tuple of values or Span)
        By dotted name of a scenario's setting.
    """

    model_config = _TABLE

    design: Literal["grid"] = "grid"
    axes: dict[str, Axis] = Field(min_length=1)

    @field_validator("axes")
    @classmethod
    def _distinct(cls, axes: dict[str, Axis]) -> dict[str, Axis]:
        for name, axis in axes.items():
            values = axis.values() if isinstance(axis, Span) else axis
            for i, value in enumerate(values):
                if isinstance(value, float) and math.isnan(value):
                    raise ValueError(f"{name} must not hold NaN")
                if value in values[:i]:
                    raise ValueError(f"{name} must not hold a value twice, got {value!r} again")
        return axes

    @cached_property
    def values(self) -> dict[str, tuple[Value, ...]]:
        """Each axis' values, by its name."""
        return {name: axis.values() if isinstance(axis, Span) else axis for name, axis in self.axes.items()}

    @cached_property
    def count(self) -> int:
        """How many points the grid has."""
        return math.prod(len(values) for values in self.values.values())

    def at(self, point: int) -> dict[str, Value]:
        """Return each axis' value at a point."""
        found: list[tuple[str, Value]] = []
        rest = point
        for name, values in reversed(self.values.items()):
            rest, position = divmod(rest, len(values))
            found.append((name, values[position]))
        return dict(reversed(found))
