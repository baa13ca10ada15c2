"""Axes: the values that a study's points take along one setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

__all__ = ["MAX_POINTS", "TABLE", "Axis", "Range", "SampledAxis", "Span", "Value", "check_values", "plain"]

MAX_POINTS = 1_000_000
# Twelve digits hide the last bits of a power or a product, in which two machines' libraries may differ.
_DIGITS = 12

Value = bool | int | float | str
FloatArray = npt.NDArray[np.float64]

TABLE = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=True)


class Range(BaseModel):
    """An axis that takes any value between two ends.

    Attributes
    ----------
    low, high : float
        The ends; finite, low < high, and low > 0 on a logarithmic scale.
    scale : {"linear", "log"}
        Even over differences or over ratios.
    integer : bool
        Whole numbers only (for settings that take no others).
    """

    model_config = TABLE

    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    scale: Literal["linear", "log"] = "linear"
    integer: bool = False

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be < high, got low = {self.low:g}, high = {self.high:g}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"low must be > 0 on a log scale, got {self.low:g}")
        if self.integer and math.ceil(self.low) > math.floor(self.high):
            raise ValueError(f"must hold a whole number, got low = {self.low:g}, high = {self.high:g}")
        return self

    def between(self, share: float) -> float:
        """Return the value at a share of the way from low to high."""
        if self.scale == "log":
            return float(self.low * (self.high / self.low) ** share)
        return self.low + (self.high - self.low) * share

    def spread(self, shares: FloatArray) -> list[Value]:
        """Return the values at shares in [0, 1), to 12 digits; of whole numbers, each has its part."""
        if not self.integer:
            return [float(f"{self.between(share):.{_DIGITS}g}") for share in shares.tolist()]
        first, last = math.ceil(self.low), math.floor(self.high)
        if self.scale == "linear":
            return [min(first + math.floor(share * (last - first + 1)), last) for share in shares.tolist()]
        wide = Range.model_construct(low=first - 0.5, high=last + 0.5, scale="log")
        return [min(max(round(wide.between(share)), first), last) for share in shares.tolist()]


class Span(Range):
    """Values of an axis spread evenly between two ends, both included.

    Attributes
    ----------
    count : int
        How many values, >= 2.
    """

    count: int = Field(ge=2, le=MAX_POINTS)

    @model_validator(mode="after")
    def _check(self) -> Self:
        values = self.values()
        if len(set(values)) < len(values):
            what = "whole numbers" if self.integer else "numbers that differ in their first 12 digits"
            raise ValueError(f"count must not exceed the {what} between low and high, got {self.count}")
        return self

    def values(self) -> tuple[int | float, ...]:
        """Return the values, ascending, rounded to 12 significant digits or to whole numbers."""
        exact = [self.between(i / (self.count - 1)) for i in range(self.count)]
        exact[0], exact[-1] = self.low, self.high
        if self.integer:
            return tuple(round(value) for value in exact)
        return tuple(float(f"{value:.{_DIGITS}g}") for value in exact)


def _form(axis: object) -> str:
    """Tell the two ways to write an axis apart."""
    return "span" if isinstance(axis, Mapping | Range) else "values"


def plain(value: object) -> object:
    """Make Python's numbers of numpy's, of an array too: a whole one would else be taken for a float."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if not isinstance(value, list | tuple):
        return value
    return [each.item() if isinstance(each, np.generic) else each for each in value]


_Values = Annotated[tuple[Value, ...], BeforeValidator(plain), Field(strict=False, min_length=1)]
Axis = Annotated[Annotated[_Values, Tag("values")] | Annotated[Span, Tag("span")], Discriminator(_form)]
SampledAxis = Annotated[
    Annotated[_Values, Tag("values")] | Annotated[Range, Tag("span")], Discriminator(_form)
]


def check_values(name: str, values: Sequence[Value]) -> None:
    """Raise ValueError if an axis holds NaN or a value twice."""
    seen: list[Value] | set[Value] = []
    if len({type(value) for value in values}) == 1:
        seen = set()
    for value in values:
        if isinstance(value, float) and math.isnan(value):
            raise ValueError(f"{name} must not hold NaN")
        if value in seen:
            raise ValueError(f"{name} must not hold a value twice, got {value!r} again")
        seen.add(value) if isinstance(seen, set) else seen.append(value)
