"""Keyed random numbers: ARS4x32 with 7 rounds (Salmon, Moraes, Dror and Shaw 2011), never a sequence.

A draw is named by (seed, path, market, step, purpose). One block of four 32-bit words serves one purpose for the four
steps 4 k .. 4 k + 3; docs/reproducibility.md fixes the layout, and golden vectors hold it.

A draw is kept as the upper 31 bits of its word, as a signed integer: so every instruction set compares it as it is, and
the bound of any chance from 0 to 1 fits beside it.
"""
from libc.math cimport sqrtf
from libc.stdint cimport int32_t, uint32_t, uint64_t

from mcmm.kernel.single cimport bits_of_single, minus_twice_logarithm, single_of

cdef extern from "ars.h":
    enum: MCMM_ARS_ROUNDS
    const char* choose_ars "mcmm_choose_ars"(int most)
    void ars "mcmm_ars"(
        uint64_t key_low, uint64_t key_high, uint64_t low, uint64_t high, int rounds, uint32_t* words
    ) noexcept nogil
    void begin_lanes "mcmm_begin_lanes"(uint64_t seed, uint64_t path, uint32_t* begun, int lanes) noexcept nogil
    void ars_begun "mcmm_ars_begun"(
        uint64_t seed, const uint32_t* begun, const uint64_t* highs, int32_t** draws, int count, int lanes
    ) noexcept nogil

cdef enum Purpose:
    OUTCOME = 0
    FAIR = 1
    NEWS = 2
    NEWS_DIRECTION = 3
    ARRIVAL = 4
    INFORMED = 5
    HERD = 6
    SIDE = 7
    TRADE = 8
    SIZE = 9
    REFERENCE = 10
    DISCONNECT = 11
    BID_HIT = 12
    ASK_HIT = 13
    COMMON = 14
    COMMON_OUTCOME = 15
    BOOK_FLOW = 16
    BOOK_WARMUP = 17
    PATIENCE = 18

cdef enum:
    NEVER = -1                      # the last draw at which an event of chance 0 happens; of chance 1 it is 2^31 - 1

cdef struct Pair:
    float first, second


cdef inline double uniform(int32_t draw) noexcept nogil:
    """(draw + 1/2) / 2^31, exactly: one of 2^31 numbers in (0, 1)."""
    return (<double>draw + 0.5) * 4.656612873077393e-10


cdef inline bint happens(int32_t draw, double chance) noexcept nogil:
    """Whether an event of this chance happens: u < chance."""
    return uniform(draw) < chance


cdef inline bint happens_in_single(int32_t draw, float chance) noexcept nogil:
    """The same for a chance in single precision, which the draw's upper 23 bits are compared with."""
    return (<float>(draw >> 8) + <float>0.5) * <float>1.1920928955078125e-07 < chance


cdef inline Pair normal_pair(int32_t radius_draw, int32_t angle_draw) noexcept nogil:
    """Two independent standard normals by Box and Muller (1958) in single precision, |z| < 6.6, error below 2e-6.

    The angle is 29 bits within +-45 degrees; the two bits left choose the quadrant by a sign and a swap.
    """
    # At least 1, and odd: the middle of the two draws that it stands for.
    cdef float radius = sqrtf(minus_twice_logarithm(<float>(radius_draw | 1)))
    cdef float angle = <float>(((angle_draw & 0x1FFFFFFF) << 1) - 0x1FFFFFFF) * <float>1.462918119976564e-09
    cdef float z = angle * angle
    cdef float sine = <float>-0.00019587890710681677
    sine = sine * z + <float>0.008332747966051102
    sine = sine * z + <float>-0.166666641831398
    sine = angle + angle * (z * sine)
    cdef float cosine = <float>2.454794230288826e-05
    cosine = cosine * z + <float>-0.001388830249197781
    cosine = cosine * z + <float>0.0416666641831398
    cosine = (<float>1.0 - <float>0.5 * z) + (z * z) * cosine
    cdef float along = single_of(bits_of_single(radius * cosine) ^ ((<uint32_t>angle_draw & 0x20000000U) << 2))
    cdef float across = radius * sine
    cdef bint swapped = (angle_draw & 0x40000000) != 0
    cdef Pair pair
    pair.first = across if swapped else along
    pair.second = along if swapped else across
    return pair
