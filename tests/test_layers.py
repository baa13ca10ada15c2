"""Risk layers: no sequence of orders, outages and restarts gets a fill through one that is tripped.

What must not be filled is worked out here from the fills and the marks alone, not from what the bot says of
itself.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import cases
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mcmm.bot import Bot, ExecutionEngine
from mcmm.errors import InputError
from mcmm.files import from_json, to_json
from mcmm.layers import LAYERS, standings, sums_of
from mcmm.quotes import Fill, Order
from mcmm.scenario import Scenario

INF = math.inf
NEAR = 1e-9
STEPS = 60
MARKETS = ("one", "two")
came: Counter[str] = Counter()


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    def one_of(**values: tuple[Any, ...]) -> dict[str, Any]:
        return {name: draw(st.sampled_from(choice)) for name, choice in values.items()}

    risk = one_of(
        inventory_limit=(30, 5, 100),
        exposure_limit=(INF, 4.0, 12.0),
        drawdown_limit=(0.05, INF, 0.3),
        loss_limit=(INF, INF, 0.2),
        loss_window=(3, 10),
        volume_limit=(INF, INF, 12, 30),
        volume_window=(2, 6),
        breaker_action=("halt", "pause", "flatten"),
        pause_steps=(4, 1, 15),
        close_steps=(0, 0, 20),
    )
    quoting = one_of(fill_shade=(0.05, 0.003, 0.2), base_spread=(0.02, 0.1), quote_size=(10, 3))
    recovery = one_of(ramp_steps=(5, 0), stale_quotes=(False, True))
    schedule = {"pauses": [{"start": 20, "steps": 5, "quotes": "cancel"}]} if draw(st.booleans()) else {}
    portfolio = one_of(drawdown_limit=(0.1, INF, 0.5), exposure_limit=(INF, 6.0))
    tables = {"risk": risk, "quoting": quoting, "recovery": recovery, "schedule": schedule}
    markets = [{"name": name} for name in MARKETS]
    return Scenario.from_dict({"steps": STEPS, "portfolio": portfolio, "markets": markets, **tables})


orders = st.builds(
    Order,
    side=st.sampled_from((1, -1)),
    size=st.sampled_from((1, 7, 50)),
    limit=st.none() | st.sampled_from((0.4, 0.5, 0.6)),
    fair=st.none() | st.sampled_from((0.2, 0.5, 0.9)),
)
events = st.one_of(
    st.fixed_dictionaries(dict.fromkeys(MARKETS, orders)),
    st.fixed_dictionaries(dict.fromkeys(MARKETS, orders)),
    st.fixed_dictionaries({MARKETS[0]: orders}),
    st.just("fill"),
    st.sampled_from(("lost", "back", "back")),
    st.sampled_from(("restart", "restart carefully")),
)


class Shadow:
    """What must not be filled in a market, from its fills and marks."""

    def __init__(self, scenario: Scenario) -> None:
        self.risk = scenario.risk
        self.cash, self.held = 0.0, 0
        self.marks, self.volumes = [0.0], [0]
        self.since, self.peak = 0, 0.0
        self.barred_until = -1.0
        self.unsure = False

    def fill(self, fill: Fill, step: int, close_from: float, room: float) -> None:
        risk, before = self.risk, self.held
        self.held -= fill.side * fill.size
        self.cash += fill.side * fill.size * fill.price
        self.volumes[-1] += fill.size
        worst = fill.price if self.held > 0 else 1.0 - fill.price
        assert abs(self.held) <= risk.inventory_limit
        assert not step < self.barred_until, f"filled in step {step}, barred until {self.barred_until}"
        if abs(self.held) > abs(before):
            assert abs(self.held) * worst <= risk.exposure_limit + NEAR
            assert step < close_from, "a new position in the last steps"
            assert before * self.held < 0 or fill.size * worst <= room + NEAR

    def mark(self, mid: float, step: int) -> float:
        """The pnl; a breaker's trip bars what follows."""
        risk, pnl = self.risk, self.cash + self.held * mid
        self.marks.append(pnl)
        self.peak = max(self.peak, pnl)
        recent = self.marks[max(self.since, len(self.marks) - risk.loss_window - 1) :]
        volumes = self.volumes[max(self.since, len(self.volumes) - risk.volume_window) :]
        over = {
            "drawdown": self.peak - pnl - risk.drawdown_limit,
            "loss": max(recent) - pnl - risk.loss_limit,
            "volume": sum(volumes) - risk.volume_limit,
        }
        if step >= self.barred_until:
            # On the edge to the last bit it may trip or not: nothing is claimed of the rest.
            self.unsure |= any(abs(over[name]) < NEAR for name in ("drawdown", "loss"))
            tripped = [name for name, excess in over.items() if excess >= 0.0]
            if tripped:
                came.update(tripped)
                self.trip(step, pnl)
        self.volumes.append(0)
        return pnl

    def trip(self, step: int, pnl: float) -> None:
        if self.risk.breaker_action != "pause":
            self.barred_until = INF
            return
        self.barred_until = step + 1 + self.risk.pause_steps
        self.peak, self.since = pnl, len(self.marks) - 1


def restarted(bot: Bot, carefully: bool) -> Bot:
    fresh = Bot(bot.scenario, outside=True)
    fresh.load(from_json(json.loads(to_json(bot.state()))))
    if carefully:
        fresh.resume_carefully()
    return fresh


def follow(scenario: Scenario, sequence: list[Any]) -> None:
    bot = Bot(scenario, outside=True)
    shadows = {name: Shadow(market) for name, market in bot.scenario.by_market().items()}
    joint, joint_peak, down, exposure = scenario.portfolio, 0.0, False, 0.0
    close_from = STEPS - scenario.risk.close_steps
    for event in sequence:
        if bot.done or any(shadow.unsure for shadow in shadows.values()):
            break
        if isinstance(event, str) and event.startswith("restart"):
            came[event] += 1
            bot = restarted(bot, event.endswith("carefully"))
            continue
        step = bot.step
        room = max(joint.exposure_limit - exposure, 0.0) / len(MARKETS)
        if event == "fill":
            fills = []
            for name, quote in bot.quote().items():
                for side, size, price in ((1, quote.ask_size, quote.ask), (-1, quote.bid_size, quote.bid)):
                    try:
                        fills.append(bot.makers[name].on_fill(side, max(size, 1), price))
                    except InputError:
                        came["refused"] += 1
        else:
            fills = ExecutionEngine(bot).trade(event if isinstance(event, dict) else None)
        assert not (fills and down and not scenario.recovery.stale_quotes), "filled without a connection"
        assert not (fills and scenario.schedule.pauses and 20 <= step < 25), (
            "filled while the venue is closed"
        )
        for fill in fills:
            came["fill"] += 1
            # A stale quote rests as it was made, before the end was near and with the room of then.
            shadows[fill.market].fill(fill, step, INF if down else close_from, INF if down else room)
        states = bot.end_step()
        if event in ("lost", "back"):
            came[event] += 1
            down = event == "lost"
            bot.connect(not down)
        for name, shadow in shadows.items():
            if states[name].inventory == 0 and shadow.barred_until == INF and shadow.held:
                # flatten closed it, at its own price
                shadow.cash, shadow.held = states[name].pnl, 0
        open_before = [shadow for shadow in shadows.values() if step >= shadow.barred_until]
        total = sum(shadow.mark(states[name].mid, step) for name, shadow in shadows.items())
        joint_peak = max(joint_peak, total)
        exposure = sum(state.exposure for state in states.values())
        over = joint_peak - total - joint.drawdown_limit
        if open_before and abs(over) < NEAR:
            break
        if open_before and over >= 0.0:
            came["portfolio drawdown"] += 1
            joint_peak = total
            for shadow in shadows.values():
                if shadow.barred_until <= step:
                    shadow.trip(step, shadow.marks[-1])
        for name, maker in bot.makers.items():
            found = standings(states[name], maker._offered(), maker.scenario, sums_of(bot))
            assert (states[name].halted or states[name].pause_left > 0) == (
                any(each.state == "tripped" for each in found.values())
            )


def test_no_sequence_gets_a_fill_through_a_tripped_layer() -> None:
    came.clear()

    # A failure is shown as it is found: to shrink it takes minutes.
    @settings(max_examples=70, phases=(Phase.explicit, Phase.generate))
    @given(scenarios(), st.lists(events, min_size=30, max_size=STEPS + 15))
    def holds(scenario: Scenario, sequence: list[Any]) -> None:
        follow(scenario, sequence)

    wanted = (
        "drawdown",
        "loss",
        "volume",
        "portfolio drawdown",
        "lost",
        "back",
        "restart",
        "refused",
        "fill",
    )
    cases.until_seen([holds], came, wanted, 10)
    assert all(came[name] >= 10 for name in wanted)


def test_the_page_has_the_table_of_the_code() -> None:
    page = (Path(__file__).parent.parent / "docs" / "risk.md").read_text("utf-8")
    rows = re.findall(r"^\| \d+ \| (.*) \|$", page, re.MULTILINE)
    assert [row.split(" | ")[:4] for row in rows] == [[x.name, x.watches, x.acts, x.does] for x in LAYERS]
    for layer in LAYERS:
        for name in layer.settings:
            assert name in Scenario.settings()
            assert f"`{name}`" in page
