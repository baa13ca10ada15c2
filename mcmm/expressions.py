"""Constraints between settings and events on paths, as ``"max_drawdown_fair > 50"``, read safely.

An expression is parsed to Python's syntax tree and only looked at: comparisons, + - * /, brackets, ``and``,
``or``, ``not``, numbers, texts in quotes, ``true``, ``false``, ``inf`` and dotted names of settings. Whatever
else is in the tree is refused before anything is worked out, and nothing is ever run as code. The name of a
market, as in ``markets.cut-25.quoting.base_spread``, need be no name of Python's: it is spelled as one before
the parsing.
"""

from __future__ import annotations

import ast
import itertools
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Constraint", "Event", "check_length", "dotted"]

Value = Any  # bool, float or str of a point's setting; an array of a metric's values
Lookup = Callable[[str], Any]
Evaluate = Callable[[Lookup], Value]

_LONGEST = 1000
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class _Logic:
    """How truths are joined: of one point lazily, of many paths element by element."""

    every: Callable[[Any], Any]
    some: Callable[[Any], Any]
    deny: Callable[[Any], Any]


_OF_A_POINT = _Logic(all, any, operator.not_)
_OF_PATHS = _Logic(
    lambda parts: np.logical_and.reduce(list(parts)),
    lambda parts: np.logical_or.reduce(list(parts)),
    np.logical_not,
)
_WORDS = {"true": True, "false": False, "inf": math.inf}
_MARKET = re.compile(r"\bmarkets\.([A-Za-z0-9_-]+)\.")
_SPELLED = re.compile(r"\bmarkets\._([0-9a-f]+)\.")
_ALLOWED = (
    "must be a comparison of settings and numbers, with + - * /, brackets, and, or, not; "
    'as in "quoting.defensive_shade < quoting.base_spread"'
)
_EVENT = (
    "must be a comparison of metrics and numbers, with + - * /, brackets, and, or, not; "
    'as in "max_drawdown_fair > 50"'
)


@dataclass(frozen=True)
class Constraint:
    """A rule that a point's settings must keep.

    Parameters
    ----------
    text : str
        The expression.

    Attributes
    ----------
    names : frozenset of str
        The settings it speaks of.

    Raises
    ------
    ValueError
        If it is not such an expression; the message has the rule and what broke it.
    """

    text: str
    names: frozenset[str] = field(init=False, compare=False)
    _evaluate: Evaluate = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Parse it."""
        check_length(self.text)
        names: set[str] = set()
        try:
            tree = ast.parse(_MARKET.sub(_spell, self.text.strip()), mode="eval").body
            if not isinstance(tree, ast.Compare | ast.BoolOp | ast.UnaryOp):
                raise ValueError(_refusal(self.text, tree))
            evaluate = _truth(tree, self.text, names, _OF_A_POINT)
        except (SyntaxError, RecursionError, MemoryError):
            raise ValueError(f"{_ALLOWED}, got {self.text!r}") from None
        if not names:
            raise ValueError(f"must speak of a setting, got {self.text!r}")
        object.__setattr__(self, "names", frozenset(names))
        object.__setattr__(self, "_evaluate", evaluate)

    def holds(self, lookup: Lookup) -> bool:
        """Tell whether a point keeps the rule.

        Parameters
        ----------
        lookup : callable
            Returns a setting's value by its dotted name.

        Raises
        ------
        ValueError
            If the values cannot be compared or computed with, such as a text with a number.
        """
        try:
            return bool(self._evaluate(lookup))
        except (TypeError, ZeroDivisionError, OverflowError) as error:
            reason = (
                "divides by 0" if isinstance(error, ZeroDivisionError) else "compares what cannot be compared"
            )
            raise ValueError(f"{self.text!r} {reason}") from None


@dataclass(frozen=True)
class Event:
    """Something that happens on a path or not, told from its metrics: ``"max_drawdown_fair > 50"``.

    A comparison with a metric that does not apply to a path (NaN) is false on it.

    Parameters
    ----------
    text : str
        The expression.

    Attributes
    ----------
    names : frozenset of str
        The metrics it speaks of.

    Raises
    ------
    ValueError
        If it is not such an expression; the message has the rule and what broke it.
    """

    text: str
    names: frozenset[str] = field(init=False, compare=False)
    _evaluate: Evaluate = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Parse it, and try it on two paths."""
        check_length(self.text)
        names: set[str] = set()
        try:
            tree = ast.parse(self.text.strip(), mode="eval").body
            evaluate = _truth(tree, self.text, names, _OF_PATHS)
            alien = any(map(_is_alien, ast.walk(tree)))
            if alien or not names or not isinstance(tree, ast.Compare | ast.BoolOp | ast.UnaryOp):
                raise ValueError(f"{_EVENT}, got {self.text!r}")
            with np.errstate(all="ignore"):
                evaluate(lambda _: np.ones(2))
        except (SyntaxError, RecursionError, MemoryError, TypeError, ValueError, ZeroDivisionError):
            raise ValueError(f"{_EVENT}, got {self.text!r}") from None
        object.__setattr__(self, "names", frozenset(names))
        object.__setattr__(self, "_evaluate", evaluate)

    def on(self, lookup: Lookup) -> npt.NDArray[np.bool_]:
        """Tell on which paths it happens.

        Parameters
        ----------
        lookup : callable
            Returns a metric's values by its name, an array of shape (paths,).

        Returns
        -------
        ndarray of bool, shape (paths,)
        """
        with np.errstate(all="ignore"):
            return np.asarray(self._evaluate(lookup), dtype=np.bool_)


def check_length(text: str) -> None:
    """Raise ValueError if an expression is too long to be one."""
    if len(text) > _LONGEST:
        raise ValueError(f"must have at most {_LONGEST} characters, got {len(text)}")


def _is_alien(node: ast.AST) -> bool:
    """Whether this is a text or a truth, which no metric is."""
    if isinstance(node, ast.Name):
        return isinstance(_WORDS.get(node.id), bool)
    return isinstance(node, ast.Constant) and isinstance(node.value, bool | str)


def _spell(market: re.Match[str]) -> str:
    return f"markets._{market[1].encode().hex()}."


def _unspell(text: str) -> str:
    return _SPELLED.sub(lambda market: f"markets.{bytes.fromhex(market[1]).decode()}.", text)


def _refusal(text: str, node: ast.AST) -> str:
    part = _unspell(ast.unparse(node))
    return f"{_ALLOWED}, got {part!r}" + (f" in {text!r}" if part != text else "")


def _truth(node: ast.expr, text: str, names: set[str], logic: _Logic) -> Evaluate:
    """Return what works out a node that is true or false."""
    match node:
        case ast.BoolOp(op=op, values=values):
            parts = [_truth(value, text, names, logic) for value in values]
            join = logic.every if isinstance(op, ast.And) else logic.some
            return lambda lookup: join(part(lookup) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            denied = _truth(operand, text, names, logic)
            return lambda lookup: logic.deny(denied(lookup))
        case ast.Compare(left=left, ops=ops, comparators=others):
            if any(type(op) not in _COMPARE for op in ops):
                raise ValueError(_refusal(text, node))
            terms = [_value(term, text, names) for term in (left, *others)]
            rules = [_COMPARE[type(op)] for op in ops]

            def compare(lookup: Lookup) -> Value:
                values = [term(lookup) for term in terms]
                pairs = itertools.pairwise(values)
                return logic.every(rule(*pair) for rule, pair in zip(rules, pairs, strict=True))

            return compare
        case ast.Name() | ast.Attribute() | ast.Constant(value=bool()):  # a setting that is true or false
            value = _value(node, text, names)

            def is_true(lookup: Lookup) -> bool:
                found = value(lookup)
                if not isinstance(found, bool):
                    raise TypeError
                return found

            return is_true
    raise ValueError(_refusal(text, node))


def _value(node: ast.expr, text: str, names: set[str]) -> Evaluate:
    """Return what works out a number, a text or a setting."""
    match node:
        case ast.Constant(value=str() as words):
            meant_words = _unspell(words)
            return lambda _: meant_words
        case ast.Constant(value=bool() as constant):
            return lambda _: constant
        case ast.Constant(value=int() | float() as constant):
            try:
                number = float(constant)
            except OverflowError:
                raise ValueError(_refusal(text, node)) from None
            return lambda _: number
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            inner = _value(operand, text, names)
            factor = -1.0 if isinstance(sign, ast.USub) else 1.0
            return lambda lookup: factor * _number(inner(lookup))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            one, other = _value(left, text, names), _value(right, text, names)
            work = _ARITHMETIC[type(op)]
            return lambda lookup: work(_number(one(lookup)), _number(other(lookup)))
        case ast.Name(id=word) if word in _WORDS:
            meant = _WORDS[word]
            return lambda _: meant
        case ast.Name() | ast.Attribute():
            name = _unspell(dotted(node, text))
            names.add(name)
            return lambda lookup: lookup(name)
    raise ValueError(_refusal(text, node))


def dotted(node: ast.expr, text: str) -> str:
    """Return a dotted name; raise ValueError if the node is none."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            return f"{dotted(value, text)}.{attr}"
    raise ValueError(_refusal(text, node))


def _number(value: Value) -> Value:
    if isinstance(value, bool | str):
        raise TypeError
    return value if isinstance(value, np.ndarray) else float(value)
