"""A policy of one's own, phase 2 of a step: what the maker knows goes out as rows of doubles, a quote comes back.

The rows are a contract with the user's code (docs/policies.md): their order and meaning do not follow the Block's. No
rule of the market is written here; what the callback wrote is held to the grid and to the limits by the loops that
hold every policy to them.
"""
from libc.math cimport NAN

from mcmm.kernel.quoting cimport (
    accumulating_size_within, ask_on_grid, bid_on_grid, imbalance_of, size_at,
)
from mcmm.kernel.risk cimport exposure_at, pnl_at
from mcmm.kernel.special cimport absolute, unknown
from mcmm.kernel.state cimport (
    LANES, STATE_ROWS, V_ASK, V_ASK_MULTIPLIER, V_ASK_SIZE, V_BID, V_BID_MULTIPLIER, V_BID_SIZE, V_EXPOSURE,
    V_IMBALANCE, V_INVENTORY, V_MID, V_MULTIPLIER, V_PNL, V_QUOTING, V_STATE, V_USAGE, Block, Rows, Settings,
)


cdef inline void open_state(double* rows) noexcept nogil:
    """A path's own memory of the policy begins at 0."""
    cdef Py_ssize_t i
    for i in range(STATE_ROWS * LANES):
        rows[V_STATE * LANES + i] = 0.0


cdef inline void show_books(Block* b, const Settings* s, double* rows) noexcept nogil:
    cdef Py_ssize_t i
    cdef double unit = s.unit, per_limit = s.per_limit
    for i in range(LANES):
        rows[V_MID * LANES + i] = b.mid[i]
        rows[V_INVENTORY * LANES + i] = b.inventory[i]
        rows[V_USAGE * LANES + i] = b.inventory[i] * per_limit
        rows[V_IMBALANCE * LANES + i] = b.imbalance[i]
    for i in range(LANES):
        rows[V_PNL * LANES + i] = pnl_at(b.cash[i], unit, b.unwind_cash[i], b.inventory[i], b.mid[i], b.fees[i])
        rows[V_QUOTING * LANES + i] = b.quoting[i]
    if s.marks_fair:
        # At the fair value it would show the fair value, which the maker does not know.
        for i in range(LANES):
            rows[V_EXPOSURE * LANES + i] = exposure_at(b.inventory[i], b.mid[i])
    else:
        for i in range(LANES):
            rows[V_EXPOSURE * LANES + i] = b.exposure[i]


cdef inline void show_multipliers(Block* b, const Settings* s, double* rows) noexcept nogil:
    """rho (half holds it, as for every policy that names its prices), and what widens the accumulating side."""
    cdef Py_ssize_t i
    cdef double soft = s.exposure_soft, wide = s.passive_multiplier
    cdef bint full
    for i in range(LANES):
        full = b.exposure[i] >= soft
        rows[V_MULTIPLIER * LANES + i] = b.half[i]
        rows[V_BID_MULTIPLIER * LANES + i] = wide if full & (b.inventory[i] > 0.0) else 1.0
        rows[V_ASK_MULTIPLIER * LANES + i] = wide if full & (b.inventory[i] < 0.0) else 1.0


cdef inline void show_sizes(Block* b, double* rows) noexcept nogil:
    """The sizes that adaptive would quote; prices are for the policy to write, and NaN is none."""
    cdef Py_ssize_t i
    for i in range(LANES):
        rows[V_BID * LANES + i] = NAN
        rows[V_ASK * LANES + i] = NAN
        rows[V_BID_SIZE * LANES + i] = b.bid_size[i]
        rows[V_ASK_SIZE * LANES + i] = b.ask_size[i]


cdef inline void place_custom(Block* b, const Settings* s, const double* rows) noexcept nogil:
    """A side without a price has no size; whatever was written ends on the grid, uncrossed, within the limit."""
    cdef Py_ssize_t i
    cdef double ticks = s.ticks, limit = s.inventory_limit, bid, ask
    for i in range(LANES):
        bid = rows[V_BID * LANES + i]
        ask = rows[V_ASK * LANES + i]
        b.bid[i] = bid_on_grid(bid if bid == bid else 0.0, ticks, 1.0)
        b.ask[i] = ask_on_grid(ask if ask == ask else 1.0, ticks, b.bid[i])
    for i in range(LANES):
        bid = rows[V_BID * LANES + i]
        ask = rows[V_ASK * LANES + i]
        b.bid_size[i] = size_at(bid, rows[V_BID_SIZE * LANES + i], limit - b.inventory[i])
        b.ask_size[i] = size_at(ask, rows[V_ASK_SIZE * LANES + i], limit + b.inventory[i])


cdef inline void show_at_once(Block* b, const Settings* s, Rows* rows, bint limited) noexcept nogil:
    """All rows in one pass, where nothing but the inventory limit acts on a quote (quote_at_once) and learn_at_once
    has rolled the window."""
    cdef Py_ssize_t i
    cdef double unit = s.unit, per_limit = s.per_limit, quote_size = s.quote_size, one = unknown(1.0)
    cdef double mid, inventory, less
    cdef bint fair = s.marks_fair
    for i in range(LANES):
        mid = b.mid[i]
        inventory = b.inventory[i]
        rows.mid[i] = mid
        rows.inventory[i] = inventory
        rows.usage[i] = inventory * per_limit
        rows.imbalance[i] = imbalance_of(b.window_signed[i], b.window_total[i], one)
        rows.exposure[i] = exposure_at(inventory, mid) if fair else b.exposure[i]
        rows.pnl[i] = pnl_at(b.cash[i], unit, b.unwind_cash[i], inventory, mid, b.fees[i])
        rows.quoting[i] = b.quoting[i]
        if limited:
            less = accumulating_size_within(quote_size, per_limit, absolute(inventory))
            rows.bid_size[i] = less if inventory > 0.0 else quote_size
            rows.ask_size[i] = less if inventory < 0.0 else quote_size
        else:
            rows.bid_size[i] = quote_size
            rows.ask_size[i] = quote_size
    for i in range(LANES):
        rows.multiplier[i] = 1.0
        rows.bid_multiplier[i] = 1.0
        rows.ask_multiplier[i] = 1.0
        rows.bid[i] = NAN
        rows.ask[i] = NAN


cdef inline void place_at_once(Block* b, const Settings* s, const Rows* rows, bint gated) noexcept nogil:
    """place_custom, gate and tally in one pass."""
    cdef Py_ssize_t i
    cdef double ticks = s.ticks, limit = s.inventory_limit, one = unknown(1.0)
    cdef double bid, ask, low, high, inventory, bid_size, ask_size, quoting
    for i in range(LANES):
        bid = rows.bid[i]
        ask = rows.ask[i]
        low = bid_on_grid(bid if bid == bid else 0.0, ticks, one)
        high = ask_on_grid(ask if ask == ask else 1.0, ticks, low)
        inventory = b.inventory[i]
        bid_size = size_at(bid, rows.bid_size[i], limit - inventory)
        ask_size = size_at(ask, rows.ask_size[i], limit + inventory)
        quoting = b.quoting[i] if gated else 1.0
        b.bid[i] = low
        b.ask[i] = high
        b.bid_size[i] = bid_size * quoting if gated else bid_size
        b.ask_size[i] = ask_size * quoting if gated else ask_size
        b.spread_sum[i] += (high - low) * quoting
        b.inventory_limit_steps[i] += quoting if absolute(inventory) >= limit else 0.0
        if gated:
            b.quoted[i] += quoting
