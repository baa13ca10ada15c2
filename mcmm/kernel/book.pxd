"""The order book: model.md section 11. Price-time priority on an array of ticks, in whole ticks and contracts.

At each tick rests what others want; the maker has one order a side, and of the others at its price it knows how many
contracts are ahead of it. Both sides share one array, because they never share a tick. All of it is integers.
"""
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint64_t

cdef extern from "book_bits.h":
    int highest "mcmm_highest"(uint64_t low, uint64_t high) noexcept nogil
    int lowest "mcmm_lowest"(uint64_t low, uint64_t high) noexcept nogil
    int lowest_of "mcmm_trailing"(uint64_t word) noexcept nogil
    double double_of_whole "mcmm_double_of_whole"(int64_t x) noexcept nogil

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
    MARKED = 100                    # steps whose fills are kept: as many as the longest mark-out has
    PLACED = 16                     # steps whose places are kept, of 10 that they are told after: a power of two
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
    int64_t cancel_rate[BOOK_LEVELS + 1]  # per contract; the last of them at distances beyond
    double recentre_strength, recentre_weight
    FillRule fill_rule
    bint joins_only, tops_up
    Py_ssize_t warmup_steps
    Py_ssize_t place_latency, cancel_latency
    int32_t passive_bound
    int32_t start_bid, start_ask    # best prices before the warm-up
    int32_t start_volume[BOOK_LEVELS]

cdef struct Order:
    int32_t size
    uint16_t ahead                  # others' contracts at its price that are filled before it
    int16_t tick

cdef struct Decision:
    int32_t tick, size

cdef struct Book:
    # what most events touch is one line of the cache
    uint64_t occupied[2][2]         # ticks with an order, the maker's included; beyond the last a sentinel
    int32_t depth[2]                # others' contracts
    Order order[2]                  # the maker's
    int16_t best[2]                 # 0 and the ticks in a dollar where there is none
    int32_t fills                   # how many fills of the maker's this step has had
    uint16_t volume[BOOK_TICKS]     # others', by tick + BOOK_PAD
    # where orders are faster than cancels: the step that decided what rests, and the first that knows of its last fill
    int32_t sent[2]
    int32_t met[2]
    int32_t filled[2]               # contracts of the maker's order filled in this step
    int32_t filled_informed[2]
    int64_t events
    double lagged                   # fair value, as the other makers see it
    double fees                     # of this step's fills
    # what is decided and has not reached the venue; what was filled, for mark-outs
    int32_t decided_size[DECISIONS][2]
    int32_t filled_before[MARKED][2]
    uint8_t decided_tick[DECISIONS][2]
    uint8_t filled_tick[MARKED][2]
    int8_t place[PLACED][2]         # -1 where the maker had no order
    # metrics
    double refusals
    double queue_steps[PLACES]
    double queue_fills[PLACES]
    double queue_value[PLACES]
    double markout[3]
    double marked_volume[3]
    # to a whole and odd number of lines of the cache, over which the books then spread
    double filler[3]


cdef inline Decision decision(const Book* b, Py_ssize_t step, int side) noexcept nogil:
    """What the maker decided in a step, one of the last DECISIONS."""
    cdef Decision d
    d.tick = b.decided_tick[step & (DECISIONS - 1)][side]
    d.size = b.decided_size[step & (DECISIONS - 1)][side]
    return d


cdef inline int32_t at_most(int32_t a, int32_t b) noexcept nogil:
    return a if a < b else b


cdef inline int32_t at_least(int32_t a, int32_t b) noexcept nogil:
    return a if a > b else b


cdef inline void see_best(Book* b, int side) noexcept nogil:
    if side == BID:
        b.best[BID] = <int16_t>highest(b.occupied[BID][0], b.occupied[BID][1])
    else:
        b.best[ASK] = <int16_t>lowest(b.occupied[ASK][0], b.occupied[ASK][1])


cdef inline void occupy(Book* b, int side, int32_t tick) noexcept nogil:
    b.occupied[side][tick >> 6] |= <uint64_t>1 << (tick & 63)


cdef inline bint is_makers(const Book* b, int side, int32_t tick) noexcept nogil:
    return (b.order[side].tick == tick) & (b.order[side].size > 0)


cdef inline void vacate(Book* b, int side, int32_t tick) noexcept nogil:
    """Where nothing is left at a tick it is no longer occupied."""
    cdef uint64_t gone = (b.volume[BOOK_PAD + tick] == 0) & (not is_makers(b, side, tick))
    b.occupied[side][tick >> 6] &= ~(gone << (tick & 63))


cdef inline int32_t join(Book* b, int side, int32_t tick, int32_t size) noexcept nogil:
    """A limit order of another, behind all that rests at its price; returns the contracts that are placed."""
    cdef int32_t placed = at_most(size, LEVEL_CAP - b.volume[BOOK_PAD + tick])
    b.volume[BOOK_PAD + tick] += <uint16_t>placed
    b.depth[side] += placed
    occupy(b, side, tick)
    b.best[side] = <int16_t>(at_least(b.best[side], tick) if side == BID else at_most(b.best[side], tick))
    return placed


cdef inline int32_t withdraw(Book* b, int side, int32_t tick, int32_t size, int32_t draw) noexcept nogil:
    """A cancel of another's order: where the maker rests, ahead of it with chance ahead / volume.

    Returns the contracts that are gone.
    """
    cdef int32_t volume = b.volume[BOOK_PAD + tick], gone = at_most(size, volume), ahead
    if is_makers(b, side, tick):
        ahead = b.order[side].ahead
        if <int32_t>((<int64_t>draw * volume) >> 31) < ahead:
            gone = at_most(size, ahead)
            b.order[side].ahead = <uint16_t>(ahead - gone)
        else:
            gone = at_most(size, volume - ahead)
    b.volume[BOOK_PAD + tick] = <uint16_t>(volume - gone)
    b.depth[side] -= gone
    vacate(b, side, tick)
    see_best(b, side)
    return gone


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
    b.volume[BOOK_PAD + tick] = <uint16_t>(volume - others)
    b.depth[side] -= others
    if b.order[side].tick == tick:
        b.order[side].ahead = <uint16_t>at_least(b.order[side].ahead - others, 0)
    vacate(b, side, tick)
    see_best(b, side)
    return others + own


cdef inline int64_t cancel_rate_of(
    const Book* b, const BookSettings* s, int side, Py_ssize_t levels
) noexcept nogil:
    """The rate of others' cancels on a side: by contract and distance from the opposite best."""
    cdef Py_ssize_t i
    cdef int64_t beyond = s.cancel_rate[BOOK_LEVELS], rate = beyond * b.depth[side]
    cdef const uint16_t* volume = &b.volume[BOOK_PAD + b.best[1 - side]]
    for i in range(levels):
        rate += (s.cancel_rate[i] - beyond) * volume[-1 - i if side == BID else 1 + i]
    return rate


cdef inline int32_t cancelled_level(
    const Book* b, const BookSettings* s, int side, int64_t* at, Py_ssize_t levels
) noexcept nogil:
    """How many distances from the opposite best have less than `at` of a side's cancel rate; `levels` at most.

    Where it is as many, their rates are taken from `at`.
    """
    cdef const uint16_t* volume = &b.volume[BOOK_PAD + b.best[1 - side]]
    cdef int64_t upto = 0
    cdef int32_t passed = 0
    cdef Py_ssize_t i
    for i in range(levels):
        upto += s.cancel_rate[i] * volume[-1 - i if side == BID else 1 + i]
        # Counted and not left at the first: where the loop ends could not be foretold.
        passed += at[0] >= upto
    if passed == levels:
        at[0] -= upto
    return passed


cdef inline int32_t cancelled_tick(
    const Book* b, const BookSettings* s, int side, int64_t at, int32_t passed, Py_ssize_t levels
) noexcept nogil:
    """The tick whose share of a side's cancel rate holds `at`, counted from the opposite best."""
    cdef int32_t away = -1 if side == BID else 1, tick = b.best[1 - side] + away * (passed + 1)
    if passed == levels:
        while tick > 0 and tick < s.ticks:
            at -= s.cancel_rate[BOOK_LEVELS] * b.volume[BOOK_PAD + tick]
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
    # Unsigned, for a vector of them is shifted in every build.
    cdef uint64_t d = <uint64_t>draw, r = <uint64_t>rate
    return <int64_t>(d * (r >> 31) + ((d * (r & 0x7FFFFFFF)) >> 31))


cdef inline int place_class(int32_t ahead, int32_t quote_size) noexcept nogil:
    """0 at the front, 1 behind a quote's size at most, 2 behind four, 3 further back."""
    return (ahead > 0) + (ahead > quote_size) + (ahead > 4 * quote_size)
