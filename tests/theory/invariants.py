"""What holds on every path of every scenario, checked from metrics and traces alone (model.md, 6 to 8).

Each check takes a `Run` and raises AssertionError. They know the rules, not the core.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

import mcmm
from mcmm.metrics import HALT_REASONS

__all__ = ["CHECKS", "Run"]

Array = NDArray[np.float64]


@dataclass
class Run:
    """Metrics, each (paths,), and traces, each (paths, steps), of a scenario; and what follows from them."""

    scenario: mcmm.Scenario
    values: dict[str, Array]
    trace: dict[str, Array]
    before: dict[str, Array] = field(init=False)
    fair_after: Array = field(init=False)
    unwound: Array = field(init=False)
    bid: Array = field(init=False)
    ask: Array = field(init=False)
    paid: Array = field(init=False)

    def __post_init__(self) -> None:
        self.before = {name: shifted(self.trace[name]) for name in ("inventory", "cash", "fees")}
        self.fair_after = np.column_stack(
            [self.trace["probability"][:, 1:], self.values["final_probability"]]
        )
        # A price for every step: 0 where there is no quote, and so no fill that would need one.
        self.bid, self.ask = np.nan_to_num(self.trace["bid"]), np.nan_to_num(self.trace["ask"])
        # Contracts sold by unwinding: what the inventory changed by beyond the fills.
        moved = self.trace["inventory"] - self.before["inventory"]
        self.unwound = self.trace["bought"] - self.trace["sold"] - moved
        # Cash from fills: contracts times their price, but for lmsr, whose contracts have not all the same.
        self.paid = self.trace["sold"] * self.ask - self.trace["bought"] * self.bid
        if self.scores:
            self.paid = self.trace["cash"] - self.before["cash"] - self.from_unwinding

    @property
    def scores(self) -> bool:
        return self.scenario.quoting.policy == "lmsr"

    @property
    def from_unwinding(self) -> Array:
        return self.unwound * self.trace["probability"] - np.abs(self.unwound) * slippage(self)

    @property
    def held(self) -> Array:
        """Inventory at the quote: the last step's, less what was unwound."""
        return self.before["inventory"] - self.unwound

    @property
    def step(self) -> Array:
        return np.arange(self.scenario.steps, dtype=np.float64)[None, :]

    @property
    def marked(self) -> Array:
        return self.trace["pnl_fair" if self.scenario.risk.mark == "fair" else "pnl"]


def shifted(series: Array) -> Array:
    """The series a step earlier, 0 before the first."""
    return np.column_stack([np.zeros(len(series)), series[:, :-1]])


def near(one: Array, other: Array, *scales: Array) -> None:
    scale = 1.0 + sum(np.abs(part) for part in scales) if scales else 1.0
    assert np.all(np.abs(one - other) <= 1e-9 * scale), f"off by {np.abs(one - other).max():.3g}"


def attribution(run: Run) -> None:
    """pnl_fair = spread_pnl + inventory_pnl - fees, and each of the three from the trace."""
    v, t = run.values, run.trace
    parts = (v["spread_pnl"], v["inventory_pnl"], v["fees"])
    near(v["pnl_fair"], v["spread_pnl"] + v["inventory_pnl"] - v["fees"], *parts)
    fills = run.paid - (t["sold"] - t["bought"]) * t["probability"]
    unwound = -np.abs(run.unwound) * slippage(run)
    near(v["spread_pnl"], np.sum(fills + unwound, axis=1), np.abs(fills).sum(axis=1))
    moves = t["inventory"] * (run.fair_after - t["probability"])
    near(v["inventory_pnl"], moves.sum(axis=1), np.abs(moves).sum(axis=1))
    near(v["fees"], t["fees"][:, -1])


def slippage(run: Run) -> Array:
    """What unwinding pays beyond p: unwind_slippage, less where the price is held to [0, 1]."""
    slip, p = run.scenario.risk.unwind_slippage, run.trace["probability"]
    if not run.scenario.bounded:
        return np.full_like(p, slip)
    return np.where(run.unwound > 0, p - np.maximum(p - slip, 0.0), np.minimum(p + slip, 1.0) - p)


def books(run: Run) -> None:
    """Cash, inventory and marks follow from the fills at their prices; cash from fills is whole ticks."""
    v, t, s = run.values, run.trace, run.scenario
    near(t["cash"] - run.before["cash"], run.paid + run.from_unwinding, t["cash"])
    if s.ticks:
        in_ticks = (t["cash"] - np.cumsum(run.from_unwinding, axis=1)) * s.ticks
        assert np.all(np.abs(in_ticks - np.round(in_ticks)) < 1e-6)
    marked = t["inventory"] * run.fair_after
    near(t["pnl_fair"], t["cash"] + marked - t["fees"], t["cash"], marked)
    for name, at in (("pnl", "final_mid"), ("pnl_fair", "final_probability"), ("pnl_settled", "outcome")):
        price = v["final_probability"] if name == "pnl_settled" and not s.bounded else v[at]
        marked = v["final_inventory"] * price
        near(v[name], t["cash"][:, -1] + marked - t["fees"][:, -1], t["cash"][:, -1], marked)
    assert np.array_equal(v["final_inventory"], t["inventory"][:, -1])
    assert np.array_equal(v["max_inventory"], np.abs(t["inventory"]).max(axis=1))
    assert np.array_equal(v["volume"], (t["bought"] + t["sold"] + np.abs(run.unwound)).sum(axis=1))
    assert np.array_equal(v["fills"], ((t["bought"] > 0).astype(int) + (t["sold"] > 0)).sum(axis=1))


def scoring_rule(run: Run) -> None:
    """lmsr: a fill pays at least the cost function's difference, no more where no quote is widened."""
    t, s = run.trace, run.scenario
    if not run.scores:
        return
    b, first = s.quoting.liquidity, math.log(s.initial_mid / (1 - s.initial_mid))
    sold = np.cumsum(t["sold"] - t["bought"], axis=1)
    cost = b * (np.logaddexp(0, first + sold / b) - np.logaddexp(0, first))
    due = cost - shifted(cost)
    assert np.all(run.paid >= due - 1e-9 * (1 + np.abs(cost)))
    if s.risk.exposure_limit == math.inf and s.recovery.ramp_steps == 0:
        near(run.paid, due, cost)
    after = 1 / (1 + np.exp(-np.clip(first + sold / b, -36, 36)))
    mids = np.column_stack([t["mid"][:, 1:], run.values["final_mid"]])
    near(mids, np.where(sold == 0, s.initial_mid, after))


def posterior(run: Run) -> None:
    """glosten_milgrom: Bayes' rule on every trade, whatever its size."""
    t, s = run.trace, run.scenario
    if s.quoting.policy != "glosten_milgrom":
        return
    a, first = s.quoting.assumed_informed_fraction, math.log(s.initial_mid / (1 - s.initial_mid))
    log_odds = np.full(len(t["mid"]), first)
    for step in range(s.steps):
        near(t["mid"][:, step], 1 / (1 + np.exp(-log_odds)))
        for trade in (-(t["bought"] > 0).astype(int), (t["sold"] > 0).astype(int)):
            log_odds = np.clip(log_odds + trade[:, step] * math.log((1 + a) / (1 - a)), -20, 20)


def prices(run: Run) -> None:
    """0 < bid < ask < 1 on bounded processes; whole ticks; whole sizes; no price without a quote."""
    t, s = run.trace, run.scenario
    live = (t["quoting"] > 0) | (t["bid_size"] > 0) | (t["ask_size"] > 0)
    assert np.array_equal(live, ~np.isnan(t["bid"]))
    assert np.array_equal(live, ~np.isnan(t["ask"]))
    bid, ask = t["bid"][live], t["ask"][live]
    assert np.all(bid <= ask)
    if s.bounded:
        assert np.all((bid > 0) & (bid < ask) & (ask < 1))
    if s.ticks:
        for price in (bid, ask):
            assert np.array_equal(price, np.round(price * s.ticks) / s.ticks)
        assert np.all(ask - bid > 0.5 / s.ticks)
    for size in (t["bid_size"], t["ask_size"], t["bought"], t["sold"], t["inventory"]):
        assert np.array_equal(size, np.round(size))
    assert min(t["bid_size"].min(), t["ask_size"].min(), t["bought"].min(), t["sold"].min()) >= 0


def limits(run: Run) -> None:
    """|inventory| <= inventory_limit; no accumulating fill leaves exposure at its price > exposure_limit."""
    t, risk = run.trace, run.scenario.risk
    after_bid = run.held + t["bought"]  # the bid's fill is booked first
    after_ask = after_bid - t["sold"]
    for inventory in (after_bid, after_ask, t["inventory"]):
        assert np.all(np.abs(inventory) <= risk.inventory_limit)
    if risk.exposure_limit == math.inf:
        return
    # The grace of 1e-9 of a contract is the rule's own.
    most = risk.exposure_limit + 2e-9
    long = (t["bought"] > 0) & (after_bid > 0)
    short = (t["sold"] > 0) & (after_ask < 0)
    assert np.all((after_bid * run.bid)[long] <= most)
    assert np.all((-after_ask * (1 - run.ask))[short] <= most)


def sizes(run: Run) -> None:
    """No fill above the quoted size; no size beyond the limit, nor one that adds in the closing steps."""
    t, s = run.trace, run.scenario
    assert np.all(t["bought"] <= t["bid_size"])
    assert np.all(t["sold"] <= t["ask_size"])
    textbook = s.quoting.policy == "avellaneda_stoikov" and not s.bounded
    assert max(t["bid_size"].max(), t["ask_size"].max()) <= (1 if textbook else s.quoting.quote_size)
    assert np.all(run.held + t["bid_size"] <= s.risk.inventory_limit)
    assert np.all(t["ask_size"] - run.held <= s.risk.inventory_limit)
    closing = (run.step >= s.steps - s.risk.close_steps) & (t["quoting"] > 0)
    assert np.all((t["bid_size"] <= np.maximum(0, -run.held))[closing])
    assert np.all((t["ask_size"] <= np.maximum(0, run.held))[closing])


def silence(run: Run) -> None:
    """No quote while halted, paused or disconnected but a stale one, unrevised and only used up."""
    v, t, s = run.values, run.trace, run.scenario
    quiet = t["quoting"] == 0
    resting = quiet & ((t["bid_size"] > 0) | (t["ask_size"] > 0))
    paused = np.zeros_like(run.step, dtype=bool)
    for pause in s.schedule.pauses:
        inside = (run.step >= pause.start) & (run.step < pause.start + pause.steps)
        paused |= inside & (pause.quotes == "rest")
        assert quiet[:, inside[0]].all()
        if pause.quotes == "cancel":
            assert not resting[:, inside[0]].any()
    if not s.recovery.stale_quotes:
        assert not (resting & ~paused).any()
    assert not (quiet & (t["bid_size"] == 0) & (t["bought"] > 0)).any()
    assert not (quiet & (t["ask_size"] == 0) & (t["sold"] > 0)).any()
    for side, fill in (("bid", "bought"), ("ask", "sold")):
        left = shifted(t[f"{side}_size"] - t[fill])
        assert np.array_equal(t[f"{side}_size"][resting], left[resting])
        assert np.array_equal(t[side][resting], shifted(t[side])[resting])
    after = (v["halt_step"][:, None] >= 0) & (run.step > v["halt_step"][:, None])
    if s.risk.breaker_action == "pause":
        after &= run.step <= v["halt_step"][:, None] + s.risk.pause_steps
        assert not t["halted"].any()
    else:
        assert np.array_equal(
            t["halted"] > 0, (v["halt_step"][:, None] >= 0) & (run.step >= v["halt_step"][:, None])
        )
        assert v["trips"].max() <= 1
    assert not (after & ((t["quoting"] > 0) | resting)).any()
    assert not (after & (t["bought"] + t["sold"] > 0)).any()
    near(v["quoted_fraction"], (~quiet).mean(axis=1))
    if s.risk.breaker_action != "flatten":
        assert not run.unwound.any()
    else:
        now = (v["halt_step"][:, None] >= 0) & (run.step == v["halt_step"][:, None] + 1)
        assert np.array_equal(run.unwound, np.where(now, run.before["inventory"], 0.0))


def outages(run: Run) -> None:
    """Without trips silence is an outage: as many as counted, each of outage_steps, a step between."""
    v, t, s = run.values, run.trace, run.scenario
    assert s.recovery.disconnect_rate > 0 or not v["outages"].any()
    if v["trips"].any() or s.schedule.pauses:
        return
    quiet = (t["quoting"] == 0).astype(int)
    begins = np.diff(quiet, axis=1, prepend=0) == 1
    assert np.array_equal(begins.sum(axis=1), v["outages"])
    for path, begun in zip(*np.nonzero(begins), strict=True):
        stretch = quiet[path, begun : begun + s.recovery.outage_steps + 1]
        assert stretch[: s.recovery.outage_steps].all()
        assert len(stretch) <= s.recovery.outage_steps or stretch[-1] == 0


def drawdowns(run: Run) -> None:
    """Peak starts at 0, so that a first loss counts; the trace's drawdown is the metric's."""
    v, t, s = run.values, run.trace, run.scenario
    for name, marks in (("max_drawdown", run.marked), ("max_drawdown_fair", t["pnl_fair"])):
        peak = np.maximum(np.maximum.accumulate(marks, axis=1), 0.0)
        near(v[name], (peak - marks).max(axis=1))
        if name == "max_drawdown":
            near(t["drawdown"], peak - marks)
    if s.bounded and s.risk.mark == "fair":
        inventory = t["inventory"]
        exposure = np.where(inventory > 0, inventory * run.fair_after, -inventory * (1 - run.fair_after))
        near(v["max_exposure"], exposure.max(axis=1), exposure.max(axis=1))


def first_trip(run: Run) -> None:
    """The first trip is in the first step that exceeds a limit, for that reason, overshooting by so much."""
    v, t, risk = run.values, run.trace, run.scenario.risk
    marks = run.marked
    paths, steps = marks.shape
    peak = np.maximum(np.maximum.accumulate(marks, axis=1), 0.0) if risk.drawdown_baseline == "peak" else 0.0
    drawdown = np.maximum(peak - marks, 0.0)
    padded = np.column_stack([np.full((paths, risk.loss_window), -np.inf), np.zeros(paths), marks])
    highest = np.lib.stride_tricks.sliding_window_view(padded, risk.loss_window + 1, axis=1).max(axis=2)[
        :, 1:
    ]
    filled = np.cumsum(t["bought"] + t["sold"], axis=1)
    gone = np.column_stack(
        [np.zeros((paths, min(steps, risk.volume_window))), filled[:, : -risk.volume_window]]
    )
    exceeded = {
        "drawdown": drawdown >= risk.drawdown_limit,
        "loss": highest - marks >= risk.loss_limit,
        "volume": filled - gone >= risk.volume_limit,
    }
    at_all = np.any(list(exceeded.values()), axis=0)
    step = np.where(at_all.any(axis=1), at_all.argmax(axis=1), -1)
    assert np.array_equal(v["halt_step"], step)
    assert np.array_equal(v["trips"] > 0, step >= 0)
    reason = np.zeros(paths)
    rows = np.arange(paths)
    for name in ("volume", "loss", "drawdown"):
        reason = np.where((step >= 0) & exceeded[name][rows, step], HALT_REASONS.index(name), reason)
    assert np.array_equal(v["halt_reason"], reason)
    overshoot = np.where(reason == 1, drawdown[rows, step] - risk.drawdown_limit, np.nan)
    np.testing.assert_allclose(v["breaker_overshoot"], overshoot, rtol=0, atol=1e-9)


def what_a_trip_costs(run: Run) -> None:
    """Overshoot, delay and unwinding add up to the drawdown realised, each told from inventory and prices."""
    v, t, s = run.values, run.trace, run.scenario
    marks, last = run.marked, s.steps - 1
    tripped = v["halt_step"] >= 0
    for name in ("delay_cost", "unwinding_cost"):
        assert np.array_equal(np.isnan(v[name]), ~tripped)
    drawdown = v["halt_reason"] == HALT_REASONS.index("drawdown")
    for name in ("breaker_overshoot", "realised_overshoot"):
        assert np.array_equal(np.isnan(v[name]), ~drawdown)
    rows = np.nonzero(tripped)[0]
    step = v["halt_step"][rows].astype(int)
    action = s.risk.breaker_action
    waits = {"halt": s.steps, "flatten": 1, "pause": s.risk.pause_steps}[action]
    end = np.minimum(step + waits, last)
    held, at_trip, at_end = t["inventory"][rows, step], run.fair_after[rows, step], run.fair_after[rows, end]
    if s.risk.mark == "mid" and s.bounded:  # a mid that nobody quotes around stays
        at_trip = np.column_stack([t["mid"][:, 1:], v["final_mid"]])[rows, step]
        at_end = at_trip
    if action == "flatten":
        gone = run.unwound[rows, end] * (end > step)
        got = t["probability"][rows, end] - np.sign(gone) * slippage(run)[rows, end]
        delay, unwinding = np.zeros(len(rows)), gone * (at_trip - got)
    else:
        delay, unwinding = held * (at_trip - at_end), np.zeros(len(rows))
    scale = 1.0 + np.abs(t["cash"][rows, step]) + np.abs(held)
    assert np.all(np.abs(v["delay_cost"][rows] - delay) <= 1e-9 * scale)
    assert np.all(np.abs(v["unwinding_cost"][rows] - unwinding) <= 1e-9 * scale)
    parts = v["breaker_overshoot"] + v["delay_cost"] + v["unwinding_cost"]
    near(v["realised_overshoot"][drawdown], parts[drawdown], parts[drawdown], marks[drawdown, -1])
    peak = np.maximum(np.maximum.accumulate(marks, axis=1), 0.0)
    reference = peak[rows, step] if s.risk.drawdown_baseline == "peak" else 0.0
    realised = reference - marks[rows, end] - s.risk.drawdown_limit
    at = drawdown[rows]
    assert np.all(np.abs(v["realised_overshoot"][rows] - realised)[at] <= 1e-9 * scale[at])


CHECKS: tuple[Callable[[Run], None], ...] = (
    attribution,
    books,
    scoring_rule,
    posterior,
    prices,
    limits,
    sizes,
    silence,
    outages,
    drawdowns,
    first_trip,
    what_a_trip_costs,
)
