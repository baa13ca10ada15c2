# Paths that are resumed from a saved state with other draws, until their drawdown passes a level. For _core.pyx.
#
# A lane's state is all of its elements in the block's arrays but the draws, and its column of each window: whatever a
# rule may read in a later step; what is derived from it is made anew. It is copied as it lies in memory, by rows of one
# width, without naming any of them.

from mcmm.kernel.risk cimport allowed_drawdown
from mcmm.kernel.state cimport ALLOWED


cdef inline Py_ssize_t wide_rows(const Block* b) noexcept nogil:
    """How many rows of doubles there are, which come first."""
    return (<const char*>&b.work_single[0] - <const char*>b) // (LANES * 8)


cdef inline Py_ssize_t narrow_rows(const Block* b) noexcept nogil:
    """How many rows half as wide follow, up to the draws."""
    return (<const char*>&b.z[0][0] - <const char*>&b.work_single[0]) // (LANES * 4)


cdef void copy_rows(
    char* state, char* rows, Py_ssize_t count, Py_ssize_t width, Py_ssize_t lane, bint load
) noexcept nogil:
    cdef Py_ssize_t row
    for row in range(count):
        if load:
            memcpy(rows + (row * LANES + lane) * width, state + row * width, width)
        else:
            memcpy(state + row * width, rows + (row * LANES + lane) * width, width)


cdef Py_ssize_t copy_lane(
    char* state, Block* b, Windows* w, const Settings* s, Py_ssize_t lane, bint load, bint count
) noexcept nogil:
    """Copy a lane to or from a state, or only count its bytes; returns how many they are."""
    cdef Py_ssize_t at = 0, wide = wide_rows(b), narrow = narrow_rows(b)
    if not count:
        copy_rows(state, <char*>b, wide, 8, lane, load)
        copy_rows(state + wide * 8, <char*>&b.work_single[0], narrow, 4, lane, load)
        if load:
            b.derived[ALLOWED][lane] = INFINITY if b.halted[lane] > 0.0 else allowed_drawdown(s.drawdown_limit)
    at += wide * 8 + narrow * 4
    if w.loss_ring != NULL:
        if not count:
            copy_rows(state + at, <char*>w.loss_ring, s.loss_window + 1, 8, lane, load)
        at += (s.loss_window + 1) * 8
    if w.filled_signed != NULL:
        if not count:
            copy_rows(state + at, <char*>w.filled_signed, s.imbalance_window, 4, lane, load)
        at += s.imbalance_window * 4
    if w.filled_total != NULL:
        if not count:
            copy_rows(state + at, <char*>w.filled_total, s.imbalance_window, 4, lane, load)
        at += s.imbalance_window * 4
    if w.volume_ring != NULL:
        if not count:
            copy_rows(state + at, <char*>w.volume_ring, s.volume_window, 4, lane, load)
        at += s.volume_window * 4
    if w.books != NULL:
        if not count:
            copy_rows(state + at, <char*>(w.books + lane), 1, sizeof(Book), 0, load)
        at += sizeof(Book)
    return at


cdef struct Crossing:
    # of one run: what is watched, the states that lanes start from (NULL: the beginning), and what is found
    bint at_fair
    double level
    Py_ssize_t size
    char* states
    const long long* starts
    char* entrances
    long long* crossed              # the step at which a lane goes on from its entrance; -1: it never came there
    double* reached


cdef inline double watched_drawdown(const Block* b, const Crossing* c, Py_ssize_t lane) noexcept nogil:
    return b.max_drawdown_fair[lane] if c.at_fair else b.max_drawdown[lane]


cdef inline bint has_crossed(
    Block* b, Windows* w, const Settings* s, const Crossing* c, Py_ssize_t lane, Py_ssize_t path, Py_ssize_t step
) noexcept nogil:
    """Note a lane's drawdown, and its state where that passes the level; it goes on at `step`."""
    cdef double drawdown = watched_drawdown(b, c, lane)
    c.reached[path] = drawdown
    if not drawdown > c.level:
        return False
    copy_lane(c.entrances + path * c.size, b, w, s, lane, False, False)
    c.crossed[path] = step
    return True


cdef Py_ssize_t resume_block(
    Block* b, const Settings* s, const Tables* t, Windows* w, uint64_t seed, uint64_t first_path, const Crossing* c,
    Py_ssize_t first, Py_ssize_t lanes, const volatile int* stop
) noexcept nogil:
    """Run paths first .. first + lanes - 1 until each has crossed or ended; returns the steps that were run.

    The lanes of a block are at the same step, and their paths start at different ones: a lane runs idle until its own
    path starts, when its state is put in its place. Whoever calls sorts the paths by their starts.
    """
    cdef Py_ssize_t lane, step, begin = s.steps, begun, left = 0
    cdef bint open_lanes[LANES]
    cdef Day day
    begin_day(&day, s, t)
    open_block(b, s, seed, first_path + <uint64_t>first)
    open_windows(w, s)
    if s.has_book:
        open_books(w, s, t, seed, first_path + <uint64_t>first)
    for lane in range(lanes):
        c.crossed[first + lane] = -1
        c.reached[first + lane] = 0.0
        open_lanes[lane] = True
        left += 1
        if c.states == NULL:
            begin = 0
            continue
        copy_lane(c.states + (first + lane) * c.size, b, w, s, lane, True, False)
        # A jump may pass several levels at once.
        if has_crossed(b, w, s, c, lane, first + lane, c.starts[first + lane]):
            open_lanes[lane] = False
            left -= 1
        elif c.starts[first + lane] < begin:
            begin = c.starts[first + lane]
    for step in range(begin):
        follow_day(&day, t, step)
    begun = begin
    for step in range(begin, s.steps):
        if left == 0:
            break
        if step & 3 == 0 and stop != NULL and stop[0]:
            return -1
        follow_day(&day, t, step)
        if step & 3 == 0 or step == begin:
            draw_steps(b, s, t, seed, <uint64_t>step >> 2, news_ahead(&day, t, step))
        if c.states != NULL:
            for lane in range(lanes):
                if c.starts[first + lane] == step and open_lanes[lane]:
                    copy_lane(c.states + (first + lane) * c.size, b, w, s, lane, True, False)
                    # Its last step may have tripped a breaker.
                    b.revised = True
        run_step(b, day.current, t, w, step, NULL, 0)
        begun = step + 1
        for lane in range(lanes):
            if open_lanes[lane] and (c.states == NULL or c.starts[first + lane] <= step):
                if has_crossed(b, w, s, c, lane, first + lane, step + 1):
                    open_lanes[lane] = False
                    left -= 1
    return begun - begin


def state_bytes(Plan plan):
    """How many bytes a path's state has, as `run_until` takes and gives it."""
    cdef Windows w
    place_windows(<char*>64, &plan.settings, &w)
    return copy_lane(NULL, NULL, &w, &plan.settings, 0, False, True)


def run_until(
    Plan plan, uint64_t seed, uint64_t first_path, bint at_fair, double level, char[:, ::1] states,
    const long long[::1] starts, char[:, ::1] entrances, long long[::1] crossed, double[::1] reached,
    int[::1] stop=None,
):
    """Run ``crossed.shape[0]`` paths until their largest drawdown passes a level, the GIL released.

    at_fair : whether it is `max_drawdown_fair`, else `max_drawdown` at the maker's mid.
    states, starts : (paths, state_bytes), (paths,): where they start, sorted by step; None: at the beginning.
    entrances, crossed : (paths, state_bytes), (paths,): their state once they have passed it, and the step at which
        that goes on; -1 where a path never passes.
    reached : (paths,): the largest drawdown, of a path that passed as of then.

    Draws are keyed by `seed` and the place of a path, so a path that is resumed with another seed than it had meets
    a market of its own from there on. Returns the steps of lanes that were computed; -1 if it was stopped.
    """
    # Lanes begin in the midst of four steps, and so take each by itself.
    cdef Settings own = plan.settings
    cdef const Settings* s = &own
    cdef Py_ssize_t paths = crossed.shape[0], first = 0, steps, total = 0
    cdef Crossing c
    cdef Windows w
    cdef Block* b
    cdef char* memory
    cdef const volatile int* stopping = &stop[0] if stop is not None else NULL
    own.walks_at_once = False
    c.size = state_bytes(plan)
    if entrances.shape[0] != paths or entrances.shape[1] != c.size or reached.shape[0] != paths or (
        states is not None and (states.shape[0] != paths or states.shape[1] != c.size or starts.shape[0] != paths)
    ):
        raise ValueError("the arrays do not have the core's shape")
    if s.policy == CUSTOM:
        raise ValueError("a policy of one's own has a state that the core does not know")
    if paths == 0:
        return 0
    c.at_fair, c.level = at_fair or s.marks_fair, level
    c.states = &states[0, 0] if states is not None else NULL
    c.starts = &starts[0] if states is not None else NULL
    c.entrances, c.crossed, c.reached = &entrances[0, 0], &crossed[0], &reached[0]
    memory = <char*>malloc(block_size(s) + 64)
    if memory == NULL:
        raise MemoryError
    b = place_block(<char*>aligned(memory), s, &w)
    with nogil:
        while first < paths and total >= 0:
            steps = resume_block(
                b, s, &plan.tables, &w, seed, first_path, &c, first, min(<Py_ssize_t>LANES, paths - first), stopping
            )
            total = total + steps * LANES if steps >= 0 else -1
            first += LANES
        free(memory)
    return total
