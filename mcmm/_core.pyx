# cython: language_level=3
"""The compiled core: lays out a block of paths, runs its steps, writes its metrics.

Design
------
A. A block is a struct of arrays, one element a path (`kernel/state.pxd`). The rules of the market are pure inline
   functions (`kernel/fair.pxd`, `quoting.pxd`, `takers.pxd`, `fills.pxd`, `risk.pxd`, `recovery.pxd`); the phases of
   a step are short loops over the lanes that call them (`kernel/*_lanes.pxd`).
B. `run_step` below is model.md section 2, in its order; `kernel/step.pxi` chooses each phase's loops once for the whole
   block, so what a scenario does not use costs nothing.
C. A draw is keyed by (seed, path, market, step, purpose), never taken from a sequence: blocks, threads and the number
   of paths cannot change a path.
D. State is constant in the number of steps. Nothing is allocated, logged or validated inside a block, and the GIL is
   released for all of it: Python hands over numbers that it has checked.
E. Compiled without contraction and without libm's transcendentals, so that every instruction set gives the same bits.
"""
from libc.math cimport INFINITY, NAN, fabs
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer

from mcmm.kernel cimport fair, single, special
from mcmm.kernel.close_lanes cimport (
    AVERAGE_SPREAD, BREAKER_OVERSHOOT, DELAY_COST, EXPOSURE_LIMIT_STEPS, FINAL_MID, FINAL_PROBABILITY, HALT_REASON,
    HALT_STEP, MAX_DRAWDOWN, MAX_DRAWDOWN_FAIR, MAX_EXPOSURE, MAX_INVENTORY, OUTCOME_, QUOTED_FRACTION,
    REALISED_OVERSHOOT, ROWS, TRIPS, UNWINDING_COST, count_to_halt, kept, open_lanes, resolve, tell_books, tell_quotes,
    tell_trips,
)
from mcmm.kernel.custom_lanes cimport open_state
from mcmm.kernel.draw_lanes cimport draw
from mcmm.kernel.mark_lanes cimport book
from mcmm.kernel.random cimport (
    MCMM_ARS_ROUNDS, OUTCOME, Pair, ars, ars_begun, begin_lanes, choose_ars, normal_pair, uniform,
)
from mcmm.kernel.schedule cimport follow_schedule, news_until
from mcmm.kernel.state cimport (
    CUSTOM, INTENSITY, LANES, PAUSE, PIECE_COLUMNS, REPLAY, STATE_ROWS, THRESHOLD,
    VIEW_ROWS, Block, QuoteFunction, Settings, Tables, Windows,
)
from mcmm.kernel.takers cimport SizeGuide, guide_sizes

cdef extern from *:
    """
    #if defined(__AVX512F__)
    #define MCMM_ISA_NAME "avx512"
    #elif defined(__AVX2__)
    #define MCMM_ISA_NAME "avx2"
    #else
    #define MCMM_ISA_NAME "baseline"
    #endif
    #if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
    static int mcmm_has_avx2(void) { return __builtin_cpu_supports("avx2") != 0; }
    static int mcmm_has_avx512(void) {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
            && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
    }
    #else
    static int mcmm_has_avx2(void) { return 0; }
    static int mcmm_has_avx512(void) { return 0; }
    #endif
    #if defined(__clang__)
    #define MCMM_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define MCMM_COMPILER "gcc " __VERSION__
    #else
    #define MCMM_COMPILER "unknown"
    #endif
    #if defined(__GNUC__) || defined(__clang__)
    #define MCMM_EXPECT_WRITE(p) __builtin_prefetch(p, 1, 2)
    #else
    #define MCMM_EXPECT_WRITE(p) ((void)(p))
    #endif
    """
    const char* MCMM_ISA_NAME
    const char* MCMM_COMPILER
    bint mcmm_has_avx2()
    bint mcmm_has_avx512()
    void expect_write "MCMM_EXPECT_WRITE"(const void* p) noexcept nogil

TRACE_COLUMNS = (
    "probability", "mid", "bid", "ask", "bid_size", "ask_size", "quoting", "bought", "sold", "inventory", "cash",
    "fees", "pnl", "pnl_fair", "drawdown", "halted",
)
CHECKPOINT_COLUMNS = ("pnl", "drawdown", "inventory", "spread")
METRIC_ROWS = ROWS
BLOCK = LANES
POLICY_ROWS, POLICY_STATE_ROWS = VIEW_ROWS, STATE_ROWS


cdef void open_block(Block* b, const Settings* s, uint64_t seed, uint64_t path) noexcept nogil:
    # All but the draws: those that are made are made anew, and the others stay 0.
    memset(b, 0, <char*>&b.z[0][0] - <char*>b)
    b.portfolio = NULL
    b.revised = False
    begin_lanes(seed, path, b.begun, LANES)
    draw(b.u_side, seed, path, 0, s.labels + OUTCOME)
    open_lanes(b, s)


cdef void open_windows(Windows* w, const Settings* s) noexcept nogil:
    cdef Py_ssize_t i
    if w.filled_signed != NULL:
        memset(w.filled_signed, 0, s.imbalance_window * LANES * sizeof(float))
    if w.filled_total != NULL:
        memset(w.filled_total, 0, s.imbalance_window * LANES * sizeof(float))
    if w.volume_ring != NULL:
        memset(w.volume_ring, 0, s.volume_window * LANES * sizeof(float))
    if w.view != NULL:
        open_state(w.view)
    if w.loss_ring != NULL:
        for i in range(LANES):
            w.loss_ring[i] = 0.0
        for i in range(LANES, (s.loss_window + 1) * LANES):
            w.loss_ring[i] = -INFINITY


include "kernel/custom.pxi"


include "kernel/step.pxi"


include "kernel/book_events.pxi"
include "kernel/book.pxi"


include "kernel/trace.pxi"


include "kernel/checkpoints.pxi"


cdef bint offer(Block* b, const Settings* s, const Tables* t, Windows* w, Py_ssize_t step) noexcept nogil:
    """Phases 1 and 2 of model.md section 2: the connection and the quote; whether there is one (`quote`)."""
    if s.may_stop:
        begin(b, s, step)
    return quote(b, s, t, w, step)


cdef void settle(Block* b, const Settings* s, const Tables* t, Windows* w, Py_ssize_t step) noexcept nogil:
    """Phases 5 and 6: the fair value moves, the books are marked and checked."""
    move(b, s, t, step)
    mark_and_check(b, s, w, step)


cdef bint run_step(
    Block* b, const Settings* s, const Tables* t, Windows* w, Py_ssize_t step, double* trace, Py_ssize_t traced
) noexcept nogil:
    """Model.md section 2, in its order, end_step is to follow; whether the path goes on."""
    cdef Py_ssize_t lane, place = checkpoint_at(w, s, step)
    if not offer(b, s, t, w, step):
        return False
    if place >= 0:
        checkpoint_quote(b, s, w, place)
    for lane in range(traced):
        trace_quote(b, s, trace + (lane * s.steps + step) * COLUMNS, lane)
    trade(b, s, t, w, step)
    settle(b, s, t, w, step)
    return True


cdef void end_step(
    Block* b, const Settings* s, const Windows* w, Py_ssize_t step, double* trace, Py_ssize_t traced
) noexcept nogil:
    cdef Py_ssize_t lane, place = checkpoint_at(w, s, step)
    if traced or place >= 0 or step + 1 == s.steps:
        book(b, s)
    if place >= 0:
        checkpoint_books(b, s, w, place)
    for lane in range(traced):
        trace_books(b, s, trace + (lane * s.steps + step) * COLUMNS, lane)


cdef void close_block(
    Block* b, const Settings* s, uint64_t seed, uint64_t path, double* out, Py_ssize_t stride, Py_ssize_t lanes
) noexcept nogil:
    """Settle, and write a column of metrics for each of the first `lanes` lanes.

    What is not kept as it is reported is put together aside, and all is written row by row: rows may lie as far apart
    as would make the cache's lines of all of them compete for one place.
    """
    cdef Py_ssize_t row
    cdef double told[ROWS * LANES]
    cdef const double* row_of
    if s.bounded and (s.process == THRESHOLD or s.flow == REPLAY):
        draw(b.u_side, seed, path, 0, s.labels + OUTCOME)
        resolve(b)
        if b.portfolio != NULL and b.portfolio.settings.correlated and s.flow != REPLAY and s.resolution_step > s.steps:
            join_outcomes(b, s)
    if s.halts_takers:
        count_to_halt(b, s)
    tell_books(b, s, told)
    tell_quotes(b, s, told)
    tell_trips(b, s, told)
    for row in range(ROWS):
        row_of = kept(b, row)
        if row_of == NULL:
            row_of = &told[row * LANES]
        memcpy(out + row * stride, row_of, lanes * sizeof(double))


cdef void expect_block(const double* out, Py_ssize_t stride, Py_ssize_t lanes) noexcept nogil:
    """Have the cache fetch, while a block runs, the lines that close_block writes: they lie in as many pages as there
    are rows, and storing to them would wait for each."""
    cdef Py_ssize_t row, i
    for row in range(ROWS):
        for i in range(0, lanes, 8):
            expect_write(out + row * stride + i)


include "kernel/day.pxi"


cdef bint run_block(
    Block* b, const Settings* s, const Tables* t, Windows* w, uint64_t seed, uint64_t path,
    double* trace, Py_ssize_t traced, const volatile int* stop,
) noexcept nogil:
    cdef Py_ssize_t step
    cdef Day day
    begin_day(&day, s, t)
    open_block(b, s, seed, path)
    open_windows(w, s)
    if s.has_book:
        open_books(w, s, t, seed, path)
    for step in range(s.steps):
        follow_day(&day, t, step)
        if step & 3 == 0:
            if stop != NULL and stop[0]:
                return False
            draw_steps(b, s, t, seed, <uint64_t>step >> 2, news_ahead(&day, t, step))
        if not run_step(b, day.current, t, w, step, trace, traced):
            return False
        end_step(b, s, w, step, trace, traced)
    return True


cdef void* aligned(void* memory) noexcept nogil:
    return <void*>((<uintptr_t>memory + 63) & ~<uintptr_t>63)


cdef Py_ssize_t block_size(const Settings* s) noexcept nogil:
    """Bytes of a block and its windows, a multiple of 64."""
    cdef Windows w
    return place_windows(<char*>((sizeof(Block) + 63) & ~<uintptr_t>63), s, &w)


cdef Py_ssize_t place_windows(char* at, const Settings* s, Windows* w) noexcept nogil:
    """Lay out the windows that a market needs, each a multiple of 64 bytes; returns where they end."""
    cdef Py_ssize_t ring = LANES * sizeof(float)
    w.filled_signed = w.filled_total = w.volume_ring = NULL
    w.loss_ring = w.view = w.checkpoints = NULL
    w.books = NULL
    w.checkpoint_count = w.checkpoint_lanes = 0
    w.call = NULL
    if s.policy == CUSTOM:
        w.view = <double*>at
        at += VIEW_ROWS * 2 * ring
    if s.moves_mid:
        w.filled_signed = <float*>at
        at += s.imbalance_window * ring
        if s.both_sides:
            w.filled_total = <float*>at
            at += s.imbalance_window * ring
    if s.has_volume_limit:
        w.volume_ring = <float*>at
        at += s.volume_window * ring
    if s.has_loss_limit:
        w.loss_ring = <double*>at
        at += (s.loss_window + 1) * 2 * ring
    if s.has_book:
        w.books = <Book*>at
        at += LANES * sizeof(Book)
    return <Py_ssize_t>at


cdef Block* place_block(char* at, const Settings* s, Windows* w) noexcept nogil:
    """Lay out a block in the next block_size bytes.

    The draws are cleared here, once: where an event has chance 0 none are made, and those that lie there are compared
    with a bound of -1, so that they must not be below 0.
    """
    cdef Block* b = <Block*>at
    memset(&b.z[0][0], 0, sizeof(Block) - (<char*>&b.z[0][0] - at))
    place_windows(at + ((sizeof(Block) + 63) & ~<uintptr_t>63), s, w)
    return b


cdef bint has_rows(double[:, :] out):
    """Whether the rows of an array can be written to as they lie."""
    return out.strides[1] == sizeof(double) or out.shape[1] == 1


cdef class Plan:
    """A scenario as the core's numbers; runs any range of its paths, on any thread.

    Parameters
    ----------
    fields : dict
        A value for every member of ``Settings`` (kernel/state.pxd); validated by the caller.
    size_thresholds : contiguous array of int32
        Padded with 2^31 - 1 as draw_lanes.pxd asks.
    guided : bool
        Whether a draw is to be looked up in a guide to them, and not compared with one by one.
    orders : contiguous array of float64, shape (4, steps), or None
        Side, size, limit and fair value of the order of each step, for replay.
    pieces : contiguous array of float64, shape (pieces, PIECE_COLUMNS), or None
        The schedule, the first piece from step 0 on (kernel/state.pxd).
    policy_settings : contiguous array of float64, or None
        What a policy of one's own is handed beside its rows.
    policy : tuple (PyCapsule or None, callable), or None
        A QuoteFunction (kernel/state.pxd) if it is compiled; and what is called at the beginning of a run. It returns
        the rows of the run, an array of float64 of shape (POLICY_ROWS, BLOCK), or None if it is compiled; and what is
        called with the step and 0 to quote, or the step and what the QuoteFunction returned to raise.
    venue : tuple (contiguous array of int64, contiguous array of float64), or None
        The settings of an order book, as `set_book` (kernel/book.pxi) takes them.
    """

    cdef Settings settings
    cdef Tables tables
    cdef object owned

    def __init__(self, dict fields, int32_t[::1] size_thresholds, bint guided, double[:, ::1] orders=None,
                 double[:, ::1] pieces=None, double[::1] policy_settings=None, policy=None, venue=None):
        self.settings = fields
        self.owned = (size_thresholds, orders, pieces, policy_settings, policy)
        memset(&self.tables, 0, sizeof(Tables))
        self.tables.thresholds = size_thresholds.shape[0]
        self.tables.guided = guided
        if size_thresholds.shape[0]:
            self.tables.size_thresholds = &size_thresholds[0]
        if orders is not None:
            self.tables.order_side = &orders[0, 0]
            self.tables.order_size = &orders[1, 0]
            self.tables.order_limit = &orders[2, 0]
            self.tables.order_fair = &orders[3, 0]
        if pieces is not None:
            if pieces.shape[1] != PIECE_COLUMNS:
                raise ValueError("the schedule does not have the core's shape")
            self.tables.pieces = pieces.shape[0]
            self.tables.piece_rows = &pieces[0, 0]
        if venue is not None:
            set_book(&self.tables.book, venue[0], venue[1])
        if guided or venue is not None:
            guide_sizes(&self.tables.guide, self.tables.size_thresholds, self.tables.thresholds)
        if self.settings.policy == CUSTOM:
            self.tables.custom.settings = &policy_settings[0]
            capsule = policy[0]
            if capsule is not None:
                self.tables.custom.function = <QuoteFunction>PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule))

    def run(
        self, uint64_t seed, uint64_t first_path, double[:, :] out, double[:, :, ::1] trace=None, int[::1] stop=None,
        double[:, :, ::1] checkpoints=None,
    ):
        """Simulate ``out.shape[1]`` paths from `first_path` into `out` (METRIC_ROWS, paths), the GIL released.

        out : the columns of an array; each row of them contiguous.
        trace : (paths <= out.shape[1], steps, len(TRACE_COLUMNS)), filled for the first paths.
        stop : one int; once another thread sets it, the run ends early and `out` is not to be used.
        checkpoints : (paths, at most steps, len(CHECKPOINT_COLUMNS)), filled for all paths.
        """
        cdef const Settings* s = &self.settings
        cdef Py_ssize_t paths = out.shape[1], stride = out.strides[0] // sizeof(double)
        cdef Py_ssize_t first = 0, lanes, traced = 0, left
        cdef char* memory
        cdef Block* b
        cdef Windows w
        cdef double* rows = NULL
        cdef PolicyCall call = None
        cdef bint whole = True
        cdef const volatile int* stopping = &stop[0] if stop is not None else NULL
        if out.shape[0] != metric_rows(s) or not has_rows(out) or (
            trace is not None and (trace.shape[1] != s.steps or trace.shape[2] != COLUMNS)
        ):
            raise ValueError("the output arrays do not have the core's shape")
        if checkpoints is not None and (
            checkpoints.shape[0] != paths or checkpoints.shape[1] > s.steps or checkpoints.shape[2] != CHECKPOINT_ROWS
        ):
            raise ValueError("the checkpoints do not have the core's shape")
        if paths == 0:
            return
        if trace is not None:
            traced = min(trace.shape[0], paths)
        memory = <char*>malloc(block_size(s) + 64)
        if memory == NULL:
            raise MemoryError
        b = place_block(<char*>aligned(memory), s, &w)
        try:
            call = call_of(self, &w)
        except BaseException:
            free(memory)
            raise
        with nogil:
            while first < paths and whole and not (stopping != NULL and stopping[0]):
                lanes = min(<Py_ssize_t>LANES, paths - first)
                left = max(<Py_ssize_t>0, min(traced - first, lanes))
                if left:
                    rows = &trace[first, 0, 0]
                if checkpoints is not None and checkpoints.shape[1]:
                    keep_checkpoints(&w, &checkpoints[first, 0, 0], checkpoints.shape[1], lanes)
                expect_block(&out[0, first], stride, lanes)
                whole = run_block(b, s, &self.tables, &w, seed, first_path + <uint64_t>first, rows, left, stopping)
                close_block(b, s, seed, first_path + <uint64_t>first, &out[0, first], stride, lanes)
                if s.has_book:
                    close_books(&w, &out[ROWS, first], stride, lanes)
                first += lanes
            free(memory)
        if call is not None and call.error is not None:
            raise call.error


cdef PolicyCall call_of(Plan plan, Windows* w):
    """The Python of this plan's policy for one run, or None; the windows point to it and to its rows."""
    cdef PolicyCall call
    if w.view == NULL:
        return None
    rows, function = plan.owned[4][1]()
    call = PolicyCall(function, rows)
    if rows is not None:
        if rows.shape != (VIEW_ROWS, LANES):
            raise ValueError("the rows of a policy do not have the core's shape")
        w.view = &call.rows[0, 0]
    w.call = <void*>call
    return call


include "kernel/portfolio.pxi"
include "kernel/sums.pxi"
include "kernel/sketch.pxi"


include "kernel/resume.pxi"


include "kernel/book_alone.pxi"


include "kernel/stepper.pxi"


def isa():
    """The instruction set this build was compiled for."""
    return MCMM_ISA_NAME.decode()


def supported():
    """The instruction sets this machine can run, best first."""
    return (("avx512",) if mcmm_has_avx512() else ()) + (("avx2",) if mcmm_has_avx2() else ()) + ("baseline",)


def compiler():
    """Name and version of the compiler that built the core."""
    return MCMM_COMPILER.decode()


include "kernel/looked_at.pxi"
