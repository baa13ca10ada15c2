"""Fills: what one does to the books. model.md sections 2 (phase 4) and 7."""
from mcmm.kernel.special cimport ceil_whole, minimum


cdef inline double maker_fee(double maker_rate, double price, double contracts, double rounding) noexcept nogil:
    """rate * price * (1 - price) * contracts, rounded up to a multiple of `rounding` (0: not); rebates are not."""
    cdef double amount = ((maker_rate * price) * (1.0 - price)) * contracts
    cdef double multiple = rounding if rounding > 0.0 else 1.0
    cdef double rounded = multiple * ceil_whole(minimum(amount / multiple - 1e-9, 1125899906842624.0))
    return rounded if (rounding > 0.0) & (amount > 0.0) else amount


cdef inline double spread_pnl(double cash, double unit, double unwind_cash, double at_fair) noexcept nogil:
    """What all fills and unwinding brought in, less what the same contracts were worth: the sum, taken once, of
    contracts * (price - p) over sales and contracts * (p - price) over purchases."""
    return (cash * unit + unwind_cash) - at_fair


cdef inline double inventory_pnl(double inventory, double p, double at_fair) noexcept nogil:
    """The sum of inventory * change in p, by parts: inventory changes by -v where a fill adds v * p to at_fair."""
    return inventory * p + at_fair
