# One path, step by step: the rules of run_step and step_together with the caller between them. Included by _core.pyx.
#
# The path is the first lane of a block of neighbouring ones, which are computed beside it and never looked at, so that
# every loop, and every draw, is the one that a run of many paths has. No phase is taken in one pass with another, for
# each is to be seen by itself; that changes no bit.

from mcmm.kernel.recovery cimport recovery_multiplier
from mcmm.kernel.risk cimport exposure_at
from mcmm.kernel.state cimport V_STATE

# The rows of a Block and of a Portfolio that make a lane's state, as they lie in memory: state.pxd.
STATE_ROWS_WIDE = (
    "probability", "hidden", "outcome", "mid", "inventory", "cash", "unwind_cash", "fees", "window_signed",
    "window_total", "imbalance", "half", "reservation", "bid", "ask", "bid_size", "ask_size", "resting_bid",
    "resting_ask", "resting_bid_size", "resting_ask_size", "work", "quoting", "tripped", "down", "pause", "halted",
    "unwind", "ramp", "reference", "marked", "exposure", "loss_high", "loss_top", "volume_sum", "excitation", "taken",
    "sold", "bought", "fills", "volume", "notional", "unwind_notional", "at_fair", "pnl", "pnl_fair", "peak",
    "peak_fair", "max_drawdown", "max_drawdown_fair", "spread_sum", "quoted", "max_inventory", "max_exposure", "trips",
    "halt_step", "halt_reason", "overshoot", "trip_mark", "trip_reference", "resumed_mark", "outages",
    "inventory_limit_steps", "exposure_limit_steps", "informed_volume", "informed_pnl", "belief", "cost", "paid",
    "bid_markup", "ask_markup",
)
STATE_ROWS_NARROW = ("work_single", "last_side", "noise", "insider")
STATE_ROWS_PORTFOLIO = (
    "allowance", "marked", "fair", "exposure", "held", "active", "tripped", "reference", "trips", "halt_step",
    "overshoot", "peak", "peak_fair", "max_drawdown", "max_drawdown_fair", "max_exposure", "max_held",
    "exposure_limit_steps",
)


cdef void keep_doubles(double* rows, Py_ssize_t count, double[::1] state, Py_ssize_t at, bint load) noexcept nogil:
    """A lane's column of `count` rows, to or from a state."""
    cdef Py_ssize_t k
    for k in range(count):
        if load:
            rows[k * LANES] = state[at + k]
        else:
            state[at + k] = rows[k * LANES]


cdef void keep_floats(float* rows, Py_ssize_t count, double[::1] state, Py_ssize_t at, bint load) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(count):
        if load:
            rows[k * LANES] = <float>state[at + k]
        else:
            state[at + k] = rows[k * LANES]


cdef void keep_words(int32_t* words, Py_ssize_t count, double[::1] state, Py_ssize_t at, bint load) noexcept nogil:
    """The first lane's book, which is a struct of its own."""
    cdef Py_ssize_t k
    for k in range(count):
        if load:
            words[k] = <int32_t>state[at + k]
        else:
            state[at + k] = words[k]


cdef class Stepper:
    """One path of a plan, quote by quote.

    A step is ``quote()``, then for each market ``match`` (what the model's takers, or the order of the plan's table,
    take) and ``on_fill`` of that, or of a fill from elsewhere, then ``end_step()``. In an order book ``trade`` takes
    the place of both, for there the venue decides what fills.

    Parameters
    ----------
    plan : Plan or PortfolioPlan
        Of one market or several. Its orders are read as they are in the step.
    seed, path : int
        The path that `Plan.run` has at this place.
    outside : bool
        Whether the connection is lost, and comes back, when the caller says so; stale: quotes rest through that.
    """

    cdef readonly Py_ssize_t step, steps, markets
    cdef readonly bint quoted
    cdef object plans
    cdef list calls
    cdef uint64_t seed, path
    cdef bint drawn
    cdef Member* members
    cdef Settings* settings
    cdef Py_ssize_t* booked             # fills of this step that each market's books have, none included
    cdef PortfolioSettings sums
    cdef Portfolio* portfolio           # NULL: the only market
    cdef char* memory

    def __cinit__(self, plan, uint64_t seed, uint64_t path, bint outside=False, stale=()):
        cdef Py_ssize_t m, size = 64
        cdef char* at
        cdef Settings* s
        cdef bint several = isinstance(plan, PortfolioPlan)
        self.plans = (<PortfolioPlan>plan).plans if several else (<Plan?>plan,)
        self.seed, self.path = seed, path
        self.markets = len(self.plans)
        self.calls = []
        if several:
            self.sums = (<PortfolioPlan>plan).settings
            size += sizeof(Portfolio)
        for m in range(self.markets):
            size += block_size(&(<Plan>self.plans[m]).settings)
        self.members = <Member*>malloc(self.markets * sizeof(Member))
        self.settings = <Settings*>malloc(self.markets * sizeof(Settings))
        self.booked = <Py_ssize_t*>malloc(self.markets * sizeof(Py_ssize_t))
        self.memory = <char*>malloc(size)
        if self.members == NULL or self.settings == NULL or self.booked == NULL or self.memory == NULL:
            raise MemoryError
        at = <char*>aligned(self.memory)
        if several:
            self.portfolio = <Portfolio*>at
            at += sizeof(Portfolio)
            open_portfolio(self.portfolio, &self.sums)
        for m in range(self.markets):
            s = &self.settings[m]
            s[0] = (<Plan>self.plans[m]).settings
            s.quotes_at_once = s.asks_at_once = s.fills_at_once = False
            s.marks_at_once = s.walks_at_once = s.halts_takers = False
            # A bot that was restarted quotes with care, whatever else may interrupt it.
            s.ramps = s.ramp_steps > 0.0
            if outside:
                s.has_outages = s.may_stop = True
                s.stays_revised = False
                s.stale_quotes = stale[m]
                s.keeps_quotes = s.keeps_quotes or s.stale_quotes
            self.members[m].settings = s
            self.members[m].tables = &(<Plan>self.plans[m]).tables
            self.members[m].block = place_block(at, s, &self.members[m].windows)
            self.members[m].trace = NULL
            at += block_size(s)
            self.booked[m] = 0
            self.calls.append(call_of(<Plan>self.plans[m], &self.members[m].windows))
            open_block(self.members[m].block, s, seed, path)
            open_windows(&self.members[m].windows, s)
            if s.has_book:
                open_books(&self.members[m].windows, s, self.members[m].tables, seed, path)
            self.members[m].block.portfolio = self.portfolio
            begin_day(&self.members[m].day, s, self.members[m].tables)
        self.steps = self.settings[0].steps

    def __dealloc__(self):
        free(self.members)
        free(self.settings)
        free(self.booked)
        free(self.memory)

    cdef Member* member(self, Py_ssize_t market) except NULL:
        if not 0 <= market < self.markets:
            raise IndexError(f"there is no market {market}")
        return &self.members[market]

    def quote(self):
        """Phases 1 and 2 of this step, in every market."""
        cdef Py_ssize_t m
        cdef Member* each
        if self.quoted or self.step >= self.steps:
            raise RuntimeError("this step has its quote")
        for m in range(self.markets):
            follow_day(&self.members[m].day, self.members[m].tables, self.step)
        if self.step & 3 == 0 or not self.drawn:
            self.draw()
        if self.portfolio != NULL:
            if self.sums.has_exposure_limit:
                share_out(self.portfolio)
            begin_sums(self.portfolio)
        self.quoted = True
        for m in range(self.markets):
            each = &self.members[m]
            self.booked[m] = 0
            each.block.bought[0] = each.block.sold[0] = 0.0
            if self.portfolio != NULL and self.sums.has_breaker:
                attend(self.portfolio, each.block)
            if not offer(each.block, each.day.current, each.tables, &each.windows, self.step):
                raise (<PolicyCall>self.calls[m]).error

    cdef void draw(self):
        cdef Member* each = &self.members[0]
        cdef uint64_t quad = <uint64_t>self.step >> 2
        self.drawn = True
        if self.portfolio != NULL:
            draw_shocks(self.members, self.portfolio, self.seed, self.path, self.step)
        else:
            draw_steps(
                each.block, each.settings, each.tables, self.seed, quad,
                news_ahead(&each.day, each.tables, self.step),
            )

    def match(self, Py_ssize_t market):
        """Phase 3: what is taken of the quote, as (side, contracts), side +1 where the taker buys; none booked yet."""
        cdef Member* each = self.member(market)
        cdef Block* b = each.block
        if not self.quoted or self.booked[market] or each.settings.has_book:
            raise RuntimeError("takers come after the quote and before its fills")
        meet(b, each.day.current, each.tables, self.step)
        if each.settings.flow == INTENSITY:
            return [(side, size) for side, size in ((-1, b.bought[0]), (1, b.sold[0])) if size > 0.0]
        return [(1 if b.taken[0] > 0.0 else -1, abs(b.taken[0]))] if b.taken[0] != 0.0 else []

    def in_book(self, Py_ssize_t market):
        """Whether the venue is an order book."""
        return self.member(market).settings.has_book

    cdef void trade_in_its_book(self, Py_ssize_t market):
        cdef Member* each = &self.members[market]
        cdef Block* b = each.block
        cdef const Order* bid = &each.windows.books[0].order[BID]
        cdef const Order* ask = &each.windows.books[0].order[ASK]
        trade_in_book(b, each.day.current, each.tables, &each.windows, self.step)
        self.booked[market] = 2
        # What is left of the maker's orders, in place of the best prices that the takers saw.
        b.bid_size[0], b.ask_size[0] = bid.size, ask.size
        b.bid[0] = bid.tick if bid.size > 0 else NAN
        b.ask[0] = ask.tick if ask.size > 0 else NAN

    def trade(self, Py_ssize_t market):
        """Phases 3 and 4 in an order book: what was filled of the maker's orders, as (side, contracts, dollars)."""
        cdef Member* each = self.member(market)
        cdef Block* b = each.block
        cdef const Settings* s = each.settings
        if not self.quoted or self.booked[market] or not s.has_book:
            raise RuntimeError("takers come after the quote and before its fills")
        self.trade_in_its_book(market)
        found = []
        if b.bought[0] > 0.0:
            found.append((-1, b.bought[0], each.windows.books[0].order[0].tick / s.ticks))
        if b.sold[0] > 0.0:
            found.append((1, b.sold[0], each.windows.books[0].order[1].tick / s.ticks))
        return found

    def most_fills(self, Py_ssize_t market):
        """How many fills a step may have: one, or with intensity the bid's and then the ask's."""
        return 2 if self.member(market).settings.flow == INTENSITY else 1

    def booked_fills(self, Py_ssize_t market):
        """How many of them this step has had."""
        self.member(market)
        return self.booked[market]

    cdef void book_fill(self, Py_ssize_t market, int side, double size):
        cdef Member* each = &self.members[market]
        cdef Block* b = each.block
        if each.settings.flow == INTENSITY:
            if side < 0:
                b.bought[0] = size
            else:
                b.sold[0] = size
        b.taken[0] = side * size
        on_fill(b, each.day.current, &each.windows, self.step)
        self.booked[market] += 1

    def on_fill(self, Py_ssize_t market, int side, double size):
        """Phase 4, for a fill within the quote's size: its average price, dollars."""
        cdef Member* each = self.member(market)
        cdef Block* b = each.block
        cdef const Settings* s = each.settings
        cdef Py_ssize_t place = 1 if s.flow == INTENSITY and side > 0 else 0
        cdef double price
        if s.has_book or not self.quoted or self.booked[market] > place or side * side != 1 or not size > 0.0:
            raise RuntimeError("there is no quote to fill")
        if size > (b.ask_size[0] if side > 0 else b.bid_size[0]):
            raise RuntimeError("the quote is not of that size")
        price = (b.ask[0] if side > 0 else b.bid[0]) * s.unit
        if s.grid:
            price = price_of(b, s, b.ask[0] if side > 0 else b.bid[0], 0)
        if self.booked[market] < place:
            self.book_fill(market, -1, 0.0)
        self.book_fill(market, side, size)
        return b.paid[0] if s.policy == LMSR else price

    def end_step(self):
        """Phases 5 and 6, after the fills of every market: the fair value moves, books are marked and checked."""
        cdef Py_ssize_t m
        cdef Member* each
        if not self.quoted:
            raise RuntimeError("a step begins with its quote")
        for m in range(self.markets):
            each = &self.members[m]
            if each.settings.has_book:
                if self.booked[m] == 0:
                    self.trade_in_its_book(m)
            elif each.settings.flow == INTENSITY and self.booked[m] == 0:
                self.book_fill(m, -1, 0.0)
            if self.booked[m] < self.most_fills(m):
                self.book_fill(m, 1, 0.0)
            settle(each.block, each.day.current, each.tables, &each.windows, self.step)
            if self.portfolio != NULL:
                add_up(self.portfolio, each.block, each.settings)
        if self.portfolio != NULL:
            check_together(self.members, self.portfolio, self.step)
        for m in range(self.markets):
            book(self.members[m].block, self.members[m].settings)
        self.quoted = False
        self.step += 1

    def offered(self, Py_ssize_t market):
        """(bid, ask, bid size, ask size, whether the maker may quote); prices NaN where neither side is quoted."""
        cdef Block* b = self.member(market).block
        cdef const Settings* s = self.members[market].settings
        return (
            price_of(b, s, b.bid[0], 0), price_of(b, s, b.ask[0], 0), b.bid_size[0], b.ask_size[0], b.quoting[0] != 0.0,
        )

    def trace_quote(self, Py_ssize_t market, double[::1] row):
        """Fill in what a trace has of the quote."""
        trace_quote(self.member(market).block, self.members[market].settings, &row[0], 0)

    def trace_books(self, Py_ssize_t market, double[::1] row):
        """Fill in what a trace has of the end of a step."""
        trace_books(self.member(market).block, self.members[market].settings, &row[0], 0)

    def value_of(self, Py_ssize_t market, Py_ssize_t place):
        """A row of STATE_ROWS_WIDE by its place."""
        cdef Block* b = self.member(market).block
        if not 0 <= place < wide_rows(b):
            raise IndexError(f"there is no row {place}")
        return (<double*>b)[place * LANES]

    def portfolio_value(self, Py_ssize_t place):
        """A row of STATE_ROWS_PORTFOLIO by its place."""
        if self.portfolio == NULL or not 0 <= place < len(STATE_ROWS_PORTFOLIO):
            raise IndexError(f"there is no row {place} of a portfolio")
        return (&self.portfolio.allowance[0])[place * LANES]

    def exposure(self, Py_ssize_t market):
        """pnl less the pnl at the worse outcome, at the maker's mid."""
        cdef Block* b = self.member(market).block
        return exposure_at(b.inventory[0], b.mid[0])

    def multiplier(self, Py_ssize_t market):
        """rho: what the recovery ramp multiplies the half-spread of the next quote by."""
        cdef const Settings* s = self.member(market).settings
        if not s.ramps:
            return 1.0
        return recovery_multiplier(self.members[market].block.ramp[0], s.ramp_extra, s.ramp_steps)

    def venue_paused(self, Py_ssize_t market):
        """Whether the schedule has the venue closed in this step, or the last."""
        return self.member(market).day.current.venue_paused

    def metrics(self, double[:, ::1] out):
        """Settle, and write a column of metrics, (METRIC_ROWS, 1), in an order book its own after them, with several
        markets theirs after the sums'.

        Of a path that has not ended they are those of its steps so far; nothing of the path is changed.
        """
        cdef Py_ssize_t m, steps = self.steps
        cdef char* kept = <char*>malloc(self.markets * sizeof(Block))
        cdef Py_ssize_t rows = metric_rows(&self.settings[0]) * (1 if self.portfolio == NULL else 1 + self.markets)
        if out.shape[0] != rows or out.shape[1] != 1:
            free(kept)
            raise ValueError("the output array does not have the core's shape")
        if kept == NULL:
            raise MemoryError
        for m in range(self.markets):
            memcpy(kept + m * sizeof(Block), self.members[m].block, sizeof(Block))
            self.settings[m].steps = max(self.step, 1)
        if self.portfolio == NULL:
            close_block(self.members[0].block, self.members[0].settings, self.seed, self.path, &out[0, 0], 1, 1)
            if self.settings[0].has_book:
                close_books(&self.members[0].windows, &out[ROWS, 0], 1, 1)
        else:
            close_portfolio(self.members, self.portfolio, self.seed, self.path, &out[0, 0], 1, 1)
        for m in range(self.markets):
            memcpy(self.members[m].block, kept + m * sizeof(Block), sizeof(Block))
            self.settings[m].steps = steps
        free(kept)

    def lose_connection(self):
        """From the next step on nobody may quote, until the connection is regained; without random outages."""
        cdef Py_ssize_t m, i
        cdef Block* b
        for m in range(self.markets):
            b = self.members[m].block
            for i in range(LANES):
                b.outages[i] += 1.0 if b.down[i] == 0.0 else 0.0
                b.down[i] = INFINITY

    def regain_connection(self):
        """The next step is the first one back."""
        cdef Py_ssize_t m, i
        for m in range(self.markets):
            for i in range(LANES):
                self.members[m].block.down[i] = 1.0 if self.members[m].block.down[i] > 0.0 else 0.0

    def restart_ramp(self):
        """As after an outage: the next quotes are wide, in every market."""
        cdef Py_ssize_t m
        for m in range(self.markets):
            resume(self.members[m].block)

    def reset_breakers(self):
        """Clear halts and pauses; drawdowns are measured from now on, and the breakers' windows are empty."""
        cdef Py_ssize_t m, i
        cdef Block* b
        for m in range(self.markets):
            b = self.members[m].block
            for i in range(LANES):
                b.halted[i] = b.pause[i] = 0.0
                b.reference[i] = b.marked[i]
                b.tripped[i] = 1.0
            empty_windows(b, self.members[m].settings, &self.members[m].windows, self.step)
            for i in range(LANES):
                b.tripped[i] = 0.0
            b.revised = True
        if self.portfolio != NULL:
            for i in range(LANES):
                self.portfolio.reference[i] = self.portfolio.marked[i]

    cdef Py_ssize_t keep(self, Py_ssize_t m, double[::1] state, bint load, bint count) except -1:
        """A market's state, to or from doubles: its rows, then its windows; or only how many they are."""
        cdef Block* b = self.members[m].block
        cdef Windows* w = &self.members[m].windows
        cdef const Settings* s = self.members[m].settings
        cdef Py_ssize_t at = 0, wide = wide_rows(b), narrow = narrow_rows(b)
        if wide != len(STATE_ROWS_WIDE) or narrow != len(STATE_ROWS_NARROW):
            raise RuntimeError("the rows of a block have not the names of STATE_ROWS")
        if not count:
            keep_doubles(<double*>b, wide, state, 0, load)
            keep_floats(&b.work_single[0], narrow, state, wide, load)
        at = wide + narrow
        for rows, length in self.windows_of(m):
            if not count:
                if rows == "loss_ring":
                    keep_doubles(w.loss_ring, length, state, at, load)
                elif rows == "filled_signed":
                    keep_floats(w.filled_signed, length, state, at, load)
                elif rows == "filled_total":
                    keep_floats(w.filled_total, length, state, at, load)
                elif rows == "volume_ring":
                    keep_floats(w.volume_ring, length, state, at, load)
                elif rows == "book":
                    keep_words(<int32_t*>w.books, length, state, at, load)
                else:
                    keep_doubles(w.view + V_STATE * LANES, length, state, at, load)
            at += length
        return at

    def windows_of(self, Py_ssize_t market):
        """The names and lengths of a market's windows, in the order of its state; a policy's memory and a book last."""
        cdef Windows* w = &self.member(market).windows
        cdef const Settings* s = self.members[market].settings
        found = []
        if w.loss_ring != NULL:
            found.append(("loss_ring", s.loss_window + 1))
        if w.filled_signed != NULL:
            found.append(("filled_signed", s.imbalance_window))
        if w.filled_total != NULL:
            found.append(("filled_total", s.imbalance_window))
        if w.volume_ring != NULL:
            found.append(("volume_ring", s.volume_window))
        if w.view != NULL:
            found.append(("policy_state", <Py_ssize_t>STATE_ROWS))
        if w.books != NULL:
            found.append(("book", <Py_ssize_t>(sizeof(Book) // 4)))
        return found

    def state_size(self, Py_ssize_t market):
        """How many numbers a market's state is."""
        self.member(market)
        return self.keep(market, None, False, True)

    def save_market(self, Py_ssize_t market, double[::1] state):
        """Write a market's state, between two steps: STATE_ROWS_WIDE, STATE_ROWS_NARROW, and its windows."""
        if state.shape[0] != self.state_size(market) or self.quoted:
            raise ValueError("a state is saved whole, between two steps")
        self.keep(market, state, False, False)

    def save_portfolio(self, double[::1] state):
        """Write the portfolio's: STATE_ROWS_PORTFOLIO."""
        if self.portfolio == NULL or state.shape[0] != len(STATE_ROWS_PORTFOLIO):
            raise ValueError("there is no such portfolio")
        keep_doubles(&self.portfolio.allowance[0], state.shape[0], state, 0, False)

    def load(self, Py_ssize_t step, list markets, double[::1] portfolio=None):
        """Go on from states that were saved after `step` steps, each market's and the portfolio's."""
        cdef Py_ssize_t m, k
        cdef double[::1] state
        if len(markets) != self.markets or not 0 <= step <= self.steps or (portfolio is None) != (
            self.portfolio == NULL
        ) or (portfolio is not None and portfolio.shape[0] != len(STATE_ROWS_PORTFOLIO)):
            raise ValueError("the states are not those of this plan")
        for m in range(self.markets):
            state = markets[m]
            if state.shape[0] != self.state_size(m):
                raise ValueError("the states are not those of this plan")
        for m in range(self.markets):
            self.keep(m, markets[m], True, False)
            self.members[m].block.revised = True
            begin_day(&self.members[m].day, self.members[m].settings, self.members[m].tables)
            for k in range(step):
                follow_day(&self.members[m].day, self.members[m].tables, k)
        if portfolio is not None:
            keep_doubles(&self.portfolio.allowance[0], portfolio.shape[0], portfolio, 0, True)
        self.step = step
        self.quoted = self.drawn = False
