"""Where a path begins and ends: its first state, and what it reports, as loops over the lanes of a block.

No rule of the market is written here: each loop reads the lanes, calls the inline rules, and writes rows of LANES
numbers, branch-free, so that it compiles to vector code. Settings are read into locals first, or the compiler must fear
that a store changes them.
"""
from libc.math cimport NAN
from libc.stdint cimport int32_t

from mcmm.kernel.fair cimport logit_drift
from mcmm.kernel.fills cimport inventory_pnl, spread_pnl
from mcmm.kernel.random cimport happens
from mcmm.kernel.risk cimport allowed_drawdown
from mcmm.kernel.special cimport chosen
from mcmm.kernel.state cimport (
    ALLOWED, DRAWDOWN, DRIFT, FLATTEN, GLOSTEN_MILGROM, HALTED_SPREAD, LANES, PAUSE, THRESHOLD, Block, Settings,
)

# As mcmm.metrics.NAMES, in this order.
cdef enum:
    FILLS, VOLUME_, NOTIONAL, FEES, PNL, PNL_FAIR, PNL_SETTLED, SPREAD_PNL, INVENTORY_PNL, MAX_DRAWDOWN
    MAX_DRAWDOWN_FAIR, AVERAGE_SPREAD, FINAL_INVENTORY, MAX_INVENTORY, MAX_EXPOSURE, QUOTED_FRACTION, TRIPS, HALT_STEP
    HALT_REASON, BREAKER_OVERSHOOT, DELAY_COST, UNWINDING_COST, REALISED_OVERSHOOT, OUTAGES
    INVENTORY_LIMIT_STEPS, EXPOSURE_LIMIT_STEPS
    INFORMED_VOLUME, INFORMED_PNL, FINAL_MID
    FINAL_PROBABILITY, OUTCOME_, ROWS


cdef inline void open_lanes(Block* b, const Settings* s) noexcept nogil:
    """What is not 0 at first; u_side holds the draws of the outcome."""
    cdef Py_ssize_t i
    cdef double first = s.initial_probability, mid = s.initial_mid, p = first if s.bounded else mid
    cdef double hidden = s.initial_walk if s.process == THRESHOLD else s.initial_logit
    cdef double belief = s.initial_belief if s.policy == GLOSTEN_MILGROM else 0.0
    cdef double ramp = s.ramp_steps, excitation = s.excitation_start, variance = s.variance
    cdef double allowed = allowed_drawdown(s.drawdown_limit)
    cdef int32_t arrives = s.arrival_bound
    for i in range(LANES):
        b.outcome[i] = 1.0 if happens(b.u_side[0][i], first) else 0.0
        b.probability[i] = p
        b.hidden[i] = hidden
        b.mid[i] = mid
        b.belief[i] = belief
        b.ramp[i] = ramp
        b.excitation[i] = excitation
        b.quoting[i] = 1.0
        b.halt_step[i] = -1.0
        b.overshoot[i] = NAN
        b.derived[DRIFT][i] = logit_drift(b.outcome[i], variance)
        b.derived[ALLOWED][i] = allowed
        b.derived[HALTED_SPREAD][i] = 0.0
        b.arrival_bound[i] = arrives


cdef inline void resolve(Block* b) noexcept nogil:
    """The outcome of a path that its process leaves open; u_side holds its draws."""
    cdef Py_ssize_t i
    for i in range(LANES):
        b.outcome[i] = 1.0 if happens(b.u_side[0][i], b.probability[i]) else 0.0


cdef inline void count_to_halt(Block* b, const Settings* s) noexcept nogil:
    """What a maker that nothing but a halt stops has quoted: up to it, the step in which it tripped included."""
    cdef Py_ssize_t i
    cdef double steps = s.steps
    for i in range(LANES):
        b.quoted[i] = chosen(b.halted[i] > 0.0, b.halt_step[i] + 1.0, steps)
        b.spread_sum[i] = chosen(b.halted[i] > 0.0, b.derived[HALTED_SPREAD][i], b.spread_sum[i])


cdef inline const double* kept(const Block* b, Py_ssize_t row) noexcept nogil:
    """The lanes of a metric that is kept as it is reported; NULL: it is told below."""
    if row == FILLS:
        return b.fills
    if row == VOLUME_:
        return b.volume
    if row == FEES:
        return b.fees
    if row == PNL:
        return b.pnl
    if row == PNL_FAIR:
        return b.pnl_fair
    if row == MAX_DRAWDOWN_FAIR:
        return b.max_drawdown_fair
    if row == FINAL_INVENTORY:
        return b.inventory
    if row == MAX_INVENTORY:
        return b.max_inventory
    if row == TRIPS:
        return b.trips
    if row == HALT_STEP:
        return b.halt_step
    if row == HALT_REASON:
        return b.halt_reason
    if row == BREAKER_OVERSHOOT:
        return b.overshoot
    if row == OUTAGES:
        return b.outages
    if row == INVENTORY_LIMIT_STEPS:
        return b.inventory_limit_steps
    if row == EXPOSURE_LIMIT_STEPS:
        return b.exposure_limit_steps
    if row == INFORMED_VOLUME:
        return b.informed_volume
    if row == INFORMED_PNL:
        return b.informed_pnl
    if row == FINAL_MID:
        return b.mid
    if row == FINAL_PROBABILITY:
        return b.probability
    return NULL


cdef inline void tell_books(const Block* b, const Settings* s, double* told) noexcept nogil:
    """What the fills came to."""
    cdef Py_ssize_t i
    cdef double unit = s.unit, cash, outcome, inventory, p
    cdef bint bounded = s.bounded, marks_fair = s.marks_fair
    for i in range(LANES):
        cash = b.cash[i]
        inventory = b.inventory[i]
        p = b.probability[i]
        outcome = b.outcome[i] if bounded else p
        told[NOTIONAL * LANES + i] = b.notional[i] * unit + b.unwind_notional[i]
        told[PNL_SETTLED * LANES + i] = ((cash * unit + b.unwind_cash[i]) + inventory * outcome) - b.fees[i]
        told[SPREAD_PNL * LANES + i] = spread_pnl(cash, unit, b.unwind_cash[i], b.at_fair[i])
        told[INVENTORY_PNL * LANES + i] = inventory_pnl(inventory, p, b.at_fair[i])
    for i in range(LANES):
        told[MAX_EXPOSURE * LANES + i] = b.max_exposure[i] if bounded else NAN
        told[OUTCOME_ * LANES + i] = b.outcome[i] if bounded else NAN
        told[MAX_DRAWDOWN * LANES + i] = b.max_drawdown_fair[i] if marks_fair else b.max_drawdown[i]


cdef inline void tell_quotes(const Block* b, const Settings* s, double* told) noexcept nogil:
    """How long and how wide the maker quoted."""
    cdef Py_ssize_t i
    cdef double unit = s.unit, steps = s.steps, quoted
    cdef bint may_stop = s.may_stop
    for i in range(LANES):
        quoted = b.quoted[i] if may_stop else steps
        told[AVERAGE_SPREAD * LANES + i] = b.spread_sum[i] * unit / quoted if quoted > 0.0 else NAN
        told[QUOTED_FRACTION * LANES + i] = quoted / steps


cdef inline void tell_trips(const Block* b, const Settings* s, double* told) noexcept nogil:
    """What the first trip cost. After it is pnl at risk.mark once what it did is over: its pause, its unwinding, or
    with a halt the path."""
    cdef Py_ssize_t i
    cdef double limit = s.drawdown_limit, after, aside
    cdef bint pauses = s.action == PAUSE, flattens = s.action == FLATTEN
    for i in range(LANES):
        after = b.resumed_mark[i] if pauses & ((b.trips[i] > 1.0) | (b.pause[i] == 0.0)) else b.marked[i]
        aside = b.trip_mark[i] - after if b.trips[i] > 0.0 else NAN
        told[DELAY_COST * LANES + i] = aside * 0.0 if flattens else aside
        told[UNWINDING_COST * LANES + i] = aside if flattens else aside * 0.0
        told[REALISED_OVERSHOOT * LANES + i] = (
            (b.trip_reference[i] - after) - limit if b.halt_reason[i] == <double>DRAWDOWN else NAN
        )
