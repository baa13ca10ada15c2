"""Scenario: defaults, derived values, replace and digest; TOML, dicts and files there and back."""

from __future__ import annotations

import copy
import json
import math
import pickle
import tomllib
from pathlib import Path
from timeit import timeit
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcmm.errors import InputError, MCMMError, ScenarioError
from mcmm.scenario import Scenario

INF, NAN = math.inf, math.nan

DEFAULTS = """
steps = 1000
[market]
initial_probability = 0.5
tick_size = 0.01
process = "logit"
volatility = 0.02
news_rate = 0.0
news_strength = 0.0
[flow]
model = "takers"
arrival_rate = 0.3
clustering = 0.0
clustering_steps = 20.0
news_excitation = 0.0
informed_fraction = 0.15
informed_know = "probability"
noise_buy_fraction = 0.5
herding = 0.0
price_sensitivity = 20.0
size_distribution = "geometric"
size_mean = 3.0
size_sigma = 1.0
size_table = []
size_max = 20
intensity_scale = 140.0
intensity_decay = 1.5
dt = 0.005
[fees]
maker_rate = 0.0
rounding = 0.0
[quoting]
policy = "adaptive"
base_spread = 0.04
imbalance_factor = 0.5
inventory_factor = 0.5
quote_size = 10
imbalance_window = 50
reference_weight = 0.0
reference_noise = 0.0
volatility_factor = 0.0
fill_shade = 0.003
imbalance_shade = 0.003
inventory_shade = 0.0
defensive_threshold = 0.7
defensive_shade = 0.002
risk_aversion = 0.1
assumed_informed_fraction = 0.1
liquidity = 100.0
parameters = []
[risk]
inventory_limit = 100
exposure_limit = inf
exposure_soft_fraction = 0.8
passive_multiplier = 2.0
drawdown_limit = inf
mark = "mid"
drawdown_baseline = "peak"
breaker_action = "halt"
pause_steps = 50
loss_limit = inf
loss_window = 20
volume_limit = inf
volume_window = 20
unwind_slippage = 0.01
close_steps = 0
[recovery]
disconnect_rate = 0.0
outage_steps = 20
stale_quotes = false
conservative_multiplier = 3.0
ramp_steps = 50
[schedule]
arrival_rate = []
informed_fraction = []
volatility = []
amplitude = 1.0
news = []
pauses = []
"""

ARITHMETIC = {
    "market.process": "arithmetic",
    "market.initial_mid": 100.0,
    "market.tick_size": 0.0,
    "quoting.policy": "symmetric",
}
SETTINGS = Scenario.settings()


# ---- what there is


def test_the_defaults_are_the_models() -> None:
    assert Scenario().to_dict() == tomllib.loads(DEFAULTS)


def test_derived_values() -> None:
    scenario = Scenario(steps=7, market={"initial_probability": 0.3})
    assert (scenario.initial_mid, scenario.resolution_step) == (0.3, 7)
    assert (scenario.bounded, scenario.ticks) == (True, 100)
    scenario = scenario.replace({"market.initial_mid": 0.25, "market.resolution_step": 9})
    assert (scenario.initial_mid, scenario.resolution_step) == (0.25, 9)
    # A price that no quote can be around: the maker starts at the nearest one that has room.
    assert Scenario(market={"initial_probability": 0.001}).initial_mid == 0.01
    assert Scenario(market={"initial_probability": 0.999}).initial_mid == 0.99
    scoring = {"market.tick_size": 0.0, "quoting.policy": "lmsr"}
    assert Scenario().replace(scoring | {"market.initial_probability": 1e-12}).initial_mid == 1e-8
    assert Scenario().replace(scoring | {"market.initial_probability": 0.001}).initial_mid == 0.001
    textbook = Scenario().replace(ARITHMETIC)
    assert (textbook.bounded, textbook.ticks, textbook.initial_mid) == (False, 0, 100.0)


def test_it_is_frozen_hashable_and_picklable() -> None:
    scenario = Scenario(flow={"size_distribution": "empirical", "size_table": [[1, 2.5], [5, 1]]})
    for table, name in ((scenario.risk, "inventory_limit"), (scenario, "steps")):
        with pytest.raises(ScenarioError, match=rf"{name}: a scenario does not change; its replace\("):
            setattr(table, name, 3)
    assert {scenario: 1}[pickle.loads(pickle.dumps(scenario))] == 1
    assert copy.deepcopy(scenario) == scenario


# ---- numbers as they come


def test_floats_take_whole_numbers_and_hold_floats() -> None:
    scenario = Scenario(quoting={"base_spread": 0}, risk={"drawdown_limit": 50})
    assert type(scenario.quoting.base_spread) is float
    assert type(scenario.risk.drawdown_limit) is float
    assert type(scenario.risk.inventory_limit) is int


def test_numpy_scalars() -> None:
    changes: dict[str, Any] = {
        "steps": np.int64(5),
        "risk.inventory_limit": np.int32(7),
        "quoting.base_spread": np.float64(0.05),
        "recovery.stale_quotes": np.bool_(True),
    }
    assert Scenario().replace(changes) == Scenario().replace(
        {name: value.item() for name, value in changes.items()}
    )
    with pytest.raises(ScenarioError, match=r"steps: must be a whole number >= 1 and <= 1e8, got 5\.0"):
        Scenario(steps=np.float64(5))


# ---- replace, digest, speed


def test_replace_leaves_the_rest_alone() -> None:
    before = Scenario(steps=50, market={"initial_mid": 0.4})
    after = before.replace({"risk.inventory_limit": 200, "market.initial_mid": None})
    assert before.risk.inventory_limit == 100
    assert after.to_dict() == Scenario(steps=50, risk={"inventory_limit": 200}).to_dict()
    assert after.replace({}) == after


def test_digest() -> None:
    # Stored with results: a change of it makes every stored run another study's.
    assert Scenario().digest() == "0d32949622f7b2831f763e039b0087a152bad8698417356aac31b823c932ee87"
    assert Scenario(quoting={"base_spread": 1}).digest() == Scenario(quoting={"base_spread": 1.0}).digest()
    assert Scenario(fees={"maker_rate": -0.0}).digest() == Scenario().digest()
    digests = {Scenario().replace({name: value}).digest() for name, value in PANEL.items()}
    assert len(digests | {Scenario().digest()}) == len(PANEL) + 1


PANEL: dict[str, Any] = {
    "steps": 999,
    "market.initial_mid": 0.5,
    "market.resolution_step": 1000,
    "risk.inventory_limit": INF,
    "risk.drawdown_limit": 1e300,
    "quoting.base_spread": math.nextafter(0.04, 1),
    "recovery.stale_quotes": True,
}


@pytest.mark.parametrize("task", [Scenario, lambda: Scenario().replace({"risk.inventory_limit": 200})])
def test_it_is_cheap_enough_to_sweep(task: Any) -> None:
    assert min(timeit(task, number=100) for _ in range(5)) / 100 < 1e-3


# ---- random scenarios, there and back


def _values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a setting's own JSON schema allows."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.integers(1, 10**6) | st.just(INF)
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if kinds == ["boolean"]:
        return st.booleans()
    if "integer" in kinds:
        numbers: st.SearchStrategy[Any] = st.integers(
            schema["minimum"], min(schema.get("maximum", 10**6), 10**6)
        )
    else:
        open_below, open_above = "exclusiveMinimum" in schema, "exclusiveMaximum" in schema
        numbers = st.floats(
            schema["exclusiveMinimum" if open_below else "minimum"],
            schema["exclusiveMaximum"] if open_above else schema.get("maximum"),
            exclude_min=open_below,
            exclude_max=open_above,
            allow_nan=False,
        )
    return numbers | st.just(INF) if "null" in kinds else numbers


SCHEMA = Scenario.json_schema()
FREE = {
    f"{table}.{name}": _values(schema)
    for table, title in ((name, name.capitalize()) for name in Scenario().to_dict() if name != "steps")
    for name, schema in SCHEMA["$defs"][title]["properties"].items()
    if name not in {"tick_size", "initial_mid", "resolution_step", "close_steps", "rounding"}
    and not name.startswith("size_")
    and "rows" not in schema.get("rule", "")
    and name != "parameters"
}


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    names = draw(st.sets(st.sampled_from(sorted(FREE))))
    changes = {name: draw(FREE[name]) for name in sorted(names)}
    steps = changes["steps"] = draw(st.integers(1, 10**6))
    ticks = draw(st.sampled_from([4, 7, 20, 100, 1000]))
    changes["market.tick_size"] = 1 / ticks
    changes["risk.close_steps"] = draw(st.integers(0, steps))
    changes["quoting.quote_size"] = draw(st.integers(1, 1000))
    changes["fees.rounding"] = draw(st.just(0.0) | st.floats(1e-9, 1.0))
    if draw(st.booleans()):
        changes["market.resolution_step"] = draw(st.integers(steps, 10**7))
    if draw(st.booleans()):
        changes["market.initial_mid"] = draw(st.floats(1 / ticks, 1 - 1 / ticks))
    match draw(st.sampled_from(["geometric", "fixed", "lognormal", "empirical"])):
        case "empirical" as law:
            row = st.tuples(st.integers(1, 1000), st.floats(0, 1e12))
            changes["flow.size_table"] = [[1, draw(st.floats(0.5, 10))], *draw(st.lists(row.map(list)))]
        case law:
            changes["flow.size_mean"] = draw(st.integers(1, 20))
    changes["flow.size_distribution"] = law

    process = changes.get("market.process", "logit")
    days = st.lists(st.integers(0, steps - 1), max_size=3, unique=True).map(sorted)
    if changes.get("flow.model", "takers") == "takers":
        changes["schedule.arrival_rate"] = [[start, draw(st.floats(0, 1))] for start in draw(days)]
    if process == "logit" and changes.get("flow.model") != "replay":
        changes["schedule.news"] = [[start, draw(st.floats(0, 1))] for start in draw(days)]
        changes["schedule.volatility"] = [[start, draw(st.floats(0, 1e6))] for start in draw(days)]
    changes["schedule.amplitude"] = draw(st.sampled_from([0.0, 0.5, 1.0]))
    if draw(st.booleans()):
        changes["schedule.pauses"] = [
            {"start": steps - 1, "steps": 3, "quotes": draw(st.sampled_from(["rest", "cancel"]))}
        ]
    if process == "arithmetic":
        changes |= ARITHMETIC | {"market.initial_mid": draw(st.floats(-1e9, 1e9))}
        changes["quoting.policy"] = draw(st.sampled_from(["symmetric", "avellaneda_stoikov"]))
        changes |= {"fees.maker_rate": 0.0, "fees.rounding": 0.0, "risk.exposure_limit": INF}
    elif changes.get("quoting.policy") in ("glosten_milgrom", "lmsr"):
        changes["market.tick_size"] = 0.0
    if process != "logit":
        changes["market.news_rate"] = 0.0
    if process != "logit" or changes.get("flow.model") == "replay":
        changes["flow.informed_know"] = "probability"
    if changes.get("flow.model") == "replay":
        changes |= {"quoting.reference_noise": 0.0, "recovery.disconnect_rate": 0.0}
    return Scenario().replace(changes)


@given(scenarios())
@settings(deadline=None, max_examples=200)
def test_there_and_back(scenario: Scenario) -> None:
    data = scenario.to_dict()
    assert Scenario.from_dict(data) == scenario
    text = scenario.dumps()
    back = Scenario.loads(text)
    assert back == scenario
    assert back.dumps() == text
    assert back.digest() == scenario.digest()
    # Equality of numbers forgives types; their spelling does not.
    assert repr(back) == repr(scenario)
    assert Scenario.model_validate_json(scenario.model_dump_json()) == scenario
    assert Scenario().replace({name: scenario.get(name) for name in SETTINGS}) == scenario


# ---- files


def test_files_there_and_back(tmp_path: Path) -> None:
    scenario = Scenario(steps=3, market={"initial_mid": 1 / 3}, risk={"inventory_limit": INF})
    scenario.save(tmp_path / "a.toml")
    assert Scenario.load(tmp_path / "a.toml") == scenario
    assert Scenario.load(str(tmp_path / "a.toml")) == scenario
    assert b"\r" not in (tmp_path / "a.toml").read_bytes()


def test_a_partial_file_with_comments_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes("\ufeff# Größe\r\n[risk]\r\ninventory_limit = 5 # contracts\r\n".encode())
    assert Scenario.load(path) == Scenario(risk={"inventory_limit": 5})


@pytest.mark.parametrize(
    ("content", "kind", "line"),
    [
        (b"", ScenarioError, "must hold at least one setting, got an empty file"),
        (b"# only a comment\n", ScenarioError, "must hold at least one setting, got an empty file"),
        (
            b"steps 5",
            ScenarioError,
            "must be valid TOML: Expected '=' after a key in a key/value pair (at line 1",
        ),
        (b"steps = 5\nsteps = 6\n", ScenarioError, "must be valid TOML: Cannot overwrite a value"),
        (b"steps = " + b"9" * 5000, ScenarioError, "must be valid TOML: "),
        (b"x = " + b"[" * 100_000, ScenarioError, "must be valid TOML: "),
        (b"steps = 10.0", ScenarioError, "steps: must be a whole number >= 1 and <= 1e8, got 10.0"),
        (b"steps = nan", ScenarioError, "steps: must be a whole number >= 1 and <= 1e8, got nan"),
        (b"steps = 2020-01-01", ScenarioError, "steps: must be a whole number >= 1 and <= 1e8, got "),
        (b"\x7fELF\x02\x01\x80\x00", InputError, "must be text in UTF-8, is not at byte 6"),
        ("steps = 5 # é".encode("latin-1"), InputError, "must be text in UTF-8, is not at byte 12"),
        (None, InputError, "cannot be read: No such file or directory"),
    ],
)
def test_files_that_are_no_scenario(
    tmp_path: Path, content: bytes | None, kind: type[MCMMError], line: str
) -> None:
    path = tmp_path / "a.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(kind) as caught:
        Scenario.load(path)
    assert str(caught.value).startswith(f"{path}: {line}")
    assert "\n" not in str(caught.value)


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        Scenario.load(tmp_path)
    with pytest.raises(InputError, match="cannot be written: Is a directory"):
        Scenario().save(tmp_path)
    with pytest.raises(InputError, match="cannot be written: No such file or directory"):
        Scenario().save(tmp_path / "none" / "a.toml")


def test_every_line_opens_with_the_source() -> None:
    with pytest.raises(ScenarioError) as caught:
        Scenario.loads("steps = 0\n[risk]\nmark = 1\n", source="here.toml")
    assert [line.split(": ")[:2] for line in str(caught.value).splitlines()] == [
        ["here.toml", "steps"],
        ["here.toml", "risk.mark"],
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"steps": 77},
        {"quoting.base_spread": 1, "risk.inventory_limit": 30, "risk.exposure_limit": 50},
        {"risk.inventory_limit": math.inf, "market.initial_mid": 0.25},
        {"quoting.policy": "symmetric", "risk.breaker_action": "flatten", "recovery.stale_quotes": True},
        {"market.initial_mid": None},
        {"schedule.volatility": "[[3, 2.0]]"},
        {"flow.arrival_rate": np.float64(0.2), "steps": np.int64(9)},
    ],
)
@pytest.mark.parametrize("markets", [(), ({"name": "fed", "risk": {"inventory_limit": 9}}, {"name": "cpi"})])
def test_a_change_is_what_a_new_scenario_would_be(changes: dict[str, Any], markets: Any) -> None:
    """A point of a study is made without asking again of what did not change."""
    scenario = Scenario(steps=50, fees={"maker_rate": 0.01}, markets=list(markets))
    data = scenario.to_dict()
    for name, value in changes.items():
        table, _, leaf = name.rpartition(".")
        given = json.loads(value) if name == "schedule.volatility" else value
        (data.setdefault(table, {}) if table else data)[leaf] = given
    made, expected = scenario.replace(changes), Scenario.from_dict(data)
    assert made == expected
    assert made.digest() == expected.digest()
    assert made.dumps() == expected.dumps()
    assert {name: type(made.get(name)) for name in changes} == {
        name: type(expected.get(name)) for name in changes
    }
    for name, market in made.by_market().items():
        assert market.to_dict() == expected.by_market()[name].to_dict()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"risk.inventory_limit": True}, "risk.inventory_limit: must be a whole number >= 1 or inf, got t"),
        ({"risk.close_steps": 60}, "risk.close_steps: must be <= steps (50), got 60"),
        ({"steps": 0}, "steps: must be a whole number >= 1"),
        ({"market": 3}, "market: is a table; name one of its settings"),
        ({"portfolio.correlation": 0.5}, "portfolio.correlation: must be 0.0 without [[markets]], got 0.5"),
    ],
)
def test_a_wrong_change_is_told(changes: dict[str, Any], line: str) -> None:
    scenario = Scenario(steps=50)
    scenario.replace({"risk.inventory_limit": 1})  # which equals True
    with pytest.raises(ScenarioError) as caught:
        scenario.replace(changes)
    assert str(caught.value).startswith(line)
