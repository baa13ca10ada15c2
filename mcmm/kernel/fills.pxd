"""Fills: what one does to the books. model.md sections 2 (phase 4) and 7."""
from mcmm.kernel.special cimport ceil_whole, minimum


cdef inline double maker_fee(double maker_rate, double price, double contracts, double rounding) noexcept nogil:
    """rate * price * (1 - price) * contracts, rounded up to a multiple of `rounding` (0: not); rebates are not."""
    cdef double amount = ((maker_rate * price) * (1.0 - price)) * contracts
    cdef double multiple = rounding if rounding > 0.0 else 1.0
    cdef double rounded = multiple * ceil_whole(minimum(amount / multiple - 1e-9, 1125899906842624.0))
    return rounded if (rounding > 0.0) & (amount > 0.0) else amount


cdef inline double spread_earned(double taker_volume, double price, double p) noexcept nogil:
    """contracts * (price - p) for a sale, contracts * (p - price) for a purchase."""
    return taker_volume * (price - p)
