"""The way of the price from a tape: volatility under noise, news as jumps, adverse selection by mark-outs.

Times are in seconds and volatility per square root of a second, until a scenario's step is put to them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mcmm.fitting_flow import covariance

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "MarkOuts",
    "Prices",
    "Volatility",
    "bounced",
    "fit_volatility",
    "mark_outs",
    "sampling",
    "squared_changes",
    "thinned",
]

_ROUNDS = 20
_STILL = 0.25
_LEAST = 30
# The chance that any of a record's moves is called a jump if there is none.
_FALSE_JUMP = 0.05
# A jump is at least so many ticks: in a quiet market a tick is many standard deviations.
_LEAST_TICKS = 3.0


class Prices(NamedTuple):
    """One contract's prices: moments in seconds since it began, and dollars."""

    times: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Volatility:
    """Volatility, noise and jumps of some contracts.

    Attributes
    ----------
    volatility, error : float
        Logit units per square root of a second, and its standard error.
    noise : float
        Standard deviation of the noise of one price, dollars.
    jumps : ndarray of float64, shape (jumps,)
        kappa of each: the share of the way to 0 or 1.
    jump_error : float
        Standard error of their mean; NaN without one.
    jump_clocks : ndarray of float64, shape (jumps,)
        When each was, as a share of ``seconds``.
    seconds : float
        Watched, with the price within the range that is used.
    distance, p_value : float
        Of Kolmogorov and Smirnov, of whitened moves without jumps from the normal law.
    count : int
        Moves that are no jumps.
    realised : float
        The realised volatility of the same moves, noise and all, for comparison.
    low : float
        Prices in [low, 1 - low] are used.
    """

    volatility: float
    error: float
    noise: float
    jumps: NDArray[np.float64]
    jump_error: float
    jump_clocks: NDArray[np.float64]
    seconds: float
    distance: float
    p_value: float
    count: int
    realised: float
    low: float


class _Moves(NamedTuple):
    """Moves of the logit between neighbouring prices, contract by contract."""

    move: NDArray[np.float64]
    gap: NDArray[np.float64]  # seconds
    joined: NDArray[np.bool_]  # whether the move before it ends where this one begins
    before: NDArray[np.float64]  # dollars
    after: NDArray[np.float64]
    tilt: NDArray[np.float64]  # 1 / (p (1 - p)) where it begins: what a dollar is in logit units
    tilt_after: NDArray[np.float64]


def bounced(prices: Prices, sides: NDArray[np.int64]) -> tuple[Prices, float]:
    """Take the bounce between bid and ask out of prints' prices.

    Parameters
    ----------
    prices : Prices
        Of the prints.
    sides : ndarray of int64
        +1 bought, -1 sold.

    Returns
    -------
    Prices
        Less side times half-spread.
    float
        The half-spread, dollars: the regression of a price's change on the side's change, as Roll's model
        with known sides has it (Huang and Stoll, Review of Financial Studies 1997).
    """
    change, turn = np.diff(prices.values), np.diff(sides)
    weight = float((turn * turn).sum())
    half = float((change * turn).sum() / weight) if weight else 0.0
    half = min(max(half, 0.0), 0.25)
    return Prices(prices.times, np.clip(prices.values - half * sides, 1e-6, 1 - 1e-6)), half


def thinned(contracts: Sequence[Prices], every: float) -> list[Prices]:
    """Keep the last price of each interval of so many seconds, at its end as it stands."""
    found = []
    for times, values in contracts:
        place = np.floor(times / every + 1e-9).astype(np.int64)
        last = np.flatnonzero(np.append(place[1:] != place[:-1], True))
        found.append(Prices(times[last], values[last]))
    return found


def usable(tick: float, half_spread: float = 0.0) -> float:
    """Return how near to 0 and 1 prices are used, where ticks and spreads are not yet most of a move."""
    return max(0.01, 10 * tick, 5 * half_spread)


def sampling(contracts: Sequence[Prices], least: float, tick: float) -> float:
    """Return the shortest doubling of an interval at which at most a quarter of the moves are none.

    A price that stands still on its grid is no Gaussian walk; one that mostly moves is near enough.
    """
    every, low = least, usable(tick)
    while True:
        parts = [
            np.diff(values)[(values[:-1] >= low) & (values[:-1] <= 1 - low)]
            for _, values in thinned(contracts, every)
        ]
        moves = np.concatenate(parts) if parts else np.empty(0)
        if len(moves) < 4 * _LEAST or (np.abs(moves) < tick / 4).mean() <= _STILL:
            return every
        every *= 2


def fit_volatility(contracts: Sequence[Prices], tick: float, half_spread: float = 0.0) -> Volatility | None:
    """Fit volatility and noise by quasi-likelihood, and set moves apart that are jumps.

    Parameters
    ----------
    contracts : sequence of Prices
        Mids, or prints without their bounce.
    tick : float
        Dollars.
    half_spread : float
        What was taken out of prints' prices, dollars: prices near 0 or 1 are left out the further.

    Returns
    -------
    Volatility or None
        Moves of the logit are a random walk's, seen with independent noise of so many dollars, so that
        neighbouring moves are correlated: the Gaussian likelihood of that, which is consistent without normal
        noise (Ait-Sahalia, Mykland and Zhang, Review of Financial Studies 2005; Xiu, Journal of Econometrics
        2010). A move beyond what a record of normal ones has once in twenty is a jump, by a threshold on what
        the likelihood has for its variance (Mancini, Scandinavian Journal of Statistics 2009), starting from
        bipower variation (Barndorff-Nielsen and Shephard, Journal of Financial Econometrics 2004); the two
        are repeated until the jumps stay. Prices so near to 0 or 1 that a tick is more than a move's
        deviation are then left out: rounding is no independent noise there. None with fewer than 30 moves.
    """
    low = usable(tick, half_spread)
    found = _fit_within(contracts, tick, low)
    if found is None or not found.count:
        return found
    gap = found.seconds / found.count
    coarse = tick / (found.volatility * math.sqrt(gap))
    further = (1 - math.sqrt(1 - 4 * coarse)) / 2 if coarse < 0.25 else low
    if further > low:
        again = _fit_within(contracts, tick, further)
        if again is not None and again.count >= found.count / 4:
            return again
    return found


def _fit_within(contracts: Sequence[Prices], tick: float, low: float) -> Volatility | None:
    """Fit volatility, noise and jumps from prices in [low, 1 - low]."""
    from scipy import special, stats

    moves = _moves(contracts, low)
    inside = (moves.after >= low) & (moves.after <= 1 - low)
    if inside.sum() < _LEAST:
        return None
    limit = float(special.ndtri(1 - _FALSE_JUMP / 2 / len(moves.move)))
    # Neighbours' products do not see a jump, which stands alone.
    pairs = np.abs(moves.move[1:] * moves.move[:-1])[moves.joined[1:]]
    scale = math.sqrt(math.pi / 2 * float(pairs.mean())) if len(pairs) else float(moves.move.std())
    theta = np.array([math.log(max(scale, 1e-9) ** 2 / moves.gap.mean()), max(scale, 1e-9) ** 2 / 160])
    jump = _beyond(moves, theta, limit, tick)
    for _ in range(_ROUNDS):
        theta = _fit(moves, inside & ~jump, theta, tick)
        again = _beyond(moves, theta, limit, tick)
        if (again == jump).all():
            break
        jump = again
    kept = inside & ~jump
    # In the noise's variance itself, which may end at its bound: there its log would pass for known.
    unit = np.array([1.0, float((moves.move[kept] ** 2).mean() / (moves.tilt[kept] ** 2).mean())])
    found = covariance(lambda x: _negative(moves, kept, x * unit), theta / unit)
    volatility = math.exp(theta[0] / 2)
    white = _whitened(moves, kept, theta)[0]
    test = stats.kstest(white, "norm")
    up = moves.after > moves.before
    share = np.where(up, (moves.after - moves.before) / (1 - moves.before), 1 - moves.after / moves.before)
    # Diffusion and noise move a jump's end too: with few jumps their own scatter tells too little.
    way = np.where(up, 1 - moves.before, moves.before) * moves.tilt
    blur = np.sqrt(_variance(moves, theta)) / way
    scatter = math.nan
    if jump.any():
        own = float(share[jump].var(ddof=1)) if jump.sum() > 1 else 0.0
        scatter = math.sqrt(max(own, float((blur[jump] ** 2).mean())) / jump.sum())
    return Volatility(
        volatility,
        volatility / 2 * math.sqrt(found[0, 0] if math.isfinite(found[0, 0]) else 2 / kept.sum()),
        math.sqrt(theta[1]),
        share[jump],
        scatter,
        np.cumsum(moves.gap)[jump] / moves.gap.sum(),
        float(moves.gap.sum()),
        float(test.statistic),
        float(test.pvalue),
        int(kept.sum()),
        math.sqrt(float((moves.move[kept] ** 2).sum() / moves.gap[kept].sum())),
        low,
    )


def _moves(contracts: Sequence[Prices], low: float) -> _Moves:
    """Make the moves that begin with a price in the range."""
    parts: list[list[Any]] = [[], [], [], [], [], [], []]
    for times, values in contracts:
        logit, tilt = np.log(values) - np.log1p(-values), 1 / (values * (1 - values))
        begins = (values[:-1] >= low) & (values[:-1] <= 1 - low) & (np.diff(times) > 0)
        joined = np.append(False, begins[:-1])[begins] if len(begins) else begins
        for part, column in zip(
            parts,
            (
                *(np.diff(logit)[begins], np.diff(times)[begins], joined),
                *(values[:-1][begins], values[1:][begins], tilt[:-1][begins], tilt[1:][begins]),
            ),
            strict=True,
        ):
            part.append(column)
    move, gap, joined, *rest = (np.concatenate(part) if part else np.empty(0) for part in parts)
    return _Moves(move, gap, joined.astype(bool), *rest)


def _variance(moves: _Moves, theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each move's variance: of the walk, and of the noise at its two ends."""
    tilts = moves.tilt**2 + moves.tilt_after**2
    return np.asarray(math.exp(theta[0]) * moves.gap + theta[1] * tilts)


def _beyond(moves: _Moves, theta: NDArray[np.float64], limit: float, tick: float) -> NDArray[np.bool_]:
    """Tell which moves are jumps."""
    deviation = np.sqrt(_variance(moves, theta))
    far = np.abs(moves.after - moves.before) >= _LEAST_TICKS * tick - 1e-9
    return np.asarray((np.abs(moves.move) > limit * deviation) & far)


def _whitened(
    moves: _Moves, kept: NDArray[np.bool_], theta: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Return the moves made independent and of variance 1, and the log of their determinant.

    Their covariance has the variances on its diagonal and, where neighbours share a price, less that price's
    own noise beside it.
    """
    from scipy import linalg

    noise = theta[1] * moves.tilt[kept] ** 2
    joined = moves.joined & np.append(False, kept[:-1])
    band = np.zeros((2, int(kept.sum())))
    band[0] = _variance(moves, theta)[kept]
    band[1, :-1] = np.where(joined[kept][1:], -noise[1:], 0.0)
    lower = linalg.cholesky_banded(band, lower=True)
    white = linalg.solve_banded((1, 0), lower, moves.move[kept])
    return white, float(np.log(lower[0]).sum())


def _negative(moves: _Moves, kept: NDArray[np.bool_], theta: NDArray[np.float64]) -> float:
    white, determinant = _whitened(moves, kept, theta)
    return float(white @ white / 2 + determinant)


def _fit(
    moves: _Moves, kept: NDArray[np.bool_], begin: NDArray[np.float64], tick: float
) -> NDArray[np.float64]:
    """Return the log of the variance per second, and the noise's variance, at the likelihood's maximum."""
    from scipy import optimize

    variance = max(float((moves.move[kept] ** 2).mean()), 1e-12)
    gap, unit = float(moves.gap[kept].mean()), variance / float((moves.tilt[kept] ** 2).mean())
    # A mid of two prices on the grid is itself rounded to half a tick, whatever else is noise.
    least = min(tick * tick / 48 / unit, 1.0)
    scale = np.array([1.0, unit])
    bounds = [(math.log(variance / gap * 1e-6), math.log(variance / gap * 10)), (least, 2.0)]
    start = np.clip(begin / scale, *np.transpose(bounds))

    def negative(x: NDArray[np.float64]) -> float:
        return _negative(moves, kept, x * scale)

    options = {"xatol": 1e-4, "fatol": 1e-5}
    found = optimize.minimize(negative, start, method="Nelder-Mead", bounds=bounds, options=options)  # type: ignore[call-overload]
    return np.asarray(found.x * scale, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class MarkOuts:
    """What a print's side is worth a while later, means over prints with standard errors, dollars a contract.

    Attributes
    ----------
    seconds : float
        The horizon.
    moved, moved_error : float
        Side * (mid then - mid before the print): what the taker knew, or the print moved.
    kept, kept_error : float
        Side * (price - mid then): what the maker has left of the half-spread.
    count : int
        Prints.
    """

    seconds: float
    moved: float
    moved_error: float
    kept: float
    kept_error: float
    count: int


def mark_outs(
    prints: Sequence[tuple[Prices, NDArray[np.int64]]], mids: Sequence[Prices], horizons: Sequence[float]
) -> list[MarkOuts]:
    """Mark prints out at horizons.

    Parameters
    ----------
    prints : sequence of (Prices, ndarray of int64)
        Of each contract, prices and sides.
    mids : sequence of Prices
        Of each contract, the mids quoted, in the same time.
    horizons : sequence of float
        Seconds.

    Returns
    -------
    list of MarkOuts
        Of the horizons that some print's record reaches. Standard errors by batches of neighbouring prints
        (20, or a contract each where there are more), since what follows one print follows the next too.
    """
    found = []
    for horizon in horizons:
        moved, kept, batch = [], [], []
        for place, ((traded, sides), (times, values)) in enumerate(zip(prints, mids, strict=True)):
            if not len(times) or not len(traded.times):
                continue
            before = np.searchsorted(times, traded.times, side="left") - 1
            then = np.searchsorted(times, traded.times + horizon, side="right") - 1
            here = (before >= 0) & (traded.times + horizon <= times[-1])
            later = values[then[here]]
            moved.append(sides[here] * (later - values[before[here]]))
            kept.append(sides[here] * (traded.values[here] - later))
            batch.append(np.full(int(here.sum()), place))
        if not moved or sum(map(len, moved)) < 2:
            continue
        rows, contracts = np.stack([np.concatenate(moved), np.concatenate(kept)]), np.concatenate(batch)
        batches = (
            contracts if len(np.unique(contracts)) >= 20 else np.arange(len(contracts)) * 20 // len(contracts)
        )
        means, errors = rows.mean(axis=1), [_batched(row, batches) for row in rows]
        found.append(
            MarkOuts(horizon, float(means[0]), errors[0], float(means[1]), errors[1], len(contracts))
        )
    return found


def _batched(row: NDArray[np.float64], batches: NDArray[np.int64]) -> float:
    """Return the standard error of a mean whose neighbours are not independent, by sums over batches."""
    sums = np.bincount(np.unique(batches, return_inverse=True)[1], row - row.mean())
    count = len(sums)
    return float(math.sqrt((sums**2).sum() * count / max(count - 1, 1)) / len(row))


def squared_changes(contracts: Sequence[Prices]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each contract's sum of squared price changes, and what a martingale's is on average.

    p0 (1 - p0) - pT (1 - pT): in the mean over contracts the two are equal (docs/model.md, section 9).
    """
    kept = [each.values for each in contracts if len(each.values) > 1]
    sums = np.array([float((np.diff(values) ** 2).sum()) for values in kept])
    due = np.array([float(values[0] * (1 - values[0]) - values[-1] * (1 - values[-1])) for values in kept])
    return sums, due
