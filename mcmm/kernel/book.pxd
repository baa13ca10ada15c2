"""The order book: model.md section 11. Price-time priority on an array of ticks, in whole ticks and contracts.

At each tick rests what others want; the maker has one order a side, and of the others at its price it knows how many
contracts are ahead of it. Both sides share one array, because they never share a tick. All of it is integers.
"""
from libc.stdint cimport int32_t, int64_t, uint64_t

cdef extern from "book_bits.h":
    int highest "mcmm_highest"(uint64_t low, uint64_t high) noexcept nogil
    int lowest "mcmm_lowest"(uint64_t low, uint64_t high) noexcept nogil

cdef enum:
    BID = 0
    ASK = 1
    BOOK_LEVELS = 16                # the most distances that have a rate of their own
    BOOK_PAD = 16                   # empty ticks before the first, so that a scan need not look where it is
    BOOK_TICKS = 136                # with the pad, and as many after 1 dollar
    LEVEL_CAP = 65535               # contracts of others at a tick
    MOST_EVENTS = 16383             # in a step
    MOST_LATENCY = 32               # steps
    DECISIONS = 64                  # a power of two beyond it
    MARKED = 128                    # steps whose places and fills are kept; a power of two beyond the longest mark-out
    PLACES = 4                      # classes of the place in the queue

cdef enum FillRule:
    QUEUE = 0
    TOUCH = 1
    THROUGH = 2

cdef struct BookSettings:
    # rates are whole multiples of 2^-24 a step
    int32_t ticks                   # in a dollar
    Py_ssize_t levels
    int64_t market_rate             # of both sides together
    int64_t limit_rate              # of all distances and both sides
    int64_t limit_upto[BOOK_LEVELS]  # of distances 1 .. i + 1, both sides; in units of 2^-32
    int64_t cancel_rate[BOOK_LEVELS]  # per contract
    int64_t cancel_beyond           # at distances beyond the last
    double recentre_strength, recentre_weight
    FillRule fill_rule
    bint joins_only, tops_up
    Py_ssize_t warmup_steps
    Py_ssize_t place_latency, cancel_latency
    int32_t passive_bound
    int32_t start_bid, start_ask    # best prices before the warm-up
    int32_t start_volume[BOOK_LEVELS]

cdef struct Order:
    int32_t tick, size, ahead       # ahead: others' contracts at its price that are filled before it

cdef struct Decision:
    int32_t tick, size

cdef struct FilledStep:
    int32_t contracts
    short tick, place               # place: -1 where the maker had no order

cdef struct Book:
    int32_t volume[BOOK_TICKS]      # others', by tick + BOOK_PAD
    int32_t depth[2]                # their sum
    int32_t best[2]                 # 0 and the ticks in a dollar where there is none
    uint64_t occupied[2][2]         # ticks with an order, the maker's included; beyond the last a sentinel
    Order order[2]                  # the maker's
    # where orders are faster than cancels: the step that decided what rests, and the first that knows of its last fill
    int32_t sent[2]
    int32_t met[2]
    int32_t tilt                    # of others' limit orders towards bids, and of cancels towards asks: -256 .. 256
    int32_t filled[2]               # contracts of the maker's order filled in this step
    int32_t filled_informed[2]
    int32_t fills                   # how many fills that were
    int64_t events
    double left                     # of the step
    double lagged                   # fair value, as the other makers see it
    double fees                     # of this step's fills
    # what is decided and has not reached the venue; what was filled, for mark-outs
    Decision decided[DECISIONS][2]
    FilledStep marks[MARKED][2]
    # metrics
    double refusals
    double queue_steps[PLACES]
    double queue_fills[PLACES]
    double queue_value[PLACES]
    double markout[3]
    double marked_volume[3]


cdef inline int32_t at_most(int32_t a, int32_t b) noexcept nogil:
    return a if a < b else b


cdef inline int32_t at_least(int32_t a, int32_t b) noexcept nogil:
    return a if a > b else b


cdef inline void see_best(Book* b, int side) noexcept nogil:
    if side == BID:
        b.best[BID] = highest(b.occupied[BID][0], b.occupied[BID][1])
    else:
        b.best[ASK] = lowest(b.occupied[ASK][0], b.occupied[ASK][1])


cdef inline void occupy(Book* b, int side, int32_t tick) noexcept nogil:
    b.occupied[side][tick >> 6] |= <uint64_t>1 << (tick & 63)


cdef inline bint is_makers(const Book* b, int side, int32_t tick) noexcept nogil:
    return (b.order[side].tick == tick) & (b.order[side].size > 0)


cdef inline void vacate(Book* b, int side, int32_t tick) noexcept nogil:
    """Where nothing is left at a tick it is no longer occupied."""
    cdef uint64_t gone = (b.volume[BOOK_PAD + tick] == 0) & (not is_makers(b, side, tick))
    b.occupied[side][tick >> 6] &= ~(gone << (tick & 63))


cdef inline void join(Book* b, int side, int32_t tick, int32_t size) noexcept nogil:
    """A limit order of another: behind all that rests at its price."""
    cdef int32_t placed = at_most(size, LEVEL_CAP - b.volume[BOOK_PAD + tick])
    b.volume[BOOK_PAD + tick] += placed
    b.depth[side] += placed
    occupy(b, side, tick)
    b.best[side] = at_least(b.best[side], tick) if side == BID else at_most(b.best[side], tick)


cdef inline void withdraw(Book* b, int side, int32_t tick, int32_t size, int32_t draw) noexcept nogil:
    """A cancel of another's order: where the maker rests, ahead of it with chance ahead / volume."""
    cdef int32_t volume = b.volume[BOOK_PAD + tick], gone = at_most(size, volume), ahead
    if is_makers(b, side, tick):
        ahead = b.order[side].ahead
        if <int32_t>((<int64_t>draw * volume) >> 31) < ahead:
            gone = at_most(size, ahead)
            b.order[side].ahead = ahead - gone
        else:
            gone = at_most(size, volume - ahead)
    b.volume[BOOK_PAD + tick] = volume - gone
    b.depth[side] -= gone
    vacate(b, side, tick)
    see_best(b, side)


cdef inline int32_t first_to_fill(const Book* b, int side, int32_t tick, FillRule rule) noexcept nogil:
    """How many of the others' contracts at the maker's price are filled before it."""
    if rule == QUEUE:
        return b.order[side].ahead
    return 0 if rule == TOUCH else b.volume[BOOK_PAD + tick]


cdef inline int32_t take_level(Book* b, int side, int32_t size, FillRule rule, int32_t* filled) noexcept nogil:
    """Fill up to `size` contracts at the best price, in their order; returns how many, the maker's in `filled`."""
    cdef int32_t tick = b.best[side], volume = b.volume[BOOK_PAD + tick], before = volume, own = 0, others
    if is_makers(b, side, tick):
        before = first_to_fill(b, side, tick, rule)
        own = at_most(at_least(size - before, 0), b.order[side].size)
        b.order[side].size -= own
        filled[0] += own
    others = at_most(size, before)
    others += at_most(size - others - own, volume - others)
    b.volume[BOOK_PAD + tick] = volume - others
    b.depth[side] -= others
    if b.order[side].tick == tick:
        b.order[side].ahead = at_least(b.order[side].ahead - others, 0)
    vacate(b, side, tick)
    see_best(b, side)
    return others + own


cdef inline int64_t cancel_rate_of(
    const Book* b, const BookSettings* s, int side, Py_ssize_t levels
) noexcept nogil:
    """The rate of others' cancels on a side: by contract and distance from the opposite best."""
    cdef Py_ssize_t i
    cdef int64_t rate = s.cancel_beyond * b.depth[side]
    cdef const int32_t* volume = &b.volume[BOOK_PAD + b.best[1 - side]]
    for i in range(levels):
        rate += s.cancel_rate[i] * volume[-1 - i if side == BID else 1 + i]
    return rate


cdef inline int32_t cancelled_tick(
    const Book* b, const BookSettings* s, int side, int64_t at, Py_ssize_t levels
) noexcept nogil:
    """The tick whose share of a side's cancel rate holds `at`, counted from the opposite best."""
    cdef int32_t away = -1 if side == BID else 1, tick = b.best[1 - side] + away
    cdef const int32_t* volume = &b.volume[BOOK_PAD + tick]
    cdef int64_t upto = 0
    cdef int32_t passed = 0
    cdef Py_ssize_t i
    for i in range(levels):
        upto += (s.cancel_rate[i] + s.cancel_beyond) * volume[-i if side == BID else i]
        # Counted and not left at the first: where the loop ends could not be foretold.
        passed += at >= upto
    tick += away * passed
    if passed == levels:
        at -= upto
        while tick > 0 and tick < s.ticks:
            at -= s.cancel_beyond * b.volume[BOOK_PAD + tick]
            if at < 0:
                break
            tick += away
    return tick


cdef inline int32_t limit_distance(const BookSettings* s, int64_t at, Py_ssize_t levels) noexcept nogil:
    """The distance, from 1, whose share of the rate of limit orders holds `at`."""
    cdef int32_t passed = 1
    cdef Py_ssize_t i
    for i in range(levels):
        passed += at >= s.limit_upto[i]
    return passed


cdef inline int64_t share_of(int32_t draw, int64_t rate) noexcept nogil:
    """floor(draw * rate / 2^31), exactly, for rate < 2^63."""
    return <int64_t>draw * (rate >> 31) + ((<int64_t>draw * (rate & 0x7FFFFFFF)) >> 31)


cdef inline int place_class(int32_t ahead, int32_t quote_size) noexcept nogil:
    """0 at the front, 1 behind a quote's size at most, 2 behind four, 3 further back."""
    return (ahead > 0) + (ahead > quote_size) + (ahead > 4 * quote_size)
