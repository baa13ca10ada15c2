"""Control variates: what a path's luck is known to be on average, taken out of its result's mean.

What the maker's inventory earns as the fair value moves (inventory_pnl), and what settlement adds to the
fair value (pnl_settled - pnl_fair), are gains from holding a martingale. The inventory held over a step is
decided before the step's move, by anything but the outcome, so on average both are exactly 0, whatever the
maker, its limits and breakers do: a halted path holds what it holds, and that is worth its fair value; one
that flattens trades at its fair value, less a slippage that counts as spread_pnl. Takers who know the outcome
break it, for then the maker's inventory leans against the outcome; limits on the sum of correlated markets
may break it too. There the controls are switched off (`controls_known`).

Whatever is known before the outcome says nothing of what settlement will add. So the best coefficient of
that control is known: 1 for pnl_settled, of which it is a part, and 0 for the others. The other control's is
that of the regression on it: the mean of a result Y is estimated by mean(Y) - b . mean(controls), unbiased
up to terms of order 1/n, with the residual variance in place of Y's (Lavenberg & Welch, "A perspective on
the use of control variables to increase the efficiency of Monte Carlo simulations", Management Science 27,
1981).

A coefficient is fitted to the sample's deviations, and where a rare path makes most of them (an event with a
chance of 0.001) a sample without one misleads: its control's mean is many standard errors away from the 0
that it is known to have. Such a control is left out.
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
SETTLEMENT_IN = {"pnl_settled": 1.0}
"""The coefficient of the control settlement, which is 0 for other results."""
DOUBTFUL = 5.0
"""A control whose mean is more standard errors than this from its known 0 is left out."""
_FEWEST_PATHS = 20
"""With fewer paths the coefficients are too uncertain to help."""
# A control whose variance is rounding noise next to the results is left out: settlement at a fair value of 0.
_NOISE = 1e-18


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
    if not scenario.markets:
        return _takers_learn_nothing_early(scenario.flow)
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
    """Estimate means with the two controls, whose means are 0.

    Parameters
    ----------
    counts : ndarray of shape (points,)
        Paths.
    means, squares : ndarray of shape (points, results)
        The results' means and sums of squared deviations; the last result is pnl_settled.
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
        With its standard error after Lavenberg & Welch: s^2 (1/n + m^2 / S), s^2 the residuals' variance with
        n - 2 degrees of freedom, m and S the mean and sum of squared deviations of inventory_pnl.
    """
    n = counts[:, np.newaxis]
    inventory, settlement, both = (control_squares[:, [place]] for place in range(3))
    inventory_mean, settlement_mean = (control_means[:, [place]] for place in range(2))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        plain = squares / (n - 1.0) / n
        usable = known[:, np.newaxis] & (n >= _FEWEST_PATHS)
        largest = np.maximum(squares.max(axis=1, keepdims=True, initial=0.0), 1e-300)
        part = np.zeros(means.shape)
        part[:, -1:] = np.where(usable & (settlement > _NOISE * largest), SETTLEMENT_IN["pnl_settled"], 0.0)
        # The results without what settlement adds to them.
        least = 1e-15 * squares
        rest_mean = means - part * settlement_mean
        rest = np.maximum(squares - 2.0 * part * products[..., 1] + part * part * settlement, least)
        common = products[..., 0] - part * both
        doubtful = inventory_mean * inventory_mean * n * (n - 1.0) > DOUBTFUL**2 * inventory
        use = usable & (inventory > _NOISE * largest) & ~doubtful
        slope = np.where(use, common / inventory, 0.0)
        left = np.maximum(rest - slope * common, least)
        leverage = np.where(use, inventory_mean * inventory_mean / inventory, 0.0)
        variance = left / (n - 1.0 - use) * (1.0 / n + leverage)
        used = use | (part > 0.0)
        variance = np.where(used, variance, plain)
        gain = np.where(used & (plain > 0.0), plain / variance, 1.0)
    mean = rest_mean - slope * inventory_mean
    return Controlled(mean, np.sqrt(variance), gain, np.stack([slope, part], axis=-1))
