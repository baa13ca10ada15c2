# Several markets in one path: a block each, stepped together, and what acts on their sum. Included by _core.pyx.
#
# Within a step the markets do not see each other, only the sums of the last mark: each takes all its phases in turn,
# while its block is near, and the portfolio is checked after the last. Nothing here is run for a single market.

from libc.math cimport sqrt

from mcmm.kernel.portfolio cimport shared_shock
from mcmm.kernel.portfolio_lanes cimport (
    add_up, attend, begin_sums, check_sums, correlate, mark_sums, share_out, trip_with_portfolio,
)
from mcmm.kernel.random cimport COMMON, COMMON_OUTCOME
from mcmm.kernel.state cimport PORTFOLIO_DRAWDOWN, Portfolio, PortfolioSettings

cdef struct Member:
    Block* block
    const Settings* settings
    const Tables* tables
    Windows windows
    Day day
    double* trace                   # of the block's first path, or NULL


cdef void open_portfolio(Portfolio* p, const PortfolioSettings* ps) noexcept nogil:
    cdef Py_ssize_t i
    memset(p, 0, sizeof(Portfolio))
    p.settings = ps
    for i in range(LANES):
        p.halt_step[i] = -1.0
        p.overshoot[i] = NAN


cdef void draw_shocks(
    Member* members, Portfolio* p, uint64_t seed, uint64_t path, Py_ssize_t step
) noexcept nogil:
    cdef Py_ssize_t m
    cdef const Settings* s
    cdef const Tables* t
    cdef uint64_t quad = <uint64_t>step >> 2
    if p.settings.correlated:
        draw_normals(p.z, seed, path, quad, COMMON)
    for m in range(p.settings.markets):
        s, t = members[m].settings, members[m].tables
        draw_steps(members[m].block, s, t, seed, quad, news_ahead(&members[m].day, t, step))
        if p.settings.correlated and s.process != CONSTANT and s.flow != REPLAY:
            correlate(members[m].block, p)


cdef void check_together(Member* members, Portfolio* p, Py_ssize_t step) noexcept nogil:
    """After the marks of all markets: the sums' own, and the breaker that trips every market."""
    cdef Py_ssize_t m
    cdef Member* each
    mark_sums(p)
    if p.settings.has_breaker and check_sums(p, step):
        for m in range(p.settings.markets):
            each = &members[m]
            trip_with_portfolio(each.block, each.settings, p, step)
            each.block.revised = True
            if each.settings.action == PAUSE:
                empty_windows(each.block, each.settings, &each.windows, step + 1)


cdef bint step_together(Member* members, Portfolio* p, Py_ssize_t step, Py_ssize_t traced) noexcept nogil:
    """Model.md section 2 for every market, then the portfolio's check; whether the path goes on."""
    cdef Py_ssize_t m, markets = p.settings.markets
    cdef Member* each
    if p.settings.has_exposure_limit:
        share_out(p)
    begin_sums(p)
    for m in range(markets):
        each = &members[m]
        if p.settings.has_breaker:
            attend(p, each.block)
        if not run_step(each.block, each.day.current, each.tables, &each.windows, step, each.trace, traced):
            return False
        add_up(p, each.block, each.settings)
    check_together(members, p, step)
    for m in range(markets):
        each = &members[m]
        end_step(each.block, each.settings, &each.windows, step, each.trace, traced)
    return True


cdef void join_outcomes(Block* b, const Settings* s) noexcept nogil:
    """Outcomes of threshold walks that have not ended: what is left of the walks shares the common factor too."""
    cdef const PortfolioSettings* ps = b.portfolio.settings
    cdef double per_sd = 1.0 / sqrt(s.resolution_step - s.steps), own
    cdef Py_ssize_t i
    for i in range(LANES):
        own = special.normal_quantile(uniform(b.u_side[0][i]))
        own = shared_shock(ps.common_weight, b.portfolio.outcome_z[i], ps.own_weight, own)
        b.outcome[i] = 1.0 if own < b.hidden[i] * per_sd else 0.0


cdef void draw_common_outcomes(Block* scratch, Portfolio* p, uint64_t seed, uint64_t path) noexcept nogil:
    cdef Py_ssize_t i
    draw(scratch.u_side, seed, path, 0, COMMON_OUTCOME)
    for i in range(LANES):
        p.outcome_z[i] = special.normal_quantile(uniform(scratch.u_side[0][i]))


cdef void close_portfolio(
    Member* members, Portfolio* p, uint64_t seed, uint64_t path, double* out, Py_ssize_t stride, Py_ssize_t lanes
) noexcept nogil:
    """Every market's metrics, and before them the portfolio's: sums in the markets' order, and its own."""
    cdef Py_ssize_t i, m, row, markets = p.settings.markets, rows = metric_rows(members[0].settings)
    cdef Block* b
    cdef const Settings* s
    cdef double total, quoted
    cdef bint bounded = True
    if p.settings.correlated:
        draw_common_outcomes(members[0].block, p, seed, path)
    for m in range(markets):
        close_block(
            members[m].block, members[m].settings, seed, path, out + (m + 1) * rows * stride, stride, lanes
        )
        if members[m].settings.has_book:
            close_books(&members[m].windows, out + ((m + 1) * rows + ROWS) * stride, stride, lanes)
        bounded = bounded and members[m].settings.bounded
    for row in range(rows):
        for i in range(lanes):
            total = 0.0
            for m in range(markets):
                total += out[((m + 1) * rows + row) * stride + i]
            out[row * stride + i] = total
    for i in range(lanes):
        total = quoted = 0.0
        for m in range(markets):
            b, s = members[m].block, members[m].settings
            total += b.spread_sum[i] * s.unit
            quoted += b.quoted[i] if s.may_stop else <double>s.steps
        out[MAX_DRAWDOWN * stride + i] = p.max_drawdown[i]
        out[MAX_DRAWDOWN_FAIR * stride + i] = p.max_drawdown_fair[i]
        out[AVERAGE_SPREAD * stride + i] = total / quoted if quoted > 0.0 else NAN
        out[MAX_INVENTORY * stride + i] = p.max_held[i]
        out[MAX_EXPOSURE * stride + i] = p.max_exposure[i] if bounded else NAN
        out[QUOTED_FRACTION * stride + i] = quoted / (members[0].settings.steps * markets)
        out[TRIPS * stride + i] = p.trips[i]
        out[HALT_STEP * stride + i] = p.halt_step[i]
        out[HALT_REASON * stride + i] = <double>PORTFOLIO_DRAWDOWN if p.trips[i] > 0.0 else 0.0
        out[BREAKER_OVERSHOOT * stride + i] = p.overshoot[i]
        out[DELAY_COST * stride + i] = NAN
        out[UNWINDING_COST * stride + i] = NAN
        out[REALISED_OVERSHOOT * stride + i] = NAN
        out[EXPOSURE_LIMIT_STEPS * stride + i] = p.exposure_limit_steps[i]
        out[FINAL_MID * stride + i] = NAN
        out[FINAL_PROBABILITY * stride + i] = NAN
        out[OUTCOME_ * stride + i] = NAN


cdef bint run_portfolio(
    Member* members, Portfolio* p, const PortfolioSettings* ps, uint64_t seed, uint64_t path, Py_ssize_t traced,
    const volatile int* stop,
) noexcept nogil:
    cdef Py_ssize_t m, step
    open_portfolio(p, ps)
    for m in range(ps.markets):
        open_block(members[m].block, members[m].settings, seed, path)
        open_windows(&members[m].windows, members[m].settings)
        if members[m].settings.has_book:
            open_books(&members[m].windows, members[m].settings, members[m].tables, seed, path)
        members[m].block.portfolio = p
        begin_day(&members[m].day, members[m].settings, members[m].tables)
    for step in range(members[0].settings.steps):
        for m in range(ps.markets):
            follow_day(&members[m].day, members[m].tables, step)
        if step & 3 == 0:
            if stop != NULL and stop[0]:
                return False
            draw_shocks(members, p, seed, path, step)
        if not step_together(members, p, step, traced):
            return False
    return True


cdef class PortfolioPlan:
    """Several markets as the core's numbers; runs any range of their paths, on any thread.

    Parameters
    ----------
    plans : sequence of Plan
        A plan for each market, of equal steps and one venue; `labels` and `has_breaker` of each know of the portfolio.
    fields : dict
        A value for every member of ``PortfolioSettings`` (kernel/state.pxd); validated by the caller.
    """

    cdef PortfolioSettings settings
    cdef tuple plans

    def __init__(self, plans, dict fields):
        self.plans = tuple(plans)
        self.settings = fields
        if self.settings.markets != len(self.plans) or not self.plans:
            raise ValueError("there must be a plan for each market")
        if len({(<Plan?>plan).settings.has_book for plan in self.plans}) > 1:
            raise ValueError("the markets must have one venue")

    def run(
        self, uint64_t seed, uint64_t first_path, double[:, :] out, double[:, :, :, ::1] trace=None,
        int[::1] stop=None, double[:, :, :, ::1] checkpoints=None,
    ):
        """Simulate ``out.shape[1]`` paths into `out` ((1 + markets) * METRIC_ROWS, paths), the GIL released.

        The first METRIC_ROWS rows (with order books as many more as a book has) are the portfolio's, then each
        market's follow.

        trace : (markets, paths <= out.shape[1], steps, len(TRACE_COLUMNS)), filled for the first paths.
        stop : as for Plan.run.
        checkpoints : (markets, paths, at most steps, len(CHECKPOINT_COLUMNS)), filled for all paths.
        """
        cdef Py_ssize_t markets = self.settings.markets, paths = out.shape[1], first = 0, lanes, m, left = 0
        cdef Py_ssize_t rows = metric_rows(&(<Plan>self.plans[0]).settings)
        cdef Py_ssize_t stride = out.strides[0] // sizeof(double)
        cdef Py_ssize_t size = sizeof(Portfolio) + 64, steps = (<Plan>self.plans[0]).settings.steps, traced = 0
        cdef Member* members
        cdef Portfolio* p
        cdef char* memory
        cdef char* at
        cdef const PortfolioSettings* ps = &self.settings
        cdef const volatile int* stopping = &stop[0] if stop is not None else NULL
        cdef bint whole = True
        cdef list calls = []
        if out.shape[0] != (1 + markets) * rows or not has_rows(out) or (trace is not None and (
            trace.shape[0] != markets or trace.shape[2] != steps or trace.shape[3] != COLUMNS
        )):
            raise ValueError("the output arrays do not have the core's shape")
        if checkpoints is not None and (
            checkpoints.shape[0] != markets or checkpoints.shape[1] != paths or checkpoints.shape[2] > steps
            or checkpoints.shape[3] != CHECKPOINT_ROWS
        ):
            raise ValueError("the checkpoints do not have the core's shape")
        if paths == 0:
            return
        if trace is not None:
            traced = min(trace.shape[1], paths)
        for m in range(markets):
            size += block_size(&(<Plan>self.plans[m]).settings)
        members = <Member*>malloc(markets * sizeof(Member))
        memory = <char*>malloc(size)
        if members == NULL or memory == NULL:
            free(members)
            free(memory)
            raise MemoryError
        p = <Portfolio*>aligned(memory)
        at = <char*>p + sizeof(Portfolio)
        for m in range(markets):
            members[m].settings = &(<Plan>self.plans[m]).settings
            members[m].tables = &(<Plan>self.plans[m]).tables
            members[m].block = place_block(at, members[m].settings, &members[m].windows)
            members[m].trace = NULL
            at += block_size(members[m].settings)
        try:
            for m in range(markets):
                calls.append(call_of(<Plan>self.plans[m], &members[m].windows))
        except BaseException:
            free(memory)
            free(members)
            raise
        with nogil:
            while first < paths and whole and not (stopping != NULL and stopping[0]):
                lanes = min(<Py_ssize_t>LANES, paths - first)
                left = max(<Py_ssize_t>0, min(traced - first, lanes))
                if left:
                    for m in range(markets):
                        members[m].trace = &trace[m, first, 0, 0]
                if checkpoints is not None and checkpoints.shape[2]:
                    for m in range(markets):
                        keep_checkpoints(
                            &members[m].windows, &checkpoints[m, first, 0, 0], checkpoints.shape[2], lanes
                        )
                whole = run_portfolio(members, p, ps, seed, first_path + <uint64_t>first, left, stopping)
                close_portfolio(members, p, seed, first_path + <uint64_t>first, &out[0, first], stride, lanes)
                first += lanes
            free(memory)
            free(members)
        for call in calls:
            if call is not None and (<PolicyCall>call).error is not None:
                raise (<PolicyCall>call).error
