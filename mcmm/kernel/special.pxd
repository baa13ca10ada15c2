"""Elementary functions with the same bits on every machine.

libm differs between machines, so exp, log, the normal distribution and its inverse are written out here: branch-free,
in the order of operations that docs/reproducibility.md states, so that a loop over lanes becomes vector code on any
instruction set and rounds alike on all of them. Errors are relative to the exact value, tested against mpmath. Long
polynomials are taken as even and odd powers apart: half the latency of one chain, measured 12% of a default step.
"""
from libc.math cimport fabs, sqrt
from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    static inline uint64_t mcmm_bits_of(double x) { uint64_t u; memcpy(&u, &x, sizeof u); return u; }
    static inline double mcmm_double_of(uint64_t u) { double x; memcpy(&x, &u, sizeof x); return x; }
    /* A number that the compiler is not to know, for loops to hand to `maximum` and `minimum` as their second: of a
       constant gcc makes a comparison and a choice, both for one port of the processor, instead of one instruction. */
    #if defined(__GNUC__) || defined(__clang__)
    static inline double mcmm_unknown(double x) { __asm__("" : "+m"(x)); return x; }
    #else
    static inline double mcmm_unknown(double x) { return x; }
    #endif
    /* To a whole number, exactly, for |x| < 2^51. Without an instruction for it (SSE2), 1.5 * 2^52 leaves no room for
       a fraction, so that the sum is rounded to a whole number. */
    #if defined(__SSE4_1__)
    #include <math.h>
    static inline double mcmm_nearest(double x) { return rint(x); }
    static inline double mcmm_floor(double x) { return floor(x); }
    static inline double mcmm_ceil(double x) { return ceil(x); }
    #else
    static inline double mcmm_nearest(double x) { return (x + 6755399441055744.0) - 6755399441055744.0; }
    static inline double mcmm_floor(double x) { double n = mcmm_nearest(x); return n - (n > x ? 1.0 : 0.0); }
    static inline double mcmm_ceil(double x) { double n = mcmm_nearest(x); return n + (n < x ? 1.0 : 0.0); }
    #endif
    """
    uint64_t bits_of "mcmm_bits_of"(double x) noexcept nogil
    double double_of "mcmm_double_of"(uint64_t bits) noexcept nogil
    double unknown "mcmm_unknown"(double x) noexcept nogil
    double nearest "mcmm_nearest"(double x) noexcept nogil
    double floor_whole "mcmm_floor"(double x) noexcept nogil
    double ceil_whole "mcmm_ceil"(double x) noexcept nogil


# Told so that gcc finds the one instruction for each, if no constant is among the two; of two zeros the first.
cdef inline double minimum(double a, double b) noexcept nogil:
    return a if a < b else b


cdef inline double maximum(double a, double b) noexcept nogil:
    return b if a < b else a


cdef inline double chosen(bint first, double one, double other) noexcept nogil:
    """Of two elements in memory, both read: clang would make of a choice between them one of their addresses, and of
    its loop no vector code."""
    return one if first else other


cdef inline double clip(double x, double low, double high) noexcept nogil:
    return minimum(maximum(x, low), high)


cdef inline double absolute(double x) noexcept nogil:
    return fabs(x)


cdef inline double with_sign_of(double x, double signed) noexcept nogil:
    """x, its sign turned where `signed` is below 0."""
    return double_of(bits_of(x) ^ (bits_of(signed) & 0x8000000000000000ULL))


cdef inline double sign(double x) noexcept nogil:
    return 1.0 if x > 0.0 else (-1.0 if x < 0.0 else 0.0)


cdef inline double exponential_within(double x) noexcept nogil:
    """e^x for |x| <= 708; relative error below 5e-16."""
    cdef double shifted = x * 1.4426950408889634 + 6755399441055744.0
    cdef double power = shifted - 6755399441055744.0
    cdef double r = (x - power * 0.6931471803691238) - power * 1.9082149292705877e-10
    cdef double square = r * r, even, odd
    even = 2.7476790096898015e-07
    even = even * square + 2.4801931736045805e-05
    even = even * square + 0.0013888888516215539
    even = even * square + 0.04166666666813647
    even = even * square + 0.49999999999998324
    odd = 2.7634990140239235e-06
    odd = odd * square + 0.0001984118523787202
    odd = odd * square + 0.00833333337086881
    odd = odd * square + 0.16666666666611557
    cdef double q = even + r * odd
    # The low bits of `shifted` hold the power of two: shifted up to the exponent's place, they scale exactly.
    return double_of(bits_of(1.0 + (r + square * q)) + (bits_of(shifted) << 52))


cdef inline double exponential(double x) noexcept nogil:
    """e^x, x held to [-708, 708]."""
    return exponential_within(clip(x, -708.0, 708.0))


cdef inline double exponential_less_one(double x) noexcept nogil:
    """e^x - 1, x held to [-708, 708]; relative error below 4e-15, near 0 too, where e^x - 1 would lose its digits."""
    cdef double held = clip(x, -708.0, 708.0)
    cdef double shifted = held * 1.4426950408889634 + 6755399441055744.0
    cdef double power = shifted - 6755399441055744.0
    cdef double r = (held - power * 0.6931471803691238) - power * 1.9082149292705877e-10
    cdef double square = r * r, even, odd
    even = 2.7476790096898015e-07
    even = even * square + 2.4801931736045805e-05
    even = even * square + 0.0013888888516215539
    even = even * square + 0.04166666666813647
    even = even * square + 0.49999999999998324
    odd = 2.7634990140239235e-06
    odd = odd * square + 0.0001984118523787202
    odd = odd * square + 0.00833333337086881
    odd = odd * square + 0.16666666666611557
    cdef double q = even + r * odd
    cdef double scale = double_of(0x3FF0_0000_0000_0000ULL + (bits_of(shifted) << 52))
    return (scale - 1.0) + scale * (r + square * q)


cdef inline double logarithm(double x) noexcept nogil:
    """ln x for a normal positive double; relative error below 6e-16."""
    cdef uint64_t shifted = bits_of(x) + 0x0009_5F61_9980_C433ULL
    cdef double power = double_of((shifted >> 52) | 0x4330_0000_0000_0000ULL) - 4503599627371519.0
    # m in [sqrt(1/2), sqrt(2)), s = (m - 1) / (m + 1), ln m = 2 artanh s
    cdef double m = double_of((shifted & 0x000F_FFFF_FFFF_FFFFULL) + 0x3FE6_A09E_667F_3BCDULL)
    cdef double f = m - 1.0
    cdef double s = f / (2.0 + f)
    cdef double z = s * s
    cdef double square = z * z, even, odd
    even = 0.090618185715507
    even = even * square + 0.14285708563343494
    even = even * square + 0.33333333333293574
    odd = 0.08409940373172661
    odd = odd * square + 0.11111685936506535
    odd = odd * square + 0.20000000026148487
    cdef double q = even + z * odd
    cdef double twice = s + s
    return power * 0.6931471803691238 + (twice + (twice * (z * q) + power * 1.9082149292705877e-10))


cdef inline double logarithm_of_one_plus(double x) noexcept nogil:
    """ln(1 + x) for x > -1, to the last digits near 0 too: what 1 + x rounds off is put back (Goldberg 1991)."""
    cdef double whole = 1.0 + x
    return logarithm(whole) + (x - (whole - 1.0)) / whole


cdef inline double softplus(double x) noexcept nogil:
    """ln(1 + e^x), of any x."""
    return maximum(x, 0.0) + logarithm_of_one_plus(exponential(-absolute(x)))


cdef inline double logistic(double x) noexcept nogil:
    """1 / (1 + e^-x) for |x| <= 708."""
    return 1.0 / (1.0 + exponential_within(-x))


cdef inline double normal_density(double x) noexcept nogil:
    return exponential(-0.5 * (x * x)) * 0.3989422804014327


cdef inline double normal_cdf(double x) noexcept nogil:
    """Phi(x), x held to +-37; relative error below 1e-13.

    (1 + a) Phi(-a) exp(a^2 / 2) for a = |x| is a Chebyshev fit of degree 19 in (a - 5) / (a + 5).
    """
    cdef double a = minimum(absolute(x), 37.0)
    cdef double t = (a - 5.0) / (a + 5.0)
    cdef double square = t * t, even, odd
    even = -1.221812554357404e-08
    even = even * square + 1.0354421054622649e-07
    even = even * square + -4.744279621608721e-08
    even = even * square + -9.908893418326176e-06
    even = even * square + 0.0001823385121818197
    even = even * square + -0.0016760732437959079
    even = even * square + -0.01517041529685341
    even = even * square + -0.026401042972576918
    even = even * square + 0.031030368426107
    even = even * square + 0.46151582985003725
    odd = -1.5256117611258456e-08
    odd = odd * square + 1.7042640740221202e-07
    odd = odd * square + -1.2836923304083832e-06
    odd = odd * square + 9.046500980767409e-06
    odd = odd * square + -5.3602832636009436e-05
    odd = odd * square + 7.790513946664955e-06
    odd = odd * square + 0.006522000822010912
    odd = odd * square + 0.024536963230986683
    odd = odd * square + 0.010002352385736364
    odd = odd * square + -0.09155228183401533
    cdef double q = even + t * odd
    cdef double tail = exponential_within(-0.5 * (a * a)) * (q / (1.0 + a))
    return 1.0 - tail if x > 0.0 else tail


cdef inline double normal_quantile(double p) noexcept nogil:
    """Phi^-1(p), 0 < p < 1: Wichura (1988), algorithm AS 241, routine PPND16; absolute error below 1e-14.

    All three of its branches are evaluated and one is chosen, so that lanes stay together.
    """
    cdef double q = p - 0.5
    cdef double c = 0.180625 - q * q
    cdef double tail = minimum(p, 1.0 - p)
    cdef double r = sqrt(-logarithm(tail))
    cdef double n, d, central, near, far, z
    n = 2509.0809287301226727
    n = n * c + 33430.575583588128105
    n = n * c + 67265.770927008700853
    n = n * c + 45921.953931549871457
    n = n * c + 13731.693765509461125
    n = n * c + 1971.5909503065514427
    n = n * c + 133.14166789178437745
    n = n * c + 3.3871328727963666080
    d = 5226.4952788528545610
    d = d * c + 28729.085735721942674
    d = d * c + 39307.895800092710610
    d = d * c + 21213.794301586595867
    d = d * c + 5394.1960214247511077
    d = d * c + 687.18700749205790830
    d = d * c + 42.313330701600911252
    d = d * c + 1.0
    central = q * (n / d)
    z = r - 1.6
    n = 7.74545014278341407640e-4
    n = n * z + 2.27238449892691845833e-2
    n = n * z + 2.41780725177450611770e-1
    n = n * z + 1.27045825245236838258
    n = n * z + 3.64784832476320460504
    n = n * z + 5.76949722146069140550
    n = n * z + 4.63033784615654529590
    n = n * z + 1.42343711074968357734
    d = 1.05075007164441684324e-9
    d = d * z + 5.47593808499534494600e-4
    d = d * z + 1.51986665636164571966e-2
    d = d * z + 1.48103976427480074590e-1
    d = d * z + 6.89767334985100004550e-1
    d = d * z + 1.67638483018380384940
    d = d * z + 2.05319162663775882187
    d = d * z + 1.0
    near = n / d
    z = r - 5.0
    n = 2.01033439929228813265e-7
    n = n * z + 2.71155556874348757815e-5
    n = n * z + 1.24266094738807843860e-3
    n = n * z + 2.65321895265761230930e-2
    n = n * z + 2.96560571828504891230e-1
    n = n * z + 1.78482653991729133580
    n = n * z + 5.46378491116411436990
    n = n * z + 6.65790464350110377720
    d = 2.04426310338993978564e-15
    d = d * z + 1.42151175831644588870e-7
    d = d * z + 1.84631831751005468180e-5
    d = d * z + 7.86869131145613259100e-4
    d = d * z + 1.48753612908506148525e-2
    d = d * z + 1.36929880922735805310e-1
    d = d * z + 5.99832206555887937690e-1
    d = d * z + 1.0
    far = n / d
    cdef double outer = near if r <= 5.0 else far
    cdef double signed_outer = outer if q > 0.0 else -outer
    return central if absolute(q) <= 0.425 else signed_outer
