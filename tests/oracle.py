"""The oracle: one path at a time, in plain Python, told from docs/model.md and docs/reproducibility.md.

The compiled core must equal it to the last bit. The two share nothing but those pages and the validated
scenario: here whole numbers are Python's, windows are deques, and a step is the page's six phases.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import oracle_numbers as numbers
from oracle_books import Sums
from oracle_custom import CustomPolicy, ask_policy
from oracle_market import FairValue, Quote, Taker, Takers, accepts_limit, hits
from oracle_numbers import clip
from oracle_policies import Lmsr, policy_of, widen
from oracle_risk import Breaker

from mcmm.scenario import Scenario

Order = Mapping[str, float]
"""step, side (+1 buys, -1 sells), size and, where given, limit and fair."""
Orders = Sequence[Order] | None
Custom = CustomPolicy | None


@dataclass(frozen=True)
class Result:
    """What a path reports, its trace (a row a step), and what acted on it."""

    metrics: dict[str, float]
    rows: list[dict[str, float]]
    acted: set[str]


@dataclass
class Share:
    """What a portfolio's exposure limit leaves to each market in a step; how often it left a side nothing."""

    dollars: float
    binding_steps: int = 0


class Path:
    """One path: the maker and its books, in a market of its own or one among several."""

    def __init__(
        self,
        scenario: Scenario,
        draws: numbers.Draws,
        orders: Orders,
        share: Share | None = None,
        custom: Custom = None,
    ) -> None:
        s = self.scenario = scenario
        self.custom = custom
        self.draws = draws
        self.share = share
        self.acted: set[str] = set()  # what came about that no metric tells

        # Of several orders in a step the first trades; of several fair values the last counts.
        self.orders: dict[int, Order] = {}
        fair_values: dict[int, float] = {}
        for order in orders or ():
            t = int(order["step"])
            self.orders.setdefault(t, order)
            if not math.isnan(order.get("fair", math.nan)):
                fair_values[t] = order["fair"]
        self.fair = FairValue(s, self.draws, None if orders is None else fair_values, self.acted)
        self.takers = Takers(s, self.draws, self.fair, self.acted)

        self.tick = 1 / s.ticks if s.ticks else 1.0
        self.low, self.high = self.tick, 1 - self.tick
        self.limit = None if s.risk.inventory_limit == math.inf else int(s.risk.inventory_limit)
        self.learns = s.bounded and s.quoting.policy in ("adaptive", "avellaneda_stoikov", "custom")
        self.named = policy_of(s)
        self.mid = s.initial_mid
        self.window: deque[tuple[int, int]] = deque(maxlen=s.quoting.imbalance_window)
        self.quote: Quote | None = None
        self.outage_steps = 0  # left, this one included
        self.since_return: int | None = None  # j: quoted steps since coming back

        self.cash: float = 0  # from fills, in ticks: a whole number on a grid
        self.unwind_cash = 0.0
        self.inventory = 0
        self.exposure = 0.0  # as of the last mark
        self.pnl = self.pnl_fair = self.marked = self.drawdown = 0.0
        self.breaker = Breaker(s)
        self.unwinds = False
        self.sums = Sums()

    def note(self, what: str, came_about: bool) -> None:
        if came_about:
            self.acted.add(what)

    def begin(self, t: int) -> tuple[bool, str | None]:
        """Phase 1: whether there is a connection, and how the venue pauses."""
        self.now, self.bought, self.sold = t, 0, 0
        self.window.append((0, 0))
        connected = self.connect(t)
        self.unwind()
        paused, before = (self.fair.schedule.pause(step) for step in (t, max(t - 1, 0)))
        self.since_return = 0 if before and not paused else self.since_return
        return connected, paused

    def step(self, t: int) -> dict[str, float]:
        """Section 2, in its order; what the taker saw, for the trace."""
        connected, paused = self.begin(t)
        may_rest = self.breaker.allows_quotes() and (connected or self.scenario.recovery.stale_quotes)
        quoting = connected and self.breaker.allows_quotes() and not paused
        if quoting:
            self.make_quote(t)
        elif not may_rest or paused == "cancel":
            self.quote = None
        row = self.what_the_taker_sees(quoting)
        for taker in self.who_trades(t):
            self.fill(taker)
        self.move_fair_value(t)
        self.mark_and_check(t)
        return row

    # ---- 1. connection

    def connect(self, t: int) -> bool:
        """Whether the bot is connected in this step; the first step back cannot drop."""
        if self.outage_steps:
            self.outage_steps -= 1
            if self.outage_steps == 0:
                self.since_return = 0
        elif self.draws.happens(self.scenario.recovery.disconnect_rate, t, numbers.DISCONNECT):
            self.outage_steps = self.scenario.recovery.outage_steps
            self.sums.outages += 1
        return self.outage_steps == 0

    def unwind(self) -> None:
        """What `flatten` does before the quote of the step after the trip."""
        if not self.unwinds:
            return
        self.unwinds = False
        p, slippage = self.fair.p, self.scenario.risk.unwind_slippage
        price = p - slippage if self.inventory > 0 else p + slippage
        if self.scenario.bounded:
            price = clip(price, 0, 1)
        contracts = abs(self.inventory)
        self.unwind_cash += self.inventory * price
        self.sums.at_fair += self.inventory * p
        self.sums.volume += contracts
        self.sums.unwound_dollars += contracts * price
        self.inventory = 0

    # ---- 2. quote

    def imbalance(self) -> float:
        signed = sum(v for v, _ in self.window)
        total = sum(contracts for _, contracts in self.window)
        return signed / max(total, 1)

    def inventory_ratio(self) -> float:
        return 0.0 if self.limit is None else self.inventory * (1 / self.limit)

    def recovery_multiplier(self) -> float:
        recovery = self.scenario.recovery
        if self.since_return is None or recovery.ramp_steps == 0:
            return 1.0
        left = max(0, 1 - self.since_return / recovery.ramp_steps)
        return 1 + (recovery.conservative_multiplier - 1) * left

    def make_quote(self, t: int) -> None:
        risk = self.scenario.risk
        self.follow_reference(t)
        centre, half = self.price_rule(t)
        multiplier = self.recovery_multiplier()
        self.note("recovery ramp", multiplier > 1)
        below = above = half * multiplier
        if self.exposure >= risk.exposure_soft_fraction * risk.exposure_limit:
            self.note("passive quote", self.inventory != 0 and risk.passive_multiplier > 1)
            if self.inventory > 0:
                below = below * risk.passive_multiplier
            if self.inventory < 0:
                above = above * risk.passive_multiplier
        asked: tuple[int, int] | None = None
        if self.custom is not None:
            bid_ticks, ask_ticks, asked = ask_policy(self.custom, self, t)
            bid, ask = bid_ticks * self.tick, ask_ticks * self.tick
            markups = 0.0, 0.0
        elif self.named:
            plain_bid, plain_ask = self.named.prices(self.mid)
            bid, ask = bid_ticks, ask_ticks = widen(plain_bid, plain_ask, self.mid, below, above)
            markups = bid - plain_bid, ask - plain_ask
        else:
            bid_ticks, ask_ticks = self.on_the_grid(centre - below, centre + above)
            bid, ask = bid_ticks * self.tick, ask_ticks * self.tick
            markups = 0.0, 0.0
        self.quote = Quote(bid_ticks, ask_ticks, bid, ask, *self.sizes(t, bid, ask, asked), *markups)
        self.sums.quoted_steps += 1
        self.sums.spread_ticks += ask_ticks - bid_ticks
        if self.since_return is not None:
            self.since_return += 1

    def follow_reference(self, t: int) -> None:
        w, noise = self.scenario.quoting.reference_weight, self.scenario.quoting.reference_noise
        if self.learns and w > 0:
            n = self.draws.normal(t, numbers.REFERENCE)
            self.mid = clip(self.mid + w * ((self.fair.p + noise * n) - self.mid), self.low, self.high)

    def price_rule(self, t: int) -> tuple[float, float]:
        """What the policy quotes around, and its half-spread; 1 where it names its prices."""
        q = self.scenario.quoting
        if self.named:
            return self.mid, 1.0
        match q.policy:
            case "custom":
                return self.mid, 1.0
            case "symmetric":
                return self.mid, q.base_spread * 0.5
            case "avellaneda_stoikov":
                return self.reservation_price(t)
        widening = 1 + q.imbalance_factor * abs(self.imbalance())
        widening = widening + q.inventory_factor * abs(self.inventory_ratio())
        return self.mid, (q.base_spread * 0.5) * widening + q.volatility_factor * self.step_sd(t)

    def step_sd(self, t: int) -> float:
        """The one-step standard deviation of p, as the maker reckons it."""
        if self.scenario.market.process == "threshold":
            return numbers.density_at_quantile(self.mid) * (1 / math.sqrt(self.scenario.resolution_step - t))
        return self.logit_sd(t)

    def logit_sd(self, t: int) -> float:
        return self.fair.volatility(t) * (self.mid * (1 - self.mid))

    def reservation_price(self, t: int) -> tuple[float, float]:
        s, gamma, dt = self.scenario, self.scenario.quoting.risk_aversion, self.scenario.flow.dt
        sd = self.logit_sd(t) if s.bounded else self.fair.volatility(t)
        variance = (sd * sd) / dt
        risk = (gamma * variance) * ((s.steps - t) * dt)
        log_term = (2 / gamma) * numbers.log(1 + gamma / s.flow.intensity_decay)
        return self.mid - self.inventory * risk, (risk + log_term) * 0.5

    def on_the_grid(self, below: float, above: float) -> tuple[float, float]:
        """The tick at or below one price and the tick at or above the other."""
        n = self.scenario.ticks
        if not n:
            return below, above
        bid, ask = below * n + 1e-9, above * n - 1e-9
        if self.scenario.bounded:
            bid, ask = clip(bid, 1, n - 2), clip(ask, 1, n - 1)
        else:
            bid, ask = clip(bid, -(2.0**50), 2.0**50), clip(ask, -(2.0**50), 2.0**50)
        bid_ticks = math.floor(bid)
        return bid_ticks, max(math.ceil(ask), bid_ticks + 1)

    def plain_size(self, position: int) -> int:
        """What a side quotes by its position alone, as that side sees it."""
        s = self.scenario
        size = s.quoting.quote_size
        if s.quoting.policy == "avellaneda_stoikov" and not s.bounded:
            size = 1
        elif self.limit is not None:
            size = -(-size * (self.limit - max(0, position)) // self.limit)  # rounded up
        return size

    def sizes(self, t: int, bid: float, ask: float, asked: tuple[int, int] | None) -> tuple[int, int]:
        """What is quoted: by position, or as a policy of one's own asked, within the limits."""
        s = self.scenario
        sizes = []
        limit_binds = exposure_binds = share_binds = False
        # A position as its side sees it: positive where a fill would add to it. And what a contract can lose.
        for side, (position, at_risk) in enumerate(((self.inventory, bid), (-self.inventory, 1 - ask))):
            size = self.plain_size(position) if asked is None else asked[side]
            if self.limit is not None:
                size = min(size, self.limit - position)
                limit_binds |= abs(position) == self.limit
            if s.risk.exposure_limit < math.inf:
                room = math.floor(min(s.risk.exposure_limit / at_risk + 1e-9, 2.0**50)) - position
                size = min(size, room)
                exposure_binds |= room <= 0
            if self.share is not None:
                reducing = max(0, -position)
                room = math.floor(min(self.share.dollars / at_risk + 1e-9, 2.0**50)) + reducing
                self.note("portfolio's share", size > room)
                size = min(size, room)
                share_binds |= room <= 0
            if t >= s.steps - s.risk.close_steps:
                reducing = max(0, -position)
                self.note("close_steps", size > reducing)
                size = min(size, reducing)
            sizes.append(max(size, 0))
        self.sums.inventory_limit_steps += limit_binds
        self.sums.exposure_limit_steps += exposure_binds
        if self.share is not None:
            self.share.binding_steps += share_binds
        return sizes[0], sizes[1]

    # ---- 3. takers

    def who_trades(self, t: int) -> list[Taker]:
        """The takers of this step, at the prices quoted before any of them trades."""
        match self.scenario.flow.model:
            case "takers":
                taker = self.takers.come(t, self.quote)
                return [] if taker is None else [taker]
            case "intensity" if self.quote is not None:
                return hits(self.scenario, self.draws, t, self.fair.p, self.quote)
            case "replay" if self.quote is not None and t in self.orders:
                order = self.orders[t]
                accepts = accepts_limit(self.scenario, order, self.quote)
                limited = not math.isnan(order.get("limit", math.nan))
                self.note("limit order filled" if accepts else "limit order refused", limited)
                return [Taker(int(order["side"]) * int(order["size"]))] if accepts else []
        return []

    # ---- 4. on_fill

    def fill(self, taker: Taker) -> None:
        """Fill as far as the quoted size goes; v is the signed taker volume."""
        quote = self.quote
        assert quote is not None
        if taker.wanted > 0:
            v = min(taker.wanted, quote.ask_size)
            ticks, price = quote.ask_ticks, quote.ask
            quote.ask_size -= v
            self.sold += v
        else:
            v = -min(-taker.wanted, quote.bid_size)
            ticks, price = quote.bid_ticks, quote.bid
            quote.bid_size += v
            self.bought -= v
        if v == 0:
            return
        self.note("fill of a stale quote", self.outage_steps > 0)
        self.note("fill while the venue pauses", self.fair.schedule.pause(self.now) is not None)
        self.note("part of an order filled", abs(v) < abs(taker.wanted))
        self.note("fills of both sides", self.bought > 0 and self.sold > 0)
        contracts = abs(v)
        if isinstance(self.named, Lmsr):
            paid: float = self.named.pay(v, quote.ask_markup if v > 0 else quote.bid_markup)
            price, dollars, traded = paid / v, paid, abs(paid)
        else:
            paid, dollars, traded = v * ticks, (v * ticks) * self.tick, abs(v * ticks)
        at_fair = v * self.fair.p
        self.cash += paid
        self.inventory -= v
        self.sums.fills += 1
        self.sums.volume += contracts
        self.sums.ticks_traded += traded
        self.sums.fees += self.fee(price, contracts)
        self.sums.at_fair += at_fair
        if taker.informed:
            self.sums.informed_volume += contracts
            self.sums.informed_pnl += dollars - at_fair
        signed, total = self.window[-1]
        self.window[-1] = signed + v, total + contracts
        if self.named:
            self.mid = self.named.mid_after(v)
        if self.learns:
            self.shade_mid(v)

    def fee(self, price: float, contracts: int) -> float:
        fees = self.scenario.fees
        amount = ((fees.maker_rate * price) * (1 - price)) * contracts
        if amount > 0 and fees.rounding > 0:
            return fees.rounding * math.ceil(amount / fees.rounding - 1e-9)
        return amount

    def shade_mid(self, v: int) -> None:
        q, u = self.scenario.quoting, self.inventory_ratio()
        h = q.defensive_threshold
        fill_slope, defensive_slope = q.fill_shade / q.quote_size, q.defensive_shade / (1 - h)
        move = (fill_slope * v + q.imbalance_shade * self.imbalance()) - q.inventory_shade * u
        sign = (u > 0) - (u < 0)
        move = move - (defensive_slope * max(0, abs(u) - h)) * sign
        self.note("defensive shade", q.defensive_shade != 0 and abs(u) > h)
        self.mid = clip(self.mid + move, self.low, self.high)

    # ---- 5. fair value

    def move_fair_value(self, t: int) -> None:
        if self.fair.move(t):
            self.takers.hear_news()
        if not self.scenario.bounded:
            self.mid = self.fair.p

    # ---- 6. mark and check

    def worth(self, mark: float) -> float:
        """Cash and inventory at a mark, after fees."""
        return ((self.cash * self.tick + self.unwind_cash) + self.inventory * mark) - self.sums.fees

    def mark_and_check(self, t: int) -> None:
        sums, breaker = self.sums, self.breaker
        self.pnl, self.pnl_fair = self.worth(self.mid), self.worth(self.fair.p)
        at_mid = self.scenario.risk.mark == "mid"
        mark, marked = (self.mid, self.pnl) if at_mid else (self.fair.p, self.pnl_fair)
        self.marked = marked
        self.exposure = self.inventory * mark if self.inventory > 0 else abs(self.inventory) * (1 - mark)
        sums.max_inventory = max(sums.max_inventory, abs(self.inventory))
        sums.max_exposure = max(sums.max_exposure, self.exposure)
        sums.peak = max(sums.peak, marked)
        sums.peak_fair = max(sums.peak_fair, self.pnl_fair)
        self.drawdown = sums.peak - marked
        sums.max_drawdown = max(sums.max_drawdown, self.drawdown)
        sums.max_drawdown_fair = max(sums.max_drawdown_fair, sums.peak_fair - self.pnl_fair)

        breaker.remember(marked, self.bought + self.sold)
        if breaker.paused_steps:
            breaker.paused_steps -= 1
            if breaker.paused_steps == 0:
                self.since_return = 0
        elif not breaker.halted and breaker.trip(t, marked):
            self.stop()

    def stop(self) -> None:
        """What a trip does to the quote and the inventory."""
        self.quote = None
        self.unwinds = self.scenario.risk.breaker_action == "flatten"

    # ---- what it reports

    def what_the_taker_sees(self, quoting: bool) -> dict[str, float]:
        bid = ask = math.nan
        bid_size = ask_size = 0
        if self.quote is not None:
            bid_size, ask_size = self.quote.bid_size, self.quote.ask_size
            if quoting or bid_size or ask_size:
                ticks_in_a_dollar = self.scenario.ticks or 1
                bid, ask = self.quote.bid_ticks / ticks_in_a_dollar, self.quote.ask_ticks / ticks_in_a_dollar
        return {
            "probability": self.fair.p,
            "mid": self.mid,
            "bid": bid,
            "ask": ask,
            "bid_size": bid_size,
            "ask_size": ask_size,
            "quoting": quoting,
        }

    def what_the_step_leaves(self) -> dict[str, float]:
        return {
            "bought": self.bought,
            "sold": self.sold,
            "inventory": self.inventory,
            "cash": self.cash * self.tick + self.unwind_cash,
            "fees": self.sums.fees,
            "pnl": self.pnl,
            "pnl_fair": self.pnl_fair,
            "drawdown": self.drawdown,
            "halted": self.breaker.halted,
        }

    def metrics(self) -> dict[str, float]:
        s, sums, breaker = self.scenario, self.sums, self.breaker
        outcome = self.fair.outcome()
        spread = sums.spread_ticks * self.tick
        return {
            "fills": sums.fills,
            "volume": sums.volume,
            "notional": sums.ticks_traded * self.tick + sums.unwound_dollars,
            "fees": sums.fees,
            "pnl": self.pnl,
            "pnl_fair": self.pnl_fair,
            "pnl_settled": self.worth(outcome) if s.bounded else self.pnl_fair,
            "spread_pnl": (self.cash * self.tick + self.unwind_cash) - sums.at_fair,
            "inventory_pnl": self.inventory * self.fair.p + sums.at_fair,
            "max_drawdown": sums.max_drawdown,
            "max_drawdown_fair": sums.max_drawdown_fair,
            "average_spread": spread / sums.quoted_steps if sums.quoted_steps else math.nan,
            "final_inventory": self.inventory,
            "max_inventory": sums.max_inventory,
            "max_exposure": sums.max_exposure if s.bounded else math.nan,
            "quoted_fraction": sums.quoted_steps / s.steps,
            "trips": breaker.trips,
            "halt_step": breaker.halt_step,
            "halt_reason": breaker.halt_reason,
            "breaker_overshoot": breaker.overshoot,
            **dict(zip(("delay_cost", "unwinding_cost", "realised_overshoot"), breaker.costs(), strict=True)),
            "outages": sums.outages,
            "inventory_limit_steps": sums.inventory_limit_steps,
            "exposure_limit_steps": sums.exposure_limit_steps,
            "informed_volume": sums.informed_volume,
            "informed_pnl": sums.informed_pnl,
            "final_mid": self.mid,
            "final_probability": self.fair.p,
            "outcome": outcome,
        }


def simulate(
    scenario: Scenario, seed: int, path: int, orders: Orders = None, custom: Custom = None
) -> Result:
    """Walk one path; with orders, a replayed one; with a policy of one's own if the scenario says custom."""
    if orders is not None:
        scenario = scenario.replace({"flow.model": "replay"})
    walk = Path(scenario, numbers.Draws(seed, path), orders, custom=custom)
    rows = [walk.step(t) | walk.what_the_step_leaves() for t in range(scenario.steps)]
    return Result(walk.metrics(), rows, walk.acted)
