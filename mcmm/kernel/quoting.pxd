"""Quotes: model.md section 4. Prices in units of the grid where a name ends in _on_grid, else in dollars."""
from mcmm.kernel.single cimport density_at_quantile
from mcmm.kernel.special cimport (
    absolute, ceil_whole, clip, exponential_less_one, floor_whole, logarithm_of_one_plus, logistic, maximum, minimum,
    nearest, sign, softplus, with_sign_of,
)


cdef inline double imbalance_of(double window_signed, double window_total, double one) noexcept nogil:
    """I: signed taker volume over taker volume in the window, 0 where there was none; one = 1."""
    return window_signed / maximum(window_total, one)


cdef inline double referred_mid(
    double mid, double p, double n, double weight, double noise, double low, double high
) noexcept nogil:
    return clip(mid + weight * ((p + noise * n) - mid), low, high)


cdef inline double logit_sd(double volatility, double mid) noexcept nogil:
    return volatility * (mid * (1.0 - mid))


cdef inline double threshold_sd(double mid, double per_sd) noexcept nogil:
    """phi(Phi^-1(mid)) / sqrt(R - t)."""
    return density_at_quantile(mid) * per_sd


cdef inline double adaptive_half_spread(
    double half_base, double imbalance_factor, double imbalance, double inventory_factor, double usage
) noexcept nogil:
    return half_base * ((1.0 + imbalance_factor * absolute(imbalance)) + inventory_factor * absolute(usage))


cdef inline double inventory_risk(double risk_aversion, double variance, double remaining) noexcept nogil:
    """gamma sigma^2 (T - t), dollars per contract of inventory (Avellaneda and Stoikov 2008)."""
    return (risk_aversion * variance) * remaining


cdef inline double reservation_price(double s, double inventory, double risk) noexcept nogil:
    return s - inventory * risk


cdef inline double given_trade(double p, double with_it, double against_it) noexcept nogil:
    """P(O = 1) after a trade that is `with_it` as likely where O = 1 and `against_it` where O = 0 (Bayes)."""
    cdef double joint = p * with_it
    return joint / (joint + (1.0 - p) * against_it)


cdef inline double posterior_after(double log_odds, double taker_volume, double evidence) noexcept nogil:
    """Bayes' rule on a trade, in log-odds held to +-20; evidence = ln((1 + a) / (1 - a)) (Glosten and Milgrom 1985)."""
    return clip(log_odds + evidence * sign(taker_volume), -20.0, 20.0)


cdef inline double marginal_price(double log_odds, double sold, double liquidity) noexcept nogil:
    """1 / (1 + exp(-y / b)), y / b = log_odds at first + sold / b, held to +-36 (Hanson 2003)."""
    return logistic(clip(log_odds + sold / liquidity, -36.0, 36.0))


cdef inline double cost_of(double mid, double log_odds, double sold, double liquidity) noexcept nogil:
    """b ln(1 + exp(y / b)) less what it was at first: what all takers together have paid for `sold` contracts, net.

    mid and log_odds are those at first. Far from them it is a difference of two; near, what is left of it.
    """
    cdef double by = sold / liquidity
    cdef double near = logarithm_of_one_plus(mid * exponential_less_one(by))
    cdef double far = softplus(log_odds + by) - softplus(log_odds)
    return liquidity * (near if absolute(by) < 1.0 else far)


cdef inline double cost_of_one(double mid, double liquidity, double growth) noexcept nogil:
    """The cost function's difference for the next contract; growth = exp(+-1 / b) - 1: sold (+) or bought (-)."""
    return liquidity * logarithm_of_one_plus(mid * growth)


cdef inline double widened(double price, double mid, double multiplier) noexcept nogil:
    """A price moved away from the mid, its distance times the multiplier; by 1 not in a single bit."""
    return price + (multiplier - 1.0) * (price - mid)


cdef inline double bid_within(double price) noexcept nogil:
    """Held to [2^-50, 1 - 2^-49]: inside (0, 1), with room for an ask."""
    return clip(price, 8.881784197001252e-16, 0.9999999999999982)


cdef inline double ask_within(double price, double bid) noexcept nogil:
    """At most 1 - 2^-50, and at least 2^-50 above the bid."""
    return maximum(minimum(price, 0.9999999999999991), bid + 8.881784197001252e-16)


cdef inline double bid_on_grid(double price, double ticks, double one) noexcept nogil:
    """The tick at or below a price, within [1 tick, 1 - 2 ticks]; a price on the grid stays there; one = 1."""
    return floor_whole(clip(price * ticks + 1e-9, one, ticks - 2.0))


cdef inline double ask_on_grid(double price, double ticks, double bid) noexcept nogil:
    """The tick at or above a price, within [bid + 1 tick, 1 - 1 tick]."""
    # The bid is 1 tick at least: no need of a lower bound before it.
    return maximum(ceil_whole(minimum(price * ticks - 1e-9, ticks - 1.0)), bid + 1.0)


cdef inline double bid_unbounded(double price, double ticks) noexcept nogil:
    return floor_whole(clip(price * ticks + 1e-9, -1125899906842624.0, 1125899906842624.0))


cdef inline double ask_unbounded(double price, double ticks, double bid) noexcept nogil:
    return maximum(ceil_whole(clip(price * ticks - 1e-9, -1125899906842624.0, 1125899906842624.0)), bid + 1.0)


cdef inline double accumulating_size(
    double quote_size, double inventory_limit, double per_limit, double inventory
) noexcept nogil:
    """ceil(quote_size * (limit - |inventory|) / limit), exact.

    A division would cost more than the rest of the quote: the whole number nearest to the product with 1 / limit is off
    by less than 1, and the remainder, exact because quote_size * limit < 2^53, says in which direction.
    """
    cdef double product = quote_size * (inventory_limit - absolute(inventory))
    cdef double near = nearest(product * per_limit)
    return near + (1.0 if product > near * inventory_limit else 0.0)


cdef inline double accumulating_size_within(double quote_size, double per_limit, double inventory) noexcept nogil:
    """The same where quote_size * limit < 2^49: ceil((quote_size * (limit - |inventory|) - 1/2) / limit).

    The half keeps it away from whole numbers by more than all roundings together.
    """
    return ceil_whole((quote_size - 0.5 * per_limit) - absolute(inventory) * (quote_size * per_limit))


cdef inline double whole_size(double size) noexcept nogil:
    """What a policy of one's own asked for, as whole contracts: rounded down, none for less than one or NaN."""
    # Not by maximum, of which a NaN would come out.
    return floor_whole(minimum(size if size > 0.0 else 0.0, 1073741824.0))


cdef inline double size_at(double price, double size, double room) noexcept nogil:
    """What is quoted of such a size: within the room, and nothing without a price (NaN)."""
    cdef double within = minimum(whole_size(size), room)
    return within if price == price else 0.0


cdef inline double exposure_room(double exposure_limit, double risked) noexcept nogil:
    """Contracts that a limit in dollars allows at `risked` dollars each."""
    return floor_whole(minimum(exposure_limit / risked + 1e-9, 1125899906842624.0))


cdef inline double defence(
    double usage, double defensive_threshold, double defensive_slope, double zero
) noexcept nogil:
    """defensive_shade * sign(u) * max(0, |u| - h) / (1 - h); defensive_slope = defensive_shade / (1 - h); zero = 0."""
    cdef double over = maximum(absolute(usage) - defensive_threshold, zero)
    # Where usage is 0 nothing is over: no need of its sign.
    return with_sign_of(defensive_slope * over, usage)


cdef inline double mid_move(double following, double leaning, double defending) noexcept nogil:
    """What a fill does to the mid: it follows the taker and the imbalance, leans against the inventory, defends."""
    return (following - leaning) - defending
