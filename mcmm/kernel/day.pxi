# The settings of the step that runs: those of a schedule's piece, or always the same. Included by _core.pyx.

cdef struct Day:
    # the settings as they are now, and which piece of the schedule that is; without one they never change
    Settings now
    const Settings* current
    Py_ssize_t piece


cdef inline void begin_day(Day* day, const Settings* s, const Tables* t) noexcept nogil:
    day.piece = -1
    day.current = s
    if t.pieces:
        day.now = s[0]
        day.current = &day.now


cdef inline void follow_day(Day* day, const Tables* t, Py_ssize_t step) noexcept nogil:
    if t.pieces:
        day.piece = follow_schedule(&day.now, t, day.piece, step)


cdef inline bint news_ahead(const Day* day, const Tables* t, Py_ssize_t step) noexcept nogil:
    """Whether a scheduled jump lies within the steps that are drawn together."""
    return t.pieces > 0 and news_until(t, day.piece, step + 4)
