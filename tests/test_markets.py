"""Several markets in one path: how they are written, named, changed and refused."""

from __future__ import annotations

import json
import math
import pickle
from typing import Any

import pytest

from mcmm.errors import ScenarioError
from mcmm.scenario import Scenario

INF = math.inf
TEXT = """
steps = 60
[quoting]
base_spread = 0.05
[flow]
arrival_rate = 0.8
[portfolio]
correlation = 0.4
drawdown_limit = 0.3
[[markets]]
name = "fed"
[markets.market]
initial_probability = 0.3
[markets.quoting]
base_spread = 0.03
[[markets]]
name = "c-p_1"
risk.inventory_limit = inf
risk.volume_limit = 30
[[markets]]
name = "3"
"""
SCENARIO = Scenario.loads(TEXT)


def refusal(data: Any, scenario: Scenario | None = None) -> str:
    with pytest.raises(ScenarioError) as caught:
        Scenario.from_dict(data) if scenario is None else scenario.replace(data)
    return str(caught.value)


# ---- the tables


def test_a_market_has_what_it_is_given_and_else_what_is_shared() -> None:
    assert SCENARIO.market_names == ("fed", "c-p_1", "3")
    assert [SCENARIO.get(f"markets.{name}.quoting.base_spread") for name in SCENARIO.market_names] == [
        0.03,
        0.05,
        0.05,
    ]
    fed, cpi, last = SCENARIO.by_market().values()
    assert fed.initial_mid == 0.3
    assert (cpi.risk.inventory_limit, cpi.risk.volume_limit, cpi.risk.drawdown_limit) == (INF, 30, INF)
    assert last == Scenario.from_dict(
        {"steps": 60, "quoting": {"base_spread": 0.05}, "flow": {"arrival_rate": 0.8}}
    )
    assert Scenario().by_market() == {"": Scenario()}


def test_there_and_back() -> None:
    assert Scenario.from_dict(SCENARIO.to_dict()) == SCENARIO
    text = SCENARIO.dumps()
    back = Scenario.loads(text)
    assert (back, back.dumps(), back.digest()) == (SCENARIO, text, SCENARIO.digest())
    assert hash(back) == hash(SCENARIO)
    assert pickle.loads(pickle.dumps(SCENARIO)) == SCENARIO
    assert SCENARIO.to_dict()["markets"][1] == {
        "name": "c-p_1",
        "risk": {"inventory_limit": INF, "volume_limit": 30},
    }


def test_one_market_is_written_as_it_always_was() -> None:
    assert set(Scenario().to_dict()) == {
        *("steps", "market", "flow", "fees", "quoting", "risk", "recovery", "schedule")
    }
    assert Scenario(markets=[], portfolio={"correlation": 0.0}).digest() == Scenario().digest()


def test_a_setting_given_its_default_is_not_one_left_to_the_shared_value() -> None:
    shared = {"risk": {"inventory_limit": 50}}
    given = Scenario(**shared, markets=[{"name": "a", "risk": {"inventory_limit": 100}}])
    left = Scenario(**shared, markets=[{"name": "a", "risk": {}}])
    assert given != left
    assert given.digest() != left.digest()
    assert left == Scenario(**shared, markets=[{"name": "a"}])
    assert left.digest() == Scenario(**shared, markets=[{"name": "a"}]).digest()
    assert given.replace({"markets.a.risk.inventory_limit": None}) == left


def test_replace() -> None:
    changed = SCENARIO.replace(
        {
            "markets.fed.quoting.base_spread": 0.09,
            "markets.3.risk.mark": "fair",
            "quoting.base_spread": 0.2,
            "portfolio.correlation": 1,
        }
    )
    spreads = [market.quoting.base_spread for market in changed.by_market().values()]
    assert spreads == [0.09, 0.2, 0.2]
    assert changed.get("markets.3.risk.mark") == "fair"
    assert changed.get("markets.fed.risk.mark") == "mid"
    assert changed.portfolio.correlation == 1.0
    assert SCENARIO.get("quoting.base_spread") == 0.05


def test_what_is_known_of_a_markets_setting() -> None:
    setting = SCENARIO.setting("markets.fed.risk.exposure_limit")
    shared = Scenario.settings()["risk.exposure_limit"]
    assert setting.name == "markets.fed.risk.exposure_limit"
    assert (setting.unit, setting.rule, setting.description) == (shared.unit, shared.rule, shared.description)
    assert SCENARIO.setting("portfolio.correlation").rule == "a number >= 0 and <= 1"


def test_the_schema_lets_an_editor_complete_a_market() -> None:
    schema = json.loads(json.dumps(Scenario.json_schema(), allow_nan=False))
    assert schema["properties"]["markets"]["items"] == {"$ref": "#/$defs/Member"}
    member = schema["$defs"]["Member"]
    assert set(member["properties"]) == {
        *("name", "market", "flow", "fees", "quoting", "risk", "recovery", "schedule", "book"),
    }
    assert schema["$defs"]["Portfolio"]["properties"]["exposure_limit"]["type"] == ["number", "null"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "markets.fedd.risk.mark",
            "markets.fedd.risk.mark: unknown market fedd; did you mean fed?",
        ),
        ("markets.zz.risk.mark", "markets.zz.risk.mark: unknown market zz; there are fed, c-p_1, 3"),
        (
            "markets.fed.risk.marc",
            "markets.fed.risk.marc: unknown setting; did you mean markets.fed.risk.mark?",
        ),
        (
            "markets.fed.risk",
            "markets.fed.risk: is a table; name one of its settings, such as "
            "markets.fed.risk.inventory_limit",
        ),
        ("markets.fed.steps", "markets.fed.steps: is the same for all markets; set steps"),
        (
            "markets.fed.portfolio.correlation",
            "markets.fed.portfolio.correlation: is the same for all markets; set portfolio.correlation",
        ),
        (
            "markets.fed",
            "markets.fed: is a market; name one of its settings, such as markets.fed.quoting.base_spread",
        ),
        (
            "markets",
            "markets: is a list of tables; name a market's setting, such as markets.fed.quoting.base_spread",
        ),
        (
            "portfolio.corelation",
            "portfolio.corelation: unknown setting; did you mean portfolio.correlation?",
        ),
    ],
)
def test_names_that_are_none(name: str, line: str) -> None:
    assert refusal({name: 1}, SCENARIO) == line
    with pytest.raises(ScenarioError) as caught:
        SCENARIO.get(name)
    assert str(caught.value) == line


RULE = "must be 1 to 64 letters, digits, _ and -"


@pytest.mark.parametrize(
    ("markets", "line"),
    [
        ([{}], f"markets[0].name: {RULE}, got nothing"),
        ([{"name": "a"}, {"name": "b.c"}], f'markets[1].name: {RULE}, got "b.c"'),
        ([{"name": ""}], f'markets[0].name: {RULE}, got ""'),
        ([{"name": "a\n"}], f'markets[0].name: {RULE}, got "a\\n"'),
        ([{"name": "x" * 65}], f'markets[0].name: {RULE}, got "{"x" * 57}..."'),
        ([{"name": 3}], f"markets[0].name: {RULE}, got 3"),
        (
            [{"name": "a"}, {"name": "b"}, {"name": "a"}],
            'markets[2].name: must differ from those of the markets before it, got "a"',
        ),
        ([3], "markets[0]: must be a table, got 3"),
        (
            {"name": "a"},
            "markets: must be a list of at most 1024 tables, each with a name, got {'name': 'a'}",
        ),
        ([{"name": "a", "risk": 3}], "markets.a.risk: must be a table, got 3"),
        ([{"name": "a", "rsk": {}}], "markets.a.rsk: unknown setting; did you mean markets.a.risk?"),
        ([{"name": "a", "steps": 3}], "markets.a.steps: is the same for all markets; set steps"),
        (
            [{"name": "a", "quoting": {"base_spread": "x"}}],
            'markets.a.quoting.base_spread: must be a number >= 0 and <= 1e6, got "x"',
        ),
        (
            [{"name": "a", "flow": {"size_table": [[1, 1], [0, 1]]}}],
            "markets.a.flow.size_table[1][0]: must be a whole number >= 1 and <= 1e9, got 0",
        ),
        (
            [{"name": "a", "schedule": {"news": [[5, 0.1], [5, 0.1]]}}, {"name": "b"}],
            "markets.a.schedule.news[1][0]: must be > 5, the step of the row before it, got 5",
        ),
        (
            [{"name": "a"}, {"name": "b", "risk": {"close_steps": 1001}}],
            "markets.b.risk.close_steps: must be <= steps (1000), got 1001",
        ),
    ],
)
def test_markets_that_are_none(markets: Any, line: str) -> None:
    assert refusal({"markets": markets}) == line


def test_a_shared_fault_is_said_once_and_a_markets_own_by_its_name() -> None:
    assert refusal({"risk.close_steps": 61}, SCENARIO) == "risk.close_steps: must be <= steps (60), got 61"
    # The shared process suits the one market that has a mid for it.
    lines = refusal({"market.process": "arithmetic", "quoting.policy": "symmetric"}, SCENARIO).splitlines()
    assert {line.partition(":")[0] for line in lines} == {"market.initial_mid"}
    lines = refusal({"markets.3.market.process": "arithmetic"}, SCENARIO).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "markets.3.market.initial_mid",
        "markets.3.quoting.policy",
    ]


def test_what_a_portfolio_cannot_be() -> None:
    assert refusal({"portfolio": {"drawdown_limit": 3.0}}) == (
        "portfolio.drawdown_limit: must be inf without [[markets]], got 3.0"
    )
    assert refusal({"portfolio": {"correlation": 1.1}, "markets": [{"name": "a"}]}) == (
        "portfolio.correlation: must be a number >= 0 and <= 1, got 1.1"
    )
    arithmetic = {"process": "arithmetic", "initial_mid": 3.0, "tick_size": 0.0}
    market = {"name": "s", "market": arithmetic, "quoting": {"policy": "symmetric"}}
    assert refusal({"portfolio": {"exposure_limit": 9.0}, "markets": [{"name": "a"}, market]}) == (
        "portfolio.exposure_limit: must be inf with market.process arithmetic, as of s, whose prices are not "
        "in (0, 1), got 9.0"
    )
