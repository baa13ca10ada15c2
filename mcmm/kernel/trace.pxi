# A row of a trace, for the paths that are traced: what the taker sees, and what the step leaves. Included by _core.pyx.

cdef enum:
    T_PROBABILITY, T_MID, T_BID, T_ASK, T_BID_SIZE, T_ASK_SIZE, T_QUOTING, T_BOUGHT, T_SOLD, T_INVENTORY, T_CASH
    T_FEES, T_PNL, T_PNL_FAIR, T_DRAWDOWN, T_HALTED, COLUMNS


cdef inline double size_of(const Block* b, const Settings* s, double size, Py_ssize_t lane) noexcept nogil:
    """A quoted size: none where a halt keeps the takers away and the quote itself goes on."""
    return size * b.quoting[lane] if s.halts_takers else size


cdef inline double price_of(const Block* b, const Settings* s, double quoted, Py_ssize_t lane) noexcept nogil:
    """A quoted price in dollars; NaN where neither side is quoted."""
    if not b.quoting[lane] + size_of(b, s, b.bid_size[lane], lane) + size_of(b, s, b.ask_size[lane], lane) > 0.0:
        return NAN
    return quoted / s.ticks if s.grid else quoted


cdef inline double drawdown_of(const Block* b, const Settings* s, Py_ssize_t lane) noexcept nogil:
    return b.peak_fair[lane] - b.pnl_fair[lane] if s.marks_fair else b.peak[lane] - b.pnl[lane]


cdef void trace_quote(const Block* b, const Settings* s, double* row, Py_ssize_t lane) noexcept nogil:
    row[T_PROBABILITY] = b.probability[lane]
    row[T_MID] = b.mid[lane]
    row[T_BID] = price_of(b, s, b.bid[lane], lane)
    row[T_ASK] = price_of(b, s, b.ask[lane], lane)
    row[T_BID_SIZE] = size_of(b, s, b.bid_size[lane], lane)
    row[T_ASK_SIZE] = size_of(b, s, b.ask_size[lane], lane)
    row[T_QUOTING] = b.quoting[lane]


cdef void trace_books(const Block* b, const Settings* s, double* row, Py_ssize_t lane) noexcept nogil:
    row[T_BOUGHT] = b.bought[lane] if s.both_sides else max(0.0, -b.taken[lane])
    row[T_SOLD] = b.sold[lane] if s.both_sides else max(0.0, b.taken[lane])
    row[T_INVENTORY] = b.inventory[lane]
    row[T_CASH] = b.cash[lane] * s.unit + b.unwind_cash[lane]
    row[T_FEES] = b.fees[lane]
    row[T_PNL] = b.pnl[lane]
    row[T_PNL_FAIR] = b.pnl_fair[lane]
    row[T_DRAWDOWN] = drawdown_of(b, s, lane)
    row[T_HALTED] = b.halted[lane]
