"""What the core knows: the settings of a run, and a block of paths as a struct of arrays, one element a path.

The books are doubles, whole numbers too (exact below 2^53); draws, and what is made of them before it meets the books,
are half as wide, so that a vector holds twice as many lanes. Prices are held in units of the grid: whole ticks, or
dollars where there is no grid (unit = 1). A chance that does not change along a path is held as its bound, the last
draw at which the event happens: ceil(chance 2^31 - 1/2) - 1, which is u < chance to the last bit without a conversion.

Several markets in one path are a block each, and a Portfolio for what acts on their sum.
"""
from libc.stdint cimport int32_t, uint32_t, uint64_t

from mcmm.kernel.book cimport Book, BookSettings
from mcmm.kernel.takers cimport SizeGuide

cdef enum:
    LANES = 64
    PURPOSES = 16                   # at least as many as one step of a market draws for

cdef enum:
    DRIFT                           # of the logit walk
    ALLOWED                         # the largest drawdown that does not trip a breaker; infinite once one has
    HALTED_SPREAD                   # spread_sum as of the halt
    DERIVED

cdef enum Process:
    CONSTANT = 0
    LOGIT = 1
    THRESHOLD = 2
    ARITHMETIC = 3

cdef enum Flow:
    TAKERS = 0
    INTENSITY = 1
    REPLAY = 2

cdef enum Policy:
    ADAPTIVE = 0
    SYMMETRIC = 1
    AVELLANEDA_STOIKOV = 2
    GLOSTEN_MILGROM = 3
    LMSR = 4
    CUSTOM = 5

cdef enum Action:
    HALT = 0
    PAUSE = 1
    FLATTEN = 2

# The columns of a piece of a schedule: from `PIECE_START` on these settings hold, until the next piece.
cdef enum:
    PIECE_START, PIECE_VOLATILITY, PIECE_VARIANCE, PIECE_ARRIVAL_BASE, PIECE_ARRIVAL_BOUND, PIECE_INFORMED_BOUND
    PIECE_NEWS_BOUND, PIECE_NEWS_STRENGTH, PIECE_HAS_NEWS, PIECE_PAUSED, PIECE_CANCELS, PIECE_COLUMNS

cdef enum Reason:
    NO_REASON = 0
    DRAWDOWN = 1
    LOSS = 2
    VOLUME = 3
    PORTFOLIO_DRAWDOWN = 4

cdef enum View:
    # The rows a policy of one's own reads and writes, LANES wide: docs/policies.md, and mcmm.policies.ROWS.
    V_MID = 0
    V_INVENTORY = 1
    V_USAGE = 2
    V_IMBALANCE = 3
    V_EXPOSURE = 4
    V_PNL = 5
    V_QUOTING = 6
    V_MULTIPLIER = 7
    V_BID_MULTIPLIER = 8
    V_ASK_MULTIPLIER = 9
    V_BID = 10
    V_ASK = 11
    V_BID_SIZE = 12
    V_ASK_SIZE = 13
    V_STATE = 14
    STATE_ROWS = 8
    VIEW_ROWS = 22

# The same rows by name, a type of their own: so the compiler knows that they are no rows of a block.
cdef struct Rows:
    double mid[LANES]
    double inventory[LANES]
    double usage[LANES]
    double imbalance[LANES]
    double exposure[LANES]
    double pnl[LANES]
    double quoting[LANES]
    double multiplier[LANES]
    double bid_multiplier[LANES]
    double ask_multiplier[LANES]
    double bid[LANES]
    double ask[LANES]
    double bid_size[LANES]
    double ask_size[LANES]
    double state[STATE_ROWS][LANES]

# A policy of one's own; what it returns is 0, or a number of its own for a quote that it could not make.
ctypedef int (*QuoteFunction)(double* rows, const double* settings, long long step, long long steps) noexcept nogil

cdef struct Settings:
    Py_ssize_t steps
    uint64_t labels                 # of this market's draws: added to a draw's purpose, 256 * the market's place
    # the grid: unit is the price increment in dollars (1 without a grid), low and high hold the mid
    double unit, ticks, low, high
    bint grid, bounded
    # market
    Process process
    double initial_probability, initial_mid, initial_logit, initial_walk, volatility, variance
    int32_t news_bound
    double news_strength, resolution_step
    # flow
    Flow flow
    double arrival_base, excitation_start, excitation_decay, excitation_rise, news_excitation, price_sensitivity
    int32_t arrival_bound, informed_bound, noise_buy_bound, herding_bound
    bint has_news, has_informed, has_herding, knows_outcome
    double intensity_per_step, intensity_decay
    # fees
    double maker_rate, fee_rounding
    # quoting
    Policy policy
    bint moves_mid
    double half_base, imbalance_factor, inventory_factor, quote_size
    Py_ssize_t imbalance_window
    double reference_weight, reference_noise, volatility_factor
    double fill_slope, imbalance_shade, inventory_shade, defensive_threshold, defensive_slope
    double risk_aversion, dt, log_term
    double informed_share, evidence, initial_belief
    double liquidity, cost_up, cost_down
    # risk
    bint has_inventory_limit, has_exposure_limit, marks_fair, from_peak
    bint has_loss_limit, has_volume_limit, has_breaker
    # what lets phases be taken in one pass: quoting, a taker's fill, and marks
    bint quotes_at_once, asks_at_once, fills_at_once, marks_at_once, marks_plainly
    bint stays_revised              # who may quote changes only where a breaker trips
    bint halts_takers               # only a halt stops the maker, and then the takers: the quote may go on, unseen
    bint walks_at_once              # the fair value walks as the draws alone say, and no setting of it changes
    double inventory_limit, per_limit, exposure_limit, exposure_soft, passive_multiplier
    double drawdown_limit, loss_limit, volume_limit
    Py_ssize_t loss_window, volume_window, close_from
    Action action
    double pause_steps, unwind_slippage
    # recovery
    bint may_stop, has_outages, ramps, stale_quotes
    int32_t disconnect_bound
    double outage_steps, ramp_extra, ramp_steps
    # the venue's pauses; keeps_quotes: some quote may rest without being revised
    bint keeps_quotes, venue_paused, venue_cancels, venue_resumes
    # the venue is an order book; both sides may be filled in one step
    bint has_book, both_sides

cdef struct Custom:
    # the compiled function, or NULL for a call into Python; and the settings it is handed
    QuoteFunction function
    const double* settings

cdef struct Tables:
    # bounds of the size draw, padded with 2^31 - 1; replay's one order a step (side 0: none, fair NaN: none)
    Py_ssize_t thresholds
    const int32_t* size_thresholds
    bint guided                     # by a guide, or compared with one by one
    SizeGuide guide
    const double* order_side
    const double* order_size
    const double* order_limit
    const double* order_fair
    Custom custom
    # the schedule, a row of PIECE_COLUMNS a piece; none: no schedule
    Py_ssize_t pieces
    const double* piece_rows
    BookSettings book

cdef struct PortfolioSettings:
    Py_ssize_t markets
    bint correlated, has_exposure_limit, has_breaker, from_peak
    double common_weight, own_weight    # sqrt(rho), sqrt(1 - rho)
    double exposure_limit, drawdown_limit

cdef struct Portfolio:
    const PortfolioSettings* settings
    # the common factor: of four steps, and of the outcomes
    float z[4][LANES]
    double outcome_z[LANES]
    double allowance[LANES]         # dollars of exposure that each market may add in this step
    # sums over the markets as of the last mark
    double marked[LANES]            # pnl, each at its own risk.mark
    double fair[LANES]              # pnl at the fair values
    double exposure[LANES]
    double held[LANES]              # contracts, long or short
    # the breaker
    double active[LANES]            # 1 where a market is neither halted nor paused in this step
    double tripped[LANES]
    double reference[LANES]
    double trips[LANES]
    double halt_step[LANES]
    double overshoot[LANES]
    # metrics
    double peak[LANES]
    double peak_fair[LANES]
    double max_drawdown[LANES]
    double max_drawdown_fair[LANES]
    double max_exposure[LANES]
    double max_held[LANES]
    double exposure_limit_steps[LANES]

cdef struct Block:
    # fair value: p, its hidden coordinate (logit x, walk b, price s), and the outcome
    double probability[LANES]
    double hidden[LANES]
    double outcome[LANES]
    # the maker's books
    double mid[LANES]
    double inventory[LANES]
    double cash[LANES]              # from fills, in units of the grid: exact
    double unwind_cash[LANES]       # dollars
    double fees[LANES]
    # the imbalance window
    double window_signed[LANES]
    double window_total[LANES]
    double imbalance[LANES]
    # the quote, in units of the grid
    double half[LANES]              # dollars
    double reservation[LANES]       # dollars
    double bid[LANES]
    double ask[LANES]
    double bid_size[LANES]
    double ask_size[LANES]
    double resting_bid[LANES]
    double resting_ask[LANES]
    double resting_bid_size[LANES]
    double resting_ask_size[LANES]
    # connection, pause, recovery and breakers
    double work[LANES]              # between two loops of a phase
    double quoting[LANES]           # 1 where the maker may quote in this step
    double tripped[LANES]           # 1 where a breaker tripped in this step
    double down[LANES]              # outage steps left, this one included
    double pause[LANES]             # pause steps left
    double halted[LANES]
    double unwind[LANES]            # 1: flatten before the next quote
    double ramp[LANES]              # j, quoted steps since coming back
    double reference[LANES]         # what the drawdown breaker measures from
    double marked[LANES]            # pnl at risk.mark
    double exposure[LANES]
    double loss_high[LANES]         # highest mark of the current stretch of the loss window
    double loss_top[LANES]          # highest mark in the loss window
    double volume_sum[LANES]        # contracts in the volume window
    # takers
    double excitation[LANES]
    double taken[LANES]             # signed taker volume filled: buyers positive
    double sold[LANES]              # intensity, both sides in one step: contracts the maker sold
    double bought[LANES]            # and bought
    # metrics
    double fills[LANES]
    double volume[LANES]
    double notional[LANES]          # from fills, in units of the grid
    double unwind_notional[LANES]
    double at_fair[LANES]           # what was sold, less what was bought, at the fair values of the time
    double pnl[LANES]
    double pnl_fair[LANES]
    double peak[LANES]
    double peak_fair[LANES]
    double max_drawdown[LANES]
    double max_drawdown_fair[LANES]
    double spread_sum[LANES]        # in units of the grid
    double quoted[LANES]
    double max_inventory[LANES]
    double max_exposure[LANES]
    double trips[LANES]
    double halt_step[LANES]
    double halt_reason[LANES]
    double overshoot[LANES]
    double trip_mark[LANES]         # pnl at risk.mark at the first trip
    double trip_reference[LANES]    # what its drawdown was measured from
    double resumed_mark[LANES]      # pnl at risk.mark at the end of the first pause
    double outages[LANES]
    double inventory_limit_steps[LANES]
    double exposure_limit_steps[LANES]
    double informed_volume[LANES]
    double informed_pnl[LANES]
    # glosten_milgrom and lmsr
    double belief[LANES]            # log-odds of the posterior; for lmsr the contracts sold, net of those bought
    double cost[LANES]              # lmsr: the cost function at them, 0 at first
    double paid[LANES]              # lmsr: a fill's average price, dollars
    double bid_markup[LANES]        # lmsr: what a widened quote adds to a contract's cost, dollars
    double ask_markup[LANES]
    # rows half as wide, all here, so that a lane can be copied without naming its rows (resume.pxi)
    float work_single[LANES]
    float last_side[LANES]
    float noise[LANES]              # contracts an uninformed taker wants: buyers positive; 0: none comes
    float insider[LANES]            # contracts an informed taker wants
    # draws of four steps at a time: [step mod 4][lane]
    float z[4][LANES]
    float reference_z[4][LANES]
    int32_t size[4][LANES]          # contracts
    int32_t u_news[4][LANES]
    int32_t u_direction[4][LANES]
    int32_t u_arrival[4][LANES]
    int32_t u_informed[4][LANES]
    int32_t u_herd[4][LANES]
    int32_t u_side[4][LANES]
    int32_t u_trade[4][LANES]
    int32_t u_size[4][LANES]
    int32_t u_disconnect[4][LANES]
    int32_t u_bid_hit[4][LANES]
    int32_t u_ask_hit[4][LANES]
    uint32_t begun[4 * LANES]       # what all draws of a path have in common (ars.h)
    # rows of phases in one pass alone: no bot, which takes none, has them in its state
    double derived[DERIVED][LANES]
    int32_t arrival_bound[LANES]    # NEVER where the maker has halted
    Portfolio* portfolio            # NULL: the only market
    bint revised                    # who may quote may have changed since the last step

cdef struct Windows:
    # rings of per-step rows, LANES wide; float holds a step's contracts exactly
    float* filled_signed
    float* filled_total             # where both sides may be filled: they may cancel in the signed ring
    float* volume_ring
    double* loss_ring
    # a policy of one's own: what it sees and writes, and the Python call that stands in for a compiled one
    double* view
    void* call
    # what is kept of the block's first paths at equally spaced steps, or NULL (kernel/checkpoints.pxi)
    double* checkpoints
    Py_ssize_t checkpoint_count, checkpoint_lanes
    # the venue `book`: a struct a lane, and what its draws are keyed by; what a study of one queue waits for
    Book* books
    const BookSettings* book
    uint64_t seed, path
    int32_t watch_bid, watch_ask
    bint watch_done[LANES]
