# The flow of others in a step: the paths of a block take their events together. Included by _core.pyx.
#
# What an event is, and when, is reckoned for all paths at once, a lane each. What it does to a book differs too much
# from path to path for that: it is done one path at a time, each kind of event in a loop of its own, so that what comes
# next in it can be foretold, where one loop of all kinds would mostly guess wrong.

from libc.stdint cimport int64_t

from mcmm.kernel.book cimport (
    ASK, BID, BOOK_LEVELS, MOST_EVENTS, Book, BookSettings, cancel_rate_of, cancelled_level,
    cancelled_tick, join, limit_distance, lowest_of, share_of, withdraw,
)
from mcmm.kernel.book_flow cimport note_fill, take, tilt_of, wait_of
from mcmm.kernel.random cimport ars_begun, begin_lanes
from mcmm.kernel.single cimport minus_twice_logarithm
from mcmm.kernel.takers cimport drawn_size


cdef struct Events:
    # of each lane: the time left of the step, what is known of its book, and its next event
    double left[LANES]
    double lagged[LANES]
    float waits[LANES]
    int32_t bid[LANES]
    int32_t ask[LANES]
    int32_t tilt[LANES]
    int64_t rate[2][LANES]          # of others' cancels
    int64_t at[LANES]               # the place of the draw in the rate of its kind
    uint64_t bit[LANES]
    int64_t events[LANES]           # so far, in this step
    int32_t draws[4][LANES]
    # a bit a lane: which have an event of a kind
    uint64_t markets, limits[2], cancels[2]
    uint64_t stale                  # whose best prices have changed


cdef inline bint has_moved(const Book* b, int32_t bid, int32_t ask) noexcept nogil:
    """What a study of one queue waits for: a best price that is another, or no order of the maker's left."""
    return b.best[BID] != bid or b.best[ASK] != ask or (b.order[BID].size + b.order[ASK].size == 0 and b.fills > 0)


cdef inline void bring_limits(Windows* w, Events* e, const Tables* t, int side, Py_ssize_t levels) noexcept nogil:
    cdef const BookSettings* s = &t.book
    cdef uint64_t those = e.limits[side]
    cdef Py_ssize_t lane
    cdef int32_t tick, distance, best, placed
    cdef Book* b
    while those:
        lane = lowest_of(those)
        those &= those - 1
        b = &w.books[lane]
        best = b.best[side]
        distance = limit_distance(s, e.at[lane], levels)
        tick = b.best[1 - side] + (2 * side - 1) * distance
        if tick > 0 and tick < s.ticks:
            placed = join(b, side, tick, drawn_size(&t.guide, t.size_thresholds, e.draws[2][lane]))
            e.rate[side][lane] += s.cancel_rate[distance - 1] * placed
            e.stale |= <uint64_t>(b.best[side] != best) << lane


cdef inline void bring_cancels(Windows* w, Events* e, const Tables* t, int side, Py_ssize_t levels) noexcept nogil:
    cdef const BookSettings* s = &t.book
    cdef uint64_t those = e.cancels[side]
    cdef Py_ssize_t lane
    cdef int64_t within
    cdef int32_t size, best, passed, gone
    cdef Book* b
    while those:
        lane = lowest_of(those)
        those &= those - 1
        b = &w.books[lane]
        # Less than rate * (256 -+ tilt): divided, not to multiply what each level adds to the rate.
        within = e.at[lane] // (256 - e.tilt[lane] if side == BID else 256 + e.tilt[lane])
        size = drawn_size(&t.guide, t.size_thresholds, e.draws[2][lane])
        best = b.best[side]
        passed = cancelled_level(b, s, side, &within, levels)
        gone = withdraw(b, side, cancelled_tick(b, s, side, within, passed, levels), size, e.draws[3][lane])
        e.rate[side][lane] -= s.cancel_rate[passed if passed < levels else <int32_t>BOOK_LEVELS] * gone
        e.stale |= <uint64_t>(b.best[side] != best) << lane


cdef inline void bring_markets(Windows* w, Events* e, const Settings* m, const Tables* t) noexcept nogil:
    cdef const BookSettings* s = &t.book
    cdef uint64_t those = e.markets
    cdef Py_ssize_t lane
    cdef int side
    cdef int32_t filled, size
    cdef Book* b
    while those:
        lane = lowest_of(those)
        those &= those - 1
        b = &w.books[lane]
        side = ASK if e.draws[3][lane] < 0x40000000 else BID
        size = drawn_size(&t.guide, t.size_thresholds, e.draws[2][lane])
        filled = take(b, s, side, size, m.unit, INFINITY if side == ASK else -INFINITY)
        if filled:
            note_fill(b, side, filled, m.unit, m.maker_rate, m.fee_rounding)


cdef inline void choose_events(Events* e, const Settings* m, const BookSettings* s) noexcept nogil:
    """When each path's next event is, and of what kind."""
    cdef Py_ssize_t i
    cdef int64_t market = s.market_rate << 8, fixed = (s.market_rate + s.limit_rate) << 8
    cdef int64_t upto, rate, place, begin
    cdef uint64_t bit, markets = 0, bids = 0, asks = 0, bid_cancels = 0, ask_cancels = 0
    cdef double left, strength = s.recentre_strength, unit = m.unit
    for i in range(LANES):
        e.waits[i] = minus_twice_logarithm(<float>(e.draws[0][i] | 1))
    if strength > 0.0:
        for i in range(LANES):
            e.tilt[i] = tilt_of(e.lagged[i], e.bid[i], e.ask[i], unit, strength)
    for i in range(LANES):
        upto = fixed + e.rate[BID][i] * (256 - e.tilt[i])
        rate = upto + e.rate[ASK][i] * (256 + e.tilt[i])
        place = share_of(e.draws[1][i], rate)
        begin = market if place >= market else 0
        begin = fixed if place >= fixed else begin
        begin = upto if place >= upto else begin
        e.at[i] = place - begin
        left = e.left[i] - wait_of(0.5 * e.waits[i], rate)
        e.left[i] = left
        e.events[i] += 1 if left > 0.0 else 0
        bit = e.bit[i] if left > 0.0 else 0
        markets |= bit if place < market else 0
        bit = bit if place >= market else 0
        ask_cancels |= bit if place >= upto else 0
        bit = bit if place < upto else 0
        bid_cancels |= bit if place >= fixed else 0
        bit = bit if place < fixed else 0
        # A limit order is an ask with chance (1 - c) / 2.
        asks |= bit if e.draws[3][i] >= <int64_t>(256 + e.tilt[i]) << 22 else 0
        bids |= bit if e.draws[3][i] < <int64_t>(256 + e.tilt[i]) << 22 else 0
    e.markets, e.limits[BID], e.limits[ASK] = markets, bids, asks
    e.cancels[BID], e.cancels[ASK] = bid_cancels, ask_cancels


cdef inline void flow_events(
    Windows* w, const Settings* s, const Tables* t, uint64_t step, uint64_t label, Py_ssize_t lanes, bint watched,
    Py_ssize_t levels
) noexcept nogil:
    """The events of a step: the first of each path, then the second, until all steps are over."""
    cdef const BookSettings* book = w.book
    cdef Events e
    cdef uint32_t begun[4 * LANES]
    cdef Py_ssize_t event, lane
    cdef uint64_t high, active = 0, those
    cdef int32_t* rows = &e.draws[0][0]
    cdef Book* b
    begin_lanes(w.seed, w.path, begun, LANES)
    memset(&e, 0, sizeof(Events))
    for lane in range(LANES):
        e.bit[lane] = <uint64_t>1 << lane
    for lane in range(lanes):
        if watched and w.watch_done[lane]:
            continue
        e.left[lane] = 1.0
        e.lagged[lane] = w.books[lane].lagged
        active |= e.bit[lane]
    e.stale = active
    for event in range(MOST_EVENTS):
        if active == 0:
            break
        those = e.stale & active
        while those:
            lane = lowest_of(those)
            those &= those - 1
            b = &w.books[lane]
            e.rate[BID][lane] = cancel_rate_of(b, book, BID, levels)
            e.rate[ASK][lane] = cancel_rate_of(b, book, ASK, levels)
            e.bid[lane] = b.best[BID]
            e.ask[lane] = b.best[ASK]
        high = step | (label + (<uint64_t>event << 18)) << 32
        ars_begun(w.seed, begun, &high, &rows, 1, LANES)
        choose_events(&e, s, book)
        active = e.markets | e.limits[BID] | e.limits[ASK] | e.cancels[BID] | e.cancels[ASK]
        e.stale = e.markets
        bring_limits(w, &e, t, BID, levels)
        bring_limits(w, &e, t, ASK, levels)
        bring_cancels(w, &e, t, BID, levels)
        bring_cancels(w, &e, t, ASK, levels)
        bring_markets(w, &e, s, t)
        if watched:
            for lane in range(lanes):
                if active >> lane & 1 and has_moved(&w.books[lane], w.watch_bid, w.watch_ask):
                    w.watch_done[lane] = True
                    e.left[lane] = 0.0
                    active &= ~e.bit[lane]
    for lane in range(lanes):
        w.books[lane].events += e.events[lane]


cdef void let_flow(
    Windows* w, const Settings* s, const Tables* t, uint64_t step, uint64_t label, Py_ssize_t lanes, bint watched
) noexcept nogil:
    """The events of others in one step, in continuous time, of the paths that are not done (`watched`)."""
    # Literals, so that loops over the levels have a length that is known when they are compiled.
    if watched:
        flow_events(w, s, t, step, label, lanes, True, BOOK_LEVELS)
    elif w.book.levels <= 5:
        flow_events(w, s, t, step, label, lanes, False, 5)
    else:
        flow_events(w, s, t, step, label, lanes, False, BOOK_LEVELS)
