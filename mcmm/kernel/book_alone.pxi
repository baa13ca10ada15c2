# The flow of others on given books, without a maker's policy: for tests of theory and speed. Included by _core.pyx.

from libc.stdint cimport int16_t, uint16_t


def play_book(
    Plan plan, uint64_t seed, uint64_t first_path, int32_t[:, ::1] states, int64_t[::1] events, Py_ssize_t steps,
    bint watched=False,
):
    """Let the flow of others act on given books, the GIL released; returns their states in place.

    states : (paths, ticks + 7), volumes at tick 0 .. ticks, then tick, size and ahead of the maker's bid and ask.
    events : (paths,), how many there were.
    watched : stop a path once a best price is not the first path's first one, or the maker's orders are filled.
    """
    cdef const BookSettings* s = &plan.tables.book
    cdef Py_ssize_t first = 0, lanes, lane, i, step, side, paths = states.shape[0]
    cdef char* memory
    cdef Windows w
    cdef Book* b
    if not plan.settings.has_book or states.shape[1] != s.ticks + 7 or events.shape[0] != paths:
        raise ValueError("the states are not those of a book")
    memset(&w, 0, sizeof(Windows))
    w.book, w.seed = s, seed
    memory = <char*>malloc(LANES * sizeof(Book) + 64)
    if memory == NULL:
        raise MemoryError
    w.books = <Book*>aligned(memory)
    with nogil:
        while first < paths:
            lanes = min(<Py_ssize_t>LANES, paths - first)
            w.path = first_path + <uint64_t>first
            memset(w.books, 0, LANES * sizeof(Book))
            for lane in range(lanes):
                b = &w.books[lane]
                b.lagged = plan.settings.initial_probability
                occupy(b, BID, 0)
                occupy(b, ASK, s.ticks)
                for side in range(2):
                    b.order[side].tick = <int16_t>states[first + lane, s.ticks + 1 + 3 * side]
                    b.order[side].size = states[first + lane, s.ticks + 2 + 3 * side]
                    b.order[side].ahead = <uint16_t>states[first + lane, s.ticks + 3 + 3 * side]
                    if b.order[side].size > 0:
                        occupy(b, <int>side, b.order[side].tick)
                see_best(b, BID)
                see_best(b, ASK)
                side = BID
                for i in range(1, s.ticks):
                    if states[first + lane, i] < 0:
                        side = ASK
                    if states[first + lane, i]:
                        join(b, <int>side, <int32_t>i, absolute_whole(states[first + lane, i]))
                w.watch_done[lane] = False
            w.watch_bid, w.watch_ask = w.books[0].best[BID], w.books[0].best[ASK]
            for step in range(steps):
                let_flow(&w, &plan.settings, &plan.tables, <uint64_t>step, BOOK_FLOW, lanes, watched)
            for lane in range(lanes):
                b = &w.books[lane]
                for i in range(s.ticks + 1):
                    states[first + lane, i] = b.volume[BOOK_PAD + i] if i <= b.best[BID] else -b.volume[BOOK_PAD + i]
                for side in range(2):
                    states[first + lane, s.ticks + 1 + 3 * side] = b.order[side].tick
                    states[first + lane, s.ticks + 2 + 3 * side] = b.order[side].size
                    states[first + lane, s.ticks + 3 + 3 * side] = b.order[side].ahead
                events[first + lane] = b.events
            first += lanes
        free(memory)


cdef inline int32_t absolute_whole(int32_t x) noexcept nogil:
    return -x if x < 0 else x


def book_bytes():
    """The bytes of a path's book."""
    return sizeof(Book)


def path_bytes(Plan plan):
    """The bytes of all that is kept of a path and market while it runs: its lane of the block and its windows."""
    return -(-block_size(&plan.settings) // LANES)
