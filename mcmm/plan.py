"""A validated scenario as the core's numbers: what does not change along a path is worked out here, once.

The arithmetic is plain IEEE, in the order that docs/reproducibility.md states, and its exp, log and normal
distribution are the core's own, so that a plan has the same bits on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np

from mcmm._isa import core
from mcmm.errors import InputError
from mcmm.policies import policy_settings
from mcmm.schedule import multiplier, turns
from mcmm.venue import levels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mcmm.policies import Policy
    from mcmm.scenario import Scenario
    from mcmm.tables import Flow

__all__ = ["make_plan", "size_thresholds", "size_weights"]

# As the enums of kernel/state.pxd.
_PROCESSES = {"logit": 1, "threshold": 2, "arithmetic": 3}
_FLOWS = {"takers": 0, "intensity": 1, "replay": 2}
_POLICIES = {
    "adaptive": 0,
    "symmetric": 1,
    "avellaneda_stoikov": 2,
    "glosten_milgrom": 3,
    "lmsr": 4,
    "custom": 5,
}
_FILL_RULES = {"queue": 0, "touch": 1, "through": 2}
_ACTIONS = {"halt": 0, "pause": 1, "flatten": 2}

_NO_DRAW = 2**31 - 1  # the bound that no draw exceeds
_LINEAR_SEARCH = 24  # the most thresholds that cost less to compare with one by one than to look up


def bound(chance: float) -> int:
    """Return the last draw, of 0 .. 2^31 - 1, at which an event of this chance happens; -1 for none."""
    return math.ceil(chance * 2.0**31 - 0.5) - 1


def size_weights(flow: Flow) -> list[float]:
    """Return the weights of sizes 1 .. size_max before they are conditioned to sum to 1.

    Parameters
    ----------
    flow : Flow
        The scenario's takers.

    Returns
    -------
    list of float
        Geometric: (1 - q)^(k - 1) with mean 1 / q. Lognormal: the chance that a lognormal of mean size_mean
        lies within 1/2 of k. Fixed: all on size_mean. Empirical: as given.
    """
    sizes = range(1, flow.size_max + 1)
    if flow.size_distribution == "fixed":
        return [1.0 if size == flow.size_mean else 0.0 for size in sizes]
    if flow.size_distribution == "empirical":
        weights = [0.0] * flow.size_max
        for size, weight in flow.size_table:
            if size <= flow.size_max:
                weights[size - 1] += weight
        return weights
    if flow.size_distribution == "lognormal":
        mu = core.logarithm(flow.size_mean) - 0.5 * (flow.size_sigma * flow.size_sigma)
        below = [
            core.normal_cdf((core.logarithm(size + 0.5) - mu) / flow.size_sigma)
            for size in range(flow.size_max + 1)
        ]
        return [upper - lower for lower, upper in pairwise(below)]
    keep = 1.0 - 1.0 / flow.size_mean
    return list(accumulate(sizes, lambda weight, _: weight * keep, initial=1.0))[:-1]


def size_thresholds(flow: Flow, largest: int) -> NDArray[np.int32]:
    """Return what a draw, of 0 .. 2^31 - 1, is compared with: size = 1 + the number of thresholds below it.

    Parameters
    ----------
    flow : Flow
        The scenario's takers.
    largest : int
        The largest quote: how much more a taker wants makes no difference.

    Returns
    -------
    numpy.ndarray of int32
        P(size <= k) 2^31, rounded to whole numbers, less 1, for k = 1, 2, .., padded with 2^31 - 1.
    """
    return np.array(_padded_thresholds(flow, largest), dtype=np.int32)


@lru_cache(maxsize=64)  # the points of a study mostly have the same takers
def _padded_thresholds(flow: Flow, largest: int) -> tuple[int, ...]:
    cumulative = list(accumulate(size_weights(flow)))
    count = _threshold_count(flow, largest)
    total = cumulative[-1]
    thresholds = [math.floor(below / total * 2.0**31 + 0.5) - 1 for below in cumulative[:count]]
    return (*thresholds, *[_NO_DRAW] * (-count % 3))  # the core compares with three in turn


def _threshold_count(flow: Flow, largest: int) -> int:
    return min(flow.size_max, largest) - 1


def _guided(flow: Flow, largest: int) -> bool:
    """Tell whether the thresholds are so many that a guide to them costs less than comparing with all."""
    return _threshold_count(flow, largest) > _LINEAR_SEARCH


def make_plan(
    scenario: Scenario,
    orders: Mapping[str, NDArray[np.float64]] | None = None,
    policy: Policy | None = None,
) -> core.Plan | core.PortfolioPlan:
    """Return the core's plan of a scenario.

    Parameters
    ----------
    scenario : Scenario
        What to simulate.
    orders : mapping of str to numpy.ndarray of float64, shape (4, steps), optional
        Replay: side, size, limit (grace included) and fair value of the order of each step, by the market's
        name (``""`` for the only one of a scenario without ``[[markets]]``).
    policy : Policy, optional
        The maker's own, for quoting.policy custom.

    Returns
    -------
    Plan or PortfolioPlan
        Runs any range of paths.
    """
    given = orders or {}
    if not scenario.markets:
        return _market_plan(scenario, given.get(""), policy)
    portfolio = scenario.portfolio
    has_breaker = portfolio.drawdown_limit != math.inf
    plans = [
        _market_plan(market, given.get(name), policy, 256 * place, has_breaker)
        for place, (name, market) in enumerate(scenario.by_market().items())
    ]
    fields: dict[str, float] = {
        "markets": len(plans),
        "correlated": portfolio.correlation > 0.0,
        "common_weight": math.sqrt(portfolio.correlation),
        "own_weight": math.sqrt(1.0 - portfolio.correlation),
        "has_exposure_limit": portfolio.exposure_limit != math.inf,
        "exposure_limit": portfolio.exposure_limit,
        "has_breaker": has_breaker,
        "drawdown_limit": portfolio.drawdown_limit,
        "from_peak": scenario.risk.drawdown_baseline == "peak",
    }
    return core.PortfolioPlan(plans, fields)


def _market_plan(
    scenario: Scenario,
    orders: NDArray[np.float64] | None,
    policy: Policy | None,
    labels: int = 0,
    may_trip: bool = False,
) -> core.Plan:
    """Return the core's plan of one market; `may_trip`: a breaker beyond its own can trip it."""
    steps, market, flow, fees = scenario.steps, scenario.market, scenario.flow, scenario.fees
    quoting, risk, recovery = scenario.quoting, scenario.risk, scenario.recovery
    bounded, grid = scenario.bounded, scenario.ticks > 0
    unit = 1.0 / scenario.ticks if grid else 1.0
    process = _PROCESSES[market.process]
    day = scenario.schedule
    if market.process == "logit" and not (market.volatility or market.news_rate or day.news):
        process = 0
    p_0 = market.initial_probability
    textbook = quoting.policy == "avellaneda_stoikov" and not bounded
    quote_size = 1 if textbook else quoting.quote_size
    in_book = scenario.venue == "book"
    moves_mid = bounded and quoting.policy in ("adaptive", "avellaneda_stoikov", "custom")
    decay = core.exponential(-1.0 / flow.clustering_steps)
    limited = risk.inventory_limit != math.inf
    has_loss_limit, has_volume_limit = risk.loss_limit != math.inf, risk.volume_limit != math.inf
    has_breaker = risk.drawdown_limit != math.inf or has_loss_limit or has_volume_limit or may_trip
    has_outages = recovery.disconnect_rate > 0.0
    keeps_quotes = (recovery.stale_quotes and has_outages) or any(p.quotes == "rest" for p in day.pauses)
    ramps = recovery.ramp_steps > 0 and (
        has_outages or bool(day.pauses) or (has_breaker and risk.breaker_action == "pause")
    )
    # Where nothing else can act on a quote, a fill or a mark, its phase is one pass over the lanes.
    unhindered = (
        grid
        and flow.model != "intensity"
        and not in_book
        and risk.exposure_limit == math.inf
        and (not limited or quoting.quote_size <= risk.inventory_limit < 2**49 / quoting.quote_size)
        and not (keeps_quotes or ramps)
    )
    quotes_at_once = unhindered and quoting.policy == "adaptive"
    if flow.model == "intensity":
        fills_at_once = quoting.policy in ("symmetric", "avellaneda_stoikov") and not moves_mid
        fills_at_once = fills_at_once and fees.maker_rate == 0.0 and not keeps_quotes
    else:
        fills_at_once = flow.model == "takers" and quoting.policy != "lmsr" and not (keeps_quotes or in_book)
        fills_at_once = fills_at_once and (flow.informed_know == "probability" or not flow.informed_fraction)
    marks_plainly = fees.maker_rate == 0.0 and not (has_breaker and risk.breaker_action == "flatten")
    marks_at_once = (
        marks_plainly
        and has_breaker
        and not (has_loss_limit or has_volume_limit)
        and risk.exposure_limit == math.inf
        and risk.mark == "mid"
        and risk.drawdown_baseline == "peak"
        and risk.breaker_action == "halt"
        and quoting.policy != "custom"
    )
    fields: dict[str, float] = {
        "steps": steps,
        "labels": labels,
        "unit": unit,
        "ticks": float(scenario.ticks),
        "low": unit,
        "high": 1.0 - unit,
        "grid": grid,
        "bounded": bounded,
        "process": process,
        "initial_probability": p_0,
        "initial_mid": scenario.initial_mid,
        "initial_logit": core.logit(p_0),
        "initial_walk": math.sqrt(scenario.resolution_step) * core.normal_quantile(p_0),
        "volatility": market.volatility,
        "variance": market.volatility * market.volatility,
        "news_bound": bound(market.news_rate),
        "news_strength": market.news_strength,
        "resolution_step": float(scenario.resolution_step),
        "flow": _FLOWS[flow.model],
        "arrival_bound": bound(flow.arrival_rate),
        "arrival_base": flow.arrival_rate * (1.0 - flow.clustering),
        "excitation_start": flow.clustering * (flow.arrival_rate * multiplier(day, "arrival_rate", 0)),
        "excitation_decay": decay,
        "excitation_rise": flow.clustering * (1.0 - decay),
        "news_excitation": flow.news_excitation,
        "informed_bound": bound(flow.informed_fraction),
        "noise_buy_bound": bound(flow.noise_buy_fraction),
        "herding_bound": bound(flow.herding),
        "price_sensitivity": flow.price_sensitivity,
        "knows_outcome": flow.informed_know == "outcome",
        "intensity_per_step": flow.intensity_scale * flow.dt,
        "intensity_decay": flow.intensity_decay,
        "maker_rate": fees.maker_rate,
        "fee_rounding": fees.rounding,
        "policy": _POLICIES[quoting.policy],
        "moves_mid": moves_mid,
        "half_base": quoting.base_spread * 0.5,
        "imbalance_factor": quoting.imbalance_factor,
        "inventory_factor": quoting.inventory_factor,
        "quote_size": float(quote_size),
        "imbalance_window": quoting.imbalance_window,
        "reference_weight": quoting.reference_weight,
        "reference_noise": quoting.reference_noise,
        "volatility_factor": quoting.volatility_factor,
        "fill_slope": quoting.fill_shade / quoting.quote_size,
        "imbalance_shade": quoting.imbalance_shade,
        "inventory_shade": quoting.inventory_shade,
        "defensive_threshold": quoting.defensive_threshold,
        "defensive_slope": quoting.defensive_shade / (1.0 - quoting.defensive_threshold),
        "risk_aversion": quoting.risk_aversion,
        "dt": flow.dt,
        "log_term": 2.0
        / quoting.risk_aversion
        * core.logarithm(1.0 + quoting.risk_aversion / flow.intensity_decay),
        "informed_share": quoting.assumed_informed_fraction,
        "evidence": core.logarithm(
            (1.0 + quoting.assumed_informed_fraction) / (1.0 - quoting.assumed_informed_fraction)
        ),
        "initial_belief": core.logit(scenario.initial_mid) if bounded else 0.0,
        "liquidity": quoting.liquidity,
        "cost_up": core.exponential_less_one(1.0 / quoting.liquidity),
        "cost_down": core.exponential_less_one(-1.0 / quoting.liquidity),
        "has_news": market.news_rate > 0.0,
        "has_informed": flow.informed_fraction > 0.0,
        "has_herding": flow.herding > 0.0,
        "has_outages": has_outages,
        "has_inventory_limit": limited,
        "has_exposure_limit": risk.exposure_limit != math.inf,
        "marks_fair": risk.mark == "fair",
        "from_peak": risk.drawdown_baseline == "peak",
        "has_loss_limit": has_loss_limit,
        "has_volume_limit": has_volume_limit,
        "has_breaker": has_breaker,
        "inventory_limit": float(risk.inventory_limit),
        "per_limit": 1.0 / risk.inventory_limit if limited else 0.0,
        "exposure_limit": risk.exposure_limit,
        "exposure_soft": risk.exposure_soft_fraction * risk.exposure_limit
        if risk.exposure_soft_fraction
        else 0.0,
        "passive_multiplier": risk.passive_multiplier,
        "drawdown_limit": risk.drawdown_limit,
        "loss_limit": risk.loss_limit,
        "volume_limit": float(risk.volume_limit),
        "loss_window": risk.loss_window,
        "volume_window": risk.volume_window,
        "close_from": steps - risk.close_steps,
        "action": _ACTIONS[risk.breaker_action],
        "pause_steps": float(risk.pause_steps),
        "unwind_slippage": risk.unwind_slippage,
        "may_stop": has_breaker or has_outages or bool(day.pauses),
        "ramps": ramps,
        "stale_quotes": recovery.stale_quotes and has_outages,
        "disconnect_bound": bound(recovery.disconnect_rate),
        "outage_steps": float(recovery.outage_steps),
        "ramp_extra": recovery.conservative_multiplier - 1.0,
        "ramp_steps": float(recovery.ramp_steps),
        "keeps_quotes": keeps_quotes,
        "quotes_at_once": quotes_at_once,
        "asks_at_once": unhindered and quoting.policy == "custom",
        "fills_at_once": fills_at_once,
        "marks_plainly": marks_plainly,
        "marks_at_once": marks_at_once,
        "halts_takers": quotes_at_once
        and fills_at_once
        and marks_at_once
        and not (may_trip or has_outages or turns(day, steps))
        and quoting.volatility_factor == quoting.reference_weight == risk.close_steps == 0
        and flow.model == "takers"
        and flow.clustering == flow.news_excitation == flow.herding == 0.0,
        "walks_at_once": market.news_rate == 0.0 and not (day.news or day.volatility),
        "stays_revised": not (has_outages or day.pauses or risk.breaker_action == "pause"),
        "venue_paused": False,
        "venue_cancels": False,
        "venue_resumes": False,
        "has_book": in_book,
        "both_sides": in_book or flow.model == "intensity",
    }
    # A policy of one's own may quote any size; in a book a taker meets others too.
    largest = flow.size_max if quoting.policy == "custom" or in_book else quote_size
    thresholds, guided = size_thresholds(flow, largest), _guided(flow, largest)
    if quoting.policy != "custom":
        book = _book(scenario) if in_book else None
        return core.Plan(fields, thresholds, guided, orders, _pieces(scenario), venue=book)
    if policy is None:
        raise InputError('policy: must be given with quoting.policy "custom", got None')
    handed, function = policy_settings(scenario), policy.core_argument(scenario)
    book = _book(scenario) if in_book else None
    return core.Plan(fields, thresholds, guided, orders, _pieces(scenario), handed, function, book)


def _book(scenario: Scenario) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the settings of the order book: whole numbers, rates in units of 2^-24 a step, and factors."""
    book, weights = scenario.book, size_weights(scenario.flow)
    mean = sum(k * weight for k, weight in enumerate(weights, start=1)) / sum(weights)
    rates = levels(scenario)
    limits = [_rate(limit) for limit, _ in rates]
    cancels = [_rate(cancel / mean) for _, cancel in rates]
    place = scenario.market.initial_probability * scenario.ticks
    bid = min(max(math.ceil(place - 1e-9) - 1, 1), scenario.ticks - 2)
    ask = min(max(math.floor(place + 1e-9) + 1, bid + 1), scenario.ticks - 1)
    numbers = [
        *(
            scenario.ticks,
            len(rates),
            2 * _rate(book.activity * book.market_rate),
            2 * sum(limits),
            cancels[-1],
        ),
        *(_FILL_RULES[book.fill_rule], book.join_only, book.top_up, book.warmup_steps),
        *(book.place_latency, book.cancel_latency, bound(book.passive_fraction)),
        *(bid, ask),
        *_padded([512 * upto for upto in accumulate(limits)], 512 * sum(limits)),
        *_padded([cancel - cancels[-1] for cancel in cancels]),
        *_padded([_start_volume(limit, cancel, mean) for limit, cancel in rates]),
    ]
    factors = [book.recentre_strength, 1.0 / book.recentre_lag]
    return np.array(numbers, dtype=np.int64), np.array(factors)


def _rate(rate: float) -> int:
    return round(rate * 2.0**24)


def _start_volume(limit: float, cancel: float, mean: float) -> int:
    """Return what a queue holds before the warm-up: the mean of arrivals over cancels, one order at least."""
    orders = limit / cancel if cancel > 0.0 else 1.0
    return round(min(max(orders, 1.0) * mean, 65535.0))


def _padded(numbers: list[int], by: int = 0) -> list[int]:
    return [*numbers, *[by] * (16 - len(numbers))]


def _pieces(scenario: Scenario) -> NDArray[np.float64] | None:
    """Return the settings that change with the step, a row from each step in which one does, as PIECE_*."""
    market, flow, day = scenario.market, scenario.flow, scenario.schedule
    starts = turns(day, scenario.steps)
    strengths = {row[0]: row[1] if len(row) == 2 else market.news_strength for row in day.news}
    rows = []
    for step in starts:
        volatility = market.volatility * multiplier(day, "volatility", step)
        arrival_rate = flow.arrival_rate * multiplier(day, "arrival_rate", step)
        pause = next((each for each in day.pauses if 0 <= step - each.start < each.steps), None)
        rows.append(
            (
                step,
                volatility,
                volatility * volatility,
                arrival_rate * (1.0 - flow.clustering),
                bound(arrival_rate),
                bound(flow.informed_fraction * multiplier(day, "informed_fraction", step)),
                bound(1.0 if step in strengths else market.news_rate),
                strengths.get(step, market.news_strength),
                step in strengths or market.news_rate > 0.0,
                pause is not None,
                pause is not None and pause.quotes == "cancel",
            )
        )
    return np.array(rows, dtype=np.float64) if rows else None
