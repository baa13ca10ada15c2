# The venue `book` in a step: the maker's orders, takers, what was filled. Included by _core.pyx.
#
# A path's book is a struct of its own, not a lane of the block: what an event touches lies together.

from mcmm.kernel.book cimport (
    ASK, BID, BOOK_LEVELS, BOOK_PAD, DECISIONS, MARKED, PLACED, PLACES, Book, BookSettings, FillRule, Order,
    at_least, at_most, join, occupy, place_class, see_best,
)
from mcmm.kernel.book_flow cimport cancel_reaches, note_fill, order_reaches, take
from mcmm.kernel.random cimport BOOK_FLOW, BOOK_WARMUP, PATIENCE
from libc.stdint cimport int8_t, int64_t, uint8_t

from mcmm.kernel.special cimport absolute, minimum

cdef enum:
    BOOK_ROWS = 20


cdef void open_books(Windows* w, const Settings* s, const Tables* t, uint64_t seed, uint64_t path) noexcept nogil:
    """Others' orders as before the warm-up, then the warm-up."""
    cdef const BookSettings* book = &t.book
    cdef Py_ssize_t i, lane, step
    cdef Book* b
    w.book, w.seed, w.path = book, seed, path
    memset(w.books, 0, LANES * sizeof(Book))
    for lane in range(LANES):
        b = &w.books[lane]
        b.lagged = s.initial_probability
        # The sentinels: no bid, no ask.
        occupy(b, BID, 0)
        occupy(b, ASK, book.ticks)
        see_best(b, BID)
        see_best(b, ASK)
        for i in range(book.levels):
            if book.start_ask - 1 - i >= 1 and book.start_ask - 1 - i <= book.start_bid:
                join(b, BID, book.start_ask - 1 - <int32_t>i, book.start_volume[i])
            if book.start_bid + 1 + i < book.ticks and book.start_bid + 1 + i >= book.start_ask:
                join(b, ASK, book.start_bid + 1 + <int32_t>i, book.start_volume[i])
    for step in range(book.warmup_steps):
        let_flow(w, s, t, <uint64_t>step, s.labels + BOOK_WARMUP, LANES, False)


cdef void decide_and_place(Block* blk, const Settings* s, Windows* w, Py_ssize_t step) noexcept nogil:
    """What the maker has decided in this step is sent; what has reached the venue is done. Shows what rests."""
    cdef const BookSettings* book = w.book
    cdef Py_ssize_t lane, side, now = step & (DECISIONS - 1)
    cdef int32_t room[2]
    cdef int32_t tick
    cdef double limit = 1073741824.0 if not s.has_inventory_limit else s.inventory_limit
    cdef Book* b
    for lane in range(LANES):
        b = &w.books[lane]
        b.decided_size[now][BID] = <int32_t>minimum(blk.bid_size[lane], 1073741824.0)
        b.decided_size[now][ASK] = <int32_t>minimum(blk.ask_size[lane], 1073741824.0)
        # What has no size may have no price.
        tick = <int32_t>blk.bid[lane] if blk.bid_size[lane] > 0.0 else 0
        tick = at_most(tick, b.best[BID]) if book.joins_only and b.best[BID] > 0 else tick
        b.decided_tick[now][BID] = <uint8_t>tick
        tick = <int32_t>blk.ask[lane] if blk.ask_size[lane] > 0.0 else 0
        tick = at_least(tick, b.best[ASK]) if book.joins_only and b.best[ASK] < book.ticks else tick
        b.decided_tick[now][ASK] = <uint8_t>tick
        room[BID] = <int32_t>minimum(limit - blk.inventory[lane], 1073741824.0)
        room[ASK] = <int32_t>minimum(limit + blk.inventory[lane], 1073741824.0)
        for side in range(2):
            cancel_reaches(b, book, <int>side, step, room[side])
        for side in range(2):
            order_reaches(b, book, <int>side, step, room[side])
        for side in range(2):
            b.filled[side] = b.filled_informed[side] = 0
            b.place[step & (PLACED - 1)][side] = -1
            if b.order[side].size > 0:
                b.place[step & (PLACED - 1)][side] = <int8_t>place_class(
                    b.order[side].ahead, <int32_t>minimum(s.quote_size, 1048576.0)
                )
            b.filled_before[step % MARKED][side] = 0
        b.fills = 0
        b.fees = 0.0
        blk.bid_size[lane] = b.order[BID].size
        blk.ask_size[lane] = b.order[ASK].size
        blk.bid[lane] = b.order[BID].tick if b.order[BID].size > 0 else NAN
        blk.ask[lane] = b.order[ASK].tick if b.order[ASK].size > 0 else NAN


cdef void send_takers(Block* blk, const Settings* s, const Tables* t, Windows* w, Py_ssize_t step) noexcept nogil:
    """The taker of model.md section 5 meets the best prices of the book, and sends a market or a limit order."""
    cdef const BookSettings* book = w.book
    cdef int32_t patience[4][LANES]
    cdef Py_ssize_t lane
    cdef int32_t size, filled, tick
    cdef int side
    cdef double known, taken
    cdef bint informed
    cdef Book* b
    for lane in range(LANES):
        b = &w.books[lane]
        blk.bid[lane] = b.best[BID]
        blk.ask[lane] = b.best[ASK]
        blk.bid_size[lane] = 1048576.0 if b.best[BID] > 0 else 0.0
        blk.ask_size[lane] = 1048576.0 if b.best[ASK] < book.ticks else 0.0
    meet_taker(blk, s, step & 3)
    if book.passive_bound >= 0:
        draw(patience, w.seed, w.path, <uint64_t>step >> 2, s.labels + PATIENCE)
    for lane in range(LANES):
        taken = blk.taken[lane]
        if taken == 0.0:
            continue
        b = &w.books[lane]
        informed = s.has_informed and blk.insider[lane] > <float>0.0
        size = <int32_t>absolute(taken)
        if not informed and book.passive_bound >= 0 and patience[step & 3][lane] <= book.passive_bound:
            side = BID if taken > 0.0 else ASK
            tick = b.best[side]
            if tick > 0 and tick < book.ticks:
                join(b, side, tick, size)
            continue
        side = ASK if taken > 0.0 else BID
        known = INFINITY if taken > 0.0 else -INFINITY
        if informed:
            known = blk.outcome[lane] if s.knows_outcome else blk.probability[lane]
        filled = take(b, book, side, size, s.unit, known)
        if filled:
            note_fill(b, side, filled, s.unit, s.maker_rate, s.fee_rounding)
            if informed:
                b.filled_informed[side] += filled


cdef void send_order(
    const Settings* s, Windows* w, double order_side, double size, double limit
) noexcept nogil:
    """Replay: an order given walks the levels that are at or better than its limit, the grace in it."""
    cdef Py_ssize_t lane
    cdef int side = ASK if order_side > 0.0 else BID
    cdef int32_t filled
    cdef Book* b
    if order_side == 0.0:
        return
    for lane in range(LANES):
        b = &w.books[lane]
        filled = take(b, w.book, side, <int32_t>size, s.unit, limit)
        if filled:
            note_fill(b, side, filled, s.unit, s.maker_rate, s.fee_rounding)


cdef void book_side(Block* blk, const Settings* s, Windows* w, Py_ssize_t step, int side) noexcept nogil:
    """The maker's books after what was filled of one of its orders in this step; then window and mid."""
    cdef Py_ssize_t lane, row = (step % s.imbalance_window) * LANES
    cdef double contracts, taken, paid, worth
    cdef Book* b
    for lane in range(LANES):
        b = &w.books[lane]
        contracts = b.filled[side]
        taken = contracts if side == ASK else -contracts
        paid = taken * b.order[side].tick
        worth = taken * blk.probability[lane]
        blk.taken[lane] = taken
        blk.cash[lane] += paid
        blk.notional[lane] += absolute(paid)
        blk.inventory[lane] -= taken
        blk.volume[lane] += contracts
        blk.at_fair[lane] += worth
        if b.filled_informed[side] > 0:
            taken = b.filled_informed[side] if side == ASK else -b.filled_informed[side]
            blk.informed_volume[lane] += absolute(taken)
            blk.informed_pnl[lane] += (taken * b.order[side].tick) * s.unit - taken * blk.probability[lane]
        if side == ASK:
            blk.sold[lane] = contracts
            blk.fills[lane] += b.fills
            blk.fees[lane] += b.fees
        else:
            blk.bought[lane] = contracts
        if contracts > 0.0:
            b.filled_before[step % MARKED][side] = b.filled[side]
            b.filled_tick[step % MARKED][side] = <uint8_t>b.order[side].tick
    if s.moves_mid:
        remember(blk, w.filled_signed + row, w.filled_total + row)
        shade(blk, s)


cdef void trade_in_book(Block* blk, const Settings* s, const Tables* t, Windows* w, Py_ssize_t step) noexcept nogil:
    let_flow(w, s, t, <uint64_t>step, s.labels + BOOK_FLOW, LANES, False)
    if s.flow == REPLAY:
        send_order(s, w, t.order_side[step], t.order_size[step], t.order_limit[step])
    else:
        send_takers(blk, s, t, w, step)
    book_side(blk, s, w, step, BID)
    book_side(blk, s, w, step, ASK)


cdef inline void mark_out(Book* b, Py_ssize_t horizon, Py_ssize_t step, double p, double unit) noexcept nogil:
    """What the fills of a step are worth, `step` and its move being the last of as many steps as the horizon has.

    What is told by place is all counted here, so that it is of the same steps: a path need not know where it ends.
    """
    cdef Py_ssize_t steps = 1 if horizon == 0 else (10 if horizon == 1 else 100), then = step + 1 - steps, side
    cdef int32_t contracts
    cdef int place
    cdef double value, price
    if then < 0:
        return
    for side in range(2):
        contracts = b.filled_before[then % MARKED][side]
        place = b.place[then & (PLACED - 1)][side]
        if horizon == 1 and place >= 0:
            b.queue_steps[place] += 1.0
            b.queue_fills[place] += contracts
        if contracts == 0:
            continue
        price = b.filled_tick[then % MARKED][side] * unit
        value = contracts * (p - price if side == BID else price - p)
        b.markout[horizon] += value
        b.marked_volume[horizon] += contracts
        if horizon == 1:
            b.queue_value[place] += value


cdef void look_back(Block* blk, const Settings* s, Windows* w, Py_ssize_t step) noexcept nogil:
    """After the fair value has moved: how the other makers see it, and mark-outs."""
    cdef Py_ssize_t lane, horizon
    cdef double weight = w.book.recentre_weight, unit = s.unit
    cdef Book* b
    for lane in range(LANES):
        b = &w.books[lane]
        b.lagged = b.lagged + (blk.probability[lane] - b.lagged) * weight
        for horizon in range(3):
            mark_out(b, horizon, step, blk.probability[lane], unit)


cdef inline Py_ssize_t metric_rows(const Settings* s) noexcept nogil:
    """How many rows of metrics a market has: the book's own come after the others."""
    return ROWS + (BOOK_ROWS if s.has_book else 0)


cdef void close_books(const Windows* w, double* out, Py_ssize_t stride, Py_ssize_t lanes) noexcept nogil:
    """The book's own metrics, after the others: mcmm.metrics.BOOK_NAMES in their order."""
    cdef Py_ssize_t lane, place, horizon
    cdef const Book* b
    for lane in range(lanes):
        b = &w.books[lane]
        out[lane] = b.events
        out[stride + lane] = b.refusals
        for place in range(PLACES):
            out[(2 + place) * stride + lane] = b.queue_steps[place]
            out[(6 + place) * stride + lane] = b.queue_fills[place]
            out[(10 + place) * stride + lane] = b.queue_value[place]
        for horizon in range(3):
            out[(14 + horizon) * stride + lane] = b.markout[horizon]
            out[(17 + horizon) * stride + lane] = b.marked_volume[horizon]


cdef void set_book(BookSettings* s, const int64_t[::1] numbers, const double[::1] factors) except *:
    """The settings of the venue: kernel/book.pxd, in the order that mcmm.plan has them."""
    cdef Py_ssize_t i
    if numbers.shape[0] != 14 + 3 * BOOK_LEVELS or factors.shape[0] != 2:
        raise ValueError("the settings of the book do not have the core's shape")
    s.ticks = <int32_t>numbers[0]
    s.levels = numbers[1]
    s.market_rate = numbers[2]
    s.limit_rate = numbers[3]
    s.cancel_rate[BOOK_LEVELS] = numbers[4]
    s.fill_rule = <FillRule>numbers[5]
    s.joins_only = numbers[6] != 0
    s.tops_up = numbers[7] != 0
    s.warmup_steps = numbers[8]
    s.place_latency = numbers[9]
    s.cancel_latency = numbers[10]
    s.passive_bound = <int32_t>numbers[11]
    s.start_bid = <int32_t>numbers[12]
    s.start_ask = <int32_t>numbers[13]
    s.recentre_strength = factors[0]
    s.recentre_weight = factors[1]
    for i in range(BOOK_LEVELS):
        s.limit_upto[i] = numbers[14 + i]
        s.cancel_rate[i] = numbers[4] + numbers[14 + BOOK_LEVELS + i]
        s.start_volume[i] = <int32_t>numbers[14 + 2 * BOOK_LEVELS + i]
