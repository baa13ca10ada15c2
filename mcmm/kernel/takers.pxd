"""Takers: model.md section 5. A side is +1 for a buyer, -1 for a seller, 0 for who leaves without one."""
from mcmm.kernel.special cimport exponential, maximum, minimum


cdef inline double arrival_chance(double arrival_base, double excitation) noexcept nogil:
    """lambda_t; arrival_base = arrival_rate * (1 - n)."""
    return minimum(1.0, arrival_base + excitation)


cdef inline double excitation_after(double excitation, double decay, double rise, bint arrived) noexcept nogil:
    return excitation * decay + (rise if arrived else 0.0)


cdef inline double informed_side(double known, double bid, double ask, double bid_size, double ask_size) noexcept nogil:
    cdef double sells = -1.0 if (known < bid) & (bid_size > 0.0) else 0.0
    return 1.0 if (known > ask) & (ask_size > 0.0) else sells


cdef inline double noise_side(
    double last_side, double herd_draw, double herding_bound, double side_draw, double buy_bound
) noexcept nogil:
    cdef double own = 1.0 if side_draw < buy_bound else -1.0
    return last_side if (herd_draw < herding_bound) & (last_side != 0.0) else own


cdef inline double reluctance(double price_sensitivity, double cost) noexcept nogil:
    """k max(0, cost over fair), held to 708: an uninformed taker trades with chance exp(-reluctance)."""
    return minimum(708.0, price_sensitivity * maximum(0.0, cost))


cdef inline double hit_chance(double intensity_per_step, double intensity_decay, double distance) noexcept nogil:
    """min(1, A exp(-k distance) dt); intensity_per_step = A dt (Avellaneda and Stoikov 2008)."""
    return minimum(1.0, intensity_per_step * exponential(-(intensity_decay * distance)))
