"""The schedule: settings that change with the step, looked up once a step for a whole block. model.md section 1."""
from libc.stdint cimport int32_t

from mcmm.kernel.state cimport (
    PIECE_ARRIVAL_BASE, PIECE_ARRIVAL_BOUND, PIECE_CANCELS, PIECE_COLUMNS, PIECE_HAS_NEWS, PIECE_INFORMED_BOUND,
    PIECE_NEWS_BOUND, PIECE_NEWS_STRENGTH, PIECE_PAUSED, PIECE_START, PIECE_VARIANCE, PIECE_VOLATILITY, Settings,
    Tables,
)


cdef inline Py_ssize_t follow_schedule(
    Settings* now, const Tables* t, Py_ssize_t piece, Py_ssize_t step
) noexcept nogil:
    """Bring the settings to a step, one after the last; returns the piece that holds them, -1 before the first."""
    cdef const double* row
    cdef bint paused = now.venue_paused
    while piece + 1 < t.pieces and t.piece_rows[(piece + 1) * PIECE_COLUMNS + PIECE_START] <= step:
        piece += 1
        row = t.piece_rows + piece * PIECE_COLUMNS
        now.volatility = row[PIECE_VOLATILITY]
        now.variance = row[PIECE_VARIANCE]
        now.arrival_base = row[PIECE_ARRIVAL_BASE]
        now.arrival_bound = <int32_t>row[PIECE_ARRIVAL_BOUND]
        now.informed_bound = <int32_t>row[PIECE_INFORMED_BOUND]
        now.news_bound = <int32_t>row[PIECE_NEWS_BOUND]
        now.news_strength = row[PIECE_NEWS_STRENGTH]
        now.has_news = row[PIECE_HAS_NEWS] != 0.0
        now.venue_paused = row[PIECE_PAUSED] != 0.0
        now.venue_cancels = row[PIECE_CANCELS] != 0.0
    now.venue_resumes = paused and not now.venue_paused
    return piece


cdef inline bint news_until(const Tables* t, Py_ssize_t piece, Py_ssize_t step) noexcept nogil:
    """Whether a piece from this one on that begins before a step has news."""
    cdef Py_ssize_t i
    for i in range(piece, t.pieces):
        if t.piece_rows[i * PIECE_COLUMNS + PIECE_START] >= step:
            return False
        if t.piece_rows[i * PIECE_COLUMNS + PIECE_HAS_NEWS] != 0.0:
            return True
    return False
