"""Keyed random numbers: Philox4x32 with 7 rounds (Salmon, Moraes, Dror and Shaw 2011), never a sequence.

A draw is named by (seed, path, market, step, purpose). One block of four 32-bit words serves one purpose for the four
steps 4 k .. 4 k + 3; docs/reproducibility.md fixes the layout, and golden vectors hold it.
"""
from libc.math cimport sqrt
from libc.stdint cimport uint64_t

from mcmm.kernel.special cimport bits_of, double_of, logarithm

cdef extern from "philox.h":
    void philox_lanes "mcmm_philox_lanes"(
        uint64_t seed, uint64_t path, uint64_t quad, uint64_t label, uint64_t* draws, int lanes
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

cdef struct Words:
    uint64_t w0, w1, w2, w3

cdef struct Pair:
    double first, second


cdef inline Words philox_round(Words c, uint64_t k0, uint64_t k1) noexcept nogil:
    # A word lives in the low half of a 64-bit lane; what piles up in the high half is never read, so it is not cleared.
    cdef uint64_t p0 = (c.w0 & 0xFFFFFFFFULL) * 0xD2511F53ULL
    cdef uint64_t p1 = (c.w2 & 0xFFFFFFFFULL) * 0xCD9E8D57ULL
    cdef Words out
    out.w0 = (p1 >> 32) ^ c.w1 ^ (k0 & 0xFFFFFFFFULL)
    out.w1 = p1
    out.w2 = (p0 >> 32) ^ c.w3 ^ (k1 & 0xFFFFFFFFULL)
    out.w3 = p0
    return out


cdef inline Words philox(uint64_t seed, uint64_t path, uint64_t quad, uint64_t label) noexcept nogil:
    """Four random words (in the low halves) for counter (path low, path high, quad, label) and key seed.

    quad is step // 4; label is purpose + 256 * market. The seven rounds are unrolled, or the lanes would not vectorise.
    """
    cdef Words c
    cdef uint64_t k0 = seed & 0xFFFFFFFFULL
    cdef uint64_t k1 = seed >> 32
    c.w0 = path & 0xFFFFFFFFULL
    c.w1 = path >> 32
    c.w2 = quad
    c.w3 = label
    c = philox_round(c, k0, k1)
    c = philox_round(c, k0 + 1 * 0x9E3779B9ULL, k1 + 1 * 0xBB67AE85ULL)
    c = philox_round(c, k0 + 2 * 0x9E3779B9ULL, k1 + 2 * 0xBB67AE85ULL)
    c = philox_round(c, k0 + 3 * 0x9E3779B9ULL, k1 + 3 * 0xBB67AE85ULL)
    c = philox_round(c, k0 + 4 * 0x9E3779B9ULL, k1 + 4 * 0xBB67AE85ULL)
    c = philox_round(c, k0 + 5 * 0x9E3779B9ULL, k1 + 5 * 0xBB67AE85ULL)
    c = philox_round(c, k0 + 6 * 0x9E3779B9ULL, k1 + 6 * 0xBB67AE85ULL)
    return c


cdef inline double draw_of(uint64_t word) noexcept nogil:
    """2^52 + word: how a draw is kept, a single instruction away from its word."""
    return double_of((word & 0xFFFFFFFFULL) | 0x4330_0000_0000_0000ULL)


cdef inline double uniform(double draw) noexcept nogil:
    """(word + 1/2) / 2^32, exactly: one of 2^32 numbers in (0, 1)."""
    return (draw - 4503599627370495.5) * 2.3283064365386963e-10


cdef inline bint happens(double draw, double chance) noexcept nogil:
    """Whether an event of this chance happens: u < chance."""
    return uniform(draw) < chance


cdef inline Pair normal_pair(double radius_draw, double angle_draw) noexcept nogil:
    """Two independent standard normals by Box and Muller (1958), |z| < 6.8, absolute error below 3e-14.

    The angle is 30 bits within +-45 degrees; the two bits left choose the quadrant by a sign and a swap.
    """
    cdef double radius = sqrt(-2.0 * logarithm(uniform(radius_draw)))
    cdef uint64_t angle_word = bits_of(angle_draw)
    cdef double turn = double_of(angle_word & 0x4330_0000_3FFF_FFFFULL) - 4503599627370496.0
    cdef double angle = (turn - 536870911.5) * 1.4629180792671596e-09
    cdef double z = angle * angle
    cdef double square = z * z
    cdef double even = (-2.4761698572890472e-08 * square + -0.00019841263826007795) * square + -0.16666666666631624
    cdef double odd = 2.755535839638177e-06 * square + 0.008333333325277371
    cdef double sine = angle + angle * (z * (even + z * odd))
    even = (2.0647741160710326e-09 * square + 2.480158097200794e-05) * square + 0.041666666666602264
    odd = -2.755556718692808e-07 * square + -0.0013888888878275164
    cdef double cosine = (1.0 - 0.5 * z) + square * (even + z * odd)
    cdef double along = double_of(bits_of(radius * cosine) ^ ((angle_word & 0x40000000ULL) << 33))
    cdef double across = radius * sine
    cdef Pair pair
    cdef bint swapped = (angle_word & 0x80000000ULL) != 0
    pair.first = across if swapped else along
    pair.second = along if swapped else across
    return pair
