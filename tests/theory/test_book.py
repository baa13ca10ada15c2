"""The order book's flow against exact solves of its queues (Cont, Stoikov and Talreja, Op. Research 2010).

With the paper's estimates, orders of one contract and a spread of one tick the best queues are birth-death
chains, independent of each other until one is empty. Each chance is solved here from those chains, as a
sparse linear system.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve

import mcmm
from mcmm._isa import core
from mcmm.plan import make_plan

LIMITS = (1.85, 1.51, 1.09, 0.88, 0.77)
CANCELS = (0.71, 0.81, 0.68, 0.56, 0.47)
MARKET = 0.94
JOINS, LEAVES = LIMITS[0], CANCELS[0]  # at the best price, a tick from the opposite one
QUEUES = range(1, 6)
LONGEST = 45  # of a queue: beyond it a chance is below 1e-20
BID, ASK = 50, 51
ONE_LOT = {"size_distribution": "fixed", "size_mean": 1.0, "size_max": 1, "arrival_rate": 0.0}
# Printed in the paper's Table 3, one contract at the bid and 1 to 5 at the ask.
PRINTED = (0.500, 0.336, 0.259, 0.216, 0.188)

Moves = Iterable[tuple[float, Hashable]]


def chance(start: Hashable, moves: Callable[[Hashable], Moves]) -> float:
    """The chance that a chain ends in True and not in False."""
    places: dict[Hashable, int] = {start: 0}
    todo, steps = [start], {}
    while todo:
        state = todo.pop()
        steps[state] = list(moves(state))
        for _, to in steps[state]:
            if not isinstance(to, bool) and to not in places:
                places[to] = len(places)
                todo.append(to)
    matrix, right = lil_matrix((len(places), len(places))), np.zeros(len(places))
    for state, out in steps.items():
        row = places[state]
        for rate, to in out:
            matrix[row, row] += rate
            if isinstance(to, bool):
                right[row] += rate * to
            else:
                matrix[row, places[to]] -= rate
    return float(spsolve(matrix.tocsr(), right)[0])


def queue(n: int) -> list[tuple[float, int]]:
    """A best queue of others: its rates, and its length after."""
    return [(MARKET + LEAVES * n, n - 1), *([(JOINS, n + 1)] if n < LONGEST else [])]


@cache
def rises(bids: int, asks: int) -> float:
    """The ask is empty before the bid."""

    def moves(state: Hashable) -> Moves:
        b, a = state  # type: ignore[misc]
        for rate, n in queue(b):
            yield rate, (n, a) if n else False
        for rate, n in queue(a):
            yield rate, (b, n) if n else True

    return chance((bids, asks), moves)


def executed(ahead: int, asks: int) -> float:
    """A bid with `ahead` contracts before it is filled before the ask is empty."""

    def moves(state: Hashable) -> Moves:
        k, a = state  # type: ignore[misc]
        yield MARKET + LEAVES * k, (k - 1, a) if k else True
        for rate, n in queue(a):
            yield rate, (k, n) if n else False

    return chance((ahead, asks), moves)


def first_here_then_there(ahead: int, there: int) -> float:
    """One order is filled, and then that on the other side before the first one's price is empty.

    States: contracts ahead of the first order (-1: filled), of others behind it, and ahead of the second.
    """

    def moves(state: Hashable) -> Moves:
        k, n, j = state  # type: ignore[misc]
        if k < 0:
            for rate, left in queue(n):
                yield rate, (k, left, j) if left else False
        else:
            filled = (-1, n, j) if n else False
            yield MARKET + LEAVES * k, (k - 1, n, j) if k else filled
            if n:
                yield LEAVES * n, (k, n - 1, j)
            if n < LONGEST:
                yield JOINS, (k, n + 1, j)
        # The second first: a case of its own, the other way round.
        yield MARKET + LEAVES * j, (k, n, j - 1) if j else k < 0

    return chance((ahead, 0, there), moves)


@cache
def plan(
    limits: Sequence[float] = LIMITS, cancels: Sequence[float] = CANCELS, market: float = MARKET
) -> core.Plan:
    book = {"limit_rates": limits, "cancel_rates": cancels, "market_rate": market, "recentre_strength": 0.0}
    made = make_plan(mcmm.Scenario(venue="book", book=book, flow=ONE_LOT))
    assert isinstance(made, core.Plan)
    return made


def raced(
    paths: int, seed: int, bids: int, asks: int, own_bid: int | None = None, own_ask: int | None = None
) -> NDArray[np.int32]:
    """Books of others' contracts at a spread of one tick, once the mid has moved or the maker is filled.

    own_bid, own_ask : behind how many contracts the maker has an order of one there; None for no order.
    """
    states = np.zeros((paths, 107), np.int32)
    states[:, BID], states[:, ASK] = bids, -asks
    for column, tick, ahead in ((101, BID, own_bid), (104, ASK, own_ask)):
        if ahead is not None:
            states[:, column : column + 3] = tick, 1, ahead
    core.play_book(plan(), seed, 0, states, np.zeros(paths, np.int64), 200, True)
    return states


def assert_near(hits: NDArray[np.bool_], exact: float) -> None:
    error = (exact * (1 - exact) / len(hits)) ** 0.5
    assert abs(hits.mean() - exact) < 4 * error, (hits.mean(), exact, error)


def test_the_exact_solve_prints_the_papers_table() -> None:
    # Printed are three digits of a Laplace transform inverted numerically.
    assert [rises(1, asks) for asks in QUEUES] == pytest.approx(PRINTED, abs=1e-3)


@pytest.mark.slow
def test_the_mid_rises_as_often_as_in_table_3() -> None:
    for place, (bids, asks) in enumerate(itertools.product(QUEUES, QUEUES)):
        states = raced(20_000, place, bids, asks)
        bid_gone, ask_gone = states[:, BID] <= 0, states[:, ASK] >= 0
        assert (bid_gone ^ ask_gone).all()
        assert_near(ask_gone, rises(bids, asks))


@pytest.mark.slow
def test_an_order_is_executed_before_the_mid_moves_as_often_as_solved() -> None:
    for place, (ahead, asks) in enumerate(itertools.product(range(5), QUEUES)):
        states = raced(10_000, 100 + place, ahead, asks, own_bid=ahead)
        assert_near(states[:, 102] == 0, executed(ahead, asks))


@pytest.mark.slow
def test_the_spread_is_made_as_often_as_solved() -> None:
    for place, (ahead, there) in enumerate(itertools.product(range(5), range(5))):
        states = raced(10_000, 200 + place, ahead, there, own_bid=ahead, own_ask=there)
        both = (states[:, 102] == 0) & (states[:, 105] == 0)
        assert_near(both, first_here_then_there(ahead, there) + first_here_then_there(there, ahead))


def chance_of(lengths: NDArray[np.int32], law: NDArray[np.float64]) -> float:
    """The p-value of a chi-squared test of counts, cells of fewer than 10 expected taken together."""
    count = len(lengths)
    expected = law * count
    kept = expected >= 10
    seen = np.bincount(np.minimum(lengths, len(law) - 1), minlength=len(law))
    cells = [*zip(seen[kept], expected[kept], strict=True), (seen[~kept].sum(), count - expected[kept].sum())]
    found, wanted = np.array(cells).T
    return float(stats.chisquare(found, wanted).pvalue)


@pytest.mark.slow
def test_queues_have_their_stationary_law() -> None:
    """The best queues are birth-death chains; those behind are Poisson, arrivals over cancels."""
    limits, cancels, market = (12.0, 6.0, 4.0), (0.5, 0.5, 0.8), 2.0
    states = np.zeros((6_000, 107), np.int32)
    states[:, BID - 2 : BID + 1], states[:, ASK : ASK + 3] = (5, 12, 20), (-20, -12, -5)
    core.play_book(plan(limits, cancels, market), 3, 0, states, np.zeros(len(states), np.int64), 40)
    still = (states[:, BID] > 0) & (states[:, ASK] < 0)
    assert still.mean() > 0.999
    n = np.arange(80)
    down = market + cancels[0] * np.arange(1, 80)
    best = np.concatenate([[1.0], np.cumprod(limits[0] / down)])
    laws = [
        best / best.sum(),
        stats.poisson.pmf(n, limits[1] / cancels[1]),
        stats.poisson.pmf(n, limits[2] / cancels[2]),
    ]
    for distance, law in enumerate(laws):
        for tick in (BID - distance, ASK + distance):
            assert chance_of(np.abs(states[still, tick]), law) > 1e-4


@pytest.mark.slow
def test_the_warm_up_leads_to_the_stationary_state() -> None:
    """What the default's 50 steps leave, 100 more leave too: spread, contracts near it, and all of them."""
    book = {"recentre_strength": 50.0}  # or the mid would walk away, for ever
    made = make_plan(mcmm.Scenario(venue="book", book=book, flow=ONE_LOT))
    assert isinstance(made, core.Plan)
    ticks, found = np.arange(101), []
    for seed, steps in ((1, 50), (2, 150)):
        states = np.zeros((4_000, 107), np.int32)
        states[:, 46:50], states[:, 51:55] = (2, 2, 2, 2), (-2, -2, -2, -2)
        core.play_book(made, seed, 0, states, np.zeros(len(states), np.int64), steps)
        contracts = states[:, :101]
        bid = np.where(contracts > 0, ticks, 0).max(axis=1)
        ask = np.where(contracts < 0, ticks, 100).min(axis=1)
        near = np.where(ticks > ask[:, None] - 6, contracts, 0).clip(min=0).sum(axis=1)
        found.append((ask - bid, near, np.abs(contracts).sum(axis=1)))
    for early, late in zip(*found, strict=True):
        assert stats.ttest_ind(early, late, equal_var=False).pvalue > 1e-4


@pytest.mark.slow
def test_time_is_continuous_within_a_step() -> None:
    """Without cancels the events of a step are Poisson, whatever the book."""
    rates = (3.0, 1.5)
    states = np.zeros((20_000, 107), np.int32)
    states[:, BID], states[:, ASK] = 50, -50
    events = np.zeros(len(states), np.int64)
    core.play_book(plan(rates, (0.0,), 0.5), 1, 0, states, events, 3)
    mean = 3 * 2 * (sum(rates) + 0.5)
    assert chance_of(events.astype(np.int32), stats.poisson.pmf(np.arange(120), mean)) > 1e-4
