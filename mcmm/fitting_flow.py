"""The flow of takers from a tape: arrivals and their clustering, sides, sizes; each method a function.

Units are steps of the scenario that is fitted. Arrays of a contract are in the order of time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Arrivals", "Estimate", "Sides", "covariance", "fit_arrivals", "fit_sides"]

# Of rate, branching ratio, e-folding time, and each contract's rate as a share of the first.
Likelihood = Callable[[float, float, float, Sequence[float]], float]
Rescaling = Callable[[float, float, float, Sequence[float]], "NDArray[np.float64]"]

# A step that may be laid out as an array of steps; longer records are fitted in continuous time.
_MOST_STEPS = 500_000
# e-folding times after which an excitation is nothing beside rounding, and those that do not overflow.
_FORGOTTEN, _STRETCH = 40.0, 500.0
_TINY = 1e-12
_USUAL_STEPS = 20.0
# Contracts differ in their rates where chance would not have it so once in so many records.
_DIFFERENT = 1e-3


@dataclass(frozen=True)
class Estimate:
    """One setting, as a tape gives it.

    Attributes
    ----------
    setting : str
        Its dotted name.
    value : float
        In the setting's unit.
    standard_error : float
        Of the value; NaN where the method gives none.
    method : str
        How it was estimated.
    measure : str
        What `fit` is.
    fit : float
        The figure of how well the method's law fits; NaN if none applies.
    p_value : float
        The chance of a worse fit if the law held; NaN if none applies.
    count : int
        Observations behind it.
    """

    setting: str
    value: float
    standard_error: float
    method: str
    measure: str
    fit: float
    p_value: float
    count: int


@dataclass(frozen=True, eq=False)
class Arrivals:
    """Arrivals that excite arrivals.

    Attributes
    ----------
    rate, clustering, clustering_steps : float
        The mean per step, the branching ratio and the e-folding time in steps.
    covariance : ndarray of shape (3, 3)
        Of these, from the Hessian of the log-likelihood.
    likelihood_ratio : float
        Twice the gain in log-likelihood over arrivals without clustering.
    distance, p_value : float
        Of Kolmogorov and Smirnov, of rescaled gaps from the exponential law.
    method : str
        Which likelihood.
    count : int
        Arrivals.
    dispersion : float
        p-value of contracts having one rate, by likelihood ratio; NaN for one contract. Below 1 in 1,000 the
        others are fitted with each contract's own rate, and ``rate`` is their mean.
    flat : ndarray of shape (2, 2)
        Covariance of rate and branching ratio where that is 0 and the e-folding time the model's 20 steps.
    """

    rate: float
    clustering: float
    clustering_steps: float
    covariance: NDArray[np.float64]
    likelihood_ratio: float
    distance: float
    p_value: float
    method: str
    count: int
    dispersion: float
    flat: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sides:
    """Sides of takers as a chain.

    Attributes
    ----------
    herding, buy_fraction : float
        The chance to repeat the last side, and else to buy.
    herding_error, buy_error : float
        Standard errors.
    correlation : float
        Of neighbouring sides.
    statistic, p_value : float
        G squared of the side before the last adding nothing, two degrees of freedom.
    count : int
        Pairs of neighbours.
    """

    herding: float
    buy_fraction: float
    herding_error: float
    buy_error: float
    correlation: float
    statistic: float
    p_value: float
    count: int


def fit_arrivals(times: Sequence[NDArray[np.float64]], lengths: Sequence[float]) -> Arrivals:
    """Fit the model's self-exciting arrivals by maximum likelihood.

    Parameters
    ----------
    times : sequence of ndarray
        Of each contract, when its orders came, in steps since it began; sorted, >= 0 and < its length.
    lengths : sequence of float
        Of each contract, how many steps it was watched.

    Returns
    -------
    Arrivals
        Where no step has two orders, by the likelihood of the model's own chance of an arrival in each step
        (docs/model.md, section 5): a discrete-time Hawkes process. Otherwise by that of the Hawkes process
        with an exponential kernel in continuous time (Ozaki, Annals of the Institute of Statistical
        Mathematics 1979), whose rate, branching ratio and decay are the settings' limits for short steps.
        Goodness of fit by time rescaling (Ogata, JASA 1988; in discrete time Haslinger, Pipa and Brown,
        Neural Computation 2010).
    """
    from scipy import stats

    whole = [np.floor(each + 1e-9).astype(np.int64) for each in times]
    steps = [max(math.ceil(length - 1e-9), 1) for length in lengths]
    discrete = sum(steps) <= _MOST_STEPS and all(len(np.unique(each)) == len(each) for each in whole)
    count, span = sum(map(len, times)), float(sum(lengths))
    if discrete:
        tapes = [
            np.bincount(each, minlength=size)[:size].astype(np.float64)
            for each, size in zip(whole, steps, strict=True)
        ]
        rescale, likelihood = _discrete_gaps(tapes), _discrete(tapes)
        method = "maximum likelihood of the model's arrivals by step (discrete-time Hawkes)"
        span = float(sum(steps))
    else:
        records = _Records([_spread(each) for each in times], lengths)
        rescale, likelihood = _continuous_gaps(records), _continuous(records)
        method = "maximum likelihood of the Hawkes process with an exponential kernel (Ozaki 1979)"
    mean = count / span
    alike = [1.0] * len(times)
    own = [len(each) / length / mean for each, length in zip(times, lengths, strict=True)]
    found = _fit_rates(likelihood, alike, mean, discrete)
    shares, dispersion = alike, math.nan
    if len(times) > 1:
        apart = _fit_rates(likelihood, own, mean, discrete)
        gain = 2 * (found.negative - apart.negative)
        dispersion = float(stats.chi2.sf(max(gain, 0.0), len(times) - 1))
        if dispersion < _DIFFERENT:
            found, shares = apart, own
    rate, n, tau = _settings(found.best)
    jacobian = np.diag([rate, n * (1 - n), tau])
    gaps = rescale(rate, n, tau, shares)
    test = stats.kstest(gaps, "expon") if len(gaps) else None
    unit = np.diag([mean, 1.0])
    return Arrivals(
        rate,
        n,
        tau,
        jacobian @ covariance(found.function, found.best) @ jacobian,
        2 * (found.flat - found.negative),
        math.nan if test is None else float(test.statistic),
        math.nan if test is None else float(test.pvalue),
        method,
        count,
        dispersion,
        unit
        @ covariance(
            lambda x: -likelihood(mean * (1 + x[0]), x[1], _USUAL_STEPS, shares), np.zeros(2), step=1e-2
        )
        @ unit,
    )


class _Fitted(NamedTuple):
    """A likelihood's maximum: where, how high, how high without clustering, and its negative log."""

    best: NDArray[np.float64]
    negative: float
    flat: float
    function: Callable[[NDArray[np.float64]], float]


def _fit_rates(likelihood: Likelihood, shares: Sequence[float], mean: float, discrete: bool) -> _Fitted:
    """Fit rate, clustering and its time, with contracts' rates in a fixed proportion."""
    top = 0.999 if discrete else math.inf

    def negative(theta: NDArray[np.float64]) -> float:
        rate, n, tau = _settings(theta)
        return -likelihood(min(rate, top), n, tau, shares)

    starts = [(n, tau) for n in (0.2, 0.6) for tau in (1.0, 5.0, 25.0, 125.0)]
    begin = min(
        (np.array([math.log(mean), math.log(n / (1 - n)), math.log(tau)]) for n, tau in starts), key=negative
    )
    best = _minimise(negative, begin, [(begin[0] - 1.5, begin[0] + 1.5), (-7.0, 4.0), (-2.3, 9.2)])
    return _Fitted(best, negative(best), -likelihood(min(mean, top), 0.0, 1.0, shares), negative)


def _settings(theta: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return rate, branching ratio and e-folding time of their log, logit and log."""
    return math.exp(theta[0]), 1 / (1 + math.exp(-theta[1])), math.exp(theta[2])


def _chances(tape: NDArray[np.float64], rate: float, n: float, tau: float) -> NDArray[np.float64]:
    """Return the model's chance of an arrival in each step, given the steps before."""
    from scipy.signal import lfilter

    decay = math.exp(-1 / tau)
    rise = n * (1 - decay)
    excited = lfilter([0.0, rise], [1.0, -decay], tape)
    begins = np.arange(min(len(tape), math.ceil(_FORGOTTEN * tau)))
    excited[: len(begins)] += n * rate * decay**begins
    return np.asarray(np.clip(rate * (1 - n) + excited, _TINY, 1 - _TINY))


def _discrete(tapes: Sequence[NDArray[np.float64]]) -> Likelihood:
    def likelihood(rate: float, n: float, tau: float, shares: Sequence[float]) -> float:
        total = 0.0
        for tape, share in zip(tapes, shares, strict=True):
            chance = _chances(tape, rate * share, n, tau)
            arrived = chance[tape > 0]
            total += float(np.log1p(-chance).sum() + (np.log(arrived) - np.log1p(-arrived)).sum())
        return total

    return likelihood


def _discrete_gaps(tapes: Sequence[NDArray[np.float64]]) -> Rescaling:
    """Rescale gaps in discrete time: exponential, if an arrival is at a random depth of its step."""

    def rescale(rate: float, n: float, tau: float, shares: Sequence[float]) -> NDArray[np.float64]:
        draws = np.random.Generator(np.random.Philox(key=1))
        found = []
        for tape, share in zip(tapes, shares, strict=True):
            hazard = -np.log1p(-_chances(tape, rate * share, n, tau))
            at = np.flatnonzero(tape)
            if len(at) < 2:
                continue
            before = np.cumsum(hazard) - hazard
            depth = -np.log1p(-draws.random(len(at)) * -np.expm1(-hazard[at]))
            found.append((before[at[1:]] - before[at[:-1]] - hazard[at[:-1]]) + depth[1:])
        return np.concatenate(found) if found else np.empty(0)

    return rescale


def _spread(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spread orders of one moment evenly until the next moment that the record can tell apart."""
    if len(times) < 2:
        return times
    moments, first, count = np.unique(times, return_index=True, return_counts=True)
    if len(moments) == len(times):
        return times
    resolution = float(np.diff(moments).min())
    rank = np.arange(len(times)) - np.repeat(first, count)
    return np.repeat(moments, count) + (rank + 0.5) / np.repeat(count, count) * resolution


class _Records:
    """Contracts' events in one row, so that a likelihood need not go contract by contract.

    Parameters
    ----------
    times : sequence of ndarray
        Of each contract, in order.
    lengths : sequence of float
        Of each.
    """

    def __init__(self, times: Sequence[NDArray[np.float64]], lengths: Sequence[float]) -> None:
        counts = [len(each) for each in times]
        self.contract = np.repeat(np.arange(len(counts)), counts)
        self.times = np.concatenate([*times, np.empty(0)])
        self.lengths = np.asarray(lengths, dtype=np.float64)
        self.left = np.maximum(self.lengths[self.contract] - self.times, 0.0)
        self.first = np.append(True, np.diff(self.contract) > 0)[: len(self.times)]
        # Nothing of one contract excites another's: before its first event lies a gap without end.
        self.gaps = np.where(self.first, np.inf, np.diff(self.times, prepend=0.0))

    def excitation(self, beta: float) -> NDArray[np.float64]:
        """Return each event's sum over earlier ones of exp(-beta (t_i - t_j)).

        In stretches within which no exponential overflows; what is older than 40 e-folding times is nothing
        beside rounding, so that longer gaps are cut to that.
        """
        total = np.zeros(len(self.times))
        passed = np.cumsum(np.minimum(self.gaps * beta, _FORGOTTEN))
        starts = np.flatnonzero(np.diff(np.floor(passed / _STRETCH), prepend=-1.0))
        carried, since = 0.0, 0.0
        for begin, end in zip(starts, [*starts[1:], len(passed)], strict=True):
            here = passed[begin:end]
            carried *= math.exp(since - here[0])
            grown = np.exp(here - here[0])
            summed = np.cumsum(grown)
            total[begin:end] = (carried + summed - grown) / grown
            carried, since = (carried + summed[-1]) / grown[-1], here[-1]
        return total


def _continuous(records: _Records) -> Likelihood:
    def likelihood(mean: float, n: float, tau: float, shares: Sequence[float]) -> float:
        beta, rates = 1 / tau, mean * np.asarray(shares)
        rate = rates[records.contract]
        intensity = rate * (1 - n + n * np.exp(-beta * records.times)) + n * beta * records.excitation(beta)
        due = rates * ((1 - n) * records.lengths - n * tau * np.expm1(-beta * records.lengths))
        excited = -n * np.expm1(-beta * records.left)
        return float(np.log(np.maximum(intensity, _TINY)).sum() - due.sum() - excited.sum())

    return likelihood


def _continuous_gaps(records: _Records) -> Rescaling:
    def rescale(mean: float, n: float, tau: float, shares: Sequence[float]) -> NDArray[np.float64]:
        beta, rate = 1 / tau, mean * np.asarray(shares)[records.contract]
        within = np.flatnonzero(~records.first)
        gap, now = records.gaps[within], records.times[within]
        # What an event has yet to excite is what stands in the excitation just after it.
        after = records.excitation(beta)[within - 1] + 1
        fading = -n * tau * np.exp(-beta * (now - gap)) * np.expm1(-beta * gap)
        return rate[within] * ((1 - n) * gap + fading) - n * after * np.expm1(-beta * gap)

    return rescale


def fit_sides(sides: Sequence[NDArray[np.int64]]) -> Sides | None:
    """Fit who repeats the last taker's side, and who buys otherwise.

    Parameters
    ----------
    sides : sequence of ndarray
        Of each contract, +1 or -1 in order.

    Returns
    -------
    Sides or None
        None where no buy or no sale is followed by anything, or no side by the other. P(buy | buy) =
        h + (1 - h) b and P(buy | sell) = (1 - h) b, so that h is the difference of the two shares, which is
        the correlation of neighbours, and b follows; both are maximum likelihood, with binomial errors.
    """
    from scipy import stats

    pairs = np.zeros((2, 2), dtype=np.int64)
    triples = np.zeros((2, 2, 2), dtype=np.int64)
    for each in sides:
        code = (each > 0).astype(np.int64)
        np.add.at(pairs, (code[:-1], code[1:]), 1)
        np.add.at(triples, (code[:-2], code[1:-1], code[2:]), 1)
    rows = pairs.sum(axis=1)
    if not rows.all() or pairs[0, 1] + pairs[1, 0] == 0:
        return None
    after_sell, after_buy = pairs[:, 1] / np.maximum(rows, 1)
    noise = [
        share * (1 - share) / max(int(row), 1) for share, row in ((after_sell, rows[0]), (after_buy, rows[1]))
    ]
    herding = float(after_buy - after_sell)
    fraction = float(after_sell / (1 - herding)) if herding < 1 else math.nan
    # b = s / (1 - d + s) for s = P(buy | sell), d = P(buy | buy).
    below = 1 - after_buy + after_sell
    slopes = ((1 - after_buy) / below**2, after_sell / below**2) if below > 0 else (math.nan, math.nan)
    codes = np.concatenate([np.stack([each[:-1], each[1:]]) for each in sides if len(each) > 1], axis=1)
    spread = codes.std(axis=1).prod()
    statistic = 0.0
    for last in (0, 1):
        table = triples[:, last, :].astype(np.float64)
        expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / max(table.sum(), 1.0)
        seen = table > 0
        statistic += float(2 * (table[seen] * np.log(table[seen] / expected[seen])).sum())
    return Sides(
        herding,
        fraction,
        math.sqrt(noise[0] + noise[1]),
        math.sqrt(slopes[0] ** 2 * noise[0] + slopes[1] ** 2 * noise[1]),
        float(np.corrcoef(codes)[0, 1]) if spread > 0 else math.nan,
        statistic,
        float(stats.chi2.sf(statistic, 2)),
        int(pairs.sum()),
    )


def _minimise(
    function: Callable[[NDArray[np.float64]], float], begin: NDArray[np.float64], bounds: Any
) -> NDArray[np.float64]:
    """Minimise within bounds, by gradients and then, where they are too rough, without."""
    from scipy import optimize

    found = optimize.minimize(function, begin, method="L-BFGS-B", bounds=bounds)
    polished = optimize.minimize(
        function, found.x, method="Nelder-Mead", bounds=bounds, options={"xatol": 1e-5, "fatol": 1e-6}
    )
    best = polished if polished.fun <= found.fun else found
    return np.asarray(best.x, dtype=np.float64)


def covariance(
    function: Callable[[NDArray[np.float64]], float], best: NDArray[np.float64], step: float = 1e-3
) -> NDArray[np.float64]:
    """Return the inverse Hessian of a negative log-likelihood at its minimum, NaN where it has none.

    Central differences: the likelihoods here are smooth, and their parameters logs or logits.
    """
    size = len(best)
    unit = np.eye(size) * step
    hessian = np.empty((size, size))
    for i in range(size):
        for j in range(i + 1):
            hessian[i, j] = hessian[j, i] = (
                function(best + unit[i] + unit[j])
                - function(best + unit[i] - unit[j])
                - function(best - unit[i] + unit[j])
                + function(best - unit[i] - unit[j])
            ) / (4 * step * step)
    try:
        inverse = np.linalg.inv(hessian)
    except np.linalg.LinAlgError:
        return np.full((size, size), math.nan)
    return np.where(np.diag(inverse).min() > 0, inverse, math.nan)
