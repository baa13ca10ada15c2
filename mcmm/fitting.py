"""Flow and market settings from a recorded market: named methods, each with its error and how well it fits.

docs/recorded.md names the methods. What a tape cannot tell is said and left to its default.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmm.errors import InputError
from mcmm.fitted import Fit
from mcmm.fitting_flow import Arrivals, Estimate, Sides, fit_arrivals, fit_sides
from mcmm.fitting_price import (
    Prices,
    Volatility,
    bounced,
    fit_volatility,
    mark_outs,
    sampling,
    squared_changes,
    thinned,
)
from mcmm.fitting_sizes import LAWS, SizeLaw, fit_sizes
from mcmm.scenario import Scenario

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mcmm.tape import Tape

__all__ = ["HORIZONS", "fit", "recorder"]

HORIZONS = (1.0, 5.0, 30.0, 60.0, 300.0)
"""Seconds at which prints are marked out, if no others are asked for."""

_LEAST_ORDERS = 20
# Of the likelihood ratio, two degrees of freedom: below it there is no clustering to speak of.
_CLUSTERED = 5.99
_TICKS = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001)
_FLOW = "flow."


def fit(
    tape: Tape,
    *,
    step: float = 1.0,
    contracts: Sequence[str] | None = None,
    sizes: str = "auto",
    informed: float | None = None,
    horizons: Sequence[float] = HORIZONS,
    base: Scenario | None = None,
) -> Fit:
    """Estimate the settings of a market from what was recorded of it.

    Parameters
    ----------
    tape : Tape
        Prints, quotes or both. Prints of one order are made one first (`mcmm.tape.Tape.merged`).
    step : float
        Seconds of a step of the scenario.
    contracts : sequence of str, optional
        Which; all together, as paths of one scenario, if left out.
    sizes : str
        The law of sizes: geometric, lognormal, empirical, or auto, which chooses.
    informed : float
        The assumed share of informed takers, who do not herd: a tape does not tell it. That of ``base`` if
        left out.
    horizons : sequence of float
        Seconds at which prints are marked out, where there are quotes.
    base : Scenario, optional
        Has the maker, the length of a path, and what the tape does not identify; the model's defaults, and
        the median length of a record, if left out.

    Returns
    -------
    Fit

    Raises
    ------
    InputError
        If an argument is out of its range, or the tape has nothing to fit from.
    """
    start = Scenario() if base is None else base
    if start.markets:
        raise InputError("base: must be of one market: a tape's contracts are paths of it")
    informed = start.flow.informed_fraction if informed is None else informed
    names = _chosen(tape, step, contracts, sizes, informed, horizons)
    prints, mids, spans = _records(tape, names)
    tick = _tick(tape, names)
    notes = list(tape.notes)
    estimates: dict[str, Estimate] = {}
    unknown = {
        "flow.informed_fraction": "a tape of prints and quotes does not tell who knew",
        "flow.informed_know": "a tape does not tell what they knew",
        "flow.price_sensitivity": "takers who were put off by the price left no print",
        "flow.news_excitation": "it is not told apart from clustering",
    }
    orders = sum(len(times) for times, _, _, _ in prints)
    arrivals = sides = law = None
    if tape.own_trades or orders < _LEAST_ORDERS:
        why = "the trades are one account's own, not the market's"
        if not tape.own_trades:
            why = f"{orders:,} orders are too few"
        for setting in ("arrival_rate", "clustering", "clustering_steps", "herding", "noise_buy_fraction"):
            unknown[_FLOW + setting] = why
        unknown["flow.size_distribution"] = why
    else:
        arrivals = _arrivals(prints, spans, step)
        if not arrivals.rate < 1:
            raise InputError(
                f"step: must leave fewer than one order a step, got {arrivals.rate:.3g} in {step:g} seconds"
            )
        sides = fit_sides([side for _, side, _, _ in prints])
        if sides is None:
            unknown["flow.herding"] = unknown["flow.noise_buy_fraction"] = "takers are all of one side"
        law = fit_sizes(np.concatenate([size for _, _, size, _ in prints]), sizes)
        _note_flow(arrivals, sides, law, informed, estimates, notes)
    sampled, half, every = _sampled(prints, mids, step, tick)
    volatility = fit_volatility(sampled, tick, half)
    if volatility is None:
        unknown["market.volatility"] = unknown["market.news_rate"] = "too few prices within the range"
        unknown["market.news_strength"] = unknown["market.news_rate"]
    else:
        _note_prices(volatility, step, bool(any(len(each.times) for each in mids)), every, estimates, unknown)
        _note_growth(sampled, tick, half, notes)
    if not estimates:
        raise InputError(
            f"{tape.source}: must have at least {_LEAST_ORDERS} orders or 30 prices to be fitted"
        )
    series = [
        mid if len(mid.times) > 1 else bounced(Prices(each[0], each[3]), each[1])[0]
        for mid, each in zip(mids, prints, strict=True)
    ]
    scenario = _scenario(start, estimates, law, series, tick, informed)
    if base is None:
        lengths = [math.floor(end / step + 1e-9) + 1 for end, _ in spans]
        scenario = scenario.replace({"steps": max(int(np.median(lengths)), 2)})
    marks = mark_outs(
        [(Prices(times, price), side) for times, side, _, price in prints], mids, horizons
    )  # fmt: skip
    return Fit(
        tape, step, estimates, unknown, scenario, arrivals, sides, law, volatility,
        tuple(marks), squared_changes(thinned(series, every)), every, tuple(notes), base is not None,
    )  # fmt: skip


def recorder(scenario: Scenario) -> Scenario:
    """Return a scenario with a maker to whom every taker sells or buys what it wants, around the fair value.

    Its fills and quotes are the tape of the market itself, as the settings have it.
    """
    tick = scenario.market.tick_size or 0.001
    law = scenario.flow
    largest = int(law.size_mean) if law.size_distribution == "fixed" else law.size_max
    changes: dict[str, Any] = {
        "flow.price_sensitivity": 0.0,
        "flow.informed_fraction": 0.0,
        # The informed do not herd, so the whole flow herds less than those who do.
        "flow.herding": law.herding * (1 - law.informed_fraction),
        "flow.informed_know": "probability",
        "quoting.policy": "adaptive",
        "quoting.base_spread": 2 * tick,
        "quoting.quote_size": largest,
        "quoting.reference_weight": 1.0,
        "quoting.reference_noise": 0.0,
        "risk.inventory_limit": math.inf,
        "recovery.disconnect_rate": 0.0,
        "market.tick_size": tick,
    }
    for name in ("imbalance_factor", "inventory_factor", "volatility_factor"):
        changes[f"quoting.{name}"] = 0.0
    for name in ("fill_shade", "imbalance_shade", "inventory_shade", "defensive_shade"):
        changes[f"quoting.{name}"] = 0.0
    for name in ("exposure_limit", "drawdown_limit", "loss_limit", "volume_limit"):
        changes[f"risk.{name}"] = math.inf
    return scenario.replace({**changes, "risk.close_steps": 0})


def _chosen(
    tape: Tape,
    step: float,
    contracts: Sequence[str] | None,
    sizes: str,
    informed: float,
    horizons: Sequence[float],
) -> list[str]:
    """Check the arguments and return the contracts' names."""
    if not 1e-6 <= step <= 1e9:
        raise InputError(f"step: must be a number of seconds >= 1e-6 and <= 1e9, got {step:g}")
    if sizes not in ("auto", *LAWS):
        raise InputError(f"sizes: must be one of auto, {', '.join(LAWS)}, got {sizes!r}")
    if not 0 <= informed < 1:
        raise InputError(f"informed: must be >= 0 and < 1, got {informed:g}")
    if not all(0 < each <= 1e9 for each in horizons):
        raise InputError(f"horizons: must be numbers of seconds > 0, got {', '.join(map(str, horizons))}")
    names = list(tape.contracts.index) if contracts is None else list(contracts)
    if strange := [name for name in names if name not in tape.contracts.index]:
        raise InputError(f"contracts: must be among the tape's {tape.listed}; got {strange[0]!r}")
    return names


Record = tuple["NDArray[np.float64]", "NDArray[np.int64]", "NDArray[np.int64]", "NDArray[np.float64]"]
Span = tuple[float, bool]


def _records(tape: Tape, names: Sequence[str]) -> tuple[list[Record], list[Prices], list[Span]]:
    """Return each contract's orders (time, side, size, price), its mids, and how long it was watched.

    Times are seconds since the record begins: with the first quote or, without quotes, with the first print.
    """
    prints = dict(list(tape.merged().prints.groupby("contract", sort=False)))
    quotes = dict(list(tape.quotes[tape.quotes["mid"].notna()].groupby("contract", sort=False)))
    orders, mids, spans = [], [], []
    for name in names:
        traded, quoted = prints.get(name, tape.prints[:0]), quotes.get(name, tape.quotes[:0])
        times = [each["time"].to_numpy(dtype="datetime64[ns]").astype(np.int64) for each in (traded, quoted)]
        begin = min((each[0] for each in times if len(each)), default=0)
        seconds = [(each - begin) / 1e9 for each in times]
        ends = [each[-1] for each in seconds if len(each)]
        orders.append(
            (seconds[0], traded["side"].to_numpy(), traded["size"].to_numpy(), traded["price"].to_numpy())
        )
        mids.append(Prices(seconds[1], quoted["mid"].to_numpy()))
        spans.append((max(ends, default=0.0), bool(len(times[1]))))
    return orders, mids, spans


def _arrivals(prints: Sequence[Record], spans: Sequence[Span], step: float) -> Arrivals:
    """Fit arrivals on the scenario's steps; a print that begins a record was not waited for."""
    times, lengths = [], []
    for (moments, _, _, _), (end, quoted) in zip(prints, spans, strict=True):
        own = moments[0 if quoted and len(moments) and moments[0] > 0 else 1 :] / step
        if end > 0:
            times.append(own)
            lengths.append(math.floor(end / step + 1e-9) + 1.0)
    if not sum(map(len, times)):
        raise InputError("tape: must have orders after the first of a contract, and at a later time")
    return fit_arrivals(times, lengths)


def _note_flow(
    arrivals: Arrivals,
    sides: Sides | None,
    law: SizeLaw,
    informed: float,
    estimates: dict[str, Estimate],
    notes: list[str],
) -> None:
    """Put the flow's estimates down."""
    from scipy import stats

    clustered = arrivals.likelihood_ratio > _CLUSTERED
    errors = np.sqrt(np.diag(arrivals.covariance if clustered else arrivals.flat))
    gaps = ("Kolmogorov-Smirnov distance of rescaled gaps from the exponential law", arrivals.distance)
    ratio = ("likelihood ratio against no clustering", arrivals.likelihood_ratio)
    found = [
        Estimate(
            "flow.arrival_rate", arrivals.rate, float(errors[0]), arrivals.method, *gaps, arrivals.p_value,
            arrivals.count,
        )
    ]  # fmt: skip
    chance = float(stats.chi2.sf(arrivals.likelihood_ratio, 2))
    if clustered:
        for place, (name, value) in enumerate(
            (("clustering", arrivals.clustering), ("clustering_steps", arrivals.clustering_steps)), start=1
        ):
            error = float(errors[place])
            found.append(
                Estimate(_FLOW + name, value, error, arrivals.method, *ratio, chance, arrivals.count)
            )
    else:
        how = f"{arrivals.method}; none found, its error with clustering over 20 steps"
        found.append(Estimate("flow.clustering", 0.0, float(errors[1]), how, *ratio, chance, arrivals.count))
    if arrivals.dispersion < 1e-3:
        notes.append(
            f"Contracts differ in their arrival rates (p {arrivals.dispersion:.1g}): clustering is fitted "
            "with each one's own, and arrival_rate is the mean over the time watched."
        )
    if sides is not None:
        found += _sides(sides, informed, notes)
    test = ("chi-squared of the law's classes", law.statistic, law.p_value)
    if law.law == "empirical":
        test = ("largest difference of the cumulative shares", law.distance, math.nan)
    found.append(Estimate("flow.size_mean", law.mean, law.mean_error, law.method, *test, law.count))
    if law.law == "lognormal":
        found.append(Estimate("flow.size_sigma", law.sigma, law.sigma_error, law.method, *test, law.count))
    estimates |= {each.setting: each for each in found}


def _sides(sides: Sides, informed: float, notes: list[str]) -> list[Estimate]:
    """Return herding and the share of buys."""
    chain = (
        "G squared of the side before the last adding nothing",
        sides.statistic,
        sides.p_value,
        sides.count,
    )
    herding = sides.herding / (1 - informed)
    how = "correlation of neighbouring sides (a Markov chain's maximum likelihood)"
    if informed:
        how += f", over 1 - {informed:g} who may herd"
    if herding < 0:
        notes.append(f"Neighbouring sides are correlated by {sides.correlation:.3f}: herding is set to 0.")
    return [
        Estimate(
            "flow.herding", min(max(herding, 0.0), 1.0), sides.herding_error / (1 - informed), how, *chain
        ),
        Estimate(
            "flow.noise_buy_fraction",
            min(max(sides.buy_fraction, 0.0), 1.0),
            sides.buy_error,
            "share of buys where the last side is not repeated (a Markov chain's maximum likelihood)",
            *chain,
        ),
    ]


def _sampled(
    prints: Sequence[Record], mids: Sequence[Prices], step: float, tick: float
) -> tuple[list[Prices], float, float]:
    """Return prices to fit from, the half-spread that was taken out of them, and the seconds between them.

    Mids where there are any, else prints without their bounce.
    """
    series, half = list(mids), 0.0
    if not any(len(each.times) > 1 for each in mids):
        plain = [bounced(Prices(times, price), side) for times, side, _, price in prints if len(times) > 1]
        series, half = [prices for prices, _ in plain], max((each for _, each in plain), default=0.0)
    every = sampling(series, step, tick)
    return thinned(series, every), half, every


def _note_growth(sampled: Sequence[Prices], tick: float, half: float, notes: list[str]) -> None:
    """Say where volatility is another at the end of records than at their beginning."""
    parts = []
    for low, high in ((0.0, 1 / 3), (2 / 3, 1.0)):
        cut = []
        for times, values in sampled:
            here = (times >= low * times[-1]) & (times <= high * times[-1]) if len(times) else slice(0)
            cut.append(Prices(times[here], values[here]))
        parts.append(fit_volatility(cut, tick, half))
    early, late = parts
    if early is None or late is None:
        return
    apart = (late.volatility - early.volatility) / math.hypot(late.error, early.error)
    if abs(apart) > 3:
        notes.append(
            "Volatility is not constant: in the last third of records it is "
            f"{late.volatility / early.volatility:.2f} times that of the first. Where it grows towards the "
            "end, market.process threshold may fit better."
        )


def _note_prices(
    found: Volatility,
    step: float,
    quoted: bool,
    every: float,
    estimates: dict[str, Estimate],
    unknown: dict[str, str],
) -> None:
    """Put the price's estimates down, per step."""
    from scipy import stats

    of = f"of {'mids' if quoted else 'prints less their bounce'} every {every:g} s"
    root, steps, jumps = math.sqrt(step), found.seconds / step, len(found.jumps)
    estimates["market.volatility"] = Estimate(
        "market.volatility",
        found.volatility * root,
        found.error * root,
        f"quasi-likelihood of a walk under noise (Ait-Sahalia, Mykland and Zhang 2005; Xiu 2010) {of}; "
        f"realised, with the noise, {found.realised * root:.3g}",
        "Kolmogorov-Smirnov distance of whitened moves from the normal law",
        found.distance,
        found.p_value,
        found.count,
    )
    test = stats.kstest(found.jump_clocks, "uniform") if jumps else None
    threshold = f"moves beyond a threshold on bipower and quasi-likelihood (Mancini 2009) {of}"
    estimates["market.news_rate"] = Estimate(
        "market.news_rate",
        jumps / steps,
        # Of a Poisson count, to the upper side (Gehrels, Astrophysical Journal 1986): few jumps, or none, say
        # little of how many there might have been.
        (math.sqrt(jumps + 0.75) + 1) / steps,
        threshold,
        "Kolmogorov-Smirnov distance of the jumps' moments from uniform",
        math.nan if test is None else float(test.statistic),
        math.nan if test is None else float(test.pvalue),
        jumps,
    )
    if not jumps:
        unknown["market.news_strength"] = "no jump was seen"
        return
    estimates["market.news_strength"] = Estimate(
        "market.news_strength",
        float(found.jumps.mean()),
        found.jump_error,
        f"mean share of the way to 0 or 1: {threshold}",
        "standard deviation over jumps",
        float(found.jumps.std()),
        math.nan,
        jumps,
    )


def _tick(tape: Tape, names: Sequence[str]) -> float:
    """Return the largest tick that nearly all prices are multiples of."""
    quotes = tape.quotes[tape.quotes["contract"].isin(names)]
    prices = quotes[["bid", "ask"]].to_numpy(dtype=np.float64).ravel()
    prices = prices[np.isfinite(prices)]
    if not len(prices):
        prices = tape.prints.loc[tape.prints["contract"].isin(names), "price"].to_numpy()
    for tick in _TICKS:
        if (np.abs(prices / tick - np.rint(prices / tick)) < 1e-6).mean() >= 0.95:
            return tick
    return _TICKS[-1]


def _scenario(
    start: Scenario,
    estimates: dict[str, Estimate],
    law: SizeLaw | None,
    series: Sequence[Prices],
    tick: float,
    informed: float,
) -> Scenario:
    """Make the scenario of the estimates."""
    firsts = [float(each.values[0]) for each in series if len(each.values)]
    first = min(max(round(float(np.mean(firsts)), 4), tick), 1 - tick)
    changes: dict[str, Any] = {
        "market.process": "logit",
        "market.resolution_step": None,
        "market.initial_probability": first,
        "market.initial_mid": None,
        "market.tick_size": tick,
        "flow.model": "takers",
        "flow.informed_fraction": informed,
    }
    for setting, each in estimates.items():
        changes[setting] = float(f"{each.value:.6g}")
    if law is not None:
        changes["flow.size_distribution"] = law.law
        changes["flow.size_max"] = law.largest
        changes["flow.size_table"] = []
        if law.law == "empirical":
            changes["flow.size_table"] = [list(row) for row in law.table]
            del changes["flow.size_mean"]
    return start.replace(changes)
