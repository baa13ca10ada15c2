"""The settings: what is said of each, every kind of refusal, and the schema for editors."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from mcmm.errors import MCMMError, ScenarioError
from mcmm.scenario import Scenario, Setting

INF, NAN = math.inf, math.nan
ROW = "row [size, weight], a whole number >= 1 and <= 1e9 and a number >= 0 and <= 1e12"

ARITHMETIC = {
    "market.process": "arithmetic",
    "market.initial_mid": 100.0,
    "market.tick_size": 0.0,
    "quoting.policy": "symmetric",
}
SETTINGS = Scenario.settings()
NUMBERS = [
    name
    for name, setting in SETTINGS.items()
    if "number" in setting.rule and not any(word in setting.rule for word in ("rows", "list"))
]
WHOLE = [name for name in NUMBERS if SETTINGS[name].rule.startswith("a whole number")]
LIMITS = [name for name in NUMBERS if SETTINGS[name].rule.endswith("or inf")]
CHOICES = [name for name, setting in SETTINGS.items() if setting.rule.startswith("one of")]


def refusal(changes: dict[str, Any]) -> str:
    with pytest.raises(ScenarioError) as caught:
        Scenario().replace(changes)
    return str(caught.value)


def test_every_setting_is_described() -> None:
    flat = {"steps"} | {
        f"{t}.{n}" for t, table in Scenario().to_dict().items() if t != "steps" for n in table
    }
    joint = {f"portfolio.{name}" for name in ("correlation", "exposure_limit", "drawdown_limit")}
    # What a scenario of venue quote is written without.
    flat |= {"venue"} | {f"book.{name}" for name in Scenario(venue="book").to_dict()["book"]}
    assert set(SETTINGS) == flat | joint | {"market.initial_mid", "market.resolution_step"}
    for name, setting in SETTINGS.items():
        assert isinstance(setting, Setting)
        assert setting.name == name
        assert setting.description.endswith(".")
        assert setting.rule
        assert setting.default == Scenario().get(name)
    assert SETTINGS["risk.inventory_limit"].unit == "contracts"
    assert SETTINGS["market.initial_probability"].rule == "a number > 0 and < 1"
    assert len(NUMBERS) > 40
    assert len(WHOLE) > 10
    kinds = ("inventory", "exposure", "drawdown", "loss", "volume")
    joint_limits = ["portfolio.exposure_limit", "portfolio.drawdown_limit"]
    assert [f"risk.{kind}_limit" for kind in kinds] + joint_limits == LIMITS


# ---- refusals


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("steps", 0, "a whole number >= 1 and <= 1e8"),
        ("steps", 10**8 + 1, "a whole number >= 1 and <= 1e8"),
        ("steps", 10**400, "a whole number >= 1 and <= 1e8"),
        ("market.initial_probability", 0, "a number > 0 and < 1"),
        ("market.initial_probability", 1.0, "a number > 0 and < 1"),
        ("market.initial_mid", -1e10, "a number >= -1e9 and <= 1e9"),
        ("market.tick_size", -0.01, "0, or 1/tick_size a whole number"),
        ("market.tick_size", 0.3, "0, or 1/tick_size a whole number"),
        ("market.tick_size", 0.0101, "0, or 1/tick_size a whole number"),
        ("market.tick_size", 1 / 3, "0, or 1/tick_size a whole number"),
        ("market.tick_size", 1e-7, "0, or 1/tick_size a whole number"),
        ("market.tick_size", 5e-324, "0, or 1/tick_size a whole number"),
        ("market.process", "brownian", "one of logit, threshold, arithmetic"),
        ("market.volatility", -0.1, "a number >= 0"),
        ("market.news_rate", 1.1, "a number >= 0 and <= 1"),
        ("market.resolution_step", 0, "a whole number >= 1"),
        ("flow.clustering", 1, "a number >= 0 and < 1"),
        ("flow.clustering_steps", 0, "a number >= 0.01"),
        ("flow.size_mean", 0.5, "a number >= 1"),
        ("flow.size_sigma", 0, "a number >= 0.01 and <= 5"),
        ("flow.size_max", 0, "a whole number >= 1"),
        ("flow.intensity_decay", 0, "a number >= 1e-6"),
        ("flow.dt", 0, "a number >= 1e-9"),
        ("fees.maker_rate", -2, "a number >= -1 and <= 1"),
        ("fees.rounding", -0.01, "0, or a number >= 1e-9 and <= 1"),
        ("fees.rounding", 1e-18, "0, or a number >= 1e-9 and <= 1"),
        ("quoting.base_spread", -0.04, "a number >= 0"),
        ("quoting.quote_size", 0, "a whole number >= 1"),
        ("quoting.imbalance_window", 0, "a whole number >= 1 and <= 100000"),
        ("quoting.defensive_threshold", 1, "a number >= 0 and < 1"),
        ("quoting.risk_aversion", 0, "a number >= 1e-6"),
        ("risk.inventory_limit", 0, "a whole number >= 1 or inf"),
        ("risk.inventory_limit", -INF, "a whole number >= 1 or inf"),
        ("risk.exposure_limit", -INF, "a number > 0 or inf"),
        ("risk.drawdown_limit", 0.0, "a number > 0 or inf"),
        ("risk.volume_limit", 0, "a whole number >= 1 or inf"),
        ("risk.passive_multiplier", 0.9, "a number >= 1"),
        ("risk.mark", None, "one of mid, fair"),
        ("risk.close_steps", -1, "a whole number >= 0"),
        ("recovery.stale_quotes", 0, "true or false"),
        ("recovery.stale_quotes", "true", "true or false"),
        ("recovery.conservative_multiplier", 0, "a number >= 1"),
        ("recovery.ramp_steps", -1, "a whole number >= 0"),
        ("flow.size_table", 3, "rows [size, weight]"),
    ],
)
def test_a_value_out_of_range(name: str, value: Any, rule: str) -> None:
    line = refusal({name: value})
    assert line.startswith(f"{name}: must be {rule}")
    assert ", got " in line
    assert "\n" not in line


@pytest.mark.parametrize("value", ["1", True, [1], {}, NAN, 1j])
@pytest.mark.parametrize("name", NUMBERS)
def test_what_no_number_may_be(name: str, value: Any) -> None:
    assert refusal({name: value}).startswith(f"{name}: must be {SETTINGS[name].rule}, got ")


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_are_no_floats(name: str) -> None:
    assert refusal({name: 20.0}) == f"{name}: must be {SETTINGS[name].rule}, got 20.0"


@pytest.mark.parametrize("name", NUMBERS)
def test_infinity_is_for_limits(name: str) -> None:
    if name in LIMITS:
        assert Scenario().replace({name: INF}).get(name) == INF
    else:
        assert refusal({name: INF}) == f"{name}: must be {SETTINGS[name].rule}, got inf"


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name: str) -> None:
    for choice in SETTINGS[name].rule.removeprefix("one of ").split(", "):
        scenario = Scenario().replace(
            {
                **(ARITHMETIC if choice == "arithmetic" else {}),
                **({"flow.size_table": [[1, 1]]} if choice == "empirical" else {}),
                **({"market.tick_size": 0.0} if choice in ("glosten_milgrom", "lmsr") else {}),
                name: choice,
            }
        )
        assert scenario.get(name) == choice
    assert refusal({name: "Other"}) == f'{name}: must be {SETTINGS[name].rule}, got "Other"'
    assert refusal({name: 1}) == f"{name}: must be {SETTINGS[name].rule}, got 1"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[1.0, 1]], "[0][0]: must be a whole number >= 1 and <= 1e9, got 1.0"),
        ([[1, 1], [0, 1]], "[1][0]: must be a whole number >= 1 and <= 1e9, got 0"),
        ([[1, -1]], "[0][1]: must be a number >= 0 and <= 1e12, got -1"),
        ([[1, NAN]], "[0][1]: must be a number >= 0 and <= 1e12, got nan"),
        ([[1, INF]], "[0][1]: must be a number >= 0 and <= 1e12, got inf"),
        ([[1, True]], "[0][1]: must be a number >= 0 and <= 1e12, got true"),
        ([[1]], f"[0]: must be a {ROW}, got [1]"),
        ([[1, 2, 3]], f"[0]: must be a {ROW}, got [1, 2, 3]"),
        ([1], f"[0]: must be a {ROW}, got 1"),
        ({"1": 2}, f": must be {ROW.replace('row', 'rows', 1)}, got {{'1': 2}}"),
    ],
)
def test_size_table_rows(rows: Any, said: str) -> None:
    line = refusal({"flow.size_distribution": "empirical", "flow.size_table": rows})
    assert line == f"flow.size_table{said}"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"steps": 2000, "market.resolution_step": 1000},
            "market.resolution_step: must be >= steps (2000), got 1000",
        ),
        (
            {"market.tick_size": 0},
            "market.tick_size: must be > 0 with market.process logit: adaptive quotes need a ",
        ),
        (
            {"quoting.policy": "lmsr"},
            "market.tick_size: must be 0 with quoting.policy lmsr, which has no grid, got 0.01",
        ),
        (
            {"quoting.policy": "glosten_milgrom", "market.tick_size": 0.0, "market.initial_mid": 0.0},
            "market.initial_mid: must be >= 1e-08 and <= 1 - 1e-08, got 0.0",
        ),
        (
            {**ARITHMETIC, "quoting.policy": "lmsr"},
            "quoting.policy: must be symmetric or avellaneda_stoikov with market.process arithmetic, got ",
        ),
        (
            {"market.initial_mid": 0.005},
            "market.initial_mid: must be >= 1 tick (0.01) and <= 1 - 1 tick (0.99), ",
        ),
        (
            {"market.initial_mid": 0.995},
            "market.initial_mid: must be >= 1 tick (0.01) and <= 1 - 1 tick (0.99), ",
        ),
        (
            {"market.process": "threshold", "market.news_rate": 0.1},
            "market.news_rate: must be 0 with market.process threshold: only logit has news, got 0.1",
        ),
        (
            {"market.process": "threshold", "flow.informed_know": "outcome"},
            "flow.informed_know: must be probability with market.process threshold: only logit draws ",
        ),
        (
            {"flow.model": "replay", "flow.informed_know": "outcome"},
            "flow.informed_know: must be probability with flow.model replay",
        ),
        (
            {**ARITHMETIC, "market.initial_mid": None},
            "market.initial_mid: must be given with market.process arithmetic",
        ),
        (
            {**ARITHMETIC, "quoting.policy": "adaptive"},
            "quoting.policy: must be symmetric or avellaneda_stoikov with",
        ),
        (
            {**ARITHMETIC, "fees.maker_rate": 0.01},
            "fees.maker_rate: must be 0.0 with market.process arithmetic",
        ),
        ({**ARITHMETIC, "fees.rounding": 0.01}, "fees.rounding: must be 0.0 with market.process arithmetic"),
        (
            {**ARITHMETIC, "risk.exposure_limit": 50},
            "risk.exposure_limit: must be inf with market.process arithmetic",
        ),
        (
            {**ARITHMETIC, "market.news_rate": 0.1},
            "market.news_rate: must be 0 with market.process arithmetic",
        ),
        (
            {**ARITHMETIC, "flow.informed_know": "outcome"},
            "flow.informed_know: must be probability with market.process arithmetic",
        ),
        (
            {"flow.size_distribution": "fixed", "flow.size_mean": 2.5},
            "flow.size_mean: must be a whole number <= flow.size_max (20) for fixed sizes, got 2.5",
        ),
        (
            {"flow.size_distribution": "fixed", "flow.size_mean": 21},
            "flow.size_mean: must be a whole number <= flow.size_max (20) for fixed sizes, got 21.0",
        ),
        (
            {"flow.size_distribution": "lognormal", "flow.size_mean": 1000, "flow.size_sigma": 0.1},
            "flow.size_mean: must leave 1e-6 of the lognormal law within 1 and flow.size_max (20), got ",
        ),
        (
            {"flow.size_distribution": "empirical"},
            "flow.size_table: must give weight to a size <= flow.size_max (20) for empirical sizes, got []",
        ),
        (
            {"flow.size_distribution": "empirical", "flow.size_table": [[1, 0], [2, 0.0]]},
            "flow.size_table: must give weight to a size <= flow.size_max (20)",
        ),
        (
            {"flow.size_distribution": "empirical", "flow.size_table": [[21, 1]]},
            "flow.size_table: must give weight to a size <= flow.size_max (20)",
        ),
        (
            {"flow.size_table": [[1, 1]]},
            "flow.size_table: must be left out with flow.size_distribution geometric, got [[1, 1.0]]",
        ),
        ({"steps": 10, "risk.close_steps": 11}, "risk.close_steps: must be <= steps (10), got 11"),
        (
            {"risk.inventory_limit": 2**53 // 10 + 1},
            "risk.inventory_limit: must be < 2**53 / quoting.quote_size (10), or",
        ),
        (
            {"risk.inventory_limit": 10**400},
            "risk.inventory_limit: must be < 2**53 / quoting.quote_size (10), or inf",
        ),
        ({"risk.volume_limit": 2**53}, "risk.volume_limit: must be < 2**53, or inf, got 9007199254740992"),
        (
            {"steps": 10**8, "quoting.quote_size": 10**6},
            "quoting.quote_size: must be < 2**53 / (steps (100000000) * ticks in a dollar (100)), got ",
        ),
    ],
)
def test_contradictions(changes: dict[str, Any], line: str) -> None:
    message = refusal(changes)
    assert message.startswith(line)
    assert "\n" not in message


@pytest.mark.parametrize(
    "changes",
    [
        ARITHMETIC,
        {
            **ARITHMETIC,
            "market.tick_size": 0.01,
            "market.initial_mid": -3,
            "quoting.policy": "avellaneda_stoikov",
        },
        {**ARITHMETIC, "risk.breaker_action": "flatten", "risk.drawdown_limit": 5},
        {"market.process": "threshold", "market.resolution_step": 1000},
        {"market.process": "threshold", "market.news_strength": 0.5, "flow.news_excitation": 1.0},
        {"flow.informed_know": "outcome", "market.news_rate": 1, "market.news_strength": 1},
        {"flow.size_distribution": "fixed", "flow.size_mean": 20},
        {"flow.size_distribution": "lognormal", "flow.size_mean": 177, "flow.size_sigma": 2.0},
        {"flow.size_distribution": "empirical", "flow.size_table": [[1, 3], [20, 0.5], [400, 7]]},
        {"flow.size_mean": 2.5, "flow.size_max": 1},
        {"market.tick_size": 0.25, "market.initial_mid": 0.75},
        {"market.tick_size": 1e-6},
        {"market.tick_size": 0.0, "quoting.policy": "lmsr", "market.initial_mid": 1e-8},
        {"market.tick_size": 0.0, "quoting.policy": "glosten_milgrom", "market.initial_mid": 1 - 1e-8},
        {"market.tick_size": 1 / 7},
        {"market.initial_mid": 0.01},
        {"market.initial_mid": 0.99},
        {"steps": 10**8},
        {"steps": 1, "risk.close_steps": 1},
        {"risk.inventory_limit": INF, "risk.volume_limit": 1},
        {"quoting.defensive_threshold": math.nextafter(1, 0)},
    ],
)
def test_what_is_accepted(changes: dict[str, Any]) -> None:
    scenario = Scenario().replace(changes)
    for name, value in changes.items():
        given = scenario.get(name)
        assert given == (tuple(map(tuple, value)) if isinstance(value, list) else value)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("quoting.base_spred", "quoting.base_spred: unknown setting; did you mean quoting.base_spread?"),
        ("inventory_limit", "inventory_limit: unknown setting; did you mean risk.inventory_limit?"),
        ("market.arrival_rate", "market.arrival_rate: unknown setting; did you mean flow.arrival_rate?"),
        ("step", "step: unknown setting; did you mean steps?"),
        ("zzz.qqq", "zzz.qqq: unknown setting"),
        ("risk", "risk: is a table; name one of its settings, such as risk.inventory_limit"),
        ("", '"": unknown setting'),
        ("risk.a\nb", 'risk."a\\nb": unknown setting'),
        ("markets", "markets: the scenario has no [[markets]]"),
    ],
)
def test_unknown_names(name: str, line: str) -> None:
    assert refusal({name: 1}) == line
    with pytest.raises(ScenarioError) as caught:
        Scenario().get(name)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (
            {"quoting": {"base_spred": 0.1}},
            "quoting.base_spred: unknown setting; did you mean quoting.base_spread?",
        ),
        ({"quotting": {}}, "quotting: unknown setting; did you mean quoting?"),
        ({"risk": 3}, "risk: must be a table, got 3"),
        ({"risk": None}, "risk: must be a table, got nothing"),
        ({"risk": [{}]}, "risk: must be a table, got [{}]"),
        ({3: 4}, "3: unknown setting"),
        ({"risk": {3: 4}}, "risk.3: unknown setting"),
        ([1], "scenario: must be a table, got [1]"),
        ("steps", 'scenario: must be a table, got "steps"'),
    ],
)
def test_dicts_of_the_wrong_shape(data: Any, line: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        Scenario.from_dict(data)
    assert str(caught.value) == line


def test_all_problems_at_once() -> None:
    with pytest.raises(ScenarioError) as caught:
        Scenario(steps=0, risk={"inventory_limit": -5, "mark": "last"}, flow={"size_max": 1.5}, qoting={})
    assert str(caught.value).splitlines() == [
        "steps: must be a whole number >= 1 and <= 1e8, got 0",
        "flow.size_max: must be a whole number >= 1 and <= 1e6, got 1.5",
        "risk.inventory_limit: must be a whole number >= 1 or inf, got -5",
        'risk.mark: must be one of mid, fair, got "last"',
        "qoting: unknown setting; did you mean quoting?",
    ]
    with pytest.raises(ScenarioError) as caught:
        Scenario().replace({**ARITHMETIC, "fees.rounding": 0.01, "risk.close_steps": 1001})
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "fees.rounding",
        "risk.close_steps",
    ]


def test_long_values_are_cut() -> None:
    line = refusal({"market.process": "x" * 10_000})
    assert len(line) < 200
    assert len(refusal({"risk.exposure_limit": list(range(10_000))})) < 200


def test_scenario_errors_are_mcmms_and_value_errors() -> None:
    for kind in (MCMMError, ValueError):
        with pytest.raises(kind, match="steps"):
            Scenario(steps=0)


# ---- the schema for editors


def test_the_schema_says_what_an_editor_needs() -> None:
    schema = json.loads(json.dumps(Scenario.json_schema(), allow_nan=False))
    assert schema["$schema"].startswith("https://json-schema.org/draft/")
    assert schema["title"] == "Scenario"
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Pause"]["required"] == ["start", "steps"]
    del schema["$defs"]["Pause"]
    without_default = set()
    for title, table in schema["$defs"].items():
        assert table["additionalProperties"] is False
        assert table["description"]
        if title == "Member":
            assert table["required"] == ["name"]
            assert table["properties"]["risk"] == {"$ref": "#/$defs/Risk"}
            continue
        assert "required" not in table
        for name, entry in table["properties"].items():
            assert entry["description"]
            assert "type" in entry or "anyOf" in entry
            if "default" not in entry:
                without_default.add(name)
    # What is derived has no default, and JSON cannot spell inf.
    unlimited = {f"{kind}_limit" for kind in ("exposure", "drawdown", "loss", "volume")}
    assert without_default == unlimited | {"initial_mid", "resolution_step"}
    risk = schema["$defs"]["Risk"]["properties"]
    assert risk["mark"]["enum"] == ["mid", "fair"]
    assert risk["mark"]["default"] == "mid"
    # Editors see inf as null.
    assert risk["drawdown_limit"]["type"] == ["number", "null"]
    assert risk["inventory_limit"]["anyOf"][0] == {"type": "integer", "minimum": 1}
    assert risk["inventory_limit"]["anyOf"][1]["type"] == ["number", "null"]
    assert schema["$defs"]["Market"]["properties"]["initial_mid"]["type"] == "number"
