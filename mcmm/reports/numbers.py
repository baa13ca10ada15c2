"""Numbers and texts as a reader wants them: sensible digits, units, and no zero where nothing was seen."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

__all__ = [
    "chance",
    "clean",
    "decimals",
    "duration",
    "fixed",
    "money",
    "setting_text",
    "short_text",
    "significant",
    "zero_chance_bound",
]


def clean(text: str) -> str:
    """Make a text of the user's safe to print: no control characters, spaces for line ends.

    Parameters
    ----------
    text : str
        Any text, as a name or a question of a study.

    Returns
    -------
    str
        The text with runs of white space joined and unprintable characters left out.
    """
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def fixed(value: float, digits: int) -> str:
    """Write a number with a fixed count of decimals, thousands separated, never as "-0".

    Parameters
    ----------
    value : float
        The number; NaN becomes ``"-"``, the infinities ``"inf"`` and ``"-inf"``.
    digits : int
        Decimals, >= 0.

    Returns
    -------
    str
        The text.
    """
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if abs(value) >= 1e9:
        return f"{value:.3g}"
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if not text.strip("-0.,") else text


def decimals(values: Iterable[float], figures: int = 3, most: int = 4) -> int:
    """Count the decimals that give the largest of some numbers this many significant figures.

    Parameters
    ----------
    values : iterable of float
        The numbers of one column; what is not finite does not count.
    figures : int
        Significant figures of the largest one.
    most : int
        The most decimals to give.

    Returns
    -------
    int
        Between 0 and ``most``.
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    if largest == 0.0:
        return 0
    return min(most, max(0, figures - 1 - math.floor(math.log10(largest) + 1e-12)))


def significant(value: float, figures: int = 4) -> str:
    """Write one number on its own with this many significant figures, without an exponent up to 1e9."""
    return fixed(value, decimals([value], figures, most=8))


def money(value: float, digits: int = 2) -> str:
    """Write dollars: ``-$3.20``."""
    text = fixed(value, digits)
    if not math.isfinite(value):
        return text
    return f"-${text[1:]}" if text.startswith("-") else f"${text}"


@lru_cache(maxsize=64)
def zero_chance_bound(trials: int) -> float:
    """Bound a chance of which no case was seen, exactly and at 95%: close to 3 / trials ("rule of three").

    Parameters
    ----------
    trials : int
        Paths looked at, >= 1.

    Returns
    -------
    float
        The largest chance that having seen nothing does not rule out.
    """
    from mcmm.statistics import proportion

    return proportion(0, trials, bound="upper").high


def _percent(value: float) -> str:
    """Write a chance in percent: one decimal, and two figures of what is less than 1% from none or all."""
    share = 100.0 * value
    distance = min(share, 100.0 - share)
    if distance <= 0.0:
        return f"{share:.0f}%"
    digits = max(1, min(6, math.ceil(-math.log10(distance)) + 1))
    return f"{share:.{digits}f}%"


def chance(value: float, trials: int) -> str:
    """Write an estimated chance; one never seen (or always seen) is given by its 95% bound, not as 0 or 1.

    Parameters
    ----------
    value : float
        Share of the paths, in [0, 1], or NaN.
    trials : int
        Paths that the share is of.

    Returns
    -------
    str
        For example ``"4.2%"``, ``"<0.015%"`` or ``">99.985%"``.
    """
    if math.isnan(value):
        return "-"
    bound = zero_chance_bound(trials)
    if value <= 0.0:
        return f"<{_bound_percent(bound)}%"
    if value >= 1.0:
        digits = max(1, math.ceil(-math.log10(100.0 * bound)) + 1)
        scale = 10.0**digits
        return f">{math.floor((1.0 - bound) * 100.0 * scale) / scale:.{digits}f}%"
    return _percent(value)


def _bound_percent(bound: float) -> str:
    """Write an upper bound in percent with two significant figures, rounded up so that it stays a bound."""
    share = 100.0 * bound
    digits = max(0, 1 - math.floor(math.log10(share)))
    scale = 10.0**digits
    return f"{math.ceil(share * scale) / scale:.{digits}f}"


def setting_text(value: Any) -> str:
    """Write the value of a setting or an axis, as it stands in a scenario file where it can."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = f"{value:.10g}"
        return text if math.isfinite(value) else ("inf" if value > 0 else str(value))
    if isinstance(value, (list, tuple)):
        return clean(json.dumps(value, default=str))
    return "-" if value is None else clean(str(value))


def short_text(value: Any) -> str:
    """Write a value of an axis for a table: as `setting_text`, with 4 figures of what a design has drawn."""
    text = setting_text(value)
    return f"{float(value):.4g}" if len(text) > 8 and isinstance(value, float) else text


def duration(seconds: float) -> str:
    """Write a time span: ``"0.42 s"``, ``"12.3 s"``, ``"4 min 05 s"``, ``"2 h 07 min"``."""
    if not math.isfinite(seconds):
        return "-"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
