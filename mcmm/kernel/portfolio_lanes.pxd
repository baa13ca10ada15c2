"""What a step does to several markets together, as loops over the lanes of their blocks.

No rule of the market is written here: each loop reads the lanes, calls the inline rules, and writes the lanes back,
branch-free, so that it compiles to vector code. Settings are read into locals first, or the compiler must fear that a
store to a lane changes them.
"""
from libc.math cimport INFINITY
from libc.stdint cimport uint64_t

from mcmm.kernel.portfolio cimport addition_room, exposure_share, shared_shock
from mcmm.kernel.risk cimport drawdown_from, exposure_at, pnl_at
from mcmm.kernel.special cimport absolute, bits_of, chosen, maximum, minimum
from mcmm.kernel.state cimport FLATTEN, LANES, PAUSE, PORTFOLIO_DRAWDOWN, Block, Portfolio, Settings


cdef inline void correlate(Block* b, Portfolio* p) noexcept nogil:
    """A market's own normals of four steps become its shocks."""
    cdef Py_ssize_t i, k
    cdef double common_weight = p.settings.common_weight, own_weight = p.settings.own_weight
    for k in range(4):
        for i in range(LANES):
            b.z[k][i] = <float>shared_shock(common_weight, p.z[k][i], own_weight, b.z[k][i])


cdef inline void share_out(Portfolio* p) noexcept nogil:
    """What each market may add in this step, from the sums of the last mark."""
    cdef Py_ssize_t i
    cdef double limit = p.settings.exposure_limit, markets = p.settings.markets
    for i in range(LANES):
        p.allowance[i] = exposure_share(limit, p.exposure[i], markets)


cdef inline void begin_sums(Portfolio* p) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(LANES):
        p.marked[i] = 0.0
        p.fair[i] = 0.0
        p.exposure[i] = 0.0
        p.held[i] = 0.0
        p.active[i] = 0.0


cdef inline void attend(Portfolio* p, Block* b) noexcept nogil:
    """Before a market's step: the portfolio is checked while one of its markets is."""
    cdef Py_ssize_t i
    for i in range(LANES):
        p.active[i] = 1.0 if b.halted[i] + b.pause[i] == 0.0 else p.active[i]


cdef inline void cap_addition(Block* b, const Settings* s, Portfolio* p) noexcept nogil:
    """A market's share of the portfolio's exposure limit, at its own quote; what reduces is free."""
    cdef Py_ssize_t i
    cdef double unit = s.unit, bid_room, ask_room
    for i in range(LANES):
        bid_room = addition_room(p.allowance[i], b.bid[i] * unit, -b.inventory[i])
        ask_room = addition_room(p.allowance[i], 1.0 - b.ask[i] * unit, b.inventory[i])
        b.bid_size[i] = minimum(b.bid_size[i], bid_room)
        b.ask_size[i] = minimum(b.ask_size[i], ask_room)
        p.exposure_limit_steps[i] += b.quoting[i] if (bid_room <= 0.0) | (ask_room <= 0.0) else 0.0


cdef inline void add_up(Portfolio* p, Block* b, const Settings* s) noexcept nogil:
    """A market's marks, into the sums."""
    cdef Py_ssize_t i
    cdef double unit = s.unit, mark
    cdef bint fair = s.marks_fair
    for i in range(LANES):
        mark = chosen(fair, b.probability[i], b.mid[i])
        p.marked[i] += pnl_at(b.cash[i], unit, b.unwind_cash[i], b.inventory[i], mark, b.fees[i])
        p.fair[i] += pnl_at(b.cash[i], unit, b.unwind_cash[i], b.inventory[i], b.probability[i], b.fees[i])
        p.exposure[i] += exposure_at(b.inventory[i], mark)
        p.held[i] += absolute(b.inventory[i])


cdef inline void mark_sums(Portfolio* p) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(LANES):
        p.peak[i] = maximum(p.peak[i], p.marked[i])
        p.max_drawdown[i] = maximum(p.max_drawdown[i], p.peak[i] - p.marked[i])
        p.peak_fair[i] = maximum(p.peak_fair[i], p.fair[i])
        p.max_drawdown_fair[i] = maximum(p.max_drawdown_fair[i], p.peak_fair[i] - p.fair[i])
        p.max_exposure[i] = maximum(p.max_exposure[i], p.exposure[i])
        p.max_held[i] = maximum(p.max_held[i], p.held[i])


cdef inline bint check_sums(Portfolio* p, Py_ssize_t step) noexcept nogil:
    """Where the drawdown of the sum trips every market: leaves it in `tripped`, and returns whether any did.

    At a trip the peak, or the baseline, becomes the pnl of now.
    """
    cdef Py_ssize_t i
    cdef double follows = INFINITY if p.settings.from_peak else -INFINITY
    cdef double limit = p.settings.drawdown_limit, at = step, over, first
    cdef uint64_t any_trip = 0
    for i in range(LANES):
        p.reference[i] = maximum(p.reference[i], minimum(p.marked[i], follows))
        over = drawdown_from(p.reference[i], p.marked[i]) - limit
        p.tripped[i] = chosen(over >= 0.0, p.active[i], 0.0)
        first = chosen(p.trips[i] == 0.0, p.tripped[i], 0.0)
        p.halt_step[i] = chosen(first > 0.0, at, p.halt_step[i])
        p.overshoot[i] = chosen(first > 0.0, over, p.overshoot[i])
        p.trips[i] += p.tripped[i]
        p.reference[i] = chosen(p.tripped[i] > 0.0, p.marked[i], p.reference[i])
    for i in range(LANES):
        any_trip |= bits_of(p.tripped[i])
    return any_trip != 0


cdef inline void trip_with_portfolio(Block* b, const Settings* s, Portfolio* p, Py_ssize_t step) noexcept nogil:
    """A market's own action, from the next step on, unless it is halted or has just tripped for its own reason."""
    cdef Py_ssize_t i
    cdef double halts = 0.0 if s.action == PAUSE else 1.0, flattens = 1.0 if s.action == FLATTEN else 0.0
    cdef double pauses = s.pause_steps if s.action == PAUSE else 0.0
    cdef double at = step, reason = <double>PORTFOLIO_DRAWDOWN, tripped, first
    for i in range(LANES):
        tripped = chosen(b.halted[i] + b.tripped[i] == 0.0, p.tripped[i], 0.0)
        first = chosen(b.trips[i] == 0.0, tripped, 0.0)
        b.halt_step[i] = chosen(first > 0.0, at, b.halt_step[i])
        b.halt_reason[i] = chosen(first > 0.0, reason, b.halt_reason[i])
        b.trip_mark[i] = chosen(first > 0.0, b.marked[i], b.trip_mark[i])
        # A pause begun anew ends what the first trip did.
        b.resumed_mark[i] = chosen(
            (tripped > 0.0) & (b.trips[i] == 1.0) & (b.pause[i] > 0.0), b.marked[i], b.resumed_mark[i]
        )
        b.trips[i] += tripped
        b.halted[i] = maximum(b.halted[i], tripped * halts)
        b.unwind[i] = maximum(b.unwind[i], tripped * flattens)
        b.pause[i] = chosen(tripped > 0.0, pauses, b.pause[i])
        b.reference[i] = chosen(tripped * pauses > 0.0, b.marked[i], b.reference[i])
        b.tripped[i] = tripped
