"""What is said of a study that is refused: for each fault a line with setting, rule and value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic import BaseModel, ValidationError

from mcmm import settings
from mcmm.axes import MAX_POINTS, Range, Span
from mcmm.designs import DESIGNS, MAX_SAMPLES
from mcmm.precision import MAX_PATHS, Precision

__all__ = ["VALUE", "nearest", "refusals"]

_AXIS = "a list of numbers, texts or true and false, or a table with low, high and count"
VALUE = "a number, a text or true or false"
"""What a value of an axis or a listed point must be, of a setting that is no list."""
_KINDS = {kind.__name__: kind for kind in DESIGNS.values()}
_DESIGN = f"a table whose design is one of {', '.join(DESIGNS)}"
# By the setting's place, without what only repeats or numbers; the shorter one where there is no longer one.
_RULES = {
    "name": "text of at least one character",
    "question": "text",
    "objective": "text",
    "scenario": "a table of settings, or in a file the path of a scenario's file",
    "paths": f"a whole number >= 1 and <= {MAX_PATHS}",
    "seed": "a whole number >= 0 and < 2**64",
    "keep_paths": "true or false",
    "precision": "a table with metric and standard_error",
    "precision.metric": "the name of a column of the summary",
    "precision.standard_error": "a finite number > 0",
    "precision.first_paths": f"a whole number >= 256 and <= {MAX_PATHS}",
    "precision.most_paths": f"a whole number >= 256 and <= {MAX_PATHS}",
    "points": f"{_DESIGN}, or a list of such tables",
    "points.design": f"one of {', '.join(DESIGNS)}",
    "points.designs": "a list of designs, at least one",
    "points.axes": "a table with an axis or more",
    "points.points": "a list of tables of settings, at least one",
    "points.samples": f"a whole number >= 2 and <= {MAX_SAMPLES}",
    "points.constraints": "a list of comparisons of settings, as texts",
    "low": "a finite number",
    "high": "a finite number",
    "count": f"a whole number >= 2 and <= {MAX_POINTS}",
    "scale": "linear or log",
    "integer": "true or false",
}
# What each element of a list must be.
_EACH = {
    "designs": _DESIGN,
    "points": "a table of settings",
    "constraints": "a comparison of settings, as text",
}


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean ...?`` where a known name is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def refusals(error: ValidationError, study: type[BaseModel]) -> list[str]:
    """Put pydantic's findings on a study as ``setting: rule, got value``, one line each.

    Parameters
    ----------
    error : ValidationError
        Of validating ``study``.
    study : type
        The model of a study.

    Returns
    -------
    list of str
        The lines; what all members of a union report is said once.
    """
    lines: list[str] = []
    listed: set[str] = set()
    for fault in settings.said_by_element(error.errors()):
        place = _place(fault["loc"])
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
        match fault["type"]:
            case "extra_forbidden":
                lines.append(
                    f"{where}: unknown setting{nearest(str(place[-1]), _known(fault['loc'], study))}"
                )
            case "missing":
                lines.append(f"{where}: must be given")
            case "value_error":
                message = str(fault["msg"]).removeprefix("Value error, ")
                lines.extend(f"{where}: {line}" if where else line for line in message.splitlines())
            case _ if isinstance(fault["input"], list) and _takes_text(place, fault["loc"]):
                # Once for all values of an axis, which are mostly wrong alike.
                where = where.removesuffix(f"[{place[-1]}]")
                if where not in listed:
                    got = settings.shown(fault["input"])
                    lines.append(f'{where}: must have a list as text, as in "{got}", got {got}')
                listed.add(where)
            case _:
                lines.append(f"{where}: must be {_rule(place)}, got {settings.shown(fault['input'])}")
    lines = _quote_axes(
        lines, [fault["loc"] for fault in error.errors() if fault["type"] == "extra_forbidden"]
    )
    return list(dict.fromkeys(lines))


def _place(where: tuple[int | str, ...]) -> list[int | str]:
    """Return a setting's place: without the kinds of designs and axes, and what a value was tried as."""
    place = [
        part for part in where if part not in ("span", "values", "layout", "[key]") and part not in _KINDS
    ]
    if place[:2] == ["points", "points"]:
        return place[:4]
    if place[:1] == ["points"] and "values" in where:
        return place[: place.index("axes") + 3]
    return place


def _takes_text(place: list[int | str], where: tuple[int | str, ...]) -> bool:
    """Tell whether a fault is of a value, on an axis or in a list of points, of a setting that is a list."""
    is_value = where[-1] != "values" if "values" in where else place[:2] == ["points", "points"]
    names = [str(part) for part in place if not isinstance(part, int)]
    setting = settings.catalogue().get(settings.place_of(names[-1])[1])
    return is_value and setting is not None and setting.rule.startswith(("a list", "rows"))


def _rule(place: list[int | str]) -> str:
    """Return the rule of a setting."""
    names = [str(part) for part in place if not isinstance(part, int)]
    if "axes" in names and len(names) > (at := names.index("axes")) + 1:
        if len(names) == at + 3:
            return _RULES[names[-1]]
        return VALUE if isinstance(place[-1], int) else _AXIS
    if isinstance(place[-1], int) and names[-1] in _EACH:
        return _EACH[names[-1]]
    if "points" in names[1:-1]:  # a setting of a listed point
        return VALUE
    return _RULES.get(".".join(names)) or _RULES.get(f"{names[0]}.{names[-1]}", _RULES[names[0]])


def _known(where: tuple[int | str, ...], study: type[BaseModel]) -> list[str]:
    """Return the settings of the table that an unknown one stands in."""
    if "axes" in where[:-1]:
        design = next(_KINDS[part] for part in reversed(where) if isinstance(part, str) and part in _KINDS)
        return list((Span if design.__name__ == "Grid" else Range).model_fields)
    for part in reversed(where[:-1]):
        if isinstance(part, str) and part in _KINDS:
            return list(_KINDS[part].model_fields)
    if where[0] == "precision" and len(where) > 1:
        return list(Precision.model_fields)
    return [field.alias or name for name, field in study.model_fields.items()]


def _quote_axes(lines: list[str], unknown: list[tuple[int | str, ...]]) -> list[str]:
    """Say once what is wrong with an axis whose dotted name is not in quotes, which makes tables of it."""
    tables = {setting.partition(".")[0] for setting in settings.NAMES}
    for name in {str(where[where.index("axes") + 1]) for where in unknown if "axes" in where[:-1]} & tables:
        lines = [line for line in lines if not line.startswith(f"points.axes.{name}")]
        lines.append(
            f'points.axes.{name}: is a table of settings; quote an axis whole, as "{name}.setting" = [..]'
        )
    return lines
