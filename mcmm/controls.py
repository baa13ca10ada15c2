"""Control variates: what a path's luck is known to be on average, taken out of its result's mean.

What the maker's inventory earns as the fair value moves (inventory_pnl), and what settlement adds to the
fair value (pnl_settled - pnl_fair), are gains from holding a martingale. The inventory held over a step is
decided before the step's move, by anything but the outcome, so on average both are exactly 0, whatever the
maker, its limits and breakers do: a halted path holds what it holds, and that is worth its fair value; one
that flattens trades at its fair value, less a slippage that counts as spread_pnl. Takers who know the outcome
break it, for then the maker's inventory leans against the outcome; limits on the sum of correlated markets
may break it too. There the controls are switched off (`controls_known`).

With the controls' sample means in hand, the mean of a result Y is estimated by mean(Y) - b . mean(controls),
b the coefficients of Y's regression on them: unbiased up to terms of order 1/n, with the regression's
residual variance in place of Y's (Lavenberg & Welch, "A perspective on the use of control variables to
increase the efficiency of Monte Carlo simulations", Management Science 27, 1981).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from mcmm.scenario import Scenario
    from mcmm.tables import Flow

__all__ = ["CONTROLS", "Controlled", "controls_known", "regress"]

FloatArray = npt.NDArray[np.float64]

CONTROLS = ("inventory_pnl", "settlement")
"""The controls: inventory_pnl, and settlement, which is pnl_settled - pnl_fair."""
_FEWEST_PATHS = 20
"""With fewer paths the coefficients are too uncertain to help."""
# A control whose variance is rounding noise next to the result's (settlement at a fair value of 0 or 1), or
# that follows from the other one, is left out.
_NOISE = 1e-18
_COLLINEAR = 1e-9


class Controlled(NamedTuple):
    """Means by regression on the controls; arrays of shape (points, results).

    Attributes
    ----------
    mean, standard_error : ndarray
        As the plain mean and its own where there are no controls.
    gain : ndarray
        The plain mean's variance over this one's; 1 where there are no controls.
    coefficients : ndarray of shape (points, results, 2)
        What of each control is subtracted; 0 where it is not used.
    """

    mean: FloatArray
    standard_error: FloatArray
    gain: FloatArray
    coefficients: FloatArray


def controls_known(scenario: Scenario) -> bool:
    """Tell whether the controls' means are exactly 0 in a scenario.

    Parameters
    ----------
    scenario : Scenario
        Any.

    Returns
    -------
    bool
        False where in any market takers know the outcome, or come from a tape, which may know what comes.
        False too where the markets of a portfolio with process `logit` are correlated and act on each other,
        through the portfolio's limits or a policy of the user's: what one market's price says of another's is
        not in that one's fair value then.
    """
    markets = scenario.by_market().values()
    if not all(_takers_learn_nothing_early(market.flow) for market in markets):
        return False
    portfolio = scenario.portfolio
    apart = (
        portfolio.exposure_limit == portfolio.drawdown_limit == math.inf
        # One function quotes all markets, and may remember in one what it saw in another.
        and all(market.quoting.policy != "custom" for market in markets)
    )
    if apart or len(markets) < 2 or portfolio.correlation == 0.0:
        return True
    # A threshold's or an arithmetic walk is a martingale whatever else is seen. A logit's outcome is drawn
    # first and drives it: who sees the common shock in another market tells the drift from the noise.
    return all(market.market.process != "logit" for market in markets)


def _takers_learn_nothing_early(flow: Flow) -> bool:
    """Tell whether takers know no more than the fair value of their own step."""
    if flow.model == "takers":
        return flow.informed_know != "outcome" or flow.informed_fraction == 0.0
    return flow.model != "replay"


def regress(
    counts: FloatArray,
    means: FloatArray,
    squares: FloatArray,
    control_means: FloatArray,
    control_squares: FloatArray,
    products: FloatArray,
    known: npt.NDArray[np.bool_],
) -> Controlled:
    """Estimate means by regression on two controls of mean 0.

    Parameters
    ----------
    counts : ndarray of shape (points,)
        Paths.
    means, squares : ndarray of shape (points, results)
        The results' means and sums of squared deviations.
    control_means : ndarray of shape (points, 2)
        The controls' means.
    control_squares : ndarray of shape (points, 3)
        Their sums of squared deviations, then that of the products of their deviations.
    products : ndarray of shape (points, results, 2)
        The sums of products of the results' deviations and the controls'.
    known : ndarray of bool, shape (points,)
        Where the controls' means are 0.

    Returns
    -------
    Controlled
        With its standard error after Lavenberg & Welch: s^2 (1/n + m' S^-1 m), s^2 the residuals' variance
        with n - 1 - controls degrees of freedom, m the controls' means and S their squares and products.
    """
    n = counts[:, np.newaxis]
    one, other, both = (control_squares[:, [place]] for place in range(3))
    mean_one, mean_other = (control_means[:, [place]] for place in range(2))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        plain = squares / (n - 1.0) / n
        usable = known[:, np.newaxis] & (n >= _FEWEST_PATHS)
        largest = np.maximum(squares.max(axis=1, keepdims=True, initial=0.0), 1e-300)
        use_one = usable & (one > _NOISE * largest)
        use_other = usable & (other > _NOISE * largest)
        # Of two that say the same, the second is left out.
        apart = one * other - both * both
        use_other &= ~use_one | (apart > _COLLINEAR * one * other)
        pair = use_one & use_other
        y_one, y_other = products[..., 0], products[..., 1]
        b_one = np.where(pair, (y_one * other - y_other * both) / apart, np.where(use_one, y_one / one, 0.0))
        b_other = np.where(
            pair, (y_other * one - y_one * both) / apart, np.where(use_other, y_other / other, 0.0)
        )
        mean = means - (b_one * mean_one + b_other * mean_other)
        used = use_one.astype(np.float64) + use_other
        left = np.maximum(squares - (b_one * y_one + b_other * y_other), 1e-15 * squares)
        leverage = np.where(
            pair,
            (mean_one * mean_one * other - 2.0 * mean_one * mean_other * both + mean_other * mean_other * one)
            / apart,
            np.where(
                use_one, mean_one * mean_one / one, np.where(use_other, mean_other * mean_other / other, 0.0)
            ),
        )
        variance = left / (n - 1.0 - used) * (1.0 / n + leverage)
        variance = np.where(used > 0.0, variance, plain)
        gain = np.where((used > 0.0) & (plain > 0.0), plain / variance, 1.0)
    shape = np.broadcast_shapes(means.shape, b_one.shape)
    coefficients = np.stack([np.broadcast_to(b_one, shape), np.broadcast_to(b_other, shape)], axis=-1)
    return Controlled(mean, np.sqrt(variance), gain, coefficients)
