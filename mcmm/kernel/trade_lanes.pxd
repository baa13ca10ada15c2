"""Takers and fills, phases 3 and 4 of a step, as loops over the lanes of a block.

No rule of the market is written here: each loop reads the lanes, calls the inline rules, and writes the lanes back,
branch-free, so that it compiles to vector code. Settings are read into locals first, or the compiler must fear that a
store to a lane changes them.
"""

from mcmm.kernel.fills cimport maker_fee, spread_earned
from mcmm.kernel.quoting cimport cost_of, imbalance_of, marginal_price, mid_move, posterior_after
from mcmm.kernel.random cimport happens
from mcmm.kernel.special cimport absolute, clip, exponential_within, logistic, maximum, minimum
from mcmm.kernel.state cimport LANES, Block, Settings
from mcmm.kernel.takers cimport arrival_chance, excitation_after, hit_chance, informed_side, noise_side, reluctance


cdef inline void arrive(
    Block* b, const Settings* s, Py_ssize_t k, bint excites, bint herds, bint knows_outcome
) noexcept nogil:
    """Who comes, on which side, how much of the quote it takes."""
    cdef Py_ssize_t i
    cdef double base = s.arrival_base, bound = s.arrival_bound, decay = s.excitation_decay, rise = s.excitation_rise
    cdef double share = s.informed_bound, herding = s.herding_bound, buys = s.noise_buy_bound
    cdef double unit = s.unit, known, own, side
    cdef bint arrived, informed
    for i in range(LANES):
        if excites:
            arrived = happens(b.u_arrival[k][i], arrival_chance(base, b.excitation[i]))
            b.excitation[i] = excitation_after(b.excitation[i], decay, rise, arrived)
        else:
            arrived = b.u_arrival[k][i] < bound
        informed = b.u_informed[k][i] < share
        known = b.outcome[i] if knows_outcome else b.probability[i]
        own = noise_side(b.last_side[i] if herds else 0.0, b.u_herd[k][i], herding, b.u_side[k][i], buys)
        side = informed_side(known, b.bid[i] * unit, b.ask[i] * unit, b.bid_size[i], b.ask_size[i])
        side = side if informed else own
        side = side if arrived else 0.0
        if herds:
            b.last_side[i] = side if side != 0.0 else b.last_side[i]
        b.informed[i] = 1.0 if informed else 0.0
        b.taken[i] = side * minimum(b.size[k][i], b.ask_size[i] if side > 0.0 else b.bid_size[i])


cdef inline void deter(Block* b, const Settings* s, Py_ssize_t k) noexcept nogil:
    """Price sensitivity: the uninformed who find the quote too far from fair leave.

    The exponential has a loop of its own, as in move_logit: behind other work it takes twice as long.
    """
    cdef Py_ssize_t i
    cdef double sensitivity = s.price_sensitivity, unit = s.unit, cost
    cdef bint stays
    for i in range(LANES):
        cost = b.ask[i] * unit - b.probability[i] if b.taken[i] > 0.0 else b.probability[i] - b.bid[i] * unit
        b.work[i] = reluctance(sensitivity, cost)
    for i in range(LANES):
        b.work[i] = exponential_within(-b.work[i])
    for i in range(LANES):
        stays = happens(b.u_trade[k][i], b.work[i]) | (b.informed[i] != 0.0)
        b.taken[i] = b.taken[i] if stays else 0.0


cdef inline void hit(Block* b, const Settings* s, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t i
    cdef double per_step = s.intensity_per_step, decay = s.intensity_decay, unit = s.unit, below, above
    for i in range(LANES):
        below = hit_chance(per_step, decay, b.probability[i] - b.bid[i] * unit)
        above = hit_chance(per_step, decay, b.ask[i] * unit - b.probability[i])
        b.bought[i] = minimum(1.0, b.bid_size[i]) if happens(b.u_bid_hit[k][i], below) else 0.0
        b.sold[i] = minimum(1.0, b.ask_size[i]) if happens(b.u_ask_hit[k][i], above) else 0.0


cdef inline void follow_order(
    Block* b, const Settings* s, double side, double size, double limit
) noexcept nogil:
    """Replay: a limit order fills only at a quote at or better than its limit, the grace in it."""
    cdef Py_ssize_t i
    cdef double unit = s.unit, buys, sells
    for i in range(LANES):
        buys = minimum(size, b.ask_size[i]) if (side > 0.0) & (b.ask[i] * unit <= limit) else 0.0
        sells = minimum(size, b.bid_size[i]) if (side < 0.0) & (b.bid[i] * unit >= limit) else 0.0
        b.taken[i] = buys - sells


cdef inline void take_bought(Block* b) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(LANES):
        b.taken[i] = -b.bought[i]


cdef inline void take_sold(Block* b) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(LANES):
        b.taken[i] = b.sold[i]


cdef inline void fill(Block* b, const Settings* s, bint some_informed) noexcept nogil:
    """The books after a taker bought (taken > 0) or sold."""
    cdef Py_ssize_t i
    cdef double unit = s.unit, per_limit = s.per_limit, taken, price, contracts, earned
    for i in range(LANES):
        taken = b.taken[i]
        contracts = absolute(taken)
        price = b.ask[i] if taken > 0.0 else b.bid[i]
        earned = spread_earned(taken, price * unit, b.probability[i])
        b.cash[i] += taken * price
        b.notional[i] += contracts * price
        b.inventory[i] -= taken
        b.usage[i] = b.inventory[i] * per_limit
        b.fills[i] += 1.0 if contracts > 0.0 else 0.0
        b.volume[i] += contracts
        b.spread_pnl[i] += earned
        if some_informed:
            b.informed_volume[i] += contracts * b.informed[i]
            b.informed_pnl[i] += earned * b.informed[i]


cdef inline void fill_at_cost(Block* b, const Settings* s, bint some_informed) noexcept nogil:
    """The same for lmsr: a fill pays the cost function's difference, and what the quote was marked up by."""
    cdef Py_ssize_t i
    cdef double first = s.initial_mid, log_odds = s.initial_belief, liquidity = s.liquidity
    cdef double per_limit = s.per_limit, taken, contracts, payment, earned
    for i in range(LANES):
        b.belief[i] += b.taken[i]
        b.work[i] = cost_of(first, log_odds, b.belief[i], liquidity)
    for i in range(LANES):
        taken = b.taken[i]
        contracts = absolute(taken)
        payment = (b.work[i] - b.cost[i]) + taken * (b.ask_markup[i] if taken > 0.0 else b.bid_markup[i])
        payment = payment if contracts > 0.0 else 0.0
        earned = payment - taken * b.probability[i]
        b.cost[i] = b.work[i]
        b.paid[i] = payment / taken if contracts > 0.0 else 0.0
        b.cash[i] += payment
        b.notional[i] += absolute(payment)
        b.inventory[i] -= taken
        b.usage[i] = b.inventory[i] * per_limit
        b.fills[i] += 1.0 if contracts > 0.0 else 0.0
        b.volume[i] += contracts
        b.spread_pnl[i] += earned
        if some_informed:
            b.informed_volume[i] += contracts * b.informed[i]
            b.informed_pnl[i] += earned * b.informed[i]


cdef inline void learn(Block* b, const Settings* s) noexcept nogil:
    """glosten_milgrom: the posterior, and with it the mid, after a trade."""
    cdef Py_ssize_t i
    cdef double evidence = s.evidence
    for i in range(LANES):
        b.belief[i] = posterior_after(b.belief[i], b.taken[i], evidence)
        b.mid[i] = logistic(b.belief[i]) if b.taken[i] != 0.0 else b.mid[i]


cdef inline void reprice(Block* b, const Settings* s) noexcept nogil:
    """lmsr: the marginal price after a fill."""
    cdef Py_ssize_t i
    cdef double log_odds = s.initial_belief, liquidity = s.liquidity
    for i in range(LANES):
        b.mid[i] = marginal_price(log_odds, b.belief[i], liquidity) if b.taken[i] != 0.0 else b.mid[i]


cdef inline void use_up(Block* b) noexcept nogil:
    """What a fill leaves of a quote: it matters only to a quote that may rest."""
    cdef Py_ssize_t i
    for i in range(LANES):
        b.ask_size[i] -= maximum(b.taken[i], 0.0)
        b.bid_size[i] -= maximum(-b.taken[i], 0.0)


cdef inline void remember(Block* b, float* signed_row, float* total_row) noexcept nogil:
    """The imbalance window takes the volume."""
    cdef Py_ssize_t i
    for i in range(LANES):
        b.window_signed[i] += b.taken[i]
        b.window_total[i] += absolute(b.taken[i])
    for i in range(LANES):
        signed_row[i] += <float>b.taken[i]
    if total_row != NULL:
        for i in range(LANES):
            total_row[i] += <float>absolute(b.taken[i])


cdef inline void charge(Block* b, const Settings* s, bint at_cost) noexcept nogil:
    """at_cost: at the fill's average price, where its contracts have not all the same."""
    cdef Py_ssize_t i
    cdef double rate = s.maker_rate, rounding = s.fee_rounding, unit = s.unit, price
    for i in range(LANES):
        price = b.paid[i] if at_cost else (b.ask[i] if b.taken[i] > 0.0 else b.bid[i]) * unit
        b.fees[i] += maker_fee(rate, price, absolute(b.taken[i]), rounding)


cdef inline void shade(Block* b, const Settings* s, bint follows_imbalance) noexcept nogil:
    cdef Py_ssize_t i
    cdef double slope = s.fill_slope, by_imbalance = s.imbalance_shade, by_inventory = s.inventory_shade
    cdef double threshold = s.defensive_threshold, steep = s.defensive_slope, low = s.low, high = s.high
    cdef double imbalance, moved
    for i in range(LANES):
        imbalance = imbalance_of(b.window_signed[i], b.window_total[i]) if follows_imbalance else 0.0
        moved = mid_move(
            b.taken[i], imbalance, b.usage[i], slope, by_imbalance, by_inventory, threshold, steep
        )
        b.mid[i] = clip(b.mid[i] + moved, low, high) if b.taken[i] != 0.0 else b.mid[i]
