"""Connection and quote, phases 1 and 2 of a step, as loops over the lanes of a block.

No rule of the market is written here: each loop reads the lanes, calls the inline rules, and writes the lanes back,
branch-free, so that it compiles to vector code. Settings are read into locals first, or the compiler must fear that a
store to a lane changes them.
"""
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int32_t, uint64_t

from mcmm.kernel.quoting cimport (
    accumulating_size, accumulating_size_within, adaptive_half_spread, ask_on_grid, ask_unbounded, ask_within,
    bid_on_grid, bid_unbounded, bid_within, cost_of_one, exposure_room, given_trade, imbalance_of, inventory_risk,
    logit_sd, referred_mid, reservation_price, threshold_sd, widened,
)
from mcmm.kernel.recovery cimport outage_after, recovery_multiplier
from mcmm.kernel.risk cimport unwind_price
from mcmm.kernel.special cimport absolute, bits_of, chosen, maximum, minimum, unknown
from mcmm.kernel.state cimport LANES, Block, Settings


cdef inline void connect(Block* b, const Settings* s, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t i
    cdef int32_t bound = s.disconnect_bound
    cdef double length = s.outage_steps, before, after
    for i in range(LANES):
        before = b.down[i]
        after = outage_after(before, b.u_disconnect[k][i] <= bound, length)
        b.down[i] = after
        b.outages[i] += 1.0 if (before == 0.0) & (after > 0.0) else 0.0
        b.ramp[i] = 0.0 if (before > 0.0) & (after == 0.0) else b.ramp[i]


cdef inline void permit(Block* b, bint rests) noexcept nogil:
    """Who may quote. A quote may rest through an outage, not through a pause or a halt."""
    cdef Py_ssize_t i
    cdef double barred
    for i in range(LANES):
        barred = b.halted[i] + b.pause[i]
        b.quoting[i] = 1.0 if barred + b.down[i] == 0.0 else 0.0
        if rests:
            b.bid_size[i] = b.bid_size[i] if barred == 0.0 else 0.0
            b.ask_size[i] = b.ask_size[i] if barred == 0.0 else 0.0


cdef inline void cancel_disconnected(Block* b) noexcept nogil:
    """Where quotes may rest while the venue pauses, and a lost connection still cancels them."""
    cdef Py_ssize_t i
    for i in range(LANES):
        b.bid_size[i] = b.bid_size[i] if b.down[i] == 0.0 else 0.0
        b.ask_size[i] = b.ask_size[i] if b.down[i] == 0.0 else 0.0


cdef inline void hold_back(Block* b, bint cancels) noexcept nogil:
    """The venue pauses: nobody may quote."""
    cdef Py_ssize_t i
    for i in range(LANES):
        b.quoting[i] = 0.0
        if cancels:
            b.bid_size[i] = 0.0
            b.ask_size[i] = 0.0


cdef inline void resume(Block* b) noexcept nogil:
    """The venue is back: the recovery ramp begins anew, as it does after an outage."""
    cdef Py_ssize_t i
    for i in range(LANES):
        b.ramp[i] = 0.0


cdef inline void unwind(Block* b, const Settings* s) noexcept nogil:
    cdef Py_ssize_t i
    cdef double slippage = s.unwind_slippage
    cdef double floor = 0.0 if s.bounded else -INFINITY, ceiling = 1.0 if s.bounded else INFINITY
    cdef double contracts, price
    for i in range(LANES):
        contracts = b.inventory[i] * b.unwind[i]
        price = unwind_price(b.probability[i], contracts, slippage, floor, ceiling)
        b.unwind_cash[i] += contracts * price
        b.at_fair[i] += contracts * b.probability[i]
        b.volume[i] += absolute(contracts)
        b.unwind_notional[i] += absolute(contracts) * price
        b.inventory[i] -= contracts
        b.unwind[i] = 0.0


cdef inline void roll_window(Block* b, float* signed_row, float* total_row) noexcept nogil:
    """Forget the step that leaves the imbalance window; its row becomes this step's."""
    cdef Py_ssize_t i
    cdef double one = unknown(1.0)
    if total_row == NULL:
        for i in range(LANES):
            b.window_signed[i] -= signed_row[i]
            b.window_total[i] -= absolute(signed_row[i])
            b.imbalance[i] = imbalance_of(b.window_signed[i], b.window_total[i], one)
    else:
        for i in range(LANES):
            b.window_signed[i] -= signed_row[i]
            b.window_total[i] -= total_row[i]
            b.imbalance[i] = imbalance_of(b.window_signed[i], b.window_total[i], one)
            total_row[i] = 0.0
    for i in range(LANES):
        signed_row[i] = 0.0


cdef inline void refer(Block* b, const Settings* s, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t i
    cdef double weight = s.reference_weight, noise = s.reference_noise, low = s.low, high = s.high, moved
    for i in range(LANES):
        moved = referred_mid(b.mid[i], b.probability[i], b.reference_z[k][i], weight, noise, low, high)
        b.mid[i] = moved if b.quoting[i] != 0.0 else b.mid[i]


cdef inline void quote_adaptive(Block* b, const Settings* s) noexcept nogil:
    cdef Py_ssize_t i
    cdef double half_base = s.half_base, imbalance_factor = s.imbalance_factor, inventory_factor = s.inventory_factor
    cdef double per_limit = s.per_limit
    for i in range(LANES):
        b.half[i] = adaptive_half_spread(
            half_base, imbalance_factor, b.imbalance[i], inventory_factor, b.inventory[i] * per_limit
        )


cdef inline void add_logit_sd(Block* b, const Settings* s) noexcept nogil:
    cdef Py_ssize_t i
    cdef double factor = s.volatility_factor, volatility = s.volatility
    for i in range(LANES):
        b.half[i] += factor * logit_sd(volatility, b.mid[i])


cdef inline void add_threshold_sd(Block* b, const Settings* s, Py_ssize_t step) noexcept nogil:
    cdef Py_ssize_t i
    cdef double factor = s.volatility_factor, per_sd = 1.0 / sqrt(s.resolution_step - step)
    for i in range(LANES):
        b.half[i] += factor * threshold_sd(b.mid[i], per_sd)


cdef inline void quote_symmetric(Block* b, const Settings* s) noexcept nogil:
    cdef Py_ssize_t i
    cdef double half = s.half_base
    for i in range(LANES):
        b.half[i] = half


cdef inline void quote_avellaneda_stoikov(
    Block* b, const Settings* s, Py_ssize_t step, bint bounded
) noexcept nogil:
    cdef Py_ssize_t i
    cdef double gamma = s.risk_aversion, remaining = (s.steps - step) * s.dt, log_term = s.log_term
    cdef double flat = s.variance / s.dt, volatility = s.volatility, dt = s.dt, sd, risk
    for i in range(LANES):
        sd = logit_sd(volatility, b.mid[i])
        risk = inventory_risk(gamma, (sd * sd) / dt if bounded else flat, remaining)
        b.half[i] = (risk + log_term) * 0.5
        b.reservation[i] = reservation_price(b.mid[i], b.inventory[i], risk)


cdef inline void quote_plainly(Block* b) noexcept nogil:
    """For policies that name their prices outright, half holds what multiplies their distance from the mid."""
    cdef Py_ssize_t i
    for i in range(LANES):
        b.half[i] = 1.0


cdef inline void widen(Block* b, const Settings* s) noexcept nogil:
    """rho, and the count of quoted steps since coming back."""
    cdef Py_ssize_t i
    cdef double extra = s.ramp_extra, steps = s.ramp_steps
    for i in range(LANES):
        b.half[i] *= recovery_multiplier(b.ramp[i], extra, steps)
        b.ramp[i] += b.quoting[i]


cdef inline void place_on_grid(Block* b, const Settings* s, bint reserved, bint passive) noexcept nogil:
    """Around the mid or, if reserved, the reservation price; passive: wider where it would add to a large exposure."""
    cdef Py_ssize_t i
    cdef double ticks = s.ticks, soft = s.exposure_soft, wide = s.passive_multiplier, one = unknown(1.0)
    cdef double centre, bid_half, ask_half
    cdef bint full
    for i in range(LANES):
        centre = b.reservation[i] if reserved else b.mid[i]
        bid_half = ask_half = b.half[i]
        if passive:
            full = b.exposure[i] >= soft
            bid_half = bid_half * wide if full & (b.inventory[i] > 0.0) else bid_half
            ask_half = ask_half * wide if full & (b.inventory[i] < 0.0) else ask_half
        b.bid[i] = bid_on_grid(centre - bid_half, ticks, one)
        b.ask[i] = ask_on_grid(centre + ask_half, ticks, b.bid[i])


cdef inline void place_unbounded(Block* b, const Settings* s, bint reserved, bint grid) noexcept nogil:
    cdef Py_ssize_t i
    cdef double ticks = s.ticks, centre, low, high
    for i in range(LANES):
        centre = b.reservation[i] if reserved else b.mid[i]
        low = centre - b.half[i]
        high = centre + b.half[i]
        b.bid[i] = bid_unbounded(low, ticks) if grid else low
        b.ask[i] = ask_unbounded(high, ticks, b.bid[i]) if grid else high


cdef inline void price_glosten_milgrom(Block* b, const Settings* s) noexcept nogil:
    """What the contract is worth given that the next taker sells, and that it buys."""
    cdef Py_ssize_t i
    cdef double likely = 1.0 + s.informed_share, unlikely = 1.0 - s.informed_share
    for i in range(LANES):
        b.bid[i] = given_trade(b.mid[i], unlikely, likely)
        b.ask[i] = given_trade(b.mid[i], likely, unlikely)


cdef inline void price_lmsr(Block* b, const Settings* s) noexcept nogil:
    cdef Py_ssize_t i
    cdef double liquidity = s.liquidity, up = s.cost_up, down = s.cost_down
    for i in range(LANES):
        b.bid[i] = -cost_of_one(b.mid[i], liquidity, down)
    for i in range(LANES):
        b.ask[i] = cost_of_one(b.mid[i], liquidity, up)


cdef inline void place_within(Block* b, const Settings* s, bint marks_up, bint passive) noexcept nogil:
    """The prices of a policy that names them, widened and held inside (0, 1).

    marks_up: what that adds to them is remembered, for a fill to pay beyond the cost function.
    """
    cdef Py_ssize_t i
    cdef double soft = s.exposure_soft, wide = s.passive_multiplier, bid, ask, below, above
    cdef bint full
    for i in range(LANES):
        below = above = b.half[i]
        if passive:
            full = b.exposure[i] >= soft
            below = below * wide if full & (b.inventory[i] > 0.0) else below
            above = above * wide if full & (b.inventory[i] < 0.0) else above
        bid = bid_within(widened(b.bid[i], b.mid[i], below))
        ask = ask_within(widened(b.ask[i], b.mid[i], above), bid)
        if marks_up:
            b.bid_markup[i] = bid - b.bid[i] if b.quoting[i] != 0.0 else b.bid_markup[i]
            b.ask_markup[i] = ask - b.ask[i] if b.quoting[i] != 0.0 else b.ask_markup[i]
        b.bid[i] = bid
        b.ask[i] = ask


cdef inline void size_unlimited(Block* b, const Settings* s) noexcept nogil:
    cdef Py_ssize_t i
    cdef double quote_size = s.quote_size
    for i in range(LANES):
        b.bid_size[i] = quote_size
        b.ask_size[i] = quote_size


cdef inline void size_by_inventory(Block* b, const Settings* s) noexcept nogil:
    cdef Py_ssize_t i
    cdef double quote_size = s.quote_size, limit = s.inventory_limit, per_limit = s.per_limit, inventory, less
    for i in range(LANES):
        inventory = b.inventory[i]
        less = accumulating_size(quote_size, limit, per_limit, inventory)
        b.bid_size[i] = minimum(less if inventory > 0.0 else quote_size, limit - inventory)
        b.ask_size[i] = minimum(less if inventory < 0.0 else quote_size, limit + inventory)


cdef inline void cap_exposure(Block* b, const Settings* s) noexcept nogil:
    cdef Py_ssize_t i
    cdef double limit = s.exposure_limit, unit = s.unit, bid_room, ask_room
    for i in range(LANES):
        bid_room = exposure_room(limit, b.bid[i] * unit) - b.inventory[i]
        ask_room = exposure_room(limit, 1.0 - b.ask[i] * unit) + b.inventory[i]
        b.bid_size[i] = maximum(minimum(b.bid_size[i], bid_room), 0.0)
        b.ask_size[i] = maximum(minimum(b.ask_size[i], ask_room), 0.0)
        b.exposure_limit_steps[i] += b.quoting[i] if (bid_room <= 0.0) | (ask_room <= 0.0) else 0.0


cdef inline void reduce_only(Block* b) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(LANES):
        b.bid_size[i] = minimum(b.bid_size[i], maximum(-b.inventory[i], 0.0))
        b.ask_size[i] = minimum(b.ask_size[i], maximum(b.inventory[i], 0.0))


cdef inline void rest(Block* b) noexcept nogil:
    """Set aside what is left of the last quote, before a fresh one is made for every lane."""
    cdef Py_ssize_t i
    for i in range(LANES):
        b.resting_bid[i] = b.bid[i]
        b.resting_ask[i] = b.ask[i]
        b.resting_bid_size[i] = b.bid_size[i]
        b.resting_ask_size[i] = b.ask_size[i]


cdef inline void gate(Block* b, bint rests) noexcept nogil:
    """Who may not quote has no quote, or the one that rests, which permit has emptied where none may."""
    cdef Py_ssize_t i
    for i in range(LANES):
        if rests:
            b.bid[i] = chosen(b.quoting[i] != 0.0, b.bid[i], b.resting_bid[i])
            b.ask[i] = chosen(b.quoting[i] != 0.0, b.ask[i], b.resting_ask[i])
            b.bid_size[i] = chosen(b.quoting[i] != 0.0, b.bid_size[i], b.resting_bid_size[i])
            b.ask_size[i] = chosen(b.quoting[i] != 0.0, b.ask_size[i], b.resting_ask_size[i])
        else:
            b.bid_size[i] *= b.quoting[i]
            b.ask_size[i] *= b.quoting[i]


cdef inline void tally(Block* b, const Settings* s, bint gated) noexcept nogil:
    cdef Py_ssize_t i
    cdef double limit = s.inventory_limit, quoted
    for i in range(LANES):
        quoted = b.quoting[i] if gated else 1.0
        b.spread_sum[i] += (b.ask[i] - b.bid[i]) * quoted
        b.inventory_limit_steps[i] += quoted if absolute(b.inventory[i]) >= limit else 0.0
        if gated:
            b.quoted[i] += quoted


cdef inline bint quote_at_once(
    Block* b, const Settings* s, bint limited, bint gated, bint divided
) noexcept nogil:
    """An adaptive quote on the grid where nothing but the inventory limit and a halt acts on it, in one pass.

    The fill of the step before has rolled the window; divided: and left its imbalance (learn_at_once).
    A quote_size within the limit needs no other bound: what it leaves on the accumulating side is within the room.
    Returns whether some lane has reached the inventory limit, which count_limited is to count.
    """
    cdef Py_ssize_t i
    cdef double half_base = s.half_base, imbalance_factor = s.imbalance_factor, inventory_factor = s.inventory_factor
    cdef double ticks = s.ticks, quote_size = s.quote_size, per_limit = s.per_limit
    cdef double one = unknown(1.0), half, bid, ask, inventory, held, less, bid_size, ask_size, quoting
    cdef bint long_
    # Of positive numbers the bits are ordered as they are: the difference's sign tells which is larger.
    cdef uint64_t below = bits_of(s.inventory_limit - 0.5), reached = 0
    for i in range(LANES):
        inventory = b.inventory[i]
        held = absolute(inventory)
        half = adaptive_half_spread(
            half_base, imbalance_factor,
            b.imbalance[i] if divided else imbalance_of(b.window_signed[i], b.window_total[i], one),
            inventory_factor, held * per_limit
        )
        bid = bid_on_grid(b.mid[i] - half, ticks, one)
        ask = ask_on_grid(b.mid[i] + half, ticks, bid)
        bid_size = ask_size = quote_size
        if limited:
            # Without an inventory it is quote_size itself: one comparison does for both sides.
            less = accumulating_size_within(quote_size, per_limit, held)
            long_ = inventory > 0.0
            bid_size = less if long_ else quote_size
            ask_size = quote_size if long_ else less
            reached |= below - bits_of(held)
        b.bid[i] = bid
        b.ask[i] = ask
        if gated:
            quoting = b.quoting[i]
            b.bid_size[i] = bid_size * quoting
            b.ask_size[i] = ask_size * quoting
            b.spread_sum[i] += (ask - bid) * quoting
            b.quoted[i] += quoting
        else:
            b.bid_size[i] = bid_size
            b.ask_size[i] = ask_size
            b.spread_sum[i] += ask - bid
    return reached >> 63 != 0


cdef inline void count_limited(Block* b, const Settings* s) noexcept nogil:
    cdef Py_ssize_t i
    cdef double limit = s.inventory_limit
    for i in range(LANES):
        b.inventory_limit_steps[i] += b.quoting[i] if absolute(b.inventory[i]) >= limit else 0.0
