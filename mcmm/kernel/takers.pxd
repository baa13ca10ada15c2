"""Takers: model.md section 5. A side is +1 for a buyer, -1 for a seller, 0 for who leaves without one."""
from libc.stdint cimport int32_t, int64_t, uint32_t

from mcmm.kernel.special cimport clip, maximum, minimum

cdef enum:
    SIZE_SHIFT = 21                 # draws fall into shares by their upper bits: 31 less this
    SIZE_SHARES = 1024              # as many as they have values
    SIZE_LOWER = 0x1FFFFF           # the lower bits
    SIZE_MOST = 2047                # the largest size that fits beside them

cdef struct SizeGuide:
    # By share of the draws: the least size, above as many lower bits as the one threshold in it lacks to its end; 0
    # where there are more, or sizes that do not fit. And how many thresholds are below it.
    uint32_t entry[SIZE_SHARES]
    int32_t below[SIZE_SHARES + 1]


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


cdef inline void guide_sizes(SizeGuide* guide, const int32_t* thresholds, Py_ssize_t count) noexcept nogil:
    """The guide of a table of thresholds in ascending order."""
    cdef Py_ssize_t share, below = 0, after
    cdef int64_t width = <int64_t>1 << SIZE_SHIFT
    for share in range(SIZE_SHARES):
        # The thresholds that are less than the least draw of a share, and those less than its greatest.
        while below < count and thresholds[below] < share * width:
            below += 1
        after = below
        while after < count and thresholds[after] < (share + 1) * width - 1:
            after += 1
        guide.below[share] = <int32_t>below
        guide.entry[share] = 0
        if after <= below + 1 and below + 1 < SIZE_MOST:
            guide.entry[share] = <uint32_t>(below + 1) << SIZE_SHIFT
            if after > below:
                guide.entry[share] |= SIZE_LOWER - (<uint32_t>thresholds[below] & SIZE_LOWER)
    guide.below[SIZE_SHARES] = <int32_t>count


cdef inline int32_t guided_size(const SizeGuide* guide, int32_t draw) noexcept nogil:
    """1 + the number of thresholds below the draw; 0 where the guide does not tell.

    Where the draw is above its share's threshold, the sum of lower bits carries into the size.
    """
    return <int32_t>((guide.entry[draw >> SIZE_SHIFT] + (<uint32_t>draw & SIZE_LOWER)) >> SIZE_SHIFT)


cdef inline int32_t searched_size(const SizeGuide* guide, const int32_t* thresholds, int32_t draw) noexcept nogil:
    """The same by bisection of what is in the draw's share."""
    cdef int32_t low = guide.below[draw >> SIZE_SHIFT], high = guide.below[(draw >> SIZE_SHIFT) + 1], middle
    while low < high:
        middle = (low + high) >> 1
        if draw > thresholds[middle]:
            low = middle + 1
        else:
            high = middle
    return low + 1


cdef inline int32_t drawn_size(const SizeGuide* guide, const int32_t* thresholds, int32_t draw) noexcept nogil:
    """The same of any draw."""
    cdef int32_t size = guided_size(guide, draw)
    return size if size > 0 else searched_size(guide, thresholds, draw)
