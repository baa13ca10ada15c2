# What a path is worth at equally spaced steps, when that is asked for. Included by _core.pyx.
#
# Of `count` checkpoints the k-th (from 1) is what step ceil(k * steps / count) - 1 leaves, so that the last is the
# path's end: as the trace has it at that step, bit for bit, in a handful of numbers a path whatever its length.

cdef enum:
    C_PNL, C_DRAWDOWN, C_INVENTORY, C_SPREAD, CHECKPOINT_ROWS


cdef inline Py_ssize_t checkpoint_at(const Windows* w, const Settings* s, Py_ssize_t step) noexcept nogil:
    """The number of the checkpoint that this step leaves, from 0; -1 if none."""
    cdef Py_ssize_t before, after
    if w.checkpoints == NULL:
        return -1
    before = step * w.checkpoint_count // s.steps
    after = (step + 1) * w.checkpoint_count // s.steps
    return after - 1 if after > before else -1


cdef void checkpoint_quote(const Block* b, const Settings* s, const Windows* w, Py_ssize_t place) noexcept nogil:
    """The spread that the taker saw; NaN without a quote."""
    cdef Py_ssize_t lane
    cdef double* row
    for lane in range(w.checkpoint_lanes):
        row = w.checkpoints + (lane * w.checkpoint_count + place) * CHECKPOINT_ROWS
        row[C_SPREAD] = price_of(b, s, b.ask[lane], lane) - price_of(b, s, b.bid[lane], lane)


cdef void checkpoint_books(const Block* b, const Settings* s, const Windows* w, Py_ssize_t place) noexcept nogil:
    """What the step leaves; `book` has been called."""
    cdef Py_ssize_t lane
    cdef double* row
    for lane in range(w.checkpoint_lanes):
        row = w.checkpoints + (lane * w.checkpoint_count + place) * CHECKPOINT_ROWS
        row[C_PNL] = b.pnl[lane]
        row[C_DRAWDOWN] = drawdown_of(b, s, lane)
        row[C_INVENTORY] = b.inventory[lane]


cdef inline void keep_checkpoints(Windows* w, double* rows, Py_ssize_t count, Py_ssize_t lanes) noexcept nogil:
    """Have the next block's checkpoints written to `rows`, (lanes, count, CHECKPOINT_ROWS)."""
    w.checkpoints = rows
    w.checkpoint_count = count
    w.checkpoint_lanes = lanes
