"""Who acts on the order book: model.md section 11. The zero-intelligence flow, takers, and the maker's two orders."""
from libc.stdint cimport int16_t, int32_t, int64_t

from mcmm.kernel.book cimport (
    ASK, BID, BOOK_PAD, Book, BookSettings, Decision, at_least, at_most, decision, double_of_whole, occupy,
    see_best, take_level, vacate,
)
from mcmm.kernel.fills cimport maker_fee
from mcmm.kernel.special cimport clip, nearest


cdef inline int32_t tilt_of(double lagged, int32_t bid, int32_t ask, double unit, double strength) noexcept nogil:
    """How far others lean towards a fair value, in 256ths: strength times what it is above the book's mid."""
    return <int32_t>nearest(clip(strength * (lagged - (bid + ask) * 0.5 * unit), -1.0, 1.0) * 256.0)


cdef inline double wait_of(double exponential, int64_t rate) noexcept nogil:
    """Steps until the next event: rate in units of 2^-32 a step."""
    return exponential / (double_of_whole(rate) * 2.3283064365386963e-10)


cdef inline void note_fill(
    Book* b, int side, int32_t contracts, double unit, double maker_rate, double rounding
) noexcept nogil:
    b.filled[side] += contracts
    b.fills += 1
    b.fees += maker_fee(maker_rate, b.order[side].tick * unit, contracts, rounding)


cdef inline int32_t take(
    Book* b, const BookSettings* s, int side, int32_t size, double unit, double known
) noexcept nogil:
    """A taker's order walks the levels of a side while they are better than what it knows; the rest is gone.

    Returns the maker's contracts in it: its order is at one price, so they are one fill.
    """
    cdef int32_t filled = 0, tick
    while size > 0:
        tick = b.best[side]
        if tick <= 0 or tick >= s.ticks or not (tick * unit > known if side == BID else tick * unit < known):
            break
        size -= take_level(b, side, size, s.fill_rule, &filled)
    return filled


cdef inline void cancel_order(Book* b, int side, Decision reached, int32_t room) noexcept nogil:
    """Cancel the maker's order where another price has been decided; cut it where it is to be smaller.

    reached: the decision that has reached the venue; room: what the inventory limit leaves, which the venue holds.
    """
    cdef int32_t tick = b.order[side].tick, wanted
    if b.order[side].size == 0:
        return
    wanted = at_least(at_most(reached.size, room), 0) if reached.tick == tick else 0
    b.order[side].size = at_most(b.order[side].size, wanted)
    vacate(b, side, tick)
    see_best(b, side)


cdef inline bint place_order(
    Book* b, const BookSettings* s, int side, Decision cancels, Decision places, int32_t room
) noexcept nogil:
    """Place the maker's order at the back if it is new, moved or made larger; not where it would trade at once.

    Returns whether it was placed.
    """
    cdef int32_t tick = places.tick, kept = b.order[side].size
    cdef int32_t wanted = at_most(at_most(places.size, cancels.size), room) if tick == cancels.tick else 0
    if wanted <= kept or (kept > 0 and not s.tops_up):
        return False
    if (tick >= b.best[ASK]) if side == BID else (tick <= b.best[BID]):
        b.refusals += 1.0
        return False
    b.order[side].tick = <int16_t>tick
    b.order[side].size = wanted
    b.order[side].ahead = b.volume[BOOK_PAD + tick]
    occupy(b, side, tick)
    see_best(b, side)
    return True


cdef inline void cancel_reaches(
    Book* b, const BookSettings* s, int side, Py_ssize_t step, int32_t room
) noexcept nogil:
    """`cancel_order` by what has reached the venue; one decided before what rests was sent is not of it."""
    cdef Py_ssize_t decided = step - s.cancel_latency
    cdef bint rests = b.order[side].size > 0
    if b.filled[side] > 0:
        b.met[side] = <int32_t>step
    if decided < b.sent[side]:
        decided = b.sent[side]
    cancel_order(b, side, decision(b, decided, side), room)
    if rests and b.order[side].size == 0:
        b.met[side] = 0


cdef inline void order_reaches(
    Book* b, const BookSettings* s, int side, Py_ssize_t step, int32_t room
) noexcept nogil:
    """`place_order` by what has reached the venue: what replaces an order waits for its cancel.

    Nor is anything placed that was decided before a fill of what it would replace, or of the order before it.
    """
    cdef bint rests = b.order[side].size > 0, late = s.place_latency > s.cancel_latency
    cdef Py_ssize_t decided = step - (s.cancel_latency if rests and not late else s.place_latency)
    cdef Decision order = decision(b, decided, side)
    # One that is the slower may be outdated when it comes: its cancel is there already.
    cdef Decision cancels = decision(b, step - s.cancel_latency if late else decided, side)
    if decided < b.met[side] or (rests and decided < b.sent[side]):
        return
    if place_order(b, s, side, cancels, order, room):
        b.sent[side] = <int32_t>decided
