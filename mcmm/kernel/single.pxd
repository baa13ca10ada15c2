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


cdef inline float density_lift(float v) noexcept nogil:
    """phi(Phi^-1(p)) / (p (1 - p)) less what that is at p = 1/2, of v = -2 ln(4 p (1 - p)), 0 <= v <= 25.

    A minimax fit of degree 12, in v / 12 - 1, of its quotient by v.
    """
    cdef float u = v * <float>0.0833333358168602 - <float>1.0
    cdef float square = u * u, even, odd
    even = <float>-6.520577881019562e-05
    even = even * square + <float>1.8937542336061597e-05
    even = even * square + <float>0.0008697811281308532
    even = even * square + <float>-0.0008961168932728469
    even = even * square + <float>-0.005657040048390627
    even = even * square + <float>0.000799992703832686
    even = even * square + <float>0.1586318165063858
    odd = <float>0.00017210669466294348
    odd = odd * square + <float>-0.0005608834908343852
    odd = odd * square + <float>-0.0004580519744195044
    odd = odd * square + <float>0.003228801768273115
    odd = odd * square + <float>0.0057951402850449085
    odd = odd * square + <float>-0.025702567771077156
    return v * (even + u * odd)


cdef inline double density_at_quantile(double p) noexcept nogil:
    """phi(Phi^-1(p)) for 1e-6 <= p <= 1 - 1e-6; relative error below 2e-7, of p from 0.01 to 0.99 below 1e-7.

    What is 4 phi(0) p (1 - p) near the middle, and all of it there, keeps its digits in double precision.
    """
    cdef double product = p * (1.0 - p)
    cdef float lift = density_lift(minus_twice_logarithm(<float>(product * 8589934592.0)))
    return product * (1.5957691216057308 + lift)
