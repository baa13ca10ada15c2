"""What is to be made large: a sum of statistics of paths, such as ``"mean(pnl_settled)"``, read safely.

An objective is a sum of terms, each a number times one of ``mean(METRIC)``,
``expected_shortfall(METRIC, LEVEL)``, ``probability(EVENT)`` or the name of a setting; so
``"mean(pnl_settled) - 0.5 * expected_shortfall(pnl_settled, 0.99)"`` is one, and ``"risk.inventory_limit"``,
which asks for the largest limit. Like `mcmm.expressions` it is parsed and looked at, never run.
"""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass, field
from typing import Literal

from mcmm.expressions import Event, check_length, dotted

__all__ = ["Objective", "Statistic"]

_ALLOWED = (
    "must be a sum of numbers times mean(METRIC), expected_shortfall(METRIC, LEVEL), probability(EVENT) "
    'or settings; as in "mean(pnl_settled) - 0.5 * expected_shortfall(pnl_settled, 0.99)"'
)


@dataclass(frozen=True)
class Statistic:
    """A number of the distribution of paths.

    Attributes
    ----------
    kind : {"mean", "expected_shortfall", "probability"}
        What of it.
    of : str
        A metric, or for a probability an event.
    level : float
        Of an expected shortfall, strictly between 0 and 1; else NaN.
    """

    kind: Literal["mean", "expected_shortfall", "probability"]
    of: str
    level: float = math.nan

    def __post_init__(self) -> None:
        """Refuse a level that is none."""
        if self.kind == "expected_shortfall" and not 0.0 < self.level < 1.0:
            raise ValueError(f"level must be strictly between 0 and 1, got {self.level:g}")

    @property
    def metrics(self) -> frozenset[str]:
        """The metrics it is worked out from."""
        return Event(self.of).names if self.kind == "probability" else frozenset((self.of,))

    @property
    def label(self) -> str:
        """How one writes it."""
        match self.kind:
            case "probability":
                return f"P({self.of})"
            case "expected_shortfall":
                return f"ES({self.of}, {self.level:g})"
        return f"mean({self.of})"


@dataclass(frozen=True)
class Objective:
    """A sum of statistics and settings, each times a number.

    Parameters
    ----------
    text : str
        The expression.

    Attributes
    ----------
    statistics : tuple of (float, Statistic)
        The statistics and what each is multiplied by.
    settings : tuple of (float, str)
        The settings and what each is multiplied by.
    constant : float
        What is added.

    Raises
    ------
    ValueError
        If it is not such a sum; the message has the rule and what broke it.
    """

    text: str
    statistics: tuple[tuple[float, Statistic], ...] = field(init=False, compare=False)
    settings: tuple[tuple[float, str], ...] = field(init=False, compare=False)
    constant: float = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Parse it."""
        check_length(self.text)
        try:
            terms = _terms(ast.parse(self.text.strip(), mode="eval").body, self.text)
        except (SyntaxError, RecursionError, MemoryError, ZeroDivisionError, OverflowError):
            raise ValueError(f"{_ALLOWED}, got {self.text!r}") from None
        statistics = tuple((factor, term) for factor, term in terms if isinstance(term, Statistic))
        settings = tuple((factor, term) for factor, term in terms if isinstance(term, str))
        if not statistics and not settings:
            raise ValueError(f"must speak of a statistic or a setting, got {self.text!r}")
        object.__setattr__(self, "statistics", statistics)
        object.__setattr__(self, "settings", settings)
        object.__setattr__(self, "constant", math.fsum(factor for factor, term in terms if term is None))

    @property
    def setting(self) -> str:
        """The setting, where the objective is one setting alone, times a number; else empty."""
        if self.statistics or len(self.settings) != 1 or self.settings[0][0] == 0.0:
            return ""
        return self.settings[0][1]

    @property
    def downwards(self) -> bool:
        """Whether the objective is one setting alone, and the smallest of it is wanted."""
        return bool(self.setting) and self.settings[0][0] < 0.0


Term = tuple[float, Statistic | str | None]


def _terms(node: ast.expr, text: str) -> list[Term]:
    """Return a sum's terms; that of a number has no name."""
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return [(float(number), None)]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            return _times(_terms(operand, text), -1.0 if isinstance(sign, ast.USub) else 1.0)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [*_terms(left, text), *_terms(right, text)]
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return [*_terms(left, text), *_times(_terms(right, text), -1.0)]
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            one, other = _terms(left, text), _terms(right, text)
            if (factor := _number(one)) is not None:
                return _times(other, factor)
            if (factor := _number(other)) is not None:
                return _times(one, factor)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            if (factor := _number(_terms(right, text))) is not None:
                return _times(_terms(left, text), 1.0 / factor)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return [(1.0, _statistic(name, arguments, text))]
        case ast.Attribute() | ast.Name(id="steps"):
            return [(1.0, dotted(node, text))]
    part = ast.unparse(node)
    raise ValueError(f"{_ALLOWED}, got {part!r}" + (f" in {text!r}" if part != text else ""))


def _times(terms: list[Term], factor: float) -> list[Term]:
    return [(factor * each, term) for each, term in terms]


def _number(terms: list[Term]) -> float | None:
    """Return what the terms add up to, if they are numbers alone."""
    return math.fsum(factor for factor, _ in terms) if all(term is None for _, term in terms) else None


def _statistic(name: str, arguments: list[ast.expr], text: str) -> Statistic:
    match name, arguments:
        case "mean", [ast.Name() | ast.Attribute() as metric]:
            return Statistic("mean", dotted(metric, text))
        case "expected_shortfall", [
            ast.Name() | ast.Attribute() as metric,
            ast.Constant(value=float() as level),
        ]:
            return Statistic("expected_shortfall", dotted(metric, text), level)
        case "probability", [event]:
            return Statistic("probability", Event(ast.unparse(event)).text)
    raise ValueError(f"{_ALLOWED}, got {text!r}")
