"""Fair value, marks and checks, phases 5 and 6 of a step, as loops over the lanes of a block.

No rule of the market is written here: each loop reads the lanes, calls the inline rules, and writes the lanes back,
branch-free, so that it compiles to vector code. Settings are read into locals first, or the compiler must fear that a
store to a lane changes them.
"""
from libc.math cimport INFINITY, NAN, sqrt
from libc.stdint cimport int32_t, uint64_t

from mcmm.kernel.fair cimport logit_drift, logit_move, news_logit, threshold_probability, toward
from mcmm.kernel.random cimport happens
from mcmm.kernel.risk cimport drawdown_from, exposure_at, highest_exposure, pnl_at
from mcmm.kernel.single cimport single_logistic
from mcmm.kernel.special cimport absolute, bits_of, chosen, maximum, minimum, unknown
from mcmm.kernel.state cimport (
    ALLOWED, DRAWDOWN, DRIFT, FLATTEN, HALTED_SPREAD, LANES, LOSS, PAUSE, VOLUME, Block, Settings, Windows,
)


cdef inline void move_logit(Block* b, const Settings* s, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t i
    cdef double variance = s.variance, volatility = s.volatility, bound = unknown(36.0)
    # Long chains of operations in loops of their own: more lanes of each are then under way at once.
    for i in range(LANES):
        b.hidden[i] = logit_move(b.hidden[i], logit_drift(b.outcome[i], variance), volatility, b.z[k][i], bound)
        b.work_single[i] = <float>b.hidden[i]
    for i in range(LANES):
        b.probability[i] = single_logistic(b.work_single[i])


cdef inline void walk_at_once(Block* b, const Settings* s) noexcept nogil:
    """The walk of four steps, whose fair values take the place of its draws: more lanes are under way at once."""
    cdef Py_ssize_t i
    cdef double volatility = s.volatility, bound = unknown(36.0), x, drift
    cdef float* z = &b.z[0][0]
    for i in range(LANES):
        drift = b.derived[DRIFT][i]
        x = logit_move(b.hidden[i], drift, volatility, b.z[0][i], bound)
        b.z[0][i] = <float>x
        x = logit_move(x, drift, volatility, b.z[1][i], bound)
        b.z[1][i] = <float>x
        x = logit_move(x, drift, volatility, b.z[2][i], bound)
        b.z[2][i] = <float>x
        x = logit_move(x, drift, volatility, b.z[3][i], bound)
        b.z[3][i] = <float>x
        b.hidden[i] = x
    for i in range(4 * LANES):
        z[i] = single_logistic(z[i])


cdef inline void move_at_once(Block* b, Py_ssize_t k) noexcept nogil:
    """To the fair value that walk_at_once left for this step."""
    cdef Py_ssize_t i
    for i in range(LANES):
        b.probability[i] = b.z[k][i]


cdef inline void jump(Block* b, const Settings* s, Py_ssize_t k) noexcept nogil:
    """News, on top of the walk."""
    cdef Py_ssize_t i
    cdef double kappa = s.news_strength, excites = s.news_excitation, p, end, target, moved
    cdef int32_t bound = s.news_bound
    cdef bint jumps
    for i in range(LANES):
        p = b.probability[i]
        jumps = b.u_news[k][i] <= bound
        end = 1.0 if happens(b.u_direction[k][i], toward(p, kappa, b.outcome[i])) else 0.0
        target = toward(p, kappa, end)
        moved = news_logit(p, kappa, end)
        b.hidden[i] = moved if jumps else b.hidden[i]
        b.probability[i] = target if jumps else p
        b.excitation[i] += excites if jumps else 0.0


cdef inline void move_threshold(Block* b, const Settings* s, Py_ssize_t step, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t i
    cdef double per_sd = 1.0 / sqrt(s.resolution_step - (step + 1))
    for i in range(LANES):
        b.hidden[i] += b.z[k][i]
        b.probability[i] = threshold_probability(b.hidden[i], per_sd)


cdef inline void resolve_threshold(Block* b, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(LANES):
        b.hidden[i] += b.z[k][i]
        b.probability[i] = 1.0 if b.hidden[i] > 0.0 else 0.0


cdef inline void move_arithmetic(Block* b, const Settings* s, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t i
    cdef double volatility = s.volatility, p
    for i in range(LANES):
        p = b.probability[i] + volatility * b.z[k][i]
        b.probability[i] = p
        b.mid[i] = p


cdef inline void move_to(Block* b, const Settings* s, double p) noexcept nogil:
    cdef Py_ssize_t i
    cdef bint follows = not s.bounded
    for i in range(LANES):
        b.probability[i] = p
        b.mid[i] = p if follows else b.mid[i]


cdef inline void mark(Block* b, const Settings* s, bint fair, bint watched, bint plain) noexcept nogil:
    """Peaks, drawdowns and largest exposure.

    watched: a breaker or a limit looks at the mark itself; plain: there are no fees, and nothing is ever unwound.
    """
    cdef Py_ssize_t i
    cdef double unit = s.unit, cash, inventory, pnl, pnl_fair, exposure
    for i in range(LANES):
        inventory = b.inventory[i]
        if plain:
            cash = b.cash[i] * unit
            pnl_fair = cash + inventory * b.probability[i]
        else:
            cash = b.cash[i] * unit + b.unwind_cash[i]
            pnl_fair = (cash + inventory * b.probability[i]) - b.fees[i]
        b.peak_fair[i] = maximum(b.peak_fair[i], pnl_fair)
        b.max_drawdown_fair[i] = maximum(b.max_drawdown_fair[i], b.peak_fair[i] - pnl_fair)
        pnl = pnl_fair
        if not fair:
            pnl = cash + inventory * b.mid[i] if plain else (cash + inventory * b.mid[i]) - b.fees[i]
            b.peak[i] = maximum(b.peak[i], pnl)
            b.max_drawdown[i] = maximum(b.max_drawdown[i], b.peak[i] - pnl)
        if watched:
            exposure = exposure_at(inventory, b.probability[i] if fair else b.mid[i])
            b.exposure[i] = exposure
            b.max_exposure[i] = maximum(b.max_exposure[i], exposure)
        else:
            b.max_exposure[i] = highest_exposure(
                b.max_exposure[i], inventory, b.probability[i] if fair else b.mid[i]
            )
        b.max_inventory[i] = maximum(b.max_inventory[i], absolute(inventory))
        if watched:
            b.marked[i] = pnl


cdef inline bint mark_and_halt(Block* b, const Settings* s) noexcept nogil:
    """mark at the mid with a drawdown breaker from the peak that ends the quoting: whether it trips anywhere.

    Where it does, `check` is to say so lane by lane: what it measures from is the peak.
    """
    cdef Py_ssize_t i
    cdef double unit = s.unit, cash, inventory, pnl, pnl_fair, drawdown
    cdef uint64_t any_trip = 0
    for i in range(LANES):
        inventory = b.inventory[i]
        cash = b.cash[i] * unit
        pnl_fair = cash + inventory * b.probability[i]
        pnl = cash + inventory * b.mid[i]
        b.peak_fair[i] = maximum(b.peak_fair[i], pnl_fair)
        b.max_drawdown_fair[i] = maximum(b.max_drawdown_fair[i], b.peak_fair[i] - pnl_fair)
        b.peak[i] = maximum(b.peak[i], pnl)
        drawdown = b.peak[i] - pnl
        b.max_drawdown[i] = maximum(b.max_drawdown[i], drawdown)
        b.max_exposure[i] = highest_exposure(b.max_exposure[i], inventory, b.mid[i])
        b.max_inventory[i] = maximum(b.max_inventory[i], absolute(inventory))
        b.marked[i] = pnl
        # The sign of a difference, where comparisons and what they choose would be four operations.
        any_trip |= bits_of(b.derived[ALLOWED][i] - drawdown)
    return any_trip >> 63 != 0


cdef inline void refer_to_peak(Block* b) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(LANES):
        b.reference[i] = b.peak[i]


cdef inline void book(Block* b, const Settings* s) noexcept nogil:
    """Both pnls, for the end of a path or a trace."""
    cdef Py_ssize_t i
    cdef double unit = s.unit
    for i in range(LANES):
        b.pnl[i] = pnl_at(b.cash[i], unit, b.unwind_cash[i], b.inventory[i], b.mid[i], b.fees[i])
        b.pnl_fair[i] = pnl_at(b.cash[i], unit, b.unwind_cash[i], b.inventory[i], b.probability[i], b.fees[i])


cdef inline void roll_loss(Block* b, double* ring, Py_ssize_t length, Py_ssize_t mark_index) noexcept nogil:
    """Sliding maximum of the last `length` marks (van Herk 1992): the ring holds this stretch's marks up to here, and
    behind them the last stretch's, each replaced by the highest from there to its stretch's end."""
    cdef Py_ssize_t i, j = mark_index % length, row
    cdef double older
    if j == 0:
        for row in range(length - 2, -1, -1):
            for i in range(LANES):
                ring[row * LANES + i] = maximum(ring[row * LANES + i], ring[(row + 1) * LANES + i])
        for i in range(LANES):
            b.loss_high[i] = -INFINITY
    for i in range(LANES):
        b.loss_high[i] = maximum(b.loss_high[i], b.marked[i])
        ring[j * LANES + i] = b.marked[i]
    if j + 1 < length:
        for i in range(LANES):
            older = ring[(j + 1) * LANES + i]
            b.loss_top[i] = maximum(b.loss_high[i], older)
    else:
        for i in range(LANES):
            b.loss_top[i] = b.loss_high[i]


cdef inline void roll_volume(Block* b, float* row, bint both_sides) noexcept nogil:
    cdef Py_ssize_t i
    cdef double filled
    for i in range(LANES):
        filled = b.sold[i] + b.bought[i] if both_sides else absolute(b.taken[i])
        b.volume_sum[i] += filled - row[i]
        row[i] = <float>filled


cdef inline bint check(Block* b, const Settings* s, bint drawdown_only) noexcept nogil:
    """Whose marks trip a breaker: leaves it in `tripped`, and returns whether any did."""
    cdef Py_ssize_t i
    cdef double follows = INFINITY if s.from_peak else -INFINITY
    cdef double drawdown_limit = s.drawdown_limit, loss_limit = s.loss_limit, volume_limit = s.volume_limit
    cdef double over
    cdef uint64_t any_trip = 0
    for i in range(LANES):
        b.reference[i] = maximum(b.reference[i], minimum(b.marked[i], follows))
        over = drawdown_from(b.reference[i], b.marked[i]) - drawdown_limit
        if not drawdown_only:
            over = maximum(over, (b.loss_top[i] - b.marked[i]) - loss_limit)
            over = maximum(over, b.volume_sum[i] - volume_limit)
        b.tripped[i] = 1.0 if (over >= 0.0) & (b.halted[i] + b.pause[i] == 0.0) else 0.0
    for i in range(LANES):
        any_trip |= bits_of(b.tripped[i])
    return any_trip != 0


cdef inline void count_down(Block* b) noexcept nogil:
    """A step of a pause is over; after the last one quoting comes back."""
    cdef Py_ssize_t i
    for i in range(LANES):
        b.resumed_mark[i] = chosen((b.pause[i] == 1.0) & (b.trips[i] == 1.0), b.marked[i], b.resumed_mark[i])
        b.ramp[i] = chosen(b.pause[i] == 1.0, 0.0, b.ramp[i])
        b.pause[i] = maximum(b.pause[i] - 1.0, 0.0)


cdef inline void trip(Block* b, const Settings* s, Py_ssize_t step) noexcept nogil:
    """What a trip does, from the next step on."""
    cdef Py_ssize_t i
    cdef double drawdown_limit = s.drawdown_limit, loss_limit = s.loss_limit
    cdef double halts = 0.0 if s.action == PAUSE else 1.0, flattens = 1.0 if s.action == FLATTEN else 0.0
    cdef double pauses = s.pause_steps if s.action == PAUSE else 0.0
    cdef double at = step, drawdown, over, reason, first
    for i in range(LANES):
        first = chosen(b.trips[i] == 0.0, b.tripped[i], 0.0)
        drawdown = drawdown_from(b.reference[i], b.marked[i])
        reason = <double>LOSS if b.loss_top[i] - b.marked[i] >= loss_limit else <double>VOLUME
        reason = <double>DRAWDOWN if drawdown >= drawdown_limit else reason
        over = drawdown - drawdown_limit if drawdown >= drawdown_limit else NAN
        b.halt_step[i] = chosen(first > 0.0, at, b.halt_step[i])
        b.halt_reason[i] = chosen(first > 0.0, reason, b.halt_reason[i])
        b.overshoot[i] = chosen(first > 0.0, over, b.overshoot[i])
        b.trip_mark[i] = chosen(first > 0.0, b.marked[i], b.trip_mark[i])
        b.trip_reference[i] = chosen(first > 0.0, b.reference[i], b.trip_reference[i])
        b.trips[i] += b.tripped[i]
        b.halted[i] = maximum(b.halted[i], b.tripped[i] * halts)
        b.derived[ALLOWED][i] = chosen(b.halted[i] > 0.0, INFINITY, b.derived[ALLOWED][i])
        b.derived[HALTED_SPREAD][i] = chosen(b.tripped[i] > 0.0, b.spread_sum[i], b.derived[HALTED_SPREAD][i])
        b.unwind[i] = b.tripped[i] * flattens
        b.pause[i] = chosen(b.tripped[i] > 0.0, pauses, b.pause[i])
        b.reference[i] = chosen(b.tripped[i] * pauses > 0.0, b.marked[i], b.reference[i])


cdef inline void forget(double* row, const double* tripped, double nothing) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(LANES):
        row[i] = chosen(tripped[i] == 0.0, row[i], nothing)


cdef inline void empty_windows(
    Block* b, const Settings* s, Windows* w, Py_ssize_t mark_index
) noexcept nogil:
    """A pause empties the breakers' windows of the lanes that just tripped."""
    cdef Py_ssize_t i, row, length = s.loss_window + 1
    if w.loss_ring != NULL:
        for row in range(length):
            forget(w.loss_ring + row * LANES, b.tripped, -INFINITY)
        for i in range(LANES):
            b.loss_high[i] = chosen(b.tripped[i] == 0.0, b.loss_high[i], b.marked[i])
            w.loss_ring[(mark_index % length) * LANES + i] = b.marked[i]
    if w.volume_ring != NULL:
        for row in range(s.volume_window):
            for i in range(LANES):
                w.volume_ring[row * LANES + i] *= <float>(1.0 - b.tripped[i])
        for i in range(LANES):
            b.volume_sum[i] *= 1.0 - b.tripped[i]
