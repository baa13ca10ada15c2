"""The settings by their dotted names: meaning, unit, rule, JSON schema, and what is said of a wrong one."""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from mcmm.markets import MARKETS, NAME_RULE, Member, Tables
from mcmm.tables import Table

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = [
    "MARKET_NAMES",
    "NAMES",
    "Setting",
    "catalogue",
    "contradicted",
    "json_schema",
    "place_of",
    "problems",
    "said_by_element",
    "shown",
    "unknown",
]

_TABLES: dict[str, type[Table]] = {
    name: field.annotation
    for name, field in Tables.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Table)
}
_FIELDS = {name: Tables.model_fields[name] for name in ("steps", "venue")}
for _table, _model in _TABLES.items():
    _FIELDS |= {f"{_table}.{name}": field for name, field in _model.model_fields.items()}

NAMES = tuple(_FIELDS)
"""Every setting's dotted name, in the order of the tables; not those of one market among several."""

MARKET_NAMES = tuple(name for name in NAMES if name.partition(".")[0] in Member.model_fields)
"""Those that each of several markets may have for itself, as in ``markets.NAME.quoting.base_spread``."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of one setting, apart from its value in a scenario.

    Attributes
    ----------
    name : str
        Dotted, as in ``"risk.inventory_limit"``.
    default : Any
        The value when it is not given; None where it is then derived from other settings.
    description : str
        What it means, in a sentence or two.
    unit : str
        What the value counts; ``""`` for a pure number or a choice.
    rule : str
        What a value must be, as in ``"a whole number >= 1 or inf"``.
    """

    name: str
    default: Any
    description: str
    unit: str
    rule: str


@cache
def catalogue() -> dict[str, Setting]:
    """Return every setting by its dotted name, in the order of the tables."""
    return {
        name: Setting(name, _FIELDS[name].default, entry["description"], entry["unit"], _rule(entry))
        for name, entry in _schemas()[0].items()
    }


@cache
def _schemas() -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return every setting's JSON schema by its dotted name, and what these refer to."""
    schema = json_schema()
    entries = {}
    for name in _FIELDS:
        table, _, leaf = name.rpartition(".")
        owner = schema["$defs"][_TABLES[table].__name__] if table else schema
        entries[name] = owner["properties"][leaf]
    return entries, schema["$defs"]


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a scenario file, for editors that check and complete TOML."""
    schema = Tables.model_json_schema(schema_generator=_EditorSchema)
    return {"$schema": _EditorSchema.schema_dialect, **schema}


class _EditorSchema(GenerateJsonSchema):
    """A schema without what JSON or TOML cannot spell, and without what only repeats a name."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Leave out a default of None or inf, and a table's, which is only that of its settings."""
        default = schema.get("default")
        if default is None or default == math.inf or isinstance(default, BaseModel):
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Give settings no titles."""
        return False


def _rule(schema: dict[str, Any]) -> str:
    """Return in words what a setting's JSON schema asks of a value."""
    if "rule" in schema:
        return str(schema["rule"])
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    kinds = schema["type"]
    if kinds == "boolean":
        return "true or false"
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = " and ".join(f"{sign} {_short(schema[key])}" for key, sign in signs.items() if key in schema)
    return f"a {'whole ' if 'integer' in kinds else ''}number {bounds}{' or inf' if 'null' in kinds else ''}"


def _short(number: float) -> str:
    """Return a round number as one would write it in TOML: 20, 0.01, 1e9."""
    return re.sub(r"e([+]|(-))0*", r"e\2", f"{number:g}")


def shown(value: Any) -> str:
    """Return a value as TOML would spell it, cut to fit a line."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value if len(value) <= 60 else f"{value[:57]}...")
    return " ".join(reprlib.repr(_listed(value)).split())


def _listed(value: Any) -> Any:
    """Return a value with the lists and tables that it was given as, before they were frozen."""
    if isinstance(value, BaseModel):
        return value.model_dump()
    return [_listed(each) for each in value] if isinstance(value, list | tuple) else value


def place_of(name: str) -> tuple[str, str]:
    """Split a dotted name into its market's and its setting's: ``markets.fed.risk.mark`` is fed's risk.mark.

    Parameters
    ----------
    name : str
        Dotted; the market of a shared setting is ``""``.

    Returns
    -------
    tuple of str
        Neither need exist.
    """
    head, _, rest = name.partition(".")
    if head != "markets":
        return "", name
    market, _, setting = rest.partition(".")
    return market, setting


def said_by_element(faults: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out of pydantic's findings that a list is too short for want of the elements that are wrong.

    Parameters
    ----------
    faults : sequence of dict
        The findings.

    Returns
    -------
    list of dict
        Those to be told.
    """

    def within(place: tuple[int | str, ...]) -> bool:
        return any(each["loc"][: len(place)] == place != each["loc"] for each in faults)

    return [each for each in faults if each["type"] != "too_short" or not within(each["loc"])]


def problems(error: ValidationError, markets: Sequence[object] = ()) -> list[str]:
    """Return what pydantic found wrong with a scenario, a line per problem.

    Parameters
    ----------
    error : ValidationError
        Of validating `mcmm.tables.Tables` or a class made from it.
    markets : sequence of object
        What was given for the names of its markets, in their order.

    Returns
    -------
    list[str]
        Lines such as ``risk.inventory_limit: must be a whole number >= 1 or inf, got -5``.
    """
    lines = []
    for problem in said_by_element(error.errors(include_url=False)):
        place, value = problem["loc"], problem["input"]
        if not place:  # of the scenario as a whole, and said in full
            lines.append(problem["msg"])
            continue
        where = ""
        if place[0] == "markets":
            if line := _list_problem(place, value):
                lines.append(line)
                continue
            where, place = _market_called(place[1], markets), place[2:]
        depth = 2 if place[0] in _TABLES else 1
        name = ".".join(str(part) for part in place[:depth])
        if problem["type"] in ("extra_forbidden", "invalid_key") and len(place) <= depth:
            lines.append(unknown(name, within=where))
        elif name in _TABLES:
            lines.append(f"{where}{name}: must be a table, got {shown(value)}")
        else:
            within, got = place[depth:], shown(value)
            if problem["type"] == "extra_forbidden":
                got = f"a key {place[-1]}"
            elif problem["type"] == "missing" and isinstance(value, dict):
                got = "nothing"
            elif problem["type"] == "missing":  # a row that is too short, whole
                within = within[:-1]
            called, rule = _element(name, within)
            lines.append(f"{where}{name}{called}: must be {rule}, got {got}")
    return list(dict.fromkeys(lines))  # a union reports each of its members


def _element(name: str, place: tuple[int | str, ...]) -> tuple[str, str]:
    """Return what a part of a setting's value is called, as ``[1][0]`` or ``[0].start``, and its rule."""
    entries, definitions = _schemas()
    schema = entries[name]
    whole = rule = catalogue()[name].rule
    called = ""
    for part in place:
        if isinstance(part, int):
            # Of rows in several forms the longest says what each of its places holds.
            forms = schema.get("oneOf", [schema])
            places = max((form.get("prefixItems", []) for form in forms), key=len)
            schema = places[part] if part < len(places) else schema.get("items", {})
            called += f"[{part}]"
        elif part in schema.get("properties", {}):
            schema = schema["properties"][part]
            called += f".{part}"
        else:  # a form's or a type's name, or an unknown key
            continue
        schema = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        is_row = "oneOf" in schema or schema.get("type") in ("array", "object")
        rule = whole.replace("rows", "a row", 1) if is_row else _rule(schema)
    return called, rule


def contradicted(wrong: Iterable[tuple[str, str]], get: Callable[[str], Any]) -> list[tuple[str, str]]:
    """Return the settings that contradict others, each with the line that says so and what was given.

    Parameters
    ----------
    wrong : iterable of (str, str)
        A setting's dotted name, or that of a part of its value, as ``schedule.news[0]`` or
        ``schedule.pauses[1].start``; and what it must be, or keep.
    get : callable
        Returns a setting's value by its dotted name.

    Returns
    -------
    list of (str, str)
        The setting's name alone, and the line.
    """
    lines = []
    for name, rule in wrong:
        setting, _, part = name.partition("[")
        value = get(setting)
        for index, key in re.findall(r"(\d+)\]|\.(\w+)", part):
            value = value[int(index)] if index else getattr(value, key)
        lines.append((setting, f"{name}: {rule}, got {shown(value)}"))
    return lines


def _list_problem(place: tuple[int | str, ...], value: Any) -> str:
    """Return the line on markets that are no list of tables with a name each; empty if that is not it."""
    match place:
        case (_,):
            rule = f"a list of at most {MARKETS} tables, each with a name"
            return f"markets: must be {rule}, got {shown(value)}"
        case (_, int(row)):
            return f"markets[{row}]: must be a table, got {shown(value)}"
        case (_, int(row), "name"):
            # What is missing is reported with the table that it is missing from.
            got = "nothing" if isinstance(value, dict) else shown(value)
            return f"markets[{row}].name: must be {NAME_RULE}, got {got}"
    return ""


def _market_called(row: int | str, markets: Sequence[object]) -> str:
    """Return what opens the names of a market's settings: its name, or its place if that is none."""
    name = markets[row] if isinstance(row, int) and row < len(markets) else None
    if isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_-]+", name):
        return f"markets.{name}."
    return f"markets[{row}]."


def unknown(name: object, markets: Sequence[str] = (), *, within: str = "") -> str:
    """Return the line on a name that is no setting, with the nearest one that is.

    Parameters
    ----------
    name : object
        The dotted name as given.
    markets : sequence of str
        The names of the scenario's markets.
    within : str
        What stands before the name and its kin, as ``markets.fed.``.

    Returns
    -------
    str
        A line such as ``quoting.base_spred: unknown setting; did you mean quoting.base_spread?``.
    """
    name = str(name)
    market, setting = place_of(name)
    if name.partition(".")[0] == "markets" and not within:
        if market in markets and setting:
            return unknown(setting, within=f"markets.{market}.")
        return f"{name}: {_no_market(market, markets)}"
    spelled = within + ".".join(
        part if re.fullmatch(r"[\w-]+", part) else json.dumps(part) for part in name.split(".")
    )
    tables, known_names = list(_TABLES), NAMES
    if within:
        tables, known_names = [table for table in tables if table in Member.model_fields], MARKET_NAMES
        if name in NAMES and name not in known_names:
            return f"{spelled}: is the same for all markets; set {name}"
    if name in tables:
        example = next(iter(_TABLES[name].model_fields))
        return f"{spelled}: is a table; name one of its settings, such as {within}{name}.{example}"

    from difflib import SequenceMatcher

    def likeness(known: str) -> tuple[float, float]:
        leaf = SequenceMatcher(None, known.rpartition(".")[2], name.rpartition(".")[2][:100])
        return leaf.ratio(), SequenceMatcher(None, known, name[:100]).ratio()

    nearest = max((*known_names, *tables), key=likeness)
    hint = f"; did you mean {within}{nearest}?" if likeness(nearest)[0] >= 0.7 else ""
    return f"{spelled}: unknown setting{hint}"


def _no_market(market: str, markets: Sequence[str]) -> str:
    """Say why what follows ``markets.`` names no market's setting."""
    if not markets:
        return "the scenario has no [[markets]]"
    if market in markets:
        return f"is a market; name one of its settings, such as markets.{market}.quoting.base_spread"
    if not market:
        return (
            f"is a list of tables; name a market's setting, such as markets.{markets[0]}.quoting.base_spread"
        )
    from difflib import get_close_matches

    near = get_close_matches(market, markets, n=1)
    listed = ", ".join(markets[:8]) + (", .." if len(markets) > 8 else "")
    return f"unknown market {market}; " + (f"did you mean {near[0]}?" if near else f"there are {listed}")
