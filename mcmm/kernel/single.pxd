"""Elementary functions in single precision, for draws, chances and the fair value: twice as many lanes to a vector.

Written out and ordered as in special.pxd, and for the same reason. Constants are cast, or C would compute in double.
"""
from libc.stdint cimport int32_t, uint32_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    static inline uint32_t mcmm_bits_of_single(float x) { uint32_t u; memcpy(&u, &x, sizeof u); return u; }
    static inline float mcmm_single_of(uint32_t u) { float x; memcpy(&x, &u, sizeof x); return x; }
    """
    uint32_t bits_of_single "mcmm_bits_of_single"(float x) noexcept nogil
    float single_of "mcmm_single_of"(uint32_t bits) noexcept nogil


cdef inline float single_clip(float x, float low, float high) noexcept nogil:
    cdef float raised = low if x < low else x
    return raised if raised < high else high


cdef inline float minus_twice_logarithm(float draw) noexcept nogil:
    """-2 ln(draw / 2^31) for 1 <= draw <= 2^31; absolute error below 2e-7 near 2^31, relative elsewhere."""
    cdef uint32_t bits = bits_of_single(draw)
    cdef uint32_t power = (bits - 0x3F3504F3U) >> 23
    # m in [sqrt(1/2), sqrt(2)), f = m - 1
    cdef float f = single_of(bits - (power << 23)) - <float>1.0
    cdef float square = f * f, even, odd
    even = <float>-0.2524747848510742
    even = even * square + <float>-0.28428712487220764
    even = even * square + <float>-0.400020956993103
    even = even * square + <float>-0.6666666269302368
    odd = <float>0.15807287395000458
    odd = odd * square + <float>0.2599698007106781
    odd = odd * square + <float>0.3328249454498291
    odd = odd * square + <float>0.5000061392784119
    cdef float q = even + f * odd
    return <float>(<int32_t>power - 31) * <float>-1.3862943649291992 + ((square - (f + f)) + (square * f) * q)


cdef inline float single_exponential(float x) noexcept nogil:
    """e^x for |x| <= 87; relative error below 2e-7."""
    cdef float shifted = x * <float>1.4426950216293335 + <float>12582912.0
    cdef float power = shifted - <float>12582912.0
    cdef float r = (x - power * <float>0.693359375) + power * <float>0.00021219444170128554
    cdef float square = r * r, even, odd
    even = <float>0.0013926918618381023
    even = even * square + <float>0.04166654869914055
    even = even * square + <float>0.5
    odd = <float>0.008363766595721245
    odd = odd * square + <float>0.16666573286056519
    cdef float q = even + r * odd
    # The low bits of `shifted` hold the power of two: shifted up to the exponent's place, they scale exactly.
    return single_of(bits_of_single(<float>1.0 + (r + square * q)) + (bits_of_single(shifted) << 23))


cdef inline float single_logistic(float x) noexcept nogil:
    """1 / (1 + e^-x) for |x| <= 87."""
    return <float>1.0 / (<float>1.0 + single_exponential(-x))
