"""Takers and fills, phases 3 and 4 of a step, as loops over the lanes of a block.

No rule of the market is written here: each loop reads the lanes, calls the inline rules, and writes the lanes back,
branch-free, so that it compiles to vector code. Settings are read into locals first, or the compiler must fear that a
store to a lane changes them.
"""
from libc.stdint cimport int32_t

from mcmm.kernel.fills cimport maker_fee
from mcmm.kernel.quoting cimport cost_of, defence, imbalance_of, marginal_price, mid_move, posterior_after
from mcmm.kernel.random cimport NEVER, happens, happens_in_single
from mcmm.kernel.single cimport single_exponential
from mcmm.kernel.special cimport absolute, chosen, clip, logistic, maximum, minimum, sign, unknown
from mcmm.kernel.state cimport LANES, Block, Settings
from mcmm.kernel.takers cimport (
    arrival_chance, distance_decay, excitation_after, filled, informed_side, noise_side, picked_off, reluctance,
)


cdef inline void excite(Block* b, const Settings* s, Py_ssize_t k) noexcept nogil:
    """Arrivals whose chance depends on those before: leaves 1 in work_single where a taker comes."""
    cdef Py_ssize_t i
    cdef double base = s.arrival_base, decay = s.excitation_decay, rise = s.excitation_rise
    cdef bint arrived
    for i in range(LANES):
        arrived = happens(b.u_arrival[k][i], arrival_chance(base, b.excitation[i]))
        b.excitation[i] = excitation_after(b.excitation[i], decay, rise, arrived)
        b.work_single[i] = <float>1.0 if arrived else <float>0.0


cdef inline void halt_takers(Block* b, const Settings* s) noexcept nogil:
    """Nobody comes where the maker may not quote: its quote need not be taken back."""
    cdef Py_ssize_t i
    cdef int32_t bound = s.arrival_bound
    for i in range(LANES):
        b.arrival_bound[i] = bound if b.quoting[i] != 0.0 else <int32_t>NEVER


cdef inline void arrive(
    Block* b, const Settings* s, Py_ssize_t k, bint excites, bint herds, bint halts
) noexcept nogil:
    """Who comes, and what the uninformed want; halts: nobody where the maker has halted."""
    cdef Py_ssize_t i
    cdef int32_t bound = s.arrival_bound, share = s.informed_bound, herding = s.herding_bound
    cdef int32_t buys = s.noise_buy_bound
    cdef float size, own
    cdef bint arrived, informed
    for i in range(LANES):
        arrived = b.work_single[i] != <float>0.0 if excites else b.u_arrival[k][i] <= (
            b.arrival_bound[i] if halts else bound
        )
        informed = b.u_informed[k][i] <= share
        if herds:
            own = noise_side(b.last_side[i], b.u_herd[k][i] <= herding, b.u_side[k][i] <= buys)
        else:
            own = noise_side(<float>0.0, False, b.u_side[k][i] <= buys)
        size = <float>b.size[k][i]
        size = size if arrived else <float>0.0
        b.noise[i] = <float>0.0 if informed else own * size
        b.insider[i] = size if informed else <float>0.0


cdef inline void follow_side(Block* b, const Settings* s, bint knows_outcome) noexcept nogil:
    """Herding: the side that a later taker may repeat."""
    cdef Py_ssize_t i
    cdef double unit = s.unit, known, side
    for i in range(LANES):
        known = b.outcome[i] if knows_outcome else b.probability[i]
        side = informed_side(known, b.bid[i] * unit, b.ask[i] * unit, b.bid_size[i], b.ask_size[i])
        side = side if b.insider[i] > <float>0.0 else sign(b.noise[i])
        b.last_side[i] = <float>side if side != 0.0 else b.last_side[i]


cdef inline void deter(Block* b, const Settings* s, Py_ssize_t k) noexcept nogil:
    """Price sensitivity: the uninformed who find the quote too far from fair leave.

    The exponential has a loop of its own: behind other work it takes twice as long.
    """
    cdef Py_ssize_t i
    cdef double sensitivity = s.price_sensitivity, unit = s.unit, zero = unknown(0.0), most = unknown(87.0)
    cdef double over_fair, under_fair
    cdef float chance, noise
    cdef bint stays
    for i in range(LANES):
        over_fair = b.ask[i] * unit - b.probability[i]
        under_fair = b.probability[i] - b.bid[i] * unit
        b.work[i] = over_fair if b.noise[i] > <float>0.0 else under_fair
    # Apart from the choice, of which the compiler would make more comparisons than there are.
    for i in range(LANES):
        b.work_single[i] = <float>reluctance(sensitivity, b.work[i], zero, most)
    for i in range(LANES):
        chance = single_exponential(-b.work_single[i])
        noise = b.noise[i]
        stays = happens_in_single(b.u_trade[k][i], chance)
        b.noise[i] = noise if stays else <float>0.0


cdef inline void match(Block* b, const Settings* s, bint some_informed, bint knows_outcome) noexcept nogil:
    """How much of the quote is taken."""
    cdef Py_ssize_t i
    cdef double unit = s.unit, known, wanted
    for i in range(LANES):
        wanted = b.noise[i]
        if some_informed:
            known = b.outcome[i] if knows_outcome else b.probability[i]
            wanted += picked_off(known, b.bid[i] * unit, b.ask[i] * unit, b.insider[i])
        b.taken[i] = filled(wanted, b.bid_size[i], b.ask_size[i])


cdef inline void hit(Block* b, const Settings* s, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t i
    cdef double decay = s.intensity_decay, unit = s.unit, most = unknown(87.0)
    cdef float per_step = <float>s.intensity_per_step, one
    for i in range(LANES):
        b.noise[i] = <float>distance_decay(decay, b.probability[i] - b.bid[i] * unit, most)
        b.insider[i] = <float>distance_decay(decay, b.ask[i] * unit - b.probability[i], most)
    for i in range(LANES):
        one = <float>1.0 if happens_in_single(
            b.u_bid_hit[k][i], per_step * single_exponential(-b.noise[i])
        ) else <float>0.0
        b.noise[i] = one
    for i in range(LANES):
        one = <float>1.0 if happens_in_single(
            b.u_ask_hit[k][i], per_step * single_exponential(-b.insider[i])
        ) else <float>0.0
        b.insider[i] = one


cdef inline void take_hits(Block* b) noexcept nogil:
    """As far as the quoted sizes go, which is a contract or none."""
    cdef Py_ssize_t i
    for i in range(LANES):
        b.bought[i] = minimum(<double>b.noise[i], b.bid_size[i])
        b.sold[i] = minimum(<double>b.insider[i], b.ask_size[i])


cdef inline void follow_order(
    Block* b, const Settings* s, double side, double size, double limit
) noexcept nogil:
    """Replay: a limit order fills only at a quote at or better than its limit, the grace in it."""
    cdef Py_ssize_t i
    cdef double unit = s.unit, buys, sells
    for i in range(LANES):
        buys = minimum(size, b.ask_size[i]) if (side > 0.0) & (b.ask[i] * unit <= limit) else 0.0
        sells = minimum(size, b.bid_size[i]) if (side < 0.0) & (b.bid[i] * unit >= limit) else 0.0
        b.taken[i] = buys - sells


cdef inline void take_bought(Block* b) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(LANES):
        b.taken[i] = -b.bought[i]


cdef inline void take_sold(Block* b) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(LANES):
        b.taken[i] = b.sold[i]


cdef inline void fill(Block* b, const Settings* s, bint some_informed) noexcept nogil:
    """The books after a taker bought (taken > 0) or sold."""
    cdef Py_ssize_t i
    cdef double unit = s.unit, taken, paid, worth, contracts
    for i in range(LANES):
        taken = b.taken[i]
        contracts = absolute(taken)
        paid = taken * chosen(taken > 0.0, b.ask[i], b.bid[i])
        worth = taken * b.probability[i]
        b.cash[i] += paid
        b.notional[i] += absolute(paid)
        b.inventory[i] -= taken
        b.fills[i] += 1.0 if contracts > 0.0 else 0.0
        b.volume[i] += contracts
        b.at_fair[i] += worth
        if some_informed:
            b.informed_volume[i] += contracts if b.insider[i] > <float>0.0 else 0.0
            b.informed_pnl[i] += paid * unit - worth if b.insider[i] > <float>0.0 else 0.0


cdef inline void trade_at_once(Block* b, const Settings* s, bint some_informed) noexcept nogil:
    """match and fill in one pass, for takers who know the fair value."""
    cdef Py_ssize_t i
    cdef double unit = s.unit, taken, bid, ask, p, paid, worth, contracts, insider
    for i in range(LANES):
        bid = b.bid[i]
        ask = b.ask[i]
        p = b.probability[i]
        taken = b.noise[i]
        insider = 0.0
        if some_informed:
            insider = b.insider[i]
            taken += picked_off(p, bid * unit, ask * unit, insider)
        taken = filled(taken, b.bid_size[i], b.ask_size[i])
        contracts = absolute(taken)
        paid = taken * (ask if taken > 0.0 else bid)
        worth = taken * p
        b.taken[i] = taken
        b.cash[i] += paid
        b.notional[i] += absolute(paid)
        b.inventory[i] -= taken
        b.fills[i] += 1.0 if contracts > 0.0 else 0.0
        b.volume[i] += contracts
        b.at_fair[i] += worth
        if some_informed:
            b.informed_volume[i] += contracts if insider > 0.0 else 0.0
            b.informed_pnl[i] += paid * unit - worth if insider > 0.0 else 0.0


cdef inline void fill_both(Block* b) noexcept nogil:
    """take_hits and the books after both, the bid first, where no window takes what was filled."""
    cdef Py_ssize_t i
    cdef double bought, sold, at_bid, at_ask, p
    for i in range(LANES):
        bought = minimum(<double>b.noise[i], b.bid_size[i])
        sold = minimum(<double>b.insider[i], b.ask_size[i])
        b.bought[i] = bought
        b.sold[i] = sold
        p = b.probability[i]
        at_bid = bought * b.bid[i]
        at_ask = sold * b.ask[i]
        b.cash[i] = (b.cash[i] - at_bid) + at_ask
        b.notional[i] = (b.notional[i] + absolute(at_bid)) + absolute(at_ask)
        b.at_fair[i] = (b.at_fair[i] - bought * p) + sold * p
        b.inventory[i] = (b.inventory[i] + bought) - sold
        b.fills[i] += bought + sold
        b.volume[i] += bought + sold


cdef inline void fill_at_cost(Block* b, const Settings* s, bint some_informed) noexcept nogil:
    """The same for lmsr: a fill pays the cost function's difference, and what the quote was marked up by."""
    cdef Py_ssize_t i
    cdef double first = s.initial_mid, log_odds = s.initial_belief, liquidity = s.liquidity
    cdef double taken, contracts, payment, worth
    for i in range(LANES):
        b.belief[i] += b.taken[i]
        b.work[i] = cost_of(first, log_odds, b.belief[i], liquidity)
    for i in range(LANES):
        taken = b.taken[i]
        contracts = absolute(taken)
        payment = (b.work[i] - b.cost[i]) + taken * chosen(taken > 0.0, b.ask_markup[i], b.bid_markup[i])
        payment = payment if contracts > 0.0 else 0.0
        worth = taken * b.probability[i]
        b.cost[i] = b.work[i]
        b.paid[i] = payment / taken if contracts > 0.0 else 0.0
        b.cash[i] += payment
        b.notional[i] += absolute(payment)
        b.inventory[i] -= taken
        b.fills[i] += 1.0 if contracts > 0.0 else 0.0
        b.volume[i] += contracts
        b.at_fair[i] += worth
        if some_informed:
            b.informed_volume[i] += contracts if b.insider[i] > <float>0.0 else 0.0
            b.informed_pnl[i] += payment - worth if b.insider[i] > <float>0.0 else 0.0


cdef inline void learn(Block* b, const Settings* s) noexcept nogil:
    """glosten_milgrom: the posterior, and with it the mid, after a trade."""
    cdef Py_ssize_t i
    cdef double evidence = s.evidence
    for i in range(LANES):
        b.belief[i] = posterior_after(b.belief[i], b.taken[i], evidence)
        b.mid[i] = logistic(b.belief[i]) if b.taken[i] != 0.0 else b.mid[i]


cdef inline void reprice(Block* b, const Settings* s) noexcept nogil:
    """lmsr: the marginal price after a fill."""
    cdef Py_ssize_t i
    cdef double log_odds = s.initial_belief, liquidity = s.liquidity
    for i in range(LANES):
        b.mid[i] = marginal_price(log_odds, b.belief[i], liquidity) if b.taken[i] != 0.0 else b.mid[i]


cdef inline void use_up(Block* b) noexcept nogil:
    """What a fill leaves of a quote: it matters only to a quote that may rest."""
    cdef Py_ssize_t i
    for i in range(LANES):
        b.ask_size[i] -= maximum(b.taken[i], 0.0)
        b.bid_size[i] -= maximum(-b.taken[i], 0.0)


cdef inline void remember(Block* b, float* signed_row, float* total_row) noexcept nogil:
    """The imbalance window takes the volume."""
    cdef Py_ssize_t i
    for i in range(LANES):
        b.window_signed[i] += b.taken[i]
        b.window_total[i] += absolute(b.taken[i])
    for i in range(LANES):
        signed_row[i] += <float>b.taken[i]
    if total_row != NULL:
        for i in range(LANES):
            total_row[i] += <float>absolute(b.taken[i])


cdef inline void charge(Block* b, const Settings* s, bint at_cost) noexcept nogil:
    """at_cost: at the fill's average price, where its contracts have not all the same."""
    cdef Py_ssize_t i
    cdef double rate = s.maker_rate, rounding = s.fee_rounding, unit = s.unit, price
    for i in range(LANES):
        price = chosen(at_cost, b.paid[i], chosen(b.taken[i] > 0.0, b.ask[i], b.bid[i]) * unit)
        b.fees[i] += maker_fee(rate, price, absolute(b.taken[i]), rounding)


cdef inline void shade(Block* b, const Settings* s) noexcept nogil:
    cdef Py_ssize_t i
    cdef double slope = s.fill_slope, by_imbalance = s.imbalance_shade, by_inventory = s.inventory_shade
    cdef double threshold = s.defensive_threshold, steep = s.defensive_slope, low = s.low, high = s.high
    cdef double per_limit = s.per_limit, zero = unknown(0.0), one = unknown(1.0), imbalance, usage, moved
    for i in range(LANES):
        imbalance = imbalance_of(b.window_signed[i], b.window_total[i], one)
        usage = b.inventory[i] * per_limit
        moved = mid_move(
            slope * b.taken[i] + by_imbalance * imbalance, by_inventory * usage, defence(usage, threshold, steep, zero)
        )
        moved = clip(b.mid[i] + moved, low, high)
        b.mid[i] = moved if b.taken[i] != 0.0 else b.mid[i]


cdef inline void learn_at_once(
    Block* b, const Settings* s, float* row, const float* oldest, bint follows_imbalance, bint leans, bint rolls
) noexcept nogil:
    """remember and shade in one pass, where a step has one fill at most, so that its row is the fill.

    rolls: and roll_window for the next step, which forgets the row `oldest`. All of it is whole numbers, exact in any
    order; and the division, of which the next quote is made, is begun long before it is needed, unless there is one
    here already: then the next quote has it.
    """
    cdef Py_ssize_t i
    cdef double slope = s.fill_slope, by_imbalance = s.imbalance_shade, by_inventory = s.inventory_shade
    cdef double threshold = s.defensive_threshold, steep = s.defensive_slope, low = s.low, high = s.high
    cdef double per_limit = s.per_limit, zero = unknown(0.0), one = unknown(1.0)
    cdef double taken, signed, total, usage, following, moved, gone
    for i in range(LANES):
        taken = b.taken[i]
        signed = b.window_signed[i] + taken
        total = b.window_total[i] + absolute(taken)
        row[i] = <float>taken
        usage = b.inventory[i] * per_limit
        following = slope * taken
        if follows_imbalance:
            following = following + by_imbalance * imbalance_of(signed, total, one)
        if rolls:
            gone = oldest[i]
            signed = signed - gone
            total = total - absolute(gone)
            if not follows_imbalance:
                b.imbalance[i] = imbalance_of(signed, total, one)
        b.window_signed[i] = signed
        b.window_total[i] = total
        moved = mid_move(following, by_inventory * usage if leans else 0.0, defence(usage, threshold, steep, zero))
        # A choice of the result, not whether to reckon it, which would make a branch of every step of it.
        moved = clip(b.mid[i] + moved, low, high)
        b.mid[i] = moved if taken != 0.0 else b.mid[i]
