# The phases of a step, chosen: which loops a scenario needs, in model.md's order. Included by _core.pyx.
#
# Choices are made here once a step for the whole block, never in a lane. Flags handed on as literals make each call a
# loop of its own, with the choice already made when it is compiled. These functions are not inlined into one another:
# one function of all the loops compiles to code a quarter slower, which is why they are not in a .pxd.

from libc.math cimport isnan
from libc.stdint cimport uint64_t

from mcmm.kernel.custom_lanes cimport (
    place_at_once, place_custom, show_at_once, show_books, show_multipliers, show_sizes,
)
from mcmm.kernel.draw_lanes cimport Wanted, draw_normals, draw_sizes, draw_wanted, guide_to_sizes, make_normal, want
from mcmm.kernel.mark_lanes cimport (
    check, count_down, empty_windows, jump, mark, mark_and_halt, move_arithmetic, move_at_once, move_logit,
    move_threshold, move_to, news_comes, refer_to_peak, resolve_threshold, roll_loss, roll_volume, trip, walk_at_once,
)
from mcmm.kernel.portfolio_lanes cimport cap_addition
from mcmm.kernel.quote_lanes cimport (
    cancel_disconnected, cap_exposure, connect, count_limited, gate, hold_back, permit, place_on_grid, place_unbounded,
    place_within, price_glosten_milgrom, price_lmsr, quote_adaptive, quote_at_once, quote_avellaneda_stoikov,
    quote_plainly, quote_symmetric, reckon_logit_sd, reckon_threshold_sd, reduce_only, refer, rest, resume,
    roll_window, size_by_inventory, size_unlimited, tally, unwind, widen,
)
from mcmm.kernel.random cimport (
    ARRIVAL, ASK_HIT, BID_HIT, DISCONNECT, FAIR, HERD, INFORMED, NEWS, NEWS_DIRECTION, REFERENCE, SIDE, SIZE,
    TRADE,
)
from mcmm.kernel.state cimport (
    ADAPTIVE, ARITHMETIC, AVELLANEDA_STOIKOV, CONSTANT, CUSTOM, FLATTEN, GLOSTEN_MILGROM, INTENSITY, LANES, LMSR,
    LOGIT, PAUSE, REPLAY, TAKERS, THRESHOLD, Block, Rows, Settings, Tables, Windows,
)
from mcmm.kernel.trade_lanes cimport (
    arrive, charge, deter, excite, fill, fill_at_cost, fill_both, follow_order, follow_side, halt_takers, hit,
    learn, learn_at_once, match, remember, reprice, shade, take_bought, take_hits, take_sold, trade_at_once, use_up,
)


cdef void draw_steps(
    Block* b, const Settings* s, const Tables* t, uint64_t seed, uint64_t quad, bint scheduled_news
) noexcept nogil:
    """The draws of steps 4 quad .. 4 quad + 3, those that the scenario uses, for the paths of `open_block`."""
    cdef uint64_t m = s.labels
    cdef int32_t fair[4][LANES], reference[4][LANES]
    cdef bint walks = s.process != CONSTANT and s.flow != REPLAY
    cdef bint refers = s.moves_mid and s.reference_weight > 0.0
    cdef Wanted w
    w.count = 0
    if walks:
        want(&w, fair, quad, m + FAIR)
        if s.has_news:
            want(&w, b.u_news, quad, m + NEWS)
        if s.has_news or scheduled_news:
            want(&w, b.u_direction, quad, m + NEWS_DIRECTION)
    if s.flow == TAKERS:
        want(&w, b.u_arrival, quad, m + ARRIVAL)
        want(&w, b.u_side, quad, m + SIDE)
        if s.has_informed:
            want(&w, b.u_informed, quad, m + INFORMED)
        if s.has_herding:
            want(&w, b.u_herd, quad, m + HERD)
        if s.price_sensitivity > 0.0:
            want(&w, b.u_trade, quad, m + TRADE)
        want(&w, b.u_size, quad, m + SIZE)
    elif s.flow == INTENSITY:
        want(&w, b.u_bid_hit, quad, m + BID_HIT)
        want(&w, b.u_ask_hit, quad, m + ASK_HIT)
    if refers:
        want(&w, reference, quad, m + REFERENCE)
    if s.has_outages:
        want(&w, b.u_disconnect, quad, m + DISCONNECT)
    draw_wanted(&w, seed, b.begun)
    if walks:
        make_normal(b.z, fair)
    if refers:
        make_normal(b.reference_z, reference)
    if s.flow == TAKERS:
        if t.guided:
            guide_to_sizes(b.size, b.u_size, &t.guide, t.size_thresholds)
        else:
            draw_sizes(b.size, b.u_size, t.size_thresholds, t.thresholds)


cdef void begin(Block* b, const Settings* s, Py_ssize_t step) noexcept nogil:
    """Connection, who may quote, and what a trip of the step before still has to close."""
    if s.stays_revised and not b.revised:
        return
    b.revised = False
    if s.has_outages:
        connect(b, s, step & 3)
    if s.keeps_quotes:
        permit(b, True)
        if s.has_outages and not s.stale_quotes:
            cancel_disconnected(b)
    else:
        permit(b, False)
    if s.venue_paused and s.venue_cancels:
        hold_back(b, True)
    elif s.venue_paused:
        hold_back(b, False)
    elif s.venue_resumes:
        resume(b)
    if s.action == FLATTEN:
        unwind(b, s)
    if s.halts_takers:
        halt_takers(b, s)


cdef void place(Block* b, const Settings* s, bint reserved) noexcept nogil:
    # The flags are literals, so that each call is a loop of its own with the choice already made.
    if not s.bounded:
        if reserved and s.grid:
            place_unbounded(b, s, True, True)
        elif reserved:
            place_unbounded(b, s, True, False)
        elif s.grid:
            place_unbounded(b, s, False, True)
        else:
            place_unbounded(b, s, False, False)
    elif reserved and s.has_exposure_limit:
        place_on_grid(b, s, True, True)
    elif reserved:
        place_on_grid(b, s, True, False)
    elif s.has_exposure_limit:
        place_on_grid(b, s, False, True)
    else:
        place_on_grid(b, s, False, False)


cdef void place_named(Block* b, const Settings* s) noexcept nogil:
    """For the policies whose prices are continuous and in (0, 1)."""
    if s.policy == GLOSTEN_MILGROM:
        price_glosten_milgrom(b, s)
        if s.has_exposure_limit:
            place_within(b, s, False, True)
        else:
            place_within(b, s, False, False)
    else:
        price_lmsr(b, s)
        if s.has_exposure_limit:
            place_within(b, s, True, True)
        else:
            place_within(b, s, True, False)


cdef bint ask_policy(Block* b, const Settings* s, const Tables* t, Windows* w, Py_ssize_t step) noexcept nogil:
    """Let a policy of one's own quote; whether it did."""
    if s.has_inventory_limit:
        size_by_inventory(b, s)
    else:
        size_unlimited(b, s)
    show_books(b, s, w.view)
    show_multipliers(b, s, w.view)
    show_sizes(b, w.view)
    if not call_policy(s, t, w, step):
        return False
    place_custom(b, s, w.view)
    return True


cdef bint call_policy(const Settings* s, const Tables* t, Windows* w, Py_ssize_t step) noexcept nogil:
    """Whether it wrote a quote into the rows that it was shown."""
    cdef int failed
    if t.custom.function == NULL:
        return call_python(w.call, step, 0)
    failed = t.custom.function(w.view, t.custom.settings, step, s.steps)
    return not failed or call_python(w.call, step, failed)


cdef bint ask_at_once(Block* b, const Settings* s, const Tables* t, Windows* w, Py_ssize_t step) noexcept nogil:
    """All of phase 2 for a policy of one's own, where nothing but the inventory limit acts on its quote."""
    cdef Rows* rows = <Rows*>w.view
    if s.has_inventory_limit:
        show_at_once(b, s, rows, True)
    else:
        show_at_once(b, s, rows, False)
    if not call_policy(s, t, w, step):
        return False
    if s.may_stop:
        place_at_once(b, s, rows, True)
    else:
        place_at_once(b, s, rows, False)
    return True


cdef inline bint quote_all_at_once(Block* b, const Settings* s, bint by_sd) noexcept nogil:
    """Whether some lane has reached the inventory limit."""
    cdef bint divided = s.imbalance_shade == 0.0 and s.inventory_shade == 0.0, reached
    cdef bint gated = s.may_stop and not s.halts_takers
    if s.has_inventory_limit and gated and divided:
        reached = quote_at_once(b, s, True, True, True, by_sd)
    elif s.has_inventory_limit and gated:
        reached = quote_at_once(b, s, True, True, False, by_sd)
    elif s.has_inventory_limit and divided:
        reached = quote_at_once(b, s, True, False, True, by_sd)
    elif s.has_inventory_limit:
        reached = quote_at_once(b, s, True, False, False, by_sd)
    elif gated and divided:
        reached = quote_at_once(b, s, False, True, True, by_sd)
    elif gated:
        reached = quote_at_once(b, s, False, True, False, by_sd)
    elif divided:
        reached = quote_at_once(b, s, False, False, True, by_sd)
    else:
        reached = quote_at_once(b, s, False, False, False, by_sd)
    return reached


cdef bint quote_by_mid(Block* b, const Settings* s) noexcept nogil:
    return quote_all_at_once(b, s, False)


cdef bint quote_by_mid_and_sd(Block* b, const Settings* s) noexcept nogil:
    return quote_all_at_once(b, s, True)


cdef void reckon_sd(Block* b, const Settings* s, Py_ssize_t step) noexcept nogil:
    if s.process == THRESHOLD:
        reckon_threshold_sd(b, s, step)
    else:
        reckon_logit_sd(b, s)


cdef bint quote(Block* b, const Settings* s, const Tables* t, Windows* w, Py_ssize_t step) noexcept nogil:
    """Whether there is a quote: no, only where a policy of one's own failed."""
    cdef Py_ssize_t row = (step % s.imbalance_window) * LANES
    cdef bint reserved = s.policy == AVELLANEDA_STOIKOV
    cdef bint named = s.policy == GLOSTEN_MILGROM or s.policy == LMSR
    cdef bint by_sd = s.policy == ADAPTIVE and s.volatility_factor > 0.0, reached
    if s.quotes_at_once or s.asks_at_once:
        if s.reference_weight > 0.0:
            refer(b, s, step & 3)
        if s.asks_at_once:
            if not ask_at_once(b, s, t, w, step):
                return False
        else:
            if by_sd:
                reckon_sd(b, s, step)
                reached = quote_by_mid_and_sd(b, s)
            else:
                reached = quote_by_mid(b, s)
            if reached:
                count_limited(b, s)
        # A size of 0 is none whatever else caps it: it does not matter that who may not quote has none already.
        if b.portfolio != NULL and b.portfolio.settings.has_exposure_limit:
            cap_addition(b, s, b.portfolio)
        if step >= s.close_from:
            reduce_only(b)
        return True
    if s.keeps_quotes:
        rest(b)
    if s.moves_mid:
        roll_window(b, w.filled_signed + row, w.filled_total + row if w.filled_total != NULL else NULL)
        if s.reference_weight > 0.0:
            refer(b, s, step & 3)
    if by_sd:
        reckon_sd(b, s, step)
        quote_adaptive(b, s, True)
    elif s.policy == ADAPTIVE:
        quote_adaptive(b, s, False)
    elif reserved:
        if s.bounded:
            quote_avellaneda_stoikov(b, s, step, True)
        else:
            quote_avellaneda_stoikov(b, s, step, False)
    elif named or s.policy == CUSTOM:
        quote_plainly(b)
    else:
        quote_symmetric(b, s)
    if s.ramps:
        widen(b, s)
    if s.policy == CUSTOM:
        if not ask_policy(b, s, t, w, step):
            return False
    else:
        if named:
            place_named(b, s)
        else:
            place(b, s, reserved)
        if s.has_inventory_limit:
            size_by_inventory(b, s)
        else:
            size_unlimited(b, s)
    if s.has_exposure_limit:
        cap_exposure(b, s)
    if b.portfolio != NULL and b.portfolio.settings.has_exposure_limit:
        cap_addition(b, s, b.portfolio)
    if step >= s.close_from:
        reduce_only(b)
    if s.may_stop:
        if s.keeps_quotes:
            gate(b, True)
        else:
            gate(b, False)
        tally(b, s, True)
    else:
        tally(b, s, False)
    if s.has_book:
        decide_and_place(b, s, w, step)
    return True


cdef void on_fill(Block* b, const Settings* s, Windows* w, Py_ssize_t step) noexcept nogil:
    cdef Py_ssize_t row = (step % s.imbalance_window) * LANES
    cdef bint some_informed = s.flow == TAKERS and s.has_informed
    if s.policy == LMSR:
        if some_informed:
            fill_at_cost(b, s, True)
        else:
            fill_at_cost(b, s, False)
    elif s.fills_at_once:
        pass
    elif some_informed:
        fill(b, s, True)
    else:
        fill(b, s, False)
    if s.keeps_quotes:
        use_up(b)
    if s.maker_rate != 0.0:
        if s.policy == LMSR:
            charge(b, s, True)
        else:
            charge(b, s, False)
    if s.policy == GLOSTEN_MILGROM:
        learn(b, s)
    elif s.policy == LMSR:
        reprice(b, s)
    if s.moves_mid and w.filled_total == NULL:
        learn_from(b, s, w, step)
    elif s.moves_mid:
        remember(b, w.filled_signed + row, w.filled_total + row if w.filled_total != NULL else NULL)
        shade(b, s)


cdef void learn_from(Block* b, const Settings* s, Windows* w, Py_ssize_t step) noexcept nogil:
    """What the fill of a step, the only one, does to the imbalance window and the mid."""
    cdef float* row = w.filled_signed + (step % s.imbalance_window) * LANES
    cdef const float* oldest = w.filled_signed + ((step + 1) % s.imbalance_window) * LANES
    cdef bint rolls = s.quotes_at_once or s.asks_at_once
    if rolls and s.inventory_shade != 0.0:
        learn_at_once(b, s, row, oldest, True, True, True)
    elif rolls and s.imbalance_shade != 0.0:
        learn_at_once(b, s, row, oldest, True, False, True)
    elif rolls:
        learn_at_once(b, s, row, oldest, False, False, True)
    elif s.inventory_shade != 0.0:
        learn_at_once(b, s, row, oldest, True, True, False)
    elif s.imbalance_shade != 0.0:
        learn_at_once(b, s, row, oldest, True, False, False)
    else:
        learn_at_once(b, s, row, oldest, False, False, False)


cdef void meet_taker(Block* b, const Settings* s, Py_ssize_t k) noexcept nogil:
    cdef bint excites = s.excitation_start + s.excitation_rise + s.news_excitation > 0.0
    if excites:
        excite(b, s, k)
    if excites and s.has_herding:
        arrive(b, s, k, True, True, False)
    elif excites:
        arrive(b, s, k, True, False, False)
    elif s.has_herding:
        arrive(b, s, k, False, True, False)
    elif s.halts_takers:
        arrive(b, s, k, False, False, True)
    else:
        arrive(b, s, k, False, False, False)
    if s.has_herding and s.knows_outcome:
        follow_side(b, s, True)
    elif s.has_herding:
        follow_side(b, s, False)
    if s.price_sensitivity > 0.0:
        deter(b, s, k)
    if s.fills_at_once and s.has_informed:
        trade_at_once(b, s, True)
    elif s.fills_at_once:
        trade_at_once(b, s, False)
    elif not s.has_informed:
        match(b, s, False, False)
    elif s.knows_outcome:
        match(b, s, True, True)
    else:
        match(b, s, True, False)


cdef void meet(Block* b, const Settings* s, const Tables* t, Py_ssize_t step) noexcept nogil:
    """Who comes, and how much of the quote is taken: in `taken`, or with intensity in `bought` and `sold`.

    Where a phase does that and the fill in one pass, the taker's part is left to it.
    """
    if s.flow == INTENSITY:
        hit(b, s, step & 3)
        if not s.fills_at_once:
            take_hits(b)
    elif s.flow == TAKERS:
        meet_taker(b, s, step & 3)
    else:
        follow_order(b, s, t.order_side[step], t.order_size[step], t.order_limit[step])


cdef void trade(Block* b, const Settings* s, const Tables* t, Windows* w, Py_ssize_t step) noexcept nogil:
    if s.has_book:
        trade_in_book(b, s, t, w, step)
        return
    meet(b, s, t, step)
    if s.flow == INTENSITY:
        if s.fills_at_once:
            fill_both(b)
            return
        take_bought(b)
        on_fill(b, s, w, step)
        take_sold(b)
    on_fill(b, s, w, step)


cdef void move(Block* b, const Settings* s, const Tables* t, Py_ssize_t step) noexcept nogil:
    if s.flow == REPLAY:
        if not isnan(t.order_fair[step]):
            move_to(b, s, t.order_fair[step])
    elif s.process == LOGIT:
        if s.walks_at_once:
            if step & 3 == 0:
                walk_at_once(b, s)
            move_at_once(b, step & 3)
            return
        move_logit(b, s, step & 3)
        if s.has_news and news_comes(b, s, step & 3):
            jump(b, s, step & 3)
    elif s.process == THRESHOLD:
        if step + 1 == s.resolution_step:
            resolve_threshold(b, step & 3)
        else:
            move_threshold(b, s, step, step & 3)
    elif s.process == ARITHMETIC:
        move_arithmetic(b, s, step & 3)


cdef void value(Block* b, const Settings* s) noexcept nogil:
    cdef bint watched = s.has_breaker or s.has_exposure_limit or s.policy == CUSTOM
    if s.marks_plainly and not s.marks_fair and not watched:
        mark(b, s, False, False, True)
    elif s.marks_plainly and not s.marks_fair:
        mark(b, s, False, True, True)
    elif s.marks_fair and watched:
        mark(b, s, True, True, False)
    elif s.marks_fair:
        mark(b, s, True, False, False)
    elif watched:
        mark(b, s, False, True, False)
    else:
        mark(b, s, False, False, False)


cdef void watch(Block* b, const Settings* s, Windows* w, Py_ssize_t step) noexcept nogil:
    cdef bint tripped
    if s.has_loss_limit or s.has_volume_limit:
        tripped = check(b, s, False)
    else:
        tripped = check(b, s, True)
    if s.action == PAUSE:
        count_down(b)
    if tripped:
        b.revised = True
        trip(b, s, step)
        if s.action == PAUSE:
            empty_windows(b, s, w, step + 1)


cdef void mark_and_check(Block* b, const Settings* s, Windows* w, Py_ssize_t step) noexcept nogil:
    if s.has_book:
        look_back(b, s, w, step)
    if s.marks_at_once:
        if mark_and_halt(b, s):
            refer_to_peak(b)
            watch(b, s, w, step)
        return
    value(b, s)
    if s.has_loss_limit:
        roll_loss(b, w.loss_ring, s.loss_window + 1, step + 1)
    if s.has_volume_limit:
        roll_volume(b, w.volume_ring + (step % s.volume_window) * LANES, s.both_sides)
    if s.has_breaker:
        watch(b, s, w, step)
