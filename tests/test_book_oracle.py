"""The core's order book equals the oracle's bit for bit; and the oracle keeps its own rules."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import cases
import numpy as np
import oracle_numbers as numbers
import oracle_venue
import pandas as pd
import panel
import pytest
from cases import one_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle_book import BUY, SELL, Book, Order
from oracle_custom import Books
from test_oracle import same

import mcmm
from mcmm.metrics import BOOK_NAMES, NAMES
from mcmm.policies import QuoteView

ROOT = Path(__file__).parents[1]
MEASURED = ("kalshi_macro", "polymarket_btc15m", "fed_hour")
LEAST = 5  # scenarios in which each of the below has to act
DEEP = (
    tuple(round(1.85 * 0.8**i, 3) for i in range(16)),
    (0.71, 0.4, 0.0, *[0.2] * 6, *[0.1] * 6, 0.05),
)
"""Rates at as many distances as a book has places for, each unlike its neighbours somewhere."""
WANTED = [
    *(
        "fill by the flow",
        "patient taker",
        "taker walks on",
        "stale order filled",
        "larger order goes to the back",
    ),
    *("order faster than a cancel", "order void"),
    *(
        "news",
        "herding",
        "recovery ramp",
        "defensive shade",
        "refusal",
        "informed fill",
        "fee",
        "trip",
        "outage",
    ),
    *(f"filled from {place}" for place in oracle_venue.PLACES),
    *(f"filled by {rule}" for rule in ("queue", "touch", "through")),
    "filled at 16 distances",
    *(f"{policy} filled" for policy in ("adaptive", "symmetric", "avellaneda_stoikov")),
]


@st.composite
def scenarios(draw: st.DrawFn) -> mcmm.Scenario:
    tables: dict[str, Any] = {
        "market": one_of(
            draw,
            volatility=[0.02, 0.1, 0.0],
            initial_probability=[0.5, 0.03, 0.97, 0.333],
            tick_size=[0.01, 0.05, 0.25],
            process=["logit", "threshold"],
        ),
        "flow": one_of(
            draw,
            arrival_rate=[0.3, 1.0],
            clustering=[0.0, 0.3],
            informed_fraction=[0.3, 0.0, 1.0],
            herding=[0.0, 0.5],
            price_sensitivity=[0.0, 20.0],
            size_mean=[3.0, 1.0, 20.0],
            size_max=[20, 60, 1],
        ),
        "quoting": one_of(
            draw,
            policy=["adaptive", "symmetric", "avellaneda_stoikov"],
            base_spread=[0.02, 0.0, 0.06],
            quote_size=[5, 1, 30],
            reference_weight=[0.0, 0.5],
        ),
        "risk": one_of(
            draw,
            inventory_limit=[100, 8, math.inf],
            drawdown_limit=[math.inf, 0.3],
            volume_limit=[math.inf, 60],
            breaker_action=["halt", "pause", "flatten"],
            pause_steps=[5],
            mark=["mid", "fair"],
        ),
        "recovery": one_of(draw, disconnect_rate=[0.0, 0.1], outage_steps=[4]),
        "fees": one_of(draw, maker_rate=[0.0, 0.0175, -0.01], rounding=[0.0, 0.01]),
        "book": one_of(
            draw,
            limit_rates=[(1.85, 1.51, 1.09, 0.88, 0.77), (0.5, 0.2), (0.0, 1.0, 3.0), DEEP[0]],
            cancel_rates=[(0.71, 0.81, 0.68, 0.56, 0.47), (0.3,), (0.5, 0.0, 0.1, 0.0), DEEP[1]],
            activity=[0.3, 0.05, 1.5],
            recentre_strength=[20.0, 0.0, 300.0],
            recentre_lag=[10.0, 1.0],
            warmup_steps=[5, 0],
            passive_fraction=[0.0, 0.4],
            place_latency=[0, 1, 4],
            cancel_latency=[0, 3, 6],
            fill_rule=["queue", "touch", "through"],
            join_only=[False, True],
            top_up=[True, False],
        ),
    }
    if tables["market"]["process"] == "logit":
        tables["market"] |= one_of(draw, news_rate=[0.0, 0.05], news_strength=[0.2])
    return mcmm.Scenario(venue="book", steps=draw(st.sampled_from([40, 15])), **tables)


@st.composite
def replays(draw: st.DrawFn) -> tuple[mcmm.Scenario, list[dict[str, float]]]:
    """A book with given orders in place of its takers, and without what a replay may not draw."""
    scenario = draw(scenarios()).replace({"recovery.disconnect_rate": 0.0})
    return scenario, draw(cases.orders(scenario))


def compare(
    scenario: mcmm.Scenario,
    seed: int,
    first_path: int,
    lanes: tuple[int, ...],
    orders: list[dict[str, float]] | None = None,
) -> set[str]:
    """Assert that core and oracle agree; return what came about."""
    frame = None if orders is None else pd.DataFrame(orders)
    core = mcmm.simulate(scenario, paths=66, seed=seed, first_path=first_path, trace_paths=66, orders=frame)
    assert core.trace_values is not None
    acted: set[str] = set()
    for lane in lanes:
        told = oracle_venue.simulate(scenario, seed, first_path + lane, orders=orders)
        for t, row in enumerate(told.rows):
            ours = {name: float(core.trace_values[name][lane, t]) for name in row}
            assert same(ours, row) == {}, f"path {lane}, step {t}: core and oracle"
        assert tuple(told.metrics) == (*NAMES, *BOOK_NAMES) == scenario.columns
        ours = dict(zip(scenario.columns, core.values[:, lane].tolist(), strict=True))
        assert same(ours, told.metrics) == {}, f"path {lane}: core and oracle"
        m, book = told.metrics, scenario.book
        signs = {
            "refusal": m["refusals"] > 0,
            "informed fill": m["informed_volume"] > 0,
            "fee": m["fees"] != 0,
            "trip": m["trips"] > 0,
            "outage": m["outages"] > 0,
            **{f"filled from {place}": m[f"queue_fills_{place}"] > 0 for place in oracle_venue.PLACES},
            f"filled by {book.fill_rule}": m["fills"] > 0,
            f"{scenario.quoting.policy} filled": m["fills"] > 0,
            "filled at 16 distances": m["fills"] > 0
            and 16 in map(len, (book.limit_rates, book.cancel_rates)),
        }
        acted |= told.acted | {sign for sign, came_about in signs.items() if came_about}
        assert m["max_inventory"] <= scenario.risk.inventory_limit
        assert m["pnl_fair"] == pytest.approx(m["spread_pnl"] + m["inventory_pnl"] - m["fees"], abs=1e-9)
        assert m["markout_volume_10"] == sum(m[f"queue_fills_{place}"] for place in oracle_venue.PLACES)
    return acted


@pytest.mark.slow
def test_core_is_the_oracle() -> None:
    acted: Counter[str] = Counter()

    @settings(max_examples=120, suppress_health_check=list(HealthCheck), deadline=None)
    @given(
        scenarios(),
        st.sampled_from((0, 7, 2**64 - 1)),
        st.sampled_from((0, 999, 2**48 - 66)),
        st.sampled_from(((0,), (63,), (64,), (65,))),
    )
    def each(scenario: mcmm.Scenario, seed: int, first_path: int, lanes: tuple[int, ...]) -> None:
        acted.update(compare(scenario, seed, first_path, lanes))

    cases.until_seen([each], acted, WANTED, LEAST)


@pytest.mark.slow
def test_given_orders_meet_the_book() -> None:
    """They take the takers' place: market orders and limits, which meet the maker in its turn."""
    acted: Counter[str] = Counter()

    @settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
    @given(replays(), st.sampled_from((0, 7)), st.sampled_from((0, 999)))
    def each(case: tuple[mcmm.Scenario, Any], seed: int, first_path: int) -> None:
        acted.update(compare(case[0], seed, first_path, (0, 65), case[1]))

    wanted = (
        "order given stops at its limit",
        "order given walks on",
        "fill by the flow",
        "filled from near",
    )
    cases.until_seen([each], acted, wanted, LEAST)
    assert acted["informed fill"] == 0


def test_the_panel() -> None:
    """So that what is frozen is what the pages say."""
    scenario = mcmm.Scenario.from_dict(panel.SCENARIOS["book"])
    assert len(compare(scenario, panel.SEED, 2**40 + 7, (0, 63, 64))) > 10


def measured(name: str, rule: str = "queue") -> mcmm.Scenario:
    """A shipped scenario in a book, short."""
    shipped = mcmm.Scenario.load(ROOT / "scenarios" / f"{name}.toml")
    book = {"book.fill_rule": rule, "book.join_only": True, "book.warmup_steps": 10, "book.activity": 0.5}
    return shipped.replace({"venue": "book", "steps": 80, "risk.close_steps": 0} | book)


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.parametrize("rule", ["queue", "through"])
def test_measured_scenarios(name: str, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their sizes, fees and makers among others in a book: of hundreds of contracts, not of one."""
    monkeypatch.setattr(oracle_venue, "Book", Watched)  # which keeps the rules event by event
    came_about = compare(measured(name, rule), 5, 7, (0, 65))
    assert "fill by the flow" in came_about
    assert any(f"filled from {place}" in came_about for place in oracle_venue.PLACES[1:])


def test_a_policy_of_ones_own() -> None:
    """It quotes into the book as the core's policies do; a side without a price has no order."""
    scenario = mcmm.Scenario(
        venue="book",
        steps=60,
        quoting={"policy": "custom", "quote_size": 4},
        book={"activity": 0.4, "warmup_steps": 5, "cancel_latency": 1},
    )

    def vector(view: QuoteView) -> None:
        view.bid[:] = np.where(view.inventory > 6, math.nan, 0.49 - 0.001 * view.inventory)
        view.ask[:] = np.where(view.inventory < -6, math.nan, 0.51 - 0.001 * view.inventory)

    def plain(books: Books) -> tuple[float, float, float, float]:
        held = books["inventory"]
        bid = math.nan if held > 6 else 0.49 - 0.001 * held
        ask = math.nan if held < -6 else 0.51 - 0.001 * held
        return bid, ask, books["bid_size"], books["ask_size"]

    core = mcmm.simulate(scenario, paths=66, seed=4, policy=vector)
    for lane in (0, 63, 65):
        told = oracle_venue.simulate(scenario, 4, lane, plain)
        ours = dict(zip(scenario.columns, core.values[:, lane].tolist(), strict=True))
        assert same(ours, told.metrics) == {}
    assert core.paths["max_inventory"].max() > 6


# ---- what holds in any book, event by event


class Watched(Book):
    """A book that checks itself after whatever is done to it."""

    def checked(self, before: int, change: int) -> None:
        assert self.volume() == before + change, "contracts are neither made nor lost"
        assert self.best(BUY) < self.best(SELL), "crossed"
        for level in self.sides.values():
            for orders in level.values():
                assert orders
                assert all(order.size > 0 for order in orders)
                assert sum(order.makers for order in orders) <= 1

    def join(self, side: int, tick: int, size: int, makers: bool = False) -> int:
        before, waiting = self.volume(), list(self.sides[side].get(tick, ()))
        joined = super().join(side, tick, size, makers)
        self.checked(before, joined)
        assert self.sides[side].get(tick, [])[: len(waiting)] == waiting, "who comes later stands behind"
        return joined

    def withdraw(self, side: int, tick: int, size: int, draw: int) -> int:
        before = self.volume()
        mine = self.makers(side)
        own = mine[1].size if mine else 0
        gone = super().withdraw(side, tick, size, draw)
        self.checked(before, -gone)
        assert gone <= size
        assert (mine[1].size if mine else 0) == own, "nobody cancels the maker's order but the maker"
        return gone

    def take(self, side: int, size: int, known: float) -> tuple[int, int, int]:
        before = self.volume()
        waiting = [
            (tick, order)
            for tick in sorted(self.sides[side], reverse=side == BUY)
            for order in self.turn(side, tick)
        ]
        sizes = [order.size for _, order in waiting]
        filled, mine, at = super().take(side, size, known)
        self.checked(before, -filled)
        taken = [old - order.size for old, (_, order) in zip(sizes, waiting, strict=True)]
        assert sum(taken) == filled <= size
        touched = [place for place, v in enumerate(taken) if v > 0]
        # In their turn: who is filled in part or not at all ends it.
        assert touched == list(range(len(touched)))
        assert all(taken[place] == sizes[place] for place in touched[:-1])
        assert mine == sum(v for v, (_, order) in zip(taken, waiting, strict=True) if order.makers)
        return filled, mine, at


@pytest.mark.slow
def test_every_event_keeps_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the oracle, which is the core: no contract lost, no crossed book, nobody out of turn."""
    monkeypatch.setattr(oracle_venue, "Book", Watched)

    @settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
    @given(scenarios(), st.integers(0, 2**64 - 1))
    def each(scenario: mcmm.Scenario, seed: int) -> None:
        path = oracle_venue.BookPath(scenario, numbers.Draws(seed, 0))
        for t in range(scenario.steps):
            path.step(t)

    each()


# ---- by hand


def test_the_places_in_a_queue() -> None:
    """Ten ahead, two of the maker's, five behind: who is filled by an order of eleven, by each rule."""
    left = {}
    for rule in ("queue", "touch", "through"):
        book = Book(100, rule)
        book.sides[SELL][51] = [Order(4), Order(6), Order(2, makers=True), Order(5)]
        filled, mine, at = book.take(SELL, 11, math.inf)
        left[rule] = mine, [order.size for order in book.sides[SELL][51]]
        assert (filled, at if mine else 51) == (11, 51)
    assert left == {"queue": (1, [1, 5]), "touch": (2, [1, 5]), "through": (0, [2, 4])}
