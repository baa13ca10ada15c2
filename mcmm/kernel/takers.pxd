"""Takers: model.md section 5. A side is +1 for a buyer, -1 for a seller, 0 for who leaves without one."""
from mcmm.kernel.special cimport clip, maximum, minimum


cdef inline double arrival_chance(double arrival_base, double excitation) noexcept nogil:
    """lambda_t; arrival_base = arrival_rate * (1 - n)."""
    return minimum(arrival_base + excitation, 1.0)


cdef inline double excitation_after(double excitation, double decay, double rise, bint arrived) noexcept nogil:
    return excitation * decay + (rise if arrived else 0.0)


cdef inline double informed_side(double known, double bid, double ask, double bid_size, double ask_size) noexcept nogil:
    cdef double sells = -1.0 if (known < bid) & (bid_size > 0.0) else 0.0
    return 1.0 if (known > ask) & (ask_size > 0.0) else sells


cdef inline float noise_side(float last_side, bint repeats, bint buys) noexcept nogil:
    cdef float own = <float>1.0 if buys else <float>-1.0
    return last_side if repeats & (last_side != <float>0.0) else own


cdef inline double picked_off(double known, double bid, double ask, double contracts) noexcept nogil:
    """The signed volume that an informed taker wants."""
    cdef double sells = -contracts if known < bid else 0.0
    return contracts if known > ask else sells


cdef inline double filled(double wanted, double bid_size, double ask_size) noexcept nogil:
    """As far as the quoted size goes."""
    return clip(wanted, -bid_size, ask_size)


cdef inline double reluctance(double price_sensitivity, double cost, double zero, double most) noexcept nogil:
    """k max(0, cost over fair), held to 87: an uninformed taker trades with chance exp(-reluctance).

    zero = 0, most = 87.
    """
    return minimum(price_sensitivity * maximum(cost, zero), most)


cdef inline double distance_decay(double intensity_decay, double distance, double most) noexcept nogil:
    """k distance, held to +-87: a side is hit with chance A exp(-k distance) dt (Avellaneda and Stoikov 2008).

    most = 87.
    """
    return clip(intensity_decay * distance, -most, most)
