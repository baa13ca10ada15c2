"""The oracle's path on the venue `book`, told from section 11 of docs/model.md."""

from __future__ import annotations

import math
from collections.abc import Iterator

import oracle_numbers as numbers
from oracle import Custom, Orders, Path, Result, Share
from oracle_book import BUY, SELL, Book, Fill, Flow
from oracle_market import Quote

from mcmm.scenario import Scenario

SIDES = (BUY, SELL)
PLACES = ("front", "near", "middle", "back")
HORIZONS = (1, 10, 100)


class BookPath(Path):
    """The maker of `Path`, its orders in a book with others."""

    def __init__(
        self,
        scenario: Scenario,
        draws: numbers.Draws,
        orders: Orders = None,
        share: Share | None = None,
        custom: Custom = None,
    ) -> None:
        super().__init__(scenario, draws, orders, share, custom)
        self.book = Book(scenario.ticks, scenario.book.fill_rule)
        self.flow = Flow(scenario, draws, self.book)
        self.lagged = scenario.market.initial_probability
        self.decisions: list[dict[int, tuple[int, int]]] = []
        self.refusals = 0
        # Of what rests, or rested last, on a side: the step that decided it, and the last that filled it.
        self.sent = dict.fromkeys(SIDES, -1)
        self.last_fill = dict.fromkeys(SIDES, -1)
        self.began: list[tuple[int, str]] = []  # step and place of each order, as trading begins
        self.value = dict.fromkeys(PLACES, 0.0)
        self.filled: list[tuple[int, int, int, int, str]] = []  # step, side, contracts, tick, place
        self.markouts = {h: [0.0, 0] for h in HORIZONS}
        self.flow.open()
        for step in range(scenario.book.warmup_steps):
            for _ in self.flow.step(step, numbers.BOOK_WARMUP, self.lagged):
                raise AssertionError("the maker has no order yet")

    def step(self, t: int) -> dict[str, float]:
        connected, paused = self.begin(t)
        quoting = connected and self.breaker.allows_quotes() and not paused
        self.quote = None
        if quoting:
            self.make_quote(t)
        self.decide()
        self.send(t)
        places = self.places(t)
        row = self.what_rests(quoting)
        takers = self.order_fills if self.scenario.flow.model == "replay" else self.taker_fills
        fills = [*self.flow_fills(t), *takers(t)]
        for side in SIDES:
            self.settle(t, side, [fill for fill in fills if fill.v * side < 0], places)
        self.fees_of(fills)
        self.move_fair_value(t)
        self.look_back(t)
        self.mark_and_check(t)
        return row

    # ---- the maker's orders

    def decide(self) -> None:
        decision = dict.fromkeys(SIDES, (0, 0))
        if self.quote is not None:
            bid, ask = int(self.quote.bid_ticks), int(self.quote.ask_ticks)
            if self.scenario.book.join_only:
                bid = min(bid, self.book.best(BUY)) if self.book.has(BUY) else bid
                ask = max(ask, self.book.best(SELL)) if self.book.has(SELL) else ask
            decision = {BUY: (bid, self.quote.bid_size), SELL: (ask, self.quote.ask_size)}
        self.decisions.append(decision)

    def decided(self, t: int) -> dict[int, tuple[int, int]]:
        return self.decisions[t] if t >= 0 else dict.fromkeys(SIDES, (0, 0))

    def room(self, side: int) -> float:
        return math.inf if self.limit is None else self.limit - side * self.inventory

    def send(self, t: int) -> None:
        """What has reached the venue: first both cancels, then both orders."""
        settings = self.scenario.book
        cancelled, placed = t - settings.cancel_latency, t - settings.place_latency
        for side in SIDES:
            rested = self.book.makers(side) is not None
            self.cancel(side, self.decided(max(cancelled, self.sent[side]))[side])
            if rested and self.book.makers(side) is None:
                self.last_fill[side] = -1  # it did not go by a fill
        for side in SIDES:
            rests = self.book.makers(side) is not None
            at = min(cancelled, placed) if rests else placed
            if at <= self.last_fill[side] or (rests and at < self.sent[side]):
                self.note("order void", self.decided(at)[side][1] > 0 and not rests)
                continue
            order = self.decided(at)[side]
            if self.place(side, self.decided(max(cancelled, at))[side], order):
                self.note("order faster than a cancel", not rests and cancelled < at)
                self.sent[side], self.last_fill[side] = at, -1

    def cancel(self, side: int, decision: tuple[int, int]) -> None:
        found = self.book.makers(side)
        if found is not None:
            tick, size = decision
            self.book.cut(side, int(min(size, self.room(side), found[1].size)) if tick == found[0] else 0)

    def place(self, side: int, cancel: tuple[int, int], order: tuple[int, int]) -> bool:
        tick, size = order
        wanted = int(min(size, cancel[1], self.room(side))) if tick == cancel[0] else 0
        found = self.book.makers(side)
        kept = 0 if found is None else found[1].size
        if wanted <= kept or (kept and not self.scenario.book.top_up):
            return False
        if tick * side >= self.book.best(-side) * side:
            self.refusals += 1
            return False
        self.note("larger order goes to the back", kept > 0)
        self.book.cut(side, 0)
        self.book.join(side, tick, wanted, makers=True)
        return True

    def places(self, t: int) -> dict[int, str]:
        places = {}
        q = min(self.scenario.quoting.quote_size, 2**20)
        for side in SIDES:
            if self.book.makers(side) is not None:
                ahead = self.book.ahead(side)
                places[side] = PLACES[(ahead > 0) + (ahead > q) + (ahead > 4 * q)]
                self.began.append((t, places[side]))
        return places

    def what_rests(self, quoting: bool) -> dict[str, float]:
        orders = {side: self.book.makers(side) for side in SIDES}
        prices = {
            side: math.nan if order is None else order[0] / self.book.ticks for side, order in orders.items()
        }
        sizes = {side: 0 if order is None else order[1].size for side, order in orders.items()}
        return {
            "probability": self.fair.p,
            "mid": self.mid,
            "bid": prices[BUY],
            "ask": prices[SELL],
            "bid_size": sizes[BUY],
            "ask_size": sizes[SELL],
            "quoting": quoting,
        }

    # ---- who trades

    def flow_fills(self, t: int) -> Iterator[Fill]:
        for side, contracts, tick in self.flow.step(t, numbers.BOOK_FLOW, self.lagged):
            self.note("fill by the flow", True)
            yield Fill(-side * contracts, tick, False)

    def taker_fills(self, t: int) -> Iterator[Fill]:
        book = self.book
        bid, ask = book.best(BUY), book.best(SELL)
        seen = Quote(bid, ask, bid * self.tick, ask * self.tick, int(book.has(BUY)), int(book.has(SELL)))
        taker = self.takers.come(t, seen)
        if taker is None:
            return
        buys = taker.wanted > 0
        if not (seen.ask_size if buys else seen.bid_size):
            return
        size, patience = abs(taker.wanted), self.scenario.book.passive_fraction
        if not taker.informed and self.draws.happens(patience, t, numbers.PATIENCE):
            if book.has(BUY if buys else SELL):
                book.join(BUY if buys else SELL, bid if buys else ask, size)
                self.note("patient taker", True)
            return
        known = math.inf if buys else -math.inf
        if taker.informed:
            knows_p = self.scenario.flow.informed_know == "probability"
            known = self.fair.p if knows_p else self.fair.drawn_outcome
        filled, mine, tick = book.take(SELL if buys else BUY, size, known)
        self.note("taker walks on", filled > mine > 0)
        if mine:
            yield Fill(mine if buys else -mine, tick, taker.informed)

    def order_fills(self, t: int) -> Iterator[Fill]:
        """The order given for this step, as far as its limit goes; the rest of it is gone."""
        if t not in self.orders:
            return
        order = self.orders[t]
        side, size = int(order["side"]), int(order["size"])
        limit = order.get("limit", math.nan)
        known = side * math.inf if math.isnan(limit) else limit + side * (1e-9 / self.book.ticks)
        filled, mine, tick = self.book.take(-side, size, known)
        self.note("order given stops at its limit", filled < size and self.book.has(-side))
        self.note("order given walks on", filled > mine > 0)
        if mine:
            yield Fill(side * mine, tick, False)

    # ---- what was filled

    def settle(self, t: int, side: int, fills: list[Fill], places: dict[int, str]) -> None:
        """The books after a side's fills of a step, taken together; then window and mid."""
        v = sum(fill.v for fill in fills)
        if v == 0:
            return
        tick = fills[0].tick
        self.cash += v * tick
        self.inventory -= v
        self.sums.volume += abs(v)
        self.sums.ticks_traded += abs(v * tick)
        self.sums.at_fair += v * self.fair.p
        self.bought += max(-v, 0)
        self.sold += max(v, 0)
        for fill in fills:
            if fill.informed:
                self.sums.informed_volume += abs(fill.v)
                self.sums.informed_pnl += (fill.v * tick) * self.tick - fill.v * self.fair.p
        signed, total = self.window[-1]
        self.window[-1] = signed + v, total + abs(v)
        if self.learns:
            self.shade_mid(v)
        self.filled.append((t, side, abs(v), tick, places[side]))
        self.last_fill[side] = t
        self.note("stale order filled", self.decided(t)[side] != (tick, self.decided(t)[side][1]))

    def fees_of(self, fills: list[Fill]) -> None:
        """Each fill's fee, added up over the step."""
        fees = 0.0
        for fill in fills:
            fees += self.fee(fill.tick * self.tick, abs(fill.v))
        self.sums.fees += fees
        self.sums.fills += len(fills)

    def look_back(self, t: int) -> None:
        self.lagged = self.lagged + (self.fair.p - self.lagged) * (1 / self.scenario.book.recentre_lag)
        for horizon in HORIZONS:
            for step, side, contracts, tick, place in self.filled:
                if step == t + 1 - horizon:
                    gain = self.fair.p - tick * self.tick if side == BUY else tick * self.tick - self.fair.p
                    self.markouts[horizon][0] += contracts * gain
                    self.markouts[horizon][1] += contracts
                    if horizon == 10:
                        self.value[place] += contracts * gain

    def by_place(self) -> dict[str, float]:
        """Steps, contracts and what they are worth, of the steps that can be marked 10 steps later."""
        marked = self.scenario.steps - 10
        steps = {place: sum(at == place and step <= marked for step, at in self.began) for place in PLACES}
        fills = {
            place: sum(size for step, _, size, _, at in self.filled if at == place and step <= marked)
            for place in PLACES
        }
        told = {"steps": steps, "fills": fills, "value": self.value}
        return {f"queue_{name}_{place}": of[place] for name, of in told.items() for place in PLACES}

    def metrics(self) -> dict[str, float]:
        return {
            **super().metrics(),
            "book_events": self.flow.events,
            "refusals": self.refusals,
            **self.by_place(),
            **{f"markout_{h}": self.markouts[h][0] for h in HORIZONS},
            **{f"markout_volume_{h}": self.markouts[h][1] for h in HORIZONS},
        }


def simulate(
    scenario: Scenario, seed: int, path: int, custom: Custom = None, orders: Orders = None
) -> Result:
    """Walk one path on the venue `book`; with orders, they take the takers' place."""
    if orders is not None:
        scenario = scenario.replace({"flow.model": "replay"})
    walk = BookPath(scenario, numbers.Draws(seed, path), orders, custom=custom)
    rows = [walk.step(t) | walk.what_the_step_leaves() for t in range(scenario.steps)]
    return Result(walk.metrics(), rows, walk.acted)
