"""The bot, quote by quote, is a path of `simulate` bit for bit, restarts and all; what is wrong, refused."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pandas as pd
import panel
import pytest
import test_book_oracle
import test_portfolio_oracle
from hypothesis import given, settings
from hypothesis import strategies as st

import mcmm
from mcmm._isa import core
from mcmm.bot import Bot, ExecutionEngine
from mcmm.errors import InputError, ScenarioError
from mcmm.files import from_json, to_json
from mcmm.policies import STATE_ROWS, QuoteView
from mcmm.quotes import Fill, Order
from mcmm.scenario import Scenario

INF = math.inf
KERNEL = Path(mcmm.__file__).parent / "kernel"


def reloaded(bot: Bot, orders: pd.DataFrame | None, policy: object) -> Bot:
    """Another bot that goes on from what a file holds of this one."""
    text = to_json(bot.state())
    fresh = Bot(bot.scenario, seed=bot.seed, path=bot.path, orders=orders, policy=policy)
    fresh.load(from_json(json.loads(text)))
    return fresh


def assert_same(
    scenario: Scenario,
    seed: int,
    path: int,
    orders: list[dict[str, Any]] | None = None,
    restarts: Collection[int] = (),
    policy: object = None,
) -> list[Fill]:
    """Every number of every step, and every metric, are those of `simulate`; the fills, for a closer look."""
    frame = None if orders is None else pd.DataFrame(orders)
    run = mcmm.simulate(
        scenario, paths=1, seed=seed, first_path=path, trace_paths=1, orders=frame, policy=policy
    )
    assert run.trace_values is not None
    bot = Bot(scenario, seed=seed, path=path, orders=frame, policy=policy)
    engine = ExecutionEngine(bot)
    rows = np.zeros((len(bot.makers), scenario.steps, len(core.TRACE_COLUMNS)))
    fills = []
    while not bot.done:
        step = bot.step
        bot.quote()
        for row, name in zip(rows, bot.makers, strict=True):
            bot.trace_row(name, row[step], books=False)
        fills += engine.trade()
        states = bot.end_step()
        for row, name in zip(rows, bot.makers, strict=True):
            bot.trace_row(name, row[step], books=True)
            assert states[name].inventory == row[step, core.TRACE_COLUMNS.index("inventory")]
            assert states[name].pnl == row[step, core.TRACE_COLUMNS.index("pnl")]
            assert states[name].halted == row[step, core.TRACE_COLUMNS.index("halted")]
        if step in restarts:
            bot = reloaded(bot, frame, policy)
            engine = ExecutionEngine(bot)
    for place, column in enumerate(core.TRACE_COLUMNS):
        wanted = run.trace_values[column].reshape(rows.shape[:2])
        np.testing.assert_array_equal(rows[:, :, place], wanted, err_msg=column)
    wanted = dict(zip(scenario.columns, run.values[:, 0].tolist(), strict=True))
    np.testing.assert_equal(bot.metrics(), wanted)
    # In a book a fill of the bot's is all that a step filled of one order.
    assert sum(fill.size for fill in fills) == wanted["volume"] or "flatten" in str(scenario.to_dict())
    assert len(fills) == wanted["fills"] or scenario.venue == "book"
    return fills


@pytest.mark.parametrize("name", [name for name in panel.SCENARIOS if name != "book"])
def test_every_frozen_scenario_runs_quote_by_quote(name: str) -> None:
    orders = panel.ORDERS.to_dict("records") if name == "replay" else None
    scenario, policy = Scenario.from_dict(panel.SCENARIOS[name]), panel.POLICIES.get(name)
    assert_same(scenario, 7, 3, orders, restarts=(0, 70, 133), policy=policy)


@pytest.mark.parametrize("regime", [*cases.REGIMES, *(f"replay {name}" for name in cases.REPLAY_REGIMES)])
def test_bot_and_simulation_agree_whatever_the_settings(regime: str) -> None:
    replay = regime.startswith("replay ")

    @settings(max_examples=5)
    @given(cases.cases(regime.removeprefix("replay "), replay), st.lists(st.integers(0, 300), max_size=4))
    def agree(case: cases.Case, restarts: list[int]) -> None:
        assert_same(case.scenario, case.seed, case.first_path, case.orders, restarts)

    agree()


@pytest.mark.parametrize("regime", test_portfolio_oracle.EXAMPLES)
def test_several_markets_agree_whatever_joins_them(regime: str) -> None:
    @settings(max_examples=8)
    @given(test_portfolio_oracle.portfolios(regime), st.lists(st.integers(0, 300), max_size=4))
    def agree(case: tuple[Scenario, list[dict[str, Any]] | None], restarts: list[int]) -> None:
        assert_same(case[0], 7, 5, case[1], restarts)

    agree()


def test_in_an_order_book_they_agree_too() -> None:
    filled: Counter[str] = Counter()

    @settings(max_examples=25)
    @given(test_book_oracle.scenarios(), st.lists(st.integers(0, 300), max_size=4))
    def agree(scenario: Scenario, restarts: list[int]) -> None:
        filled.update(["filled"] * len(assert_same(scenario, 7, 5, restarts=restarts)))

    cases.until_seen([agree], filled, ["filled"], 100)
    bot = Bot(Scenario(venue="book", steps=20))
    bot.quote()
    with pytest.raises(InputError, match="on_fill: must be left to the venue, an order book"):
        bot.maker.on_fill(1, 1, 0.5)
    offered = bot.maker.quote()
    taken = sum(fill.size for fill in ExecutionEngine(bot).trade())
    left = bot.maker.quote()
    assert left.bid_size + left.ask_size == offered.bid_size + offered.ask_size - taken


@pytest.mark.parametrize("name", test_book_oracle.MEASURED)
def test_measured_scenarios_in_an_order_book(name: str) -> None:
    """Queues and orders of hundreds of contracts, through snapshots of the whole book."""
    scenario = test_book_oracle.measured(name).replace({"book.cancel_latency": 2})
    fills = assert_same(scenario, 5, 7, restarts=(0, 30, 31))
    assert sum(fill.size for fill in fills) > 200


@pytest.mark.parametrize("markets", [0, 2])
def test_orders_from_outside_meet_an_order_book_as_recorded_ones_do(markets: int) -> None:
    """Between the others' orders: at a limit, at any price, with fair values, through a restart."""
    book = {"activity": 0.2, "warmup_steps": 3, "cancel_latency": 2}
    quoting = {"base_spread": 0.02, "quote_size": 4, "reference_weight": 0.4}
    own = {"markets": [{"name": "a"}, {"name": "b", "book": {"activity": 0.3}}][:markets]}
    scenario = Scenario(venue="book", steps=50, book=book, quoting=quoting, recovery={"ramp_steps": 0}, **own)
    told = {
        (t, name): Order(1 if t % 4 < 2 else -1, 1 + t % 9 * 4, None if t % 3 else 0.5, 0.45 + t % 7 / 50)
        for t in range(50)
        for place, name in enumerate(scenario.by_market())
        if (t + place) % 2
    }
    frame = [
        {"step": t, "side": order.side, "size": order.size, "limit": order.limit, "fair": order.fair}
        | ({"market": name} if markets else {})
        for (t, name), order in told.items()
    ]
    fills = assert_same(scenario, 3, 5, frame, restarts=(20,))
    assert {fill.market for fill in fills} == set(scenario.by_market())
    bot = Bot(scenario, seed=3, path=5, outside=True)
    engine = ExecutionEngine(bot)
    met = []
    while not bot.done:
        here = {name: order for (t, name), order in told.items() if t == bot.step}
        met += engine.trade(here)
        bot.end_step()
    assert met == fills


def remembering(view: QuoteView) -> None:
    """Quotes wider the more steps it has seen, which it remembers."""
    view.state[0] += 1.0
    view.bid[:] = view.mid - 0.01 - 0.0001 * view.state[0]
    view.ask[:] = view.mid + 0.01 + 0.0001 * view.state[0]


def failing(view: QuoteView) -> None:
    if view.step == 3:
        raise ZeroDivisionError("a policy's own")
    remembering(view)


def test_a_policy_of_ones_own_runs_and_its_memory_is_kept() -> None:
    scenario = Scenario(steps=120, quoting={"policy": "custom"}, recovery={"disconnect_rate": 0.05})
    assert assert_same(scenario, 7, 0, restarts=(40, 41), policy=remembering)
    bot = Bot(scenario, seed=7, policy=remembering)
    bot.quote()
    bot.end_step()
    assert bot.state()["markets"][""]["windows"]["policy_state"] == [1.0, *[0.0] * (STATE_ROWS - 1)]
    with pytest.raises(ZeroDivisionError, match="a policy's own"):
        assert_same(scenario, 7, 0, policy=failing)


def test_the_names_of_a_state_are_those_of_the_core() -> None:
    """A row named after its neighbour would be a snapshot that lies."""
    structs = re.split(r"cdef struct (\w+):", (KERNEL / "state.pxd").read_text("utf-8"))
    block, portfolio = (structs[structs.index(name) + 1] for name in ("Block", "Portfolio"))
    assert re.findall(r"double (\w+)\[LANES\]", block) == list(core.STATE_ROWS_WIDE)
    assert re.findall(r"float (\w+)\[LANES\]", block) == list(core.STATE_ROWS_NARROW)
    joint = re.findall(r"double (\w+)\[LANES\]", portfolio)
    assert joint[joint.index("allowance") :] == list(core.STATE_ROWS_PORTFOLIO)


def outside(**tables: Any) -> tuple[Bot, ExecutionEngine]:
    bot = Bot(Scenario(steps=20, **tables), outside=True)
    return bot, ExecutionEngine(bot)


def test_orders_from_outside_trade_as_recorded_ones_do() -> None:
    rows = [(0, 1, 5, 0.6, 0.52), (1, -1, 3, 0.1, None), (2, 1, 4, 0.5, None), (7, -1, 50, None, 0.4)]
    scenario = Scenario(steps=20)
    recorded = pd.DataFrame(rows, columns=["step", "side", "size", "limit", "fair"])
    known = ExecutionEngine(Bot(scenario, orders=recorded))
    bot, engine = outside()
    by_step = {step: Order(side, size, limit, fair) for step, side, size, limit, fair in rows}
    while not bot.done:
        told = engine.trade({"": by_step[bot.step]} if bot.step in by_step else None)
        assert told == known.trade()
        assert bot.end_step() == known._bot.end_step()
    np.testing.assert_equal(bot.metrics(), known._bot.metrics())
    assert bot.metrics()["fills"] == 3  # the third wants a better price than is quoted


def test_a_fill_from_anywhere_is_booked_once_and_within_the_quote() -> None:
    bot, _ = outside()
    maker = bot.maker
    with pytest.raises(InputError, match=r"on_fill: must follow quote\(\), and step 0 has no quote yet"):
        maker.on_fill(1, 1, 0.52)
    quote = maker.quote()
    assert quote == maker.quote()
    assert (quote.bid, quote.ask, quote.bid_size, quote.ask_size) == (0.48, 0.52, 10, 10)
    for side, size, price, rule in (
        (2, 1, 0.52, "side must be 1"),
        (1, 0, 0.52, "size: must be a whole number >= 1"),
        (1, 2.5, 0.52, "size: must be a whole number >= 1"),
        (1, 11, 0.52, "size must be <= the ask's"),
        (1, 1, 0.51, "price must be the ask"),
        (-1, 1, 0.52, "price must be the bid"),
    ):
        with pytest.raises(InputError, match=re.escape(rule)):
            maker.on_fill(side, size, price)  # type: ignore[arg-type]
    assert maker.state.fills == 0
    assert maker.on_fill(1, 4, 0.52) == Fill(0, "", 1, 4, 0.52)
    with pytest.raises(InputError, match="a step has one fill, and step 0 has had it"):
        maker.on_fill(-1, 1, 0.48)
    state = bot.end_step()[""]
    assert (state.inventory, state.fills, state.volume, state.window_signed, state.window_total) == (
        -4,
        1,
        4,
        4,
        4,
    )
    assert state.cash == pytest.approx(2.08)
    assert state.imbalance == 1.0
    assert state.mid == pytest.approx(0.5 + 0.003 * 0.4 + 0.003)
    assert state.exposure == pytest.approx(4 * (1 - state.mid))


def test_a_restarted_bot_quotes_wide_and_comes_back() -> None:
    bot, _ = outside(recovery={"conservative_multiplier": 3.0, "ramp_steps": 4})
    calm = bot.quote()[""]
    bot.end_step()
    bot.resume_carefully()
    spreads = []
    for _ in range(6):
        quote = bot.quote()[""]
        spreads.append(round(quote.ask - quote.bid, 9))
        bot.end_step()
    assert spreads == [0.12, 0.1, 0.08, 0.06, 0.04, 0.04]
    assert spreads[-1] == round(calm.ask - calm.bid, 9)
    switched_off, _ = outside(recovery={"ramp_steps": 0})
    switched_off.resume_carefully()
    assert switched_off.quote()[""] == calm


@pytest.mark.parametrize("action", ["halt", "pause", "flatten"])
@pytest.mark.parametrize("mark", ["mid", "fair"])
def test_only_a_reset_clears_a_breaker(action: str, mark: str) -> None:
    risk = {
        "drawdown_limit": 0.3,
        "loss_limit": 0.4,
        "breaker_action": action,
        "pause_steps": 9,
        "mark": mark,
    }
    bot, engine = outside(risk=risk)
    while not bot.maker.state.trips:  # at mid, its own fills move it up against what it sold
        engine.trade({"": Order(1, 10, fair=0.9)})
        bot.end_step()
    state = bot.maker.state
    assert state.halted == (action != "pause")
    fresh = reloaded_outside(bot)
    assert fresh.maker.state == state
    assert fresh.quote()[""].ask_size == 0
    fresh.end_step()
    fresh.reset_breakers()
    assert fresh.quote()[""].ask_size > 0
    after = fresh.end_step()[""]
    assert not after.halted
    assert after.pause_left == 0
    assert (after.trips, after.halt_reason, after.peak) == (state.trips, state.halt_reason, state.peak)


def test_a_reset_clears_the_portfolio_breaker_too() -> None:
    markets = [{"name": "one"}, {"name": "two"}]
    scenario = Scenario(
        steps=60, markets=markets, portfolio={"drawdown_limit": 0.4}, recovery={"ramp_steps": 0}
    )
    bot = Bot(scenario, outside=True)
    engine = ExecutionEngine(bot)
    while not all(state.halted for state in bot.states.values()):
        engine.trade({"one": Order(1, 10)})
        states = bot.end_step()
    assert {state.halt_reason for state in states.values()} == {"portfolio_drawdown"}
    assert bot.portfolio("trips") == 1.0
    assert engine.trade({"one": Order(1, 10)}) == []
    bot.end_step()
    bot.reset_breakers()
    assert engine.trade({"two": Order(1, 1)}) != []
    assert not any(state.halted for state in bot.end_step().values())
    assert bot.portfolio("trips") == 1.0


def test_a_step_has_its_takers_once() -> None:
    bot, engine = outside()
    assert engine.trade() == []
    with pytest.raises(InputError, match="trade: a step has its takers once, and step 0 has had them"):
        engine.trade({"": Order(1, 1)})
    bot.end_step()
    bot.maker.on_fill(1, 1, bot.maker.quote().ask)
    with pytest.raises(InputError, match="trade: a step has its takers once, and step 1 has had them"):
        engine.trade({"": Order(1, 1)})
    assert bot.end_step()[""].inventory == -1


def reloaded_outside(bot: Bot) -> Bot:
    fresh = Bot(bot.scenario, outside=True)
    fresh.load(from_json(json.loads(to_json(bot.state()))))
    return fresh


def test_what_is_wrong_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="scenario: must be a Scenario, got dict"):
        Bot({})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="seed: must be a whole number"):
        Bot(Scenario(), seed=-1)
    with pytest.raises(InputError, match="path: must be a whole number"):
        Bot(Scenario(), path=2**48)
    with pytest.raises(InputError, match=r"orders: must be given for a scenario with flow\.model replay"):
        Bot(Scenario(flow={"model": "replay"}))
    with pytest.raises(ScenarioError, match="reference_noise"):
        Bot(Scenario(quoting={"reference_weight": 0.1, "reference_noise": 0.1}), outside=True)
    bot, engine = outside()
    for order, rule in (
        (Order(2, 1), "order.side: must be 1"),
        (Order(1, 0), "order.size: must be a whole number >= 1"),
        (Order(1, 1, INF), "order.limit: must be a price"),
        (Order(1, 1, fair=1.5), "order.fair: must be a probability"),
    ):
        with pytest.raises(InputError, match=rule):
            engine.trade({"": order})
    with pytest.raises(InputError, match=r"order\.market: must be left out, for there is only one, got 'x'"):
        engine.trade({"": Order(1, 1), "x": Order(1, 1)})
    assert engine.trade() == []
    with pytest.raises(InputError, match="state: must be taken between two steps"):
        bot.state()
    bot.end_step()
    with pytest.raises(InputError, match="end_step: must follow quote"):
        bot.end_step()
    with pytest.raises(InputError, match="orders: must be given to a bot whose takers come from outside"):
        ExecutionEngine(Bot(Scenario())).trade({"": Order(1, 1)})
    state = bot.state()
    for change in ({"step": 21}, {"markets": {}}, {"portfolio": {}, "markets": {"a": state["markets"][""]}}):
        with pytest.raises(InputError, match="state: must be a state of this scenario, got another"):
            bot.load(state | change)
    other = Bot(Scenario(steps=20, quoting={"imbalance_window": 7}), outside=True)
    with pytest.raises(InputError, match="filled_signed has 50 entries, not 7"):
        other.load(state)
    while not bot.done:
        bot.quote()
        bot.end_step()
    with pytest.raises(InputError, match="quote: the path is over after 20 steps"):
        bot.quote()
