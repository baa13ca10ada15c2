"""The oracle's order book, told from section 11 of docs/model.md: a list of orders at each price, by arrival.

Nothing is summed up that the list does not say: what is ahead of the maker is what stands before it in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import oracle_numbers as numbers

from mcmm.scenario import Scenario

BUY, SELL = 1, -1
UNIT = 2**24  # rates are whole multiples of 1 / UNIT a step
LEAN = 256
CAP = 65535
MOST_EVENTS = 16383


@dataclass
class Order:
    """What rests: contracts, and whether they are the maker's."""

    size: int
    makers: bool = False


@dataclass
class Fill:
    """A fill of the maker's order by one taker; v is the signed taker volume."""

    v: int
    tick: int
    informed: bool


@dataclass
class Book:
    """Lists of orders by tick, and who is filled when."""

    ticks: int
    rule: str = "queue"
    sides: dict[int, dict[int, list[Order]]] = field(default_factory=lambda: {BUY: {}, SELL: {}})

    # ---- what it shows

    def best(self, side: int) -> int:
        """The best price; 0 or 1 dollar where there is none."""
        if side == BUY:
            return max(self.sides[BUY], default=0)
        return min(self.sides[SELL], default=self.ticks)

    def has(self, side: int) -> bool:
        return bool(self.sides[side])

    def others(self, side: int, tick: int) -> int:
        return sum(order.size for order in self.sides[side].get(tick, ()) if not order.makers)

    def makers(self, side: int) -> tuple[int, Order] | None:
        for tick, orders in self.sides[side].items():
            for order in orders:
                if order.makers:
                    return tick, order
        return None

    def ahead(self, side: int) -> int:
        """Contracts before the maker's order in its list."""
        found = self.makers(side)
        assert found is not None
        orders = self.sides[side][found[0]]
        return sum(order.size for order in orders[: orders.index(found[1])])

    def volume(self) -> int:
        return sum(
            order.size for level in self.sides.values() for orders in level.values() for order in orders
        )

    # ---- what is done to it

    def tidy(self, side: int, tick: int) -> None:
        left = [order for order in self.sides[side].get(tick, ()) if order.size > 0]
        if left:
            self.sides[side][tick] = left
        else:
            self.sides[side].pop(tick, None)

    def join(self, side: int, tick: int, size: int, makers: bool = False) -> int:
        if not makers:
            size = min(size, CAP - self.others(side, tick))
        if size > 0:
            self.sides[side].setdefault(tick, []).append(Order(size, makers))
        return max(size, 0)

    def cut(self, side: int, size: int) -> None:
        """Make the maker's order smaller, or cancel it; it keeps its place."""
        found = self.makers(side)
        if found is not None:
            found[1].size = min(found[1].size, max(size, 0))
            self.tidy(side, found[0])

    def withdraw(self, side: int, tick: int, size: int, draw: int) -> int:
        """A cancel of others' contracts, the newest first; returns how many."""
        orders = self.sides[side].get(tick, [])
        mine = next((place for place, order in enumerate(orders) if order.makers), None)
        region = orders
        if mine is not None:
            ahead = sum(order.size for order in orders[:mine])
            is_ahead = draw * self.others(side, tick) >> 31 < ahead
            region = orders[:mine] if is_ahead else orders[mine + 1 :]
        left = size
        for order in reversed(region):
            gone = min(order.size, left)
            order.size -= gone
            left -= gone
        self.tidy(side, tick)
        return size - left

    def turn(self, side: int, tick: int) -> list[Order]:
        """Who is filled at a price, in which order."""
        orders = list(self.sides[side][tick])
        if self.rule != "queue":
            orders.sort(key=lambda order: order.makers, reverse=self.rule == "touch")  # stable
        return orders

    def take(self, side: int, size: int, known: float) -> tuple[int, int, int]:
        """Orders that rest on a side are filled while they are better than `known`.

        Returns contracts filled, the maker's among them, and the tick of those.
        """
        filled = mine = at = 0
        while filled < size and self.has(side):
            tick = self.best(side)
            price = tick * (1 / self.ticks)
            if not (price > known if side == BUY else price < known):
                break
            for order in self.turn(side, tick):
                v = min(order.size, size - filled)
                order.size -= v
                filled += v
                if order.makers and v:
                    mine, at = mine + v, tick
            self.tidy(side, tick)
        return filled, mine, at


class Flow:
    """What the others do in a step."""

    def __init__(self, scenario: Scenario, draws: numbers.Draws, book: Book) -> None:
        s = self.scenario = scenario
        self.draws, self.book = draws, book
        self.thresholds = numbers.size_thresholds(scenario)
        weights = numbers.size_weights(scenario)
        self.mean_size = sum(k * weight for k, weight in enumerate(weights, 1)) / sum(weights)
        limits, cancels = list(s.book.limit_rates), list(s.book.cancel_rates)
        while len(limits) < len(cancels):
            limits.append(0.0)
        while len(cancels) < len(limits):
            cancels.append(cancels[-1])
        self.plain = [
            (s.book.activity * a, s.book.activity * b) for a, b in zip(limits, cancels, strict=True)
        ]
        self.limits = [round(a * UNIT) for a, _ in self.plain]
        self.cancels = [round(b / self.mean_size * UNIT) for _, b in self.plain]
        self.market = round(s.book.activity * s.book.market_rate * UNIT)
        self.events = 0
        self.seen: list[str] = []

    def open(self) -> None:
        """The queues before the warm-up, each its arrivals over its cancels."""
        n = self.scenario.ticks
        place = self.scenario.market.initial_probability * n
        bid = min(max(math.ceil(place - 1e-9) - 1, 1), n - 2)
        ask = min(max(math.floor(place + 1e-9) + 1, bid + 1), n - 1)
        for i, (limit, cancel) in enumerate(self.plain, start=1):
            orders = max(limit / cancel, 1.0) if cancel > 0 else 1.0
            size = round(min(orders * self.mean_size, 65535.0))
            if 1 <= ask - i <= bid:
                self.book.join(BUY, ask - i, size)
            if ask <= bid + i <= n - 1:
                self.book.join(SELL, bid + i, size)

    def tilt(self, lagged: float) -> int:
        strength = self.scenario.book.recentre_strength
        mid = (self.book.best(BUY) + self.book.best(SELL)) * 0.5 * (1 / self.scenario.ticks)
        return round(numbers.clip(strength * (lagged - mid), -1.0, 1.0) * 256)

    def resting(self, side: int) -> Iterator[tuple[int, int]]:
        """Each tick with others' orders and its rate of cancels, from the opposite best outwards."""
        facing = self.book.best(-side)
        for tick in sorted(self.book.sides[side], reverse=side == BUY):
            distance = abs(facing - tick)
            per_contract = self.cancels[min(distance, len(self.cancels)) - 1]
            yield tick, per_contract * self.book.others(side, tick)

    def step(self, step: int, purpose: int, lagged: float) -> Iterator[tuple[int, int, int]]:
        """The events of a step; yields the side, contracts and tick of each fill of the maker's order."""
        left = 1.0
        for event in range(MOST_EVENTS):
            lean = self.tilt(lagged)
            label = self.draws.label(purpose) + 2**18 * event
            words = numbers.words(self.draws.seed, self.draws.path, step, label)
            time, kind, quantity, place = (word >> 1 for word in words)
            cancels = {
                side: [(tick, rate * (LEAN - side * lean)) for tick, rate in self.resting(side)]
                for side in (BUY, SELL)
            }
            markets, limits = 2 * LEAN * self.market, 2 * LEAN * sum(self.limits)
            total = markets + limits + sum(rate for side in (BUY, SELL) for _, rate in cancels[side])
            if total == 0:
                return
            wait = 0.5 * float(numbers.minus_twice_log(numbers.single(time | 1)))
            left = left - wait / (float(total) / 2.0**32)
            if not left > 0:
                return
            self.events += 1
            size = 1 + sum(threshold <= numbers.uniform_of(quantity) for threshold in self.thresholds)
            at = kind * total >> 31
            if at < markets:
                side = SELL if place < 2**30 else BUY  # which side rests
                _, mine, tick = self.book.take(side, size, math.inf if side == SELL else -math.inf)
                self.seen.append("market")
                if mine:
                    yield side, mine, tick
                continue
            at -= markets
            if at < limits:
                self.limit(at, place, size, lean)
                continue
            at -= limits
            for side in (BUY, SELL):
                for tick, rate in cancels[side]:
                    if 0 <= at < rate:
                        self.book.withdraw(side, tick, size, place)
                        self.seen.append("cancel")
                    at -= rate

    def limit(self, at: int, place: int, size: int, lean: int) -> None:
        distance = 1
        for rate in self.limits:
            if at < 2 * LEAN * rate:
                break
            at -= 2 * LEAN * rate
            distance += 1
        side = BUY if place < (LEAN + lean) * 2**22 else SELL
        tick = self.book.best(-side) - side * distance
        self.seen.append("limit")
        if 1 <= tick <= self.scenario.ticks - 1:
            self.book.join(side, tick, size)
