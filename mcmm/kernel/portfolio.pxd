"""What acts on several markets together: model.md sections 3 (the common factor), 4 (the portfolio's share) and 6."""
from mcmm.kernel.quoting cimport exposure_room
from mcmm.kernel.special cimport maximum


cdef inline double shared_shock(double common_weight, double common, double own_weight, double own) noexcept nogil:
    """sqrt(rho) * z_common + sqrt(1 - rho) * e_m, a standard normal again."""
    return common_weight * common + own_weight * own


cdef inline double exposure_share(double exposure_limit, double exposure, double markets) noexcept nogil:
    """Dollars that one market may add in this step to the exposure, summed over the markets, of the last mark."""
    return maximum((exposure_limit - exposure) / markets, 0.0)


cdef inline double addition_room(double share, double risked, double reducing) noexcept nogil:
    """Contracts that a share in dollars allows at `risked` dollars each, beyond those that only reduce."""
    return exposure_room(share, risked) + maximum(reducing, 0.0)
