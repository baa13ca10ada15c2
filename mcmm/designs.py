"""Designs: which points of the settings' space a study visits."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from mcmm.axes import MAX_POINTS, TABLE, Axis, Range, SampledAxis, Span, Value, check_values, plain
from mcmm.expressions import Constraint

__all__ = [
    "DESIGNS",
    "Design",
    "Grid",
    "Indices",
    "Listed",
    "Points",
    "Product",
    "Sample",
    "Union",
]

MAX_SAMPLES = 1 << 19
"""The most samples of a design."""

Base = Callable[[str], Any]
FloatArray = npt.NDArray[np.float64]


class Points:
    """Points that are written down: a value of each axis for each of them.

    Parameters
    ----------
    columns : mapping of str to sequence of values
        By axis, in order; all of one length. Numbers are kept as arrays.
    """

    def __init__(self, columns: Mapping[str, Sequence[Value]]) -> None:
        self.names = tuple(columns)
        self._columns = [_packed(column) for column in columns.values()]
        self.count = len(self._columns[0]) if self._columns else 0

    def at(self, point: int) -> dict[str, Value]:
        """Return each axis' value at a point."""
        values = (column[point] for column in self._columns)
        found = (value.item() if isinstance(value, np.generic) else value for value in values)
        return dict(zip(self.names, found, strict=True))

    def rows(self) -> Iterator[tuple[Value, ...]]:
        """Yield the points, each as its values in order of the axes."""
        columns = [column.tolist() if isinstance(column, np.ndarray) else column for column in self._columns]
        return zip(*columns, strict=True)

    def __eq__(self, other: object) -> bool:
        """Tell whether they are the same points in the same order."""
        return (
            isinstance(other, Points)
            and self.names == other.names
            and list(self.rows()) == list(other.rows())
        )

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def of_rows(cls, names: Sequence[str], rows: Sequence[tuple[Value, ...]]) -> Points:
        """Make them of one tuple a point."""
        columns: list[Any] = list(zip(*rows, strict=True)) if rows else [() for _ in names]
        return cls(dict(zip(names, columns, strict=True)))


def _packed(column: Sequence[Value]) -> Any:
    kinds = {type(value) for value in column}
    if kinds == {float}:
        return np.array(column, dtype=np.float64)
    small = kinds == {int} and all(abs(value) < 2**63 for value in column if isinstance(value, int))
    return np.array(column, dtype=np.int64) if small else list(column)


class _Design(BaseModel, ABC):
    """What all designs have.

    Attributes
    ----------
    constraints : tuple of str
        Rules that a point must keep, or is left out; see `mcmm.expressions`.
    """

    model_config = TABLE

    constraints: tuple[str, ...] = Field(default=(), strict=False)

    @field_validator("constraints")
    @classmethod
    def _parsed(cls, constraints: tuple[str, ...]) -> tuple[str, ...]:
        for text in constraints:
            Constraint(text)
        return constraints

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The axes, in order."""

    @property
    @abstractmethod
    def most(self) -> int:
        """How many points there are before the constraints."""

    @abstractmethod
    def _rows(self, seed: int, base: Base) -> Sequence[tuple[Value, ...]]:
        """Return the values of all points before the constraints, in the order of the axes."""

    def rules(self) -> Iterator[Constraint]:
        """Yield the constraints, those of the designs within it too."""
        yield from map(Constraint, self.constraints)

    def build(self, seed: int, base: Base) -> Points:
        """Write the points down.

        Parameters
        ----------
        seed : int
            The study's, for designs that draw.
        base : callable
            Returns the study's scenario's value of a setting, which a constraint may name and a design of a
            combination leave out.

        Raises
        ------
        ValueError
            If the constraints leave no point, or cannot be worked out.
        """
        return Points.of_rows(self.names, self.kept(seed, base))

    def kept(self, seed: int, base: Base) -> Sequence[tuple[Value, ...]]:
        """Return the points that keep the constraints."""
        rows = self._rows(seed, base)
        rules = [Constraint(text) for text in self.constraints]
        if not rules:
            return rows
        at = {name: place for place, name in enumerate(self.names)}
        others = {name: base(name) for rule in rules for name in rule.names if name not in at}

        def keeps(row: tuple[Value, ...]) -> bool:
            def lookup(name: str) -> Any:
                return row[at[name]] if name in at else others[name]

            return all(rule.holds(lookup) for rule in rules)

        kept = [row for row in rows if keeps(row)]
        if not kept:
            raise ValueError(f"constraints: leave none of the {len(rows)} points")
        return kept


class Grid(_Design):
    """Every combination of the axes' values; the first axis varies slowest.

    Attributes
    ----------
    design : {"grid"}
        How the points are laid out.
    axes : dict of str to (tuple of values or Span)
        By dotted name of a scenario's setting.
    """

    design: Literal["grid"] = "grid"
    axes: dict[str, Axis] = Field(min_length=1)

    @field_validator("axes")
    @classmethod
    def _distinct(cls, axes: dict[str, Axis]) -> dict[str, Axis]:
        for name, axis in axes.items():
            check_values(name, axis.values() if isinstance(axis, Span) else axis)
        return axes

    @cached_property
    def values(self) -> dict[str, tuple[Value, ...]]:
        """Each axis' values, by its name."""
        return {name: axis.values() if isinstance(axis, Span) else axis for name, axis in self.axes.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The axes, in order."""
        return tuple(self.axes)

    @property
    def most(self) -> int:
        """How many points the grid has."""
        return math.prod(len(values) for values in self.values.values())

    # The points of a bare grid need no list of them.

    @property
    def count(self) -> int:
        """How many points the grid has."""
        return self.most

    def at(self, point: int) -> dict[str, Value]:
        """Return each axis' value at a point."""
        found: list[tuple[str, Value]] = []
        rest = point
        for name, values in reversed(self.values.items()):
            rest, position = divmod(rest, len(values))
            found.append((name, values[position]))
        return dict(reversed(found))

    def rows(self) -> Iterator[tuple[Value, ...]]:
        """Yield the points, each as its values in order of the axes."""
        return itertools.product(*self.values.values())

    def _rows(self, seed: int, base: Base) -> Sequence[tuple[Value, ...]]:
        return list(self.rows())


class Listed(_Design):
    """Points one by one.

    Attributes
    ----------
    design : {"list"}
        How the points are laid out.
    points : tuple of dict
        The settings of each; what one leaves out and another has is the scenario's.
    """

    design: Literal["list"]
    points: tuple[dict[str, Annotated[Value, BeforeValidator(plain)]], ...] = Field(
        strict=False, min_length=1, max_length=MAX_POINTS
    )

    @field_validator("points")
    @classmethod
    def _distinct(cls, points: tuple[dict[str, Value], ...]) -> tuple[dict[str, Value], ...]:
        if not all(points):
            raise ValueError("must have a setting in each point, got a point without one")
        if any(
            isinstance(value, float) and math.isnan(value) for point in points for value in point.values()
        ):
            raise ValueError("must not hold NaN")
        return points

    @property
    def names(self) -> tuple[str, ...]:
        """The axes, in order."""
        return tuple(dict.fromkeys(name for point in self.points for name in point))

    @property
    def most(self) -> int:
        """How many points there are before the constraints."""
        return len(self.points)

    def _rows(self, seed: int, base: Base) -> Sequence[tuple[Value, ...]]:
        rows = [_filled(self.names, point, base) for point in self.points]
        seen: set[tuple[Value, ...]] = set()
        for place, row in enumerate(rows):
            if row in seen:
                raise ValueError(f"points: must not hold a point twice, got point {place} again")
            seen.add(row)
        return rows


class Sample(_Design):
    """Points spread evenly over the axes' ranges by `scipy.stats.qmc`, scrambled with the study's seed.

    Attributes
    ----------
    design : {"sobol", "latin_hypercube"}
        A Sobol sequence, or a Latin hypercube.
    samples : int
        How many points, before the constraints; of a Sobol sequence a power of 2.
    axes : dict of str to (tuple of values or Range)
        By dotted name of a scenario's setting; a list of values is a choice, each as likely.
    """

    design: Literal["sobol", "latin_hypercube"]
    samples: int = Field(ge=2, le=MAX_SAMPLES)
    axes: dict[str, SampledAxis] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, axis in self.axes.items():
            if not isinstance(axis, Range):
                check_values(name, axis)
        if self.design != "latin_hypercube" and self.samples & (self.samples - 1):
            raise ValueError(f"samples must be a power of 2 for a {self.design} design, got {self.samples}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The axes, in order."""
        return tuple(self.axes)

    @property
    def most(self) -> int:
        """How many points there are before the constraints."""
        return self.samples

    def _rows(self, seed: int, base: Base) -> Sequence[tuple[Value, ...]]:
        return self._spread(draw(self.design, len(self.axes), self.samples, seed))

    def _spread(self, shares: FloatArray) -> list[tuple[Value, ...]]:
        columns = [
            axis.spread(column)
            if isinstance(axis, Range)
            else [axis[min(math.floor(share * len(axis)), len(axis) - 1)] for share in column.tolist()]
            for axis, column in zip(self.axes.values(), shares.T, strict=True)
        ]
        return list(zip(*columns, strict=True))


class Indices(Sample):
    """The points from which `scipy.stats.sobol_indices` tells how much of the variance each axis makes.

    After Saltelli: two independent samples A and B, then for each axis A with that axis taken from B, so
    ``samples * (axes + 2)`` points, in this order.

    Attributes
    ----------
    design : {"sobol_indices"}
        How the points are laid out.
    """

    design: Literal["sobol_indices"]  # type: ignore[assignment]

    @field_validator("constraints")
    @classmethod
    def _none(cls, constraints: tuple[str, ...]) -> tuple[str, ...]:
        if constraints:
            raise ValueError("must be left out with sobol_indices, which needs every point")
        return constraints

    @property
    def most(self) -> int:
        """How many points there are."""
        return self.samples * (len(self.axes) + 2)

    def _rows(self, seed: int, base: Base) -> Sequence[tuple[Value, ...]]:
        width = len(self.axes)
        both = draw("sobol", 2 * width, self.samples, seed)
        one, other = both[:, :width], both[:, width:]
        mixed = [np.where(np.arange(width) == place, other, one) for place in range(width)]
        return self._spread(np.concatenate([one, other, *mixed]))


class _Combined(_Design):
    """A design made of others."""

    designs: tuple[Design, ...] = Field(strict=False, min_length=1)

    @property
    def names(self) -> tuple[str, ...]:
        """The axes, in order."""
        return tuple(dict.fromkeys(name for design in self.designs for name in design.names))

    @field_validator("designs")
    @classmethod
    def _alone(cls, designs: tuple[Design, ...]) -> tuple[Design, ...]:
        if any(isinstance(design, Indices) for design in designs):
            raise ValueError("must not hold sobol_indices, which needs a study of its own")
        return designs

    def rules(self) -> Iterator[Constraint]:
        """Yield the constraints, those of the designs within it too."""
        yield from super().rules()
        for design in self.designs:
            yield from design.rules()


class Union(_Combined):
    """The points of several designs, one after the other; a point that was there before is left out.

    Attributes
    ----------
    design : {"union"}
        How the points are laid out.
    designs : tuple of designs
        What an axis is not in one of them is the scenario's value there.
    """

    design: Literal["union"]

    @property
    def most(self) -> int:
        """How many points there are before the constraints."""
        return sum(design.most for design in self.designs)

    def _rows(self, seed: int, base: Base) -> Sequence[tuple[Value, ...]]:
        rows = (
            _filled(self.names, dict(zip(design.names, row, strict=True)), base)
            for design in self.designs
            for row in design.kept(seed, base)
        )
        return list(dict.fromkeys(rows))


class Product(_Combined):
    """Every point of one design with every point of the others, which have other axes; the first is slowest.

    Attributes
    ----------
    design : {"product"}
        How the points are laid out.
    designs : tuple of designs
        With different axes.
    """

    design: Literal["product"]

    @model_validator(mode="after")
    def _apart(self) -> Self:
        names = [name for design in self.designs for name in design.names]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"designs of a product must have different axes, got {twice} twice")
        return self

    @property
    def most(self) -> int:
        """How many points there are before the constraints."""
        return math.prod(design.most for design in self.designs)

    def _rows(self, seed: int, base: Base) -> Sequence[tuple[Value, ...]]:
        parts = itertools.product(*(design.kept(seed, base) for design in self.designs))
        return [tuple(itertools.chain.from_iterable(rows)) for rows in parts]


DESIGNS: dict[str, type[_Design]] = {
    "grid": Grid,
    "list": Listed,
    "sobol": Sample,
    "latin_hypercube": Sample,
    "sobol_indices": Indices,
    "union": Union,
    "product": Product,
}


def _kind(design: object) -> str | None:
    """Tell designs apart by their name."""
    name = design.get("design", "grid") if isinstance(design, Mapping) else getattr(design, "design", None)
    return DESIGNS[name].__name__ if isinstance(name, str) and name in DESIGNS else None


Design = Annotated[
    Annotated[Grid, Tag("Grid")]
    | Annotated[Listed, Tag("Listed")]
    | Annotated[Sample, Tag("Sample")]
    | Annotated[Indices, Tag("Indices")]
    | Annotated[Union, Tag("Union")]
    | Annotated[Product, Tag("Product")],
    Discriminator(_kind),
]
_Combined.model_rebuild()
Union.model_rebuild()
Product.model_rebuild()


def draw(design: str, axes: int, samples: int, seed: int) -> FloatArray:
    """Draw a sample of the unit cube.

    Parameters
    ----------
    design : {"sobol", "latin_hypercube"}
        Which.
    axes, samples, seed : int
        Its size, and the seed of its scrambling.

    Returns
    -------
    ndarray of shape (samples, axes)
        In [0, 1).
    """
    from scipy.stats import qmc

    generator = np.random.default_rng(seed)
    engine = (qmc.Sobol if design == "sobol" else qmc.LatinHypercube)(axes, rng=generator)
    return np.minimum(np.asarray(engine.random(samples)), np.nextafter(1.0, 0.0))


def _filled(names: Sequence[str], point: Mapping[str, Value], base: Base) -> tuple[Value, ...]:
    """Return a point's values of these axes, those it leaves out from the scenario."""
    row = []
    for name in names:
        value = point[name] if name in point else base(name)
        if value is None:
            raise ValueError(f"{name} must be given in every design: the scenario derives it")
        row.append(value)
    return tuple(row)
