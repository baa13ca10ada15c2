"""Fair value: model.md section 3. One step of each process; p stays a martingale that settles at the outcome."""
from mcmm.kernel.special cimport clip, logarithm, logistic, maximum, normal_cdf


cdef inline double logit_of(double p) noexcept nogil:
    return clip(logarithm(p / (1.0 - p)), -36.0, 36.0)


cdef inline double logit_drift(double outcome, double variance) noexcept nogil:
    """(O - 1/2) v^2; variance = v^2."""
    return (outcome - 0.5) * variance


cdef inline double logit_move(double x, double drift, double volatility, double z, double bound) noexcept nogil:
    """x + (O - 1/2) v^2 + v z, held to +-36, the bound."""
    return clip(x + (drift + volatility * z), -bound, bound)


cdef inline double toward(double p, double kappa, double end) noexcept nogil:
    """p + kappa (end - p). With end the outcome: the chance that news is up; with end its direction: where p jumps."""
    return p + kappa * (end - p)


cdef inline double news_logit(double p, double kappa, double end) noexcept nogil:
    """The logit of toward(p, kappa, end), from a complement that keeps its digits near 0 and 1."""
    cdef double complement = (1.0 - p) - kappa * (end - p)
    return clip(logarithm(maximum(toward(p, kappa, end), 1e-18) / maximum(complement, 1e-18)), -36.0, 36.0)


cdef inline double threshold_probability(double walk, double per_sd) noexcept nogil:
    """Phi(b / sqrt(R - t)); per_sd = 1 / sqrt(R - t)."""
    return normal_cdf(walk * per_sd)
